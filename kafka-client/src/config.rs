//! What every connection of a client shares.

use std::time::Duration;

/// Addresses, timeouts and back-off of a [`Client`](crate::Client). Start from
/// [`ClientConfig::new`]; the other values are Kafka's defaults.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// `host:port` of some brokers of the cluster; the others are found through them
    /// (`bootstrap.servers`).
    pub bootstrap_servers: Vec<String>,
    /// The name brokers see in their logs and quotas (`client.id`).
    pub client_id: String,
    /// How long a broker may take to answer (`request.timeout.ms`).
    pub request_timeout: Duration,
    /// How long a call that needs several requests, such as those of [`Admin`](crate::Admin), may
    /// go on retrying (`default.api.timeout.ms`).
    pub api_timeout: Duration,
    /// How long a connection may take to be established (`socket.connection.setup.timeout.ms`).
    pub connection_timeout: Duration,
    /// Unused connections are closed after this long (`connections.max.idle.ms`).
    pub connections_max_idle: Duration,
    /// Cluster metadata older than this is fetched again (`metadata.max.age.ms`).
    pub metadata_max_age: Duration,
    /// The wait before connecting again to a broker that failed (`reconnect.backoff.ms`); doubles
    /// with each failure, with 20 % jitter.
    pub reconnect_backoff: Duration,
    /// Its upper bound (`reconnect.backoff.max.ms`).
    pub reconnect_backoff_max: Duration,
    /// The wait before a failed request is repeated (`retry.backoff.ms`); doubles with each
    /// failure, with 20 % jitter.
    pub retry_backoff: Duration,
    /// Its upper bound (`retry.backoff.max.ms`).
    pub retry_backoff_max: Duration,
    /// Answers longer than this are refused before memory is reserved for them.
    pub response_bytes_max: usize,
}

impl ClientConfig {
    /// Kafka's defaults, for the cluster behind these `host:port` addresses.
    pub fn new<S: Into<String>>(bootstrap_servers: impl IntoIterator<Item = S>) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into_iter().map(Into::into).collect(),
            client_id: "connect".to_owned(),
            request_timeout: Duration::from_secs(30),
            api_timeout: Duration::from_secs(60),
            connection_timeout: Duration::from_secs(10),
            connections_max_idle: Duration::from_secs(9 * 60),
            metadata_max_age: Duration::from_secs(5 * 60),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            response_bytes_max: 128 * 1024 * 1024,
        }
    }

    /// The same with another `client.id`.
    #[must_use]
    pub fn with_client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }
}
