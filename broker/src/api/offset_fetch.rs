//! OffsetFetch (key 9): the offsets groups have committed; of many groups at once from version 8,
//! topics by id from version 10.
//!
//! `require_stable` needs nothing here: offsets of open transactions don't exist. The member id
//! and epoch of version 9 belong to the consumer group protocol and mean nothing for classic
//! groups.

use std::collections::BTreeMap;

use kafka_wire::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_wire::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_wire::{OffsetFetchRequest, OffsetFetchResponse};
use kafka_wire_core::{ApiVersion, StrBytes, Uuid};

use super::message;
use crate::controller::MetadataImage;
use crate::coordinator::{GroupCoordinator, GroupError, OffsetValue, TopicPartition};
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (1, 10);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: OffsetFetchRequest,
    version: ApiVersion,
) -> OffsetFetchResponse {
    let groups = &ctx.broker.groups;
    let image = ctx.broker.controller.image();
    let by_id = version.value() >= 10;
    if version.value() >= 8 {
        return message!(OffsetFetchResponse {
            groups: request
                .groups
                .into_iter()
                .map(|group| fetch_group(groups, &image, group, by_id))
                .collect(),
        });
    }
    let group = message!(OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics: request.topics.map(|topics| {
            topics
                .into_iter()
                .map(|topic| {
                    message!(OffsetFetchRequestTopics {
                        name: topic.name,
                        partition_indexes: topic.partition_indexes,
                    })
                })
                .collect()
        }),
    });
    let asked = group.topics.clone().filter(|_| version.value() < 2);
    let mut fetched = fetch_group(groups, &image, group, false);
    if let Some(asked) = asked {
        fetched = with_error_at_partitions(fetched, asked);
    }
    single(fetched)
}

/// The answer for one group in the shape before version 8.
fn single(group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    message!(OffsetFetchResponse {
        error_code: group.error_code,
        topics: group
            .topics
            .into_iter()
            .map(|topic| {
                message!(OffsetFetchResponseTopic {
                    name: topic.name,
                    partitions: topic
                        .partitions
                        .into_iter()
                        .map(|partition| {
                            message!(OffsetFetchResponsePartition {
                                partition_index: partition.partition_index,
                                committed_offset: partition.committed_offset,
                                committed_leader_epoch: partition.committed_leader_epoch,
                                metadata: partition.metadata,
                                error_code: partition.error_code,
                            })
                        })
                        .collect(),
                })
            })
            .collect(),
    })
}

fn fetch_group(
    groups: &GroupCoordinator,
    image: &MetadataImage,
    request: OffsetFetchRequestGroup,
    by_id: bool,
) -> OffsetFetchResponseGroup {
    let fetched = match request.topics {
        Some(topics) => fetch_topics(groups, image, &request.group_id, topics, by_id),
        None => groups
            .committed(&request.group_id, None)
            .map(|offsets| all_topics(offsets, image)),
    };
    match fetched {
        Ok(topics) => message!(OffsetFetchResponseGroup {
            group_id: request.group_id,
            topics,
        }),
        Err(error) => message!(OffsetFetchResponseGroup {
            group_id: request.group_id,
            error_code: error.code(),
        }),
    }
}

/// The offsets of the partitions asked for; -1 where there is none.
fn fetch_topics(
    groups: &GroupCoordinator,
    image: &MetadataImage,
    group_id: &StrBytes,
    topics: Vec<OffsetFetchRequestTopics>,
    by_id: bool,
) -> Result<Vec<OffsetFetchResponseTopics>, GroupError> {
    // A topic's name as the offsets know it; none if an id is unknown.
    let name_of = |topic: &OffsetFetchRequestTopics| {
        if by_id {
            let known = image.topic_by_id(topic.topic_id.as_bytes())?;
            Some(StrBytes::from(known.name.as_ref()))
        } else {
            Some(topic.name.clone())
        }
    };
    let names: Vec<Option<StrBytes>> = topics.iter().map(name_of).collect();
    let wanted: Vec<TopicPartition> = topics
        .iter()
        .zip(&names)
        .filter_map(|(topic, name)| Some((topic, name.as_ref()?)))
        .flat_map(|(topic, name)| {
            topic
                .partition_indexes
                .iter()
                .map(|partition| TopicPartition {
                    topic: name.clone(),
                    partition: *partition,
                })
        })
        .collect();
    let found: BTreeMap<TopicPartition, OffsetValue> = groups
        .committed(group_id, Some(&wanted))?
        .into_iter()
        .collect();
    Ok(topics
        .into_iter()
        .zip(names)
        .map(|(topic, name)| {
            let partitions = topic
                .partition_indexes
                .into_iter()
                .map(|partition| match &name {
                    Some(name) => answer(
                        partition,
                        found.get(&TopicPartition {
                            topic: name.clone(),
                            partition,
                        }),
                    ),
                    None => refusal(partition, GroupError::UnknownTopicId.code()),
                })
                .collect();
            message!(OffsetFetchResponseTopics {
                name: topic.name,
                topic_id: topic.topic_id,
                partitions,
            })
        })
        .collect())
}

