//! Changes of the cluster's metadata: what the journal stores and what [`MetadataImage`] is the
//! sum of. A change is decided once (by the controller) and applied everywhere in the same order,
//! so a record holds results, never intentions: ids and assignments are in it, not chosen by it.
//!
//! [`MetadataImage`]: super::image::MetadataImage

use serde::{Deserialize, Serialize};

/// Kafka's 16-byte topic id.
pub(crate) type TopicId = [u8; 16];

/// What a configuration belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConfigResource {
    /// A topic, by name.
    Topic(String),
    /// A broker, by its id as text; empty for all brokers.
    Broker(String),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum MetadataRecord {
    /// A topic exists.
    Topic { name: String, id: TopicId },
    /// A partition exists, or its replicas or leader changed.
    Partition {
        topic: TopicId,
        index: i32,
        leader: i32,
        leader_epoch: i32,
        replicas: Vec<i32>,
        isr: Vec<i32>,
    },
    /// A topic is gone; its records may still be on disk.
    RemoveTopic { id: TopicId },
    /// The records of a removed topic are gone as well.
    ForgetTopic { id: TopicId },
    /// A setting changed; no value means that it is no longer set.
    Config {
        resource: ConfigResource,
        key: String,
        value: Option<String>,
    },
    /// Producer ids below `next` have been handed out.
    ProducerIds { next: i64 },
}
