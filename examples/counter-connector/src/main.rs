//! A worker with the connectors of this crate, and no others.

use std::process::ExitCode;

use counter_connector as _;

fn main() -> ExitCode {
    connect_runtime::standalone::run_main(None)
}
