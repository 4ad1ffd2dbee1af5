//! `connect try`: records through a connector's converters and transforms, without a worker or a broker.

mod expectation;
mod given;
mod text;

use std::path::PathBuf;

use connect_core::ConnectorKind;
use connect_runtime::config::connector::{ConnectorConfig, Topics};
use connect_runtime::{Outcome, Trial, Tried};
use serde_json::{Map, Value};

use crate::connector_file::{read_settings, wrong};
use crate::listing::FormArguments;
use crate::worker_file::WorkerFile;
use crate::{CliError, connection, output};

use given::{Given, Input};
pub(super) use text::steps;

/// What the help says besides.
pub const NOTES: &str = "\
Records come as lines, each a value, or with --input json as a JSON object a line:

  {\"key\": \"k\", \"value\": {\"id\": 7}, \"headers\": {\"trace\": \"x\"}, \"topic\": \"orders\"}

with partition, offset and timestamp, if they matter. For a sink, text is taken as the bytes in the topic,
{\"base64\": \"…\"} as any bytes, and other JSON as its text. For a source, key and value are what the
connector has polled, with key_schema and value_schema as JsonConverter writes them, if there are schemas.

Expectations are a JSON array or a line for each record, of what '-o json' prints, or parts of it: what
is named has to be so, what is left out may be anything.

Examples:
  connect try configs/file-sink.toml --worker configs/worker.toml < records.txt
  connect try orders.toml -w worker.toml --input json --records orders.jsonl --expect orders.expected.json

Exit codes: 0 as expected, or without expectations no record fails the task; 1 otherwise; 2 not understood.";

/// Arguments of `connect try`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The file of the worker that is to run it: its converters, its configuration providers.
    #[arg(long, short = 'w', value_name = "FILE")]
    worker: Option<PathBuf>,
    /// Where the records are [default: standard input].
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// How the records are written.
    #[arg(long, value_name = "FORM", default_value = "lines")]
    input: Input,
    /// The topic of records that name none [default: the connector's first].
    #[arg(long)]
    topic: Option<String>,
    /// What has to come out of it.
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Fields that are not shown, wherever they are.
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    mask: Vec<String>,
    /// How to show it.
    #[command(flatten)]
    form: FormArguments,
    /// A connector's file: .toml, .properties or .json.
    file: PathBuf,
}

/// Tries records.
///
/// # Errors
/// A file or a record that cannot be read; a record that fails the task, or is not as it is expected.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    connection::block_on(async {
        let worker = WorkerFile::read(arguments.worker.as_deref()).await?;
        let settings = read_settings(&arguments.file).await?;
        let (config, notes) = ConnectorConfig::read(&settings, &worker.config).map_err(wrong)?;
        notes
            .iter()
            .for_each(|note| output::note(&note.to_string()));
        let own = |role: &str| settings.get(&format!("{role}.converter")).is_some();
        if worker.settings.is_none() && !(own("key") && own("value")) {
            output::note(
                "note: converters that the file does not name are the worker's; they are taken to be \
                 StringConverter, and --worker FILE tells what they are",
            );
        }
        let expected = match &arguments.expect {
            Some(path) => Some(expectation::read(path).await?),
            None => None,
        };
        let trial = Trial::of(&config, arguments.mask.clone())
            .map_err(|error| CliError::failed(format!("error: {}", error.report())))?;
        let default = arguments.topic.clone().or_else(|| topic_of(&config));
        let given = given::read(arguments, config.kind, default).await?;
        let tried = all(&trial, &given).await?;
        show(arguments, &tried)?;
        let untried = given.len() - tried.len();
        if untried > 0 {
            output::note(&format!(
                "the task fails here; {untried} records behind were not tried (errors.tolerance is none)"
            ));
        }
        match expected {
            Some(expected) => expectation::compare(&expected, &tried),
            None if tried.iter().any(|way| way["outcome"] == "failed") => Err(CliError::Exit(1)),
            None => Ok(()),
        }
    })
}

/// The ways of the records, up to the one that ends the task.
async fn all(trial: &Trial, given: &[Given]) -> Result<Vec<Value>, CliError> {
    let mut ways = Vec::with_capacity(given.len());
    for given in given {
        let tried = match given {
            Given::Polled { record, .. } => trial.polled(record.clone()).await,
            Given::Consumed {
                topic,
                partition,
                record,
                ..
            } => trial.consumed(topic, *partition, record).await,
        };
        let tried = tried.map_err(|error| CliError::failed(error.report()))?;
        let outcome = tried.outcome;
        ways.push(way(given.line(), tried));
        if outcome == Outcome::Failed {
            break;
        }
    }
    Ok(ways)
}

fn way(line: usize, tried: Tried) -> Value {
    let kept = matches!(tried.outcome, Outcome::Put | Outcome::Sent);
    let last = tried.steps.last().filter(|_| kept);
    let record = last.and_then(|step| step.get("record")).cloned();
    let mut way = Map::new();
    way.insert("line".to_owned(), line.into());
    way.insert("outcome".to_owned(), tried.outcome.to_string().into());
    if let Some(record) = record {
        way.insert("record".to_owned(), record);
    }
    way.insert("steps".to_owned(), Value::Array(tried.steps));
    Value::Object(way)
}

fn show(arguments: &Arguments, ways: &[Value]) -> Result<(), CliError> {
    let value = Value::Array(ways.to_vec());
    arguments
        .form
        .print(&value, || ways.iter().map(text::of).collect())
}

/// Where a sink reads, or a source says that it writes.
fn topic_of(config: &ConnectorConfig) -> Option<String> {
    match (&config.topics, config.kind) {
        (Topics::Names(names), ConnectorKind::Sink) => names.first().cloned(),
        (Topics::Pattern(_), _) => None,
        (_, ConnectorKind::Source) => {
            let keys = ["topic", "topics"].into_iter();
            keys.filter_map(|key| config.resolved.get(key))
                .filter_map(|topics| topics.split(',').next())
                .map(|topic| topic.trim().to_owned())
                .find(|topic| !topic.is_empty())
        }
    }
}
