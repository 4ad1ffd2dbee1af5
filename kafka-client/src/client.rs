//! What producers, consumers and admin calls share: configuration, connections, cluster metadata,
//! coordinators.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_wire::metadata_request::MetadataRequestTopic;
use kafka_wire::{FindCoordinatorRequest, MetadataRequest, MetadataResponse, RequestResponsePair};
use kafka_wire_core::{ApiVersion, KafkaEncode, StrBytes};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::any_broker::Reach;
use crate::backoff::Backoff;
use crate::cluster::{Cluster, Topic};
use crate::connection::Connection;
use crate::handshake::split_addr;
use crate::pool::Pool;
use crate::{Admin, BrokerInfo, ClientConfig, ClientError, ErrorCode, TopicPartition};

/// A cluster, as seen through its bootstrap servers. Cheap to clone; clones share connections and
/// metadata. Nothing is connected before it is needed.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Arc<ClientConfig>,
    pool: Pool,
    cluster: Cluster,
    /// Only one metadata request at a time.
    refresh: tokio::sync::Mutex<()>,
    /// Coordinator addresses, by group.
    coordinators: Mutex<HashMap<String, String>>,
    reach: Reach,
}

/// The cluster in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    /// Its id.
    pub cluster_id: String,
    /// The broker that takes administrative requests; -1 if unknown.
    pub controller: i32,
    /// Its brokers, by id.
    pub brokers: Vec<BrokerInfo>,
}

/// The bounds of retrying one call.
#[derive(Debug)]
pub(crate) struct Retry {
    deadline: Option<Instant>,
    backoff: Backoff,
}

impl Retry {
    /// Waits before the next attempt, or gives the error back if it is final or time is up.
    pub(crate) async fn again(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !error.is_retriable() {
            return Err(error);
        }
        let wait = self.backoff.next();
        if self
            .deadline
            .is_some_and(|deadline| Instant::now() + wait >= deadline)
        {
            return Err(error);
        }
        tracing::debug!("trying again in {wait:?}: {error}");
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

impl Client {
    /// Checks the configuration.
    ///
    /// # Errors
    /// [`ClientError::Configuration`] if there are no bootstrap servers or one is not `host:port`.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        if config.bootstrap_servers.is_empty() {
            return Err(ClientError::Configuration {
                key: "bootstrap.servers",
                reason: "is empty; name at least one broker, such as localhost:9092".to_owned(),
            });
        }
        for addr in &config.bootstrap_servers {
            split_addr(addr).map_err(|error| ClientError::Configuration {
                key: "bootstrap.servers",
                reason: error.to_string(),
            })?;
        }
        let config = Arc::new(config);
        Ok(Self {
            inner: Arc::new(Inner {
                pool: Pool::new(Arc::clone(&config)),
                config,
                cluster: Cluster::new(),
                refresh: tokio::sync::Mutex::new(()),
                coordinators: Mutex::new(HashMap::new()),
                reach: Reach::default(),
            }),
        })
    }

    /// The configuration it was made with.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// Asks a broker who the cluster is.
    ///
    /// # Errors
    /// [`ClientError::Bootstrap`] if no broker answers.
    pub async fn cluster(&self) -> Result<ClusterInfo, ClientError> {
        self.refresh(&[], false).await?;
        let (cluster_id, controller) = self.inner.cluster.identity();
        let brokers = self.inner.cluster.brokers();
        Ok(ClusterInfo {
            cluster_id: cluster_id.unwrap_or_default(),
            controller,
            brokers,
        })
    }

