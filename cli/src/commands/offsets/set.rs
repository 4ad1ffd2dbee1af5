//! `connect offsets set`
//!
//! The worker takes offsets and nothing else, so what `--to-earliest` and the like stand for is asked of
//! the cluster.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::ArgGroup;
use connect_core::ConnectorKind;
use kafka_client::{Admin, OffsetSpec, TopicPartition};
use serde_json::{Value, json};

use super::{say, show};
use crate::commands::groups;
use crate::commands::topics::topic_pattern;
use crate::connection::ConnectionArguments;
use crate::invocation::Invocation;
use crate::listing::{Form, FormArguments};
use crate::rest::{self, Rest, RestArguments};
use crate::{CliError, moment, output, worker_cluster};

pub(super) const EXAMPLES: &str = "\
Examples:
  connect offsets set copy --to-earliest
  connect offsets set copy --topic orders:0,1 --to-offset 100
  connect offsets set files --partition '{\"filename\": \"test.txt\"}' --offset '{\"position\": 4}'
  connect offsets show files -o json > at.json; connect offsets set files --file at.json";

/// Arguments of `connect offsets set`.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("where").required(true)
    .args(["to_earliest", "to_latest", "to_offset", "to_datetime", "to_timestamp", "offset", "file"]))]
pub(super) struct Arguments {
    /// Where the worker is.
    #[command(flatten)]
    rest: RestArguments,
    /// Where the worker's cluster is, for --to-….
    #[command(flatten)]
    connection: ConnectionArguments,
    /// A sink: to the first records there are.
    #[arg(long)]
    to_earliest: bool,
    /// A sink: behind the last records there are.
    #[arg(long)]
    to_latest: bool,
    /// A sink: to this offset of the partitions in --topic.
    #[arg(long, value_name = "OFFSET", requires = "topic")]
    to_offset: Option<i64>,
    /// A sink: to the first records at or after YYYY-MM-DDThh:mm:ss.
    #[arg(long, value_name = "TIME")]
    to_datetime: Option<String>,
    /// A sink: to the first records at or after so many milliseconds since 1970.
    #[arg(long, value_name = "MS")]
    to_timestamp: Option<i64>,
    /// The topic, or some of its partitions as TOPIC:0,1; may be repeated [default: all that it reads].
    #[arg(long, conflicts_with_all = ["offset", "file"])]
    topic: Vec<String>,
    /// A source: the partition, in JSON as `connect offsets show` has it.
    #[arg(long, value_name = "JSON", requires = "offset")]
    partition: Option<String>,
    /// A source: its offset in JSON; null to begin anew.
    #[arg(long, value_name = "JSON", requires = "partition")]
    offset: Option<String>,
    /// What `connect offsets show -o json` has printed; - is standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Only show the offsets.
    #[arg(long)]
    dry_run: bool,
    /// The connector, which must be stopped.
    name: String,
}

pub(super) async fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    let rest = arguments.rest.rest(invocation)?;
    let path = rest::path(&["connectors", &arguments.name]);
    let info = rest.get(&path).await?.success()?;
    let request = match (&arguments.file, &arguments.partition, &arguments.offset) {
        (Some(file), _, _) => read(file)?,
        (None, Some(partition), Some(offset)) => {
            let partition = parse("--partition", partition, invocation)?;
            let offset = parse("--offset", offset, invocation)?;
            json!({"offsets": [{"partition": partition, "offset": offset}]})
        }
        _ => wanted(arguments, &rest, &info, invocation).await?,
    };
    if arguments.dry_run {
        let entries = request.get("offsets").and_then(Value::as_array);
        let entries = entries.map(Vec::as_slice).unwrap_or_default();
        let form = FormArguments {
            form: Form::Table,
            no_headers: false,
        };
        return output::print(&show::text(entries, form));
    }
    let answer = rest.patch(&format!("{path}/offsets"), &request).await?;
    say(&answer.success()?)
}

fn parse(option: &str, text: &str, invocation: &Invocation) -> Result<Value, CliError> {
    serde_json::from_str(text).map_err(|error| {
        invocation.usage(format!("{option} takes JSON, but got \"{text}\": {error}"))
    })
}

