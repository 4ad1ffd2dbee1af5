//! InitProducerId (key 22): an id for an idempotent producer.
//!
//! A producer without transactional id gets a fresh id with epoch 0 each time it asks, also when
//! it names the one it had (KIP-360 is about transactional producers). Transactions don't exist
//! here: a transactional id is refused with TRANSACTIONAL_ID_AUTHORIZATION_FAILED, like its
//! coordinator is by FindCoordinator, because producers report that code at once. Version 6
//! (two-phase commit, KIP-939) isn't stable in Kafka and isn't offered.
//!
//! Ids come in blocks from the active controller. While it can't be reached the answer is
//! COORDINATOR_LOAD_IN_PROGRESS, as Kafka's is: every producer tries again then.

use kafka_wire::{InitProducerIdRequest, InitProducerIdResponse};
use kafka_wire_core::ApiVersion;

use super::find_coordinator::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
use super::message;
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 5);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: InitProducerIdRequest,
    _version: ApiVersion,
) -> InitProducerIdResponse {
    let outcome = match request.transactional_id {
        Some(id) if id.is_empty() => Err(error_code::INVALID_REQUEST),
        Some(_) => Err(TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        None => ctx
            .broker
            .controller
            .next_producer_id()
            .await
            .map_err(|error| {
                tracing::warn!(%error, "no producer ids could be reserved");
                match error.code {
                    error_code::NOT_CONTROLLER | error_code::REQUEST_TIMED_OUT => {
                        error_code::COORDINATOR_LOAD_IN_PROGRESS
                    }
                    other => other,
                }
            }),
    };
    match outcome {
        Ok(producer_id) => message!(InitProducerIdResponse {
            producer_id,
            producer_epoch: 0,
        }),
        Err(error_code) => message!(InitProducerIdResponse {
            error_code,
            producer_id: -1,
            producer_epoch: -1,
        }),
    }
}
