//! The quorum that the cluster's metadata is agreed on in: a replicated log of
//! [`MetadataRecord`]s and, on every node, the [`MetadataImage`] they add up to.
//!
//! Raft is openraft's; storage, messages and the timing of elections are ours. Every node of the
//! cluster is a member and applies the log; some of them vote. The leader of the quorum is the
//! active controller.
//!
//! Invariants: nothing is answered before it is on disk; an image never holds what is not agreed
//! on; [`Leadership`] names this node only while a majority hears it and everything that was
//! agreed on before is applied here.

mod addresses;
mod election;
mod frames;
mod log;
mod log_store;
mod machine;
mod members;
mod network;
mod raft_types;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{ClientWriteError, RaftError};
use parking_lot::Mutex;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use self::addresses::Addresses;
use self::election::Driver;
use self::frames::FileError;
use self::log::Log;
use self::log_store::LogStore;
use self::machine::Machine;
pub(crate) use self::network::QuorumNetwork;
use self::network::{Answer, Canvass, Envelope, Message, Sender};
pub(crate) use self::raft_types::Member;
use self::raft_types::{Entry, LogId, Raft, RaftMetrics, Vote, broker_id, raft_id};
use super::image::MetadataImage;
use super::record::MetadataRecord;

/// Who leads the quorum, as far as this node knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// Grows with every election.
    pub(crate) term: u64,
    /// The leader: the active controller.
    pub(crate) leader: Option<i32>,
}

/// The quorum at one moment, for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct QuorumStatus {
    pub(crate) term: u64,
    pub(crate) leader: Option<i32>,
    /// Position of the last record known to be agreed on.
    pub(crate) committed: u64,
    pub(crate) voters: Vec<QuorumReplica>,
    /// Members that follow without a vote.
    pub(crate) observers: Vec<QuorumReplica>,
}

/// One member.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct QuorumReplica {
    pub(crate) id: i32,
    pub(crate) address: String,
    /// Position of its last record; none where this node does not know.
    pub(crate) log_end: Option<u64>,
}

/// Why the quorum did not take a change.
#[derive(Clone, Debug, Error)]
pub(crate) enum QuorumError {
    /// Another node leads, or none; the change was not made.
    #[error("this node does not lead the metadata quorum{}", .leader.map(|id| format!("; broker {id} does")).unwrap_or_default())]
    NotLeader { leader: Option<i32> },
    /// The disk refused; the change was not made.
    #[error("{0}")]
    Storage(String),
    /// It was not agreed on in time, or this node lost the lead meanwhile. It may still be made.
    #[error("the metadata quorum did not agree in time; too few of its voters are reachable")]
    Timeout,
    /// It is not a change this quorum can make, whoever leads it.
    #[error("{0}")]
    Refused(String),
}

/// How patient the members are with each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuorumTiming {
    /// A voter that hears no leader for a time between this and the next asks for an election.
    pub(crate) election_timeout_min: Duration,
    pub(crate) election_timeout_max: Duration,
    /// How long a change may take to be agreed on.
    pub(crate) proposal: Duration,
}

impl Default for QuorumTiming {
    fn default() -> Self {
        Self {
            election_timeout_min: Duration::from_millis(1000),
            election_timeout_max: Duration::from_millis(2000),
            proposal: Duration::from_secs(5),
        }
    }
}

/// How often a leader that has nothing to say is heard.
const HEARTBEAT: Duration = Duration::from_millis(150);
/// How long openraft waits for a vote.
const VOTE_TIME: Duration = Duration::from_millis(300);
/// How long a member that heard a leader votes for nobody else.
const LEASE: Duration = Duration::from_millis(310);
/// How long a leader that was deposed waits for what becomes of a change.
const DEPOSED_PATIENCE: Duration = Duration::from_millis(500);
/// Entries between snapshots.
const SNAPSHOT_ENTRIES: u64 = 2000;
/// Entries that a snapshot already has and that are kept for members that are a little behind.
const KEPT_ENTRIES: u64 = 100;
/// Bytes of a snapshot that travel together.
const SNAPSHOT_CHUNK_BYTES: u64 = 512 * 1024;

