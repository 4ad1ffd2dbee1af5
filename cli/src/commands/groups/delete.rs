//! `--delete` and `--delete-offsets`.

use kafka_client::{Admin, ClientError, ErrorCode, TopicPartition};

use super::reset::partitions_of;
use super::{Arguments, refused, selected};
use crate::{CliError, output, table};

pub(super) async fn delete_groups(arguments: &Arguments, admin: &Admin) -> Result<(), CliError> {
    let names = selected(arguments, admin).await?;
    let outcome = admin
        .delete_groups(&names)
        .await
        .map_err(|error| refused(&error))?;
    let quoted = |names: Vec<&String>| {
        names
            .iter()
            .map(|name| format!("'{name}'"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let failed: Vec<(&String, &ClientError)> = outcome
        .iter()
        .filter_map(|(name, result)| Some((name, result.as_ref().err()?)))
        .collect();
    let deleted: Vec<&String> = outcome
        .iter()
        .filter(|(_, result)| result.is_ok())
        .map(|(name, _)| name)
        .collect();
    if failed.is_empty() {
        return output::line(&format!(
            "Deletion of requested consumer groups ({}) was successful.",
            quoted(deleted)
        ));
    }
    output::note("\nError: Deletion of some consumer groups failed:");
    for (name, error) in &failed {
        output::note(&format!(
            "* Group '{name}' could not be deleted due to: {error}"
        ));
    }
    if !deleted.is_empty() {
        output::line(&format!(
            "\nThese consumer groups were deleted successfully: {}",
            quoted(deleted)
        ))?;
    }
    Err(CliError::Exit(1))
}

pub(super) async fn delete_offsets(arguments: &Arguments, admin: &Admin) -> Result<(), CliError> {
    let Some(group) = arguments.group.first() else {
        return Ok(());
    };
    let partitions = partitions_of(&arguments.topic, admin).await?;
    let outcome = admin
        .delete_group_offsets(group, &partitions)
        .await
        .map_err(|error| refused(&error))?;
    let failed = outcome.iter().any(|(_, result)| result.is_err());
    if failed {
        output::note("\nError: Encountered some partition-level error, see the follow-up details.");
    } else {
        output::line(&format!(
            "Request succeeded for deleting offsets from group {group}."
        ))?;
    }
    let width = table::width(15, outcome.iter().map(|(partition, _)| &*partition.topic));
    let mut text = format!(
        "\n{}",
        table::row(&[width, 10, 15], &["TOPIC", "PARTITION", "STATUS"])
    );
    for (partition, result) in &outcome {
        text.push('\n');
        text.push_str(&table::row(&[width, 10, 15], &status(partition, result)));
    }
    text.push('\n');
    output::print(&text)?;
    if failed {
        Err(CliError::Exit(1))
    } else {
        Ok(())
    }
}

fn status(partition: &TopicPartition, result: &Result<(), ClientError>) -> [String; 3] {
    let status = match result {
        Ok(()) => "Successful".to_owned(),
        Err(error) if error.code() == Some(ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC) => {
            "Error: the group is subscribed to the topic; stop its members first".to_owned()
        }
        Err(error) => format!("Error: {error}"),
    };
    [
        partition.topic.to_string(),
        partition.partition.to_string(),
        status,
    ]
}
