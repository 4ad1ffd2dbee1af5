//! `connect connectors`: the connectors of a running worker, through its REST interface.

mod apply;
mod create;
mod describe;
mod lifecycle;
mod list;
mod status;
mod validate;

use clap::{Args, Command};

use crate::CliError;
use crate::invocation::Invocation;
use crate::{commands, connection};

const EXAMPLES: &str = "\
Examples:
  connect connectors list
  connect connectors apply configs/file-source.toml configs/file-sink.toml
  connect connectors restart local-file-sink --only-failed --include-tasks

Exit codes: 0 done, 1 refused or nobody there, 2 not understood.";

/// The command line of `connect connectors`.
pub fn command() -> Command {
    Command::new("connectors")
        .about("List, describe, change and restart the connectors of a running worker")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            list::Arguments::augment_args(Command::new("list"))
                .about("List the connectors and how they are, those in trouble first"),
        )
        .subcommand(
            describe::Arguments::augment_args(Command::new("describe"))
                .about("Show a connector's state, tasks, topics and configuration"),
        )
        .subcommand(
            create::Arguments::augment_args(Command::new("create"))
                .about("Create the connectors of files; none may exist"),
        )
        .subcommand(
            apply::Arguments::augment_args(Command::new("apply"))
                .about("Make connectors as files say, and say which keys changed"),
        )
        .subcommand(
            lifecycle::Arguments::augment_args(Command::new("delete"))
                .about("Delete connectors; their offsets stay"),
        )
        .subcommand(
            lifecycle::Arguments::augment_args(Command::new("pause"))
                .about("Let tasks stand still, with all they hold"),
        )
        .subcommand(
            lifecycle::Arguments::augment_args(Command::new("resume"))
                .about("Let paused or stopped connectors go on"),
        )
        .subcommand(
            lifecycle::Arguments::augment_args(Command::new("stop"))
                .about("End all tasks; offsets can be changed then"),
        )
        .subcommand(
            lifecycle::RestartArguments::augment_args(Command::new("restart"))
                .about("Restart a connector, and its tasks if asked to"),
        )
        .subcommand(
            validate::Arguments::augment_args(Command::new("validate"))
                .about("Have a file checked by the worker, without making anything"),
        )
}

/// Does what the arguments ask for.
///
/// # Errors
/// Nobody answers, or the worker refuses.
pub fn run(action: &str, invocation: &Invocation) -> Result<(), CliError> {
    connection::block_on(async {
        match action {
            "list" => list::run(&commands::arguments(invocation)?, invocation).await,
            "describe" => describe::run(&commands::arguments(invocation)?, invocation).await,
            "create" => create::run(&commands::arguments(invocation)?, invocation).await,
            "apply" => apply::run(&commands::arguments(invocation)?, invocation).await,
            "restart" => lifecycle::restart(&commands::arguments(invocation)?, invocation).await,
            "validate" => validate::run(&commands::arguments(invocation)?, invocation).await,
            other => lifecycle::run(other, &commands::arguments(invocation)?, invocation).await,
        }
    })
}
