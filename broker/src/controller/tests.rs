//! Decisions on clusters of several brokers, and a controller that makes them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use super::membership::voters_wanted;
use super::operation::{Election, Reassignment};
use super::properties::{TOPIC, World};
use super::record::PartitionState;
use super::topics::NewTopic;
use crate::error_code;

const UNCLEAN: (&str, &str) = ("unclean.leader.election.enable", "true");
const TWO_IN_SYNC: (&str, &str) = ("min.insync.replicas", "2");

fn reassign(world: &mut World, replicas: Option<&[i32]>) -> Result<(), i16> {
    let change = Reassignment {
        topic: TOPIC.to_owned(),
        index: 0,
        replicas: replicas.map(<[i32]>::to_vec),
    };
    let results = world.decide(|plan| plan.reassign(&[change], true));
    results
        .into_iter()
        .next()
        .unwrap()
        .map_err(|error| error.code)
}

#[test]
fn the_next_in_sync_replica_leads_when_the_leader_is_fenced() {
    let mut world = World::of(3, &[]);
    world.assigned(&[2, 3, 1]);
    world.fence(2);
    let state = world.state();
    assert_eq!((state.leader, state.leader_epoch), (3, 1));
    assert_eq!(state.isr, [3, 1]);
}

#[test]
fn the_last_in_sync_replica_is_waited_for() {
    let mut world = World::of(2, &[]);
    world.assigned(&[1, 2]);
    world.fence(2);
    world.fence(1);
    assert_eq!((world.state().leader, world.state().isr), (-1, vec![1]));
    world.decide(|plan| plan.unfence(2));
    assert_eq!(world.state().leader, -1, "broker 2 may lack records");
    world.decide(|plan| plan.unfence(1));
    assert_eq!(world.state().leader, 1);
}

#[test]
fn an_eligible_replica_leads_when_the_in_sync_ones_are_gone() {
    let mut world = World::of(3, &[TWO_IN_SYNC]);
    world.assigned(&[1, 2, 3]);
    world.fence(2);
    assert!(
        world.state().elr.is_empty(),
        "two are in sync, which is enough to commit"
    );
    world.fence(3);
    assert_eq!((world.state().isr, world.state().elr), (vec![1], vec![3]));
    world.fence(1);
    world.decide(|plan| plan.unfence(2));
    assert_eq!(world.state().leader, -1, "broker 2 is not eligible");
    world.decide(|plan| plan.unfence(3));
    assert_eq!(world.state().leader, 3);
    assert_eq!((world.state().isr, world.state().elr), (vec![3], vec![1]));
}

#[test]
fn nobody_is_eligible_any_more_when_fewer_have_to_be_in_sync() {
    let mut world = World::of(2, &[TWO_IN_SYNC]);
    world.assigned(&[1, 2]);
    world.fence(2);
    assert_eq!(world.state().elr, [2]);
    let change = super::ConfigChange {
        key: "min.insync.replicas".to_owned(),
        operation: super::ConfigOperation::Set("1".to_owned()),
    };
    let topic = super::record::ConfigResource::Topic(TOPIC.to_owned());
    world
        .decide(|plan| plan.alter_config(&topic, &[change], false))
        .unwrap();
    assert!(world.state().elr.is_empty());
}

#[test]
fn a_broker_that_lost_records_leads_only_where_nobody_else_could() {
    let mut world = World::of(2, &[]);
    world.assigned(&[1, 2]);
    world.register(1, None, true);
    assert_eq!((world.state().leader, world.state().isr), (2, vec![2]));
    let epoch = world.state().leader_epoch;
    world.register(2, None, true);
    assert_eq!(world.state().last_known_leader, Some(2));
    assert!(world.state().isr.is_empty());
    world.decide(|plan| plan.unfence(1));
    assert_eq!(world.state().leader, -1);
    world.decide(|plan| plan.unfence(2));
    assert_eq!((world.state().leader, world.state().isr), (2, vec![2]));
    assert!(world.state().leader_epoch > epoch);
}

