//! Accepts connections and owns their tasks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use platform::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::connection::Connection;
use super::limits::{ConnectionLimit, RequestMemory};
use crate::config::Listener;
use crate::error::BrokerError;
use crate::node::{Node, RequestContext, stopped};
use crate::peer::Presence;

/// How long to wait after the operating system refused a connection, which it does when there are
/// no file handles left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long connections have to finish what they do when the broker stops.
const STOP_TIME: Duration = Duration::from_secs(10);

/// The bound sockets of a broker that does not answer yet.
pub(crate) struct Bound {
    sockets: Vec<TcpListener>,
    pub(crate) addresses: Vec<SocketAddr>,
}

/// A broker's listeners and connections.
pub(crate) struct Server {
    stopping: watch::Sender<bool>,
    /// One task per listener, each the owner of its connections.
    accepting: JoinSet<()>,
}

impl Server {
    /// Takes the addresses.
    ///
    /// # Errors
    /// When a host is unknown or a port is in use or not permitted.
    pub(crate) async fn bind(listeners: &[Listener]) -> Result<Bound, BrokerError> {
        let mut bound = Bound {
            sockets: Vec::new(),
            addresses: Vec::new(),
        };
        for listener in listeners {
            let addresses = platform::net::resolve(listener.bind_host(), listener.port)
                .await
                .map_err(|source| BrokerError::UnknownHost {
                    host: listener.host.clone(),
                    listener: listener.to_string(),
                    source,
                })?;
            let fail = |source: io::Error| BrokerError::cannot_listen(listener, source);
            let address = addresses
                .first()
                .copied()
                .ok_or_else(|| fail(io::ErrorKind::AddrNotAvailable.into()))?;
            let socket = TcpListener::bind(address).await.map_err(fail)?;
            bound.addresses.push(socket.local_addr().map_err(fail)?);
            bound.sockets.push(socket);
        }
        Ok(bound)
    }

    /// Starts to accept.
    pub(crate) fn start(bound: Bound, node: Arc<Node>) -> Self {
        let stopping = watch::Sender::new(false);
        let limit = ConnectionLimit::new(
            node.config.connections_max,
            node.config.connections_per_ip_max,
        );
        let memory = RequestMemory::new(node.config.queued_request_bytes_max);
        let mut accepting = JoinSet::new();
        for (socket, address) in bound.sockets.into_iter().zip(bound.addresses) {
            let acceptor = Acceptor {
                socket,
                node: node.clone(),
                limit: limit.clone(),
                memory: memory.clone(),
                stopping: stopping.subscribe(),
            };
            let span = tracing::info_span!("listener", %address);
            accepting.spawn(acceptor.run().instrument(span));
        }
        Self {
            stopping,
            accepting,
        }
    }

    /// Stops accepting and reading; what was read is still answered.
    pub(crate) fn close(&self) {
        self.stopping.send_replace(true);
    }

    /// Stops accepting, lets connections answer what they have read, and closes them.
    pub(crate) async fn stop(mut self) {
        self.close();
        while let Some(ended) = self.accepting.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a listener failed");
            }
        }
    }
}

struct Acceptor {
    socket: TcpListener,
    node: Arc<Node>,
    limit: Arc<ConnectionLimit>,
    memory: Arc<RequestMemory>,
    stopping: watch::Receiver<bool>,
}

impl Acceptor {
    async fn run(mut self) {
        let mut connections = JoinSet::new();
        let mut stopping = self.stopping.clone();
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(&mut connections, stream, peer),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection; trying again");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = connections.join_next() => report(ended),
                () = stopped(&mut stopping) => break,
            }
        }
        // Nobody new from here on.
        drop(self.socket);
        let drained = tokio::time::timeout(STOP_TIME, async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        });
        if drained.await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "connections did not finish within {STOP_TIME:?} and are cut"
            );
            connections.shutdown().await;
        }
    }

    /// Tells the controller when a connection ends that carried a broker's heartbeats.
    fn presence(&self) -> Presence {
        let node = Arc::downgrade(&self.node);
        Presence::new(move |broker, epoch| {
            if let Some(node) = node.upgrade() {
                node.controller.connection_lost(broker, epoch);
            }
        })
    }

    fn admit(
        &mut self,
        connections: &mut JoinSet<()>,
        stream: platform::net::TcpStream,
        peer: SocketAddr,
    ) {
        let admission = match self.limit.admit(peer.ip()) {
            Ok(admission) => admission,
            Err(limit) => {
                tracing::warn!(%peer, limit, "refused a connection; the limit is reached");
                return;
            }
        };
        let local = match stream.local_addr() {
            Ok(local) => local,
            Err(error) => {
                tracing::debug!(%peer, %error, "the peer left at once");
                return;
            }
        };
        let connection = Connection {
            stream,
            ctx: RequestContext {
                broker: self.node.clone(),
                client_id: None,
                peer,
                local,
                presence: self.presence(),
            },
            memory: self.memory.clone(),
            stopping: self.stopping.clone(),
        };
        let span = tracing::debug_span!("connection", %peer);
        connections.spawn(
            async move {
                connection.run().await;
                drop(admission);
            }
            .instrument(span),
        );
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        // The peer sees a closed connection; everyone else goes on.
        tracing::error!(%error, "a connection's task panicked");
    }
}
