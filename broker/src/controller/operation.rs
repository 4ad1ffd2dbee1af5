//! What may be asked of the active controller. Every node takes requests of clients; what changes
//! the cluster's metadata is carried out where the quorum's leader is.

use serde::{Deserialize, Serialize};

use super::record::{ConfigResource, PartitionState, TopicId};
use super::topic_config::ConfigChange;
use super::{ControllerError, NewTopic};

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    CreateTopics {
        topics: Vec<NewTopic>,
        /// The ids they get, one per topic: who has to ask again recognizes its own.
        ids: Vec<TopicId>,
        validate_only: bool,
    },
    DeleteTopic {
        name: String,
        id: TopicId,
    },
    CreatePartitions {
        name: String,
        count: i32,
        assignments: Option<Vec<Vec<i32>>>,
        validate_only: bool,
    },
    AlterConfig {
        resource: ConfigResource,
        changes: Vec<ConfigChange>,
        replace: bool,
        validate_only: bool,
    },
    /// Creates one of Kafka's own topics if it is not there.
    EnsureInternalTopic {
        name: String,
    },
    /// A block of producer ids.
    ProducerIds,
    /// A leader changes the in-sync replicas of its partitions (AlterPartition in Kafka).
    AlterIsr {
        broker: i32,
        broker_epoch: i64,
        changes: Vec<IsrChange>,
    },
    /// Elects leaders (KIP-460); all partitions where none are named.
    ElectLeaders {
        election: Election,
        partitions: Option<Vec<(String, i32)>>,
    },
    /// Begins, replaces or (without replicas) cancels reassignments (KIP-455).
    Reassign {
        allow_factor_change: bool,
        changes: Vec<Reassignment>,
    },
    /// Takes a broker out of the cluster for good: its replicas are moved away first, then its
    /// vote goes. Answers when that has begun; `connect cluster remove` asks again until it is
    /// gone. With `at_once_if_dead`, a dead one's replicas are not waited for.
    RemoveBroker {
        id: i32,
        /// The disk it has as far as the asking node knows: one that has joined under this id since
        /// must not be taken out by a request that was long under way.
        directory: String,
        at_once_if_dead: bool,
    },
}

impl Operation {
    /// Whether asking twice comes to the same as asking once, so that it may be sent again when
    /// no answer came.
    pub(crate) fn is_repeatable(&self) -> bool {
        !matches!(
            self,
            Self::CreatePartitions { .. } | Self::AlterConfig { .. }
        )
    }
}

/// Which leader is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Election {
    /// The first replica.
    Preferred,
    /// Any live replica where no eligible one is left; may lose records.
    Unclean,
}

/// New in-sync replicas, proposed by the partition's leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IsrChange {
    pub(crate) topic: TopicId,
    pub(crate) index: i32,
    pub(crate) leader_epoch: i32,
    /// The state it was decided on.
    pub(crate) partition_epoch: i32,
    /// Broker and the epoch under which it fetches: one that restarted since is refused (KIP-903).
    pub(crate) isr: Vec<(i32, i64)>,
}

/// See [`Operation::Reassign`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reassignment {
    pub(crate) topic: String,
    pub(crate) index: i32,
    pub(crate) replicas: Option<Vec<i32>>,
}

/// A partition by topic and number, and what came of its election.
pub(crate) type Elected = (String, i32, Result<(), ControllerError>);

/// What came of an [`Operation`]; each names the one it belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// One per topic, in order. The topics are in the image by then, unless they were only
    /// validated: partitions, replicas and settings are in the answer.
    CreateTopics(Vec<Result<PlannedTopic, ControllerError>>),
    /// DeleteTopic, CreatePartitions, AlterConfig, EnsureInternalTopic.
    Done(Result<(), ControllerError>),
    /// `first..end`.
    ProducerIds(Result<(i64, i64), ControllerError>),
    /// One per change: the state that holds now.
    AlterIsr(Vec<Result<PartitionState, ControllerError>>),
    /// One per partition that was asked for, or that needed it.
    ElectLeaders(Result<Vec<Elected>, ControllerError>),
    /// One per change.
    Reassign(Vec<Result<(), ControllerError>>),
    /// Whether it is gone; if not, how many replicas it still keeps.
    RemoveBroker(Result<RemovalProgress, ControllerError>),
}

/// A topic as it was or would be created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlannedTopic {
    pub(crate) name: String,
    pub(crate) id: TopicId,
    /// Replicas of each partition by index.
    pub(crate) partitions: Vec<Vec<i32>>,
    pub(crate) config: crate::config::layers::Settings,
}

/// See [`Operation::RemoveBroker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemovalProgress {
    /// Replicas still on it.
    pub(crate) replicas: u32,
    /// It is not a member any more.
    pub(crate) gone: bool,
}
