//! `connect topics`, the same as `kafka-topics`.

mod describe;

use std::collections::BTreeMap;

use clap::ArgGroup;
use kafka_client::{Admin, ClientError, ErrorCode, NewTopic};
use regex::Regex;

use crate::connection::{self, ConnectionArguments};
use crate::invocation::Invocation;
use crate::{CliError, output};

/// Arguments of `connect topics`.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("action").args(["create", "list", "describe", "alter", "delete"]))]
pub struct Arguments {
    /// Options for the connection to the cluster.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Create a topic.
    #[arg(long)]
    pub create: bool,
    /// List the topics' names.
    #[arg(long)]
    pub list: bool,
    /// Show partitions, replicas and settings.
    #[arg(long)]
    pub describe: bool,
    /// Give a topic more partitions. (Its settings are changed with `connect configs`.)
    #[arg(long)]
    pub alter: bool,
    /// Delete a topic and its records.
    #[arg(long)]
    pub delete: bool,
    /// The topic; except with --create also a regular expression, or several with commas.
    #[arg(long)]
    pub topic: Option<String>,
    /// The topic's id, with --describe; it may begin with a dash.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub topic_id: Option<String>,
    /// How many partitions [default with --create: the broker's num.partitions].
    #[arg(long, value_name = "N")]
    pub partitions: Option<i32>,
    /// How many copies of each partition [default: the broker's].
    #[arg(long, value_name = "N")]
    pub replication_factor: Option<i32>,
    /// The brokers for each partition's copies: `0:1,1:2` are two partitions with two copies.
    #[arg(long, value_name = "IDS")]
    pub replica_assignment: Option<String>,
    /// A setting of the topic to create; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub config: Vec<String>,
    /// No longer supported; see `connect configs`.
    #[arg(long, value_name = "KEY", hide = true)]
    pub delete_config: Vec<String>,
    /// Do nothing if the topic does not exist.
    #[arg(long)]
    pub if_exists: bool,
    /// Do nothing if the topic exists.
    #[arg(long)]
    pub if_not_exists: bool,
    /// Describe only partitions with copies that lag behind.
    #[arg(long)]
    pub under_replicated_partitions: bool,
    /// Describe only partitions without a leader.
    #[arg(long)]
    pub unavailable_partitions: bool,
    /// Describe only partitions with fewer in-sync copies than min.insync.replicas.
    #[arg(long)]
    pub under_min_isr_partitions: bool,
    /// Describe only partitions with just as many in-sync copies as min.insync.replicas.
    #[arg(long)]
    pub at_min_isr_partitions: bool,
    /// Describe only topics with settings of their own.
    #[arg(long)]
    pub topics_with_overrides: bool,
    /// Leave out the brokers' own topics, such as __consumer_offsets.
    #[arg(long)]
    pub exclude_internal: bool,
    /// Accepted and without effect: answers are always split as the broker likes.
    #[arg(long, value_name = "N", hide = true)]
    pub partition_size_limit_per_response: Option<i32>,
}

/// Does what the arguments ask for.
///
/// # Errors
/// Arguments that don't fit together, and whatever the cluster refuses.
pub fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    check(arguments).map_err(|message| invocation.usage(message))?;
    let properties = arguments.connection.properties(invocation)?;
    if !arguments.delete_config.is_empty() {
        output::note(
            "delete-config option is no longer supported; use kafka-configs to alter a topic's settings.",
        );
    }
    connection::block_on(async {
        let client = connection::connect(&properties, "topics").await?;
        let admin = client.admin();
        let result = act(arguments, &admin).await;
        client.close().await;
        result
    })
}

async fn act(arguments: &Arguments, admin: &Admin) -> Result<(), CliError> {
    if arguments.create {
        create(arguments, admin).await
    } else if arguments.alter {
        alter(arguments, admin).await
    } else if arguments.list {
        list(arguments, admin).await
    } else if arguments.delete {
        delete(arguments, admin).await
    } else {
        describe::describe(arguments, admin).await
    }
}

