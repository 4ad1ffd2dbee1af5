//! Connections to the other brokers of the cluster.
//!
//! What must not wait for each other has connections of its own: a request that takes too long
//! ends its connection, and a broker answers the requests of one connection in turn. The quorum's
//! messages to a broker share one; heartbeats have one, whose end tells the controller that the
//! process is gone; every other request has one to itself while it lasts.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kafka_client::wire::Connection;
use kafka_client::{ClientConfig, ClientError};
use parking_lot::Mutex;
use platform::net::TcpStream;
use serde_json::Value;
use thiserror::Error;
use tokio::time::{Instant, timeout};

use super::{CLUSTER_API, CLUSTER_API_VERSION, ClusterRequest, ClusterResponse, Envelope};
use crate::controller::quorum::QuorumNetwork;

/// The name that brokers see of each other.
const CLIENT_ID: &str = "broker";
/// How long a connection may take to be established.
const CONNECT_TIME: Duration = Duration::from_secs(2);
/// How long a probe waits for an answer.
const PROBE_TIME: Duration = Duration::from_millis(200);
/// Idle connections for single requests that are kept per broker.
const IDLE_MAX: usize = 4;
/// Bytes of an answer that are taken in at most.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why another broker did not answer.
#[derive(Clone, Debug, Error)]
pub(crate) enum PeerError {
    /// Nobody listens there: the process is gone.
    #[error("{0}")]
    Refused(String),
    /// No answer in time: the process, its host or the network is slow or gone.
    #[error("{0}")]
    Timeout(String),
    /// The connection ended, or what came over it was not an answer.
    #[error("{0}")]
    Lost(String),
}

/// What a [`probe`](Peers::probe) found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Its port takes connections.
    Alive,
    /// Its port is closed: the process is gone.
    Dead,
    /// No answer.
    Unknown,
    /// Its name has no address.
    Nowhere,
}

/// Which connection a request takes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Lane {
    Quorum,
    Heartbeat,
}

/// See the module. Clones share the connections.
#[derive(Clone)]
pub(crate) struct Peers {
    shared: Arc<Shared>,
}

/// A lane's connection; locked while it is being made.
type Slot = Arc<tokio::sync::Mutex<Option<Connection>>>;

struct Shared {
    config: ClientConfig,
    /// Tells the others whose member asks.
    cluster_id: OnceLock<String>,
    lanes: Mutex<HashMap<(String, Lane), Slot>>,
    idle: Mutex<HashMap<String, Vec<Connection>>>,
}

impl Default for Peers {
    fn default() -> Self {
        Self::new()
    }
}

impl Peers {
    /// No connection yet.
    pub(crate) fn new() -> Self {
        let mut config = ClientConfig::new(Vec::<String>::new()).with_client_id(CLIENT_ID);
        config.connection_timeout = CONNECT_TIME;
        config.response_bytes_max = ANSWER_BYTES_MAX;
        Self {
            shared: Arc::new(Shared {
                config,
                cluster_id: OnceLock::new(),
                lanes: Mutex::default(),
                idle: Mutex::default(),
            }),
        }
    }

    /// From now on this broker asks as a member of that cluster, which it is for good.
    pub(crate) fn belong_to(&self, cluster_id: &str) {
        self.shared.cluster_id.get_or_init(|| cluster_id.to_owned());
    }

    /// Asks the broker at `address`. A request that fails otherwise than with
    /// [`PeerError::Refused`] may have been carried out.
    ///
    /// # Errors
    /// When there is no answer before `deadline`.
    pub(crate) async fn call(
        &self,
        address: &str,
        request: ClusterRequest,
        deadline: Instant,
    ) -> Result<ClusterResponse, PeerError> {
        let calling = async {
            match request {
                ClusterRequest::Quorum(_) => self.on_lane(address, Lane::Quorum, &request).await,
                ClusterRequest::Heartbeat(_) => {
                    self.on_lane(address, Lane::Heartbeat, &request).await
                }
                ClusterRequest::Join(_)
                | ClusterRequest::Register(_)
                | ClusterRequest::Operation(_)
                | ClusterRequest::QuorumStatus => self.alone(address, &request).await,
            }
        };
        let time = deadline.saturating_duration_since(Instant::now());
        match timeout(time, calling).await {
            Ok(answered) => answered,
            Err(_) => {
                self.forget(address, &request).await;
                Err(PeerError::Timeout(format!(
                    "broker {address} did not answer within {time:?}"
                )))
            }
        }
    }

