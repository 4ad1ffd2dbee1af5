//! Standard output: the data a command was asked for, and nothing else.

use std::io::{self, Write};

use crate::CliError;

/// Prints `text` as it is.
///
/// # Errors
/// [`CliError::OutputClosed`] when the reader is gone, otherwise what the system says.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()?;
    Ok(())
}

/// Prints `text` and ends the line.
///
/// # Errors
/// As [`print`].
pub fn line(text: &str) -> Result<(), CliError> {
    print(&format!("{text}\n"))
}

/// Says something that is no data on standard error, such as a warning.
pub fn note(text: &str) {
    crate::error::complain(&format!("{text}\n"));
}
