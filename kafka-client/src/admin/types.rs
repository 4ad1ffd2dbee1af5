//! What admin calls take and give.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{BrokerInfo, TopicPartition};

/// A topic to be created.
#[derive(Debug, Clone)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Its number of partitions; -1 is the broker's default. Ignored with `assignments`.
    pub partitions: i32,
    /// The number of copies; -1 is the broker's default. Ignored with `assignments`.
    pub replication_factor: i16,
    /// Topic settings that differ from the broker's.
    pub configs: BTreeMap<String, String>,
    /// Brokers of each partition's copies, first the preferred leader; empty lets the cluster
    /// choose.
    pub assignments: Vec<Vec<i32>>,
}

impl NewTopic {
    /// A topic with this many partitions and copies.
    pub fn new(name: impl Into<String>, partitions: i32, replication_factor: i16) -> Self {
        Self {
            name: name.into(),
            partitions,
            replication_factor,
            configs: BTreeMap::new(),
            assignments: Vec::new(),
        }
    }

    /// The same with one more setting.
    #[must_use]
    pub fn with_config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.insert(key.into(), value.into());
        self
    }
}

/// A topic in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicListing {
    /// Its name.
    pub name: String,
    /// Its id; zero if the broker is too old to have ids.
    pub id: [u8; 16],
    /// Whether it belongs to the cluster itself, such as `__consumer_offsets`.
    pub internal: bool,
    /// The number of its partitions.
    pub partitions: usize,
}

/// A topic with its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id; zero if the broker is too old to have ids.
    pub id: [u8; 16],
    /// Whether it belongs to the cluster itself.
    pub internal: bool,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionInfo>,
}

/// Where a partition's copies are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its number.
    pub index: i32,
    /// The leader's broker id; -1 if there is none.
    pub leader: i32,
    /// Counts the elections; -1 if unknown.
    pub leader_epoch: i32,
    /// Brokers that have a copy, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those in sync.
    pub isr: Vec<i32>,
    /// Those that cannot be reached.
    pub offline: Vec<i32>,
    /// Eligible leaders outside the in-sync set (KIP-966).
    pub elr: Vec<i32>,
    /// The last known eligible leaders (KIP-966).
    pub last_known_elr: Vec<i32>,
}

/// The kind of thing a configuration belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConfigResourceType {
    /// A topic.
    Topic,
    /// A broker; the empty name is the default of all brokers.
    Broker,
    /// A broker's loggers.
    BrokerLogger,
    /// A client metrics subscription.
    ClientMetrics,
    /// A group.
    Group,
    /// A kind this client doesn't know, by its number.
    Other(i8),
}

impl ConfigResourceType {
    pub(crate) const fn wire(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::BrokerLogger => 8,
            Self::ClientMetrics => 16,
            Self::Group => 32,
            Self::Other(number) => number,
        }
    }

    pub(crate) const fn from_wire(number: i8) -> Self {
        match number {
            2 => Self::Topic,
            4 => Self::Broker,
            8 => Self::BrokerLogger,
            16 => Self::ClientMetrics,
            32 => Self::Group,
            other => Self::Other(other),
        }
    }
}

/// What a configuration belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConfigResource {
    /// The kind.
    pub kind: ConfigResourceType,
    /// The name: a topic, a broker's id, a group.
    pub name: String,
}

impl ConfigResource {
    /// A topic's configuration.
    pub fn topic(name: impl Into<String>) -> Self {
        Self {
            kind: ConfigResourceType::Topic,
            name: name.into(),
        }
    }

    /// A broker's configuration.
    #[must_use]
    pub fn broker(id: i32) -> Self {
        Self {
            kind: ConfigResourceType::Broker,
            name: id.to_string(),
        }
    }
}

/// Where a configuration value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on the broker at run time.
    DynamicBroker,
    /// Set for all brokers at run time.
    DynamicDefaultBroker,
    /// From the broker's configuration file.
    StaticBroker,
    /// Nobody set it.
    Default,
    /// Set on the broker's logger.
    DynamicBrokerLogger,
    /// Set on a client metrics subscription.
    ClientMetrics,
    /// Set on a group.
    Group,
    /// A source this client doesn't know, by its number.
    Unknown(i8),
}

impl ConfigSource {
    pub(crate) const fn from_wire(number: i8) -> Self {
        match number {
            1 => Self::Topic,
            2 => Self::DynamicBroker,
            3 => Self::DynamicDefaultBroker,
            4 => Self::StaticBroker,
            5 => Self::Default,
            6 => Self::DynamicBrokerLogger,
            7 => Self::ClientMetrics,
            8 => Self::Group,
            other => Self::Unknown(other),
        }
    }

    /// Kafka's name of the source, such as `DYNAMIC_TOPIC_CONFIG`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Topic => "DYNAMIC_TOPIC_CONFIG",
            Self::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
            Self::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            Self::StaticBroker => "STATIC_BROKER_CONFIG",
            Self::Default => "DEFAULT_CONFIG",
            Self::DynamicBrokerLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
            Self::ClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
            Self::Group => "DYNAMIC_GROUP_CONFIG",
            Self::Unknown(_) => "UNKNOWN",
        }
    }
}

/// One configuration value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The key.
    pub name: String,
    /// The value; `None` for secrets.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Whether it is a secret.
    pub sensitive: bool,
    /// Whether it cannot be changed at run time.
    pub read_only: bool,
    /// The values it would have, most specific first, with their sources.
    pub synonyms: Vec<(String, Option<String>, ConfigSource)>,
    /// What it means, if the broker says so.
    pub documentation: Option<String>,
}

