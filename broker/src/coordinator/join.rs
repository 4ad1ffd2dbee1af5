//! A member joins: for the first time, again, or as the successor of a static member.

use kafka_wire_core::StrBytes;

use super::{
    answer::{Identity, Join, Joined, Synced},
    error::GroupError,
    group::{AfterStore, Group, JoinWaiter, StaticReturn, Store},
    member::{Member, Protocol, protocol_bytes},
    moment::Moment,
    settings::{
        GROUP_METADATA_BYTES_MAX, GroupSettings, MEMBER_METADATA_BYTES_MAX, PENDING_MEMBERS_MAX,
    },
    state::GroupState,
};

impl Group {
    /// Takes a JoinGroup request; `answer` is used now or when the generation is complete.
    pub(crate) fn join(
        &mut self,
        request: Join,
        answer: JoinWaiter,
        settings: &GroupSettings,
        moment: Moment,
    ) {
        if let Err(error) = self.check_join(&request, settings) {
            let mut id = request.member_id;
            if error == GroupError::GroupMaxSizeReached {
                self.turn_away(&id, settings, moment);
                id = StrBytes::default();
            }
            // A client that hung up needs no answer.
            drop(answer.send(Joined::refused(error, id)));
            return;
        }
        if request.member_id.is_empty() {
            self.join_new(request, answer, settings, moment);
        } else {
            self.join_known(request, answer, settings, moment);
        }
        // The initial rebalance isn't cut short by its first members.
        if self.state == GroupState::PreparingRebalance {
            self.maybe_complete_join(settings, moment);
        }
    }

