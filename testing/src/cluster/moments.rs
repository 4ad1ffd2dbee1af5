//! Trouble at moments that last a few milliseconds, which random faults hardly ever meet.
//!
//! When a replica comes into sync and the leader's proposal, or what came of it, is on its way:
//!
//! - The proposal comes late. Meanwhile the replica that it names lost power and was started again, so
//!   that it may lack what it had; it cannot copy from the leader, and the leader's machine goes
//!   next.
//! - The answer never comes. The controller knows the replica as in sync and the leader does not; it
//!   cannot hear of the replica, either, is written to for a while, and then its machine goes.
//!
//! When a leader begins, or a follower cut what its leader does not have: the leader goes at once,
//! before anything was copied from it.
//!
//! Whoever is elected then must have everything that was acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::inspect::{ClusterView, PartitionView};
use turmoil::Sim;

use super::brokers::host;
use super::nemesis::{Fault, Nemesis, milliseconds};
use super::room::TOPIC;

/// A proposal of a leader that was not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Proposal {
    leader: i32,
    partition: i32,
    /// Who is in it and not in sync yet.
    joins: i32,
    controller: i32,
}

#[derive(Debug)]
enum Stage {
    /// Nothing is under way, and nothing begins before this.
    Waiting(Duration),
    /// The proposal is held up until its replica, with another epoch than this, can be counted on,
    /// or this moment.
    Late(Proposal, i64, Duration),
    /// The proposal arrives and may be taken until this moment.
    Taken(Proposal, Duration),
    /// The leader is not told what came of it, until this moment.
    Untold(Proposal, Duration),
    /// This broker, which began to lead or for which another cut its log, goes at this moment.
    Begun(i32, Duration),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Moments {
    stage: Stage,
    /// By partition, the newest epoch that anybody leads in.
    epochs: BTreeMap<i32, i32>,
    /// By broker and partition, the broker's life and where its log ended last.
    ends: BTreeMap<(i32, i32), (u32, i64)>,
}

/// Less than a session, after which the leader would be deposed.
const LATE: Duration = Duration::from_millis(2600);

/// What the controller has for taking a proposal.
const TAKING: Duration = Duration::from_millis(200);

impl Moments {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Waiting(Duration::ZERO),
            epochs: BTreeMap::new(),
            ends: BTreeMap::new(),
        }
    }

    /// Whether it is at something, so that other troubles wait.
    pub(super) fn is_busy(&self) -> bool {
        !matches!(self.stage, Stage::Waiting(_))
    }

    /// Looks whether it is time for something. To be called at each step.
    pub(super) fn act(&mut self, nemesis: &mut Nemesis, sim: &mut Sim<'_>) {
        let now = sim.elapsed();
        match self.stage {
            Stage::Waiting(from) => {
                let begins = nemesis.begins_to_lead(&mut self.epochs);
                let cut_for = nemesis.cut_for(&mut self.ends);
                if let Some(leader) = cut_for
                    && nemesis.does(Fault::Succession)
                {
                    // Too rare to be let pass.
                    self.stage = Stage::Begun(leader, now + milliseconds(0, 5));
                    return;
                }
                if now < from {
                    return;
                }
                if let Some(leader) = begins
                    && nemesis.does(Fault::Succession)
                    && platform::random::below(2) == 0
                {
                    self.stage = Stage::Begun(leader, now + milliseconds(0, 100));
                } else if nemesis.does(Fault::Joining)
                    && let Some(proposal) = nemesis.proposal()
                {
                    self.begin(nemesis, sim, proposal);
                }
            }
            Stage::Begun(leader, at) if now >= at => {
                nemesis.cut_power(sim, leader, milliseconds(500, 4000));
                self.stage = Stage::Waiting(now + milliseconds(0, 2000));
            }
            Stage::Late(proposal, epoch, until) => {
                let back = nemesis.counts_on(proposal.controller, proposal.joins, epoch);
                if back || now >= until {
                    sim.release(host(proposal.leader), host(proposal.controller));
                    self.stage = Stage::Taken(proposal, now + TAKING);
                }
            }
            Stage::Taken(proposal, until) => {
                let taken = nemesis
                    .in_sync(proposal.controller, proposal.partition)
                    .contains(&proposal.joins);
                if taken || now >= until {
                    self.end(nemesis, sim, proposal);
                }
            }
            Stage::Untold(proposal, until) if now >= until => self.end(nemesis, sim, proposal),
            Stage::Untold(..) | Stage::Begun(..) => {}
        }
    }

    fn begin(&mut self, nemesis: &mut Nemesis, sim: &mut Sim<'_>, proposal: Proposal) {
        let now = sim.elapsed();
        let Proposal {
            leader,
            partition,
            joins,
            controller,
        } = proposal;
        // Who the leader hears nothing from must not be who it waits for anyway.
        let in_sync = nemesis.in_sync(leader, partition);
        let untold = controller == joins || !in_sync.contains(&controller);
        let late = controller != joins;
        if late && !(untold && platform::random::below(2) == 0) {
            let epoch = nemesis.epoch(joins);
            if !nemesis.cut_power(sim, joins, milliseconds(20, 300)) {
                return;
            }
            sim.hold(host(leader), host(controller));
            sim.hold(host(leader), host(joins));
            nemesis.note(
                sim,
                format!("{proposal:?} is late, and its replica cannot copy"),
            );
            self.stage = Stage::Late(proposal, epoch, now + LATE);
        } else if untold {
            sim.partition_oneway(host(controller), host(leader));
            sim.partition_oneway(host(joins), host(leader));
            nemesis.note(
                sim,
                format!("{proposal:?} is not answered, and its replica not heard"),
            );
            self.stage = Stage::Untold(proposal, now + milliseconds(300, 2000));
        }
    }

    /// The leader goes, and everything gets through again.
    fn end(&mut self, nemesis: &mut Nemesis, sim: &mut Sim<'_>, proposal: Proposal) {
        nemesis.cut_power(sim, proposal.leader, milliseconds(500, 4000));
        self.stop(sim);
        self.stage = Stage::Waiting(sim.elapsed() + milliseconds(0, 2000));
    }

    /// Everything gets through again.
    pub(super) fn stop(&mut self, sim: &mut Sim<'_>) {
        match self.stage {
            Stage::Waiting(_) | Stage::Begun(..) => {}
            Stage::Late(proposal, ..) | Stage::Taken(proposal, _) => {
                sim.release(host(proposal.leader), host(proposal.controller));
                sim.release(host(proposal.leader), host(proposal.joins));
            }
            Stage::Untold(proposal, _) => {
                sim.repair_oneway(host(proposal.controller), host(proposal.leader));
                sim.repair_oneway(host(proposal.joins), host(proposal.leader));
            }
        }
        self.stage = Stage::Waiting(sim.elapsed());
    }
}

