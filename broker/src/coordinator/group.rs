//! A classic group: its members, generation, protocol and committed offsets.
//!
//! This is a state machine without I/O and without clocks: events come in as method calls with
//! the [`Moment`] they happened at, answers go out through the one-shot channels of the requests
//! that wait, and what must be written to the log collects in an outbox that the caller empties
//! under the same lock ([`Group::take_stores`]). The files beside it hold its events: `join`,
//! `sync` (also heartbeats, leaving and who may commit) and `rebalance` (phases and deadlines).
//!
//! Invariants:
//! - A state changes in [`Group::transition`] only.
//! - `leader` is a member whenever there are members.
//! - An id is either a member or pending, never both; `static_members` names members only.
//! - In `CompletingRebalance` and `Stable` the group has members and a protocol all support.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kafka_wire_core::StrBytes;
use tokio::{sync::oneshot, time::Instant};

use super::{
    answer::{DescribedMember, Description, Identity, Joined, JoinedMember, Synced},
    committed::{CommittedOffsets, TopicPartition},
    error::GroupError,
    member::Member,
    moment::Moment,
    rebalance::JoinTimer,
    record::{GroupValue, MemberValue},
    settings::GroupSettings,
    state::GroupState,
};

/// A group record to be written, and what its success or failure leads to.
#[derive(Debug)]
pub(crate) struct Store {
    /// The record's value.
    pub(crate) value: GroupValue,
    /// What waits for it.
    pub(crate) after: AfterStore,
}

/// What waits for a group record to be written.
#[derive(Debug)]
pub(crate) enum AfterStore {
    /// The generation's assignments go to its members.
    Assignment {
        /// The generation they belong to.
        generation: i32,
        /// Each member's assignment.
        assignments: BTreeMap<StrBytes, Bytes>,
    },
    /// The group became empty; nobody waits.
    Emptied,
    /// A static member came back under a new id; its join is answered.
    StaticMember(Box<StaticReturn>),
}

/// A static member that came back while the group was stable.
#[derive(Debug)]
pub(crate) struct StaticReturn {
    /// Its instance id.
    pub(crate) instance_id: StrBytes,
    /// The member as it was, should the record not be written.
    pub(crate) previous: Member,
    /// Its new id.
    pub(crate) new_id: StrBytes,
    /// The answer to its join.
    pub(crate) answer: Joined,
}

/// A classic group. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) id: StrBytes,
    pub(super) state: GroupState,
    pub(super) previous_state: GroupState,
    /// When the state was entered, milliseconds since the Unix epoch.
    pub(super) state_since: Option<i64>,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<StrBytes>,
    pub(super) protocol: Option<StrBytes>,
    pub(super) leader: Option<StrBytes>,
    pub(super) members: BTreeMap<StrBytes, Member>,
    pub(super) static_members: BTreeMap<StrBytes, StrBytes>,
    /// Ids given out with MEMBER_ID_REQUIRED and when they lapse.
    pub(super) pending_members: BTreeMap<StrBytes, Instant>,
    /// Members of this generation that haven't sent their SyncGroup.
    pub(super) pending_sync: BTreeSet<StrBytes>,
    pub(super) new_member_added: bool,
    pub(super) join_timer: Option<JoinTimer>,
    pub(super) sync_deadline: Option<Instant>,
    pub(super) outbox: Vec<Store>,
    /// The committed offsets.
    pub(crate) offsets: CommittedOffsets,
    /// Records of this group that are queued but not written.
    pub(crate) writes_in_flight: usize,
    /// A removal is queued: nothing may change any more.
    pub(crate) removing: bool,
    /// The log holds a record of this group.
    pub(crate) stored: bool,
    /// The deadline the timer queue knows.
    pub(crate) scheduled: Option<Instant>,
}

impl Group {
    /// An empty group.
    pub(crate) fn new(id: StrBytes, moment: Moment) -> Self {
        Self {
            id,
            state: GroupState::Empty,
            previous_state: GroupState::Dead,
            state_since: Some(moment.unix_millis),
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_members: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            new_member_added: false,
            join_timer: None,
            sync_deadline: None,
            outbox: Vec::new(),
            offsets: CommittedOffsets::default(),
            writes_in_flight: 0,
            removing: false,
            stored: false,
            scheduled: None,
        }
    }

