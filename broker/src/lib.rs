//! A lightweight Kafka-compatible broker: it speaks Kafka's protocol and keeps Kafka's logs.
//!
//! - [`Broker`] starts and stops one; [`BrokerConfig`] reads Kafka's `server.properties`.
//! - `server` accepts connections, `api` answers requests, one file per Kafka API.
//! - `controller` holds what the cluster agrees on: topics, configuration, producer ids.
//! - `coordinator` keeps groups and their offsets.
//! - [`replica`] is one partition, [`log`] its files.

mod api;
mod broker;
mod config;
mod controller;
mod coordinator;
mod error;
mod error_code;
pub mod log;
mod node;
pub mod replica;
mod server;

pub use broker::{Broker, BrokerBuilder};
pub use config::{BrokerConfig, ConfigProblem, Listener};
pub use error::BrokerError;
