//! Starting and stopping a broker.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use crate::api::fetch_session::FetchSessions;
use crate::config::{BrokerConfig, ConfigProblem};
use crate::controller::Controller;
use crate::controller::folder::DataFolders;
use crate::coordinator::GroupCoordinator;
use crate::error::BrokerError;
use crate::node::Node;
use crate::replica::{Maintenance, Replicas};
use crate::server::Server;

/// A running broker.
///
/// [`shutdown`](Self::shutdown) stops it in order. Dropping it instead is like a crash: nothing
/// acknowledged is lost, but the next start has to check the logs.
///
/// ```no_run
/// # async fn example() -> Result<(), broker::BrokerError> {
/// let broker = broker::Broker::builder()
///     .listen("127.0.0.1:0")
///     .data_dir("data")
///     .start()
///     .await?;
/// println!("clients may connect to {}", broker.addr());
/// broker.shutdown().await;
/// # Ok(())
/// # }
/// ```
pub struct Broker {
    node: Arc<Node>,
    server: Server,
    maintenance: Maintenance,
    addresses: Vec<SocketAddr>,
    stopping: watch::Sender<bool>,
    /// Keeps others out of the data folders, so it goes last.
    _folders: DataFolders,
}

impl Broker {
    /// Starts from nothing but what is set on the builder.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Starts a broker. When this returns, clients can connect.
    ///
    /// # Errors
    /// When an address or a data folder cannot be used or the data cannot be read.
    pub async fn start(config: BrokerConfig) -> Result<Self, BrokerError> {
        for warning in &config.warnings {
            tracing::warn!(key = warning.key, "{}", warning.message);
        }
        // The cheap things that go wrong most often come first.
        let bound = Server::bind(&config.listeners).await?;
        let addresses = bound.addresses.clone();
        let config = Arc::new(config);
        let folders = {
            let (paths, node_id) = (config.log_dirs.clone(), config.node_id);
            let cluster_id = config.settings.get("cluster.id").cloned();
            platform::blocking::run(move || {
                let mut folders = DataFolders::open(&paths, node_id, cluster_id.as_deref())?;
                let id = folders
                    .cluster_id
                    .clone()
                    .or(cluster_id)
                    .unwrap_or_else(crate::controller::folder::new_id);
                folders.belong_to(&id).map(|()| folders)
            })
            .await
            .map_err(|error: crate::controller::folder::FolderError| BrokerError::Folder(error.to_string()))?
        };
        let storage = |error: &dyn std::fmt::Display| BrokerError::Storage(error.to_string());
        let replicas = Replicas::open(config.log_dirs.clone(), config.log_options())
            .await
            .map_err(|error| storage(&error))?;
        let metadata_folder: &Path = config
            .log_dirs
            .first()
            .ok_or_else(|| storage(&"log.dirs names no folder"))?;
        let controller = Controller::open(
            config.clone(),
            folders.cluster_id.clone().unwrap_or_default(),
            metadata_folder,
            replicas.clone(),
        )
        .await
        .map_err(|error| storage(&error))?;
        let controller = Arc::new(controller);
        // Only now do all partitions have their topics' configuration.
        let maintenance = replicas.start_maintenance();
        let groups = Arc::new(GroupCoordinator::new(
            &config,
            replicas.clone(),
            controller.clone(),
        ));
        groups.start().await;
        let stopping = watch::Sender::new(false);
        let node = Arc::new(Node {
            fetch_sessions: FetchSessions::new(config.fetch_sessions_max),
            fetch_memory: Arc::default(),
            config,
            replicas,
            controller,
            groups,
            stopping: stopping.subscribe(),
        });
        let server = Server::start(bound, node.clone());
        for address in &addresses {
            tracing::info!(
                %address,
                node = node.config.node_id,
                cluster = node.controller.cluster_id(),
                "broker listens"
            );
        }
        Ok(Self {
            node,
            server,
            maintenance,
            addresses,
            stopping,
            _folders: folders,
        })
    }

