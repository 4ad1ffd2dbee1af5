//! Source offsets, kept in a compacted topic in the shape Kafka Connect gives them.

mod key;
mod store;
mod unproven;

pub(crate) use store::OffsetStore;
pub(crate) use unproven::Unproven;
