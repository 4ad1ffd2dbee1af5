//! Reading and changing configurations.

use kafka_wire::describe_configs_request::DescribeConfigsResource;
use kafka_wire::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest, RequestResponsePair, alter_configs_request,
    incremental_alter_configs_request,
};
use kafka_wire_core::{ApiVersion, KafkaEncode, StrBytes};

use super::controller::is_controller_trouble;
use super::{
    Admin, ConfigAlteration, ConfigEntry, ConfigResource, ConfigResourceType, ConfigSource, Each,
    unmentioned,
};
use crate::ClientError;

impl ConfigResource {
    fn label(&self) -> String {
        let kind = match self.kind {
            ConfigResourceType::Topic => "topic",
            ConfigResourceType::Broker | ConfigResourceType::BrokerLogger => "broker",
            ConfigResourceType::ClientMetrics => "client metrics subscription",
            ConfigResourceType::Group => "group",
            ConfigResourceType::Other(_) => "resource",
        };
        format!("{kind} \"{}\"", self.name)
    }

    /// A named broker answers for itself.
    fn broker_id(&self) -> Option<i32> {
        match self.kind {
            ConfigResourceType::Broker | ConfigResourceType::BrokerLogger => self.name.parse().ok(),
            _ => None,
        }
    }
}

impl Admin {
    /// All values of each resource, defaults included.
    ///
    /// # Errors
    /// Of the whole call: no broker answers. Per resource, for example that it doesn't exist.
    pub async fn describe_configs(
        &self,
        resources: &[ConfigResource],
    ) -> Result<Each<ConfigResource, Vec<ConfigEntry>>, ClientError> {
        let mut all = Vec::with_capacity(resources.len());
        for resource in resources {
            let mut retry = self.client.retry();
            let outcome = loop {
                match self.describe_config(resource).await {
                    Err(error) if matches!(error, ClientError::Broker { .. }) => break Err(error),
                    Err(error) => retry.again(error).await?,
                    Ok(entries) => break Ok(entries),
                }
            };
            all.push((resource.clone(), outcome));
        }
        Ok(all)
    }

    async fn describe_config(
        &self,
        resource: &ConfigResource,
    ) -> Result<Vec<ConfigEntry>, ClientError> {
        let build = |version: kafka_wire_core::ApiVersion| {
            let mut wanted = DescribeConfigsResource::default();
            wanted.resource_type = resource.kind.wire();
            wanted.resource_name = StrBytes::from(resource.name.as_str());
            wanted.configuration_keys = None;
            let mut request = DescribeConfigsRequest::default();
            request.resources = vec![wanted];
            request.include_synonyms = true;
            request.include_documentation = version.value() >= 3;
            request
        };
        let (response, _) = match resource.broker_id() {
            Some(id) => self.client.call_broker(id, build).await?,
            None => self.client.call_any(build).await?,
        };
        let what = || format!("cannot describe the configuration of {}", resource.label());
        let answer = response
            .results
            .into_iter()
            .next()
            .ok_or_else(|| unmentioned(what()))?;
        ClientError::check(answer.error_code, answer.error_message.as_deref(), what)?;
        Ok(answer
            .configs
            .into_iter()
            .map(|config| ConfigEntry {
                name: config.name.into_string(),
                value: config.value.map(StrBytes::into_string),
                source: ConfigSource::from_wire(config.config_source),
                sensitive: config.is_sensitive,
                read_only: config.read_only,
                synonyms: config
                    .synonyms
                    .into_iter()
                    .map(|synonym| {
                        (
                            synonym.name.into_string(),
                            synonym.value.map(StrBytes::into_string),
                            ConfigSource::from_wire(synonym.source),
                        )
                    })
                    .collect(),
                documentation: config.documentation.map(StrBytes::into_string),
            })
            .collect())
    }

