//! RemoveRaftVoter (key 81, KIP-853). Here votes follow from membership: a broker has one as long as
//! it is needed and there. Taking it away for good therefore is taking the broker out of the
//! cluster, which is what those who ask are about to do anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kafka_wire::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};
use kafka_wire_core::{ApiVersion, StrBytes};

use super::{message, unregister_broker};
use crate::controller::ControllerError;
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 0);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: RemoveRaftVoterRequest,
    _version: ApiVersion,
) -> RemoveRaftVoterResponse {
    let removed = match check(ctx, &request) {
        Ok(()) => unregister_broker::remove(ctx, request.voter_id).await,
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => RemoveRaftVoterResponse::default(),
        Err(error) => message!(RemoveRaftVoterResponse {
            error_code: error.code,
            error_message: Some(StrBytes::from(error.message)),
        }),
    }
}

fn check(ctx: &RequestContext, request: &RemoveRaftVoterRequest) -> Result<(), ControllerError> {
    let controller = &ctx.broker.controller;
    if let Some(meant) = request.cluster_id.as_deref()
        && meant != controller.cluster_id()
    {
        return Err(ControllerError::new(
            error_code::INCONSISTENT_CLUSTER_ID,
            format!(
                "this is cluster \"{}\", not \"{meant}\"",
                controller.cluster_id()
            ),
        ));
    }
    let image = controller.image();
    let directory = URL_SAFE_NO_PAD.encode(request.voter_directory_id.as_bytes());
    let known = image.broker(request.voter_id).is_some_and(|broker| {
        request.voter_directory_id.is_zero() || broker.directory == directory
    });
    if !known {
        return Err(ControllerError::new(
            error_code::VOTER_NOT_FOUND,
            format!(
                "broker {} with data folder {directory} is not in the cluster",
                request.voter_id
            ),
        ));
    }
    Ok(())
}
