//! Connectors that people test with, under the names, keys and offsets they have in Kafka
//! (`org.apache.kafka.connect.tools`), and the source of made-up records that Confluent calls Datagen.
//!
//! Link the crate by name (`use connect_tools as _;`) and all are found by `connector.class`.
//!
//! | connector | what it does |
//! |---|---|
//! | `VerifiableSource` | writes consecutive numbers and prints a line of JSON for each, and another one when it is committed |
//! | `VerifiableSink` | prints a line of JSON for each record, and another one when it is flushed |
//! | `SchemaSource` | writes a given number of structs, of two versions of a schema if wanted |
//! | `MockSource`, `MockSink` | fail after a while: the connector or its task |
//! | `DatagenSource` | writes records made up after a quickstart or an Avro schema |
//!
//! # Exactly where it was
//! What a source returns is a function of its configuration and of a number that counts up and is its
//! offset, so that after a crash it goes on with the very record that it would have written.
//!
//! # Intended differences from Kafka
//! `committed` and `flushed` lines are printed only for what is; `num.messages` of the schema source
//! counts over restarts; sources that have written everything wait instead of failing their task; wrong
//! keys are refused, all at once.

mod datagen;
mod json;
mod lines;
mod mock;
mod offsets;
mod schema_source;
mod throughput;
mod verifiable_sink;
mod verifiable_source;

pub use datagen::{DatagenConfig, DatagenConnector, Quickstart};
pub use mock::{MockConfig, MockMode, MockSinkConnector, MockSourceConnector};
pub use schema_source::{SchemaSourceConfig, SchemaSourceConnector};
pub use verifiable_sink::{VerifiableSinkConfig, VerifiableSinkConnector};
pub use verifiable_source::{VerifiableSourceConfig, VerifiableSourceConnector};