/// A member of the quorum. Dropping it stops it.
pub(crate) struct Quorum {
    core: Arc<Core>,
    stop: watch::Sender<bool>,
}

/// What the facade shares with the task that looks after elections.
struct Core {
    me: i32,
    timing: QuorumTiming,
    log: Arc<Log>,
    machine: Machine,
    sender: Sender,
    leadership: watch::Sender<Leadership>,
    /// None until the quorum is founded or another member speaks to this one, and while it is
    /// being started again after a failure of the disk.
    raft: Mutex<Option<Raft>>,
    /// Held while it is being started.
    starting: tokio::sync::Mutex<()>,
    /// Why there is none, when it failed.
    failure: Mutex<Option<String>>,
    /// Something for the driver to look at.
    wake: Notify,
    /// When a leader was last heard.
    heard: Mutex<Option<Instant>>,
    /// Until when the leader is held for dead.
    leader_died: Mutex<Option<Instant>>,
}

impl Quorum {
    /// Opens what `folder` holds; it is created if needed. A member that was one before goes on;
    /// a new one waits for [`found`](Self::found), or for a leader to speak to it.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub(crate) async fn open(
        folder: &Path,
        me: i32,
        member: Member,
        network: Arc<dyn QuorumNetwork>,
        timing: QuorumTiming,
    ) -> Result<Self, QuorumError> {
        let path = folder.to_owned();
        let opening = move || {
            if !platform::fs::exists(&path) {
                platform::fs::create_dir_all(&path).map_err(frames::fail("create", &path))?;
                // A vote must not get lost with the folder it is in.
                if let Some(parent) = path.parent() {
                    platform::fs::sync_dir(parent).map_err(frames::fail("flush", parent))?;
                }
            }
            Ok((Log::open(&path)?, Machine::open(&path)?))
        };
        let (log, machine) = platform::blocking::run(opening)
            .await
            .map_err(|error: FileError| QuorumError::Storage(error.to_string()))?;
        let addresses = Arc::new(Addresses::new(member, machine.published().subscribe()));
        let core = Arc::new(Core {
            me,
            timing,
            log: Arc::new(log),
            machine,
            sender: Sender {
                me: raft_id(me),
                network,
                addresses,
            },
            leadership: watch::Sender::default(),
            raft: Mutex::new(None),
            starting: tokio::sync::Mutex::new(()),
            failure: Mutex::new(None),
            wake: Notify::new(),
            heard: Mutex::new(None),
            leader_died: Mutex::new(None),
        });
        let (stop, stopping) = watch::channel(false);
        let quorum = Self { core, stop };
        let begins = !quorum.is_new();
        let mut alone = false;
        if begins {
            let raft = quorum.core.start().await?;
            let me = quorum.core.sender.me;
            let voters = raft
                .with_raft_state(|state| {
                    let membership = state.membership_state.effective();
                    membership.voter_ids().collect::<Vec<_>>()
                })
                .await
                .map_err(|error| QuorumError::Storage(error.to_string()))?;
            alone = voters == [me];
        }
        // Its owner is this handle: it ends when the handle is dropped.
        tokio::spawn(Driver::new(quorum.core.clone(), stopping).run());
        if alone {
            quorum.wait_until_leading().await?;
        }
        Ok(quorum)
    }

    /// Whether this node never was a member of a quorum.
    pub(crate) fn is_new(&self) -> bool {
        self.core.is_new()
    }

    /// Founds a quorum of this node alone, and leads it.
    ///
    /// # Errors
    /// When it is a member of one already, or the disk refuses.
    pub(crate) async fn found(&self) -> Result<(), QuorumError> {
        let starting = self.core.starting.lock().await;
        if !self.is_new() || self.core.raft.lock().is_some() {
            return Err(QuorumError::Refused(
                "this node is a member of a metadata quorum already".to_owned(),
            ));
        }
        let me = self.core.sender.me;
        let members = BTreeMap::from([(me, self.core.sender.addresses.me())]);
        let membership = openraft::Membership::new(vec![BTreeSet::from([me])], members);
        // What openraft would come to in four steps, each with a flush of its own.
        let vote = Vote::new_committed(1, me);
        let entry = Entry {
            log_id: LogId::new(vote.leader_id, 0),
            payload: openraft::EntryPayload::Membership(membership),
        };
        let log = self.core.log.clone();
        platform::blocking::run(move || log.found(vote, entry))
            .await
            .map_err(|error| QuorumError::Storage(error.to_string()))?;
        drop(starting);
        self.core.start().await?;
        self.core.wake.notify_one();
        self.wait_until_leading().await
    }

    async fn wait_until_leading(&self) -> Result<(), QuorumError> {
        let mut leadership = self.leadership();
        let leads = |leadership: &Leadership| leadership.leader == Some(self.core.me);
        match timeout(self.core.timing.proposal, leadership.wait_for(leads)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(self.core.down()),
        }
    }

    /// The metadata as of now, on this node.
    pub(crate) fn image(&self) -> Arc<MetadataImage> {
        self.core.machine.published().borrow().clone()
    }

    /// Follows the metadata.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.core.machine.published().subscribe()
    }

    /// Follows who leads.
    pub(crate) fn leadership(&self) -> watch::Receiver<Leadership> {
        self.core.leadership.subscribe()
    }

    /// The leader and where it is reached, if one is known.
    pub(crate) fn leader_address(&self) -> Option<(i32, String)> {
        let leader = self.core.leadership.borrow().leader?;
        let members = self.core.members();
        let member = members.get(&leader)?;
        let address = self.core.sender.addresses.of(raft_id(leader), member);
        Some((leader, address))
    }

    /// This node is reached at `address` from now on.
    #[cfg(test)]
    pub(crate) fn moved(&self, address: String) {
        self.core.sender.addresses.moved(address);
    }

    /// Asks for an election at once, because the leader's process is known to be dead. Does
    /// nothing on nodes without a vote, or when another leader turns up.
    pub(crate) fn elect_now(&self) {
        let until = Instant::now() + self.core.timing.election_timeout_max;
        *self.core.leader_died.lock() = Some(until);
        self.core.wake.notify_one();
    }

    /// When this node last heard a leader other than itself.
    pub(crate) fn heard_leader_at(&self) -> Option<Instant> {
        *self.core.heard.lock()
    }

    /// Position of the last record in this node's log, agreed on or not.
    pub(crate) fn log_end(&self) -> u64 {
        let last = self
            .core
            .metrics()
            .and_then(|metrics| metrics.last_log_index);
        last.unwrap_or_else(|| self.image().version())
    }

    /// For operators. Only the leader knows where the others are.
    pub(crate) fn status(&self) -> QuorumStatus {
        let leadership = *self.core.leadership.borrow();
        let metrics = self.core.metrics();
        let voters = self.voters();
        let ends = |id: i32| {
            let metrics = metrics.as_ref()?;
            if id == self.core.me {
                return metrics.last_log_index;
            }
            let replication = metrics.replication.as_ref()?;
            replication
                .get(&raft_id(id))
                .copied()
                .flatten()
                .map(|at| at.index)
        };
        let (voting, observing) = self
            .core
            .members()
            .into_iter()
            .map(|(id, member)| QuorumReplica {
                id,
                address: self.core.sender.addresses.of(raft_id(id), &member),
                log_end: ends(id),
            })
            .partition(|replica| voters.contains(&replica.id));
        QuorumStatus {
            term: leadership.term,
            leader: leadership.leader,
            committed: self.image().version(),
            voters: voting,
            observers: observing,
        }
    }

    /// Makes records durable on a majority and applies them; gives an image with them. Once begun
    /// it completes, even if the caller is cancelled.
    ///
    /// # Errors
    /// [`QuorumError::NotLeader`] and [`QuorumError::Storage`] when nothing was changed,
    /// [`QuorumError::Timeout`] when that is not known.
    pub(crate) async fn propose(
        &self,
        records: Vec<MetadataRecord>,
    ) -> Result<Arc<MetadataImage>, QuorumError> {
        let raft = self.core.raft()?;
        let before = self.core.log.read(|log| (log.truncations, log.last()));
        let changed = || self.core.log.read(|log| (log.truncations, log.last())) != before;
        let Ok(answer) = raft.client_write_ff(records).await else {
            return Err(self.core.down());
        };
        let mut metrics = raft.metrics();
        let waited_in_vain = async {
            let deposed = metrics.wait_for(|metrics| !metrics.state.is_leader());
            if timeout(self.core.timing.proposal, deposed).await.is_ok() {
                // The next leader may make the change all the same.
                sleep(DEPOSED_PATIENCE).await;
            }
        };
        let answer = tokio::select! {
            answer = answer => Ok(answer),
            () = waited_in_vain => Err(()),
        };
        match answer {
            Ok(Ok(Ok(_))) => Ok(self.image()),
            // An entry that was in the log and was taken out again may be elsewhere.
            Ok(Ok(Err(_)) | Err(_)) if changed() => Err(QuorumError::Timeout),
            Ok(Ok(Err(ClientWriteError::ForwardToLeader(to)))) => Err(QuorumError::NotLeader {
                leader: to.leader_id.map(broker_id),
            }),
            Ok(Ok(Err(error))) => Err(QuorumError::Refused(error.to_string())),
            // It stopped before it had written the entry.
            Ok(Err(_)) => Err(self.core.down()),
            Err(()) => Err(QuorumError::Timeout),
        }
    }

    /// Answers a message of another member.
    pub(crate) async fn answer(&self, message: Value) -> Value {
        let answer = match serde_json::from_value(message) {
            Ok(envelope) => self.core.answer(envelope).await,
            Err(error) => Answer::Failed(format!("the message is unreadable: {error}")),
        };
        serde_json::to_value(answer).unwrap_or(Value::Null)
    }

    /// Ends it in order. Others are not told.
    pub(crate) async fn shutdown(&self) {
        self.stop.send_replace(true);
        let raft = self.core.raft.lock().take();
        if let Some(raft) = raft
            && let Err(error) = raft.shutdown().await
        {
            tracing::warn!(%error, "the metadata quorum did not stop in order");
        }
    }
}

