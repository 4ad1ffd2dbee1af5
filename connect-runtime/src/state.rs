//! What runs and how it is: the states that the REST interface shows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use connect_core::ConnectorKind;
use parking_lot::Mutex;
use tokio::sync::watch;

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
    /// It failed in a way that time does not mend, such as a wrong configuration; it is tried
    /// again only rarely.
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
    /// Failures since it last ran well.
    pub failures: u32,
    /// The last error, also after it runs again.
    pub last_error: Option<String>,
    /// When it is tried again, in milliseconds since the epoch.
    pub next_try_ms: Option<i64>,
}

impl Default for TaskStatus {
    fn default() -> Self {
        Self {
            state: State::Unassigned,
            waiting: None,
            failures: 0,
            last_error: None,
            next_try_ms: None,
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
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            sender: Arc::new(watch::Sender::new(WorkerStatus::new())),
        }
    }

    pub(crate) fn status(&self) -> WorkerStatus {
        self.sender.borrow().clone()
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
        self.sender.send_modify(|all| {
            all.insert(name.to_owned(), status);
        });
    }

    /// Makes the connector have `count` tasks, none of them started.
    pub(crate) fn set_tasks(&self, name: &str, count: usize) {
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
    /// Something failed and is tried again.
    Retry,
    /// The task itself.
    Task,
}

/// Where one task, or a connector's own code, reports.
#[derive(Clone)]
pub(crate) struct Reporter {
    board: Board,
    connector: Arc<str>,
    /// `None` reports for the connector's own code.
    task: Option<usize>,
    waiting: Arc<Mutex<BTreeMap<Witness, String>>>,
}

impl Reporter {
    pub(crate) fn new(board: &Board, connector: &Arc<str>, task: Option<usize>) -> Self {
        Self {
            board: board.clone(),
            connector: Arc::clone(connector),
            task,
            waiting: Arc::default(),
        }
    }

    /// Changes the status; nobody is woken if nothing changed.
    fn update(&self, change: impl FnOnce(&mut TaskStatus)) {
        self.board.sender.send_if_modified(|all| {
            let connector = all.get_mut(&*self.connector);
            let status = connector.and_then(|status| match self.task {
                None => Some(&mut status.connector),
                Some(task) => status.tasks.get_mut(task),
            });
            let Some(status) = status else { return false };
            let before = status.clone();
            change(status);
            *status != before
        });
    }

    pub(crate) fn state(&self, state: State) {
        self.update(|status| {
            status.state = state;
            status.next_try_ms = None;
        });
    }

    /// It has ended because it was told to.
    pub(crate) fn stopped(&self) {
        self.waiting.lock().clear();
        self.update(|status| {
            status.state = State::Stopped;
            status.waiting = None;
            status.next_try_ms = None;
        });
    }

    /// Says what it waits for, or that this witness knows of nothing any more.
    pub(crate) fn waiting(&self, witness: Witness, reason: Option<String>) {
        // Held over the update, so that two witnesses cannot overtake each other.
        let mut waiting = self.waiting.lock();
        match reason {
            Some(reason) => waiting.insert(witness, secrets::hide(reason)),
            None => waiting.remove(&witness),
        };
        let shown = waiting.values().next().cloned();
        self.update(|status| status.waiting = shown);
    }

    pub(crate) fn failed(&self, state: State, failures: u32, error: String, next_try_ms: i64) {
        self.waiting.lock().clear();
        self.update(|status| {
            *status = TaskStatus {
                state,
                waiting: None,
                failures,
                last_error: Some(error),
                next_try_ms: Some(next_try_ms),
            };
        });
    }

    /// It has run well for long enough that earlier failures no longer count.
    pub(crate) fn settled(&self) {
        self.update(|status| status.failures = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_what_where_and_when() {
        let board = Board::new();
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
        reporter.failed(State::Restarting, 3, "boom".to_owned(), 8_000);
        assert_eq!(
            task(&board).summary(0),
            "RESTARTING (3), next try in 8 s: boom"
        );
        reporter.state(State::Running);
        assert_eq!(task(&board).summary(0), "RUNNING");
        assert_eq!(task(&board).failures, 3);
    }

    #[test]
    fn a_witness_takes_back_only_its_own_words() {
        let board = Board::new();
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
        reporter.failed(State::Restarting, 1, "boom".to_owned(), 0);
        reporter.waiting(Witness::Broker, None);
        assert_eq!(shown(), None, "a new attempt starts without old words");
    }

    #[test]
    fn watchers_wake_only_when_something_changed() {
        let board = Board::new();
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
