//! What the source loop and the sink loop have in common: what a task is told, and how it fails.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connect_core::context::TaskControl;
use connect_core::{ConfigMap, ConnectError, ErrorClass, TaskId};
use kafka_client::ClientError;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::config::Problems;
use crate::config::connector::ConnectorConfig;
use crate::config::worker::WorkerConfig;
use crate::metrics::TaskMeter;
use crate::offsets::OffsetStore;
use crate::place::Place;
use crate::renewal::{Given, Renewal};
use crate::room::{Activity, RoomFailure};
use crate::secrets;
use crate::state::{Reporter, Witness};
use crate::tap::Taps;
use crate::topics::UsedTopics;

/// What a task should be doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Move records.
    Run,
    /// Stand still, but keep everything.
    Pause,
    /// Finish what is under way, commit and end.
    Stop,
}

/// Waits for the order to stop. Cancel-safe.
pub(crate) async fn next_stop(target: &mut watch::Receiver<Target>) {
    let stopped = target
        .wait_for(|target| *target == Target::Stop)
        .await
        .is_ok();
    if !stopped {
        std::future::pending().await
    }
}

/// The next target that differs from `now`; never comes if nobody is left to change it.
/// Cancel-safe.
pub(crate) async fn next_target(target: &mut watch::Receiver<Target>, now: Target) -> Target {
    let next = target
        .wait_for(|target| *target != now)
        .await
        .map(|next| *next);
    match next {
        Ok(next) => next,
        Err(_) => std::future::pending().await,
    }
}

/// What all tasks of a worker share.
pub(crate) struct Shared {
    pub(crate) config: WorkerConfig,
    pub(crate) bootstrap_servers: Vec<String>,
    pub(crate) offsets: OffsetStore,
    pub(crate) topics: UsedTopics,
    pub(crate) taps: Taps,
    pub(crate) place: Place,
}

impl Shared {
    /// A connector's configuration with what references stand for now, which may be in files on slow
    /// disks. Cancel-safe.
    pub(crate) async fn fresh(
        self: &Arc<Self>,
        connector: &Arc<ConnectorConfig>,
    ) -> Result<ConnectorConfig, Problems> {
        let (shared, connector) = (Arc::clone(self), Arc::clone(connector));
        platform::blocking::run(move || connector.fresh(&shared.config)).await
    }

    /// How what a connector or a task was given is compared with what it would be given now; never comes
    /// where that is not wanted, or nothing is from a provider.
    pub(crate) async fn renewal(&self, connector: &ConnectorConfig, given: Given) -> Renewal {
        let interval = self.config.reload_interval;
        if interval.is_zero() || !connector.reload || !connector.has_references() {
            return std::future::pending().await;
        }
        Renewal::new(interval, given)
    }
}

/// Everything one attempt to run a task needs.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) id: TaskId,
    pub(crate) connector: Arc<ConnectorConfig>,
    /// With references to configuration providers until it is [`fresh`](Setup::fresh).
    pub(crate) task_config: ConfigMap,
    pub(crate) shared: Arc<Shared>,
    pub(crate) reporter: Reporter,
    /// What is counted beside it.
    pub(crate) meter: Arc<TaskMeter>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) target: watch::Receiver<Target>,
    /// Told when the task is to end and begin anew, whatever its state.
    pub(crate) restart: Arc<Notify>,
    /// Set once another worker has shown up with this task's name in the group.
    pub(crate) name_is_taken: Arc<AtomicBool>,
}

impl Setup {
    /// The span that puts connector and task on every line of its log, whatever is filtered out.
    pub(crate) fn span(&self) -> tracing::Span {
        tracing::error_span!("task", connector = %self.id.connector, task = self.id.task)
    }

    /// The same with what references to configuration providers stand for now. Cancel-safe.
    pub(crate) async fn fresh(&self) -> Result<Self, TaskFailure> {
        if !self.connector.has_references() {
            return Ok(self.clone());
        }
        let connector = self.shared.fresh(&self.connector).await;
        let connector = connector.map_err(|problems| TaskFailure::new(problems.to_string()))?;
        let (shared, written) = (Arc::clone(&self.shared), self.task_config.clone());
        let resolve = move || shared.config.providers.resolve_map(&written);
        let task_config = platform::blocking::run(resolve).await;
        Ok(Self {
            connector: Arc::new(connector),
            task_config: task_config.map_err(TaskFailure::new)?,
            ..self.clone()
        })
    }

    /// What the task and the framework around it are given.
    pub(crate) fn given(&self) -> Given {
        Given::of(vec![
            self.connector.of_framework(),
            self.task_config.clone(),
        ])
    }

    /// Ends once references stand for something else than what the task was given. Cancel-safe.
    pub(crate) async fn outdated(&self, given: Given) {
        let mut renewal = self.shared.renewal(&self.connector, given).await;
        loop {
            sleep(renewal.pause()).await;
            let now = self.fresh().await;
            if let Err(failure) = &now {
                tracing::debug!("references cannot be looked up: {}", failure.message);
            }
            if renewal.sees(now.ok().map(|now| now.given())) {
                return;
            }
        }
    }

