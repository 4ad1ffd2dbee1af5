//! What an operator can set about groups, under Kafka's names.

use std::time::Duration;

/// The coordinator's configuration. Each field's documentation names the broker property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupSettings {
    /// `group.initial.rebalance.delay.ms`: how long the first rebalance of an empty group waits
    /// for more members.
    pub(crate) initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`.
    pub(crate) min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`.
    pub(crate) max_session_timeout: Duration,
    /// `group.max.size`: members in one group.
    pub(crate) max_size: usize,
    /// `offset.metadata.max.bytes`.
    pub(crate) offset_metadata_bytes_max: usize,
    /// `offsets.retention.minutes`: how long the offsets of an empty group are kept.
    pub(crate) offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub(crate) offsets_retention_check_interval: Duration,
    /// `offsets.topic.compression.codec`, for the batches of `__consumer_offsets`.
    pub(crate) compression: kafka_records::Compression,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::from_millis(3000),
            min_session_timeout: Duration::from_millis(6000),
            max_session_timeout: Duration::from_millis(1_800_000),
            max_size: i32::MAX as usize,
            offset_metadata_bytes_max: 4096,
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
            offsets_retention_check_interval: Duration::from_secs(600),
            compression: kafka_records::Compression::None,
        }
    }
}

/// Members that were told to join again but haven't yet, per group. Each is a few hundred bytes
/// until its session timeout, so a client that only ever asks for an id can't fill the memory.
pub(crate) const PENDING_MEMBERS_MAX: usize = 10_000;

/// Protocol metadata one member may bring. A group is one record of `__consumer_offsets`, and
/// that record must fit into a batch.
pub(crate) const MEMBER_METADATA_BYTES_MAX: usize = 1024 * 1024;

/// Protocol metadata of all members of a group together.
pub(crate) const GROUP_METADATA_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a new member's join may stay unanswered before the member is given up: it has no id
/// yet and so can't send heartbeats.
pub(crate) const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(300);

/// The longest string the record format of `__consumer_offsets` can hold.
pub(crate) const STRING_BYTES_MAX: usize = i16::MAX as usize;
