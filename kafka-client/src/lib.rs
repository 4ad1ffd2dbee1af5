//! A Kafka client that works in batches: producer, consumer, groups, admin.
//!
//! - [`Client`]: configuration, connections and cluster metadata, shared by all below;
//! - [`Producer`]: encodes records once, into the batch that goes over the wire, and keeps each
//!   partition's order through retries, leader changes and restarts of a broker;
//! - [`Consumer`]: hands out records as slices of the bytes that came over the wire;
//! - [`Admin`]: topics, configurations, groups and offsets.
//!
//! It speaks to Apache Kafka 3.9 and later, and runs inside a simulation: all sockets, clocks and
//! random numbers come from the `platform` crate.

mod admin;
mod any_broker;
mod backoff;
mod client;
mod cluster;
mod config;
mod connection;
mod consumer;
mod error;
mod error_code;
mod group_offsets;
mod handshake;
mod moment;
mod pool;
mod producer;
mod topic_partition;
mod versions;

/// One connection to one broker, for those who speak to each broker themselves.
pub mod wire {
    pub use crate::connection::{Connection, Pending};
}

pub use admin::{
    Admin, AlterConfigOp, ClusterDescription, ConfigAlteration, ConfigEntry, ConfigResource,
    ConfigResourceType, ConfigSource, ElectionType, GroupDescription, GroupListing, GroupMember,
    ListedOffset, LogDirDescription, LogDirReplica, NewTopic, OffsetSpec, PartitionInfo,
    PartitionReassignment, QuorumDescription, QuorumListener, QuorumNode, QuorumReplica,
    TopicDescription, TopicListing,
};
pub use client::{Client, ClusterInfo};
pub use cluster::BrokerInfo;
pub use config::ClientConfig;
pub use consumer::{
    Assignor, AutoOffsetReset, Consumer, ConsumerConfig, FetchedBatch, IsolationLevel,
    OffsetAndMetadata, Polled, RebalanceEvent,
};
pub use error::ClientError;
pub use error_code::ErrorCode;
pub use kafka_records::{Compression, Header, Record};
pub use moment::Moment;
pub use producer::{
    Acks, Delivered, Delivery, DeliveryError, Producer, ProducerConfig, ProducerRecord, Proof,
    partition_for_key,
};
pub use topic_partition::TopicPartition;
