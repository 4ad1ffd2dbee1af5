//! What runs and how it is: the states that the REST interface shows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use connect_core::ConnectorKind;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::history::{Happened, Histories, History, RestartedBy};
use crate::metrics::{Life, Meters, Sampling, Starts, TaskMeter};
use crate::secrets;

/// The state of a connector or a task; the names are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It has not been started yet.
    Unassigned,
    /// It runs. If it makes no progress, [`TaskStatus::waiting`] says why.
    Running,
    /// It was asked to pause.
    Paused,
    /// It failed and will be started again at [`TaskStatus::next_try_ms`].
    Restarting,
    /// It failed and is not started again by itself; [`TaskStatus::not_restarted`] says why.
    Failed,
    /// It ended because it, or the worker, was told to stop.
    Stopped,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unassigned => "UNASSIGNED",
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Restarting => "RESTARTING",
            Self::Failed => "FAILED",
            Self::Stopped => "STOPPED",
        })
    }
}

/// How one task, or the connector's own code, is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    /// The state.
    pub state: State,
    /// What it waits for, if it makes no progress: the task's own words, a retry, a call that
    /// does not return.
    pub waiting: Option<String>,
    /// Since when it waits for that, in milliseconds since the epoch.
    pub waiting_since_ms: Option<i64>,
    /// Failures since it last ran well.
    pub failures: u32,
    /// The last error, also after it runs again.
    pub last_error: Option<String>,
    /// When it is tried again, in milliseconds since the epoch.
    pub next_try_ms: Option<i64>,
    /// Why it is not started again by itself.
    pub not_restarted: Option<String>,
    /// How often it was started again since the connector divided its work, by itself or on request.
    pub restarts: u64,
}

impl Default for TaskStatus {
    fn default() -> Self {
        Self {
            state: State::Unassigned,
            waiting: None,
            waiting_since_ms: None,
            failures: 0,
            last_error: None,
            next_try_ms: None,
            not_restarted: None,
            restarts: 0,
        }
    }
}

impl TaskStatus {
    /// One line for people: `RESTARTING (3), next try in 8 s: <last error>`.
    #[must_use]
    pub fn summary(&self, now_ms: i64) -> String {
        let mut text = self.state.to_string();
        if let Some(next) = self.next_try_ms {
            let seconds = next.saturating_sub(now_ms).max(0).saturating_add(999) / 1000;
            text.push_str(&format!(" ({}), next try in {seconds} s", self.failures));
        }
        if let Some(why) = &self.not_restarted {
            text.push_str(&format!(
                " ({}), not restarted because {why}",
                self.failures
            ));
        }
        let reason = match self.state {
            State::Unassigned | State::Running | State::Paused => self.waiting.as_ref(),
            _ => self.last_error.as_ref(),
        };
        if let Some(reason) = reason {
            text.push_str(": ");
            text.push_str(reason);
        }
        text
    }
}

/// How one connector is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorStatus {
    /// Source or sink.
    pub kind: ConnectorKind,
    /// The class.
    pub class: String,
    /// The connector's own code, which divides the work into tasks.
    pub connector: TaskStatus,
    /// The tasks by number.
    pub tasks: Vec<TaskStatus>,
}

/// How everything in a worker is, by connector name.
pub type WorkerStatus = BTreeMap<String, ConnectorStatus>;

/// Where all states are kept; every change is pushed to those who watch.
#[derive(Clone)]
pub(crate) struct Board {
    sender: Arc<watch::Sender<WorkerStatus>>,
    meters: Arc<Meters>,
    histories: Arc<Histories>,
}

impl Board {
    pub(crate) fn new(sampling: Sampling) -> Self {
        Self {
            sender: Arc::new(watch::Sender::new(WorkerStatus::new())),
            meters: Arc::new(Meters::new(sampling)),
            histories: Arc::default(),
        }
    }

    pub(crate) fn meters(&self) -> &Meters {
        &self.meters
    }

    /// What happened to a connector.
    pub(crate) fn history(&self, name: &str) -> Option<History> {
        self.histories.of(name)
    }

    pub(crate) fn status(&self) -> WorkerStatus {
        self.sender.borrow().clone()
    }

