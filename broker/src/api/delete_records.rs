//! DeleteRecords (key 21): moves the start of a log forward.

use kafka_wire::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_wire::{DeleteRecordsRequest, DeleteRecordsResponse};
use kafka_wire_core::ApiVersion;

use super::leader::led_by_name;
use super::message;
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 2);

/// Stands for everything up to the high watermark.
const TO_THE_END: i64 = -1;

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: DeleteRecordsRequest,
    _version: ApiVersion,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let (error_code, low_watermark) =
                match delete(ctx, &topic.name, wanted.partition_index, wanted.offset).await {
                    Ok(low_watermark) => (error_code::NONE, low_watermark),
                    Err(code) => (code, -1),
                };
            partitions.push(message!(DeleteRecordsPartitionResult {
                partition_index: wanted.partition_index,
                low_watermark,
                error_code,
            }));
        }
        topics.push(message!(DeleteRecordsTopicResult {
            name: topic.name,
            partitions,
        }));
    }
    message!(DeleteRecordsResponse { topics })
}

async fn delete(ctx: &RequestContext, topic: &str, index: i32, offset: i64) -> Result<i64, i16> {
    let (partition, _) = led_by_name(ctx, topic, index, -1)?;
    let controller = &ctx.broker.controller;
    let image = controller.image();
    let topic = image
        .topic(topic)
        .ok_or(error_code::UNKNOWN_TOPIC_OR_PARTITION)?;
    // Compaction promises that the last record of each key stays.
    if topic.is_internal() || !controller.log_config(&image, topic).cleanup_policy.delete {
        return Err(error_code::POLICY_VIOLATION);
    }
    let high_watermark = partition.offsets().high_watermark;
    let before = if offset == TO_THE_END {
        high_watermark
    } else {
        offset
    };
    if !(0..=high_watermark).contains(&before) {
        return Err(error_code::OFFSET_OUT_OF_RANGE);
    }
    ctx.broker
        .replicas
        .delete_records(&partition, before)
        .await
        .map_err(|error| error.code())
}
