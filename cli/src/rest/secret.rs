//! Texts that a person types and that no screen shows.

use std::io::{BufRead, IsTerminal};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::{CliError, output};

/// Whether a person is at standard input.
pub fn is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Reads a line that the terminal does not show.
///
/// # Errors
/// Standard input is no terminal, or ends.
pub fn hidden_line(prompt: &str) -> Result<String, CliError> {
    let failed =
        |error: std::io::Error| CliError::failed(format!("cannot read the password: {error}"));
    let echo = NoEcho::begin().map_err(|error| failed(error.into()))?;
    crate::error::complain(prompt);
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    drop(echo);
    output::note("");
    match read.map_err(failed)? {
        0 => Err(failed(std::io::ErrorKind::UnexpectedEof.into())),
        _ => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
    }
}

/// A terminal that shows nothing until this is dropped.
struct NoEcho {
    before: Termios,
}

impl NoEcho {
    fn begin() -> rustix::io::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self { before })
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        // A terminal that has gone away needs no repair.
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.before).ok();
    }
}