/// How one key is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlterConfigOp {
    /// To this value.
    Set,
    /// Back to the default.
    Delete,
    /// Add to a list.
    Append,
    /// Remove from a list.
    Subtract,
}

impl AlterConfigOp {
    pub(crate) const fn wire(self) -> i8 {
        match self {
            Self::Set => 0,
            Self::Delete => 1,
            Self::Append => 2,
            Self::Subtract => 3,
        }
    }
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigAlteration {
    /// The key.
    pub name: String,
    /// What to do with it.
    pub op: AlterConfigOp,
    /// The value; none for [`AlterConfigOp::Delete`].
    pub value: Option<String>,
}

/// Which offset of a partition is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The oldest record's.
    Earliest,
    /// The one the next record will get.
    Latest,
    /// That of the first record at or after this time, in milliseconds since 1970.
    Timestamp(i64),
    /// That of the record with the greatest timestamp.
    MaxTimestamp,
}

impl OffsetSpec {
    pub(crate) const fn wire(self) -> i64 {
        match self {
            Self::Earliest => -2,
            Self::Latest => -1,
            Self::MaxTimestamp => -3,
            Self::Timestamp(milliseconds) => milliseconds,
        }
    }
}

/// An offset that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset; -1 if no record matches.
    pub offset: i64,
    /// The record's timestamp; -1 for `Earliest` and `Latest`.
    pub timestamp: i64,
    /// The leader epoch of the record; -1 if unknown.
    pub leader_epoch: i32,
}

/// A group in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// Its id.
    pub group: String,
    /// `consumer`, `connect`, or empty for a group that only has offsets.
    pub protocol_type: String,
    /// `Stable`, `Empty`, …; empty if the broker is too old to say.
    pub state: String,
    /// `classic` or `consumer`; empty if the broker is too old to say.
    pub group_type: String,
}

/// A group and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub group: String,
    /// `Stable`, `Empty`, `PreparingRebalance`, `CompletingRebalance`, `Dead`.
    pub state: String,
    /// `consumer`, `connect`, ….
    pub protocol_type: String,
    /// The assignment strategy in use.
    pub protocol: String,
    /// The broker that coordinates it.
    pub coordinator: Option<BrokerInfo>,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The id it got from the coordinator.
    pub member_id: String,
    /// Its static name, if it has one.
    pub instance_id: Option<String>,
    /// Its `client.id`.
    pub client_id: String,
    /// Where it connects from, as `/10.0.0.1`.
    pub host: String,
    /// What it owns, for groups of consumers.
    pub assignment: Vec<TopicPartition>,
}

/// The cluster, as its members know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: String,
    /// The broker that takes administrative requests; -1 if unknown.
    pub controller: i32,
    /// Its brokers that serve clients.
    pub brokers: Vec<BrokerInfo>,
    /// Brokers that belong to it and serve nobody: they are away, or not ready yet. Clusters older
    /// than Kafka 4.0 don't tell.
    pub fenced: Vec<BrokerInfo>,
}

/// Which replica may become a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElectionType {
    /// The first of the partition's replicas, if it is in sync.
    Preferred,
    /// Any live replica where none that is in sync lives: records may be lost.
    Unclean,
}

impl ElectionType {
    pub(crate) const fn wire(self) -> i8 {
        match self {
            Self::Preferred => 0,
            Self::Unclean => 1,
        }
    }
}

/// A partition's move to other brokers that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionReassignment {
    /// All brokers that have a copy or get one.
    pub replicas: Vec<i32>,
    /// Those of them that get one.
    pub adding: Vec<i32>,
    /// Those of them that lose theirs in the end.
    pub removing: Vec<i32>,
}

/// The quorum that keeps the cluster's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumDescription {
    /// The active controller's node id.
    pub leader: i32,
    /// Counts the elections.
    pub leader_epoch: i32,
    /// Where the committed part of the metadata log ends.
    pub high_watermark: i64,
    /// Those who vote.
    pub voters: Vec<QuorumReplica>,
    /// Those who follow the log without a vote.
    pub observers: Vec<QuorumReplica>,
    /// Where the voters listen; empty if the cluster is older than Kafka 3.9.
    pub nodes: Vec<QuorumNode>,
}

/// How far one member of the metadata quorum is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumReplica {
    /// Its node id.
    pub id: i32,
    /// The id of its data folder; zero if unknown.
    pub directory: [u8; 16],
    /// Where its copy of the metadata log ends.
    pub log_end_offset: i64,
    /// When the leader last heard of it, in milliseconds since 1970.
    pub last_fetch_ms: Option<i64>,
    /// When it last had everything, in milliseconds since 1970.
    pub last_caught_up_ms: Option<i64>,
}

/// A voter's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumNode {
    /// Its node id.
    pub id: i32,
    /// Where it listens for the quorum.
    pub listeners: Vec<QuorumListener>,
}

/// An address of a voter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumListener {
    /// The listener's name.
    pub name: String,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A data folder of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDirDescription {
    /// The broker.
    pub broker: i32,
    /// The folder's path.
    pub path: String,
    /// Why it is unusable, if it is.
    pub error: Option<crate::ErrorCode>,
    /// The size of its volume; -1 if unknown.
    pub total_bytes: i64,
    /// What is left of it; -1 if unknown.
    pub usable_bytes: i64,
    /// The copies in it.
    pub replicas: Vec<LogDirReplica>,
}

/// One copy of a partition in a data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDirReplica {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The bytes of its log.
    pub size_bytes: i64,
    /// How far it is behind.
    pub offset_lag: i64,
    /// Whether it is being moved here and will replace the present copy.
    pub future: bool,
}
