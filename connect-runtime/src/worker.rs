//! The worker: connects to a cluster, keeps offsets there, and runs connectors.

mod files;
mod offsets;
mod stored;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use connect_core::ConfigMap;
use kafka_client::{Client, ClientError, OffsetAndMetadata, TopicPartition};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::clients;
use crate::config::connector::{ConnectorConfig, InitialState};
use crate::config::worker::WorkerConfig;
use crate::config::{Problem, Problems};
use crate::connector::{RunningConnector, validate};
use crate::connector_store::{Change, ConnectorStore};
use crate::error::WorkerError;
use crate::history::History;
use crate::metrics::{Names, page};
use crate::offsets::OffsetStore;
use crate::place::Place;
use crate::state::{Board, ConnectorStatus, WorkerStatus};
use crate::task::{Shared, Target};
use crate::topics::UsedTopics;

pub use offsets::OffsetChanges;
pub use stored::Restored;

/// What is added to the limit of the tasks for the connectors' own code to end.
const STOP_SLACK: Duration = Duration::from_secs(1);

/// A running worker. Connectors are created with [`Worker::create`] and run until
/// [`Worker::stop`].
///
/// Code of connectors runs in rooms of its own: what it does, or fails to do, harms no other
/// connector and none of the calls here.
pub struct Worker {
    shared: Arc<Shared>,
    board: Board,
    cluster_id: String,
    /// Where connectors that come from no file are kept, if anywhere.
    store: Option<ConnectorStore>,
    /// `None` once the worker stops.
    connectors: Mutex<Option<BTreeMap<String, Connector>>>,
    /// Held by whoever changes connectors, so that none is started while it is being stopped, and so
    /// that changes are stored in the order in which they are made.
    turn: Mutex<()>,
}

/// A connector of this worker.
struct Connector {
    config: Arc<ConnectorConfig>,
    /// `None` while it is stopped, or being stopped.
    running: Option<RunningConnector>,
    /// The file it is taken from at every start, if any.
    file: Option<Arc<Path>>,
}

/// How long the brokers may be silent when a worker starts; who waits for them starts it again.
const REACH_TIMEOUT: Duration = Duration::from_secs(10);

/// How a worker ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Connectors that did not end in time; what they had not committed comes again after the
    /// next start.
    pub abandoned: Vec<String>,
}

