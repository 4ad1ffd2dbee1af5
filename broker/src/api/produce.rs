//! Produce (key 0): appends record batches. The bytes of a batch go from the request to the log
//! as they came.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use kafka_records::{BatchHeader, Compression};
use kafka_wire::produce_request::PartitionProduceData;
use kafka_wire::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    TopicProduceResponse,
};
use kafka_wire::{ProduceRequest, ProduceResponse};
use kafka_wire_core::{ApiVersion, StrBytes, Uuid};
use tokio::time::Instant;

use super::leader::{Hints, led};
use super::{RequestError, message};
use crate::controller::TopicImage;
use crate::error_code;
use crate::node::RequestContext;
use crate::replica::{AppendError, Appended, Origin, Partition};

pub(crate) const VERSIONS: (i16, i16) = (3, 13);

/// Acknowledged when every in-sync replica has the records.
const ALL: i16 = -1;

/// The first version whose client knows zstd.
const ZSTD_SINCE: i16 = 7;
/// The first version that tells who leads instead.
const LEADERS_SINCE: i16 = 10;
/// The first version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;

/// Appends what is asked for. `None` is the answer to `acks=0`, which is none.
///
/// # Errors
/// When records sent with `acks=0` were not written; the connection is then closed.
pub(crate) async fn handle(
    ctx: &RequestContext,
    request: ProduceRequest,
    version: ApiVersion,
) -> Result<Option<ProduceResponse>, RequestError> {
    let image = ctx.broker.controller.image();
    let refusal = refusal(&request);
    let acks = request.acks;
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    // Only who waits for other replicas has one.
    let deadline = (acks == ALL).then(|| Instant::now() + timeout);
    // All partitions at once: each has its own log.
    let topics = join_all(request.topic_data.into_iter().map(|topic| {
        let found = if version.value() >= TOPIC_IDS_SINCE {
            image
                .topic_by_id(topic.topic_id.as_bytes())
                .ok_or(error_code::UNKNOWN_TOPIC_ID)
        } else {
            image
                .topic(&topic.name)
                .ok_or(error_code::UNKNOWN_TOPIC_OR_PARTITION)
        };
        let found = found.cloned();
        let refusal = &refusal;
        async move {
            let partitions = join_all(topic.partition_data.into_iter().map(|data| {
                let found = found.clone();
                async move {
                    let target = match refusal {
                        Some((code, message)) => Err(Refusal::new(*code, message)),
                        None => target(ctx, found, &data, acks, version),
                    };
                    append(target, data, deadline).await
                }
            }))
            .await;
            (topic.name, topic.topic_id, partitions)
        }
    }))
    .await;

    if acks == 0 {
        for (name, _, partitions) in &topics {
            if let Some(failed) = partitions
                .iter()
                .find(|partition| partition.error_code != 0)
            {
                return Err(RequestError::UnacknowledgedProduceFailed {
                    reason: format!(
                        "partition {} of topic \"{name}\": {}",
                        failed.index,
                        failed
                            .error_message
                            .as_deref()
                            .map_or_else(|| format!("error {}", failed.error_code), str::to_owned)
                    ),
                });
            }
        }
        return Ok(None);
    }
    let mut hints = Hints::default();
    let responses = topics
        .into_iter()
        .map(|(name, topic_id, mut partition_responses)| {
            if version.value() >= LEADERS_SINCE {
                name_leaders(ctx, &mut hints, (&name, topic_id), &mut partition_responses);
            }
            message!(TopicProduceResponse {
                name,
                topic_id,
                partition_responses,
            })
        })
        .collect();
    let node_endpoints = hints.into_nodes().map(|node| {
        message!(NodeEndpoint {
            node_id: node.id,
            host: StrBytes::from(node.host),
            port: i32::from(node.port),
            rack: node.rack.map(StrBytes::from),
        })
    });
    Ok(Some(message!(ProduceResponse {
        responses,
        node_endpoints: node_endpoints.collect(),
    })))
}

/// Says who leads the partitions that this node does not.
fn name_leaders(
    ctx: &RequestContext,
    hints: &mut Hints,
    (name, id): (&StrBytes, Uuid),
    partitions: &mut [PartitionProduceResponse],
) {
    if partitions
        .iter()
        .all(|partition| partition.error_code == error_code::NONE)
    {
        return;
    }
    let image = ctx.broker.controller.image();
    let topic = image
        .topic(name)
        .or_else(|| image.topic_by_id(id.as_bytes()))
        .map(|topic| &**topic);
    for partition in partitions {
        let (index, error) = (partition.index, partition.error_code);
        if let Some(leader) = hints.leader(ctx, &image, topic, index, error) {
            partition.current_leader = message!(LeaderIdAndEpoch {
                leader_id: leader.id,
                leader_epoch: leader.epoch,
            });
        }
    }
}

