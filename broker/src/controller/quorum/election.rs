//! Looks after openraft: when to elect, who leads, and starting again after a failure of the disk.
//!
//! Before an election a voter asks the others whether they would vote for it. Only with a majority
//! does it begin one, so that a member that was cut off disturbs nobody, and an election that is
//! asked for because a process died wins at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::log::Contents;
use super::network::{Answer, Canvass, Message};
use super::raft_types::{Raft, RaftMetrics, broker_id};
use super::{Core, HEARTBEAT, Leadership, VOTE_TIME};

/// How often a leader looks whether it is still heard, and how large its log has become.
const LOOK: Duration = Duration::from_millis(250);
/// How long to wait for the answers of others about a vote.
const CANVASS_TIME: Duration = Duration::from_millis(500);
/// The most to wait before asking again when the leader is known to be dead; drawn at random, so
/// that voters do not ask for themselves at the same moment for ever.
const ASK_AGAIN: Duration = Duration::from_millis(60);
/// The pause before starting again after the disk refused, at first and at most.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(1);
/// A snapshot is made when the log's file has grown by this since the last.
const SNAPSHOT_BYTES: u64 = 4 * 1024 * 1024;

/// See the module.
pub(super) struct Driver {
    core: Arc<Core>,
    stopping: watch::Receiver<bool>,
    /// When to ask for an election if no leader is heard until then.
    patience: Duration,
    /// Not before this.
    not_before: Instant,
    /// The term that this node leads in, and what has to be applied before it says so.
    leading: Option<(u64, Option<u64>, Instant)>,
    /// Length of the log's file when a snapshot was last asked for.
    snapshot_at: u64,
    restart_pause: Duration,
}

impl Driver {
    pub(super) fn new(core: Arc<Core>, stopping: watch::Receiver<bool>) -> Self {
        let patience = draw_patience(&core);
        Self {
            core,
            stopping,
            patience,
            not_before: Instant::now(),
            leading: None,
            snapshot_at: 0,
            restart_pause: RESTART_PAUSE,
        }
    }

