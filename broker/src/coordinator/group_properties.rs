//! Whatever happens to a group, in whatever order, it stays sound and comes to rest.

use std::time::Duration;

use bytes::Bytes;
use kafka_wire_core::StrBytes;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::{
    answer::{Join, Sync},
    error::GroupError,
    group::Group,
    group_tests::{World, check_invariants, identity, protocols, request, static_request},
    record::GroupValue,
    state::GroupState,
};

#[derive(Clone, Debug)]
enum Event {
    Join { member: usize, variant: u8 },
    StaticJoin { instance: u8, known: bool },
    Sync { member: usize, stale: bool },
    LeaderSync,
    Heartbeat { member: usize },
    Leave { member: usize },
    Pass { millis: u64 },
    Written { fails: bool },
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (0..8usize, 0..3u8).prop_map(|(member, variant)| Event::Join { member, variant }),
        6 => (0..3u8, any::<bool>())
            .prop_map(|(instance, known)| Event::StaticJoin { instance, known }),
        6 => (0..8usize, prop::bool::weighted(0.1))
            .prop_map(|(member, stale)| Event::Sync { member, stale }),
        10 => Just(Event::LeaderSync),
        4 => (0..8usize).prop_map(|member| Event::Heartbeat { member }),
        2 => (0..8usize).prop_map(|member| Event::Leave { member }),
        6 => (0..6_000u64).prop_map(|millis| Event::Pass { millis }),
        12 => prop::bool::weighted(0.1).prop_map(|fails| Event::Written { fails }),
        1 => Just(Event::Restart),
    ]
}

/// The `index`th id the group knows now, members first; the empty id if there are fewer.
fn id_at(world: &World, index: usize) -> StrBytes {
    world
        .group
        .members
        .keys()
        .chain(world.group.pending_members.keys())
        .nth(index)
        .cloned()
        .unwrap_or_default()
}

fn sync(world: &mut World, id: StrBytes, generation: i32) {
    let (answer, _waiting) = oneshot::channel();
    let request = Sync {
        generation,
        member_id: id.clone(),
        assignments: vec![(id, Bytes::from_static(b"work"))],
        ..Sync::default()
    };
    world.group.sync(request, answer, world.moment);
}

fn apply(world: &mut World, event: Event, written: &mut Option<GroupValue>) {
    match event {
        Event::Join { member, variant } => {
            let id = id_at(world, member);
            let instance_id = world
                .group
                .members
                .get(&id)
                .and_then(|member| member.instance_id.clone());
            let names: &[&str] = match variant {
                0 => &["range"],
                1 => &["sticky", "range"],
                _ => &["sticky"],
            };
            drop(world.send_join(Join {
                instance_id,
                protocols: protocols(names),
                ..request(&id)
            }));
        }
        Event::StaticJoin { instance, known } => {
            let instance = format!("instance-{instance}");
            let id = if known {
                world
                    .group
                    .static_members
                    .get(&StrBytes::from(instance.as_str()))
                    .cloned()
                    .unwrap_or_default()
            } else {
                StrBytes::default()
            };
            drop(world.send_join(static_request(&id, &instance)));
        }
        Event::Sync { member, stale } => {
            let id = id_at(world, member);
            let generation = world.group.generation - i32::from(stale);
            sync(world, id, generation);
        }
        Event::LeaderSync => {
            let id = world.group.leader.clone().unwrap_or_default();
            sync(world, id, world.group.generation);
        }
        Event::Heartbeat { member } => {
            let id = id_at(world, member);
            let _heard = world.heartbeat(&id);
        }
        Event::Leave { member } => {
            let id = id_at(world, member);
            drop(
                world
                    .group
                    .leave(&[identity(&id)], &world.settings, world.moment),
            );
        }
        Event::Pass { millis } => world.pass(Duration::from_millis(millis)),
        Event::Written { fails } => {
            for store in world.group.take_stores() {
                let outcome = if fails {
                    Err(GroupError::CoordinatorNotAvailable)
                } else {
                    *written = Some(store.value);
                    Ok(())
                };
                world
                    .group
                    .store_finished(store.after, outcome, &world.settings, world.moment);
            }
        }
        Event::Restart => {
            world.group = match written {
                Some(value) => Group::restore("group".into(), value.clone(), world.moment),
                None => Group::new("group".into(), world.moment),
            };
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_sequence_of_events_breaks_a_group(
        events in prop::collection::vec(event(), 1..60),
        delay in prop::sample::select(vec![0u64, 3000]),
    ) {
        let mut world = World::with_delay(Duration::from_millis(delay));
        let mut written = None;
        let mut generation = 0;
        for event in events {
            let restarts = matches!(event, Event::Restart);
            apply(&mut world, event, &mut written);
            check_invariants(&world.group);
            prop_assert!(restarts || world.group.generation >= generation);
            generation = world.group.generation;
        }
        // Left alone, every group comes to rest without members.
        for _ in 0..40 {
            for store in world.group.take_stores() {
                world.group.store_finished(store.after, Ok(()), &world.settings, world.moment);
            }
            world.pass(Duration::from_secs(60));
        }
        prop_assert_eq!(world.group.state(), GroupState::Empty);
        prop_assert_eq!(world.group.next_deadline(), None);
    }
}