impl Nemesis {
    /// A broker that leads in an epoch in which nobody was seen to lead.
    fn begins_to_lead(&self, epochs: &mut BTreeMap<i32, i32>) -> Option<i32> {
        let room = self.room.borrow();
        let mut begins = None;
        for (broker, seat) in &room.seats {
            let Some(inspector) = seat.inspector.as_ref() else {
                continue;
            };
            let replicas = inspector.replicas().into_iter();
            for replica in replicas.filter(|replica| &*replica.topic == TOPIC && replica.leads) {
                let known = epochs.insert(replica.partition, replica.leader_epoch);
                if known.is_some_and(|known| known < replica.leader_epoch) {
                    begins = Some(*broker);
                } else {
                    // Who was deposed may not know it.
                    let newest = known.unwrap_or(-1).max(replica.leader_epoch);
                    epochs.insert(replica.partition, newest);
                }
            }
        }
        begins
    }

    /// The leader for which a follower cut its log.
    fn cut_for(&self, ends: &mut BTreeMap<(i32, i32), (u32, i64)>) -> Option<i32> {
        let room = self.room.borrow();
        let mut cut_for = None;
        for (broker, seat) in &room.seats {
            let Some(inspector) = seat.inspector.as_ref() else {
                continue;
            };
            for replica in inspector.replicas() {
                if &*replica.topic != TOPIC {
                    continue;
                }
                let now = (seat.life, replica.log_end);
                let before = ends.insert((*broker, replica.partition), now);
                let cut = before.is_some_and(|(life, end)| life == now.0 && end > now.1);
                if cut && !replica.leads {
                    let partition = self.partition_of(*broker, replica.partition);
                    cut_for = partition.map(|partition| partition.leader).or(cut_for);
                }
            }
        }
        cut_for
    }

    /// A proposal that is on its way from one broker to another and adds a replica that is up.
    fn proposal(&self) -> Option<Proposal> {
        let room = self.room.borrow();
        for (leader, seat) in &room.seats {
            let Some(inspector) = seat.inspector.as_ref().filter(|_| self.is_up(*leader)) else {
                continue;
            };
            for replica in inspector.replicas() {
                if &*replica.topic != TOPIC || replica.proposed.is_empty() {
                    continue;
                }
                let controller = inspector.cluster().map_or(-1, |view| view.controller);
                let in_sync = self.in_sync(*leader, replica.partition);
                let joins = replica
                    .proposed
                    .into_iter()
                    .find(|id| !in_sync.contains(id) && self.is_up(*id));
                if let Some(joins) = joins
                    && controller != *leader
                    && self.is_up(controller)
                {
                    return Some(Proposal {
                        leader: *leader,
                        partition: replica.partition,
                        joins,
                        controller,
                    });
                }
            }
        }
        None
    }

    /// The replicas in sync, as broker `at` has it.
    fn in_sync(&self, at: i32, partition: i32) -> Vec<i32> {
        self.partition_of(at, partition)
            .map(|view| view.isr)
            .unwrap_or_default()
    }

    /// A partition, as broker `at` has it.
    fn partition_of(&self, at: i32, partition: i32) -> Option<PartitionView> {
        let mut partitions = self.view_of(at)?.partitions.into_iter();
        partitions.find(|view| &*view.topic == TOPIC && view.partition == partition)
    }

    /// Whether broker `at` counts on broker `id` under another epoch than this.
    fn counts_on(&self, at: i32, id: i32, epoch: i64) -> bool {
        let view = self.view_of(at).unwrap_or_default();
        let mut brokers = view.brokers.iter();
        brokers.any(|broker| broker.id == id && broker.epoch > epoch && !broker.fenced)
    }

    fn epoch(&self, id: i32) -> i64 {
        let newest = self.room.borrow().newest().unwrap_or_default();
        let mut brokers = newest.brokers.iter();
        brokers
            .find(|broker| broker.id == id)
            .map_or(-1, |broker| broker.epoch)
    }

    fn view_of(&self, id: i32) -> Option<ClusterView> {
        let room = self.room.borrow();
        room.seats.get(&id)?.inspector.as_ref()?.cluster()
    }
}
