//! The state machine of one group, driven by hand.

use std::time::Duration;

use bytes::Bytes;
use kafka_wire_core::StrBytes;
use tokio::{sync::oneshot, time::Instant};

use super::{
    answer::{Identity, Join, Joined, Sync, Synced},
    error::GroupError,
    group::{AfterStore, Group},
    member::Protocol,
    moment::Moment,
    settings::GroupSettings,
    state::GroupState,
};

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

/// A group, its clock, and settings without initial delay.
pub(super) struct World {
    pub(super) group: Group,
    pub(super) settings: GroupSettings,
    pub(super) moment: Moment,
}

type Waiting<T> = oneshot::Receiver<T>;

impl World {
    fn new() -> Self {
        let moment = Moment {
            instant: Instant::now(),
            unix_millis: 1_000_000,
        };
        Self {
            group: Group::new("group".into(), moment),
            settings: GroupSettings {
                initial_rebalance_delay: Duration::ZERO,
                ..GroupSettings::default()
            },
            moment,
        }
    }

    pub(super) fn with_delay(delay: Duration) -> Self {
        let mut world = Self::new();
        world.settings.initial_rebalance_delay = delay;
        world
    }

    pub(super) fn send_join(&mut self, request: Join) -> Waiting<Joined> {
        let (answer, waiting) = oneshot::channel();
        self.group
            .join(request, answer, &self.settings, self.moment);
        waiting
    }

    fn join(&mut self, member_id: &str) -> Waiting<Joined> {
        self.send_join(request(member_id))
    }

    /// Joins twice, as clients since KIP-394 do; returns the id as well.
    fn join_new(&mut self) -> (StrBytes, Waiting<Joined>) {
        let joined = answered(&mut self.join(""));
        assert_eq!(joined.error, Some(GroupError::MemberIdRequired));
        let waiting = self.join(&joined.member_id);
        (joined.member_id, waiting)
    }

    fn sync(&mut self, id: &StrBytes, assignments: &[(&StrBytes, &str)]) -> Waiting<Synced> {
        let (answer, waiting) = oneshot::channel();
        let request = Sync {
            generation: self.group.generation,
            member_id: id.clone(),
            assignments: assignments
                .iter()
                .map(|(id, bytes)| ((*id).clone(), Bytes::copy_from_slice(bytes.as_bytes())))
                .collect(),
            ..Sync::default()
        };
        self.group.sync(request, answer, self.moment);
        waiting
    }

    /// What the log does: every record queued is written (or not).
    fn write(&mut self, outcome: Result<(), GroupError>) -> usize {
        let mut written = 0;
        loop {
            let stores = self.group.take_stores();
            if stores.is_empty() {
                return written;
            }
            for store in stores {
                written += 1;
                self.group
                    .store_finished(store.after, outcome, &self.settings, self.moment);
            }
        }
    }

    pub(super) fn heartbeat(&mut self, id: &StrBytes) -> Result<(), GroupError> {
        let generation = self.group.generation;
        self.group.heartbeat(&identity(id), generation, self.moment)
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.moment.instant += time;
        self.moment.unix_millis += i64::try_from(time.as_millis()).unwrap();
        self.group.tick(&self.settings, self.moment);
        check_invariants(&self.group);
    }

    /// A stable group of `count` dynamic members; the first leads.
    fn stable(count: usize) -> (Self, Vec<StrBytes>) {
        let mut world = Self::with_delay(Duration::from_secs(3));
        let mut members: Vec<(StrBytes, Waiting<Joined>)> =
            (0..count).map(|_| world.join_new()).collect();
        while world.group.state() == GroupState::PreparingRebalance {
            world.pass(Duration::from_secs(3));
        }
        let leader = answered(&mut members[0].1).leader;
        members.sort_by_key(|(id, _)| *id != leader);
        let ids: Vec<StrBytes> = members.into_iter().map(|(id, _)| id).collect();
        let assignments: Vec<(&StrBytes, &str)> = ids.iter().map(|id| (id, "work")).collect();
        let mut synced: Vec<Waiting<Synced>> = Vec::new();
        for id in ids.iter().skip(1) {
            synced.push(world.sync(id, &[]));
        }
        synced.push(world.sync(&ids[0], &assignments));
        world.write(Ok(()));
        for waiting in &mut synced {
            assert_eq!(answered(waiting).assignment, "work");
        }
        assert_eq!(world.group.state(), GroupState::Stable);
        (world, ids)
    }
}

