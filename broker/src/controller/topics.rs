//! Creating and deleting topics, and adding partitions.

use std::sync::Arc;

use super::image::{MetadataImage, TopicImage, is_internal};
use super::record::{ConfigResource, MetadataRecord, TopicId};
use super::{Controller, ControllerError, topic_config, topic_name};
use crate::config::layers::Settings;
use crate::error_code;

/// Partitions one request may create, as in Kafka; each is a folder with open files.
const PARTITIONS_PER_REQUEST_MAX: i32 = 10_000;

/// A topic that is asked for.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct NewTopic {
    /// Its name.
    pub(crate) name: String,
    /// How many partitions; -1 for the broker's default.
    pub(crate) partitions: i32,
    /// How many replicas; -1 for the broker's default.
    pub(crate) replication_factor: i16,
    /// The brokers of each partition, if chosen by the caller.
    pub(crate) assignments: Vec<(i32, Vec<i32>)>,
    /// What to set on it.
    pub(crate) config: Settings,
}

impl NewTopic {
    /// A topic with the broker's defaults.
    pub(crate) fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            partitions: -1,
            replication_factor: -1,
            ..Self::default()
        }
    }
}

impl Controller {
    /// Creates topics, those that can be. With `validate_only` it only says what would happen.
    /// Gives one result per topic, in order.
    pub(crate) async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Vec<Result<Arc<TopicImage>, ControllerError>> {
        let _turn = self.turn.lock().await;
        // Decided one after the other, each against the topics before it.
        let mut image = MetadataImage::clone(&self.image());
        let mut partitions_left = PARTITIONS_PER_REQUEST_MAX;
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(topics.len());
        for topic in topics {
            let result = self
                .plan_topic(&image, topic, partitions_left)
                .map(|planned| {
                    for record in &planned {
                        image.apply(record);
                    }
                    records.extend(planned);
                })
                .and_then(|()| {
                    image
                        .topic(&topic.name)
                        .cloned()
                        .ok_or_else(|| ControllerError::unknown_topic(&topic.name))
                });
            if let Ok(created) = &result {
                partitions_left -= created.partition_count();
            }
            results.push(result);
        }
        if validate_only || records.is_empty() {
            return results;
        }
        let image = match self.commit(records).await {
            Ok(image) => image,
            Err(error) => {
                return results
                    .into_iter()
                    .map(|result| result.and(Err(error.clone())))
                    .collect();
            }
        };
        for result in &mut results {
            let Ok(topic) = result else { continue };
            if let Err(error) = self.open_partitions(&image, topic).await {
                // A topic without its logs is of no use to anybody.
                tracing::error!(topic = %topic.name, %error, "cannot create a topic's logs; it is removed again");
                let (name, id) = (topic.name.clone(), topic.id);
                if let Err(error) = self.remove(&name, id).await {
                    tracing::error!(topic = %name, %error, "cannot remove a topic that has no logs");
                }
                *result = Err(error);
            }
        }
        results
    }

    /// Deletes a topic and its records.
    ///
    /// # Errors
    /// When it does not exist or the deletion cannot be made durable.
    pub(crate) async fn delete_topic(
        &self,
        name: &str,
        id: TopicId,
    ) -> Result<(), ControllerError> {
        let _turn = self.turn.lock().await;
        if self.image().topic(name).is_none_or(|topic| topic.id != id) {
            return Err(ControllerError::unknown_topic(name));
        }
        self.remove(name, id).await
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
        let _turn = self.turn.lock().await;
        let image = self.image();
        let topic = image
            .topic(name)
            .ok_or_else(|| ControllerError::unknown_topic(name))?;
        let current = topic.partition_count();
        if is_internal(name) {
            return Err(ControllerError::new(
                error_code::INVALID_REQUEST,
                format!(
                    "the partitions of \"{name}\" are fixed, because their number decides where a group is kept"
                ),
            ));
        }
        if count <= current || count - current > PARTITIONS_PER_REQUEST_MAX {
            return Err(ControllerError::new(
                error_code::INVALID_PARTITIONS,
                format!(
                    "topic \"{name}\" has {current} partitions; ask for more than that, and at most {PARTITIONS_PER_REQUEST_MAX} more at a time"
                ),
            ));
        }
        if let Some(assignments) = assignments {
            if i64::try_from(assignments.len()) != Ok(i64::from(count - current)) {
                return Err(ControllerError::new(
                    error_code::INVALID_REPLICA_ASSIGNMENT,
                    format!(
                        "{} assignments are given for {} new partitions; give one for each",
                        assignments.len(),
                        count - current
                    ),
                ));
            }
            for brokers in assignments {
                self.check_assignment(brokers)?;
            }
        }
        if validate_only {
            return Ok(());
        }
        let records = (current..count)
            .map(|index| self.new_partition(topic.id, index))
            .collect();
        let image = self.commit(records).await?;
        match image.topic(name) {
            Some(topic) => self.open_partitions(&image, topic).await,
            None => Ok(()),
        }
    }

    /// One of Kafka's own topics, created if it is not there yet.
    ///
    /// # Errors
    /// When it cannot be created.
    pub(crate) async fn ensure_internal_topic(
        &self,
        name: &str,
    ) -> Result<Arc<TopicImage>, ControllerError> {
        if let Some(topic) = self.image().topic(name) {
            return Ok(topic.clone());
        }
        let new = NewTopic {
            name: name.to_owned(),
            partitions: self.config.offsets_topic_partitions,
            replication_factor: 1,
            assignments: Vec::new(),
            config: self.internal_settings(),
        };
        match self.create_topics(&[new], false).await.pop() {
            Some(Err(error)) if error.code == error_code::TOPIC_ALREADY_EXISTS => self
                .image()
                .topic(name)
                .cloned()
                .ok_or_else(|| ControllerError::unknown_topic(name)),
            Some(result) => result,
            None => Err(ControllerError::unknown_topic(name)),
        }
    }