/// What Kafka's tool checks before it connects.
fn check(arguments: &Arguments) -> Result<(), String> {
    let actions = [
        arguments.create,
        arguments.list,
        arguments.describe,
        arguments.alter,
        arguments.delete,
    ];
    if actions.iter().filter(|chosen| **chosen).count() != 1 {
        return Err("Command must include exactly one action: --list, --describe, --create, --alter or --delete".into());
    }
    let needs_topic = arguments.create || arguments.alter || arguments.delete;
    if needs_topic && arguments.topic.is_none() {
        return Err("Missing required argument \"[topic]\"".into());
    }
    if arguments.describe
        && arguments.if_exists
        && arguments.topic.is_none()
        && arguments.topic_id.is_none()
    {
        return Err("--topic or --topic-id is required to describe a topic".into());
    }
    if arguments.alter && !arguments.config.is_empty() {
        return Err("Option \"[config]\" can't be used with option \"[alter]\" \
                    (To alter topic configurations, the kafka-configs tool can be used.)"
            .into());
    }
    if arguments.alter && arguments.partitions.is_none() {
        return Err("Missing required argument \"[partitions]\"".into());
    }
    if arguments.create
        && arguments.replica_assignment.is_some()
        && (arguments.partitions.is_some() || arguments.replication_factor.is_some())
    {
        return Err(
            "Option \"[replica-assignment]\" can't be used with option \"[partitions]\" \
                    or \"[replication-factor]\""
                .into(),
        );
    }
    let misplaced = [
        (
            "config",
            !arguments.config.is_empty(),
            arguments.create || arguments.alter,
        ),
        (
            "partitions",
            arguments.partitions.is_some(),
            arguments.create || arguments.alter,
        ),
        (
            "replication-factor",
            arguments.replication_factor.is_some(),
            arguments.create,
        ),
        (
            "replica-assignment",
            arguments.replica_assignment.is_some(),
            arguments.create || arguments.alter,
        ),
        (
            "if-exists",
            arguments.if_exists,
            arguments.alter || arguments.delete || arguments.describe,
        ),
        ("if-not-exists", arguments.if_not_exists, arguments.create),
        (
            "exclude-internal",
            arguments.exclude_internal,
            arguments.list || arguments.describe,
        ),
        (
            "under-replicated-partitions",
            arguments.under_replicated_partitions,
            arguments.describe,
        ),
        (
            "unavailable-partitions",
            arguments.unavailable_partitions,
            arguments.describe,
        ),
        (
            "under-min-isr-partitions",
            arguments.under_min_isr_partitions,
            arguments.describe,
        ),
        (
            "at-min-isr-partitions",
            arguments.at_min_isr_partitions,
            arguments.describe,
        ),
        (
            "topics-with-overrides",
            arguments.topics_with_overrides,
            arguments.describe,
        ),
    ];
    for (option, given, fits) in misplaced {
        if given && !fits {
            return Err(format!(
                "Option \"[{option}]\" can't be used with option \"[{}]\"",
                action_name(arguments)
            ));
        }
    }
    Ok(())
}

fn action_name(arguments: &Arguments) -> &'static str {
    match arguments {
        Arguments { create: true, .. } => "create",
        Arguments { list: true, .. } => "list",
        Arguments { describe: true, .. } => "describe",
        Arguments { alter: true, .. } => "alter",
        _ => "delete",
    }
}

async fn create(arguments: &Arguments, admin: &Admin) -> Result<(), CliError> {
    let name = arguments.topic.as_deref().unwrap_or_default();
    if name.contains(['.', '_']) {
        output::note(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could \
             collide. To avoid issues it is best to use either, but not both.",
        );
    }
    if arguments
        .replication_factor
        .is_some_and(|factor| !(1..=i32::from(i16::MAX)).contains(&factor))
    {
        return Err(CliError::failed(
            "The replication factor must be between 1 and 32767 inclusive",
        ));
    }
    if arguments.partitions.is_some_and(|count| count < 1) {
        return Err(CliError::failed("The partitions must be greater than 0"));
    }
    let assignments = match &arguments.replica_assignment {
        Some(text) => parse_assignment(text).map_err(CliError::failed)?,
        None => Vec::new(),
    };
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: arguments.partitions.unwrap_or(-1),
        replication_factor: arguments
            .replication_factor
            .and_then(|factor| i16::try_from(factor).ok())
            .unwrap_or(-1),
        configs: parse_configs(&arguments.config)
            .map_err(CliError::failed)?
            .into_iter()
            .collect(),
        assignments,
    };
    match admin.create_topics(&[topic], false).await.and_then(single) {
        Ok(()) => output::line(&format!("Created topic {name}.")),
        Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {
            match arguments.if_not_exists {
                true => Ok(()),
                // Kafka's very words, which scripts look for.
                false => Err(CliError::failed(format!(
                    "Error while executing topic command : Topic '{name}' already exists."
                ))),
            }
        }
        Err(error) => Err(refused(&error)),
    }
}

async fn list(arguments: &Arguments, admin: &Admin) -> Result<(), CliError> {
    let names = matching(arguments, admin).await?;
    output::line(&names.join("\n"))
}

async fn alter(arguments: &Arguments, admin: &Admin) -> Result<(), CliError> {
    let count = arguments.partitions.unwrap_or_default();
    let names = existing(arguments, admin).await?;
    for name in names {
        admin
            .create_partitions(&name, count, false)
            .await
            .map_err(|error| refused(&error))?;
    }
    Ok(())
}

