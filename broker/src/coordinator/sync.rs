//! Members of a generation: they get their assignments, send heartbeats, commit, and leave.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_wire_core::StrBytes;

use super::{
    answer::{Identity, Sync, Synced},
    error::GroupError,
    group::{AfterStore, Group, Store, SyncWaiter},
    moment::Moment,
    settings::{GROUP_METADATA_BYTES_MAX, GroupSettings},
    state::GroupState,
};

impl Group {
    /// Takes a SyncGroup request; `answer` is used now or when the assignment is in the log.
    pub(crate) fn sync(&mut self, request: Sync, answer: SyncWaiter, moment: Moment) {
        if let Err(error) = self.check_sync(&request) {
            // A client that hung up needs no answer.
            drop(answer.send(Synced::refused(error)));
            return;
        }
        let id = request.member_id.clone();
        self.pending_sync.remove(&id);
        if self.pending_sync.is_empty() {
            self.sync_deadline = None;
        }
        match self.state {
            GroupState::CompletingRebalance => {
                if let Some(member) = self.members.get_mut(&id) {
                    // The client retried: nobody reads the answer to its earlier request.
                    member.answer_sync(Synced::refused(GroupError::RebalanceInProgress));
                    member.sync = Some(answer);
                }
                if self.is_leader(&id) {
                    self.store_assignment(request.assignments);
                }
            }
            GroupState::Stable => {
                let synced = self.synced(&id);
                if let Some(member) = self.members.get_mut(&id) {
                    member.renew_session(moment);
                }
                drop(answer.send(synced));
            }
            GroupState::Empty | GroupState::Dead | GroupState::PreparingRebalance => {
                debug_assert!(false, "checked above");
            }
        }
    }

    fn check_sync(&self, request: &Sync) -> Result<(), GroupError> {
        self.check_member(&Identity {
            member_id: request.member_id.clone(),
            instance_id: request.instance_id.clone(),
        })?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        let differs = |asked: &Option<StrBytes>, own: &Option<StrBytes>| {
            asked.is_some() && own.is_some() && asked != own
        };
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol, &self.protocol)
        {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => Err(GroupError::UnknownMemberId),
            GroupState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            GroupState::CompletingRebalance | GroupState::Stable => {
                let bytes: usize = request.assignments.iter().map(|(_, a)| a.len()).sum();
                if bytes > GROUP_METADATA_BYTES_MAX {
                    return Err(GroupError::MessageTooLarge);
                }
                Ok(())
            }
        }
    }

    /// The leader's assignment goes to the log before it goes to anybody else.
    fn store_assignment(&mut self, given: Vec<(StrBytes, Bytes)>) {
        let mut assignments: BTreeMap<StrBytes, Bytes> = given
            .into_iter()
            .filter(|(id, _)| self.members.contains_key(id))
            .collect();
        for id in self.members.keys() {
            assignments.entry(id.clone()).or_default();
        }
        self.outbox.push(Store {
            value: self.snapshot(Some(&assignments)),
            after: AfterStore::Assignment {
                generation: self.generation,
                assignments,
            },
        });
    }

    pub(super) fn assignment_stored(
        &mut self,
        generation: i32,
        assignments: BTreeMap<StrBytes, Bytes>,
        outcome: Result<(), GroupError>,
        settings: &GroupSettings,
        moment: Moment,
    ) {
        // Another rebalance began while the record was written: its members were told.
        if self.state != GroupState::CompletingRebalance || self.generation != generation {
            return;
        }
        if let Err(error) = outcome {
            self.fail_assignment(error, moment);
            self.prepare_rebalance(settings, moment);
            return;
        }
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        self.transition(GroupState::Stable, moment);
        let ids: Vec<StrBytes> = self.members.keys().cloned().collect();
        for id in ids {
            let synced = self.synced(&id);
            if let Some(member) = self.members.get_mut(&id)
                && member.answer_sync(synced)
            {
                member.renew_session(moment);
            }
        }
    }

    fn synced(&self, id: &StrBytes) -> Synced {
        Synced {
            error: None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self
                .members
                .get(id)
                .map(|member| member.assignment.clone())
                .unwrap_or_default(),
        }
    }

    /// A member says that it is alive.
    pub(crate) fn heartbeat(
        &mut self,
        identity: &Identity,
        generation: i32,
        moment: Moment,
    ) -> Result<(), GroupError> {
        self.check_member(identity)?;
        if generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        if let Some(member) = self.members.get_mut(&identity.member_id) {
            member.renew_session(moment);
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => Err(GroupError::UnknownMemberId),
            GroupState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
        }
    }

    /// Members leave, or are removed by an administrator that names instance ids. Returns for
    /// each why it couldn't, in order.
    pub(crate) fn leave(
        &mut self,
        leaving: &[Identity],
        settings: &GroupSettings,
        moment: Moment,
    ) -> Vec<Option<GroupError>> {
        let mut members_gone = false;
        let outcomes: Vec<Option<GroupError>> = leaving
            .iter()
            .map(|identity| match self.leave_one(identity) {
                Ok(was_member) => {
                    members_gone |= was_member;
                    None
                }
                Err(error) => Some(error),
            })
            .collect();
        if outcomes.iter().any(Option::is_none) {
            self.look_again_after(members_gone, settings, moment);
        }
        outcomes
    }

    /// Takes one out; says whether it was a member or only held an id.
    fn leave_one(&mut self, identity: &Identity) -> Result<bool, GroupError> {
        if identity.instance_id.is_none()
            && self.pending_members.remove(&identity.member_id).is_some()
        {
            return Ok(false);
        }
        let by_instance = identity
            .instance_id
            .as_ref()
            .filter(|_| identity.member_id.is_empty());
        let id = match by_instance {
            Some(instance_id) => self
                .static_members
                .get(instance_id)
                .cloned()
                .ok_or(GroupError::UnknownMemberId)?,
            None => {
                self.check_member(identity)?;
                identity.member_id.clone()
            }
        };
        self.remove_member(&id)
            .map(|_| true)
            .ok_or(GroupError::UnknownMemberId)
    }

    /// Whether a client may commit offsets for the group now. A member's commit also counts as a
    /// sign of life.
    pub(crate) fn check_commit(
        &mut self,
        identity: &Identity,
        generation: i32,
        moment: Moment,
    ) -> Result<(), GroupError> {
        if self.state == GroupState::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        // Tools and clients that assign themselves commit without being members.
        if generation < 0 && self.state == GroupState::Empty {
            return Ok(());
        }
        if generation < 0 && identity.member_id.is_empty() && identity.instance_id.is_none() {
            return Err(GroupError::UnknownMemberId);
        }
        self.check_member(identity)?;
        if generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        if self.state == GroupState::CompletingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        if let Some(member) = self.members.get_mut(&identity.member_id)
            && member.join.is_none()
        {
            member.renew_session(moment);
        }
        Ok(())
    }
}
