//! How connectors and tasks are, in the shapes of `GET /connectors/{connector}/status`.

use serde_json::Value;

use crate::listing::plain;

/// States that ask for somebody's attention, the worst first.
const TROUBLE: [&str; 3] = ["FAILED", "RESTARTING", "UNASSIGNED"];

/// A text field, or `-`.
pub(super) fn field<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or("-")
}

/// The tasks of a connector's status.
pub(super) fn tasks(status: &Value) -> &[Value] {
    let tasks = status.get("tasks").and_then(Value::as_array);
    tasks.map(Vec::as_slice).unwrap_or_default()
}

/// The parts of a connector: its own code, then its tasks.
fn parts(status: &Value) -> impl Iterator<Item = &Value> {
    status.get("connector").into_iter().chain(tasks(status))
}

/// A connector is as its worst part: one with a failed task does not simply run.
pub(super) fn worst(status: &Value) -> &str {
    let own = status
        .get("connector")
        .map_or("-", |own| field(own, "state"));
    let states = || parts(status).map(|part| field(part, "state"));
    let trouble = TROUBLE.into_iter();
    let mut found = trouble.filter(|trouble| states().any(|state| state == *trouble));
    found.next().unwrap_or(own)
}

/// Where a connector belongs in a list: those in trouble first.
pub(super) fn urgency(status: &Value) -> usize {
    let worst = worst(status);
    let place = TROUBLE.iter().position(|trouble| *trouble == worst);
    place.unwrap_or(TROUBLE.len())
}

/// How many tasks run, and how many there are.
pub(super) fn running(status: &Value) -> String {
    let tasks = tasks(status);
    let runs = |task: &&Value| field(task, "state") == "RUNNING";
    format!("{}/{}", tasks.iter().filter(runs).count(), tasks.len())
}

/// Why a connector is not simply running: the first line of the first error of its parts, or what one of
/// them waits for.
pub(super) fn why(status: &Value) -> Option<String> {
    let first = |name: &str| parts(status).find_map(|part| part.get(name)?.as_str());
    let text = first("trace").or_else(|| first("waiting"))?;
    Some(plain(text.lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_error_says_more_than_what_is_waited_for() {
        let waiting = json!({"state": "RUNNING", "waiting": "for a file"});
        let failed = json!({"state": "FAILED", "trace": "no digit\n\tat line 2"});
        let status = |tasks: &[&Value]| json!({"connector": {"state": "RUNNING"}, "tasks": tasks});
        assert_eq!(why(&status(&[])), None);
        assert_eq!(why(&status(&[&waiting])).as_deref(), Some("for a file"));
        let both = status(&[&waiting, &failed]);
        assert_eq!(why(&both).as_deref(), Some("no digit"));
    }

    #[test]
    fn a_connector_is_as_its_worst_part() {
        let status = |own: &str, tasks: &[&str]| {
            let tasks: Vec<Value> = tasks.iter().map(|state| json!({"state": state})).collect();
            json!({"connector": {"state": own}, "tasks": tasks})
        };
        assert_eq!(worst(&status("RUNNING", &["RUNNING", "FAILED"])), "FAILED");
        assert_eq!(worst(&status("RUNNING", &["RESTARTING"])), "RESTARTING");
        assert_eq!(worst(&status("PAUSED", &["PAUSED"])), "PAUSED");
        assert_eq!(worst(&status("STOPPED", &[])), "STOPPED");
        let mixed = status("RUNNING", &["RUNNING", "FAILED"]);
        assert_eq!(running(&mixed), "1/2");
        assert!(urgency(&mixed) < urgency(&status("RUNNING", &["RUNNING"])));
    }
}
