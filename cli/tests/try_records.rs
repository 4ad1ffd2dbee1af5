//! `connect try`: records through converters and transforms, offline.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use serde_json::{Value, json};
use tempfile::TempDir;
use world::{Run, connect_with};

const SINK: &str = r#"
name = "copy"
connector.class = "FileStreamSink"
file = "copy.txt"
topics = "orders, refunds"
value.converter = "JsonConverter"
"value.converter.schemas.enable" = false
key.converter = "StringConverter"
transforms = "route,hide,late"
"transforms.route.type" = "RegexRouter"
"transforms.route.regex" = "ord(.*)"
"transforms.route.replacement" = "o$1"
"transforms.hide.type" = "MaskField$Value"
"transforms.hide.fields" = "card"
"transforms.late.type" = "Filter"
"transforms.late.predicate" = "tombstone"
predicates = "tombstone"
"predicates.tombstone.type" = "RecordIsTombstone"
"#;

const SOURCE: &str = r#"
name = "lines"
connector.class = "FileStreamSource"
file = "in.txt"
topic = "lines"
key.converter = "StringConverter"
value.converter = "JsonConverter"
transforms = "wrap"
"transforms.wrap.type" = "HoistField$Value"
"transforms.wrap.field" = "line"
"#;

struct Folder(TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn run(&self, arguments: &[&str], input: &str) -> Run {
        connect_with(self.0.path(), &[&["try"], arguments].concat(), input)
    }

    fn json(&self, arguments: &[&str], input: &str) -> Value {
        let run = self.run(&[arguments, &["-o", "json"]].concat(), input);
        serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}", run.stderr))
    }
}

#[test]
fn each_record_is_shown_after_each_step() {
    let folder = Folder::with(&[("copy.toml", SINK)]);
    let input = "{\"id\":7,\"card\":\"4111\"}\n{\"id\":8,\"card\":\"4112\"}\n";
    let run = folder.run(&["copy.toml"], input);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let expected = r#"line 1: put
  consumed   topic      "orders"
             partition  0
             offset     0
             key        null
             value      "{\"id\":7,\"card\":\"4111\"}"
  converted  key_schema "string?"
             value      {"id":7,"card":"4111"}
  route      topic      "oers"
  hide       value      {"id":7,"card":""}
  late       not applied Filter
  put        topic      "oers"
"#;
    let squeezed = |text: &str| -> Vec<String> {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(words).collect()
    };
    let (shown, expected) = (squeezed(&run.stdout), squeezed(expected));
    for line in &expected {
        assert!(shown.contains(line), "{line}: {}", run.stdout);
    }
    let shown = folder.json(&["copy.toml"], input);
    let stages = |way: &Value| -> Vec<String> {
        let steps = way["steps"].as_array().unwrap().iter();
        let name = |step: &Value| match step["transform"].as_str() {
            Some(name) => format!("transform {name}"),
            None => step["stage"].as_str().unwrap().to_owned(),
        };
        steps.map(name).collect()
    };
    let all = [
        "consumed",
        "converted",
        "transform route",
        "transform hide",
        "transform late",
        "put",
    ];
    assert_eq!(stages(&shown[1]), all);
    assert_eq!(shown[1]["record"]["value"], json!({"id": 8, "card": ""}));
    assert_eq!(shown[1]["record"]["offset"], 1);
}

#[test]
fn records_as_json_have_keys_headers_and_topics_of_their_own() {
    let folder = Folder::with(&[("copy.toml", SINK)]);
    let input = r#"{"topic": "refunds", "partition": 3, "offset": 41, "timestamp": 1000, "key": "k", "value": {"id": 1, "card": "x"}, "headers": {"n": "12"}}

{"key": {"base64": "/w=="}, "value": null, "headers": [{"key": "h"}]}
"#;
    let shown = folder.json(&["copy.toml", "--input", "json"], input);
    let record = json!({
        "topic": "refunds", "partition": 3, "offset": 41, "timestamp": 1000, "key": "k",
        "key_schema": "string?", "value": {"id": 1, "card": ""}, "headers": [{"key": "n", "value": 12}],
    });
    assert_eq!(shown[0]["record"], record);
    assert_eq!(
        (&shown[1]["outcome"], &shown[1]["line"]),
        (&json!("dropped"), &json!(3))
    );

    let wrong = folder.run(
        &["copy.toml", "--input", "json"],
        "{\"value\": 1}\n{\"valeu\": 1}\n",
    );
    assert_eq!(wrong.code, 1);
    assert!(
        wrong
            .stderr
            .contains("standard input:2: a record has no \"valeu\""),
        "{}",
        wrong.stderr
    );
}

