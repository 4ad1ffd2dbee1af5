//! LeaveGroup (key 13): members go, or (version 3 and up) an administrator takes static members
//! out by their instance ids.

use kafka_wire::leave_group_response::MemberResponse;
use kafka_wire::{LeaveGroupRequest, LeaveGroupResponse};
use kafka_wire_core::ApiVersion;

use super::message;
use crate::coordinator::{GroupError, Identity, code_of};
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 5);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: LeaveGroupRequest,
    version: ApiVersion,
) -> LeaveGroupResponse {
    let batched = version.value() >= 3;
    let leaving: Vec<Identity> = if batched {
        request
            .members
            .into_iter()
            .map(|member| Identity {
                member_id: member.member_id,
                instance_id: member.group_instance_id,
            })
            .collect()
    } else {
        vec![Identity {
            member_id: request.member_id,
            instance_id: None,
        }]
    };
    let outcomes = ctx.broker.groups.leave(&request.group_id, &leaving);
    to_response(leaving, outcomes, batched)
}

fn to_response(
    leaving: Vec<Identity>,
    outcomes: Result<Vec<Option<GroupError>>, GroupError>,
    batched: bool,
) -> LeaveGroupResponse {
    let outcomes = match outcomes {
        Ok(outcomes) => outcomes,
        Err(error) => {
            return message!(LeaveGroupResponse {
                error_code: error.code(),
            });
        }
    };
    if !batched {
        return message!(LeaveGroupResponse {
            error_code: code_of(outcomes.into_iter().flatten().next()),
        });
    }
    message!(LeaveGroupResponse {
        members: leaving
            .into_iter()
            .zip(outcomes)
            .map(|(identity, outcome)| {
                message!(MemberResponse {
                    member_id: identity.member_id,
                    group_instance_id: identity.instance_id,
                    error_code: code_of(outcome),
                })
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_wire_core::KafkaEncode;

    #[test]
    fn a_members_error_is_the_requests_before_version_3_and_its_own_since() {
        for version in VERSIONS.0..=VERSIONS.1 {
            let batched = version >= 3;
            let outcomes = Ok(vec![Some(GroupError::UnknownMemberId)]);
            let response = to_response(vec![Identity::default()], outcomes, batched);
            let member = response.members.first().map(|member| member.error_code);
            if batched {
                assert_eq!((response.error_code, member), (0, Some(25)));
            } else {
                assert_eq!((response.error_code, member), (25, None));
            }
            response.encoded_len(ApiVersion::new(version)).unwrap();
        }
    }
}
