//! Offsets of partitions: looking them up and deleting records below them.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_wire::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_wire::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_wire::{DeleteRecordsRequest, ListOffsetsRequest};
use kafka_wire_core::StrBytes;

use super::{Admin, Each, ListedOffset, OffsetSpec, timeout_ms, unmentioned};
use crate::{Client, ClientError, ErrorCode, IsolationLevel, TopicPartition};

impl Admin {
    /// Offsets of partitions, each by its own rule; `Latest` is the high watermark.
    ///
    /// # Errors
    /// Of the whole call: no broker answers. Per partition, for example that it doesn't exist.
    pub async fn list_offsets(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
    ) -> Result<Each<TopicPartition, ListedOffset>, ClientError> {
        list_offsets(&self.client, wanted, IsolationLevel::ReadUncommitted).await
    }

    /// Deletes the records before the given offsets (-1: all that are readable). Returns the new
    /// first offsets.
    ///
    /// # Errors
    /// Per partition, for example `OFFSET_OUT_OF_RANGE` or `POLICY_VIOLATION` for a compacted topic.
    pub async fn delete_records(
        &self,
        before: &[(TopicPartition, i64)],
    ) -> Result<Each<TopicPartition, i64>, ClientError> {
        let mut done = BTreeMap::new();
        let mut retry = self.client.retry();
        loop {
            let mut last = None;
            let open: Vec<_> = before
                .iter()
                .filter(|(partition, _)| !done.contains_key(partition))
                .cloned()
                .collect();
            if open.is_empty() {
                break;
            }
            for (leader, group) in by_leader(&self.client, open, &mut done).await? {
                let result = self
                    .client
                    .call_broker(leader, |_| {
                        let mut request = DeleteRecordsRequest::default();
                        request.timeout_ms = timeout_ms(&self.client);
                        request.topics = by_topic(&group)
                            .into_iter()
                            .map(|(name, partitions)| {
                                let mut topic = DeleteRecordsTopic::default();
                                topic.name = StrBytes::from(&*name);
                                topic.partitions = partitions
                                    .into_iter()
                                    .map(|(index, offset)| {
                                        let mut partition = DeleteRecordsPartition::default();
                                        partition.partition_index = index;
                                        partition.offset = offset;
                                        partition
                                    })
                                    .collect();
                                topic
                            })
                            .collect();
                        request
                    })
                    .await;
                match result {
                    Err(error) => last = Some(trouble(&self.client, &group, error)?),
                    Ok((response, _)) => {
                        for topic in &response.topics {
                            for answer in &topic.partitions {
                                let partition = TopicPartition::new(
                                    topic.name.as_str(),
                                    answer.partition_index,
                                );
                                let outcome = ClientError::check(answer.error_code, None, || {
                                    format!("cannot delete records of {partition}")
                                })
                                .map(|()| answer.low_watermark);
                                settle(&self.client, partition, outcome, &mut done, &mut last);
                            }
                        }
                    }
                }
            }
            match last {
                Some(error) => retry.again(error).await?,
                None => break,
            }
        }
        Ok(in_order(
            before.iter().map(|(partition, _)| partition),
            &mut done,
            "deleting records of",
        ))
    }
}

