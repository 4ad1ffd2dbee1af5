//! What goes wrong, when, and when it is over.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::inspect::Inspector;
use platform::faults::{self, DiskFault};
use platform::random::below;
use turmoil::Sim;

use super::brokers::host;
use super::history::Event;
use super::moments::Moments;
use super::room::{Change, Command, Room, Shared, TOPIC};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A machine loses power, with all it had not synced.
    PowerCut,
    /// A process ends at once; its files stay.
    Kill,
    /// A process is asked to stop.
    Stop,
    /// A machine stops and comes back with an empty disk.
    Wipe,
    /// Nothing gets through between one broker and the others; clients reach it or not.
    Partition,
    /// Nothing gets from one broker to the others, or from them to it.
    OneWay,
    /// A broker is not heard of for a while, and then everything arrives.
    Pause,
    /// Messages of one broker take up to half a second.
    Slow,
    /// A disk refuses.
    Disk,
    /// A wall clock is off by minutes.
    Clock,
    /// News about a replica that comes into sync are late, or lost, and machines lose power
    /// meanwhile.
    Joining,
    /// A machine loses power as soon as its broker leads something, or another cut its log for it.
    Succession,
    /// A new broker joins, and another is taken out for good.
    Change,
    /// One broker after the other is stopped and started again.
    Rolling,
}

impl Fault {
    /// All kinds that strike whenever it is their turn.
    pub const ALL: [Self; 10] = [
        Self::PowerCut,
        Self::Kill,
        Self::Stop,
        Self::Wipe,
        Self::Partition,
        Self::OneWay,
        Self::Pause,
        Self::Slow,
        Self::Disk,
        Self::Clock,
    ];

    /// Those that wait for their moment, and what brings such moments about.
    pub const AT_MOMENTS: [Self; 5] = [
        Self::PowerCut,
        Self::Kill,
        Self::Stop,
        Self::Joining,
        Self::Succession,
    ];

    /// What operators do on purpose.
    pub const ON_PURPOSE: [Self; 2] = [Self::Change, Self::Rolling];

    /// Those that one broker alone survives without losing anything.
    pub const FOR_ONE: [Self; 6] = [
        Self::Kill,
        Self::Stop,
        Self::Partition,
        Self::Pause,
        Self::Slow,
        Self::Clock,
    ];
}

/// How a fault ends.
#[derive(Debug)]
enum Remedy {
    Power(i32),
    Repair(i32, Vec<String>),
    OneWay(Vec<String>, Vec<String>),
    Release(i32, Vec<String>),
    Fast(i32, Vec<String>),
    Disk(i32),
    Clock(i32),
}

/// See the module.
pub(super) struct Nemesis {
    pub(super) room: Shared,
    kinds: Vec<Fault>,
    /// Machines, with the ids 1, 2, ...
    machines: i32,
    clients: Vec<String>,
    /// When the next fault strikes.
    next: Duration,
    remedies: Vec<(Duration, Remedy)>,
    /// Brokers that may have lost something, with their epoch then: not to be counted on before
    /// they are registered anew and in sync again.
    doubtful: BTreeMap<i32, i64>,
    without_power: Vec<i32>,
    /// Where each broker's metadata log ended when something last struck.
    metadata_ends: BTreeMap<i32, u64>,
    /// Brokers that are to be stopped one after the other.
    rolling: Vec<i32>,
    moments: Moments,
}

/// How late a request to take a broker out may come that its client has given up: an id is not used
/// again before.
const LATE_REQUESTS: Duration = Duration::from_secs(15);

const NORMAL_LATENCY: Duration = Duration::from_millis(20);

impl Nemesis {
    pub(super) fn new(room: Shared, kinds: &[Fault], machines: i32, clients: Vec<String>) -> Self {
        Self {
            room,
            kinds: kinds.to_vec(),
            machines,
            clients,
            next: Duration::ZERO,
            remedies: Vec::new(),
            doubtful: BTreeMap::new(),
            without_power: Vec::new(),
            metadata_ends: BTreeMap::new(),
            rolling: Vec::new(),
            moments: Moments::new(),
        }
    }

