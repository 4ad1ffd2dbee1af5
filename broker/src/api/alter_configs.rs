//! AlterConfigs (key 33): replaces everything that is set on a resource. Deprecated by
//! IncrementalAlterConfigs, but older clients know only this.

use kafka_wire::alter_configs_response::AlterConfigsResourceResponse;
use kafka_wire::{AlterConfigsRequest, AlterConfigsResponse};
use kafka_wire_core::ApiVersion;

use super::incremental_alter_configs::{Unnamed, alter, resource_of};
use super::message;
use crate::controller::{ConfigChange, ConfigOperation, ControllerError};
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 2);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: AlterConfigsRequest,
    _version: ApiVersion,
) -> AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let changes: Result<Vec<ConfigChange>, ControllerError> = resource
            .configs
            .iter()
            .map(|config| {
                let value = config.value.as_ref().ok_or_else(|| {
                    ControllerError::new(
                        error_code::INVALID_REQUEST,
                        format!(
                            "\"{}\" has no value; leave it out for the default",
                            config.name
                        ),
                    )
                })?;
                Ok(ConfigChange {
                    key: config.name.to_string(),
                    operation: ConfigOperation::Set(value.to_string()),
                })
            })
            .collect();
        let named = resource_of(resource.resource_type, &resource.resource_name);
        let (error_code, error_message) =
            alter(ctx, named, changes, Unnamed::Reset, request.validate_only).await;
        responses.push(message!(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
        }));
    }
    message!(AlterConfigsResponse { responses })
}
