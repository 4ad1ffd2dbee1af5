//! `--describe`: offsets with lag, members, or states, in the columns that scripts parse.

use std::collections::{BTreeMap, BTreeSet};

use kafka_client::{
    Admin, GroupDescription, GroupMember, OffsetAndMetadata, OffsetSpec, TopicPartition,
};

use super::{Arguments, refused, selected};
use crate::{CliError, output, table};

const MISSING: &str = "-";

pub(super) async fn describe(arguments: &Arguments, admin: &Admin) -> Result<(), CliError> {
    let names = selected(arguments, admin).await?;
    let described = admin
        .describe_groups(&names)
        .await
        .map_err(|error| refused(&error))?;
    let mut text = String::new();
    let mut absent = false;
    for (name, group) in described.into_iter().collect::<BTreeMap<_, _>>() {
        let group = group.map_err(|error| refused(&error))?;
        let offsets = admin
            .list_group_offsets(&name)
            .await
            .map_err(|error| refused(&error))?;
        let offsets: BTreeMap<TopicPartition, OffsetAndMetadata> = offsets.into_iter().collect();
        if group.state == "Dead" && offsets.is_empty() {
            output::note(&format!("\nError: Consumer group '{name}' does not exist."));
            absent = true;
            continue;
        }
        match group.state.as_str() {
            "Empty" | "Dead" => {
                output::note(&format!("\nConsumer group '{name}' has no active members."))
            }
            "Stable" => {}
            _ => output::note(&format!(
                "\nWarning: Consumer group '{name}' is rebalancing."
            )),
        }
        if arguments.state.is_some() {
            text.push_str(&state(&group, arguments.verbose));
        } else if arguments.members {
            text.push_str(&members(&group, arguments.verbose));
        } else {
            text.push_str(&positions(&group, offsets, arguments.verbose, admin).await?);
        }
    }
    output::print(&text)?;
    if absent {
        Err(CliError::Exit(1))
    } else {
        Ok(())
    }
}

/// One line of the default view.
struct Row<'a> {
    partition: TopicPartition,
    member: Option<&'a GroupMember>,
}

async fn positions(
    group: &GroupDescription,
    committed: BTreeMap<TopicPartition, OffsetAndMetadata>,
    verbose: bool,
    admin: &Admin,
) -> Result<String, CliError> {
    let mut members: Vec<&GroupMember> = group
        .members
        .iter()
        .filter(|member| !member.assignment.is_empty())
        .collect();
    members.sort_by_key(|member| std::cmp::Reverse(member.assignment.len()));
    let mut rows = Vec::new();
    for member in members {
        let mut assigned = member.assignment.clone();
        assigned.sort();
        rows.extend(assigned.into_iter().map(|partition| Row {
            partition,
            member: Some(member),
        }));
    }
    let owned: BTreeSet<TopicPartition> = rows.iter().map(|row| row.partition.clone()).collect();
    let unowned = committed
        .keys()
        .filter(|partition| !owned.contains(partition))
        .cloned();
    rows.extend(unowned.map(|partition| Row {
        partition,
        member: None,
    }));
    if rows.is_empty() {
        return Ok(String::new());
    }
    let asked: Vec<_> = rows
        .iter()
        .map(|row| (row.partition.clone(), OffsetSpec::Latest))
        .collect();
    let listed = admin
        .list_offsets(&asked)
        .await
        .map_err(|error| refused(&error))?;
    // A partition that was deleted has no end; its line still shows what was committed.
    let ends: BTreeMap<TopicPartition, i64> = listed
        .into_iter()
        .filter_map(|(partition, end)| Some((partition, end.ok()?.offset)))
        .collect();
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| position_cells(group, row, &committed, &ends, verbose))
        .collect();
    let mut header = vec!["GROUP", "TOPIC", "PARTITION"];
    if verbose {
        header.push("LEADER-EPOCH");
    }
    header.extend([
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ]);
    let column = |from_end: Option<usize>, at: usize| {
        cells.iter().filter_map(move |row| {
            let index = from_end.map_or(Some(at), |back| row.len().checked_sub(back))?;
            row.get(index).map(String::as_str)
        })
    };
    let mut widths = vec![
        table::width(15, column(None, 0)),
        table::width(15, column(None, 1)),
        10,
    ];
    widths.extend(if verbose { vec![15; 4] } else { vec![15; 3] });
    widths.extend([
        table::width(15, column(Some(3), 0)),
        table::width(15, column(Some(2), 0)),
    ]);
    let mut text = format!("\n{}", table::row(&widths, &header));
    for row in &cells {
        text.push('\n');
        text.push_str(&table::row(&widths, row));
    }
    text.push('\n');
    Ok(text)
}

fn position_cells(
    group: &GroupDescription,
    row: &Row<'_>,
    committed: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    ends: &BTreeMap<TopicPartition, i64>,
    verbose: bool,
) -> Vec<String> {
    let shown =
        |value: Option<i64>| value.map_or_else(|| MISSING.to_owned(), |value| value.to_string());
    let current = committed.get(&row.partition);
    let offset = current.map(|committed| committed.offset);
    let end = ends.get(&row.partition).copied();
    let lag = offset
        .filter(|offset| *offset >= 0)
        .and_then(|offset| end.map(|end| end - offset));
    let mut cells = vec![
        group.group.clone(),
        row.partition.topic.to_string(),
        row.partition.partition.to_string(),
    ];
    if verbose {
        cells.push(shown(
            current
                .and_then(|committed| committed.leader_epoch)
                .map(i64::from),
        ));
    }
    cells.extend([shown(offset), shown(end), shown(lag)]);
    cells.extend(match row.member {
        Some(member) => [
            member.member_id.clone(),
            member.host.clone(),
            member.client_id.clone(),
        ],
        None => [MISSING, MISSING, MISSING].map(str::to_owned),
    });
    cells
}

