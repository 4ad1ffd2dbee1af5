//! OffsetForLeaderEpoch (key 23): where a leader epoch ended, so that a client or follower can
//! tell whether what it read still exists.

use kafka_wire::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_wire::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use kafka_wire_core::ApiVersion;

use super::leader::led_by_name;
use super::message;
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (2, 4);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: OffsetForLeaderEpochRequest,
    _version: ApiVersion,
) -> OffsetForLeaderEpochResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let partitions = topic
            .partitions
            .iter()
            .map(|wanted| {
                let known = wanted.current_leader_epoch;
                let end = led_by_name(ctx, &topic.topic, wanted.partition, known)
                    .map(|(partition, _)| partition.epoch_end_offset(wanted.leader_epoch));
                let (code, (leader_epoch, end_offset)) = match end {
                    Ok(end) => (error_code::NONE, end),
                    Err(code) => (code, (-1, -1)),
                };
                message!(EpochEndOffset {
                    error_code: code,
                    partition: wanted.partition,
                    leader_epoch,
                    end_offset,
                })
            })
            .collect();
        topics.push(message!(OffsetForLeaderTopicResult {
            topic: topic.topic,
            partitions,
        }));
    }
    message!(OffsetForLeaderEpochResponse { topics })
}