    /// A group as its last record says, with every session started anew: its members get as much
    /// time to be heard from as they would have had.
    pub(crate) fn restore(id: StrBytes, value: GroupValue, moment: Moment) -> Self {
        let mut group = Self::new(id, moment);
        group.stored = true;
        group.generation = value.generation;
        group.state_since = Some(value.state_timestamp).filter(|since| *since >= 0);
        group.protocol_type = Some(value.protocol_type).filter(|kind| !kind.is_empty());
        if value.members.is_empty() {
            return group;
        }
        group.state = GroupState::Stable;
        group.previous_state = GroupState::CompletingRebalance;
        group.protocol = value.protocol;
        for member in value.members {
            let member = member.restore(group.protocol.as_ref(), moment);
            if let Some(instance_id) = &member.instance_id {
                group
                    .static_members
                    .insert(instance_id.clone(), member.id.clone());
            }
            group.members.insert(member.id.clone(), member);
        }
        group.leader = value
            .leader
            .filter(|leader| group.members.contains_key(leader))
            .or_else(|| group.members.keys().next().cloned());
        group
    }

    /// The group's id.
    pub(crate) fn id(&self) -> &StrBytes {
        &self.id
    }

    /// The group's state.
    pub(crate) fn state(&self) -> GroupState {
        self.state
    }

    /// Changes the state: the only place that does.
    pub(super) fn transition(&mut self, next: GroupState, moment: Moment) {
        assert!(
            self.state.may_become(next),
            "group \"{}\" can't go from {} to {}",
            self.id,
            self.state.name(),
            next.name()
        );
        tracing::debug!(
            group = self.id.as_str(),
            from = self.state.name(),
            to = next.name(),
            generation = self.generation,
            members = self.members.len(),
            "group changed its state"
        );
        self.previous_state = self.state;
        self.state = next;
        self.state_since = Some(moment.unix_millis);
    }

    /// Ends the group: whoever holds it must look it up again.
    pub(crate) fn bury(&mut self, moment: Moment) {
        debug_assert!(self.members.is_empty());
        if self.state != GroupState::Dead {
            self.transition(GroupState::Dead, moment);
        }
    }

    /// What must be written because of the events since the last call, in order.
    pub(crate) fn take_stores(&mut self) -> Vec<Store> {
        std::mem::take(&mut self.outbox)
    }

    /// Whether nothing but this object would be lost with the group.
    pub(crate) fn is_vacuous(&self) -> bool {
        self.state == GroupState::Empty
            && !self.stored
            && self.writes_in_flight == 0
            && self.members.is_empty()
            && self.pending_members.is_empty()
            && self.offsets.is_empty()
    }

    /// Why the group may not be deleted, if it may not.
    pub(crate) fn refuse_deletion(&self) -> Option<GroupError> {
        match self.state {
            GroupState::Dead => Some(GroupError::GroupIdNotFound),
            GroupState::Empty if self.pending_members.is_empty() => None,
            _ => Some(GroupError::NonEmptyGroup),
        }
    }

    /// Why the offset of each partition may not be deleted: a running consumer group still reads
    /// the topics it is subscribed to, and of any other protocol it can't be known.
    pub(crate) fn refuse_offset_deletion(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<GroupError>>, GroupError> {
        match self.state {
            GroupState::Dead => return Err(GroupError::GroupIdNotFound),
            GroupState::Empty => return Ok(vec![None; partitions.len()]),
            _ if !self.uses_consumer_protocol() => return Err(GroupError::NonEmptyGroup),
            _ => {}
        }
        let subscribed = self.subscribed_topics();
        Ok(partitions
            .iter()
            .map(|partition| {
                subscribed
                    .as_ref()
                    .is_none_or(|topics| topics.contains(&partition.topic))
                    .then_some(GroupError::GroupSubscribedToTopic)
            })
            .collect())
    }

    /// The wall-clock time the group became empty, if it is and once had members.
    pub(crate) fn empty_since(&self) -> Option<i64> {
        (self.state == GroupState::Empty && self.protocol_type.is_some())
            .then_some(self.state_since)
            .flatten()
    }

    /// Whether the group's members use the consumer protocol.
    pub(crate) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some("consumer")
    }

