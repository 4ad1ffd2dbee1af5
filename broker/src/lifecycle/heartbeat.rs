//! One process of a broker in its cluster: it registers, says that it is there, and asks for leave.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Addresses, MISTAKE_TIME};
use crate::config::ClusterSettings;
use crate::controller::Controller;
use crate::controller::quorum::Quorum;
use crate::error_code;
use crate::peer::{
    ClusterRequest, ClusterResponse, Heartbeat, HeartbeatAnswer, PeerError, Peers, Probe, Refusal,
    Registration,
};

/// How long a registration may take: it is agreed on, and a former process is looked for.
const REGISTRATION_TIME: Duration = Duration::from_secs(5);
/// Between two tries to register.
const PAUSE: Duration = Duration::from_millis(100);
/// Between heartbeats while something is waited for.
const EAGER_PAUSE: Duration = Duration::from_millis(50);
/// How often a broker that waits says so.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// Voters that find the leader dead ask for an election one after the other.
const ELECTION_GAP: Duration = Duration::from_millis(40);

/// Where a broker stands in its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The active controller does not know this process yet.
    Unknown,
    /// It does, under this epoch.
    Registered {
        epoch: i64,
        /// It is not counted on (yet).
        fenced: bool,
    },
    /// Nothing depends on it any more.
    MayStop,
    /// It is not let in.
    Refused(String),
}

/// Tells the active controller about this process.
pub(crate) struct Lifecycle {
    standing: watch::Receiver<Standing>,
    leaving: watch::Sender<bool>,
    controller: Arc<Controller>,
    me: i32,
    task: JoinHandle<()>,
}

/// What the task works with.
pub(crate) struct Identity {
    pub(crate) registration: Registration,
    pub(crate) settings: ClusterSettings,
    pub(crate) addresses: Addresses,
    pub(crate) quorum: Arc<Quorum>,
    pub(crate) controller: Arc<Controller>,
    pub(crate) peers: Peers,
    /// What has to be done between the first registration and the first role.
    pub(crate) registered: BoxFuture<'static, Result<(), String>>,
    /// Gets the epoch under which this process is registered.
    pub(crate) epoch: watch::Sender<Option<i64>>,
    /// Version of the metadata that this node's partitions agree with.
    pub(crate) applied: watch::Receiver<u64>,
    /// Whether the disk takes no writes.
    pub(crate) disk_refuses: watch::Receiver<bool>,
}

impl Lifecycle {
    /// Starts to register. Dropping it is like a crash.
    pub(crate) fn start(identity: Identity) -> Self {
        let (standing, watching) = watch::channel(Standing::Unknown);
        let (leaving, leave) = watch::channel(false);
        let controller = identity.controller.clone();
        let me = identity.registration.broker;
        let process = Process {
            me,
            registration: identity.registration,
            settings: identity.settings,
            others: identity.addresses.others,
            quorum: identity.quorum,
            controller: identity.controller,
            peers: identity.peers,
            standing,
            epoch: identity.epoch,
            applied: identity.applied,
            disk_refuses: identity.disk_refuses,
            leaving: leave,
            referred: None,
            asked: 0,
        };
        Self {
            standing: watching,
            leaving,
            controller,
            me,
            task: tokio::spawn(process.run(identity.registered)),
        }
    }

    /// Follows where the broker stands.
    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Waits until the cluster counts on this broker, however long that takes.
    ///
    /// # Errors
    /// Why it is not let in.
    pub(crate) async fn counted_on(&self) -> Result<(), String> {
        let mut standing = self.standing();
        let settled = |standing: &Standing| {
            matches!(
                standing,
                Standing::Registered { fenced: false, .. } | Standing::Refused(_)
            )
        };
        match standing.wait_for(settled).await.as_deref() {
            Ok(Standing::Refused(why)) => Err(why.clone()),
            Ok(_) => Ok(()),
            Err(_) => Err("the broker stops".to_owned()),
        }
    }

