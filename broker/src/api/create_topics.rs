//! CreateTopics (key 19).

use kafka_wire::create_topics_request::CreatableTopic;
use kafka_wire::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_wire::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_wire_core::{ApiVersion, StrBytes, Uuid};

use super::message;
use crate::config::layers::Settings;
use crate::config::topic::TOPIC_KEYS;
use crate::controller::{ControllerError, NewTopic, TopicImage};
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (2, 7);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: CreateTopicsRequest,
    _version: ApiVersion,
) -> CreateTopicsResponse {
    let mut names: Vec<&str> = request.topics.iter().map(|topic| &*topic.name).collect();
    names.sort_unstable();
    let repeated = |name: &str| {
        names.partition_point(|other| *other <= name) - names.partition_point(|other| *other < name)
            > 1
    };
    // Either a topic to create or why not; the answers keep the order of the request.
    let mut planned = Vec::with_capacity(request.topics.len());
    let mut answered: Vec<&str> = Vec::new();
    for topic in &request.topics {
        if repeated(&topic.name) {
            if !answered.contains(&&*topic.name) {
                answered.push(&topic.name);
                planned.push((
                    &topic.name,
                    Err(ControllerError::new(
                        error_code::INVALID_REQUEST,
                        format!("topic \"{}\" is in the request more than once", topic.name),
                    )),
                ));
            }
        } else {
            planned.push((&topic.name, new_topic(topic)));
        }
    }
    let wanted: Vec<NewTopic> = planned
        .iter()
        .filter_map(|(_, topic)| topic.as_ref().ok().cloned())
        .collect();
    let mut created = ctx
        .broker
        .controller
        .create_topics(&wanted, request.validate_only)
        .await
        .into_iter();
    let topics = planned
        .into_iter()
        .map(|(name, topic)| {
            let result = match topic {
                Err(error) => Err(error),
                Ok(_) => created.next().unwrap_or_else(|| {
                    Err(ControllerError::new(
                        error_code::UNKNOWN_SERVER_ERROR,
                        "the controller gave no result",
                    ))
                }),
            };
            match result {
                Ok(topic) => success(ctx, &topic, request.validate_only),
                Err(error) => message!(CreatableTopicResult {
                    name: name.clone(),
                    error_code: error.code,
                    error_message: Some(StrBytes::from(error.message)),
                }),
            }
        })
        .collect();
    message!(CreateTopicsResponse { topics })
}

fn new_topic(topic: &CreatableTopic) -> Result<NewTopic, ControllerError> {
    let mut config = Settings::new();
    for entry in &topic.configs {
        let Some(value) = &entry.value else {
            return Err(ControllerError::new(
                error_code::INVALID_CONFIG,
                format!(
                    "\"{}\" has no value; leave it out for the default",
                    entry.name
                ),
            ));
        };
        config.insert(entry.name.to_string(), value.to_string());
    }
    Ok(NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|assignment| (assignment.partition_index, assignment.broker_ids.clone()))
            .collect(),
        config,
    })
}

fn success(ctx: &RequestContext, topic: &TopicImage, validate_only: bool) -> CreatableTopicResult {
    let controller = &ctx.broker.controller;
    let image = controller.image();
    let layers = controller.layers(&image, Some(topic));
    let configs = TOPIC_KEYS
        .iter()
        .filter_map(|key| {
            let (source, value) = layers.topic_value(key)?;
            Some(message!(CreatableTopicConfigs {
                name: StrBytes::from(key.name),
                value: Some(StrBytes::from(value)),
                config_source: source as i8,
            }))
        })
        .collect();
    message!(CreatableTopicResult {
        name: StrBytes::from(&*topic.name),
        topic_id: if validate_only {
            Uuid::ZERO
        } else {
            Uuid::from_bytes(topic.id)
        },
        num_partitions: topic.partition_count(),
        replication_factor: topic
            .partitions
            .values()
            .next()
            .and_then(|partition| i16::try_from(partition.replicas.len()).ok())
            .unwrap_or(-1),
        configs: Some(configs),
    })
}
