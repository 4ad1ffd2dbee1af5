//! This consumer's place in its group.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::heartbeat::{Heartbeat, Verdict};
use crate::ClientError;
use crate::group_offsets::Committer;

/// The state between two polls.
#[derive(Debug)]
pub(super) struct Membership {
    state: State,
    /// Kept over rebalances.
    pub(super) member_id: String,
    pub(super) generation: i32,
    /// Why it has to join again although it is a member.
    rejoin: Option<&'static str>,
    /// For the leader: the numbers of partitions it spread.
    pub(super) spread: Option<BTreeMap<Arc<str>, i32>>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Out,
    /// The last membership, as whom to commit until the new one is known. Its heartbeats have
    /// stopped: the coordinator waits for members that join.
    Joining(Option<Heartbeat>),
    Member(Heartbeat),
}

impl Membership {
    pub(super) const fn none() -> Self {
        Self {
            state: State::Out,
            member_id: String::new(),
            generation: -1,
            rejoin: None,
            spread: None,
        }
    }

    pub(super) fn rejoin(&mut self, why: &'static str) {
        self.rejoin = Some(why);
    }

    pub(super) const fn is_joining(&self) -> bool {
        matches!(self.state, State::Joining(_))
    }

    /// Whether it has to join (again), and why.
    pub(super) fn wants_to_join(&self) -> Option<&'static str> {
        match &self.state {
            State::Out => Some(self.rejoin.unwrap_or("it is not a member yet")),
            State::Joining(_) => None,
            State::Member(heartbeat) => match heartbeat.verdict() {
                Some(Verdict::Rebalance) => Some("the group rebalances"),
                _ => self.rejoin,
            },
        }
    }

    /// Why it is no longer a member, if so.
    pub(super) fn lost(&self) -> Option<ClientError> {
        match &self.state {
            State::Member(heartbeat) => match heartbeat.verdict() {
                Some(Verdict::Lost(error)) => Some(error),
                _ => None,
            },
            _ => None,
        }
    }

    /// The place is gone: start over.
    pub(super) fn forget(&mut self) {
        self.state = State::Out;
        self.member_id.clear();
        self.generation = -1;
        self.spread = None;
    }

    pub(super) fn joining(&mut self) {
        self.rejoin = None;
        let state = std::mem::take(&mut self.state);
        self.state = match state {
            State::Member(heartbeat) => {
                heartbeat.stop();
                State::Joining(Some(heartbeat))
            }
            State::Out => State::Joining(None),
            joining @ State::Joining(_) => joining,
        };
    }

    pub(super) fn joined(&mut self, heartbeat: Heartbeat) {
        let committer = heartbeat.committer();
        committer.member_id.clone_into(&mut self.member_id);
        self.generation = committer.generation;
        self.state = State::Member(heartbeat);
    }

    /// Joining failed for good; the next poll may try again.
    pub(super) fn failed(&mut self) {
        self.state = State::Out;
    }

    /// Out of the group, on purpose.
    pub(super) fn reset(&mut self) -> Option<Heartbeat> {
        let state = std::mem::take(&mut self.state);
        self.member_id.clear();
        self.generation = -1;
        self.rejoin = None;
        self.spread = None;
        match state {
            State::Out => None,
            State::Joining(heartbeat) => heartbeat,
            State::Member(heartbeat) => Some(heartbeat),
        }
    }

    /// As whom to commit.
    pub(super) fn committer(&self) -> Option<&Committer> {
        match &self.state {
            State::Out | State::Joining(None) => None,
            State::Joining(Some(heartbeat)) | State::Member(heartbeat) => {
                Some(heartbeat.committer())
            }
        }
    }

    /// A commit was refused with this error.
    pub(super) fn note(&self, error: &ClientError) {
        if let State::Member(heartbeat) = &self.state {
            heartbeat.note(error);
        }
    }
}