    /// Waits until the broker is not let in any more; why.
    pub(crate) async fn refused(&self) -> String {
        let mut standing = self.standing();
        let refused = standing.wait_for(|standing| matches!(standing, Standing::Refused(_)));
        if let Ok(standing) = refused.await
            && let Standing::Refused(why) = &*standing
        {
            return why.clone();
        }
        pending().await
    }

    /// Asks for leave and waits until it is given, at most `limit`. With nobody to hand leadership
    /// to, there is nothing to wait for.
    pub(crate) async fn leave(&self, limit: Duration) {
        let image = self.controller.image();
        let registered = matches!(*self.standing.borrow(), Standing::Registered { .. });
        let alone = !image
            .brokers()
            .any(|broker| broker.id != self.me && !broker.fenced);
        if alone || !registered {
            return;
        }
        self.leaving.send_replace(true);
        let mut standing = self.standing();
        let given = standing.wait_for(|standing| *standing == Standing::MayStop);
        if timeout(limit, given).await.is_err() {
            tracing::warn!(
                "stopping although this broker still leads partitions: the controller did not answer in time"
            );
        }
    }

    /// Ends the heartbeats.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        if let Err(error) = (&mut self.task).await
            && error.is_panic()
        {
            tracing::error!(%error, "the heartbeats had failed");
        }
    }
}

impl Drop for Lifecycle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a question to the active controller has no answer.
#[derive(Debug, Error)]
enum Unanswered {
    #[error("no controller is known")]
    NobodyKnown,
    #[error("{0}")]
    Peer(#[from] PeerError),
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("too few voters of the metadata quorum are there")]
    NoMajority,
    #[error("the controller answered another question")]
    Nonsense,
}

/// Why heartbeats ended.
enum Ended {
    /// The controller no longer knows this process.
    Forgotten,
    /// The broker may stop.
    Left,
}

struct Process {
    me: i32,
    registration: Registration,
    settings: ClusterSettings,
    /// Seeds to ask while no controller is known.
    others: Vec<String>,
    quorum: Arc<Quorum>,
    controller: Arc<Controller>,
    peers: Peers,
    standing: watch::Sender<Standing>,
    epoch: watch::Sender<Option<i64>>,
    applied: watch::Receiver<u64>,
    disk_refuses: watch::Receiver<bool>,
    leaving: watch::Receiver<bool>,
    /// Who was named as the controller by one that is not.
    referred: Option<String>,
    /// Counts those asked at random.
    asked: usize,
}

impl Process {
    async fn run(mut self, registered: BoxFuture<'static, Result<(), String>>) {
        let mut registered = Some(registered);
        loop {
            let epoch = match self.register().await {
                Ok(epoch) => epoch,
                Err(why) => return self.is_refused(why),
            };
            if let Some(registered) = registered.take()
                && let Err(why) = registered.await
            {
                return self.is_refused(why);
            }
            self.epoch.send_replace(Some(epoch));
            self.now_fenced(epoch, self.is_fenced(epoch));
            // What was lost before this process began is told; it loses nothing itself.
            self.registration.lost_records = false;
            match self.beat(epoch).await {
                Ended::Forgotten => {
                    self.standing.send_replace(Standing::Unknown);
                }
                Ended::Left => {
                    self.standing.send_replace(Standing::MayStop);
                    return;
                }
            }
        }
    }

    fn is_refused(&self, why: String) {
        tracing::error!("this broker cannot be part of its cluster: {why}");
        self.standing.send_replace(Standing::Refused(why));
    }

