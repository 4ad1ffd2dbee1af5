//! Leading and following: what changes in a partition when this node's role does.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Partition;
use super::leadership::{JOINING, Leadership};
use crate::error_code;
use crate::log::LogError;

/// Between two looks whether followers have deleted what the leader has.
const LOW_WATERMARK_PAUSE: Duration = Duration::from_millis(20);

/// What a leader is told about its partition; the state of the cluster's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leading {
    /// This broker.
    pub(crate) me: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) partition_epoch: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) isr: Vec<i32>,
}

/// What this node is to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It takes appends.
    Leader,
    /// It copies from this broker; from nobody while there is no leader.
    Follower { leader: Option<i32> },
}

/// A fetch by a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FollowerFetch {
    pub(crate) broker: i32,
    /// The epoch of the follower's registration (KIP-903).
    pub(crate) broker_epoch: i64,
    /// The follower has everything before it.
    pub(crate) offset: i64,
    /// Start of the follower's log.
    pub(crate) log_start: i64,
    /// Epoch of its last record, -1 if it has none.
    pub(crate) last_epoch: i32,
    /// The leader epoch it knows, -1 if it does not say.
    pub(crate) leader_epoch: i32,
}

/// What a leader would like its in-sync replicas to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IsrProposal {
    pub(crate) leader_epoch: i32,
    pub(crate) partition_epoch: i32,
    /// Broker and the epoch it fetches under; for this broker itself, 0, which the sender fills in, and -1 for one
    /// that is in sync already and did not fetch from this leader yet.
    pub(crate) isr: Vec<(i32, i64)>,
}

/// The role and the epoch it belongs to. The epoch only grows; every change of either is made under one lock.
#[derive(Debug)]
pub(super) struct Roles {
    pub(super) epoch: i32,
    pub(super) state: RoleState,
}

#[derive(Debug)]
pub(super) enum RoleState {
    Leading(Leadership),
    Following { leader: Option<i32> },
}

impl Roles {
    /// The leadership of `epoch`.
    pub(super) fn leadership(&mut self, epoch: i32) -> Option<&mut Leadership> {
        match &mut self.state {
            RoleState::Leading(leadership) if self.epoch == epoch => Some(leadership),
            _ => None,
        }
    }

    /// Whether this node copies from the leader of `epoch`.
    pub(super) fn follows_in(&self, epoch: i32) -> bool {
        self.epoch == epoch && matches!(self.state, RoleState::Following { .. })
    }
}

impl Partition {
    /// Makes this node the leader, or tells the leader of a new state. An older epoch changes nothing. A new leader
    /// epoch is in the epoch cache, at the log's end, when this returns.
    ///
    /// # Errors
    /// [`LogError::Io`]; the node does not lead then, and the call may be repeated.
    pub(crate) async fn become_leader(&self, leading: Leading) -> Result<(), LogError> {
        let now = Instant::now();
        let Some(leading) = self.go_on_leading(leading, now) else {
            return Ok(());
        };
        let partition = self.shared();
        platform::blocking::run(move || partition.begin_leading(leading, now))
            .await
            .inspect_err(|error| self.note_failure(error.code()))
    }

    /// Gives `leading` back if it is a new leadership.
    fn go_on_leading(&self, leading: Leading, now: Instant) -> Option<Leading> {
        let mut roles = self.roles.lock();
        if leading.leader_epoch < roles.epoch {
            return None;
        }
        let Some(leadership) = roles.leadership(leading.leader_epoch) else {
            return Some(leading);
        };
        leadership.update(leading, now);
        self.advance(&mut roles);
        // Fewer in sync may be too few for who waits.
        self.wake();
        None
    }

    /// Begins a leadership. Blocks.
    fn begin_leading(&self, leading: Leading, now: Instant) -> Result<(), LogError> {
        let epoch = leading.leader_epoch;
        // Nothing is appended meanwhile: what comes after belongs to the new epoch.
        let mut appender = self.log().appender();
        let begun = if self.is_deleted() {
            Err(self.deleted_error())
        } else {
            appender.finish_cut().and_then(|()| {
                let end = self.log().end();
                if epoch >= self.roles.lock().epoch {
                    self.log().epochs.lock().begin(epoch, end)?;
                }
                Ok(end)
            })
        };
        let mut roles = self.roles.lock();
        if epoch < roles.epoch {
            return Ok(());
        }
        self.enter_epoch(&mut roles, epoch);
        match begun {
            Ok(end) => {
                roles.state = RoleState::Leading(Leadership::new(leading, end, now));
                self.finished.send_replace(end);
                self.advance(&mut roles);
                self.wake();
                Ok(())
            }
            Err(error) => {
                roles.state = RoleState::Following { leader: None };
                self.wake();
                Err(error)
            }
        }
    }

