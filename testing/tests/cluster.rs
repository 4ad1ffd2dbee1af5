//! The promises of a cluster, under everything that goes wrong.
//!
//! `SIMULATION_SEED=7 cargo test -p connect-testing --test cluster` replays one seed;
//! `SIMULATION_SEEDS=1000` runs that many; `SIMULATION_HISTORY=/tmp` keeps the history of a run that
//! failed; `SIMULATION_FAULTS=PowerCut,Disk` lets only these happen; `RUST_LOG=info` shows what brokers
//! and clients had to say.

use std::time::Duration;

use connect_testing::cluster::simulation::{Fault, Plan, run};
use connect_testing::determinism;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Longest real time of one run.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs the plan that `SIMULATION_SEED` names, as the only thing in this process.
fn here(plan: impl Fn(u64) -> Plan) {
    // Only what the test binary itself is asked for by name runs anything.
    let Some(seed) = number("SIMULATION_SEED") else {
        return;
    };
    let plan = plan(seed);
    let outcome = determinism::seeded(seed, move || {
        drop(
            tracing_subscriber::fmt()
                .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
                .with_ansi(false)
                .try_init(),
        );
        run(&plan)
    });
    match outcome {
        Ok(outcome) => println!("{outcome:?}"),
        Err(error) => panic!("{error}"),
    }
}

/// What a run printed of itself; the name of the test may stand before it.
fn outcome(said: &str) -> Option<&str> {
    said.lines()
        .find_map(|line| line.get(line.find("Outcome {")?..))
}

/// Runs a plan for each seed, each in a process of its own, so that it can be repeated.
fn each_seed(test: &str, usual: u64) {
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(usual),
    };
    let mut failed = Vec::new();
    for seed in seeds.clone() {
        match determinism::in_own_process(test, ("SIMULATION_SEED", &seed.to_string()), PATIENCE) {
            Ok(said) => println!("seed {seed}: {}", outcome(&said).unwrap_or_default()),
            Err(said) => {
                println!(
                    "{said}\nreplay with: SIMULATION_SEED={seed} cargo test -p connect-testing --test cluster {test} -- --ignored --exact --nocapture"
                );
                failed.push(seed);
            }
        }
    }
    assert!(failed.is_empty(), "failed: seeds {failed:?} of {seeds:?}");
}

fn alone(seed: u64) -> Plan {
    Plan {
        seed,
        brokers: 1,
        spares: 0,
        copies: 1,
        partitions: 2,
        troubles: Duration::from_secs(20),
        faults: Fault::FOR_ONE.to_vec(),
    }
}

fn three(seed: u64) -> Plan {
    Plan {
        seed,
        brokers: 3,
        spares: 0,
        copies: 3,
        partitions: 2,
        troubles: Duration::from_secs(30),
        faults: faults(),
    }
}

/// All, or those that `SIMULATION_FAULTS` names, such as `PowerCut,Disk`.
fn faults() -> Vec<Fault> {
    let only = std::env::var("SIMULATION_FAULTS").ok();
    let wanted = |fault: &Fault| {
        let name = format!("{fault:?}");
        only.as_ref()
            .is_none_or(|only| only.split(',').any(|wanted| wanted == name))
    };
    Fault::ALL.into_iter().filter(wanted).collect()
}

/// Machines come and go for good, and brokers are stopped one after the other, while everything else
/// goes wrong.
fn changes(seed: u64) -> Plan {
    let mut plan = Plan {
        spares: 2,
        ..three(seed)
    };
    // Often enough to meet each other.
    plan.faults.extend([Fault::Change; 3]);
    plan.faults.extend(Fault::ON_PURPOSE);
    plan
}

fn five(seed: u64) -> Plan {
    Plan {
        brokers: 5,
        partitions: 3,
        ..three(seed)
    }
}

/// Faults that wait for their moment. With more brokers than copies, the controller may be none of a
/// partition's replicas; with many partitions there is always one in which something happens.
fn moments(seed: u64) -> Plan {
    Plan {
        partitions: 4,
        troubles: Duration::from_secs(20),
        faults: Fault::AT_MOMENTS.to_vec(),
        ..five(seed)
    }
}

#[test]
fn three_brokers_lose_nothing_whatever_goes_wrong() {
    each_seed("run_three", 6);
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn run_three() {
    here(three);
}

#[test]
fn brokers_come_and_go_and_nothing_is_lost() {
    each_seed("run_changes", 3);
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn run_changes() {
    here(changes);
}

#[test]
fn five_brokers_lose_nothing_whatever_goes_wrong() {
    each_seed("run_five", 2);
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn run_five() {
    here(five);
}

#[test]
fn nothing_is_lost_when_power_is_cut_while_a_replica_comes_into_sync_or_a_leader_begins() {
    each_seed("run_moments", 2);
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn run_moments() {
    here(moments);
}

#[test]
fn one_broker_loses_nothing_when_its_process_ends_and_its_network_fails() {
    each_seed("run_alone", 2);
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn run_alone() {
    here(alone);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let said = determinism::in_own_process("run_alone", ("SIMULATION_SEED", "7"), PATIENCE);
        let said = said.unwrap();
        outcome(&said).unwrap().to_owned()
    };
    assert_eq!(run(), run());
}
