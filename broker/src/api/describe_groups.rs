//! DescribeGroups (key 15): the state and members of groups.

use kafka_wire::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_wire::{DescribeGroupsRequest, DescribeGroupsResponse};
use kafka_wire_core::{ApiVersion, StrBytes};

use super::message;
use crate::coordinator::{Description, GroupError};
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 6);

/// Read, delete, describe, describe configs and alter configs: everything one can do to a group,
/// which is what everybody may do without an authorizer.
const ALL_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: DescribeGroupsRequest,
    version: ApiVersion,
) -> DescribeGroupsResponse {
    let operations = request
        .include_authorized_operations
        .then_some(ALL_OPERATIONS);
    message!(DescribeGroupsResponse {
        groups: request
            .groups
            .into_iter()
            .map(|group_id| {
                let found = ctx.broker.groups.describe(&group_id);
                let mut group = to_response(group_id, found, version.value());
                if let Some(operations) = operations {
                    group.authorized_operations = operations;
                }
                group
            })
            .collect(),
    })
}

fn to_response(
    group_id: StrBytes,
    found: Result<Option<Description>, GroupError>,
    version: i16,
) -> DescribedGroup {
    let description = match found {
        Ok(Some(description)) => description,
        // Before version 6 a group that doesn't exist is a dead one.
        Ok(None) if version < 6 => {
            return message!(DescribedGroup {
                group_id,
                group_state: "Dead".into(),
            });
        }
        Ok(None) => {
            return message!(DescribedGroup {
                error_code: GroupError::GroupIdNotFound.code(),
                error_message: Some(format!("Group {group_id} not found.").into()),
                group_state: "Dead".into(),
                group_id,
            });
        }
        Err(error) => {
            return message!(DescribedGroup {
                error_code: error.code(),
                error_message: (version >= 6).then(|| error.to_string().into()),
                group_id,
            });
        }
    };
    message!(DescribedGroup {
        group_id,
        group_state: description.state.into(),
        protocol_type: description.protocol_type,
        protocol_data: description.protocol,
        members: description
            .members
            .into_iter()
            .map(|member| {
                message!(DescribedGroupMember {
                    member_id: member.member_id,
                    group_instance_id: member.instance_id,
                    client_id: member.client_id,
                    client_host: member.client_host,
                    member_metadata: member.metadata,
                    member_assignment: member.assignment,
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
    fn every_answer_can_be_encoded_in_every_version() {
        for version in VERSIONS.0..=VERSIONS.1 {
            for found in [Ok(None), Err(GroupError::CoordinatorLoadInProgress)] {
                let group = to_response("group".into(), found, version);
                let response = message!(DescribeGroupsResponse {
                    groups: vec![group],
                });
                response.encoded_len(ApiVersion::new(version)).unwrap();
            }
        }
    }

    #[test]
    fn an_unknown_group_is_dead_and_since_version_6_an_error() {
        let old = to_response("group".into(), Ok(None), 5);
        assert_eq!((old.error_code, old.group_state.as_str()), (0, "Dead"));
        assert_eq!(old.error_message, None);
        let new = to_response("group".into(), Ok(None), 6);
        assert_eq!((new.error_code, new.group_state.as_str()), (69, "Dead"));
        assert_eq!(new.error_message.as_deref(), Some("Group group not found."));
    }

    #[test]
    fn operations_are_unknown_unless_asked_for() {
        let group = to_response("group".into(), Ok(None), 5);
        assert_eq!(group.authorized_operations, i32::MIN);
        assert_eq!(ALL_OPERATIONS, 3400);
    }
}
