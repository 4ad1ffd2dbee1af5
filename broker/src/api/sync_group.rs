//! SyncGroup (key 14): a member of a new generation asks for its assignment; the leader brings
//! them all.

use bytes::Bytes;
use kafka_wire::{SyncGroupRequest, SyncGroupResponse};
use kafka_wire_core::ApiVersion;

use super::message;
use crate::coordinator::{GroupError, Sync, Synced, code_of, owned};
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 5);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: SyncGroupRequest,
    version: ApiVersion,
) -> SyncGroupResponse {
    let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    let synced = if version.value() >= 5 && !names_protocol {
        Synced::refused(GroupError::InconsistentGroupProtocol)
    } else {
        let sync = Sync {
            generation: request.generation_id,
            member_id: request.member_id,
            instance_id: request.group_instance_id,
            protocol_type: request.protocol_type,
            protocol: request.protocol_name,
            assignments: request
                .assignments
                .into_iter()
                .map(|each| {
                    let assignment = Bytes::copy_from_slice(&each.assignment);
                    (owned(&each.member_id), assignment)
                })
                .collect(),
        };
        ctx.broker.groups.sync(&request.group_id, sync).await
    };
    message!(SyncGroupResponse {
        error_code: code_of(synced.error),
        protocol_type: synced.protocol_type,
        protocol_name: synced.protocol,
        assignment: synced.assignment,
    })
}