/// All offsets of a group, by topic.
fn all_topics(
    offsets: Vec<(TopicPartition, OffsetValue)>,
    image: &MetadataImage,
) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for (partition, value) in offsets {
        let answer = answer(partition.partition, Some(&value));
        match topics.last_mut() {
            Some(topic) if topic.name == partition.topic => topic.partitions.push(answer),
            _ => topics.push(message!(OffsetFetchResponseTopics {
                topic_id: image
                    .topic(&partition.topic)
                    .map(|topic| Uuid::from_bytes(topic.id))
                    .unwrap_or_default(),
                name: partition.topic,
                partitions: vec![answer],
            })),
        }
    }
    topics
}

fn answer(partition_index: i32, value: Option<&OffsetValue>) -> OffsetFetchResponsePartitions {
    message!(OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: value.map_or(-1, |value| value.offset),
        committed_leader_epoch: value.map_or(-1, |value| value.leader_epoch),
        metadata: Some(
            value
                .map(|value| value.metadata.clone())
                .unwrap_or_default()
        ),
    })
}

fn refusal(partition_index: i32, error_code: i16) -> OffsetFetchResponsePartitions {
    let mut refused = answer(partition_index, None);
    refused.error_code = error_code;
    refused
}

/// Version 1 can say what is wrong with the group only at each partition.
fn with_error_at_partitions(
    mut group: OffsetFetchResponseGroup,
    asked: Vec<OffsetFetchRequestTopics>,
) -> OffsetFetchResponseGroup {
    if group.error_code != 0 {
        group.topics = asked
            .into_iter()
            .map(|topic| {
                message!(OffsetFetchResponseTopics {
                    name: topic.name,
                    partitions: topic
                        .partition_indexes
                        .into_iter()
                        .map(|partition| refusal(partition, group.error_code))
                        .collect(),
                })
            })
            .collect();
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_wire_core::KafkaEncode;

    fn value(offset: i64) -> OffsetValue {
        OffsetValue {
            offset,
            leader_epoch: 2,
            metadata: "note".into(),
            commit_timestamp: 0,
            expire_timestamp: None,
            topic_id: [0; 16],
        }
    }

    #[test]
    fn all_offsets_come_grouped_by_topic() {
        let at = |topic: &str, partition| TopicPartition {
            topic: topic.into(),
            partition,
        };
        let offsets = vec![
            (at("a", 0), value(1)),
            (at("a", 1), value(2)),
            (at("b", 0), value(3)),
        ];
        let topics = all_topics(offsets, &MetadataImage::default());
        assert_eq!(topics.len(), 2);
        assert_eq!(topics[0].partitions.len(), 2);
        assert_eq!(topics[1].partitions[0].committed_offset, 3);
        assert_eq!(topics[1].partitions[0].metadata.as_deref(), Some("note"));
    }

    #[test]
    fn a_partition_without_offset_is_no_error() {
        let answer = answer(4, None);
        assert_eq!((answer.committed_offset, answer.error_code), (-1, 0));
        assert_eq!(answer.metadata.as_deref(), Some(""));
    }

    #[test]
    fn version_1_has_the_groups_error_at_each_partition() {
        let asked = vec![message!(OffsetFetchRequestTopics {
            name: "a".into(),
            partition_indexes: vec![0, 1],
        })];
        let failed = message!(OffsetFetchResponseGroup { error_code: 14 });
        let response = single(with_error_at_partitions(failed, asked));
        let codes: Vec<i16> = response.topics[0]
            .partitions
            .iter()
            .map(|partition| partition.error_code)
            .collect();
        assert_eq!(codes, [14, 14]);
    }

    #[test]
    fn every_answer_can_be_encoded_in_every_version() {
        let group = || {
            message!(OffsetFetchResponseGroup {
                group_id: "group".into(),
                topics: vec![message!(OffsetFetchResponseTopics {
                    name: "a".into(),
                    topic_id: Uuid::from_bytes([1; 16]),
                    partitions: vec![answer(0, Some(&value(1))), refusal(1, 100)],
                })],
                error_code: 14,
            })
        };
        for version in VERSIONS.0..=VERSIONS.1 {
            let response = if version >= 8 {
                message!(OffsetFetchResponse {
                    groups: vec![group()],
                })
            } else {
                single(group())
            };
            response.encoded_len(ApiVersion::new(version)).unwrap();
        }
    }
}