    /// Why the group refuses the request before it looks for the member, if it does.
    fn check_join(&self, request: &Join, settings: &GroupSettings) -> Result<(), GroupError> {
        if !self.has_room_for(&request.member_id, settings) {
            return Err(GroupError::GroupMaxSizeReached);
        }
        let bytes = protocol_bytes(&request.protocols);
        if bytes > MEMBER_METADATA_BYTES_MAX {
            return Err(GroupError::MessageTooLarge);
        }
        let replaced = self
            .members
            .get(&request.member_id)
            .map_or(0, Member::metadata_bytes);
        if self.metadata_bytes().saturating_sub(replaced) + bytes > GROUP_METADATA_BYTES_MAX {
            return Err(GroupError::GroupMaxSizeReached);
        }
        let names: Vec<&StrBytes> = request.protocols.iter().map(|p| &p.name).collect();
        if !self.supports(&request.protocol_type, &names) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    /// A member that finds the group full when it rejoins is not waited for.
    fn turn_away(&mut self, member_id: &StrBytes, settings: &GroupSettings, moment: Moment) {
        let was_pending = self.pending_members.remove(member_id).is_some();
        let was_member = self.remove_member(member_id).is_some();
        if was_pending || was_member {
            self.look_again_after(was_member, settings, moment);
        }
    }

    /// While members are collected, those that already wait count; afterwards all do.
    fn has_room_for(&self, member_id: &StrBytes, settings: &GroupSettings) -> bool {
        match self.state {
            GroupState::Empty | GroupState::Dead => settings.max_size > 0,
            GroupState::PreparingRebalance => {
                self.members
                    .get(member_id)
                    .is_some_and(|member| member.join.is_some())
                    || self.awaiting_join() < settings.max_size
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.members.contains_key(member_id) || self.members.len() < settings.max_size
            }
        }
    }

    fn join_new(
        &mut self,
        request: Join,
        answer: JoinWaiter,
        settings: &GroupSettings,
        moment: Moment,
    ) {
        let new_id = new_member_id(request.instance_id.as_ref().unwrap_or(&request.client_id));
        let replaced = request
            .instance_id
            .as_ref()
            .and_then(|instance_id| self.static_members.get(instance_id))
            .cloned();
        if let Some(old_id) = replaced {
            self.join_static_successor(&old_id, new_id, request, answer, settings, moment);
        } else if request.instance_id.is_none() && request.requires_known_member_id {
            if self.pending_members.len() >= PENDING_MEMBERS_MAX {
                let full = GroupError::GroupMaxSizeReached;
                drop(answer.send(Joined::refused(full, StrBytes::default())));
                return;
            }
            self.pending_members
                .insert(new_id.clone(), moment.instant + request.session_timeout);
            drop(answer.send(Joined::refused(GroupError::MemberIdRequired, new_id)));
        } else {
            self.admit(new_id, request, answer, settings, moment);
        }
    }

    fn join_known(
        &mut self,
        request: Join,
        answer: JoinWaiter,
        settings: &GroupSettings,
        moment: Moment,
    ) {
        let id = request.member_id.clone();
        if self.pending_members.contains_key(&id) && request.instance_id.is_none() {
            self.admit(id, request, answer, settings, moment);
            return;
        }
        let identity = Identity {
            member_id: id.clone(),
            instance_id: request.instance_id.clone(),
        };
        if let Err(error) = self.check_member(&identity) {
            drop(answer.send(Joined::refused(error, id)));
            return;
        }
        let changed = self
            .members
            .get(&id)
            .is_none_or(|member| member.protocols != request.protocols);
        let rejoins = match self.state {
            GroupState::PreparingRebalance => true,
            // The answer to its first join was lost on the way: it gets it again.
            GroupState::CompletingRebalance => changed,
            // A leader that joins wants a rebalance, for instance because topics changed.
            GroupState::Stable => changed || self.is_leader(&id),
            GroupState::Empty | GroupState::Dead => {
                let unknown = GroupError::UnknownMemberId;
                drop(answer.send(Joined::refused(unknown, id)));
                return;
            }
        };
        if rejoins {
            self.update_member(&id, request, answer, moment);
            self.rebalance_or_complete_join(settings, moment);
        } else {
            let current = self.joined(&id);
            if let Some(member) = self.members.get_mut(&id) {
                member.renew_session(moment);
            }
            drop(answer.send(current));
        }
    }

    fn admit(
        &mut self,
        id: StrBytes,
        request: Join,
        answer: JoinWaiter,
        settings: &GroupSettings,
        moment: Moment,
    ) {
        if self.state == GroupState::PreparingRebalance && self.previous_state == GroupState::Empty
        {
            self.new_member_added = true;
        }
        let mut member = Member {
            id,
            instance_id: request.instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: request.protocols,
            assignment: bytes::Bytes::new(),
            join: Some(answer),
            sync: None,
            is_new: true,
            session_ends: None,
        };
        member.start_first_join(moment);
        self.add_member(member, &request.protocol_type);
        self.rebalance_or_complete_join(settings, moment);
    }

    fn update_member(&mut self, id: &StrBytes, request: Join, answer: JoinWaiter, moment: Moment) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        // The client retried: its earlier request has nobody to read the answer.
        member.answer_join(Joined::refused(GroupError::RebalanceInProgress, id.clone()));
        member.protocols = request.protocols;
        member.session_timeout = request.session_timeout;
        member.rebalance_timeout = request.rebalance_timeout;
        member.client_id = request.client_id;
        member.client_host = request.client_host;
        member.join = Some(answer);
        member.renew_session(moment);
    }

    /// A static member that lost its member id (it was restarted) takes over from itself.
    fn join_static_successor(
        &mut self,
        old_id: &StrBytes,
        new_id: StrBytes,
        request: Join,
        answer: JoinWaiter,
        settings: &GroupSettings,
        moment: Moment,
    ) {
        let Some(instance_id) = request.instance_id.clone() else {
            return;
        };
        let leader_before = self.leader_id();
        let skips = request.supports_skipping_assignment;
        let Some(previous) = self.replace_static(&instance_id, old_id, &new_id) else {
            return;
        };
        self.update_member(&new_id, request, answer, moment);
        match self.state {
            GroupState::Stable if self.elect_protocol() == self.protocol => {
                let mut joined = self.joined(&new_id);
                if skips {
                    joined.skip_assignment = self.is_leader(&new_id);
                } else {
                    // Before v9 a returning leader must not notice that it leads, or it would
                    // compute an assignment that nobody waits for.
                    joined.leader = leader_before;
                    joined.members = Vec::new();
                }
                self.outbox.push(Store {
                    value: self.snapshot(None),
                    after: AfterStore::StaticMember(Box::new(StaticReturn {
                        instance_id,
                        previous,
                        new_id,
                        answer: joined,
                    })),
                });
            }
            // The leader may already assign to the old id, so even here everybody joins again.
            GroupState::Stable | GroupState::CompletingRebalance => {
                self.prepare_rebalance(settings, moment);
            }
            GroupState::PreparingRebalance => {}
            GroupState::Empty | GroupState::Dead => {
                debug_assert!(false, "a static member in a group without members");
            }
        }
    }

