//! The main job: file → broker → file, with the files that are shipped in `configs`.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use world::{Broker, wait_for_content};

const LIMIT: Duration = Duration::from_secs(20);

/// A folder with the shipped configuration, the worker on a port of its own.
struct Job {
    folder: TempDir,
    files: [&'static str; 3],
}

/// A worker as a process; killed at the end if the test did not stop it.
struct Running {
    child: Child,
    /// What it printed until it was running.
    banner: Vec<String>,
}

impl Job {
    fn new(files: [&'static str; 3]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
        for file in files {
            let text = fs::read_to_string(shipped.join(file)).unwrap();
            fs::write(folder.path().join(file), text.replace(":9092", ":0")).unwrap();
        }
        Self { folder, files }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, text: &str) {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("test.txt"))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn expect(&self, text: &str) {
        wait_for_content(&self.path("test.sink.txt"), text, LIMIT);
    }

    fn start(&self) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_connect-standalone"))
            .args(self.files)
            .current_dir(self.folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut banner = Vec::new();
        for line in output.lines() {
            let line = line.unwrap();
            let last = line.starts_with("stop:");
            banner.push(line);
            if last {
                break;
            }
        }
        Running { child, banner }
    }
}

impl Running {
    /// Asks it to stop, as Ctrl-C does, and gives its exit code.
    fn interrupt(mut self) -> Option<i32> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn lines_arrive_in_order_and_a_restart_brings_only_new_ones() {
    let job = Job::new(["worker.toml", "file-source.toml", "file-sink.toml"]);
    let running = job.start();
    assert!(
        (1..=10).contains(&running.banner.len()),
        "{:?}",
        running.banner
    );
    job.append("foo\nbar\n");
    job.expect("foo\nbar\n");
    job.append("baz\n");
    job.expect("foo\nbar\nbaz\n");
    assert_eq!(running.interrupt(), Some(0));

    job.append("qux\n");
    let running = job.start();
    job.expect("foo\nbar\nbaz\nqux\n");
    assert_eq!(running.interrupt(), Some(0));
    assert_eq!(
        fs::read_to_string(job.path("test.sink.txt")).unwrap(),
        "foo\nbar\nbaz\nqux\n"
    );
}

#[test]
fn the_properties_files_do_the_same_against_a_separate_broker() {
    let broker = Broker::start();
    let worker = "connect-standalone.properties";
    let job = Job::new([
        worker,
        "connect-file-source.properties",
        "connect-file-sink.properties",
    ]);
    let text = fs::read_to_string(job.path(worker)).unwrap();
    let with_broker = text.replace(
        "#bootstrap.servers=127.0.0.1:0",
        &format!("bootstrap.servers={}", broker.address),
    );
    assert_ne!(text, with_broker);
    fs::write(job.path(worker), with_broker).unwrap();
    let running = job.start();
    job.append("foo\nbar\nbaz\n");
    job.expect("foo\nbar\nbaz\n");
    let consumed = broker.tool(
        &[
            "consume",
            "--topic",
            "connect-test",
            "--from-beginning",
            "--max-messages",
            "3",
        ],
        "",
    );
    assert_eq!(consumed.stdout, "foo\nbar\nbaz\n", "{}", consumed.stderr);
    assert_eq!(running.interrupt(), Some(0));
    assert!(!job.path("data").exists());
}

#[test]
fn exit_codes_are_kafkas() {
    let standalone = Path::new(env!("CARGO_BIN_EXE_connect-standalone"));
    let usage = world::run(standalone, &[], "");
    assert_eq!(usage.code, 1);
    assert!(
        usage.stderr.to_lowercase().contains("usage"),
        "{}",
        usage.stderr
    );
    let absent = world::run(standalone, &["absent.toml"], "");
    assert_eq!(absent.code, 2);
    assert!(absent.stderr.contains("absent.toml"), "{}", absent.stderr);
    let job = Job::new(["worker.toml", "file-source.toml", "file-sink.toml"]);
    fs::write(
        job.path("odd.toml"),
        "name = \"odd\"\nconnector.class = \"FileStreamSorce\"\n",
    )
    .unwrap();
    let paths = [job.path("worker.toml"), job.path("odd.toml")];
    let arguments = paths.each_ref().map(|path| path.to_str().unwrap());
    let unknown = world::run(standalone, &arguments, "");
    assert_eq!(unknown.code, 3);
    assert!(unknown.stderr.contains("odd.toml:2:"), "{}", unknown.stderr);
    assert!(
        unknown.stderr.contains("FileStreamSource"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn both_formats_of_the_shipped_files_mean_the_same() {
    use connect_runtime::config::{Format, Settings};
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let read = |name: &str| {
        let path = folder.join(name);
        let bytes = fs::read(&path).unwrap();
        let (settings, warnings) =
            Settings::parse(Format::detect(&path, &bytes), name, &bytes).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        settings.to_map()
    };
    for (toml, properties) in [
        ("worker.toml", "connect-standalone.properties"),
        ("file-source.toml", "connect-file-source.properties"),
        ("file-sink.toml", "connect-file-sink.properties"),
        ("server.toml", "server.properties"),
    ] {
        assert_eq!(read(toml), read(properties), "{toml}");
    }
}
