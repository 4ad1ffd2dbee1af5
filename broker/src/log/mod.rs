//! One partition's log on disk: segments, indexes, append, read, recovery, retention and compaction.
//!
//! Files and names are Kafka's, so that its tools can read them. No network and no protocol beyond the record
//! batch. Everything here blocks; callers run it through `platform::blocking`.
//!
//! Invariants: what a reader gets was checked against its checksum; an append that fails leaves the log as it was;
//! offsets only grow; a crash at any moment costs at most what was not yet flushed.

mod checkpoint;
mod cleaner;
mod config;
mod epochs;
mod error;
mod index;
mod producers;
mod recovery;
mod retention;
mod scan;
mod segment;
mod space;
mod store;

#[cfg(test)]
mod space_tests;
#[cfg(test)]
mod tests;

pub use config::{CleanupPolicy, LogConfig, LogOptions, TimestampType, TopicConfigProblem};
pub use error::LogError;

pub(crate) use checkpoint::{
    Offsets, name as checkpoint_name, read_offsets, read_topic_id, write_offsets, write_topic_id,
};
pub(crate) use cleaner::{clean, dirtiness};
pub(crate) use producers::Sequence;
pub(crate) use recovery::Opening;
pub(crate) use segment::Placed;
pub(crate) use store::{Appender, Log};
