//! Flush, then commit: what the task says is safe becomes the group's offsets.

use std::time::Duration;

use connect_core::{ConnectError, OffsetMap, TopicPartition};
use kafka_client::{ClientError, ErrorCode, OffsetAndMetadata};
use tokio::time::{Instant, timeout};

use super::SinkLoop;
use super::partitions::to_client;
use super::room::Command;
use crate::state::Witness;
use crate::task::TaskFailure;

impl SinkLoop {
    pub(super) fn has_uncommitted(&self) -> bool {
        let committed = |partition| self.committed.get(partition);
        self.put
            .iter()
            .any(|(partition, (next, _))| committed(partition) != Some(next))
            || !self.in_flight.is_empty()
    }

    pub(super) fn offsets_of(&self, wanted: impl Fn(&TopicPartition) -> bool) -> OffsetMap {
        let put = self.put.iter().filter(|(partition, _)| wanted(partition));
        put.map(|(partition, (next, _))| (partition.clone(), *next))
            .collect()
    }

    /// Flushes and commits everything that was put.
    pub(super) async fn commit(&mut self) -> Result<(), TaskFailure> {
        self.pace.begin();
        let committed = self.flush_and_commit().await;
        self.pace.committed();
        committed
    }

    async fn flush_and_commit(&mut self) -> Result<(), TaskFailure> {
        self.drain_in_flight().await?;
        let offsets = self.offsets_of(|_| true);
        if offsets.is_empty() || !self.has_uncommitted() {
            if self.flush_first {
                self.recovered();
            }
            return Ok(());
        }
        match self.flush(offsets).await? {
            Ok(offsets) => {
                if self.flush_first {
                    self.recovered();
                }
                self.commit_offsets(&offsets).await;
                Ok(())
            }
            Err(error) if error.is_retriable() => {
                self.flush_first = true;
                self.wait_to_retry("flush", &error);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What the task says is safe, without what it cannot know.
    pub(super) async fn flush(
        &mut self,
        offsets: OffsetMap,
    ) -> Result<Result<OffsetMap, ConnectError>, TaskFailure> {
        let flushed = self.ask(|reply| Command::Flush(offsets, reply)).await?;
        self.flush_refused |= flushed.as_ref().is_err_and(|error| !error.is_retriable());
        Ok(flushed.map(|mut flushed| {
            flushed.retain(|partition, offset| {
                let put = self.put.get(partition).map(|(next, _)| *next);
                let known = put.is_some_and(|next| *offset <= next);
                if !known {
                    tracing::warn!(
                        "flush returned offset {offset} for {partition}, which is ahead of what \
                         was put; it is ignored"
                    );
                }
                known
            });
            flushed
        }))
    }

    /// Commits offsets; a failure is made up for by a later commit, or by repeating records.
    pub(super) async fn commit_offsets(&mut self, offsets: &OffsetMap) {
        let why = self.try_commit(offsets).await.err();
        if let Some(why) = &why {
            tracing::warn!("offsets could not be committed, they are tried again later: {why}");
        }
        let waits = why.map(|why| format!("offsets could not be committed: {why}"));
        self.setup.reporter.waiting(Witness::Commit, waits);
    }

    /// Commits those offsets that are not committed yet, once.
    pub(super) async fn try_commit(&mut self, offsets: &OffsetMap) -> Result<(), Uncommitted> {
        let changed: Vec<_> = offsets
            .iter()
            .filter(|(partition, offset)| self.committed.get(partition) != Some(offset))
            .map(|(partition, offset)| {
                let put = self.put.get(partition);
                let leader_epoch = put.and_then(|(next, epoch)| epoch.filter(|_| next == offset));
                let committed = OffsetAndMetadata {
                    offset: *offset,
                    leader_epoch,
                    metadata: String::new(),
                };
                (to_client(partition), committed)
            })
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let limit = self.setup.shared.config.offset_flush_timeout;
        let begun = Instant::now();
        let committed = timeout(limit, self.consumer.commit(&changed)).await;
        match &committed {
            Ok(Ok(())) => self.setup.meter.committed(begun.elapsed()),
            _ => self.setup.meter.not_committed(),
        }
        match committed {
            Ok(Ok(())) => {
                let committed = offsets.iter();
                let committed = committed.map(|(partition, offset)| (partition.clone(), *offset));
                self.committed.extend(committed);
                if !self.has_uncommitted() {
                    self.setup.meter.set_active(0);
                }
                Ok(())
            }
            Ok(Err(error)) => Err(Uncommitted::Refused(error)),
            Err(_) => Err(Uncommitted::Late(limit)),
        }
    }
}

/// Why offsets were not committed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Uncommitted {
    /// The coordinator did not take them, or there is none.
    #[error("{0}")]
    Refused(ClientError),
    /// Nobody has answered in time.
    #[error("nobody answered within offset.flush.timeout.ms ({0:?})")]
    Late(Duration),
}

impl Uncommitted {
    /// Whether the same commit may work later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Refused(error) => error.is_retriable(),
            Self::Late(_) => true,
        }
    }

    /// Whether the group may be in another generation than this member knows of, which it learns by
    /// polling.
    pub(super) fn may_be_a_rebalance(&self) -> bool {
        let Self::Refused(error) = self else {
            return false;
        };
        matches!(
            error.code(),
            Some(
                ErrorCode::REBALANCE_IN_PROGRESS
                    | ErrorCode::ILLEGAL_GENERATION
                    | ErrorCode::UNKNOWN_MEMBER_ID
            )
        )
    }
}
