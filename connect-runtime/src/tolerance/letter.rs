//! What a dead letter holds: the record as it was read, and in headers why it went no further.

use bytes::Bytes;
use connect_core::converter::{Converter, JsonConverter};
use connect_core::{ConfigMap, ConnectError, ErrorClass, SourceRecord, TaskId, Value};
use kafka_client::{Header, ProducerRecord};

use super::{BadRecord, Consumed};
use crate::config::connector::DeadLetterConfig;
use crate::secrets;

/// What all header names start with.
const PREFIX: &str = "__connect.errors.";
/// The longest text in a header, in bytes: a letter has to fit into a request.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// A consumed record, byte for byte.
pub(super) fn of_consumed(
    task: &TaskId,
    queue: &DeadLetterConfig,
    bad: &BadRecord,
    consumed: Consumed<'_>,
) -> ProducerRecord {
    let record = consumed.record;
    let mut headers = record.headers.clone();
    if queue.context_headers {
        headers.push(header("topic", consumed.topic));
        headers.push(header("partition", &consumed.partition.to_string()));
        headers.push(header("offset", &record.offset.to_string()));
        add_context(&mut headers, task, bad);
    }
    ProducerRecord {
        partition: None,
        timestamp: (record.timestamp >= 0).then_some(record.timestamp),
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
    }
}

/// A source's record before transforms. Text and bytes are taken as they are, everything else as JSON;
/// the topic is the one that it should have gone to.
pub(super) fn of_produced(
    task: &TaskId,
    queue: &DeadLetterConfig,
    bad: &BadRecord,
    record: &SourceRecord,
) -> ProducerRecord {
    let as_is = record.headers.iter().map(|header| Header {
        key: header.key.clone().into_bytes(),
        value: bytes_of(&header.value),
    });
    let mut headers: Vec<Header> = as_is.collect();
    if queue.context_headers {
        headers.push(header("topic", &record.topic));
        if let Some(partition) = record.partition {
            headers.push(header("partition", &partition.to_string()));
        }
        add_context(&mut headers, task, bad);
    }
    ProducerRecord {
        partition: None,
        timestamp: record.timestamp,
        key: bytes_of(&record.key),
        value: bytes_of(&record.value),
        headers,
    }
}

fn bytes_of(value: &Value) -> Option<Bytes> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Bytes(bytes) => Some(bytes.clone()),
        other => json(other).or_else(|| Some(other.to_string().into())),
    }
}

fn json(value: &Value) -> Option<Bytes> {
    let mut converter = JsonConverter::default();
    let config = ConfigMap::from([("schemas.enable".to_owned(), "false".to_owned())]);
    converter.configure(&config, false).ok()?;
    converter.from_connect("", None, value.clone()).ok()?
}

fn add_context(headers: &mut Vec<Header>, task: &TaskId, bad: &BadRecord) {
    let exception = exception(&bad.error);
    let fields = [
        ("connector.name", &*task.connector),
        ("task.id", &task.task.to_string()),
        ("stage", bad.stage.name()),
        ("class.name", bad.class),
        ("exception.class.name", exception),
        ("exception.message", bad.error.message()),
        ("exception.stacktrace", &trace(exception, &bad.error)),
    ];
    headers.extend(fields.map(|(name, text)| header(name, text)));
}

fn header(name: &str, text: &str) -> Header {
    let text = secrets::hide(text);
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    let text = text.get(..end).unwrap_or_default();
    Header {
        key: format!("{PREFIX}{name}").into(),
        value: Some(text.to_owned().into()),
    }
}

/// The class that Kafka's own plugins throw for such an error.
fn exception(error: &ConnectError) -> &'static str {
    match error.class() {
        ErrorClass::Record => "org.apache.kafka.connect.errors.DataException",
        ErrorClass::Retriable => "org.apache.kafka.connect.errors.RetriableException",
        ErrorClass::Configuration => "org.apache.kafka.common.config.ConfigException",
        ErrorClass::Fatal => "org.apache.kafka.connect.errors.ConnectException",
    }
}

/// The error with its causes, in the form of a Java stack trace without the frames.
fn trace(exception: &str, error: &ConnectError) -> String {
    let mut text = format!("{exception}: {}\n", error.message());
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!("Caused by: {error}\n"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tolerance::Stage;
    use kafka_client::Record;

    fn task() -> TaskId {
        TaskId {
            connector: "files".into(),
            task: 3,
        }
    }

    fn queue(context_headers: bool) -> DeadLetterConfig {
        DeadLetterConfig {
            topic: "dead".into(),
            replication_factor: -1,
            context_headers,
        }
    }

    fn bad() -> BadRecord {
        let cause = std::io::Error::other("no digit");
        BadRecord {
            stage: Stage::ValueConverter,
            class: "org.example.Converter",
            error: ConnectError::record("not a number").with_source(cause),
        }
    }

    fn texts(headers: &[Header]) -> Vec<(String, String)> {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let pair = |header: &Header| (text(&header.key), text(header.value.as_ref().unwrap()));
        headers.iter().map(pair).collect()
    }

    #[test]
    fn a_letter_is_the_record_with_kafka_s_headers_behind_its_own() {
        let record = Record {
            offset: 7,
            timestamp: 1_000,
            key: Some("k".into()),
            value: None,
            headers: vec![Header {
                key: "h".into(),
                value: Some("1".into()),
            }],
        };
        let consumed = Consumed {
            topic: "in",
            partition: 2,
            record: &record,
        };
        let letter = of_consumed(&task(), &queue(true), &bad(), consumed);
        assert_eq!(
            (
                letter.partition,
                letter.timestamp,
                &letter.key,
                &letter.value
            ),
            (None, Some(1_000), &record.key, &None)
        );
        let expected = [
            ("h", "1"),
            ("__connect.errors.topic", "in"),
            ("__connect.errors.partition", "2"),
            ("__connect.errors.offset", "7"),
            ("__connect.errors.connector.name", "files"),
            ("__connect.errors.task.id", "3"),
            ("__connect.errors.stage", "VALUE_CONVERTER"),
            ("__connect.errors.class.name", "org.example.Converter"),
            (
                "__connect.errors.exception.class.name",
                "org.apache.kafka.connect.errors.DataException",
            ),
            ("__connect.errors.exception.message", "not a number"),
            (
                "__connect.errors.exception.stacktrace",
                "org.apache.kafka.connect.errors.DataException: not a number\nCaused by: no digit\n",
            ),
        ];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(texts(&letter.headers), expected);
        let plain = of_consumed(&task(), &queue(false), &bad(), consumed);
        assert_eq!(plain.headers, record.headers);
    }

    #[test]
    fn a_source_s_record_is_kept_as_text_bytes_or_json() {
        assert_eq!(bytes_of(&"text".into()).unwrap(), "text");
        assert_eq!(bytes_of(&Value::Null), None);
        let map = vec![("a".into(), Value::Int32(1))];
        let map = Value::Map(map.into());
        assert_eq!(bytes_of(&map).unwrap(), r#"{"a":1}"#);
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let long = "ü".repeat(TEXT_BYTES_MAX);
        let value = header("x", &long).value.unwrap();
        assert_eq!(value.len(), TEXT_BYTES_MAX);
        assert!(std::str::from_utf8(&value).is_ok());
    }
}
