//! One run: a cluster from nothing, clients at work, faults, peace, and the judgement.

use std::rc::Rc;
use std::time::Duration;

use super::brokers::{self, host};
use super::check::{Summary, check};
use super::history::Event;
pub use super::nemesis::Fault;
use super::nemesis::Nemesis;
use super::room::{Phase, Room, Shared};
use super::workload::{self, World};

/// What one run does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Everything random follows from it.
    pub seed: u64,
    /// Brokers, with the ids 1, 2, ...
    pub brokers: i32,
    /// Machines that wait to become a broker in the place of another.
    pub spares: i32,
    /// Copies of each partition.
    pub copies: i16,
    /// Partitions of the topic.
    pub partitions: i32,
    /// How long things go wrong.
    pub troubles: Duration,
    /// What may go wrong.
    pub faults: Vec<Fault>,
}

/// What a run showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// What was in the history.
    pub summary: Summary,
    /// Virtual time from the end of the troubles until everything was in sync again.
    pub healed_after: Duration,
    /// Equal for equal runs.
    pub fingerprint: u64,
}

/// Virtual time that a cluster may take to be made.
const BEGINNING: Duration = Duration::from_secs(60);

/// Virtual time from the end of the troubles until everything is in sync again.
const HEALING: Duration = Duration::from_secs(60);

/// Virtual time for the judge.
const JUDGING: Duration = Duration::from_secs(240);

/// How often replicas are looked at.
const OBSERVE: Duration = Duration::from_millis(4);

/// Runs the plan.
///
/// # Errors
/// What went wrong, with the seed and, if a folder is named in `SIMULATION_HISTORY`, where the whole
/// history was written to.
pub fn run(plan: &Plan) -> Result<Outcome, String> {
    platform::random::seed(plan.seed);
    platform::faults::clear();
    let outcome = simulate(plan).map_err(|error| format!("seed {}: {error}", plan.seed));
    platform::faults::clear();
    platform::random::unseed();
    outcome
}

fn simulate(plan: &Plan) -> Result<Outcome, String> {
    let mut builder = turmoil::Builder::new();
    builder
        .rng_seed(plan.seed)
        // So that time stamps in records are the same in each run.
        .epoch(std::time::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
        .simulation_duration(BEGINNING + plan.troubles + HEALING + JUDGING)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(20))
        .tcp_capacity(1 << 16);
    // Now and then the system writes something back before it is asked to.
    builder.fs().sync_probability(0.02);
    let mut sim = builder.build();
    let room = Room::new(plan.brokers, plan.spares);
    let clients = populate(&mut sim, plan, &room);
    let mut nemesis = Nemesis::new(
        room.clone(),
        &plan.faults,
        plan.brokers + plan.spares,
        clients,
    );
    let outcome = live_through(&mut sim, plan, &room, &mut nemesis);
    let outcome = outcome.and_then(|healed_after| {
        let room = room.borrow();
        tracing::info!("clients were told: {:#?}", room.client_errors);
        let summary = check(&room.history, &room.ending).map_err(|wrong| {
            let few: Vec<String> = wrong.iter().take(8).cloned().collect();
            format!("{} things are wrong:\n{}", wrong.len(), few.join("\n"))
        })?;
        Ok(Outcome {
            summary,
            healed_after,
            fingerprint: room.history.fingerprint(),
        })
    });
    outcome.map_err(|error| format!("{error}{}", keep_history(plan, &room)))
}

