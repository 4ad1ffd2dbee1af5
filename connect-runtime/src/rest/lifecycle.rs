//! Pausing, resuming, stopping and restarting connectors.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Rest;
use super::failure::Failure;
use super::status;
use crate::error::WorkerError;
use crate::state::{State as RunState, TaskStatus};

/// `PUT /connectors/{connector}/pause`
pub(super) async fn pause(
    State(rest): State<Rest>,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    let (worker, doing) = (rest.worker.clone(), format!("pausing connector {name}"));
    let pause = async move { worker.pause(&name).await.map_err(in_kafkas_words) };
    rest.finish(doing, pause).await?;
    Ok(StatusCode::ACCEPTED)
}

/// `PUT /connectors/{connector}/resume`
pub(super) async fn resume(
    State(rest): State<Rest>,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    let (worker, doing) = (rest.worker.clone(), format!("resuming connector {name}"));
    let resume = async move { worker.resume(&name).await.map_err(in_kafkas_words) };
    rest.finish(doing, resume).await?;
    Ok(StatusCode::ACCEPTED)
}

/// `PUT /connectors/{connector}/stop`
pub(super) async fn stop(
    State(rest): State<Rest>,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    let (worker, doing) = (rest.worker.clone(), format!("stopping connector {name}"));
    rest.finish(
        doing,
        async move { Ok(worker.stop_connector(&name).await?) },
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /connectors/{connector}/restart?includeTasks&onlyFailed`: without either the connector's own
/// code alone.
pub(super) async fn restart(
    State(rest): State<Rest>,
    Path(name): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Failure> {
    let include_tasks = is_set(&query, "includeTasks");
    let only_failed = is_set(&query, "onlyFailed");
    let Some(mut shown) = status::of(&rest, &name) else {
        return Err(Failure::not_found(match include_tasks || only_failed {
            true => format!("Unknown connector: {name}"),
            false => format!("Connector {name} not found"),
        }));
    };
    let concerned = |status: &TaskStatus| match status.state {
        RunState::Stopped => false,
        RunState::Failed | RunState::Restarting => true,
        _ => !only_failed,
    };
    if concerned(&shown.connector) {
        rest.worker.restart(&name).await?;
        shown.connector.state = RunState::Restarting;
    }
    let tasks = shown.tasks.iter_mut().enumerate();
    for (number, task) in tasks.filter(|(_, task)| include_tasks && concerned(task)) {
        rest.worker.restart_task(&name, number).await?;
        task.state = RunState::Restarting;
    }
    match include_tasks || only_failed {
        true => {
            let body = Json(status::shape(&rest, &name, &shown));
            Ok((StatusCode::ACCEPTED, body).into_response())
        }
        false => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// Kafka says it in other words here than elsewhere.
fn in_kafkas_words(error: WorkerError) -> Failure {
    match error {
        WorkerError::UnknownConnector { name } => {
            Failure::not_found(format!("Unknown connector {name}"))
        }
        error => error.into(),
    }
}

fn is_set(query: &[(String, String)], name: &str) -> bool {
    let mut values = query.iter().filter(|(key, _)| key == name);
    values.any(|(_, value)| value.eq_ignore_ascii_case("true"))
}
