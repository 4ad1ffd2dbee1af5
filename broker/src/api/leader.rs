//! Who leads a partition, for requests that only its leader answers: this node, or the hint where to go (KIP-951).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::controller::{MetadataImage, TopicImage};
use crate::error_code;
use crate::node::RequestContext;
use crate::replica::Partition;

/// A leader's address, for the list of nodes in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeAddress {
    pub(super) id: i32,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) rack: Option<String>,
}

/// The present leader of a partition, as far as this node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CurrentLeader {
    pub(super) id: i32,
    pub(super) epoch: i32,
}

/// The partition, if this node leads it, and its epoch; `known_epoch` is what the client takes for the leader's, or -1.
///
/// # Errors
/// Kafka's code.
pub(super) fn led(
    ctx: &RequestContext,
    topic: &TopicImage,
    index: i32,
    known_epoch: i32,
) -> Result<(Arc<Partition>, i32), i16> {
    let Some(partition) = ctx.broker.replicas.get_by_id(topic.id, index) else {
        let me = ctx.broker.config.node_id;
        return Err(match topic.partitions.get(&index) {
            Some(state) if !state.replicas.contains(&me) => error_code::NOT_LEADER_OR_FOLLOWER,
            _ => ctx.broker.why_missing(topic, index),
        });
    };
    let epoch = partition.leads(known_epoch)?;
    Ok((partition, epoch))
}

/// Like [`led`], for the newest topic of a name.
///
/// # Errors
/// Kafka's code.
pub(super) fn led_by_name(
    ctx: &RequestContext,
    topic: &str,
    index: i32,
    known_epoch: i32,
) -> Result<(Arc<Partition>, i32), i16> {
    let image = ctx.broker.controller.image();
    let topic = image
        .topic(topic)
        .ok_or(error_code::UNKNOWN_TOPIC_OR_PARTITION)?;
    led(ctx, topic, index, known_epoch)
}

/// The hints of one answer: each leader's address is in it once.
#[derive(Debug, Default)]
pub(super) struct Hints {
    nodes: BTreeMap<i32, NodeAddress>,
}

impl Hints {
    /// The leader to name beside an error, if the error says that the client asked the wrong node and there is
    /// another to name.
    pub(super) fn leader(
        &mut self,
        ctx: &RequestContext,
        image: &MetadataImage,
        topic: Option<&TopicImage>,
        index: i32,
        error: i16,
    ) -> Option<CurrentLeader> {
        if !matches!(
            error,
            error_code::NOT_LEADER_OR_FOLLOWER | error_code::FENCED_LEADER_EPOCH
        ) {
            return None;
        }
        let state = topic?.partitions.get(&index)?;
        if state.leader < 0 {
            return None;
        }
        let leader = CurrentLeader {
            id: state.leader,
            epoch: state.leader_epoch,
        };
        if let Entry::Vacant(unnamed) = self.nodes.entry(leader.id) {
            unnamed.insert(address(ctx, image, leader.id)?);
        }
        Some(leader)
    }

    /// The addresses of the leaders that were named.
    pub(super) fn into_nodes(self) -> impl Iterator<Item = NodeAddress> {
        self.nodes.into_values()
    }
}

/// Where the client reaches a broker.
fn address(ctx: &RequestContext, image: &MetadataImage, id: i32) -> Option<NodeAddress> {
    let broker = ctx.reached(image.broker(id)?);
    Some(NodeAddress {
        id,
        host: broker.address.host,
        port: broker.address.port,
        rack: broker.rack,
    })
}