/// Looks up offsets at the partitions' leaders, for admin calls and for consumers alike.
pub(crate) async fn list_offsets(
    client: &Client,
    wanted: &[(TopicPartition, OffsetSpec)],
    isolation: IsolationLevel,
) -> Result<Each<TopicPartition, ListedOffset>, ClientError> {
    let mut done = BTreeMap::new();
    let mut retry = client.retry();
    loop {
        let mut last = None;
        let open: Vec<_> = wanted
            .iter()
            .filter(|(partition, _)| !done.contains_key(partition))
            .map(|(partition, spec)| (partition.clone(), spec.wire()))
            .collect();
        if open.is_empty() {
            break;
        }
        for (leader, group) in by_leader(client, open, &mut done).await? {
            let result = client
                .call_broker(leader, |version| {
                    let mut request = ListOffsetsRequest::default();
                    request.replica_id = -1;
                    if version.value() >= 2 {
                        request.isolation_level = isolation.wire();
                    }
                    if version.value() >= 10 {
                        request.timeout_ms = timeout_ms(client);
                    }
                    request.topics = by_topic(&group)
                        .into_iter()
                        .map(|(name, partitions)| {
                            let mut topic = ListOffsetsTopic::default();
                            topic.name = StrBytes::from(&*name);
                            topic.partitions = partitions
                                .into_iter()
                                .map(|(index, timestamp)| {
                                    let mut partition = ListOffsetsPartition::default();
                                    partition.partition_index = index;
                                    partition.current_leader_epoch = -1;
                                    partition.timestamp = timestamp;
                                    partition
                                })
                                .collect();
                            topic
                        })
                        .collect();
                    request
                })
                .await;
            match result {
                Err(error) => last = Some(trouble(client, &group, error)?),
                Ok((response, _)) => {
                    for topic in &response.topics {
                        for answer in &topic.partitions {
                            let partition =
                                TopicPartition::new(topic.name.as_str(), answer.partition_index);
                            let outcome = ClientError::check(answer.error_code, None, || {
                                format!("cannot look up an offset of {partition}")
                            })
                            .map(|()| ListedOffset {
                                offset: answer.offset,
                                timestamp: answer.timestamp,
                                leader_epoch: answer.leader_epoch,
                            });
                            settle(client, partition, outcome, &mut done, &mut last);
                        }
                    }
                }
            }
        }
        match last {
            Some(error) => retry.again(error).await?,
            None => break,
        }
    }
    Ok(in_order(
        wanted.iter().map(|(partition, _)| partition),
        &mut done,
        "looking up offsets of",
    ))
}

type Done<V> = BTreeMap<TopicPartition, Result<V, ClientError>>;

/// Groups partitions by leader; those that don't exist are done with an error.
async fn by_leader<V>(
    client: &Client,
    wanted: Vec<(TopicPartition, i64)>,
    done: &mut Done<V>,
) -> Result<BTreeMap<i32, Vec<(TopicPartition, i64)>>, ClientError> {
    let mut leaders: BTreeMap<i32, Vec<(TopicPartition, i64)>> = BTreeMap::new();
    for (partition, value) in wanted {
        match client.leader(&partition).await {
            Ok(leader) => leaders.entry(leader).or_default().push((partition, value)),
            Err(error @ (ClientError::Broker { .. } | ClientError::UnknownPartition { .. })) => {
                done.insert(partition, Err(error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(leaders)
}

fn by_topic(partitions: &[(TopicPartition, i64)]) -> BTreeMap<Arc<str>, Vec<(i32, i64)>> {
    let mut topics: BTreeMap<Arc<str>, Vec<(i32, i64)>> = BTreeMap::new();
    for (partition, value) in partitions {
        topics
            .entry(Arc::clone(&partition.topic))
            .or_default()
            .push((partition.partition, *value));
    }
    topics
}

/// A broker failed as a whole: its partitions may have moved.
fn trouble(
    client: &Client,
    group: &[(TopicPartition, i64)],
    error: ClientError,
) -> Result<ClientError, ClientError> {
    if !error.is_retriable() {
        return Err(error);
    }
    for (partition, _) in group {
        client.metadata().mark_stale(&partition.topic);
    }
    Ok(error)
}

fn settle<V>(
    client: &Client,
    partition: TopicPartition,
    outcome: Result<V, ClientError>,
    done: &mut Done<V>,
    last: &mut Option<ClientError>,
) {
    match outcome {
        Err(error) if error.is_retriable() => {
            if error.code().is_some_and(ErrorCode::is_stale_metadata) {
                client.metadata().mark_stale(&partition.topic);
            }
            *last = Some(error);
        }
        outcome => {
            done.insert(partition, outcome);
        }
    }
}

fn in_order<'a, V>(
    asked: impl Iterator<Item = &'a TopicPartition>,
    done: &mut Done<V>,
    what: &str,
) -> Each<TopicPartition, V> {
    asked
        .map(|partition| {
            let outcome = done
                .remove(partition)
                .unwrap_or_else(|| Err(unmentioned(format!("{what} {partition}"))));
            (partition.clone(), outcome)
        })
        .collect()
}
