//! A decision of the active controller in the making: the metadata it began with, what was decided
//! so far, and the metadata as it will be then. Free of I/O and of time.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ControllerError;
use super::image::{MetadataImage, TopicImage};
use super::record::{BrokerRegistration, MetadataRecord, PartitionState, TopicId};
use crate::config::BrokerConfig;

/// Replicas that have to be in sync.
pub(super) const MIN_INSYNC: &str = "min.insync.replicas";
/// Whether a leader may lack committed records.
pub(super) const UNCLEAN: &str = "unclean.leader.election.enable";

/// See the module.
pub(super) struct Plan<'a> {
    image: MetadataImage,
    records: Vec<MetadataRecord>,
    /// This broker's configuration, which settings fall back to. All brokers are expected to agree
    /// on what is in it, apart from who and where they are.
    config: &'a BrokerConfig,
}

impl<'a> Plan<'a> {
    pub(super) fn new(image: &MetadataImage, config: &'a BrokerConfig) -> Self {
        Self {
            image: image.clone(),
            records: Vec::new(),
            config,
        }
    }

    /// The metadata with everything that was decided.
    pub(super) fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// What was decided.
    pub(super) fn into_records(self) -> Vec<MetadataRecord> {
        self.records
    }

    pub(super) fn config(&self) -> &'a BrokerConfig {
        self.config
    }

    /// Decides on a record.
    pub(super) fn push(&mut self, record: MetadataRecord) {
        self.image.apply(&record);
        self.records.push(record);
    }

    pub(super) fn put_partition(&mut self, topic: TopicId, index: i32, state: PartitionState) {
        self.push(MetadataRecord::Partition {
            topic,
            index,
            state,
        });
    }

    pub(super) fn put_broker(&mut self, broker: BrokerRegistration) {
        self.push(MetadataRecord::Broker(broker));
    }

    /// Changes the standing of a broker; says whether it is registered.
    pub(super) fn change_broker(
        &mut self,
        id: i32,
        change: impl FnOnce(&mut BrokerRegistration),
    ) -> bool {
        let Some(before) = self.image.broker(id).cloned() else {
            return false;
        };
        let mut broker = before.clone();
        change(&mut broker);
        if broker != before {
            self.put_broker(broker);
        }
        true
    }

    /// A topic as it is now; the plan may be changed while looking at it.
    ///
    /// # Errors
    /// When it does not exist.
    pub(super) fn topic(&self, name: &str) -> Result<Arc<TopicImage>, ControllerError> {
        let topic = self.image.topic(name).cloned();
        topic.ok_or_else(|| ControllerError::unknown_topic(name))
    }

    /// All topics as they are now; the plan may be changed while looking at them.
    pub(super) fn topics(&self) -> Vec<Arc<TopicImage>> {
        self.image.topics().cloned().collect()
    }

    /// Whether `id` may become a leader or an in-sync replica.
    pub(super) fn may_lead(&self, id: i32) -> bool {
        self.image
            .broker(id)
            .is_some_and(BrokerRegistration::may_lead)
    }

    /// Ids of the brokers that may be given replicas.
    pub(super) fn usable(&self) -> BTreeSet<i32> {
        self.image
            .usable_brokers()
            .map(|broker| broker.id)
            .collect()
    }

    /// What is set for `key`: on the topic, at run time for all brokers, or in the file.
    pub(super) fn setting<'b>(
        &'b self,
        topic: Option<&'b TopicImage>,
        key: &str,
    ) -> Option<&'b str> {
        topic
            .and_then(|topic| topic.config.get(key))
            .or_else(|| self.image.broker_config("").and_then(|all| all.get(key)))
            .or_else(|| self.config.settings.get(key))
            .map(|value| value.trim())
    }

    /// The replicas that have to be in sync in `topic` before anything is committed, as far as a
    /// partition has as many.
    pub(super) fn min_insync(&self, topic: &TopicImage) -> usize {
        self.setting(Some(topic), MIN_INSYNC)
            .and_then(|value| value.parse().ok())
            .unwrap_or(1)
    }

    /// Whether a replica that is not in sync may lead `topic` when no other is left.
    pub(super) fn unclean(&self, topic: &TopicImage) -> bool {
        self.setting(Some(topic), UNCLEAN) == Some("true")
    }
}
