//! A lightweight Kafka-compatible broker: it speaks Kafka's protocol and keeps Kafka's logs.
//!
//! - [`Broker`] starts and stops one; [`BrokerConfig`] reads Kafka's `server.properties`.
//! - `server` accepts connections, `api` answers requests, one file per Kafka API.
//! - `controller` holds what the cluster agrees on: topics, configuration, producer ids.
//! - `coordinator` keeps groups and their offsets.
//! - [`replica`] is one partition, [`log`] its files.
//! - `replication` makes this node's partitions what the metadata says, and copies from leaders.
//! - `lifecycle` makes a broker part of its cluster; `peer` is how brokers talk about the cluster.

mod api;
mod broker;
mod config;
mod controller;
mod coordinator;
mod error;
mod error_code;
#[doc(hidden)]
pub mod inspect;
mod lifecycle;
pub mod log;
mod node;
mod peer;
pub mod replica;
mod replication;
mod server;

pub use broker::{Broker, BrokerBuilder};
pub use config::{BrokerConfig, ConfigProblem, Listener};
pub use error::BrokerError;
