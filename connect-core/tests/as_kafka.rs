//! What Kafka Connect's own transforms and converters made of some thousand cases, and that ours make the
//! same of them.
//!
//! The cases are in `tests/kafka`, one a line, each with what Kafka Connect 4.3.0 answered
//! (`testing/foreign/kafka-connect/Oracle.java` asks it again). Where ours answer something else on
//! purpose, the case has `ours`, and `why` names the reason.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use connect_core::converter::{
    Converter, HeaderConverter, JsonConverter, SchemaAndValue, SimpleHeaderConverter,
};
use connect_core::transform::{self, Fate, RecordView};
use connect_core::{ConfigMap, Schema, SchemaRef, SinkRecord, SourceRecord, Type, Value};
use serde_json::Value as Json;

/// Reasons why something may be different, and what they mean.
const REASONS: [(&str, &str); 22] = [
    ("any-case", "names of choices are understood in any case"),
    (
        "any-schema",
        "name and version can be set on schemas of all types; Kafka Connect fails for all but structs",
    ),
    (
        "dates",
        "dates that do not exist, digits beyond milliseconds, a week without a day and names of zones other than UTC and GMT are refused; before 1582 there is no Julian calendar",
    ),
    (
        "decimal-scale",
        "a decimal number gets the digits after the point that its schema says, or is refused",
    ),
    ("empty-name", "a field may have an empty name"),
    ("java-suffix", "1.5f is no number"),
    (
        "jdk-floats",
        "numbers have no more digits than they need, as in JDK 19 and later; Kafka's answers are those of JDK 17",
    ),
    (
        "json-numbers",
        "numbers beyond 64 bits become floating-point ones instead of others, and minus zero stays",
    ),
    (
        "lenient-pattern",
        "a brace that does not begin a repetition stands for itself",
    ),
    (
        "logical-without-schema",
        "dates, times, timestamps, decimals and bytes are treated alike with and without schema",
    ),
    ("no-crash", "answers where Kafka Connect fails by mistake"),
    (
        "no-false-name",
        "a value that is no date any more is not called one",
    ),
    (
        "nothing-lost",
        "text that goes on behind a number stays text; Kafka Connect drops the rest",
    ),
    ("null-added", "a field that is missing is not added as null"),
    ("null-passes", "null stays null, such as a tombstone's"),
    (
        "own-type",
        "a value is written and read by its own type, whatever its size or its schema's name",
    ),
    (
        "readable",
        "dates within collections are in quotes, so that they can be read back",
    ),
    (
        "same-json",
        "the same JSON, with characters written out instead of escaped",
    ),
    ("strict-dates", "a date that does not exist is text"),
    (
        "strict-values",
        "a value that its schema does not allow is an error of the record; Kafka Connect cuts it off, or takes zero or null instead",
    ),
    (
        "told-early",
        "a mistake in the configuration is told before any record comes",
    ),
    (
        "trailing",
        "what follows a JSON value is an error and not ignored",
    ),
];

fn lines(name: &str) -> Vec<Json> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/kafka")
        .join(name);
    let text = std::fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn inputs() -> HashMap<String, SchemaAndValue> {
    let inputs = lines("inputs.jsonl").into_iter();
    inputs
        .map(|input| (text(&input["name"]), self::input(&input)))
        .collect()
}

fn text(json: &Json) -> String {
    json.as_str().unwrap().to_owned()
}

fn config(json: &Json) -> ConfigMap {
    let keys = json.as_object().into_iter().flatten();
    keys.map(|(key, value)| (key.clone(), text(value)))
        .collect()
}

fn converter(config: &ConfigMap) -> Option<JsonConverter> {
    let mut converter = JsonConverter::default();
    converter.configure(config, false).ok().map(|()| converter)
}

/// A value in the envelope of JsonConverter; with "bare" its structs are maps and its schema is gone.
fn input(input: &Json) -> SchemaAndValue {
    let keys = ConfigMap::from([("replace.null.with.default".into(), "false".into())]);
    let envelope = serde_json::json!({"schema": input["schema"], "payload": input["payload"]});
    let read = converter(&keys)
        .unwrap()
        .to_connect("topic", Some(envelope.to_string().into()));
    let (schema, value) = read.unwrap();
    match input["bare"].as_bool() {
        Some(true) => (None, bare(&value)),
        _ => (schema, value),
    }
}

