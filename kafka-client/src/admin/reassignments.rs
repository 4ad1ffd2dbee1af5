//! Moving partitions to other brokers (KIP-455).

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_wire::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_wire::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use kafka_wire::{AlterPartitionReassignmentsRequest, ListPartitionReassignmentsRequest};
use kafka_wire_core::{ApiVersion, StrBytes};

use super::controller::is_controller_trouble;
use super::{Admin, Each, PartitionReassignment, timeout_ms, unmentioned};
use crate::topic_partition::by_topic;
use crate::{ClientError, TopicPartition};

impl Admin {
    /// Starts to move each partition to the brokers named, the preferred leader first; `None`
    /// cancels what is under way. Returns once the move has begun; see
    /// [`list_partition_reassignments`](Self::list_partition_reassignments) for its end.
    ///
    /// # Errors
    /// Of the whole call: no controller could be reached; the cluster is older than Kafka 4.1 and
    /// the number of copies must not change. Per partition, for example
    /// `INVALID_REPLICA_ASSIGNMENT` or `NO_REASSIGNMENT_IN_PROGRESS`.
    pub async fn alter_partition_reassignments(
        &self,
        targets: &[(TopicPartition, Option<Vec<i32>>)],
        allow_factor_change: bool,
    ) -> Result<Each<TopicPartition, ()>, ClientError> {
        let topics = self
            .ask_again_while(is_controller_trouble, || async {
                // Older brokers change the number of copies whether it is wanted or not, so they
                // are asked for nothing.
                let is_safe = |version: ApiVersion| allow_factor_change || version.value() >= 1;
                let (response, version) = self
                    .client
                    .call_controller(|version| {
                        let mut request = AlterPartitionReassignmentsRequest::default();
                        request.timeout_ms = timeout_ms(&self.client);
                        if version.value() >= 1 {
                            request.allow_replication_factor_change = allow_factor_change;
                        }
                        if is_safe(version) {
                            request.topics = reassignable(targets);
                        }
                        request
                    })
                    .await?;
                if !is_safe(version) {
                    return Err(ClientError::Usage {
                        reason: "the cluster cannot check that the number of copies stays; upgrade it or allow the change".to_owned(),
                    });
                }
                ClientError::check(
                    response.error_code,
                    response.error_message.as_deref(),
                    || "cannot change the reassignments of partitions".to_owned(),
                )?;
                Ok(response.responses)
            })
            .await?;
        let mut answers = BTreeMap::new();
        for topic in topics {
            self.client.metadata().mark_stale(topic.name.as_str());
            for answer in topic.partitions {
                let partition = TopicPartition::new(topic.name.as_str(), answer.partition_index);
                let outcome =
                    ClientError::check(answer.error_code, answer.error_message.as_deref(), || {
                        format!("cannot reassign {partition}")
                    });
                answers.insert(partition, outcome);
            }
        }
        Ok(targets
            .iter()
            .map(|(partition, _)| {
                let outcome = answers
                    .remove(partition)
                    .unwrap_or_else(|| Err(unmentioned(format!("reassigning {partition}"))));
                (partition.clone(), outcome)
            })
            .collect())
    }

    /// The reassignments under way, of these partitions or of all, by partition.
    ///
    /// # Errors
    /// No controller could be reached.
    pub async fn list_partition_reassignments(
        &self,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, PartitionReassignment>, ClientError> {
        let topics = self
            .ask_again_while(is_controller_trouble, || async {
                let (response, _) = self
                    .client
                    .call_controller(|_| {
                        let mut request = ListPartitionReassignmentsRequest::default();
                        request.timeout_ms = timeout_ms(&self.client);
                        request.topics = partitions.map(|partitions| {
                            by_topic(partitions)
                                .into_iter()
                                .map(|(topic, indexes)| {
                                    let mut wanted = ListPartitionReassignmentsTopics::default();
                                    wanted.name = StrBytes::from(topic);
                                    wanted.partition_indexes = indexes;
                                    wanted
                                })
                                .collect()
                        });
                        request
                    })
                    .await?;
                ClientError::check(
                    response.error_code,
                    response.error_message.as_deref(),
                    || "cannot list the reassignments of partitions".to_owned(),
                )?;
                Ok(response.topics)
            })
            .await?;
        let mut all = BTreeMap::new();
        for topic in topics {
            let name: Arc<str> = Arc::from(topic.name.as_str());
            all.extend(topic.partitions.into_iter().map(|partition| {
                let place = TopicPartition::new(Arc::clone(&name), partition.partition_index);
                let reassignment = PartitionReassignment {
                    replicas: partition.replicas,
                    adding: partition.adding_replicas,
                    removing: partition.removing_replicas,
                };
                (place, reassignment)
            }));
        }
        Ok(all)
    }
}

fn reassignable(targets: &[(TopicPartition, Option<Vec<i32>>)]) -> Vec<ReassignableTopic> {
    let mut topics: BTreeMap<&str, Vec<ReassignablePartition>> = BTreeMap::new();
    for (partition, replicas) in targets {
        let mut wanted = ReassignablePartition::default();
        wanted.partition_index = partition.partition;
        wanted.replicas.clone_from(replicas);
        topics.entry(&partition.topic).or_default().push(wanted);
    }
    topics
        .into_iter()
        .map(|(name, partitions)| {
            let mut topic = ReassignableTopic::default();
            topic.name = StrBytes::from(name);
            topic.partitions = partitions;
            topic
        })
        .collect()
}
