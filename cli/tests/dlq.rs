//! `connect dlq` against a worker in another process, whose sink refuses every third line.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use serde_json::Value;
use world::job::{Job, Running};
use world::{Run, connect, done, wait_for};

const SINK: &str = "local-file-sink";
const QUEUE: &str = "\"value.converter\" = \"json\"\n\"value.converter.schemas.enable\" = false\n\
    errors.tolerance = \"all\"\nerrors.deadletterqueue.topic.name = \"dead\"\n\
    errors.deadletterqueue.context.headers.enable = true\n";

/// The shipped job, with more in the sink's file.
fn start(more: &str) -> (Job, Running) {
    let job = Job::with_rest(["worker.toml", "file-source.toml", "file-sink.toml"]);
    let sink = std::fs::read_to_string(job.path("file-sink.toml")).unwrap();
    job.write("file-sink.toml", &(sink + more));
    let running = job.start();
    (job, running)
}

fn dlq(job: &Job, running: &Running, words: &[&str]) -> Run {
    let broker = running.broker();
    let words = [&["dlq"], words, &["--bootstrap-server", &broker]].concat();
    running.connect(job, &words)
}

#[test]
fn letters_are_listed_with_place_and_reason() {
    let (job, running) = start(QUEUE);
    let empty = dlq(&job, &running, &["ls", SINK]);
    assert_eq!(done(&empty), "");
    assert!(empty.stderr.contains("no letters"), "{}", empty.stderr);

    job.append("1\n{ two\n3\n{ four\n5\n");
    // The good ones around them have arrived, so the bad ones are in the queue.
    job.expect("1\n3\n5\n");
    let list = dlq(&job, &running, &["ls", SINK]);
    let lines: Vec<Vec<&str>> = done(&list)
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["LETTER", "TIME", "FROM", "STAGE", "ERROR"]);
    assert_eq!(
        (lines[1][0], lines[1][2], lines[1][3]),
        ("0:0", "connect-test-0@1", "VALUE_CONVERTER")
    );
    assert_eq!((lines[2][0], lines[2][2]), ("0:1", "connect-test-0@3"));
    assert_eq!(lines.len(), 3);
    assert!(list.stdout.contains("JSON"), "{}", list.stdout);

    let newest = dlq(&job, &running, &["ls", SINK, "--max", "1", "--no-headers"]);
    assert!(done(&newest).starts_with("0:1 "), "{}", newest.stdout);
    let wide = dlq(&job, &running, &["ls", SINK, "-o", "wide"]);
    assert!(
        done(&wide).contains(" local-file-sink-0 "),
        "{}",
        wide.stdout
    );
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn a_letter_is_shown_as_a_whole() {
    let (job, running) = start(QUEUE);
    job.append("{ two\n{ four\n5\n");
    job.expect("5\n");
    let shown = dlq(&job, &running, &["show", SINK, "0:1"]);
    let text = done(&shown);
    for expected in [
        "letter 0:1, 20",
        "  key ",
        " null\n",
        " \"{ four\"\n",
        "  connector.name ",
        "  exception.class.name ",
        "  exception.stacktrace\n",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("{ two"), "{text}");
    let json = dlq(&job, &running, &["show", SINK, "-o", "json"]);
    let json: Value = serde_json::from_str(done(&json)).unwrap();
    assert_eq!(json[0]["value"], "{ two");
    let error = json[0]["error"].as_object().unwrap();
    // All ten of Kafka's headers.
    assert_eq!(error.len(), 10, "{error:?}");
    assert_eq!(error["topic"], "connect-test");
    let absent = dlq(&job, &running, &["show", SINK, "0:99"]);
    assert_eq!(absent.code, 1);
    assert!(
        absent.stderr.contains("no letter 0:99"),
        "{}",
        absent.stderr
    );
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn letters_of_others_are_left_out_unless_asked_for() {
    let (job, running) = start(QUEUE);
    job.append("{ two\n5\n");
    job.expect("5\n");
    let words = ["ls", "local-file-source", "--topic", "dead"];
    let none = dlq(&job, &running, &words);
    assert_eq!(done(&none), "");
    assert!(
        none.stderr.contains("left out: 1 of other connectors"),
        "{}",
        none.stderr
    );
    let all = dlq(&job, &running, &[&words[..], &["--all"]].concat());
    assert!(done(&all).contains("connect-test-0@0"), "{}", all.stdout);
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn a_connector_without_a_queue_is_told_how_to_have_one() {
    let (job, running) = start("");
    let run = dlq(&job, &running, &["ls", SINK]);
    assert_eq!(run.code, 1);
    for key in ["errors.tolerance=all", "errors.deadletterqueue.topic.name"] {
        assert!(run.stderr.contains(key), "{}", run.stderr);
    }
    assert_eq!(running.interrupt(), Some(0));
    for words in [
        vec!["dlq"],
        vec!["dlq", "show", "a", "first"],
        vec!["dlq", "ls", "a", "--max", "0"],
    ] {
        let run = connect(&words);
        assert_eq!(run.code, 2, "{words:?}: {}", run.stderr);
    }
}

#[test]
fn what_was_mended_is_replayed_once_and_never_goes_in_circles() {
    let (job, running) = start(QUEUE);
    job.append("{ two\n3\n");
    job.expect("3\n");
    let shown = dlq(&job, &running, &["replay", SINK, "--dry-run"]);
    let words: Vec<&str> = done(&shown).split_whitespace().collect();
    assert_eq!(
        words.join(" "),
        "0:0 connect-test-0@0 would go to connect-test-0"
    );

    // Not mended yet: it fails again, and stays then.
    let sent = dlq(&job, &running, &["replay", SINK]);
    assert_eq!(done(&sent), "1 replayed\n");
    wait_for("the record to fail again", || {
        let list = dlq(&job, &running, &["ls", SINK, "--no-headers"]);
        done(&list).lines().count() == 2
    });
    let guarded = dlq(&job, &running, &["replay", SINK]);
    assert_eq!(done(&guarded), "0 replayed, 1 left\n");
    assert!(
        guarded
            .stderr
            .contains("letter 0:1 stays: it was replayed before"),
        "{}",
        guarded.stderr
    );
    let nothing = dlq(&job, &running, &["replay", SINK]);
    assert_eq!(done(&nothing), "0 replayed\n");

    // Text needs no JSON.
    let sink = std::fs::read_to_string(job.path("file-sink.toml")).unwrap();
    let mended = sink
        .replace(
            "\"value.converter\" = \"json\"",
            "\"value.converter\" = \"string\"",
        )
        .replace("\"value.converter.schemas.enable\" = false\n", "");
    job.write("mended.toml", &mended);
    done(&running.connect(&job, &["connectors", "apply", "mended.toml"]));
    let again = dlq(
        &job,
        &running,
        &["replay", SINK, "--again", "--from-beginning"],
    );
    assert_eq!(done(&again), "2 replayed\n");
    job.expect("3\n{ two\n{ two\n");

    let source = dlq(
        &job,
        &running,
        &["replay", "local-file-source", "--topic", "dead"],
    );
    assert_eq!(source.code, 1);
    assert!(source.stderr.contains("--to-topic"), "{}", source.stderr);
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn a_replay_goes_on_where_the_last_one_ended() {
    let (job, running) = start(QUEUE);
    job.append("{ two\n{ four\n5\n");
    job.expect("5\n");
    let words = ["replay", SINK, "--max", "1", "--to-topic", "mended"];
    let first = dlq(&job, &running, &words);
    assert_eq!(done(&first), "1 replayed\n");
    assert!(first.stderr.contains("run it again"), "{}", first.stderr);
    assert_eq!(done(&dlq(&job, &running, &words)), "1 replayed\n");
    assert_eq!(done(&dlq(&job, &running, &words)), "0 replayed\n");
    let broker = running.broker();
    let consume = [
        "consume",
        "--topic",
        "mended",
        "--from-beginning",
        "--max-messages",
        "2",
    ];
    let consumed = connect(&[&consume[..], &["--bootstrap-server", &broker]].concat());
    assert_eq!(done(&consumed), "{ two\n{ four\n");
    assert_eq!(running.interrupt(), Some(0));
}