fn bare(value: &Value) -> Value {
    match value {
        Value::Struct(fields) => {
            let fields = fields.fields();
            Value::map(fields.map(|(name, _, value)| (name.into(), bare(value))))
        }
        Value::Array(items) => Value::array(items.iter().map(bare)),
        Value::Map(entries) => {
            Value::map(entries.iter().map(|(key, value)| (bare(key), bare(value))))
        }
        other => other.clone(),
    }
}

/// Asks every case of a file and shows all that are answered in another way than expected.
fn check(name: &str, answer: impl Fn(&Json) -> String) {
    let cases = lines(name);
    let mut wrong = String::new();
    let mut count = 0;
    for case in &cases {
        let expected = case.get("ours").unwrap_or(&case["kafka"]);
        let reason = case.get("why").map(text);
        assert_eq!(case.get("ours").is_some(), reason.is_some(), "{case}");
        if let Some(reason) = reason {
            assert!(REASONS.iter().any(|(name, _)| *name == reason), "{case}");
            assert_ne!(case["ours"], case["kafka"], "{case} is not different");
        }
        let answer = answer(case);
        if *expected != answer.as_str() {
            count += 1;
            writeln!(wrong, "{case}\n    ours {answer}").unwrap();
        }
    }
    if let Ok(file) = std::env::var("AS_KAFKA_DIFFERENCES") {
        std::fs::write(format!("{file}.{name}"), &wrong).unwrap();
    }
    let shown: String = wrong.chars().take(20_000).collect();
    assert!(
        count == 0,
        "{count} of {} are different:\n{shown}",
        cases.len()
    );
}

#[test]
fn every_reason_for_a_difference_is_explained_and_needed() {
    let files = ["transforms.jsonl", "headers.jsonl", "json.jsonl"];
    let cases: Vec<Json> = files.into_iter().flat_map(lines).collect();
    for (reason, meaning) in REASONS {
        assert!(!meaning.is_empty());
        let needed = cases.iter().any(|case| case["why"] == reason);
        assert!(needed, "nothing is different because of {reason}");
    }
}

#[test]
fn transforms_make_of_records_what_kafka_s_make_of_them() {
    let inputs = inputs();
    check("transforms.jsonl", |case| {
        let name = text(&case["transform"]);
        let Ok(transform) = (transform::find(&name).unwrap().make)(&config(&case["config"])) else {
            return "refused".to_owned();
        };
        let input = inputs[&text(&case["input"])].clone();
        let (key, value) = match name.ends_with("$Key") {
            true => (input, (None, Value::Null)),
            false => ((None, Value::Null), input),
        };
        let topic: Arc<str> = case["topic"].as_str().unwrap_or("topic").into();
        let mut source = SourceRecord::new(Arc::clone(&topic), Value::Null);
        let mut sink = SinkRecord::new(topic, 3, 42, Value::Null);
        let mut record = match case["source"].as_bool() {
            Some(true) => RecordView::from(&mut source),
            _ => RecordView::from(&mut sink),
        };
        (*record.key_schema, *record.key) = key;
        (*record.value_schema, *record.value) = value;
        *record.timestamp = case["timestamp"].as_i64();
        record.headers.add("n", 7, Some(SchemaRef::INT32));
        record.headers.add("h", "one", Some(SchemaRef::STRING));
        record.headers.add("h", "two", Some(SchemaRef::STRING));
        match transform.apply(&mut record) {
            Ok(Fate::Keep) => {}
            Ok(Fate::Drop) => return "dropped".to_owned(),
            Err(_) => return "error".to_owned(),
        }
        // Only what the transform is about.
        let mut all = String::new();
        if name.ends_with("Router") {
            write!(all, "{} ", record.topic).unwrap();
        }
        if name.contains("Key") {
            write!(all, "key {} ", both(record.key_schema.as_ref(), record.key)).unwrap();
        }
        all += &both(record.value_schema.as_ref(), record.value);
        if name.contains("Header") {
            for header in record.headers.iter() {
                let value = both(header.schema.as_ref(), &header.value);
                write!(all, " {} {value}", header.key).unwrap();
            }
        }
        all
    });
}