fn read(path: &Path) -> Result<Value, CliError> {
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().lock().read_to_string(&mut text),
        false => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)),
    };
    let name = path.display();
    read.map_err(|error| CliError::failed(format!("error: cannot read \"{name}\": {error}")))?;
    serde_json::from_str(&text).map_err(|error| {
        CliError::failed(format!(
            "error: \"{name}\" is not what 'connect offsets show -o json' prints: {error}"
        ))
    })
}

/// The offsets that `--to-…` stand for.
async fn wanted(
    arguments: &Arguments,
    rest: &Rest,
    info: &Value,
    invocation: &Invocation,
) -> Result<Value, CliError> {
    let name = &arguments.name;
    let kind = info.get("type").and_then(Value::as_str);
    if kind == Some(ConnectorKind::Source.name()) {
        return Err(CliError::failed(format!(
            "error: connector \"{name}\" is a source, and only it knows what its offsets mean; begin anew \
             with 'connect offsets reset {name}', or give --partition and --offset as 'connect offsets \
             show {name}' has them"
        )));
    }
    let client = worker_cluster::connect(rest, &arguments.connection, invocation).await?;
    let found = find(arguments, &client.admin(), info, invocation).await;
    client.close().await;
    let entries = found?.into_iter().map(|(partition, offset)| {
        json!({
            "partition": {"kafka_topic": &*partition.topic, "kafka_partition": partition.partition},
            "offset": {"kafka_offset": offset},
        })
    });
    let entries: Vec<Value> = entries.collect();
    Ok(json!({ "offsets": entries }))
}

async fn find(
    arguments: &Arguments,
    admin: &Admin,
    info: &Value,
    invocation: &Invocation,
) -> Result<Vec<(TopicPartition, i64)>, CliError> {
    let topics = match arguments.topic.is_empty() {
        true => topics(&arguments.name, admin, info).await?,
        false => arguments.topic.clone(),
    };
    let partitions = groups::partitions_of(&topics, admin).await?;
    if let Some(offset) = arguments.to_offset {
        return Ok(partitions
            .into_iter()
            .map(|partition| (partition, offset))
            .collect());
    }
    let offsets = match (&arguments.to_datetime, arguments.to_timestamp) {
        (_, Some(time_ms)) => groups::since(admin, &partitions, time_ms).await?,
        (Some(text), None) => {
            let Some(time_ms) = moment::parse_datetime(text) else {
                return Err(invocation.usage(format!(
                    "--to-datetime takes YYYY-MM-DDThh:mm:ss.sss, but got \"{text}\""
                )));
            };
            groups::since(admin, &partitions, time_ms).await?
        }
        (None, None) => {
            let spec = match arguments.to_earliest {
                true => OffsetSpec::Earliest,
                false => OffsetSpec::Latest,
            };
            groups::listed(admin, &partitions, spec).await?
        }
    };
    Ok(offsets.into_iter().collect())
}

/// The topics that a sink reads, as far as they are there.
async fn topics(name: &str, admin: &Admin, info: &Value) -> Result<Vec<String>, CliError> {
    let key = |key: &str| info.get("config")?.get(key)?.as_str();
    let wanted = match (key("topics"), key("topics.regex")) {
        // The worker alone knows what a reference stands for.
        (Some(text), _) | (None, Some(text)) if text.contains("${") => {
            return Err(CliError::failed(format!(
                "error: what connector \"{name}\" reads is not in its configuration but in \"{text}\"; \
                 name the topics with --topic"
            )));
        }
        (Some(names), _) if !names.trim().is_empty() => topic_pattern(
            &names
                .split(',')
                .map(|name| regex::escape(name.trim()))
                .collect::<Vec<_>>()
                .join("|"),
        )?,
        (_, Some(pattern)) => topic_pattern(pattern)?,
        _ => {
            return Err(CliError::failed(format!(
                "error: connector \"{name}\" does not say which topics it reads; name them with --topic"
            )));
        }
    };
    let listed = admin.list_topics().await?;
    let names = listed.into_iter().map(|topic| topic.name);
    let found: Vec<String> = names.filter(|name| wanted.is_match(name)).collect();
    match found.is_empty() {
        true => Err(CliError::failed(format!(
            "error: none of the topics that connector \"{name}\" reads exists yet, so there is nothing to \
             set"
        ))),
        false => Ok(found),
    }
}