impl Core {
    fn is_new(&self) -> bool {
        self.log.is_new() && self.machine.is_new()
    }

    fn raft(&self) -> Result<Raft, QuorumError> {
        self.raft.lock().clone().ok_or_else(|| self.down())
    }

    /// Why nothing can be agreed on here.
    fn down(&self) -> QuorumError {
        match self.log.failure().or_else(|| self.failure.lock().clone()) {
            Some(failure) => QuorumError::Storage(failure),
            None => QuorumError::NotLeader { leader: None },
        }
    }

    fn metrics(&self) -> Option<RaftMetrics> {
        let raft = self.raft.lock().clone()?;
        Some(raft.metrics().borrow().clone())
    }

    /// Whether this node is the only voter.
    fn is_alone(&self) -> bool {
        self.metrics()
            .is_some_and(|metrics| metrics.membership_config.voter_ids().eq([self.sender.me]))
    }

    /// Starts openraft on what is stored, if it is not running.
    async fn start(&self) -> Result<Raft, QuorumError> {
        let _starting = self.starting.lock().await;
        if let Some(raft) = self.raft.lock().clone() {
            return Ok(raft);
        }
        let raft = Raft::new(
            self.sender.me,
            Arc::new(raft_config()),
            self.sender.clone(),
            LogStore(self.log.clone()),
            self.machine.clone(),
        )
        .await
        .map_err(|error| QuorumError::Storage(error.to_string()))?;
        *self.failure.lock() = None;
        *self.raft.lock() = Some(raft.clone());
        Ok(raft)
    }

