//! What is answered when something cannot be done: Kafka's `{"error_code", "message"}`.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::config::Problems;
use crate::error::WorkerError;
use crate::secrets;

/// Why a request was not done; tools read the status and some match on the words.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: secrets::hide(message),
        }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// There is nothing at this path.
    pub(super) fn no_resource() -> Self {
        Self::plain(StatusCode::NOT_FOUND)
    }

    /// A configuration was refused, with every mistake on a line of its own.
    pub(super) fn invalid(Problems(problems): &Problems) -> Self {
        let lines: Vec<String> = problems
            .iter()
            .filter(|problem| problem.is_error())
            .map(|problem| match problem.key() {
                Some(key) => format!("key \"{key}\": {}", problem.message()),
                None => problem.message().to_owned(),
            })
            .collect();
        Self::bad_request(format!(
            "Connector configuration is invalid and contains the following {} error(s):\n{}\nYou can \
             also find the above list of errors at the endpoint \
             `/connector-plugins/{{connectorType}}/config/validate`",
            lines.len(),
            lines.join("\n")
        ))
    }

    /// A failure that has nothing to say but its status.
    pub(super) fn plain(status: StatusCode) -> Self {
        let reason = status.canonical_reason().unwrap_or_default();
        Self::new(status, format!("HTTP {} {reason}", status.as_u16()))
    }
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Config(problems) => Self::invalid(&problems),
            WorkerError::ConnectorExists { name } => Self::new(
                StatusCode::CONFLICT,
                format!("Connector {name} already exists"),
            ),
            WorkerError::UnknownConnector { name } => {
                Self::not_found(format!("Connector {name} not found"))
            }
            WorkerError::UnknownTask { connector, task } => {
                Self::not_found(format!("Task {connector}-{task} not found"))
            }
            WorkerError::NotStopped { connector } => Self::bad_request(format!(
                "Connectors must be in the STOPPED state before their offsets can be modified. This \
                 can be done for the specified connector by issuing a 'PUT' request to the \
                 '/connectors/{connector}/stop' endpoint"
            )),
            WorkerError::OffsetsRefused { reason, .. } => Self::bad_request(reason),
            WorkerError::GroupHasMembers { connector } => Self::internal(format!(
                "Failed to alter consumer group offsets for connector {connector} either because its \
                 tasks haven't stopped completely yet or the connector was resumed before the request \
                 to alter its offsets could be successfully completed. If the connector is in a \
                 stopped state, this operation can be safely retried. If it doesn't eventually \
                 succeed, the worker may need to be restarted to get rid of the zombie sink tasks."
            )),
            WorkerError::Stopping => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "The worker is stopping")
            }
            error => Self::internal(error.to_string()),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = json!({"error_code": self.status.as_u16(), "message": self.message});
        (self.status, Json(body)).into_response()
    }
}

/// Failures that the framework answers by itself, such as 405, take the form of all others.
pub(super) async fn in_kafkas_form(response: Response) -> Response {
    let status = response.status();
    let is_ours = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if is_ours || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let mut formed = Failure::plain(status).into_response();
    if let Some(allowed) = response.headers().get(header::ALLOW) {
        formed.headers_mut().insert(header::ALLOW, allowed.clone());
    }
    formed
}
