//! What the APIs ask for: each operation is carried out by the active controller, wherever that
//! is, and has reached this node's metadata and partitions when it is answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::operation::{
    Election, IsrChange, Operation, Outcome, PlannedTopic, Reassignment, RemovalProgress,
};
use super::record::{ConfigResource, PartitionState, TopicId};
use super::{ConfigChange, Controller, ControllerError, NewTopic, TopicImage};

impl Controller {
    /// Creates topics, those that can be. With `validate_only` it only says what would happen.
    /// Gives one result per topic, in order.
    pub(crate) async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Vec<Result<Arc<TopicImage>, ControllerError>> {
        if topics.is_empty() {
            return Vec::new();
        }
        let operation = Operation::CreateTopics {
            topics: topics.to_vec(),
            ids: topics.iter().map(|_| platform::random::uuid()).collect(),
            validate_only,
        };
        let error = match self.perform(operation).await {
            Ok(Outcome::CreateTopics(results)) if results.len() == topics.len() => {
                let image = self.image();
                let created = |planned: PlannedTopic| {
                    image
                        .topic(&planned.name)
                        .filter(|topic| topic.id == planned.id)
                        .cloned()
                        .unwrap_or_else(|| Arc::new(imagined(planned)))
                };
                return results
                    .into_iter()
                    .map(|result| result.map(created))
                    .collect();
            }
            Ok(_) => ControllerError::odd_answer(),
            Err(error) => error,
        };
        topics.iter().map(|_| Err(error.clone())).collect()
    }

    /// Deletes a topic and its records.
    ///
    /// # Errors
    /// When it does not exist, or no controller can be reached.
    pub(crate) async fn delete_topic(
        &self,
        name: &str,
        id: TopicId,
    ) -> Result<(), ControllerError> {
        let name = name.to_owned();
        self.done(Operation::DeleteTopic { name, id }).await
    }

    /// Gives a topic `count` partitions in all.
    ///
    /// # Errors
    /// When it does not exist, has as many already, or the assignment is not possible.
    pub(crate) async fn create_partitions(
        &self,
        name: &str,
        count: i32,
        assignments: Option<&[Vec<i32>]>,
        validate_only: bool,
    ) -> Result<(), ControllerError> {
        self.done(Operation::CreatePartitions {
            name: name.to_owned(),
            count,
            assignments: assignments.map(<[_]>::to_vec),
            validate_only,
        })
        .await
    }

    /// Changes what is set on a topic or a broker. With `replace`, everything that is not in
    /// `changes` is unset as well.
    ///
    /// # Errors
    /// When the resource or a key does not exist or a value is not possible; nothing is changed
    /// then.
    pub(crate) async fn alter_config(
        &self,
        resource: &ConfigResource,
        changes: &[ConfigChange],
        replace: bool,
        validate_only: bool,
    ) -> Result<(), ControllerError> {
        self.done(Operation::AlterConfig {
            resource: resource.clone(),
            changes: changes.to_vec(),
            replace,
            validate_only,
        })
        .await
    }

    /// One of Kafka's own topics, created if it is not there yet.
    ///
    /// # Errors
    /// When it cannot be created.
    pub(crate) async fn ensure_internal_topic(
        &self,
        name: &str,
    ) -> Result<Arc<TopicImage>, ControllerError> {
        if self.image().topic(name).is_none() {
            let name = name.to_owned();
            self.done(Operation::EnsureInternalTopic { name }).await?;
        }
        self.image()
            .topic(name)
            .cloned()
            .ok_or_else(|| ControllerError::unknown_topic(name))
    }

    /// A producer id that was never handed out before, and never will be again.
    ///
    /// # Errors
    /// When this node has none left and can get no more.
    pub(crate) async fn next_producer_id(&self) -> Result<i64, ControllerError> {
        let mut ids = self.producer_ids.lock().await;
        if let Some(id) = ids.next() {
            return Ok(id);
        }
        match self.perform(Operation::ProducerIds).await? {
            Outcome::ProducerIds(taken) => {
                let (first, end) = taken?;
                *ids = first + 1..end;
                Ok(first)
            }
            _ => Err(ControllerError::odd_answer()),
        }
    }

