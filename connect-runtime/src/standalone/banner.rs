//! What the program says to the person who started it: at most ten lines.

use std::io::Write;
use std::sync::Arc;

use connect_core::ConnectorKind;

use crate::config::connector::{ConnectorConfig, Topics};
use crate::logging;
use crate::rest::RestListeners;
use crate::secrets;
use crate::worker::Worker;

/// Connectors that are listed by name; more are counted.
const CONNECTORS_MAX: usize = 3;

/// Says something on standard output. A reader that has gone away is no reason to fail.
pub(super) fn print(text: &str) {
    let text = secrets::hide(text);
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// Says on standard error what went wrong; as a log line where programs read it.
pub(super) fn complain(text: &str) {
    let text = secrets::hide(text);
    match logging::is_json() {
        true => tracing::error!("{text}"),
        false => drop(writeln!(std::io::stderr().lock(), "{text}")),
    }
}

/// Says on standard error what happens; as a log line where programs read it.
pub(super) fn mention(text: &str) {
    let text = secrets::hide(text);
    match logging::is_json() {
        true => tracing::info!("{text}"),
        false => drop(writeln!(std::io::stderr().lock(), "{text}")),
    }
}

/// What runs, where the broker and the data are, and what to type next.
pub(super) fn running(
    worker: &Worker,
    rest: Option<&RestListeners>,
    connectors: &[Arc<ConnectorConfig>],
    embedded: bool,
) -> String {
    let servers = worker.bootstrap_servers().join(",");
    let broker = match embedded {
        true => format!(
            "{servers}, embedded, data in {}",
            worker.config().data_dir.display()
        ),
        false => format!("{servers}, cluster {}", worker.cluster_id()),
    };
    let urls = rest.map(RestListeners::urls).unwrap_or_default();
    lines(
        &broker,
        &urls,
        &worker.config().offset_topic.name,
        connectors,
        &servers,
    )
}

fn lines(
    broker: &str,
    rest: &[String],
    offset_topic: &str,
    connectors: &[Arc<ConnectorConfig>],
    servers: &str,
) -> String {
    let mut lines = vec![
        format!("connect {} is running", env!("CARGO_PKG_VERSION")),
        format!("  broker   {broker}"),
        format!("  offsets  topic {offset_topic}"),
    ];
    if !rest.is_empty() {
        lines.push(format!("  rest     {}", rest.join(", ")));
    }
    lines.extend(
        connectors
            .iter()
            .take(CONNECTORS_MAX)
            .map(|config| connector(config)),
    );
    if let Some(more) = connectors
        .len()
        .checked_sub(CONNECTORS_MAX)
        .filter(|more| *more > 0)
    {
        lines.push(format!("  … and {more} more connectors"));
    }
    lines.push(format!("try:  {}", next(connectors, servers)));
    lines.push("stop: Ctrl-C".to_owned());
    lines.join("\n")
}

fn connector(config: &ConnectorConfig) -> String {
    let class = config.class.rsplit('.').next().unwrap_or(&config.class);
    let class = class.strip_suffix("Connector").unwrap_or(class);
    let place = config
        .map
        .get("file")
        .map(|file| format!(" {file}"))
        .unwrap_or_default();
    let topic = match (config.kind, &config.topics) {
        (ConnectorKind::Source, _) => config.map.get("topic").cloned().unwrap_or_default(),
        (ConnectorKind::Sink, Topics::Names(names)) => names.join(","),
        (ConnectorKind::Sink, Topics::Pattern(pattern)) => pattern.clone(),
    };
    let path = match config.kind {
        ConnectorKind::Source => format!("{class}{place} → {topic}"),
        ConnectorKind::Sink => format!("{topic} → {class}{place}"),
    };
    format!(
        "  {:<8} {}: {}",
        config.kind.name(),
        config.name,
        path.trim_end_matches([' ', '→'])
    )
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |symbol: char| symbol.is_alphanumeric() || "._-/+@%,:".contains(symbol);
    match word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// What to type next.
fn next(connectors: &[Arc<ConnectorConfig>], servers: &str) -> String {
    let file = |kind| {
        let mut of_kind = connectors.iter().filter(move |config| config.kind == kind);
        of_kind.find_map(|config| config.map.get("file"))
    };
    let file = |kind| file(kind).map(|file| quoted(file));
    let topic = connectors.iter().find_map(|config| config.map.get("topic"));
    let topic = topic.map(|topic| quoted(topic));
    match (
        file(ConnectorKind::Source),
        file(ConnectorKind::Sink),
        topic,
    ) {
        (Some(source), Some(sink), _) => format!("echo hello >> {source}; tail -f {sink}"),
        (Some(source), None, Some(topic)) => format!(
            "echo hello >> {source}; connect consume --bootstrap-server {servers} --topic {topic} --from-beginning"
        ),
        (None, _, Some(topic)) => {
            format!("connect consume --bootstrap-server {servers} --topic {topic} --from-beginning")
        }
        _ => format!("connect topics --bootstrap-server {servers} --list"),
    }
}
