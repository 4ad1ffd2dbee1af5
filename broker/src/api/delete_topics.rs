//! DeleteTopics (key 20): by name, or by id since version 6.

use kafka_wire::delete_topics_response::DeletableTopicResult;
use kafka_wire::{DeleteTopicsRequest, DeleteTopicsResponse};
use kafka_wire_core::{ApiVersion, StrBytes, Uuid};

use super::message;
use crate::controller::ControllerError;
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (1, 6);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: DeleteTopicsRequest,
    version: ApiVersion,
) -> DeleteTopicsResponse {
    let mut wanted: Vec<(Option<StrBytes>, Uuid)> = request
        .topic_names
        .into_iter()
        .map(|name| (Some(name), Uuid::ZERO))
        .chain(
            request
                .topics
                .into_iter()
                .map(|topic| (topic.name, topic.topic_id)),
        )
        .collect();
    wanted.dedup();
    let mut responses = Vec::with_capacity(wanted.len());
    for (name, id) in wanted {
        let (name, id, result) = delete(ctx, name, id, version.value()).await;
        let (error_code, error_message) = match result {
            Ok(()) => (error_code::NONE, None),
            Err(error) => (error.code, Some(StrBytes::from(error.message))),
        };
        responses.push(message!(DeletableTopicResult {
            name,
            topic_id: id,
            error_code,
            error_message,
        }));
    }
    message!(DeleteTopicsResponse { responses })
}

async fn delete(
    ctx: &RequestContext,
    name: Option<StrBytes>,
    id: Uuid,
    version: i16,
) -> (Option<StrBytes>, Uuid, Result<(), ControllerError>) {
    if !ctx.broker.config.delete_topics {
        let code = if version >= 3 {
            error_code::TOPIC_DELETION_DISABLED
        } else {
            error_code::INVALID_REQUEST
        };
        let error = ControllerError::new(code, "delete.topic.enable is false on this broker");
        return (name, id, Err(error));
    }
    if name.is_some() && !id.is_zero() {
        let error = ControllerError::new(
            error_code::INVALID_REQUEST,
            "a topic is named by its name or by its id, not by both",
        );
        return (name, id, Err(error));
    }
    let image = ctx.broker.controller.image();
    let found = match &name {
        Some(name) => image.topic(name).ok_or_else(|| {
            ControllerError::new(
                error_code::UNKNOWN_TOPIC_OR_PARTITION,
                format!("topic \"{name}\" does not exist"),
            )
        }),
        None => image.topic_by_id(id.as_bytes()).ok_or_else(|| {
            ControllerError::new(error_code::UNKNOWN_TOPIC_ID, "no topic has this id")
        }),
    };
    let topic = match found {
        Ok(topic) => topic.clone(),
        Err(error) => return (name, id, Err(error)),
    };
    let result = ctx
        .broker
        .controller
        .delete_topic(&topic.name, topic.id)
        .await;
    if result.is_ok() {
        tracing::info!(topic = %topic.name, client = ctx.client_id, "deleted a topic");
    }
    (
        Some(StrBytes::from(&*topic.name)),
        Uuid::from_bytes(topic.id),
        result,
    )
}
