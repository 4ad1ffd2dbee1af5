//! The records of Kafka Connect's config topic: keys are plain text, values what Kafka's JSON
//! converter without schemas writes.
//!
//! Written are `connector-NAME` and `target-state-NAME`. What distributed workers put beside them
//! is passed over: the configurations of tasks (`task-NAME-N`, `commit-NAME`) follow from those of
//! connectors at every start, here and there, and the rest is talk among workers.

use connect_core::ConfigMap;
use kafka_client::ProducerRecord;
use serde_json::{Value, json};

use crate::config::connector::InitialState;

const CONNECTOR: &str = "connector-";
const TARGET: &str = "target-state-";
const SESSION_KEY: &str = "session-key";
/// What distributed workers write besides.
const OTHERS: &[&str] = &[
    "task-",
    "commit-",
    "tasks-fencing-",
    "restart-connector-",
    "logger-cluster-",
];

/// What a record says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The configuration of a connector, or that it is deleted.
    Connector(String, Option<ConfigMap>),
    /// What a connector should do; `None` is what it does by default.
    Target(String, Option<InitialState>),
    /// The secret of distributed workers that are or were at work, made at this time.
    SessionKey { created_ms: i64 },
    /// Nothing for a standalone worker.
    Other,
}

/// Reads a record.
///
/// # Errors
/// What is wrong with it; nothing of its value, which may hold secrets.
pub(super) fn parse(key: &[u8], value: Option<&[u8]>) -> Result<Entry, String> {
    let key = std::str::from_utf8(key).map_err(|_| "its key is not text".to_owned())?;
    if let Some(name) = key.strip_prefix(CONNECTOR) {
        let config = value.map(properties).transpose();
        return Ok(Entry::Connector(name.to_owned(), config.map_err(of(key))?));
    }
    if let Some(name) = key.strip_prefix(TARGET) {
        let target = value.map(target_state).transpose();
        return Ok(Entry::Target(name.to_owned(), target.map_err(of(key))?));
    }
    if key == SESSION_KEY {
        let created = value.and_then(|value| object(value).ok()?.remove("creation-timestamp"));
        let created_ms = created.and_then(|created| created.as_i64()).unwrap_or(0);
        return Ok(Entry::SessionKey { created_ms });
    }
    match OTHERS.iter().any(|prefix| key.starts_with(prefix)) {
        true => Ok(Entry::Other),
        false => Err(format!("its key \"{}\" is not known", key.escape_debug())),
    }
}

fn of(key: &str) -> impl Fn(&'static str) -> String {
    move |what| format!("the value of \"{}\" {what}", key.escape_debug())
}

fn object(value: &[u8]) -> Result<serde_json::Map<String, Value>, &'static str> {
    serde_json::from_slice(value).map_err(|_| "is not a JSON object")
}

fn properties(value: &[u8]) -> Result<ConfigMap, &'static str> {
    let Some(Value::Object(properties)) = object(value)?.remove("properties") else {
        return Err("has no properties");
    };
    let mut config = ConfigMap::new();
    for (key, value) in properties {
        match value {
            Value::String(text) => drop(config.insert(key, text)),
            // Java's maps may hold nothing under a key, which is as good as no key.
            Value::Null => {}
            _ => return Err("has properties that are not text"),
        }
    }
    Ok(config)
}

fn target_state(value: &[u8]) -> Result<InitialState, &'static str> {
    let mut fields = object(value)?;
    let newer = fields.remove("state.v2").filter(|state| !state.is_null());
    match newer.or_else(|| fields.remove("state")) {
        Some(Value::String(state)) => match state.as_str() {
            "STARTED" => Ok(InitialState::Running),
            "PAUSED" => Ok(InitialState::Paused),
            "STOPPED" => Ok(InitialState::Stopped),
            _ => Err("has a state that is not known"),
        },
        _ => Err("has no state"),
    }
}

/// Says how a connector is configured.
pub(super) fn connector(name: &str, config: &ConfigMap) -> ProducerRecord {
    let value = json!({"properties": config}).to_string();
    ProducerRecord::keyed(format!("{CONNECTOR}{name}"), value)
}

/// Says what a connector should do. Workers from before `STOPPED` read it as `PAUSED`.
pub(super) fn target(name: &str, state: InitialState) -> ProducerRecord {
    let (older, newer) = match state {
        InitialState::Running => ("STARTED", "STARTED"),
        InitialState::Paused => ("PAUSED", "PAUSED"),
        InitialState::Stopped => ("PAUSED", "STOPPED"),
    };
    let value = json!({"state": older, "state.v2": newer}).to_string();
    ProducerRecord::keyed(format!("{TARGET}{name}"), value)
}

