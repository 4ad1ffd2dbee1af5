//! `/connectors/{connector}/history`: what happened to a connector. Kafka Connect has no such thing.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Map, Value, json};

use super::Rest;
use super::failure::Failure;
use crate::history::{EVENTS_MAX, Happened, HistoryEvent, RestartedBy};

/// `GET /connectors/{connector}/history`: oldest first.
pub(super) async fn show(
    State(rest): State<Rest>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Failure> {
    let history = rest.worker.history(&name);
    let history =
        history.ok_or_else(|| Failure::not_found(format!("Connector {name} not found")))?;
    let events: Vec<Value> = history.events.iter().map(event).collect();
    Ok(Json(json!({
        "name": name,
        "events": events,
        "events_max": EVENTS_MAX,
        "forgotten": history.forgotten,
    })))
}

fn event(event: &HistoryEvent) -> Value {
    let mut shape = Map::new();
    let mut put = |key: &str, value: Value| {
        shape.insert(key.to_owned(), value);
    };
    put("timestamp_ms", json!(event.timestamp_ms));
    if let Some(task) = event.task {
        put("task", json!(task));
    }
    match &event.what {
        Happened::Changed { from, to } => {
            put("event", json!("state"));
            put("from", json!(from.to_string()));
            put("state", json!(to.to_string()));
        }
        Happened::Failed {
            from,
            to,
            failures,
            error,
            next,
        } => {
            put("event", json!("failure"));
            put("from", json!(from.to_string()));
            put("state", json!(to.to_string()));
            put("failures", json!(failures));
            put("error", json!(error));
            match next {
                Ok(time) => put("next_try_ms", json!(time)),
                Err(why) => put("not_restarted", json!(why)),
            }
        }
        Happened::Restarted(by) => {
            put("event", json!("restart"));
            let by = match by {
                RestartedBy::Worker => "worker",
                RestartedBy::Request => "request",
                RestartedBy::Configuration => "configuration",
            };
            put("by", json!(by));
        }
    }
    Value::Object(shape)
}
