//! What the cluster agrees on: topics, their partitions and configuration, producer ids.
//!
//! Every change goes through [`Controller::commit`]: records are made durable in the journal,
//! then applied to a new [`MetadataImage`], which replaces the old one for everybody at once.
//! With one node the journal is the log of a quorum of one; `commit` is the only place that would
//! change for a larger one. What a change means for this node's partitions is done after it is
//! committed, and done again at the next start if a crash came in between.

pub(crate) mod folder;
pub(crate) mod image;
mod journal;
pub(crate) mod operation;
pub(crate) mod quorum;
pub(crate) mod record;
mod topic_config;
pub(crate) mod topic_name;
mod topics;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch;

pub(crate) use self::image::{MetadataImage, TopicImage};
use self::quorum::{Quorum, QuorumError};
use self::record::{MetadataRecord, PartitionState, TopicId};
pub(crate) use self::topic_config::{ConfigChange, ConfigOperation};
pub(crate) use self::topics::NewTopic;
use crate::config::BrokerConfig;
use crate::config::layers::Layers;
use crate::error_code;
use crate::log::LogConfig;
use crate::replica::Replicas;

/// Why a change is refused.
#[derive(Clone, Debug, Error, serde::Serialize, serde::Deserialize)]
#[error("{message}")]
pub(crate) struct ControllerError {
    /// Kafka's error code.
    pub(crate) code: i16,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

impl ControllerError {
    pub(crate) fn new(code: i16, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    fn unknown_topic(name: &str) -> Self {
        Self::new(
            error_code::UNKNOWN_TOPIC_OR_PARTITION,
            format!("topic \"{name}\" does not exist"),
        )
    }

    fn storage(error: &impl std::fmt::Display) -> Self {
        Self::new(error_code::KAFKA_STORAGE_ERROR, error.to_string())
    }
}

/// Producer ids handed out per journal entry.
const PRODUCER_ID_BLOCK: i64 = 1000;
/// Partitions created at the same time.
const CREATIONS_AT_ONCE: usize = 16;
/// The folder of the journal, beside those of the partitions.
const JOURNAL_FOLDER: &str = "__cluster_metadata";

/// The state machine of the cluster's metadata.
pub(crate) struct Controller {
    config: Arc<BrokerConfig>,
    cluster_id: String,
    replicas: Arc<Replicas>,
    quorum: Quorum,
    /// Held from deciding a change until this node's partitions follow it, so that changes of one
    /// topic do not overtake each other.
    turn: tokio::sync::Mutex<()>,
    /// Durably taken producer ids that nobody has yet.
    producer_ids: Mutex<Range<i64>>,
}

impl Controller {
    /// Reads the journal in the data folder and makes this node's partitions agree with it.
    ///
    /// # Errors
    /// When the journal cannot be read or a partition cannot be created.
    pub(crate) async fn open(
        config: Arc<BrokerConfig>,
        cluster_id: String,
        data_folder: &Path,
        replicas: Arc<Replicas>,
    ) -> Result<Self, ControllerError> {
        let folder = data_folder.join(JOURNAL_FOLDER);
        let (quorum, existed) = Quorum::open(&folder, config.node_id).await?;
        let controller = Self {
            config,
            cluster_id,
            replicas,
            quorum,
            turn: tokio::sync::Mutex::new(()),
            producer_ids: Mutex::new(0..0),
        };
        controller.reconcile(existed).await?;
        Ok(controller)
    }

    /// The metadata as of now.
    pub(crate) fn image(&self) -> Arc<MetadataImage> {
        self.quorum.image()
    }

    /// Follows the metadata.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.quorum.watch()
    }

