//! One broker process as its APIs see it: the rooms a request may enter.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::api::fetch_memory::FetchMemory;
use crate::api::fetch_session::FetchSessions;
use crate::config::{AdvertisedAddress, BrokerConfig};
use crate::controller::record::BrokerRegistration;
use crate::controller::{Controller, MetadataImage, TopicImage};
use crate::coordinator::GroupCoordinator;
use crate::error_code;
use crate::peer::Presence;
use crate::replica::Replicas;
use crate::replication::{OutOfService, Throttle};

/// Everything a request handler may use. Shared by all connections.
pub(crate) struct Node {
    /// The broker's configuration; fixed while it runs.
    pub(crate) config: Arc<BrokerConfig>,
    /// Every partition on this node.
    pub(crate) replicas: Arc<Replicas>,
    /// Topics, their configuration, producer ids: everything the cluster agrees on.
    pub(crate) controller: Arc<Controller>,
    /// What followers that are catching up may be sent.
    pub(crate) leader_throttle: Arc<Throttle>,
    /// Partitions of this node that cannot be used for now.
    pub(crate) out_of_service: Arc<OutOfService>,
    /// Consumer groups and their offsets.
    pub(crate) groups: Arc<GroupCoordinator>,
    /// Incremental fetch sessions (KIP-227).
    pub(crate) fetch_sessions: FetchSessions,
    /// Fetched records on their way to clients.
    pub(crate) fetch_memory: Arc<FetchMemory>,
    /// True once the cluster counts on this broker; until then clients wait.
    pub(crate) ready: watch::Receiver<bool>,
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

    /// The brokers this client may be sent to: those that are live, each with its address for the
    /// listener the client came through.
    pub(crate) fn live_brokers(&self, image: &MetadataImage) -> Vec<BrokerAddress> {
        let mut brokers: Vec<BrokerAddress> = image
            .brokers()
            .filter(|broker| !broker.fenced)
            .map(|broker| self.reached(broker))
            .collect();
        if brokers.is_empty() {
            // Cut off from all others, it is still the one that answers.
            brokers.push(BrokerAddress {
                id: self.broker.config.node_id,
                address: self.advertised(),
                rack: self.broker.config.rack.clone(),
                fenced: false,
            });
        }
        brokers
    }

    /// Where this client reaches broker `id`, if that is live.
    pub(crate) fn live_broker(&self, image: &MetadataImage, id: i32) -> Option<BrokerAddress> {
        image
            .broker(id)
            .filter(|broker| !broker.fenced)
            .map(|broker| self.reached(broker))
    }

    /// Where this client reaches `broker`.
    pub(crate) fn reached(&self, broker: &BrokerRegistration) -> BrokerAddress {
        let address = if broker.id == self.broker.config.node_id {
            self.advertised()
        } else {
            let listener = self.broker.config.listener_at(self.local);
            let same = |name: &str| listener.is_some_and(|listener| listener.name == name);
            broker
                .endpoints
                .iter()
                .find(|endpoint| same(&endpoint.listener))
                .or_else(|| broker.endpoints.first())
                .map(|endpoint| AdvertisedAddress {
                    host: endpoint.host.clone(),
                    port: endpoint.port,
                })
                .unwrap_or_default()
        };
        BrokerAddress {
            id: broker.id,
            address,
            rack: broker.rack.clone(),
            fenced: broker.fenced,
        }
    }

    /// A live broker to send changes to. Any would do, because each passes them on; the active
    /// controller saves that hop.
    pub(crate) fn controller_id(&self, image: &MetadataImage) -> i32 {
        let me = self.broker.config.node_id;
        let active = self.broker.controller.leadership().leader;
        active
            .filter(|id| image.is_live(*id))
            .or_else(|| image.is_live(me).then_some(me))
            .or_else(|| {
                image
                    .brokers()
                    .find(|broker| !broker.fenced)
                    .map(|broker| broker.id)
            })
            .unwrap_or(me)
    }
}

/// A broker as a client reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokerAddress {
    pub(crate) id: i32,
    pub(crate) address: AdvertisedAddress,
    pub(crate) rack: Option<String>,
    pub(crate) fenced: bool,
}

impl Node {
    /// Why partition `index` of `topic` cannot be found among this node's.
    pub(crate) fn why_missing(&self, topic: &TopicImage, index: i32) -> i16 {
        if !topic.partitions.contains_key(&index) {
            error_code::UNKNOWN_TOPIC_OR_PARTITION
        } else if self.out_of_service.reason(&(topic.id, index)).is_some() {
            error_code::KAFKA_STORAGE_ERROR
        } else {
            // It is being opened.
            error_code::NOT_LEADER_OR_FOLLOWER
        }
    }
}

/// How long a client's request waits for a broker that starts.
const READY_TIME: Duration = Duration::from_secs(10);

impl Node {
    /// Waits until the broker is ready, but not long. Answers whether it is.
    pub(crate) async fn is_ready(&self) -> bool {
        if *self.ready.borrow() {
            return true;
        }
        let mut ready = self.ready.clone();
        let ready = ready.wait_for(|ready| *ready);
        let mut stopping = self.stopping.clone();
        tokio::select! {
            ready = timeout(READY_TIME, ready) => matches!(ready, Ok(Ok(_))),
            () = stopped(&mut stopping) => false,
        }
    }
}

/// Waits until the broker stops, or is gone. Cancel-safe.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that nobody is left to say so, which is the same.
    drop(stopping.wait_for(|stopping| *stopping).await);
}