    /// Ends what is due, and begins something new now and then.
    pub(super) fn act(&mut self, sim: &mut Sim<'_>) {
        let now = sim.elapsed();
        while let Some(at) = self.remedies.iter().position(|(due, _)| *due <= now) {
            let (_, remedy) = self.remedies.swap_remove(at);
            self.remedy(sim, remedy);
        }
        self.roll(sim);
        if self.waits_for_moments(sim) {
            return;
        }
        if now < self.next {
            return;
        }
        if self.next > Duration::ZERO && !self.kinds.is_empty() {
            let kind = pick(&self.kinds);
            let victim = pick(&self.room.borrow().members());
            if let (Some(kind), Some(victim)) = (kind, victim.filter(|id| self.is_up(*id))) {
                self.strike(sim, kind, victim);
            }
        }
        self.next = now + milliseconds(200, 3000);
    }

    pub(super) fn does(&self, kind: Fault) -> bool {
        self.kinds.contains(&kind)
    }

    /// Looks out for what lasts moments only. Says whether something of that is under way.
    fn waits_for_moments(&mut self, sim: &mut Sim<'_>) -> bool {
        if !self.does(Fault::Joining) && !self.does(Fault::Succession) {
            return false;
        }
        let mut moments = std::mem::replace(&mut self.moments, Moments::new());
        moments.act(self, sim);
        self.moments = moments;
        self.moments.is_busy()
    }

    /// Ends everything.
    pub(super) fn peace(&mut self, sim: &mut Sim<'_>) {
        self.moments.stop(sim);
        self.rolling.clear();
        for (_, remedy) in std::mem::take(&mut self.remedies) {
            self.remedy(sim, remedy);
        }
        faults::clear();
    }

    pub(super) fn is_up(&self, broker: i32) -> bool {
        let room = self.room.borrow();
        let seat = room.seats.get(&broker);
        seat.is_some_and(|seat| seat.inspector.is_some() && seat.command.is_none())
            && !self.without_power.contains(&broker)
    }

    pub(super) fn note(&self, sim: &Sim<'_>, what: String) {
        tracing::info!("{:?}: {what}", sim.elapsed());
        self.room
            .borrow_mut()
            .history
            .note(sim.elapsed(), Event::Fault(what));
    }

    /// Stops the next broker of a rolling restart, once the cluster counts on all of them again.
    fn roll(&mut self, sim: &Sim<'_>) {
        let Some(next) = self.rolling.last().copied() else {
            return;
        };
        // Not looked at closely all the time.
        if !sim.elapsed().as_millis().is_multiple_of(50) {
            return;
        }
        let ready = {
            let room = self.room.borrow();
            let members = room.members();
            let serves = |id: &i32| room.seats.get(id).is_some_and(|seat| seat.serves);
            members
                .iter()
                .all(|id| self.is_up(*id) && serves(id) && room.is_live(*id))
        };
        if ready {
            self.rolling.pop();
            self.ask(sim, next, Command::Stop(milliseconds(50, 500)));
        }
    }

    fn ask(&self, sim: &Sim<'_>, broker: i32, command: Command) {
        self.note(sim, format!("{command:?} {}", host(broker)));
        if let Some(seat) = self.room.borrow_mut().seats.get_mut(&broker) {
            seat.command = Some(command);
        }
    }

    /// Has the operator put a spare machine in the place of `leaves`.
    fn change(&self, sim: &Sim<'_>, leaves: i32) {
        let spares: Vec<i32> = {
            let room = self.room.borrow();
            let over = |left_at: Duration| left_at + LATE_REQUESTS < sim.elapsed();
            let spare = |id: &i32| {
                let seat = room.seats.get(id).filter(|seat| !seat.belongs);
                seat.is_some_and(|seat| seat.left_at.is_none_or(over))
            };
            (1..=self.machines).filter(spare).collect()
        };
        let busy = self.room.borrow().change.is_some();
        if let Some(joins) = pick(&spares).filter(|_| !busy) {
            let change = Change {
                joins,
                leaves,
                left: false,
            };
            self.note(sim, format!("{change:?}"));
            self.room.borrow_mut().change = Some(change);
        }
    }