    /// Renames a static member; requests parked under the old id are fenced. Returns the member
    /// as it was, without those requests.
    fn replace_static(
        &mut self,
        instance_id: &StrBytes,
        old_id: &StrBytes,
        new_id: &StrBytes,
    ) -> Option<Member> {
        let mut old = self.members.remove(old_id)?;
        old.answer_join(Joined::refused(
            GroupError::FencedInstanceId,
            old_id.clone(),
        ));
        old.answer_sync(Synced::refused(GroupError::FencedInstanceId));
        self.pending_sync.remove(old_id);
        let renamed = Member {
            id: new_id.clone(),
            join: None,
            sync: None,
            ..copy_of(&old)
        };
        self.static_members
            .insert(instance_id.clone(), new_id.clone());
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        self.members.insert(new_id.clone(), renamed);
        Some(old)
    }

    /// Answers the join of a returned static member once its new id is in the log, or takes the
    /// change back.
    pub(super) fn static_return_stored(
        &mut self,
        returned: StaticReturn,
        outcome: Result<(), GroupError>,
        moment: Moment,
    ) {
        let StaticReturn {
            instance_id,
            previous,
            new_id,
            answer,
        } = returned;
        match outcome {
            Ok(()) => {
                // If a rebalance began meanwhile, the join waits for the next generation.
                if self.state == GroupState::Stable
                    && self.generation == answer.generation
                    && let Some(member) = self.members.get_mut(&new_id)
                {
                    member.is_new = false;
                    member.renew_session(moment);
                    member.answer_join(answer);
                }
            }
            Err(error) => {
                let Some(mut failed) = self.members.remove(&new_id) else {
                    return;
                };
                failed.answer_join(Joined::refused(error, StrBytes::default()));
                self.pending_sync.remove(&new_id);
                if self.is_leader(&new_id) {
                    self.leader = Some(previous.id.clone());
                }
                self.static_members.insert(instance_id, previous.id.clone());
                let mut previous = previous;
                previous.renew_session(moment);
                self.members.insert(previous.id.clone(), previous);
            }
        }
    }
}

fn copy_of(member: &Member) -> Member {
    Member {
        id: member.id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        session_timeout: member.session_timeout,
        rebalance_timeout: member.rebalance_timeout,
        protocols: member
            .protocols
            .iter()
            .map(|protocol| Protocol {
                name: protocol.name.clone(),
                metadata: protocol.metadata.clone(),
            })
            .collect(),
        assignment: member.assignment.clone(),
        join: None,
        sync: None,
        is_new: member.is_new,
        session_ends: member.session_ends,
    }
}

/// `prefix-` and a random UUID, as Kafka forms member ids.
fn new_member_id(prefix: &StrBytes) -> StrBytes {
    let mut bytes = platform::random::uuid();
    // Version 4, variant 1 (RFC 9562).
    if let Some(version) = bytes.get_mut(6) {
        *version = (*version & 0x0f) | 0x40;
    }
    if let Some(variant) = bytes.get_mut(8) {
        *variant = (*variant & 0x3f) | 0x80;
    }
    let value = u128::from_be_bytes(bytes);
    format!(
        "{prefix}-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        value >> 96,
        (value >> 80) & 0xffff,
        (value >> 64) & 0xffff,
        (value >> 48) & 0xffff,
        value & 0xffff_ffff_ffff
    )
    .into()
}