    /// Changes the named keys and leaves all others as they are.
    ///
    /// # Errors
    /// Unknown keys and values out of range are refused, and nothing of that resource is changed.
    pub async fn incremental_alter_configs(
        &self,
        resource: &ConfigResource,
        alterations: &[ConfigAlteration],
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let build = |_| {
            let mut wanted = incremental_alter_configs_request::AlterConfigsResource::default();
            wanted.resource_type = resource.kind.wire();
            wanted.resource_name = StrBytes::from(resource.name.as_str());
            wanted.configs = alterations
                .iter()
                .map(|alteration| {
                    let mut config = incremental_alter_configs_request::AlterableConfig::default();
                    config.name = StrBytes::from(alteration.name.as_str());
                    config.config_operation = alteration.op.wire();
                    config.value = alteration.value.as_deref().map(StrBytes::from);
                    config
                })
                .collect();
            let mut request = IncrementalAlterConfigsRequest::default();
            request.resources = vec![wanted];
            request.validate_only = validate_only;
            request
        };
        let what = || format!("cannot change the configuration of {}", resource.label());
        self.alter(resource, build, what, |response| {
            let answer = response.responses.first()?;
            Some((answer.error_code, answer.error_message.as_deref()))
        })
        .await
    }

    /// Replaces the whole configuration: keys that are not named go back to their defaults. Prefer
    /// [`incremental_alter_configs`](Self::incremental_alter_configs).
    ///
    /// # Errors
    /// As there.
    pub async fn alter_configs(
        &self,
        resource: &ConfigResource,
        configs: &[(String, Option<String>)],
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let build = |_| {
            let mut wanted = alter_configs_request::AlterConfigsResource::default();
            wanted.resource_type = resource.kind.wire();
            wanted.resource_name = StrBytes::from(resource.name.as_str());
            wanted.configs = configs
                .iter()
                .map(|(name, value)| {
                    let mut config = alter_configs_request::AlterableConfig::default();
                    config.name = StrBytes::from(name.as_str());
                    config.value = value.as_deref().map(StrBytes::from);
                    config
                })
                .collect();
            let mut request = AlterConfigsRequest::default();
            request.resources = vec![wanted];
            request.validate_only = validate_only;
            request
        };
        let what = || format!("cannot replace the configuration of {}", resource.label());
        self.alter(resource, build, what, |response| {
            let answer = response.responses.first()?;
            Some((answer.error_code, answer.error_message.as_deref()))
        })
        .await
    }

    /// Sends a change to whoever makes it, again while the controller moves. `answer` is the error code
    /// and text for the one resource that the request names.
    async fn alter<R>(
        &self,
        resource: &ConfigResource,
        build: impl Fn(ApiVersion) -> R + Copy,
        what: impl Fn() -> String + Copy,
        answer: impl Fn(&R::Response) -> Option<(i16, Option<&str>)>,
    ) -> Result<(), ClientError>
    where
        R: RequestResponsePair + KafkaEncode,
    {
        self.ask_again_while(is_controller_trouble, || async {
            let (response, _) = match resource.broker_id() {
                Some(id) => self.client.call_broker(id, build).await?,
                None => self.client.call_controller(build).await?,
            };
            let (code, message) = answer(&response).ok_or_else(|| unmentioned(what()))?;
            ClientError::check(code, message, what)
        })
        .await
    }

    /// Everything that has a configuration, of these kinds; of all kinds if none is named.
    ///
    /// # Errors
    /// The broker is older than Kafka 4.1 and knows only client metrics subscriptions.
    pub async fn list_config_resources(
        &self,
        kinds: &[ConfigResourceType],
    ) -> Result<Vec<ConfigResource>, ClientError> {
        let mut retry = self.client.retry();
        let response = loop {
            let result = self
                .client
                .call_any(|_| {
                    let mut request = ListConfigResourcesRequest::default();
                    request.resource_types = kinds.iter().map(|kind| kind.wire()).collect();
                    request
                })
                .await;
            match result {
                Ok((response, _)) => break response,
                Err(error) => retry.again(error).await?,
            }
        };
        ClientError::check(response.error_code, None, || {
            "cannot list what has a configuration".to_owned()
        })?;
        Ok(response
            .config_resources
            .into_iter()
            .map(|resource| ConfigResource {
                kind: ConfigResourceType::from_wire(resource.resource_type),
                name: resource.resource_name.into_string(),
            })
            .collect())
    }
}
