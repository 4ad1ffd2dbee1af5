//! What `poll` hands out.

use std::sync::Arc;

use kafka_records::Record;

use crate::TopicPartition;

/// A change of what this consumer owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RebalanceEvent {
    /// These partitions were added. Reading starts with the next `poll`, so this is the time to
    /// seek.
    Assigned(Vec<TopicPartition>),
    /// These partitions will be given up. They are still owned until the next `poll`, so this is
    /// the time to finish work on them and commit.
    Revoked(Vec<TopicPartition>),
    /// These partitions are no longer owned and may belong to another member already: drop what is
    /// held for them, commits would be refused.
    Lost(Vec<TopicPartition>),
}

/// The result of one `poll`.
#[derive(Debug, Default)]
pub struct Polled {
    /// Changes of the assignment, in order. When there are any, there are no batches.
    pub events: Vec<RebalanceEvent>,
    /// Records, at most one entry per partition.
    pub batches: Vec<FetchedBatch>,
}

impl Polled {
    /// Whether nothing happened within the timeout.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.batches.is_empty()
    }

    /// The number of records in all batches.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.batches.iter().map(|batch| batch.records.len()).sum()
    }
}

/// Consecutive records of one partition.
#[derive(Debug)]
pub struct FetchedBatch {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The records, by offset; offsets may have gaps. Keys and values are slices of the bytes that
    /// came over the wire. Empty if this stretch of the log had nothing for this consumer, such as
    /// aborted transactions; `next_offset` has moved all the same.
    pub records: Vec<Record>,
    /// The first offset that readers cannot see yet, as the broker told with these records.
    pub high_watermark: i64,
    /// Where reading goes on: what to commit once these records are processed.
    pub next_offset: i64,
    /// The leader epoch of the last record, to be committed along; -1 if unknown.
    pub leader_epoch: i32,
}

/// A committed position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the last record read, if known; lets the next reader notice a truncated
    /// log.
    pub leader_epoch: Option<i32>,
    /// Free text, at most 4096 bytes by default.
    pub metadata: String,
}

impl OffsetAndMetadata {
    /// A position without epoch and text.
    #[must_use]
    pub const fn new(offset: i64) -> Self {
        Self {
            offset,
            leader_epoch: None,
            metadata: String::new(),
        }
    }
}