#[test]
fn one_that_lost_nothing_stays_in_sync_while_the_others_may_be_gone() {
    let mut world = World::of(3, &[]);
    world.assigned(&[1, 2]);
    world.silent = BTreeSet::from([1, 3]);
    world.register(2, None, false);
    assert_eq!((world.state().leader, world.state().isr), (1, vec![1, 2]));
    // The disk of the other was replaced meanwhile.
    world.register(1, Some(9), false);
    assert_eq!((world.state().leader, world.state().isr), (-1, vec![2]));
    world.decide(|plan| plan.unfence(2));
    assert_eq!((world.state().leader, world.state().isr), (2, vec![2]));
}

#[test]
fn a_fenced_broker_is_in_sync_until_another_that_is_was_heard_of() {
    let mut world = World::of(3, &[]);
    world.assigned(&[1, 2, 3]);
    world.silent = BTreeSet::from([2, 3]);
    world.fence(1);
    assert_eq!((world.state().leader, world.state().isr.len()), (2, 3));
    world.heard(3, |plan| plan.count_on(3));
    assert_eq!((world.state().leader, world.state().isr), (2, vec![2, 3]));
    // So is one that says who is in sync.
    world.decide(|plan| plan.unfence(1));
    drop(world.alter(&[1, 2, 3]));
    world.silent = BTreeSet::from([2, 3]);
    world.fence(1);
    assert_eq!(world.state().isr, [1, 2, 3]);
    drop(world.alter(&[2, 3]));
    assert_eq!((world.state().leader, world.state().isr), (2, vec![2, 3]));
    // Both are gone: whoever comes first leads.
    world.silent = BTreeSet::from([2, 3]);
    world.fence(2);
    world.fence(3);
    assert_eq!((world.state().leader, world.state().isr), (-1, vec![2, 3]));
    world.heard(3, |plan| plan.unfence(3));
    assert_eq!((world.state().leader, world.state().isr), (3, vec![3]));
}

#[test]
fn a_replaced_disk_never_leads_with_nothing() {
    let mut world = World::of(2, &[]);
    world.assigned(&[1]);
    world.register(1, Some(9), false);
    world.decide(|plan| plan.unfence(1));
    assert_eq!((world.state().leader, world.state().isr), (-1, vec![]));
    // An operator may say so.
    world.unclean = true;
    let named = [(TOPIC.to_owned(), 0)];
    let results = world.decide(|plan| plan.elect(Election::Unclean, Some(&named)));
    assert!(results[0].2.is_ok());
    assert_eq!(world.state().leader, 1);
}

#[test]
fn an_unclean_leader_is_elected_only_where_that_is_allowed() {
    for (settings, leader) in [(&[][..], -1), (&[UNCLEAN][..], 2)] {
        let mut world = World::of(2, settings);
        world.assigned(&[1, 2]);
        world.alter(&[1]).unwrap();
        world.fence(1);
        assert_eq!(world.state().leader, leader);
    }
}

#[test]
fn a_broker_that_stops_hands_over_and_keeps_what_nobody_can_take() {
    let mut world = World::of(2, &[]);
    world.assigned(&[1, 2]);
    world.create(NewTopic {
        assignments: vec![(0, vec![1])],
        ..NewTopic::named("alone")
    });
    world.decide(|plan| plan.shut_down(1));
    assert_eq!((world.state().leader, world.state().isr), (2, vec![2]));
    let alone = world.image.topic("alone").unwrap().partitions[&0].clone();
    assert_eq!((alone.leader, alone.leader_epoch), (1, 0));
}

#[test]
fn a_broker_whose_disk_refuses_leads_and_is_in_sync_only_where_nobody_else_is() {
    let mut world = World::of(3, &[]);
    world.assigned(&[1, 2, 3]);
    world.decide(|plan| plan.disk_refuses(1, true));
    assert_eq!((world.state().leader, world.state().isr), (2, vec![2, 3]));
    assert_eq!(
        world.alter(&[1, 2, 3]),
        Err(error_code::INELIGIBLE_REPLICA),
        "it has everything, but could take nothing more"
    );
    world.fence(3);
    world.decide(|plan| plan.disk_refuses(2, true));
    assert_eq!((world.state().leader, world.state().isr), (2, vec![2]));
    // Who can be written to takes over as soon as it has everything.
    world.decide(|plan| plan.disk_refuses(1, false));
    assert_eq!(world.alter(&[1, 2]), Err(error_code::NEW_LEADER_ELECTED));
    assert_eq!(world.state().leader, 1);
}

