//! What the worker measures, and `GET /metrics` in the text format of Prometheus.
//!
//! - [`Sampled`](sample::Sampled): sums, averages and maxima of the last windows;
//! - [`TaskMeter`]: what is counted beside one task;
//! - [`Meters`]: where all of them are;
//! - [`catalogue`]: which metrics there are of tasks;
//! - [`page`]: the page, under the names that Kafka's metrics have behind the usual exporters.
//!
//! Invariants: a task only ever adds to atomics, once per batch, call or commit; to read them holds no
//! task up.

mod catalogue;
mod meter;
mod meters;
mod page;
mod sample;
mod text;

pub(crate) use meter::{ErrorMeter, Life, TaskMeter};
pub(crate) use meters::{Meters, Starts};
pub(crate) use page::{Names, page};
pub use sample::Sampling;
pub(crate) use text::CONTENT_TYPE;
