//! The Kafka cluster behind a worker, for what its REST interface cannot tell.

use kafka_client::Client;
use serde_json::Value;

use crate::CliError;
use crate::connection::{self, ConnectionArguments};
use crate::invocation::Invocation;
use crate::rest::Rest;

/// A client for the cluster that the worker uses. A worker does not tell where its brokers are, but
/// which cluster they are: another one's offsets and records would be taken for the worker's.
///
/// # Errors
/// No broker answers, or one of another cluster.
pub async fn connect(
    rest: &Rest,
    arguments: &ConnectionArguments,
    invocation: &Invocation,
) -> Result<Client, CliError> {
    let worker = rest.get("/").await?.success()?;
    let wanted = worker.get("kafka_cluster_id").and_then(Value::as_str);
    let properties = arguments.properties(invocation)?;
    let client = connection::connect(&properties, "connect").await?;
    let found = client.cluster().await?.cluster_id;
    match wanted {
        Some(wanted) if wanted != found => {
            client.close().await;
            Err(CliError::failed(format!(
                "error: the broker at {} belongs to cluster \"{found}\", and the worker uses \"{wanted}\"; \
                 name a broker of that one with --bootstrap-server, a worker says at its start where it is",
                properties
                    .get("bootstrap.servers")
                    .unwrap_or("the default address")
            )))
        }
        _ => Ok(client),
    }
}
