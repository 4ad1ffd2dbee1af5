//! The command line: one multi-call program that assembles broker, worker and tools.
//!
//! `connect topics …` and a link named `kafka-topics` (or `kafka-topics.sh`) are the same command;
//! the latter asks for what Kafka's tool asks for. Each command is one file under [`commands`], with
//! its arguments (a clap struct) apart from its action. Data goes to standard output, everything
//! else to standard error.

mod allocator;
pub mod commands;
pub mod connection;
pub mod connector_file;
pub mod daemon;
pub mod error;
pub mod identifier;
pub mod interruption;
pub mod invocation;
pub mod listing;
pub mod moment;
pub mod output;
pub mod pid_file;
pub mod properties;
pub mod rest;
pub mod table;
pub mod worker_cluster;
pub mod worker_file;
pub mod yaml;

use std::ffi::OsString;
use std::process::ExitCode;

pub use error::CliError;

// Linking a connector's crate is what makes its class known to the worker.
use connect_file as _;
use connect_schema_registry as _;
use connect_tools as _;

/// Runs the program as the name in the first argument asks, and gives its exit code.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    allocator::keep_blocks();
    match invocation::Invocation::parse(arguments).and_then(commands::dispatch) {
        Ok(code) => code,
        Err(error) => error.report(),
    }
}
