//! JSON files: a flat object, or the body of a create request
//! `{"name": …, "config": {…}, "initial_state": …}`. In the latter, other fields are ignored, as
//! Kafka does.

use serde_json::Value;

use super::settings::{Lines, Place, Position, Reader};

pub(super) fn read(reader: &mut Reader, bytes: &[u8]) {
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => {
            let position = Position {
                line: error.line().max(1),
                column: error.column().max(1),
            };
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            reader.error(Some(position), None, format!("not valid JSON: {message}"));
            return;
        }
    };
    let start = Position { line: 1, column: 1 };
    let (Value::Object(_), Ok(text)) = (&value, std::str::from_utf8(bytes)) else {
        reader.error(
            Some(start),
            None,
            "expected a JSON object, got another value",
        );
        return;
    };
    let lines = Lines::of(text);
    let members = members(text, 0);
    let config = members
        .iter()
        .find(|member| member.key == "config" && matches!(member.value, Value::Object(_)));
    match config {
        None => flat(reader, &lines, &members),
        Some(config) => {
            let nested = self::members(text, config.value_at);
            flat(reader, &lines, &nested);
            create_request(reader, &lines, &members);
        }
    }
}

fn create_request(reader: &mut Reader, lines: &Lines<'_>, members: &[Member]) {
    for member in members {
        let at = member.place(lines);
        match (member.key.as_str(), &member.value) {
            ("name", Value::String(name)) if !reader.contains("name") => {
                reader.add("name", name.clone(), at);
            }
            ("initial_state", Value::String(state)) => {
                reader.set_initial_state(state.clone(), at);
            }
            ("name", Value::String(_)) => {}
            ("name" | "initial_state", _) => {
                reader.error(
                    Some(at.value),
                    Some(&member.key),
                    "expected a string, got another value",
                );
            }
            _ => {}
        }
    }
}

fn flat(reader: &mut Reader, lines: &Lines<'_>, members: &[Member]) {
    for member in members {
        let at = member.place(lines);
        match scalar(&member.value) {
            Some(text) => reader.add(&member.key, text, at),
            None => {
                let got = match member.value {
                    Value::Null => "null; leave the key out to use its default",
                    Value::Object(_) => "an object; write dotted keys",
                    _ => "a list with lists or objects inside it",
                };
                let message = format!("expected a string, a number or true or false, got {got}");
                reader.error(Some(at.value), Some(&member.key), message);
            }
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Array(items) => {
            let texts: Option<Vec<String>> = items
                .iter()
                .map(|item| match item {
                    Value::Array(_) => None,
                    other => scalar(other),
                })
                .collect();
            texts.map(|texts| texts.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// One `"key": value` of an object, with the byte offsets of both.
struct Member {
    key: String,
    key_at: usize,
    value: Value,
    value_at: usize,
}

impl Member {
    fn place(&self, lines: &Lines<'_>) -> Place {
        Place {
            key: lines.position(self.key_at),
            value: lines.position(self.value_at),
        }
    }
}

/// The members of the object that starts at `from`. The text is known to be valid JSON, so
/// anything unexpected just ends the walk.
fn members(text: &str, from: usize) -> Vec<Member> {
    let mut members = Vec::new();
    let mut at = skip(text, from, '{');
    while let Some((key, key_at, after)) = element(text, at) {
        let Value::String(key) = key else { break };
        let Some((value, value_at, after)) = element(text, skip(text, after, ':')) else {
            break;
        };
        members.push(Member {
            key,
            key_at,
            value,
            value_at,
        });
        at = skip(text, after, ',');
    }
    members
}

/// Goes past white space and one `mark`.
fn skip(text: &str, from: usize, mark: char) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let trimmed = rest.trim_start();
    let start = from + (rest.len() - trimmed.len());
    start + if trimmed.starts_with(mark) { 1 } else { 0 }
}

/// The JSON value at or after `from`, where it starts and where it ends.
fn element(text: &str, from: usize) -> Option<(Value, usize, usize)> {
    let rest = text.get(from..)?;
    let trimmed = rest.trim_start();
    let start = from + (rest.len() - trimmed.len());
    let mut stream = serde_json::Deserializer::from_str(trimmed).into_iter::<Value>();
    let value = stream.next()?.ok()?;
    Some((value, start, start + stream.byte_offset()))
}
