//! ListGroups (key 16): all groups, filtered by state (version 4) and type (version 5).

use kafka_wire::list_groups_response::ListedGroup;
use kafka_wire::{ListGroupsRequest, ListGroupsResponse};
use kafka_wire_core::{ApiVersion, StrBytes};

use super::message;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 5);

/// The type of every group this broker has.
const CLASSIC: &str = "classic";

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: ListGroupsRequest,
    _version: ApiVersion,
) -> ListGroupsResponse {
    let listings = match ctx.broker.groups.list() {
        Ok(listings) => listings,
        Err(error) => {
            return message!(ListGroupsResponse {
                error_code: error.code(),
            });
        }
    };
    message!(ListGroupsResponse {
        groups: listings
            .into_iter()
            .filter(|group| passes(&request.states_filter, group.state))
            .filter(|_| passes(&request.types_filter, CLASSIC))
            .map(|group| {
                message!(ListedGroup {
                    group_id: group.group_id,
                    protocol_type: group.protocol_type,
                    group_state: group.state.into(),
                    group_type: CLASSIC.into(),
                })
            })
            .collect(),
    })
}

/// Whether `value` is among the names asked for; none asks for everything.
fn passes(filter: &[StrBytes], value: &str) -> bool {
    filter.is_empty() || filter.iter().any(|name| name.eq_ignore_ascii_case(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_wire_core::KafkaEncode;

    #[test]
    fn a_group_can_be_encoded_in_every_version() {
        let response = message!(ListGroupsResponse {
            groups: vec![message!(ListedGroup {
                group_id: "group".into(),
                group_state: "Stable".into(),
                group_type: CLASSIC.into(),
            })],
        });
        for version in VERSIONS.0..=VERSIONS.1 {
            response.encoded_len(ApiVersion::new(version)).unwrap();
        }
    }

    #[test]
    fn filters_ignore_case_and_an_empty_one_passes_everything() {
        assert!(passes(&[], "Stable"));
        assert!(passes(&["empty".into(), "stable".into()], "Stable"));
        assert!(!passes(&["Empty".into()], "Stable"));
        assert!(!passes(&["consumer".into()], "classic"));
    }
}
