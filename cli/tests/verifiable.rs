//! Kafka's verifiable connectors check the worker: what was written, committed, read and flushed is on
//! its standard output.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use world::job::{Job, LIMIT, Running};

const SOURCE: &str = "org.apache.kafka.connect.tools.VerifiableSourceConnector";

/// Starts the worker with what it prints at the end of the file `printed`; it can be interrupted when
/// this returns.
fn start(job: &Job) -> Running {
    let starts = || {
        let text = fs::read_to_string(job.path("printed")).unwrap_or_default();
        text.lines()
            .filter(|line| line.starts_with("stop:"))
            .count()
    };
    let before = starts();
    let printed = OpenOptions::new()
        .create(true)
        .append(true)
        .open(job.path("printed"))
        .unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_connect-standalone"))
        .args(&job.files)
        .current_dir(job.folder.path())
        .stdout(printed)
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut running = Running {
        child,
        banner: Vec::new(),
    };
    wait_for(&mut running, "it is started", || match starts() > before {
        true => Ok(()),
        false => Err("it has printed no banner".to_owned()),
    });
    running
}

/// Waits for something of a worker that runs; while it is not so, the error says how far it is.
fn wait_for(running: &mut Running, what: &str, mut is_so: impl FnMut() -> Result<(), String>) {
    let begun = Instant::now();
    while let Err(so_far) = is_so() {
        if let Some(status) = running.child.try_wait().unwrap() {
            panic!("the worker ended by itself ({status}) before {what}: {so_far}");
        }
        assert!(
            begun.elapsed() < LIMIT,
            "waited too long until {what}: {so_far}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A job with these connector files.
fn job(files: &[(&'static str, String)]) -> Job {
    let mut job = Job::new(["worker.toml", "file-source.toml", "file-sink.toml"]);
    job.files.truncate(1);
    let worker = fs::read_to_string(job.path("worker.toml")).unwrap();
    let worker =
        worker.replace("storage.StringConverter", "json.JsonConverter") + "\nlisteners = \"\"\n";
    fs::write(job.path("worker.toml"), worker).unwrap();
    for (file, text) in files {
        fs::write(job.path(file), text).unwrap();
        job.files.push(file);
    }
    job
}

/// The numbers of each task.
#[derive(Default)]
struct Numbers(BTreeMap<i64, BTreeSet<i64>>);

impl Numbers {
    fn add(&mut self, line: &Value) {
        let number = |key: &str| {
            line[key]
                .as_i64()
                .unwrap_or_else(|| panic!("{key} in {line}"))
        };
        self.0
            .entry(number("task"))
            .or_default()
            .insert(number("seqno"));
    }

    fn of(&self, task: i64) -> BTreeSet<i64> {
        self.0.get(&task).cloned().unwrap_or_default()
    }

    fn last(&self, task: i64) -> i64 {
        let numbers = self.0.get(&task);
        numbers
            .and_then(|numbers| numbers.last().copied())
            .unwrap_or(-1)
    }

    fn has(&self, task: i64, numbers: &BTreeSet<i64>) -> bool {
        self.0
            .get(&task)
            .is_some_and(|own| own.is_superset(numbers))
    }
}

/// What the lines of JSON say that were printed so far, whole ones only. Each line is read once: there are
/// many of them, and reading all of them again would hold up the worker that is looked at.
#[derive(Default)]
struct Printed {
    /// Bytes that are read.
    at: u64,
    lines: usize,
    written: Numbers,
    committed: Numbers,
    read: Numbers,
    flushed: bool,
}

impl Printed {
    /// Reads on.
    fn look(&mut self, job: &Job) {
        let Ok(mut file) = fs::File::open(job.path("printed")) else {
            return;
        };
        file.seek(SeekFrom::Start(self.at)).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            return;
        };
        self.at += end as u64 + 1;
        for line in bytes[..end].split(|byte| *byte == b'\n') {
            // What a crash cut off has the next line behind it.
            if let Ok(line @ Value::Object(_)) = serde_json::from_slice(line) {
                self.add(&line);
            }
        }
    }

    fn add(&mut self, line: &Value) {
        self.lines += 1;
        if line["name"] == "verify-source" {
            self.written.add(line);
        }
        if line["committed"] == true {
            self.committed.add(line);
        }
        if line.get("sinkTask").is_some() && line.get("flushed").is_none() {
            self.read.add(line);
        }
        self.flushed |= line["flushed"] == true && line["sinkTask"] == 0;
    }
}

#[test]
fn after_kill_9_no_number_of_a_verifiable_source_is_missing_in_the_sink() {
    let source = format!(
        "name=verify-source\nconnector.class={SOURCE}\ntasks.max=2\ntopic=verify\nthroughput=1000\n\
         topic.creation.default.partitions=2\ntopic.creation.default.replication.factor=1\n"
    );
    let sink = "name=verify-sink\nconnector.class=VerifiableSink\ntopics=verify\n".to_owned();
    let job = job(&[("source.properties", source), ("sink.properties", sink)]);
    let mut printed = Printed::default();
    for round in 1..=3 {
        let mut running = start(&job);
        printed.look(&job);
        let before = printed.lines;
        wait_for(&mut running, "records are on their way", || {
            printed.look(&job);
            match printed.lines > before + 200 {
                true => Ok(()),
                false => Err(format!("{} lines, {before} before", printed.lines)),
            }
        });
        // Wherever this catches it.
        std::thread::sleep(Duration::from_millis(200 * round));
        drop(running);
    }
    let mut running = start(&job);
    printed.look(&job);
    let before = [0, 1].map(|task| printed.committed.last(task));
    wait_for(&mut running, "both tasks have committed more", || {
        printed.look(&job);
        let now = [0, 1].map(|task| printed.committed.last(task));
        match before
            .iter()
            .zip(&now)
            .all(|(before, now)| *now > before + 500)
        {
            true => Ok(()),
            false => Err(format!("up to {now:?}, {before:?} before")),
        }
    });
    assert_eq!(running.interrupt(), Some(0));
    let mut running = start(&job);
    printed.look(&job);
    let end = [0, 1].map(|task| printed.committed.of(task));
    wait_for(&mut running, "what is committed was read", || {
        printed.look(&job);
        match [0, 1]
            .iter()
            .zip(&end)
            .all(|(task, end)| printed.read.has(*task, end))
        {
            true => Ok(()),
            false => Err(format!(
                "up to {:?}",
                [0, 1].map(|task| printed.read.last(task))
            )),
        }
    });
    assert_eq!(running.interrupt(), Some(0));

    printed.look(&job);
    for task in [0, 1] {
        let read = printed.read.of(task);
        let all: BTreeSet<i64> = (0..=printed.read.last(task)).collect();
        let missing: Vec<&i64> = all.difference(&read).take(5).collect();
        assert!(missing.is_empty(), "task {task} lost {missing:?}");
        assert!(
            printed.written.has(task, &all),
            "what is read was written, task {task}"
        );
    }
    assert!(printed.flushed);
}

#[test]
fn the_schema_source_writes_each_of_its_records_once_over_clean_restarts() {
    let source = "name=structs\nconnector.class=SchemaSource\ntopic=structs\nnum.messages=900\n\
                  throughput=400\nmultiple.schema=true\n"
        .to_owned();
    let sink =
        "name=structs-sink\nconnector.class=FileStreamSink\nfile=structs.txt\ntopics=structs\n"
            .to_owned();
    let job = job(&[("source.properties", source), ("sink.properties", sink)]);
    let lines = || -> Vec<String> {
        let text = fs::read_to_string(job.path("structs.txt")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let reach = |count: usize| {
        let lines = lines();
        let last = lines.last().cloned().unwrap_or_default();
        match lines.len() >= count {
            true => Ok(()),
            false => Err(format!(
                "{} records are there, the last is {last}",
                lines.len()
            )),
        }
    };
    for count in [100, 900] {
        let mut running = start(&job);
        wait_for(&mut running, &format!("{count} are there"), || reach(count));
        assert_eq!(running.interrupt(), Some(0));
    }
    let lines = lines();
    assert_eq!(lines.len(), 900);
    for (seqno, line) in lines.iter().enumerate() {
        assert!(line.contains(&format!("seqno={seqno}}}")), "{line}");
        assert_eq!(line.contains("string=def"), seqno % 2 == 1, "{line}");
    }
}