/// Says that there is no such connector any more.
pub(super) fn forgotten(name: &str) -> [ProducerRecord; 2] {
    [CONNECTOR, TARGET].map(|prefix| ProducerRecord {
        key: Some(format!("{prefix}{name}").into()),
        ..ProducerRecord::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> ConfigMap {
        let owned = |(key, text): &(&str, &str)| ((*key).to_owned(), (*text).to_owned());
        pairs.iter().map(owned).collect()
    }

    fn text(record: &ProducerRecord) -> (String, Option<String>) {
        let text = |bytes: &bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        (
            record.key.as_ref().map(text).unwrap(),
            record.value.as_ref().map(text),
        )
    }

    fn read(key: &str, value: &str) -> Result<Entry, String> {
        parse(key.as_bytes(), Some(value.as_bytes()))
    }

    #[test]
    fn records_are_those_of_a_distributed_worker() {
        let written = connector("a-b", &config(&[("name", "a-b"), ("topics", "\"ü\"")]));
        let expected = r#"{"properties":{"name":"a-b","topics":"\"ü\""}}"#;
        assert_eq!(
            text(&written),
            ("connector-a-b".to_owned(), Some(expected.to_owned()))
        );
        let states = [
            (
                InitialState::Running,
                r#"{"state":"STARTED","state.v2":"STARTED"}"#,
            ),
            (
                InitialState::Paused,
                r#"{"state":"PAUSED","state.v2":"PAUSED"}"#,
            ),
            (
                InitialState::Stopped,
                r#"{"state":"PAUSED","state.v2":"STOPPED"}"#,
            ),
        ];
        for (state, expected) in states {
            let written = text(&target("x", state));
            assert_eq!(
                written,
                ("target-state-x".to_owned(), Some(expected.to_owned()))
            );
        }
        let forgotten = forgotten("x").map(|record| text(&record));
        assert_eq!(
            forgotten,
            [
                ("connector-x".to_owned(), None),
                ("target-state-x".to_owned(), None)
            ]
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let map = config(&[("name", "connector-x"), ("password", "\u{1f}\n\"")]);
        let record = connector("connector-x", &map);
        let read = parse(&record.key.unwrap(), record.value.as_deref());
        let expected = Entry::Connector("connector-x".to_owned(), Some(map));
        assert_eq!(read, Ok(expected));
        for state in [
            InitialState::Running,
            InitialState::Paused,
            InitialState::Stopped,
        ] {
            let record = target("x", state);
            let read = parse(&record.key.unwrap(), record.value.as_deref());
            assert_eq!(read, Ok(Entry::Target("x".to_owned(), Some(state))));
        }
        for record in forgotten("x") {
            let read = parse(&record.key.unwrap(), None).unwrap();
            let gone = [
                Entry::Connector("x".to_owned(), None),
                Entry::Target("x".to_owned(), None),
            ];
            assert!(gone.contains(&read), "{read:?}");
        }
    }

    #[test]
    fn what_distributed_workers_of_any_age_left_is_understood() {
        let paused = Entry::Target("x".to_owned(), Some(InitialState::Paused));
        assert_eq!(read("target-state-x", r#"{"state":"PAUSED"}"#), Ok(paused));
        let nulls = r#"{"properties":{"a":"1","b":null}}"#;
        let expected = Entry::Connector("x".to_owned(), Some(config(&[("a", "1")])));
        assert_eq!(read("connector-x", nulls), Ok(expected));
        for (key, value) in [
            ("task-x-0", r#"{"properties":{}}"#),
            ("commit-x", r#"{"tasks":1}"#),
            ("tasks-fencing-x", r#"{"task-count":1}"#),
            (
                "restart-connector-x",
                r#"{"include-tasks":true,"only-failed":false}"#,
            ),
            ("logger-cluster-x", r#"{"level":"DEBUG"}"#),
        ] {
            assert_eq!(read(key, value), Ok(Entry::Other), "{key}");
        }
        let session = r#"{"key":"AA==","algorithm":"HmacSHA256","creation-timestamp":7}"#;
        let session = read("session-key", session);
        assert_eq!(session, Ok(Entry::SessionKey { created_ms: 7 }));
    }

    #[test]
    fn damage_is_named_without_what_may_be_secret() {
        for (key, value) in [
            ("connector-x", "hunter2"),
            ("connector-x", r#"{"properties":"hunter2"}"#),
            ("connector-x", r#"{"properties":{"a":["hunter2"]}}"#),
            ("target-state-x", r#"{"state":"hunter2"}"#),
            ("target-state-x", "[]"),
            ("what", "hunter2"),
        ] {
            let error = read(key, value).unwrap_err();
            assert!(error.contains(key), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(parse(b"\xff", None).is_err());
    }
}
