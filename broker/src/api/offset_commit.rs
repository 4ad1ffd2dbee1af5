//! OffsetCommit (key 8): how far a group has read.
//!
//! Version 9 only adds errors of the consumer group protocol (KIP-848), version 10 names topics
//! by id; both work with classic groups.

use std::collections::HashMap;

use kafka_wire::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_wire::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_wire::{OffsetCommitRequest, OffsetCommitResponse};
use kafka_wire_core::{ApiVersion, StrBytes};

use super::message;
use crate::controller::{MetadataImage, TopicImage};
use crate::coordinator::{
    GroupError, Identity, OffsetValue, STRING_BYTES_MAX, TopicPartition, code_of, owned,
};
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (2, 10);

/// What is the same for all offsets of a request.
struct Terms {
    by_id: bool,
    now: i64,
    expire_timestamp: Option<i64>,
    metadata_bytes_max: usize,
}

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: OffsetCommitRequest,
    version: ApiVersion,
) -> OffsetCommitResponse {
    let now = platform::clock::unix_millis();
    let settings = ctx.broker.groups.settings();
    let terms = Terms {
        by_id: version.value() >= 10,
        now,
        expire_timestamp: (request.retention_time_ms >= 0)
            .then(|| now.saturating_add(request.retention_time_ms)),
        metadata_bytes_max: settings.offset_metadata_bytes_max.min(STRING_BYTES_MAX),
    };
    let image = ctx.broker.controller.image();
    let mut offsets = HashMap::new();
    let mut response = message!(OffsetCommitResponse {
        topics: request
            .topics
            .into_iter()
            .map(|topic| check_topic(topic, &image, &terms, &mut offsets))
            .collect(),
    });
    if offsets.is_empty() {
        return response;
    }
    let identity = Identity {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
    };
    let outcome = ctx
        .broker
        .groups
        .commit(
            &request.group_id,
            &identity,
            request.generation_id_or_member_epoch,
            offsets.into_iter().collect(),
        )
        .await;
    if let Err(error) = outcome {
        let unset = response
            .topics
            .iter_mut()
            .flat_map(|topic| &mut topic.partitions)
            .filter(|partition| partition.error_code == 0);
        for partition in unset {
            partition.error_code = error.code();
        }
    }
    response
}

/// Answers for one topic and collects those of its offsets that can be committed.
fn check_topic(
    topic: OffsetCommitRequestTopic,
    image: &MetadataImage,
    terms: &Terms,
    offsets: &mut HashMap<TopicPartition, OffsetValue>,
) -> OffsetCommitResponseTopic {
    let (known, missing) = if terms.by_id {
        let known = image.topic_by_id(topic.topic_id.as_bytes());
        (known, GroupError::UnknownTopicId)
    } else {
        let known = image.topic(&topic.name);
        (known, GroupError::UnknownTopicOrPartition)
    };
    let name = known.map(|known| StrBytes::from(known.name.as_ref()));
    let partitions = topic
        .partitions
        .into_iter()
        .map(|partition| {
            let partition_index = partition.partition_index;
            let outcome = match (known, &name) {
                (Some(known), Some(name)) => check_offset(partition, known, terms).map(|value| {
                    let key = TopicPartition {
                        topic: name.clone(),
                        partition: partition_index,
                    };
                    offsets.insert(key, value);
                }),
                _ => Err(missing),
            };
            message!(OffsetCommitResponsePartition {
                partition_index,
                error_code: code_of(outcome.err()),
            })
        })
        .collect();
    message!(OffsetCommitResponseTopic {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions,
    })
}

fn check_offset(
    partition: OffsetCommitRequestPartition,
    topic: &TopicImage,
    terms: &Terms,
) -> Result<OffsetValue, GroupError> {
    if !topic.partitions.contains_key(&partition.partition_index) {
        return Err(GroupError::UnknownTopicOrPartition);
    }
    let metadata = partition.committed_metadata.unwrap_or_default();
    if metadata.len() > terms.metadata_bytes_max {
        return Err(GroupError::OffsetMetadataTooLarge);
    }
    Ok(OffsetValue {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: owned(&metadata),
        commit_timestamp: terms.now,
        expire_timestamp: terms.expire_timestamp,
        topic_id: topic.id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::record::PartitionState;
    use kafka_wire_core::KafkaEncode;

    fn topic() -> TopicImage {
        TopicImage {
            name: "orders".into(),
            id: [7; 16],
            partitions: [(0, PartitionState::new(vec![0]))].into(),
            config: Default::default(),
            copies_wanted: None,
        }
    }

    fn terms() -> Terms {
        Terms {
            by_id: false,
            now: 1000,
            expire_timestamp: None,
            metadata_bytes_max: 4096,
        }
    }

    fn offset(partition_index: i32, metadata: String) -> OffsetCommitRequestPartition {
        message!(OffsetCommitRequestPartition {
            partition_index,
            committed_offset: 5,
            committed_metadata: Some(metadata.into()),
        })
    }

    #[test]
    fn metadata_may_have_exactly_the_configured_length() {
        let fits = check_offset(offset(0, "x".repeat(4096)), &topic(), &terms()).unwrap();
        assert_eq!((fits.offset, fits.leader_epoch), (5, -1));
        assert_eq!((fits.commit_timestamp, fits.topic_id), (1000, [7; 16]));
        assert_eq!(
            check_offset(offset(0, "x".repeat(4097)), &topic(), &terms()),
            Err(GroupError::OffsetMetadataTooLarge)
        );
    }

    #[test]
    fn offsets_of_partitions_that_do_not_exist_are_refused() {
        for partition in [-1, 1] {
            assert_eq!(
                check_offset(offset(partition, String::new()), &topic(), &terms()),
                Err(GroupError::UnknownTopicOrPartition)
            );
        }
    }

    #[test]
    fn unknown_topics_are_refused_by_name_and_by_id() {
        let image = MetadataImage::default();
        for (by_id, code) in [(false, 3), (true, 100)] {
            let mut offsets = HashMap::new();
            let request = message!(OffsetCommitRequestTopic {
                name: "orders".into(),
                partitions: vec![offset(0, String::new())],
            });
            let terms = Terms { by_id, ..terms() };
            let answer = check_topic(request, &image, &terms, &mut offsets);
            assert_eq!(answer.partitions[0].error_code, code);
            assert!(offsets.is_empty());
            let response = message!(OffsetCommitResponse {
                topics: vec![answer],
            });
            for version in VERSIONS.0..=VERSIONS.1 {
                response.encoded_len(ApiVersion::new(version)).unwrap();
            }
        }
    }
}