    /// Leads as the only replica there is. Blocks.
    #[cfg(test)]
    pub(crate) fn lead(&self, epoch: i32) {
        const ALONE: i32 = -1;
        let leading = Leading {
            me: ALONE,
            leader_epoch: epoch,
            partition_epoch: 0,
            replicas: vec![ALONE],
            isr: vec![ALONE],
        };
        let now = Instant::now();
        if let Some(leading) = self.go_on_leading(leading, now)
            && let Err(error) = self.begin_leading(leading, now)
        {
            tracing::error!(%error, topic = %self.topic(), partition = self.index(), "cannot lead a partition");
        }
    }

    /// Makes this node a follower; waiting appends fail with `NOT_LEADER_OR_FOLLOWER`. An older epoch changes nothing.
    /// When this returns, nothing is written in an older epoch any more.
    pub(crate) async fn become_follower(&self, leader: Option<i32>, leader_epoch: i32) {
        {
            let mut roles = self.roles.lock();
            if leader_epoch < roles.epoch {
                return;
            }
            let led = matches!(roles.state, RoleState::Leading(_));
            self.enter_epoch(&mut roles, leader_epoch);
            roles.state = RoleState::Following { leader };
            self.wake();
            if !led {
                return;
            }
        }
        let partition = self.shared();
        platform::blocking::run(move || drop(partition.log().appender())).await;
    }

    /// This node's role.
    pub(crate) fn role(&self) -> Role {
        match &self.roles.lock().state {
            RoleState::Leading(_) => Role::Leader,
            RoleState::Following { leader } => Role::Follower { leader: *leader },
        }
    }

    /// The epoch this node leads in.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER` if it does not lead; where the asker knows an epoch (not -1), the code that says who of
    /// the two is behind.
    pub(crate) fn leads(&self, known_epoch: i32) -> Result<i32, i16> {
        let roles = self.roles.lock();
        match known_epoch {
            -1 => {}
            known if known < roles.epoch => return Err(error_code::FENCED_LEADER_EPOCH),
            known if known > roles.epoch => return Err(error_code::UNKNOWN_LEADER_EPOCH),
            _ => {}
        }
        match roles.state {
            RoleState::Leading(_) => Ok(roles.epoch),
            RoleState::Following { .. } => Err(error_code::NOT_LEADER_OR_FOLLOWER),
        }
    }

    /// Whether the high watermark may be lower than what former leaders committed, because not all in-sync replicas
    /// have fetched from this one yet. Then the end of the log is not to be told to consumers.
    pub(crate) fn high_watermark_lags(&self) -> bool {
        let high_watermark = *self.high_watermark.borrow();
        match &self.roles.lock().state {
            RoleState::Leading(leadership) => high_watermark < leadership.epoch_start(),
            RoleState::Following { .. } => false,
        }
    }

    /// Notes that records are damaged: a leader is to propose in-sync replicas without itself, if there are others;
    /// a follower copies its leader's log anew. Answers whether there are others.
    pub(crate) fn note_damage(&self) -> bool {
        self.damaged.store(true, Ordering::Release);
        if let Some(replicas) = self.owner() {
            replicas.damage_noted.notify_one();
        }
        let others = match &self.roles.lock().state {
            RoleState::Leading(leadership) => leadership.in_sync(0).0 > 1,
            RoleState::Following { .. } => false,
        };
        if others {
            self.note_candidate();
        }
        others
    }

    /// Whether this node found damaged records and still has them.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// How many replicas are in sync and how many `min.insync.replicas` wants, if they are too few.
    pub(crate) fn in_sync_shortage(&self) -> Option<(usize, usize)> {
        let needed = self.min_in_sync();
        match &self.roles.lock().state {
            RoleState::Leading(leadership) => {
                Some(leadership.in_sync(needed)).filter(|(in_sync, needed)| in_sync < needed)
            }
            RoleState::Following { .. } => None,
        }
    }

