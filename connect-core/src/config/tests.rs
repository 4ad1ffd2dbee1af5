use std::path::PathBuf;
use std::time::Duration;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, ConfigChoice)]
enum Mode {
    Plain,
    CopyTruncate,
    #[config(name = "3")]
    Three,
}

/// The struct's own comment is not a key's.
#[derive(Debug, Config)]
#[config(validate = check)]
struct Example {
    /// What to read;
    /// standard input if absent.
    ///
    /// A second paragraph.
    #[config(importance = "high", group = "File")]
    file: Option<PathBuf>,
    /// Where to.
    #[config(non_empty, group = "File")]
    topic: String,
    /// How many.
    #[config(default = 2000, range = 1..=5000)]
    batch_size: i32,
    /// How long.
    #[config(default = "250")]
    linger_ms: Duration,
    /// How.
    #[config(default = "plain")]
    mode: Mode,
    /// Which.
    #[config(default = "a, b")]
    kinds: Vec<String>,
    /// Under another name.
    #[config(key = "the.password")]
    password: Option<Password>,
    /// Hidden text.
    #[config(default = false)]
    r#type: bool,
    /// A level.
    #[config(default = "BASE64", choices = ["BASE64", "NUMERIC"])]
    format: String,
    /// A share.
    #[config(default = -0.5, range = -1..)]
    share: f64,
}

fn check(example: &Example, problems: &mut Vec<Problem>) {
    if example.file.is_none() && example.batch_size > 2000 {
        problems.push(Problem::new("file", "is needed for large batches"));
    }
}

fn map(entries: &[(&str, &str)]) -> ConfigMap {
    entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn said(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(Problem::to_string).collect()
}

#[test]
fn defaults_fill_what_is_absent() {
    let example = Example::parse(&map(&[("topic", "t")])).unwrap();
    assert_eq!(example.file, None);
    assert_eq!(example.batch_size, 2000);
    assert_eq!(example.linger_ms, Duration::from_millis(250));
    assert_eq!(example.mode, Mode::Plain);
    assert_eq!(example.kinds, ["a", "b"]);
    assert_eq!(example.share, -0.5);
    assert!(!example.r#type && example.password.is_none());
    assert_eq!(
        (example.topic.as_str(), example.format.as_str()),
        ("t", "BASE64")
    );
}

#[test]
fn text_is_read_as_kafka_reads_it() {
    let example = Example::parse(&map(&[
        ("topic", "t"),
        ("batch.size", " 7 "),
        ("type", "TRUE"),
        ("mode", "copy-truncate"),
        ("kinds", ""),
        ("file", "a/b"),
    ]))
    .unwrap();
    assert_eq!(
        (example.batch_size, example.r#type, example.mode),
        (7, true, Mode::CopyTruncate)
    );
    assert!(example.kinds.is_empty());
    assert_eq!(example.file, Some(PathBuf::from("a/b")));
    assert_eq!(Mode::from_text("3"), Some(Mode::Three));
}

#[test]
fn every_problem_is_reported_at_once() {
    let problems = Example::parse(&map(&[
        ("batch.size", "many"),
        ("linger.ms", "-1"),
        ("mode", "plane"),
        ("type", "yes"),
        ("format", "hex"),
        ("share", "-2"),
    ]))
    .unwrap_err();
    assert_eq!(
        said(&problems),
        [
            "\"topic\" is missing; it has no default",
            "\"batch.size\" is \"many\"; expected a whole number, 1 to 5000",
            "\"linger.ms\" is \"-1\"; expected a whole number, at least 0",
            "\"mode\" is \"plane\"; expected one of plain, copy-truncate, 3",
            "\"type\" is \"yes\"; expected true or false",
            "\"format\" is \"hex\"; expected one of BASE64, NUMERIC",
            "\"share\" is \"-2\"; expected a number, at least -1",
        ]
    );
    let large = Example::parse(&map(&[("topic", "t"), ("batch.size", "99999999999")])).unwrap_err();
    assert_eq!(
        said(&large),
        ["\"batch.size\" is \"99999999999\"; expected a whole number of 32 bits"]
    );
    let empty = Example::parse(&map(&[("topic", " ")])).unwrap_err();
    assert_eq!(
        said(&empty),
        ["\"topic\" is \" \"; expected text, not empty"]
    );
}

#[test]
fn rules_across_fields_come_after_each_field_is_fine() {
    let problems = Example::parse(&map(&[("topic", "t"), ("batch.size", "3000")])).unwrap_err();
    assert_eq!(said(&problems), ["\"file\" is needed for large batches"]);
    let problems = Example::parse(&map(&[("batch.size", "3000")])).unwrap_err();
    assert_eq!(said(&problems), ["\"topic\" is missing; it has no default"]);
}

#[test]
fn a_typo_is_answered_with_the_nearest_key() {
    let mut definition = Example::definition();
    definition.prefixes.push("transforms.".into());
    let problems =
        definition.unknown_keys(&map(&[("fiel", "x"), ("transforms.a.b", "x"), ("zzz", "")]));
    assert_eq!(
        said(&problems),
        [
            "\"fiel\" is unknown; did you mean \"file\"?",
            "\"zzz\" is unknown; nothing reads it"
        ]
    );
}

#[test]
fn secrets_are_never_shown() {
    let config = map(&[("topic", "t"), ("the.password", "hunter2")]);
    let example = Example::parse(&config).unwrap();
    assert_eq!(example.password.as_ref().unwrap().reveal(), "hunter2");
    let shown = format!(
        "{example:?} {} {:?}",
        example.password.as_ref().unwrap(),
        Example::definition().config_infos(&config, &[])
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    let mut key = ConfigKey::new("port", ConfigType::Int, "Port.");
    key.secret = true;
    assert!(
        !key.check("hunter2")
            .unwrap_err()
            .to_string()
            .contains("hunter2")
    );
}

#[test]
fn the_definition_has_kafka_s_json_shape() {
    let definition = Example::definition();
    assert_eq!(
        definition.key("file").map(|key| key.doc.as_ref()),
        Some("What to read; standard input if absent.\nA second paragraph.")
    );
    let infos = definition.config_infos(
        &map(&[("topic", "")]),
        &[Problem::with_value("topic", "", "expected text")],
    );
    assert_eq!(
        infos[1],
        serde_json::json!({
            "definition": {
                "name": "topic", "type": "STRING", "required": true, "default_value": null, "importance": "MEDIUM",
                "documentation": "Where to.", "group": "File", "width": "NONE", "display_name": "topic",
                "dependents": [], "order_in_group": 2,
            },
            "value": {
                "name": "topic", "value": "", "recommended_values": [], "errors": ["expected text"], "visible": true,
            },
        })
    );
    assert_eq!(infos[2]["definition"]["order_in_group"], -1);
    assert_eq!(infos[2]["value"]["value"], "2000");
}
