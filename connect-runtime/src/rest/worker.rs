//! `/` and `/health`: the worker itself.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Rest;

/// The level of Kafka Connect whose REST interface this is. Tools read it as major.minor and choose by
/// it what they ask for.
const KAFKA_VERSION: &str = "4.3.0";

/// `GET /`
pub(super) async fn show(State(rest): State<Rest>) -> Json<Value> {
    Json(json!({
        "version": KAFKA_VERSION,
        "commit": "unknown",
        "kafka_cluster_id": rest.worker.cluster_id(),
        "connect_version": env!("CARGO_PKG_VERSION"),
    }))
}

/// `GET /health`: about the worker, not about its connectors. It answers only once it has started.
pub(super) async fn health() -> Json<Value> {
    Json(json!({
        "status": "healthy",
        "message": "Worker has completed startup and is ready to handle requests.",
    }))
}
