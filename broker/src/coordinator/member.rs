//! One member of a classic group.

use std::time::Duration;

use bytes::Bytes;
use kafka_wire_core::StrBytes;
use tokio::{sync::oneshot, time::Instant};

use super::{
    answer::{Joined, Synced},
    moment::Moment,
    settings::NEW_MEMBER_JOIN_TIMEOUT,
};

/// A protocol a member supports, with its opaque metadata for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Protocol {
    /// The protocol's (assignor's) name.
    pub(crate) name: StrBytes,
    /// The member's metadata; only its clients understand it.
    pub(crate) metadata: Bytes,
}

/// A member: who it is, what it supports, what it was assigned and which of its requests wait.
#[derive(Debug)]
pub(crate) struct Member {
    /// The id the coordinator gave it.
    pub(crate) id: StrBytes,
    /// Its `group.instance.id` if it is a static member (KIP-345).
    pub(crate) instance_id: Option<StrBytes>,
    /// The client id of its connection.
    pub(crate) client_id: StrBytes,
    /// Its address as Kafka prints it, `/127.0.0.1`.
    pub(crate) client_host: StrBytes,
    /// Without a heartbeat for this long it is gone.
    pub(crate) session_timeout: Duration,
    /// A rebalance waits this long for it.
    pub(crate) rebalance_timeout: Duration,
    /// What it supports, in the order of its preference.
    pub(crate) protocols: Vec<Protocol>,
    /// Its assignment in the current generation.
    pub(crate) assignment: Bytes,
    /// Its JoinGroup request that waits for the generation to be complete.
    pub(crate) join: Option<oneshot::Sender<Joined>>,
    /// Its SyncGroup request that waits for the leader's assignment.
    pub(crate) sync: Option<oneshot::Sender<Synced>>,
    /// Its first join is not answered yet: it doesn't know its id and can't send heartbeats.
    pub(crate) is_new: bool,
    /// When its session ends; none while a parked request stands for its life.
    pub(crate) session_ends: Option<Instant>,
}

impl Member {
    /// Whether a request of this member is parked here, which counts as being alive.
    pub(crate) fn is_parked(&self) -> bool {
        !self.is_new && (self.join.is_some() || self.sync.is_some())
    }

    /// Starts the session anew.
    pub(crate) fn renew_session(&mut self, moment: Moment) {
        self.session_ends = Some(moment.instant + self.session_timeout);
    }

    /// Starts the time a new member's first join may take.
    pub(crate) fn start_first_join(&mut self, moment: Moment) {
        self.is_new = true;
        self.session_ends = Some(moment.instant + NEW_MEMBER_JOIN_TIMEOUT);
    }

    /// The member's metadata for `protocol`; empty if it doesn't support it.
    pub(crate) fn metadata_for(&self, protocol: Option<&StrBytes>) -> Bytes {
        self.protocols
            .iter()
            .find(|candidate| Some(&candidate.name) == protocol)
            .map(|found| found.metadata.clone())
            .unwrap_or_default()
    }

    /// Whether it supports `protocol`.
    pub(crate) fn supports(&self, protocol: &StrBytes) -> bool {
        self.protocols.iter().any(|own| own.name == *protocol)
    }

    /// Answers a parked JoinGroup request. A client that hung up meanwhile is no error: its
    /// session ends by time.
    pub(crate) fn answer_join(&mut self, answer: Joined) {
        if let Some(waiting) = self.join.take() {
            drop(waiting.send(answer));
        }
    }

    /// Answers a parked SyncGroup request; says whether there was one.
    pub(crate) fn answer_sync(&mut self, answer: Synced) -> bool {
        match self.sync.take() {
            Some(waiting) => {
                drop(waiting.send(answer));
                true
            }
            None => false,
        }
    }

    /// How many bytes of metadata it holds.
    pub(crate) fn metadata_bytes(&self) -> usize {
        protocol_bytes(&self.protocols)
    }
}

/// The size of a list of protocols in memory.
pub(crate) fn protocol_bytes(protocols: &[Protocol]) -> usize {
    protocols
        .iter()
        .map(|protocol| protocol.name.len() + protocol.metadata.len())
        .sum()
}