    /// That of one connector; all of them are many.
    pub(crate) fn of(&self, name: &str) -> Option<ConnectorStatus> {
        self.sender.borrow().get(name).cloned()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<WorkerStatus> {
        self.sender.subscribe()
    }

    pub(crate) fn add(&self, name: &str, kind: ConnectorKind, class: &str) {
        let status = ConnectorStatus {
            kind,
            class: class.to_owned(),
            connector: TaskStatus::default(),
            tasks: Vec::new(),
        };
        self.meters.add(name);
        self.histories.add(name);
        self.sender.send_modify(|all| {
            all.insert(name.to_owned(), status);
        });
    }

    /// Makes the connector have `count` tasks, none of them started.
    pub(crate) fn set_tasks(&self, name: &str, count: usize) {
        self.meters.set_tasks(name, count);
        self.sender.send_modify(|all| {
            if let Some(status) = all.get_mut(name) {
                status.tasks = vec![TaskStatus::default(); count];
            }
        });
    }

    /// Shows a connector that was stopped and has no tasks any more.
    pub(crate) fn stopped(&self, name: &str) {
        self.sender.send_modify(|all| {
            if let Some(status) = all.get_mut(name) {
                status.connector = TaskStatus {
                    state: State::Stopped,
                    ..TaskStatus::default()
                };
                status.tasks.clear();
            }
        });
    }

    pub(crate) fn remove(&self, name: &str) {
        self.sender.send_modify(|all| {
            all.remove(name);
        });
        self.meters.remove(name);
        self.histories.remove(name);
    }
}

/// Who says that a task makes no progress. Each of them takes back only its own words; the first in
/// this order is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Witness {
    /// A call into the connector's code does not return.
    Call,
    /// Brokers do not answer.
    Broker,
    /// What is done cannot be committed, so that it comes again after a restart.
    Commit,
    /// Something failed and is tried again.
    Retry,
    /// The task itself.
    Task,
}

/// What a witness has to say.
struct Wait {
    reason: String,
    since_ms: i64,
}

/// What the witnesses of one attempt have to say.
#[derive(Default)]
struct Waits {
    by: BTreeMap<Witness, Wait>,
    /// The attempt is over. Code that was abandoned with it may still speak, but not for the next one.
    over: bool,
}

/// Where one task, or a connector's own code, reports.
#[derive(Clone)]
pub(crate) struct Reporter {
    board: Board,
    connector: Arc<str>,
    /// `None` reports for the connector's own code.
    task: Option<usize>,
    waiting: Arc<Mutex<Waits>>,
    /// What is counted beside the task; of a connector's own code only its life is.
    meter: Meter,
    /// Set from the beginning of a start to its end.
    starting: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Meter {
    Connector(Arc<Life>),
    Task(Arc<TaskMeter>),
}

impl Reporter {
    pub(crate) fn new(board: &Board, connector: &Arc<str>, task: Option<usize>) -> Self {
        Self {
            board: board.clone(),
            connector: Arc::clone(connector),
            task,
            waiting: Arc::default(),
            meter: match task {
                None => Meter::Connector(board.meters.life(connector)),
                Some(task) => Meter::Task(board.meters.task(connector, task)),
            },
            starting: Arc::default(),
        }
    }

    /// What is counted beside the task; for a connector's own code one that nobody sees.
    pub(crate) fn meter(&self) -> Arc<TaskMeter> {
        match &self.meter {
            Meter::Task(meter) => Arc::clone(meter),
            Meter::Connector(_) => self.board.meters.task(&self.connector, usize::MAX),
        }
    }

    fn life(&self) -> &Life {
        match &self.meter {
            Meter::Task(meter) => &meter.life,
            Meter::Connector(life) => life,
        }
    }

    fn starts(&self) -> &Starts {
        match &self.meter {
            Meter::Task(_) => &self.board.meters.task_starts,
            Meter::Connector(_) => &self.board.meters.connector_starts,
        }
    }

    fn note(&self, what: Happened) {
        self.board.histories.note(&self.connector, self.task, what);
    }

    /// Changes the status; nobody is woken if nothing changed. The state before and after.
    fn update(&self, change: impl FnOnce(&mut TaskStatus)) -> Option<(State, State)> {
        let mut states = None;
        self.board.sender.send_if_modified(|all| {
            let connector = all.get_mut(&*self.connector);
            let status = connector.and_then(|status| match self.task {
                None => Some(&mut status.connector),
                Some(task) => status.tasks.get_mut(task),
            });
            let Some(status) = status else { return false };
            let before = status.clone();
            change(status);
            states = Some((before.state, status.state));
            *status != before
        });
        if let Some((from, to)) = states
            && from != to
        {
            self.life().state(to);
        }
        states
    }

    /// The same for a change of state that is no failure.
    fn change(&self, change: impl FnOnce(&mut TaskStatus)) {
        if let Some((from, to)) = self.update(change)
            && from != to
        {
            self.note(Happened::Changed { from, to });
        }
    }

    /// Where one attempt reports, until it is [`over`](Self::over).
    pub(crate) fn of_attempt(&self) -> Self {
        Self {
            waiting: Arc::default(),
            ..self.clone()
        }
    }

