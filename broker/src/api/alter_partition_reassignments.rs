//! AlterPartitionReassignments (key 45, KIP-455): moves partitions to other brokers, or stops that.

use kafka_wire::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_wire::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};
use kafka_wire_core::{ApiVersion, StrBytes};

use super::message;
use crate::controller::ControllerError;
use crate::controller::operation::Reassignment;
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 1);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: AlterPartitionReassignmentsRequest,
    _version: ApiVersion,
) -> AlterPartitionReassignmentsResponse {
    let allow_replication_factor_change = request.allow_replication_factor_change;
    let changes: Vec<Reassignment> = request
        .topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|partition| Reassignment {
                topic: topic.name.to_string(),
                index: partition.partition_index,
                replicas: partition.replicas.clone(),
            })
        })
        .collect();
    let results = ctx
        .broker
        .controller
        .reassign(changes, allow_replication_factor_change)
        .await;
    let mut results = match results {
        Ok(results) => results.into_iter(),
        Err(error) => {
            return message!(AlterPartitionReassignmentsResponse {
                allow_replication_factor_change,
                error_code: error.code,
                error_message: Some(StrBytes::from(error.message)),
            });
        }
    };
    let responses = request
        .topics
        .into_iter()
        .map(|topic| {
            message!(ReassignableTopicResponse {
                name: topic.name,
                partitions: topic
                    .partitions
                    .iter()
                    .map(|partition| answer(partition.partition_index, results.next()))
                    .collect(),
            })
        })
        .collect();
    message!(AlterPartitionReassignmentsResponse {
        allow_replication_factor_change,
        responses,
    })
}

fn answer(
    partition_index: i32,
    result: Option<Result<(), ControllerError>>,
) -> ReassignablePartitionResponse {
    let (error_code, error_message) = match result {
        Some(Ok(())) => (error_code::NONE, None),
        Some(Err(error)) => (error.code, Some(StrBytes::from(error.message))),
        None => (
            error_code::UNKNOWN_SERVER_ERROR,
            Some(StrBytes::from("the controller gave no result")),
        ),
    };
    message!(ReassignablePartitionResponse {
        partition_index,
        error_code,
        error_message,
    })
}
