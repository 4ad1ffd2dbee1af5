//! The Connect runtime: configuration files, plugins, supervised tasks, offsets, the standalone
//! worker with its REST interface.
//!
//! - [`config`]: files of three formats become one flat map that knows where every key is written;
//! - [`Worker`]: runs connectors against a Kafka cluster and keeps their offsets there;
//! - [`rest`]: Kafka Connect's REST interface to a worker;
//! - [`password`]: those of its users, hashed;
//! - [`standalone`]: the whole program around a worker, for a `main` of three lines;
//! - [`logging`]: readable or JSON logs with connector and task on every line.
//!
//! It knows connectors only through `connect-core` and brokers only through `kafka-client`.

mod backoff;
mod clients;
mod connector;
mod connector_store;
mod converters;
mod error;
mod history;
mod internal_topic;
mod loggers;
mod metrics;
mod offsets;
mod pace;
mod place;
mod renewal;
mod restart;
mod room;
mod secrets;
mod sink;
mod source;
mod state;
mod supervisor;
mod tap;
mod task;
mod tolerance;
mod topics;
mod trace;
mod transforms;
mod trial;
mod worker;

pub mod config;
pub mod logging;
pub mod password;
pub mod rest;
pub mod standalone;

pub use error::WorkerError;
pub use history::{EVENTS_MAX, Happened, History, HistoryEvent, RestartedBy};
pub use metrics::Sampling;
pub use offsets::OffsetChange;
pub use restart::RestartPolicy;
pub use state::{ConnectorStatus, State, TaskStatus, WorkerStatus};
pub use trial::{Outcome, Trial, Tried};
pub use worker::{OffsetChanges, Restored, Stopped, Worker};
