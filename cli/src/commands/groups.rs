//! `connect groups`, the same as `kafka-consumer-groups`.

mod delete;
mod describe;
mod list;
mod reset;

pub(super) use reset::{listed, partitions_of, since};

use std::path::PathBuf;
use std::time::Duration;

use kafka_client::{Admin, ClientError};

use crate::connection::{self, ConnectionArguments};
use crate::invocation::Invocation;
use crate::{CliError, output};

/// Arguments of `connect groups`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Options for the connection to the cluster.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// List all groups.
    #[arg(long)]
    pub list: bool,
    /// Show where groups are: their offsets and how far they are behind.
    #[arg(long)]
    pub describe: bool,
    /// Delete groups that have no members, with their offsets.
    #[arg(long)]
    pub delete: bool,
    /// Move a group's offsets; only shows what would be done unless --execute is given.
    #[arg(long)]
    pub reset_offsets: bool,
    /// Delete a group's offsets for some topics.
    #[arg(long)]
    pub delete_offsets: bool,
    /// Say whether this is a regular expression.
    #[arg(long, value_name = "REGEX")]
    pub validate_regex: Option<String>,
    /// The group; may be repeated.
    #[arg(long)]
    pub group: Vec<String>,
    /// All groups.
    #[arg(long)]
    pub all_groups: bool,
    /// The topic, or some of its partitions as TOPIC:0,1; may be repeated.
    #[arg(long)]
    pub topic: Vec<String>,
    /// All topics the group has offsets for.
    #[arg(long)]
    pub all_topics: bool,
    /// With --describe, the members.
    #[arg(long)]
    pub members: bool,
    /// With --describe, the offsets; this is the default.
    #[arg(long)]
    pub offsets: bool,
    /// With --describe, coordinator and state; with --list, the state, or only groups in these states.
    #[arg(long, value_name = "STATES", num_args = 0..=1, default_missing_value = "")]
    pub state: Option<String>,
    /// With --list, the type, or only groups of these types.
    #[arg(long = "type", value_name = "TYPES", num_args = 0..=1, default_missing_value = "")]
    pub group_type: Option<String>,
    /// With --describe, more columns.
    #[arg(long)]
    pub verbose: bool,
    /// Only show what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// Do it.
    #[arg(long)]
    pub execute: bool,
    /// Print what would be done as CSV, for --from-file.
    #[arg(long)]
    pub export: bool,
    /// Reset to this offset.
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true)]
    pub to_offset: Option<i64>,
    /// Reset by that many offsets, backwards if negative.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub shift_by: Option<i64>,
    /// Reset to the first record since a point in time: YYYY-MM-DDThh:mm:ss.sss.
    #[arg(long, value_name = "DATETIME")]
    pub to_datetime: Option<String>,
    /// Reset to the first record since that long ago: PnDTnHnMnS.
    #[arg(long, value_name = "DURATION")]
    pub by_duration: Option<String>,
    /// Reset to the oldest record.
    #[arg(long)]
    pub to_earliest: bool,
    /// Reset behind the newest record.
    #[arg(long)]
    pub to_latest: bool,
    /// Reset to where the group is.
    #[arg(long)]
    pub to_current: bool,
    /// Reset to the offsets in a CSV file.
    #[arg(long, value_name = "FILE")]
    pub from_file: Option<PathBuf>,
    /// How long the cluster may take, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    pub timeout: u64,
}

/// Does what the arguments ask for.
///
/// # Errors
/// Arguments that don't fit together, and whatever the cluster refuses.
pub fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    check(arguments).map_err(|message| invocation.usage(message))?;
    if let Some(pattern) = &arguments.validate_regex {
        return validate(pattern);
    }
    let mut properties = arguments.connection.properties(invocation)?;
    if properties.get("default.api.timeout.ms").is_none() {
        properties.set(
            "default.api.timeout.ms",
            &arguments.timeout.to_string(),
            "--timeout",
        );
    }
    connection::block_on(async {
        let client = connection::connect(&properties, "consumer-groups").await?;
        let admin = client.admin();
        let work = act(arguments, &admin, invocation);
        // Lagging answers of several requests add up; the sum is still bounded.
        let limit = Duration::from_millis(arguments.timeout).saturating_mul(12);
        let result = match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(CliError::failed(format!(
                "Error: the cluster took longer than {limit:?}"
            ))),
        };
        client.close().await;
        result
    })
}

async fn act(
    arguments: &Arguments,
    admin: &Admin,
    invocation: &Invocation,
) -> Result<(), CliError> {
    if arguments.list {
        list::list(arguments, admin).await
    } else if arguments.describe {
        describe::describe(arguments, admin).await
    } else if arguments.reset_offsets {
        reset::reset(arguments, admin, invocation).await
    } else if arguments.delete_offsets {
        delete::delete_offsets(arguments, admin).await
    } else {
        delete::delete_groups(arguments, admin).await
    }
}

