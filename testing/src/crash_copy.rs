//! A copy, file → broker → file, while broker and worker crash and lose what they had not synced.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use broker::Broker;
use connect_runtime::Worker;
use connect_runtime::config::Settings;
use connect_runtime::config::connector::ConnectorConfig;
use connect_runtime::config::worker::WorkerConfig;
use platform::fs;

/// What one run does.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Everything random follows from it.
    pub seed: u64,
    /// Lines to copy.
    pub lines: usize,
    /// Crashes before the hosts are left alone.
    pub crashes: usize,
}

/// What a run showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Lines that arrived more than once.
    pub repeated: usize,
    /// Virtual time the copy took.
    pub took: Duration,
}

const SOURCE: &str = "/files/source.txt";
const SINK: &str = "/files/sink.txt";

/// Virtual time a run may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs the plan.
///
/// # Errors
/// What went wrong, with the seed: a line is missing, torn or out of order, the copy did not end,
/// or a host failed by itself.
pub fn run(plan: Plan) -> Result<Outcome, String> {
    platform::random::seed(plan.seed);
    let outcome = simulate(plan).map_err(|error| format!("seed {}: {error}", plan.seed));
    platform::random::unseed();
    outcome
}

/// What the worker's host last saw of the sink's file.
#[derive(Debug, Default)]
struct Progress {
    complete: bool,
    repeated: usize,
    wrong: Option<String>,
    failed: Option<String>,
}

fn simulate(plan: Plan) -> Result<Outcome, String> {
    let mut builder = turmoil::Builder::new();
    builder
        .rng_seed(plan.seed)
        .simulation_duration(PATIENCE + Duration::from_secs(10))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(20))
        .tcp_capacity(1 << 16);
    // Now and then the system writes something back before it is asked to.
    builder.fs().sync_probability(0.02);
    let mut sim = builder.build();
    let progress = Rc::new(RefCell::new(Progress::default()));

    let failures = Rc::clone(&progress);
    sim.host("broker", move || {
        let failures = Rc::clone(&failures);
        async move { report(&failures, "broker", run_broker().await) }
    });
    let seen = Rc::clone(&progress);
    sim.host("worker", move || {
        let seen = Rc::clone(&seen);
        async move {
            let result = run_worker(plan.lines, &seen).await;
            report(&seen, "worker", result)
        }
    });

    let mut crashes = plan.crashes;
    let mut next_crash = 1 + platform::random::below(1500);
    loop {
        sim.step().map_err(|error| error.to_string())?;
        if let Some(wrong) = progress.borrow_mut().wrong.take() {
            return Err(wrong);
        }
        if let Some(failed) = progress.borrow_mut().failed.take() {
            return Err(failed);
        }
        if progress.borrow().complete && crashes == 0 {
            return Ok(Outcome {
                repeated: progress.borrow().repeated,
                took: sim.elapsed(),
            });
        }
        if sim.elapsed() > PATIENCE {
            return Err(format!(
                "the copy did not end within {PATIENCE:?} of virtual time"
            ));
        }
        if crashes == 0 {
            continue;
        }
        next_crash -= 1;
        if next_crash == 0 {
            crashes -= 1;
            next_crash = 200 + platform::random::below(2500);
            for host in match platform::random::below(3) {
                0 => &["broker"][..],
                1 => &["worker"],
                _ => &["broker", "worker"],
            } {
                tracing::info!("{host} crashes at {:?}", sim.elapsed());
                sim.crash(*host);
                sim.bounce(*host);
            }
        }
    }
}

fn report(progress: &RefCell<Progress>, host: &str, result: Result<(), String>) -> turmoil::Result {
    if let Err(error) = result {
        progress.borrow_mut().failed = Some(format!("the {host} failed: {error}"));
    }
    Ok(())
}

async fn run_broker() -> Result<(), String> {
    let _broker = Broker::builder()
        .node_id(0)
        .listen("0.0.0.0:9092")
        .data_dir("/data")
        .property("group.initial.rebalance.delay.ms", "0")
        .property("offsets.topic.num.partitions", "4")
        // Segments roll during the copy, so that recovery meets more than one.
        .property("log.segment.bytes", "16384")
        .start()
        .await
        .map_err(|error| error.to_string())?;
    std::future::pending().await
}

async fn run_worker(lines: usize, seen: &RefCell<Progress>) -> Result<(), String> {
    write_source(lines).map_err(|error| format!("writing {SOURCE}: {error}"))?;
    // A worker whose broker is down at start ends with an error; whoever runs it starts it again.
    let worker = loop {
        match start_worker().await {
            Ok(worker) => break worker,
            Err(error) => tracing::info!("the worker did not start: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        check(lines, &mut seen.borrow_mut());
        if seen.borrow().complete {
            // Stays up: crashes may still be to come, and the copy has to survive those as well.
            tracing::debug!("complete; {:?}", worker.status());
        }
    }
}

fn line(number: usize) -> String {
    format!("line {number}")
}

fn write_source(lines: usize) -> std::io::Result<()> {
    let path = Path::new(SOURCE);
    if fs::exists(path) && fs::metadata(path)?.len() > 0 {
        return Ok(());
    }
    fs::create_dir_all(Path::new("/files"))?;
    fs::sync_dir(Path::new("/"))?;
    let content: String = (0..lines).map(|number| line(number) + "\n").collect();
    fs::write_atomic(path, content.as_bytes())
}

async fn start_worker() -> Result<Worker, String> {
    let worker = settings(
        "worker.toml",
        &[
            ("key.converter", "string"),
            ("value.converter", "string"),
            ("offset.flush.interval.ms", "200"),
        ],
    );
    let (config, _) = WorkerConfig::read(&worker).map_err(|problems| problems.to_string())?;
    let running = Worker::start(config.clone(), vec!["broker:9092".to_owned()])
        .await
        .map_err(|error| error.to_string())?;
    for connector in [
        settings(
            "source.toml",
            &[
                ("name", "source"),
                ("connector.class", "SimulatedLinesSource"),
                ("file", SOURCE),
                ("topic", "lines"),
            ],
        ),
        settings(
            "sink.toml",
            &[
                ("name", "sink"),
                ("connector.class", "SimulatedLinesSink"),
                ("file", SINK),
                ("topics", "lines"),
                ("consumer.override.session.timeout.ms", "6000"),
            ],
        ),
    ] {
        let (config, _) =
            ConnectorConfig::read(&connector, &config).map_err(|problems| problems.to_string())?;
        running
            .create(config)
            .await
            .map_err(|error| error.to_string())?;
    }
    Ok(running)
}

fn settings(name: &str, keys: &[(&str, &str)]) -> Settings {
    let map = keys
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    Settings::from_map(name, &map)
}

/// Compares the sink with the source: the first appearances of lines must be the source's, in order.
fn check(lines: usize, progress: &mut Progress) {
    let Ok(content) = fs::read_to_string(Path::new(SINK)) else {
        return;
    };
    let whole = content
        .rfind('\n')
        .map_or("", |end| content.get(..end).unwrap_or_default());
    let mut seen = HashSet::new();
    let mut repeated = 0;
    for found in whole.lines() {
        if seen.contains(found) {
            repeated += 1;
        } else if found == line(seen.len()) {
            seen.insert(found);
        } else {
            progress.wrong = Some(format!(
                "line \"{found}\" came where \"{}\" was due",
                line(seen.len())
            ));
            return;
        }
    }
    progress.repeated = repeated;
    progress.complete = seen.len() == lines;
}
