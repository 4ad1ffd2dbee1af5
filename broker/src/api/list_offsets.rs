//! ListOffsets (key 2): the offset at a time, or at an end of the log.

use kafka_wire::list_offsets_request::ListOffsetsPartition;
use kafka_wire::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_wire::{ListOffsetsRequest, ListOffsetsResponse};
use kafka_wire_core::ApiVersion;
use tokio::time::Instant;

use super::leader::led_by_name;
use super::message;
use crate::error_code;
use crate::node::RequestContext;
use crate::replica::Isolation;

pub(crate) const VERSIONS: (i16, i16) = (1, 11);

/// The times that stand for something else, each with the version that brought it.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// The first version whose client knows that an offset is not known yet.
const OFFSET_NOT_AVAILABLE_SINCE: i16 = 5;

struct Found {
    offset: i64,
    timestamp: i64,
    epoch: i32,
}

const NOTHING: Found = Found {
    offset: -1,
    timestamp: -1,
    epoch: -1,
};

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: ListOffsetsRequest,
    version: ApiVersion,
) -> ListOffsetsResponse {
    let version = version.value();
    let limit = match request.isolation_level {
        // Followers ask for where the log ends.
        _ if request.replica_id >= 0 => Isolation::LogEnd,
        1 => Isolation::Committed,
        _ => Isolation::Uncommitted,
    };
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let (code, found) = match find(ctx, &topic.name, &wanted, version, limit).await {
                Ok(found) => (error_code::NONE, found),
                Err(code) => (code, NOTHING),
            };
            partitions.push(message!(ListOffsetsPartitionResponse {
                partition_index: wanted.partition_index,
                error_code: code,
                timestamp: found.timestamp,
                offset: found.offset,
                leader_epoch: if version >= 4 { found.epoch } else { -1 },
            }));
        }
        topics.push(message!(ListOffsetsTopicResponse {
            name: topic.name,
            partitions,
        }));
    }
    message!(ListOffsetsResponse { topics })
}

async fn find(
    ctx: &RequestContext,
    topic: &str,
    wanted: &ListOffsetsPartition,
    version: i16,
    limit: Isolation,
) -> Result<Found, i16> {
    let known = wanted.current_leader_epoch;
    let (partition, epoch) = led_by_name(ctx, topic, wanted.partition_index, known)?;
    let at = |offset| Found {
        offset,
        timestamp: -1,
        epoch,
    };
    partition.tell_time(Instant::now());
    let offsets = partition.offsets();
    let end = match limit {
        Isolation::Committed => offsets.last_stable,
        Isolation::Uncommitted => offsets.high_watermark,
        Isolation::LogEnd => offsets.log_end,
    };
    let since = |needed: i16| {
        if version >= needed {
            Ok(())
        } else {
            Err(error_code::UNSUPPORTED_VERSION)
        }
    };
    let by_the_end = wanted.timestamp == LATEST || wanted.timestamp >= 0;
    if by_the_end && limit != Isolation::LogEnd && partition.high_watermark_lags() {
        // A new leader is told within moments how far the others are.
        return Err(if version >= OFFSET_NOT_AVAILABLE_SINCE {
            error_code::OFFSET_NOT_AVAILABLE
        } else {
            error_code::LEADER_NOT_AVAILABLE
        });
    }
    match wanted.timestamp {
        LATEST => Ok(at(end)),
        EARLIEST => Ok(at(offsets.log_start)),
        MAX_TIMESTAMP => {
            since(7)?;
            let found = partition
                .max_timestamp()
                .await
                .map_err(|error| error.code())?;
            Ok(found.map_or(NOTHING, |(offset, timestamp, epoch)| Found {
                offset,
                timestamp,
                epoch,
            }))
        }
        EARLIEST_LOCAL => since(8).map(|()| at(offsets.log_start)),
        // There is no tiered storage, so nothing is or waits to be in it.
        LATEST_TIERED => since(9).map(|()| NOTHING),
        EARLIEST_PENDING_UPLOAD => since(11).map(|()| NOTHING),
        timestamp if timestamp >= 0 => {
            let found = partition
                .offset_for_timestamp(timestamp)
                .await
                .map_err(|error| error.code())?;
            Ok(found.filter(|(offset, ..)| *offset < end).map_or(
                NOTHING,
                |(offset, timestamp, epoch)| Found {
                    offset,
                    timestamp,
                    epoch,
                },
            ))
        }
        _ => Err(error_code::UNSUPPORTED_VERSION),
    }
}
