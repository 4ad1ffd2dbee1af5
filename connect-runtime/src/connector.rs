//! One connector: its own code in a room, and its tasks under supervision.

use std::sync::Arc;
use std::time::Duration;

use connect_core::context::{ConnectorControl, OffsetReader};
use connect_core::{
    AnyConnector, ConfigMap, ConnectError, ConnectorContext, ConnectorKind, Problem, TaskId,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{Instrument, Span};

use crate::config::Problems;
use crate::config::connector::ConnectorConfig;
use crate::history::RestartedBy;
use crate::renewal::Given;
use crate::restart::{Next, Restarts};
use crate::room::{Activity, Patience, Room};
use crate::state::{Board, Reporter, State};
use crate::supervisor::supervise;
use crate::task::{Cause, Setup, Shared, Target, TaskFailure, next_stop, watch_calls};

/// How long a connector may take to check a configuration.
const VALIDATE_TIMEOUT: Duration = Duration::from_secs(30);

/// Asks a fresh connector what it thinks of its configuration.
pub(crate) async fn validate(config: &ConnectorConfig) -> Result<Vec<Problem>, TaskFailure> {
    let (class, map) = (config.class.clone(), config.resolved.clone());
    let work = async move {
        match connect_core::plugin::find(&class)?.create() {
            AnyConnector::Source(connector) => Ok(connector.validate(&map).await),
            AnyConnector::Sink(connector) => Ok(connector.validate(&map).await),
        }
    };
    let mut room = Room::open("validate", Span::current(), work);
    match timeout(VALIDATE_TIMEOUT, room.result()).await {
        Ok(Ok(Ok(problems))) => {
            let problems = problems.into_iter();
            Ok(problems.map(|problem| config.discreet(problem)).collect())
        }
        Ok(Ok(Err(error))) => Err(ConnectError::into(error)),
        Ok(Err(failure)) => Err(failure.into()),
        Err(_) => Err(TaskFailure::new(format!(
            "the connector did not say within {VALIDATE_TIMEOUT:?} whether its configuration is right"
        ))),
    }
}

/// A connector that runs; dropping it does not stop it.
pub(crate) struct RunningConnector {
    pub(crate) target: watch::Sender<Target>,
    pub(crate) ended: tokio::task::JoinHandle<()>,
    /// Told when the connector's own code is to begin anew; its tasks go on.
    pub(crate) restart: Arc<Notify>,
    /// What its tasks were given, by number.
    pub(crate) tasks: Arc<Mutex<Vec<TaskEntry>>>,
}

/// What a worker knows of a task that is not in its status.
#[derive(Clone)]
pub(crate) struct TaskEntry {
    pub(crate) config: ConfigMap,
    pub(crate) restart: Arc<Notify>,
}

impl RunningConnector {
    /// Starts a connector and, once it has said what there is to do, its tasks.
    pub(crate) fn start(
        config: Arc<ConnectorConfig>,
        target: Target,
        shared: Arc<Shared>,
        board: &Board,
    ) -> Self {
        let restart = Arc::new(Notify::new());
        let tasks = Arc::default();
        let (target, receiver) = watch::channel(target);
        let name: Arc<str> = config.name.as_str().into();
        let span = tracing::error_span!("connector", connector = %name);
        let supervisor = Supervisor {
            reporter: Reporter::new(board, &name, None),
            name,
            config,
            shared,
            board: board.clone(),
            target: receiver,
            activity: Arc::default(),
            restart: Arc::clone(&restart),
            entries: Arc::clone(&tasks),
        };
        Self {
            restart,
            tasks,
            target,
            ended: tokio::spawn(supervisor.run().instrument(span)),
        }
    }
}

/// What a connector asked for, or is asked.
enum Request {
    Reconfigure,
    Raise(ConnectError),
}

struct Control(mpsc::Sender<Request>);

impl ConnectorControl for Control {
    fn request_task_reconfiguration(&self) {
        // If the queue is full, the same request is in it already.
        drop(self.0.try_send(Request::Reconfigure));
    }

    fn raise(&self, error: ConnectError) {
        if let Err(error) = self.0.try_send(Request::Raise(error)) {
            tracing::error!("the connector raised too many errors at once: {error}");
        }
    }
}

type TaskConfigs = Result<Vec<ConfigMap>, ConnectError>;

struct Supervisor {
    name: Arc<str>,
    config: Arc<ConnectorConfig>,
    shared: Arc<Shared>,
    board: Board,
    reporter: Reporter,
    target: watch::Receiver<Target>,
    activity: Arc<Activity>,
    restart: Arc<Notify>,
    entries: Arc<Mutex<Vec<TaskEntry>>>,
}

/// How an attempt ended that did not fail.
enum End {
    /// It was told to stop.
    Stopped,
    /// It is to begin anew, and why.
    Restarted(RestartedBy),
}

/// The tasks of one answer to `task_configs`.
struct Tasks {
    configs: Vec<ConfigMap>,
    target: watch::Sender<Target>,
    running: JoinSet<()>,
}

impl Tasks {
    async fn stop(mut self) {
        self.target.send_replace(Target::Stop);
        while self.running.join_next().await.is_some() {}
    }
}

impl Supervisor {
    async fn run(mut self) {
        let mut restarts = Restarts::new(self.config.restart.clone());
        let mut tasks = None;
        while *self.target.borrow() != Target::Stop {
            self.reporter.starting();
            match self.attempt(&mut tasks, &mut restarts).await {
                Ok(End::Stopped) => {}
                Ok(End::Restarted(by)) => {
                    restarts.asked();
                    self.reporter.restarted(by);
                }
                Err(failure) => {
                    let next = restarts.report("connector", failure, &self.reporter);
                    if let Some(by) = self.wait(next, tasks.as_ref()).await {
                        if by != RestartedBy::Worker {
                            restarts.asked();
                        }
                        self.reporter.restarted(by);
                    }
                }
            }
        }
        if let Some(tasks) = tasks {
            tasks.stop().await;
        }
        self.reporter.stopped();
    }

    /// Waits between two attempts, for who makes the next one; nobody does if it is stopped. The tasks
    /// go on, and follow the target.
    async fn wait(&mut self, next: Next, tasks: Option<&Tasks>) -> Option<RestartedBy> {
        let mut due = std::pin::pin!(next.due());
        let outdated = outdated(Arc::clone(&self.config), Arc::clone(&self.shared));
        let mut outdated = std::pin::pin!(outdated);
        loop {
            tokio::select! {
                () = &mut due => return Some(RestartedBy::Worker),
                () = &mut outdated => return Some(RestartedBy::Configuration),
                () = self.restart.notified() => return Some(RestartedBy::Request),
                changed = self.target.changed() => {
                    let now = *self.target.borrow_and_update();
                    if changed.is_err() || now == Target::Stop {
                        return None;
                    }
                    if let Some(tasks) = tasks {
                        tasks.target.send_replace(now);
                    }
                }
            }
        }
    }

    /// Runs the connector's own code once; its tasks outlive a failure of it.
    async fn attempt(
        &mut self,
        tasks: &mut Option<Tasks>,
        restarts: &mut Restarts,
    ) -> Result<End, TaskFailure> {
        if self.config.has_references() {
            let mut stopping = self.target.clone();
            let fresh = tokio::select! {
                fresh = self.shared.fresh(&self.config) => fresh,
                () = next_stop(&mut stopping) => return Ok(End::Stopped),
            };
            let fresh = fresh.map_err(|problems| self.unreadable(&problems))?;
            self.config = Arc::new(fresh);
        }
        let (asks, ask_receiver) = mpsc::channel(1);
        let (requests, mut request_receiver) = mpsc::channel(16);
        let offsets = self.shared.offsets.reader(&self.name);
        let offsets: Option<Arc<dyn OffsetReader>> = match self.config.kind {
            ConnectorKind::Source => Some(Arc::new(offsets)),
            ConnectorKind::Sink => None,
        };
        let room = ConnectorRoom {
            config: Arc::clone(&self.config),
            context: ConnectorContext::new(
                Arc::clone(&self.name),
                Arc::new(Control(requests)),
                offsets,
            ),
            activity: Arc::clone(&self.activity),
            asks: ask_receiver,
        };
        let mut room = Room::open(&self.name, Span::current(), room.run());
        let (activity, reporter) = (Arc::clone(&self.activity), self.reporter.clone());
        let stuck_after = self.shared.config.stuck_after;
        let outcome = tokio::select! {
            outcome = self.follow(&mut room, asks, &mut request_receiver, tasks, restarts) => outcome,
            () = watch_calls(&activity, &reporter, stuck_after) => Ok(End::Stopped),
        };
        if *self.target.borrow() == Target::Stop
            && let Some(tasks) = tasks.take()
        {
            tasks.stop().await;
        }
        let patience = self.shared.config.shutdown_timeout / 8;
        if timeout(patience, room.result()).await.is_err() {
            tracing::error!("the connector did not stop in time ({patience:?}) and is abandoned");
        }
        outcome
    }

    /// What a reference stands for may be there later; other mistakes stay.
    fn unreadable(&self, problems: &Problems) -> TaskFailure {
        let failure = TaskFailure::new(problems.to_string());
        match self.config.has_references() {
            true => failure,
            false => TaskFailure {
                cause: Cause::Configuration,
                ..failure
            },
        }
    }

    async fn follow(
        &mut self,
        room: &mut Room<Result<(), ConnectError>>,
        asks: mpsc::Sender<oneshot::Sender<TaskConfigs>>,
        requests: &mut mpsc::Receiver<Request>,
        tasks: &mut Option<Tasks>,
        restarts: &mut Restarts,
    ) -> Result<End, TaskFailure> {
        let mut reconfigure = true;
        let mut stopping = self.target.clone();
        let outdated = outdated(Arc::clone(&self.config), Arc::clone(&self.shared));
        let mut outdated = std::pin::pin!(outdated);
        loop {
            if std::mem::take(&mut reconfigure) {
                let configs = tokio::select! {
                    configs = self.task_configs(room, &asks) => configs?,
                    () = next_stop(&mut stopping) => return Ok(End::Stopped),
                    () = self.restart.notified() => return Ok(End::Restarted(RestartedBy::Request)),
                };
                self.start_tasks(configs, tasks).await;
                restarts.settled();
                self.reporter.settled();
                self.show_target();
            }
            tokio::select! {
                changed = self.target.changed() => {
                    let now = *self.target.borrow_and_update();
                    if changed.is_err() || now == Target::Stop {
                        return Ok(End::Stopped);
                    }
                    if let Some(tasks) = tasks.as_ref() {
                        tasks.target.send_replace(now);
                    }
                    self.show_target();
                }
                Some(request) = requests.recv() => match request {
                    Request::Reconfigure => reconfigure = true,
                    Request::Raise(error) => return Err(error.into()),
                },
                () = self.restart.notified() => return Ok(End::Restarted(RestartedBy::Request)),
                () = &mut outdated => return Ok(End::Restarted(RestartedBy::Configuration)),
                ended = room.result() => {
                    ended??;
                    return Err(TaskFailure::new("the connector ended by itself"));
                }
            }
        }
    }

    fn show_target(&self) {
        self.reporter.state(match *self.target.borrow() {
            Target::Pause => State::Paused,
            Target::Run | Target::Stop => State::Running,
        });
    }

    async fn task_configs(
        &self,
        room: &mut Room<Result<(), ConnectError>>,
        asks: &mpsc::Sender<oneshot::Sender<TaskConfigs>>,
    ) -> Result<Vec<ConfigMap>, TaskFailure> {
        let (reply, answer) = oneshot::channel();
        // A room that is gone shows in its result.
        drop(asks.send(reply).await);
        let configs = tokio::select! {
            Ok(configs) = answer => configs?,
            ended = room.result() => {
                ended??;
                return Err(TaskFailure::new("the connector ended by itself"));
            }
        };
        let max = self.config.tasks_max;
        if configs.len() > max && self.config.tasks_max_enforce {
            return Err(TaskFailure {
                cause: Cause::Configuration,
                message: format!(
                    "the connector wants {} tasks but tasks.max is {max}; raise it, or set \
                     tasks.max.enforce to false",
                    configs.len()
                ),
            });
        }
        let written = configs
            .into_iter()
            .map(|config| self.config.written(config));
        Ok(written.collect())
    }

    /// Starts tasks, unless the same are running already.
    async fn start_tasks(&self, configs: Vec<ConfigMap>, tasks: &mut Option<Tasks>) {
        if tasks
            .as_ref()
            .is_some_and(|running| running.configs == configs)
        {
            return;
        }
        if let Some(old) = tasks.take() {
            tracing::info!("the connector divides its work anew; its tasks are restarted");
            old.stop().await;
        }
        self.board.set_tasks(&self.name, configs.len());
        let (target, receiver) = watch::channel(*self.target.borrow());
        let mut running = JoinSet::new();
        let mut entries = Vec::with_capacity(configs.len());
        for (index, task_config) in configs.iter().enumerate() {
            let restart = Arc::new(Notify::new());
            let reporter = Reporter::new(&self.board, &self.name, Some(index));
            let (meter, activity) = (reporter.meter(), Arc::<Activity>::default());
            meter.set_activity(Arc::clone(&activity));
            entries.push(TaskEntry {
                config: self.config.shown(task_config),
                restart: Arc::clone(&restart),
            });
            running.spawn(supervise(Setup {
                restart,
                id: TaskId {
                    connector: Arc::clone(&self.name),
                    task: u32::try_from(index).unwrap_or(u32::MAX),
                },
                connector: Arc::clone(&self.config),
                task_config: task_config.clone(),
                shared: Arc::clone(&self.shared),
                reporter,
                meter,
                activity,
                target: receiver.clone(),
                name_is_taken: Arc::default(),
            }));
        }
        *self.entries.lock() = entries;
        *tasks = Some(Tasks {
            configs,
            target,
            running,
        });
    }
}

/// Ends once references stand for something else than what the connector's own code was given. Its tasks
/// see to themselves. Cancel-safe.
async fn outdated(config: Arc<ConnectorConfig>, shared: Arc<Shared>) {
    let given = |config: &ConnectorConfig| Given::of(vec![config.resolved.clone()]);
    let mut renewal = shared.renewal(&config, given(&config)).await;
    loop {
        sleep(renewal.pause()).await;
        let now = shared.fresh(&config).await;
        if renewal.sees(now.ok().map(|now| given(&now))) {
            return;
        }
    }
}

/// The room of the connector's own code.
struct ConnectorRoom {
    config: Arc<ConnectorConfig>,
    context: ConnectorContext,
    activity: Arc<Activity>,
    asks: mpsc::Receiver<oneshot::Sender<TaskConfigs>>,
}

impl ConnectorRoom {
    /// Runs a fresh connector until nobody asks any more.
    async fn run(mut self) -> Result<(), ConnectError> {
        let mut connector = connect_core::plugin::find(&self.config.class)?.create();
        let started = self.start(&mut connector).await;
        if started.is_ok() {
            while let Some(reply) = self.asks.recv().await {
                let max = self.config.tasks_max;
                let configs = async {
                    match &connector {
                        AnyConnector::Source(source) => source.task_configs(max),
                        AnyConnector::Sink(sink) => sink.task_configs(max),
                    }
                };
                let configs = self
                    .activity
                    .watch("task_configs", Patience::ReturnsSoon, configs);
                drop(reply.send(configs.await));
            }
        }
        let stop = match &mut connector {
            AnyConnector::Source(source) => source.stop(),
            AnyConnector::Sink(sink) => sink.stop(),
        };
        if let Err(error) = self
            .activity
            .watch("stop", Patience::ReturnsSoon, stop)
            .await
        {
            tracing::warn!("stop of the connector failed: {}", error.report());
        }
        started
    }

    async fn start(&self, connector: &mut AnyConnector) -> Result<(), ConnectError> {
        let context = self.context.clone();
        let start = match connector {
            AnyConnector::Source(source) => source.start(context, &self.config.resolved),
            AnyConnector::Sink(sink) => sink.start(context, &self.config.resolved),
        };
        self.activity
            .watch("start", Patience::ReturnsSoon, start)
            .await
    }
}
