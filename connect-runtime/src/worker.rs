//! The worker: connects to a cluster, keeps offsets there, and runs connectors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_client::Client;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout_at};

use crate::clients;
use crate::config::connector::ConnectorConfig;
use crate::config::worker::WorkerConfig;
use crate::config::{Problem, Problems};
use crate::connector::{RunningConnector, validate};
use crate::error::WorkerError;
use crate::offsets::OffsetStore;
use crate::place::Place;
use crate::state::{Board, WorkerStatus};
use crate::task::{Shared, Target};

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
    /// `None` once the worker stops.
    connectors: Mutex<Option<BTreeMap<String, RunningConnector>>>,
}

/// How long the brokers may be silent when a worker starts; who waits for them starts it again.
const REACH_TIMEOUT: Duration = Duration::from_secs(10);

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// Connectors that did not end in time; what they had not committed comes again after the
    /// next start.
    pub abandoned: Vec<String>,
}

impl Worker {
    /// Reaches the cluster, makes sure of the offsets topic and reads the stored offsets.
    ///
    /// `bootstrap_servers` wins over the configuration's, which may have none if the broker is
    /// embedded. Must be called within a Tokio runtime, which runs the worker's loops.
    ///
    /// # Errors
    /// The cluster cannot be reached, or the offsets topic cannot be used; nothing runs then.
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
        let offsets = OffsetStore::open(client, &config.offset_topic).await?;
        tracing::info!(
            "cluster {} is reached, {} source offsets are stored",
            cluster.cluster_id,
            offsets.len()
        );
        let place = match config.bootstrap_servers {
            Some(_) => Place::here(),
            None => Place::Alone,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                config,
                bootstrap_servers,
                offsets,
                place,
            }),
            board: Board::new(),
            cluster_id: cluster.cluster_id,
            connectors: Mutex::new(Some(BTreeMap::new())),
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

    /// Creates a connector and starts it. That it runs well is not waited for: its state tells.
    ///
    /// # Errors
    /// There is one of that name, the connector refuses its configuration, or the worker stops.
    pub async fn create(&self, config: ConnectorConfig) -> Result<(), WorkerError> {
        let problems = match validate(&config).await {
            Ok(problems) => problems,
            Err(failure) => {
                let message = format!(
                    "the configuration could not be checked: {}",
                    failure.message
                );
                return Err(Problems::from(Problem::error(None, None, message)).into());
            }
        };
        if !problems.is_empty() {
            let place = |problem: connect_core::Problem| {
                let key = (!problem.key.is_empty()).then_some(problem.key.as_str());
                Problem::error(None, key, problem.message)
            };
            return Err(Problems(problems.into_iter().map(place).collect()).into());
        }
        let mut connectors = self.connectors.lock().await;
        let connectors = connectors.as_mut().ok_or(WorkerError::Stopping)?;
        if connectors.contains_key(&config.name) {
            return Err(WorkerError::ConnectorExists { name: config.name });
        }
        let name = config.name.clone();
        self.board.add(&name, config.kind, &config.class);
        let running = RunningConnector::start(config, Arc::clone(&self.shared), &self.board);
        connectors.insert(name, running);
        Ok(())
    }

    /// Stops a connector and forgets it; its offsets stay.
    ///
    /// # Errors
    /// There is no such connector.
    pub async fn remove(&self, name: &str) -> Result<Stopped, WorkerError> {
        let running = {
            let mut connectors = self.connectors.lock().await;
            let connectors = connectors.as_mut().ok_or(WorkerError::Stopping)?;
            connectors.remove(name)
        };
        let running = running.ok_or_else(|| WorkerError::UnknownConnector {
            name: name.to_owned(),
        })?;
        let stopped = self.stop_all([(name.to_owned(), running)]).await;
        self.board.remove(name);
        Ok(stopped)
    }

    /// Pauses a connector's tasks; they keep what they have.
    ///
    /// # Errors
    /// There is no such connector.
    pub async fn pause(&self, name: &str) -> Result<(), WorkerError> {
        self.set_target(name, Target::Pause).await
    }

    /// Lets a connector's tasks go on.
    ///
    /// # Errors
    /// There is no such connector.
    pub async fn resume(&self, name: &str) -> Result<(), WorkerError> {
        self.set_target(name, Target::Run).await
    }

    async fn set_target(&self, name: &str, target: Target) -> Result<(), WorkerError> {
        let connectors = self.connectors.lock().await;
        let connectors = connectors.as_ref().ok_or(WorkerError::Stopping)?;
        let running = connectors
            .get(name)
            .ok_or_else(|| WorkerError::UnknownConnector {
                name: name.to_owned(),
            })?;
        running.target.send_replace(target);
        Ok(())
    }

    /// How everything is now.
    #[must_use]
    pub fn status(&self) -> WorkerStatus {
        self.board.status()
    }

    /// How everything is, with every change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<WorkerStatus> {
        self.board.watch()
    }

    /// The stored offsets of a source connector.
    #[must_use]
    pub fn offsets(&self, connector: &str) -> Vec<connect_core::SourcePosition> {
        self.shared.offsets.of(connector)
    }

    /// Stops every connector: what is under way is drained, flushed and committed, within
    /// `task.shutdown.graceful.timeout.ms` for all together. A second call finds nothing to stop.
    pub async fn stop(&self) -> Stopped {
        let connectors = self.connectors.lock().await.take();
        self.stop_all(connectors.unwrap_or_default()).await
    }

    async fn stop_all(
        &self,
        connectors: impl IntoIterator<Item = (String, RunningConnector)>,
    ) -> Stopped {
        let connectors: Vec<(String, RunningConnector)> = connectors.into_iter().collect();
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