/// What Kafka's tool checks before it connects.
fn check(arguments: &Arguments) -> Result<(), String> {
    let actions = [
        arguments.list,
        arguments.describe,
        arguments.delete,
        arguments.reset_offsets,
        arguments.delete_offsets,
        arguments.validate_regex.is_some(),
    ];
    if actions.iter().filter(|chosen| **chosen).count() != 1 {
        return Err("Command must include exactly one action: --list, --describe, --delete, --reset-offsets, \
                    --delete-offsets, --validate-regex"
            .into());
    }
    let has_groups = !arguments.group.is_empty() || arguments.all_groups;
    if !arguments.group.is_empty() && arguments.all_groups {
        return Err("Option \"[group]\" can't be used with option \"[all-groups]\"".into());
    }
    if arguments.describe {
        if !has_groups {
            return Err(
                "Option [describe] takes one of these options: [all-groups], [group]".into(),
            );
        }
        let views = [
            arguments.members,
            arguments.offsets,
            arguments.state.is_some(),
        ];
        if views.iter().filter(|chosen| **chosen).count() > 1 {
            return Err("Option [describe] takes at most one of these options: [members], [offsets], [state]".into());
        }
        if arguments
            .state
            .as_deref()
            .is_some_and(|state| !state.is_empty())
        {
            return Err("Option [describe] does not take a value for [state]".into());
        }
    } else if arguments.members || arguments.offsets || arguments.verbose {
        return Err("Options [members], [offsets] and [verbose] need option [describe]".into());
    }
    if arguments.delete && !has_groups {
        return Err("Option [delete] takes one of these options: [all-groups], [group]".into());
    }
    if arguments.delete && !arguments.topic.is_empty() {
        return Err(
            "The consumer does not support topic-specific offset deletion from a consumer group."
                .into(),
        );
    }
    if arguments.delete_offsets && (arguments.group.is_empty() || arguments.topic.is_empty()) {
        return Err("Option [delete-offsets] takes the following options: [group], [topic]".into());
    }
    if arguments.reset_offsets {
        check_reset(arguments, has_groups)
    } else {
        Ok(())
    }
}

fn check_reset(arguments: &Arguments, has_groups: bool) -> Result<(), String> {
    if arguments.dry_run && arguments.execute {
        return Err("Option [reset-offsets] only accepts one of [execute] and [dry-run]".into());
    }
    if !has_groups {
        return Err(
            "Option [reset-offsets] takes one of these options: [all-groups], [group]".into(),
        );
    }
    let scenarios = [
        ("to-offset", arguments.to_offset.is_some()),
        ("shift-by", arguments.shift_by.is_some()),
        ("to-datetime", arguments.to_datetime.is_some()),
        ("by-duration", arguments.by_duration.is_some()),
        ("to-earliest", arguments.to_earliest),
        ("to-latest", arguments.to_latest),
        ("to-current", arguments.to_current),
        ("from-file", arguments.from_file.is_some()),
    ];
    let chosen: Vec<&str> = scenarios
        .iter()
        .filter(|(_, given)| *given)
        .map(|(name, _)| *name)
        .collect();
    match chosen.as_slice() {
        [_] => {}
        [] => {
            let all: Vec<String> = scenarios
                .iter()
                .map(|(name, _)| format!("[{name}]"))
                .collect();
            return Err(format!(
                "Option '[reset-offsets]' requires one of the following scenarios: {}",
                all.join(", ")
            ));
        }
        [one, other, ..] => {
            return Err(format!(
                "Option \"[{one}]\" can't be used with option \"[{other}]\""
            ));
        }
    }
    if arguments.topic.is_empty() && !arguments.all_topics && arguments.from_file.is_none() {
        return Err("One of the reset scopes should be defined: --all-topics, --topic.".into());
    }
    Ok(())
}

fn validate(pattern: &str) -> Result<(), CliError> {
    match regex::Regex::new(pattern) {
        Ok(_) => output::line(&format!("The regular expression `{pattern}` is valid.")),
        Err(error) => output::line(&format!(
            "The regular expression `{pattern}` is invalid: {error}."
        )),
    }
}

/// The groups the arguments name.
async fn selected(arguments: &Arguments, admin: &Admin) -> Result<Vec<String>, CliError> {
    if arguments.all_groups {
        let mut groups: Vec<String> = consumer_groups(admin)
            .await?
            .into_iter()
            .map(|group| group.group)
            .collect();
        groups.sort();
        return Ok(groups);
    }
    Ok(arguments.group.clone())
}

/// All groups of consumers; groups that only have offsets count, too.
async fn consumer_groups(admin: &Admin) -> Result<Vec<kafka_client::GroupListing>, CliError> {
    let listed = admin.list_groups().await.map_err(|error| refused(&error))?;
    Ok(listed
        .into_iter()
        .filter(|group| ["consumer", ""].contains(&group.protocol_type.as_str()))
        .collect())
}

fn refused(error: &ClientError) -> CliError {
    CliError::failed(format!(
        "Error: Executing consumer group command failed due to {error}"
    ))
}
