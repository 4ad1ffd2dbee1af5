//! The records that are given: lines, or JSON.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use connect_core::converter::{Converter, JsonConverter, SchemaAndValue};
use connect_core::{ConfigMap, ConnectorKind, Headers, SourceRecord};
use kafka_client::{Header, Record};
use serde_json::{Map, Value};

use super::Arguments;
use crate::CliError;

/// The most that is read, in bytes.
const INPUT_BYTES_MAX: u64 = 256 * 1024 * 1024;
const FIELDS: [&str; 7] = [
    "topic",
    "partition",
    "offset",
    "timestamp",
    "key",
    "value",
    "headers",
];
const SCHEMAS: [&str; 2] = ["key_schema", "value_schema"];

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Input {
    /// Each line is a value.
    Lines,
    /// Each line is a JSON object.
    Json,
}

/// A record, and the line it was written on.
#[derive(Debug)]
pub(super) enum Given {
    /// As a source gives it.
    Polled { line: usize, record: SourceRecord },
    /// As it is in a topic.
    Consumed {
        line: usize,
        topic: String,
        partition: i32,
        record: Record,
    },
}

impl Given {
    pub(super) fn line(&self) -> usize {
        match self {
            Self::Polled { line, .. } | Self::Consumed { line, .. } => *line,
        }
    }
}

/// Reads all of them.
pub(super) async fn read(
    arguments: &Arguments,
    kind: ConnectorKind,
    topic: Option<String>,
) -> Result<Vec<Given>, CliError> {
    let (name, text) = text(arguments.records.as_deref()).await?;
    let mut given: Vec<Given> = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let line = index + 1;
        let wrong = |problem: String| CliError::failed(format!("error: {name}:{line}: {problem}"));
        let fields = match arguments.input {
            Input::Lines => {
                let value = ("value".to_owned(), Value::from(text));
                Map::from_iter([value])
            }
            Input::Json if text.trim().is_empty() => continue,
            Input::Json => object(text).map_err(wrong)?,
        };
        let offset = i64::try_from(given.len()).unwrap_or(i64::MAX);
        let topic = topic.as_deref();
        let record = match kind {
            ConnectorKind::Source => polled(line, &fields, topic),
            ConnectorKind::Sink => consumed(line, &fields, topic, offset),
        };
        given.push(record.map_err(wrong)?);
    }
    Ok(given)
}

/// What it is called in messages, and what is in it.
async fn text(path: Option<&Path>) -> Result<(String, String), CliError> {
    let (name, path) = match path {
        Some(path) => (path.display().to_string(), Some(path.to_owned())),
        None => ("standard input".to_owned(), None),
    };
    let read = move || -> std::io::Result<String> {
        use std::io::Read;
        let mut text = String::new();
        match path {
            Some(path) => std::fs::File::open(path)?
                .take(INPUT_BYTES_MAX)
                .read_to_string(&mut text),
            None => std::io::stdin()
                .lock()
                .take(INPUT_BYTES_MAX)
                .read_to_string(&mut text),
        }?;
        Ok(text)
    };
    let failed = |error: &dyn std::fmt::Display| {
        CliError::failed(format!("error: {name} cannot be read: {error}"))
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(text)) if text.len() as u64 == INPUT_BYTES_MAX => Err(failed(&format_args!(
            "it has more than {INPUT_BYTES_MAX} bytes"
        ))),
        Ok(Ok(text)) => Ok((name, text)),
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err("a record is a JSON object such as {\"value\": 7}".to_owned()),
        Err(error) => Err(format!("this is no JSON: {error}; a record takes one line")),
    }
}

fn consumed(
    line: usize,
    fields: &Map<String, Value>,
    topic: Option<&str>,
    offset: i64,
) -> Result<Given, String> {
    check(fields, &[&FIELDS])?;
    let part = |name: &str| fields.get(name).map_or(Ok(None), bytes);
    let headers = headers(fields)?.into_iter().map(|(key, value)| {
        Ok(Header {
            key: Bytes::from(key),
            value: bytes(&value)?,
        })
    });
    Ok(Given::Consumed {
        line,
        topic: topic_of(fields, topic)?,
        partition: partition(fields)?.unwrap_or(0),
        record: Record {
            offset: whole(fields, "offset")?.unwrap_or(offset),
            timestamp: whole(fields, "timestamp")?.unwrap_or(-1),
            key: part("key")?,
            value: part("value")?,
            headers: headers.collect::<Result<_, String>>()?,
        },
    })
}

