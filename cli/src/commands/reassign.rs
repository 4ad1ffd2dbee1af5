//! `connect reassign-partitions`, the same as `kafka-reassign-partitions`.

mod assignment;
mod placement;
mod throttle;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use kafka_client::{Admin, ClientError, ErrorCode, TopicPartition};

use self::assignment::Assignment;
use crate::connection::{self, ConnectionArguments};
use crate::invocation::Invocation;
use crate::{CliError, output};

const OTHERS_UNDER_WAY: &str = "Cannot execute because there is an existing partition assignment.  Use --additional to override this and \
     create a new partition assignment in addition to the existing one. The --additional flag can also be used to \
     change the throttle by resubmitting the current reassignment.";

/// Arguments of `connect reassign-partitions`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Options for the connection to the cluster.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Propose where the partitions of some topics could go. Moves nothing.
    #[arg(long)]
    pub generate: bool,
    /// Move the partitions as --reassignment-json-file says.
    #[arg(long)]
    pub execute: bool,
    /// Show how far that is, and take the throttle away once all is done.
    #[arg(long)]
    pub verify: bool,
    /// Stop moving them; copies go back to where they were.
    #[arg(long)]
    pub cancel: bool,
    /// Show everything that is being moved.
    #[arg(long)]
    pub list: bool,
    /// Where partitions are to go, as --generate prints it.
    #[arg(long, value_name = "FILE")]
    pub reassignment_json_file: Option<PathBuf>,
    /// With --generate, the topics: {"version": 1, "topics": [{"topic": "orders"}]}.
    #[arg(long, value_name = "FILE")]
    pub topics_to_move_json_file: Option<PathBuf>,
    /// With --generate, spread copies over brokers without looking at their racks.
    #[arg(long)]
    pub disable_rack_aware: bool,
    /// With --execute, how many bytes per second each broker may send and take for it.
    #[arg(long, value_name = "BYTES")]
    pub throttle: Option<u64>,
    /// With --execute, begin it beside others that are under way, or change their throttle.
    #[arg(long)]
    pub additional: bool,
    /// With --execute, refuse partitions that would get more or fewer copies.
    #[arg(long)]
    pub disallow_replication_factor_change: bool,
    /// With --verify and --cancel, let the throttle be.
    #[arg(long)]
    pub preserve_throttles: bool,
    /// Accepted and without effect: nothing is moved between a broker's folders.
    #[arg(long, value_name = "MS", hide = true)]
    pub timeout: Option<u64>,
}

/// The command line of `connect reassign-partitions`. Its `--broker-list` is no old name of
/// `--bootstrap-server`, as it is everywhere else.
pub fn command() -> Command {
    Arguments::augment_args(Command::new("reassign-partitions"))
        .about("Move partitions to other brokers")
        .mut_arg("broker_list", |argument| {
            argument
                .hide(false)
                .value_name("IDS")
                .help("With --generate, the brokers they may go to")
        })
}

/// Does what the arguments ask for.
///
/// # Errors
/// Arguments that don't fit together, mistakes in files, and whatever the cluster refuses.
pub fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    check(arguments).map_err(|message| invocation.usage(message))?;
    let wanted = match &arguments.reassignment_json_file {
        Some(path) => read(path, assignment::parse)?,
        None => Assignment::new(),
    };
    let topics = match &arguments.topics_to_move_json_file {
        Some(path) => read(path, assignment::parse_topics)?,
        None => Vec::new(),
    };
    let connection = ConnectionArguments {
        broker_list: None,
        ..arguments.connection.clone()
    };
    let properties = connection.properties(invocation)?;
    connection::block_on(async {
        let client = connection::connect(&properties, "reassign-partitions-tool").await?;
        let admin = client.admin();
        let result = if arguments.generate {
            generate(arguments, &topics, &admin).await
        } else if arguments.execute {
            execute(arguments, &wanted, &admin).await
        } else if arguments.verify {
            verify(arguments, &wanted, &admin).await
        } else if arguments.cancel {
            cancel(arguments, &wanted, &admin).await
        } else {
            list(&admin).await
        };
        client.close().await;
        result
    })
}

