//! What can go wrong between starting a worker and stopping it.

use kafka_client::ClientError;

use crate::config::Problems;
use crate::config::worker::Keeps;

/// Why a worker could not be started or a connector not be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// A configuration is wrong; every mistake is listed, one per line.
    #[error("{0}")]
    Config(#[from] Problems),
    /// The cluster could not be reached or described.
    #[error("cannot reach the cluster at \"{servers}\": {source}")]
    Unreachable {
        /// The bootstrap servers.
        servers: String,
        /// Why.
        source: ClientError,
    },
    /// The embedded broker could not be started.
    #[error("{0}")]
    EmbeddedBroker(String),
    /// An internal topic is there and cannot be used, or cannot be created.
    #[error("topic \"{topic}\" cannot keep {keeps}: {reason}")]
    InternalTopic {
        /// The topic.
        topic: String,
        /// What it is for.
        keeps: Keeps,
        /// Why, and what to do.
        reason: String,
    },
    /// What is stored in an internal topic could not be read.
    #[error("cannot read the stored {keeps} from topic \"{topic}\": {source}")]
    InternalRead {
        /// The topic.
        topic: String,
        /// What it keeps.
        keeps: Keeps,
        /// Why.
        source: ClientError,
    },
    /// A change of a connector could not be stored, so it was not made.
    #[error(
        "connector \"{name}\" is not changed, because topic \"{topic}\" did not confirm the change: \
         {source}; it may have it all the same and show it after the next start"
    )]
    NotStored {
        /// The connector.
        name: String,
        /// The topic.
        topic: String,
        /// Why.
        source: ClientError,
    },
    /// A connector of this name is there already.
    #[error("connector \"{name}\" is there already; give each connector its own name")]
    ConnectorExists {
        /// The name.
        name: String,
    },
    /// There is no such connector.
    #[error("there is no connector \"{name}\"")]
    UnknownConnector {
        /// The name.
        name: String,
    },
    /// The connector has no such task.
    #[error("connector \"{connector}\" has no task {task}")]
    UnknownTask {
        /// The connector.
        connector: String,
        /// The number.
        task: usize,
    },
    /// Offsets change only while nothing runs that may commit others.
    #[error("connector \"{connector}\" is not stopped; stop it before its offsets are changed")]
    NotStopped {
        /// The connector.
        connector: String,
    },
    /// New offsets make no sense to the connector, or are of partitions that do not exist.
    #[error("the offsets of connector \"{connector}\" cannot be changed so: {reason}")]
    OffsetsRefused {
        /// The connector.
        connector: String,
        /// Every reason, one a line.
        reason: String,
    },
    /// Members of a sink's group have not left it yet.
    #[error(
        "the consumer group of connector \"{connector}\" still has members, so its offsets cannot be changed; try again later"
    )]
    GroupHasMembers {
        /// The connector.
        connector: String,
    },
    /// New offsets could not be stored, or not all of them.
    #[error("the offsets of connector \"{connector}\" could not be changed: {reason}")]
    OffsetsNotChanged {
        /// The connector.
        connector: String,
        /// Why.
        reason: String,
    },
    /// The worker is stopping.
    #[error("the worker is stopping")]
    Stopping,
}
