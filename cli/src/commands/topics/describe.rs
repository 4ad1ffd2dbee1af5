//! `--describe`: the layout that scripts parse, tabs included.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

use kafka_client::{
    Admin, ClientError, ConfigEntry, ConfigResource, ConfigSource, ErrorCode, PartitionInfo,
    PartitionReassignment, TopicDescription, TopicPartition,
};

use super::{Arguments, existing, refused};
use crate::{CliError, identifier, output};

/// Which partitions are shown.
struct Filter<'a> {
    arguments: &'a Arguments,
    /// Whether only partitions with a certain trouble are asked for.
    troubled_only: bool,
    live_brokers: HashSet<i32>,
    reassignments: Reassignments,
}

/// The moves under way, by partition.
type Reassignments = BTreeMap<TopicPartition, PartitionReassignment>;

pub(super) async fn describe(arguments: &Arguments, admin: &Admin) -> Result<(), CliError> {
    let topics = described(arguments, admin).await?;
    if topics.is_empty() {
        return Ok(());
    }
    let cluster = admin
        .describe_cluster()
        .await
        .map_err(|error| refused(&error))?;
    let filter = Filter {
        arguments,
        reassignments: reassignments(&topics, admin).await?,
        troubled_only: arguments.under_replicated_partitions
            || arguments.unavailable_partitions
            || arguments.under_min_isr_partitions
            || arguments.at_min_isr_partitions,
        live_brokers: cluster.brokers.iter().map(|broker| broker.id).collect(),
    };
    let mut text = String::new();
    for topic in &topics {
        let resource = ConfigResource::topic(topic.name.as_str());
        let configs = admin
            .describe_configs(&[resource])
            .await
            .map_err(|error| refused(&error))?;
        let mut entries = Vec::new();
        for (_, found) in configs {
            entries.extend(found.map_err(|error| refused(&error))?);
        }
        describe_topic(&mut text, topic, &entries, &filter);
    }
    output::print(&text)
}

async fn reassignments(
    topics: &[TopicDescription],
    admin: &Admin,
) -> Result<Reassignments, CliError> {
    let partitions: Vec<TopicPartition> = topics
        .iter()
        .flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|partition| TopicPartition::new(topic.name.as_str(), partition.index))
        })
        .collect();
    match admin.list_partition_reassignments(Some(&partitions)).await {
        Ok(found) => Ok(found),
        // Whoever cannot or may not ask sees the partitions all the same.
        Err(ClientError::UnsupportedVersion { .. }) => Ok(Reassignments::new()),
        Err(error) if error.code() == Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED) => {
            Ok(Reassignments::new())
        }
        Err(error) => Err(refused(&error)),
    }
}

async fn described(
    arguments: &Arguments,
    admin: &Admin,
) -> Result<Vec<TopicDescription>, CliError> {
    let by_id = arguments
        .topic_id
        .as_deref()
        .map(|text| {
            identifier::parse(text)
                .ok_or_else(|| CliError::failed(identifier::refusal(text, "topic id")))
        })
        .transpose()?;
    let names = match by_id {
        Some(id) => {
            let listed = admin.list_topics().await.map_err(|error| refused(&error))?;
            let found = listed
                .into_iter()
                .find(|topic| topic.id == id)
                .map(|topic| topic.name);
            match found {
                Some(name) => vec![name],
                None if arguments.if_exists => Vec::new(),
                None => {
                    return Err(CliError::failed(format!(
                        "Error while executing topic command : TopicId '{}' does not exist as expected",
                        identifier::format(id)
                    )));
                }
            }
        }
        None => existing(arguments, admin).await?,
    };
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let outcome = admin
        .describe_topics(&names)
        .await
        .map_err(|error| refused(&error))?;
    outcome
        .into_iter()
        .map(|(_, topic)| topic.map_err(|error| refused(&error)))
        .collect()
}

