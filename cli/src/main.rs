//! The multi-call binary `connect`.

use std::process::ExitCode;

fn main() -> ExitCode {
    connect_cli::run(std::env::args_os().collect())
}