#[test]
fn header_values_are_guessed_and_written_as_kafka_does() {
    let inputs = inputs();
    check("headers.jsonl", |case| {
        let converter = SimpleHeaderConverter;
        if let Some(text) = case["read"].as_str() {
            let bytes = Bytes::copy_from_slice(text.as_bytes());
            return match converter.to_connect_header("topic", "h", Some(bytes)) {
                Ok((schema, value)) => both(schema.as_ref(), &value),
                Err(_) => "error".to_owned(),
            };
        }
        let (schema, value) = inputs[&text(&case["write"])].clone();
        written(converter.from_connect_header("topic", "h", schema.as_ref(), value))
    });
}

#[test]
fn json_is_read_and_written_as_kafka_s_converter_does() {
    let inputs = inputs();
    check("json.jsonl", |case| {
        let Some(converter) = converter(&config(&case["config"])) else {
            return "refused".to_owned();
        };
        if let Some(json) = case.get("read") {
            let bytes = json
                .as_str()
                .map(|text| Bytes::copy_from_slice(text.as_bytes()));
            return match converter.to_connect("topic", bytes) {
                Ok((schema, value)) => both(schema.as_ref(), &value),
                Err(_) => "error".to_owned(),
            };
        }
        let (schema, value) = inputs[&text(&case["write"])].clone();
        written(converter.from_connect("topic", schema.as_ref(), value))
    });
}

fn written(bytes: Result<Option<Bytes>, connect_core::ConnectError>) -> String {
    match bytes {
        Ok(Some(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
        Ok(None) => "null".to_owned(),
        Err(_) => "error".to_owned(),
    }
}

fn both(schema: Option<&SchemaRef>, value: &Value) -> String {
    let schema = schema.map_or_else(|| "-".to_owned(), |schema| self::schema(schema));
    format!("{schema} {}", self::value(value))
}

fn schema(of: &Schema) -> String {
    let part = |part: Option<&SchemaRef>| part.map_or_else(|| "-".to_owned(), |part| schema(part));
    let mut text = of.kind().name().to_owned();
    match of.kind() {
        Type::Array => write!(text, "<{}>", part(of.value_schema())).unwrap(),
        Type::Map => {
            write!(
                text,
                "<{},{}>",
                part(of.key_schema()),
                part(of.value_schema())
            )
            .unwrap();
        }
        Type::Struct => {
            let fields = of.fields().iter();
            let fields: Vec<String> = fields
                .map(|field| format!("{}:{}", field.name, schema(&field.schema)))
                .collect();
            write!(text, "{{{}}}", fields.join(",")).unwrap();
        }
        _ => {}
    }
    if of.is_optional() {
        text.push('?');
    }
    if let Some(name) = of.name() {
        write!(text, "@{}", name.rsplit('.').next().unwrap()).unwrap();
    }
    if let Some(version) = of.version() {
        write!(text, "/{version}").unwrap();
    }
    if let Some(doc) = of.doc() {
        write!(text, "#{doc}").unwrap();
    }
    let parameters: BTreeMap<&str, &str> = of.parameters().collect();
    if !parameters.is_empty() {
        let all: Vec<String> = parameters
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        write!(text, "{{{}}}", all.join(", ")).unwrap();
    }
    if let Some(default) = of.default() {
        write!(text, "={}", value(default)).unwrap();
    }
    text
}

fn value(of: &Value) -> String {
    match of {
        Value::Null => "null".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::String(text) => format!("'{text}'"),
        Value::Bytes(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("0x{digits}")
        }
        Value::Decimal(number) => {
            // Java's big integer, from the digits without the point.
            let digits = connect_core::Decimal::from_bytes(&number.unscaled_bytes(), 0);
            format!("decimal:{digits}/{}", number.scale)
        }
        // As Java has them, points in time.
        Value::Date(days) => format!("time:{}", i64::from(*days) * 86_400_000),
        Value::Time(ms) => format!("time:{ms}"),
        Value::Timestamp(ms) => format!("time:{ms}"),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(value).collect();
            format!("[{}]", items.join(","))
        }
        Value::Map(entries) => {
            let entries = entries.iter();
            let mut entries: Vec<String> = entries
                .map(|(key, entry)| format!("{}={}", value(key), value(entry)))
                .collect();
            entries.sort();
            format!("{{{}}}", entries.join(","))
        }
        Value::Struct(fields) => {
            let fields: Vec<String> = fields
                .fields()
                .map(|(name, _, field)| format!("{name}={}", value(field)))
                .collect();
            format!("({})", fields.join(","))
        }
        number => format!("{}:{number}", number.type_name()),
    }
}
