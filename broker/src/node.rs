//! One broker process as its APIs see it: the rooms a request may enter.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::api::fetch_memory::FetchMemory;
use crate::api::fetch_session::FetchSessions;
use crate::config::{AdvertisedAddress, BrokerConfig};
use crate::controller::{Controller, TopicImage};
use crate::coordinator::GroupCoordinator;
use crate::error_code;
use crate::peer::Presence;
use crate::replica::Replicas;

/// Everything a request handler may use. Shared by all connections.
pub(crate) struct Node {
    /// The broker's configuration; fixed while it runs.
    pub(crate) config: Arc<BrokerConfig>,
    /// Every partition on this node.
    pub(crate) replicas: Arc<Replicas>,
    /// Topics, their configuration, producer ids: everything the cluster agrees on.
    pub(crate) controller: Arc<Controller>,
    /// Consumer groups and their offsets.
    pub(crate) groups: Arc<GroupCoordinator>,
    /// Incremental fetch sessions (KIP-227).
    pub(crate) fetch_sessions: FetchSessions,
    /// Fetched records on their way to clients.
    pub(crate) fetch_memory: Arc<FetchMemory>,
    /// True once the broker stops; what waits for something answers then.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Who asks, and through which door.
#[derive(Clone)]
pub(crate) struct RequestContext {
    /// The broker that answers.
    pub(crate) broker: Arc<Node>,
    /// The client's own name for itself, from the request header.
    pub(crate) client_id: Option<String>,
    /// The client's end of the connection.
    pub(crate) peer: SocketAddr,
    /// Our end of the connection: the address the client reached.
    pub(crate) local: SocketAddr,
    /// Which broker speaks on this connection, if one does.
    pub(crate) presence: Presence,
}

impl RequestContext {
    /// The address this broker tells the client to connect to: the configured one, or the one the
    /// client reached, which is right through port forwarding and on every interface.
    pub(crate) fn advertised(&self) -> AdvertisedAddress {
        self.broker.config.advertised_to(self.local)
    }
}

impl Node {
    /// Why partition `index` of `topic` cannot be found among this node's.
    pub(crate) fn why_missing(&self, topic: &TopicImage, index: i32) -> i16 {
        if topic.partitions.contains_key(&index) {
            error_code::KAFKA_STORAGE_ERROR
        } else {
            error_code::UNKNOWN_TOPIC_OR_PARTITION
        }
    }
}

/// Waits until the broker stops, or is gone. Cancel-safe.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that nobody is left to say so, which is the same.
    drop(stopping.wait_for(|stopping| *stopping).await);
}
