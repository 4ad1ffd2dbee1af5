//! Which fetcher copies which partition: a few per leader, started and ended as leaders change.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::fetcher::Fetcher;
use super::leader_link::Leaders;
use super::mailbox::{Assignment, Mailbox};
use super::{Key, OutOfService, Throttle};
use crate::config::ReplicationSettings;
use crate::controller::MetadataImage;

/// What all fetchers share.
pub(super) struct Fetching {
    pub(super) me: i32,
    pub(super) settings: ReplicationSettings,
    /// Says where leaders are.
    pub(super) images: watch::Receiver<Arc<MetadataImage>>,
    pub(super) broker_epoch: watch::Receiver<Option<i64>>,
    pub(super) leaders: Arc<dyn Leaders>,
    /// For replicas that catch up and are throttled.
    pub(super) throttle: Arc<Throttle>,
    pub(super) out_of_service: Arc<OutOfService>,
}

/// A leader and one of its fetchers.
type FetcherId = (i32, usize);

struct Home {
    fetcher: FetcherId,
    leader_epoch: i32,
    throttled: bool,
}

#[derive(Default)]
struct Running {
    mailbox: Arc<Mailbox>,
    partitions: usize,
}

/// All fetchers of a node. Dropping it aborts them.
pub(super) struct Fetchers {
    fetching: Arc<Fetching>,
    homes: BTreeMap<Key, Home>,
    running: BTreeMap<FetcherId, Running>,
    tasks: JoinSet<()>,
}

impl Fetchers {
    pub(super) fn new(fetching: Fetching) -> Self {
        Self {
            fetching: Arc::new(fetching),
            homes: BTreeMap::new(),
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// The limit for throttled replicas.
    pub(super) fn throttle(&self) -> &Throttle {
        &self.fetching.throttle
    }

    /// Copies a partition from `leader`; from nobody else any more.
    pub(super) fn follow(&mut self, key: Key, leader: i32, assignment: Assignment) {
        let fetcher = (leader, self.place(&key));
        let home = Home {
            fetcher,
            leader_epoch: assignment.leader_epoch,
            throttled: assignment.throttled,
        };
        let mut urgent = true;
        if let Some(known) = self.homes.get(&key) {
            if known.fetcher == fetcher && known.leader_epoch == home.leader_epoch {
                if known.throttled == home.throttled {
                    return;
                }
                urgent = false;
            }
            if known.fetcher != fetcher {
                self.forget(&key);
            }
        }
        let running = match self.running.entry(fetcher) {
            std::collections::btree_map::Entry::Occupied(running) => running.into_mut(),
            std::collections::btree_map::Entry::Vacant(vacant) => {
                let running = vacant.insert(Running::default());
                let fetcher = Fetcher::new(self.fetching.clone(), leader, running.mailbox.clone());
                self.tasks.spawn(fetcher.run());
                running
            }
        };
        if self.homes.insert(key, home).is_none() {
            running.partitions += 1;
        }
        running.mailbox.follow(key, assignment, urgent);
    }

    /// Copies a partition no more. A write that has begun goes on; the partition refuses it if it
    /// has another leader by then.
    pub(super) fn forget(&mut self, key: &Key) {
        let Some(home) = self.homes.remove(key) else {
            return;
        };
        let Some(running) = self.running.get_mut(&home.fetcher) else {
            return;
        };
        running.mailbox.forget(*key);
        running.partitions = running.partitions.saturating_sub(1);
    }

    /// Ends fetchers that have nothing to copy. Apart from [`forget`](Self::forget), so that one
    /// whose partitions change all at once goes on.
    pub(super) fn end_idle(&mut self) {
        self.running.retain(|_, running| {
            let needed = running.partitions > 0;
            if !needed {
                running.mailbox.close();
            }
            needed
        });
        while let Some(ended) = self.tasks.try_join_next() {
            report(ended);
        }
    }

    /// Ends all, and waits for what they write.
    pub(super) async fn stop(&mut self) {
        for running in self.running.values() {
            running.mailbox.close();
        }
        self.running.clear();
        self.homes.clear();
        while let Some(ended) = self.tasks.join_next().await {
            report(ended);
        }
    }

    /// Which of a leader's fetchers copies a partition; always the same one.
    fn place(&self, key: &Key) -> usize {
        let (topic, index) = key;
        let hash = topic.iter().fold(index.unsigned_abs(), |hash, byte| {
            hash.wrapping_add(u32::from(*byte))
        });
        usize::try_from(hash).unwrap_or(0) % self.fetching.settings.fetchers.max(1)
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a replica fetcher failed");
    }
}
