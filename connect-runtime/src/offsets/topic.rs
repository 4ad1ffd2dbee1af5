//! The offsets topic: made if it is missing, refused if it would lose offsets.

use kafka_client::{Client, ConfigResource, ErrorCode, NewTopic, TopicDescription};

use crate::config::worker::OffsetTopicConfig;
use crate::error::WorkerError;

const CLEANUP_POLICY: &str = "cleanup.policy";

/// Makes sure that the topic is there and compacted; its number of partitions.
pub(super) async fn ensure(
    client: &Client,
    config: &OffsetTopicConfig,
) -> Result<i32, WorkerError> {
    let refuse = |reason: String| WorkerError::OffsetTopic {
        topic: config.name.clone(),
        reason,
    };
    if let Some(found) = describe(client, config).await? {
        check_policy(client, config).await?;
        return i32::try_from(found.partitions.len()).map_err(|error| refuse(error.to_string()));
    }
    create(client, config).await?;
    Ok(config.partitions)
}

async fn describe(
    client: &Client,
    config: &OffsetTopicConfig,
) -> Result<Option<TopicDescription>, WorkerError> {
    let found = client
        .admin()
        .describe_topics(std::slice::from_ref(&config.name))
        .await;
    let described = found.map_err(|source| read_error(config, source))?;
    match described.into_iter().next() {
        Some((_, Ok(topic))) => Ok(Some(topic)),
        Some((_, Err(error))) if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {
            Ok(None)
        }
        Some((_, Err(error))) => Err(read_error(config, error)),
        None => Ok(None),
    }
}

async fn create(client: &Client, config: &OffsetTopicConfig) -> Result<(), WorkerError> {
    let mut topic = NewTopic::new(&config.name, config.partitions, config.replication_factor)
        .with_config(CLEANUP_POLICY, "compact");
    for (key, value) in &config.settings {
        topic = topic.with_config(key, value);
    }
    let created = client.admin().create_topics(&[topic], false).await;
    let created = created.map_err(|source| read_error(config, source))?;
    match created.into_iter().next() {
        // Another worker was faster.
        Some((_, Err(error))) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {
            check_policy(client, config).await
        }
        Some((_, Err(error))) => Err(WorkerError::OffsetTopic {
            topic: config.name.clone(),
            reason: format!("it could not be created: {error}"),
        }),
        _ => {
            tracing::info!("created topic \"{}\" for source offsets", config.name);
            Ok(())
        }
    }
}

/// A topic that is cleaned by time or size loses the offsets of sources that rest for long.
async fn check_policy(client: &Client, config: &OffsetTopicConfig) -> Result<(), WorkerError> {
    let resource = ConfigResource::topic(&config.name);
    let described = client
        .admin()
        .describe_configs(std::slice::from_ref(&resource))
        .await;
    let described = described.map_err(|source| read_error(config, source))?;
    let policy = described
        .into_iter()
        .find_map(|(_, entries)| entries.ok())
        .into_iter()
        .flatten()
        .find(|entry| entry.name == CLEANUP_POLICY)
        .and_then(|entry| entry.value);
    match policy.as_deref().map(str::trim) {
        Some("compact") | None => Ok(()),
        Some(other) => Err(WorkerError::OffsetTopic {
            topic: config.name.clone(),
            reason: format!(
                "its cleanup.policy is \"{other}\", so offsets would be deleted; set it to \
                 \"compact\" or name another topic with offset.storage.topic"
            ),
        }),
    }
}

fn read_error(config: &OffsetTopicConfig, source: kafka_client::ClientError) -> WorkerError {
    WorkerError::OffsetRead {
        topic: config.name.clone(),
        source,
    }
}
