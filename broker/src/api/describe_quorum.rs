//! DescribeQuorum (key 55, KIP-595, KIP-853): who votes on the cluster's metadata, and how far each
//! member is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kafka_wire::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use kafka_wire::{DescribeQuorumRequest, DescribeQuorumResponse};
use kafka_wire_core::{ApiVersion, StrBytes, Uuid};

use super::message;
use crate::controller::MetadataImage;
use crate::controller::quorum::{QuorumReplica, QuorumStatus};
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 2);

/// The log of the metadata, as clients call it. It is no topic that could be read.
const METADATA_TOPIC: &str = "__cluster_metadata";

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: DescribeQuorumRequest,
    _version: ApiVersion,
) -> DescribeQuorumResponse {
    let asked = match &*request.topics {
        [topic] if &*topic.topic_name == METADATA_TOPIC => match &*topic.partitions {
            [partition] => partition.partition_index == 0,
            _ => false,
        },
        _ => false,
    };
    if !asked {
        return message!(DescribeQuorumResponse {
            error_code: error_code::INVALID_REQUEST,
            error_message: Some(StrBytes::from(
                "the quorum is that of partition 0 of \"__cluster_metadata\"",
            )),
        });
    }
    match ctx.broker.controller.quorum_status().await {
        Ok(status) => {
            let image = ctx.broker.controller.image();
            message!(DescribeQuorumResponse {
                topics: vec![message!(TopicData {
                    topic_name: StrBytes::from(METADATA_TOPIC),
                    partitions: vec![partition(&image, &status)],
                })],
                nodes: nodes(&image, &status),
            })
        }
        Err(error) => message!(DescribeQuorumResponse {
            error_code: error.code,
            error_message: Some(StrBytes::from(error.message)),
        }),
    }
}

fn partition(image: &MetadataImage, status: &QuorumStatus) -> PartitionData {
    let now = platform::clock::unix_millis();
    let committed = offset_after(status.committed);
    let state = |replica: &QuorumReplica| {
        let log_end = replica.log_end.map_or(-1, offset_after);
        // When it last asked is not known of a member that is told; up to date, it is so now.
        let up_to_date = status.leader == Some(replica.id) || log_end >= committed;
        let seen = if up_to_date { now } else { -1 };
        message!(ReplicaState {
            replica_id: replica.id,
            replica_directory_id: directory(image, replica.id),
            log_end_offset: log_end,
            last_fetch_timestamp: seen,
            last_caught_up_timestamp: seen,
        })
    };
    message!(PartitionData {
        leader_id: status.leader.unwrap_or(-1),
        leader_epoch: i32::try_from(status.term).unwrap_or(i32::MAX),
        high_watermark: committed,
        current_voters: status.voters.iter().map(state).collect(),
        observers: status.observers.iter().map(state).collect(),
    })
}

/// The offset after the record at `position`, as Kafka counts ends.
fn offset_after(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX - 1) + 1
}

fn nodes(image: &MetadataImage, status: &QuorumStatus) -> Vec<Node> {
    status
        .voters
        .iter()
        .map(|voter| {
            let listeners = image
                .broker(voter.id)
                .into_iter()
                .flat_map(|broker| &broker.endpoints)
                .map(|endpoint| {
                    message!(Listener {
                        name: StrBytes::from(endpoint.listener.as_str()),
                        host: StrBytes::from(endpoint.host.as_str()),
                        port: endpoint.port,
                    })
                })
                .collect();
            message!(Node {
                node_id: voter.id,
                listeners,
            })
        })
        .collect()
}

/// The id of a broker's first data folder, zero where it is not one of ours.
fn directory(image: &MetadataImage, id: i32) -> Uuid {
    image
        .broker(id)
        .and_then(|broker| URL_SAFE_NO_PAD.decode(&broker.directory).ok())
        .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok())
        .map_or(Uuid::ZERO, Uuid::from_bytes)
}
