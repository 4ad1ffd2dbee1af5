//! What is changed about connectors while the worker runs: by REST, so that it outlives the process,
//! and in their files, so that it holds at once.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use world::job::{Job, LIMIT, Running};
use world::{wait_for, wait_for_content};

/// The shipped job, its REST interface on a free port.
fn job() -> Job {
    Job::with_rest(["worker.toml", "file-source.toml", "file-sink.toml"])
}

fn configure(job: &Job, line: &str) {
    let worker = job.path("worker.toml");
    let text = fs::read_to_string(&worker).unwrap();
    // Top-level keys come before the first table.
    fs::write(worker, format!("{line}\n{text}")).unwrap();
}

/// Starts it with what it says in a file.
fn start(job: &Job) -> (Running, PathBuf) {
    let said = job.path("said");
    let log = fs::File::create(&said).unwrap();
    (job.start_with(log.into()), said)
}

fn until_said(said: &PathBuf, text: &str) -> String {
    let begun = Instant::now();
    loop {
        let all = fs::read_to_string(said).unwrap();
        if let Some(line) = all.lines().find(|line| line.contains(text)) {
            return line.to_owned();
        }
        assert!(begun.elapsed() < LIMIT, "nobody said {text:?} in {all:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn sink(file: &str) -> String {
    format!(r#"{{"connector.class":"FileStreamSink","file":"{file}","topics":"connect-test"}}"#)
}

fn ask(running: &Running, line: &str, body: &str) -> (u16, String) {
    running.request(line, body).unwrap()
}

#[test]
fn what_rest_answered_survives_kill_9() {
    let job = job();
    let (running, _) = start(&job);
    let created = ask(&running, "PUT /connectors/copy/config", &sink("copy.txt"));
    assert_eq!(created.0, 201, "{}", created.1);
    let created = ask(&running, "PUT /connectors/rest/config", &sink("rest.txt"));
    assert_eq!(created.0, 201, "{}", created.1);
    let created = ask(&running, "PUT /connectors/gone/config", &sink("gone.txt"));
    assert_eq!(created.0, 201, "{}", created.1);
    assert_eq!(ask(&running, "PUT /connectors/rest/pause", "").0, 202);
    assert_eq!(ask(&running, "DELETE /connectors/gone", "").0, 204);
    // Dropping it is kill -9.
    drop(running);

    let (running, _) = start(&job);
    assert!(running.banner.len() <= 10, "{:?}", running.banner);
    let (_, names) = ask(&running, "GET /connectors", "");
    assert_eq!(
        names,
        r#"["copy","local-file-sink","local-file-source","rest"]"#
    );
    job.append("foo\nbar\n");
    wait_for_content(&job.path("copy.txt"), "foo\nbar\n", LIMIT);
    wait_for("the pause to be there again", || {
        let (_, status) = ask(&running, "GET /connectors/rest/status", "");
        status.contains(r#""connector":{"state":"PAUSED""#)
    });
    assert_eq!(ask(&running, "PUT /connectors/copy/stop", "").0, 204);
    assert_eq!(running.interrupt(), Some(0));
    let (running, _) = start(&job);
    let (_, status) = ask(&running, "GET /connectors/copy/status", "");
    assert!(
        status.contains(r#""connector":{"state":"STOPPED""#),
        "{status}"
    );
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn kill_9_in_a_change_leaves_the_old_or_the_new_state() {
    let job = job();
    let (mut running, _) = start(&job);
    let (mut sent, mut answered) = (0, 0);
    for round in 0..6 {
        // Changes go on until the worker is gone, and it goes at another moment in each round.
        std::thread::scope(|scope| {
            let running = &running;
            let pid = running.child.id().to_string();
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(40 + 37 * round));
                let killed = std::process::Command::new("kill")
                    .args(["-9", &pid])
                    .status();
                assert!(killed.unwrap().success());
            });
            loop {
                sent += 1;
                let config = sink(&format!("copy-{sent}.txt"));
                match running.request("PUT /connectors/copy/config", &config) {
                    Some((200 | 201, _)) => answered = sent,
                    Some((status, body)) => panic!("{status}: {body}"),
                    None => break,
                }
            }
        });
        drop(running);
        running = start(&job).0;
        let (status, config) = ask(&running, "GET /connectors/copy/config", "");
        if answered == 0 && status == 404 {
            continue;
        }
        let stored = |number: &u32| config.contains(&format!(r#""file":"copy-{number}.txt""#));
        let found = [answered, sent].into_iter().find(stored);
        assert!(
            found.is_some(),
            "round {round}: {answered} was answered, {sent} was sent, there is {config}"
        );
        answered = found.unwrap_or_default();
    }
    assert!(answered > 0);
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn a_saved_change_of_a_file_is_applied_at_once_and_a_broken_one_is_not() {
    let job = job();
    let (running, said) = start(&job);
    job.append("foo\n");
    job.expect("foo\n");
    let file = job.path("file-sink.toml");
    let text = fs::read_to_string(&file).unwrap();
    let changed = text.replace("test.sink.txt", "other.txt");
    assert_ne!(text, changed);
    fs::write(&file, &changed).unwrap();
    let line = until_said(&said, "file-sink.toml");
    assert_eq!(
        line,
        "connector \"local-file-sink\" goes on with what file-sink.toml says now; changed: file"
    );
    job.append("bar\n");
    wait_for_content(&job.path("other.txt"), "bar\n", LIMIT);

    // An editor writes another file and puts it in the place of this one.
    let beside = job.path("file-sink.toml.tmp");
    let broken = format!("{changed}\ntasks.max = \"many\"\n");
    let broken = broken.replace("tasks.max = 1\n", "");
    let place = broken
        .lines()
        .position(|line| line.contains("\"many\""))
        .unwrap()
        + 1;
    fs::write(&beside, broken).unwrap();
    fs::rename(&beside, &file).unwrap();
    let line = until_said(&said, "goes on as before");
    assert!(
        line.starts_with(&format!(
            "file-sink.toml:{place}:13: key \"tasks.max\": expected a whole number"
        )),
        "{line}"
    );
    job.append("baz\n");
    wait_for_content(&job.path("other.txt"), "bar\nbaz\n", LIMIT);

    fs::write(&beside, text.replace("test.sink.txt", "third.txt")).unwrap();
    fs::rename(&beside, &file).unwrap();
    wait_for("the third file to be written to", || {
        job.append("qux\n");
        let found = fs::read_to_string(job.path("third.txt")).unwrap_or_default();
        found.contains("qux\n")
    });
    // The source was never touched.
    let all = fs::read_to_string(&said).unwrap();
    assert!(!all.contains("local-file-source"), "{all}");
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn references_in_a_saved_file_are_resolved_and_what_they_stand_for_is_not_said() {
    let job = job();
    configure(
        &job,
        "\"config.providers\" = \"file\"\n\"config.providers.file.class\" = \"FileConfigProvider\"",
    );
    fs::write(
        job.path("secrets.properties"),
        "where=canary-file-2f6a.txt\n",
    )
    .unwrap();
    let (running, said) = start(&job);
    job.append("foo\n");
    job.expect("foo\n");
    let file = job.path("file-sink.toml");
    let text = fs::read_to_string(&file).unwrap();
    let changed = text.replace("test.sink.txt", "${file:secrets.properties:where}");
    fs::write(&file, &changed).unwrap();
    let line = until_said(&said, "goes on with what file-sink.toml says now");
    assert!(line.ends_with("changed: file"), "{line}");
    job.append("bar\n");
    wait_for_content(&job.path("canary-file-2f6a.txt"), "bar\n", LIMIT);
    let (_, config) = ask(&running, "GET /connectors/local-file-sink/config", "");
    assert!(
        config.contains(r#""file":"${file:secrets.properties:where}""#),
        "{config}"
    );
    fs::write(
        &file,
        text.replace("test.sink.txt", "${file:missing:where}"),
    )
    .unwrap();
    let line = until_said(&said, "goes on as before");
    assert!(
        line.contains("key \"file\": \"${file:missing:where}\" cannot be read"),
        "{line}"
    );
    job.append("baz\n");
    wait_for_content(&job.path("canary-file-2f6a.txt"), "bar\nbaz\n", LIMIT);
    let all = fs::read_to_string(&said).unwrap();
    assert!(!all.contains("canary"), "{all}");
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn another_name_in_a_file_is_another_connector() {
    let job = job();
    let (running, said) = start(&job);
    job.append("foo\n");
    job.expect("foo\n");
    let file = job.path("file-sink.toml");
    let text = fs::read_to_string(&file).unwrap();
    let taken = text.replace("local-file-sink", "local-file-source");
    fs::write(&file, taken).unwrap();
    let line = until_said(&said, "goes on as before");
    assert!(line.contains("which another file has"), "{line}");
    let renamed = text
        .replace("local-file-sink", "renamed-sink")
        .replace("test.sink.txt", "renamed.txt");
    fs::write(&file, renamed).unwrap();
    until_said(
        &said,
        "connector \"renamed-sink\" runs instead of \"local-file-sink\"",
    );
    wait_for_content(&job.path("renamed.txt"), "foo\n", LIMIT);
    let (_, names) = ask(&running, "GET /connectors", "");
    assert_eq!(names, r#"["local-file-source","renamed-sink"]"#);
    fs::remove_file(&file).unwrap();
    until_said(&said, "file-sink.toml is gone");
    job.append("bar\n");
    wait_for_content(&job.path("renamed.txt"), "foo\nbar\n", LIMIT);
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn a_file_is_what_holds_at_the_next_start_and_when_it_is_saved() {
    let job = job();
    let (running, said) = start(&job);
    let changed = ask(
        &running,
        "PATCH /connectors/local-file-sink/config",
        r#"{"file":"by-rest.txt"}"#,
    );
    assert_eq!(changed.0, 200, "{}", changed.1);
    until_said(
        &said,
        "holds until the next start, which takes it from file-sink.toml again",
    );
    job.append("foo\n");
    wait_for_content(&job.path("by-rest.txt"), "foo\n", LIMIT);
    let file = job.path("file-sink.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("# saved again\n{text}")).unwrap();
    until_said(&said, "goes on with what file-sink.toml says now");
    job.append("bar\n");
    job.expect("bar\n");
    assert_eq!(
        ask(&running, "DELETE /connectors/local-file-sink", "").0,
        204
    );
    let taken = ask(
        &running,
        "PUT /connectors/local-file-sink/config",
        &sink("stored.txt"),
    );
    assert_eq!(taken.0, 201, "{}", taken.1);
    drop(running);
    let (running, said) = start(&job);
    until_said(
        &said,
        "connector \"local-file-sink\" is as file-sink.toml says, not as it was stored by REST",
    );
    let (_, config) = ask(&running, "GET /connectors/local-file-sink/config", "");
    assert!(config.contains("test.sink.txt"), "{config}");
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn files_are_left_alone_where_they_are_not_to_be_watched() {
    let job = job();
    configure(&job, "connector.files.watch = false");
    let (running, said) = start(&job);
    job.append("foo\n");
    job.expect("foo\n");
    let file = job.path("file-sink.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("test.sink.txt", "other.txt")).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    job.append("bar\n");
    job.expect("foo\nbar\n");
    assert_eq!(fs::read_to_string(&said).unwrap(), "");
    assert_eq!(running.interrupt(), Some(0));
}
