//! Reading and writing a group's committed offsets, for consumers and admin calls alike.
//!
//! Versions 10 of both requests name topics by id and add nothing a group needs here, so 9 is the
//! newest spoken.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_wire::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_wire::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_wire::{OffsetCommitRequest, OffsetFetchRequest};
use kafka_wire_core::StrBytes;

use crate::pool::Pool;
use crate::topic_partition::by_topic;
use crate::{Client, ClientError, ErrorCode, OffsetAndMetadata, TopicPartition};

const NEWEST_VERSION: i16 = 9;

/// Who commits: a member of the present generation, or nobody in particular.
#[derive(Debug, Clone)]
pub(crate) struct Committer {
    pub(crate) generation: i32,
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
}

impl Committer {
    /// For groups without members.
    pub(crate) const fn outsider() -> Self {
        Self {
            generation: -1,
            member_id: String::new(),
            instance_id: None,
        }
    }
}

/// The committed offsets of these partitions, or of all; partitions without one are left out.
/// Retries until the API timeout. Safe to cancel.
pub(crate) async fn fetch(
    client: &Client,
    pool: &Pool,
    group: &str,
    partitions: Option<&[TopicPartition]>,
) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, ClientError> {
    let mut retry = client.retry();
    loop {
        match fetch_once(client, pool, group, partitions).await {
            Ok(offsets) => return Ok(offsets),
            Err(error) => {
                client.note_coordinator_error(group, &error);
                retry.again(error).await?;
            }
        }
    }
}

async fn fetch_once(
    client: &Client,
    pool: &Pool,
    group: &str,
    partitions: Option<&[TopicPartition]>,
) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, ClientError> {
    let addr = client.coordinator(group).await?;
    let connection = pool.get(&addr).await?;
    let version = connection.version::<OffsetFetchRequest>(Some(NEWEST_VERSION))?;
    let by_topic = partitions.map(by_topic);
    let mut request = OffsetFetchRequest::default();
    if version.value() >= 8 {
        let mut wanted = OffsetFetchRequestGroup::default();
        wanted.group_id = StrBytes::from(group);
        if version.value() >= 9 {
            wanted.member_epoch = -1;
        }
        wanted.topics = by_topic.map(|topics| {
            topics
                .into_iter()
                .map(|(name, indexes)| {
                    let mut topic = OffsetFetchRequestTopics::default();
                    topic.name = StrBytes::from(name);
                    topic.partition_indexes = indexes;
                    topic
                })
                .collect()
        });
        request.groups = vec![wanted];
    } else {
        request.group_id = StrBytes::from(group);
        request.topics = by_topic.map(|topics| {
            topics
                .into_iter()
                .map(|(name, indexes)| {
                    let mut topic = OffsetFetchRequestTopic::default();
                    topic.name = StrBytes::from(name);
                    topic.partition_indexes = indexes;
                    topic
                })
                .collect()
        });
    }
    request.require_stable = version.value() >= 7;
    let response = connection
        .call(&request, version, client.config().request_timeout)
        .await?;
    let what = || format!("cannot read the offsets of group \"{group}\"");
    let mut offsets = BTreeMap::new();
    let mut take =
        |name: &Arc<str>, index, offset, epoch: i32, metadata: Option<StrBytes>, code| {
            let partition = TopicPartition {
                topic: Arc::clone(name),
                partition: index,
            };
            ClientError::check(code, None, || format!("{} for {partition}", what()))?;
            if offset >= 0 {
                offsets.insert(
                    partition,
                    OffsetAndMetadata {
                        offset,
                        leader_epoch: (epoch >= 0).then_some(epoch),
                        metadata: metadata.map(StrBytes::into_string).unwrap_or_default(),
                    },
                );
            }
            Ok::<(), ClientError>(())
        };
    if version.value() >= 8 {
        for answer in response
            .groups
            .into_iter()
            .filter(|answer| answer.group_id.as_str() == group)
        {
            ClientError::check(answer.error_code, None, what)?;
            for topic in answer.topics {
                let name: Arc<str> = Arc::from(topic.name.as_str());
                for found in topic.partitions {
                    take(
                        &name,
                        found.partition_index,
                        found.committed_offset,
                        found.committed_leader_epoch,
                        found.metadata,
                        found.error_code,
                    )?;
                }
            }
        }
    } else {
        ClientError::check(response.error_code, None, what)?;
        for topic in response.topics {
            let name: Arc<str> = Arc::from(topic.name.as_str());
            for found in topic.partitions {
                take(
                    &name,
                    found.partition_index,
                    found.committed_offset,
                    found.committed_leader_epoch,
                    found.metadata,
                    found.error_code,
                )?;
            }
        }
    }
    Ok(offsets)
}

