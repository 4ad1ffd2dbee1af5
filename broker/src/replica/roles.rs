//! Leading and following: what changes in a partition when this node's role does.

use bytes::Bytes;

use super::{AppendError, Partition};
use crate::log::LogError;

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
    /// The leader epoch it knows; checked before.
    pub(crate) leader_epoch: i32,
}

/// What a leader would like its in-sync replicas to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IsrProposal {
    pub(crate) leader_epoch: i32,
    pub(crate) partition_epoch: i32,
    /// Broker and the epoch it fetches under; for this broker itself, 0, which the sender fills in.
    pub(crate) isr: Vec<(i32, i64)>,
}

impl Partition {
    /// Makes this node the leader, or tells the leader of a new state. An older epoch changes
    /// nothing. A new leader epoch is in the epoch cache, at the log's end, when this returns.
    pub(crate) async fn become_leader(&self, leading: Leading) -> Result<(), LogError> {
        self.lead(leading.leader_epoch);
        Ok(())
    }

    /// Makes this node a follower; waiting appends fail with `NOT_LEADER_OR_FOLLOWER`.
    pub(crate) async fn become_follower(&self, leader: Option<i32>, leader_epoch: i32) {
        let _ = leader;
        self.lead(leader_epoch);
    }

    /// This node's role.
    pub(crate) fn role(&self) -> Role {
        Role::Leader
    }

    /// Appends what a leader sent: whole batches that go on where this log ends, with their own
    /// offsets and epochs. The leader's high watermark and log start are taken over as far as this
    /// log reaches.
    ///
    /// # Errors
    /// When the batches are damaged or do not fit, this node does not follow in `leader_epoch`, or
    /// the disk refuses.
    pub(crate) async fn append_as_follower(
        &self,
        leader_epoch: i32,
        records: Bytes,
        high_watermark: i64,
        log_start: i64,
    ) -> Result<(), AppendError> {
        let _ = (leader_epoch, records, high_watermark, log_start);
        Err(AppendError::new(-1, "not a follower"))
    }

    /// Cuts off what this follower has and its leader does not: the leader's last epoch that is at
    /// most this log's, and where it ends. Answers where to fetch from now; may have to be repeated
    /// with the leader's next answer.
    pub(crate) async fn truncate_to_leader(
        &self,
        leader_epoch: i32,
        diverging_epoch: i32,
        end_offset: i64,
    ) -> Result<i64, LogError> {
        let _ = (leader_epoch, diverging_epoch, end_offset);
        Ok(self.offsets().log_end)
    }

    /// Throws away everything and begins anew at `offset`: the leader's log starts after this one's
    /// end, or this log is damaged.
    pub(crate) async fn restart_at(&self, leader_epoch: i32, offset: i64) -> Result<(), LogError> {
        let _ = (leader_epoch, offset);
        Ok(())
    }

    /// Epoch of the last record, -1 if there is none.
    pub(crate) fn last_epoch(&self) -> i32 {
        -1
    }

    /// Notes how far a follower is, which may commit records. The diverging epoch and its end if
    /// the follower has to truncate first; then nothing is noted.
    pub(crate) fn follower_fetched(
        &self,
        fetch: FollowerFetch,
        now: tokio::time::Instant,
    ) -> Result<Option<(i32, i64)>, i16> {
        let _ = (fetch, now);
        Ok(None)
    }

    /// What should be proposed to the controller now, if anything; the partition counts the
    /// proposed replicas as in sync, too, until [`isr_answered`](Self::isr_answered).
    pub(crate) fn propose_isr(
        &self,
        now: tokio::time::Instant,
        lag_max: std::time::Duration,
        is_live: &dyn Fn(i32, i64) -> bool,
    ) -> Option<IsrProposal> {
        let _ = (now, lag_max, is_live);
        None
    }

    /// The proposal was refused, or its outcome will come with the metadata (`None`).
    pub(crate) fn isr_answered(&self, proposal: &IsrProposal, refused: Option<i16>) {
        let _ = (proposal, refused);
    }

    /// Waits until everything before `offset` is committed.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER` when this node is deposed meanwhile,
    /// `NOT_ENOUGH_REPLICAS_AFTER_APPEND` when fewer than `min.insync.replicas` are left,
    /// `REQUEST_TIMED_OUT` at the deadline.
    pub(crate) async fn committed(
        &self,
        offset: i64,
        deadline: tokio::time::Instant,
    ) -> Result<(), i16> {
        let _ = (offset, deadline);
        Ok(())
    }
}
