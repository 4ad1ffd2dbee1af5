//! `--list`.

use kafka_client::{Admin, GroupListing};

use super::{Arguments, consumer_groups};
use crate::{CliError, output, table};

const STATES: [&str; 7] = [
    "PreparingRebalance",
    "CompletingRebalance",
    "Stable",
    "Dead",
    "Empty",
    "Assigning",
    "Reconciling",
];

pub(super) async fn list(arguments: &Arguments, admin: &Admin) -> Result<(), CliError> {
    let states = names(arguments.state.as_deref());
    if let Some(unknown) = states
        .iter()
        .find(|name| !STATES.iter().any(|known| known.eq_ignore_ascii_case(name)))
    {
        return Err(CliError::failed(format!(
            "Invalid state list '{unknown}'. Valid states are: {}",
            STATES.join(", ")
        )));
    }
    let types = names(arguments.group_type.as_deref());
    if let Some(unknown) = types
        .iter()
        .find(|name| !["classic", "consumer"].contains(&name.to_lowercase().as_str()))
    {
        return Err(CliError::failed(format!(
            "Invalid types list '{unknown}'. Valid types are: Classic, Consumer"
        )));
    }
    let matches = |wanted: &[String], value: &str| {
        wanted.is_empty() || wanted.iter().any(|name| name.eq_ignore_ascii_case(value))
    };
    let mut groups: Vec<GroupListing> = consumer_groups(admin)
        .await?
        .into_iter()
        .filter(|group| matches(&states, &group.state) && matches(&types, &group.group_type))
        .collect();
    groups.sort_by(|one, other| one.group.cmp(&other.group));
    if arguments.state.is_none() && arguments.group_type.is_none() {
        let text: String = groups
            .iter()
            .map(|group| format!("{}\n", group.group))
            .collect();
        return output::print(&text);
    }
    let width = table::width(15, groups.iter().map(|group| group.group.as_str())) + 10;
    let mut rows = vec![row(arguments, ["GROUP", "TYPE", "STATE"])];
    for group in &groups {
        let kind = capitalized(if group.group_type.is_empty() {
            "classic"
        } else {
            &group.group_type
        });
        let state = if group.state.is_empty() {
            "Unknown"
        } else {
            &group.state
        };
        rows.push(row(arguments, [&group.group, &kind, state]));
    }
    let text: String = rows
        .iter()
        .map(|cells| table::row(&[width, 20, 20], cells) + "\n")
        .collect();
    output::print(&text)
}

fn row(arguments: &Arguments, [group, kind, state]: [&str; 3]) -> Vec<String> {
    let columns = [
        (group, true),
        (kind, arguments.group_type.is_some()),
        (state, arguments.state.is_some()),
    ];
    columns
        .into_iter()
        .filter(|(_, shown)| *shown)
        .map(|(text, _)| text.to_owned())
        .collect()
}

fn names(list: Option<&str>) -> Vec<String> {
    list.unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}
