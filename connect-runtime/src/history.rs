//! What happened to each connector: changes of state, failures and restarts, in memory, the last of
//! them only.
//!
//! It lives as long as the connector does in this worker, also while that is stopped or given another
//! configuration, and ends with either.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::state::State;

/// How many events of one connector are kept.
pub const EVENTS_MAX: usize = 256;

/// How many bytes of an error are kept.
const MESSAGE_BYTES_MAX: usize = 2048;

/// Something that happened to a connector or to one of its tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEvent {
    /// When, in milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// To which task; `None` is the connector's own code.
    pub task: Option<usize>,
    /// What.
    pub what: Happened,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// The state changed, for other reasons than a failure.
    Changed {
        /// The state before.
        from: State,
        /// The state from then on.
        to: State,
    },
    /// It failed.
    Failed {
        /// The state before.
        from: State,
        /// The state from then on.
        to: State,
        /// Failures in a row, this one included.
        failures: u32,
        /// The error.
        error: String,
        /// When it is started again, or why it is not.
        next: Result<i64, String>,
    },
    /// It is started again.
    Restarted(RestartedBy),
}

/// Who starts something again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartedBy {
    /// The worker, after a failure.
    Worker,
    /// Somebody asked for it.
    Request,
    /// The worker, because a value that its configuration refers to has changed.
    Configuration,
}

/// What is known of a connector's past.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// What happened, oldest first.
    pub events: Vec<HistoryEvent>,
    /// How many older events are forgotten.
    pub forgotten: u64,
}

#[derive(Default)]
struct Timeline {
    events: VecDeque<HistoryEvent>,
    forgotten: u64,
}

/// The past of all connectors.
#[derive(Default)]
pub(crate) struct Histories(Mutex<BTreeMap<Arc<str>, Timeline>>);

impl Histories {
    /// A connector has a history from now on, if it had none.
    pub(crate) fn add(&self, connector: &str) {
        self.0.lock().entry(connector.into()).or_default();
    }

    /// Notes what happened to a connector that has a history.
    pub(crate) fn note(&self, connector: &str, task: Option<usize>, mut what: Happened) {
        if let Happened::Failed { error, .. } = &mut what {
            shorten(error);
        }
        let event = HistoryEvent {
            timestamp_ms: platform::clock::unix_millis(),
            task,
            what,
        };
        let mut all = self.0.lock();
        let Some(timeline) = all.get_mut(connector) else {
            return;
        };
        if timeline.events.len() >= EVENTS_MAX {
            timeline.events.pop_front();
            timeline.forgotten += 1;
        }
        timeline.events.push_back(event);
    }

    /// What is known of a connector; `None` if it has no history.
    pub(crate) fn of(&self, connector: &str) -> Option<History> {
        let all = self.0.lock();
        let timeline = all.get(connector)?;
        Some(History {
            events: timeline.events.iter().cloned().collect(),
            forgotten: timeline.forgotten,
        })
    }

    pub(crate) fn remove(&self, connector: &str) {
        self.0.lock().remove(connector);
    }
}

fn shorten(text: &mut String) {
    if text.len() > MESSAGE_BYTES_MAX {
        let end = (0..=MESSAGE_BYTES_MAX)
            .rev()
            .find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_events_are_kept_and_the_others_are_counted() {
        let histories = Histories::default();
        let restarted = || Happened::Restarted(RestartedBy::Worker);
        histories.note("gone", None, restarted());
        assert_eq!(histories.of("gone"), None, "nobody knows it");
        histories.add("files");
        for task in 0..EVENTS_MAX + 10 {
            histories.note("files", Some(task), restarted());
        }
        histories.add("files");
        let history = histories.of("files").unwrap();
        assert_eq!((history.events.len(), history.forgotten), (EVENTS_MAX, 10));
        assert_eq!(history.events[0].task, Some(10));
        histories.remove("files");
        assert_eq!(histories.of("files"), None);
    }

    #[test]
    fn a_long_error_is_cut_between_two_letters() {
        let histories = Histories::default();
        histories.add("files");
        let failed = Happened::Failed {
            from: State::Running,
            to: State::Failed,
            failures: 1,
            error: format!("a{}", "é".repeat(10_000)),
            next: Err("it is off".to_owned()),
        };
        histories.note("files", None, failed);
        let history = histories.of("files").unwrap();
        let Happened::Failed { error, .. } = &history.events[0].what else {
            panic!("not a failure")
        };
        assert!(
            error.len() <= MESSAGE_BYTES_MAX + '…'.len_utf8(),
            "{}",
            error.len()
        );
        assert!(error.ends_with("é…"));
    }
}
