//! Logs: one line per event on standard error, as text or as JSON.
//!
//! Lines about a connector carry its name and the task's number, through the spans of its loops
//! and rooms. `RUST_LOG` chooses what is logged, in the syntax of `tracing-subscriber`'s
//! `EnvFilter`.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

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

/// Sends all logs of the process to standard error. `default_filter` (`warn`, `info`,
/// `warn,broker=info`, …) counts unless `RUST_LOG` is set. A second call changes nothing.
pub fn init(format: LogFormat, default_filter: &str) {
    let filter = EnvFilter::try_from_default_env()
        .or_else(|_| EnvFilter::try_new(default_filter))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(format == LogFormat::Json);
    let result = match format {
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .try_init(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init(),
    };
    // Somebody who embeds the worker has set up logs already.
    drop(result);
}
