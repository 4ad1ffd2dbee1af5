//! ListConfigResources (key 74): what can be configured, by kind.

use kafka_wire::list_config_resources_response::ConfigResource;
use kafka_wire::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use kafka_wire_core::{ApiVersion, StrBytes};

use super::describe_configs::resource_type;
use super::message;
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 1);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: ListConfigResourcesRequest,
    version: ApiVersion,
) -> ListConfigResourcesResponse {
    let kinds = if version.value() == 0 {
        // The API was once only about client metrics.
        vec![resource_type::CLIENT_METRICS]
    } else if request.resource_types.is_empty() {
        resource_type::ALL.to_vec()
    } else {
        request.resource_types
    };
    if kinds.iter().any(|kind| !resource_type::ALL.contains(kind)) {
        return message!(ListConfigResourcesResponse {
            error_code: error_code::UNSUPPORTED_VERSION,
        });
    }
    let image = ctx.broker.controller.image();
    let mut config_resources = Vec::new();
    let mut add = |kind: i8, name: &str| {
        config_resources.push(message!(ConfigResource {
            resource_name: StrBytes::from(name),
            resource_type: kind,
        }));
    };
    for kind in kinds {
        match kind {
            resource_type::TOPIC => image.topics().for_each(|topic| add(kind, &topic.name)),
            resource_type::BROKER | resource_type::BROKER_LOGGER => {
                let me = ctx.broker.config.node_id;
                let registered = image.brokers().map(|broker| broker.id);
                let mut ids: Vec<i32> = registered.chain([me]).collect();
                ids.sort_unstable();
                ids.dedup();
                ids.iter().for_each(|id| add(kind, &id.to_string()));
            }
            // Nothing of the other kinds can be configured here.
            _ => {}
        }
    }
    message!(ListConfigResourcesResponse { config_resources })
}