    /// Administrative calls.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin {
            client: self.clone(),
        }
    }

    /// Closes the connections that admin calls use. Producers and consumers have their own and
    /// are closed by themselves.
    pub async fn close(&self) {
        self.inner.pool.close();
    }

    /// A pool of its own for a producer or consumer.
    pub(crate) fn new_pool(&self) -> Pool {
        Pool::new(Arc::clone(&self.inner.config))
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    pub(crate) fn metadata(&self) -> &Cluster {
        &self.inner.cluster
    }

    pub(crate) fn reach(&self) -> &Reach {
        &self.inner.reach
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(
            self.inner.config.retry_backoff,
            self.inner.config.retry_backoff_max,
        )
    }

    /// Retries for as long as an API call may take.
    pub(crate) fn retry(&self) -> Retry {
        self.retry_within(self.inner.config.api_timeout)
    }

    pub(crate) fn retry_within(&self, limit: Duration) -> Retry {
        Retry {
            deadline: Instant::now().checked_add(limit),
            backoff: self.backoff(),
        }
    }

    /// Sends one request on a connection, at the newest common version.
    pub(crate) async fn call_on<R>(
        &self,
        connection: &Connection,
        build: impl FnOnce(ApiVersion) -> R,
    ) -> Result<(R::Response, ApiVersion), ClientError>
    where
        R: RequestResponsePair + KafkaEncode,
    {
        let version = connection.version::<R>(None)?;
        let request = build(version);
        let response = connection
            .call(&request, version, self.inner.config.request_timeout)
            .await?;
        Ok((response, version))
    }

    /// Sends one request to a broker by its id.
    pub(crate) async fn call_broker<R>(
        &self,
        id: i32,
        build: impl FnOnce(ApiVersion) -> R,
    ) -> Result<(R::Response, ApiVersion), ClientError>
    where
        R: RequestResponsePair + KafkaEncode,
    {
        let connection = self.connection_to(id).await?;
        self.call_on(&connection, build)
            .await
            .inspect_err(|error| self.note_broker_error(id, error))
    }

    /// A connection to a broker by its id.
    pub(crate) async fn connection_to(&self, id: i32) -> Result<Connection, ClientError> {
        let connected = async {
            let addr = self.broker_addr(id).await?;
            self.inner.pool.get(&addr).await
        };
        connected
            .await
            .inspect_err(|error| self.note_broker_error(id, error))
    }

    /// A broker that can't be reached may not lead any more what it led: the next one who asks for
    /// those leaders has them fetched anew.
    pub(crate) fn note_broker_error(&self, id: i32, error: &ClientError) {
        let away = match error {
            ClientError::Broker { code, .. } => *code == ErrorCode::BROKER_NOT_AVAILABLE,
            ClientError::Disconnected { .. }
            | ClientError::Timeout { .. }
            | ClientError::Bootstrap { .. } => true,
            _ => false,
        };
        if away {
            self.inner.cluster.distrust(id);
        }
    }

    /// A broker's `host:port`, from the cache or freshly asked for.
    pub(crate) async fn broker_addr(&self, id: i32) -> Result<String, ClientError> {
        if let Some(addr) = self.inner.cluster.broker_addr(id) {
            return Ok(addr);
        }
        self.refresh(&[], false).await?;
        self.inner.cluster.broker_addr(id).ok_or_else(|| {
            ClientError::broker(
                ErrorCode::BROKER_NOT_AVAILABLE,
                format!("broker {id} is not in the cluster's metadata"),
            )
        })
    }

    /// A connection to any broker.
    async fn any_connection(&self) -> Result<Connection, ClientError> {
        self.first_of(|addr| async move { self.inner.pool.get(&addr).await })
            .await
    }

    /// Sends one request to brokers until one answers. Several may get it.
    pub(crate) async fn ask_any<R>(
        &self,
        build: impl Fn(ApiVersion) -> R,
    ) -> Result<(R::Response, ApiVersion), ClientError>
    where
        R: RequestResponsePair + KafkaEncode,
    {
        let build = &build;
        self.first_of(|addr| async move {
            let connection = self.inner.pool.get(&addr).await?;
            self.call_on(&connection, build).await
        })
        .await
    }

    /// Sends one request to any broker.
    pub(crate) async fn call_any<R>(
        &self,
        build: impl FnOnce(ApiVersion) -> R,
    ) -> Result<(R::Response, ApiVersion), ClientError>
    where
        R: RequestResponsePair + KafkaEncode,
    {
        let connection = self.any_connection().await?;
        self.call_on(&connection, build).await
    }

    /// Sends one request to the controller, or to any broker if it is unknown: brokers forward.
    pub(crate) async fn call_controller<R>(
        &self,
        build: impl FnOnce(ApiVersion) -> R,
    ) -> Result<(R::Response, ApiVersion), ClientError>
    where
        R: RequestResponsePair + KafkaEncode,
    {
        if self.inner.cluster.broker_count() == 0 {
            self.refresh(&[], false).await?;
        }
        let (_, controller) = self.inner.cluster.identity();
        if let Some(addr) = self.inner.cluster.broker_addr(controller)
            && let Ok(connection) = self.inner.pool.get(&addr).await
        {
            return self.call_on(&connection, build).await;
        }
        self.call_any(build).await
    }

    /// Fetches metadata of some topics (of none: only the brokers) and takes it into the cache.
    /// Returns the topics that came with an error.
    pub(crate) async fn refresh(
        &self,
        topics: &[Arc<str>],
        create: bool,
    ) -> Result<Vec<(Arc<str>, ErrorCode)>, ClientError> {
        let asked = Instant::now();
        let _one_at_a_time = self.inner.refresh.lock().await;
        let cluster = &self.inner.cluster;
        let answered = !topics.is_empty()
            && topics.iter().all(|name| {
                cluster
                    .topic(name)
                    .is_some_and(|topic| !topic.stale && topic.fetched > asked)
            });
        if answered {
            return Ok(Vec::new());
        }
        let wanted = topics
            .iter()
            .map(|name| {
                let mut topic = MetadataRequestTopic::default();
                topic.name = Some(StrBytes::from(&**name));
                topic
            })
            .collect();
        let response = self.fetch_metadata(Some(wanted), create).await?;
        Ok(cluster.update(&response, self.inner.config.metadata_max_age))
    }

    /// Fetches metadata of all topics; only the brokers go into the cache.
    pub(crate) async fn all_topics(&self) -> Result<MetadataResponse, ClientError> {
        let response = self.fetch_metadata(None, false).await?;
        self.inner
            .cluster
            .update(&response, self.inner.config.metadata_max_age);
        Ok(response)
    }

    async fn fetch_metadata(
        &self,
        topics: Option<Vec<MetadataRequestTopic>>,
        create: bool,
    ) -> Result<MetadataResponse, ClientError> {
        let mut rebootstrapped = false;
        loop {
            let result = self
                .ask_any(|_| {
                    let mut request = MetadataRequest::default();
                    request.topics.clone_from(&topics);
                    request.allow_auto_topic_creation = create;
                    request
                })
                .await;
            match result {
                Ok((response, _)) => {
                    let code = ErrorCode(response.error_code);
                    if code == ErrorCode::REBOOTSTRAP_REQUIRED && !rebootstrapped {
                        rebootstrapped = true;
                        self.inner.cluster.forget_brokers();
                        self.inner.pool.close();
                        continue;
                    }
                    ClientError::check(response.error_code, None, || {
                        "a broker refused to tell the cluster's metadata".to_owned()
                    })?;
                    return Ok(response);
                }
                Err(error @ ClientError::Bootstrap { .. }) if !rebootstrapped => {
                    // A connection from the cache may turn out dead only now.
                    tracing::debug!("{error}");
                    rebootstrapped = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A topic's metadata, not older than the configured age; waits for it to exist until `limit`.
    /// `create` lets the broker create it if it does that.
    pub(crate) async fn topic(
        &self,
        name: &Arc<str>,
        create: bool,
        limit: Duration,
    ) -> Result<Arc<Topic>, ClientError> {
        let cluster = &self.inner.cluster;
        let mut retry = self.retry_within(limit);
        loop {
            if cluster.is_fresh(name, self.inner.config.metadata_max_age)
                && let Some(topic) = cluster.topic(name)
                && !topic.partitions.is_empty()
            {
                return Ok(topic);
            }
            match self.refresh(std::slice::from_ref(name), create).await {
                Ok(errors) => {
                    let refused = errors.into_iter().find(|(topic, _)| topic == name);
                    let code = match (refused, cluster.topic(name)) {
                        (Some((_, code)), _) => code,
                        (None, Some(topic)) if !topic.partitions.is_empty() => return Ok(topic),
                        (None, _) => ErrorCode::LEADER_NOT_AVAILABLE,
                    };
                    let context = format!("topic \"{name}\" cannot be used");
                    retry.again(ClientError::broker(code, context)).await?;
                }
                Err(error) => {
                    // What is known is better than nothing while brokers are away.
                    if let Some(topic) = cluster.topic(name)
                        && !topic.partitions.is_empty()
                    {
                        return Ok(topic);
                    }
                    retry.again(error).await?;
                }
            }
        }
    }

    /// The leader of a partition, waiting for one until the API timeout.
    pub(crate) async fn leader(&self, partition: &TopicPartition) -> Result<i32, ClientError> {
        let mut retry = self.retry();
        loop {
            let limit = self.inner.config.api_timeout;
            let topic = self.topic(&partition.topic, false, limit).await?;
            let Some(found) = topic.partition(partition.partition) else {
                return Err(ClientError::UnknownPartition {
                    topic: partition.topic.to_string(),
                    partition: partition.partition,
                    count: topic.partitions.len(),
                });
            };
            if found.leader >= 0 {
                return Ok(found.leader);
            }
            self.inner.cluster.mark_stale(&partition.topic);
            let context = format!("{partition} has no leader");
            retry
                .again(ClientError::broker(
                    ErrorCode::LEADER_NOT_AVAILABLE,
                    context,
                ))
                .await?;
        }
    }

    /// The address of a group's coordinator, from the cache or looked up, with retries while the
    /// coordinator is loading or moving.
    pub(crate) async fn coordinator(&self, group: &str) -> Result<String, ClientError> {
        if let Some(addr) = self.inner.coordinators.lock().get(group) {
            return Ok(addr.clone());
        }
        let mut retry = self.retry();
        loop {
            match self.find_coordinator(group).await {
                Ok(addr) => {
                    self.inner
                        .coordinators
                        .lock()
                        .insert(group.to_owned(), addr.clone());
                    return Ok(addr);
                }
                Err(error) => retry.again(error).await?,
            }
        }
    }

    /// Has the coordinator looked up again before the next request for this group.
    pub(crate) fn forget_coordinator(&self, group: &str) {
        self.inner.coordinators.lock().remove(group);
    }

    /// Forgets the coordinator if the error says that it moved or is gone.
    pub(crate) fn note_coordinator_error(&self, group: &str, error: &ClientError) {
        let moved = match error {
            ClientError::Broker { code, .. } => code.is_coordinator_moved(),
            ClientError::Disconnected { .. } | ClientError::Timeout { .. } => true,
            _ => false,
        };
        if moved {
            self.forget_coordinator(group);
        }
    }

    async fn find_coordinator(&self, group: &str) -> Result<String, ClientError> {
        let (response, version) = self
            .ask_any(|version| {
                let mut request = FindCoordinatorRequest::default();
                if version.value() >= 4 {
                    request.coordinator_keys = vec![StrBytes::from(group)];
                } else {
                    request.key = StrBytes::from(group);
                }
                request
            })
            .await?;
        let context = || format!("cannot find the coordinator of group \"{group}\"");
        let (code, message, host, port) = if version.value() >= 4 {
            let Some(found) = response
                .coordinators
                .into_iter()
                .find(|found| found.key.as_str() == group)
            else {
                return Err(ClientError::Protocol {
                    context: context(),
                    reason: "the answer doesn't mention it".to_owned(),
                });
            };
            (
                found.error_code,
                found.error_message,
                found.host,
                found.port,
            )
        } else {
            (
                response.error_code,
                response.error_message,
                response.host,
                response.port,
            )
        };
        ClientError::check(code, message.as_deref(), context)?;
        let port = u16::try_from(port).map_err(|_| ClientError::Protocol {
            context: context(),
            reason: format!("port {port} is none"),
        })?;
        Ok(BrokerInfo {
            id: -1,
            host: host.as_str().to_owned(),
            port,
            rack: None,
        }
        .addr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_servers_are_checked_before_anything_connects() {
        let error = Client::new(ClientConfig::new(Vec::<String>::new())).unwrap_err();
        assert!(
            error.to_string().starts_with("bootstrap.servers: is empty"),
            "{error}"
        );
        let error = Client::new(ClientConfig::new(["localhost"])).unwrap_err();
        assert!(error.to_string().contains("is not host:port"), "{error}");
        Client::new(ClientConfig::new(["localhost:9092", "[::1]:9093"])).unwrap();
    }
}
