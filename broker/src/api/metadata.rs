//! Metadata (key 3): brokers, topics, leaders. A topic that is asked for and does not exist may be
//! created here.

use kafka_wire::metadata_request::MetadataRequestTopic;
use kafka_wire::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_wire::{MetadataRequest, MetadataResponse};
use kafka_wire_core::{ApiVersion, StrBytes, Uuid};

use super::message;
use crate::controller::record::PartitionState;
use crate::controller::{MetadataImage, NewTopic, TopicImage, topic_name};
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 13);

/// "Not asked for" in a set of authorized operations.
pub(super) const OPERATIONS_NOT_ASKED: i32 = i32::MIN;
/// What may be done with a topic: read, write, create, delete, alter, describe, describe and alter
/// configs. There is no authorizer, so everybody may.
pub(super) const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// What may be done with the cluster: create, alter, describe, cluster action, describe and alter
/// configs, idempotent write.
pub(super) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: MetadataRequest,
    version: ApiVersion,
) -> MetadataResponse {
    let version = version.value();
    let operations = if request.include_topic_authorized_operations {
        TOPIC_OPERATIONS
    } else {
        OPERATIONS_NOT_ASKED
    };
    let wanted = request
        .topics
        .filter(|wanted| version > 0 || !wanted.is_empty());
    if let Some(wanted) = &wanted
        && request.allow_auto_topic_creation
    {
        create_missing(ctx, wanted).await;
    }
    // Brokers and topics of one moment, so that every leader is among the brokers.
    let image = ctx.broker.controller.image();
    let topics = match wanted {
        None => image
            .topics()
            .map(|topic| describe(&image, topic, operations))
            .collect(),
        Some(wanted) => some(&image, &wanted, version, operations),
    };
    message!(MetadataResponse {
        brokers: ctx
            .live_brokers(&image)
            .into_iter()
            .map(|broker| {
                message!(MetadataResponseBroker {
                    node_id: broker.id,
                    host: StrBytes::from(broker.address.host),
                    port: i32::from(broker.address.port),
                    rack: broker.rack.map(StrBytes::from),
                })
            })
            .collect(),
        cluster_id: Some(StrBytes::from(ctx.broker.controller.cluster_id())),
        controller_id: ctx.controller_id(&image),
        topics,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            OPERATIONS_NOT_ASKED
        },
    })
}

fn some(
    image: &MetadataImage,
    wanted: &[MetadataRequestTopic],
    version: i16,
    operations: i32,
) -> Vec<MetadataResponseTopic> {
    // A name that is null cannot be written before version 12.
    let no_name = (version < 12).then(StrBytes::default);
    wanted
        .iter()
        .map(|wanted| match &wanted.name {
            Some(name) if wanted.topic_id.is_zero() => match image.topic(name) {
                Some(topic) => describe(image, topic, operations),
                None => {
                    let error_code = if topic_name::check(name).is_ok() {
                        error_code::UNKNOWN_TOPIC_OR_PARTITION
                    } else {
                        error_code::INVALID_TOPIC_EXCEPTION
                    };
                    message!(MetadataResponseTopic {
                        error_code,
                        name: Some(name.clone()),
                    })
                }
            },
            _ => match image.topic_by_id(wanted.topic_id.as_bytes()) {
                Some(topic) => describe(image, topic, operations),
                None => message!(MetadataResponseTopic {
                    error_code: error_code::UNKNOWN_TOPIC_ID,
                    name: no_name.clone(),
                    topic_id: wanted.topic_id,
                }),
            },
        })
        .collect()
}

/// Creates the topics that are asked for by name and do not exist, where that is allowed.
async fn create_missing(ctx: &RequestContext, wanted: &[MetadataRequestTopic]) {
    let image = ctx.broker.controller.image();
    let mut missing: Vec<&str> = wanted
        .iter()
        .filter_map(|wanted| wanted.name.as_deref())
        .filter(|name| image.topic(name).is_none() && topic_name::check(name).is_ok())
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return;
    }
    let controller = &ctx.broker.controller;
    if missing.contains(&CONSUMER_OFFSETS) {
        if let Err(error) = controller.ensure_internal_topic(CONSUMER_OFFSETS).await {
            tracing::warn!(topic = CONSUMER_OFFSETS, %error, "cannot create a topic");
        }
        missing.retain(|name| *name != CONSUMER_OFFSETS);
    }
    if !ctx.broker.config.auto_create_topics {
        return;
    }
    let topics: Vec<NewTopic> = missing
        .iter()
        .filter(|name| {
            !name.starts_with("__transaction_state") && !name.starts_with("__cluster_metadata")
        })
        .map(|name| NewTopic::named(name))
        .collect();
    let results = controller.create_topics(&topics, false).await;
    for (topic, result) in topics.iter().zip(results) {
        match result {
            Ok(_) => tracing::info!(
                topic = topic.name,
                client = ctx.client_id,
                "created a topic that was asked for"
            ),
            Err(error) if error.code == error_code::TOPIC_ALREADY_EXISTS => {}
            Err(error) => {
                tracing::warn!(topic = topic.name, %error, "cannot create a topic that was asked for")
            }
        }
    }
}

const CONSUMER_OFFSETS: &str = "__consumer_offsets";

fn describe(image: &MetadataImage, topic: &TopicImage, operations: i32) -> MetadataResponseTopic {
    let partitions = topic
        .partitions
        .iter()
        .map(|(index, partition)| {
            message!(MetadataResponsePartition {
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
                offline_replicas: offline(image, partition),
            })
        })
        .collect();
    message!(MetadataResponseTopic {
        name: Some(StrBytes::from(&*topic.name)),
        topic_id: Uuid::from_bytes(topic.id),
        is_internal: topic.is_internal(),
        partitions,
        topic_authorized_operations: operations,
    })
}

/// The replicas of a partition that nobody can reach.
pub(super) fn offline(image: &MetadataImage, partition: &PartitionState) -> Vec<i32> {
    let mut offline = partition.replicas.clone();
    offline.retain(|id| !image.is_live(*id));
    offline
}
