//! `/admin/loggers`: what is logged.

use axum::Json;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::body::{self, Object};
use super::failure::Failure;
use crate::loggers::{self, Logger};
use crate::logging;

/// `GET /admin/loggers`: those that have a level of their own.
pub(super) async fn list() -> Json<Value> {
    let all = logging::loggers().map(loggers::Loggers::all);
    let all = all.unwrap_or_default().into_iter();
    let shapes: Map<String, Value> = all.map(|(name, logger)| (name, shape(logger))).collect();
    Json(Value::Object(shapes))
}

/// `GET /admin/loggers/{logger}`
pub(super) async fn show(Path(name): Path<String>) -> Result<Json<Value>, Failure> {
    let found = logging::loggers().and_then(|loggers| loggers.get(&name));
    found
        .map(|logger| Json(shape(logger)))
        .ok_or_else(|| Failure::not_found(format!("Logger {name} not found.")))
}

/// `PUT /admin/loggers/{logger}?scope`: this worker is all of the cluster, but tools expect another
/// answer for that scope.
pub(super) async fn set(
    Path(name): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    Object(request): Object,
) -> Result<Response, Failure> {
    let level = body::text_field(&request, "level")?.ok_or_else(|| {
        Failure::bad_request("Desired 'level' parameter was not specified in request.")
    })?;
    let level = loggers::level_of(&level)
        .ok_or_else(|| Failure::not_found(format!("invalid log level '{level}'.")))?;
    let Some(loggers) = logging::loggers() else {
        return Err(Failure::internal(
            "The program that this worker is a part of decides by itself what is logged",
        ));
    };
    let changed = loggers.set(&name, level).map_err(|_| {
        Failure::bad_request(
            "Too many loggers have a level of their own; set that of one above them",
        )
    })?;
    tracing::info!("the level of logger {name} and those below it is {level} now");
    let cluster =
        |(key, scope): &(String, String)| key == "scope" && scope.eq_ignore_ascii_case("cluster");
    Ok(match query.iter().any(cluster) {
        true => StatusCode::NO_CONTENT.into_response(),
        false => Json(changed).into_response(),
    })
}

fn shape(logger: Logger) -> Value {
    json!({
        "level": logger.level.to_string().to_ascii_uppercase(),
        "last_modified": logger.last_modified_ms,
    })
}
