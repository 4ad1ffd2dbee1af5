//! The broker's own partitions and topics as the coordinator's storage.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{
    error::GroupError,
    service::GroupCoordinator,
    storage::{Chunk, GroupStorage, OFFSETS_TOPIC, StorageError},
};
use crate::{
    config::BrokerConfig,
    controller::Controller,
    error_code,
    replica::{Isolation, Origin, Partition, Replicas},
};

/// Bytes of log read at a time during a replay.
const READ_BYTES: usize = 1024 * 1024;

impl GroupCoordinator {
    /// The coordinator of a broker.
    pub(crate) fn new(
        config: &BrokerConfig,
        replicas: Arc<Replicas>,
        controller: Arc<Controller>,
    ) -> Self {
        let storage = NodeStorage {
            replicas,
            controller,
        };
        Self::over(config.groups.clone(), Arc::new(storage))
    }
}

struct NodeStorage {
    replicas: Arc<Replicas>,
    controller: Arc<Controller>,
}

impl NodeStorage {
    fn partition(&self, partition: i32) -> Result<Arc<Partition>, StorageError> {
        self.replicas
            .get(OFFSETS_TOPIC, partition)
            .ok_or_else(|| StorageError {
                answer: GroupError::NotCoordinator,
                message: format!(
                    "partition {partition} of \"{OFFSETS_TOPIC}\" is not on this broker"
                ),
            })
    }
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
                .map_err(|error| StorageError {
                    answer: GroupError::CoordinatorNotAvailable,
                    message: error.to_string(),
                })
        })
    }

    fn append(&self, partition: i32, batch: Bytes) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            self.partition(partition)?
                .append(batch, Origin::Coordinator)
                .await
                .map(|_appended| ())
                .map_err(|error| StorageError {
                    answer: answer_to(error.code()),
                    message: error.to_string(),
                })
        })
    }

    fn log_start(&self, partition: i32) -> Result<i64, StorageError> {
        Ok(self.partition(partition)?.offsets().log_start)
    }

    fn read(&self, partition: i32, offset: i64) -> BoxFuture<'_, Result<Chunk, StorageError>> {
        Box::pin(async move {
            let replica = self.partition(partition)?;
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
                .map_err(|error| StorageError {
                    answer: GroupError::CoordinatorNotAvailable,
                    message: error.to_string(),
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