    pub(super) fn min_in_sync(&self) -> usize {
        usize::try_from(self.config().min_insync_replicas).unwrap_or(1)
    }

    fn enter_epoch(&self, roles: &mut Roles, epoch: i32) {
        debug_assert!(epoch >= roles.epoch, "epochs only grow");
        roles.epoch = epoch;
        self.leader_epoch.store(epoch, Ordering::Release);
    }

    /// Raises the high watermark to what is committed now. It never goes back while a node leads.
    pub(super) fn advance(&self, roles: &mut Roles) {
        let RoleState::Leading(leadership) = &roles.state else {
            return;
        };
        let end = *self.finished.borrow();
        self.held_back
            .store(leadership.is_held_back(end), Ordering::Release);
        if let Some(committed) = leadership.committed(end, self.min_in_sync()) {
            debug_assert!(committed <= end, "what is committed is on the leader");
            self.raise_high_watermark(committed);
        }
    }

    pub(super) fn raise_high_watermark(&self, to: i64) {
        let raised = self.high_watermark.send_if_modified(|high_watermark| {
            let higher = to > *high_watermark;
            if higher {
                *high_watermark = to;
            }
            higher
        });
        if raised {
            self.log().set_committed(to);
        }
    }

    /// Has everybody who waits look again.
    pub(super) fn wake(&self) {
        self.high_watermark.send_modify(|_| {});
        self.finished.send_modify(|_| {});
    }

    /// Lets time pass for a high watermark that somebody holds back; cheap where nobody does. Whoever looks at it
    /// calls this.
    pub(crate) fn tell_time(&self, now: Instant) {
        if !self.held_back.load(Ordering::Acquire) {
            return;
        }
        let mut roles = self.roles.lock();
        if let RoleState::Leading(leadership) = &mut roles.state {
            leadership.tell_time(now);
        }
        self.advance(&mut roles);
    }

    /// After a write in `epoch`: what was written may be shown to followers. Answers whether this node still leads
    /// in that epoch.
    pub(super) fn finish_write(&self, epoch: i32, log_end: i64) -> bool {
        let mut roles = self.roles.lock();
        self.finished.send_replace(log_end);
        if roles.leadership(epoch).is_none() {
            return false;
        }
        self.advance(&mut roles);
        true
    }

    /// Notes how far a follower is, which may commit records. The diverging epoch and its end if the follower has to
    /// truncate first; then nothing is noted.
    ///
    /// # Errors
    /// Kafka's code: not the leader in that epoch, not a replica as far as is known, or an offset that is not there.
    pub(crate) fn follower_fetched(
        &self,
        fetch: FollowerFetch,
        now: Instant,
    ) -> Result<Option<(i32, i64)>, i16> {
        let epoch = self.leads(fetch.leader_epoch)?;
        let end = *self.finished.borrow();
        if fetch.last_epoch >= 0 {
            let (known, known_end) = self.epoch_end_offset(fetch.last_epoch);
            if known < 0 {
                return Err(error_code::OFFSET_OUT_OF_RANGE);
            }
            if known < fetch.last_epoch || known_end < fetch.offset {
                return Ok(Some((known, known_end)));
            }
        }
        if fetch.offset > end || fetch.offset < self.log().start() {
            return Err(error_code::OFFSET_OUT_OF_RANGE);
        }
        let mut roles = self.roles.lock();
        let high_watermark = *self.high_watermark.borrow();
        let end = *self.finished.borrow();
        let leadership = roles
            .leadership(epoch)
            .ok_or(error_code::NOT_LEADER_OR_FOLLOWER)?;
        let joins = leadership.fetched(&fetch, end, high_watermark, now)?;
        self.advance(&mut roles);
        drop(roles);
        if joins {
            self.note_candidate();
        }
        Ok(None)
    }

