//! `--reset-offsets`: decides where a group shall be, shows it, and with `--execute` moves it there.

use std::collections::BTreeMap;
use std::path::Path;

use kafka_client::{Admin, OffsetAndMetadata, OffsetSpec, TopicPartition};

use super::{Arguments, refused, selected};
use crate::invocation::Invocation;
use crate::{CliError, moment, output, table};

type Offsets = BTreeMap<TopicPartition, i64>;

pub(super) async fn reset(
    arguments: &Arguments,
    admin: &Admin,
    invocation: &Invocation,
) -> Result<(), CliError> {
    if !arguments.dry_run && !arguments.execute {
        output::note("WARN: No action will be performed as the --execute option is missing.");
    }
    let names = selected(arguments, admin).await?;
    let described = admin
        .describe_groups(&names)
        .await
        .map_err(|error| refused(&error))?;
    let mut plan: BTreeMap<String, Offsets> = BTreeMap::new();
    let mut active = false;
    for (name, group) in described {
        let state = group.map_err(|error| refused(&error))?.state;
        if !["Empty", "Dead", ""].contains(&state.as_str()) {
            output::note(&format!(
                "\nError: Assignments can only be reset if the group '{name}' is inactive, \
                 but the current state is {state}."
            ));
            active = true;
            continue;
        }
        let offsets = target(arguments, admin, invocation, &name).await?;
        if arguments.execute && !offsets.is_empty() {
            let commits: Vec<_> = offsets
                .iter()
                .map(|(partition, offset)| (partition.clone(), OffsetAndMetadata::new(*offset)))
                .collect();
            admin
                .alter_group_offsets(&name, &commits)
                .await
                .map_err(|error| refused(&error))?;
        }
        plan.insert(name, offsets);
    }
    if arguments.export {
        output::print(&csv(&plan, arguments.group.len() == 1))?;
    } else {
        output::print(&shown(&plan))?;
    }
    if active {
        Err(CliError::Exit(1))
    } else {
        Ok(())
    }
}

/// Where the group shall be.
async fn target(
    arguments: &Arguments,
    admin: &Admin,
    invocation: &Invocation,
    group: &str,
) -> Result<Offsets, CliError> {
    if let Some(path) = &arguments.from_file {
        let plan = plan_from_file(path, arguments)?;
        return match plan.get(group) {
            Some(wanted) => bounded(admin, wanted.clone()).await,
            None => {
                output::note(&format!("\nError: No reset plan for group {group} found."));
                Ok(Offsets::new())
            }
        };
    }
    let committed = committed(admin, group).await?;
    let partitions: Vec<TopicPartition> = if arguments.all_topics {
        committed.keys().cloned().collect()
    } else {
        partitions_of(&arguments.topic, admin).await?
    };
    if let Some(offset) = arguments.to_offset {
        let wanted = partitions
            .into_iter()
            .map(|partition| (partition, offset))
            .collect();
        return bounded(admin, wanted).await;
    }
    if let Some(shift) = arguments.shift_by {
        let mut wanted = Offsets::new();
        for partition in partitions {
            let Some(current) = committed.get(&partition) else {
                return Err(CliError::failed(format!(
                    "Cannot shift offset for partition {partition} since there is no current committed offset"
                )));
            };
            wanted.insert(partition, current.saturating_add(shift));
        }
        return bounded(admin, wanted).await;
    }
    if let Some(text) = &arguments.to_datetime {
        let Some(timestamp) = moment::parse_datetime(text) else {
            return Err(invocation.usage(format!(
                "--to-datetime takes YYYY-MM-DDThh:mm:ss.sss, but got \"{text}\""
            )));
        };
        return since(admin, &partitions, timestamp).await;
    }
    if let Some(text) = &arguments.by_duration {
        let Some(duration) = moment::parse_duration(text) else {
            return Err(invocation.usage(format!(
                "--by-duration takes PnDTnHnMnS, but got \"{text}\""
            )));
        };
        return since(
            admin,
            &partitions,
            platform::clock::unix_millis() - duration,
        )
        .await;
    }
    if arguments.to_earliest {
        return listed(admin, &partitions, OffsetSpec::Earliest).await;
    }
    if arguments.to_latest {
        return listed(admin, &partitions, OffsetSpec::Latest).await;
    }
    // To where it is, or behind the newest record where it has never been.
    let (known, unknown): (Vec<_>, Vec<_>) = partitions
        .into_iter()
        .partition(|partition| committed.contains_key(partition));
    let mut wanted = listed(admin, &unknown, OffsetSpec::Latest).await?;
    wanted.extend(
        known
            .into_iter()
            .filter_map(|partition| Some((partition.clone(), *committed.get(&partition)?))),
    );
    Ok(wanted)
}

