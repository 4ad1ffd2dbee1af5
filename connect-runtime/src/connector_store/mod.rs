//! Connectors made by REST, kept in a compacted topic in the shape Kafka Connect's distributed
//! workers give them, so that these can read it, and it can be read from what they left.

mod record;
mod store;

pub(crate) use store::{Change, ConnectorStore, Stored};
