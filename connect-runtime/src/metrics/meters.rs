//! The meters of all connectors and tasks of a worker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use tokio::time::Instant;

use super::meter::{Life, TaskMeter};
use super::sample::Sampling;

/// How often something was started, and how that went.
#[derive(Default)]
pub(crate) struct Starts {
    attempts: AtomicU64,
    successes: AtomicU64,
    failures: AtomicU64,
}

impl Starts {
    pub(crate) fn begin(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn succeeded(&self) {
        self.successes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    pub(crate) fn successes(&self) -> u64 {
        self.successes.load(Ordering::Relaxed)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

/// The meters of one connector.
#[derive(Clone, Default)]
pub(crate) struct ConnectorMeters {
    /// Of its own code.
    pub(crate) own: Arc<Life>,
    /// Of its tasks, by number.
    pub(crate) tasks: Vec<Arc<TaskMeter>>,
}

/// All meters of a worker.
pub(crate) struct Meters {
    sampling: Sampling,
    /// Written when connectors come, go or divide their work; tasks have what is theirs.
    connectors: RwLock<BTreeMap<Arc<str>, ConnectorMeters>>,
    pub(crate) connector_starts: Starts,
    pub(crate) task_starts: Starts,
    pub(crate) born: Instant,
}

impl Meters {
    pub(crate) fn new(sampling: Sampling) -> Self {
        Self {
            sampling,
            connectors: RwLock::default(),
            connector_starts: Starts::default(),
            task_starts: Starts::default(),
            born: Instant::now(),
        }
    }

    /// A connector is there, perhaps with another configuration than before.
    pub(crate) fn add(&self, name: &str) {
        self.connectors.write().entry(name.into()).or_default();
    }

    /// A connector has this many tasks; those that it had before go on counting.
    pub(crate) fn set_tasks(&self, name: &str, count: usize) {
        if let Some(meters) = self.connectors.write().get_mut(name) {
            let fresh = || Arc::new(TaskMeter::new(self.sampling));
            meters.tasks.resize_with(count, fresh);
        }
    }

    pub(crate) fn remove(&self, name: &str) {
        self.connectors.write().remove(name);
    }

    /// Of a connector's own code; one that nobody sees if there is no such connector.
    pub(crate) fn life(&self, name: &str) -> Arc<Life> {
        let connectors = self.connectors.read();
        let meters = connectors.get(name);
        meters
            .map(|meters| Arc::clone(&meters.own))
            .unwrap_or_default()
    }

    /// Of one task; one that nobody sees if there is no such task.
    pub(crate) fn task(&self, name: &str, task: usize) -> Arc<TaskMeter> {
        let connectors = self.connectors.read();
        let meters = connectors
            .get(name)
            .and_then(|meters| meters.tasks.get(task));
        meters.map_or_else(|| Arc::new(TaskMeter::new(self.sampling)), Arc::clone)
    }

    /// All meters as they are now, by connector.
    pub(crate) fn all(&self) -> BTreeMap<Arc<str>, ConnectorMeters> {
        self.connectors.read().clone()
    }
}
