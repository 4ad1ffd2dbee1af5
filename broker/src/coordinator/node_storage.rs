//! The broker's own partitions and topics as the coordinator's storage.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::time::Instant;

use super::{
    error::GroupError,
    service::GroupCoordinator,
    storage::{Assignment, Chunk, GroupStorage, OFFSETS_TOPIC, StorageError, Term},
};
use crate::{
    config::BrokerConfig,
    controller::{Controller, MetadataImage, TopicImage},
    error_code,
    replica::{Isolation, Origin, Partition, Replicas, Role},
};

/// Bytes of log read at a time during a replay.
const READ_BYTES: usize = 1024 * 1024;

/// How long a new coordinator waits for what it found in the log to be committed. Usually that
/// takes one fetch of each follower; while there are too few replicas it would take until there
/// are more, and groups are better served meanwhile, though nothing can be written for them.
const INHERITANCE_TIMEOUT: Duration = Duration::from_secs(2);

impl GroupCoordinator {
    /// The coordinator of a broker.
    pub(crate) fn new(
        config: &BrokerConfig,
        replicas: Arc<Replicas>,
        controller: Arc<Controller>,
    ) -> Self {
        let storage = NodeStorage {
            me: config.node_id,
            replicas,
            controller,
        };
        Self::over(config.groups.clone(), Arc::new(storage))
    }
}

struct NodeStorage {
    me: i32,
    replicas: Arc<Replicas>,
    controller: Arc<Controller>,
}

impl NodeStorage {
    /// The partition, if this node leads it in `term` and knows it.
    fn partition(&self, partition: i32, term: Term) -> Result<Arc<Partition>, StorageError> {
        let elsewhere = |what: &str| {
            StorageError::new(
                GroupError::NotCoordinator,
                format!("partition {partition} of \"{OFFSETS_TOPIC}\" {what}"),
            )
        };
        let replica = self
            .replicas
            .get(OFFSETS_TOPIC, partition)
            .filter(|replica| replica.topic_id() == term.topic)
            .ok_or_else(|| elsewhere("is not open on this broker"))?;
        if replica.role() != Role::Leader || replica.leader_epoch() != term.epoch {
            let what = format!(
                "is not led by this broker in epoch {} but {:?} in epoch {}",
                term.epoch,
                replica.role(),
                replica.leader_epoch()
            );
            return Err(elsewhere(&what));
        }
        Ok(replica)
    }
}

/// The partitions of the offsets topic that broker `me` leads.
fn assignment(image: &MetadataImage, me: i32) -> Assignment {
    let led = image.topic(OFFSETS_TOPIC).map(|topic| {
        let led = topic.partitions.iter().filter(|(_, at)| at.leader == me);
        led.map(|(index, at)| (*index, term(topic, at.leader_epoch)))
            .collect()
    });
    Assignment {
        version: image.version(),
        led: led.unwrap_or_default(),
    }
}

fn term(topic: &TopicImage, epoch: i32) -> Term {
    Term {
        topic: topic.id,
        epoch,
    }
}

/// Whether a batch that was refused with `code` may be in the log all the same: it was written,
/// but it is not known to be on enough replicas.
fn in_doubt(code: i16) -> bool {
    matches!(
        code,
        error_code::UNKNOWN_SERVER_ERROR
            | error_code::UNKNOWN_TOPIC_OR_PARTITION
            | error_code::NOT_LEADER_OR_FOLLOWER
            | error_code::REQUEST_TIMED_OUT
            | error_code::NOT_ENOUGH_REPLICAS_AFTER_APPEND
            | error_code::FENCED_LEADER_EPOCH
    )
}

/// What a client is told when the log refuses a batch.
fn answer_to(code: i16) -> GroupError {
    match code {
        error_code::MESSAGE_TOO_LARGE => GroupError::MessageTooLarge,
        error_code::NOT_LEADER_OR_FOLLOWER => GroupError::NotCoordinator,
        _ => GroupError::CoordinatorNotAvailable,
    }
}