    /// The attempt has ended; nobody waits for anything in it any more.
    pub(crate) fn over(&self) {
        self.waiting.lock().over = true;
        self.nothing_waits();
    }

    /// It is being started. What an earlier attempt was waiting for is nothing to the next one.
    pub(crate) fn starting(&self) {
        self.nothing_waits();
        self.starting.store(true, Ordering::Relaxed);
        self.starts().begin();
    }

    pub(crate) fn state(&self, state: State) {
        let works = matches!(state, State::Running | State::Paused);
        if works && self.starting.swap(false, Ordering::Relaxed) {
            self.starts().succeeded();
        }
        self.change(|status| {
            status.state = state;
            status.next_try_ms = None;
            status.not_restarted = None;
        });
    }

    /// It is started again.
    pub(crate) fn restarted(&self, by: RestartedBy) {
        self.life().restarted();
        self.note(Happened::Restarted(by));
        self.change(|status| {
            status.state = State::Restarting;
            status.restarts += 1;
            status.next_try_ms = None;
            status.not_restarted = None;
        });
    }

    /// It has ended because it was told to.
    pub(crate) fn stopped(&self) {
        self.nothing_waits();
        self.starting.store(false, Ordering::Relaxed);
        self.change(|status| {
            status.state = State::Stopped;
            status.next_try_ms = None;
            status.not_restarted = None;
        });
    }

    /// Says what it waits for, or that this witness knows of nothing any more.
    pub(crate) fn waiting(&self, witness: Witness, reason: Option<String>) {
        // Held over the update, so that two witnesses cannot overtake each other.
        let mut waiting = self.waiting.lock();
        if waiting.over {
            return;
        }
        let waiting = &mut waiting.by;
        match (reason.map(secrets::hide), waiting.get_mut(&witness)) {
            (None, None) => return,
            (None, Some(_)) => drop(waiting.remove(&witness)),
            // Other words about the same wait.
            (Some(reason), Some(wait)) => wait.reason = reason,
            (Some(reason), None) => {
                let since_ms = platform::clock::unix_millis();
                waiting.insert(witness, Wait { reason, since_ms });
            }
        }
        let shown = waiting.values().next();
        let (reason, since) = shown
            .map(|wait| (wait.reason.clone(), wait.since_ms))
            .unzip();
        // No state, nothing to note.
        let _states = self.update(|status| {
            status.waiting = reason;
            status.waiting_since_ms = since;
        });
    }

    /// Nobody has anything to say any more.
    fn nothing_waits(&self) {
        let mut waiting = self.waiting.lock();
        waiting.by.clear();
        let _states = self.update(|status| {
            status.waiting = None;
            status.waiting_since_ms = None;
        });
    }

    /// It failed; `next` is when it is tried again, in milliseconds since the epoch, or why it is not.
    pub(crate) fn failed(
        &self,
        state: State,
        failures: u32,
        error: String,
        next: Result<i64, String>,
    ) {
        if self.starting.swap(false, Ordering::Relaxed) {
            self.starts().failed();
        }
        self.life().failed();
        self.nothing_waits();
        let states = self.update(|status| {
            *status = TaskStatus {
                state,
                waiting: None,
                waiting_since_ms: None,
                failures,
                last_error: Some(error.clone()),
                next_try_ms: next.as_ref().ok().copied(),
                not_restarted: next.as_ref().err().cloned(),
                restarts: status.restarts,
            };
        });
        if let Some((from, to)) = states {
            self.note(Happened::Failed {
                from,
                to,
                failures,
                error,
                next,
            });
        }
    }

