//! What holds of the metadata after any decisions in any order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::image::MetadataImage;
use super::operation::{Election, IsrChange, Reassignment};
use super::plan::Plan;
use super::record::{Endpoint, PartitionState};
use super::topics::NewTopic;
use crate::config::BrokerConfig;
use crate::peer::Registration;

pub(super) const TOPIC: &str = "orders";

/// The metadata of a cluster, decided on step by step.
pub(super) struct World {
    pub(super) image: MetadataImage,
    config: BrokerConfig,
    processes: u8,
    /// The broker that is just saying that it lost records.
    lossy: Option<i32>,
    /// Records may be lost, because somebody said so.
    pub(super) unclean: bool,
    /// Replicas of which the leader is just saying that they have everything.
    caught_up: Vec<i32>,
    /// Brokers that are not heard of.
    pub(super) silent: BTreeSet<i32>,
    /// What decisions see of that, if it has changed since.
    seen: Option<BTreeSet<i32>>,
}

impl World {
    pub(super) fn new(settings: &[(&str, &str)]) -> Self {
        let mut properties: BTreeMap<String, String> = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        properties
            .entry("log.dirs".to_owned())
            .or_insert_with(|| "data".to_owned());
        Self {
            image: MetadataImage::default(),
            config: BrokerConfig::from_properties(&properties).unwrap(),
            processes: 0,
            lossy: None,
            unclean: settings.contains(&("unclean.leader.election.enable", "true")),
            caught_up: Vec::new(),
            silent: BTreeSet::new(),
            seen: None,
        }
    }

    /// Live brokers 1 to `brokers`.
    pub(super) fn of(brokers: i32, settings: &[(&str, &str)]) -> Self {
        let mut world = Self::new(settings);
        for id in 1..=brokers {
            world.register(id, None, false);
            world.decide(|plan| plan.unfence(id));
        }
        world
    }

