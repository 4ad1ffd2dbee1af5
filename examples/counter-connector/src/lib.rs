//! An example to copy: a source that counts and a sink that adds up.

mod counter;
mod sum;

pub use counter::{CounterConfig, CounterSourceConnector};
pub use sum::{SumConfig, SumSinkConnector};
