//! Benchmarks of the whole path, each figure beside its limit in the same run.
//!
//! `cargo run --release -p connect-bench -- throughput` copies a file of 100-byte lines through
//! source, broker and sink, and first does the same work with neither broker nor client nor
//! connector: read, split, encode batches, append to a log file, read back, write out. The other
//! subcommands measure start-up, latency and memory of the shipped binary.

mod cluster;
mod connectors;
mod converters;
mod figures;
mod raw;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: connect-bench throughput [--mib N] [--rounds N] | startup | latency | idle | memory [--mib N] | connectors [--count N] | converters [--rounds N] [--jars DIR] | cluster [--mib N] [--rounds N] | restart [--mib N]
  throughput  a copy of N MiB (1024) of 100-byte lines beside the raw limit
  startup     from exec to the first line in the sink
  latency     from an append to the line in the sink
  idle        resident memory and CPU of an idle worker with its embedded broker
  memory      peak resident memory while N MiB (10240) are copied
  connectors  N connectors (1000) in one worker: created, listed, memory of an idle one
  converters  JSON and transforms on one thread, best of N rounds (5); with the jars of Kafka Connect in DIR
              beside the JVM's (bench/jvm/Converters.java says how to get them)
  cluster     three brokers: failover with 100 partitions (median of N, 20), N MiB (512) into one and
              three copies, 1000 partitions, idle memory
  restart     a broker with N MiB (10240) in 1000 partitions after kill -9
The binaries measured are connect-standalone and connect beside this one; --folder DIR is where files go (a new
folder in the system's temporary folder).";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("connect-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().ok_or(USAGE)?;
    let mut mib = None;
    let mut rounds = None;
    let mut count = None;
    let mut jars: Option<PathBuf> = None;
    let mut folder = std::env::temp_dir().join(format!("connect-bench-{}", std::process::id()));
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or(USAGE)?;
        match flag.as_str() {
            "--mib" => mib = Some(value.parse()?),
            "--rounds" => rounds = Some(value.parse()?),
            "--count" => count = Some(value.parse()?),
            "--jars" => jars = Some(PathBuf::from(value)),
            "--folder" => folder = PathBuf::from(value),
            _ => return Err(USAGE.into()),
        }
    }
    std::fs::create_dir_all(&folder)?;
    let measured = match command.as_str() {
        "throughput" => throughput(&folder, mib.unwrap_or(1024), rounds.unwrap_or(3)),
        "startup" => worker::startup(&folder, 20),
        "latency" => worker::latency(&folder, 100),
        "idle" => worker::idle(&folder),
        "memory" => worker::memory(&folder, mib.unwrap_or(10 * 1024)),
        "connectors" => connectors::measure(&folder, count.unwrap_or(1000)),
        "converters" => converters::measure(&folder, jars.as_deref(), rounds.unwrap_or(5)),
        "cluster" => cluster::measure(&folder, mib.unwrap_or(512), rounds.unwrap_or(20)),
        "restart" => cluster::restart(&folder, mib.unwrap_or(10 * 1024)),
        _ => Err(USAGE.into()),
    };
    std::fs::remove_dir_all(&folder)?;
    measured
}

/// Copies the same file both ways, in turn, `rounds` times, and compares the medians.
fn throughput(
    folder: &std::path::Path,
    mib: u64,
    rounds: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let source = folder.join("source.txt");
    let lines = raw::write_source(&source, mib << 20)?;
    println!("{mib} MiB, {lines} lines of 100 bytes, {rounds} rounds");
    let (mut one, mut two, mut path) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        one.push(raw::one_thread(&source, folder)?);
        two.push(raw::two_threads(&source, folder)?);
        path.push(worker::copy(folder, &source)?);
    }
    let rate = |seconds: &mut Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        let median = seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN);
        #[allow(clippy::cast_precision_loss)]
        let rate = lines as f64 / median / 1e6;
        (median, rate)
    };
    let (one_s, one_rate) = rate(&mut one);
    let (two_s, two_rate) = rate(&mut two);
    let (path_s, path_rate) = rate(&mut path);
    println!("raw limit, one thread:  {one_s:.2} s  {one_rate:.2} M lines/s");
    println!("raw limit, two threads: {two_s:.2} s  {two_rate:.2} M lines/s");
    println!(
        "whole path:             {path_s:.2} s  {path_rate:.2} M lines/s  ({:.2} of one thread, {:.2} of two)",
        path_rate / one_rate,
        path_rate / two_rate
    );
    Ok(())
}