fn check(arguments: &Arguments) -> Result<(), String> {
    let actions = [
        ("generate", arguments.generate),
        ("execute", arguments.execute),
        ("verify", arguments.verify),
        ("cancel", arguments.cancel),
        ("list", arguments.list),
    ];
    let mut chosen = actions.iter().filter(|(_, given)| *given);
    let (Some((action, _)), None) = (chosen.next(), chosen.next()) else {
        return Err("Command must include exactly one action: --generate, --execute, --verify, --cancel, --list".into());
    };
    let assignment = ["execute", "verify", "cancel"];
    let options: [(&str, bool, &[&str]); 7] = [
        (
            "reassignment-json-file",
            arguments.reassignment_json_file.is_some(),
            &assignment,
        ),
        (
            "topics-to-move-json-file",
            arguments.topics_to_move_json_file.is_some(),
            &["generate"],
        ),
        (
            "broker-list",
            arguments.connection.broker_list.is_some(),
            &["generate"],
        ),
        (
            "disable-rack-aware",
            arguments.disable_rack_aware,
            &["generate"],
        ),
        ("throttle", arguments.throttle.is_some(), &["execute"]),
        (
            "additional",
            arguments.additional || arguments.disallow_replication_factor_change,
            &["execute"],
        ),
        (
            "preserve-throttles",
            arguments.preserve_throttles,
            &["verify", "cancel"],
        ),
    ];
    for (position, (option, given, actions)) in options.into_iter().enumerate() {
        let fits = actions.contains(action);
        if given && !fits {
            return Err(format!(
                "Option \"[{option}]\" can't be used with action \"[{action}]\""
            ));
        }
        // The first three are what their actions are about.
        if !given && fits && position < 3 {
            return Err(format!("Missing required argument \"[{option}]\""));
        }
    }
    Ok(())
}

