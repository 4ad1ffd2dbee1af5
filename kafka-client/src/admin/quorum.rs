//! The quorum that keeps the cluster's metadata, and who belongs to the cluster.

use kafka_wire::describe_quorum_request::{PartitionData, TopicData};
use kafka_wire::describe_quorum_response::ReplicaState;
use kafka_wire::{DescribeQuorumRequest, RemoveRaftVoterRequest, UnregisterBrokerRequest};
use kafka_wire_core::{StrBytes, Uuid};

use super::controller::is_controller_trouble;
use super::{Admin, QuorumDescription, QuorumListener, QuorumNode, QuorumReplica, unmentioned};
use crate::{ClientError, ErrorCode};

/// The topic under whose name the metadata log goes in Kafka's protocol.
const METADATA_TOPIC: &str = "__cluster_metadata";

impl Admin {
    /// Leader, voters and observers of the metadata quorum.
    ///
    /// # Errors
    /// No controller could be reached, or the quorum has no leader at present.
    pub async fn describe_quorum(&self) -> Result<QuorumDescription, ClientError> {
        let what = || "cannot describe the metadata quorum".to_owned();
        self.ask_again_while(is_quorum_trouble, || async {
            let (response, _) = self
                .client
                .call_controller(|_| {
                    let mut topic = TopicData::default();
                    topic.topic_name = StrBytes::from(METADATA_TOPIC);
                    topic.partitions = vec![PartitionData::default()];
                    let mut request = DescribeQuorumRequest::default();
                    request.topics = vec![topic];
                    request
                })
                .await?;
            ClientError::check(response.error_code, response.error_message.as_deref(), what)?;
            let partition = response
                .topics
                .into_iter()
                .flat_map(|topic| topic.partitions)
                .next()
                .ok_or_else(|| unmentioned(what()))?;
            ClientError::check(
                partition.error_code,
                partition.error_message.as_deref(),
                what,
            )?;
            let nodes = response.nodes.into_iter().map(|node| QuorumNode {
                id: node.node_id,
                listeners: node
                    .listeners
                    .into_iter()
                    .map(|listener| QuorumListener {
                        name: listener.name.into_string(),
                        host: listener.host.into_string(),
                        port: listener.port,
                    })
                    .collect(),
            });
            Ok(QuorumDescription {
                leader: partition.leader_id,
                leader_epoch: partition.leader_epoch,
                high_watermark: partition.high_watermark,
                voters: partition.current_voters.iter().map(replica).collect(),
                observers: partition.observers.iter().map(replica).collect(),
                nodes: nodes.collect(),
            })
        })
        .await
    }

    /// Takes the vote of a member of the metadata quorum; `directory` is the id of its data folder,
    /// so that a node with a new folder keeps its vote.
    ///
    /// # Errors
    /// `REQUEST_TIMED_OUT` while it is under way: ask again until it is done. `VOTER_NOT_FOUND` if
    /// it has no vote, `UNSUPPORTED_VERSION` if the quorum's members are fixed by configuration.
    pub async fn remove_raft_voter(&self, id: i32, directory: [u8; 16]) -> Result<(), ClientError> {
        self.ask_again_while(is_trouble_with_a_change, || async {
            let (response, _) = self
                .client
                .call_controller(|_| {
                    let mut request = RemoveRaftVoterRequest::default();
                    request.cluster_id = None;
                    request.voter_id = id;
                    request.voter_directory_id = Uuid::from_bytes(directory);
                    request
                })
                .await?;
            ClientError::check(
                response.error_code,
                response.error_message.as_deref(),
                || format!("cannot take the vote of node {id}"),
            )
        })
        .await
    }

    /// Makes the cluster forget a broker. It should lead and hold nothing any more.
    ///
    /// # Errors
    /// `REQUEST_TIMED_OUT` while it is under way, as when the cluster itself moves what the broker
    /// still holds: ask again until it is done. `BROKER_ID_NOT_REGISTERED` if there is none with
    /// this id.
    pub async fn unregister_broker(&self, id: i32) -> Result<(), ClientError> {
        self.ask_again_while(is_trouble_with_a_change, || async {
            let (response, _) = self
                .client
                .call_controller(|_| {
                    let mut request = UnregisterBrokerRequest::default();
                    request.broker_id = id;
                    request
                })
                .await?;
            ClientError::check(
                response.error_code,
                response.error_message.as_deref(),
                || format!("cannot unregister broker {id}"),
            )
        })
        .await
    }
}

/// The quorum calls its leader what it is: the leader of a partition.
fn is_quorum_trouble(error: &ClientError) -> bool {
    is_controller_trouble(error)
        || error.code().is_some_and(|code| {
            matches!(
                code,
                ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::LEADER_NOT_AVAILABLE
            )
        })
}

/// Of a change, that time ran out says that it is under way.
fn is_trouble_with_a_change(error: &ClientError) -> bool {
    is_quorum_trouble(error) && error.code() != Some(ErrorCode::REQUEST_TIMED_OUT)
}

fn replica(state: &ReplicaState) -> QuorumReplica {
    let known = |millis: i64| (millis >= 0).then_some(millis);
    QuorumReplica {
        id: state.replica_id,
        directory: state.replica_directory_id.to_bytes(),
        log_end_offset: state.log_end_offset,
        last_fetch_ms: known(state.last_fetch_timestamp),
        last_caught_up_ms: known(state.last_caught_up_timestamp),
    }
}
