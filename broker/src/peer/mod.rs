//! How brokers of a cluster talk about the cluster: one request of our own, JSON in Kafka's framing,
//! under an API key that Kafka does not use and that is not advertised. Records travel with Kafka's
//! own Fetch.

mod message;
mod peers;
mod presence;

pub(crate) use message::{
    ClusterRequest, ClusterResponse, Envelope, Heartbeat, HeartbeatAnswer, JoinRequest, Joined,
    Refusal, Registration,
};
pub(crate) use peers::{PeerError, Peers, Probe};
pub(crate) use presence::Presence;

/// The API key of [`ClusterRequest`].
pub(crate) const CLUSTER_API: i16 = 10_000;
/// Version of its messages.
pub(crate) const CLUSTER_API_VERSION: i16 = 1;
