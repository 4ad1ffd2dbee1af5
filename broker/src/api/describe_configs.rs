//! DescribeConfigs (key 32): every key with its value, who set it, and what it falls back to.

use kafka_wire::describe_configs_request::DescribeConfigsResource;
use kafka_wire::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_wire::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_wire_core::{ApiVersion, StrBytes};

use super::message;
use crate::config::broker_keys::{BROKER_KEYS, is_changeable};
use crate::config::definition::Definition;
use crate::config::layers::{Setting, Source};
use crate::config::topic::TOPIC_KEYS;
use crate::controller::ControllerError;
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (1, 4);

/// Kafka's numbers for what can be configured.
pub(super) mod resource_type {
    pub(crate) const TOPIC: i8 = 2;
    pub(crate) const BROKER: i8 = 4;
    pub(crate) const BROKER_LOGGER: i8 = 8;
    pub(crate) const CLIENT_METRICS: i8 = 16;
    pub(crate) const GROUP: i8 = 32;
    pub(crate) const ALL: &[i8] = &[TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];
}

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: DescribeConfigsRequest,
    _version: ApiVersion,
) -> DescribeConfigsResponse {
    let results = request
        .resources
        .into_iter()
        .map(|resource| {
            let described = describe(
                ctx,
                &resource,
                request.include_synonyms,
                request.include_documentation,
            );
            let (error_code, error_message, configs) = match described {
                Ok(configs) => (error_code::NONE, None, configs),
                Err(error) => (error.code, Some(StrBytes::from(error.message)), Vec::new()),
            };
            message!(DescribeConfigsResult {
                error_code,
                error_message,
                resource_type: resource.resource_type,
                resource_name: resource.resource_name,
                configs,
            })
        })
        .collect();
    message!(DescribeConfigsResponse { results })
}

fn describe(
    ctx: &RequestContext,
    resource: &DescribeConfigsResource,
    synonyms: bool,
    documentation: bool,
) -> Result<Vec<DescribeConfigsResourceResult>, ControllerError> {
    let controller = &ctx.broker.controller;
    let image = controller.image();
    let name = &*resource.resource_name;
    let wanted = |key: &str| match resource.configuration_keys.as_deref() {
        None | Some([]) => true,
        Some(keys) => keys.iter().any(|wanted| &**wanted == key),
    };
    let entry =
        |key: &Definition, value: Option<(Source, String)>, chain: Vec<Setting>, read_only| {
            let (source, value) = match value {
                Some((source, value)) => (source, Some(StrBytes::from(value))),
                None => (Source::Default, None),
            };
            let chain = if synonyms { chain } else { Vec::new() };
            message!(DescribeConfigsResourceResult {
                name: StrBytes::from(key.name),
                value,
                read_only,
                config_source: source as i8,
                synonyms: chain
                    .into_iter()
                    .map(|setting| {
                        message!(DescribeConfigsSynonym {
                            name: StrBytes::from(setting.name),
                            value: Some(StrBytes::from(setting.value)),
                            source: setting.source as i8,
                        })
                    })
                    .collect(),
                config_type: key.kind.wire_type(),
                documentation: documentation.then(|| StrBytes::from(key.doc)),
            })
        };
    match resource.resource_type {
        resource_type::TOPIC => {
            let topic = image.topic(name).ok_or_else(|| {
                ControllerError::new(
                    error_code::UNKNOWN_TOPIC_OR_PARTITION,
                    format!("topic \"{name}\" does not exist"),
                )
            })?;
            let layers = controller.layers(&image, Some(topic));
            Ok(TOPIC_KEYS
                .iter()
                .filter(|key| wanted(key.name))
                .map(|key| entry(key, layers.topic_value(key), layers.topic_chain(key), false))
                .collect())
        }
        resource_type::BROKER => {
            let whole_cluster = name.is_empty();
            if !whole_cluster && name != ctx.broker.config.node_id.to_string() {
                return Err(ControllerError::new(
                    error_code::INVALID_REQUEST,
                    format!(
                        "broker \"{name}\" cannot be described here; this is broker {}",
                        ctx.broker.config.node_id
                    ),
                ));
            }
            let layers = controller.layers(&image, None);
            Ok(BROKER_KEYS
                .iter()
                .filter(|key| wanted(key.name))
                .map(|key| (key, layers.broker_chain(key)))
                // Without a broker's name, only what was set for all of them is asked for.
                .filter_map(|(key, mut chain)| {
                    if whole_cluster {
                        chain.retain(|setting| setting.source == Source::AllBrokers);
                        chain.first()?;
                    }
                    let value = chain
                        .first()
                        .map(|setting| (setting.source, setting.value.clone()));
                    Some(entry(key, value, chain, !is_changeable(key.name)))
                })
                .collect())
        }
        // None of their keys is known here, so nothing is set.
        resource_type::GROUP | resource_type::CLIENT_METRICS => Ok(Vec::new()),
        kind => Err(ControllerError::new(
            error_code::INVALID_REQUEST,
            format!("resources of type {kind} have no configuration on this broker"),
        )),
    }
}
