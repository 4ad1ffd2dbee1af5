//! Bodies of requests: JSON, and configurations in it.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use connect_core::ConfigMap;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::BODY_BYTES_MAX;
use super::failure::Failure;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A body that is a JSON object.
pub(super) struct Object(pub(super) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Object {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > BODY_BYTES_MAX) {
            return Err(Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("The body is larger than {BODY_BYTES_MAX} bytes"),
            ));
        }
        let read = timeout(BODY_TIMEOUT, Json::<Value>::from_request(request, state));
        let Ok(read) = read.await else {
            return Err(Failure::new(
                StatusCode::REQUEST_TIMEOUT,
                "The body did not arrive in time",
            ));
        };
        match read {
            Ok(Json(Value::Object(fields))) => Ok(Self(fields)),
            Ok(_) => Err(Failure::bad_request("The body must be a JSON object")),
            Err(JsonRejection::JsonSyntaxError(error)) => {
                Err(Failure::bad_request(error.body_text()))
            }
            Err(JsonRejection::JsonDataError(error)) => {
                Err(Failure::bad_request(error.body_text()))
            }
            Err(JsonRejection::MissingJsonContentType(_)) => Err(Failure::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body must be JSON, with the header \"Content-Type: application/json\"",
            )),
            Err(error) => Err(Failure::new(error.status(), error.body_text())),
        }
    }
}

/// The text of a value of a configuration, where Kafka's is always text; `None` for null.
fn text(key: &str, value: Value) -> Result<Option<String>, Failure> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Bool(_) | Value::Number(_) => Ok(Some(value.to_string())),
        Value::Array(_) | Value::Object(_) => Err(Failure::bad_request(format!(
            "The value of key \"{key}\" must be a string"
        ))),
    }
}

/// A whole configuration.
pub(super) fn config(fields: Map<String, Value>) -> Result<ConfigMap, Failure> {
    let read = |(key, value): (String, Value)| match text(&key, value)? {
        Some(text) => Ok((key, text)),
        None => Err(Failure::bad_request(format!(
            "The value of key \"{key}\" must not be null"
        ))),
    };
    fields.into_iter().map(read).collect()
}

/// Applies changes to a configuration; null removes a key.
pub(super) fn patch(config: &mut ConfigMap, changes: Map<String, Value>) -> Result<(), Failure> {
    for (key, value) in changes {
        match text(&key, value)? {
            Some(text) => config.insert(key, text),
            None => config.remove(&key),
        };
    }
    Ok(())
}

/// Refuses fields that mean nothing: a misspelt one must not be as if it was not there.
pub(super) fn refuse_unknown(fields: &Map<String, Value>, known: &[&str]) -> Result<(), Failure> {
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(unknown) => Err(Failure::bad_request(format!(
            "Unrecognized field \"{unknown}\"; there are {}",
            known.join(", ")
        ))),
    }
}

/// A field of a request that is text, if it is there.
pub(super) fn text_field(
    fields: &Map<String, Value>,
    name: &str,
) -> Result<Option<String>, Failure> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(value @ (Value::Bool(_) | Value::Number(_))) => Ok(Some(value.to_string())),
        Some(_) => Err(Failure::bad_request(format!(
            "The field \"{name}\" must be a string"
        ))),
    }
}
