//! Where groups are kept: what the coordinator needs of the rest of the broker.
//!
//! A trait, so that the coordinator's tests run on a log in memory that can fail on command.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

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
    /// An append failed, but its records may be in the log all the same.
    pub(crate) in_doubt: bool,
}

impl StorageError {
    /// Something failed and left no trace.
    pub(crate) fn new(answer: GroupError, message: impl Into<String>) -> Self {
        Self {
            answer,
            message: message.into(),
            in_doubt: false,
        }
    }
}

/// A time during which one broker leads a partition of the offsets topic without a break. What
/// was replayed in one term says nothing about the next: another broker may have written between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    /// Id of the offsets topic.
    pub(crate) topic: [u8; 16],
    /// The leader epoch.
    pub(crate) epoch: i32,
}

/// The partitions of the offsets topic this node leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Version of the metadata that says so.
    pub(crate) version: u64,
    /// Each of them, and since when.
    pub(crate) led: BTreeMap<i32, Term>,
}

/// A piece of an offsets partition.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Whole record batches; the first one may begin before the offset asked for.
    pub(crate) records: Bytes,
    /// Where the log ends now.
    pub(crate) log_end: i64,
}

/// The partitions of `__consumer_offsets`, who leads them, and which topics exist.
///
/// Whatever is asked of a partition in a term that is not this node's present one fails.
pub(crate) trait GroupStorage: Send + Sync + 'static {
    /// How many partitions the offsets topic has; none if there is no such topic yet.
    fn partitions(&self) -> Option<i32>;

    /// Creates the offsets topic if it doesn't exist; says how many partitions it has.
    fn ensure(&self) -> BoxFuture<'_, Result<i32, StorageError>>;

    /// The broker that leads a partition; none while there is no leader.
    fn leader(&self, partition: i32) -> Option<i32>;

    /// Since when this node leads a partition, if it does.
    fn term(&self, partition: i32) -> Option<Term>;

    /// Everything this node leads.
    fn assignment(&self) -> Assignment;

    /// What this node leads: now, and again at each change.
    fn follow(&self) -> BoxStream<'static, Assignment>;

    /// Appends a batch in `term`; it is committed, on every replica in sync, when this returns.
    fn append(
        &self,
        partition: i32,
        term: Term,
        batch: Bytes,
    ) -> BoxFuture<'_, Result<(), StorageError>>;

    /// Waits, though not for long, until everything before `offset` is committed.
    fn committed(
        &self,
        partition: i32,
        term: Term,
        offset: i64,
    ) -> BoxFuture<'_, Result<(), StorageError>>;

    /// Where the partition's log starts.
    fn log_start(&self, partition: i32, term: Term) -> Result<i64, StorageError>;

    /// Reads batches from `offset` on.
    fn read(
        &self,
        partition: i32,
        term: Term,
        offset: i64,
    ) -> BoxFuture<'_, Result<Chunk, StorageError>>;

    /// Whether the topic that was called `name` and had `id` when an offset was committed is
    /// still the same one. `id` all zero means that it wasn't known.
    fn is_same_topic(&self, name: &str, id: [u8; 16]) -> bool;
}
