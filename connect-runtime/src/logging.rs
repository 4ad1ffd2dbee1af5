//! Logs: one line per event on standard error, as text or as JSON.
//!
//! Lines about a connector carry its name and the task's number, through the spans of its loops
//! and rooms. `RUST_LOG` chooses what is logged, in the syntax of `tracing-subscriber`'s
//! `EnvFilter`; while the program runs, the REST interface does. `NO_COLOR` keeps colours out of a
//! terminal.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::loggers::Loggers;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("expected text or json, got \"{text}\"")),
        }
    }
}

/// Whether standard error is read by programs.
static JSON: AtomicBool = AtomicBool::new(false);

/// Whether everything on standard error is JSON.
pub(crate) fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// The loggers, if [`init`] has set up the logs of this process.
static LOGGERS: OnceLock<Loggers> = OnceLock::new();

/// The loggers, unless somebody else has set up the logs of this process.
pub(crate) fn loggers() -> Option<&'static Loggers> {
    LOGGERS.get()
}

/// Sends all logs of the process to standard error. `default_filter` (`warn`, `info`,
/// `warn,broker=info`, …) counts unless `RUST_LOG` is set. A second call changes nothing.
pub fn init(format: LogFormat, default_filter: &str) {
    JSON.store(format == LogFormat::Json, Ordering::Relaxed);
    // openraft tells its own story at every level, and an error for every message that a dead
    // broker does not answer; what of it is for an operator, the broker says itself.
    let quiet = format!("openraft=off,{default_filter}");
    let default = || match EnvFilter::try_new(&quiet) {
        Ok(filter) => (filter, quiet.clone()),
        Err(_) => (EnvFilter::new("info"), "info".to_owned()),
    };
    let asked = std::env::var("RUST_LOG")
        .ok()
        .filter(|asked| !asked.is_empty());
    let asked = asked.map(|asked| match EnvFilter::try_new(&asked) {
        Ok(filter) => Ok((filter, asked)),
        Err(error) => Err((asked, error)),
    });
    let ((filter, text), mistake) = match asked {
        None => (default(), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(mistake)) => (default(), Some(mistake)),
    };
    let lines = fmt::layer()
        .with_writer(crate::secrets::stderr)
        .with_target(format == LogFormat::Json);
    let lines = match format {
        LogFormat::Text => lines
            .with_ansi(is_colourful(
                std::io::stderr().is_terminal(),
                std::env::var_os("NO_COLOR").as_deref(),
            ))
            .boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
    };
    let (levels, loggers) = Loggers::new(filter, &text);
    let result = tracing_subscriber::registry()
        .with(levels)
        .with(lines)
        .try_init();
    // Otherwise somebody who embeds the worker has set up logs already.
    if result.is_ok() && LOGGERS.set(loggers).is_err() {
        debug_assert!(false, "logs can be set up only once");
    }
    if let Some((asked, error)) = mistake {
        tracing::warn!("RUST_LOG is \"{asked}\", which has no effect: {error}");
    }
}

/// Colours are for terminals, unless their user wants none (<https://no-color.org>).
fn is_colourful(terminal: bool, no_color: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_only_for_terminals_whose_user_wants_them() {
        assert!(is_colourful(true, None));
        assert!(is_colourful(true, Some("".as_ref())));
        assert!(!is_colourful(true, Some("1".as_ref())));
        assert!(!is_colourful(false, None));
    }
}
