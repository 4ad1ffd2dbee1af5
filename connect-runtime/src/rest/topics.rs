//! `/connectors/{connector}/topics`: which topics a connector has used (KIP-558).

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Rest;
use super::failure::Failure;

fn forbidden(message: &str) -> Failure {
    Failure::new(StatusCode::FORBIDDEN, message)
}

/// `GET /connectors/{connector}/topics`: as in Kafka, a connector that is not there has used none.
pub(super) async fn show(
    State(rest): State<Rest>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Failure> {
    if !rest.worker.config().topic_tracking {
        return Err(forbidden("Topic tracking is disabled."));
    }
    let topics = rest.worker.topics(&name);
    Ok(Json(json!({ name: { "topics": topics } })))
}

/// `PUT /connectors/{connector}/topics/reset`
pub(super) async fn reset(
    State(rest): State<Rest>,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    let config = rest.worker.config();
    if !config.topic_tracking {
        return Err(forbidden("Topic tracking is disabled."));
    }
    if !config.topic_tracking_reset {
        return Err(forbidden("Topic tracking reset is disabled."));
    }
    rest.worker.forget_topics(&name);
    Ok(StatusCode::ACCEPTED)
}
