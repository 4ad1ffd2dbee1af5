//! CreatePartitions (key 37): more partitions for a topic.

use kafka_wire::create_partitions_response::CreatePartitionsTopicResult;
use kafka_wire::{CreatePartitionsRequest, CreatePartitionsResponse};
use kafka_wire_core::{ApiVersion, StrBytes};

use super::message;
use crate::controller::ControllerError;
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 3);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: CreatePartitionsRequest,
    _version: ApiVersion,
) -> CreatePartitionsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    let mut names: Vec<StrBytes> = Vec::new();
    for topic in &request.topics {
        if names.contains(&topic.name) {
            continue;
        }
        names.push(topic.name.clone());
        let rows = request
            .topics
            .iter()
            .filter(|other| other.name == topic.name);
        let result = if rows.count() > 1 {
            Err(ControllerError::new(
                error_code::INVALID_REQUEST,
                format!("topic \"{}\" is in the request more than once", topic.name),
            ))
        } else {
            let assignments: Option<Vec<Vec<i32>>> = topic
                .assignments
                .as_ref()
                .map(|rows| rows.iter().map(|row| row.broker_ids.clone()).collect());
            ctx.broker
                .controller
                .create_partitions(
                    &topic.name,
                    topic.count,
                    assignments.as_deref(),
                    request.validate_only,
                )
                .await
        };
        let (error_code, error_message) = match result {
            Ok(()) => (error_code::NONE, None),
            Err(error) => (error.code, Some(StrBytes::from(error.message))),
        };
        results.push(message!(CreatePartitionsTopicResult {
            name: topic.name.clone(),
            error_code,
            error_message,
        }));
    }
    message!(CreatePartitionsResponse { results })
}
