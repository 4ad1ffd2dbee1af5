//! `connect explain`: what a file means, offline.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use serde_json::Value;
use tempfile::TempDir;
use world::{Run, connect_in};

/// A folder with files, in which `connect explain` runs.
struct Folder(TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn explain(&self, arguments: &[&str]) -> Run {
        connect_in(self.0.path(), &[&["explain"], arguments].concat())
    }
}

const WORKER: &str = "key.converter = \"StringConverter\"\n\
    value.converter = \"JsonConverter\"\n\"value.converter.schemas.enable\" = false\n\
    offset.flush.interval.ms = 1000\n";

const SINK: &str = "name = \"copy\"\nconnector.class = \"FileStreamSink\"\nfile = \"copy.txt\"\n\
    topics = \"orders, refunds\"\n";

fn explained(run: &Run) -> Value {
    assert_eq!(run.code, 0, "{}", run.stderr);
    serde_json::from_str(&run.stdout).unwrap()
}

fn key<'v>(explained: &'v Value, name: &str) -> (&'v Value, &'v str) {
    let keys = explained["keys"].as_array().unwrap();
    let row = keys.iter().find(|row| row["key"] == name);
    let row = row.unwrap_or_else(|| panic!("no key {name} in {explained:#}"));
    (&row["value"], row["from"].as_str().unwrap())
}

#[test]
fn every_key_says_where_it_comes_from() {
    let folder = Folder::with(&[("copy.toml", SINK), ("worker.toml", WORKER)]);
    let run = folder.explain(&["copy.toml", "--worker", "worker.toml", "-o", "json"]);
    let found = explained(&run);
    for (name, value, from) in [
        ("file", "copy.txt", "copy.toml:3:8"),
        ("topics", "orders, refunds", "copy.toml:4:10"),
        ("tasks.max", "1", "default"),
        ("errors.tolerance", "none", "default"),
        ("value.converter", "JsonConverter", "worker.toml:2:19"),
        (
            "value.converter.schemas.enable",
            "false",
            "worker.toml:3:36",
        ),
    ] {
        assert_eq!(key(&found, name), (&Value::from(value), from), "{name}");
    }
    assert_eq!(key(&found, "topics.regex"), (&Value::Null, "not set"));
    let (_, header) = key(&found, "header.converter");
    assert_eq!(header, "the worker's default");
    assert_eq!(found["notes"], Value::Array(Vec::new()));

    // Without the worker's file nobody knows, and nothing is made up.
    let found = explained(&folder.explain(&["copy.toml", "-o", "json"]));
    let (value, from) = key(&found, "value.converter");
    assert_eq!(value, &Value::Null);
    assert!(from.contains("--worker"), "{from}");
}

#[test]
fn the_summary_says_what_would_happen() {
    let careful = SINK.to_owned()
        + "errors.tolerance = \"all\"\nerrors.deadletterqueue.topic.name = \"dead\"\n\
           [[transforms]]\nname = \"route\"\ntype = \"RegexRouter\"\nregex = \"a\"\nreplacement = \"b\"\n";
    let source = "name=files\nconnector.class=FileStreamSource\nfile=a\ntopic=lines\n";
    let folder = Folder::with(&[
        ("copy.toml", &careful),
        ("plain.toml", SINK),
        ("files.properties", source),
        ("worker.toml", WORKER),
    ]);
    let run = folder.explain(&["copy.toml", "-w", "worker.toml"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for expected in [
        "connector    sink \"copy\", org.apache.kafka.connect.file.FileStreamSinkConnector ",
        "topics       reads orders, refunds, as group connect-copy\n",
        "converters   key StringConverter, value JsonConverter, header SimpleHeaderConverter\n",
        "transforms   route (RegexRouter)\n",
        "bad records  are skipped and kept in topic dead, without headers that say why\n",
        "delivery     at least once, but for records that are skipped; ",
        "(every 1000 ms)\n",
    ] {
        assert!(run.stdout.contains(expected), "{expected}: {}", run.stdout);
    }
    let plain = folder.explain(&["plain.toml"]);
    assert!(
        plain.stdout.contains("bad records  fail the task"),
        "{}",
        plain.stdout
    );
    let files = folder.explain(&["files.properties"]);
    assert!(
        files.stdout.contains("topics       writes to lines"),
        "{}",
        files.stdout
    );
}

#[test]
fn secrets_stay_secret_and_references_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("s.properties"), "name=canary-2.txt\n").unwrap();
    let place = folder.path().join("s.properties").display().to_string();
    let worker = WORKER.to_owned()
        + "\"config.providers\" = \"file\"\n\"config.providers.file.class\" = \"FileConfigProvider\"\n";
    let sink = format!(
        "name = \"copy\"\nconnector.class = \"FileStreamSink\"\nfile = \"${{file:{place}:name}}\"\n\
         topics = \"${{file:{place}:absent}}\"\n\"db.password\" = \"canary-1\"\n"
    );
    std::fs::write(folder.path().join("worker.toml"), worker).unwrap();
    std::fs::write(
        folder.path().join("copy.toml"),
        sink.replace("topics = \"$", "topics = \"t\"\nnote = \"$"),
    )
    .unwrap();
    for form in ["table", "json", "yaml"] {
        let words = [
            "explain",
            "copy.toml",
            "--worker",
            "worker.toml",
            "-o",
            form,
        ];
        let run = connect_in(folder.path(), &words);
        assert_eq!(run.code, 0, "{}", run.stderr);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(!said.contains("canary"), "{said}");
        assert!(said.contains("[hidden]"), "{said}");
        assert!(said.contains("replaced by what its provider has"), "{said}");
        assert!(said.contains("taken as it stands"), "{said}");
    }
    let alone = connect_in(folder.path(), &["explain", "copy.toml"]);
    assert_eq!(alone.code, 0, "{}", alone.stderr);
    assert!(
        alone.stdout.contains("--worker FILE tells"),
        "{}",
        alone.stdout
    );
    assert!(!alone.stdout.contains("canary"), "{}", alone.stdout);
}

#[test]
fn an_unknown_key_is_said_with_the_one_that_was_meant() {
    let typo = SINK.to_owned() + "task.max = 2\n";
    let folder = Folder::with(&[("copy.toml", &typo)]);
    let run = folder.explain(&["copy.toml"]);
    assert_eq!(run.code, 0);
    assert!(
        run.stderr
            .contains("copy.toml:5:1: warning: key \"task.max\""),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("did you mean \"tasks.max\"?"),
        "{}",
        run.stderr
    );
}

#[test]
fn all_mistakes_are_said_with_their_places() {
    let wrong = "name = \"copy\"\nconnector.class = \"FileStreamSink\"\ntasks.max = 0\n\
                 errors.tolerance = \"al\"\n";
    let folder = Folder::with(&[("copy.toml", wrong)]);
    let run = folder.explain(&["copy.toml"]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    for expected in [
        "copy.toml:3:13: ",
        "copy.toml:4:20: ",
        "did you mean \"all\"?",
        "key \"topics\"",
    ] {
        assert!(run.stderr.contains(expected), "{expected}: {}", run.stderr);
    }
    assert_eq!(folder.explain(&[]).code, 2);
}