async fn committed(admin: &Admin, group: &str) -> Result<Offsets, CliError> {
    let offsets = admin
        .list_group_offsets(group)
        .await
        .map_err(|error| refused(&error))?;
    Ok(offsets
        .into_iter()
        .map(|(partition, committed)| (partition, committed.offset))
        .collect())
}

/// The partitions that `TOPIC` and `TOPIC:0,1` name; all must exist.
pub(in crate::commands) async fn partitions_of(
    topics: &[String],
    admin: &Admin,
) -> Result<Vec<TopicPartition>, CliError> {
    let mut wanted: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for argument in topics {
        let (topic, indexes) = parse_topic(argument).map_err(CliError::failed)?;
        wanted.entry(topic).or_default().extend(indexes);
    }
    let names: Vec<String> = wanted.keys().map(|topic| (*topic).to_owned()).collect();
    let described = admin
        .describe_topics(&names)
        .await
        .map_err(|error| refused(&error))?;
    let mut partitions = Vec::new();
    for (name, topic) in described {
        let topic = topic.map_err(|error| refused(&error))?;
        let existing: Vec<i32> = topic
            .partitions
            .iter()
            .map(|partition| partition.index)
            .collect();
        let indexes = wanted
            .get(name.as_str())
            .filter(|indexes| !indexes.is_empty())
            .unwrap_or(&existing);
        if let Some(missing) = indexes.iter().find(|index| !existing.contains(index)) {
            return Err(CliError::failed(format!(
                "Error: The partitions \"{name}-{missing}\" do not exist"
            )));
        }
        partitions.extend(
            indexes
                .iter()
                .map(|index| TopicPartition::new(name.as_str(), *index)),
        );
    }
    partitions.sort();
    partitions.dedup();
    Ok(partitions)
}

fn parse_topic(argument: &str) -> Result<(&str, Vec<i32>), String> {
    let Some((topic, list)) = argument.split_once(':') else {
        return Ok((argument, Vec::new()));
    };
    if topic.is_empty() || list.is_empty() {
        return Err(format!(
            "Invalid topic arg '{argument}', expected topic name and partitions"
        ));
    }
    let indexes = list
        .split(',')
        .map(|index| {
            index.trim().parse().map_err(|_| {
                format!("Invalid partition '{index}' specified in topic arg '{argument}'")
            })
        })
        .collect::<Result<_, _>>()?;
    Ok((topic, indexes))
}