    /// Runs until the quorum's owner is gone.
    pub(super) async fn run(mut self) {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = crate::node::stopped(&mut stopping) => {}
            () = self.drive() => {}
        }
        let raft = self.core.raft.lock().take();
        if let Some(raft) = raft
            && let Err(error) = raft.shutdown().await
        {
            tracing::warn!(%error, "the metadata quorum did not stop in order");
        }
    }

    async fn drive(&mut self) {
        loop {
            let raft = self.core.raft.lock().clone();
            let raft = match raft {
                Some(raft) => raft,
                None => {
                    self.core.wake.notified().await;
                    if self.core.raft.lock().is_some() {
                        continue;
                    }
                    match self.core.start().await {
                        Ok(raft) => raft,
                        Err(error) => {
                            self.failed(error.to_string()).await;
                            continue;
                        }
                    }
                }
            };
            let reason = self.attend(&raft).await;
            self.core.raft.lock().take();
            if let Err(error) = raft.shutdown().await {
                tracing::debug!(%error, "the metadata quorum had ended already");
            }
            self.failed(reason).await;
        }
    }

    /// Waits before the next start, and makes it happen.
    async fn failed(&mut self, reason: String) {
        tracing::error!(
            reason,
            "the metadata quorum stopped on this node; starting it again"
        );
        *self.core.failure.lock() = Some(reason);
        self.leading = None;
        self.publish(None);
        sleep(self.restart_pause).await;
        self.restart_pause = (self.restart_pause * 2).min(RESTART_PAUSE_MAX);
        self.core.wake.notify_one();
    }

    /// Attends to a running raft until it fails; gives the reason.
    async fn attend(&mut self, raft: &Raft) -> String {
        let mut changes = raft.metrics();
        self.not_before = Instant::now();
        self.snapshot_at = 0;
        loop {
            let metrics = changes.borrow_and_update().clone();
            if let Err(fatal) = &metrics.running_state {
                return fatal.to_string();
            }
            let look_at = self.look(raft, &metrics).await;
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() {
                        return "it ended".to_owned();
                    }
                }
                () = sleep_until(look_at) => {}
                () = self.core.wake.notified() => {}
            }
        }
    }

    /// Does what is to be done now, and says when to look again.
    async fn look(&mut self, raft: &Raft, metrics: &RaftMetrics) -> Instant {
        let now = Instant::now();
        self.compact(raft).await;
        if metrics.state.is_leader() {
            self.lead(raft, metrics).await;
            // While it waits to have applied everything, it looks more often.
            return now + LOOK.min(HEARTBEAT);
        }
        self.leading = None;
        raft.runtime_config().heartbeat(true);
        let heard = *self.core.heard.lock();
        let silent = |time: Duration| heard.is_none_or(|heard| heard.elapsed() >= time);
        let leader = metrics
            .current_leader
            .filter(|leader| *leader != self.core.sender.me)
            .filter(|_| !silent(self.core.timing.election_timeout_max));
        self.publish(leader.map(broker_id).map(|leader| Leadership {
            term: metrics.current_term,
            leader: Some(leader),
        }));
        let is_voter = metrics
            .membership_config
            .voter_ids()
            .any(|id| id == self.core.sender.me);
        if !is_voter {
            return now + self.core.timing.election_timeout_max;
        }
        let died = {
            let mut died = self.core.leader_died.lock();
            *died = died.filter(|until| *until > now);
            died.is_some()
        };
        let alone = self.core.is_alone();
        let due = if alone || died {
            self.not_before
        } else {
            let since = heard.unwrap_or(self.not_before);
            (since + self.patience).max(self.not_before)
        };
        if due > now {
            return due;
        }
        let won = alone || self.canvass(metrics, died).await;
        if won {
            self.elect(raft).await;
        }
        self.patience = draw_patience(&self.core);
        let pause = if died { ASK_AGAIN } else { self.patience };
        self.not_before = Instant::now() + draw(pause);
        self.not_before
    }

    /// What a leader does: say that it leads once it knows everything that was agreed on before. One that was told to
    /// do without a vote falls silent, so that the others elect another.
    async fn lead(&mut self, raft: &Raft, metrics: &RaftMetrics) {
        if self.is_voted_out(metrics) {
            raft.runtime_config().heartbeat(false);
            self.publish(None);
            return;
        }
        let term = metrics.current_term;
        let (_, barrier, since) = match self.leading {
            Some(leading) if leading.0 == term => leading,
            _ => (term, metrics.last_log_index, Instant::now()),
        };
        self.leading = Some((term, barrier, since));
        let applied = metrics.last_applied.map(|applied| applied.index);
        if applied < barrier {
            self.publish(None);
            if since.elapsed() >= HEARTBEAT && self.core.leads(metrics) {
                // Entries of an earlier term are agreed on with the first of this one, and a
                // leader that was restarted may not have written that.
                self.leading = Some((term, barrier, Instant::now()));
                if let Err(error) = raft.client_write_ff(Vec::new()).await {
                    tracing::debug!(%error, "cannot write a first entry");
                }
            }
            return;
        }
        self.restart_pause = RESTART_PAUSE;
        let leads = self.core.leads(metrics);
        self.publish(leads.then_some(Leadership {
            term,
            leader: Some(self.core.me),
        }));
    }

    fn is_voted_out(&self, metrics: &RaftMetrics) -> bool {
        let membership = &metrics.membership_config;
        // Not before that is agreed on.
        *membership.log_id() <= metrics.last_applied
            && !membership.voter_ids().any(|id| id == self.core.sender.me)
    }

    /// Keeps the log small.
    async fn compact(&mut self, raft: &Raft) {
        let length = self.core.log.length();
        self.snapshot_at = self.snapshot_at.min(length);
        if length - self.snapshot_at < SNAPSHOT_BYTES {
            return;
        }
        self.snapshot_at = length;
        if let Err(error) = raft.trigger().snapshot().await {
            tracing::debug!(%error, "cannot ask for a snapshot");
        }
    }

    fn publish(&self, leadership: Option<Leadership>) {
        self.core.leadership.send_if_modified(|known| {
            let next = leadership.unwrap_or(Leadership {
                term: known.term,
                leader: None,
            });
            let modified = *known != next;
            if modified {
                match next.leader {
                    Some(leader) => {
                        tracing::info!(
                            leader,
                            term = next.term,
                            "the metadata quorum has a leader"
                        );
                    }
                    None => tracing::info!(term = next.term, "the metadata quorum has no leader"),
                }
            }
            *known = next;
            modified
        });
    }

    /// Asks the other voters; true when enough of them would vote for this node.
    async fn canvass(&self, metrics: &RaftMetrics, leader_died: bool) -> bool {
        let me = self.core.sender.me;
        let canvass = Canvass {
            last_log_id: self.core.log.read(Contents::last),
            leader_died,
        };
        let membership = metrics.membership_config.membership();
        let mut asked: FuturesUnordered<_> = metrics
            .membership_config
            .nodes()
            .filter(|(id, _)| **id != me)
            .filter(|(id, _)| membership.voter_ids().any(|voter| voter == **id))
            .map(|(id, member)| {
                let message = Message::Canvass(canvass.clone());
                let (id, asking) = (
                    *id,
                    self.core.sender.send(*id, member, message, CANVASS_TIME),
                );
                async move { (id, timeout(CANVASS_TIME, asking).await) }
            })
            .collect();
        let mut granted = BTreeSet::from([me]);
        let enough = |granted: &BTreeSet<u64>| {
            membership
                .get_joint_config()
                .iter()
                .all(|voters| voters.intersection(granted).count() > voters.len() / 2)
        };
        while !enough(&granted) {
            match asked.next().await {
                Some((id, Ok(Ok(Answer::Canvass { granted: true })))) => {
                    granted.insert(id);
                }
                Some(_) => {}
                None => return false,
            }
        }
        true
    }

    /// Begins an election and waits for what comes of it.
    async fn elect(&self, raft: &Raft) {
        tracing::info!("asking for the votes of the metadata quorum");
        if let Err(error) = raft.trigger().elect().await {
            tracing::debug!(%error, "cannot begin an election");
            return;
        }
        let decided = |metrics: &RaftMetrics| metrics.current_leader.is_some();
        let mut metrics = raft.metrics();
        drop(timeout(VOTE_TIME * 2, metrics.wait_for(decided)).await);
    }
}

/// How long to be without a leader this time.
fn draw_patience(core: &Core) -> Duration {
    let spread = core
        .timing
        .election_timeout_max
        .saturating_sub(core.timing.election_timeout_min);
    core.timing.election_timeout_min + draw(spread)
}

/// A random time below `bound`.
fn draw(bound: Duration) -> Duration {
    let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(platform::random::below(micros))
}