fn describe_topic(
    text: &mut String,
    topic: &TopicDescription,
    entries: &[ConfigEntry],
    filter: &Filter<'_>,
) {
    let overridden: Vec<&ConfigEntry> = entries
        .iter()
        .filter(|entry| entry.source != ConfigSource::Default)
        .collect();
    let min_in_sync = entries
        .iter()
        .find(|entry| entry.name == "min.insync.replicas")
        .and_then(|entry| entry.value.as_deref()?.parse().ok())
        .unwrap_or(1);
    let mut partitions: Vec<&PartitionInfo> = topic.partitions.iter().collect();
    partitions.sort_by_key(|partition| partition.index);
    let overrides_only = filter.arguments.topics_with_overrides;
    if !filter.troubled_only && (!overrides_only || !overridden.is_empty()) {
        let factor = partitions.first().map_or(0, |partition| {
            filter.factor(partition, filter.reassignment(&topic.name, partition))
        });
        header(text, topic, factor, &overridden);
    }
    if overrides_only {
        return;
    }
    for partition in partitions {
        let reassignment = filter.reassignment(&topic.name, partition);
        if filter.shows(partition, reassignment, min_in_sync) {
            line(text, &topic.name, partition, reassignment);
        }
    }
}

impl Filter<'_> {
    fn reassignment(
        &self,
        topic: &str,
        partition: &PartitionInfo,
    ) -> Option<&PartitionReassignment> {
        let found = self
            .reassignments
            .get(&TopicPartition::new(topic, partition.index))?;
        // It may have ended after the partition was described.
        found
            .adding
            .iter()
            .chain(&found.removing)
            .any(|id| partition.replicas.contains(id))
            .then_some(found)
    }

    /// How many copies there are to be; those that a move is adding don't count yet.
    fn factor(
        &self,
        partition: &PartitionInfo,
        reassignment: Option<&PartitionReassignment>,
    ) -> usize {
        match reassignment {
            Some(moving) => moving.replicas.len().saturating_sub(moving.adding.len()),
            None => partition.replicas.len(),
        }
    }

    fn shows(
        &self,
        partition: &PartitionInfo,
        reassignment: Option<&PartitionReassignment>,
        min_in_sync: usize,
    ) -> bool {
        let in_sync = partition.isr.len();
        let leader = leader(partition);
        !self.troubled_only
            || (self.arguments.under_replicated_partitions
                && in_sync < self.factor(partition, reassignment))
            || (self.arguments.unavailable_partitions
                && leader.is_none_or(|id| !self.live_brokers.contains(&id)))
            || (self.arguments.under_min_isr_partitions
                && (leader.is_none() || in_sync < min_in_sync))
            || (self.arguments.at_min_isr_partitions && in_sync == min_in_sync)
    }
}

fn leader(partition: &PartitionInfo) -> Option<i32> {
    (partition.leader >= 0).then_some(partition.leader)
}

fn header(text: &mut String, topic: &TopicDescription, factor: usize, overridden: &[&ConfigEntry]) {
    let configs: Vec<String> = overridden
        .iter()
        .map(|entry| {
            format!(
                "{}={}",
                entry.name,
                entry.value.as_deref().unwrap_or("null")
            )
        })
        .collect();
    put(text, format_args!("Topic: {}", topic.name));
    if topic.id != [0; 16] {
        put(
            text,
            format_args!("\tTopicId: {}", identifier::format(topic.id)),
        );
    }
    put(
        text,
        format_args!(
            "\tPartitionCount: {}\tReplicationFactor: {factor}\tConfigs: {}\n",
            topic.partitions.len(),
            configs.join(",")
        ),
    );
}

fn line(
    text: &mut String,
    topic: &str,
    partition: &PartitionInfo,
    reassignment: Option<&PartitionReassignment>,
) {
    let leader = leader(partition).map_or_else(|| "none".to_owned(), |id| id.to_string());
    put(
        text,
        format_args!(
            "\tTopic: {topic}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}",
            partition.index,
            join(&partition.replicas),
            join(&partition.isr),
        ),
    );
    if let Some(moving) = reassignment {
        put(
            text,
            format_args!(
                "\tAdding Replicas: {}\tRemoving Replicas: {}",
                join(&moving.adding),
                join(&moving.removing)
            ),
        );
    }
    put(
        text,
        format_args!(
            "\tElr: {}\tLastKnownElr: {}\n",
            join(&partition.elr),
            join(&partition.last_known_elr),
        ),
    );
}

fn join(ids: &[i32]) -> String {
    ids.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

fn put(text: &mut String, part: std::fmt::Arguments<'_>) {
    if text.write_fmt(part).is_err() {
        // Writing to a string does not fail.
    }
}
