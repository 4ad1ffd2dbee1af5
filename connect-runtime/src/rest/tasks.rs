//! `/connectors/{connector}/tasks`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use connect_core::ConfigMap;
use serde_json::{Value, json};

use super::Rest;
use super::failure::Failure;
use super::status;

/// `GET /connectors/{connector}/tasks`
pub(super) async fn list(
    State(rest): State<Rest>,
    Path(name): Path<String>,
) -> Result<Json<Vec<Value>>, Failure> {
    let class = rest.worker.configuration(&name).await?.class.clone();
    let class = class.strip_suffix("Connector").unwrap_or(&class);
    let configs = rest.worker.task_configurations(&name).await?;
    let shape = |(number, mut config): (usize, ConfigMap)| {
        // Kafka's tools expect it; here a connector makes its tasks itself.
        config.insert("task.class".to_owned(), format!("{class}Task"));
        json!({"id": {"connector": name, "task": number}, "config": config})
    };
    Ok(Json(configs.into_iter().enumerate().map(shape).collect()))
}

/// `GET /connectors/{connector}/tasks/{task}/status`
pub(super) async fn status(
    State(rest): State<Rest>,
    Path((name, task)): Path<(String, String)>,
) -> Result<Json<Value>, Failure> {
    let number = number(&task)?;
    let connector = status::of(&rest, &name);
    let shape = connector.and_then(|connector| {
        let index = usize::try_from(number).ok()?;
        let task = connector.tasks.get(index)?;
        Some(status::task_shape(&rest, index, task, &connector))
    });
    shape
        .map(Json)
        .ok_or_else(|| Failure::not_found(format!("No status found for task {name}-{number}")))
}

/// `POST /connectors/{connector}/tasks/{task}/restart`
pub(super) async fn restart(
    State(rest): State<Rest>,
    Path((name, task)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    let number = number(&task)?;
    // Kafka's numbers may be negative, and its tasks never are.
    let index = usize::try_from(number)
        .map_err(|_| Failure::not_found(format!("Task {name}-{number} not found")))?;
    rest.worker.restart_task(&name, index).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn number(text: &str) -> Result<i32, Failure> {
    text.parse().map_err(|_| Failure::no_resource())
}