#[test]
fn the_first_process_of_a_cluster_of_one_keeps_its_epochs_unless_it_lost_records() {
    let mut world = World::of(1, &[]);
    world.assigned(&[1]);
    for (lost, epoch) in [(false, 0), (true, 1), (false, 1)] {
        let mut registration = world.registration(1);
        registration.lost_records = lost;
        world
            .decide(|plan| plan.register(&registration, true, &BTreeSet::new()))
            .unwrap();
        let state = world.state();
        assert_eq!((state.leader, state.leader_epoch), (1, epoch));
        assert_eq!(state.isr, [1]);
    }
}

#[test]
fn in_sync_replicas_are_taken_only_from_the_present_leader_about_present_processes() {
    let mut world = World::of(3, &[]);
    world.assigned(&[1, 2, 3]);
    let stale = world.change(&[1, 2]);
    assert_eq!(world.alter(&[1, 2]).unwrap().isr, [1, 2]);
    let epoch = world.image.broker(1).unwrap().epoch;
    let code = |world: &mut World, broker, epoch, change| {
        world
            .decide(|plan| plan.alter_isr(broker, epoch, &[change]))
            .map(|mut results| results.pop().unwrap().map_err(|error| error.code))
            .map_err(|error| error.code)
    };
    assert_eq!(
        code(&mut world, 1, epoch, stale),
        Ok(Err(error_code::INVALID_UPDATE_VERSION))
    );
    let change = world.change(&[1, 2, 3]);
    assert_eq!(
        code(&mut world, 1, epoch - 1, change.clone()),
        Err(error_code::STALE_BROKER_EPOCH)
    );
    let other = world.image.broker(2).unwrap().epoch;
    assert_eq!(
        code(&mut world, 2, other, change),
        Ok(Err(error_code::FENCED_LEADER_EPOCH))
    );
    // Broker 3 was started anew since it fetched.
    let change = world.change(&[1, 2, 3]);
    world.register(3, None, false);
    world.decide(|plan| plan.unfence(3));
    assert_eq!(
        code(&mut world, 1, epoch, change),
        Ok(Err(error_code::INELIGIBLE_REPLICA))
    );
    world.fence(3);
    assert_eq!(world.alter(&[1, 2, 3]), Err(error_code::INELIGIBLE_REPLICA));
}

#[test]
fn a_leader_with_damaged_records_hands_over_to_one_that_was_in_sync() {
    let mut world = World::of(3, &[TWO_IN_SYNC]);
    world.assigned(&[1, 2, 3]);
    world.alter(&[1, 2]).unwrap();
    assert_eq!(
        world.alter(&[3]),
        Err(error_code::INELIGIBLE_REPLICA),
        "it may lack what is committed"
    );
    assert_eq!(world.alter(&[2]), Err(error_code::NEW_LEADER_ELECTED));
    let state = world.state();
    assert_eq!((state.leader, &state.isr), (2, &vec![2]));
    assert!(
        state.elr.is_empty(),
        "it must not be elected with damaged records: {state:?}"
    );
    assert_eq!(world.alter(&[]), Err(error_code::INVALID_REQUEST));
}

#[test]
fn replicas_move_when_the_new_ones_are_in_sync() {
    let mut world = World::of(4, &[]);
    world.assigned(&[1, 2]);
    reassign(&mut world, Some(&[3, 4])).unwrap();
    let state = world.state();
    assert_eq!(state.replicas, [3, 4, 1, 2]);
    assert_eq!((state.adding, state.removing), (vec![3, 4], vec![1, 2]));
    world.alter(&[1, 2, 3]).unwrap();
    assert!(world.state().is_reassigned());
    assert_eq!(
        world.alter(&[1, 2, 3, 4]),
        Err(error_code::NEW_LEADER_ELECTED)
    );
    let state = world.state();
    assert_eq!(state.replicas, [3, 4]);
    assert_eq!((state.leader, state.leader_epoch), (3, 1));
    assert!(!state.is_reassigned());
}