    /// Waits until the connection that carried the last heartbeat to `address` ends, which it does
    /// at once when that process dies; for ever if there is none. Cancel-safe.
    pub(crate) async fn heartbeats_end(&self, address: &str) {
        let slot = self.slot(address, Lane::Heartbeat);
        let connection = slot.lock().await.clone();
        match connection {
            Some(connection) => connection.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Whether a process listens at `address`.
    pub(crate) async fn probe(&self, address: &str) -> Probe {
        let probing = async {
            let Some((host, port)) = platform::net::split(address) else {
                return Probe::Nowhere;
            };
            let Ok(found) = platform::net::resolve(host, port).await else {
                return Probe::Nowhere;
            };
            let mut refused = false;
            for address in found {
                match TcpStream::connect(address).await {
                    Ok(_) => return Probe::Alive,
                    Err(error) => match error.kind() {
                        io::ErrorKind::ConnectionRefused => refused = true,
                        // From here there is no way to that address, for instance to any of IPv6.
                        io::ErrorKind::AddrNotAvailable | io::ErrorKind::NetworkUnreachable => {}
                        _ => return Probe::Unknown,
                    },
                }
            }
            if refused { Probe::Dead } else { Probe::Unknown }
        };
        timeout(PROBE_TIME, probing).await.unwrap_or(Probe::Unknown)
    }

    /// Asks on the connection of `lane`, which is made if needed.
    async fn on_lane(
        &self,
        address: &str,
        lane: Lane,
        request: &ClusterRequest,
    ) -> Result<ClusterResponse, PeerError> {
        let slot = self.slot(address, lane);
        let connection = {
            let mut kept = slot.lock().await;
            match kept.as_ref().filter(|connection| !connection.is_closed()) {
                Some(connection) => connection.clone(),
                None => kept.insert(self.open(address).await?).clone(),
            }
        };
        self.ask(&connection, request).await
    }

    /// Asks on a connection that nothing else uses meanwhile.
    async fn alone(
        &self,
        address: &str,
        request: &ClusterRequest,
    ) -> Result<ClusterResponse, PeerError> {
        let connection = match self.take_idle(address) {
            Some(connection) => connection,
            None => self.open(address).await?,
        };
        let answer = self.ask(&connection, request).await?;
        let mut idle = self.shared.idle.lock();
        let kept = idle.entry(address.to_owned()).or_default();
        if kept.len() < IDLE_MAX && !connection.is_closed() {
            kept.push(connection);
        }
        Ok(answer)
    }

    fn take_idle(&self, address: &str) -> Option<Connection> {
        let mut idle = self.shared.idle.lock();
        let kept = idle.get_mut(address)?;
        kept.retain(|connection| !connection.is_closed());
        kept.pop()
    }

    /// Ends the connection on which `request` waits, so that no later one waits behind it.
    async fn forget(&self, address: &str, request: &ClusterRequest) {
        let lane = match request {
            ClusterRequest::Quorum(_) => Lane::Quorum,
            ClusterRequest::Heartbeat(_) => Lane::Heartbeat,
            // Its connection went with the wait.
            _ => return,
        };
        let slot = self.slot(address, lane);
        // Whoever holds it is connecting anew.
        if let Ok(mut kept) = slot.try_lock()
            && let Some(connection) = kept.take()
        {
            connection.close();
        }
    }

    fn slot(&self, address: &str, lane: Lane) -> Slot {
        let mut lanes = self.shared.lanes.lock();
        lanes.entry((address.to_owned(), lane)).or_default().clone()
    }

    async fn open(&self, address: &str) -> Result<Connection, PeerError> {
        Connection::open(address, &self.shared.config)
            .await
            .map_err(|error| peer_error(&error))
    }

    /// Sends one request and reads its answer. When it is given up, what comes later is not read as
    /// the answer to another: answers carry their request's number.
    async fn ask(
        &self,
        connection: &Connection,
        request: &ClusterRequest,
    ) -> Result<ClusterResponse, PeerError> {
        let unreadable = |error: serde_json::Error| PeerError::Lost(error.to_string());
        let envelope = Envelope {
            cluster_id: self.shared.cluster_id.get().cloned(),
            request,
        };
        let body = serde_json::to_vec(&envelope).map_err(unreadable)?;
        let mut frame = BytesMut::with_capacity(32 + body.len());
        let header_bytes = 2 + 2 + 4 + 2 + CLIENT_ID.len();
        let length = i32::try_from(header_bytes + body.len())
            .map_err(|_| PeerError::Lost("a request of over 2 GiB".to_owned()))?;
        frame.put_i32(length);
        frame.put_i16(CLUSTER_API);
        frame.put_i16(CLUSTER_API_VERSION);
        // The correlation id is filled in by the connection.
        frame.put_i32(0);
        frame.put_i16(i16::try_from(CLIENT_ID.len()).unwrap_or(0));
        frame.put_slice(CLIENT_ID.as_bytes());
        frame.put_slice(&body);
        let pending = connection
            .submit_frame(frame, Vec::new(), true, "a request of the cluster")
            .await
            .map_err(|error| peer_error(&error))?;
        // Bounded by the caller.
        let answer = pending
            .bytes(Duration::from_secs(24 * 60 * 60))
            .await
            .map_err(|error| peer_error(&error))?;
        serde_json::from_slice(answer.get(4..).unwrap_or_default()).map_err(unreadable)
    }
}

impl QuorumNetwork for Peers {
    fn send(
        &self,
        address: String,
        message: Value,
        within: Duration,
    ) -> BoxFuture<'static, Result<Value, PeerError>> {
        let peers = self.clone();
        async move {
            let deadline = Instant::now() + within;
            let request = ClusterRequest::Quorum(message);
            match peers.call(&address, request, deadline).await? {
                ClusterResponse::Quorum(answer) => Ok(answer),
                ClusterResponse::Refused(refusal) => Err(PeerError::Lost(refusal.message)),
                _ => Err(PeerError::Lost(format!(
                    "broker {address} answered another question"
                ))),
            }
        }
        .boxed()
    }
}

fn peer_error(error: &ClientError) -> PeerError {
    match error {
        ClientError::Disconnected { source, .. }
            if source.kind() == io::ErrorKind::ConnectionRefused =>
        {
            PeerError::Refused(error.to_string())
        }
        ClientError::Timeout { .. } => PeerError::Timeout(error.to_string()),
        other => PeerError::Lost(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Broker;
    use crate::peer::Heartbeat;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn a_broker_answers_others_until_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::alone(folder.path()).await;
        let address = broker.addr().to_string();
        let peers = Peers::new();
        for _ in 0..3 {
            let answer = peers
                .call(&address, ClusterRequest::QuorumStatus, soon())
                .await;
            let Ok(ClusterResponse::QuorumStatus(status)) = answer else {
                panic!("{answer:?}");
            };
            assert_eq!(status.voters.len(), 1);
        }
        assert_eq!(peers.probe(&address).await, Probe::Alive);
        let message = peers.send(address.clone(), Value::Null, Duration::from_secs(5));
        assert!(message.await.unwrap().to_string().contains("unreadable"));
        let heartbeat = ClusterRequest::Heartbeat(Heartbeat {
            broker: 1,
            broker_epoch: 1,
            version: 0,
            shutting_down: false,
            disk_refuses: false,
        });
        peers
            .call(&address, heartbeat.clone(), soon())
            .await
            .unwrap();
        let end = peers.heartbeats_end(&address);
        let early = timeout(Duration::from_millis(50), end).await;
        assert!(early.is_err(), "it ended before the broker did");
        let end = peers.heartbeats_end(&address);
        let stop = broker.shutdown();
        timeout(Duration::from_secs(5), async { tokio::join!(end, stop) })
            .await
            .unwrap();
        assert_eq!(peers.probe(&address).await, Probe::Dead);
        let refused = peers.call(&address, heartbeat, soon()).await;
        assert!(matches!(refused, Err(PeerError::Refused(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_broker_that_does_not_answer_keeps_no_later_request_waiting() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let peers = Peers::new();
        for _ in 0..2 {
            let deadline = Instant::now() + Duration::from_millis(100);
            let silent = peers.call(&address, ClusterRequest::Quorum(Value::Null), deadline);
            let answer = silent.await;
            assert!(matches!(answer, Err(PeerError::Timeout(_))), "{answer:?}");
            assert!(Instant::now() < deadline + Duration::from_secs(1));
        }
    }
}
