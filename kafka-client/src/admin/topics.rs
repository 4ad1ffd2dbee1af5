//! Creating, describing and deleting topics.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_wire::create_partitions_request::CreatePartitionsTopic;
use kafka_wire::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_wire::delete_topics_request::DeleteTopicState;
use kafka_wire::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_wire::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeTopicPartitionsRequest,
};
use kafka_wire_core::StrBytes;

use super::controller::is_controller_trouble;
use super::{
    Admin, Each, NewTopic, PartitionInfo, TopicDescription, TopicListing, timeout_ms, unmentioned,
};
use crate::ClientError;

/// Partitions in one answer of a description.
const PARTITIONS_PER_ANSWER: i32 = 2000;

impl Admin {
    /// Creates topics; with `validate_only` it only says whether it could.
    ///
    /// # Errors
    /// Of the whole call: no controller could be reached. Per topic, for example
    /// `TOPIC_ALREADY_EXISTS` or `INVALID_REPLICATION_FACTOR`.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<Each<String, ()>, ClientError> {
        let mut open: Vec<&NewTopic> = topics.iter().collect();
        let mut done: BTreeMap<String, Result<(), ClientError>> = BTreeMap::new();
        let mut retry = self.client.retry();
        while !open.is_empty() {
            let result = self
                .client
                .call_controller(|_| {
                    let mut request = CreateTopicsRequest::default();
                    request.topics = open.iter().map(|topic| creatable(topic)).collect();
                    request.timeout_ms = timeout_ms(&self.client);
                    request.validate_only = validate_only;
                    request
                })
                .await;
            let error = match result {
                Ok((response, _)) => {
                    let mut again = None;
                    for answer in response.topics {
                        let name = answer.name.as_str().to_owned();
                        let outcome = ClientError::check(
                            answer.error_code,
                            answer.error_message.as_deref(),
                            || format!("cannot create topic \"{name}\""),
                        );
                        if answer.error_code == 0 {
                            self.client.metadata().mark_stale(&name);
                        }
                        match outcome {
                            Err(error) if is_controller_trouble(&error) => again = Some(error),
                            outcome => {
                                open.retain(|topic| topic.name != name);
                                done.insert(name, outcome);
                            }
                        }
                    }
                    let Some(again) = again else { break };
                    again
                }
                Err(error) => error,
            };
            self.client.refresh(&[], false).await.ok();
            retry.again(error).await?;
        }
        Ok(topics
            .iter()
            .map(|topic| {
                let outcome = done.get(&topic.name).cloned().unwrap_or_else(|| {
                    Err(unmentioned(format!("creating topic \"{}\"", topic.name)))
                });
                (topic.name.clone(), outcome)
            })
            .collect())
    }

    /// Deletes topics.
    ///
    /// # Errors
    /// As for [`create_topics`](Self::create_topics); `UNKNOWN_TOPIC_OR_PARTITION` for one that
    /// doesn't exist.
    pub async fn delete_topics(&self, names: &[String]) -> Result<Each<String, ()>, ClientError> {
        let mut open: Vec<String> = names.to_vec();
        let mut done: BTreeMap<String, Result<(), ClientError>> = BTreeMap::new();
        let mut retry = self.client.retry();
        while !open.is_empty() {
            let result = self
                .client
                .call_controller(|version| {
                    let mut request = DeleteTopicsRequest::default();
                    request.timeout_ms = timeout_ms(&self.client);
                    let names = open.iter().map(|name| StrBytes::from(name.as_str()));
                    if version.value() >= 6 {
                        request.topics = names
                            .map(|name| {
                                let mut topic = DeleteTopicState::default();
                                topic.name = Some(name);
                                topic
                            })
                            .collect();
                    } else {
                        request.topic_names = names.collect();
                    }
                    request
                })
                .await;
            let error = match result {
                Ok((response, _)) => {
                    let mut again = None;
                    for answer in response.responses {
                        let Some(name) = answer.name.map(|name| name.as_str().to_owned()) else {
                            continue;
                        };
                        self.client.metadata().mark_stale(&name);
                        let outcome = ClientError::check(
                            answer.error_code,
                            answer.error_message.as_deref(),
                            || format!("cannot delete topic \"{name}\""),
                        );
                        match outcome {
                            Err(error) if is_controller_trouble(&error) => again = Some(error),
                            outcome => {
                                open.retain(|open| *open != name);
                                done.insert(name, outcome);
                            }
                        }
                    }
                    let Some(again) = again else { break };
                    again
                }
                Err(error) => error,
            };
            self.client.refresh(&[], false).await.ok();
            retry.again(error).await?;
        }
        Ok(names
            .iter()
            .map(|name| {
                let outcome = done
                    .get(name)
                    .cloned()
                    .unwrap_or_else(|| Err(unmentioned(format!("deleting topic \"{name}\""))));
                (name.clone(), outcome)
            })
            .collect())
    }

    /// Raises a topic's number of partitions to `count`.
    ///
    /// # Errors
    /// `INVALID_PARTITIONS` if it has as many already.
    pub async fn create_partitions(
        &self,
        topic: &str,
        count: i32,
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let what = || format!("cannot raise topic \"{topic}\" to {count} partitions");
        self.ask_again_while(is_controller_trouble, || async {
            let (response, _) = self
                .client
                .call_controller(|_| {
                    let mut wanted = CreatePartitionsTopic::default();
                    wanted.name = StrBytes::from(topic);
                    wanted.count = count;
                    wanted.assignments = None;
                    let mut request = CreatePartitionsRequest::default();
                    request.topics = vec![wanted];
                    request.timeout_ms = timeout_ms(&self.client);
                    request.validate_only = validate_only;
                    request
                })
                .await?;
            let answer = response.results.first();
            let answer = answer.ok_or_else(|| unmentioned(what()))?;
            ClientError::check(answer.error_code, answer.error_message.as_deref(), what)
        })
        .await?;
        self.client.metadata().mark_stale(topic);
        Ok(())
    }

    /// All topics, by name.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn list_topics(&self) -> Result<Vec<TopicListing>, ClientError> {
        let mut retry = self.client.retry();
        let response = loop {
            match self.client.all_topics().await {
                Ok(response) => break response,
                Err(error) => retry.again(error).await?,
            }
        };
        let mut topics: Vec<TopicListing> = response
            .topics
            .iter()
            .filter_map(|topic| {
                Some(TopicListing {
                    name: topic.name.as_ref()?.as_str().to_owned(),
                    id: topic.topic_id.to_bytes(),
                    internal: topic.is_internal,
                    partitions: topic.partitions.len(),
                })
            })
            .collect();
        topics.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(topics)
    }

    /// Topics with their partitions; for one that doesn't exist, an error in its place.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn describe_topics(
        &self,
        names: &[String],
    ) -> Result<Each<String, TopicDescription>, ClientError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut retry = self.client.retry();
        loop {
            let attempt = match self.describe_by_partitions(names).await {
                Err(ClientError::UnsupportedVersion { .. }) => {
                    self.describe_by_metadata(names).await
                }
                attempt => attempt,
            };
            match attempt {
                Ok(mut found) => {
                    return Ok(names
                        .iter()
                        .map(|name| {
                            let outcome = found.remove(name).unwrap_or_else(|| {
                                Err(unmentioned(format!("describing topic \"{name}\"")))
                            });
                            (name.clone(), outcome)
                        })
                        .collect());
                }
                Err(error) => retry.again(error).await?,
            }
        }
    }

    async fn describe_by_partitions(
        &self,
        names: &[String],
    ) -> Result<BTreeMap<String, Result<TopicDescription, ClientError>>, ClientError> {
        let mut found: BTreeMap<String, Result<TopicDescription, ClientError>> = BTreeMap::new();
        let mut cursor: Option<(String, i32)> = None;
        let mut names = names.to_vec();
        names.sort();
        names.dedup();
        loop {
            let (response, _) = self
                .client
                .call_any(|_| {
                    let mut request = DescribeTopicPartitionsRequest::default();
                    request.response_partition_limit = PARTITIONS_PER_ANSWER;
                    request.topics = names
                        .iter()
                        .filter(|name| cursor.as_ref().is_none_or(|(from, _)| *name >= from))
                        .map(|name| {
                            let mut topic = TopicRequest::default();
                            topic.name = StrBytes::from(name.as_str());
                            topic
                        })
                        .collect();
                    request.cursor = cursor.as_ref().map(|(topic, partition)| {
                        let mut cursor = Cursor::default();
                        cursor.topic_name = StrBytes::from(topic.as_str());
                        cursor.partition_index = *partition;
                        cursor
                    });
                    request
                })
                .await?;
            for answer in response.topics {
                let Some(name) = answer.name.as_ref().map(|name| name.as_str().to_owned()) else {
                    continue;
                };
                if let Err(error) = ClientError::check(answer.error_code, None, || {
                    format!("cannot describe topic \"{name}\"")
                }) {
                    found.insert(name, Err(error));
                    continue;
                }
                let partitions = answer
                    .partitions
                    .into_iter()
                    .map(|partition| PartitionInfo {
                        index: partition.partition_index,
                        leader: partition.leader_id,
                        leader_epoch: partition.leader_epoch,
                        replicas: partition.replica_nodes,
                        isr: partition.isr_nodes,
                        offline: partition.offline_replicas,
                        elr: partition.eligible_leader_replicas.unwrap_or_default(),
                        last_known_elr: partition.last_known_elr.unwrap_or_default(),
                    });
                let entry = found.entry(name.clone()).or_insert_with(|| {
                    Ok(TopicDescription {
                        name,
                        id: answer.topic_id.to_bytes(),
                        internal: answer.is_internal,
                        partitions: Vec::new(),
                    })
                });
                if let Ok(description) = entry {
                    description.partitions.extend(partitions);
                    description
                        .partitions
                        .sort_by_key(|partition| partition.index);
                }
            }
            let next = response
                .next_cursor
                .map(|next| (next.topic_name.as_str().to_owned(), next.partition_index));
            if next.is_none() || next == cursor {
                return Ok(found);
            }
            cursor = next;
        }
    }

    async fn describe_by_metadata(
        &self,
        names: &[String],
    ) -> Result<BTreeMap<String, Result<TopicDescription, ClientError>>, ClientError> {
        let topics: Vec<Arc<str>> = names.iter().map(|name| Arc::from(name.as_str())).collect();
        for topic in &topics {
            self.client.metadata().mark_stale(topic);
        }
        let mut found: BTreeMap<_, _> = self
            .client
            .refresh(&topics, false)
            .await?
            .into_iter()
            .map(|(name, code)| {
                let context = format!("cannot describe topic \"{name}\"");
                (name.to_string(), Err(ClientError::broker(code, context)))
            })
            .collect();
        for name in topics {
            let Some(topic) = self.client.metadata().topic(&name) else {
                continue;
            };
            let partitions = topic.partitions.iter().map(|partition| PartitionInfo {
                index: partition.index,
                leader: partition.leader,
                leader_epoch: partition.leader_epoch,
                replicas: partition.replicas.clone(),
                isr: partition.isr.clone(),
                offline: partition.offline.clone(),
                elr: Vec::new(),
                last_known_elr: Vec::new(),
            });
            let description = TopicDescription {
                name: topic.name.to_string(),
                id: topic.id.to_bytes(),
                internal: topic.internal,
                partitions: partitions.collect(),
            };
            found.entry(name.to_string()).or_insert(Ok(description));
        }
        Ok(found)
    }
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let mut wanted = CreatableTopic::default();
    wanted.name = StrBytes::from(topic.name.as_str());
    if topic.assignments.is_empty() {
        wanted.num_partitions = topic.partitions;
        wanted.replication_factor = topic.replication_factor;
    } else {
        wanted.num_partitions = -1;
        wanted.replication_factor = -1;
        wanted.assignments = (0..)
            .zip(&topic.assignments)
            .map(|(index, brokers)| {
                let mut assignment = CreatableReplicaAssignment::default();
                assignment.partition_index = index;
                assignment.broker_ids.clone_from(brokers);
                assignment
            })
            .collect();
    }
    wanted.configs = topic
        .configs
        .iter()
        .map(|(name, value)| {
            let mut config = CreatableTopicConfig::default();
            config.name = StrBytes::from(name.as_str());
            config.value = Some(StrBytes::from(value.as_str()));
            config
        })
        .collect();
    wanted
}
