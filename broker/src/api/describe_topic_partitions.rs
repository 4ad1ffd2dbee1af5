//! DescribeTopicPartitions (key 75, KIP-966): topics page by page.

use std::sync::Arc;

use kafka_wire::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_wire::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use kafka_wire_core::{ApiVersion, StrBytes, Uuid};

use super::message;
use super::metadata::{TOPIC_OPERATIONS, offline};
use crate::controller::{MetadataImage, TopicImage, topic_name};
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 0);

/// The most partitions in one answer (`max.request.partition.size.limit`).
const PARTITIONS_MAX: usize = 2000;

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: DescribeTopicPartitionsRequest,
    _version: ApiVersion,
) -> DescribeTopicPartitionsResponse {
    let image = ctx.broker.controller.image();
    let (first_topic, first_partition) = match &request.cursor {
        Some(cursor) => (&*cursor.topic_name, cursor.partition_index.max(0)),
        None => ("", 0),
    };
    // Topics in the order of their names, which is what a cursor counts in.
    let wanted: Vec<(StrBytes, Option<Arc<TopicImage>>)> = if request.topics.is_empty() {
        image
            .topics_from(first_topic)
            .map(|topic| (StrBytes::from(&*topic.name), Some(topic.clone())))
            .collect()
    } else {
        let mut names: Vec<StrBytes> = request
            .topics
            .into_iter()
            .map(|topic| topic.name)
            .filter(|name| &**name >= first_topic)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .map(|name| {
                let topic = image.topic(&name).cloned();
                (name, topic)
            })
            .collect()
    };
    let mut left = usize::try_from(request.response_partition_limit)
        .unwrap_or(0)
        .clamp(1, PARTITIONS_MAX);
    let mut topics = Vec::new();
    let mut next_cursor = None;
    for (name, topic) in wanted {
        let Some(topic) = topic else {
            topics.push(missing(name));
            continue;
        };
        let from = if &*name == first_topic {
            first_partition
        } else {
            0
        };
        if left == 0 {
            next_cursor = Some(cursor(name, from));
            break;
        }
        let partitions: Vec<_> = partitions(&image, &topic, from, left);
        left -= partitions.len();
        let next = from.saturating_add(i32::try_from(partitions.len()).unwrap_or(i32::MAX));
        topics.push(message!(DescribeTopicPartitionsResponseTopic {
            name: Some(name.clone()),
            topic_id: Uuid::from_bytes(topic.id),
            is_internal: topic.is_internal(),
            partitions,
            topic_authorized_operations: TOPIC_OPERATIONS,
        }));
        if next < topic.partition_count() {
            next_cursor = Some(cursor(name, next));
            break;
        }
    }
    message!(DescribeTopicPartitionsResponse {
        topics,
        next_cursor,
    })
}

fn cursor(topic_name: StrBytes, partition_index: i32) -> Cursor {
    message!(Cursor {
        topic_name,
        partition_index,
    })
}

fn missing(name: StrBytes) -> DescribeTopicPartitionsResponseTopic {
    let error_code = if topic_name::check(&name).is_ok() {
        error_code::UNKNOWN_TOPIC_OR_PARTITION
    } else {
        error_code::INVALID_TOPIC_EXCEPTION
    };
    message!(DescribeTopicPartitionsResponseTopic {
        error_code,
        name: Some(name),
    })
}

fn partitions(
    image: &MetadataImage,
    topic: &TopicImage,
    from: i32,
    limit: usize,
) -> Vec<DescribeTopicPartitionsResponsePartition> {
    topic
        .partitions
        .range(from..)
        .take(limit)
        .map(|(index, partition)| {
            message!(DescribeTopicPartitionsResponsePartition {
                error_code: if partition.leader < 0 {
                    error_code::LEADER_NOT_AVAILABLE
                } else {
                    error_code::NONE
                },
                partition_index: *index,
                leader_id: partition.leader,
                leader_epoch: partition.leader_epoch,
                replica_nodes: partition.replicas.clone(),
                isr_nodes: partition.isr.clone(),
                eligible_leader_replicas: Some(partition.elr.clone()),
                last_known_elr: Some(partition.last_known_leader.into_iter().collect()),
                offline_replicas: offline(image, partition),
            })
        })
        .collect()
}
