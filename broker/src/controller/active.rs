//! What the active controller does by itself, for as long as it is that: it gives up brokers it
//! does not hear of, and brings the metadata to where it should be. Everything is found out from
//! the metadata again when another node takes over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use super::forward::NoAnswer;
use super::{Controller, ControllerError};
use crate::error_code;

/// Between two looks at the whole metadata while it changes.
const UPKEEP_PAUSE: Duration = Duration::from_millis(20);
/// Between two looks at the whole metadata when nothing changes.
const UPKEEP_IDLE: Duration = Duration::from_secs(5);
/// Standing still for longer than this is a pause of this node, not silence of the others.
const PAUSE_MIN: Duration = Duration::from_millis(400);
/// Between two looks at the port of a broker that may be dead, at first and at most.
const PROBE_PAUSE: Duration = Duration::from_millis(5);
const PROBE_PAUSE_MAX: Duration = Duration::from_millis(200);
/// Entries a member may be behind and still be given a vote.
const VOTER_LAG_MAX: u64 = 100;

/// The running task; it is aborted when this is dropped.
pub(crate) struct Background(JoinHandle<()>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Controller {
    /// Starts what this node does whenever it is the active controller.
    pub(crate) fn start(self: &Arc<Self>) -> Background {
        let controller = self.clone();
        Background(tokio::spawn(async move { controller.run().await }))
    }

    async fn run(self: Arc<Self>) {
        let mut leadership = self.quorum.leadership();
        let mut former = None;
        loop {
            let now = *leadership.borrow_and_update();
            let ended = if now.leader == Some(self.me()) {
                // Not when this node is elected again: it has led since.
                let former = former.take().zip(self.quorum.heard_leader_at());
                tokio::select! {
                    never = self.lead(now.term, former) => match never {},
                    changed = leadership.changed() => changed.is_err(),
                }
            } else {
                former = now.leader.or(former);
                leadership.changed().await.is_err()
            };
            if ended {
                return;
            }
        }
    }

    /// Ends by being dropped. `former` led before, and was heard then.
    async fn lead(
        self: &Arc<Self>,
        term: u64,
        former: Option<(i32, Instant)>,
    ) -> std::convert::Infallible {
        tracing::info!(
            broker = self.me(),
            term,
            "this node is the active controller"
        );
        self.sessions.lock().clear();
        while let Err(error) = self.decide(|plan| plan.elect_missing()).await {
            tracing::debug!(%error, "the new controller cannot decide yet");
            sleep(UPKEEP_PAUSE).await;
        }
        let begun = Instant::now();
        // Some have been heard of meanwhile.
        self.sessions.lock().begin(&self.image(), begun, former);
        let live: Vec<(i32, i64)> = self
            .image()
            .brokers()
            .filter(|broker| !broker.fenced && broker.id != self.me())
            .map(|broker| (broker.id, broker.epoch))
            .collect();
        let mut probes = JoinSet::new();
        for (id, epoch) in live {
            self.probe_later(&mut probes, id, epoch);
        }
        let mut lost = self.lost_receiver.lock().await;
        let mut image = self.watch();
        let check = Duration::from_secs(
            self.number("leader.imbalance.check.interval.seconds", 300)
                .max(1),
        );
        let mut rebalance_at = begun + check;
        let mut upkeep_at = begun;
        let mut checked = 0;
        loop {
            let expiry = self
                .sessions
                .lock()
                .next_expiry(&self.image(), self.session_timeout());
            let next = expiry.unwrap_or(upkeep_at).min(upkeep_at).min(rebalance_at);
            tokio::select! {
                () = sleep_until(next) => {}
                Some((id, epoch)) = lost.recv() => {
                    if self.sessions.lock().disconnected(id, epoch) && id != self.me() {
                        self.probe_later(&mut probes, id, epoch);
                    }
                    continue;
                }
                Some(ended) = probes.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a probe of a broker failed");
                    }
                    continue;
                }
                changed = image.changed() => {
                    if changed.is_ok() {
                        upkeep_at = upkeep_at.min(Instant::now() + UPKEEP_PAUSE);
                    }
                    continue;
                }
            }
            let late = Instant::now().saturating_duration_since(next);
            if late >= PAUSE_MIN {
                tracing::warn!(
                    ?late,
                    "the active controller stood still; brokers get that time on top"
                );
                self.sessions.lock().forgive(late);
            }
            self.give_up_silent().await;
            if Instant::now() >= rebalance_at {
                rebalance_at = Instant::now() + check;
                self.rebalance_leaders().await;
            }
            if Instant::now() >= upkeep_at {
                upkeep_at = Instant::now() + UPKEEP_IDLE;
                let version = self.image().version();
                if let Err(error) = self.upkeep(version != checked).await {
                    tracing::debug!(%error, "the active controller tries again later");
                    upkeep_at = Instant::now() + UPKEEP_PAUSE;
                }
                checked = version;
            }
        }
    }

    /// Finds out whether a broker whose connection ended is dead, and fences it if it is. A process that ends closes
    /// its port maybe later than its connections, so it is asked until it is heard of again.
    fn probe_later(self: &Arc<Self>, probes: &mut JoinSet<()>, id: i32, epoch: i64) {
        let controller = self.clone();
        let lost_at = Instant::now();
        probes.spawn(async move {
            let image = controller.image();
            let address = image
                .broker(id)
                .and_then(|broker| broker.endpoints.first())
                .map(|endpoint| endpoint.address());
            let Some(address) = address else { return };
            let mut pause = PROBE_PAUSE;
            while lost_at.elapsed() < controller.session_timeout() {
                let dead = controller.others.probe(&address).await == Err(NoAnswer::Refused);
                if controller.sessions.lock().heard_since(id, lost_at) {
                    return;
                }
                if dead
                    && controller
                        .fence(&[(id, epoch)], "its process is gone")
                        .await
                {
                    return;
                }
                sleep(pause).await;
                pause = (pause * 2).min(PROBE_PAUSE_MAX);
            }
        });
    }

    async fn give_up_silent(&self) {
        let image = self.image();
        let silent = self
            .sessions
            .lock()
            .expired(&image, self.session_timeout(), Instant::now());
        let silent: Vec<(i32, i64)> = silent
            .into_iter()
            .filter_map(|id| Some((id, image.broker(id)?.epoch)))
            .collect();
        if !silent.is_empty() && !self.fence(&silent, "it is not heard of").await {
            // Not at once again.
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether that was decided.
    async fn fence(&self, brokers: &[(i32, i64)], why: &str) -> bool {
        let decided = self
            .decide(|plan| {
                let silent = self.silent(plan.image());
                for (id, epoch) in brokers {
                    if plan.check_epoch(*id, *epoch).is_ok() && plan.image().is_live(*id) {
                        tracing::warn!(broker = id, "a broker is fenced, because {why}");
                        plan.fence(*id, &silent);
                    }
                }
            })
            .await;
        if let Err(error) = &decided {
            tracing::warn!(?brokers, %error, "cannot fence brokers yet");
        }
        decided.is_ok()
    }

    async fn rebalance_leaders(&self) {
        let enabled = self.config.settings.get("auto.leader.rebalance.enable");
        if enabled.is_some_and(|value| value.trim() == "false") {
            return;
        }
        let percentage = self.number("leader.imbalance.per.broker.percentage", 10);
        let percentage = usize::try_from(percentage).unwrap_or(100);
        if let Err(error) = self.decide(|plan| plan.rebalance(percentage)).await {
            tracing::warn!(%error, "cannot move leaders back to their preferred brokers yet");
        }
    }

    /// Brings the metadata, and the quorum's voters, to where they should be.
    pub(super) async fn upkeep(&self, changed: bool) -> Result<(), ControllerError> {
        // Who was silent when a broker was fenced may have been heard of before that held.
        let image = self.image();
        let silent = self.silent(&image);
        if image.has_fenced_beside(|id| !silent.contains(&id)) {
            self.decide(|plan| {
                let silent = self.silent(plan.image());
                plan.count_on_all_but(&silent);
            })
            .await?;
        }
        if changed {
            self.decide(|plan| {
                plan.elect_missing();
                plan.grow();
            })
            .await?;
        }
        let image = self.image();
        let leaves = || image.brokers().filter(|broker| broker.leaving);
        let leaving: BTreeSet<i32> = leaves().map(|broker| broker.id).collect();
        let steps = leaves().map(|broker| self.remove_step(broker.id, &broker.directory, false));
        for step in join_all(steps).await {
            if let Err(error) = step? {
                tracing::warn!(%error, "a broker cannot be taken out of the cluster yet");
            }
        }
        self.adjust_voters(&leaving).await
    }

    async fn adjust_voters(&self, leaving: &BTreeSet<i32>) -> Result<(), ControllerError> {
        let _changing = self.membership.lock().await;
        let Some(wanted) = self.voters_wanted(leaving) else {
            return Ok(());
        };
        let status = self.quorum.status();
        let voters = self.quorum.voters();
        let caught_up = |id: &i32| {
            let replica = status.observers.iter().find(|replica| replica.id == *id);
            replica
                .and_then(|replica| replica.log_end)
                .is_some_and(|end| end + VOTER_LAG_MAX >= status.committed)
        };
        if !wanted.difference(&voters).all(caught_up) {
            return Err(ControllerError::new(
                error_code::REQUEST_TIMED_OUT,
                "a new voter is still behind with the metadata",
            ));
        }
        tracing::info!(?voters, ?wanted, "the voters of the metadata quorum change");
        Ok(self.quorum.set_voters(wanted).await?)
    }
}
