//! OffsetDelete (key 47): an administrator deletes committed offsets.

use kafka_wire::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_wire::{OffsetDeleteRequest, OffsetDeleteResponse};
use kafka_wire_core::ApiVersion;

use super::message;
use crate::coordinator::{GroupError, TopicPartition, code_of};
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 0);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: OffsetDeleteRequest,
    _version: ApiVersion,
) -> OffsetDeleteResponse {
    let image = ctx.broker.controller.image();
    let partitions: Vec<TopicPartition> = request
        .topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|partition| TopicPartition {
                topic: topic.name.clone(),
                partition: partition.partition_index,
            })
        })
        .collect();
    let exists = |partition: &TopicPartition| {
        image
            .topic(&partition.topic)
            .is_some_and(|topic| topic.partitions.contains_key(&partition.partition))
    };
    let known: Vec<TopicPartition> = partitions.iter().filter(|p| exists(p)).cloned().collect();
    let outcomes = ctx
        .broker
        .groups
        .delete_offsets(&request.group_id, &known)
        .await;
    let mut outcomes = match outcomes {
        Ok(outcomes) => outcomes.into_iter(),
        Err(error) => {
            return message!(OffsetDeleteResponse {
                error_code: error.code(),
            });
        }
    };
    let mut next_code = |partition: &TopicPartition| {
        if exists(partition) {
            code_of(outcomes.next().flatten())
        } else {
            GroupError::UnknownTopicOrPartition.code()
        }
    };
    // The partitions are answered in the order in which they were collected above.
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            let partitions = topic
                .partitions
                .iter()
                .map(|partition| {
                    message!(OffsetDeleteResponsePartition {
                        partition_index: partition.partition_index,
                        error_code: next_code(&TopicPartition {
                            topic: topic.name.clone(),
                            partition: partition.partition_index,
                        }),
                    })
                })
                .collect();
            message!(OffsetDeleteResponseTopic {
                name: topic.name,
                partitions,
            })
        })
        .collect();
    message!(OffsetDeleteResponse { topics })
}