pub(super) fn request(member_id: &str) -> Join {
    Join {
        member_id: member_id.into(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: "consumer".into(),
        protocols: protocols(&["range"]),
        requires_known_member_id: true,
        supports_skipping_assignment: true,
    }
}

pub(super) fn static_request(member_id: &str, instance_id: &str) -> Join {
    Join {
        instance_id: Some(instance_id.into()),
        ..request(member_id)
    }
}

pub(super) fn protocols(names: &[&str]) -> Vec<Protocol> {
    names
        .iter()
        .map(|name| Protocol {
            name: (*name).into(),
            metadata: Bytes::copy_from_slice(name.as_bytes()),
        })
        .collect()
}

pub(super) fn identity(id: &StrBytes) -> Identity {
    Identity {
        member_id: id.clone(),
        instance_id: None,
    }
}

fn answered<T>(waiting: &mut Waiting<T>) -> T {
    waiting.try_recv().expect("the request is answered")
}

fn is_parked<T>(waiting: &mut Waiting<T>) -> bool {
    matches!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Empty))
}

pub(super) fn check_invariants(group: &Group) {
    if let Some(leader) = &group.leader {
        assert!(group.members.contains_key(leader), "the leader is a member");
    }
    assert_eq!(group.leader.is_none(), group.members.is_empty());
    for (instance, id) in &group.static_members {
        let member = group.members.get(id).expect("static members are members");
        assert_eq!(member.instance_id.as_ref(), Some(instance));
    }
    for id in group.pending_members.keys() {
        assert!(!group.members.contains_key(id), "pending is not a member");
    }
    for id in &group.pending_sync {
        assert!(group.members.contains_key(id));
    }
    match group.state() {
        GroupState::Empty => assert!(group.members.is_empty()),
        GroupState::PreparingRebalance => assert!(group.join_timer.is_some()),
        GroupState::CompletingRebalance | GroupState::Stable => {
            assert!(!group.members.is_empty());
            let protocol = group.protocol.as_ref().expect("a protocol is chosen");
            assert!(group.members.values().all(|m| m.supports(protocol)));
            assert!(group.join_timer.is_none());
        }
        GroupState::Dead => {}
    }
    for member in group.members.values() {
        assert!(
            member.session_ends.is_some() || member.is_parked(),
            "a member is always timed or parked"
        );
        if member.sync.is_some() {
            assert_eq!(group.state(), GroupState::CompletingRebalance);
        }
    }
}

#[test]
fn a_new_member_must_join_again_with_the_id_it_is_given() {
    let mut world = World::new();
    let first = answered(&mut world.join(""));
    assert_eq!(first.error, Some(GroupError::MemberIdRequired));
    assert!(first.member_id.starts_with("client-"));
    assert_eq!(first.member_id.len(), "client-".len() + 36);

    let second = answered(&mut world.join(&first.member_id));
    assert_eq!(second.error, None);
    assert_eq!(second.generation, 1);
    assert_eq!(second.leader, first.member_id);
    assert_eq!(second.members.len(), 1);
    assert_eq!(world.group.state(), GroupState::CompletingRebalance);
}

#[test]
fn an_old_client_joins_at_once() {
    let mut world = World::new();
    let joined = answered(&mut world.send_join(Join {
        requires_known_member_id: false,
        ..request("")
    }));
    assert_eq!((joined.error, joined.generation), (None, 1));
}

