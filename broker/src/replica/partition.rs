//! One partition of a topic on one of the nodes that keep it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::ReadError;
use super::appending::Queue;
use super::barrier::Barrier;
use super::replicas::{Replicas, Shared};
use super::roles::{RoleState, Roles};
use crate::log::{Log, LogConfig, LogError};

/// Milliseconds between two reports that a partition's records cannot be read.
const UNREADABLE_REPORT_MS: u64 = 60_000;

/// Who appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A produce request: everything is checked, and the topic's codec and time stamps apply.
    Client,
    /// A coordinator of this broker: its batches are taken as they are, and are durable and committed when the append
    /// returns.
    Coordinator,
}

/// Up to where a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// The high watermark.
    Uncommitted,
    /// The last stable offset: transactions that are not decided are not shown.
    Committed,
    /// The end of what was written completely; for followers and this broker's own coordinators.
    LogEnd,
}

/// The result of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Offset of the last record.
    pub last_offset: i64,
    /// When it was appended, in milliseconds; -1 where records keep their own time.
    pub log_append_time: i64,
    /// First offset of the log.
    pub log_start_offset: i64,
    /// Epoch of the leadership that answers for it.
    pub leader_epoch: i32,
    /// It was there already: a retry of an idempotent producer.
    pub duplicate: bool,
}

/// The offsets that delimit a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    /// First offset there is.
    pub log_start: i64,
    /// Consumers see what is before it.
    pub high_watermark: i64,
    /// Consumers that read committed records see what is before it.
    pub last_stable: i64,
    /// End of what was written completely: durable where the topic demands it. Never cut off by a failed write.
    pub log_end: i64,
}

/// The result of a read.
#[derive(Debug, Clone)]
pub struct Read {
    /// Whole batches; the first has the offset that was asked for, and maybe earlier ones. Empty at the end.
    pub records: Bytes,
    /// As of the read.
    pub high_watermark: i64,
    /// As of the read.
    pub last_stable_offset: i64,
    /// As of the read.
    pub log_start_offset: i64,
    /// Aborted transactions in the records: producer id and first offset.
    pub aborted: Vec<(i64, i64)>,
}

/// See the module.
#[derive(Debug)]
pub struct Partition {
    id: u64,
    topic: Arc<str>,
    index: i32,
    topic_id: [u8; 16],
    /// That of `roles`.
    pub(super) leader_epoch: AtomicI32,
    /// Taken after the log's writer; the offsets below change under it.
    pub(super) roles: Mutex<Roles>,
    log: Log,
    pub(super) queue: Mutex<Queue>,
    pub(super) high_watermark: watch::Sender<i64>,
    /// The end of what was written completely.
    pub(super) finished: watch::Sender<i64>,
    /// A follower that is about to be in sync holds back the high watermark for a moment.
    pub(super) held_back: AtomicBool,
    /// Held by readers of the files, and exclusively while a follower cuts them. Taken before the log's locks.
    pub(super) reading: RwLock<()>,
    shared: Arc<Shared>,
    me: Weak<Self>,
    unflushed_since_ms: AtomicI64,
    /// When it was last reported that records cannot be read, in milliseconds.
    unreadable_reported_ms: AtomicI64,
    deleted: AtomicBool,
    /// Some of its records are not what was written.
    pub(super) damaged: AtomicBool,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Partition {
    /// A partition that nobody leads yet, as far as is known. `high_watermark` is that of a checkpoint.
    pub(super) fn new(
        topic: Arc<str>,
        index: i32,
        topic_id: [u8; 16],
        high_watermark: i64,
        log: Log,
        shared: Arc<Shared>,
    ) -> Arc<Self> {
        let leader_epoch = log.epochs.lock().latest().unwrap_or(0);
        let high_watermark = high_watermark.clamp(log.start(), log.end());
        log.set_committed(high_watermark);
        let partition = Arc::new_cyclic(|me| Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            topic,
            index,
            topic_id,
            leader_epoch: AtomicI32::new(leader_epoch),
            roles: Mutex::new(Roles {
                epoch: leader_epoch,
                state: RoleState::Following { leader: None },
            }),
            high_watermark: watch::Sender::new(high_watermark),
            finished: watch::Sender::new(log.end()),
            held_back: AtomicBool::new(false),
            reading: RwLock::new(()),
            log,
            queue: Mutex::new(Queue::default()),
            shared,
            me: me.clone(),
            unflushed_since_ms: AtomicI64::new(i64::MAX),
            unreadable_reported_ms: AtomicI64::new(i64::MIN),
            deleted: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
        });
        if partition.log.flushed() < partition.log.end() {
            partition.note_unflushed(platform::clock::unix_millis());
        }
        partition
    }