    fn strike(&mut self, sim: &mut Sim<'_>, kind: Fault, victim: i32) {
        self.note_metadata_ends();
        let now = sim.elapsed();
        let name = host(victim);
        let pause = milliseconds(50, 6000);
        let until = now + milliseconds(300, 9000);
        let command = match kind {
            Fault::Kill => Some(Command::Kill(pause)),
            Fault::Stop => Some(Command::Stop(pause)),
            _ => None,
        };
        if matches!(kind, Fault::Kill | Fault::Wipe | Fault::PowerCut)
            && self.machines > 1
            && !self.can_do_without(victim)
        {
            return;
        }
        match (command, kind) {
            (Some(command), _) => return self.ask(sim, victim, command),
            (None, Fault::Change) => return self.change(sim, victim),
            (None, Fault::Rolling) if self.rolling.is_empty() => {
                self.note(sim, "a rolling restart".to_owned());
                self.rolling = self.room.borrow().members();
                return;
            }
            _ => {}
        }
        // Faults of the network do not mix.
        let network = matches!(
            kind,
            Fault::Partition | Fault::OneWay | Fault::Pause | Fault::Slow
        );
        let busy = self.remedies.iter().any(|(_, remedy)| {
            !matches!(
                remedy,
                Remedy::Power(_) | Remedy::Disk(_) | Remedy::Clock(_)
            )
        });
        if network && busy {
            return;
        }
        let mut others: Vec<String> = (1..=self.machines)
            .filter(|id| *id != victim)
            .map(host)
            .collect();
        if below(2) == 0 || self.machines == 1 {
            others.extend(self.clients.iter().cloned());
        }
        let (what, remedy) = match kind {
            Fault::PowerCut | Fault::Wipe => {
                let mut what = "loses power";
                if kind == Fault::Wipe {
                    self.room.borrow_mut().replaced_disks.insert(victim);
                    faults::set_disk(&name, None);
                    what = "loses its disk";
                }
                if let Some(seat) = self.room.borrow_mut().seats.get_mut(&victim) {
                    seat.inspector = None;
                }
                self.without_power.push(victim);
                sim.crash(name.as_str());
                (what.to_owned(), Remedy::Power(victim))
            }
            Fault::Partition => {
                each(&others, |other| sim.partition(name.as_str(), other));
                (
                    format!("is cut off from {others:?}"),
                    Remedy::Repair(victim, others),
                )
            }
            Fault::OneWay => {
                let own = vec![name.clone()];
                let (from, to) = if below(2) == 0 {
                    (own, others)
                } else {
                    (others, own)
                };
                for from in &from {
                    each(&to, |to| sim.partition_oneway(from.as_str(), to));
                }
                (
                    format!(": nothing gets from {from:?} to {to:?}"),
                    Remedy::OneWay(from, to),
                )
            }
            Fault::Pause => {
                others.extend(self.clients.iter().cloned());
                others.sort();
                others.dedup();
                each(&others, |other| sim.hold(name.as_str(), other));
                (
                    "is not heard of".to_owned(),
                    Remedy::Release(victim, others),
                )
            }
            Fault::Slow => {
                let slow = Duration::from_millis(500);
                each(&others, |other| {
                    sim.set_link_max_message_latency(name.as_str(), other, slow);
                });
                (
                    format!("is slow to {others:?}"),
                    Remedy::Fast(victim, others),
                )
            }
            Fault::Disk => {
                let kinds = [
                    DiskFault::Full,
                    DiskFault::Writes,
                    DiskFault::Everything,
                    DiskFault::Syncs,
                ];
                let fault = pick(&kinds);
                faults::set_disk(&name, fault);
                (
                    format!("has a disk that refuses: {fault:?}"),
                    Remedy::Disk(victim),
                )
            }
            Fault::Clock => {
                let off = i64::try_from(below(1_200_000)).unwrap_or(0) - 600_000;
                faults::set_clock(&name, off);
                (
                    format!("has a clock that is off by {off} ms"),
                    Remedy::Clock(victim),
                )
            }
            Fault::Kill
            | Fault::Stop
            | Fault::Joining
            | Fault::Succession
            | Fault::Change
            | Fault::Rolling => return,
        };
        self.note(sim, format!("{name} {what}"));
        self.remedies.push((until, remedy));
    }