    /// How long what is under way may take once the task was told to stop.
    pub(crate) fn drain_patience(&self) -> Duration {
        self.shared.config.shutdown_timeout / 2
    }

    /// How long a room may take to end, and a group to be left, after that.
    pub(crate) fn end_patience(&self) -> Duration {
        self.shared.config.shutdown_timeout / 8
    }

    /// Ends when the task was told to stop and should have noticed; a call into its code does not
    /// return, then.
    pub(crate) async fn out_of_patience(&self) {
        next_stop(&mut self.target.clone()).await;
        sleep(self.shared.config.shutdown_timeout / 4).await;
    }

    /// Keeps the state honest about calls that do not return; never ends.
    pub(crate) async fn watch_calls(&self) {
        watch_calls(
            &self.activity,
            &self.reporter,
            self.shared.config.stuck_after,
        )
        .await;
    }

    /// The pause between two looks at what may be stuck.
    pub(crate) fn look_interval(&self) -> Duration {
        look_interval(self.shared.config.stuck_after)
    }
}

/// Keeps the state honest about calls that do not return; never ends.
pub(crate) async fn watch_calls(activity: &Activity, reporter: &Reporter, after: Duration) {
    let mut was_stuck = false;
    loop {
        sleep(look_interval(after)).await;
        let stuck = activity.stuck(after);
        let is_stuck = stuck.is_some();
        if let Some(what) = &stuck
            && !was_stuck
        {
            tracing::warn!("{what}");
        }
        if is_stuck || was_stuck {
            reporter.waiting(Witness::Call, stuck);
        }
        was_stuck = is_stuck;
    }
}

fn look_interval(after: Duration) -> Duration {
    (after / 2).max(Duration::from_millis(10))
}

/// What kind of failure it is, which decides whether it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Only another configuration helps.
    Configuration,
    /// Brokers or the world outside are away.
    Outage,
    /// The runtime itself sets something right by beginning anew.
    FreshStart,
    /// More records fail than the configuration allows.
    BadRecords,
    /// Anything else: it may work the next time, or never.
    Crash,
}

impl Cause {
    fn of(error: &ConnectError) -> Self {
        match error.class() {
            ErrorClass::Configuration => Self::Configuration,
            ErrorClass::Retriable => Self::Outage,
            ErrorClass::Record | ErrorClass::Fatal => Self::Crash,
        }
    }
}

/// Why an attempt to run a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskFailure {
    /// What kind of failure it is.
    pub(crate) cause: Cause,
    /// What happened.
    pub(crate) message: String,
}

impl TaskFailure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            cause: Cause::Crash,
            message: secrets::hide(message),
        }
    }

    /// A failure that a fresh start sets right.
    pub(crate) fn fresh_start(message: impl Into<String>) -> Self {
        Self {
            cause: Cause::FreshStart,
            ..Self::new(message)
        }
    }

    /// Puts `context` and a colon before the message.
    pub(crate) fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl From<ConnectError> for TaskFailure {
    fn from(error: ConnectError) -> Self {
        Self {
            cause: Cause::of(&error),
            message: secrets::hide(error.report()),
        }
    }
}

impl From<&ConnectError> for TaskFailure {
    fn from(error: &ConnectError) -> Self {
        Self {
            cause: Cause::of(error),
            message: secrets::hide(error.report()),
        }
    }
}

impl From<ClientError> for TaskFailure {
    fn from(error: ClientError) -> Self {
        Self {
            cause: match &error {
                ClientError::Configuration { .. } => Cause::Configuration,
                ClientError::AcknowledgedLost { .. } => Cause::FreshStart,
                error if error.is_retriable() => Cause::Outage,
                _ => Cause::Crash,
            },
            message: secrets::hide(error.to_string()),
        }
    }
}

impl From<RoomFailure> for TaskFailure {
    fn from(failure: RoomFailure) -> Self {
        Self::new(match failure {
            RoomFailure::Panicked(message) => format!("the task's code panicked: {message}"),
            RoomFailure::NotOpened(message) => message,
            RoomFailure::Ended => "the task has ended before".to_owned(),
        })
    }
}

/// The part of a task's context that both kinds have.
pub(crate) struct Control {
    reporter: Reporter,
    waiting: AtomicBool,
}

impl Control {
    pub(crate) fn new(reporter: Reporter) -> Self {
        Self {
            reporter,
            waiting: AtomicBool::new(false),
        }
    }
}

impl TaskControl for Control {
    fn waiting(&self, reason: String) {
        self.waiting.store(true, Ordering::Relaxed);
        self.reporter.waiting(Witness::Task, Some(reason));
    }

    fn progress(&self) {
        // A plain load first: this is called for every batch.
        if self.waiting.load(Ordering::Relaxed) && self.waiting.swap(false, Ordering::Relaxed) {
            self.reporter.waiting(Witness::Task, None);
        }
    }
}
