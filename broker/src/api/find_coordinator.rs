//! FindCoordinator (key 10): which broker coordinates a group; many at once from version 4.
//!
//! A group is coordinated by the broker that leads its partition of `__consumer_offsets`, which
//! the metadata says, so every broker can answer. Transactions it doesn't have: their coordinator is
//! refused with TRANSACTIONAL_ID_AUTHORIZATION_FAILED and a message, because that is the one
//! code which producers of all client libraries report at once instead of asking again until
//! they time out.

use kafka_wire::find_coordinator_response::Coordinator;
use kafka_wire::{FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_wire_core::{ApiVersion, StrBytes};

use super::message;
use crate::config::AdvertisedAddress;
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 6);

/// What asking for a transaction is refused with.
pub(crate) const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// Why there is no coordinator.
struct Refusal {
    code: i16,
    message: String,
}

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: FindCoordinatorRequest,
    version: ApiVersion,
) -> FindCoordinatorResponse {
    let keys = if version.value() >= 4 {
        request.coordinator_keys
    } else {
        vec![request.key]
    };
    let mut coordinators = Vec::with_capacity(keys.len());
    for key in keys {
        let found = match refuse_type(request.key_type) {
            Some(refusal) => Err(refusal),
            None => find(ctx, &key).await,
        };
        coordinators.push(coordinator(key, &found));
    }
    to_response(coordinators, version.value())
}

/// The broker that coordinates `group`, and where the client reaches it.
async fn find(ctx: &RequestContext, group: &StrBytes) -> Result<(i32, AdvertisedAddress), Refusal> {
    let not_available = |message: String| Refusal {
        code: error_code::COORDINATOR_NOT_AVAILABLE,
        message,
    };
    let found = ctx.broker.groups.find(group).await.map_err(|error| {
        not_available(format!(
            "the topic \"__consumer_offsets\" can't be created: {error}"
        ))
    })?;
    let id = found.ok_or_else(|| {
        not_available("the group's partition of \"__consumer_offsets\" has no leader now".into())
    })?;
    let image = ctx.broker.controller.image();
    match ctx.live_broker(&image, id).map(|broker| broker.address) {
        Some(address) => Ok((id, address)),
        None => Err(not_available(format!(
            "broker {id} coordinates the group but is not reachable now"
        ))),
    }
}

fn to_response(coordinators: Vec<Coordinator>, version: i16) -> FindCoordinatorResponse {
    if version >= 4 {
        message!(FindCoordinatorResponse { coordinators })
    } else {
        let one = coordinators.into_iter().next().unwrap_or_default();
        message!(FindCoordinatorResponse {
            error_code: one.error_code,
            error_message: one.error_message,
            node_id: one.node_id,
            host: one.host,
            port: one.port,
        })
    }
}

fn refuse_type(key_type: i8) -> Option<Refusal> {
    match key_type {
        GROUP => None,
        TRANSACTION => Some(Refusal {
            code: TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            message: "this broker has no transactions; remove \"transactional.id\" from the \
                      producer (idempotent producers work)"
                .into(),
        }),
        other => Some(Refusal {
            code: error_code::INVALID_REQUEST,
            message: format!("this broker has no coordinators of type {other}, only of groups (0)"),
        }),
    }
}

fn coordinator(key: StrBytes, found: &Result<(i32, AdvertisedAddress), Refusal>) -> Coordinator {
    match found {
        Ok((node_id, address)) => message!(Coordinator {
            key,
            node_id: *node_id,
            host: address.host.as_str().into(),
            port: i32::from(address.port),
        }),
        Err(refusal) => message!(Coordinator {
            key,
            node_id: -1,
            port: -1,
            error_code: refusal.code,
            error_message: Some(refusal.message.as_str().into()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_wire_core::KafkaEncode;

    #[test]
    fn transactions_are_refused_with_a_code_that_clients_report_at_once() {
        assert!(refuse_type(GROUP).is_none());
        assert_eq!(refuse_type(TRANSACTION).unwrap().code, 53);
        assert_eq!(refuse_type(2).unwrap().code, 42);
    }

    #[test]
    fn every_answer_can_be_encoded_in_every_version() {
        let address = AdvertisedAddress {
            host: "localhost".into(),
            port: 9092,
        };
        for found in [Ok((0, address)), Err(refuse_type(TRANSACTION).unwrap())] {
            for version in VERSIONS.0..=VERSIONS.1 {
                let keys = ["a", "b"].map(|key| coordinator(key.into(), &found));
                let response = to_response(keys.into(), version);
                let answers = if version >= 4 { 2 } else { 0 };
                assert_eq!(response.coordinators.len(), answers);
                response.encoded_len(ApiVersion::new(version)).unwrap();
            }
        }
    }

    #[test]
    fn a_coordinator_that_is_not_found_has_no_address() {
        let refused = coordinator("group".into(), &Err(refuse_type(2).unwrap()));
        assert_eq!((refused.node_id, refused.port), (-1, -1));
        assert!(refused.host.is_empty());
    }
}