fn read<T>(path: &Path, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, CliError> {
    let failed =
        |message: String| CliError::failed(format!("Error: \"{}\": {message}", path.display()));
    let text = std::fs::read_to_string(path)
        .map_err(|error| failed(format!("cannot be read: {error}")))?;
    parse(&text).map_err(failed)
}

async fn generate(arguments: &Arguments, topics: &[String], admin: &Admin) -> Result<(), CliError> {
    let wanted = arguments
        .connection
        .broker_list
        .as_deref()
        .unwrap_or_default();
    let mut brokers: BTreeMap<i32, Option<String>> = BTreeMap::new();
    let cluster = admin
        .describe_cluster()
        .await
        .map_err(|error| refused(&error))?;
    for text in wanted.split(',') {
        let id: i32 = text.trim().parse().map_err(|_| {
            CliError::failed(format!(
                "Error: \"{text}\" in --broker-list is no broker id"
            ))
        })?;
        let Some(broker) = cluster.brokers.iter().find(|broker| broker.id == id) else {
            return Err(CliError::failed(format!("Error: Unknown broker id {id}")));
        };
        if brokers.insert(id, broker.rack.clone()).is_some() {
            return Err(CliError::failed(format!(
                "Error: Broker list contains duplicate entries: {id}"
            )));
        }
    }
    if arguments.disable_rack_aware {
        brokers.values_mut().for_each(|rack| *rack = None);
    } else if brokers.values().any(Option::is_some) && brokers.values().any(Option::is_none) {
        return Err(CliError::failed(
            "Error: Not all brokers have rack information. Add --disable-rack-aware in command line to make \
             replica assignment without rack information.",
        ));
    }
    let current = copies(admin, topics).await?;
    let mut proposed = Assignment::new();
    for topic in topics {
        let partitions: Vec<(&TopicPartition, &Vec<i32>)> = current
            .iter()
            .filter(|(partition, _)| *partition.topic == **topic)
            .collect();
        let factor = partitions.first().map_or(0, |(_, copies)| copies.len());
        let start = placement::Start {
            broker: random_below(brokers.len()),
            shift: random_below(brokers.len()),
        };
        let placed = placement::stripe(&brokers, partitions.len(), factor, start)
            .map_err(|message| CliError::failed(format!("Error: {message}")))?;
        let places = partitions
            .into_iter()
            .map(|(partition, _)| partition.clone());
        proposed.extend(places.zip(placed));
    }
    output::print(&format!(
        "Current partition replica assignment\n{}\n\nProposed partition reassignment configuration\n{}\n",
        assignment::format(&current),
        assignment::format(&proposed)
    ))
}

fn random_below(limit: usize) -> usize {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
    usize::try_from(platform::random::u64() % limit).unwrap_or_default()
}

async fn execute(
    arguments: &Arguments,
    wanted: &Assignment,
    admin: &Admin,
) -> Result<(), CliError> {
    let failed = |error: ClientError| refused(&error);
    let cluster = admin.describe_cluster().await.map_err(failed)?;
    let known: BTreeSet<i32> = cluster.brokers.iter().map(|broker| broker.id).collect();
    if let Some(id) = wanted.values().flatten().find(|id| !known.contains(id)) {
        return Err(CliError::failed(format!("Error: Unknown broker id {id}")));
    }
    let under_way = admin
        .list_partition_reassignments(None)
        .await
        .map_err(failed)?;
    if !arguments.additional && !under_way.is_empty() {
        return Err(CliError::failed(OTHERS_UNDER_WAY));
    }
    let mut current = copies(admin, &topics(wanted)).await?;
    current.retain(|partition, _| wanted.contains_key(partition));
    if let Some(missing) = wanted
        .keys()
        .find(|partition| !current.contains_key(partition))
    {
        return Err(CliError::failed(format!(
            "Error: Unable to find partition: {missing}"
        )));
    }
    output::print(&format!(
        "Current partition replica assignment\n\n{}\n\nSave this to use as the --reassignment-json-file option during rollback\n",
        assignment::format(&current)
    ))?;
    if let Some(bytes_per_second) = arguments.throttle {
        output::line(
            "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed.",
        )?;
        let moves = throttle::Moves::new(&under_way, &current, wanted);
        throttle::limit(admin, &moves, bytes_per_second)
            .await
            .map_err(failed)?;
        output::line(&format!(
            "The inter-broker throttle limit was set to {bytes_per_second} B/s"
        ))?;
    }
    let targets: Vec<_> = wanted
        .iter()
        .map(|(partition, copies)| (partition.clone(), Some(copies.clone())))
        .collect();
    let outcome = admin
        .alter_partition_reassignments(&targets, !arguments.disallow_replication_factor_change)
        .await
        .map_err(failed)?;
    let errors: Vec<String> = outcome
        .into_iter()
        .filter_map(|(partition, result)| Some(format!("{partition}: {}", result.err()?)))
        .collect();
    if !errors.is_empty() {
        return Err(CliError::failed(format!(
            "Error reassigning partition(s):\n{}",
            errors.join("\n")
        )));
    }
    output::line(&format!(
        "Successfully started partition reassignment{} for {}",
        plural(wanted.len()),
        join(wanted.keys())
    ))
}

async fn verify(arguments: &Arguments, wanted: &Assignment, admin: &Admin) -> Result<(), CliError> {
    let under_way = admin
        .list_partition_reassignments(None)
        .await
        .map_err(|error| refused(&error))?;
    let current = copies_of_existing(admin, &topics(wanted)).await?;
    let mut text = "Status of partition reassignment:\n".to_owned();
    for (partition, target) in wanted {
        let line = if under_way.contains_key(partition) {
            format!("Reassignment of partition {partition} is still in progress.")
        } else {
            match current.get(partition) {
                Some(copies) if copies == target => {
                    format!("Reassignment of partition {partition} is completed.")
                }
                copies => format!(
                    "There is no active reassignment of partition {partition}, but replica set is {} rather than {}.",
                    join(copies.map_or(&[][..], Vec::as_slice)),
                    join(target)
                ),
            }
        };
        text.push_str(&line);
        text.push('\n');
    }
    text.push('\n');
    output::print(&text)?;
    if under_way.is_empty() && !arguments.preserve_throttles {
        throttle::clear(admin, &topics(wanted).into_iter().collect()).await?;
    }
    Ok(())
}

async fn cancel(arguments: &Arguments, wanted: &Assignment, admin: &Admin) -> Result<(), CliError> {
    let failed = |error: ClientError| refused(&error);
    let asked: Vec<TopicPartition> = wanted.keys().cloned().collect();
    let under_way = admin
        .list_partition_reassignments(Some(&asked))
        .await
        .map_err(failed)?;
    let targets: Vec<_> = under_way
        .into_keys()
        .filter(|partition| wanted.contains_key(partition))
        .map(|partition| (partition, None))
        .collect();
    if targets.is_empty() {
        output::line("None of the specified partition reassignments are active.")?;
    } else {
        let outcome = admin
            .alter_partition_reassignments(&targets, true)
            .await
            .map_err(failed)?;
        let errors: Vec<String> = outcome
            .into_iter()
            .filter_map(|(partition, result)| Some((partition, result.err()?)))
            // It came to its end by itself meanwhile.
            .filter(|(_, error)| error.code() != Some(ErrorCode::NO_REASSIGNMENT_IN_PROGRESS))
            .map(|(partition, error)| format!("{partition}: {error}"))
            .collect();
        if !errors.is_empty() {
            return Err(CliError::failed(format!(
                "Error cancelling partition reassignment{} for:\n{}",
                plural(errors.len()),
                errors.join("\n")
            )));
        }
        output::line(&format!(
            "Successfully cancelled partition reassignment{} for: {}",
            plural(targets.len()),
            join(targets.iter().map(|(partition, _)| partition))
        ))?;
    }
    output::line("None of the specified partition moves are active.")?;
    if arguments.preserve_throttles {
        return Ok(());
    }
    throttle::clear(admin, &topics(wanted).into_iter().collect()).await
}

async fn list(admin: &Admin) -> Result<(), CliError> {
    let under_way = admin
        .list_partition_reassignments(None)
        .await
        .map_err(|error| refused(&error))?;
    if under_way.is_empty() {
        return output::line("No partition reassignments found.");
    }
    let mut text = "Current partition reassignments:\n".to_owned();
    for (partition, moving) in under_way {
        text.push_str(&format!(
            "{partition}: replicas: {}.",
            join(&moving.replicas)
        ));
        for (verb, ids) in [("adding", &moving.adding), ("removing", &moving.removing)] {
            if !ids.is_empty() {
                text.push_str(&format!(" {verb}: {}.", join(ids)));
            }
        }
        text.push('\n');
    }
    output::print(&text)
}

/// The brokers that have copies of these topics' partitions now.
async fn copies(admin: &Admin, topics: &[String]) -> Result<Assignment, CliError> {
    described(admin, topics, |name, error| match error.code() {
        Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {
            Err(CliError::failed(format!("Error: Topic {name} not found.")))
        }
        _ => Err(refused(&error)),
    })
    .await
}

/// The same for those topics that there are.
async fn copies_of_existing(admin: &Admin, topics: &[String]) -> Result<Assignment, CliError> {
    described(admin, topics, |_, error| match error.code() {
        Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => Ok(()),
        _ => Err(refused(&error)),
    })
    .await
}

async fn described(
    admin: &Admin,
    topics: &[String],
    on_error: impl Fn(&str, ClientError) -> Result<(), CliError>,
) -> Result<Assignment, CliError> {
    let mut found = Assignment::new();
    let outcome = admin
        .describe_topics(topics)
        .await
        .map_err(|error| refused(&error))?;
    for (name, topic) in outcome {
        match topic {
            Ok(topic) => found.extend(topic.partitions.into_iter().map(|partition| {
                let place = TopicPartition::new(name.as_str(), partition.index);
                (place, partition.replicas)
            })),
            Err(error) => on_error(&name, error)?,
        }
    }
    Ok(found)
}

fn topics(assignment: &Assignment) -> Vec<String> {
    let mut topics: Vec<String> = assignment
        .keys()
        .map(|partition| partition.topic.to_string())
        .collect();
    topics.dedup();
    topics
}

fn join(items: impl IntoIterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(",")
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn refused(error: &ClientError) -> CliError {
    CliError::failed(format!("Error: {error}"))
}