#[test]
fn an_id_that_is_not_used_lapses_with_the_session_timeout() {
    let mut world = World::new();
    let joined = answered(&mut world.join(""));
    world.pass(SESSION);
    assert!(world.group.is_vacuous());
    let late = answered(&mut world.join(&joined.member_id));
    assert_eq!(late.error, Some(GroupError::UnknownMemberId));
}

#[test]
fn the_initial_rebalance_waits_for_more_members_and_is_extended_by_them() {
    let mut world = World::with_delay(Duration::from_secs(3));
    let (_, mut first) = world.join_new();
    world.pass(Duration::from_secs(2));
    let (_, mut second) = world.join_new();
    world.pass(Duration::from_secs(1));
    assert!(is_parked(&mut first) && is_parked(&mut second));
    world.pass(Duration::from_secs(3));
    let first = answered(&mut first);
    let second = answered(&mut second);
    assert_eq!((first.generation, second.generation), (1, 1));
    assert_eq!(first.members.len() + second.members.len(), 2);
}

#[test]
fn only_the_leader_sees_the_members() {
    let mut world = World::with_delay(Duration::from_secs(3));
    let mut waiting: Vec<_> = (0..3).map(|_| world.join_new().1).collect();
    for _ in 0..5 {
        world.pass(Duration::from_secs(3));
    }
    let joined: Vec<Joined> = waiting.iter_mut().map(answered).collect();
    for joined in joined {
        let expected = if joined.leader == joined.member_id {
            3
        } else {
            0
        };
        assert_eq!(joined.members.len(), expected);
    }
}

#[test]
fn the_protocol_is_the_one_all_support_with_most_first_choices() {
    let mut world = World::with_delay(Duration::from_secs(3));
    let prefer = |names: &[&str]| Join {
        requires_known_member_id: false,
        protocols: protocols(names),
        ..request("")
    };
    let mut first = world.send_join(prefer(&["range", "sticky"]));
    let mut second = world.send_join(prefer(&["other", "sticky", "range"]));
    let mut third = world.send_join(prefer(&["sticky", "range"]));
    for _ in 0..5 {
        world.pass(Duration::from_secs(3));
    }
    for waiting in [&mut first, &mut second, &mut third] {
        assert_eq!(answered(waiting).protocol.as_deref(), Some("sticky"));
    }
}

#[test]
fn a_member_without_a_common_protocol_is_refused() {
    let (mut world, _) = World::stable(1);
    let joined = answered(&mut world.send_join(Join {
        protocols: protocols(&["other"]),
        ..request("")
    }));
    assert_eq!(joined.error, Some(GroupError::InconsistentGroupProtocol));
    let joined = answered(&mut world.send_join(Join {
        protocol_type: "connect".into(),
        ..request("")
    }));
    assert_eq!(joined.error, Some(GroupError::InconsistentGroupProtocol));
    assert_eq!(world.group.state(), GroupState::Stable);
}

#[test]
fn followers_wait_for_the_assignment_and_get_it_only_when_it_is_written() {
    let mut world = World::with_delay(Duration::from_secs(3));
    let (a, mut wait_a) = world.join_new();
    let (b, _wait_b) = world.join_new();
    for _ in 0..5 {
        world.pass(Duration::from_secs(3));
    }
    let leader = answered(&mut wait_a).leader;
    let follower = if leader == a { b } else { a };
    let mut follower_sync = world.sync(&follower, &[]);
    assert!(is_parked(&mut follower_sync));
    let mut leader_sync = world.sync(&leader, &[(&leader, "x"), (&follower, "y")]);
    assert!(is_parked(&mut leader_sync));
    assert_eq!(world.group.state(), GroupState::CompletingRebalance);
    world.write(Ok(()));
    assert_eq!(answered(&mut leader_sync).assignment, "x");
    assert_eq!(answered(&mut follower_sync).assignment, "y");
    assert_eq!(world.group.state(), GroupState::Stable);
}

