//! Creating and deleting topics, and adding partitions.

use super::image::is_internal;
use super::operation::PlannedTopic;
use super::placement::too_few;
use super::plan::Plan;
use super::record::{ConfigResource, MetadataRecord, PartitionState, TopicId};
use super::{ControllerError, topic_config, topic_name};
use crate::config::BrokerConfig;
use crate::config::layers::Settings;
use crate::error_code;

/// Partitions one request may create, as in Kafka; each is a folder with open files.
pub(super) const PARTITIONS_PER_REQUEST_MAX: i32 = 10_000;

/// A topic that is asked for.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct NewTopic {
    /// Its name.
    pub(crate) name: String,
    /// How many partitions; -1 for the broker's default.
    pub(crate) partitions: i32,
    /// How many replicas; -1 leaves it to the cluster.
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

    /// One of Kafka's own topics.
    pub(super) fn internal(name: &str, config: &BrokerConfig) -> Self {
        Self {
            partitions: config.offsets_topic_partitions,
            config: internal_settings(config),
            ..Self::named(name)
        }
    }
}

/// What is set on Kafka's own topics.
pub(crate) fn internal_settings(config: &BrokerConfig) -> Settings {
    [
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        (
            "segment.bytes",
            config.offsets_topic_segment_bytes.to_string(),
        ),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

impl Plan<'_> {
    /// Creates topics, those that can be, each decided after the ones before it. `ids` are theirs.
    pub(super) fn create_topics(
        &mut self,
        topics: &[NewTopic],
        ids: &[TopicId],
    ) -> Vec<Result<PlannedTopic, ControllerError>> {
        let mut left = PARTITIONS_PER_REQUEST_MAX;
        topics
            .iter()
            .enumerate()
            .map(|(position, topic)| {
                let id = ids.get(position).copied();
                let id = id.unwrap_or_else(platform::random::uuid);
                if let Some(own) = self.created_before(&topic.name, id) {
                    return Ok(own);
                }
                let planned = self.create_topic(topic, id, left)?;
                left -= i32::try_from(planned.partitions.len()).unwrap_or(left);
                Ok(planned)
            })
            .collect()
    }

    /// The topic if it has this very id: it was asked for before, and the answer was lost.
    fn created_before(&self, name: &str, id: TopicId) -> Option<PlannedTopic> {
        let topic = self.image().topic(name).filter(|topic| topic.id == id)?;
        Some(PlannedTopic {
            name: topic.name.to_string(),
            id,
            partitions: topic
                .partitions
                .values()
                .map(|state| state.replicas.clone())
                .collect(),
            config: topic.config.clone(),
        })
    }

    fn create_topic(
        &mut self,
        topic: &NewTopic,
        id: TopicId,
        left: i32,
    ) -> Result<PlannedTopic, ControllerError> {
        let name = &topic.name;
        self.check_name(name)?;
        let chosen = topic.assignments.is_empty() && topic.replication_factor == -1;
        let (partitions, wanted) = self.replicas_of_new(topic, left)?;
        topic_config::check_topic_settings(&topic.config)?;
        let states = partitions
            .iter()
            .map(|replicas| self.new_partition(replicas))
            .collect::<Result<Vec<_>, _>>()?;

        self.push(MetadataRecord::Topic {
            name: name.clone(),
            id,
        });
        for (index, state) in (0..).zip(states) {
            self.put_partition(id, index, state);
        }
        for (key, value) in &topic.config {
            self.push(MetadataRecord::Config {
                resource: ConfigResource::Topic(name.clone()),
                key: key.clone(),
                value: Some(value.clone()),
            });
        }
        if chosen && wanted > 1 {
            self.push(MetadataRecord::Copies {
                topic: id,
                wanted: Some(wanted),
            });
        }
        Ok(PlannedTopic {
            name: name.clone(),
            id,
            partitions,
            config: topic.config.clone(),
        })
    }

    fn check_name(&self, name: &str) -> Result<(), ControllerError> {
        topic_name::check(name).map_err(|message| {
            ControllerError::new(error_code::INVALID_TOPIC_EXCEPTION, message)
        })?;
        if self.image().topic(name).is_some() {
            return Err(ControllerError::new(
                error_code::TOPIC_ALREADY_EXISTS,
                format!("topic \"{name}\" exists already"),
            ));
        }
        let twin = self
            .image()
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
        Ok(())
    }

    /// The replicas of each partition of a new topic, and how many were wanted of each.
    fn replicas_of_new(
        &self,
        topic: &NewTopic,
        left: i32,
    ) -> Result<(Vec<Vec<i32>>, i16), ControllerError> {
        let too_many = || {
            ControllerError::new(
                error_code::POLICY_VIOLATION,
                format!(
                    "a request may create at most {PARTITIONS_PER_REQUEST_MAX} partitions; ask for fewer"
                ),
            )
        };
        if !topic.assignments.is_empty() {
            let partitions = self.assigned(topic)?;
            if partitions.len() > usize::try_from(left).unwrap_or(0) {
                return Err(too_many());
            }
            return Ok((partitions, -1));
        }
        let live = self.usable().len();
        let (factor, wanted) = match topic.replication_factor {
            -1 => {
                let wanted = self.copies_wanted(&topic.name, &topic.config);
                // One is missing if there is none at all, which is then said.
                (
                    wanted.min(i16::try_from(live).unwrap_or(wanted)).max(1),
                    wanted,
                )
            }
            factor if factor < 1 => return Err(too_few(factor, live)),
            factor => (factor, factor),
        };
        let count = match topic.partitions {
            -1 => self.config().partitions_default,
            count if count < 1 => {
                return Err(ControllerError::new(
                    error_code::INVALID_PARTITIONS,
                    format!("{count} partitions are not possible; use at least 1"),
                ));
            }
            count => count,
        };
        if count > left {
            return Err(too_many());
        }
        Ok((self.place(count, factor, platform::random::u64())?, wanted))
    }

    fn assigned(&self, topic: &NewTopic) -> Result<Vec<Vec<i32>>, ControllerError> {
        if topic.partitions != -1 || topic.replication_factor != -1 {
            return Err(ControllerError::new(
                error_code::INVALID_REQUEST,
                "an assignment says how many partitions and replicas there are; leave both at -1",
            ));
        }
        let mut assignments = topic.assignments.clone();
        assignments.sort_unstable();
        let indexes = assignments.iter().map(|(index, _)| *index);
        if !indexes.eq(0..i32::try_from(assignments.len()).unwrap_or(i32::MAX)) {
            return Err(ControllerError::new(
                error_code::INVALID_REPLICA_ASSIGNMENT,
                "the assigned partitions must be numbered from 0 without gaps",
            ));
        }
        let factor = assignments.first().map_or(0, |(_, brokers)| brokers.len());
        for (_, brokers) in &assignments {
            self.check_assignment(brokers)?;
            if brokers.len() != factor {
                return Err(ControllerError::new(
                    error_code::INVALID_REPLICA_ASSIGNMENT,
                    "all partitions of a topic must be assigned to the same number of brokers",
                ));
            }
        }
        Ok(assignments
            .into_iter()
            .map(|(_, brokers)| brokers)
            .collect())
    }

    /// A new partition on these brokers, of which at least one has to be there.
    fn new_partition(&self, replicas: &[i32]) -> Result<PartitionState, ControllerError> {
        let mut state = PartitionState::new(replicas.to_vec());
        state.isr.retain(|id| self.may_lead(*id));
        match state.isr.first() {
            Some(leader) => state.leader = *leader,
            None => {
                return Err(ControllerError::new(
                    error_code::INVALID_REPLICA_ASSIGNMENT,
                    format!("none of the assigned brokers {replicas:?} is live"),
                ));
            }
        }
        Ok(state)
    }

    /// Deletes a topic; its records follow on every node that has them.
    pub(super) fn delete_topic(&mut self, name: &str, id: TopicId) -> Result<(), ControllerError> {
        if self.image().topic(name).is_some_and(|topic| topic.id == id) {
            self.push(MetadataRecord::RemoveTopic { id });
        } else if !self.image().is_removed(&id) {
            // Otherwise it was asked for before, and the answer was lost.
            return Err(ControllerError::unknown_topic(name));
        }
        Ok(())
    }

    /// Gives a topic `count` partitions in all.
    pub(super) fn create_partitions(
        &mut self,
        name: &str,
        count: i32,
        assignments: Option<&[Vec<i32>]>,
    ) -> Result<(), ControllerError> {
        let topic = self.topic(name)?;
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
        let factor = topic
            .partitions
            .values()
            .next()
            .map_or(1, |state| state.original_replicas().len());
        let partitions = match assignments {
            Some(assignments) => {
                self.check_new_assignments(assignments, count - current, factor)?;
                assignments.to_vec()
            }
            None => {
                let mut factor = i16::try_from(factor).unwrap_or(i16::MAX);
                if topic.copies_wanted.is_some() {
                    // The missing ones follow when there are more brokers.
                    let live = i16::try_from(self.usable().len()).unwrap_or(i16::MAX);
                    factor = factor.min(live.max(1));
                }
                self.place(count - current, factor, platform::random::u64())?
            }
        };
        let states = partitions
            .iter()
            .map(|replicas| self.new_partition(replicas))
            .collect::<Result<Vec<_>, _>>()?;
        for (index, state) in (current..).zip(states) {
            self.put_partition(topic.id, index, state);
        }
        Ok(())
    }

    fn check_new_assignments(
        &self,
        assignments: &[Vec<i32>],
        wanted: i32,
        factor: usize,
    ) -> Result<(), ControllerError> {
        if i32::try_from(assignments.len()) != Ok(wanted) {
            return Err(ControllerError::new(
                error_code::INVALID_REPLICA_ASSIGNMENT,
                format!(
                    "{} assignments are given for {wanted} new partitions; give one for each",
                    assignments.len()
                ),
            ));
        }
        for brokers in assignments {
            self.check_assignment(brokers)?;
            if brokers.len() != factor {
                return Err(ControllerError::new(
                    error_code::INVALID_REPLICA_ASSIGNMENT,
                    format!(
                        "assignment {brokers:?} has {} brokers, and the topic's partitions have {factor} replicas",
                        brokers.len()
                    ),
                ));
            }
        }
        Ok(())
    }
}
