//! An offsets topic in memory, for tests: it can fail on command, hold writes back and be led by
//! one node or another.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use futures_util::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};
use kafka_records::BatchHeader;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    error::GroupError,
    storage::{Assignment, Chunk, GroupStorage, StorageError, Term},
};

const PARTITIONS: i32 = 4;

/// A version, and leader and epoch of each partition.
type Leaders = (u64, BTreeMap<i32, (i32, i32)>);

/// What all nodes share.
#[derive(Debug)]
struct Cluster {
    logs: Mutex<Vec<Vec<(i64, Bytes)>>>,
    /// Leader and epoch of each partition; none while there is no topic.
    leaders: watch::Sender<Leaders>,
}

/// One node's view. See the module's documentation.
#[derive(Debug)]
pub(crate) struct MemoryStorage {
    node: i32,
    cluster: Arc<Cluster>,
    /// Appends fail.
    pub(crate) broken: AtomicBool,
    /// Appends fail though they are written.
    pub(crate) in_doubt: AtomicBool,
    /// Appends wait until it is true.
    pub(crate) flowing: watch::Sender<bool>,
    /// What is in the log counts as committed.
    pub(crate) in_sync: watch::Sender<bool>,
    /// Topics that were deleted.
    pub(crate) deleted_topics: Mutex<Vec<String>>,
}

impl MemoryStorage {
    /// A broker without offsets topic.
    pub(crate) fn new() -> Self {
        Self::node(
            0,
            Arc::new(Cluster {
                logs: Mutex::new(vec![Vec::new(); 4]),
                leaders: watch::Sender::default(),
            }),
        )
    }

    /// Another broker of the same cluster.
    pub(crate) fn beside(&self, node: i32) -> Self {
        Self::node(node, Arc::clone(&self.cluster))
    }

    fn node(node: i32, cluster: Arc<Cluster>) -> Self {
        Self {
            node,
            cluster,
            broken: AtomicBool::new(false),
            in_doubt: AtomicBool::new(false),
            flowing: watch::Sender::new(true),
            in_sync: watch::Sender::new(true),
            deleted_topics: Mutex::default(),
        }
    }

    /// Makes this node the leader of every partition, in a new epoch.
    pub(crate) fn lead_all(&self) {
        self.cluster.leaders.send_modify(|(version, leaders)| {
            *version += 1;
            for partition in 0..PARTITIONS {
                let (leader, epoch) = leaders.entry(partition).or_insert((self.node, -1));
                (*leader, *epoch) = (self.node, *epoch + 1);
            }
        });
    }

    /// Batches written so far.
    pub(crate) fn batches(&self) -> usize {
        self.cluster.logs.lock().iter().map(Vec::len).sum()
    }

    fn end(log: &[(i64, Bytes)]) -> i64 {
        log.last().map_or(0, |(base, batch)| {
            base + i64::from(BatchHeader::parse(batch).unwrap().last_offset_delta) + 1
        })
    }

    fn check(&self, partition: i32, term: Term) -> Result<(), StorageError> {
        if self.term(partition) == Some(term) {
            Ok(())
        } else {
            Err(StorageError::new(
                GroupError::NotCoordinator,
                "not led here",
            ))
        }
    }
}

fn assignment((version, leaders): &Leaders, node: i32) -> Assignment {
    let led = leaders.iter().filter(|(_, (leader, _))| *leader == node);
    Assignment {
        version: *version,
        led: led
            .map(|(partition, (_, epoch))| (*partition, term(*epoch)))
            .collect(),
    }
}

fn term(epoch: i32) -> Term {
    Term {
        topic: [1; 16],
        epoch,
    }
}

impl GroupStorage for MemoryStorage {
    fn partitions(&self) -> Option<i32> {
        let created = !self.cluster.leaders.borrow().1.is_empty();
        created.then_some(PARTITIONS)
    }

    fn ensure(&self) -> BoxFuture<'_, Result<i32, StorageError>> {
        if self.partitions().is_none() {
            self.lead_all();
        }
        Box::pin(async { Ok(PARTITIONS) })
    }

    fn leader(&self, partition: i32) -> Option<i32> {
        let leaders = self.cluster.leaders.borrow();
        leaders.1.get(&partition).map(|(leader, _)| *leader)
    }

    fn term(&self, partition: i32) -> Option<Term> {
        self.assignment().led.get(&partition).copied()
    }

    fn assignment(&self) -> Assignment {
        assignment(&self.cluster.leaders.borrow(), self.node)
    }

    fn follow(&self) -> BoxStream<'static, Assignment> {
        let mut leaders = self.cluster.leaders.subscribe();
        leaders.mark_changed();
        let node = self.node;
        stream::unfold(leaders, move |mut leaders| async move {
            leaders.changed().await.ok()?;
            let led = assignment(&leaders.borrow_and_update(), node);
            Some((led, leaders))
        })
        .boxed()
    }

    fn append(
        &self,
        partition: i32,
        term: Term,
        batch: Bytes,
    ) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            let mut flowing = self.flowing.subscribe();
            flowing.wait_for(|flowing| *flowing).await.unwrap();
            if self.broken.load(Ordering::Relaxed) {
                return Err(StorageError::new(
                    GroupError::CoordinatorNotAvailable,
                    "no space left on device",
                ));
            }
            self.check(partition, term)?;
            let mut logs = self.cluster.logs.lock();
            let log = &mut logs[usize::try_from(partition).unwrap()];
            let base = Self::end(log);
            let mut batch = BytesMut::from(&batch[..]);
            kafka_records::assign_offsets(&mut batch, base, 0);
            log.push((base, batch.freeze()));
            if self.in_doubt.load(Ordering::Relaxed) {
                return Err(StorageError {
                    answer: GroupError::CoordinatorNotAvailable,
                    message: "too few replicas".into(),
                    in_doubt: true,
                });
            }
            Ok(())
        })
    }

    fn committed(
        &self,
        partition: i32,
        term: Term,
        _offset: i64,
    ) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            let mut in_sync = self.in_sync.subscribe();
            in_sync.wait_for(|in_sync| *in_sync).await.unwrap();
            self.check(partition, term)
        })
    }

    fn log_start(&self, partition: i32, term: Term) -> Result<i64, StorageError> {
        self.check(partition, term).map(|()| 0)
    }

    fn read(
        &self,
        partition: i32,
        term: Term,
        offset: i64,
    ) -> BoxFuture<'_, Result<Chunk, StorageError>> {
        let read = self.check(partition, term).map(|()| {
            let logs = self.cluster.logs.lock();
            let log = &logs[usize::try_from(partition).unwrap()];
            let records = log
                .iter()
                .find(|(base, _)| *base >= offset)
                .map(|(_, batch)| batch.clone())
                .unwrap_or_default();
            Chunk {
                records,
                log_end: Self::end(log),
            }
        });
        Box::pin(async move { read })
    }

    fn is_same_topic(&self, name: &str, _id: [u8; 16]) -> bool {
        !self.deleted_topics.lock().iter().any(|gone| gone == name)
    }
}