    async fn answer(&self, envelope: Envelope) -> Answer {
        let me = self.sender.addresses.me();
        if envelope.to != self.sender.me || envelope.directory != me.directory {
            return Answer::Failed(format!(
                "this is broker {} with disk \"{}\", not broker {} with disk \"{}\"",
                self.me, me.directory, envelope.to, envelope.directory
            ));
        }
        self.sender.addresses.hear(envelope.from, envelope.sender);
        if self.is_new() && matches!(envelope.message, Message::Vote(_) | Message::Canvass(_)) {
            // A member begins without a vote. One that has nothing and is asked for its vote lost
            // what it voted for.
            return Answer::Failed("this node has no vote, because it has no metadata".to_owned());
        }
        let raft = match self.raft() {
            Ok(raft) => raft,
            // Others took it in as a member; it begins with what they send.
            Err(_) if self.is_new() => match self.start().await {
                Ok(raft) => {
                    self.wake.notify_one();
                    raft
                }
                Err(error) => return Answer::Failed(error.to_string()),
            },
            Err(error) => return Answer::Failed(error.to_string()),
        };
        self.answer_with(&raft, envelope.from, envelope.message)
            .await
    }

    async fn answer_with(&self, raft: &Raft, from: u64, message: Message) -> Answer {
        match message {
            Message::Append(request) => match raft.append_entries(request).await {
                Ok(answer) => {
                    if !matches!(answer, openraft::raft::AppendEntriesResponse::HigherVote(_)) {
                        self.hear_leader();
                    }
                    Answer::Append(answer)
                }
                Err(error) => Answer::Failed(error.to_string()),
            },
            Message::Vote(request) => match raft.vote(request).await {
                Ok(answer) => {
                    if answer.vote_granted {
                        // Room for the one that was voted for.
                        *self.heard.lock() = Some(Instant::now());
                    }
                    Answer::Vote(answer)
                }
                Err(error) => Answer::Failed(error.to_string()),
            },
            Message::Snapshot(chunk) => {
                let request = match chunk.into_request() {
                    Ok(request) => request,
                    Err(error) => return Answer::Failed(error.to_string()),
                };
                self.hear_leader();
                match raft.install_snapshot(request).await {
                    Ok(answer) => Answer::Snapshot(Ok(answer)),
                    Err(RaftError::APIError(error)) => Answer::Snapshot(Err(error)),
                    Err(error @ RaftError::Fatal(_)) => Answer::Failed(error.to_string()),
                }
            }
            Message::Canvass(canvass) => Answer::Canvass {
                granted: self.would_vote(raft, from, &canvass),
            },
        }
    }

