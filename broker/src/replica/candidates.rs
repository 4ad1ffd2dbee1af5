//! Partitions with a follower that has caught up, for whoever tells the controller.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Partition;

/// The partitions of a node whose in-sync replicas may grow.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    noted: Mutex<HashMap<u64, Weak<Partition>>>,
    changed: Notify,
}

impl Candidates {
    pub(super) fn note(&self, id: u64, partition: &Weak<Partition>) {
        self.noted.lock().insert(id, Weak::clone(partition));
        self.changed.notify_one();
    }

    /// Waits until there is one, and takes all. Cancel-safe; for a single waiter.
    pub(super) async fn wait(&self) -> Vec<Arc<Partition>> {
        loop {
            let noted = std::mem::take(&mut *self.noted.lock());
            if !noted.is_empty() {
                return noted.values().filter_map(Weak::upgrade).collect();
            }
            self.changed.notified().await;
        }
    }
}
