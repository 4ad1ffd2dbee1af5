//! JoinGroup (key 11): a member enters a group or a new generation of it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use kafka_wire::join_group_response::JoinGroupResponseMember;
use kafka_wire::{JoinGroupRequest, JoinGroupResponse};
use kafka_wire_core::{ApiVersion, StrBytes};

use super::message;
use crate::coordinator::{GroupError, Join, Joined, Protocol, code_of, owned};
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 9);

/// The longest name a member may bring. Member ids made from it must still fit into the records
/// of `__consumer_offsets`.
const NAME_BYTES_MAX: usize = 32_000;

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: JoinGroupRequest,
    version: ApiVersion,
) -> JoinGroupResponse {
    let client_id = ctx.client_id.as_deref().unwrap_or_default();
    let group_id = request.group_id.clone();
    let member_id = request.member_id.clone();
    let joined = match to_join(request, client_id, ctx.peer, version.value()) {
        Some(join) => ctx.broker.groups.join(&group_id, join).await,
        None => Joined::refused(GroupError::InvalidRequest, member_id),
    };
    to_response(joined, version.value())
}

/// The request with strings of its own; none if a name in it is too long to be kept.
fn to_join(
    request: JoinGroupRequest,
    client_id: &str,
    peer: SocketAddr,
    version: i16,
) -> Option<Join> {
    let names = [&request.member_id, &request.protocol_type];
    let too_long = names
        .into_iter()
        .chain(&request.group_instance_id)
        .chain(request.protocols.iter().map(|protocol| &protocol.name))
        .any(|name| name.len() > NAME_BYTES_MAX);
    if too_long || client_id.len() > NAME_BYTES_MAX {
        return None;
    }
    let session_timeout = millis(request.session_timeout_ms);
    Some(Join {
        member_id: owned(&request.member_id),
        instance_id: request.group_instance_id.as_ref().map(owned),
        client_id: client_id.into(),
        client_host: format!("/{}", peer.ip().to_canonical()).into(),
        session_timeout,
        // Version 0 has one timeout for both.
        rebalance_timeout: if version >= 1 {
            millis(request.rebalance_timeout_ms)
        } else {
            session_timeout
        },
        protocol_type: owned(&request.protocol_type),
        protocols: request
            .protocols
            .iter()
            .map(|protocol| Protocol {
                name: owned(&protocol.name),
                metadata: Bytes::copy_from_slice(&protocol.metadata),
            })
            .collect(),
        requires_known_member_id: version >= 4,
        supports_skipping_assignment: version >= 9,
    })
}

fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn to_response(joined: Joined, version: i16) -> JoinGroupResponse {
    let members = joined
        .members
        .into_iter()
        .map(|member| {
            message!(JoinGroupResponseMember {
                member_id: member.member_id,
                group_instance_id: member.instance_id,
                metadata: member.metadata,
            })
        })
        .collect();
    message!(JoinGroupResponse {
        error_code: code_of(joined.error),
        generation_id: joined.generation,
        protocol_type: joined.protocol_type,
        // It can't be null before version 7.
        protocol_name: joined
            .protocol
            .or_else(|| (version < 7).then(StrBytes::default)),
        leader: joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id,
        members,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_wire::join_group_request::JoinGroupRequestProtocol;
    use kafka_wire_core::KafkaEncode;

    fn request() -> JoinGroupRequest {
        message!(JoinGroupRequest {
            group_id: "group".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 60_000,
            protocol_type: "consumer".into(),
            protocols: vec![message!(JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: Bytes::from_static(b"topics"),
            })],
        })
    }

    fn peer() -> SocketAddr {
        "[::ffff:10.0.0.7]:4000".parse().unwrap()
    }

    #[test]
    fn each_version_means_what_it_says() {
        let join = |version| to_join(request(), "client", peer(), version).unwrap();
        assert_eq!(join(0).rebalance_timeout, Duration::from_secs(10));
        assert_eq!(join(1).rebalance_timeout, Duration::from_secs(60));
        assert!(!join(3).requires_known_member_id && join(4).requires_known_member_id);
        assert!(!join(8).supports_skipping_assignment && join(9).supports_skipping_assignment);
        assert_eq!(join(9).client_host, "/10.0.0.7".into());
    }

    #[test]
    fn names_that_could_not_be_stored_are_refused() {
        let long = message!(JoinGroupRequest {
            group_instance_id: Some("x".repeat(32_001).into()),
        });
        assert!(to_join(long, "client", peer(), 9).is_none());
    }

    #[test]
    fn refusals_can_be_encoded_in_every_version() {
        for version in VERSIONS.0..=VERSIONS.1 {
            let refused = Joined::refused(GroupError::UnknownMemberId, "id".into());
            let response = to_response(refused, version);
            assert_eq!((response.error_code, response.generation_id), (25, -1));
            response.encoded_len(ApiVersion::new(version)).unwrap();
        }
    }
}
