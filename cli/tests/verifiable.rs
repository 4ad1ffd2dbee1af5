//! Kafka's verifiable connectors check the worker: what was written, committed, read and flushed is on
//! its standard output.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
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

/// The lines of JSON that were printed, whole ones only.
fn printed(job: &Job) -> Vec<Value> {
    let text = fs::read_to_string(job.path("printed")).unwrap_or_default();
    let lines = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    lines
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(Value::is_object)
        .collect()
}

/// The numbers of each task among the lines that this is true of.
fn numbers(lines: &[Value], of: impl Fn(&Value) -> bool) -> BTreeMap<i64, BTreeSet<i64>> {
    let mut numbers: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for line in lines.iter().filter(|line| of(line)) {
        let number = |key: &str| {
            line[key]
                .as_i64()
                .unwrap_or_else(|| panic!("{key} in {line}"))
        };
        numbers
            .entry(number("task"))
            .or_default()
            .insert(number("seqno"));
    }
    numbers
}

fn is_read(line: &Value) -> bool {
    line.get("sinkTask").is_some() && line.get("flushed").is_none()
}

#[test]
fn after_kill_9_no_number_of_a_verifiable_source_is_missing_in_the_sink() {
    let source = format!(
        "name=verify-source\nconnector.class={SOURCE}\ntasks.max=2\ntopic=verify\nthroughput=2000\n\
         topic.creation.default.partitions=2\ntopic.creation.default.replication.factor=1\n"
    );
    let sink = "name=verify-sink\nconnector.class=VerifiableSink\ntopics=verify\n".to_owned();
    let job = job(&[("source.properties", source), ("sink.properties", sink)]);
    for round in 1..=3 {
        let running = start(&job);
        let before = printed(&job).len();
        world::wait_for("records are on their way", || {
            printed(&job).len() > before + 200
        });
        std::thread::sleep(Duration::from_millis(200 * round));
        drop(running);
    }
    let running = start(&job);
    let committed = |line: &Value| line["committed"] == true;
    let last = |numbers: BTreeMap<i64, BTreeSet<i64>>, task: i64| -> i64 {
        numbers
            .get(&task)
            .and_then(|numbers| numbers.last().copied())
            .unwrap_or(-1)
    };
    let before = printed(&job);
    world::wait_for("both tasks have committed more", || {
        let now = printed(&job);
        [0, 1].iter().all(|task| {
            last(numbers(&now, committed), *task) > last(numbers(&before, committed), *task) + 500
        })
    });
    assert_eq!(running.interrupt(), Some(0));
    let running = start(&job);
    let end = numbers(&printed(&job), committed);
    world::wait_for("what is committed was read", || {
        let read = numbers(&printed(&job), is_read);
        end.iter()
            .all(|(task, numbers)| read.get(task).is_some_and(|read| read.is_superset(numbers)))
    });
    assert_eq!(running.interrupt(), Some(0));

    let lines = printed(&job);
    let (written, read) = (
        numbers(&lines, |line| line["name"] == "verify-source"),
        numbers(&lines, is_read),
    );
    for task in [0, 1] {
        let last = *read[&task].last().unwrap();
        let all: BTreeSet<i64> = (0..=last).collect();
        let missing: Vec<&i64> = all.difference(&read[&task]).take(5).collect();
        assert!(missing.is_empty(), "task {task} lost {missing:?}");
        assert!(
            written[&task].is_superset(&all),
            "what is read was written, task {task}"
        );
    }
    assert!(
        lines
            .iter()
            .any(|line| line["flushed"] == true && line["sinkTask"] == 0)
    );
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
