//! `connect offsets show`

use serde_json::Value;

use crate::CliError;
use crate::invocation::Invocation;
use crate::listing::{FormArguments, plain};
use crate::rest::{self, RestArguments};

/// Arguments of `connect offsets show`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the worker is.
    #[command(flatten)]
    rest: RestArguments,
    /// How to show it; json is what `connect offsets set --file` takes.
    #[command(flatten)]
    form: FormArguments,
    /// The connector.
    name: String,
}

pub(super) async fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    let rest = arguments.rest.rest(invocation)?;
    let path = rest::path(&["connectors", &arguments.name, "offsets"]);
    let answer = rest.get(&path).await?.success()?;
    arguments.form.print(&answer, || {
        let entries = answer.get("offsets").and_then(Value::as_array);
        let entries = entries.map(Vec::as_slice).unwrap_or_default();
        text(entries, arguments.form)
    })
}

/// A sink's in Kafka's terms, a source's as it keeps them.
pub(super) fn text(entries: &[Value], form: FormArguments) -> String {
    let part = |entry: &Value, of: &str, name: &str| match entry.get(of)?.get(name)? {
        Value::String(text) => Some(plain(text)),
        other => Some(other.to_string()),
    };
    let of_sink = |entry: &Value| {
        Some([
            part(entry, "partition", "kafka_topic")?,
            part(entry, "partition", "kafka_partition")?,
            part(entry, "offset", "kafka_offset")?,
        ])
    };
    let rows: Option<Vec<[String; 3]>> = entries.iter().map(of_sink).collect();
    match rows {
        Some(rows) if !rows.is_empty() => form.table(["TOPIC", "PARTITION", "OFFSET"], rows),
        _ => {
            let json = |entry: &Value, name: &str| match entry.get(name) {
                Some(value) => plain(&value.to_string()),
                None => "-".to_owned(),
            };
            let rows = entries.iter();
            let rows = rows.map(|entry| [json(entry, "partition"), json(entry, "offset")]);
            form.table(["PARTITION", "OFFSET"], rows.collect())
        }
    }
}
