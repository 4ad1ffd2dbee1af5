//! The shards of the offsets partitions this node leads: which there are, and since when.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinSet};

use super::{
    settings::GroupSettings,
    shard::Shard,
    storage::{Assignment, GroupStorage, Term},
};

/// Opens a shard when this node begins to lead its partition and closes it when that is over.
///
/// Invariant: a partition has at most one shard that is not closed, and it is of the latest term
/// this node has heard of.
pub(crate) struct Shards {
    settings: Arc<GroupSettings>,
    storage: Arc<dyn GroupStorage>,
    known: Mutex<Known>,
    stop: watch::Sender<bool>,
    /// One task per shard, one that follows the metadata, and those that create the topic.
    /// Dropping this ends them.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Known {
    /// Version of the metadata this is the state of: requests and the follower of the metadata
    /// race, and the older of two must not undo what the newer one did.
    version: u64,
    /// The last shard of each partition, which may be closed. The next one waits for it.
    shards: BTreeMap<i32, Arc<Shard>>,
}

impl Shards {
    /// None yet.
    pub(crate) fn new(settings: Arc<GroupSettings>, storage: Arc<dyn GroupStorage>) -> Self {
        Self {
            settings,
            storage,
            known: Mutex::default(),
            stop: watch::Sender::new(false),
            tasks: Mutex::default(),
        }
    }

    /// Opens what this node leads now and follows what it will lead.
    pub(crate) fn start(self: &Arc<Self>) {
        self.catch_up();
        let mut assignments = self.storage.follow();
        let mut stop = self.stop.subscribe();
        // Whoever drops the shards ends this task with them, so it must not keep them.
        let shards = Arc::downgrade(self);
        self.spawn(async move {
            loop {
                let next = tokio::select! {
                    next = assignments.next() => next,
                    _stopped = stop.wait_for(|stopped| *stopped) => None,
                };
                match (next, shards.upgrade()) {
                    (Some(assignment), Some(shards)) => shards.follow(&assignment),
                    _ => return,
                }
            }
        });
    }

    /// Writes what is queued and stops.
    pub(crate) async fn shutdown(&self) {
        self.stop.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        while let Some(outcome) = tasks.join_next().await {
            report(outcome);
        }
    }

    /// Runs `task` until it is done or the shards are dropped.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while let Some(outcome) = tasks.try_join_next() {
            report(outcome);
        }
        tasks.spawn(task);
    }

    /// The shard of `partition`, if this node leads it. What the metadata says counts, even if it
    /// said so only a moment ago.
    pub(crate) fn get(self: &Arc<Self>, partition: i32) -> Option<Arc<Shard>> {
        let term = self.storage.term(partition)?;
        self.current(partition, term).or_else(|| {
            self.catch_up();
            self.current(partition, term)
        })
    }

    /// Every shard that is not closed.
    pub(crate) fn open(&self) -> Vec<Arc<Shard>> {
        let known = self.known.lock();
        let open = known.shards.values().filter(|shard| !shard.is_closed());
        open.cloned().collect()
    }

    /// Acts on what the metadata says now.
    pub(crate) fn catch_up(self: &Arc<Self>) {
        self.follow(&self.storage.assignment());
    }

    fn current(&self, partition: i32, term: Term) -> Option<Arc<Shard>> {
        let known = self.known.lock();
        let shard = known.shards.get(&partition)?;
        (shard.term() == term && !shard.is_closed()).then(|| Arc::clone(shard))
    }

    fn follow(self: &Arc<Self>, assignment: &Assignment) {
        let mut over = Vec::new();
        let mut begun = Vec::new();
        {
            let mut known = self.known.lock();
            if *self.stop.borrow() || assignment.version < known.version {
                return;
            }
            known.version = assignment.version;
            for (partition, shard) in &known.shards {
                if assignment.led.get(partition) != Some(&shard.term()) && !shard.is_closed() {
                    over.push((*partition, Arc::clone(shard)));
                }
            }
            for (partition, term) in &assignment.led {
                let last = known.shards.get(partition);
                if last.is_some_and(|shard| shard.term() == *term && !shard.is_closed()) {
                    continue;
                }
                let predecessor = last.cloned();
                let shard = Arc::new(Shard::new(
                    *partition,
                    *term,
                    Arc::clone(&self.storage),
                    Arc::clone(&self.settings),
                ));
                known.shards.insert(*partition, Arc::clone(&shard));
                begun.push((shard, predecessor));
            }
        }
        // Requests that wait in them look at other locks when they are let go.
        for (partition, shard) in over {
            tracing::debug!(partition, term = ?shard.term(), "no longer coordinates these groups");
            shard.close();
        }
        for (shard, predecessor) in begun {
            self.spawn(serve(
                Arc::downgrade(self),
                shard,
                predecessor,
                self.stop.subscribe(),
            ));
        }
    }
}

/// Serves one shard; when it had to be given up within its term, the next one takes over at once,
/// so that its groups' deadlines are kept.
async fn serve(
    shards: Weak<Shards>,
    shard: Arc<Shard>,
    predecessor: Option<Arc<Shard>>,
    stop: watch::Receiver<bool>,
) {
    shard.run(predecessor, stop).await;
    if let Some(shards) = shards.upgrade() {
        shards.catch_up();
    }
}

fn report(outcome: Result<(), tokio::task::JoinError>) {
    if let Err(error) = outcome {
        tracing::error!(%error, "a task of the group coordinator failed");
    }
}
