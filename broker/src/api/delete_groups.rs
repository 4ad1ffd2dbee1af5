//! DeleteGroups (key 42): groups without members go, with their offsets.

use kafka_wire::delete_groups_response::DeletableGroupResult;
use kafka_wire::{DeleteGroupsRequest, DeleteGroupsResponse};
use kafka_wire_core::ApiVersion;

use super::message;
use crate::coordinator::code_of;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 2);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: DeleteGroupsRequest,
    _version: ApiVersion,
) -> DeleteGroupsResponse {
    let groups = &ctx.broker.groups;
    // Deletions wait for the log, so those of different partitions wait together.
    let deletions = request.groups_names.into_iter().map(|group_id| async {
        let outcome = groups.delete(&group_id).await;
        message!(DeletableGroupResult {
            error_code: code_of(outcome.err()),
            group_id,
        })
    });
    message!(DeleteGroupsResponse {
        results: futures_util::future::join_all(deletions).await,
    })
}
