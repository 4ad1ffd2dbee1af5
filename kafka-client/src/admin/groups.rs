//! Groups, their members and their offsets.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_wire::leave_group_request::MemberIdentity;
use kafka_wire::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_wire::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, LeaveGroupRequest,
    ListGroupsRequest, OffsetDeleteRequest, RequestResponsePair,
    decode_consumer_protocol_assignment,
};
use kafka_wire_core::{ApiVersion, DecodeLimits, KafkaEncode, StrBytes};

use super::{Admin, Each, GroupDescription, GroupListing, GroupMember, unmentioned};
use crate::group_offsets::{self, Committer};
use crate::{BrokerInfo, ClientError, ErrorCode, OffsetAndMetadata, TopicPartition};

impl Admin {
    /// All groups of all brokers, by id.
    ///
    /// # Errors
    /// A broker doesn't answer: its groups would be missing.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, ClientError> {
        let mut groups = BTreeMap::new();
        for broker in self.client.cluster().await?.brokers {
            let mut retry = self.client.retry();
            let response = loop {
                let result = self
                    .client
                    .call_broker(broker.id, |_| ListGroupsRequest::default())
                    .await
                    .and_then(|(response, _)| {
                        ClientError::check(response.error_code, None, || {
                            format!("cannot list the groups of broker {}", broker.id)
                        })?;
                        Ok(response)
                    });
                match result {
                    Ok(response) => break response,
                    Err(error) => retry.again(error).await?,
                }
            };
            for listed in response.groups {
                let group = listed.group_id.into_string();
                groups.insert(
                    group.clone(),
                    GroupListing {
                        group,
                        protocol_type: listed.protocol_type.into_string(),
                        state: listed.group_state.into_string(),
                        group_type: listed.group_type.into_string(),
                    },
                );
            }
        }
        Ok(groups.into_values().collect())
    }

    /// Groups with their members; for one that can't be described, an error in its place. A group
    /// that doesn't exist is `Dead`.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn describe_groups(
        &self,
        groups: &[String],
    ) -> Result<Each<String, GroupDescription>, ClientError> {
        let mut all = Vec::with_capacity(groups.len());
        for group in groups {
            let what = || format!("cannot describe group \"{group}\"");
            let outcome = self
                .on_coordinator(
                    group,
                    |_| {
                        let mut request = DescribeGroupsRequest::default();
                        request.groups = vec![StrBytes::from(group.as_str())];
                        request
                    },
                    |response| {
                        let answer = response
                            .groups
                            .into_iter()
                            .next()
                            .ok_or_else(|| unmentioned(what()))?;
                        let message = answer.error_message.as_deref();
                        // A group that never existed is described as dead by brokers before 4.0.
                        if ErrorCode(answer.error_code) != ErrorCode::GROUP_ID_NOT_FOUND {
                            ClientError::check(answer.error_code, message, what)?;
                        }
                        Ok(answer)
                    },
                )
                .await;
            let outcome = match outcome {
                Ok(answer) => {
                    let coordinator = self.client.coordinator(group).await.ok();
                    let consumers = answer.protocol_type.as_str() == "consumer";
                    let dead = ErrorCode(answer.error_code) == ErrorCode::GROUP_ID_NOT_FOUND;
                    let modern = match dead {
                        true => self.describe_consumer_group(group).await.transpose(),
                        false => None,
                    };
                    modern.unwrap_or_else(|| {
                        Ok(GroupDescription {
                            group: group.clone(),
                            state: if dead {
                                "Dead".to_owned()
                            } else {
                                answer.group_state.into_string()
                            },
                            protocol_type: answer.protocol_type.into_string(),
                            protocol: answer.protocol_data.into_string(),
                            coordinator: coordinator.and_then(|addr| self.broker_at(&addr)),
                            members: answer
                                .members
                                .into_iter()
                                .map(|member| GroupMember {
                                    member_id: member.member_id.into_string(),
                                    instance_id: member
                                        .group_instance_id
                                        .map(StrBytes::into_string),
                                    client_id: member.client_id.into_string(),
                                    host: member.client_host.into_string(),
                                    assignment: if consumers {
                                        assignment_of(member.member_assignment)
                                    } else {
                                        Vec::new()
                                    },
                                })
                                .collect(),
                        })
                    })
                }
                Err(error) if matches!(error, ClientError::Bootstrap { .. }) => return Err(error),
                Err(error) => Err(error),
            };
            all.push((group.clone(), outcome));
        }
        Ok(all)
    }

    /// A group of the consumer rebalance protocol (KIP-848), which is no group to the API above;
    /// `None` if there is none or the broker has no such groups.
    async fn describe_consumer_group(
        &self,
        group: &str,
    ) -> Result<Option<GroupDescription>, ClientError> {
        let what = || format!("cannot describe group \"{group}\"");
        let outcome = self
            .on_coordinator(
                group,
                |_| {
                    let mut request = ConsumerGroupDescribeRequest::default();
                    request.group_ids = vec![StrBytes::from(group)];
                    request
                },
                |response| {
                    let answer = response.groups.into_iter().next();
                    let answer = answer.ok_or_else(|| unmentioned(what()))?;
                    if ErrorCode(answer.error_code) == ErrorCode::GROUP_ID_NOT_FOUND {
                        return Ok(None);
                    }
                    let message = answer.error_message.as_deref();
                    ClientError::check(answer.error_code, message, what)?;
                    Ok(Some(answer))
                },
            )
            .await;
        let answer = match outcome {
            Ok(Some(answer)) => answer,
            Ok(None) | Err(ClientError::UnsupportedVersion { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let coordinator = self.client.coordinator(group).await.ok();
        let members = answer.members.into_iter().map(|member| {
            let topics = member.assignment.topic_partitions.into_iter();
            let mut assignment: Vec<TopicPartition> = topics
                .flat_map(|topic| {
                    let name: Arc<str> = Arc::from(topic.topic_name.as_str());
                    let partitions = topic.partitions.into_iter();
                    partitions
                        .map(move |partition| TopicPartition::new(Arc::clone(&name), partition))
                })
                .collect();
            assignment.sort();
            GroupMember {
                member_id: member.member_id.into_string(),
                instance_id: member.instance_id.map(StrBytes::into_string),
                client_id: member.client_id.into_string(),
                host: member.client_host.into_string(),
                assignment,
            }
        });
        Ok(Some(GroupDescription {
            group: group.to_owned(),
            state: answer.group_state.into_string(),
            protocol_type: "consumer".to_owned(),
            protocol: answer.assignor_name.into_string(),
            coordinator: coordinator.and_then(|addr| self.broker_at(&addr)),
            members: members.collect(),
        }))
    }

    fn broker_at(&self, addr: &str) -> Option<BrokerInfo> {
        self.client
            .metadata()
            .brokers()
            .into_iter()
            .find(|broker| broker.addr() == addr)
    }

    /// Deletes groups and their offsets.
    ///
    /// # Errors
    /// Per group: `NON_EMPTY_GROUP` while it has members, `GROUP_ID_NOT_FOUND`.
    pub async fn delete_groups(&self, groups: &[String]) -> Result<Each<String, ()>, ClientError> {
        let mut all = Vec::with_capacity(groups.len());
        for group in groups {
            let what = || format!("cannot delete group \"{group}\"");
            let outcome = self
                .on_coordinator(
                    group,
                    |_| {
                        let mut request = DeleteGroupsRequest::default();
                        request.groups_names = vec![StrBytes::from(group.as_str())];
                        request
                    },
                    |response| {
                        let answer = response
                            .results
                            .into_iter()
                            .next()
                            .ok_or_else(|| unmentioned(what()))?;
                        ClientError::check(answer.error_code, answer.error_message.as_deref(), what)
                    },
                )
                .await;
            all.push((group.clone(), outcome));
        }
        Ok(all)
    }

    /// A group's committed offsets, of all partitions it has some for.
    ///
    /// # Errors
    /// Its coordinator doesn't answer.
    pub async fn list_group_offsets(
        &self,
        group: &str,
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, ClientError> {
        group_offsets::fetch(&self.client, self.client.pool(), group, None).await
    }

    /// Sets committed offsets of a group that has no members.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID` while it has members.
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: &[(TopicPartition, OffsetAndMetadata)],
    ) -> Result<(), ClientError> {
        group_offsets::commit(
            &self.client,
            self.client.pool(),
            group,
            &Committer::outsider(),
            offsets,
        )
        .await
    }

    /// Deletes committed offsets of partitions that the group doesn't read at present.
    ///
    /// # Errors
    /// Per partition: `GROUP_SUBSCRIBED_TO_TOPIC`. Of the whole call: `GROUP_ID_NOT_FOUND`.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Each<TopicPartition, ()>, ClientError> {
        let what = || format!("cannot delete offsets of group \"{group}\"");
        let mut topics: BTreeMap<&str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
        for partition in partitions {
            let mut wanted = OffsetDeleteRequestPartition::default();
            wanted.partition_index = partition.partition;
            topics.entry(&partition.topic).or_default().push(wanted);
        }
        let response = self
            .on_coordinator(
                group,
                |_| {
                    let mut request = OffsetDeleteRequest::default();
                    request.group_id = StrBytes::from(group);
                    request.topics = topics
                        .iter()
                        .map(|(name, partitions)| {
                            let mut topic = OffsetDeleteRequestTopic::default();
                            topic.name = StrBytes::from(*name);
                            topic.partitions.clone_from(partitions);
                            topic
                        })
                        .collect();
                    request
                },
                |response| {
                    ClientError::check(response.error_code, None, what)?;
                    Ok(response)
                },
            )
            .await?;
        let mut outcomes: BTreeMap<TopicPartition, Result<(), ClientError>> = BTreeMap::new();
        for topic in &response.topics {
            for answer in &topic.partitions {
                let partition = TopicPartition::new(topic.name.as_str(), answer.partition_index);
                let outcome = ClientError::check(answer.error_code, None, || {
                    format!("{} for {partition}", what())
                });
                outcomes.insert(partition, outcome);
            }
        }
        Ok(partitions
            .iter()
            .map(|partition| {
                let outcome = outcomes
                    .remove(partition)
                    .unwrap_or_else(|| Err(unmentioned(format!("{} for {partition}", what()))));
                (partition.clone(), outcome)
            })
            .collect())
    }

    /// Removes members from a group: those named, by member id, or all if none is named.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID` for one that is not in the group.
    pub async fn remove_members(&self, group: &str, members: &[String]) -> Result<(), ClientError> {
        let what = || format!("cannot remove members from group \"{group}\"");
        let mut wanted: Vec<(String, Option<String>)> =
            members.iter().map(|id| (id.clone(), None)).collect();
        if wanted.is_empty() {
            let described = self.describe_groups(&[group.to_owned()]).await?;
            for (_, outcome) in described {
                let present = outcome?.members.into_iter();
                wanted.extend(present.map(|member| (member.member_id, member.instance_id)));
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        self.on_coordinator(
            group,
            |version| {
                let mut request = LeaveGroupRequest::default();
                request.group_id = StrBytes::from(group);
                if version.value() >= 3 {
                    request.members = wanted
                        .iter()
                        .map(|(id, instance)| {
                            let mut member = MemberIdentity::default();
                            member.member_id = StrBytes::from(id.as_str());
                            member.group_instance_id = instance.as_deref().map(StrBytes::from);
                            if version.value() >= 5 {
                                member.reason = Some(StrBytes::from("removed by an administrator"));
                            }
                            member
                        })
                        .collect();
                } else if let Some((id, _)) = wanted.first() {
                    request.member_id = StrBytes::from(id.as_str());
                }
                request
            },
            |response| {
                ClientError::check(response.error_code, None, what)?;
                for member in &response.members {
                    ClientError::check(member.error_code, None, || {
                        format!("{}: member \"{}\"", what(), member.member_id)
                    })?;
                }
                Ok(())
            },
        )
        .await
    }

    /// Sends a request to a group's coordinator, again if it moved or is loading. `check` finds the
    /// error in the answer.
    async fn on_coordinator<R, T>(
        &self,
        group: &str,
        build: impl Fn(ApiVersion) -> R,
        check: impl Fn(R::Response) -> Result<T, ClientError>,
    ) -> Result<T, ClientError>
    where
        R: RequestResponsePair + KafkaEncode,
    {
        let mut retry = self.client.retry();
        loop {
            let addr = self.client.coordinator(group).await?;
            let result = match self.client.pool().get(&addr).await {
                Ok(connection) => self.client.call_on(&connection, &build).await,
                Err(error) => Err(error),
            };
            match result.and_then(|(response, _)| check(response)) {
                Ok(value) => return Ok(value),
                Err(error) => {
                    self.client.note_coordinator_error(group, &error);
                    retry.again(error).await?;
                }
            }
        }
    }
}

/// The partitions in an encoded assignment; none if it is not readable.
fn assignment_of(bytes: bytes::Bytes) -> Vec<TopicPartition> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let Ok((_, assignment)) = decode_consumer_protocol_assignment(bytes, DecodeLimits::default())
    else {
        return Vec::new();
    };
    let mut partitions = Vec::new();
    for topic in assignment.assigned_partitions {
        let name: Arc<str> = Arc::from(topic.topic.as_str());
        partitions.extend(topic.partitions.iter().map(|partition| TopicPartition {
            topic: Arc::clone(&name),
            partition: *partition,
        }));
    }
    partitions.sort();
    partitions
}