    /// What requests see of it.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The address of the first listener, with the port that was picked.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addresses
            .first()
            .copied()
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// The addresses of all listeners, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The cluster's id, 22 characters of base64.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        self.node.controller.cluster_id()
    }

    /// The broker's number in its cluster.
    #[must_use]
    pub fn node_id(&self) -> i32 {
        self.node.config.node_id
    }

    /// Stops: no more connections, what was read is answered, logs are flushed and marked as
    /// clean. Takes at most some ten seconds longer than the disk needs.
    pub async fn shutdown(self) {
        // Waiting fetches and group requests answer now instead of at their deadlines.
        self.stopping.send_replace(true);
        self.server.close();
        self.node.groups.shutdown().await;
        self.server.stop().await;
        self.maintenance.stop().await;
        if let Err(error) = self.node.replicas.shutdown().await {
            tracing::error!(%error, "logs are not marked as clean; the next start checks them");
        }
        tracing::info!(node = self.node.config.node_id, "broker stopped");
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker")
            .field("node_id", &self.node.config.node_id)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// Collects the configuration of a [`Broker`] in code, for tests and for embedding it.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct BrokerBuilder {
    properties: BTreeMap<String, String>,
}

impl BrokerBuilder {
    /// The broker's number in its cluster; 0 if not set.
    pub fn node_id(self, id: i32) -> Self {
        self.property("node.id", &id.to_string())
    }

    /// Where to listen, such as `127.0.0.1:0`; port 0 picks a free one. 127.0.0.1:9092 if not set.
    pub fn listen(self, address: &str) -> Self {
        self.property("listeners", address)
    }

    /// The data folder; it is created if needed.
    pub fn data_dir(self, path: impl Into<PathBuf>) -> Self {
        let path: PathBuf = path.into();
        self.property("log.dirs", &path.display().to_string())
    }

    /// What clients are told to connect to; the address each one reached if `None`.
    pub fn advertised(mut self, address: Option<&str>) -> Self {
        match address {
            Some(address) => self.property("advertised.listeners", address),
            None => {
                self.properties.remove("advertised.listeners");
                self
            }
        }
    }

    /// Any key of `server.properties`.
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The checked configuration.
    ///
    /// # Errors
    /// Every mistake.
    pub fn config(&self) -> Result<BrokerConfig, Vec<ConfigProblem>> {
        BrokerConfig::from_properties(&self.properties)
    }

    /// Starts the broker.
    ///
    /// # Errors
    /// When the configuration has mistakes, or as [`Broker::start`].
    pub async fn start(self) -> Result<Broker, BrokerError> {
        let config = self.config().map_err(BrokerError::Config)?;
        Broker::start(config).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kafka_wire::CreateTopicsRequest;
    use kafka_wire::create_topics_request::CreatableTopic;
    use kafka_wire_core::{ApiVersion, KafkaEncode};

    use super::*;
    use crate::api::{self, message};
    use crate::node::RequestContext;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_topic_is_created_to_the_end_when_its_client_leaves() {
        const PARTITIONS: i32 = 40;
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::builder()
            .listen("127.0.0.1:0")
            .data_dir(folder.path())
            .start()
            .await
            .unwrap();
        let ctx = RequestContext {
            broker: broker.node.clone(),
            client_id: None,
            peer: broker.addr(),
            local: broker.addr(),
            presence: crate::peer::Presence::new(|_, _| {}),
        };
        let topic = message!(CreatableTopic {
            name: "orders".into(),
            num_partitions: PARTITIONS,
            replication_factor: 1,
        });
        let request = message!(CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: 1000,
        });
        // API key, version, correlation id, no client id.
        let mut frame = bytes::BytesMut::from(&[0, 19, 0, 4, 0, 0, 0, 1, 0xff, 0xff][..]);
        request.encode_into(&mut frame, ApiVersion::new(4)).unwrap();
        let left = tokio::time::timeout(Duration::ZERO, api::dispatch(&ctx, frame.freeze())).await;
        assert!(left.is_err(), "it takes longer than the client waits");
        let all = async {
            while (0..PARTITIONS).any(|index| broker.node.replicas.get("orders", index).is_none()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all)
            .await
            .unwrap();
        broker.shutdown().await;
    }
}
