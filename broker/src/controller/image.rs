//! The cluster's metadata at one moment: immutable, shared by everyone who reads it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::ControllerError;
use super::record::{BrokerRegistration, ConfigResource, MetadataRecord, PartitionState, TopicId};
use crate::config::layers::Settings;

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicImage {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its id, which a topic of the same name created later does not have.
    pub(crate) id: TopicId,
    /// Its partitions by index, which have no gaps.
    pub(crate) partitions: BTreeMap<i32, PartitionState>,
    /// What has been set on it.
    pub(crate) config: Settings,
    /// Replicas each partition gets when there are enough brokers; none where their number was
    /// chosen by a person.
    pub(crate) copies_wanted: Option<i16>,
}

impl TopicImage {
    /// Number of partitions.
    pub(crate) fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// One of its partitions.
    ///
    /// # Errors
    /// When it does not exist.
    pub(super) fn partition(&self, index: i32) -> Result<&PartitionState, ControllerError> {
        let state = self.partitions.get(&index);
        state.ok_or_else(|| ControllerError::unknown_partition(&self.name, index))
    }

    /// Whether it is one of Kafka's own topics.
    pub(crate) fn is_internal(&self) -> bool {
        is_internal(&self.name)
    }
}

/// Whether `topic` is one of Kafka's own.
pub(crate) fn is_internal(topic: &str) -> bool {
    matches!(topic, "__consumer_offsets" | "__transaction_state")
}

/// The whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MetadataImage {
    topics: BTreeMap<Arc<str>, Arc<TopicImage>>,
    names: HashMap<TopicId, Arc<str>>,
    /// Topics that were deleted, the latest last; a broker that was away deletes their records
    /// when it is back.
    removed: VecDeque<TopicId>,
    broker_configs: BTreeMap<String, Settings>,
    brokers: BTreeMap<i32, BrokerRegistration>,
    /// The highest broker epoch ever given.
    broker_epoch: i64,
    cluster_id: Option<Arc<str>>,
    next_producer_id: i64,
    /// Position in the quorum's log of the last record in here.
    version: u64,
}

/// Deleted topics that are remembered.
const REMOVED_MAX: usize = 10_000;

