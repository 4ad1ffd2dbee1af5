//! Administration: topics, configurations, groups, offsets, leaders, the metadata quorum.
//!
//! Every call retries what can be retried (a controller that moves, a coordinator that loads, a
//! broker that is away) until `ClientConfig::api_timeout`; calls about several things answer for
//! each of them.

mod cluster;
mod configs;
mod controller;
mod elections;
mod groups;
mod offsets;
mod quorum;
mod reassignments;
mod topics;
mod types;

pub(crate) use offsets::list_offsets;
pub use types::{
    AlterConfigOp, ClusterDescription, ConfigAlteration, ConfigEntry, ConfigResource,
    ConfigResourceType, ConfigSource, ElectionType, GroupDescription, GroupListing, GroupMember,
    ListedOffset, LogDirDescription, LogDirReplica, NewTopic, OffsetSpec, PartitionInfo,
    PartitionReassignment, QuorumDescription, QuorumListener, QuorumNode, QuorumReplica,
    TopicDescription, TopicListing,
};

use crate::{Client, ClientError};

/// Administrative calls; from [`Client::admin`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admin {
    pub(crate) client: Client,
}

/// A call's outcome for each thing it was about, in the order asked.
pub(crate) type Each<K, V> = Vec<(K, Result<V, ClientError>)>;

fn timeout_ms(client: &Client) -> i32 {
    i32::try_from(client.config().request_timeout.as_millis()).unwrap_or(i32::MAX)
}

/// An answer that doesn't mention what was asked for.
fn unmentioned(what: String) -> ClientError {
    ClientError::Protocol {
        context: what,
        reason: "the broker's answer doesn't mention it".to_owned(),
    }
}
