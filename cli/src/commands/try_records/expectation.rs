//! What is expected to come out, and where it is otherwise.

use std::path::Path;

use serde_json::Value;

use crate::{CliError, output};

/// Reads a file of expectations.
pub(super) async fn read(path: &Path) -> Result<Vec<Value>, CliError> {
    let failed = |problem: String| {
        CliError::failed(format!(
            "error: expectations in {} cannot be read: {problem}",
            path.display()
        ))
    };
    let text = tokio::fs::read_to_string(path)
        .await
        .map_err(|error| failed(error.to_string()))?;
    if let Ok(Value::Array(expected)) = serde_json::from_str(&text) {
        return Ok(expected);
    }
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| {
                failed(format!(
                    "line {}: {error}; it has to be a JSON array, or a line of JSON for each record",
                    index + 1
                ))
            })
        })
        .collect()
}

/// Says every difference.
pub(super) fn compare(expected: &[Value], found: &[Value]) -> Result<(), CliError> {
    let mut differences = Vec::new();
    for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
        differ(
            &format!("record {}", index + 1),
            expected,
            found,
            &mut differences,
        );
    }
    if expected.len() != found.len() {
        differences.push(format!(
            "expected {} records, got {}",
            expected.len(),
            found.len()
        ));
    }
    match differences.is_empty() {
        true => Ok(()),
        false => {
            output::note(&differences.join("\n"));
            Err(CliError::Exit(1))
        }
    }
}

/// What is named in an object has to be so; everything else has to be the same.
fn differ(place: &str, expected: &Value, found: &Value, differences: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (name, expected) in expected {
                let found = found.get(name).unwrap_or(&Value::Null);
                differ(&format!("{place}.{name}"), expected, found, differences);
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
                differ(&format!("{place}[{index}]"), expected, found, differences);
            }
        }
        (expected, found) if expected == found => {}
        (expected, found) => differences.push(format!("{place}: expected {expected}, got {found}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differences(expected: Value, found: Value) -> Vec<String> {
        let mut all = Vec::new();
        differ("r", &expected, &found, &mut all);
        all
    }

    #[test]
    fn what_is_named_has_to_be_so_and_the_rest_may_be_anything() {
        let found = json!({"a": 1, "b": [{"c": "x", "d": null}]});
        assert!(differences(json!({"b": [{"c": "x"}]}), found.clone()).is_empty());
        assert!(differences(json!({"e": null}), found.clone()).is_empty());
        assert_eq!(
            differences(json!({"a": 2, "b": [{"c": "y"}], "e": true}), found.clone()),
            [
                "r.a: expected 2, got 1",
                "r.b[0].c: expected \"y\", got \"x\"",
                "r.e: expected true, got null"
            ]
        );
        assert_eq!(differences(json!({"b": []}), found).len(), 1);
    }
}
