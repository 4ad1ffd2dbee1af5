//! What a connector author sees, and nothing else: traits, records, schemas and values, configuration,
//! converters, errors.
//!
//! # A connector in five minutes
//!
//! A source has four parts: its configuration, where it stands, the connector that splits the work into
//! tasks, and the task that does it. A crate depends on `connect-core`, and on `serde` for its offsets.
//!
//! ```
//! use std::time::Duration;
//!
//! use connect_core::{
//!     Config, ConfigMap, ConnectError, ConnectorContext, SchemaRef, SourceConnector, SourceOffset, SourcePartition,
//!     SourcePosition, SourceRecord, SourceTask, SourceTaskContext, async_trait, register_connector,
//! };
//!
//! // 1. The configuration: keys, defaults, limits and documentation in one place.
//! #[derive(Config)]
//! struct CounterConfig {
//!     /// The topic to write to.
//!     #[config(importance = "high", non_empty)]
//!     topic: String,
//!     /// The first number.
//!     #[config(default = 0, range = 0..)]
//!     start: i64,
//! }
//!
//! // 2. Where it stands: what is read, and how far. Stored as `{"counter":"main"}` and `{"next":5}`.
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Counter {
//!     counter: String,
//! }
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Place {
//!     next: i64,
//! }
//!
//! // 3. The connector: one task, because there is one counter.
//! #[derive(Default)]
//! struct CounterConnector {
//!     config: ConfigMap,
//! }
//!
//! #[async_trait]
//! impl SourceConnector for CounterConnector {
//!     async fn start(&mut self, _: ConnectorContext, config: &ConfigMap) -> Result<(), ConnectError> {
//!         CounterConfig::parse(config)?; // every mistake at once
//!         self.config = config.clone();
//!         Ok(())
//!     }
//!
//!     fn task_configs(&self, _max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
//!         Ok(vec![self.config.clone()])
//!     }
//!
//!     fn task(&self) -> Box<dyn SourceTask> {
//!         Box::new(CounterTask::default())
//!     }
//! }
//!
//! // 4. The task. `poll` may be dropped at any `.await`, so `next` moves only when records are returned.
//! #[derive(Default)]
//! struct CounterTask {
//!     topic: std::sync::Arc<str>,
//!     partition: Option<SourcePartition>,
//!     next: i64,
//! }
//!
//! #[async_trait]
//! impl SourceTask for CounterTask {
//!     async fn start(&mut self, context: SourceTaskContext, config: &ConfigMap) -> Result<(), ConnectError> {
//!         let config = CounterConfig::parse(config)?;
//!         let partition = SourcePartition::of(&Counter { counter: "main".into() })?;
//!         self.next = match context.offset(&partition).await? {
//!             Some(offset) => offset.read::<Place>()?.next,
//!             None => config.start,
//!         };
//!         self.topic = config.topic.into();
//!         self.partition = Some(partition);
//!         Ok(())
//!     }
//!
//!     async fn poll(&mut self) -> Result<Vec<SourceRecord>, ConnectError> {
//!         tokio::time::sleep(Duration::from_millis(10)).await;
//!         let record = SourceRecord::new(self.topic.clone(), self.next).with_value_schema(SchemaRef::INT64);
//!         let offset = SourceOffset::of(&Place { next: self.next + 1 })?;
//!         let partition = self.partition.clone().ok_or_else(|| ConnectError::fatal("not started"))?;
//!         self.next += 1;
//!         Ok(vec![record.at(SourcePosition::new(partition, offset))])
//!     }
//! }
//!
//! // 5. Its name. Users write `connector.class=CounterSource` or the full name.
//! register_connector! {
//!     /// Counts.
//!     pub struct CounterSource;
//!     class = "org.example.CounterSourceConnector",
//!     config = CounterConfig,
//!     source = CounterConnector::default(),
//! }
//!
//! // A test needs no worker.
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use connect_core::testing::TestWorker;
//!
//! let worker = TestWorker::new("counter");
//! let config = ConfigMap::from([("topic".into(), "numbers".into()), ("start".into(), "5".into())]);
//! let mut task = CounterTask::default();
//! task.start(worker.source_context(), &config).await?;
//! let first = task.poll().await?;
//! worker.store(first[0].position.as_ref().unwrap());
//!
//! let mut restarted = CounterTask::default();
//! restarted.start(worker.source_context(), &config).await?;
//! assert_eq!(restarted.poll().await?[0].value.as_i64(), Some(6));
//! # Ok::<(), ConnectError>(())
//! # }).unwrap();
//! ```
//!
//! A sink is a [`SinkConnector`] and a [`SinkTask`], whose `put` takes batches and whose `flush` says
//! which offsets are safe. Link the crate into a worker's binary with `use my_connector as _;`.
//!
//! # What to know before the first real one
//!
//! - **Nothing is lost** because offsets are stored only for records that are safe. A source says with
//!   [`SourceRecord::position`] what it has read; a sink says with [`SinkTask::flush`] what it has written.
//! - **Nothing blocks a thread.** Connectors share their threads; put blocking work on one of its own.
//! - **Errors have a class** ([`ConnectError`]) that says what the worker does: try again, skip the
//!   record, wait for another configuration, restart the task.
//! - **A wait has a reason**: say it with [`SourceTaskContext::waiting`], and users see it.
//! - **Text and bytes are slices** ([`Str`], `Bytes`): read a large buffer, cut records out of it, and
//!   they reach the topic without being copied.
//!
//! This crate knows no broker, no wire format and no worker; those know it.

// The derive writes paths that start with the crate's name; inside the crate it must exist, too.
extern crate self as connect_core;

pub mod config;
pub mod context;
pub mod converter;
mod decimal;
pub mod display;
mod error;
mod header;
pub mod plugin;
mod position;
mod record;
pub mod schema;
mod sink;
mod source;
mod structure;
pub mod testing;
mod text;
pub mod transform;
mod value;

pub use async_trait::async_trait;
pub use config::{Config, ConfigChoice, ConfigMap, Problem};
pub use context::{ConnectorContext, SinkTaskContext, SourceTaskContext, TaskId};
pub use converter::{Converter, HeaderConverter};
pub use decimal::{Decimal, NotADecimal};
pub use error::{ConnectError, ErrorClass};
pub use header::{Header, Headers};
pub use plugin::{AnyConnector, ConnectorFactory, ConnectorKind, PluginInfo};
pub use position::{SourceOffset, SourcePartition, SourcePosition};
pub use record::{
    Attachment, OffsetMap, Origin, SinkRecord, SourceRecord, TimestampType, TopicPartition,
};
pub use schema::{Field, Logical, Schema, SchemaBuilder, SchemaRef, Type};
pub use sink::{PutOutcome, RecordFailure, SinkConnector, SinkTask};
pub use source::{ExactlyOnce, SourceConnector, SourceTask};
pub use structure::Struct;
pub use text::Str;
pub use transform::{Fate, Predicate, RecordView, Transform};
pub use value::Value;

/// For this crate's macros only.
#[doc(hidden)]
pub mod __private {
    pub use {inventory, serde, typetag};
}
