//! Starting and stopping a broker.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::fetch_session::FetchSessions;
use crate::config::{BrokerConfig, ConfigProblem, Listener};
use crate::controller::folder::{DataFolders, FolderError, new_id};
use crate::controller::quorum::{Member, Quorum, QuorumTiming};
use crate::controller::{Background, Controller, METADATA_FOLDER, internal_settings};
use crate::coordinator::GroupCoordinator;
use crate::error::BrokerError;
use crate::lifecycle::{Addresses, Begun, Identity, Joining, Lifecycle};
use crate::node::Node;
use crate::peer::{JoinRequest, Peers, Registration};
use crate::replica::{Maintenance, Replicas};
use crate::replication::leader_link::Tcp;
use crate::replication::{Replication, Surroundings, adoption};
use crate::server::Server;

/// How long a broker that stops waits for others to take over what it leads.
const LEAVE_TIME: Duration = Duration::from_secs(30);
/// What every broker says it is.
const VERSION: &str = env!("CARGO_PKG_VERSION");

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
    pub(crate) node: Arc<Node>,
    server: Server,
    lifecycle: Lifecycle,
    replication: Replication,
    maintenance: Maintenance,
    background: Background,
    quorum: Arc<Quorum>,
    addresses: Vec<SocketAddr>,
    stopping: watch::Sender<bool>,
    noting_boot: JoinHandle<()>,
    /// Keeps others out of the data folders, so it goes last.
    _folders: Arc<Mutex<DataFolders>>,
}

impl Broker {
    /// Starts from nothing but what is set on the builder.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// A cluster of its own in `folder`.
    #[cfg(test)]
    pub(crate) async fn alone(folder: &Path) -> Self {
        let builder = Self::builder().listen("127.0.0.1:0").data_dir(folder);
        builder.start().await.unwrap()
    }

