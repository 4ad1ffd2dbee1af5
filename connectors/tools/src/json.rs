//! Values in the lines that the tools print.

use std::time::{SystemTime, UNIX_EPOCH};

use connect_core::Value;
use serde_json::Value as Json;

/// A value as JSON: structs and maps as objects, and as text what JSON has no form for.
pub(crate) fn of(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => Json::from(*value),
        Value::Float32(number) => Json::from(*number),
        Value::Float64(number) => Json::from(*number),
        Value::String(text) => Json::from(&**text),
        Value::Array(items) => items.iter().map(of).collect(),
        Value::Struct(fields) => fields
            .fields()
            .map(|(name, _, value)| (name.to_owned(), of(value)))
            .collect(),
        other => match other.as_i64() {
            Some(number) => Json::from(number),
            None => Json::from(other.to_string()),
        },
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