/// Why the whole request is refused, if it is.
fn refusal(request: &ProduceRequest) -> Option<(i16, String)> {
    if !matches!(request.acks, -1..=1) {
        return Some((
            error_code::INVALID_REQUIRED_ACKS,
            format!(
                "acks {} is not possible; use 0, 1 or -1 (all)",
                request.acks
            ),
        ));
    }
    if request.transactional_id.is_some() {
        return Some((
            error_code::INVALID_REQUEST,
            "transactions are not supported by this broker; unset transactional.id".to_owned(),
        ));
    }
    None
}

struct Refusal {
    code: i16,
    message: Option<String>,
}

impl Refusal {
    fn new(code: i16, message: &str) -> Self {
        Self {
            code,
            message: Some(message.to_owned()),
        }
    }
}

/// The partition that takes the records.
fn target(
    ctx: &RequestContext,
    topic: Result<Arc<TopicImage>, i16>,
    data: &PartitionProduceData,
    acks: i16,
    version: ApiVersion,
) -> Result<Arc<Partition>, Refusal> {
    let topic = topic.map_err(|code| Refusal {
        code,
        message: None,
    })?;
    if topic.is_internal() {
        return Err(Refusal::new(
            error_code::INVALID_TOPIC_EXCEPTION,
            "clients may not write to the broker's own topics",
        ));
    }
    let (partition, _) = led(ctx, &topic, data.index, -1).map_err(|code| Refusal {
        code,
        message: None,
    })?;
    if acks == ALL
        && let Some((in_sync, needed)) = partition.in_sync_shortage()
    {
        return Err(Refusal::new(
            error_code::NOT_ENOUGH_REPLICAS,
            &partition.too_few(in_sync, needed),
        ));
    }
    if version.value() < ZSTD_SINCE && data.records.as_deref().is_some_and(is_zstd) {
        return Err(Refusal::new(
            error_code::UNSUPPORTED_COMPRESSION_TYPE,
            "zstd needs version 7 of Produce; update the client or choose another codec",
        ));
    }
    Ok(partition)
}

fn is_zstd(records: &[u8]) -> bool {
    BatchHeader::parse(records)
        .is_ok_and(|header| matches!(header.compression(), Ok(Compression::Zstd)))
}

/// Appends, and with a deadline waits until the records are committed. A retry waits as well: what it repeats may
/// not be committed yet.
async fn append_and_commit(
    partition: &Arc<Partition>,
    records: Bytes,
    committed_by: Option<Instant>,
) -> Result<Appended, AppendError> {
    let appended = partition.append(records, Origin::Client).await?;
    if let Some(deadline) = committed_by {
        partition
            .committed(appended.leader_epoch, appended.last_offset + 1, deadline)
            .await
            .map_err(|code| AppendError::new(code, uncommitted(code)))?;
    }
    Ok(appended)
}

fn uncommitted(code: i16) -> &'static str {
    match code {
        error_code::NOT_ENOUGH_REPLICAS_AFTER_APPEND => {
            "the records were written, but there are fewer in-sync replicas than min.insync.replicas now"
        }
        error_code::REQUEST_TIMED_OUT => {
            "the records were written, but not all in-sync replicas had them in time"
        }
        _ => {
            "this broker does not lead the partition any more; whether the records stay is not known"
        }
    }
}

async fn append(
    target: Result<Arc<Partition>, Refusal>,
    data: PartitionProduceData,
    committed_by: Option<Instant>,
) -> PartitionProduceResponse {
    let index = data.index;
    let partition = match target {
        Ok(partition) => partition,
        Err(refusal) => {
            return message!(PartitionProduceResponse {
                index,
                error_code: refusal.code,
                base_offset: -1,
                log_append_time_ms: -1,
                log_start_offset: -1,
                error_message: refusal.message.map(StrBytes::from),
            });
        }
    };
    let records: Bytes = data.records.unwrap_or_default();
    match append_and_commit(&partition, records, committed_by).await {
        Ok(appended) => message!(PartitionProduceResponse {
            index,
            base_offset: appended.base_offset,
            log_append_time_ms: appended.log_append_time,
            log_start_offset: appended.log_start_offset,
        }),
        Err(error) => {
            tracing::debug!(topic = %partition.topic(), partition = index, %error, "records refused");
            let record_errors = error
                .records()
                .iter()
                .map(|(batch_index, message)| {
                    message!(BatchIndexAndErrorMessage {
                        batch_index: *batch_index,
                        batch_index_error_message: Some(StrBytes::from(message.as_str())),
                    })
                })
                .collect();
            message!(PartitionProduceResponse {
                index,
                error_code: error.code(),
                base_offset: -1,
                log_append_time_ms: -1,
                log_start_offset: partition.offsets().log_start,
                record_errors,
                error_message: Some(StrBytes::from(error.to_string())),
            })
        }
    }
}