/// Commits offsets. Retries until the API timeout what the coordinator may accept later; a lost
/// membership and a running rebalance are the caller's business.
pub(crate) async fn commit(
    client: &Client,
    pool: &Pool,
    group: &str,
    committer: &Committer,
    offsets: &[(TopicPartition, OffsetAndMetadata)],
) -> Result<(), ClientError> {
    if offsets.is_empty() {
        return Ok(());
    }
    let mut retry = client.retry();
    loop {
        match commit_once(client, pool, group, committer, offsets).await {
            Ok(()) => return Ok(()),
            Err(error) => {
                client.note_coordinator_error(group, &error);
                retry.again(error).await?;
            }
        }
    }
}

async fn commit_once(
    client: &Client,
    pool: &Pool,
    group: &str,
    committer: &Committer,
    offsets: &[(TopicPartition, OffsetAndMetadata)],
) -> Result<(), ClientError> {
    let addr = client.coordinator(group).await?;
    let connection = pool.get(&addr).await?;
    let version = connection.version::<OffsetCommitRequest>(Some(NEWEST_VERSION))?;
    let mut request = OffsetCommitRequest::default();
    request.group_id = StrBytes::from(group);
    request.generation_id_or_member_epoch = committer.generation;
    request.member_id = StrBytes::from(committer.member_id.as_str());
    if version.value() >= 7 {
        request.group_instance_id = committer.instance_id.as_deref().map(StrBytes::from);
    }
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for (partition, committed) in offsets {
        let mut wanted = OffsetCommitRequestPartition::default();
        wanted.partition_index = partition.partition;
        wanted.committed_offset = committed.offset;
        wanted.committed_leader_epoch = if version.value() >= 6 {
            committed.leader_epoch.unwrap_or(-1)
        } else {
            -1
        };
        wanted.committed_metadata = Some(StrBytes::from(committed.metadata.as_str()));
        topics.entry(&partition.topic).or_default().push(wanted);
    }
    request.topics = topics
        .into_iter()
        .map(|(name, partitions)| {
            let mut topic = OffsetCommitRequestTopic::default();
            topic.name = StrBytes::from(name);
            topic.partitions = partitions;
            topic
        })
        .collect();
    let response = connection
        .call(&request, version, client.config().request_timeout)
        .await?;
    let mut refused: Option<ClientError> = None;
    for topic in &response.topics {
        for answer in &topic.partitions {
            let outcome = ClientError::check(answer.error_code, None, || {
                let partition = TopicPartition::new(topic.name.as_str(), answer.partition_index);
                let way_out = match ErrorCode(answer.error_code) {
                    ErrorCode::REBALANCE_IN_PROGRESS => "; poll to rejoin, then commit again",
                    ErrorCode::ILLEGAL_GENERATION
                    | ErrorCode::UNKNOWN_MEMBER_ID
                    | ErrorCode::FENCED_INSTANCE_ID => {
                        "; its partitions may belong to another member by now, poll more often or raise max.poll.interval.ms"
                    }
                    _ => "",
                };
                format!("group \"{group}\" cannot commit an offset of {partition}{way_out}")
            });
            if let Err(error) = outcome {
                // What cannot be retried decides.
                let keep = refused.as_ref().is_some_and(|known| !known.is_retriable());
                if !keep {
                    refused = Some(error);
                }
            }
        }
    }
    refused.map_or(Ok(()), Err)
}
