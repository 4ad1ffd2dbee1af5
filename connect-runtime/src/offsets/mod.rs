//! Source offsets, kept in a compacted topic in the shape Kafka Connect gives them.

mod key;
mod store;
mod topic;

pub(crate) use store::OffsetStore;
