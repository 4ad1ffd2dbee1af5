//! UnregisterBroker (key 64): takes a broker out of the cluster for good.
//!
//! A broker that keeps replicas is not simply forgotten: they are moved to others first, and until
//! that is done the answer is an error that says how far it is and may be asked again. A dead one
//! whose partitions all have another replica goes at once.

use kafka_wire::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use kafka_wire_core::{ApiVersion, StrBytes};

use super::message;
use crate::controller::ControllerError;
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 0);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: UnregisterBrokerRequest,
    _version: ApiVersion,
) -> UnregisterBrokerResponse {
    match remove(ctx, request.broker_id).await {
        Ok(()) => UnregisterBrokerResponse::default(),
        Err(error) => message!(UnregisterBrokerResponse {
            error_code: error.code,
            error_message: Some(StrBytes::from(error.message)),
        }),
    }
}

/// Asks for the removal of broker `id`, and whether it has come about.
pub(super) async fn remove(ctx: &RequestContext, id: i32) -> Result<(), ControllerError> {
    let progress = ctx.broker.controller.remove_broker(id, true).await?;
    if progress.gone {
        return Ok(());
    }
    Err(ControllerError::new(
        error_code::REQUEST_TIMED_OUT,
        format!(
            "broker {id} leaves; {} of its replicas are still being moved, ask again until it is gone",
            progress.replicas
        ),
    ))
}
