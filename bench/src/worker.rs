//! The shipped binary, measured from outside: a process, its files, /proc.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::figures::{cpu_ticks, median, status_kb};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Longest wait for anything before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(600);

/// Starts `name`, a binary beside this one, in `folder`; it prints to `log`.
pub(crate) fn spawn<const N: usize>(
    name: &str,
    arguments: [&str; N],
    folder: &Path,
    log: File,
) -> Outcome<Child> {
    let binary = std::env::current_exe()?.with_file_name(name);
    let process = Command::new(&binary)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn();
    process.map_err(|error| {
        let binary = binary.display();
        format!("{binary}: {error}; build it first: cargo build --release").into()
    })
}

/// A running worker in a folder of its own; killed when dropped.
struct Worker {
    process: Child,
    folder: PathBuf,
}

impl Worker {
    /// Starts the worker copying `source` (or `folder/test.txt`) to `folder/test.sink.txt`.
    fn start(folder: &Path, source: Option<&Path>) -> Outcome<Self> {
        let own = folder.join("test.txt");
        let source = source.unwrap_or(&own);
        // The port is the kernel's choice, so that runs never meet.
        fs::write(
            folder.join("worker.toml"),
            format!(
                "\"key.converter\" = \"string\"\n\"value.converter\" = \"string\"\n\"offset.flush.interval.ms\" = 1000\n\"broker.listeners\" = \"PLAINTEXT://127.0.0.1:0\"\n\"broker.log.dirs\" = {:?}\n",
                folder.join("data")
            ),
        )?;
        fs::write(
            folder.join("source.toml"),
            format!(
                "name = \"source\"\n\"connector.class\" = \"FileStreamSource\"\nfile = {source:?}\ntopic = \"lines\"\n"
            ),
        )?;
        fs::write(
            folder.join("sink.toml"),
            format!(
                "name = \"sink\"\n\"connector.class\" = \"FileStreamSink\"\nfile = {:?}\ntopics = \"lines\"\n",
                folder.join("test.sink.txt")
            ),
        )?;
        let log = File::create(folder.join("worker.log"))?;
        let arguments = ["worker.toml", "source.toml", "sink.toml"];
        let process = spawn("connect-standalone", arguments, folder, log)?;
        Ok(Self {
            process,
            folder: folder.to_owned(),
        })
    }

    fn sink(&self) -> PathBuf {
        self.folder.join("test.sink.txt")
    }

    /// Waits until the sink has `bytes`, looking every `pause`.
    fn wait_for(&mut self, bytes: u64, pause: Duration) -> Outcome<()> {
        let began = Instant::now();
        while fs::metadata(self.sink()).map_or(0, |found| found.len()) < bytes {
            if let Some(status) = self.process.try_wait()? {
                let log = fs::read_to_string(self.folder.join("worker.log"))?;
                return Err(format!("the worker ended with {status}:\n{log}").into());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("the sink did not reach {bytes} bytes in {PATIENCE:?}").into());
            }
            sleep(pause);
        }
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        if self.process.kill().is_ok() && self.process.wait().is_err() {
            eprintln!("connect-bench: the worker could not be waited for");
        }
    }
}

fn clean(folder: &Path) -> io::Result<()> {
    for name in ["data", "test.txt", "test.sink.txt"] {
        let path = folder.join(name);
        if path.is_dir() {
            fs::remove_dir_all(path)?;
        } else if path.exists() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Copies `source` through the worker; seconds from exec to the last byte in the sink.
pub(crate) fn copy(folder: &Path, source: &Path) -> Outcome<f64> {
    clean(folder)?;
    let bytes = fs::metadata(source)?.len();
    let began = Instant::now();
    let mut worker = Worker::start(folder, Some(source))?;
    worker.wait_for(bytes, Duration::from_millis(2))?;
    let seconds = began.elapsed().as_secs_f64();
    drop(worker);
    clean(folder)?;
    Ok(seconds)
}

/// From exec to the first line in the sink, on an empty data folder.
pub(crate) fn startup(folder: &Path, rounds: usize) -> Outcome<()> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        clean(folder)?;
        fs::write(folder.join("test.txt"), "first\n")?;
        let began = Instant::now();
        let mut worker = Worker::start(folder, None)?;
        worker.wait_for(6, Duration::from_micros(200))?;
        times.push(began.elapsed());
    }
    let worst = times.iter().max().copied().unwrap_or_default();
    println!(
        "exec to first line in the sink, median of {rounds}: {:.1} ms (worst {:.1}; goal under 150)",
        median(times).as_secs_f64() * 1e3,
        worst.as_secs_f64() * 1e3
    );
    Ok(())
}

/// From an append to the line in the sink of a running worker.
pub(crate) fn latency(folder: &Path, rounds: usize) -> Outcome<()> {
    clean(folder)?;
    let mut file = File::create(folder.join("test.txt"))?;
    file.write_all(b"first\n")?;
    let mut worker = Worker::start(folder, None)?;
    let mut bytes = 6;
    worker.wait_for(bytes, Duration::from_millis(1))?;
    let mut times = Vec::new();
    for round in 0..rounds {
        // Not in step with any timer of the worker.
        sleep(Duration::from_millis(37 + (round as u64 * 13) % 60));
        file.write_all(b"another\n")?;
        bytes += 8;
        let began = Instant::now();
        worker.wait_for(bytes, Duration::from_micros(100))?;
        times.push(began.elapsed());
    }
    let worst = times.iter().max().copied().unwrap_or_default();
    println!(
        "append to line in the sink, median of {rounds}: {:.1} ms (worst {:.1}; goal under 50)",
        median(times).as_secs_f64() * 1e3,
        worst.as_secs_f64() * 1e3
    );
    Ok(())
}

/// Resident memory and CPU of a worker that has nothing to do.
pub(crate) fn idle(folder: &Path) -> Outcome<()> {
    clean(folder)?;
    fs::write(folder.join("test.txt"), "first\n")?;
    let mut worker = Worker::start(folder, None)?;
    worker.wait_for(6, Duration::from_millis(1))?;
    sleep(Duration::from_secs(3));
    let before = cpu_ticks(&worker.process)?;
    sleep(Duration::from_secs(10));
    let ticks = cpu_ticks(&worker.process)? - before;
    println!(
        "idle worker with embedded broker: {:.1} MB resident (goal under 25), {} ms CPU in 10 s",
        status_kb(&worker.process, "VmRSS:")? as f64 / 1000.0,
        ticks * 10
    );
    Ok(())
}

/// Peak resident memory while `mib` are copied.
pub(crate) fn memory(folder: &Path, mib: u64) -> Outcome<()> {
    clean(folder)?;
    let source = folder.join("source.txt");
    crate::raw::write_source(&source, mib << 20)?;
    let bytes = fs::metadata(&source)?.len();
    let began = Instant::now();
    let mut worker = Worker::start(folder, Some(&source))?;
    worker.wait_for(bytes, Duration::from_millis(50))?;
    println!(
        "{mib} MiB copied in {:.1} s, peak {:.1} MB resident (goal under 150)",
        began.elapsed().as_secs_f64(),
        status_kb(&worker.process, "VmHWM:")? as f64 / 1000.0
    );
    Ok(())
}