    /// Starts a broker. When this returns, clients can connect and the cluster counts on it. Until
    /// there is a cluster to be part of, it waits.
    ///
    /// # Errors
    /// When an address or a data folder cannot be used, the data cannot be read or the cluster
    /// does not let it in.
    pub async fn start(config: BrokerConfig) -> Result<Self, BrokerError> {
        for warning in &config.warnings {
            tracing::warn!(key = warning.key, "{}", warning.message);
        }
        // The cheap things that go wrong most often come first.
        let listeners: Vec<Listener> = config
            .listeners
            .iter()
            .chain(&config.controller_listeners)
            .cloned()
            .collect();
        let bound = Server::bind(&listeners).await?;
        let mut addresses = bound.addresses.clone();
        let config = Arc::new(config);
        let folders = open_folders(&config).await?;
        let storage = |error: &dyn std::fmt::Display| BrokerError::Storage(error.to_string());
        let replicas = Replicas::open(config.log_dirs.clone(), config.log_options())
            .await
            .map_err(|error| storage(&error))?;
        let known = Addresses::find(&config, &addresses).await;
        addresses.truncate(config.listeners.len());
        let peers = Peers::new();
        let quorum = open_quorum(&config, &folders, &known, &peers).await?;
        let controller = Arc::new(Controller::new(
            config.clone(),
            quorum.clone(),
            Arc::new(peers.clone()),
        ));
        let groups = Arc::new(GroupCoordinator::new(
            &config,
            replicas.clone(),
            controller.clone(),
        ));
        let (epoch, broker_epoch) = watch::channel(None);
        let replication = Replication::start(Surroundings {
            config: config.clone(),
            replicas: replicas.clone(),
            images: quorum.watch(),
            broker_epoch,
            controller: controller.clone(),
            leaders: Arc::new(Tcp::new(config.node_id)),
        });
        controller.wait_for_partitions(replication.applied());
        let stopping = watch::Sender::new(false);
        let ready = watch::Sender::new(false);
        let node = Arc::new(Node {
            fetch_sessions: FetchSessions::new(config.fetch_sessions_max),
            fetch_memory: Arc::default(),
            leader_throttle: replication.leader_throttle().clone(),
            out_of_service: replication.out_of_service().clone(),
            config: config.clone(),
            replicas: replicas.clone(),
            controller: controller.clone(),
            groups: groups.clone(),
            ready: ready.subscribe(),
            stopping: stopping.subscribe(),
        });
        // The cluster has to reach this broker before it can take it in.
        let server = Server::start(bound, node.clone());
        let beginning = Beginning {
            config: config.clone(),
            folders: folders.clone(),
            quorum: quorum.clone(),
            controller: controller.clone(),
            replicas: replicas.clone(),
            peers: peers.clone(),
        };
        let (registration, founded) = beginning.membership(&known).await?;
        peers.belong_to(&registration.cluster_id);
        let background = controller.start();
        let lifecycle = Lifecycle::start(Identity {
            registered: beginning.registered(registration.cluster_id.clone(), founded),
            registration,
            settings: config.cluster.clone(),
            addresses: known,
            quorum: quorum.clone(),
            controller: controller.clone(),
            peers,
            epoch,
            applied: replication.applied(),
            disk_refuses: replicas.disk().refuses(),
        });
        lifecycle.counted_on().await.map_err(BrokerError::Cluster)?;
        let version = controller.image().version();
        let mut applied = replication.applied();
        if applied.wait_for(|at| *at >= version).await.is_err() {
            return Err(storage(&"the task that opens partitions ended"));
        }
        // Only now do all partitions have their topics' configuration.
        let maintenance = replicas.start_maintenance();
        groups.start().await;
        ready.send_replace(true);
        for address in &addresses {
            tracing::info!(
                %address,
                node = config.node_id,
                cluster = controller.cluster_id(),
                "broker listens"
            );
        }
        Ok(Self {
            node,
            server,
            lifecycle,
            replication,
            maintenance,
            background,
            quorum,
            addresses,
            stopping,
            noting_boot: note_boot(folders.clone()),
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

    /// Waits until the cluster does not let this broker in any more, for instance because it was taken out for good;
    /// gives the reason. It leads nothing then, what it tells clients gets old, and it is best shut down.
    pub async fn refused(&self) -> String {
        self.lifecycle.refused().await
    }

    /// Stops: what it leads is handed over, no more connections, what was read is answered, logs
    /// are flushed and marked as clean. Takes at most some ten seconds longer than the disk and the
    /// others need.
    pub async fn shutdown(self) {
        if self.node.config.cluster.controlled_shutdown {
            self.lifecycle.leave(LEAVE_TIME).await;
        }
        // Waiting fetches and group requests answer now instead of at their deadlines.
        self.stopping.send_replace(true);
        self.server.close();
        self.node.groups.shutdown().await;
        self.server.stop().await;
        self.replication.stop().await;
        self.maintenance.stop().await;
        self.lifecycle.stop().await;
        drop(self.background);
        self.quorum.shutdown().await;
        if let Err(error) = self.node.replicas.shutdown().await {
            tracing::error!(%error, "logs are not marked as clean; the next start checks them");
        }
        if let Err(error) = self.noting_boot.await {
            tracing::error!(%error, "the boot was not noted");
        }
        tracing::info!(node = self.node.config.node_id, "broker stopped");
    }
}

/// From an open data folder to a member of a cluster.
struct Beginning {
    config: Arc<BrokerConfig>,
    folders: Arc<Mutex<DataFolders>>,
    quorum: Arc<Quorum>,
    controller: Arc<Controller>,
    replicas: Arc<Replicas>,
    peers: Peers,
}

impl Beginning {
    /// Makes the node a member of a quorum if it is none. What it registers with, and whether it
    /// has founded a cluster just now.
    async fn membership(&self, known: &Addresses) -> Result<(Registration, bool), BrokerError> {
        let (known_id, directory, lost_records) = {
            let folders = self.folders.lock();
            (
                folders.cluster_id.clone(),
                folders.directory.clone(),
                folders.lost_records,
            )
        };
        let configured = self.config.settings.get("cluster.id").cloned();
        let begun = if self.quorum.is_new() {
            if !known.others.is_empty() {
                // The cluster will know this disk by its id.
                with_folders(&self.folders, DataFolders::prepare).await?;
            }
            let joining = Joining {
                quorum: &self.quorum,
                peers: &self.peers,
                addresses: known,
                request: JoinRequest {
                    cluster_id: known_id.clone().or(configured.clone()),
                    broker: self.config.node_id,
                    directory: directory.clone(),
                    endpoints: known.endpoints.clone(),
                    version: VERSION.to_owned(),
                },
            };
            Some(joining.begin().await?)
        } else {
            None
        };
        let founded = begun == Some(Begun::Founded);
        let cluster_id = match (begun, known_id) {
            (Some(Begun::Joined(id)), _) => {
                let joined = id.clone();
                with_folders(&self.folders, move |folders| folders.belong_to(&joined)).await?;
                id
            }
            (_, Some(id)) => id,
            (Some(Begun::Founded), None) => configured.unwrap_or_else(new_id),
            // The last start ended before its folder said so.
            (None, None) => self.agreed_id(configured).await,
        };
        let registration = Registration {
            cluster_id,
            broker: self.config.node_id,
            incarnation: platform::random::uuid(),
            directory,
            endpoints: known.endpoints.clone(),
            rack: self.config.rack.clone(),
            version: VERSION.to_owned(),
            lost_records,
        };
        Ok((registration, founded))
    }

    /// The id of the cluster whose quorum this node is a member of.
    async fn agreed_id(&self, configured: Option<String>) -> String {
        let mut image = self.quorum.watch();
        let mut alone = || {
            let only = BTreeSet::from([self.config.node_id]);
            image.borrow_and_update().cluster_id().is_none() && self.quorum.voters() == only
        };
        if alone() {
            return configured.unwrap_or_else(new_id);
        }
        let known = image.wait_for(|image| image.cluster_id().is_some()).await;
        // Without the quorum, whose handle is here, there would be nothing to wait for.
        known
            .ok()
            .and_then(|image| image.cluster_id().map(|id| id.to_string()))
            .or(configured)
            .unwrap_or_else(new_id)
    }

    /// What comes between the registration and the first role.
    fn registered(
        self,
        cluster_id: String,
        founded: bool,
    ) -> BoxFuture<'static, Result<(), String>> {
        async move {
            if founded {
                let records = adoption::records(
                    &self.replicas,
                    &self.controller.image(),
                    self.config.node_id,
                    &internal_settings(&self.config).into_iter().collect(),
                );
                if !records.is_empty() {
                    let taken = self.controller.take_in(records).await;
                    taken.map_err(|error| error.to_string())?;
                }
            }
            with_folders(&self.folders, move |folders| folders.belong_to(&cluster_id))
                .await
                .map_err(|error| error.to_string())
        }
        .boxed()
    }
}

async fn open_folders(config: &BrokerConfig) -> Result<Arc<Mutex<DataFolders>>, BrokerError> {
    let (paths, node_id) = (config.log_dirs.clone(), config.node_id);
    let cluster_id = config.settings.get("cluster.id").cloned();
    let open = move || DataFolders::open(&paths, node_id, cluster_id.as_deref());
    let folders = platform::blocking::run(open).await;
    folders
        .map(|folders| Arc::new(Mutex::new(folders)))
        .map_err(|error| BrokerError::Folder(error.to_string()))
}

async fn with_folders(
    folders: &Arc<Mutex<DataFolders>>,
    change: impl FnOnce(&mut DataFolders) -> Result<(), FolderError> + Send + 'static,
) -> Result<(), BrokerError> {
    let folders = folders.clone();
    platform::blocking::run(move || change(&mut folders.lock()))
        .await
        .map_err(|error| BrokerError::Folder(error.to_string()))
}

/// Notes which boot of the machine the folders are used in. Nothing has to wait for it.
fn note_boot(folders: Arc<Mutex<DataFolders>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let note = move || folders.lock().remember_boot();
        if let Err(error) = platform::blocking::run(note).await {
            tracing::warn!(%error, "after a kill, the next start will copy what it may have lost");
        }
    })
}