impl Worker {
    /// Reaches the cluster, makes sure of the offsets topic and reads the stored offsets and
    /// connectors. These are not started yet: [`Worker::start_stored`] does that, once those of files
    /// have taken their names.
    ///
    /// `bootstrap_servers` wins over the configuration's, which may have none if the broker is
    /// embedded. Must be called within a Tokio runtime, which runs the worker's loops.
    ///
    /// # Errors
    /// The cluster cannot be reached, or the topic of the offsets or of the connectors cannot be used;
    /// nothing runs then.
    pub async fn start(
        config: WorkerConfig,
        bootstrap_servers: Vec<String>,
    ) -> Result<Self, WorkerError> {
        let client_id = match config.connection.client_id.as_str() {
            "" => "connect-worker",
            configured => configured,
        };
        let client = clients::client_config(&bootstrap_servers, &config.connection, client_id);
        let unreachable = |source| WorkerError::Unreachable {
            servers: bootstrap_servers.join(","),
            source,
        };
        let mut probe = client.clone();
        probe.api_timeout = probe.api_timeout.min(REACH_TIMEOUT);
        let probe = Client::new(probe).map_err(unreachable)?;
        let cluster = probe.cluster().await.map_err(unreachable)?;
        probe.close().await;
        let client = Client::new(client).map_err(unreachable)?;
        let connectors = async {
            match &config.config_topic {
                Some(topic) => ConnectorStore::open(client.clone(), topic).await.map(Some),
                None => Ok(None),
            }
        };
        let offsets = OffsetStore::open(client.clone(), &config.offset_topic);
        let (offsets, store) = tokio::try_join!(offsets, connectors)?;
        tracing::info!(
            "cluster {} is reached, {} source offsets are stored",
            cluster.cluster_id,
            offsets.len()
        );
        let sampling = config.sampling;
        let place = match config.bootstrap_servers {
            Some(_) => Place::here(),
            None => Place::Alone,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                topics: UsedTopics::new(config.topic_tracking),
                config,
                bootstrap_servers,
                offsets,
                place,
            }),
            board: Board::new(sampling),
            cluster_id: cluster.cluster_id,
            store,
            connectors: Mutex::new(Some(BTreeMap::new())),
            turn: Mutex::new(()),
        })
    }

    /// The worker's configuration.
    #[must_use]
    pub fn config(&self) -> &WorkerConfig {
        &self.shared.config
    }

    /// The brokers the worker started from.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &[String] {
        &self.shared.bootstrap_servers
    }

    /// The id of the cluster.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Creates a connector and starts it. That it runs well is not waited for: its state tells. With
    /// a topic for connectors it is stored before it is started, and starts again with the worker.
    ///
    /// # Errors
    /// There is one of that name, the connector refuses its configuration, it cannot be stored, or the
    /// worker stops.
    pub async fn create(&self, config: ConnectorConfig) -> Result<(), WorkerError> {
        check(&config).await?;
        let _turn = self.turn.lock().await;
        self.check_free(&config.name).await?;
        let change = Change::Create(&config.map, config.initial_state);
        self.keep(&config.name, None, change).await?;
        self.add(config, None).await
    }

    /// Gives a connector another configuration: it is stopped and started with the new one, and stays
    /// paused or stopped if it was. That of a connector from a file holds until the next start.
    ///
    /// # Errors
    /// There is no such connector, it refuses its configuration, that cannot be stored, or the worker
    /// stops.
    pub async fn update(&self, config: ConnectorConfig) -> Result<Stopped, WorkerError> {
        check(&config).await?;
        let _turn = self.turn.lock().await;
        let file = self.file_of(&config.name).await?;
        let change = Change::Configure(&config.map);
        self.keep(&config.name, file.as_deref(), change).await?;
        self.exchange(config, file).await
    }

    /// Stops a connector and forgets it; its offsets stay. One from a file comes back with the next
    /// start.
    ///
    /// # Errors
    /// There is no such connector, or that it is deleted cannot be stored.
    pub async fn remove(&self, name: &str) -> Result<Stopped, WorkerError> {
        let _turn = self.turn.lock().await;
        let file = match self.file_of(name).await {
            // It was refused when the worker started.
            Err(WorkerError::UnknownConnector { .. }) if self.is_stored(name) => {
                self.keep(name, None, Change::Forget).await?;
                return Ok(Stopped::default());
            }
            found => found?,
        };
        if file.is_some() && self.is_stored(name) {
            self.keep(name, None, Change::Forget).await?;
        }
        self.keep(name, file.as_deref(), Change::Forget).await?;
        self.take_out(name).await
    }

    /// Stops a connector and keeps its configuration; [`Worker::resume`] starts it again.
    ///
    /// # Errors
    /// There is no such connector.
    pub async fn stop_connector(&self, name: &str) -> Result<Stopped, WorkerError> {
        let _turn = self.turn.lock().await;
        let file = self.file_of(name).await?;
        let change = Change::Target(InitialState::Stopped);
        self.keep(name, file.as_deref(), change).await?;
        let (_, stopped) = self.halt(name).await?;
        Ok(stopped)
    }

    /// Pauses a connector's tasks; they keep what they have.
    ///
    /// # Errors
    /// There is no such connector.
    pub async fn pause(&self, name: &str) -> Result<(), WorkerError> {
        self.set_target(name, Target::Pause).await
    }

    /// Lets a connector's tasks go on, and starts a stopped connector.
    ///
    /// # Errors
    /// There is no such connector.
    pub async fn resume(&self, name: &str) -> Result<(), WorkerError> {
        self.set_target(name, Target::Run).await
    }

    /// Lets the connector's own code begin anew; its tasks go on. That it does is not waited for, and a
    /// stopped connector stays stopped.
    ///
    /// # Errors
    /// There is no such connector.
    pub async fn restart(&self, name: &str) -> Result<(), WorkerError> {
        let restart = |connector: &Connector| {
            if let Some(running) = &connector.running {
                running.restart.notify_one();
            }
        };
        self.with(name, restart).await
    }

    /// Lets one task end in order and begin anew, at once if it waits for its next try. That it does is
    /// not waited for.
    ///
    /// # Errors
    /// There is no such connector or no such task.
    pub async fn restart_task(&self, name: &str, task: usize) -> Result<(), WorkerError> {
        let restart = |connector: &Connector| {
            let running = connector.running.as_ref()?;
            let restart = Arc::clone(&running.tasks.lock().get(task)?.restart);
            restart.notify_one();
            Some(())
        };
        let found = self.with(name, restart).await?;
        found.ok_or_else(|| WorkerError::UnknownTask {
            connector: name.to_owned(),
            task,
        })
    }

    /// The names of all connectors, sorted.
    ///
    /// # Errors
    /// The worker stops.
    pub async fn names(&self) -> Result<Vec<String>, WorkerError> {
        let connectors = self.connectors.lock().await;
        let connectors = connectors.as_ref().ok_or(WorkerError::Stopping)?;
        Ok(connectors.keys().cloned().collect())
    }

    /// The configuration of a connector.
    ///
    /// # Errors
    /// There is no such connector.
    pub async fn configuration(&self, name: &str) -> Result<Arc<ConnectorConfig>, WorkerError> {
        self.with(name, |connector| Arc::clone(&connector.config))
            .await
    }

    /// What the tasks of a connector were given, by number.
    ///
    /// # Errors
    /// There is no such connector.
    pub async fn task_configurations(&self, name: &str) -> Result<Vec<ConfigMap>, WorkerError> {
        let configs = |connector: &Connector| {
            let running = connector.running.as_ref();
            let entries = running.map(|running| running.tasks.lock().clone());
            let entries = entries.unwrap_or_default().into_iter();
            entries.map(|entry| entry.config).collect()
        };
        self.with(name, configs).await
    }

    /// Looks at a connector.
    async fn with<T>(
        &self,
        name: &str,
        look: impl FnOnce(&Connector) -> T,
    ) -> Result<T, WorkerError> {
        let connectors = self.connectors.lock().await;
        let connectors = connectors.as_ref().ok_or(WorkerError::Stopping)?;
        connectors.get(name).map(look).ok_or_else(|| unknown(name))
    }

    /// The file that a connector is taken from, if any.
    async fn file_of(&self, name: &str) -> Result<Option<Arc<Path>>, WorkerError> {
        self.with(name, |connector| connector.file.clone()).await
    }

    async fn check_free(&self, name: &str) -> Result<(), WorkerError> {
        let name = name.to_owned();
        match self.names().await?.contains(&name) {
            true => Err(WorkerError::ConnectorExists { name }),
            false => Ok(()),
        }
    }

    /// Starts a connector whose name is free and whose turn it is.
    async fn add(
        &self,
        config: ConnectorConfig,
        file: Option<Arc<Path>>,
    ) -> Result<(), WorkerError> {
        let target = match config.initial_state {
            InitialState::Running => Some(Target::Run),
            InitialState::Paused => Some(Target::Pause),
            InitialState::Stopped => None,
        };
        let mut connectors = self.connectors.lock().await;
        let connectors = connectors.as_mut().ok_or(WorkerError::Stopping)?;
        let name = config.name.clone();
        debug_assert!(!connectors.contains_key(&name), "its name is free");
        let connector = self.start_connector(Arc::new(config), target, file);
        connectors.insert(name, connector);
        Ok(())
    }

    /// Stops a connector whose turn it is, and starts it with another configuration.
    async fn exchange(
        &self,
        config: ConnectorConfig,
        file: Option<Arc<Path>>,
    ) -> Result<Stopped, WorkerError> {
        let name = config.name.clone();
        let (target, stopped) = self.halt(&name).await?;
        let connector = self.start_connector(Arc::new(config), target, file);
        let mut connectors = self.connectors.lock().await;
        match connectors.as_mut() {
            Some(connectors) => connectors.insert(name, connector),
            None => {
                drop(self.stop_all([(name, connector)]).await);
                return Err(WorkerError::Stopping);
            }
        };
        Ok(stopped)
    }

    /// Stops a connector whose turn it is, and forgets it.
    async fn take_out(&self, name: &str) -> Result<Stopped, WorkerError> {
        let (_, stopped) = self.halt(name).await?;
        if let Some(connectors) = self.connectors.lock().await.as_mut() {
            connectors.remove(name);
        }
        self.board.remove(name);
        self.shared.topics.forget(name);
        Ok(stopped)
    }

    /// Starts a connector, or only shows it where there is nothing it should do.
    fn start_connector(
        &self,
        config: Arc<ConnectorConfig>,
        target: Option<Target>,
        file: Option<Arc<Path>>,
    ) -> Connector {
        self.board.add(&config.name, config.kind, &config.class);
        let running = target.map(|target| {
            let shared = Arc::clone(&self.shared);
            RunningConnector::start(Arc::clone(&config), target, shared, &self.board)
        });
        if running.is_none() {
            self.board.stopped(&config.name);
        }
        Connector {
            config,
            running,
            file,
        }
    }

    /// Stops a connector for whose turn it is, and says what it was doing.
    async fn halt(&self, name: &str) -> Result<(Option<Target>, Stopped), WorkerError> {
        let connector = {
            let mut connectors = self.connectors.lock().await;
            let connectors = connectors.as_mut().ok_or(WorkerError::Stopping)?;
            let connector = connectors.get_mut(name).ok_or_else(|| unknown(name))?;
            Connector {
                config: Arc::clone(&connector.config),
                running: connector.running.take(),
                file: connector.file.clone(),
            }
        };
        let running = connector.running.as_ref();
        let target = running.map(|running| *running.target.borrow());
        let stopped = self.stop_all([(name.to_owned(), connector)]).await;
        self.board.stopped(name);
        Ok((target, stopped))
    }

    async fn set_target(&self, name: &str, target: Target) -> Result<(), WorkerError> {
        let _turn = self.turn.lock().await;
        let file = self.file_of(name).await?;
        let state = match target {
            Target::Run => InitialState::Running,
            Target::Pause => InitialState::Paused,
            Target::Stop => InitialState::Stopped,
        };
        self.keep(name, file.as_deref(), Change::Target(state))
            .await?;
        let mut connectors = self.connectors.lock().await;
        let connectors = connectors.as_mut().ok_or(WorkerError::Stopping)?;
        let connector = connectors.get_mut(name).ok_or_else(|| unknown(name))?;
        match &connector.running {
            Some(running) => {
                running.target.send_replace(target);
            }
            None => {
                let config = Arc::clone(&connector.config);
                *connector = self.start_connector(config, Some(target), file);
            }
        }
        Ok(())
    }

    /// How everything is now.
    #[must_use]
    pub fn status(&self) -> WorkerStatus {
        self.board.status()
    }

    /// How one connector is.
    pub(crate) fn status_of(&self, connector: &str) -> Option<ConnectorStatus> {
        self.board.status_of(connector)
    }

    /// How everything is, with every change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<WorkerStatus> {
        self.board.watch()
    }

    /// The metrics of the worker, its connectors and their tasks, in the text format of Prometheus.
    pub(crate) fn metrics(&self, names: Names) -> String {
        page(&self.status(), self.board.meters(), names)
    }

    /// What happened to a connector: changes of state, failures and restarts since it was created in
    /// this worker, the last [`EVENTS_MAX`](crate::EVENTS_MAX) of them. `None` if there is none of that name.
    #[must_use]
    pub fn history(&self, connector: &str) -> Option<History> {
        self.board.history(connector)
    }

    /// The stored offsets of a source connector.
    #[must_use]
    pub fn offsets(&self, connector: &str) -> Vec<connect_core::SourcePosition> {
        self.shared.offsets.of(connector)
    }

    /// The topics that a connector has used since the worker started or
    /// [`forget_topics`](Self::forget_topics) was called, sorted; none where `topic.tracking.enable` is
    /// `false`.
    #[must_use]
    pub fn topics(&self, connector: &str) -> Vec<String> {
        self.shared.topics.of(connector)
    }

    /// Forgets which topics a connector has used; those it goes on to use come again.
    pub fn forget_topics(&self, connector: &str) {
        self.shared.topics.forget(connector);
    }

    /// The offsets that the consumer group of a sink connector has committed.
    pub(crate) async fn sink_offsets(
        &self,
        config: &ConnectorConfig,
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, ClientError> {
        let client = self.shared.offsets.client();
        client
            .admin()
            .list_group_offsets(&self.group_of(config))
            .await
    }

    /// The consumer group of a sink connector.
    fn group_of(&self, config: &ConnectorConfig) -> String {
        let configured = config.consumer.get("group.id");
        let configured = configured.or_else(|| self.shared.config.consumer.get("group.id"));
        let default = || format!("connect-{}", config.name);
        configured.cloned().unwrap_or_else(default)
    }

    /// Stops every connector: what is under way is drained, flushed and committed, within
    /// `task.shutdown.graceful.timeout.ms` for all together. A second call finds nothing to stop.
    pub async fn stop(&self) -> Stopped {
        let connectors = self.connectors.lock().await.take();
        if let Some(store) = &self.store {
            store.close();
        }
        // Whoever stops a connector ends in time by itself; a change of offsets may be left behind.
        let patience = self.shared.config.shutdown_timeout + STOP_SLACK;
        let _turn = timeout(patience, self.turn.lock()).await;
        self.stop_all(connectors.unwrap_or_default()).await
    }

    async fn stop_all(&self, connectors: impl IntoIterator<Item = (String, Connector)>) -> Stopped {
        let connectors: Vec<(String, RunningConnector)> = connectors
            .into_iter()
            .filter_map(|(name, connector)| Some((name, connector.running?)))
            .collect();
        for (_, running) in &connectors {
            running.target.send_replace(Target::Stop);
        }
        let deadline = Instant::now() + self.shared.config.shutdown_timeout + STOP_SLACK;
        let mut abandoned = Vec::new();
        for (name, mut running) in connectors {
            if timeout_at(deadline, &mut running.ended).await.is_err() {
                running.ended.abort();
                tracing::error!("connector \"{name}\" did not stop in time and is abandoned");
                abandoned.push(name);
            }
        }
        Stopped { abandoned }
    }
}

fn unknown(name: &str) -> WorkerError {
    WorkerError::UnknownConnector {
        name: name.to_owned(),
    }
}

/// Asks a connector what it thinks of its configuration.
async fn check(config: &ConnectorConfig) -> Result<(), Problems> {
    let problems = validate(config).await.map_err(|failure| {
        let message = format!(
            "the configuration could not be checked: {}",
            failure.message
        );
        Problems::from(Problem::error(None, None, message))
    })?;
    let place = |problem: connect_core::Problem| {
        let key = (!problem.key.is_empty()).then_some(problem.key.as_str());
        Problem::error(None, key, problem.message)
    };
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Problems(problems.into_iter().map(place).collect())),
    }
}
