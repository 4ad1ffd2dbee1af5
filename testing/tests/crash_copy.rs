//! The first promise of a worker: whatever crashes, every line arrives, in order.
//!
//! `SIMULATION_SEED=7 cargo test -p connect-testing` replays one seed; `SIMULATION_SEEDS=1000` runs
//! that many; `RUST_LOG=info` shows what broker and worker had to say.

use connect_testing::crash_copy::{Plan, run};

#[test]
fn a_copy_survives_crashes_of_broker_and_worker_with_unsynced_writes_lost() {
    // Set already when both tests run in one process, which is as good.
    drop(
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init(),
    );
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(60),
    };
    let mut repeated = 0;
    for seed in seeds.clone() {
        let plan = Plan {
            seed,
            lines: 3000,
            crashes: 6,
        };
        match run(plan) {
            Ok(outcome) => repeated += outcome.repeated,
            Err(error) => {
                panic!("{error}\nreplay with: SIMULATION_SEED={seed} cargo test -p connect-testing")
            }
        }
    }
    println!("seeds {seeds:?}: nothing missing, order kept, {repeated} lines repeated");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let plan = Plan {
        seed: 42,
        lines: 500,
        crashes: 2,
    };
    assert_eq!(run(plan), run(plan));
}
