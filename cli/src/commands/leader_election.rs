//! `connect leader-election`, the same as `kafka-leader-election`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use kafka_client::{Admin, ClientError, ElectionType, ErrorCode, TopicPartition};
use serde_json::Value;

use crate::connection::{self, ConnectionArguments};
use crate::invocation::Invocation;
use crate::{CliError, output};

/// Arguments of `connect leader-election`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Options for the connection to the cluster.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Which replica is to lead.
    #[arg(long, value_name = "TYPE", ignore_case = true)]
    pub election_type: Election,
    /// The topic of --partition.
    #[arg(long)]
    pub topic: Option<String>,
    /// The partition of --topic.
    #[arg(long, value_name = "N")]
    pub partition: Option<i32>,
    /// All partitions that have another leader than they should.
    #[arg(long)]
    pub all_topic_partitions: bool,
    /// A file with partitions: {"partitions": [{"topic": "orders", "partition": 1}]}.
    #[arg(long, value_name = "FILE")]
    pub path_to_json_file: Option<PathBuf>,
}

/// Which replica is to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Election {
    /// The first of the partition's replicas, if it is in sync and does not lead already.
    Preferred,
    /// Any live replica, where no replica that is in sync lives: records may be lost.
    Unclean,
}

impl Election {
    fn name(self) -> &'static str {
        match self {
            Self::Preferred => "PREFERRED",
            Self::Unclean => "UNCLEAN",
        }
    }

    fn wire(self) -> ElectionType {
        match self {
            Self::Preferred => ElectionType::Preferred,
            Self::Unclean => ElectionType::Unclean,
        }
    }
}

/// Does what the arguments ask for.
///
/// # Errors
/// Arguments that don't fit together, and a partition that got no leader.
pub fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    check(arguments).map_err(|message| invocation.usage(message))?;
    let partitions = match (&arguments.topic, &arguments.path_to_json_file) {
        (Some(topic), _) => Some(vec![TopicPartition::new(
            topic.as_str(),
            arguments.partition.unwrap_or_default(),
        )]),
        (None, Some(path)) => Some(load(path)?),
        (None, None) => None,
    };
    let properties = arguments.connection.properties(invocation)?;
    connection::block_on(async {
        let client = connection::connect(&properties, "leader-election").await?;
        let election = arguments.election_type;
        let result = elect(&client.admin(), election, partitions.as_deref()).await;
        client.close().await;
        result
    })
}

fn check(arguments: &Arguments) -> Result<(), String> {
    let given = [
        arguments.topic.is_some(),
        arguments.all_topic_partitions,
        arguments.path_to_json_file.is_some(),
    ];
    if given.iter().filter(|given| **given).count() != 1 {
        return Err("One and only one of the following options is required: --topic, --all-topic-partitions, --path-to-json-file".into());
    }
    if arguments.topic.is_some() != arguments.partition.is_some() {
        return Err("--topic and --partition belong together".into());
    }
    Ok(())
}

fn load(path: &Path) -> Result<Vec<TopicPartition>, CliError> {
    let failed = |message: String| CliError::failed(format!("\"{}\": {message}", path.display()));
    let text = std::fs::read_to_string(path)
        .map_err(|error| failed(format!("cannot be read: {error}")))?;
    parse(&text).map_err(failed)
}

fn parse(text: &str) -> Result<Vec<TopicPartition>, String> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
    let entries = value
        .get("partitions")
        .and_then(Value::as_array)
        .ok_or("Replica election data is missing \"partitions\" field")?;
    let mut partitions = Vec::new();
    for entry in entries {
        let topic = entry.get("topic").and_then(Value::as_str);
        let index = entry.get("partition").and_then(Value::as_i64);
        let (Some(topic), Some(Ok(index))) = (topic, index.map(i32::try_from)) else {
            return Err(format!(
                "expected {{\"topic\": NAME, \"partition\": NUMBER}}, got {entry}"
            ));
        };
        let partition = TopicPartition::new(topic, index);
        if partitions.contains(&partition) {
            return Err(format!(
                "Replica election data contains duplicate partitions: {partition}"
            ));
        }
        partitions.push(partition);
    }
    if partitions.is_empty() {
        return Err("Replica election data is empty".into());
    }
    Ok(partitions)
}

async fn elect(
    admin: &Admin,
    election: Election,
    partitions: Option<&[TopicPartition]>,
) -> Result<(), CliError> {
    let outcome = admin
        .elect_leaders(election.wire(), partitions)
        .await
        .map_err(|error| CliError::failed(format!("Error while making request: {error}")))?;
    let mut elected = Vec::new();
    let mut valid = Vec::new();
    let mut failed: Vec<(TopicPartition, ClientError)> = Vec::new();
    for (partition, result) in outcome {
        match result {
            Ok(()) => elected.push(partition.to_string()),
            Err(error) if error.code() == Some(ErrorCode::ELECTION_NOT_NEEDED) => {
                valid.push(partition.to_string());
            }
            Err(error) => failed.push((partition, error)),
        }
    }
    let name = election.name();
    if !elected.is_empty() {
        output::line(&format!(
            "Successfully completed leader election ({name}) for partitions {}",
            elected.join(", ")
        ))?;
    }
    if !valid.is_empty() {
        output::line(&format!(
            "Valid replica already elected for partitions {}",
            valid.join(", ")
        ))?;
    }
    for (partition, error) in &failed {
        output::line(&format!(
            "Error completing leader election ({name}) for partition: {partition}: {error}"
        ))?;
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(CliError::failed(format!(
            "{} replica(s) could not be elected",
            failed.len()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_lists_partitions_once_each() {
        let found = parse(r#"{"partitions": [{"topic": "t", "partition": 1}]}"#).unwrap();
        assert_eq!(found, [TopicPartition::new("t", 1)]);
        let twice =
            r#"{"partitions": [{"topic": "t", "partition": 1}, {"topic": "t", "partition": 1}]}"#;
        assert!(parse(twice).unwrap_err().contains("duplicate"));
        assert!(
            parse(r#"{"partitions": []}"#)
                .unwrap_err()
                .contains("empty")
        );
        assert!(parse("{}").unwrap_err().contains("missing"));
        assert!(parse(r#"{"partitions": [{"topic": "t"}]}"#).is_err());
        assert!(parse("partitions").unwrap_err().contains("no JSON"));
    }
}