    /// Lets a machine lose power for so long, if everything acknowledged is still there then.
    pub(super) fn cut_power(&mut self, sim: &mut Sim<'_>, victim: i32, pause: Duration) -> bool {
        self.note_metadata_ends();
        if !self.is_up(victim) || !self.can_do_without(victim) {
            return false;
        }
        if let Some(seat) = self.room.borrow_mut().seats.get_mut(&victim) {
            seat.inspector = None;
        }
        self.without_power.push(victim);
        sim.crash(host(victim));
        self.note(sim, format!("{} loses power", host(victim)));
        self.remedies
            .push((sim.elapsed() + pause, Remedy::Power(victim)));
        true
    }

    fn remedy(&mut self, sim: &mut Sim<'_>, remedy: Remedy) {
        self.note(sim, format!("over: {remedy:?}"));
        match remedy {
            Remedy::Power(id) => {
                self.without_power.retain(|other| *other != id);
                sim.bounce(host(id).as_str());
            }
            Remedy::Repair(id, others) => {
                each(&others, |other| sim.repair(host(id).as_str(), other))
            }
            Remedy::OneWay(from, to) => {
                for from in &from {
                    each(&to, |to| sim.repair_oneway(from.as_str(), to));
                }
            }
            Remedy::Release(id, others) => {
                each(&others, |other| sim.release(host(id).as_str(), other));
            }
            Remedy::Fast(id, others) => each(&others, |other| {
                sim.set_link_max_message_latency(host(id).as_str(), other, NORMAL_LATENCY);
            }),
            Remedy::Disk(id) => faults::set_disk(&host(id), None),
            Remedy::Clock(id) => faults::set_clock(&host(id), 0),
        }
    }

    fn note_metadata_ends(&mut self) {
        let room = self.room.borrow();
        for (id, seat) in &room.seats {
            let view = seat.inspector.as_ref().and_then(Inspector::cluster);
            if let Some(view) = view {
                self.metadata_ends.insert(*id, view.log_end);
            }
        }
    }

    /// Whether everything acknowledged is still there when `victim` loses what it has: the promise
    /// needs one copy in sync that has not been in doubt since. In a simulation each start is
    /// another boot, so that a killed process counts as one that may have lost something.
    fn can_do_without(&mut self, victim: i32) -> bool {
        let room = self.room.borrow();
        let Some(newest) = room.newest() else {
            return false;
        };
        // What is in some log and not agreed on yet may still be, and count out the other replicas
        // although they have everything.
        if self.metadata_ends.values().any(|end| *end > newest.version) {
            return false;
        }
        let epoch_of = |id: i32| {
            let broker = newest.brokers.iter().find(|broker| broker.id == id);
            broker.map_or(-1, |broker| broker.epoch)
        };
        let is_up = |id: &i32| {
            let up = Room::is_up(&room, *id) && !self.without_power.contains(id);
            let since = self.doubtful.get(id).copied().unwrap_or(i64::MIN);
            up && epoch_of(*id) > since
        };
        let under_test = |topic: &str| topic == TOPIC || topic.starts_with("__");
        let mut partitions = newest
            .partitions
            .iter()
            .filter(|partition| under_test(&partition.topic));
        let safe = partitions.all(|partition| {
            !partition.replicas.contains(&victim)
                || partition.isr.iter().any(|id| *id != victim && is_up(id))
        });
        // The metadata's quorum, too, keeps its promise only while a majority has its disks. A broker
        // that came back with another one has no vote until it has caught up.
        let lost = |id: &&i32| **id == victim || !is_up(id);
        let quorum = 2 * newest.voters.iter().filter(lost).count() < newest.voters.len();
        let epoch = epoch_of(victim);
        drop(room);
        if safe && quorum {
            self.doubtful.insert(victim, epoch);
        }
        safe && quorum
    }
}

impl Room {
    fn is_up(&self, broker: i32) -> bool {
        let seat = self.seats.get(&broker);
        seat.is_some_and(|seat| seat.inspector.is_some() && seat.command.is_none())
    }
}

fn each(hosts: &[String], mut act: impl FnMut(&str)) {
    for host in hosts {
        act(host);
    }
}

fn pick<T: Copy>(among: &[T]) -> Option<T> {
    let chosen = usize::try_from(below(among.len() as u64)).unwrap_or(0);
    among.get(chosen).copied()
}

pub(super) fn milliseconds(from: u64, to: u64) -> Duration {
    Duration::from_millis(from + below(to - from))
}