#[test]
fn an_assignment_that_cannot_be_written_starts_a_new_rebalance() {
    let mut world = World::new();
    let (id, _joined) = world.join_new();
    let mut synced = world.sync(&id, &[(&id, "x")]);
    world.write(Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(
        answered(&mut synced).error,
        Some(GroupError::CoordinatorNotAvailable)
    );
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_late_assignment_of_an_earlier_generation_changes_nothing() {
    let mut world = World::new();
    let (id, _joined) = world.join_new();
    let mut synced = world.sync(&id, &[(&id, "old")]);
    let stores = world.group.take_stores();
    let mut rejoined = world.send_join(Join {
        protocols: protocols(&["range", "new"]),
        ..request(&id)
    });
    assert_eq!(
        answered(&mut synced).error,
        Some(GroupError::RebalanceInProgress)
    );
    assert_eq!(answered(&mut rejoined).generation, 2);
    for store in stores {
        world
            .group
            .store_finished(store.after, Ok(()), &world.settings, world.moment);
    }
    assert_eq!(world.group.state(), GroupState::CompletingRebalance);
}

#[test]
fn a_second_member_makes_the_first_rejoin() {
    let (mut world, ids) = World::stable(1);
    let (_, mut second) = world.join_new();
    assert!(is_parked(&mut second));
    assert_eq!(
        world.heartbeat(&ids[0]),
        Err(GroupError::RebalanceInProgress)
    );
    let first = answered(&mut world.join(&ids[0]));
    assert_eq!(first.generation, 2);
    assert_eq!(first.members.len(), 2);
    assert_eq!(answered(&mut second).generation, 2);
}

#[test]
fn a_member_that_does_not_rejoin_in_time_is_left_behind() {
    let (mut world, ids) = World::stable(2);
    let (_, mut third) = world.join_new();
    let mut first = world.join(&ids[0]);
    // It still sends heartbeats, but doesn't rejoin.
    for _ in 0..12 {
        world.pass(Duration::from_secs(5));
        let _heard = world.heartbeat(&ids[1]);
    }
    assert_eq!(answered(&mut first).members.len(), 2);
    assert_eq!(answered(&mut third).error, None);
    assert_eq!(world.heartbeat(&ids[1]), Err(GroupError::UnknownMemberId));
}

#[test]
fn a_silent_member_is_removed_after_its_session_timeout() {
    let (mut world, ids) = World::stable(2);
    world.pass(SESSION - Duration::from_millis(1));
    assert_eq!(world.heartbeat(&ids[0]), Ok(()));
    world.pass(Duration::from_millis(1));
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
    assert_eq!(world.heartbeat(&ids[1]), Err(GroupError::UnknownMemberId));
    assert_eq!(answered(&mut world.join(&ids[0])).members.len(), 1);
}

#[test]
fn the_failure_of_the_leader_gives_the_group_another_one() {
    let (mut world, ids) = World::stable(2);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.heartbeat(&ids[1]), Ok(()));
    world.pass(Duration::from_secs(5));
    let joined = answered(&mut world.join(&ids[1]));
    assert_eq!(joined.leader, ids[1]);
    assert_eq!(joined.members.len(), 1);
}

#[test]
fn a_parked_join_keeps_its_member_alive() {
    let (mut world, ids) = World::stable(2);
    let mut first = world.join(&ids[0]);
    for _ in 0..8 {
        world.pass(Duration::from_secs(5));
        let _heard = world.heartbeat(&ids[1]);
    }
    assert!(is_parked(&mut first));
    assert_eq!(world.group.members.len(), 2);
}

#[test]
fn a_new_member_whose_join_is_never_answered_is_given_up_after_five_minutes() {
    let mut world = World::with_delay(Duration::from_secs(400));
    let slow = Join {
        rebalance_timeout: Duration::from_secs(1000),
        ..request("")
    };
    let id = answered(&mut world.send_join(slow.clone())).member_id;
    let mut waiting = world.send_join(Join {
        member_id: id,
        ..slow
    });
    world.pass(Duration::from_secs(300));
    assert_eq!(
        answered(&mut waiting).error,
        Some(GroupError::UnknownMemberId)
    );
    assert_eq!(world.group.state(), GroupState::Empty);
}

#[test]
fn a_member_that_joined_but_does_not_sync_is_removed() {
    let mut world = World::with_delay(Duration::from_secs(3));
    let (a, mut wait_a) = world.join_new();
    let (b, _wait_b) = world.join_new();
    for _ in 0..5 {
        world.pass(Duration::from_secs(3));
    }
    let leader = answered(&mut wait_a).leader;
    let lazy = if leader == a { b } else { a };
    let mut synced = world.sync(&leader, &[]);
    world.write(Ok(()));
    assert_eq!(answered(&mut synced).error, None);
    for _ in 0..12 {
        let _heard = world.heartbeat(&leader);
        let _heard = world.heartbeat(&lazy);
        world.pass(Duration::from_secs(5));
    }
    assert_eq!(world.heartbeat(&lazy), Err(GroupError::UnknownMemberId));
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_lost_join_answer_is_given_again_without_a_rebalance() {
    let mut world = World::new();
    let (id, mut joined) = world.join_new();
    let first = answered(&mut joined);
    let again = answered(&mut world.join(&id));
    assert_eq!(first, again);
}

#[test]
fn a_follower_that_joins_unchanged_gets_the_present_generation_and_the_leader_forces_a_new_one() {
    let (mut world, ids) = World::stable(2);
    let follower = answered(&mut world.join(&ids[1]));
    assert_eq!((follower.generation, follower.error), (1, None));
    assert_eq!(world.group.state(), GroupState::Stable);
    let mut leader = world.join(&ids[0]);
    assert!(is_parked(&mut leader));
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn requests_of_another_generation_or_of_strangers_are_refused() {
    let (mut world, ids) = World::stable(1);
    let stale = world.group.generation - 1;
    assert_eq!(
        world
            .group
            .heartbeat(&identity(&ids[0]), stale, world.moment),
        Err(GroupError::IllegalGeneration)
    );
    assert_eq!(
        world
            .group
            .check_commit(&identity(&ids[0]), stale, world.moment),
        Err(GroupError::IllegalGeneration)
    );
    assert_eq!(
        world.heartbeat(&"stranger".into()),
        Err(GroupError::UnknownMemberId)
    );
    assert_eq!(
        world
            .group
            .check_commit(&Identity::default(), -1, world.moment),
        Err(GroupError::UnknownMemberId)
    );
    let (answer, mut synced) = oneshot::channel();
    let request = Sync {
        generation: stale,
        member_id: ids[0].clone(),
        ..Sync::default()
    };
    world.group.sync(request, answer, world.moment);
    assert_eq!(
        answered(&mut synced).error,
        Some(GroupError::IllegalGeneration)
    );
}

#[test]
fn a_sync_that_believes_in_another_protocol_is_refused() {
    let (mut world, ids) = World::stable(1);
    let (answer, mut synced) = oneshot::channel();
    let request = Sync {
        generation: 1,
        member_id: ids[0].clone(),
        protocol: Some("sticky".into()),
        ..Sync::default()
    };
    world.group.sync(request, answer, world.moment);
    assert_eq!(
        answered(&mut synced).error,
        Some(GroupError::InconsistentGroupProtocol)
    );
}

#[test]
fn commits_are_refused_while_the_assignment_is_awaited_and_accepted_before_and_after() {
    let mut world = World::new();
    let nobody = Identity::default();
    assert_eq!(world.group.check_commit(&nobody, -1, world.moment), Ok(()));
    let (id, _joined) = world.join_new();
    let member = identity(&id);
    assert_eq!(
        world.group.check_commit(&member, 1, world.moment),
        Err(GroupError::RebalanceInProgress)
    );
    drop(world.sync(&id, &[]));
    world.write(Ok(()));
    assert_eq!(world.group.check_commit(&member, 1, world.moment), Ok(()));
    // While members are collected the old generation may still commit.
    let (_, _second) = world.join_new();
    assert_eq!(world.group.check_commit(&member, 1, world.moment), Ok(()));
}

#[test]
fn a_group_whose_last_member_leaves_becomes_empty_and_says_so_in_the_log() {
    let (mut world, ids) = World::stable(1);
    let outcome = world
        .group
        .leave(&[identity(&ids[0])], &world.settings, world.moment);
    assert_eq!(outcome, [None]);
    assert_eq!(world.group.state(), GroupState::Empty);
    let stores = world.group.take_stores();
    assert!(matches!(stores[0].after, AfterStore::Emptied));
    assert_eq!(stores[0].value.protocol_type, "consumer".into());
    assert!(stores[0].value.members.is_empty());
    assert_eq!(stores[0].value.generation, 2);
}

#[test]
fn members_leave_in_one_request_and_each_gets_its_outcome() {
    let (mut world, ids) = World::stable(2);
    let outcome = world.group.leave(
        &[identity(&ids[1]), identity(&"stranger".into())],
        &world.settings,
        world.moment,
    );
    assert_eq!(outcome, [None, Some(GroupError::UnknownMemberId)]);
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_full_group_takes_no_more_members() {
    let (mut world, _) = World::stable(2);
    world.settings.max_size = 2;
    let joined = answered(&mut world.join(""));
    assert_eq!(joined.error, Some(GroupError::GroupMaxSizeReached));
    assert_eq!(world.group.state(), GroupState::Stable);
}

#[test]
fn oversized_metadata_is_refused() {
    let mut world = World::new();
    let joined = answered(&mut world.send_join(Join {
        protocols: vec![Protocol {
            name: "range".into(),
            metadata: Bytes::from(vec![0; 2 * 1024 * 1024]),
        }],
        ..request("")
    }));
    assert_eq!(joined.error, Some(GroupError::MessageTooLarge));
    assert!(world.group.is_vacuous());
}

/// A stable group of one static member.
fn stable_static() -> (World, StrBytes) {
    let mut world = World::new();
    let joined = answered(&mut world.send_join(static_request("", "one")));
    assert_eq!(joined.error, None, "static members need no second join");
    assert!(joined.member_id.starts_with("one-"));
    let id = joined.member_id;
    let mut synced = world.sync(&id, &[(&id, "work")]);
    world.write(Ok(()));
    assert_eq!(answered(&mut synced).assignment, "work");
    (world, id)
}

#[test]
fn a_restarted_static_member_keeps_its_place_without_a_rebalance() {
    let (mut world, old) = stable_static();
    let mut joined = world.send_join(static_request("", "one"));
    assert!(is_parked(&mut joined), "answered only when written");
    assert_eq!(world.write(Ok(())), 1);
    let joined = answered(&mut joined);
    assert_eq!((joined.error, joined.generation), (None, 1));
    assert_ne!(joined.member_id, old);
    assert_eq!(joined.leader, joined.member_id);
    assert!(joined.skip_assignment, "the leader must not assign anew");
    assert_eq!(joined.members.len(), 1);
    let mut synced = world.sync(&joined.member_id, &[]);
    assert_eq!(answered(&mut synced).assignment, "work");
    check_invariants(&world.group);

    let fenced = Identity {
        member_id: old,
        instance_id: Some("one".into()),
    };
    assert_eq!(
        world.group.heartbeat(&fenced, 1, world.moment),
        Err(GroupError::FencedInstanceId)
    );
}

#[test]
fn an_old_static_leader_is_not_told_that_it_leads() {
    let (mut world, old) = stable_static();
    let mut joined = world.send_join(Join {
        supports_skipping_assignment: false,
        ..static_request("", "one")
    });
    world.write(Ok(()));
    let joined = answered(&mut joined);
    assert_eq!(joined.leader, old);
    assert!(joined.members.is_empty() && !joined.skip_assignment);
}

#[test]
fn a_static_return_that_cannot_be_written_is_taken_back() {
    let (mut world, old) = stable_static();
    let mut joined = world.send_join(static_request("", "one"));
    world.write(Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(
        answered(&mut joined).error,
        Some(GroupError::CoordinatorNotAvailable)
    );
    check_invariants(&world.group);
    assert_eq!(world.heartbeat(&old), Ok(()));
}

#[test]
fn a_static_member_that_returns_with_another_protocol_causes_a_rebalance() {
    let (mut world, _) = stable_static();
    let mut joined = world.send_join(Join {
        protocols: protocols(&["sticky", "range"]),
        ..static_request("", "one")
    });
    let joined = answered(&mut joined);
    assert_eq!(joined.generation, 2);
    assert_eq!(joined.protocol.as_deref(), Some("sticky"));
}

#[test]
fn a_static_member_that_returns_while_the_assignment_is_awaited_causes_a_rebalance() {
    let mut world = World::new();
    let first = answered(&mut world.send_join(static_request("", "one")));
    let second = answered(&mut world.send_join(static_request("", "one")));
    assert_eq!((first.generation, second.generation), (1, 2));
}

#[test]
fn the_parked_request_of_a_replaced_static_member_is_fenced() {
    let mut world = World::with_delay(Duration::from_secs(3));
    let mut first = world.send_join(static_request("", "one"));
    let mut second = world.send_join(static_request("", "one"));
    assert_eq!(
        answered(&mut first).error,
        Some(GroupError::FencedInstanceId)
    );
    world.pass(Duration::from_secs(3));
    assert_eq!(answered(&mut second).members.len(), 1);
}

#[test]
fn an_absent_static_member_stays_in_the_generation_until_its_session_ends() {
    let mut world = World::with_delay(Duration::from_secs(3));
    let long = |instance: &str| Join {
        session_timeout: Duration::from_secs(100),
        ..static_request("", instance)
    };
    let _first = world.send_join(long("one"));
    let mut second = world.send_join(long("two"));
    for _ in 0..5 {
        world.pass(Duration::from_secs(3));
    }
    let second = answered(&mut second);
    // "one" is away; "two" changes its subscription.
    let mut rejoined = world.send_join(Join {
        protocols: protocols(&["range", "more"]),
        ..Join {
            member_id: second.member_id.clone(),
            ..long("two")
        }
    });
    assert!(is_parked(&mut rejoined));
    world.pass(REBALANCE);
    let rejoined = answered(&mut rejoined);
    assert_eq!(rejoined.leader, second.member_id);
    assert_eq!(rejoined.members.len(), 2);
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance_id() {
    let (mut world, _) = stable_static();
    let outcome = world.group.leave(
        &[
            Identity {
                member_id: StrBytes::default(),
                instance_id: Some("one".into()),
            },
            Identity {
                member_id: StrBytes::default(),
                instance_id: Some("two".into()),
            },
        ],
        &world.settings,
        world.moment,
    );
    assert_eq!(outcome, [None, Some(GroupError::UnknownMemberId)]);
    assert_eq!(world.group.state(), GroupState::Empty);
}

#[test]
fn a_restored_group_is_stable_and_its_members_go_on() {
    let (mut world, ids) = World::stable(2);
    let snapshot = world.group.snapshot(None);
    world.group = Group::restore("group".into(), snapshot.clone(), world.moment);
    check_invariants(&world.group);
    assert_eq!(world.group.snapshot(None), snapshot);
    assert_eq!(world.heartbeat(&ids[1]), Ok(()));
    let mut synced = world.sync(&ids[1], &[]);
    assert_eq!(answered(&mut synced).assignment, "work");
    world.pass(SESSION);
    assert_eq!(world.group.state(), GroupState::Empty);
}
