//! Source offsets, kept in a compacted topic in the shape Kafka Connect gives them.

mod history;
mod key;
mod store;
mod unproven;

pub use history::OffsetChange;
pub(crate) use store::OffsetStore;
pub(crate) use unproven::Unproven;