/// The offsets of partitions by one rule.
pub(in crate::commands) async fn listed(
    admin: &Admin,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Result<Offsets, CliError> {
    if partitions.is_empty() {
        return Ok(Offsets::new());
    }
    let asked: Vec<_> = partitions
        .iter()
        .map(|partition| (partition.clone(), spec))
        .collect();
    let answers = admin
        .list_offsets(&asked)
        .await
        .map_err(|error| refused(&error))?;
    answers
        .into_iter()
        .map(|(partition, answer)| Ok((partition, answer.map_err(|error| refused(&error))?.offset)))
        .collect()
}

/// The first record at or after a point in time; the end of the partition if there is none.
pub(in crate::commands) async fn since(
    admin: &Admin,
    partitions: &[TopicPartition],
    timestamp: i64,
) -> Result<Offsets, CliError> {
    let mut found = listed(admin, partitions, OffsetSpec::Timestamp(timestamp.max(0))).await?;
    let without: Vec<TopicPartition> = found
        .iter()
        .filter(|(_, offset)| **offset < 0)
        .map(|(partition, _)| partition.clone())
        .collect();
    for partition in &without {
        output::note(&format!(
            "\nWarn: Partition {} from topic {} is empty. Falling back to latest known offset.",
            partition.partition, partition.topic
        ));
    }
    found.extend(listed(admin, &without, OffsetSpec::Latest).await?);
    Ok(found)
}

/// Moves offsets that lie outside a partition's log to its nearer end.
async fn bounded(admin: &Admin, wanted: Offsets) -> Result<Offsets, CliError> {
    let partitions: Vec<TopicPartition> = wanted.keys().cloned().collect();
    let first = listed(admin, &partitions, OffsetSpec::Earliest).await?;
    let last = listed(admin, &partitions, OffsetSpec::Latest).await?;
    let within = wanted.into_iter().map(|(partition, offset)| {
        let start = first.get(&partition).copied().unwrap_or(0);
        let end = last.get(&partition).copied().unwrap_or(i64::MAX);
        let (moved, which) = match offset {
            _ if offset > end => (end, "higher than latest"),
            _ if offset < start => (start, "lower than earliest"),
            _ => return (partition, offset),
        };
        output::note(&format!(
            "WARN: New offset ({offset}) is {which} offset for topic partition {partition}. \
             Value will be set to {moved}."
        ));
        (partition, moved)
    });
    Ok(within.collect())
}

/// Lines of `topic,partition,offset` for one group, or `group,topic,partition,offset`.
fn plan_from_file(
    path: &Path,
    arguments: &Arguments,
) -> Result<BTreeMap<String, Offsets>, CliError> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::failed(format!("cannot read \"{name}\": {error}")))?;
    let mut plan: BTreeMap<String, Offsets> = BTreeMap::new();
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let fields: Vec<&str> = line
            .split(',')
            .map(|field| field.trim().trim_matches('"'))
            .collect();
        let parsed = match (fields.as_slice(), arguments.group.as_slice()) {
            ([topic, partition, offset], [group]) => {
                Some((group.as_str(), *topic, *partition, *offset))
            }
            ([group, topic, partition, offset], _) => Some((*group, *topic, *partition, *offset)),
            _ => None,
        };
        let entry = parsed.and_then(|(group, topic, partition, offset)| {
            Some((
                group,
                TopicPartition::new(topic, partition.parse().ok()?),
                offset.parse().ok()?,
            ))
        });
        let Some((group, partition, offset)) = entry else {
            return Err(CliError::failed(format!(
                "{name}:{}: expected [group,]topic,partition,offset, got \"{line}\"",
                index + 1
            )));
        };
        plan.entry(group.to_owned())
            .or_default()
            .insert(partition, offset);
    }
    Ok(plan)
}

fn shown(plan: &BTreeMap<String, Offsets>) -> String {
    if plan.is_empty() {
        return "\n".to_owned();
    }
    let topics = plan
        .values()
        .flat_map(|offsets| offsets.keys().map(|partition| &*partition.topic));
    let widths = [
        table::width(15, plan.keys().map(String::as_str)),
        table::width(15, topics),
        10,
    ];
    let mut text = format!(
        "\n{}",
        table::row(&widths, &["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"])
    );
    for (group, offsets) in plan {
        for (partition, offset) in offsets {
            let cells = [
                group.as_str(),
                &partition.topic,
                &partition.partition.to_string(),
                &offset.to_string(),
            ];
            text.push('\n');
            text.push_str(&table::row(&widths, &cells));
        }
    }
    text.push('\n');
    text
}

fn csv(plan: &BTreeMap<String, Offsets>, one_group: bool) -> String {
    let lines = plan.iter().flat_map(|(group, offsets)| {
        offsets.iter().map(move |(partition, offset)| {
            let place = format!("{},{},{offset}\n", partition.topic, partition.partition);
            if one_group {
                place
            } else {
                format!("{group},{place}")
            }
        })
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_may_name_partitions() {
        assert_eq!(parse_topic("orders").unwrap(), ("orders", vec![]));
        assert_eq!(parse_topic("orders:0,2").unwrap(), ("orders", vec![0, 2]));
        assert!(parse_topic("orders:").is_err());
        assert!(
            parse_topic("orders:x")
                .unwrap_err()
                .contains("Invalid partition 'x'")
        );
    }

    #[test]
    fn the_plan_has_kafkas_columns() {
        let offsets = Offsets::from([(TopicPartition::new("t", 0), 5)]);
        let plan = BTreeMap::from([("g".to_owned(), offsets)]);
        assert_eq!(
            shown(&plan),
            "\nGROUP           TOPIC           PARTITION  NEW-OFFSET\n\
             g               t               0          5\n"
        );
        assert_eq!(csv(&plan, true), "t,0,5\n");
        assert_eq!(csv(&plan, false), "g,t,0,5\n");
    }
}