    /// It has run well for long enough that earlier failures no longer count.
    pub(crate) fn settled(&self) {
        let _states = self.update(|status| status.failures = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_what_where_and_when() {
        let board = Board::new(Sampling::default());
        let name: Arc<str> = "files".into();
        board.add(&name, ConnectorKind::Source, "FileStreamSource");
        board.set_tasks(&name, 1);
        let reporter = Reporter::new(&board, &name, Some(0));
        let task = |board: &Board| board.status()["files"].tasks[0].clone();
        reporter.state(State::Running);
        reporter.waiting(
            Witness::Task,
            Some("file \"a\" does not exist yet".to_owned()),
        );
        assert_eq!(
            task(&board).summary(0),
            "RUNNING: file \"a\" does not exist yet"
        );
        reporter.failed(State::Restarting, 3, "boom".to_owned(), Ok(8_000));
        assert_eq!(
            task(&board).summary(0),
            "RESTARTING (3), next try in 8 s: boom"
        );
        reporter.state(State::Running);
        assert_eq!(task(&board).summary(0), "RUNNING");
        assert_eq!(task(&board).failures, 3);
        let why = "it is off".to_owned();
        reporter.failed(State::Failed, 4, "boom".to_owned(), Err(why));
        assert_eq!(
            task(&board).summary(0),
            "FAILED (4), not restarted because it is off: boom"
        );
    }

    #[test]
    fn the_history_has_states_failures_and_restarts_in_order() {
        let board = Board::new(Sampling::default());
        let name: Arc<str> = "files".into();
        board.add(&name, ConnectorKind::Source, "FileStreamSource");
        board.set_tasks(&name, 1);
        let reporter = Reporter::new(&board, &name, Some(0));
        reporter.state(State::Running);
        reporter.state(State::Running);
        reporter.waiting(Witness::Task, Some("no file".to_owned()));
        reporter.failed(State::Restarting, 1, "boom".to_owned(), Ok(8_000));
        reporter.restarted(RestartedBy::Worker);
        reporter.state(State::Running);
        let events = board.history(&name).unwrap().events;
        assert!(events.iter().all(|event| event.task == Some(0)));
        let what: Vec<Happened> = events.into_iter().map(|event| event.what).collect();
        let changed = |from, to| Happened::Changed { from, to };
        let expected = [
            changed(State::Unassigned, State::Running),
            Happened::Failed {
                from: State::Running,
                to: State::Restarting,
                failures: 1,
                error: "boom".to_owned(),
                next: Ok(8_000),
            },
            Happened::Restarted(RestartedBy::Worker),
            changed(State::Restarting, State::Running),
        ];
        assert_eq!(what, expected);
        assert_eq!(board.status()["files"].tasks[0].restarts, 1);
        board.remove(&name);
        assert_eq!(board.history(&name), None);
    }

    #[test]
    fn a_witness_takes_back_only_its_own_words() {
        let board = Board::new(Sampling::default());
        let name: Arc<str> = "files".into();
        board.add(&name, ConnectorKind::Source, "FileStreamSource");
        let reporter = Reporter::new(&board, &name, None);
        let shown = || board.status()["files"].connector.waiting.clone();
        reporter.state(State::Running);
        reporter.waiting(Witness::Task, Some("no file".to_owned()));
        reporter.waiting(Witness::Broker, Some("no broker".to_owned()));
        reporter.state(State::Paused);
        assert_eq!(shown().as_deref(), Some("no broker"));
        reporter.waiting(Witness::Call, None);
        reporter.waiting(Witness::Broker, None);
        assert_eq!(shown().as_deref(), Some("no file"));
        reporter.failed(State::Restarting, 1, "boom".to_owned(), Ok(0));
        reporter.waiting(Witness::Broker, None);
        assert_eq!(shown(), None, "a new attempt starts without old words");
    }

    #[test]
    fn a_wait_has_a_beginning_and_ends_with_the_attempt() {
        let board = Board::new(Sampling::default());
        let name: Arc<str> = "files".into();
        board.add(&name, ConnectorKind::Sink, "FileStreamSink");
        let reporter = Reporter::new(&board, &name, None);
        let shown = || {
            let status = board.status()["files"].connector.clone();
            (status.waiting, status.waiting_since_ms)
        };
        reporter.state(State::Running);
        let before = platform::clock::unix_millis();
        reporter.waiting(Witness::Retry, Some("put failed, retry 1".to_owned()));
        let (_, since) = shown();
        assert!(since.is_some_and(|since| since >= before), "{since:?}");
        reporter.waiting(Witness::Retry, Some("put failed, retry 2".to_owned()));
        assert_eq!(shown(), (Some("put failed, retry 2".to_owned()), since));
        // Somebody asks for a restart, and the next attempt has nothing to take back.
        reporter.restarted(RestartedBy::Request);
        reporter.starting();
        reporter.state(State::Running);
        assert_eq!(shown(), (None, None));
        // Code that was abandoned with its attempt still has something to say.
        let attempt = reporter.of_attempt();
        attempt.waiting(Witness::Task, Some("no file".to_owned()));
        assert!(shown().0.is_some());
        attempt.over();
        assert_eq!(shown(), (None, None));
        attempt.waiting(Witness::Task, Some("no file yet".to_owned()));
        assert_eq!(shown(), (None, None));
    }

    #[test]
    fn watchers_wake_only_when_something_changed() {
        let board = Board::new(Sampling::default());
        let name: Arc<str> = "files".into();
        board.add(&name, ConnectorKind::Source, "FileStreamSource");
        let reporter = Reporter::new(&board, &name, None);
        reporter.state(State::Running);
        let mut watch = board.watch();
        watch.mark_unchanged();
        reporter.state(State::Running);
        assert!(!watch.has_changed().unwrap());
        reporter.state(State::Paused);
        assert!(watch.has_changed().unwrap());
    }
}
