//! `connect dlq`: the records that a connector could not process, and why.

mod letter;
mod queue;
mod replay;

use clap::{Args, Command};
use serde_json::Value;

use crate::connection::ConnectionArguments;
use crate::invocation::Invocation;
use crate::listing::FormArguments;
use crate::rest::RestArguments;
use crate::{CliError, commands, connection, output, worker_cluster};

use letter::Letter;
use queue::Selection;

const EXAMPLES: &str = "\
Examples:
  connect dlq ls local-file-sink
  connect dlq show local-file-sink 0:17
  connect dlq replay local-file-sink --dry-run

Exit codes: 0 done, 1 refused or nobody there, 2 not understood.";

/// What both commands take.
#[derive(Debug, Args)]
struct Common {
    /// Where the worker is.
    #[command(flatten)]
    rest: RestArguments,
    /// Where the worker's cluster is.
    #[command(flatten)]
    connection: ConnectionArguments,
    /// How to show it.
    #[command(flatten)]
    form: FormArguments,
    /// The queue's topic [default: the connector's errors.deadletterqueue.topic.name].
    #[arg(long)]
    topic: Option<String>,
    /// Letters of other connectors in the same topic, too.
    #[arg(long)]
    all: bool,
    /// The connector.
    name: String,
}

/// Arguments of `connect dlq ls`.
#[derive(Debug, Args)]
struct ListArguments {
    #[command(flatten)]
    common: Common,
    /// At most this many letters, the newest ones.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max: u32,
}

/// Arguments of `connect dlq show`.
#[derive(Debug, Args)]
struct ShowArguments {
    #[command(flatten)]
    common: Common,
    /// At most this many letters, the newest ones.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max: u32,
    /// One letter, as `connect dlq ls` names it.
    #[arg(value_name = "PARTITION:OFFSET", conflicts_with = "max")]
    letter: Option<String>,
}

/// The command line of `connect dlq`.
pub fn command() -> Command {
    Command::new("dlq")
        .about("Look into a connector's dead letter queue")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            ListArguments::augment_args(Command::new("ls"))
                .about("List letters: where each was read, and what was wrong"),
        )
        .subcommand(
            ShowArguments::augment_args(Command::new("show"))
                .about("Show letters as a whole, with key, value, headers and error"),
        )
        .subcommand(
            replay::Arguments::augment_args(Command::new("replay"))
                .about("Send letters to where they were read, once what was wrong is mended")
                .after_help(replay::NOTES),
        )
}

/// Does what the arguments ask for.
///
/// # Errors
/// No worker or broker answers, or there is no such queue.
pub fn run(action: &str, invocation: &Invocation) -> Result<(), CliError> {
    connection::block_on(async {
        match action {
            "ls" => {
                let arguments: ListArguments = commands::arguments(invocation)?;
                let selection = Selection::Newest(arguments.max);
                let letters = read(&arguments.common, selection, invocation).await?;
                show(&arguments.common, &letters, |letters, form| {
                    letter::table(letters, form)
                })
            }
            "replay" => replay::run(&commands::arguments(invocation)?, invocation).await,
            _ => {
                let arguments: ShowArguments = commands::arguments(invocation)?;
                let selection = match &arguments.letter {
                    Some(text) => Selection::one(text).ok_or_else(|| {
                        invocation.usage(format!(
                            "a letter is PARTITION:OFFSET such as 0:17, but got \"{text}\""
                        ))
                    })?,
                    None => Selection::Newest(arguments.max),
                };
                let letters = read(&arguments.common, selection, invocation).await?;
                show(&arguments.common, &letters, |letters, _| {
                    letters.iter().map(Letter::text).collect()
                })
            }
        }
    })
}

async fn read(
    common: &Common,
    selection: Selection,
    invocation: &Invocation,
) -> Result<Vec<Letter>, CliError> {
    let rest = common.rest.rest(invocation)?;
    let topic = match &common.topic {
        Some(topic) => topic.clone(),
        None => queue::topic_of(&rest, &common.name).await?,
    };
    let client = worker_cluster::connect(&rest, &common.connection, invocation).await?;
    let read = queue::read(&client, &topic, selection).await;
    client.close().await;
    let mut letters = read?;
    let all = letters.len();
    if matches!(selection, Selection::Newest(_)) {
        letters.retain(|letter| common.all || letter.is_of(&common.name));
    }
    if letters.len() < all {
        output::note(&format!(
            "left out: {} of other connectors; --all shows them",
            all - letters.len()
        ));
    }
    if letters.is_empty() {
        output::note(&format!(
            "no letters of connector \"{}\" in topic {topic}",
            common.name
        ));
    }
    Ok(letters)
}

fn show(
    common: &Common,
    letters: &[Letter],
    text: impl FnOnce(&[Letter], FormArguments) -> String,
) -> Result<(), CliError> {
    let value = Value::Array(letters.iter().map(Letter::json).collect());
    let form = common.form;
    form.print(&value, || match letters.is_empty() {
        true => String::new(),
        false => text(letters, form),
    })
}