async fn open_quorum(
    config: &BrokerConfig,
    folders: &Mutex<DataFolders>,
    known: &Addresses,
    peers: &Peers,
) -> Result<Arc<Quorum>, BrokerError> {
    let folder: &Path = config
        .log_dirs
        .first()
        .ok_or_else(|| BrokerError::Storage("log.dirs names no folder".to_owned()))?;
    let member = Member {
        address: known.address(),
        directory: folders.lock().directory.clone(),
    };
    let timing = QuorumTiming {
        election_timeout_min: config.cluster.election_timeout,
        election_timeout_max: config.cluster.election_timeout * 2,
        ..QuorumTiming::default()
    };
    Quorum::open(
        &folder.join(METADATA_FOLDER),
        config.node_id,
        member,
        Arc::new(peers.clone()),
        timing,
    )
    .await
    .map(Arc::new)
    .map_err(|error| BrokerError::Storage(error.to_string()))
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
        let broker = Broker::alone(folder.path()).await;
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

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_of_a_dropped_broker_lives_on() {
        let tasks = || {
            tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks()
        };
        let before = tasks();
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::alone(folder.path()).await;
        broker.node.groups.prepare().await.unwrap();
        let client = tokio::net::TcpStream::connect(broker.addr()).await.unwrap();
        let node = Arc::downgrade(&broker.node);
        let replicas = Arc::downgrade(&broker.node.replicas);
        let partition = broker.node.replicas.get("__consumer_offsets", 0);
        let partition = Arc::downgrade(&partition.unwrap());
        let quorum = Arc::downgrade(&broker.quorum);
        drop(broker);
        let ended = async {
            while tasks() > before
                || node.strong_count() > 0
                || replicas.strong_count() > 0
                || partition.strong_count() > 0
                || quorum.strong_count() > 0
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(5), ended).await;
        assert!(
            ended.is_ok(),
            "tasks {before} -> {}, node {}, replicas {}, partition {}, quorum {}",
            tasks(),
            node.strong_count(),
            replicas.strong_count(),
            partition.strong_count(),
            quorum.strong_count(),
        );
        drop(client);
    }
}