    /// The cluster's id.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The settings that apply to `topic`, as of `image`.
    pub(crate) fn layers<'a>(
        &'a self,
        image: &'a MetadataImage,
        topic: Option<&'a TopicImage>,
    ) -> Layers<'a> {
        Layers {
            topic: topic.map(|topic| &topic.config),
            broker: image.broker_config(&self.config.node_id.to_string()),
            all_brokers: image.broker_config(""),
            ..self.config.layers()
        }
    }

    /// What `topic`'s logs are configured with.
    pub(crate) fn log_config(&self, image: &MetadataImage, topic: &TopicImage) -> LogConfig {
        crate::config::log_config(&self.layers(image, Some(topic)))
    }

    /// A producer id that was never handed out before, and never will be again.
    ///
    /// # Errors
    /// When a new block of ids cannot be made durable.
    pub(crate) async fn next_producer_id(&self) -> Result<i64, ControllerError> {
        if let Some(id) = self.producer_ids.lock().next() {
            return Ok(id);
        }
        let _turn = self.turn.lock().await;
        // Someone else may have fetched a block meanwhile.
        if let Some(id) = self.producer_ids.lock().next() {
            return Ok(id);
        }
        let first = self.image().next_producer_id();
        let next = first + PRODUCER_ID_BLOCK;
        self.commit(vec![MetadataRecord::ProducerIds { next }])
            .await?;
        *self.producer_ids.lock() = first + 1..next;
        Ok(first)
    }

    /// Makes records durable and applies them. Once begun it completes, even if the caller is
    /// cancelled.
    async fn commit(
        &self,
        records: Vec<MetadataRecord>,
    ) -> Result<Arc<MetadataImage>, ControllerError> {
        Ok(self.quorum.propose(records).await?)
    }

    /// Makes the partitions on disk agree with the journal after a start.
    async fn reconcile(&self, journal_existed: bool) -> Result<(), ControllerError> {
        let mut on_disk: BTreeMap<(String, TopicId), Vec<i32>> = BTreeMap::new();
        for partition in self.replicas.list() {
            on_disk
                .entry((partition.topic().to_string(), partition.topic_id()))
                .or_default()
                .push(partition.index());
        }
        for ((name, id), indexes) in on_disk {
            let image = self.image();
            if image
                .topic_by_id(&id)
                .is_some_and(|topic| *topic.name == *name)
            {
                continue;
            }
            if image.is_removed(&id) {
                self.delete_partitions(&name, id).await?;
            } else if image.topic(&name).is_none() && topic_name::check(&name).is_ok() {
                tracing::warn!(
                    topic = name,
                    "found records of a topic the metadata does not know; it is a topic again"
                );
                self.adopt(&name, id, &indexes).await?;
            } else {
                return Err(ControllerError::new(
                    error_code::INCONSISTENT_TOPIC_ID,
                    format!(
                        "the folders of topic \"{name}\" belong to another topic of that name; move them out of the data folder"
                    ),
                ));
            }
            if !journal_existed {
                // Ids of the lost journal may be remembered in these logs. The clock is ahead of
                // every block that was handed out one by one.
                let next = platform::clock::unix_millis();
                self.commit(vec![MetadataRecord::ProducerIds { next }])
                    .await?;
            }
        }
        let image = self.image();
        for topic in image.topics() {
            if let Err(error) = self.open_partitions(&image, topic).await {
                // The others are served; this one answers with a storage error.
                tracing::error!(topic = %topic.name, %error, "a partition is out of service");
            }
            self.replicas
                .update_config(&topic.name, self.log_config(&image, topic));
        }
        self.raise_leader_epochs().await
    }

    /// Gives every partition whose log may have lost its tail a new leader epoch, so that readers
    /// who had read that tail find out (KIP-320), and the others their present one.
    async fn raise_leader_epochs(&self) -> Result<(), ControllerError> {
        let image = self.image();
        let mut records = Vec::new();
        let mut led = Vec::new();
        for topic in image.topics() {
            for (index, known) in &topic.partitions {
                let Some(partition) = self.replicas.get(&topic.name, *index) else {
                    continue;
                };
                let mut epoch = known.leader_epoch.max(partition.leader_epoch());
                if partition.tail_in_doubt() {
                    epoch += 1;
                    records.push(MetadataRecord::Partition {
                        topic: topic.id,
                        index: *index,
                        state: PartitionState {
                            leader_epoch: epoch,
                            partition_epoch: known.partition_epoch + 1,
                            ..known.clone()
                        },
                    });
                }
                led.push((partition, epoch));
            }
        }
        if !records.is_empty() {
            self.commit(records).await?;
        }
        for (partition, epoch) in led {
            partition.lead(epoch);
        }
        Ok(())
    }

    /// Takes a topic into the metadata whose records are there already.
    async fn adopt(&self, name: &str, id: TopicId, indexes: &[i32]) -> Result<(), ControllerError> {
        let count = indexes
            .iter()
            .max()
            .map_or(0, |last| last.saturating_add(1));
        let mut records = vec![MetadataRecord::Topic {
            name: name.to_owned(),
            id,
        }];
        for index in 0..count {
            let epoch = self
                .replicas
                .get(name, index)
                .map_or(0, |partition| partition.leader_epoch().max(0));
            records.push(MetadataRecord::Partition {
                topic: id,
                index,
                state: PartitionState {
                    leader_epoch: epoch,
                    ..PartitionState::new(vec![self.config.node_id])
                },
            });
        }
        if image::is_internal(name) {
            records.extend(self.internal_config(name));
        }
        self.commit(records).await.map(|_| ())
    }

    /// Creates the partitions of `topic` that this node does not have yet.
    async fn open_partitions(
        &self,
        image: &MetadataImage,
        topic: &TopicImage,
    ) -> Result<(), ControllerError> {
        let config = self.log_config(image, topic);
        let missing: Vec<(i32, i32)> = topic
            .partitions
            .iter()
            .filter(|(index, _)| self.replicas.get(&topic.name, **index).is_none())
            .map(|(index, partition)| (*index, partition.leader_epoch))
            .collect();
        stream::iter(missing)
            .map(|(index, epoch)| {
                let created = self
                    .replicas
                    .create(&topic.name, topic.id, index, config.clone());
                async move { created.await.map(|partition| partition.lead(epoch)) }
            })
            .buffer_unordered(CREATIONS_AT_ONCE)
            .try_for_each(|_| std::future::ready(Ok(())))
            .await
            .map_err(|error| ControllerError::storage(&error))
    }

    /// Deletes the partitions of a removed topic and then forgets it.
    async fn delete_partitions(&self, name: &str, id: TopicId) -> Result<(), ControllerError> {
        tracing::debug!(topic = name, id = ?id, "deleting the records of a removed topic");
        self.replicas
            .delete(name)
            .await
            .map_err(|error| ControllerError::storage(&error))
    }

    /// The record of a new partition, led by this node.
    fn new_partition(&self, topic: TopicId, index: i32) -> MetadataRecord {
        MetadataRecord::Partition {
            topic,
            index,
            state: PartitionState::new(vec![self.config.node_id]),
        }
    }
}

impl From<QuorumError> for ControllerError {
    fn from(error: QuorumError) -> Self {
        let code = match error {
            QuorumError::NotLeader { .. } => error_code::NOT_CONTROLLER,
            QuorumError::Storage(_) => error_code::KAFKA_STORAGE_ERROR,
            QuorumError::Timeout => error_code::REQUEST_TIMED_OUT,
        };
        Self::new(code, error.to_string())
    }
}