#[test]
fn a_move_is_cancelled_or_replaced() {
    let mut world = World::of(4, &[]);
    world.assigned(&[1, 2]);
    assert_eq!(
        reassign(&mut world, None),
        Err(error_code::NO_REASSIGNMENT_IN_PROGRESS)
    );
    reassign(&mut world, Some(&[1, 3])).unwrap();
    reassign(&mut world, Some(&[1, 4])).unwrap();
    let state = world.state();
    assert_eq!(state.replicas, [1, 4, 2]);
    assert_eq!((state.adding, state.removing), (vec![4], vec![2]));
    reassign(&mut world, None).unwrap();
    let state = world.state();
    assert!(!state.is_reassigned());
    assert_eq!((state.replicas, state.isr), (vec![1, 2], vec![1, 2]));
    assert_eq!(
        reassign(&mut world, Some(&[1, 9])),
        Err(error_code::INVALID_REPLICA_ASSIGNMENT)
    );
}

#[test]
fn the_preferred_leader_is_elected_when_it_is_in_sync() {
    let mut world = World::of(2, &[]);
    world.assigned(&[1, 2]);
    world.fence(1);
    world.decide(|plan| plan.unfence(1));
    let named = [(TOPIC.to_owned(), 0)];
    let elect = |world: &mut World| {
        let results = world.decide(|plan| plan.elect(Election::Preferred, Some(&named)));
        results[0].2.as_ref().map_err(|error| error.code).copied()
    };
    assert_eq!(
        elect(&mut world),
        Err(error_code::PREFERRED_LEADER_NOT_AVAILABLE)
    );
    world.alter(&[1, 2]).unwrap();
    world.decide(|plan| plan.rebalance(10));
    assert_eq!(world.state().leader, 1);
    assert_eq!(elect(&mut world), Err(error_code::ELECTION_NOT_NEEDED));
}

#[test]
fn replicas_are_spread_over_brokers_and_racks() {
    let mut world = World::new(&[]);
    for id in 1..=6 {
        let mut registration = world.registration(id);
        registration.rack = Some(format!("rack-{}", id % 3));
        world
            .decide(|plan| plan.register(&registration, false, &BTreeSet::new()))
            .unwrap();
        world.decide(|plan| plan.unfence(id));
    }
    world.create(NewTopic {
        partitions: 12,
        replication_factor: 3,
        ..NewTopic::named(TOPIC)
    });
    let topic = world.image.topic(TOPIC).unwrap().clone();
    let mut leaders = BTreeMap::<i32, u32>::new();
    let mut replicas = BTreeMap::<i32, u32>::new();
    for state in topic.partitions.values() {
        let racks: BTreeSet<i32> = state.replicas.iter().map(|id| id % 3).collect();
        assert_eq!(racks.len(), 3, "{state:?}");
        *leaders.entry(state.leader).or_default() += 1;
        for id in &state.replicas {
            *replicas.entry(*id).or_default() += 1;
        }
    }
    assert!(
        leaders.len() == 6 && leaders.values().all(|count| *count == 2),
        "{leaders:?}"
    );
    assert!(
        replicas.values().all(|count| (4..=8).contains(count)),
        "{replicas:?}"
    );
}

#[test]
fn more_replicas_than_live_brokers_are_refused_with_their_number() {
    let mut world = World::of(3, &[]);
    world.fence(3);
    let topic = NewTopic {
        replication_factor: 3,
        ..NewTopic::named(TOPIC)
    };
    let results = world.decide(|plan| plan.create_topics(&[topic], &[]));
    let error = results[0].as_ref().unwrap_err();
    assert_eq!(error.code, error_code::INVALID_REPLICATION_FACTOR);
    assert!(error.message.contains("live brokers, 2"), "{error}");
}

#[test]
fn a_topic_asked_for_again_because_the_answer_was_lost_is_the_same_topic() {
    let mut world = World::of(1, &[]);
    let topic = [NewTopic::named(TOPIC)];
    let first = world.decide(|plan| plan.create_topics(&topic, &[[7; 16]]));
    let again = world.decide(|plan| plan.create_topics(&topic, &[[7; 16]]));
    assert_eq!(first[0].as_ref().unwrap(), again[0].as_ref().unwrap());
    let other = world.decide(|plan| plan.create_topics(&topic, &[[8; 16]]));
    assert_eq!(
        other[0].as_ref().unwrap_err().code,
        error_code::TOPIC_ALREADY_EXISTS
    );
    world
        .decide(|plan| plan.delete_topic(TOPIC, [7; 16]))
        .unwrap();
    world
        .decide(|plan| plan.delete_topic(TOPIC, [7; 16]))
        .unwrap();
}