impl MetadataImage {
    /// The topic called `name`.
    pub(crate) fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(name)
    }

    /// The topic whose id is `id`.
    pub(crate) fn topic_by_id(&self, id: &TopicId) -> Option<&Arc<TopicImage>> {
        self.names.get(id).and_then(|name| self.topics.get(name))
    }

    /// All topics by name.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.topics.values()
    }

    /// The topics from `name` on.
    pub(crate) fn topics_from<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Arc<TopicImage>> {
        self.topics
            .range::<str, _>((std::ops::Bound::Included(name), std::ops::Bound::Unbounded))
            .map(|(_, topic)| topic)
    }

    /// Whether the topic `id` was deleted and its records may still have to go.
    pub(crate) fn is_removed(&self, id: &TopicId) -> bool {
        self.removed.contains(id)
    }

    /// What has been set at run time for the broker `name`; empty for all brokers.
    pub(crate) fn broker_config(&self, name: &str) -> Option<&Settings> {
        self.broker_configs.get(name)
    }

    /// The lowest producer id that has not been handed out.
    pub(crate) fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// The cluster's id, once it has one.
    pub(crate) fn cluster_id(&self) -> Option<&Arc<str>> {
        self.cluster_id.as_ref()
    }

    /// The broker `id`, if it is registered.
    pub(crate) fn broker(&self, id: i32) -> Option<&BrokerRegistration> {
        self.brokers.get(&id)
    }

    /// All registered brokers by id.
    pub(crate) fn brokers(&self) -> impl Iterator<Item = &BrokerRegistration> {
        self.brokers.values()
    }

    /// Whether broker `id` is registered and not fenced.
    pub(crate) fn is_live(&self, id: i32) -> bool {
        self.brokers.get(&id).is_some_and(|broker| !broker.fenced)
    }

    /// Whether a fenced broker is in sync somewhere beside a live one that is `there`, and need not
    /// be.
    pub(crate) fn has_fenced_beside(&self, there: impl Fn(i32) -> bool) -> bool {
        let mut partitions = self.topics().flat_map(|topic| topic.partitions.values());
        partitions.any(|state| self.is_fenced_beside(state, &there))
    }

    /// The same in one partition.
    pub(crate) fn is_fenced_beside(
        &self,
        state: &PartitionState,
        there: impl Fn(i32) -> bool,
    ) -> bool {
        let live = |id: &i32| self.is_live(*id);
        !state.isr.iter().all(live) && state.isr.iter().any(|id| live(id) && there(*id))
    }

    /// The brokers that may be given replicas.
    pub(crate) fn usable_brokers(&self) -> impl Iterator<Item = &BrokerRegistration> {
        self.brokers
            .values()
            .filter(|broker| broker.may_lead() && !broker.leaving)
    }

    /// The epoch of the next broker that registers.
    pub(crate) fn next_broker_epoch(&self) -> i64 {
        self.broker_epoch + 1
    }

    /// Position in the quorum's log of the last record in here. Grows with every change.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// For whoever applies records: where the last one was in the quorum's log.
    pub(crate) fn set_version(&mut self, version: u64) {
        self.version = version;
    }

    /// Applies one change. Deterministic, and total: a record about something that is not there
    /// changes nothing, and neither does one that was decided on an older state than the present
    /// one, as a leader of the quorum that lost and regained its place could do.
    pub(crate) fn apply(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::Topic { name, id } => {
                let name: Arc<str> = name.as_str().into();
                if self.topics.get(&name).is_some_and(|topic| topic.id != *id) {
                    return;
                }
                self.names.insert(*id, name.clone());
                let config = self
                    .topics
                    .get(&name)
                    .filter(|topic| topic.id == *id)
                    .map(|topic| topic.config.clone())
                    .unwrap_or_default();
                let topic = TopicImage {
                    name: name.clone(),
                    id: *id,
                    partitions: BTreeMap::new(),
                    config,
                    copies_wanted: None,
                };
                self.topics.insert(name, Arc::new(topic));
            }
            MetadataRecord::Partition {
                topic,
                index,
                state,
            } => {
                if let Some(topic) = self.topic_mut(topic) {
                    let outdated = topic
                        .partitions
                        .get(index)
                        .is_some_and(|known| state.partition_epoch <= known.partition_epoch);
                    if !outdated {
                        topic.partitions.insert(*index, state.clone());
                    }
                }
            }
            MetadataRecord::Copies { topic, wanted } => {
                if let Some(topic) = self.topic_mut(topic) {
                    topic.copies_wanted = *wanted;
                }
            }
            MetadataRecord::RemoveTopic { id } => {
                if let Some(name) = self.names.remove(id) {
                    self.topics.remove(&name);
                }
                if !self.removed.contains(id) {
                    self.removed.push_back(*id);
                }
                if self.removed.len() > REMOVED_MAX {
                    self.removed.pop_front();
                }
            }
            MetadataRecord::Config {
                resource,
                key,
                value,
            } => {
                let settings = match resource {
                    ConfigResource::Topic(name) => {
                        let Some(topic) = self.topics.get_mut(name.as_str()) else {
                            return;
                        };
                        &mut Arc::make_mut(topic).config
                    }
                    ConfigResource::Broker(name) => {
                        self.broker_configs.entry(name.clone()).or_default()
                    }
                };
                match value {
                    Some(value) => settings.insert(key.clone(), value.clone()),
                    None => settings.remove(key),
                };
                self.broker_configs
                    .retain(|_, settings| !settings.is_empty());
            }
            MetadataRecord::ProducerIds { next } => {
                self.next_producer_id = self.next_producer_id.max(*next);
            }
            MetadataRecord::Cluster { id } => self.cluster_id = Some(id.as_str().into()),
            MetadataRecord::Broker(broker) => {
                let known = self.brokers.get(&broker.id);
                if known.is_some_and(|known| broker.epoch < known.epoch) {
                    return;
                }
                self.broker_epoch = self.broker_epoch.max(broker.epoch);
                self.brokers.insert(broker.id, broker.clone());
            }
            MetadataRecord::BrokerEpochs { last } => {
                self.broker_epoch = self.broker_epoch.max(*last);
            }
            MetadataRecord::RemoveBroker { id } => {
                self.brokers.remove(id);
            }
        }
    }

    /// Records that rebuild this image from an empty one.
    pub(crate) fn to_records(&self) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        for topic in self.topics.values() {
            records.push(MetadataRecord::Topic {
                name: topic.name.to_string(),
                id: topic.id,
            });
            for (index, partition) in &topic.partitions {
                records.push(MetadataRecord::Partition {
                    topic: topic.id,
                    index: *index,
                    state: partition.clone(),
                });
            }
            if topic.copies_wanted.is_some() {
                records.push(MetadataRecord::Copies {
                    topic: topic.id,
                    wanted: topic.copies_wanted,
                });
            }
            let resource = ConfigResource::Topic(topic.name.to_string());
            records.extend(config_records(&resource, &topic.config));
        }
        for (name, settings) in &self.broker_configs {
            records.extend(config_records(
                &ConfigResource::Broker(name.clone()),
                settings,
            ));
        }
        for id in &self.removed {
            records.push(MetadataRecord::RemoveTopic { id: *id });
        }
        records.extend(self.brokers.values().cloned().map(MetadataRecord::Broker));
        records.push(MetadataRecord::BrokerEpochs {
            last: self.broker_epoch,
        });
        records.push(MetadataRecord::ProducerIds {
            next: self.next_producer_id,
        });
        let cluster_id = self.cluster_id.as_deref().map(str::to_owned);
        records.extend(cluster_id.map(|id| MetadataRecord::Cluster { id }));
        records
    }

    fn topic_mut(&mut self, id: &TopicId) -> Option<&mut TopicImage> {
        let name = self.names.get(id)?;
        self.topics.get_mut(name).map(Arc::make_mut)
    }
}

