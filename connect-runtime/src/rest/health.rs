//! `/connectors/{connector}/health`: whether somebody should look at a connector. Kafka Connect has no such
//! thing, so every monitoring reads its states by itself.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::Rest;
use super::failure::Failure;
use super::status;
use crate::state::{ConnectorStatus, State as RunState, TaskStatus};

/// `GET /connectors/{connector}/health`: 200, or 503 if something failed and does not run.
pub(super) async fn show(
    State(rest): State<Rest>,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let status = status::of(&rest, &name)
        .ok_or_else(|| Failure::not_found(format!("No status found for connector {name}")))?;
    let health = Health::of(&status);
    let code = match health {
        Health::Healthy | Health::Waiting => StatusCode::OK,
        Health::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
    };
    let own = std::iter::once((None, &status.connector));
    let tasks = status.tasks.iter().enumerate();
    let all = own.chain(tasks.map(|(number, task)| (Some(number), task)));
    let reasons: Vec<Value> = all
        .filter_map(|(task, status)| reason(task, status))
        .collect();
    let body = json!({"name": name, "status": health.name(), "reasons": reasons});
    Ok((code, Json(body)).into_response())
}

/// The worse of two is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Health {
    /// It does what it was asked to, be it to pause.
    Healthy,
    /// It makes no progress, and says why. Often that is right, as for a file that is not there yet.
    Waiting,
    /// Something failed.
    Unhealthy,
}

impl Health {
    fn of(status: &ConnectorStatus) -> Self {
        let own = std::iter::once(&status.connector);
        let all = own.chain(&status.tasks).map(Self::of_one);
        all.max().unwrap_or(Self::Healthy)
    }

    fn of_one(status: &TaskStatus) -> Self {
        match status.state {
            RunState::Failed | RunState::Restarting => Self::Unhealthy,
            _ if status.waiting.is_some() => Self::Waiting,
            _ => Self::Healthy,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Waiting => "waiting",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// Why one task, or the connector's own code, is not healthy.
fn reason(task: Option<usize>, status: &TaskStatus) -> Option<Value> {
    let health = Health::of_one(status);
    let why = match health {
        Health::Healthy => return None,
        Health::Waiting => status.waiting.as_ref(),
        Health::Unhealthy => status.last_error.as_ref(),
    };
    let more = [
        ("task", task.map(|number| json!(number))),
        ("state", Some(json!(status.state.to_string()))),
        ("reason", why.map(|text| json!(text))),
        ("since_ms", status.waiting_since_ms.map(|time| json!(time))),
        ("next_try_ms", status.next_try_ms.map(|time| json!(time))),
        (
            "not_restarted",
            status.not_restarted.as_ref().map(|text| json!(text)),
        ),
    ];
    let fields = more.into_iter();
    let fields = fields.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Some(Value::Object(fields.collect::<Map<_, _>>()))
}
