//! What ends a command early, and the exit code it gives.
//!
//! Kafka's tools exit with 1 whatever went wrong; `connect-standalone` has 1 for wrong usage, 2 when
//! the worker cannot start and 3 when a connector cannot be created. Commands that Kafka does not have
//! tell apart what a script has to tell apart: 1 when it could not be done, 2 when it was not
//! understood.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The arguments make no sense; the message says why, the command's help says how.
    #[error("{message}")]
    Usage {
        /// What is wrong with the arguments.
        message: String,
        /// The command to ask for help, such as `connect topics`.
        command: String,
        /// The exit code.
        code: u8,
    },
    /// clap has something to say: a wrong argument, or the help that was asked for (exit code 0).
    #[error("{error}")]
    Arguments {
        /// What it says.
        error: Box<clap::Error>,
        /// The exit code for a wrong argument.
        code: u8,
    },
    /// The command was understood and could not be done.
    #[error("{message}")]
    Failed {
        /// What happened, where, and the way out.
        message: String,
        /// The exit code.
        code: u8,
    },
    /// Everything was already said; only the exit code is left.
    #[error("exit code {0}")]
    Exit(u8),
    /// Nobody reads our output any more, as in `connect topics --list | head`: a quiet end.
    #[error("standard output was closed")]
    OutputClosed,
}

impl CliError {
    /// A failure with exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed {
            message: message.into(),
            code: 1,
        }
    }

    /// What clap says, with the exit code of the command for a wrong argument.
    pub fn arguments(error: clap::Error, code: u8) -> Self {
        Self::Arguments {
            error: Box::new(error),
            code,
        }
    }

    /// Says what happened on standard error and gives the exit code.
    pub fn report(&self) -> ExitCode {
        match self {
            Self::Usage {
                message,
                command,
                code,
            } => {
                complain(&format!(
                    "error: {message}\n\nFor more information, try '{command} --help'.\n"
                ));
                ExitCode::from(*code)
            }
            Self::Arguments { error, code } => {
                // Help and version go to standard output, errors to standard error; clap knows which.
                if error.use_stderr() {
                    complain(&error.to_string());
                    return ExitCode::from(*code);
                }
                match crate::output::print(&error.to_string()) {
                    Ok(()) | Err(Self::OutputClosed) => ExitCode::SUCCESS,
                    Err(_) => ExitCode::from(1),
                }
            }
            Self::Failed { message, code } => {
                complain(&format!("{message}\n"));
                ExitCode::from(*code)
            }
            Self::Exit(code) => ExitCode::from(*code),
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

impl From<clap::Error> for CliError {
    fn from(error: clap::Error) -> Self {
        Self::arguments(error, 1)
    }
}

impl From<io::Error> for CliError {
    /// For errors of standard output; a closed one is no error.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::failed(format!("cannot write to standard output: {error}")),
        }
    }
}

/// Writes to standard error; there is nobody left to tell when that fails.
pub fn complain(text: &str) {
    if io::stderr().lock().write_all(text.as_bytes()).is_err() {
        // The exit code still says it.
    }
}
