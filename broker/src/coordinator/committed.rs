//! The committed offsets of one group and when they expire.

use std::collections::BTreeMap;

use kafka_wire_core::StrBytes;

use super::{group::Group, record::OffsetValue, settings::GroupSettings, state::GroupState};

/// A partition of a topic.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct TopicPartition {
    /// The topic's name.
    pub(crate) topic: StrBytes,
    /// The partition's index.
    pub(crate) partition: i32,
}

/// What the log says a group has committed. Only written offsets get here.
///
/// Commits are accepted for existing partitions only, which bounds it.
#[derive(Debug, Default)]
pub(crate) struct CommittedOffsets(BTreeMap<TopicPartition, OffsetValue>);

impl CommittedOffsets {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The offset of one partition.
    pub(crate) fn get(&self, partition: &TopicPartition) -> Option<&OffsetValue> {
        self.0.get(partition)
    }

    /// All of them, ordered by topic and partition.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &OffsetValue)> {
        self.0.iter()
    }

    /// Takes over a written offset.
    pub(crate) fn insert(&mut self, partition: TopicPartition, value: OffsetValue) {
        self.0.insert(partition, value);
    }

    /// Forgets an offset whose tombstone is written.
    pub(crate) fn remove(&mut self, partition: &TopicPartition) {
        self.0.remove(partition);
    }
}

impl Group {
    /// The partitions whose offsets expired by `now` (milliseconds since the Unix epoch).
    ///
    /// - The offsets of a group that lost its members expire when it has been empty for the
    ///   retention time, not before, however old the commits are (KIP-211).
    /// - In a running consumer group the offsets of topics nobody is subscribed to any more
    ///   expire by the time of the commit.
    /// - So do those of a group that never had members.
    pub(crate) fn expired_offsets(
        &self,
        settings: &GroupSettings,
        now: i64,
    ) -> Vec<TopicPartition> {
        let retention = i64::try_from(settings.offsets_retention.as_millis()).unwrap_or(i64::MAX);
        let empty_since = self.empty_since();
        let subscribed = if self.state() == GroupState::Stable {
            self.subscribed_topics()
        } else {
            None
        };
        let by_commit_time = |topic: &StrBytes| match &subscribed {
            Some(topics) => !topics.contains(topic),
            None => self.is_simple(),
        };
        self.offsets
            .iter()
            .filter(|(partition, value)| {
                let since = match empty_since {
                    Some(since) => since.max(value.commit_timestamp),
                    None if by_commit_time(&partition.topic) => value.commit_timestamp,
                    None if self.state() == GroupState::Empty => value.commit_timestamp,
                    None => return false,
                };
                match value.expire_timestamp {
                    Some(expires) => expires <= now,
                    None => now.saturating_sub(since) >= retention,
                }
            })
            .map(|(partition, _)| partition.clone())
            .collect()
    }
}
