//! DeleteRecords (key 21): moves the start of a log forward, on all replicas that are in sync.

use std::sync::Arc;
use std::time::Duration;

use kafka_wire::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_wire::{DeleteRecordsRequest, DeleteRecordsResponse};
use kafka_wire_core::ApiVersion;
use tokio::time::Instant;

use super::leader::led_by_name;
use super::message;
use crate::error_code;
use crate::node::RequestContext;
use crate::replica::Partition;

pub(crate) const VERSIONS: (i16, i16) = (0, 2);

/// Stands for everything up to the high watermark.
const TO_THE_END: i64 = -1;

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: DeleteRecordsRequest,
    _version: ApiVersion,
) -> DeleteRecordsResponse {
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let deadline = Instant::now() + timeout;
    // All begin before one is waited for.
    let mut begun = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let index = wanted.partition_index;
            let deleting = delete(ctx, &topic.name, index, wanted.offset).await;
            partitions.push((index, deleting));
        }
        begun.push((topic.name, partitions));
    }
    let mut topics = Vec::with_capacity(begun.len());
    for (name, begun) in begun {
        let mut partitions = Vec::with_capacity(begun.len());
        for (partition_index, deleting) in begun {
            let deleted = match deleting {
                // So that no leader brings the records back.
                Ok(Deleting {
                    partition,
                    leader_epoch,
                    start,
                }) => {
                    partition
                        .deleted_before(leader_epoch, start, deadline)
                        .await
                }
                Err(code) => Err(code),
            };
            partitions.push(message!(DeleteRecordsPartitionResult {
                partition_index,
                low_watermark: deleted.unwrap_or(-1),
                error_code: deleted.err().unwrap_or(error_code::NONE),
            }));
        }
        topics.push(message!(DeleteRecordsTopicResult { name, partitions }));
    }
    message!(DeleteRecordsResponse { topics })
}

/// The leader's records are gone, and its followers' are to go.
struct Deleting {
    partition: Arc<Partition>,
    leader_epoch: i32,
    start: i64,
}

async fn delete(
    ctx: &RequestContext,
    topic: &str,
    index: i32,
    offset: i64,
) -> Result<Deleting, i16> {
    let (partition, leader_epoch) = led_by_name(ctx, topic, index, -1)?;
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
    let start = ctx
        .broker
        .replicas
        .delete_records(&partition, before)
        .await
        .map_err(|error| error.code())?;
    Ok(Deleting {
        partition,
        leader_epoch,
        start,
    })
}
