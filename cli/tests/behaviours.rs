//! Behaviours of Kafka Connect's standalone worker that need the shipped program, and that it keeps what
//! REST was told through `kill -9`; `docs/conformance.md` says where all of them are shown.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use std::fs;
use std::path::Path;

use world::job::{Job, LIMIT, Running};
use world::{wait_for, wait_for_content};

fn ask(running: &Running, line: &str, body: &str, status: u16) -> String {
    let (answered, text) = running.request(line, body).unwrap();
    assert_eq!(answered, status, "{line}: {text}");
    text
}

/// The shipped job with its worker's converters replaced.
fn with_converters(keys: &str) -> Job {
    let job = Job::new(["worker.toml", "file-source.toml", "file-sink.toml"]);
    let worker = "\"broker.listeners\" = \"PLAINTEXT://127.0.0.1:0\"\nlisteners = \"\"\n\
                  \"offset.flush.interval.ms\" = 200\n";
    job.write("worker.toml", &format!("{worker}{keys}"));
    job
}

#[test]
fn lines_are_exact_with_every_converter() {
    // Everything that a converter might change: nothing, blanks, quotes, another script, JSON itself.
    let lines = "first\n\n  blanks \t\n\"quoted\" \\ back\néßあ😀\n{\"a\":1}\nnull\n";
    for keys in [
        "\"key.converter\" = \"json\"\n\"value.converter\" = \"json\"\n",
        "\"key.converter\" = \"json\"\n\"value.converter\" = \"json\"\n\
         \"value.converter.schemas.enable\" = false\n\"key.converter.schemas.enable\" = false\n",
        "\"key.converter\" = \"string\"\n\"value.converter\" = \"string\"\n",
    ] {
        let job = with_converters(keys);
        job.append(lines);
        let running = job.start();
        job.expect(lines);
        assert_eq!(running.interrupt(), Some(0), "{keys}");
        job.append("after a restart\n");
        let running = job.start();
        job.expect(&format!("{lines}after a restart\n"));
        assert_eq!(running.interrupt(), Some(0), "{keys}");
    }
}

#[test]
fn files_on_the_command_line_may_be_requests_flat_json_or_properties() {
    let mut job = Job::with_rest(["worker.toml", "file-source.toml", "file-sink.toml"]);
    job.write(
        "request.json",
        r#"{"name": "request", "initial_state": "STOPPED", "something": ["else"],
            "config": {"connector.class": "FileStreamSink", "topics": "t", "file": "a.txt"}}"#,
    );
    job.write(
        "running.json",
        r#"{"name": "running",
            "config": {"connector.class": "FileStreamSink", "topics": "t", "file": "b.txt"}}"#,
    );
    job.write(
        "flat.json",
        r#"{"name": "flat", "connector.class": "FileStreamSink", "topics": "t", "file": "c.txt"}"#,
    );
    job.write(
        "plain.properties",
        "name=plain\nconnector.class=FileStreamSink\ntopics=t\nfile=d.txt\n",
    );
    job.files = vec![
        "worker.toml",
        "request.json",
        "running.json",
        "flat.json",
        "plain.properties",
    ];
    let running = job.start();
    let state = |name: &str| {
        let text = ask(&running, &format!("GET /connectors/{name}/status"), "", 200);
        let status: serde_json::Value = serde_json::from_str(&text).unwrap();
        let state = status["connector"]["state"].as_str().unwrap();
        (state.to_owned(), status["tasks"].as_array().unwrap().len())
    };
    for name in ["running", "flat", "plain"] {
        wait_for("it to run", || state(name) == ("RUNNING".to_owned(), 1));
    }
    assert_eq!(state("request"), ("STOPPED".to_owned(), 0));
    assert_eq!(running.interrupt(), Some(0));

    // Without a name nothing starts at all.
    job.write(
        "flat.json",
        r#"{"connector.class": "FileStreamSink", "topics": "t"}"#,
    );
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_connect-standalone"))
        .args(&job.files)
        .current_dir(job.folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(3), "{said}");
    assert!(
        said.contains("flat.json") && said.contains("name"),
        "{said}"
    );
}

fn lines(range: std::ops::Range<usize>) -> String {
    range.map(|number| format!("line {number}\n")).collect()
}

/// The lines of a file, each where it came first.
fn firsts(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut seen = std::collections::BTreeSet::new();
    text.split_inclusive('\n')
        .filter(|line| seen.insert(line.to_owned()))
        .collect()
}

fn until_firsts(path: &Path, expected: &str) {
    let what = format!("every line in {}", path.display());
    wait_for(&what, || firsts(path) == expected);
}