fn polled(line: usize, fields: &Map<String, Value>, topic: Option<&str>) -> Result<Given, String> {
    check(fields, &[&FIELDS, &SCHEMAS])?;
    if fields.contains_key("offset") {
        return Err("a record of a source has no offset yet".to_owned());
    }
    let part = |name: &str| {
        let schema = fields.get(&format!("{name}_schema"));
        value(fields.get(name).unwrap_or(&Value::Null), schema)
            .map_err(|problem| format!("{name}: {problem}"))
    };
    let ((key_schema, key), (value_schema, value_)) = (part("key")?, part("value")?);
    let mut all = Headers::new();
    for (name, header) in headers(fields)? {
        let (_, header) = value(&header, None)?;
        all.add(name, header, None);
    }
    Ok(Given::Polled {
        line,
        record: SourceRecord {
            partition: partition(fields)?,
            key,
            key_schema,
            value_schema,
            headers: all,
            timestamp: whole(fields, "timestamp")?,
            ..SourceRecord::new(Arc::from(topic_of(fields, topic)?), value_)
        },
    })
}

fn check(fields: &Map<String, Value>, known: &[&[&str]]) -> Result<(), String> {
    let known: Vec<&str> = known.iter().copied().flatten().copied().collect();
    let unknown = fields.keys().find(|name| !known.contains(&name.as_str()));
    match unknown {
        None => Ok(()),
        Some(name) => Err(format!(
            "a record has no \"{name}\"; it may have {}",
            known.join(", ")
        )),
    }
}

fn topic_of(fields: &Map<String, Value>, topic: Option<&str>) -> Result<String, String> {
    match fields.get("topic") {
        Some(Value::String(topic)) => Ok(topic.clone()),
        Some(other) => Err(format!("topic is {other}, and has to be a text")),
        None => topic.map(str::to_owned).ok_or_else(|| {
            "the connector's file does not say which topic; name one with --topic".to_owned()
        }),
    }
}

fn whole(fields: &Map<String, Value>, name: &str) -> Result<Option<i64>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64().filter(|number| *number >= 0) {
            Some(number) => Ok(Some(number)),
            None => Err(format!(
                "{name} is {value}, and has to be a whole number of at least 0"
            )),
        },
    }
}

fn partition(fields: &Map<String, Value>) -> Result<Option<i32>, String> {
    let number = whole(fields, "partition")?;
    let number = number.map(i32::try_from).transpose();
    number.map_err(|_| "partition is too large".to_owned())
}

fn headers(fields: &Map<String, Value>) -> Result<Vec<(String, Value)>, String> {
    let expected = "headers have to be an object, or an array of {\"key\": …, \"value\": …}";
    match fields.get("headers") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(headers)) => Ok(headers.clone().into_iter().collect()),
        Some(Value::Array(headers)) => {
            let pair = |header: &Value| {
                let key = header.get("key")?.as_str()?.to_owned();
                Some((key, header.get("value").cloned().unwrap_or(Value::Null)))
            };
            let headers: Option<Vec<_>> = headers.iter().map(pair).collect();
            headers.ok_or_else(|| expected.to_owned())
        }
        Some(_) => Err(expected.to_owned()),
    }
}

/// The bytes of `{"base64": …}`.
fn binary(value: &Value) -> Option<Result<Bytes, String>> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    let text = fields.get("base64")?.as_str()?;
    let read = STANDARD.decode(text).map(Bytes::from);
    Some(read.map_err(|error| format!("base64: {error}")))
}

/// What is in a topic.
fn bytes(value: &Value) -> Result<Option<Bytes>, String> {
    if let Some(bytes) = binary(value) {
        return bytes.map(Some);
    }
    Ok(match value {
        Value::Null => None,
        Value::String(text) => Some(Bytes::from(text.clone())),
        other => Some(Bytes::from(other.to_string())),
    })
}

/// What a connector has made.
fn value(value: &Value, schema: Option<&Value>) -> Result<SchemaAndValue, String> {
    if let (Some(bytes), None) = (binary(value), schema) {
        return Ok((None, bytes?.into()));
    }
    let mut converter = JsonConverter::default();
    let enabled = schema.is_some().to_string();
    let config = ConfigMap::from([("schemas.enable".to_owned(), enabled)]);
    converter
        .configure(&config, false)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<String>())?;
    let document = match schema {
        None => value.clone(),
        Some(schema) => serde_json::json!({"schema": schema, "payload": value}),
    };
    converter
        .to_connect("", Some(Bytes::from(document.to_string())))
        .map_err(|error| error.report())
}
