//! The way of a record for people: the whole record first and last, in between what a step has changed.

use serde_json::Value;

use crate::listing::{columns, plain};

/// One record.
pub(super) fn of(way: &Value) -> String {
    let outcome = way["outcome"].as_str().unwrap_or_default();
    format!("line {}: {outcome}\n{}", way["line"], steps(&way["steps"]))
}

/// Its steps, a line for each thing there is to say.
pub(in crate::commands) fn steps(steps: &Value) -> String {
    let mut rows: Vec<[String; 3]> = Vec::new();
    let mut before: Option<&Value> = None;
    let last = steps.as_array().and_then(|steps| steps.last());
    for step in steps.as_array().into_iter().flatten() {
        let mut name = name(step);
        let is_end = last.is_some_and(|last| std::ptr::eq(last, step));
        for said in said(step, before.filter(|_| !is_end)) {
            let [what, text] = said;
            rows.push([format!("  {}", std::mem::take(&mut name)), what, text]);
        }
        before = step.get("record").or(before);
    }
    columns(&rows)
}

fn name(step: &Value) -> String {
    match step["transform"].as_str() {
        Some(alias) => plain(alias),
        None => step["stage"].as_str().unwrap_or_default().to_owned(),
    }
}

fn said(step: &Value, before: Option<&Value>) -> Vec<[String; 2]> {
    let class = step["class"].as_str().unwrap_or_default();
    let class = class.rsplit('.').next().unwrap_or_default();
    let text = |name: &str| plain(step[name].as_str().unwrap_or_default());
    match step["outcome"].as_str() {
        Some("failed") => vec![
            ["failed".to_owned(), text("error")],
            ["then".to_owned(), text("then")],
        ],
        Some(outcome) => vec![[outcome.to_owned(), class.to_owned()]],
        None => {
            let changed = changed(&step["record"], before);
            match changed.is_empty() {
                true => vec![["unchanged".to_owned(), class.to_owned()]],
                false => changed,
            }
        }
    }
}

/// The parts of a record that are not as they were.
fn changed(record: &Value, before: Option<&Value>) -> Vec<[String; 2]> {
    let Some(parts) = record.as_object() else {
        return Vec::new();
    };
    let was = |name: &str| before.and_then(|before| before.get(name));
    let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    let mut changed: Vec<[String; 2]> = parts
        .iter()
        .filter(|(name, value)| match before {
            Some(_) => was(name) != Some(*value),
            None => !is_empty(value),
        })
        .map(|(name, value)| [name.clone(), shown(value)])
        .collect();
    let gone = before.and_then(Value::as_object).into_iter().flatten();
    let gone = gone.filter(|(name, _)| !parts.contains_key(*name));
    changed.extend(gone.map(|(name, _)| [name.clone(), "none".to_owned()]));
    changed
}

/// Text in quotes, as everything else is JSON.
fn shown(value: &Value) -> String {
    plain(&value.to_string())
}
