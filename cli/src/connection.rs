//! Where the cluster is and how to talk to it: the options that all tools share.

use std::path::PathBuf;
use std::time::Duration;

use kafka_client::{Client, ClientConfig, ClientError};

use crate::invocation::Invocation;
use crate::properties::{self, Properties};
use crate::{CliError, output};

const DEFAULT_BOOTSTRAP_SERVER: &str = "127.0.0.1:9092";
/// How long a broker may take to be there; somebody waits for the answer, but a broker may just be
/// starting.
const REACH_TIMEOUT: Duration = Duration::from_secs(3);

/// Options for the connection to the cluster.
#[derive(Debug, Clone, clap::Args)]
pub struct ConnectionArguments {
    /// Brokers to begin with, several with commas [default: 127.0.0.1:9092].
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap_server: Option<String>,
    /// The old name of --bootstrap-server.
    #[arg(long, value_name = "HOST:PORT", hide = true)]
    pub broker_list: Option<String>,
    /// A file with client settings, .properties or .toml.
    #[arg(long, value_name = "FILE", aliases = ["consumer.config", "producer.config", "admin.config"])]
    pub command_config: Option<PathBuf>,
}

impl ConnectionArguments {
    /// The client's settings: those of the file, with the address from the command line.
    ///
    /// # Errors
    /// Mistakes of the file; no address where Kafka's tools ask for one.
    pub fn properties(&self, invocation: &Invocation) -> Result<Properties, CliError> {
        let mut properties = match &self.command_config {
            Some(path) => properties::load(path)?,
            None => Properties::empty(),
        };
        if self.broker_list.is_some() {
            output::note("Option --broker-list is deprecated; use --bootstrap-server instead.");
        }
        let given = self
            .bootstrap_server
            .as_deref()
            .or(self.broker_list.as_deref());
        match given {
            Some(servers) => properties.set("bootstrap.servers", servers, "--bootstrap-server"),
            None if properties.get("bootstrap.servers").is_some() => {}
            None if invocation.kafka_name => {
                return Err(invocation.usage("--bootstrap-server must be specified"));
            }
            None => properties.set("bootstrap.servers", DEFAULT_BOOTSTRAP_SERVER, "the default"),
        }
        Ok(properties)
    }
}

/// A client for the cluster that `properties` name; `client_id` unless they say otherwise.
///
/// # Errors
/// Values that make no sense, security this program cannot offer, and no broker that answers.
pub async fn connect(properties: &Properties, client_id: &str) -> Result<Client, CliError> {
    if let Some(protocol) = properties
        .get("security.protocol")
        .filter(|protocol| *protocol != "PLAINTEXT")
    {
        let message =
            format!("\"{protocol}\" is not supported yet; use a PLAINTEXT listener of the broker");
        return Err(properties.refused("security.protocol", message));
    }
    let servers = properties
        .get("bootstrap.servers")
        .unwrap_or(DEFAULT_BOOTSTRAP_SERVER);
    let servers = servers
        .split(',')
        .map(str::trim)
        .filter(|server| !server.is_empty());
    let mut config = ClientConfig::new(servers.map(str::to_owned));
    config.client_id = properties.get("client.id").unwrap_or(client_id).to_owned();
    for (key, value) in [
        ("request.timeout.ms", &mut config.request_timeout),
        ("default.api.timeout.ms", &mut config.api_timeout),
        (
            "socket.connection.setup.timeout.ms",
            &mut config.connection_timeout,
        ),
        ("connections.max.idle.ms", &mut config.connections_max_idle),
        ("metadata.max.age.ms", &mut config.metadata_max_age),
        ("reconnect.backoff.ms", &mut config.reconnect_backoff),
        (
            "reconnect.backoff.max.ms",
            &mut config.reconnect_backoff_max,
        ),
        ("retry.backoff.ms", &mut config.retry_backoff),
        ("retry.backoff.max.ms", &mut config.retry_backoff_max),
    ] {
        if let Some(millis) = properties.parsed(key, "a number of milliseconds")? {
            *value = Duration::from_millis(millis);
        }
    }
    let client = Client::new(config.clone())?;
    match tokio::time::timeout(REACH_TIMEOUT, client.cluster()).await {
        Ok(reached) => drop(reached?),
        Err(_) => {
            client.close().await;
            // The client goes on trying; one that doesn't says what is wrong.
            let at_once = Duration::from_millis(50);
            config.api_timeout = at_once;
            config.connection_timeout = at_once;
            config.request_timeout = at_once;
            Client::new(config)?.cluster().await?;
            return Err(CliError::failed(format!(
                "error: no broker answered within {REACH_TIMEOUT:?}"
            )));
        }
    }
    Ok(client)
}

/// Runs a tool's work on two threads: the one that waits here may block on a terminal or a pipe
/// while the other keeps connections alive.
///
/// # Errors
/// Those of the work.
pub fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| CliError::failed(format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(work);
    // A thread may still wait for a line from a terminal; it need not keep the command from ending.
    runtime.shutdown_background();
    result
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        Self::failed(format!("error: {error}"))
    }
}
