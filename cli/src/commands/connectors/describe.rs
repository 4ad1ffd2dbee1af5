//! `connect connectors describe`

use connect_runtime::config::is_secret_key;
use serde_json::{Map, Value, json};

use super::status;
use crate::CliError;
use crate::invocation::Invocation;
use crate::listing::{FormArguments, columns, plain};
use crate::rest::{self, RestArguments};

/// Arguments of `connect connectors describe`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the worker is.
    #[command(flatten)]
    rest: RestArguments,
    /// How to show it.
    #[command(flatten)]
    form: FormArguments,
    /// The connector.
    name: String,
}

pub(super) async fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    let rest = arguments.rest.rest(invocation)?;
    let name = arguments.name.as_str();
    let at = |what: &str| rest::path(&["connectors", name]) + what;
    let mut info = rest.get(&at("")).await?.success()?;
    let status = rest.get(&at("/status")).await?.success()?;
    // A worker may be told not to keep track of topics.
    let topics = rest.get(&at("/topics")).await?;
    let topics = match topics.is_success() {
        true => topics
            .body
            .get(name)
            .and_then(|known| known.get("topics"))
            .cloned(),
        false => None,
    };
    if let Some(Value::Object(config)) = info.get_mut("config") {
        hide_secrets(config);
    }
    let found = json!({
        "name": name,
        "type": status.get("type"),
        "connector": status.get("connector"),
        "tasks": status.get("tasks"),
        "topics": topics,
        "config": info.get("config"),
    });
    arguments
        .form
        .print(&found, || text(&found, arguments.form))
}

/// What is named like a secret is not shown: a terminal is read over shoulders, and kept.
fn hide_secrets(config: &mut Map<String, Value>) {
    for (key, value) in config {
        let is_reference = value.as_str().is_some_and(|text| text.contains("${"));
        if is_secret_key(key) && !is_reference {
            *value = Value::from("[hidden]");
        }
    }
}

fn text(found: &Value, form: FormArguments) -> String {
    let null = Value::Null;
    let part = |name: &str| found.get(name).unwrap_or(&null);
    let connector = part("connector");
    let topics: Vec<&str> = part("topics")
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let topics = match topics.is_empty() {
        true => "none used yet".to_owned(),
        false => topics.join(", "),
    };
    let mut head = vec![
        ["Name:", status::field(found, "name")],
        ["Type:", status::field(found, "type")],
        ["State:", status::field(connector, "state")],
        ["Worker:", status::field(connector, "worker_id")],
        ["Topics:", &topics],
    ]
    .into_iter()
    .map(|line| line.map(plain))
    .collect::<Vec<_>>();
    head.extend(details(connector).map(|line| line.map(|text| plain(&text))));
    let config: Vec<[String; 2]> = part("config")
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            [
                format!("  {key}"),
                plain(value.as_str().unwrap_or_default()),
            ]
        })
        .collect();
    let tasks = status::tasks(found);
    let rows = tasks.iter().map(|task| {
        let id = task.get("id").map(Value::to_string).unwrap_or_default();
        let mut state = status::field(task, "state").to_owned();
        for [name, text] in details(task).filter(|[name, _]| name != "Error:") {
            state += &format!(", {}: {text}", name.trim_end_matches(':').to_lowercase());
        }
        [format!("  {id}"), plain(&state)]
    });
    let mut tasks_text = form.table(["  ID", "STATE"], rows.collect());
    for task in tasks {
        if let Some(trace) = task.get("trace").and_then(Value::as_str) {
            let id = task.get("id").map(Value::to_string).unwrap_or_default();
            tasks_text += &format!("  error of task {id}:\n");
            for line in trace.lines() {
                tasks_text += &format!("    {}\n", plain(line));
            }
        }
    }
    let tasks_text = match tasks.is_empty() {
        true => "  none\n".to_owned(),
        false => tasks_text,
    };
    format!(
        "{}Config:\n{}Tasks:\n{tasks_text}",
        columns(&head),
        columns(&config)
    )
}

/// What is only there when something is out of the ordinary.
fn details(part: &Value) -> impl Iterator<Item = [String; 2]> {
    let shown = |(label, name): (&str, &str)| {
        let text = match part.get(name)? {
            Value::String(text) => text.trim_end().to_owned(),
            other => other.to_string(),
        };
        Some([label.to_owned(), text])
    };
    let names = [
        ("Waiting:", "waiting"),
        ("Failures:", "failures"),
        ("Error:", "trace"),
    ];
    names
        .into_iter()
        .filter_map(shown)
        .collect::<Vec<_>>()
        .into_iter()
}