#[test]
fn a_source_s_records_are_shown_up_to_the_bytes() {
    let folder = Folder::with(&[("lines.toml", SOURCE)]);
    let shown = folder.json(&["lines.toml"], "a line\n");
    let sent = &shown[0]["record"];
    assert_eq!(shown[0]["outcome"], "sent");
    assert_eq!(sent["topic"], "lines");
    let value: Value = serde_json::from_str(sent["value"].as_str().unwrap()).unwrap();
    assert_eq!(value["payload"], json!({"line": "a line"}));
    // With a schema, as a connector would give it.
    let record = json!({
        "key": "k", "value": 7,
        "value_schema": {"type": "int32", "optional": false, "name": "n"},
    });
    let shown = folder.json(&["lines.toml", "--input", "json"], &record.to_string());
    let sent = shown[0]["record"]["value"].as_str().unwrap();
    let value: Value = serde_json::from_str(sent).unwrap();
    assert_eq!(value["schema"]["fields"][0]["type"], "int32");
    assert_eq!(value["payload"], json!({"line": 7}));
}

#[test]
fn errors_are_treated_as_the_connector_says() {
    let tolerant = SINK.to_owned()
        + "\"errors.tolerance\" = \"all\"\n\"errors.deadletterqueue.topic.name\" = \"dead\"\n";
    let folder = Folder::with(&[("strict.toml", SINK), ("tolerant.toml", &tolerant)]);
    let input = "{\"id\":1}\nno json\n{\"id\":3}\n";
    let strict = folder.run(&["strict.toml"], input);
    assert_eq!(strict.code, 1, "{}", strict.stdout);
    assert!(
        strict.stdout.contains("line 2: failed"),
        "{}",
        strict.stdout
    );
    assert!(!strict.stdout.contains("line 3"), "{}", strict.stdout);
    assert!(
        strict.stdout.contains("fails the task"),
        "{}",
        strict.stdout
    );
    assert!(
        strict.stderr.contains("1 records behind were not tried"),
        "{}",
        strict.stderr
    );
    let shown = folder.json(&["tolerant.toml"], input);
    let outcomes: Vec<&Value> = shown
        .as_array()
        .unwrap()
        .iter()
        .map(|way| &way["outcome"])
        .collect();
    assert_eq!(outcomes, ["put", "skipped", "put"]);
    let step = shown[1]["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(step["then"], "skipped, kept in topic dead");
    assert!(
        step["error"].as_str().unwrap().contains("offset 1"),
        "{step}"
    );
}

#[test]
fn expectations_decide_the_exit_code() {
    let expected =
        "{\"outcome\": \"put\", \"record\": {\"topic\": \"oers\", \"value\": {\"card\": \"\"}}}\n";
    let wrong = "[{\"record\": {\"value\": {\"card\": \"x\"}}}, {}]";
    let folder = Folder::with(&[
        ("copy.toml", SINK),
        ("right.jsonl", expected),
        ("wrong.json", wrong),
        ("in.txt", "{\"card\":\"4111\"}\n"),
    ]);
    let right = folder.run(
        &[
            "copy.toml",
            "--records",
            "in.txt",
            "--expect",
            "right.jsonl",
        ],
        "",
    );
    assert_eq!(right.code, 0, "{}", right.stderr);
    let wrong = folder.run(
        &["copy.toml", "--records", "in.txt", "--expect", "wrong.json"],
        "",
    );
    assert_eq!(wrong.code, 1);
    assert!(
        wrong
            .stderr
            .contains("record 1.record.value.card: expected \"x\", got \"\"")
            && wrong.stderr.contains("expected 2 records, got 1"),
        "{}",
        wrong.stderr
    );
    // What is expected to fail may fail.
    let strict = folder.json(&["copy.toml"], "no json\n");
    std::fs::write(folder.0.path().join("fails.json"), strict.to_string()).unwrap();
    let failed = folder.run(&["copy.toml", "--expect", "fails.json"], "no json\n");
    assert_eq!(failed.code, 0, "{}", failed.stderr);
}

#[test]
fn masked_fields_and_secrets_of_providers_are_not_shown() {
    let sink = SINK.replace("\"copy.txt\"", "\"${file:secrets.properties:path}\"");
    let worker = "key.converter = \"StringConverter\"\nvalue.converter = \"StringConverter\"\n\
        \"config.providers\" = \"file\"\n\"config.providers.file.class\" = \"FileConfigProvider\"\n";
    let folder = Folder::with(&[
        ("copy.toml", &sink),
        ("worker.toml", worker),
        ("secrets.properties", "path=canary-try-77\n"),
    ]);
    let input = "{\"card\":\"4111\",\"id\":5,\"note\":\"see canary-try-77\"}\n";
    let run = folder.run(
        &["copy.toml", "-w", "worker.toml", "--mask", "id,card"],
        input,
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    for secret in ["canary", "4111", ":5"] {
        assert!(!run.stdout.contains(secret), "{}", run.stdout);
    }
    assert!(run.stdout.contains("see [hidden]"), "{}", run.stdout);
}
