//! `/connectors/{connector}/offsets`: how far a connector has come.

use axum::Json;
use axum::extract::{Path, State};
use connect_core::ConnectorKind;
use serde_json::{Value, json};

use super::Rest;
use super::failure::Failure;

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
                        "kafka_topic": &*partition.topic,
                        "kafka_partition": partition.partition,
                    },
                    "offset": {"kafka_offset": at.offset},
                })
            };
            committed.into_iter().map(shape).collect()
        }
    };
    Ok(Json(json!({ "offsets": offsets })))
}
