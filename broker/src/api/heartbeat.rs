//! Heartbeat (key 12): a member says that it is alive and learns whether the group rebalances.

use kafka_wire::{HeartbeatRequest, HeartbeatResponse};
use kafka_wire_core::ApiVersion;

use super::message;
use crate::coordinator::{Identity, code_of};
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 4);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: HeartbeatRequest,
    _version: ApiVersion,
) -> HeartbeatResponse {
    let identity = Identity {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
    };
    let outcome = ctx
        .broker
        .groups
        .heartbeat(&request.group_id, &identity, request.generation_id);
    message!(HeartbeatResponse {
        error_code: code_of(outcome.err()),
    })
}