fn config_records<'a>(
    resource: &'a ConfigResource,
    settings: &'a Settings,
) -> impl Iterator<Item = MetadataRecord> + 'a {
    settings.iter().map(|(key, value)| MetadataRecord::Config {
        resource: resource.clone(),
        key: key.clone(),
        value: Some(value.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(records: &[MetadataRecord]) -> MetadataImage {
        let mut image = MetadataImage::default();
        for record in records {
            image.apply(record);
        }
        image
    }

    fn topic(name: &str, id: u8) -> [MetadataRecord; 2] {
        [
            MetadataRecord::Topic {
                name: name.to_owned(),
                id: [id; 16],
            },
            MetadataRecord::Partition {
                topic: [id; 16],
                index: 0,
                state: PartitionState::new(vec![0]),
            },
        ]
    }

    #[test]
    fn an_image_is_rebuilt_from_its_own_records() {
        let mut records = Vec::new();
        records.extend(topic("a", 1));
        records.extend(topic("b", 2));
        records.push(MetadataRecord::Config {
            resource: ConfigResource::Topic("a".to_owned()),
            key: "retention.ms".to_owned(),
            value: Some("5".to_owned()),
        });
        records.push(MetadataRecord::Config {
            resource: ConfigResource::Broker(String::new()),
            key: "log.retention.ms".to_owned(),
            value: Some("7".to_owned()),
        });
        records.push(MetadataRecord::RemoveTopic { id: [2; 16] });
        records.push(MetadataRecord::ProducerIds { next: 2000 });
        let image = built(&records);
        assert!(image.is_removed(&[2; 16]));
        assert_eq!(built(&image.to_records()), image);
    }

    #[test]
    fn a_topic_created_again_has_nothing_of_the_old_one() {
        let mut records = Vec::new();
        records.extend(topic("a", 1));
        records.push(MetadataRecord::Config {
            resource: ConfigResource::Topic("a".to_owned()),
            key: "retention.ms".to_owned(),
            value: Some("5".to_owned()),
        });
        records.push(MetadataRecord::RemoveTopic { id: [1; 16] });
        records.extend(topic("a", 3));
        let image = built(&records);
        assert_eq!(image.topic("a").unwrap().id, [3; 16]);
        assert!(image.topic("a").unwrap().config.is_empty());
        assert!(image.topic_by_id(&[1; 16]).is_none());
    }

    #[test]
    fn a_state_that_was_decided_on_an_older_one_changes_nothing() {
        let mut records = Vec::from(topic("a", 1));
        let newer = |partition_epoch, leader| MetadataRecord::Partition {
            topic: [1; 16],
            index: 0,
            state: PartitionState {
                leader,
                partition_epoch,
                ..PartitionState::new(vec![0, 1])
            },
        };
        records.extend([newer(2, 1), newer(2, 0), newer(1, 0)]);
        records.push(MetadataRecord::Topic {
            name: "a".to_owned(),
            id: [2; 16],
        });
        let image = built(&records);
        let topic = image.topic("a").unwrap();
        assert_eq!((topic.id, topic.partitions[&0].leader), ([1; 16], 1));
    }

    #[test]
    fn records_about_what_is_not_there_change_nothing() {
        let image = built(&[
            MetadataRecord::Partition {
                topic: [9; 16],
                index: 0,
                state: PartitionState::new(vec![0]),
            },
            MetadataRecord::RemoveBroker { id: 9 },
            MetadataRecord::Config {
                resource: ConfigResource::Topic("x".to_owned()),
                key: "k".to_owned(),
                value: None,
            },
        ]);
        assert_eq!(image, MetadataImage::default());
    }
}