/// Running, paused and stopped connectors, some with offsets that were set; all made by REST, and killed
/// again and again while lines are copied.
#[test]
fn connectors_made_by_rest_have_their_states_offsets_and_records_after_kill_9() {
    let mut job = Job::with_rest(["worker.toml", "file-source.toml", "file-sink.toml"]);
    job.files = vec!["worker.toml"];
    fs::write(job.path("in.txt"), lines(0..10)).unwrap();
    fs::write(job.path("other.txt"), lines(0..10)).unwrap();
    let source = |file: &str, topic: &str| {
        format!(r#"{{"connector.class":"FileStreamSource","file":"{file}","topic":"{topic}"}}"#)
    };
    let sink = |file: &str, topic: &str| {
        format!(r#"{{"connector.class":"FileStreamSink","file":"{file}","topics":"{topic}"}}"#)
    };
    let make = |running: &Running, name: &str, config: &str| {
        ask(
            running,
            &format!("PUT /connectors/{name}/config"),
            config,
            201,
        );
    };
    let running = job.start();
    make(&running, "run-source", &source("in.txt", "lines"));
    make(&running, "run-sink", &sink("out.txt", "lines"));
    make(&running, "paused-sink", &sink("paused.txt", "lines"));
    make(&running, "stopped-sink", &sink("stopped.txt", "lines"));
    make(&running, "stopped-source", &source("other.txt", "others"));
    make(&running, "others-sink", &sink("others.txt", "others"));
    for file in ["out.txt", "paused.txt", "stopped.txt", "others.txt"] {
        wait_for_content(&job.path(file), &lines(0..10), LIMIT);
    }
    ask(&running, "PUT /connectors/paused-sink/pause", "", 202);
    ask(&running, "PUT /connectors/stopped-sink/stop", "", 204);
    ask(&running, "PUT /connectors/stopped-source/stop", "", 204);
    let sink_offsets = r#"{"offsets":[{"partition":{"kafka_topic":"lines","kafka_partition":0},"offset":{"kafka_offset":4}}]}"#;
    ask(
        &running,
        "PATCH /connectors/stopped-sink/offsets",
        sink_offsets,
        200,
    );
    let position = lines(0..7).len();
    let source_offsets = format!(
        r#"{{"offsets":[{{"partition":{{"filename":"other.txt"}},"offset":{{"position":{position}}}}}]}}"#
    );
    ask(
        &running,
        "PATCH /connectors/stopped-source/offsets",
        &source_offsets,
        200,
    );
    drop(running);

    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let mut count = 10;
    for round in 0..5 {
        let running = job.start();
        wait_for("all to be in their states", || {
            let shown = parsed(&ask(&running, "GET /connectors?expand=status", "", 200));
            let shown = shown.as_object().unwrap();
            assert_eq!(shown.len(), 6, "round {round}: {shown:?}");
            shown.iter().all(|(name, of)| {
                let state = &of["status"]["connector"]["state"];
                *state
                    == match name.split_once('-').unwrap().0 {
                        "paused" => "PAUSED",
                        "stopped" => "STOPPED",
                        _ => "RUNNING",
                    }
            })
        });
        let offsets = ask(&running, "GET /connectors/stopped-sink/offsets", "", 200);
        assert_eq!(parsed(&offsets), parsed(sink_offsets), "round {round}");
        let offsets = ask(&running, "GET /connectors/stopped-source/offsets", "", 200);
        assert_eq!(parsed(&offsets), parsed(&source_offsets), "round {round}");
        // The kill comes while these are copied, at another place in each round.
        let more = lines(count..count + 200);
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(job.path("in.txt"))
            .unwrap();
        std::io::Write::write_all(&mut file, more.as_bytes()).unwrap();
        count += 200;
        let arrived = format!("line {}\n", count - 200 + round * 40);
        wait_for("some of them to arrive", || {
            fs::read_to_string(job.path("out.txt"))
                .unwrap_or_default()
                .contains(&arrived)
        });
        drop(running);
    }

    let running = job.start();
    until_firsts(&job.path("out.txt"), &lines(0..count));
    assert_eq!(
        firsts(&job.path("paused.txt")),
        lines(0..10),
        "it was paused all the time"
    );
    for name in ["paused-sink", "stopped-sink", "stopped-source"] {
        ask(&running, &format!("PUT /connectors/{name}/resume"), "", 202);
    }
    until_firsts(&job.path("paused.txt"), &lines(0..count));
    // Behind what it had: from the offset that was set, and everything since.
    let begin = format!("{}{}", lines(0..10), lines(4..10));
    until_firsts(&job.path("stopped.txt"), &lines(0..count));
    let stopped = fs::read_to_string(job.path("stopped.txt")).unwrap();
    assert!(stopped.starts_with(&begin), "{stopped}");
    let end = lines(0..10).len();
    wait_for("the source to be at the end of its file", || {
        let offsets = ask(&running, "GET /connectors/stopped-source/offsets", "", 200);
        parsed(&offsets)["offsets"][0]["offset"]["position"] == end
    });
    // Whatever its sink got twice because of a kill it got as a whole.
    let times = |line: &str| {
        let text = fs::read_to_string(job.path("others.txt")).unwrap();
        text.lines().filter(|other| *other == line).count()
    };
    wait_for("what lies behind the offset", || {
        times("line 9") == times("line 6") + 1
    });
    assert_eq!(times("line 7"), times("line 0") + 1);
    assert_eq!(running.interrupt(), Some(0));
}