/// Puts everyone in their place; the clients' host names.
fn populate(sim: &mut turmoil::Sim<'_>, plan: &Plan, room: &Shared) -> Vec<String> {
    let machines = plan.brokers + plan.spares;
    for id in 1..=machines {
        let room = Rc::clone(room);
        // Some come later than others.
        let begin = Duration::from_millis(platform::random::below(3000));
        sim.host(host(id), move || {
            let room = Rc::clone(&room);
            async move {
                let outcome = brokers::run(room.clone(), id, machines, begin).await;
                report(&room, &host(id), outcome.map_err(|error| error.to_string()))
            }
        });
    }
    let world = World {
        seeds: brokers::seeds(machines),
        partitions: plan.partitions,
        copies: plan.copies,
        in_sync_min: if plan.copies > 2 { 2 } else { 1 },
    };
    let mut names = Vec::new();
    for number in 1..=2 {
        let mut place = |kind: &str| {
            let name = format!("{kind}-{number}");
            names.push(name.clone());
            (name, Rc::clone(room), world.clone())
        };
        let (name, shared, world) = place("producer");
        client(
            sim,
            name,
            &shared.clone(),
            workload::produce(shared, world, number),
        );
        let (name, shared, world) = place("reader");
        client(
            sim,
            name,
            &shared.clone(),
            workload::read(shared, world, number),
        );
        let (name, shared, world) = place("member");
        client(
            sim,
            name,
            &shared.clone(),
            workload::take_part(shared, world, number),
        );
    }
    if plan.spares > 0 {
        let name = "operator".to_owned();
        names.push(name.clone());
        let work = workload::operate(Rc::clone(room), world.clone());
        client(sim, name, room, work);
    }
    let shared = Rc::clone(room);
    names.push("judge".to_owned());
    client(sim, "judge".to_owned(), room, async move {
        workload::create_topic(&shared, &world).await?;
        workload::judge(&shared, &world).await
    });
    names
}

fn client(
    sim: &mut turmoil::Sim<'_>,
    name: String,
    room: &Shared,
    work: impl Future<Output = Result<(), String>> + 'static,
) {
    let room = Rc::clone(room);
    sim.client(
        name.clone(),
        async move { report(&room, &name, work.await) },
    );
}

fn report(room: &Shared, who: &str, outcome: Result<(), String>) -> turmoil::Result {
    if let Err(error) = outcome {
        room.borrow_mut().fail(format!("{who} failed: {error}"));
    }
    Ok(())
}

/// Steps through the phases; how long the cluster took to heal.
fn live_through(
    sim: &mut turmoil::Sim<'_>,
    plan: &Plan,
    room: &Shared,
    nemesis: &mut Nemesis,
) -> Result<Duration, String> {
    let brokers = usize::try_from(plan.brokers).unwrap_or(0);
    let mut observed = Duration::ZERO;
    let mut since = Duration::ZERO;
    let mut healed_after = Duration::ZERO;
    loop {
        sim.step().map_err(|error| error.to_string())?;
        let now = sim.elapsed();
        if now >= observed + OBSERVE {
            observed = now;
            room.borrow_mut().observe(now);
        }
        if let Some(failed) = room.borrow_mut().failed.take() {
            return Err(failed);
        }
        let phase = room.borrow().phase;
        let passed = now.saturating_sub(since);
        // The cluster is looked at closely ten times a second only.
        let looks = now.as_millis().is_multiple_of(100);
        let next = match phase {
            Phase::Beginning if looks => {
                let ready = room.borrow().has_topic();
                match room.borrow().ailment(brokers) {
                    None if ready => Some(Phase::Troubles),
                    ailment if passed > BEGINNING => {
                        return Err(format!("no cluster came about: {ailment:?}"));
                    }
                    _ => None,
                }
            }
            Phase::Troubles => {
                nemesis.act(sim);
                (passed > plan.troubles).then(|| {
                    nemesis.peace(sim);
                    Phase::Peace
                })
            }
            Phase::Peace if looks => match room.borrow().ailment(brokers) {
                // Clients go on for a while, so that writes after the troubles are seen.
                None if passed > Duration::from_secs(3) => {
                    healed_after = passed;
                    Some(Phase::Ending)
                }
                Some(ailment) if passed > HEALING => {
                    return Err(format!("not healed after {HEALING:?}: {ailment}"));
                }
                _ => None,
            },
            Phase::Ending if passed > JUDGING => {
                return Err("the judge did not come to an end".to_owned());
            }
            Phase::Done => return Ok(healed_after),
            _ => None,
        };
        if let Some(next) = next {
            since = now;
            let mut room = room.borrow_mut();
            room.phase = next;
            room.history
                .note(now, Event::Fault(format!("--- {next:?}")));
        }
    }
}

/// Writes the history for people, if asked to.
fn keep_history(plan: &Plan, room: &Shared) -> String {
    let Ok(folder) = std::env::var("SIMULATION_HISTORY") else {
        return String::new();
    };
    let path = std::path::Path::new(&folder).join(format!("history-{}.txt", plan.seed));
    let text = room.borrow().history.tell(|_| true);
    match std::fs::write(&path, text) {
        Ok(()) => format!("\nthe history is in {}", path.display()),
        Err(error) => format!("\nthe history could not be written: {error}"),
    }
}
