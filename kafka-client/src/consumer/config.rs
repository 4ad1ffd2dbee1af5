//! How a consumer fetches and how it behaves in its group.

use std::time::Duration;

use crate::ClientError;

use super::Assignor;

/// Where to start when a partition has no committed offset, or it is no longer in the log
/// (`auto.offset.reset`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoOffsetReset {
    /// At the oldest record.
    Earliest,
    /// Behind the newest record.
    #[default]
    Latest,
    /// Nowhere: [`poll`](crate::Consumer::poll) fails with
    /// [`ClientError::NoOffset`](crate::ClientError::NoOffset).
    None,
}

/// Which records a consumer sees (`isolation.level`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IsolationLevel {
    /// All.
    #[default]
    ReadUncommitted,
    /// No records of open or aborted transactions.
    ReadCommitted,
}

impl IsolationLevel {
    pub(crate) const fn wire(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// Settings of a [`Consumer`](crate::Consumer); the defaults are Kafka's.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConsumerConfig {
    /// The group (`group.id`); needed for `subscribe`, `commit` and `committed`.
    pub group_id: Option<String>,
    /// A name that outlives this process, so that a restart causes no rebalance
    /// (`group.instance.id`).
    pub group_instance_id: Option<String>,
    /// Where to start without an offset (`auto.offset.reset`).
    pub auto_offset_reset: AutoOffsetReset,
    /// Which records to see (`isolation.level`).
    pub isolation: IsolationLevel,
    /// The broker answers once it has this many bytes (`fetch.min.bytes`); 1.
    pub fetch_min_bytes: usize,
    /// Or after this long (`fetch.max.wait.ms`); 500 ms.
    pub fetch_max_wait: Duration,
    /// The most bytes in one answer (`fetch.max.bytes`); 50 MiB. One answer per broker may wait
    /// while the application works on the previous one, so this bounds the consumer's memory.
    pub fetch_max_bytes: usize,
    /// The most bytes of one partition in one answer (`max.partition.fetch.bytes`); 1 MiB.
    pub max_partition_fetch_bytes: usize,
    /// The most bytes one batch may decompress to.
    pub max_decompressed_bytes: usize,
    /// A member that sends no heartbeat for this long is out of the group (`session.timeout.ms`);
    /// 45 s.
    pub session_timeout: Duration,
    /// The time between heartbeats (`heartbeat.interval.ms`); 3 s.
    pub heartbeat_interval: Duration,
    /// A member that does not call `poll` for this long leaves the group
    /// (`max.poll.interval.ms`); 5 minutes.
    pub max_poll_interval: Duration,
    /// The assignment strategies this member supports, preferred first
    /// (`partition.assignment.strategy`).
    pub assignors: Vec<Assignor>,
    /// Whether each batch's checksum is verified (`check.crcs`); yes.
    pub check_crcs: bool,
    /// Whether reading an absent topic may create it (`allow.auto.create.topics`); no, unlike
    /// Kafka's consumer.
    pub allow_auto_create_topics: bool,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            group_id: None,
            group_instance_id: None,
            auto_offset_reset: AutoOffsetReset::Latest,
            isolation: IsolationLevel::ReadUncommitted,
            fetch_min_bytes: 1,
            fetch_max_wait: Duration::from_millis(500),
            fetch_max_bytes: 50 * 1024 * 1024,
            max_partition_fetch_bytes: 1024 * 1024,
            max_decompressed_bytes: 64 * 1024 * 1024,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
            check_crcs: true,
            allow_auto_create_topics: false,
        }
    }
}

impl ConsumerConfig {
    /// The defaults, in a group.
    pub fn group(group_id: impl Into<String>) -> Self {
        Self {
            group_id: Some(group_id.into()),
            ..Self::default()
        }
    }

    /// Refuses combinations that cannot work.
    ///
    /// # Errors
    /// [`ClientError::Configuration`]: the first setting that contradicts another one.
    pub fn validate(&self) -> Result<(), ClientError> {
        let fail = |key, reason: &str| {
            Err(ClientError::Configuration {
                key,
                reason: reason.to_owned(),
            })
        };
        if self.group_id.as_deref() == Some("") {
            return fail("group.id", "must not be empty");
        }
        if self.heartbeat_interval >= self.session_timeout {
            return fail(
                "heartbeat.interval.ms",
                "must be shorter than session.timeout.ms, better a third of it",
            );
        }
        if self.assignors.is_empty() {
            return fail(
                "partition.assignment.strategy",
                "needs at least one of range, roundrobin, cooperative-sticky",
            );
        }
        Ok(())
    }
}