    fn hear_leader(&self) {
        *self.heard.lock() = Some(Instant::now());
        *self.leader_died.lock() = None;
    }

    /// Whether this node would vote for member `from` now.
    fn would_vote(&self, raft: &Raft, from: u64, canvass: &Canvass) -> bool {
        let metrics = raft.metrics().borrow().clone();
        let is_voter = metrics.membership_config.voter_ids().any(|id| id == from);
        let last = self.log.read(log::Contents::last);
        // Whoever has a longer log may have got its vote by what this node does not know yet.
        if canvass.last_log_id < last || (!is_voter && canvass.last_log_id == last) {
            return false;
        }
        if metrics.state.is_leader() && self.leads(&metrics) {
            return false;
        }
        let patience = if canvass.leader_died {
            LEASE
        } else {
            self.timing.election_timeout_min
        };
        let heard = *self.heard.lock();
        heard.is_none_or(|heard| heard.elapsed() >= patience)
    }

    /// Whether a majority still hears this node, which leads.
    fn leads(&self, metrics: &RaftMetrics) -> bool {
        let alone = metrics.membership_config.voter_ids().eq([self.sender.me]);
        let patience = self.timing.election_timeout_max.as_millis();
        alone
            || metrics
                .millis_since_quorum_ack
                .is_some_and(|millis| u128::from(millis) < patience)
    }
}

fn raft_config() -> openraft::Config {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    #[allow(deprecated)] // a field that has to be given like the others
    openraft::Config {
        cluster_name: "metadata".to_owned(),
        // With elections in our own hands, these are the patience of a candidate and the lease.
        election_timeout_min: millis(VOTE_TIME),
        election_timeout_max: millis(LEASE),
        heartbeat_interval: millis(HEARTBEAT),
        install_snapshot_timeout: 10_000,
        send_snapshot_timeout: 0,
        max_payload_entries: 300,
        replication_lag_threshold: SNAPSHOT_ENTRIES * 2,
        snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(SNAPSHOT_ENTRIES),
        snapshot_max_chunk_size: SNAPSHOT_CHUNK_BYTES,
        max_in_snapshot_log_to_keep: KEPT_ENTRIES,
        purge_batch_size: 1,
        enable_tick: true,
        enable_heartbeat: true,
        enable_elect: false,
    }
}
