//! `--describe`: the layout that scripts parse, tabs included.

use std::collections::HashSet;
use std::fmt::Write;

use kafka_client::{
    Admin, ConfigEntry, ConfigResource, ConfigSource, PartitionInfo, TopicDescription,
};

use super::{Arguments, existing, refused};
use crate::{CliError, output};

/// Which partitions are shown.
struct Filter<'a> {
    arguments: &'a Arguments,
    /// Whether only partitions with a certain trouble are asked for.
    troubled_only: bool,
    live_brokers: HashSet<i32>,
}

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

async fn described(
    arguments: &Arguments,
    admin: &Admin,
) -> Result<Vec<TopicDescription>, CliError> {
    let by_id = arguments
        .topic_id
        .as_deref()
        .map(parse_topic_id)
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
                        format_topic_id(id)
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
        let factor = partitions
            .first()
            .map_or(0, |partition| partition.replicas.len());
        header(text, topic, factor, &overridden);
    }
    if overrides_only {
        return;
    }
    for partition in partitions {
        if filter.shows(partition, min_in_sync) {
            line(text, &topic.name, partition);
        }
    }
}

impl Filter<'_> {
    fn shows(&self, partition: &PartitionInfo, min_in_sync: usize) -> bool {
        let in_sync = partition.isr.len();
        let leader = leader(partition);
        !self.troubled_only
            || (self.arguments.under_replicated_partitions && in_sync < partition.replicas.len())
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
            format_args!("\tTopicId: {}", format_topic_id(topic.id)),
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

fn line(text: &mut String, topic: &str, partition: &PartitionInfo) {
    let leader = leader(partition).map_or_else(|| "none".to_owned(), |id| id.to_string());
    put(
        text,
        format_args!(
            "\tTopic: {topic}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}\tElr: {}\tLastKnownElr: {}\n",
            partition.index,
            join(&partition.replicas),
            join(&partition.isr),
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

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A topic id as Kafka writes it: base 64 with `-` and `_`, without padding, 22 characters.
fn format_topic_id(id: [u8; 16]) -> String {
    let bits = u128::from_be_bytes(id);
    (0..22)
        .map(|index: u32| {
            // The last character holds the remaining 2 bits, in its upper part.
            let shifted = if index < 21 {
                bits >> (122 - 6 * index)
            } else {
                bits << 4
            };
            let digit = usize::try_from(shifted & 63).unwrap_or_default();
            char::from(ALPHABET.get(digit).copied().unwrap_or(b'A'))
        })
        .collect()
}

fn parse_topic_id(text: &str) -> Result<[u8; 16], CliError> {
    let refused = || {
        CliError::failed(format!(
            "\"{text}\" is no topic id; it has 22 letters, digits, '-' or '_'"
        ))
    };
    if text.len() != 22 {
        return Err(refused());
    }
    let mut bits = 0_u128;
    for (index, byte) in text.bytes().enumerate() {
        let digit = ALPHABET
            .iter()
            .position(|known| *known == byte)
            .ok_or_else(refused)?;
        let digit = u128::try_from(digit).unwrap_or_default();
        bits = if index < 21 {
            bits << 6 | digit
        } else {
            bits << 2 | digit >> 4
        };
    }
    Ok(bits.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_id_is_written_as_kafka_writes_it() {
        assert_eq!(format_topic_id([0; 16]), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(format_topic_id([0xff; 16]), "_____________________w");
        let id = *b"0123456789abcdef";
        assert_eq!(format_topic_id(id), "MDEyMzQ1Njc4OWFiY2RlZg");
        assert_eq!(parse_topic_id("MDEyMzQ1Njc4OWFiY2RlZg").unwrap(), id);
    }

    #[test]
    fn what_is_no_topic_id_is_refused() {
        assert!(parse_topic_id("short").is_err());
        assert!(parse_topic_id("MDEyMzQ1Njc4OWFiY2RlZ!").is_err());
    }
}
