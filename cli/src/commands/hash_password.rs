//! `connect hash-password`: what a worker's file has of the password of a user of its REST interface.

use std::io::BufRead;

use clap::Command;
use connect_runtime::password::PasswordHash;

use crate::{CliError, output, rest};

const EXAMPLES: &str = "\
The password is read from standard input, one line, and never from an argument, because everybody on the
machine can read those. What is printed goes into the worker's file:
  rest.users.NAME.password = pbkdf2-sha256$…
  rest.users.NAME.role = full        (or read-only)

Examples:
  connect hash-password
  connect hash-password < password.txt";

/// The command line of `connect hash-password`.
pub fn command() -> Command {
    Command::new("hash-password")
        .about("Hash a password for a user of a worker's REST interface")
        .after_help(EXAMPLES)
        // The overview is for daily things.
        .hide(true)
}

/// Reads a password and prints its hash.
///
/// # Errors
/// There is no password to read, or what is printed is wanted by nobody.
pub fn run() -> Result<(), CliError> {
    let password = match rest::is_terminal() {
        true => {
            let first = rest::hidden_line("Password: ")?;
            if first != rest::hidden_line("Again: ")? {
                return Err(CliError::failed("error: both passwords must be the same"));
            }
            first
        }
        false => {
            let mut line = String::new();
            std::io::stdin()
                .lock()
                .read_line(&mut line)
                .map_err(|error| CliError::failed(format!("cannot read the password: {error}")))?;
            line.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    let hash = PasswordHash::of(&password)
        .map_err(|reason| CliError::failed(format!("error: {reason}")))?;
    output::line(&hash.to_string())
}
