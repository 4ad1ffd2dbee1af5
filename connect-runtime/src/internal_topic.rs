//! Topics in which the worker keeps something of its own: compacted, so that the latest record of
//! every key stays. What the records mean is up to whoever keeps something there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_client::{
    AutoOffsetReset, Client, ClientError, ConfigResource, Consumer, ConsumerConfig, ErrorCode,
    NewTopic, OffsetSpec, Record, TopicDescription, TopicPartition,
};
use tokio::time::Instant;

use crate::config::worker::InternalTopicConfig;
use crate::error::WorkerError;

const CLEANUP_POLICY: &str = "cleanup.policy";

/// How long one poll waits while a topic is read.
const READ_WAIT: Duration = Duration::from_secs(1);
/// Without any progress for this long, reading a topic has failed.
const READ_STALLED: Duration = Duration::from_secs(60);

/// The number of the topic's partitions, if it is there.
///
/// # Errors
/// It is not compacted and would lose what is kept there; the cluster cannot be asked.
pub(crate) async fn find(
    client: &Client,
    config: &InternalTopicConfig,
) -> Result<Option<i32>, WorkerError> {
    let Some(found) = describe(client, config).await? else {
        return Ok(None);
    };
    check_policy(client, config).await?;
    let partitions = i32::try_from(found.partitions.len());
    let partitions = partitions.map_err(|error| refused(config, error.to_string()))?;
    Ok(Some(partitions))
}

/// Creates the topic; the number of its partitions, which is another than configured if somebody
/// else was faster.
///
/// # Errors
/// The cluster refuses it or cannot be asked, or what is there by now is not compacted.
pub(crate) async fn create(
    client: &Client,
    config: &InternalTopicConfig,
) -> Result<i32, WorkerError> {
    let mut topic = NewTopic::new(&config.name, config.partitions, config.replication_factor)
        .with_config(CLEANUP_POLICY, "compact");
    for (key, value) in &config.settings {
        topic = topic.with_config(key, value);
    }
    let created = client.admin().create_topics(&[topic], false).await;
    let created = created.map_err(|source| unread(config, source))?;
    match created.into_iter().next() {
        // Another worker was faster.
        Some((_, Err(error))) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {
            let found = find(client, config).await?;
            Ok(found.unwrap_or(config.partitions))
        }
        Some((_, Err(error))) => Err(refused(config, format!("it could not be created: {error}"))),
        _ => {
            let InternalTopicConfig { name, keeps, .. } = config;
            tracing::info!("created topic \"{name}\" for {keeps}");
            Ok(config.partitions)
        }
    }
}

/// Hands every record of the topic to `keep`, up to what its end was at the call.
///
/// # Errors
/// The topic cannot be read to its end.
pub(crate) async fn read(
    client: &Client,
    config: &InternalTopicConfig,
    partitions: i32,
    keep: impl FnMut(Record),
) -> Result<(), WorkerError> {
    let topic: Arc<str> = config.name.as_str().into();
    let all = (0..partitions).map(|partition| TopicPartition::new(Arc::clone(&topic), partition));
    read_to_end(client, config, all, keep)
        .await
        .map_err(|source| unread(config, source))
}

async fn read_to_end(
    client: &Client,
    config: &InternalTopicConfig,
    partitions: impl Iterator<Item = TopicPartition>,
    keep: impl FnMut(Record),
) -> Result<(), ClientError> {
    let wanted: Vec<_> = partitions
        .map(|partition| (partition, OffsetSpec::Latest))
        .collect();
    let mut ends: HashMap<TopicPartition, i64> = HashMap::new();
    for (partition, listed) in client.admin().list_offsets(&wanted).await? {
        ends.insert(partition, listed?.offset);
    }
    ends.retain(|_, end| *end > 0);
    if ends.is_empty() {
        return Ok(());
    }
    let mut keep = keep;
    let mut consumer_config = ConsumerConfig::default();
    consumer_config.auto_offset_reset = AutoOffsetReset::Earliest;
    let mut consumer = Consumer::new(client.clone(), consumer_config)?;
    consumer.assign(ends.keys().cloned().collect())?;
    let mut progress = Instant::now();
    loop {
        let at = |partition: &TopicPartition| consumer.position(partition).unwrap_or(0);
        if ends.iter().all(|(partition, end)| at(partition) >= *end) {
            break;
        }
        let polled = consumer.poll(READ_WAIT).await?;
        if !polled.batches.is_empty() {
            progress = Instant::now();
        } else if progress.elapsed() > READ_STALLED {
            return Err(ClientError::Timeout {
                what: format!("reading the {} to the end of their topic", config.keeps),
                after: READ_STALLED,
            });
        }
        let batches = polled.batches.into_iter();
        batches.flat_map(|batch| batch.records).for_each(&mut keep);
    }
    consumer.close().await;
    Ok(())
}

async fn describe(
    client: &Client,
    config: &InternalTopicConfig,
) -> Result<Option<TopicDescription>, WorkerError> {
    let found = client
        .admin()
        .describe_topics(std::slice::from_ref(&config.name))
        .await;
    let described = found.map_err(|source| unread(config, source))?;
    match described.into_iter().next() {
        Some((_, Ok(topic))) => Ok(Some(topic)),
        Some((_, Err(error))) if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {
            Ok(None)
        }
        Some((_, Err(error))) => Err(unread(config, error)),
        None => Ok(None),
    }
}

/// A topic that is cleaned by time or size loses what has rested for long.
async fn check_policy(client: &Client, config: &InternalTopicConfig) -> Result<(), WorkerError> {
    let resource = ConfigResource::topic(&config.name);
    let described = client
        .admin()
        .describe_configs(std::slice::from_ref(&resource))
        .await;
    let described = described.map_err(|source| unread(config, source))?;
    let policy = described
        .into_iter()
        .find_map(|(_, entries)| entries.ok())
        .into_iter()
        .flatten()
        .find(|entry| entry.name == CLEANUP_POLICY)
        .and_then(|entry| entry.value);
    match policy.as_deref().map(str::trim) {
        Some("compact") | None => Ok(()),
        Some(other) => {
            let (keeps, prefix) = (config.keeps, config.keeps.prefix());
            let reason = format!(
                "its cleanup.policy is \"{other}\", so {keeps} would be deleted; set it to \
                 \"compact\" or name another topic with {prefix}.topic"
            );
            Err(refused(config, reason))
        }
    }
}

pub(crate) fn refused(config: &InternalTopicConfig, reason: String) -> WorkerError {
    WorkerError::InternalTopic {
        topic: config.name.clone(),
        keeps: config.keeps,
        reason,
    }
}

fn unread(config: &InternalTopicConfig, source: ClientError) -> WorkerError {
    WorkerError::InternalRead {
        topic: config.name.clone(),
        keeps: config.keeps,
        source,
    }
}
