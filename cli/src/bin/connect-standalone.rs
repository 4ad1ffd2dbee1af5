//! The binary `connect-standalone`: the same as `connect standalone`, whatever its file is called.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let named = [OsString::from("connect-standalone")];
    connect_cli::run(
        named
            .into_iter()
            .chain(std::env::args_os().skip(1))
            .collect(),
    )
}
