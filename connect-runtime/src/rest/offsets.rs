//! `/connectors/{connector}/offsets`: how far a connector has come, and where it shall go on.

use axum::Json;
use axum::extract::{Path, State};
use connect_core::{ConnectorKind, SourceOffset, SourcePartition, TopicPartition};
use serde_json::{Map, Value, json};

use super::Rest;
use super::body::{self, Object};
use super::failure::Failure;
use crate::worker::OffsetChanges;

const TOPIC: &str = "kafka_topic";
const PARTITION: &str = "kafka_partition";
const OFFSET: &str = "kafka_offset";

/// `GET /connectors/{connector}/offsets`: what a source has stored, what the group of a sink has
/// committed.
pub(super) async fn show(
    State(rest): State<Rest>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Failure> {
    let config = rest.worker.configuration(&name).await?;
    let offsets: Vec<Value> = match config.kind {
        ConnectorKind::Source => {
            let mut positions = rest.worker.offsets(&name);
            positions.sort_by(|a, b| a.partition.as_json().cmp(b.partition.as_json()));
            let shape = |at: &connect_core::SourcePosition| json!({"partition": at.partition.fields(), "offset": at.offset.fields()});
            positions.iter().map(shape).collect()
        }
        ConnectorKind::Sink => {
            let worker = rest.worker.clone();
            let read = async move {
                let committed = worker.sink_offsets(&config).await;
                committed.map_err(|error| Failure::internal(error.to_string()))
            };
            let doing = format!("reading the offsets of connector {name}");
            let committed = rest.finish(doing, read).await?;
            let shape = |(partition, at): (kafka_client::TopicPartition, _)| {
                let at: kafka_client::OffsetAndMetadata = at;
                json!({
                    "partition": {
                        TOPIC: &*partition.topic,
                        PARTITION: partition.partition,
                    },
                    "offset": {OFFSET: at.offset},
                })
            };
            committed.into_iter().map(shape).collect()
        }
    };
    Ok(Json(json!({ "offsets": offsets })))
}

/// `GET /connectors/{connector}/offsets/history`: the changes on request, the oldest first. What `before` has
/// is what undoes one. Kafka Connect has no such thing.
pub(super) async fn history(
    State(rest): State<Rest>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Failure> {
    rest.worker.configuration(&name).await?;
    Ok(Json(
        json!({ "changes": rest.worker.offset_changes(&name) }),
    ))
}

/// `PATCH /connectors/{connector}/offsets`: null as an offset removes it (KIP-875).
pub(super) async fn alter(
    State(rest): State<Rest>,
    Path(name): Path<String>,
    Object(request): Object,
) -> Result<Json<Value>, Failure> {
    body::refuse_unknown(&request, &["offsets"])?;
    let entries = match request.get("offsets") {
        Some(Value::Array(entries)) if !entries.is_empty() => entries,
        None | Some(Value::Null | Value::Array(_)) => {
            return Err(Failure::bad_request(
                "Partitions / offsets need to be provided for an alter offsets request",
            ));
        }
        Some(_) => return Err(Failure::bad_request("The field \"offsets\" must be a list")),
    };
    let config = rest.worker.configuration(&name).await?;
    let changes = match config.kind {
        ConnectorKind::Source => read_all(entries, source_change).map(OffsetChanges::Source),
        ConnectorKind::Sink => read_all(entries, sink_change).map(OffsetChanges::Sink),
    };
    let changes = changes?;
    let doing = format!("altering the offsets of connector {name}");
    let worker = rest.worker.clone();
    let alter = async move { Ok(worker.alter_offsets(&name, changes).await?) };
    Ok(done("altered", rest.finish(doing, alter).await?))
}

/// `DELETE /connectors/{connector}/offsets`: removes all of them (KIP-875).
pub(super) async fn reset(
    State(rest): State<Rest>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Failure> {
    let doing = format!("resetting the offsets of connector {name}");
    let worker = rest.worker.clone();
    let reset = async move { Ok(worker.reset_offsets(&name).await?) };
    Ok(done("reset", rest.finish(doing, reset).await?))
}

fn done(what: &str, by_connector: bool) -> Json<Value> {
    let message = match by_connector {
        true => format!("The offsets for this connector have been {what} successfully"),
        false => format!(
            "The Connect framework-managed offsets for this connector have been {what} successfully. \
             However, if this connector manages offsets externally, they will need to be manually \
             {what} in the system that the connector uses."
        ),
    };
    Json(json!({ "message": message }))
}

/// Reads every entry, and says of all that are wrong why.
fn read_all<T>(
    entries: &[Value],
    read: impl Fn(&Map<String, Value>, Option<&Map<String, Value>>) -> Result<T, String>,
) -> Result<Vec<T>, Failure> {
    let mut changes = Vec::with_capacity(entries.len());
    let mut problems = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let change = parts(entry).and_then(|(partition, offset)| read(partition, offset));
        match change {
            Ok(change) => changes.push(change),
            Err(problem) if entries.len() == 1 => problems.push(problem),
            Err(problem) => problems.push(format!("offsets[{index}]: {problem}")),
        }
    }
    match problems.is_empty() {
        true => Ok(changes),
        false => Err(Failure::bad_request(problems.join("\n"))),
    }
}

type Parts<'a> = (&'a Map<String, Value>, Option<&'a Map<String, Value>>);

/// The partition and the offset of an entry.
fn parts(entry: &Value) -> Result<Parts<'_>, String> {
    let Value::Object(fields) = entry else {
        return Err(
            "An offset must be an object with the keys 'partition' and 'offset'".to_owned(),
        );
    };
    // A typo must not remove an offset.
    let known = |name: &&String| matches!(name.as_str(), "partition" | "offset");
    if let Some(unknown) = fields.keys().find(|name| !known(name)) {
        return Err(format!(
            "Unrecognized field '{unknown}'; there are 'partition' and 'offset'"
        ));
    }
    let partition = match fields.get("partition") {
        Some(Value::Object(partition)) => partition,
        None | Some(Value::Null) => {
            return Err("The partition of an offset cannot be null or missing".to_owned());
        }
        Some(other) => return Err(format!("The partition {other} must be an object")),
    };
    match fields.get("offset") {
        Some(Value::Object(offset)) => Ok((partition, Some(offset))),
        None | Some(Value::Null) => Ok((partition, None)),
        Some(other) => Err(format!("The offset {other} must be null or an object")),
    }
}

fn source_change(
    partition: &Map<String, Value>,
    offset: Option<&Map<String, Value>>,
) -> Result<(SourcePartition, Option<SourceOffset>), String> {
    let partition = SourcePartition::from_fields(partition.clone());
    let partition = partition.map_err(|error| error.report())?;
    let offset = offset.map(|fields| SourceOffset::from_fields(fields.clone()));
    let offset = offset.transpose().map_err(|error| error.report())?;
    Ok((partition, offset))
}

fn sink_change(
    partition: &Map<String, Value>,
    offset: Option<&Map<String, Value>>,
) -> Result<(TopicPartition, Option<i64>), String> {
    let (Some(topic), Some(number)) = (partition.get(TOPIC), partition.get(PARTITION)) else {
        return Err(format!(
            "The partition for a sink connector offset must contain the keys '{TOPIC}' and \
             '{PARTITION}'"
        ));
    };
    if topic.is_null() {
        return Err("Kafka topic names must be valid strings and may not be null".to_owned());
    }
    if number.is_null() {
        return Err("Kafka partitions must be valid numbers and may not be null".to_owned());
    }
    let number: i32 = plain(number).parse().map_err(|_| {
        format!(
            "Failed to parse the following Kafka partition value in the provided offsets: '{}'. \
             Partition values for sink connectors need to be integers.",
            plain(number)
        )
    })?;
    let offset = match offset {
        None => None,
        Some(fields) => {
            let offset = fields.get(OFFSET).ok_or_else(|| {
                format!(
                    "The offset for a sink connector should either be null or contain the key \
                     '{OFFSET}'"
                )
            })?;
            let wrong = || {
                format!(
                    "Failed to parse the following Kafka offset value in the provided offsets: '{}'. \
                     Offset values for sink connectors need to be integers.",
                    plain(offset)
                )
            };
            let parsed = plain(offset).parse::<i64>().ok();
            Some(parsed.filter(|at| *at >= 0).ok_or_else(wrong)?)
        }
    };
    Ok((TopicPartition::new(plain(topic), number), offset))
}

/// Text as it is, everything else as JSON: both 10 and "10" are numbers.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