    /// Whether the group never had members: its offsets come from clients that assign themselves.
    pub(crate) fn is_simple(&self) -> bool {
        self.protocol_type.is_none()
    }

    /// The topics the members of a consumer group are subscribed to; none if that can't be known
    /// (another protocol, or metadata that doesn't parse).
    pub(crate) fn subscribed_topics(&self) -> Option<BTreeSet<StrBytes>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata_for(self.protocol.as_ref());
            let (_, subscription) = kafka_wire::decode_consumer_protocol_subscription(
                metadata,
                kafka_wire_core::DecodeLimits::default(),
            )
            .ok()?;
            topics.extend(subscription.topics);
        }
        Some(topics)
    }

    /// Checks that `identity` is a member now.
    pub(super) fn check_member(&self, identity: &Identity) -> Result<(), GroupError> {
        if let Some(instance_id) = &identity.instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(GroupError::UnknownMemberId),
                Some(current) if *current != identity.member_id => {
                    return Err(GroupError::FencedInstanceId);
                }
                Some(_) => {}
            }
        }
        if self.members.contains_key(&identity.member_id) {
            Ok(())
        } else {
            Err(GroupError::UnknownMemberId)
        }
    }

    pub(super) fn is_leader(&self, member_id: &StrBytes) -> bool {
        self.leader.as_ref() == Some(member_id)
    }

    pub(super) fn leader_id(&self) -> StrBytes {
        self.leader.clone().unwrap_or_default()
    }

    pub(super) fn awaiting_join(&self) -> usize {
        self.members
            .values()
            .filter(|member| member.join.is_some())
            .count()
    }

    pub(super) fn metadata_bytes(&self) -> usize {
        self.members.values().map(Member::metadata_bytes).sum()
    }

    /// Adds a member; the first one sets the protocol type and leads.
    pub(super) fn add_member(&mut self, member: Member, protocol_type: &StrBytes) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members
                .insert(instance_id.clone(), member.id.clone());
        }
        self.pending_members.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out, answers what it waits for, and finds another leader if it led.
    pub(super) fn remove_member(&mut self, member_id: &StrBytes) -> Option<Member> {
        let mut member = self.members.remove(member_id)?;
        // A client that still waits here retries with a fresh id.
        member.answer_join(Joined::refused(
            GroupError::UnknownMemberId,
            StrBytes::default(),
        ));
        member.answer_sync(Synced::refused(GroupError::UnknownMemberId));
        self.pending_sync.remove(member_id);
        if let Some(instance_id) = &member.instance_id
            && self.static_members.get(instance_id) == Some(member_id)
        {
            self.static_members.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// The protocol that gets most votes among those every member supports. Each member votes for
    /// the first of its own that qualifies; the leader's preference breaks a tie.
    pub(super) fn elect_protocol(&self) -> Option<StrBytes> {
        let mut candidates: Vec<(StrBytes, usize)> = self
            .leader
            .as_ref()
            .and_then(|leader| self.members.get(leader))
            .or_else(|| self.members.values().next())?
            .protocols
            .iter()
            .map(|protocol| protocol.name.clone())
            .filter(|name| self.members.values().all(|member| member.supports(name)))
            .map(|name| (name, 0))
            .collect();
        for member in self.members.values() {
            let vote = member.protocols.iter().find_map(|protocol| {
                candidates
                    .iter()
                    .position(|(name, _)| *name == protocol.name)
            });
            if let Some((_, votes)) = vote.and_then(|index| candidates.get_mut(index)) {
                *votes += 1;
            }
        }
        let most = candidates.iter().map(|(_, votes)| *votes).max()?;
        candidates
            .into_iter()
            .find(|(_, votes)| *votes == most)
            .map(|(name, _)| name)
    }

    /// Whether a member that brings these protocols could take part.
    pub(super) fn supports(&self, protocol_type: &StrBytes, names: &[&StrBytes]) -> bool {
        if self.state == GroupState::Empty || self.members.is_empty() {
            return !protocol_type.is_empty() && !names.is_empty();
        }
        self.protocol_type.as_ref() == Some(protocol_type)
            && names
                .iter()
                .any(|name| self.members.values().all(|member| member.supports(name)))
    }

    /// The members as the leader gets them.
    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        self.members
            .values()
            .map(|member| JoinedMember {
                member_id: member.id.clone(),
                instance_id: member.instance_id.clone(),
                metadata: member.metadata_for(self.protocol.as_ref()),
            })
            .collect()
    }

    /// The answer to a member's join in the current generation.
    pub(super) fn joined(&self, member_id: &StrBytes) -> Joined {
        Joined {
            error: None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader_id(),
            skip_assignment: false,
            member_id: member_id.clone(),
            members: if self.is_leader(member_id) {
                self.joined_members()
            } else {
                Vec::new()
            },
        }
    }

    /// The group's record, with `assignments` for those they name and the present ones otherwise.
    pub(super) fn snapshot(&self, assignments: Option<&BTreeMap<StrBytes, Bytes>>) -> GroupValue {
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_timestamp: self.state_since.unwrap_or(-1),
            members: self
                .members
                .values()
                .map(|member| MemberValue {
                    member_id: member.id.clone(),
                    instance_id: member.instance_id.clone(),
                    client_id: member.client_id.clone(),
                    client_host: member.client_host.clone(),
                    rebalance_timeout_ms: millis_i32(member.rebalance_timeout),
                    session_timeout_ms: millis_i32(member.session_timeout),
                    subscription: member.metadata_for(self.protocol.as_ref()),
                    assignment: match assignments {
                        Some(given) => given.get(&member.id).cloned().unwrap_or_default(),
                        None => member.assignment.clone(),
                    },
                })
                .collect(),
        }
    }

    /// The group for DescribeGroups. Metadata and assignments are shown once they are agreed on.
    pub(crate) fn describe(&self) -> Description {
        let stable = self.state == GroupState::Stable;
        Description {
            state: self.state.name(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: self.protocol.clone().filter(|_| stable).unwrap_or_default(),
            members: self
                .members
                .values()
                .map(|member| DescribedMember {
                    member_id: member.id.clone(),
                    instance_id: member.instance_id.clone(),
                    client_id: member.client_id.clone(),
                    client_host: member.client_host.clone(),
                    metadata: if stable {
                        member.metadata_for(self.protocol.as_ref())
                    } else {
                        Bytes::new()
                    },
                    assignment: if stable {
                        member.assignment.clone()
                    } else {
                        Bytes::new()
                    },
                })
                .collect(),
        }
    }

    /// The protocol type; empty if the group never had members.
    pub(crate) fn protocol_type(&self) -> StrBytes {
        self.protocol_type.clone().unwrap_or_default()
    }

    /// Continues after a group record was written or wasn't.
    pub(crate) fn store_finished(
        &mut self,
        after: AfterStore,
        outcome: Result<(), GroupError>,
        settings: &GroupSettings,
        moment: Moment,
    ) {
        if outcome.is_ok() {
            self.stored = true;
        }
        match after {
            AfterStore::Assignment {
                generation,
                assignments,
            } => self.assignment_stored(generation, assignments, outcome, settings, moment),
            AfterStore::Emptied => {}
            AfterStore::StaticMember(returned) => {
                self.static_return_stored(*returned, outcome, moment);
            }
        }
    }
}

impl MemberValue {
    fn restore(self, protocol: Option<&StrBytes>, moment: Moment) -> Member {
        let mut member = Member {
            id: self.member_id,
            instance_id: self.instance_id,
            client_id: self.client_id,
            client_host: self.client_host,
            session_timeout: positive_millis(self.session_timeout_ms),
            rebalance_timeout: positive_millis(self.rebalance_timeout_ms),
            protocols: protocol
                .map(|name| super::member::Protocol {
                    name: name.clone(),
                    metadata: self.subscription,
                })
                .into_iter()
                .collect(),
            assignment: self.assignment,
            join: None,
            sync: None,
            is_new: false,
            session_ends: None,
        };
        member.renew_session(moment);
        member
    }
}

fn millis_i32(duration: std::time::Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn positive_millis(millis: i32) -> std::time::Duration {
    std::time::Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// The sending half of a JoinGroup request's answer.
pub(crate) type JoinWaiter = oneshot::Sender<Joined>;
/// The sending half of a SyncGroup request's answer.
pub(crate) type SyncWaiter = oneshot::Sender<Synced>;
