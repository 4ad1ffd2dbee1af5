//! IncrementalAlterConfigs (key 44, KIP-339): changes single keys of a resource.

use kafka_wire::incremental_alter_configs_request::AlterableConfig;
use kafka_wire::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_wire::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use kafka_wire_core::{ApiVersion, StrBytes};

use super::describe_configs::resource_type;
use super::message;
use crate::controller::record::ConfigResource;
use crate::controller::{ConfigChange, ConfigOperation, ControllerError};
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 1);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: IncrementalAlterConfigsRequest,
    _version: ApiVersion,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let changes: Result<Vec<ConfigChange>, ControllerError> =
            resource.configs.iter().map(change).collect();
        let named = resource_of(resource.resource_type, &resource.resource_name);
        let (error_code, error_message) =
            alter(ctx, named, changes, Unnamed::Kept, request.validate_only).await;
        responses.push(message!(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
        }));
    }
    message!(IncrementalAlterConfigsResponse { responses })
}

/// What happens to the keys that a request does not name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unnamed {
    Kept,
    /// They go back to their defaults.
    Reset,
}

/// Changes one resource, for this API and for AlterConfigs: the error code and text of its answer.
pub(super) async fn alter(
    ctx: &RequestContext,
    named: Result<ConfigResource, ControllerError>,
    changes: Result<Vec<ConfigChange>, ControllerError>,
    unnamed: Unnamed,
    validate_only: bool,
) -> (i16, Option<StrBytes>) {
    let result = match (named, changes) {
        (Ok(named), Ok(changes)) => {
            let replace = unnamed == Unnamed::Reset;
            ctx.broker
                .controller
                .alter_config(&named, &changes, replace, validate_only)
                .await
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    match result {
        Ok(()) => (error_code::NONE, None),
        Err(error) => (error.code, Some(StrBytes::from(error.message))),
    }
}

fn change(config: &AlterableConfig) -> Result<ConfigChange, ControllerError> {
    let value = || {
        config
            .value
            .as_ref()
            .map(StrBytes::to_string)
            .ok_or_else(|| {
                ControllerError::new(
                    error_code::INVALID_REQUEST,
                    format!(
                        "\"{}\" has no value; delete it for the default",
                        config.name
                    ),
                )
            })
    };
    let operation = match config.config_operation {
        0 => ConfigOperation::Set(value()?),
        1 => ConfigOperation::Delete,
        2 => ConfigOperation::Append(value()?),
        3 => ConfigOperation::Subtract(value()?),
        other => {
            return Err(ControllerError::new(
                error_code::INVALID_REQUEST,
                format!("operation {other} on \"{}\" does not exist", config.name),
            ));
        }
    };
    Ok(ConfigChange {
        key: config.name.to_string(),
        operation,
    })
}

/// What is to be configured.
pub(super) fn resource_of(kind: i8, name: &str) -> Result<ConfigResource, ControllerError> {
    match kind {
        resource_type::TOPIC => Ok(ConfigResource::Topic(name.to_owned())),
        resource_type::BROKER => Ok(ConfigResource::Broker(name.to_owned())),
        other => Err(ControllerError::new(
            error_code::INVALID_REQUEST,
            format!("resources of type {other} cannot be configured on this broker"),
        )),
    }
}
