//! `connect loggers`: what a running worker logs (KIP-495).

use clap::{Args, Command};
use serde_json::{Value, json};

use crate::invocation::Invocation;
use crate::listing::{FormArguments, plain};
use crate::rest::{self, RestArguments};
use crate::{CliError, commands, connection, moment, output};

const EXAMPLES: &str = "\
Examples:
  connect loggers list
  connect loggers set connect_runtime::sink DEBUG
  connect loggers set root WARN

Levels last until the worker ends. Exit codes: 0 done, 1 refused or nobody there, 2 not understood.";

/// Arguments of `connect loggers list`.
#[derive(Debug, Args)]
struct ListArguments {
    /// Where the worker is.
    #[command(flatten)]
    rest: RestArguments,
    /// How to show it.
    #[command(flatten)]
    form: FormArguments,
}

/// Arguments of `connect loggers set`.
#[derive(Debug, Args)]
struct SetArguments {
    /// Where the worker is.
    #[command(flatten)]
    rest: RestArguments,
    /// The logger: root, or a part of the program such as connect_runtime; those below it follow.
    name: String,
    /// OFF, ERROR, WARN, INFO, DEBUG or TRACE.
    level: String,
}

/// The command line of `connect loggers`.
pub fn command() -> Command {
    Command::new("loggers")
        .about("Show and change what a running worker logs")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            ListArguments::augment_args(Command::new("list"))
                .about("List the loggers that have a level of their own"),
        )
        .subcommand(
            SetArguments::augment_args(Command::new("set"))
                .about("Give a logger, and those below it, another level"),
        )
}

/// Does what the arguments ask for.
///
/// # Errors
/// Nobody answers, or the worker refuses.
pub fn run(action: &str, invocation: &Invocation) -> Result<(), CliError> {
    connection::block_on(async {
        match action {
            "list" => list(&commands::arguments(invocation)?, invocation).await,
            _ => set(&commands::arguments(invocation)?, invocation).await,
        }
    })
}

async fn list(arguments: &ListArguments, invocation: &Invocation) -> Result<(), CliError> {
    let rest = arguments.rest.rest(invocation)?;
    let all = rest.get("/admin/loggers").await?.success()?;
    arguments.form.print(&all, || {
        let loggers = all.as_object().into_iter().flatten();
        let rows = loggers.map(|(name, logger)| {
            let changed = logger.get("last_modified").and_then(Value::as_i64);
            [
                plain(name),
                logger
                    .get("level")
                    .and_then(Value::as_str)
                    .unwrap_or("-")
                    .to_owned(),
                changed.map_or_else(|| "-".to_owned(), moment::datetime),
            ]
        });
        arguments
            .form
            .table(["LOGGER", "LEVEL", "CHANGED"], rows.collect())
    })
}

async fn set(arguments: &SetArguments, invocation: &Invocation) -> Result<(), CliError> {
    let rest = arguments.rest.rest(invocation)?;
    let path = rest::path(&["admin", "loggers", &arguments.name]);
    let level = arguments.level.to_ascii_uppercase();
    let changed = rest
        .put(&path, Some(&json!({ "level": level })))
        .await?
        .success()?;
    let names = changed.as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(Value::as_str).collect();
    match names.is_empty() {
        true => output::line(&format!("{} is at {level}", arguments.name)),
        false => output::line(&format!("at {level} now: {}", names.join(", "))),
    }
}
