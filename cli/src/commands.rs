//! The commands: one file each, its arguments apart from its action.

pub mod broker;
pub mod cluster;
pub mod configs;
pub mod connectors;
pub mod consume;
pub mod dlq;
pub mod explain;
pub mod groups;
pub mod hash_password;
pub mod leader_election;
pub mod links;
pub mod loggers;
pub mod metadata_quorum;
pub mod offsets;
pub mod plugins;
pub mod produce;
pub mod reassign;
pub mod standalone;
pub mod tap;
pub mod topics;
pub mod try_records;

use std::process::ExitCode;

use clap::{Args, Command, FromArgMatches};

use crate::CliError;
use crate::invocation::Invocation;

const EXAMPLES: &str = "\
Examples:
  connect standalone configs/worker.toml configs/file-source.toml configs/file-sink.toml
  connect broker start -daemon configs/server.toml
  connect consume --topic connect-test --from-beginning

The tools take the flags of Kafka's tools; 'connect links DIR' makes links under Kafka's names.";

/// All commands fit on a screen; what else an overview has can be left out.
const TEMPLATE: &str = "\
{about}

{usage-heading} {usage}

Commands:
{subcommands}{after-help}";

/// The whole command line of `connect`.
pub fn command_line() -> Command {
    Command::new("connect")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Kafka Connect with a Kafka-compatible broker, in one program")
        .help_template(TEMPLATE)
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            standalone::Arguments::augment_args(Command::new("standalone"))
                .about("Run connectors, with an embedded broker unless one is configured"),
        )
        .subcommand(connectors::command())
        .subcommand(offsets::command())
        .subcommand(loggers::command())
        .subcommand(dlq::command())
        .subcommand(
            explain::Arguments::augment_args(Command::new("explain"))
                .about("Show what a connector's file means, without running anything"),
        )
        .subcommand(
            try_records::Arguments::augment_args(Command::new("try"))
                .about("Show what a connector makes of records, without a worker")
                .after_help(try_records::NOTES),
        )
        .subcommand(
            tap::Arguments::augment_args(Command::new("tap"))
                .about("Show live records of a running connector, at any stage")
                .after_help(tap::NOTES),
        )
        .subcommand(broker::command())
        .subcommand(
            topics::Arguments::augment_args(Command::new("topics"))
                .about("Create, list, describe, alter and delete topics"),
        )
        .subcommand(
            produce::Arguments::augment_args(Command::new("produce"))
                .about("Send lines from standard input or a file to a topic"),
        )
        .subcommand(
            consume::Arguments::augment_args(Command::new("consume"))
                .about("Print the records of topics"),
        )
        .subcommand(
            groups::Arguments::augment_args(Command::new("groups"))
                .about("List, describe, reset and delete consumer groups"),
        )
        .subcommand(
            configs::Arguments::augment_args(Command::new("configs"))
                .about("Describe and alter the settings of topics and brokers"),
        )
        .subcommand(cluster::command())
        .subcommand(
            leader_election::Arguments::augment_args(Command::new("leader-election"))
                .about("Elect the leaders of partitions"),
        )
        .subcommand(reassign::command())
        .subcommand(
            metadata_quorum::Arguments::augment_args(Command::new("metadata-quorum"))
                .about("Show who keeps the cluster's metadata, and how far each node is"),
        )
        .subcommand(
            plugins::Arguments::augment_args(Command::new("plugins"))
                .about("List the connectors, transforms and predicates this program knows"),
        )
        .subcommand(hash_password::command())
        .subcommand(
            links::Arguments::augment_args(Command::new("links"))
                .about("Make links to this program under the names of Kafka's tools"),
        )
}

/// Runs the command that was asked for.
///
/// # Errors
/// Whatever ends the command early, exit code included.
pub fn dispatch(invocation: Invocation) -> Result<ExitCode, CliError> {
    let path: Vec<&str> = invocation.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["standalone"] => return Ok(standalone::run(arguments(&invocation)?, &invocation)),
        ["connectors", action] => connectors::run(action, &invocation),
        ["offsets", action] => offsets::run(action, &invocation),
        ["loggers", action] => loggers::run(action, &invocation),
        ["dlq", action] => dlq::run(action, &invocation),
        ["explain"] => explain::run(&arguments(&invocation)?),
        ["try"] => try_records::run(&arguments(&invocation)?),
        ["tap"] => tap::run(&arguments(&invocation)?, &invocation),
        ["broker", "start"] => broker::start(&arguments(&invocation)?, &invocation),
        ["broker", "stop"] => broker::stop(&arguments(&invocation)?),
        ["topics"] => topics::run(&arguments(&invocation)?, &invocation),
        ["produce"] => produce::run(&arguments(&invocation)?, &invocation),
        ["consume"] => consume::run(&arguments(&invocation)?, &invocation),
        ["groups"] => groups::run(&arguments(&invocation)?, &invocation),
        ["configs"] => configs::run(&arguments(&invocation)?, &invocation),
        ["cluster", "status"] => cluster::status(&arguments(&invocation)?, &invocation),
        ["cluster", "id"] => cluster::id(&arguments(&invocation)?, &invocation),
        ["cluster", "remove"] => cluster::remove(&arguments(&invocation)?, &invocation),
        ["cluster", "unregister"] => cluster::unregister(&arguments(&invocation)?, &invocation),
        ["leader-election"] => leader_election::run(&arguments(&invocation)?, &invocation),
        ["reassign-partitions"] => reassign::run(&arguments(&invocation)?, &invocation),
        ["metadata-quorum"] => metadata_quorum::run(&arguments(&invocation)?, &invocation),
        ["plugins"] => plugins::run(&arguments(&invocation)?),
        ["hash-password"] => hash_password::run(),
        ["links"] => links::run(&arguments(&invocation)?),
        other => Err(invocation.usage(format!("there is no command {:?}", other.join(" ")))),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// The arguments of the command that was asked for.
fn arguments<T: FromArgMatches>(invocation: &Invocation) -> Result<T, CliError> {
    Ok(T::from_arg_matches(&invocation.matches)?)
}
