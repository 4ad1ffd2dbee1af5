//! What the hosts of a simulation and whoever runs it share.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use broker::inspect::{ClusterView, Inspector};

use super::history::{Ending, Event, History, ReplicaState};

/// The topic under test.
pub(super) const TOPIC: &str = "orders";

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The cluster is being made, without faults.
    Beginning,
    /// Clients work and faults happen.
    Troubles,
    /// Everything is whole again; clients work on until the cluster has healed.
    Peace,
    /// Producers end; the judge looks.
    Ending,
    /// All is done.
    Done,
}

/// What is asked of a broker's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Stop in order, and start again after so long.
    Stop(Duration),
    /// End the process at once, and start again after so long. Files stay as they are.
    Kill(Duration),
}

/// A broker's host as it is seen from outside.
#[derive(Debug, Default)]
pub(super) struct Seat {
    pub(super) inspector: Option<Inspector>,
    pub(super) command: Option<Command>,
    /// Counts starts.
    pub(super) life: u32,
    /// It neither stops nor starts.
    pub(super) serves: bool,
    /// Its broker is, or is to be, in the cluster. The others wait with an empty disk.
    pub(super) belongs: bool,
    /// When its broker was taken out.
    pub(super) left_at: Option<Duration>,
}

/// One broker comes and another goes for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) joins: i32,
    pub(super) leaves: i32,
    /// The cluster said that it has the latter no more.
    pub(super) left: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) phase: Phase,
    pub(super) history: History,
    pub(super) ending: Ending,
    pub(super) seats: BTreeMap<i32, Seat>,
    /// Brokers whose machines start on an empty disk the next time.
    pub(super) replaced_disks: BTreeSet<i32>,
    /// What the operator is to change, or is changing.
    pub(super) change: Option<Change>,
    pub(super) failed: Option<String>,
    /// Brokers whose replicas are collected for the judge.
    pub(super) collected: BTreeSet<i32>,
    pub(super) producers_at_work: usize,
    /// Where the group's members are: the highest position per partition.
    pub(super) group_positions: BTreeMap<i32, i64>,
    /// Errors that clients were told, and how often.
    pub(super) client_errors: BTreeMap<String, usize>,
}

pub(super) type Shared = Rc<RefCell<Room>>;

impl Room {
    /// The first `brokers` are the cluster; the `spares` after them wait.
    pub(super) fn new(brokers: i32, spares: i32) -> Shared {
        let seat = |id| Seat {
            belongs: id <= brokers,
            ..Seat::default()
        };
        Rc::new(RefCell::new(Self {
            phase: Phase::Beginning,
            history: History::default(),
            ending: Ending::default(),
            seats: (1..=brokers + spares).map(|id| (id, seat(id))).collect(),
            replaced_disks: BTreeSet::new(),
            change: None,
            failed: None,
            collected: BTreeSet::new(),
            producers_at_work: 0,
            group_positions: BTreeMap::new(),
            client_errors: BTreeMap::new(),
        }))
    }

    /// Notes an event that a host saw now.
    pub(super) fn note(&mut self, event: Event) {
        let now = turmoil::sim_elapsed().unwrap_or_default();
        self.history.note(now, event);
    }

    pub(super) fn fail(&mut self, reason: String) {
        self.failed.get_or_insert(reason);
    }

    pub(super) fn client_error(&mut self, error: &dyn std::fmt::Display) {
        let error = error.to_string();
        // Offsets and addresses would make every one a kind of its own.
        let kind: String = error.chars().filter(|c| !c.is_ascii_digit()).collect();
        *self.client_errors.entry(kind).or_default() += 1;
    }

    /// The newest metadata that any running broker has.
    pub(super) fn newest(&self) -> Option<ClusterView> {
        let inspectors = self
            .seats
            .values()
            .filter_map(|seat| seat.inspector.as_ref());
        inspectors
            .filter_map(Inspector::cluster)
            .max_by_key(|view| view.version)
    }

    /// Notes the state of every replica under test.
    pub(super) fn observe(&mut self, now: Duration) {
        for (broker, seat) in &self.seats {
            let Some(inspector) = &seat.inspector else {
                continue;
            };
            for replica in inspector.replicas() {
                if &*replica.topic != TOPIC {
                    continue;
                }
                let state = ReplicaState {
                    broker: *broker,
                    life: seat.life,
                    partition: replica.partition,
                    leads: replica.leads,
                    leader_epoch: replica.leader_epoch,
                    high_watermark: replica.high_watermark,
                    log_end: replica.log_end,
                };
                self.history.note(now, Event::Replica(state));
            }
        }
    }

    /// Whether the topic under test is there.
    pub(super) fn has_topic(&self) -> bool {
        self.newest().is_some_and(|view| {
            let mut partitions = view.partitions.iter();
            partitions.any(|partition| &*partition.topic == TOPIC)
        })
    }

    /// The brokers that are, or are to be, in the cluster.
    pub(super) fn members(&self) -> Vec<i32> {
        let members = self.seats.iter().filter(|(_, seat)| seat.belongs);
        members.map(|(id, _)| *id).collect()
    }

    /// The newest metadata has this broker, and counts on it.
    pub(super) fn is_live(&self, id: i32) -> bool {
        self.newest().is_some_and(|view| {
            let mut brokers = view.brokers.iter();
            brokers.any(|broker| broker.id == id && !broker.fenced)
        })
    }

    /// Why the cluster is not whole: a partition without a leader, or with replicas that are not
    /// in sync, or brokers that do not agree.
    pub(super) fn ailment(&self, brokers: usize) -> Option<String> {
        if let Some(change) = self.change {
            return Some(format!("the operator is not done with {change:?}"));
        }
        let Some(newest) = self.newest() else {
            return Some("no broker runs".to_owned());
        };
        let live = newest.brokers.iter().filter(|broker| !broker.fenced);
        if !newest.brokers.is_empty() && live.count() != brokers {
            return Some(format!("not all brokers are live: {:?}", newest.brokers));
        }
        for seat in self.seats.values().filter(|seat| seat.belongs) {
            let view = seat.inspector.as_ref().and_then(Inspector::cluster);
            let version = view.map(|view| view.version);
            if version != Some(newest.version) {
                return Some(format!(
                    "a broker has metadata {version:?} where another has {}",
                    newest.version
                ));
            }
        }
        let sick = newest.partitions.iter().find(|partition| {
            partition.leader < 0 || partition.isr.len() < partition.replicas.len()
        });
        sick.map(|partition| format!("a partition is not whole: {partition:?}"))
    }
}
