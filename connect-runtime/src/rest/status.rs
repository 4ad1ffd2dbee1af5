//! How a connector is.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::Rest;
use super::failure::Failure;
use crate::state::{ConnectorStatus, State as RunState, TaskStatus};

/// `GET /connectors/{connector}/status`
pub(super) async fn show(
    State(rest): State<Rest>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Failure> {
    of(&rest, &name)
        .map(|status| Json(shape(&rest, &name, &status)))
        .ok_or_else(|| Failure::not_found(format!("No status found for connector {name}")))
}

/// The status of one connector.
pub(super) fn of(rest: &Rest, name: &str) -> Option<ConnectorStatus> {
    rest.worker.status_of(name)
}

/// Kafka's `ConnectorStateInfo`.
pub(super) fn shape(rest: &Rest, name: &str, status: &ConnectorStatus) -> Value {
    let tasks = status.tasks.iter().enumerate();
    let tasks: Vec<Value> = tasks
        .map(|(number, task)| task_shape(rest, number, task, status))
        .collect();
    json!({
        "name": name,
        "connector": fields(rest, &status.connector, status),
        "tasks": tasks,
        "type": status.kind.name(),
    })
}

/// Kafka's `TaskState`.
pub(super) fn task_shape(
    rest: &Rest,
    number: usize,
    task: &TaskStatus,
    connector: &ConnectorStatus,
) -> Value {
    let mut shape = json!({"id": number});
    if let (Value::Object(shape), Value::Object(more)) = (&mut shape, fields(rest, task, connector))
    {
        shape.extend(more);
    }
    shape
}

/// What connectors and tasks have in common; `waiting`, `failures`, `restarts`, `next_try_ms` and
/// `not_restarted` are ours.
fn fields(rest: &Rest, status: &TaskStatus, connector: &ConnectorStatus) -> Value {
    let mut shape = json!({
        "state": status.state.to_string(),
        "worker_id": &*rest.worker_id,
    });
    let failed = matches!(status.state, RunState::Failed | RunState::Restarting);
    let trace = status.last_error.as_ref().filter(|_| failed);
    let version = connect_core::plugin::find(&connector.class).map(|found| found.version());
    let more = [
        ("trace", trace.map(|text| json!(text))),
        ("version", version.ok().map(|text| json!(text))),
        ("waiting", status.waiting.as_ref().map(|text| json!(text))),
        (
            "failures",
            (status.failures > 0).then(|| json!(status.failures)),
        ),
        (
            "restarts",
            (status.restarts > 0).then(|| json!(status.restarts)),
        ),
        (
            "not_restarted",
            status.not_restarted.as_ref().map(|text| json!(text)),
        ),
        ("next_try_ms", status.next_try_ms.map(|time| json!(time))),
    ];
    if let Value::Object(shape) = &mut shape {
        let more = more.into_iter();
        shape.extend(more.filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    shape
}