async fn delete(arguments: &Arguments, admin: &Admin) -> Result<(), CliError> {
    let names = existing(arguments, admin).await?;
    if names.is_empty() {
        return Ok(());
    }
    admin
        .delete_topics(&names)
        .await
        .and_then(single)
        .map_err(|error| refused(&error))
}

/// The topics that match; none is an error unless `--if-exists` was given.
async fn existing(arguments: &Arguments, admin: &Admin) -> Result<Vec<String>, CliError> {
    let names = matching(arguments, admin).await?;
    match &arguments.topic {
        Some(topic) if names.is_empty() && !topic.is_empty() && !arguments.if_exists => {
            Err(CliError::failed(format!(
                "Error while executing topic command : Topic '{topic}' does not exist as expected"
            )))
        }
        _ => Ok(names),
    }
}

/// The names of the topics that match `--topic`, sorted.
async fn matching(arguments: &Arguments, admin: &Admin) -> Result<Vec<String>, CliError> {
    let filter = arguments.topic.as_deref().map(topic_pattern).transpose()?;
    let listed = admin.list_topics().await.map_err(|error| refused(&error))?;
    let mut names: Vec<String> = listed
        .into_iter()
        .filter(|topic| !(arguments.exclude_internal && topic.internal))
        .map(|topic| topic.name)
        .filter(|name| filter.as_ref().is_none_or(|filter| filter.is_match(name)))
        .collect();
    names.sort();
    Ok(names)
}

/// A pattern for whole topic names; commas separate alternatives, as in Kafka's tools.
pub fn topic_pattern(text: &str) -> Result<Regex, CliError> {
    let trimmed = text.trim().trim_matches(['"', '\'']);
    let alternatives: Vec<&str> = trimmed
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect();
    Regex::new(&format!("^(?:{})$", alternatives.join("|")))
        .map_err(|error| CliError::failed(format!("\"{text}\" is no regular expression: {error}")))
}

fn parse_configs(pairs: &[String]) -> Result<BTreeMap<String, String>, String> {
    pairs
        .iter()
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
            None => Err(format!(
                "Invalid topic config: all configs to be added must be in the format \"key=val\", but got \"{pair}\"."
            )),
        })
        .collect()
}

/// `0:1,1:2` as the brokers of partition 0, then of partition 1.
fn parse_assignment(text: &str) -> Result<Vec<Vec<i32>>, String> {
    let mut partitions: Vec<Vec<i32>> = Vec::new();
    for (index, part) in text.split(',').enumerate() {
        let brokers: Vec<i32> = part
            .split(':')
            .map(|id| {
                id.trim()
                    .parse()
                    .map_err(|_| format!("\"{id}\" in --replica-assignment is no broker id"))
            })
            .collect::<Result<_, _>>()?;
        if brokers
            .iter()
            .enumerate()
            .any(|(at, id)| brokers.iter().skip(at + 1).any(|other| other == id))
        {
            return Err(format!(
                "Partition replica lists may not contain duplicate entries: {part}"
            ));
        }
        if partitions
            .first()
            .is_some_and(|first| first.len() != brokers.len())
        {
            return Err(format!(
                "Partition {index} has different replication factor: {brokers:?}"
            ));
        }
        partitions.push(brokers);
    }
    Ok(partitions)
}

/// The outcome of a request about several topics, the first failure first.
fn single(outcome: Vec<(String, Result<(), ClientError>)>) -> Result<(), ClientError> {
    outcome.into_iter().try_for_each(|(_, result)| result)
}

fn refused(error: &ClientError) -> CliError {
    CliError::failed(format!("Error while executing topic command : {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_lists_brokers_per_partition() {
        assert_eq!(parse_assignment("0:1,1:2").unwrap(), [[0, 1], [1, 2]]);
        assert!(parse_assignment("0:0").unwrap_err().contains("duplicate"));
        assert!(
            parse_assignment("0:1,1")
                .unwrap_err()
                .contains("different replication factor")
        );
        assert!(parse_assignment("a").unwrap_err().contains("no broker id"));
    }

    #[test]
    fn a_topic_pattern_matches_whole_names() {
        let pattern = topic_pattern("orders,pay.*").unwrap();
        assert!(pattern.is_match("orders") && pattern.is_match("payments"));
        assert!(!pattern.is_match("orders-2"));
        assert!(topic_pattern("(").is_err());
    }

    #[test]
    fn settings_are_pairs() {
        let parsed = parse_configs(&["retention.ms = 5".to_owned()]).unwrap();
        assert_eq!(parsed.get("retention.ms").map(String::as_str), Some("5"));
        assert!(parse_configs(&["retention.ms".to_owned()]).is_err());
    }
}
