//! The one error type of connectors, tasks, converters and transforms.

use std::error::Error;
use std::fmt;

use crate::config::Problem;

/// What an error means for the worker; see [`ConnectError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The outside world is not ready; the same call will be made again, with back-off.
    Retriable,
    /// This one record is bad; the connector's `errors.tolerance` decides whether it is skipped (and
    /// sent to the dead letter queue) or fails the task.
    Record,
    /// The configuration is wrong; nothing changes until somebody edits it, so there is no retry.
    Configuration,
    /// Anything else; the task fails and is restarted by the worker's restart policy.
    Fatal,
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorClass::Retriable => "retriable",
            ErrorClass::Record => "record",
            ErrorClass::Configuration => "configuration",
            ErrorClass::Fatal => "fatal",
        })
    }
}

/// What went wrong, and what the worker should do about it.
///
/// | class | the worker |
/// |---|---|
/// | [`Retriable`](ErrorClass::Retriable) | shows the reason in the task's state and makes the same call again with back-off, for as long as it takes |
/// | [`Record`](ErrorClass::Record) | treats the record as `errors.tolerance` says |
/// | [`Configuration`](ErrorClass::Configuration) | fails the task and waits for a new configuration |
/// | [`Fatal`](ErrorClass::Fatal) | fails the task, then restarts it with exponential back-off |
///
/// Write messages as the rest of the project does: lower case, the value in quotes, and after a
/// semicolon what to do: `file "/var/log/x" is not readable; check its permissions`. Never put a
/// secret into one.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    class: ErrorClass,
    message: String,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl ConnectError {
    /// An error of any class.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        ConnectError {
            class,
            message: message.into(),
            source: None,
        }
    }

    /// The outside world is not ready; try again.
    pub fn retriable(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Retriable, message)
    }

    /// One record is bad.
    pub fn record(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Record, message)
    }

    /// The configuration is wrong.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Configuration, message)
    }

    /// The task cannot go on.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Fatal, message)
    }

    /// Adds the error that caused this one; [`ConnectError::report`] shows the chain.
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Puts `context` and a colon before the message: what was being done, and to what.
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// What the error means for the worker.
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// The message without its causes.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same call may succeed later.
    pub fn is_retriable(&self) -> bool {
        self.class == ErrorClass::Retriable
    }

    /// The message and all its causes on one line.
    pub fn report(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.ends_with(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = error.source();
        }
        text
    }
}

/// Input and output fail for reasons that pass (full disk, missing folder, lost network), so they are
/// retriable unless the connector knows better.
impl From<std::io::Error> for ConnectError {
    fn from(error: std::io::Error) -> Self {
        ConnectError::retriable(error.to_string()).with_source(error)
    }
}

/// All problems of a configuration in one error, so that `Config::parse(map)?` reports every one.
impl From<Vec<Problem>> for ConnectError {
    fn from(problems: Vec<Problem>) -> Self {
        let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
        ConnectError::configuration(lines.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_shows_every_cause_once() {
        let io = std::io::Error::other("disk gone");
        let error = ConnectError::fatal("cannot read")
            .with_source(io)
            .context("file \"a\"");
        assert_eq!(error.report(), "file \"a\": cannot read: disk gone");
        let plain = ConnectError::from(std::io::Error::other("disk gone"));
        assert_eq!(plain.report(), "disk gone");
        assert!(plain.is_retriable());
    }
}
