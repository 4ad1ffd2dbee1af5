//! An offsets topic in memory, for tests: it can fail on command and hold writes back.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use kafka_records::BatchHeader;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    error::GroupError,
    storage::{Chunk, GroupStorage, StorageError},
};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct MemoryStorage {
    partitions: AtomicI32,
    logs: Mutex<Vec<Vec<(i64, Bytes)>>>,
    /// Appends fail.
    pub(crate) broken: AtomicBool,
    /// Appends wait until it is true.
    pub(crate) flowing: watch::Sender<bool>,
    /// Topics that were deleted.
    pub(crate) deleted_topics: Mutex<Vec<String>>,
}

impl MemoryStorage {
    /// A broker without offsets topic.
    pub(crate) fn new() -> Self {
        Self {
            partitions: AtomicI32::new(0),
            logs: Mutex::new(vec![Vec::new(); 4]),
            broken: AtomicBool::new(false),
            flowing: watch::Sender::new(true),
            deleted_topics: Mutex::default(),
        }
    }

    /// Batches written so far.
    pub(crate) fn batches(&self) -> usize {
        self.logs.lock().iter().map(Vec::len).sum()
    }

    fn end(log: &[(i64, Bytes)]) -> i64 {
        log.last().map_or(0, |(base, batch)| {
            base + i64::from(BatchHeader::parse(batch).unwrap().last_offset_delta) + 1
        })
    }
}

impl GroupStorage for MemoryStorage {
    fn partitions(&self) -> Option<i32> {
        Some(self.partitions.load(Ordering::Relaxed)).filter(|partitions| *partitions > 0)
    }

    fn ensure(&self) -> BoxFuture<'_, Result<i32, StorageError>> {
        self.partitions.store(4, Ordering::Relaxed);
        Box::pin(async { Ok(4) })
    }

    fn append(&self, partition: i32, batch: Bytes) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            let mut flowing = self.flowing.subscribe();
            flowing.wait_for(|flowing| *flowing).await.unwrap();
            if self.broken.load(Ordering::Relaxed) {
                return Err(StorageError {
                    answer: GroupError::CoordinatorNotAvailable,
                    message: "no space left on device".into(),
                });
            }
            let mut logs = self.logs.lock();
            let log = &mut logs[usize::try_from(partition).unwrap()];
            let base = Self::end(log);
            let mut batch = BytesMut::from(&batch[..]);
            kafka_records::assign_offsets(&mut batch, base, 0);
            log.push((base, batch.freeze()));
            Ok(())
        })
    }

    fn log_start(&self, _partition: i32) -> Result<i64, StorageError> {
        Ok(0)
    }

    fn read(&self, partition: i32, offset: i64) -> BoxFuture<'_, Result<Chunk, StorageError>> {
        let logs = self.logs.lock();
        let log = &logs[usize::try_from(partition).unwrap()];
        let records = log
            .iter()
            .find(|(base, _)| *base >= offset)
            .map(|(_, batch)| batch.clone())
            .unwrap_or_default();
        let log_end = Self::end(log);
        Box::pin(async move { Ok(Chunk { records, log_end }) })
    }

    fn is_same_topic(&self, name: &str, _id: [u8; 16]) -> bool {
        !self.deleted_topics.lock().iter().any(|gone| gone == name)
    }
}