    /// Registers, however long it takes.
    async fn register(&mut self) -> Result<i64, String> {
        let begun = Instant::now();
        let mut said = begun;
        let mut refused_since = None;
        loop {
            let request = ClusterRequest::Register(self.registration.clone());
            let error = match self.ask(request, REGISTRATION_TIME).await {
                Ok(ClusterResponse::Registered { broker_epoch }) => return Ok(broker_epoch),
                Ok(_) => Unanswered::Nonsense,
                Err(error) => error,
            };
            if let Unanswered::Refused(refusal) = &error {
                match refusal.code {
                    error_code::BROKER_ID_NOT_REGISTERED | error_code::INVALID_REQUEST => {
                        return Err(refusal.message.clone());
                    }
                    // A stranger sits where one of the others was: the others are elsewhere.
                    error_code::INCONSISTENT_CLUSTER_ID if self.quorum.members().len() > 1 => {}
                    error_code::INCONSISTENT_CLUSTER_ID
                    | error_code::DUPLICATE_BROKER_REGISTRATION => {
                        let since = *refused_since.get_or_insert_with(Instant::now);
                        if since.elapsed() >= MISTAKE_TIME {
                            return Err(refusal.message.clone());
                        }
                    }
                    _ => {}
                }
            }
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                tracing::warn!(
                    broker = self.me,
                    "waiting for the cluster's controller: {error}"
                );
            }
            self.pause(PAUSE).await;
        }
    }

    /// Says that this process is there until it may stop or is forgotten.
    async fn beat(&mut self, epoch: i64) -> Ended {
        let mut leadership = self.quorum.leadership();
        let mut applied = self.applied.clone();
        let mut leaving = self.leaving.clone();
        let mut disk = self.disk_refuses.clone();
        let mut failures: u32 = 0;
        loop {
            let shutting_down = *leaving.borrow_and_update();
            if shutting_down && self.is_last().await {
                return Ended::Left;
            }
            let version = *applied.borrow_and_update();
            leadership.mark_unchanged();
            let heartbeat = Heartbeat {
                broker: self.me,
                broker_epoch: epoch,
                version,
                shutting_down,
                disk_refuses: *disk.borrow_and_update(),
            };
            let begun = Instant::now();
            let patience = self.settings.session_timeout / 2;
            let answered = match self
                .ask(ClusterRequest::Heartbeat(heartbeat), patience)
                .await
            {
                Ok(ClusterResponse::Heartbeat(answer)) => Ok(answer),
                Ok(_) => Err(Unanswered::Nonsense),
                Err(error) => Err(error),
            };
            let mut next = begun + self.settings.heartbeat_interval;
            let eager;
            match answered {
                Ok(HeartbeatAnswer { may_stop: true, .. }) if shutting_down => return Ended::Left,
                Ok(HeartbeatAnswer { fenced, .. }) => {
                    failures = 0;
                    self.now_fenced(epoch, fenced);
                    eager = fenced || shutting_down;
                }
                Err(Unanswered::Refused(refusal))
                    if [
                        error_code::STALE_BROKER_EPOCH,
                        error_code::BROKER_ID_NOT_REGISTERED,
                    ]
                    .contains(&refusal.code) =>
                {
                    tracing::warn!(
                        broker = self.me,
                        "this broker has to register again: {refusal}"
                    );
                    return Ended::Forgotten;
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    tracing::debug!(%error, "a heartbeat was not answered");
                    eager = true;
                }
            }
            if eager {
                next = next.min(Instant::now() + EAGER_PAUSE * failures.clamp(1, 10));
            }
            let fenced = !matches!(
                *self.standing.borrow(),
                Standing::Registered { fenced: false, .. }
            );
            let controller = self.quorum.leader_address();
            let gone = async {
                match controller.filter(|(id, _)| *id != self.me) {
                    Some((_, address)) => self.peers.heartbeats_end(&address).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = sleep_until(next) => {}
                // The next heartbeat finds out whether its process is.
                () = gone, if !eager => {}
                _ = leadership.changed() => {}
                _ = leaving.changed(), if !shutting_down => {}
                Ok(()) = disk.changed() => {}
                _ = applied.changed(), if fenced || shutting_down => {}
            }
        }
    }

    /// Whether the processes of all other brokers are gone, so that nobody could take over.
    async fn is_last(&self) -> bool {
        let image = self.quorum.image();
        let others = image
            .brokers()
            .filter(|broker| broker.id != self.me)
            .filter_map(|broker| broker.endpoints.first())
            .map(|endpoint| async move { self.peers.probe(&endpoint.address()).await });
        let found = join_all(others).await;
        found.into_iter().all(|found| found == Probe::Dead)
    }

    fn now_fenced(&self, epoch: i64, fenced: bool) {
        let now = Standing::Registered { epoch, fenced };
        self.standing.send_if_modified(|standing| {
            let changed = *standing != now;
            if changed && fenced {
                tracing::debug!(broker = self.me, "this broker is fenced");
            }
            *standing = now;
            changed
        });
    }

    fn is_fenced(&self, epoch: i64) -> bool {
        !self
            .quorum
            .image()
            .broker(self.me)
            .is_some_and(|broker| broker.epoch == epoch && !broker.fenced)
    }

    /// Asks the active controller, as far as that is known.
    async fn ask(
        &mut self,
        request: ClusterRequest,
        patience: Duration,
    ) -> Result<ClusterResponse, Unanswered> {
        let response = match self.quorum.leader_address() {
            Some((leader, _)) if leader == self.me => {
                let answer = timeout(patience, self.controller.answer(request));
                answer.await.map_err(|_| Unanswered::NoMajority)?
            }
            Some((_, address)) => {
                let deadline = Instant::now() + patience;
                match self.peers.call(&address, request, deadline).await {
                    Ok(response) => response,
                    Err(error) => {
                        if matches!(error, PeerError::Refused(_)) {
                            self.leader_is_dead().await;
                        }
                        return Err(error.into());
                    }
                }
            }
            None => {
                let address = self.anybody().ok_or(Unanswered::NobodyKnown)?;
                let deadline = Instant::now() + patience;
                self.peers.call(&address, request, deadline).await?
            }
        };
        match response {
            ClusterResponse::Refused(refusal) => {
                let of_us = refusal.code != error_code::INCONSISTENT_CLUSTER_ID;
                let leader = refusal.leader.clone().filter(|_| of_us);
                self.referred = leader.map(|(_, address)| address);
                Err(refusal.into())
            }
            response => Ok(response),
        }
    }

    /// Somebody who may know the controller.
    fn anybody(&mut self) -> Option<String> {
        if let Some(referred) = self.referred.take() {
            return Some(referred);
        }
        let mut known: Vec<String> = self
            .quorum
            .members()
            .into_iter()
            .filter(|(id, _)| *id != self.me)
            .map(|(_, member)| member.address)
            .collect();
        known.extend(self.others.iter().cloned());
        self.asked = self.asked.wrapping_add(1);
        let position = self.asked.checked_rem(known.len())?;
        known.into_iter().nth(position)
    }

    /// Nobody listens where the controller was: its process is gone, so its session need not be
    /// waited for. The voters ask for an election, one after the other.
    async fn leader_is_dead(&self) {
        let dead = *self.quorum.leadership().borrow();
        let rank = self
            .quorum
            .voters()
            .into_iter()
            .filter(|id| Some(*id) != dead.leader)
            .position(|id| id == self.me);
        let Some(rank) = rank else {
            return;
        };
        sleep(ELECTION_GAP * u32::try_from(rank).unwrap_or(0)).await;
        if *self.quorum.leadership().borrow() == dead {
            self.quorum.elect_now();
        }
    }

    /// Waits a moment, less if a controller turns up.
    async fn pause(&self, time: Duration) {
        let mut leadership = self.quorum.leadership();
        leadership.mark_unchanged();
        tokio::select! {
            () = sleep(time) => {}
            _ = leadership.changed() => {}
        }
    }
}