    /// What is set on Kafka's own topics.
    fn internal_settings(&self) -> Settings {
        [
            ("cleanup.policy", "compact".to_owned()),
            ("compression.type", "producer".to_owned()),
            (
                "segment.bytes",
                self.config.offsets_topic_segment_bytes.to_string(),
            ),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    pub(super) fn internal_config(&self, name: &str) -> impl Iterator<Item = MetadataRecord> {
        let resource = ConfigResource::Topic(name.to_owned());
        self.internal_settings()
            .into_iter()
            .map(move |(key, value)| MetadataRecord::Config {
                resource: resource.clone(),
                key,
                value: Some(value),
            })
    }

    async fn remove(&self, name: &str, id: TopicId) -> Result<(), ControllerError> {
        self.commit(vec![MetadataRecord::RemoveTopic { id }])
            .await?;
        if let Err(error) = self.delete_partitions(name, id).await {
            // The topic is gone for clients; its files are tried again at the next start.
            tracing::error!(topic = name, %error, "cannot delete the records of a removed topic yet");
        }
        Ok(())
    }

    /// The records that create `topic`.
    fn plan_topic(
        &self,
        image: &MetadataImage,
        topic: &NewTopic,
        partitions_left: i32,
    ) -> Result<Vec<MetadataRecord>, ControllerError> {
        let name = &topic.name;
        topic_name::check(name).map_err(|message| {
            ControllerError::new(error_code::INVALID_TOPIC_EXCEPTION, message)
        })?;
        if image.topic(name).is_some() {
            return Err(ControllerError::new(
                error_code::TOPIC_ALREADY_EXISTS,
                format!("topic \"{name}\" exists already"),
            ));
        }
        let twin = image
            .topics()
            .find(|other| topic_name::collide(name, &other.name));
        if let Some(twin) = twin {
            return Err(ControllerError::new(
                error_code::INVALID_TOPIC_EXCEPTION,
                format!(
                    "topic \"{name}\" differs from \"{}\" only in '.' and '_'; choose another name",
                    twin.name
                ),
            ));
        }
        let partitions = self.partition_count(topic, partitions_left)?;
        topic_config::check_topic_settings(&topic.config)?;

        let id = platform::random::uuid();
        let mut records = vec![MetadataRecord::Topic {
            name: name.clone(),
            id,
        }];
        records.extend((0..partitions).map(|index| self.new_partition(id, index)));
        records.extend(
            topic
                .config
                .iter()
                .map(|(key, value)| MetadataRecord::Config {
                    resource: ConfigResource::Topic(name.clone()),
                    key: key.clone(),
                    value: Some(value.clone()),
                }),
        );
        Ok(records)
    }

    /// Checks partitions, replicas and assignment of a new topic.
    fn partition_count(&self, topic: &NewTopic, left: i32) -> Result<i32, ControllerError> {
        let count = if topic.assignments.is_empty() {
            match topic.replication_factor {
                -1 | 1 => {}
                factor if factor < 1 => {
                    return Err(ControllerError::new(
                        error_code::INVALID_REPLICATION_FACTOR,
                        format!("replication factor {factor} is not possible; use at least 1"),
                    ));
                }
                factor => {
                    return Err(ControllerError::new(
                        error_code::INVALID_REPLICATION_FACTOR,
                        format!(
                            "replication factor {factor} is larger than the number of brokers, 1; lower it"
                        ),
                    ));
                }
            }
            match topic.partitions {
                -1 => self.config.partitions_default,
                count if count < 1 => {
                    return Err(ControllerError::new(
                        error_code::INVALID_PARTITIONS,
                        format!("{count} partitions are not possible; use at least 1"),
                    ));
                }
                count => count,
            }
        } else {
            if topic.partitions != -1 || topic.replication_factor != -1 {
                return Err(ControllerError::new(
                    error_code::INVALID_REQUEST,
                    "an assignment says how many partitions and replicas there are; leave both at -1",
                ));
            }
            let mut indexes: Vec<i32> = topic.assignments.iter().map(|(index, _)| *index).collect();
            indexes.sort_unstable();
            if !indexes
                .iter()
                .copied()
                .eq(0..i32::try_from(indexes.len()).unwrap_or(i32::MAX))
            {
                return Err(ControllerError::new(
                    error_code::INVALID_REPLICA_ASSIGNMENT,
                    "the assigned partitions must be numbered from 0 without gaps",
                ));
            }
            for (_, brokers) in &topic.assignments {
                self.check_assignment(brokers)?;
            }
            i32::try_from(indexes.len()).unwrap_or(i32::MAX)
        };
        if count > left {
            return Err(ControllerError::new(
                error_code::POLICY_VIOLATION,
                format!(
                    "a request may create at most {PARTITIONS_PER_REQUEST_MAX} partitions; ask for fewer"
                ),
            ));
        }
        Ok(count)
    }

    fn check_assignment(&self, brokers: &[i32]) -> Result<(), ControllerError> {
        if brokers == [self.config.node_id] {
            return Ok(());
        }
        Err(ControllerError::new(
            error_code::INVALID_REPLICA_ASSIGNMENT,
            format!(
                "assignment {brokers:?} is not possible; the only broker is {}",
                self.config.node_id
            ),
        ))
    }
}
