//! `connect connectors` against a worker in another process.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use serde_json::Value;
use world::job::{Job, Running};
use world::{connect, done, refused, wait_for};

const SINK: &str = "name = \"copy\"\nconnector.class = \"FileStreamSink\"\nfile = \"copy.txt\"\n\
                    topics = \"connect-test\"\n";

/// Waits until a connector and its tasks are in these states.
fn wait_for_state(job: &Job, running: &Running, name: &str, state: &str, tasks: &str) {
    wait_for("the connector's state", || {
        let list = running.connect(job, &["connectors", "list", "--no-headers"]);
        let line = list.stdout.lines().find(|line| line.starts_with(name));
        let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
        words.get(2) == Some(&state) && words.get(3) == Some(&tasks)
    });
}

#[test]
fn connectors_are_listed_with_their_states() {
    let (job, running) = Job::started();
    wait_for_state(&job, &running, "local-file-sink", "RUNNING", "1/1");
    wait_for_state(&job, &running, "local-file-source", "RUNNING", "1/1");
    let list = running.connect(&job, &["connectors", "list"]);
    let lines: Vec<Vec<&str>> = done(&list)
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["NAME", "TYPE", "STATE", "TASKS", "WORKER"]);
    let worker = running.url().strip_prefix("http://").unwrap();
    assert_eq!(
        lines[1],
        ["local-file-sink", "sink", "RUNNING", "1/1", worker]
    );
    assert_eq!(lines[2][..2], ["local-file-source", "source"]);
    assert_eq!(lines.len(), 3);

    let wide = running.connect(&job, &["connectors", "list", "-o", "wide"]);
    assert!(done(&wide).contains("FileStreamSink"), "{}", wide.stdout);
    let json = running.connect(&job, &["connectors", "list", "-o", "json"]);
    let json: Value = serde_json::from_str(done(&json)).unwrap();
    assert_eq!(
        json["local-file-sink"]["info"]["config"]["file"],
        "test.sink.txt"
    );
    let yaml = running.connect(&job, &["connectors", "list", "--output=yaml"]);
    assert!(
        done(&yaml).starts_with("local-file-sink:\n  status:\n    name: local-file-sink\n"),
        "{}",
        yaml.stdout
    );
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn a_file_is_created_once_and_applied_as_often_as_you_like() {
    let (job, running) = Job::started();
    job.write("copy.toml", SINK);
    let created = running.connect(&job, &["connectors", "create", "copy.toml"]);
    assert_eq!(done(&created), "sink \"copy\" created\n");
    let again = running.connect(&job, &["connectors", "create", "copy.toml"]);
    let said = refused(&again);
    assert!(
        said.contains("Connector copy already exists (HTTP 409)"),
        "{said}"
    );
    assert!(said.contains("connect connectors apply"), "{said}");

    let same = running.connect(&job, &["connectors", "apply", "copy.toml"]);
    assert_eq!(done(&same), "connector \"copy\" is as the file says\n");
    job.write(
        "copy.toml",
        &(SINK.replace("copy.txt", "other.txt") + "tasks.max = 2\n"),
    );
    let shown = running.connect(&job, &["connectors", "apply", "--dry-run", "copy.toml"]);
    let changed = "  ~ file: \"copy.txt\" -> \"other.txt\"\n  + tasks.max: \"2\"\n";
    assert_eq!(
        done(&shown),
        format!("connector \"copy\" would change:\n{changed}")
    );
    // What a dry run shows has not happened.
    let applied = running.connect(&job, &["connectors", "apply", "copy.toml"]);
    assert_eq!(
        done(&applied),
        format!("connector \"copy\" changed:\n{changed}")
    );
    let described = running.connect(&job, &["connectors", "describe", "copy", "-o", "json"]);
    let described: Value = serde_json::from_str(done(&described)).unwrap();
    assert_eq!(described["config"]["file"], "other.txt");

    job.write(
        "new.properties",
        "name=new\nconnector.class=FileStreamSink\nfile=n\ntopics=n\n",
    );
    let both = ["connectors", "apply", "copy.toml", "new.properties"];
    let both = running.connect(&job, &both);
    assert_eq!(
        done(&both),
        "connector \"copy\" is as the file says\nsink \"new\" created\n"
    );
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn a_request_s_initial_state_is_obeyed_when_the_connector_is_made() {
    let (job, running) = Job::started();
    let request = r#"{"name": "later", "initial_state": "STOPPED", "config":
        {"connector.class": "FileStreamSink", "file": "l", "topics": "t"}}"#;
    job.write("later.json", request);
    let applied = running.connect(&job, &["connectors", "apply", "later.json"]);
    assert_eq!(done(&applied), "sink \"later\" created\n");
    wait_for_state(&job, &running, "later", "STOPPED", "0/0");
    let again = running.connect(&job, &["connectors", "apply", "later.json"]);
    assert!(
        again.stderr.contains("initial_state changes nothing"),
        "{}",
        again.stderr
    );
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn mistakes_of_all_files_are_said_before_anything_is_done() {
    let (job, running) = Job::started();
    job.write("copy.toml", SINK);
    job.write("broken.toml", "name = \n");
    job.write("nameless.toml", "file = \"x\"\n");
    let files = [
        "connectors",
        "apply",
        "copy.toml",
        "broken.toml",
        "nameless.toml",
        "absent.toml",
    ];
    let run = running.connect(&job, &files);
    let said = refused(&run);
    for place in [
        "broken.toml:1:",
        "nameless.toml",
        "absent.toml: file does not exist",
    ] {
        assert!(said.contains(place), "{said}");
    }
    let list = running.connect(&job, &["connectors", "list"]);
    assert!(!done(&list).contains("copy"), "{}", list.stdout);
    // What the worker refuses of one file does not keep it from the others.
    job.write(
        "class.toml",
        "name = \"odd\"\nconnector.class = \"FileStreamSorce\"\n",
    );
    let run = running.connect(&job, &["connectors", "apply", "class.toml", "copy.toml"]);
    let said = refused(&run);
    assert!(said.starts_with("class.toml: error: "), "{said}");
    assert!(said.contains("FileStreamSource"), "{said}");
    assert_eq!(run.stdout, "sink \"copy\" created\n");
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn connectors_are_paused_resumed_stopped_restarted_and_deleted() {
    let (job, running) = Job::started();
    let sink = "local-file-sink";
    let act = |arguments: &[&str]| {
        let run = running.connect(&job, &[&["connectors"], arguments].concat());
        done(&run).to_owned()
    };
    assert_eq!(
        act(&["pause", sink]),
        "connector \"local-file-sink\" pauses\n"
    );
    wait_for_state(&job, &running, sink, "PAUSED", "0/1");
    act(&["resume", sink]);
    wait_for_state(&job, &running, sink, "RUNNING", "1/1");
    act(&["restart", sink]);
    act(&["restart", sink, "--only-failed", "--include-tasks"]);
    assert_eq!(
        act(&["restart", sink, "--task", "0"]),
        "task 0 of connector \"local-file-sink\" restarts\n"
    );
    wait_for_state(&job, &running, sink, "RUNNING", "1/1");
    let both = act(&["stop", sink, "local-file-source"]);
    assert_eq!(both.lines().count(), 2);
    wait_for_state(&job, &running, sink, "STOPPED", "0/0");
    act(&["delete", sink]);
    let gone = running.connect(&job, &["connectors", "delete", sink, "local-file-source"]);
    let said = refused(&gone);
    assert!(
        said.contains("Connector local-file-sink not found (HTTP 404)"),
        "{said}"
    );
    assert!(said.contains("connect connectors list"), "{said}");
    // The others are done all the same.
    assert!(
        gone.stdout.contains("\"local-file-source\" deleted"),
        "{}",
        gone.stdout
    );
    let task = running.connect(&job, &["connectors", "restart", "absent", "--task", "7"]);
    assert!(refused(&task).contains("HTTP 404"), "{}", task.stderr);
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn a_description_shows_errors_and_no_secret() {
    let (job, running) = Job::started();
    let failing = "name = \"failing\"\nconnector.class = \"FileStreamSink\"\nfile = \"f\"\n\
                   topics = \"connect-test\"\n\"db.password\" = \"canary-1\"\n\
                   \"value.converter\" = \"json\"\n\"value.converter.schemas.enable\" = false\n";
    job.write("failing.toml", failing);
    done(&running.connect(&job, &["connectors", "create", "failing.toml"]));
    job.append("{ canary-1\n");
    wait_for("the task to fail", || {
        let list = running.connect(&job, &["connectors", "list", "--no-headers"]);
        // What is in trouble comes first.
        let first = list.stdout.lines().next().unwrap_or_default().to_owned();
        first.starts_with("failing ") && !first.contains("RUNNING")
    });
    for form in ["table", "json", "yaml"] {
        let run = running.connect(&job, &["connectors", "describe", "failing", "-o", form]);
        let text = done(&run);
        assert!(!text.contains("canary-1"), "{text}");
        assert!(text.contains("[hidden]"), "{text}");
        assert!(text.contains("JSON"), "{text}");
    }
    let wide = running.connect(&job, &["connectors", "list", "-o", "wide"]);
    assert!(done(&wide).contains("JSON"), "{}", wide.stdout);
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn a_file_is_validated_with_the_place_of_every_mistake() {
    let (job, running) = Job::started();
    let ok = running.connect(&job, &["connectors", "validate", "file-sink.toml"]);
    assert_eq!(done(&ok), "file-sink.toml is valid\n");
    let wrong = "name = \"copy\"\nconnector.class = \"FileStreamSink\"\ntasks.max = \"x\"\n\
                 fiel = \"y\"\ntopics = \"a/b\"\n";
    job.write("wrong.toml", wrong);
    let run = running.connect(&job, &["connectors", "validate", "wrong.toml"]);
    assert_eq!(run.code, 1);
    for place in [
        "wrong.toml:3:13: key \"tasks.max\": ",
        "wrong.toml:5:10: key \"topics\": ",
    ] {
        assert!(run.stdout.contains(place), "{}", run.stdout);
    }
    assert!(
        run.stderr.contains("wrong.toml:4:1: warning: key \"fiel\""),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("\"file\""), "{}", run.stderr);
    let json = ["connectors", "validate", "wrong.toml", "-o", "json"];
    let json = running.connect(&job, &json);
    assert_eq!(json.code, 1);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["error_count"], 2);
    let list = running.connect(&job, &["connectors", "list"]);
    assert!(!done(&list).contains("copy"), "{}", list.stdout);
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn a_worker_that_is_not_there_is_named_and_how_to_start_one() {
    let run = connect(&["connectors", "list", "--url", "http://127.0.0.1:1"]);
    let said = refused(&run);
    assert!(
        said.contains("no worker answers at http://127.0.0.1:1: "),
        "{said}"
    );
    assert!(said.contains("connect standalone"), "{said}");
    let program = env!("CARGO_BIN_EXE_connect");
    let by_variable = std::process::Command::new(program)
        .args(["connectors", "list"])
        .env("CONNECT_URL", "http://127.0.0.1:2")
        .output()
        .unwrap();
    let said = String::from_utf8(by_variable.stderr).unwrap();
    assert!(said.contains("http://127.0.0.1:2"), "{said}");
}

#[test]
fn something_else_than_a_worker_is_told_apart() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        "nonsense\r\n\r\n",
        "",
    ];
    let server = std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /connectors?"));
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    for expected in [
        "is no Kafka Connect worker",
        "gave no whole answer",
        "gave no whole answer",
    ] {
        let run = connect(&["connectors", "list", "--url", &url]);
        let said = refused(&run);
        assert!(said.contains(expected) && said.contains(&url), "{said}");
    }
    server.join().unwrap();
}

#[test]
fn what_is_not_understood_has_an_exit_code_of_its_own() {
    for arguments in [
        vec!["connectors"],
        vec!["connectors", "pause"],
        vec!["connectors", "restart", "a", "--task", "0", "--only-failed"],
        vec!["connectors", "list", "-o", "xml"],
        vec!["connectors", "list", "--url", "ftp://a"],
    ] {
        let run = connect(&arguments);
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stdout, "");
    }
    assert_eq!(connect(&["connectors", "restart", "--help"]).code, 0);
}