    pub(super) fn decide<T>(&mut self, decide: impl FnOnce(&mut Plan<'_>) -> T) -> T {
        let mut plan = Plan::new(&self.image, &self.config);
        let decided = decide(&mut plan);
        let before = self.image.clone();
        for record in plan.into_records() {
            self.image.apply(&record);
        }
        self.image.set_version(before.version() + 1);
        self.check(&before);
        decided
    }

    pub(super) fn registration(&mut self, id: i32) -> Registration {
        self.processes = self.processes.wrapping_add(1);
        Registration {
            cluster_id: "cluster".to_owned(),
            broker: id,
            incarnation: [self.processes; 16],
            directory: format!("disk-{id}"),
            endpoints: vec![Endpoint {
                listener: "PLAINTEXT".to_owned(),
                host: format!("host-{id}"),
                port: 9092,
            }],
            rack: None,
            version: "1".to_owned(),
            lost_records: false,
        }
    }

    pub(super) fn register(&mut self, id: i32, disk: Option<u8>, lost_records: bool) -> i64 {
        let mut registration = self.registration(id);
        registration.lost_records = lost_records;
        if let Some(disk) = disk {
            registration.directory = format!("disk-{id}-{disk}");
        }
        self.lossy = (lost_records || disk.is_some()).then_some(id);
        let silent = self.seen_silent();
        let epoch = self.decide(|plan| plan.register(&registration, false, &silent));
        self.lossy = None;
        epoch.unwrap()
    }

    pub(super) fn fence(&mut self, id: i32) {
        let silent = self.seen_silent();
        self.decide(|plan| plan.fence(id, &silent));
    }

    fn seen_silent(&self) -> BTreeSet<i32> {
        self.seen.clone().unwrap_or_else(|| self.silent.clone())
    }

    /// What the active controller does from time to time.
    fn upkeep(&mut self) {
        let silent = self.silent.clone();
        self.decide(|plan| {
            plan.count_on_all_but(&silent);
            plan.elect_missing();
            plan.grow();
            plan.rebalance(10);
        });
        let Some(topic) = self.image.topic(TOPIC) else {
            return;
        };
        for state in topic.partitions.values() {
            let live = |id: &&i32| self.image.is_live(**id);
            let counted_on = |id: &&i32| live(id) && !self.silent.contains(id);
            assert!(
                state.isr.iter().all(|id| live(&id)) || !state.isr.iter().any(|id| counted_on(&id)),
                "in sync though fenced: {state:?}"
            );
        }
    }

    pub(super) fn heard(&mut self, id: i32, decide: impl FnOnce(&mut Plan<'_>)) {
        self.silent.remove(&id);
        self.decide(decide);
    }

    pub(super) fn create(&mut self, topic: NewTopic) {
        let created = self.decide(|plan| plan.create_topics(&[topic], &[]));
        created.into_iter().next().unwrap().unwrap();
    }

    pub(super) fn assigned(&mut self, replicas: &[i32]) {
        self.create(NewTopic {
            assignments: vec![(0, replicas.to_vec())],
            ..NewTopic::named(TOPIC)
        });
    }

    pub(super) fn state(&self) -> PartitionState {
        self.image.topic(TOPIC).unwrap().partitions[&0].clone()
    }

    /// The change by which the leader would make these the in-sync replicas.
    pub(super) fn change(&self, isr: &[i32]) -> IsrChange {
        let state = self.state();
        IsrChange {
            topic: self.image.topic(TOPIC).unwrap().id,
            index: 0,
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            isr: isr
                .iter()
                .map(|id| (*id, self.image.broker(*id).map_or(-1, |b| b.epoch)))
                .collect(),
        }
    }

    /// The present leader makes these the in-sync replicas; gives the error code.
    pub(super) fn alter(&mut self, isr: &[i32]) -> Result<PartitionState, i16> {
        let change = self.change(isr);
        let leader = self.state().leader;
        let epoch = self.image.broker(leader).map_or(-1, |broker| broker.epoch);
        self.caught_up = isr.to_vec();
        self.silent.remove(&leader);
        let results = self.decide(|plan| plan.alter_isr(leader, epoch, &[change]));
        self.caught_up.clear();
        results
            .map_err(|error| error.code)?
            .pop()
            .unwrap()
            .map_err(|error| error.code)
    }

    /// What has to hold, given what was before.
    fn check(&self, before: &MetadataImage) {
        for topic in self.image.topics() {
            let known = before.topic_by_id(&topic.id);
            for (index, state) in &topic.partitions {
                let old = known.and_then(|topic| topic.partitions.get(index));
                self.check_state(state, old);
            }
        }
        for broker in self.image.brokers() {
            let old = before.broker(broker.id);
            assert!(old.is_none_or(|old| old.epoch <= broker.epoch));
        }
        let mut rebuilt = MetadataImage::default();
        for record in self.image.to_records() {
            rebuilt.apply(&record);
        }
        rebuilt.set_version(self.image.version());
        assert_eq!(rebuilt, self.image);
    }

    fn check_state(&self, state: &PartitionState, old: Option<&PartitionState>) {
        let all = |ids: &[i32], among: &[i32]| ids.iter().all(|id| among.contains(id));
        let distinct = |ids: &[i32]| {
            let mut sorted = ids.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            sorted.len() == ids.len()
        };
        for list in [&state.replicas, &state.isr, &state.elr] {
            assert!(distinct(list), "{state:?}");
        }
        assert!(!state.replicas.is_empty(), "{state:?}");
        assert!(all(&state.isr, &state.replicas), "{state:?}");
        assert!(all(&state.elr, &state.replicas), "{state:?}");
        assert!(all(&state.adding, &state.replicas), "{state:?}");
        assert!(all(&state.removing, &state.replicas), "{state:?}");
        assert!(
            !state.elr.iter().any(|id| state.isr.contains(id)),
            "{state:?}"
        );
        if state.leader >= 0 {
            assert!(state.isr.contains(&state.leader), "{state:?}");
            assert!(
                self.image.is_live(state.leader),
                "a fenced leader: {state:?}"
            );
            assert_eq!(state.last_known_leader, None, "{state:?}");
        }
        let Some(old) = old else { return };
        if state == old {
            return;
        }
        assert!(
            state.partition_epoch > old.partition_epoch,
            "{old:?} {state:?}"
        );
        assert!(state.leader_epoch >= old.leader_epoch, "{old:?} {state:?}");
        if state.leader != old.leader {
            assert!(state.leader_epoch > old.leader_epoch, "{old:?} {state:?}");
        }
        if self.unclean {
            return;
        }
        // Whoever begins to lead had everything, or nobody who had is left.
        let had =
            |id: &i32| old.isr.contains(id) || old.elr.contains(id) || self.caught_up.contains(id);
        if state.leader >= 0 && state.leader != old.leader && !had(&state.leader) {
            assert!(
                old.isr.is_empty() && old.elr.is_empty(),
                "{old:?} {state:?}"
            );
            assert_eq!(
                old.last_known_leader,
                Some(state.leader),
                "{old:?} {state:?}"
            );
        }
        // Somebody who had everything is remembered, unless all of them say they lost it.
        let lossy = |id: &i32| self.lossy == Some(*id);
        let remembered = state.isr.iter().chain(&state.elr).any(had);
        if !remembered && old.isr.iter().chain(&old.elr).any(|id| !lossy(id)) {
            panic!("nobody is left who has everything: {old:?} {state:?}");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Register {
        id: i32,
        lost: bool,
        new_disk: Option<u8>,
    },
    Unfence(i32),
    Fence(i32),
    Silent(i32),
    /// Decisions see from here on who is silent then, or (false) who is silent now.
    See(bool),
    Heard(i32),
    ShutDown(i32),
    Disk(i32, bool),
    /// Bits say who.
    Isr(u8),
    Preferred,
    Reassign {
        first: i32,
        count: i32,
    },
    Cancel,
    MinInsync(u8),
    Upkeep,
    Remove(i32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = 1..=4i32;
    let step = prop_oneof![
        1 => (id.clone(), any::<bool>(), proptest::option::weighted(0.2, any::<u8>()))
            .prop_map(|(id, lost, new_disk)| Step::Register { id, lost, new_disk }),
        4 => id.clone().prop_map(Step::Unfence),
        4 => id.clone().prop_map(Step::Fence),
        2 => id.clone().prop_map(Step::Silent),
        2 => id.clone().prop_map(Step::Heard),
        1 => any::<bool>().prop_map(Step::See),
        1 => id.clone().prop_map(Step::ShutDown),
        2 => (id.clone(), any::<bool>()).prop_map(|(id, refuses)| Step::Disk(id, refuses)),
        6 => any::<u8>().prop_map(Step::Isr),
        1 => Just(Step::Preferred),
        2 => (id.clone(), 1..=4i32).prop_map(|(first, count)| Step::Reassign { first, count }),
        1 => Just(Step::Cancel),
        1 => (1..=3u8).prop_map(Step::MinInsync),
        4 => Just(Step::Upkeep),
        1 => id.prop_map(Step::Remove),
    ];
    proptest::collection::vec(step, 1..60)
}

fn take(world: &mut World, step: Step) {
    match step {
        Step::Register { id, lost, new_disk } => {
            world.register(id, new_disk, lost);
        }
        Step::Unfence(id) => world.heard(id, |plan| plan.unfence(id)),
        Step::Fence(id) => world.fence(id),
        Step::Silent(id) => {
            world.silent.insert(id);
        }
        Step::See(now) => world.seen = (!now).then(|| world.silent.clone()),
        Step::Heard(id) => {
            if world.image.is_live(id) {
                world.heard(id, |plan| plan.count_on(id));
            }
        }
        // Neither is agreed to while somebody is silent.
        Step::ShutDown(_) | Step::Disk(_, true) if !world.silent.is_empty() => {}
        Step::ShutDown(id) => world.decide(|plan| plan.shut_down(id)),
        Step::Disk(id, refuses) => world.decide(|plan| plan.disk_refuses(id, refuses)),
        Step::Isr(who) => {
            let state = world.state();
            let isr: Vec<i32> = state
                .replicas
                .iter()
                .copied()
                .filter(|id| {
                    // Now and then it resigns.
                    let resigns = who % 8 == 7;
                    (*id == state.leader && !resigns) || who & (1 << id) != 0
                })
                .collect();
            if state.leader >= 0 {
                drop(world.alter(&isr));
            }
        }
        Step::Preferred => {
            world.decide(|plan| plan.elect(Election::Preferred, None));
        }
        Step::Reassign { first, count } => {
            let replicas = (0..count).map(|n| (first - 1 + n) % 4 + 1).collect();
            let change = Reassignment {
                topic: TOPIC.to_owned(),
                index: 0,
                replicas: Some(replicas),
            };
            world.decide(|plan| drop(plan.reassign(&[change], true)));
        }
        Step::Cancel => {
            let change = Reassignment {
                topic: TOPIC.to_owned(),
                index: 0,
                replicas: None,
            };
            world.decide(|plan| drop(plan.reassign(&[change], true)));
        }
        Step::MinInsync(count) => {
            let change = super::ConfigChange {
                key: "min.insync.replicas".to_owned(),
                operation: super::ConfigOperation::Set(count.to_string()),
            };
            let topic = super::record::ConfigResource::Topic(TOPIC.to_owned());
            world
                .decide(|plan| plan.alter_config(&topic, &[change], false))
                .unwrap();
        }
        Step::Upkeep => world.upkeep(),
        Step::Remove(id) => {
            let broker = world.image.broker(id);
            let disk = broker.map_or_else(String::new, |broker| broker.directory.clone());
            world.decide(|plan| drop(plan.remove_broker(id, &disk, false)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_decision_breaks_a_partition(min_insync in 1..=3u8, steps in steps()) {
        let mut world = World::of(4, &[("min.insync.replicas", &min_insync.to_string())]);
        world.assigned(&[1, 2, 3]);
        for step in steps {
            take(&mut world, step);
        }
    }
}