fn members(group: &GroupDescription, verbose: bool) -> String {
    if group.members.is_empty() {
        return String::new();
    }
    let with_instance = group
        .members
        .iter()
        .any(|member| member.instance_id.is_some());
    let mut header = vec!["GROUP", "CONSUMER-ID"];
    if with_instance {
        header.push("GROUP-INSTANCE-ID");
    }
    header.extend(["HOST", "CLIENT-ID", "#PARTITIONS"]);
    if verbose {
        header.extend([
            "CURRENT-EPOCH",
            "CURRENT-ASSIGNMENT",
            "TARGET-EPOCH",
            "TARGET-ASSIGNMENT",
        ]);
    }
    let mut rows: Vec<Vec<String>> = vec![header.into_iter().map(str::to_owned).collect()];
    for member in &group.members {
        let mut cells = vec![group.group.clone(), member.member_id.clone()];
        if with_instance {
            cells.push(member.instance_id.clone().unwrap_or_default());
        }
        cells.extend([
            member.host.clone(),
            member.client_id.clone(),
            member.assignment.len().to_string(),
        ]);
        if verbose {
            // Epochs and targets belong to the newer group protocol; a classic member has neither.
            let assignment = assignment(&member.assignment);
            cells.extend([
                MISSING.to_owned(),
                assignment,
                MISSING.to_owned(),
                MISSING.to_owned(),
            ]);
        }
        rows.push(cells);
    }
    let minimums = if with_instance {
        vec![15, 15, 17, 15, 15, 15]
    } else {
        vec![15, 15, 15, 15, 15]
    };
    let minimums = minimums.into_iter().chain(if verbose {
        vec![15, 20, 15, 20]
    } else {
        vec![]
    });
    let widths: Vec<usize> = minimums
        .enumerate()
        .map(|(column, minimum)| {
            table::width(
                minimum,
                rows.iter()
                    .filter_map(|row| row.get(column))
                    .map(String::as_str),
            )
        })
        .collect();
    let lines: Vec<String> = rows.iter().map(|row| table::row(&widths, row)).collect();
    // Kafka's own layout leaves a blank behind the last column when it is the number of partitions.
    let end = if verbose { "\n" } else { " \n" };
    format!("\n{}{end}", lines.join(end))
}

/// `orders:0,1;payments:3`.
fn assignment(partitions: &[TopicPartition]) -> String {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics
            .entry(&partition.topic)
            .or_default()
            .push(partition.partition);
    }
    let parts: Vec<String> = topics
        .into_iter()
        .map(|(topic, mut indexes)| {
            indexes.sort_unstable();
            let indexes: Vec<String> = indexes.iter().map(ToString::to_string).collect();
            format!("{topic}:{}", indexes.join(","))
        })
        .collect();
    if parts.is_empty() {
        MISSING.to_owned()
    } else {
        parts.join(";")
    }
}

fn state(group: &GroupDescription, verbose: bool) -> String {
    let coordinator = match &group.coordinator {
        Some(broker) => format!("{}:{}  ({})", broker.host, broker.port, broker.id),
        None => MISSING.to_owned(),
    };
    let strategy = if group.protocol.is_empty() {
        MISSING
    } else {
        &group.protocol
    };
    let mut header = vec!["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE"];
    let mut cells = vec![
        group.group.clone(),
        coordinator,
        strategy.to_owned(),
        group.state.clone(),
    ];
    let mut widths = vec![15, 25, 20, 20];
    if verbose {
        header.extend(["GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH"]);
        cells.extend([MISSING.to_owned(), MISSING.to_owned()]);
        widths.extend([15, 25]);
    }
    header.push("#MEMBERS");
    cells.push(group.members.len().to_string());
    for (width, cell) in widths.iter_mut().zip(&cells).take(2) {
        *width = table::width(*width, [cell.as_str()]);
    }
    format!(
        "\n{}\n{}\n",
        table::row(&widths, &header),
        table::row(&widths, &cells)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_grouped_by_topic() {
        let partitions =
            [("b", 1), ("a", 2), ("b", 0)].map(|(topic, index)| TopicPartition::new(topic, index));
        assert_eq!(assignment(&partitions), "a:2;b:0,1");
        assert_eq!(assignment(&[]), "-");
    }

    #[test]
    fn a_state_has_kafkas_columns() {
        let group = GroupDescription {
            group: "g".to_owned(),
            state: "Empty".to_owned(),
            protocol_type: "consumer".to_owned(),
            protocol: String::new(),
            coordinator: None,
            members: Vec::new(),
        };
        let text = state(&group, false);
        let mut lines = text.lines().skip(1);
        let header = "GROUP           COORDINATOR (ID)          ASSIGNMENT-STRATEGY  STATE                #MEMBERS";
        assert_eq!(lines.next(), Some(header));
        assert_eq!(
            lines.next(),
            Some(
                "g               -                         -                    Empty                0"
            )
        );
    }
}
