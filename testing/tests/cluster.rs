//! The promises of a cluster, under everything that goes wrong.
//!
//! `SIMULATION_SEED=7 cargo test -p connect-testing --test cluster` replays one seed;
//! `SIMULATION_SEEDS=1000` runs that many; `SIMULATION_HISTORY=/tmp` keeps the history of a run that
//! failed; `RUST_LOG=info` shows what brokers and clients had to say.

use std::time::Duration;

use connect_testing::cluster::simulation::{Fault, Plan, run};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs a plan for each seed.
fn try_seeds(usual: u64, plan: impl Fn(u64) -> Plan) {
    // Set already when several tests run in one process, which is as good.
    drop(
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init(),
    );
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(usual),
    };
    let mut failed = Vec::new();
    for seed in seeds.clone() {
        match run(&plan(seed)) {
            Ok(outcome) => println!(
                "seed {seed}: {:?}, healed after {:?}",
                outcome.summary, outcome.healed_after
            ),
            Err(error) => {
                println!(
                    "{error}\nreplay with: SIMULATION_SEED={seed} cargo test -p connect-testing --test cluster"
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
        copies: 1,
        partitions: 2,
        troubles: Duration::from_secs(20),
        faults: Fault::FOR_ONE.to_vec(),
    }
}

#[test]
fn one_broker_loses_nothing_when_its_process_ends_and_its_network_fails() {
    try_seeds(5, alone);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let plan = Plan {
        troubles: Duration::from_secs(5),
        ..alone(7)
    };
    assert_eq!(run(&plan), run(&plan));
}