    /// Notes an error of a write, given its code, which may be the disk's.
    pub(super) fn note_failure(&self, code: i16) {
        self.shared.note_failure(code);
    }

    /// Name of the topic.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Id of the topic.
    pub fn topic_id(&self) -> [u8; 16] {
        self.topic_id
    }

    /// Number within the topic.
    pub fn index(&self) -> i32 {
        self.index
    }

    /// Epoch of the present leader.
    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch.load(Ordering::Acquire)
    }

    /// The topic's configuration.
    pub fn config(&self) -> Arc<LogConfig> {
        self.log.config()
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.log.size_bytes()
    }

    /// The offsets as of now.
    pub fn offsets(&self) -> Offsets {
        // In this order, so that the one is at most the other.
        let high_watermark = *self.high_watermark.borrow();
        Offsets {
            log_start: self.log.start(),
            high_watermark,
            // No transactions yet, so that everything committed is decided.
            last_stable: high_watermark,
            log_end: *self.finished.borrow(),
        }
    }

    /// Follows the high watermark; also changes when this node's role does. For long polls of consumers.
    pub fn appended(&self) -> watch::Receiver<i64> {
        self.high_watermark.subscribe()
    }

    /// Follows the log's end; also changes when this node's role does. For long polls of followers.
    pub(crate) fn written(&self) -> watch::Receiver<i64> {
        self.finished.subscribe()
    }

    /// Reads whole batches from the one with `from` on: about `max_bytes`, but at least one if there is any.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`], [`LogError::Corrupt`], [`LogError::Io`].
    pub async fn read(
        &self,
        from: i64,
        max_bytes: usize,
        isolation: Isolation,
    ) -> Result<Read, ReadError> {
        let offsets = self.offsets();
        let limit = match isolation {
            Isolation::Uncommitted => offsets.high_watermark,
            Isolation::Committed => offsets.last_stable,
            Isolation::LogEnd => offsets.log_end,
        };
        // Nothing to read is the usual case of a consumer that waits; it needs no other thread.
        let records = if from == limit {
            Bytes::new()
        } else {
            self.blocking(move |log| log.read(from, max_bytes, limit))
                .await
                .inspect_err(|error| self.report_unreadable(error))
                .map_err(|error| self.handed_over(error))?
        };
        Ok(Read {
            records,
            high_watermark: offsets.high_watermark,
            last_stable_offset: offsets.last_stable,
            log_start_offset: self.log.start(),
            aborted: Vec::new(),
        })
    }

    /// Notes damage, for which another replica takes over where one is in sync.
    fn handed_over(&self, error: LogError) -> LogError {
        if matches!(error, LogError::Corrupt { .. }) && self.note_damage() {
            return LogError::HandedOver {
                topic: self.topic.to_string(),
                partition: self.index,
            };
        }
        error
    }

    /// Says in the log that records are damaged or cannot be read; readers try again and again.
    fn report_unreadable(&self, error: &LogError) {
        if !matches!(error, LogError::Corrupt { .. } | LogError::Io { .. }) {
            return;
        }
        let now_ms = platform::clock::unix_millis();
        let last_ms = self.unreadable_reported_ms.load(Ordering::Acquire);
        if now_ms.abs_diff(last_ms) >= UNREADABLE_REPORT_MS {
            self.unreadable_reported_ms.store(now_ms, Ordering::Release);
            tracing::error!(%error, topic = %self.topic, partition = self.index, "records cannot be read");
        }
    }

    /// Offset, timestamp and leader epoch of the first record that is at least as new as `timestamp`.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Io`].
    pub async fn offset_for_timestamp(
        &self,
        timestamp: i64,
    ) -> Result<Option<(i64, i64, i32)>, ReadError> {
        let limit = self.offsets().high_watermark;
        let found = self
            .blocking(move |log| log.find_timestamp(timestamp, limit))
            .await?;
        Ok(found.map(|(offset, timestamp)| (offset, timestamp, self.epoch_at(offset))))
    }

    /// Offset, timestamp and leader epoch of the first record with the largest timestamp.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Io`].
    pub async fn max_timestamp(&self) -> Result<Option<(i64, i64, i32)>, ReadError> {
        let limit = self.offsets().high_watermark;
        let found = self.blocking(move |log| log.max_timestamp(limit)).await?;
        Ok(found.map(|(offset, timestamp)| (offset, timestamp, self.epoch_at(offset))))
    }

    /// Leader epoch in which `offset` was written, -1 if it is not known.
    pub fn epoch_at(&self, offset: i64) -> i32 {
        self.log.epochs.lock().epoch_at(offset).unwrap_or(-1)
    }

    /// The largest epoch up to `epoch` and the offset it ends at; `(-1, -1)` if it is not known.
    pub fn epoch_end_offset(&self, epoch: i32) -> (i32, i64) {
        let end = *self.finished.borrow();
        if epoch == self.leader_epoch() {
            return (epoch, end);
        }
        self.log.epochs.lock().end_of(epoch, end)
    }

    /// The folder of its files.
    pub fn folder(&self) -> &Path {
        self.log.folder()
    }

    /// The handle that owns this partition; whoever calls a method has one.
    pub(super) fn shared(&self) -> Arc<Self> {
        match self.me.upgrade() {
            Some(partition) => partition,
            None => unreachable!("a partition is only reached through its Arc"),
        }
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn barrier(&self) -> &Barrier {
        &self.shared.barrier
    }

    pub(super) fn note_candidate(&self) {
        self.shared.candidates.note(self.id, &self.me);
    }

    /// Writes the node's checkpoints after this log was cut. Blocks.
    pub(super) fn checkpoint_cut(&self) -> Result<(), LogError> {
        match self.owner() {
            Some(replicas) => replicas.checkpoint_cut(self),
            None => Ok(()),
        }
    }

    pub(super) fn owner(&self) -> Option<Arc<Replicas>> {
        self.shared.owner.upgrade()
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// Refuses appends from now on, and waits for the one that runs. Blocks.
    pub(crate) fn mark_deleted(&self) {
        self.deleted.store(true, Ordering::Release);
        drop(self.log.appender());
        self.wake();
    }

    pub(crate) fn deleted_error(&self) -> LogError {
        LogError::Deleted {
            topic: self.topic.to_string(),
            partition: self.index,
        }
    }

    /// Since when there are records that are not durable, in milliseconds.
    pub(crate) fn unflushed_since_ms(&self) -> i64 {
        self.unflushed_since_ms.load(Ordering::Acquire)
    }

    pub(crate) fn note_unflushed(&self, now_ms: i64) {
        self.unflushed_since_ms.fetch_min(now_ms, Ordering::AcqRel);
        self.barrier().note(self.id, &self.me);
    }

    /// Makes everything durable that was appended before the call. Blocks.
    pub(crate) fn flush(&self) -> Result<(), LogError> {
        let since = self.unflushed_since_ms.swap(i64::MAX, Ordering::AcqRel);
        match self.log.flush() {
            Ok(_) => Ok(()),
            // Its folder is gone, and nobody needs what was in it.
            Err(_) if self.is_deleted() => Ok(()),
            Err(error) => {
                self.unflushed_since_ms.fetch_min(since, Ordering::AcqRel);
                if matches!(error, LogError::Corrupt { .. }) {
                    self.note_damage();
                }
                Err(error)
            }
        }
    }

    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Log) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let partition = self.shared();
        platform::blocking::run(move || {
            if partition.is_deleted() {
                return Err(partition.deleted_error());
            }
            let _reading = partition.reading.read();
            work(&partition.log)
        })
        .await
    }
}
