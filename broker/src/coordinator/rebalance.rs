//! The phases of a rebalance and everything that happens because time passed.

use std::time::Duration;

use kafka_wire_core::StrBytes;
use tokio::time::Instant;

use super::{
    answer::Synced,
    error::GroupError,
    group::{AfterStore, Group, Store},
    moment::Moment,
    settings::GroupSettings,
    state::GroupState,
};

/// When the collection of members ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum JoinTimer {
    /// The first rebalance of an empty group waits for more members.
    Initial {
        /// When to look.
        at: Instant,
        /// How long this wait is.
        delay: Duration,
        /// How much longer it may be extended.
        remaining: Duration,
    },
    /// Members that haven't rejoined by then are left behind.
    Complete {
        /// When.
        at: Instant,
    },
}

impl JoinTimer {
    fn at(self) -> Instant {
        match self {
            Self::Initial { at, .. } | Self::Complete { at } => at,
        }
    }
}

impl Group {
    /// The longest time any member asks a rebalance to wait for it.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.members
            .values()
            .map(|member| member.rebalance_timeout)
            .max()
            .unwrap_or_default()
    }

    /// Starts a rebalance if none runs, else looks whether the running one is complete.
    pub(super) fn rebalance_or_complete_join(&mut self, settings: &GroupSettings, moment: Moment) {
        if self.state.may_become(GroupState::PreparingRebalance) {
            self.prepare_rebalance(settings, moment);
        } else {
            self.maybe_complete_join(settings, moment);
        }
    }

    /// Asks every member to rejoin.
    pub(super) fn prepare_rebalance(&mut self, settings: &GroupSettings, moment: Moment) {
        if self.state == GroupState::CompletingRebalance {
            self.fail_assignment(GroupError::RebalanceInProgress, moment);
        }
        self.pending_sync.clear();
        self.sync_deadline = None;
        let initial = self.state == GroupState::Empty;
        self.transition(GroupState::PreparingRebalance, moment);
        if initial {
            let delay = settings.initial_rebalance_delay;
            if delay.is_zero() {
                self.complete_join(moment);
                return;
            }
            self.new_member_added = false;
            self.join_timer = Some(JoinTimer::Initial {
                at: moment.instant + delay,
                delay,
                remaining: self.rebalance_timeout().saturating_sub(delay),
            });
        } else {
            self.join_timer = Some(JoinTimer::Complete {
                at: moment.instant + self.rebalance_timeout(),
            });
            self.maybe_complete_join(settings, moment);
        }
    }

    /// Completes the collection of members if everybody is there. The first rebalance of an
    /// empty group always waits its time.
    pub(super) fn maybe_complete_join(&mut self, _settings: &GroupSettings, moment: Moment) {
        if self.state == GroupState::PreparingRebalance
            && self.previous_state != GroupState::Empty
            && self.pending_members.is_empty()
            && self.awaiting_join() == self.members.len()
        {
            self.complete_join(moment);
        }
    }

    /// Ends the collection of members: those that didn't rejoin are left behind (static members
    /// keep their place until their session ends), and a new generation starts.
    pub(super) fn complete_join(&mut self, moment: Moment) {
        self.join_timer = None;
        let left_behind: Vec<StrBytes> = self
            .members
            .values()
            .filter(|member| member.join.is_none() && member.instance_id.is_none())
            .map(|member| member.id.clone())
            .collect();
        for id in left_behind {
            self.remove_member(&id);
        }
        if !self.elect_leader() && !self.members.is_empty() {
            // Only static members, none of which is back: wait until one is or all sessions end.
            self.join_timer = Some(JoinTimer::Complete {
                at: moment.instant + self.rebalance_timeout(),
            });
            return;
        }
        self.start_generation(moment);
    }

    /// Makes sure the leader is a member that waits for the generation.
    fn elect_leader(&mut self) -> bool {
        let waits = |group: &Self, id: &StrBytes| {
            group
                .members
                .get(id)
                .is_some_and(|member| member.join.is_some())
        };
        if let Some(leader) = &self.leader
            && waits(self, leader)
        {
            return true;
        }
        let successor = self
            .members
            .values()
            .find(|member| member.join.is_some())
            .map(|member| member.id.clone());
        match successor {
            Some(id) => {
                self.leader = Some(id);
                true
            }
            None => false,
        }
    }

    fn start_generation(&mut self, moment: Moment) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.pending_sync.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.leader = None;
            self.transition(GroupState::Empty, moment);
            self.outbox.push(Store {
                value: self.snapshot(None),
                after: AfterStore::Emptied,
            });
            return;
        }
        self.protocol = self.elect_protocol();
        debug_assert!(
            self.protocol.is_some(),
            "joins are checked for a common protocol"
        );
        self.transition(GroupState::CompletingRebalance, moment);
        let ids: Vec<StrBytes> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.joined(&id);
            if let Some(member) = self.members.get_mut(&id) {
                member.answer_join(answer);
                member.is_new = false;
                member.renew_session(moment);
            }
            self.pending_sync.insert(id);
        }
        self.sync_deadline = Some(moment.instant + self.rebalance_timeout());
    }

    /// Takes back a generation's assignment: those that wait for it are told why.
    pub(super) fn fail_assignment(&mut self, error: GroupError, moment: Moment) {
        for member in self.members.values_mut() {
            member.assignment = bytes::Bytes::new();
            if member.answer_sync(Synced::refused(error)) {
                member.renew_session(moment);
            }
        }
    }

    /// After members are gone those that remain share the work anew; after ids lapsed that nobody
    /// joined with (`members_gone` is false) a rebalance may just have nobody left to wait for.
    pub(super) fn look_again_after(
        &mut self,
        members_gone: bool,
        settings: &GroupSettings,
        moment: Moment,
    ) {
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance if members_gone => {
                self.prepare_rebalance(settings, moment);
            }
            GroupState::PreparingRebalance => {
                if self.members.is_empty() && self.pending_members.is_empty() {
                    // Nobody is left to wait for, also in an initial rebalance.
                    self.complete_join(moment);
                } else {
                    self.maybe_complete_join(settings, moment);
                }
            }
            _ => {}
        }
    }

    /// Does what is due at `moment`.
    pub(crate) fn tick(&mut self, settings: &GroupSettings, moment: Moment) {
        let now = moment.instant;
        let before = self.pending_members.len();
        self.pending_members.retain(|_, lapses| *lapses > now);
        let lapsed = self.pending_members.len() < before;

        let mut silent = Vec::new();
        for member in self.members.values_mut() {
            if member.session_ends.is_some_and(|at| at <= now) {
                if member.is_parked() {
                    member.session_ends = None;
                } else {
                    silent.push(member.id.clone());
                }
            }
        }
        let gone = !silent.is_empty();
        for id in silent {
            tracing::info!(
                group = self.id.as_str(),
                member = id.as_str(),
                "member was not heard from within its session timeout and is removed"
            );
            self.remove_member(&id);
        }
        if gone || lapsed {
            self.look_again_after(gone, settings, moment);
        }
        if self.join_timer.is_some_and(|timer| timer.at() <= now) {
            self.join_timer_fired(moment);
        }
        if self.sync_deadline.is_some_and(|at| at <= now) {
            self.sync_deadline = None;
            self.drop_members_without_sync(settings, moment);
        }
    }

    fn join_timer_fired(&mut self, moment: Moment) {
        match self.join_timer.take() {
            Some(JoinTimer::Initial {
                delay, remaining, ..
            }) if self.new_member_added && !remaining.is_zero() => {
                // More members came: wait for yet more, as long as the first can wait.
                self.new_member_added = false;
                let next = delay.min(remaining);
                self.join_timer = Some(JoinTimer::Initial {
                    at: moment.instant + next,
                    delay: next,
                    remaining: remaining.saturating_sub(delay),
                });
            }
            Some(_) => self.complete_join(moment),
            None => {}
        }
    }

    fn drop_members_without_sync(&mut self, settings: &GroupSettings, moment: Moment) {
        if !matches!(
            self.state,
            GroupState::CompletingRebalance | GroupState::Stable
        ) || self.pending_sync.is_empty()
        {
            return;
        }
        for id in std::mem::take(&mut self.pending_sync) {
            tracing::info!(
                group = self.id.as_str(),
                member = id.as_str(),
                "member joined but did not ask for its assignment in time and is removed"
            );
            self.remove_member(&id);
        }
        self.prepare_rebalance(settings, moment);
    }

    /// When [`Group::tick`] has something to do next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.members
            .values()
            .filter_map(|member| member.session_ends)
            .chain(self.pending_members.values().copied())
            .chain(self.join_timer.map(JoinTimer::at))
            .chain(self.sync_deadline)
            .min()
    }
}
