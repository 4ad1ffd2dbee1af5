//! Where to read: committed offsets, the ends of the log, and whether the log was truncated
//! meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_wire::OffsetForLeaderEpochRequest;
use kafka_wire::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_wire_core::StrBytes;

use super::{AutoOffsetReset, ConsumerConfig};
use crate::admin::list_offsets;
use crate::pool::Pool;
use crate::{Client, ClientError, ErrorCode, OffsetSpec, TopicPartition, group_offsets};

/// The next offset to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) offset: i64,
    /// The leader epoch of the record before it; -1 if unknown.
    pub(super) epoch: i32,
    /// The leader epoch under which it is known to be in the log; -1 if not checked.
    pub(super) checked: i32,
}

impl Position {
    pub(super) const fn at(offset: i64) -> Self {
        Self {
            offset,
            epoch: -1,
            checked: -1,
        }
    }
}

/// How to find a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// The group's committed offset, else the configured reset.
    Committed,
    /// An end of the log; with the reason for errors.
    Reset(AutoOffsetReset, String),
    /// This one, if the log still has what came before it (KIP-320).
    Check(Position),
}

/// What was found for one partition.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) partition: TopicPartition,
    /// The consumer's version of the partition when it was asked for.
    pub(super) version: u64,
    pub(super) result: Result<Position, ClientError>,
}

/// Finds positions.
pub(super) async fn resolve(
    client: Client,
    pool: Arc<Pool>,
    config: Arc<ConsumerConfig>,
    wanted: Vec<(TopicPartition, u64, Start)>,
) -> Vec<Resolved> {
    let mut results: BTreeMap<TopicPartition, Result<Position, ClientError>> = BTreeMap::new();
    let mut resets: Vec<(TopicPartition, AutoOffsetReset, String)> = Vec::new();
    let committed: Vec<TopicPartition> = wanted
        .iter()
        .filter(|(_, _, start)| *start == Start::Committed)
        .map(|(partition, _, _)| partition.clone())
        .collect();
    if let (false, Some(group)) = (committed.is_empty(), &config.group_id) {
        match group_offsets::fetch(&client, &pool, group, Some(&committed)).await {
            Ok(mut found) => {
                for partition in committed {
                    match found.remove(&partition) {
                        Some(offset) => {
                            let epoch = offset.leader_epoch.unwrap_or(-1);
                            let position = Position {
                                offset: offset.offset,
                                epoch,
                                checked: -1,
                            };
                            results.insert(partition, Ok(position));
                        }
                        None => {
                            let why = format!("group \"{group}\" committed none");
                            resets.push((partition, config.auto_offset_reset, why));
                        }
                    }
                }
            }
            Err(error) => {
                for partition in committed {
                    results.insert(partition, Err(error.clone()));
                }
            }
        }
    }
    for (partition, _, start) in &wanted {
        match start {
            Start::Committed => {}
            Start::Reset(reset, why) => resets.push((partition.clone(), *reset, why.clone())),
            Start::Check(position) => {
                let result = check(&client, partition, position).await;
                match result {
                    Ok(None) => {
                        results.insert(partition.clone(), Ok(position.clone()));
                    }
                    Ok(Some(end)) if config.auto_offset_reset == AutoOffsetReset::None => {
                        let error = ClientError::NoOffset {
                            partition: partition.clone(),
                            reason: format!(
                                "the log was truncated to {end}, before the position {}",
                                position.offset
                            ),
                        };
                        results.insert(partition.clone(), Err(error));
                    }
                    Ok(Some(end)) => {
                        tracing::warn!(
                            "the log of {partition} was truncated to {end}; reading goes on there instead of at {}",
                            position.offset
                        );
                        results.insert(partition.clone(), Ok(Position::at(end)));
                    }
                    Err(error) => {
                        results.insert(partition.clone(), Err(error));
                    }
                }
            }
        }
    }
    reset_all(&client, &config, resets, &mut results).await;
    wanted
        .into_iter()
        .map(|(partition, version, _)| {
            let result = results.remove(&partition).unwrap_or_else(|| {
                Err(ClientError::Usage {
                    reason: format!("{partition} has no group to start from"),
                })
            });
            Resolved {
                partition,
                version,
                result,
            }
        })
        .collect()
}

async fn reset_all(
    client: &Client,
    config: &ConsumerConfig,
    resets: Vec<(TopicPartition, AutoOffsetReset, String)>,
    results: &mut BTreeMap<TopicPartition, Result<Position, ClientError>>,
) {
    let mut wanted = Vec::new();
    for (partition, reset, reason) in resets {
        let spec = match reset {
            AutoOffsetReset::Earliest => OffsetSpec::Earliest,
            AutoOffsetReset::Latest => OffsetSpec::Latest,
            AutoOffsetReset::None => {
                let error = ClientError::NoOffset {
                    partition: partition.clone(),
                    reason,
                };
                results.insert(partition, Err(error));
                continue;
            }
        };
        wanted.push((partition, spec));
    }
    if wanted.is_empty() {
        return;
    }
    match list_offsets(client, &wanted, config.isolation).await {
        Ok(found) => {
            for (partition, outcome) in found {
                let position = outcome.map(|found| Position::at(found.offset.max(0)));
                results.insert(partition, position);
            }
        }
        Err(error) => {
            for (partition, _) in wanted {
                results.insert(partition, Err(error.clone()));
            }
        }
    }
}

/// Asks the leader where the epoch of the last record read ends; returns that end if the position
/// lies behind it, that is, if the log was truncated.
async fn check(
    client: &Client,
    partition: &TopicPartition,
    position: &Position,
) -> Result<Option<i64>, ClientError> {
    let leader = client.leader(partition).await?;
    // Perhaps newer than the one that made the check necessary: the leader refuses older ones.
    let current = client
        .metadata()
        .leader(partition)
        .map_or(position.checked, |(_, epoch)| epoch);
    let result = client
        .call_broker(leader, |version| {
            let mut wanted = OffsetForLeaderPartition::default();
            wanted.partition = partition.partition;
            wanted.current_leader_epoch = current;
            wanted.leader_epoch = position.epoch;
            let mut topic = OffsetForLeaderTopic::default();
            topic.topic = StrBytes::from(&*partition.topic);
            topic.partitions = vec![wanted];
            let mut request = OffsetForLeaderEpochRequest::default();
            if version.value() >= 3 {
                request.replica_id = -1;
            }
            request.topics = vec![topic];
            request
        })
        .await;
    let response = match result {
        Ok((response, _)) => response,
        // Nothing to check with.
        Err(ClientError::UnsupportedVersion { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(answer) = response
        .topics
        .first()
        .and_then(|topic| topic.partitions.first())
    else {
        return Ok(None);
    };
    if ErrorCode(answer.error_code).is_stale_metadata() {
        client.metadata().mark_stale(&partition.topic);
    }
    ClientError::check(answer.error_code, None, || {
        format!("cannot check the position in {partition}")
    })?;
    Ok(
        (answer.end_offset >= 0 && answer.end_offset < position.offset)
            .then_some(answer.end_offset),
    )
}
