//! `connect offsets history` and `undo`: what was changed on request, and the way back.

use serde_json::{Value, json};

use super::{say, show};
use crate::invocation::Invocation;
use crate::listing::{Form, FormArguments};
use crate::rest::{self, Rest, RestArguments};
use crate::{CliError, moment, output};

/// Arguments of `connect offsets history`.
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

/// Arguments of `connect offsets undo`.
#[derive(Debug, clap::Args)]
pub(super) struct UndoArguments {
    /// Where the worker is.
    #[command(flatten)]
    rest: RestArguments,
    /// Which change, as `connect offsets history` numbers them [default: the last].
    #[arg(long, value_name = "NUMBER")]
    change: Option<u64>,
    /// Only show the offsets.
    #[arg(long)]
    dry_run: bool,
    /// The connector, which must be stopped.
    name: String,
}

/// Shows the changes, the oldest first.
pub(super) async fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    let rest = arguments.rest.rest(invocation)?;
    let changes = changes(&rest, &arguments.name).await?;
    arguments.form.print(&changes, || {
        let rows = changes.as_array().into_iter().flatten().map(row);
        let names = ["CHANGE", "TIME", "WHAT", "PARTITIONS"];
        arguments.form.table(names, rows.collect())
    })
}

fn row(change: &Value) -> [String; 4] {
    let time = change["timestamp_ms"].as_i64().map(moment::datetime);
    let partitions = change["before"].as_array().map(|before| before.len());
    [
        change["number"].to_string(),
        time.unwrap_or_default(),
        match change["reset"].as_bool() {
            Some(true) => "reset".to_owned(),
            _ => "set".to_owned(),
        },
        match partitions {
            Some(count) => count.to_string(),
            None => "too many to keep".to_owned(),
        },
    ]
}

/// Sets the offsets that a change has changed to what they were before it.
pub(super) async fn undo(
    arguments: &UndoArguments,
    invocation: &Invocation,
) -> Result<(), CliError> {
    let rest = arguments.rest.rest(invocation)?;
    let name = &arguments.name;
    let changes = changes(&rest, name).await?;
    let mut all = changes.as_array().into_iter().flatten();
    let change = match arguments.change {
        Some(number) => all.find(|change| change["number"] == number),
        None => all.next_back(),
    };
    let Some(change) = change else {
        return Err(CliError::failed(format!(
            "error: {} of connector \"{name}\"; 'connect offsets history {name}' lists those that are kept",
            match arguments.change {
                Some(number) => format!("there is no change {number} of the offsets"),
                None => "nothing was changed in the offsets".to_owned(),
            }
        )));
    };
    let Some(before) = change["before"].as_array() else {
        return Err(CliError::failed(format!(
            "error: what change {} of connector \"{name}\" has changed was too much to keep",
            change["number"]
        )));
    };
    if before.is_empty() {
        return output::line("that change has changed nothing");
    }
    if arguments.dry_run {
        let form = FormArguments {
            form: Form::Table,
            no_headers: false,
        };
        return output::print(&show::text(before, form));
    }
    let path = rest::path(&["connectors", name, "offsets"]);
    let answer = rest.patch(&path, &json!({"offsets": before})).await?;
    say(&answer.success()?)
}

async fn changes(rest: &Rest, name: &str) -> Result<Value, CliError> {
    let path = rest::path(&["connectors", name, "offsets", "history"]);
    let answer = rest.get(&path).await?.success()?;
    Ok(answer.get("changes").cloned().unwrap_or_default())
}