impl GroupStorage for NodeStorage {
    fn partitions(&self) -> Option<i32> {
        self.controller
            .image()
            .topic(OFFSETS_TOPIC)
            .map(|topic| topic.partition_count())
            .filter(|count| *count > 0)
    }

    fn ensure(&self) -> BoxFuture<'_, Result<i32, StorageError>> {
        Box::pin(async move {
            self.controller
                .ensure_internal_topic(OFFSETS_TOPIC)
                .await
                .map(|topic| topic.partition_count())
                .map_err(|error| {
                    StorageError::new(GroupError::CoordinatorNotAvailable, error.to_string())
                })
        })
    }

    fn leader(&self, partition: i32) -> Option<i32> {
        let image = self.controller.image();
        let leader = image.topic(OFFSETS_TOPIC)?.partitions.get(&partition)?;
        Some(leader.leader).filter(|leader| *leader >= 0)
    }

    fn term(&self, partition: i32) -> Option<Term> {
        let image = self.controller.image();
        let topic = image.topic(OFFSETS_TOPIC)?;
        let state = topic.partitions.get(&partition)?;
        (state.leader == self.me).then(|| term(topic, state.leader_epoch))
    }

    fn assignment(&self) -> Assignment {
        assignment(&self.controller.image(), self.me)
    }

    fn follow(&self) -> BoxStream<'static, Assignment> {
        let mut images = self.controller.watch();
        images.mark_changed();
        let me = self.me;
        let seen: Option<Arc<TopicImage>> = None;
        stream::unfold((images, seen), move |(mut images, seen)| async move {
            loop {
                images.changed().await.ok()?;
                let image = images.borrow_and_update().clone();
                let topic = image.topic(OFFSETS_TOPIC);
                // Most changes are about something else and leave the topic's object as it is.
                let same = match (topic, &seen) {
                    (Some(topic), Some(seen)) => Arc::ptr_eq(topic, seen),
                    (None, None) => true,
                    _ => false,
                };
                if !same {
                    return Some((assignment(&image, me), (images, topic.cloned())));
                }
            }
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
            let replica = self.partition(partition, term)?;
            let appended = replica.append(batch, Origin::Coordinator).await;
            let appended = appended.map_err(|error| StorageError {
                answer: answer_to(error.code()),
                message: error.to_string(),
                in_doubt: in_doubt(error.code()),
            })?;
            if appended.leader_epoch != term.epoch {
                return Err(StorageError {
                    answer: GroupError::NotCoordinator,
                    message: format!(
                        "partition {partition} of \"{OFFSETS_TOPIC}\" was led by another broker meanwhile"
                    ),
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
        offset: i64,
    ) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            let replica = self.partition(partition, term)?;
            let deadline = Instant::now() + INHERITANCE_TIMEOUT;
            if let Err(code) = replica.committed(term.epoch, offset, deadline).await {
                tracing::debug!(
                    partition,
                    code,
                    "what the log ends with is not committed yet"
                );
            }
            // Deposed meanwhile?
            self.partition(partition, term).map(|_| ())
        })
    }

    fn log_start(&self, partition: i32, term: Term) -> Result<i64, StorageError> {
        Ok(self.partition(partition, term)?.offsets().log_start)
    }

    fn read(
        &self,
        partition: i32,
        term: Term,
        offset: i64,
    ) -> BoxFuture<'_, Result<Chunk, StorageError>> {
        Box::pin(async move {
            let replica = self.partition(partition, term)?;
            let log_end = replica.offsets().log_end;
            if offset >= log_end {
                return Ok(Chunk {
                    records: Bytes::new(),
                    log_end,
                });
            }
            let read = replica
                .read(offset, READ_BYTES, Isolation::LogEnd)
                .await
                .map_err(|error| {
                    StorageError::new(GroupError::CoordinatorNotAvailable, error.to_string())
                })?;
            Ok(Chunk {
                records: read.records,
                log_end,
            })
        })
    }

    fn is_same_topic(&self, name: &str, id: [u8; 16]) -> bool {
        self.controller
            .image()
            .topic(name)
            .is_some_and(|topic| id == [0; 16] || topic.id == id)
    }
}
