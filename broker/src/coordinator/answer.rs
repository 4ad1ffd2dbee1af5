//! What the coordinator is asked and what it answers, independent of protocol versions.

use std::time::Duration;

use bytes::Bytes;
use kafka_wire_core::StrBytes;

use super::{error::GroupError, member::Protocol};

/// A JoinGroup request.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    /// The member's id; empty when it has none yet.
    pub(crate) member_id: StrBytes,
    /// The static member's instance id.
    pub(crate) instance_id: Option<StrBytes>,
    /// The client id of the connection.
    pub(crate) client_id: StrBytes,
    /// The client's address, `/127.0.0.1`.
    pub(crate) client_host: StrBytes,
    /// Without a heartbeat for this long the member is gone.
    pub(crate) session_timeout: Duration,
    /// How long a rebalance waits for the member.
    pub(crate) rebalance_timeout: Duration,
    /// `consumer`, `connect`, ….
    pub(crate) protocol_type: StrBytes,
    /// What the member supports, best first.
    pub(crate) protocols: Vec<Protocol>,
    /// Whether a member without id must join a second time with the id it gets (v4+, KIP-394).
    pub(crate) requires_known_member_id: bool,
    /// Whether the answer can tell a returning static leader not to assign (v9+, KIP-814).
    pub(crate) supports_skipping_assignment: bool,
}

/// The answer to a JoinGroup request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Joined {
    /// The refusal, if it is one.
    pub(crate) error: Option<GroupError>,
    /// The new generation; -1 with an error.
    pub(crate) generation: i32,
    /// The group's protocol type.
    pub(crate) protocol_type: Option<StrBytes>,
    /// The chosen protocol.
    pub(crate) protocol: Option<StrBytes>,
    /// The leader's member id.
    pub(crate) leader: StrBytes,
    /// The leader must not send a new assignment.
    pub(crate) skip_assignment: bool,
    /// The member's own id.
    pub(crate) member_id: StrBytes,
    /// All members with their metadata: for the leader only.
    pub(crate) members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JoinedMember {
    /// The member's id.
    pub(crate) member_id: StrBytes,
    /// Its instance id.
    pub(crate) instance_id: Option<StrBytes>,
    /// Its metadata for the chosen protocol.
    pub(crate) metadata: Bytes,
}

impl Joined {
    /// A refusal.
    pub(crate) fn refused(error: GroupError, member_id: StrBytes) -> Self {
        Self {
            error: Some(error),
            generation: -1,
            member_id,
            ..Self::default()
        }
    }
}

/// A SyncGroup request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sync {
    /// The generation the member joined.
    pub(crate) generation: i32,
    /// Its id.
    pub(crate) member_id: StrBytes,
    /// Its instance id.
    pub(crate) instance_id: Option<StrBytes>,
    /// The protocol type it believes in (v5+).
    pub(crate) protocol_type: Option<StrBytes>,
    /// The protocol it believes in (v5+).
    pub(crate) protocol: Option<StrBytes>,
    /// From the leader: each member's assignment.
    pub(crate) assignments: Vec<(StrBytes, Bytes)>,
}

/// The answer to a SyncGroup request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Synced {
    /// The refusal, if it is one.
    pub(crate) error: Option<GroupError>,
    /// The group's protocol type.
    pub(crate) protocol_type: Option<StrBytes>,
    /// The chosen protocol.
    pub(crate) protocol: Option<StrBytes>,
    /// The member's assignment.
    pub(crate) assignment: Bytes,
}

impl Synced {
    /// A refusal.
    pub(crate) fn refused(error: GroupError) -> Self {
        Self {
            error: Some(error),
            ..Self::default()
        }
    }
}

/// Who speaks in a Heartbeat, OffsetCommit or LeaveGroup request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Identity {
    /// The member's id; empty for a client that is no member.
    pub(crate) member_id: StrBytes,
    /// The static member's instance id.
    pub(crate) instance_id: Option<StrBytes>,
}

/// A group as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Description {
    /// The state's name.
    pub(crate) state: &'static str,
    /// The protocol type; empty if the group never had members.
    pub(crate) protocol_type: StrBytes,
    /// The chosen protocol, once the group is stable.
    pub(crate) protocol: StrBytes,
    /// The members.
    pub(crate) members: Vec<DescribedMember>,
}

/// A member as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DescribedMember {
    /// The member's id.
    pub(crate) member_id: StrBytes,
    /// Its instance id.
    pub(crate) instance_id: Option<StrBytes>,
    /// Its client id.
    pub(crate) client_id: StrBytes,
    /// Its address.
    pub(crate) client_host: StrBytes,
    /// Its metadata for the chosen protocol; empty unless the group is stable.
    pub(crate) metadata: Bytes,
    /// Its assignment; empty unless the group is stable.
    pub(crate) assignment: Bytes,
}

/// A group as ListGroups shows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listing {
    /// The group's id.
    pub(crate) group_id: StrBytes,
    /// Its protocol type; empty if it never had members.
    pub(crate) protocol_type: StrBytes,
    /// The state's name.
    pub(crate) state: &'static str,
}

/// A string of its own. What a group keeps must not be a slice of a request, which would hold on
/// to all of that request's memory.
pub(crate) fn owned(text: &StrBytes) -> StrBytes {
    StrBytes::from(text.as_str())
}