#[test]
fn topics_that_hold_state_get_more_copies_as_brokers_join() {
    let mut world = World::of(1, &[("offsets.topic.num.partitions", "6")]);
    let config = crate::config::layers::Settings::from([(
        "cleanup.policy".to_owned(),
        "compact".to_owned(),
    )]);
    world.create(NewTopic {
        partitions: 6,
        config,
        ..NewTopic::named(TOPIC)
    });
    world.create(NewTopic::named("plain"));
    for (joining, copies) in [(2, 2), (3, 3), (4, 3)] {
        world.register(joining, None, false);
        world.decide(|plan| plan.unfence(joining));
        world.decide(|plan| plan.grow());
        let states: Vec<(i32, PartitionState)> = world
            .image
            .topic(TOPIC)
            .unwrap()
            .partitions
            .clone()
            .into_iter()
            .collect();
        for (index, state) in states {
            assert_eq!(state.replicas.len(), copies, "{state:?}");
            let mut change = world.change(&state.replicas);
            change.index = index;
            change.leader_epoch = state.leader_epoch;
            change.partition_epoch = state.partition_epoch;
            let epoch = world.image.broker(state.leader).unwrap().epoch;
            world
                .decide(|plan| plan.alter_isr(state.leader, epoch, &[change]))
                .unwrap()
                .pop()
                .unwrap()
                .unwrap();
        }
    }
    let mut preferred = BTreeMap::<i32, u32>::new();
    for state in world.image.topic(TOPIC).unwrap().partitions.values() {
        assert!(!state.is_reassigned());
        *preferred.entry(state.replicas[0]).or_default() += 1;
    }
    assert_eq!(preferred.values().copied().max(), Some(2), "{preferred:?}");
    assert_eq!(
        world.image.topic("plain").unwrap().partitions[&0].replicas,
        [1]
    );
}

#[test]
fn a_person_who_chose_the_number_of_copies_has_the_last_word() {
    let mut world = World::of(3, &[]);
    world.create(NewTopic {
        partitions: 1,
        ..NewTopic::internal(
            "__consumer_offsets",
            &crate::config::BrokerConfig::from_properties(&BTreeMap::from([(
                "log.dirs".to_owned(),
                "data".to_owned(),
            )]))
            .unwrap(),
        )
    });
    let change = Reassignment {
        topic: "__consumer_offsets".to_owned(),
        index: 0,
        replicas: Some(vec![1]),
    };
    world.decide(|plan| plan.reassign(&[change], true))[0]
        .as_ref()
        .unwrap();
    world.decide(|plan| plan.grow());
    let topic = world.image.topic("__consumer_offsets").unwrap();
    assert_eq!(topic.partitions[&0].replicas, [1]);
}

#[test]
fn a_broker_leaves_when_others_have_its_replicas() {
    let mut world = World::of(3, &[]);
    world.assigned(&[1, 2]);
    let progress = world
        .decide(|plan| plan.remove_broker(1, "disk-1", false))
        .unwrap();
    assert_eq!(progress.replicas, 1);
    assert_eq!(world.state().adding, [3]);
    drop(world.alter(&[1, 2, 3]));
    assert_eq!(world.state().replicas, [3, 2]);
    let progress = world
        .decide(|plan| plan.remove_broker(1, "disk-1", false))
        .unwrap();
    assert_eq!(progress.replicas, 0);
    world.decide(|plan| plan.forget(1));
    assert!(world.image.broker(1).is_none());
}

#[test]
fn only_a_dead_broker_goes_before_its_replicas_are_elsewhere() {
    let mut world = World::of(3, &[]);
    world.assigned(&[1, 2]);
    let progress = world
        .decide(|plan| plan.remove_broker(1, "disk-1", true))
        .unwrap();
    assert_eq!((progress.replicas, world.state().adding), (1, vec![3]));
    world.fence(1);
    let progress = world
        .decide(|plan| plan.remove_broker(1, "disk-1", true))
        .unwrap();
    assert_eq!(progress.replicas, 0);
    assert!(!world.state().replicas.contains(&1));
}

