//! `connect offsets` and `connect loggers` against a worker in another process.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use world::job::{Job, LIMIT, Running};
use world::{Broker, connect, done, refused, wait_for, wait_for_content};

const SINK: &str = "local-file-sink";
const SOURCE: &str = "local-file-source";

/// Waits until the offsets of a connector are shown so.
fn wait_for_offsets(job: &Job, running: &Running, name: &str, expected: &str) {
    wait_for(expected, || {
        let shown = running.connect(job, &["offsets", "show", name, "--no-headers"]);
        let words: Vec<&str> = done(&shown).split_whitespace().collect();
        words.join(" ").contains(expected)
    });
}

#[test]
fn a_source_is_sent_back_and_begins_anew() {
    let (job, running) = Job::started();
    job.append("foo\nbar\n");
    job.expect("foo\nbar\n");
    wait_for_offsets(&job, &running, SOURCE, "\"position\":8,");
    let partition = ["--partition", "{\"filename\":\"test.txt\"}"];
    let set = |offset: &str| {
        let words = [
            &["offsets", "set", SOURCE],
            &partition[..],
            &["--offset", offset],
        ];
        running.connect(&job, &words.concat())
    };
    // A connector that runs would write its own offset again.
    let early = set("{\"position\":4}");
    let said = refused(&early);
    assert!(said.contains("STOPPED state"), "{said}");
    assert!(said.contains("connect connectors stop NAME"), "{said}");

    done(&running.connect(&job, &["connectors", "stop", SOURCE]));
    assert!(done(&set("{\"position\":4}")).contains("altered successfully"));
    done(&running.connect(&job, &["connectors", "resume", SOURCE]));
    job.expect("foo\nbar\nbar\n");

    done(&running.connect(&job, &["connectors", "stop", SOURCE]));
    let reset = running.connect(&job, &["offsets", "reset", SOURCE]);
    assert!(
        done(&reset).contains("reset successfully"),
        "{}",
        reset.stdout
    );
    done(&running.connect(&job, &["connectors", "resume", SOURCE]));
    job.expect("foo\nbar\nbar\nfoo\nbar\n");

    let only_sinks = running.connect(&job, &["offsets", "set", SOURCE, "--to-latest"]);
    assert!(
        refused(&only_sinks).contains("is a source"),
        "{}",
        only_sinks.stderr
    );
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn what_is_shown_as_json_is_taken_back() {
    let (job, running) = Job::started();
    job.append("foo\n");
    job.expect("foo\n");
    wait_for_offsets(&job, &running, SOURCE, "\"position\":4,");
    let shown = running.connect(&job, &["offsets", "show", SOURCE, "-o", "json"]);
    job.write("at.json", done(&shown));
    job.append("bar\n");
    job.expect("foo\nbar\n");
    done(&running.connect(&job, &["connectors", "stop", SOURCE]));
    done(&running.connect(&job, &["offsets", "set", SOURCE, "--file", "at.json"]));
    done(&running.connect(&job, &["connectors", "resume", SOURCE]));
    job.expect("foo\nbar\nbar\n");
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn a_sink_reads_again_from_where_it_is_told() {
    let (job, running) = Job::started();
    let broker = running.broker();
    job.append("foo\nbar\n");
    job.expect("foo\nbar\n");
    wait_for_offsets(&job, &running, SINK, "connect-test 0 2");
    done(&running.connect(&job, &["connectors", "stop", SINK]));
    let set = |words: &[&str]| {
        let at = ["--bootstrap-server", broker.as_str()];
        running.connect(&job, &[&["offsets", "set", SINK], words, &at].concat())
    };
    let shown = set(&["--to-earliest", "--dry-run"]);
    assert_eq!(
        done(&shown),
        "TOPIC         PARTITION  OFFSET\nconnect-test  0          0\n"
    );
    wait_for_offsets(&job, &running, SINK, "connect-test 0 2");
    assert!(done(&set(&["--to-earliest"])).contains("altered successfully"));
    done(&running.connect(&job, &["connectors", "resume", SINK]));
    job.expect("foo\nbar\nfoo\nbar\n");

    done(&running.connect(&job, &["connectors", "stop", SINK]));
    done(&set(&["--topic", "connect-test:0", "--to-offset", "1"]));
    wait_for_offsets(&job, &running, SINK, "connect-test 0 1");
    done(&set(&["--to-datetime", "1999-01-01T00:00:00"]));
    wait_for_offsets(&job, &running, SINK, "connect-test 0 0");
    done(&set(&["--to-latest"]));
    done(&running.connect(&job, &["connectors", "resume", SINK]));
    job.append("baz\n");
    wait_for_content(
        &job.path("test.sink.txt"),
        "foo\nbar\nfoo\nbar\nbaz\n",
        LIMIT,
    );
    let absent = set(&["--to-latest", "--topic", "absent"]);
    assert!(refused(&absent).contains("absent"), "{}", absent.stderr);
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn offsets_of_another_cluster_are_never_taken() {
    let (job, running) = Job::started();
    job.append("foo\n");
    job.expect("foo\n");
    done(&running.connect(&job, &["connectors", "stop", SINK]));
    let other = Broker::start();
    let words = [
        "offsets",
        "set",
        SINK,
        "--to-latest",
        "--bootstrap-server",
        &other.address,
    ];
    let run = running.connect(&job, &words);
    let said = refused(&run);
    assert!(
        said.contains("belongs to cluster") && said.contains("--bootstrap-server"),
        "{said}"
    );
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn one_place_to_go_on_is_needed_and_only_one() {
    for words in [
        vec!["offsets", "set", "a"],
        vec!["offsets", "set", "a", "--to-latest", "--to-earliest"],
        vec!["offsets", "set", "a", "--to-offset", "1"],
        vec!["offsets", "set", "a", "--offset", "{}"],
        vec!["offsets"],
    ] {
        let run = connect(&words);
        assert_eq!(run.code, 2, "{words:?}: {}", run.stderr);
    }
}

#[test]
fn levels_of_loggers_are_changed_while_the_worker_runs() {
    let (job, running) = Job::started();
    let set = running.connect(&job, &["loggers", "set", "connect_runtime::sink", "debug"]);
    assert!(
        done(&set).starts_with("at DEBUG now: connect_runtime::sink"),
        "{}",
        set.stdout
    );
    let list = running.connect(&job, &["loggers", "list"]);
    let line = done(&list)
        .lines()
        .find(|line| line.starts_with("connect_runtime::sink "));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    assert_eq!(words[1], "DEBUG");
    assert!(
        words[2].starts_with("20") && words[2].ends_with('Z'),
        "{words:?}"
    );
    let wrong = running.connect(&job, &["loggers", "set", "root", "loud"]);
    for word in ["LOUD", "DEBUG"] {
        assert!(refused(&wrong).contains(word), "{}", wrong.stderr);
    }
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn changes_of_offsets_are_kept_over_restarts_and_can_be_undone() {
    let (job, running) = Job::started();
    job.append("foo\nbar\n");
    job.expect("foo\nbar\n");
    wait_for_offsets(&job, &running, SOURCE, "\"position\":8,");
    wait_for_offsets(&job, &running, SINK, "connect-test 0 2");
    let broker = running.broker();
    let nothing = running.connect(&job, &["offsets", "undo", SINK]);
    assert!(
        refused(&nothing).contains("nothing was changed"),
        "{}",
        nothing.stderr
    );
    for name in [SOURCE, SINK] {
        done(&running.connect(&job, &["connectors", "stop", name]));
    }
    let shown = running.connect(&job, &["offsets", "show", SOURCE, "--no-headers"]);
    let before = done(&shown).to_owned();
    done(&running.connect(&job, &["offsets", "reset", SOURCE]));
    let to = ["--to-timestamp", "0", "--bootstrap-server", &broker];
    let set = [&["offsets", "set", SINK], &to[..]].concat();
    done(&running.connect(&job, &set));
    wait_for_offsets(&job, &running, SINK, "connect-test 0 0");
    assert_eq!(running.interrupt(), Some(0));

    let running = job.start();
    for name in [SOURCE, SINK] {
        done(&running.connect(&job, &["connectors", "stop", name]));
    }
    let history = running.connect(&job, &["offsets", "history", SINK]);
    assert!(done(&history).contains(" set   1"), "{}", history.stdout);
    let history = running.connect(&job, &["offsets", "history", SOURCE]);
    assert!(done(&history).contains(" reset  1"), "{}", history.stdout);
    // Meanwhile they have come further; what is undone is the change, all the same.
    let dry = running.connect(&job, &["offsets", "undo", SINK, "--dry-run"]);
    let words: Vec<&str> = done(&dry).split_whitespace().collect();
    assert_eq!(words[3..], ["connect-test", "0", "2"]);
    done(&running.connect(&job, &["offsets", "undo", SINK]));
    wait_for_offsets(&job, &running, SINK, "connect-test 0 2");
    done(&running.connect(&job, &["offsets", "undo", SOURCE]));
    let shown = running.connect(&job, &["offsets", "show", SOURCE, "--no-headers"]);
    assert_eq!(done(&shown), before);
    // To undo is a change, too.
    let history = running.connect(&job, &["offsets", "history", SOURCE, "-o", "json"]);
    let changes: serde_json::Value = serde_json::from_str(done(&history)).unwrap();
    assert_eq!(changes[1]["number"], 2);
    assert_eq!(changes[1]["after"], changes[0]["before"]);
    let unknown = running.connect(&job, &["offsets", "undo", SINK, "--change", "9"]);
    assert!(
        refused(&unknown).contains("there is no change 9"),
        "{}",
        unknown.stderr
    );
    assert_eq!(running.interrupt(), Some(0));
}
