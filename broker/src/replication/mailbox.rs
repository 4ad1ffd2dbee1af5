//! What a fetcher is to copy, as it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Key;
use crate::replica::Partition;

/// One partition to copy.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    pub(super) partition: Arc<Partition>,
    pub(super) leader_epoch: i32,
    /// Only as fast as the throttle allows.
    pub(super) throttled: bool,
}

#[derive(Debug, Default)]
struct Changes {
    /// `None` for a partition that is not copied any more. The latest change of each counts.
    partitions: BTreeMap<Key, Option<Assignment>>,
    /// One of them should not wait for a fetch that is under way.
    urgent: bool,
    closed: bool,
}

/// Changes on their way to a fetcher; for a single waiter.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    changes: Mutex<Changes>,
    news: Notify,
}

impl Mailbox {
    /// Copies a partition from now on, or in another way.
    pub(super) fn follow(&self, key: Key, assignment: Assignment, urgent: bool) {
        {
            let mut changes = self.changes.lock();
            changes.partitions.insert(key, Some(assignment));
            changes.urgent |= urgent;
        }
        self.news.notify_one();
    }

    /// Copies it no more.
    pub(super) fn forget(&self, key: Key) {
        self.changes.lock().partitions.insert(key, None);
    }

    /// The fetcher is to end.
    pub(super) fn close(&self) {
        self.changes.lock().closed = true;
        self.news.notify_one();
    }

    /// What changed since the last call; `None` once it is closed.
    pub(super) fn take(&self) -> Option<BTreeMap<Key, Option<Assignment>>> {
        let mut changes = self.changes.lock();
        changes.urgent = false;
        (!changes.closed).then(|| std::mem::take(&mut changes.partitions))
    }

    /// Waits for something to copy, or the end. May answer without need. Cancel-safe.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Waits for something that should not wait for a fetch that is under way. Cancel-safe.
    pub(super) async fn urgent(&self) {
        loop {
            {
                let changes = self.changes.lock();
                if changes.urgent || changes.closed {
                    return;
                }
            }
            self.news.notified().await;
        }
    }
}