    /// What should be proposed to the controller now, if anything; the partition counts the proposed replicas as in
    /// sync, too, until [`isr_answered`](Self::isr_answered). `is_live` is asked about a broker and the epoch of its
    /// registration.
    pub(crate) fn propose_isr(
        &self,
        now: Instant,
        lag_max: Duration,
        is_live: &dyn Fn(i32, i64) -> bool,
    ) -> Option<IsrProposal> {
        let mut roles = self.roles.lock();
        let end = *self.finished.borrow();
        let high_watermark = *self.high_watermark.borrow();
        let RoleState::Leading(leadership) = &mut roles.state else {
            return None;
        };
        let proposal = if self.is_damaged() {
            leadership.resign(now, is_live)
        } else {
            None
        };
        let proposal =
            proposal.or_else(|| leadership.propose(now, lag_max, end, high_watermark, is_live));
        self.advance(&mut roles);
        proposal
    }

    /// The replicas this leader proposed to be in sync, while it does not know what came of it.
    pub(crate) fn proposed_isr(&self) -> Vec<i32> {
        match &self.roles.lock().state {
            RoleState::Leading(leadership) => leadership.proposed(),
            RoleState::Following { .. } => Vec::new(),
        }
    }

    /// The proposal was refused with a code, or its outcome will come with the metadata (`None`). A code that does not
    /// say that nothing was changed, such as `REQUEST_TIMED_OUT` or `NOT_CONTROLLER`, has the same proposal given out
    /// again.
    pub(crate) fn isr_answered(&self, proposal: &IsrProposal, refused: Option<i16>) {
        let mut roles = self.roles.lock();
        if let Some(leadership) = roles.leadership(proposal.leader_epoch) {
            leadership.answered(proposal, refused);
            self.advance(&mut roles);
        }
    }

    /// Waits until everything before `offset`, which this node appended in `leader_epoch`, is committed. Cancel-safe.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER` when this node does not lead in that epoch any more,
    /// `NOT_ENOUGH_REPLICAS_AFTER_APPEND` when fewer than `min.insync.replicas` are left, `REQUEST_TIMED_OUT` at the
    /// deadline, `UNKNOWN_TOPIC_OR_PARTITION` when the partition is deleted.
    pub(crate) async fn committed(
        &self,
        leader_epoch: i32,
        offset: i64,
        deadline: Instant,
    ) -> Result<(), i16> {
        // The usual case of a single replica.
        if self.is_committed(leader_epoch, offset)? {
            return Ok(());
        }
        let mut high_watermark = self.appended();
        loop {
            high_watermark.mark_unchanged();
            if self.is_committed(leader_epoch, offset)? {
                return Ok(());
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(error_code::REQUEST_TIMED_OUT);
            }
            tokio::select! {
                changed = high_watermark.changed() => {
                    changed.map_err(|_| error_code::NOT_LEADER_OR_FOLLOWER)?;
                }
                () = tokio::time::sleep_until(deadline.min(now + JOINING)) => {
                    self.tell_time(Instant::now());
                }
            }
        }
    }

    /// Waits until no replica in sync has records before `offset`; gives the lowest start of their logs. Cancel-safe.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER` when this node does not lead in that epoch any more, `REQUEST_TIMED_OUT` at the
    /// deadline: the others go on.
    pub(crate) async fn deleted_before(
        &self,
        leader_epoch: i32,
        offset: i64,
        deadline: Instant,
    ) -> Result<i64, i16> {
        loop {
            let start = self.log().start();
            let low = match self.roles.lock().leadership(leader_epoch) {
                Some(leadership) => leadership.low_watermark(start),
                None => return Err(error_code::NOT_LEADER_OR_FOLLOWER),
            };
            if low >= offset {
                return Ok(low);
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(error_code::REQUEST_TIMED_OUT);
            }
            // They tell with their next fetches.
            tokio::time::sleep_until(deadline.min(now + LOW_WATERMARK_PAUSE)).await;
        }
    }

    fn is_committed(&self, leader_epoch: i32, offset: i64) -> Result<bool, i16> {
        let needed = self.min_in_sync();
        let mut roles = self.roles.lock();
        let Some(leadership) = roles.leadership(leader_epoch) else {
            return Err(error_code::NOT_LEADER_OR_FOLLOWER);
        };
        let (in_sync, needed) = leadership.in_sync(needed);
        if *self.high_watermark.borrow() >= offset {
            Ok(true)
        } else if self.is_deleted() {
            Err(error_code::UNKNOWN_TOPIC_OR_PARTITION)
        } else if in_sync < needed {
            Err(error_code::NOT_ENOUGH_REPLICAS_AFTER_APPEND)
        } else {
            Ok(false)
        }
    }
}