    /// Tells the active controller which replicas of partitions that this node leads are in sync;
    /// gives one result per change: the state that holds now.
    ///
    /// # Errors
    /// `STALE_BROKER_EPOCH` when this process is not registered under `broker_epoch`; otherwise it
    /// is not known what came of it.
    pub(crate) async fn alter_isr(
        &self,
        broker_epoch: i64,
        changes: Vec<IsrChange>,
    ) -> Result<Vec<Result<PartitionState, ControllerError>>, ControllerError> {
        let operation = Operation::AlterIsr {
            broker: self.me(),
            broker_epoch,
            changes,
        };
        match self.perform_unseen(operation).await? {
            Outcome::AlterIsr(results) => Ok(results),
            _ => Err(ControllerError::odd_answer()),
        }
    }

    /// Elects leaders (KIP-460), of all partitions where none are named. Gives one result per
    /// partition that was named, or that needed it.
    ///
    /// # Errors
    /// When no controller can be reached.
    pub(crate) async fn elect_leaders(
        &self,
        election: Election,
        partitions: Option<Vec<(String, i32)>>,
    ) -> Result<Vec<(String, i32, Result<(), ControllerError>)>, ControllerError> {
        let operation = Operation::ElectLeaders {
            election,
            partitions,
        };
        match self.perform(operation).await? {
            Outcome::ElectLeaders(results) => results,
            _ => Err(ControllerError::odd_answer()),
        }
    }

    /// Begins, replaces or (without replicas) cancels reassignments (KIP-455); gives one result
    /// per change.
    ///
    /// # Errors
    /// When no controller can be reached.
    pub(crate) async fn reassign(
        &self,
        changes: Vec<Reassignment>,
        allow_factor_change: bool,
    ) -> Result<Vec<Result<(), ControllerError>>, ControllerError> {
        let operation = Operation::Reassign {
            allow_factor_change,
            changes,
        };
        match self.perform(operation).await? {
            Outcome::Reassign(results) => Ok(results),
            _ => Err(ControllerError::odd_answer()),
        }
    }

    /// Takes a broker out of the cluster for good, beginning with its replicas; gives how far that
    /// is. It goes on by itself.
    ///
    /// # Errors
    /// When it is not there, or nobody could take its replicas.
    pub(crate) async fn remove_broker(
        &self,
        id: i32,
        at_once_if_dead: bool,
    ) -> Result<RemovalProgress, ControllerError> {
        let directory = self.disk_of(id).await?;
        match self
            .perform(Operation::RemoveBroker {
                id,
                directory,
                at_once_if_dead,
            })
            .await?
        {
            Outcome::RemoveBroker(progress) => progress,
            _ => Err(ControllerError::odd_answer()),
        }
    }

    /// The disk of a member of the cluster.
    async fn disk_of(&self, id: i32) -> Result<String, ControllerError> {
        let known = || {
            let image = self.image();
            let registered = image.broker(id).map(|broker| broker.directory.clone());
            registered.or_else(|| Some(self.quorum.members().remove(&id)?.directory))
        };
        if let Some(directory) = known() {
            return Ok(directory);
        }
        // This node may be behind.
        let newest = self.quorum_status().await?.committed;
        self.follow(newest).await;
        known().ok_or_else(|| ControllerError::no_member(id))
    }

    async fn done(&self, operation: Operation) -> Result<(), ControllerError> {
        match self.perform(operation).await? {
            Outcome::Done(result) => result,
            _ => Err(ControllerError::odd_answer()),
        }
    }
}

/// A topic that is not (or no longer) there.
fn imagined(planned: PlannedTopic) -> TopicImage {
    let partitions: BTreeMap<i32, PartitionState> = (0..)
        .zip(planned.partitions)
        .map(|(index, replicas)| (index, PartitionState::new(replicas)))
        .collect();
    TopicImage {
        name: planned.name.into(),
        id: planned.id,
        partitions,
        config: planned.config,
        copies_wanted: None,
    }
}
