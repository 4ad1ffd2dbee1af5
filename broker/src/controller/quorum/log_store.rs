//! The log as openraft sees it.

use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, LogState, OptionalSend, RaftLogReader, StorageIOError};

use super::frames::FileError;
use super::log::Log;
use super::raft_types::{Entry, LogId, StorageError, Types, Vote};

/// Bytes of entries that travel together, roughly; one larger entry travels alone.
const SENT_BYTES_MAX: usize = 256 * 1024;

/// See the module. Clones share the log.
#[derive(Clone, Debug)]
pub(super) struct LogStore(pub(super) Arc<Log>);

impl LogStore {
    /// Runs `work` on the log where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Log) -> T + Send + 'static,
    ) -> T {
        let log = self.0.clone();
        platform::blocking::run(move || work(&log)).await
    }
}

fn write_error(error: &FileError) -> StorageError {
    StorageIOError::write_logs(AnyError::new(error)).into()
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        Ok(self
            .0
            .read(|contents| contents.range(start, end).cloned().collect()))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        let mut bytes = 0;
        let take = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += weight(entry);
            first || bytes <= SENT_BYTES_MAX
        };
        Ok(self.0.read(|contents| {
            contents
                .range(start, end)
                .take_while(take)
                .cloned()
                .collect()
        }))
    }
}

/// About how many bytes an entry has on the wire.
fn weight(entry: &Entry) -> usize {
    match &entry.payload {
        openraft::EntryPayload::Normal(records) => 128 + records.len() * 256,
        openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => 1024,
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        self.blocking(Log::repair)
            .await
            .map_err(|error| write_error(&error))?;
        Ok(self.0.read(|contents| LogState {
            last_purged_log_id: contents.purged,
            last_log_id: contents.last(),
        }))
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let vote = *vote;
        self.blocking(move |log| log.vote(vote))
            .await
            .map_err(|error| StorageIOError::write_vote(AnyError::new(&error)).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.0.read(|contents| contents.vote))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        let Some(upto) = committed else {
            return Ok(());
        };
        // Only spares the next start some waiting; what cannot be written is taken back before
        // the next change.
        if let Err(error) = self.blocking(move |log| log.committed(upto)).await {
            tracing::warn!(%error, "cannot note how far the metadata is agreed on");
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self
            .0
            .read(|contents| contents.committed.min(contents.last())))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<Types>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        self.blocking(move |log| log.append(entries))
            .await
            .map_err(|error| write_error(&error))?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, from: LogId) -> Result<(), StorageError> {
        self.blocking(move |log| log.truncate(from.index))
            .await
            .map_err(|error| write_error(&error))
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        // The entries are in a snapshot that is on disk: only their room is lost.
        if let Err(error) = self.blocking(move |log| log.purge(upto)).await {
            tracing::warn!(%error, "cannot make the metadata log smaller; trying again later");
        }
        Ok(())
    }
}