#[test]
fn a_dead_broker_with_the_only_complete_copy_stays() {
    let mut world = World::of(3, &[]);
    world.assigned(&[1, 2]);
    world.fence(2);
    world.fence(1);
    assert_eq!(world.state().isr, [1]);
    world.decide(|plan| plan.unfence(2));
    let error = world
        .decide(|plan| plan.remove_broker(1, "disk-1", true))
        .unwrap_err();
    assert!(
        error.message.contains("nobody else has all records of"),
        "{error}"
    );
    assert!(!world.image.broker(1).unwrap().leaving);
    assert!(
        world
            .decide(|plan| plan.remove_broker(2, "disk-2", true))
            .is_ok()
    );
}

#[test]
fn a_request_that_is_late_takes_out_no_broker_with_another_disk() {
    let mut world = World::of(2, &[]);
    let error = world
        .decide(|plan| plan.remove_broker(2, "replaced", false))
        .unwrap_err();
    assert!(error.message.contains("another disk"), "{error}");
    assert!(!world.image.broker(2).unwrap().leaving);
}

#[test]
fn where_there_is_nobody_to_take_a_replica_the_others_do_without() {
    let mut world = World::of(2, &[]);
    world.assigned(&[1, 2]);
    world.fence(2);
    let progress = world
        .decide(|plan| plan.remove_broker(2, "disk-2", false))
        .unwrap();
    assert_eq!(progress.replicas, 0);
    assert_eq!((world.state().replicas, world.state().leader), (vec![1], 1));
    assert!(
        world
            .decide(|plan| plan.remove_broker(1, "disk-1", false))
            .is_err()
    );
}

#[test]
fn another_cluster_is_refused() {
    let mut world = World::of(1, &[]);
    let mut registration = world.registration(2);
    registration.cluster_id = "other".to_owned();
    let error = world
        .decide(|plan| plan.register(&registration, false, &BTreeSet::new()))
        .unwrap_err();
    assert_eq!(error.code, error_code::INCONSISTENT_CLUSTER_ID);
}

fn set(ids: &[i32]) -> BTreeSet<i32> {
    ids.iter().copied().collect()
}

#[test]
fn the_number_of_voters_is_odd_and_grows_with_the_cluster() {
    let wanted = |voters: &[i32], members: &[i32], live: &[i32], leaving: &[i32]| {
        voters_wanted(1, &set(voters), &set(members), &set(live), &set(leaving), 3)
    };
    assert_eq!(wanted(&[1], &[1], &[1], &[]), None);
    assert_eq!(wanted(&[1], &[1, 2], &[1, 2], &[]), None);
    assert_eq!(
        wanted(&[1], &[1, 2, 3], &[1, 2, 3], &[]),
        Some(set(&[1, 2, 3]))
    );
    assert_eq!(wanted(&[1, 2, 3], &[1, 2, 3, 4], &[1, 2, 3, 4], &[]), None);
    // A dead voter keeps its vote.
    assert_eq!(wanted(&[1, 2, 3], &[1, 2, 3, 4], &[1, 2, 4], &[]), None);
    // One that leaves is replaced, or the number shrinks.
    assert_eq!(
        wanted(&[1, 2, 3], &[1, 2, 3, 4], &[1, 2, 3, 4], &[3]),
        Some(set(&[1, 2, 4]))
    );
    assert_eq!(
        wanted(&[1, 2, 3], &[1, 2, 3], &[1, 2, 3], &[3]),
        Some(set(&[1]))
    );
    assert_eq!(
        wanted(&[1, 2, 3], &[1, 2, 3], &[1, 2, 3], &[1]),
        Some(set(&[2]))
    );
    // A replaced disk: its broker is a member again, and gets its vote back when it is live.
    assert_eq!(wanted(&[1, 2], &[1, 2, 3], &[1, 2], &[]), None);
    assert_eq!(
        wanted(&[1, 2], &[1, 2, 3], &[1, 2, 3], &[]),
        Some(set(&[1, 2, 3]))
    );
    assert_eq!(wanted(&[1, 2], &[1, 2], &[1, 2], &[]), Some(set(&[1])));
}
