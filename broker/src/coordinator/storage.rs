//! Where groups are kept: what the coordinator needs of the rest of the broker.
//!
//! A trait, so that the coordinator's tests run on a log in memory that can fail on command.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::error::GroupError;

/// The internal topic that holds groups and offsets.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Why storage failed: what the client is told and what the log says.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct StorageError {
    /// The answer to the client.
    pub(crate) answer: GroupError,
    /// What happened, for the operator.
    pub(crate) message: String,
}

/// A piece of an offsets partition.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Whole record batches; the first one may begin before the offset asked for.
    pub(crate) records: Bytes,
    /// Where the log ends now.
    pub(crate) log_end: i64,
}

/// The partitions of `__consumer_offsets` on this node, and which topics exist.
pub(crate) trait GroupStorage: Send + Sync + 'static {
    /// How many partitions the offsets topic has; none if there is no such topic yet.
    fn partitions(&self) -> Option<i32>;

    /// Creates the offsets topic if it doesn't exist; says how many partitions it has.
    fn ensure(&self) -> BoxFuture<'_, Result<i32, StorageError>>;

    /// Appends a batch; it is durable when this returns.
    fn append(&self, partition: i32, batch: Bytes) -> BoxFuture<'_, Result<(), StorageError>>;

    /// Where the partition's log starts.
    fn log_start(&self, partition: i32) -> Result<i64, StorageError>;

    /// Reads batches from `offset` on.
    fn read(&self, partition: i32, offset: i64) -> BoxFuture<'_, Result<Chunk, StorageError>>;

    /// Whether the topic that was called `name` and had `id` when an offset was committed is
    /// still the same one. `id` all zero means that it wasn't known.
    fn is_same_topic(&self, name: &str, id: [u8; 16]) -> bool;
}
