//! `connect offsets`: how far connectors have come, and where they shall go on (KIP-875).

mod history;
mod set;
mod show;

use clap::{Args, Command};

use crate::invocation::Invocation;
use crate::rest::{self, RestArguments};
use crate::{CliError, commands, connection, output};

const EXAMPLES: &str = "\
Examples:
  connect offsets show local-file-source
  connect connectors stop local-file-sink
  connect offsets set local-file-sink --to-earliest
  connect connectors resume local-file-sink

Exit codes: 0 done, 1 refused or nobody there, 2 not understood.";

/// Arguments of `connect offsets reset`.
#[derive(Debug, Args)]
struct ResetArguments {
    /// Where the worker is.
    #[command(flatten)]
    rest: RestArguments,
    /// The connector, which must be stopped.
    name: String,
}

/// The command line of `connect offsets`.
pub fn command() -> Command {
    Command::new("offsets")
        .about("Show and change how far the connectors of a running worker have come")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            show::Arguments::augment_args(Command::new("show"))
                .about("Show what a source has stored, or the group of a sink has committed"),
        )
        .subcommand(
            set::Arguments::augment_args(Command::new("set"))
                .about("Say where a stopped connector shall go on")
                .after_help(set::EXAMPLES),
        )
        .subcommand(
            ResetArguments::augment_args(Command::new("reset"))
                .about("Forget how far a stopped connector has come, so that it begins anew"),
        )
        .subcommand(
            history::Arguments::augment_args(Command::new("history"))
                .about("Show what was changed with set, reset or undo, by anybody"),
        )
        .subcommand(
            history::UndoArguments::augment_args(Command::new("undo"))
                .about("Have the offsets of a stopped connector as they were before a change"),
        )
}

/// Does what the arguments ask for.
///
/// # Errors
/// Nobody answers, or the worker refuses.
pub fn run(action: &str, invocation: &Invocation) -> Result<(), CliError> {
    connection::block_on(async {
        match action {
            "show" => show::run(&commands::arguments(invocation)?, invocation).await,
            "history" => history::run(&commands::arguments(invocation)?, invocation).await,
            "undo" => history::undo(&commands::arguments(invocation)?, invocation).await,
            "set" => set::run(&commands::arguments(invocation)?, invocation).await,
            _ => reset(&commands::arguments(invocation)?, invocation).await,
        }
    })
}

async fn reset(arguments: &ResetArguments, invocation: &Invocation) -> Result<(), CliError> {
    let rest = arguments.rest.rest(invocation)?;
    let path = rest::path(&["connectors", &arguments.name, "offsets"]);
    let answer = rest.delete(&path).await?.success()?;
    say(&answer)
}

/// What the worker says about a change.
fn say(answer: &serde_json::Value) -> Result<(), CliError> {
    let message = answer.get("message").and_then(serde_json::Value::as_str);
    output::line(message.unwrap_or("done"))
}
