//! ListPartitionReassignments (key 46, KIP-455): which partitions are on their way to other brokers.

use kafka_wire::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use kafka_wire::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};
use kafka_wire_core::{ApiVersion, StrBytes};

use super::message;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 0);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: ListPartitionReassignmentsRequest,
    _version: ApiVersion,
) -> ListPartitionReassignmentsResponse {
    let wanted = |topic: &str, index: i32| match &request.topics {
        None => true,
        Some(topics) => topics
            .iter()
            .any(|wanted| &*wanted.name == topic && wanted.partition_indexes.contains(&index)),
    };
    let image = ctx.broker.controller.image();
    let topics = image
        .topics()
        .filter_map(|topic| {
            let partitions: Vec<OngoingPartitionReassignment> = topic
                .partitions
                .iter()
                .filter(|(_, state)| state.is_reassigned())
                .filter(|(index, _)| wanted(&topic.name, **index))
                .map(|(index, state)| {
                    message!(OngoingPartitionReassignment {
                        partition_index: *index,
                        replicas: state.replicas.clone(),
                        adding_replicas: state.adding.clone(),
                        removing_replicas: state.removing.clone(),
                    })
                })
                .collect();
            (!partitions.is_empty()).then(|| {
                message!(OngoingTopicReassignment {
                    name: StrBytes::from(&*topic.name),
                    partitions,
                })
            })
        })
        .collect();
    message!(ListPartitionReassignmentsResponse { topics })
}
