//! What brokers ask each other.

use serde::{Deserialize, Serialize};

use crate::controller::operation::{Operation, Outcome};
use crate::controller::quorum::QuorumStatus;
use crate::controller::record::Endpoint;

/// What goes over the wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Envelope<R> {
    /// The cluster whose member asks; none while that is not known.
    pub(crate) cluster_id: Option<String>,
    pub(crate) request: R,
}

/// A request from one broker of a cluster to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClusterRequest {
    /// One message of the metadata quorum, in the quorum's own encoding.
    Quorum(serde_json::Value),
    /// A broker without data wants to become part of the cluster. Any node may be asked.
    Join(JoinRequest),
    /// A process of a member starts; to the active controller.
    Register(Registration),
    /// It is still there; to the active controller.
    Heartbeat(Heartbeat),
    /// Something only the active controller may do.
    Operation(Operation),
    /// How the quorum is, as the active controller sees it.
    QuorumStatus,
}

/// The answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClusterResponse {
    Quorum(serde_json::Value),
    Joined(Joined),
    /// The epoch the broker has from now on.
    Registered {
        broker_epoch: i64,
    },
    Heartbeat(HeartbeatAnswer),
    /// `version` is the metadata's after it, which the asker waits for, so that it reads its own
    /// changes.
    Outcome {
        outcome: Outcome,
        version: u64,
    },
    QuorumStatus(QuorumStatus),
    Refused(Refusal),
}

/// Why a node does not do what it is asked.
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    /// Kafka's error code; `NOT_CONTROLLER` when another node should be asked.
    pub(crate) code: i16,
    pub(crate) message: String,
    /// Who to ask instead, with its address, where that is known.
    pub(crate) leader: Option<(i32, String)>,
}

/// See [`ClusterRequest::Join`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JoinRequest {
    /// The cluster it has to be, where its configuration or its data says so.
    pub(crate) cluster_id: Option<String>,
    pub(crate) broker: i32,
    /// Id of its first data folder.
    pub(crate) directory: String,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) version: String,
}

/// The node is a member (without a vote at first), and the quorum's leader is sending it the
/// metadata.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Joined {
    pub(crate) cluster_id: String,
}

/// See [`ClusterRequest::Register`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Registration {
    pub(crate) cluster_id: String,
    pub(crate) broker: i32,
    /// Drawn by the process when it started.
    pub(crate) incarnation: [u8; 16],
    pub(crate) directory: String,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) rack: Option<String>,
    pub(crate) version: String,
    /// The last stop may have cost it records it had acknowledged (a power cut, not a killed
    /// process): it counts as in sync nowhere until it has caught up.
    pub(crate) lost_records: bool,
}

/// See [`ClusterRequest::Heartbeat`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Heartbeat {
    pub(crate) broker: i32,
    pub(crate) broker_epoch: i64,
    /// Up to where it has applied the metadata.
    pub(crate) version: u64,
    /// It wants to stop, and to have its leaders moved away first.
    pub(crate) shutting_down: bool,
    /// Its disk takes no writes.
    #[serde(default)]
    pub(crate) disk_refuses: bool,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HeartbeatAnswer {
    /// It is (still) fenced, for instance because its metadata is behind.
    pub(crate) fenced: bool,
    /// Nothing depends on it any more: it may stop.
    pub(crate) may_stop: bool,
}
