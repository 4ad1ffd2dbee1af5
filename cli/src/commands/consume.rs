//! `connect consume`, the same as `kafka-console-consumer`: prints the records of topics.

mod format;
mod source;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kafka_client::{
    AutoOffsetReset, ClientError, Consumer, ConsumerConfig, FetchedBatch, IsolationLevel,
};

use crate::connection::{self, ConnectionArguments};
use crate::interruption::Interruption;
use crate::invocation::Invocation;
use crate::properties::{self, Properties};
use crate::{CliError, output};

use format::Formatter;
use source::{Source, StartAt};

/// How long one look for records may take, so that new partitions and Ctrl-C are noticed in time.
const POLL: Duration = Duration::from_millis(500);
const BUFFER_BYTES: usize = 64 * 1024;

/// Arguments of `connect consume`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Options for the connection to the cluster.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// The topic to read.
    #[arg(long)]
    pub topic: Option<String>,
    /// A regular expression for the topics to read.
    #[arg(long, alias = "whitelist", value_name = "REGEX")]
    pub include: Option<String>,
    /// Read only this partition.
    #[arg(long, value_name = "N")]
    pub partition: Option<i32>,
    /// Where to start in that partition: an offset, earliest or latest [default: latest].
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true)]
    pub offset: Option<String>,
    /// Start with the oldest record, unless the group has been there before.
    #[arg(long)]
    pub from_beginning: bool,
    /// Read as a member of this group and commit its offsets.
    #[arg(long)]
    pub group: Option<String>,
    /// End after this many records.
    #[arg(long, value_name = "N")]
    pub max_messages: Option<i64>,
    /// End when no record comes for this long, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub timeout_ms: Option<i64>,
    /// read_committed leaves out records of open and aborted transactions.
    #[arg(long, value_name = "LEVEL")]
    pub isolation_level: Option<String>,
    /// What to print: print.key, print.value, print.offset, print.partition, print.timestamp,
    /// print.headers (true or false), key.separator, line.separator, headers.separator, null.literal.
    #[arg(
        long = "formatter-property",
        visible_alias = "property",
        value_name = "KEY=VALUE"
    )]
    pub formatter_properties: Vec<String>,
    /// A file with such properties.
    #[arg(long, value_name = "FILE")]
    pub formatter_config: Option<PathBuf>,
    /// DefaultMessageFormatter or NoOpMessageFormatter.
    #[arg(long, value_name = "CLASS")]
    pub formatter: Option<String>,
    /// What keys are: StringDeserializer, IntegerDeserializer, LongDeserializer, ….
    #[arg(long, value_name = "CLASS")]
    pub key_deserializer: Option<String>,
    /// What values are.
    #[arg(long, value_name = "CLASS")]
    pub value_deserializer: Option<String>,
    /// A client setting, such as fetch.min.bytes=1; may be repeated.
    #[arg(
        long = "command-property",
        visible_alias = "consumer-property",
        value_name = "KEY=VALUE"
    )]
    pub consumer_properties: Vec<String>,
    /// Leave out records that cannot be printed instead of ending.
    #[arg(long)]
    pub skip_message_on_error: bool,
    /// Accepted and without effect.
    #[arg(long, hide = true)]
    pub enable_systest_events: bool,
}

/// Prints records until told to stop.
///
/// # Errors
/// Arguments that don't fit together, and what the cluster refuses.
pub fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    check(arguments).map_err(|message| invocation.usage(message))?;
    let mut properties = arguments.connection.properties(invocation)?;
    properties.set_pairs("--command-property", &arguments.consumer_properties)?;
    if let Some(level) = &arguments.isolation_level {
        properties.set("isolation.level", level, "--isolation-level");
    }
    let group = group(arguments, &properties).map_err(|message| invocation.usage(message))?;
    let formatter = formatter(arguments)?;
    let config = consumer_config(arguments, &properties, group)?;
    let start = start_at(arguments, &config).map_err(|message| invocation.usage(message))?;
    let commits = config.group_id.is_some()
        && properties
            .parsed("enable.auto.commit", "true or false")?
            .unwrap_or(true);
    let commit_interval = properties
        .parsed("auto.commit.interval.ms", "a number of milliseconds")?
        .unwrap_or(5000);
    connection::block_on(async {
        let mut interruption = Interruption::listen()?;
        let client = connection::connect(&properties, "console-consumer").await?;
        let in_group = config.group_id.is_some();
        let consumer = Consumer::new(client.clone(), config)?;
        let source = if in_group {
            Source::of_group(client.clone(), consumer, arguments, commits)?
        } else {
            Source::alone(client.clone(), consumer, arguments, start)?
        };
        let mut reading = Reading {
            source,
            formatter,
            limit: arguments
                .max_messages
                .and_then(|limit| u64::try_from(limit).ok()),
            idle_limit: arguments
                .timeout_ms
                .and_then(|millis| u64::try_from(millis).ok())
                .map(Duration::from_millis),
            commit_interval: commits.then(|| Duration::from_millis(commit_interval)),
            printed: 0,
            skip_errors: arguments.skip_message_on_error,
        };
        let result = tokio::select! {
            result = reading.run() => result,
            exit = interruption.next() => Err(exit),
        };
        let printed = reading.printed;
        // What did not get out of this process counts as not read.
        let all_out = matches!(result, Ok(()) | Err(CliError::Exit(_)));
        let committed = if commits && all_out {
            reading.source.commit().await
        } else {
            Ok(())
        };
        reading.source.close().await;
        client.close().await;
        output::note(&format!("Processed a total of {printed} messages"));
        result.and(committed)
    })
}

/// One run of the command.
struct Reading {
    source: Source,
    formatter: Formatter,
    limit: Option<u64>,
    /// The end comes when nothing arrives for this long.
    idle_limit: Option<Duration>,
    commit_interval: Option<Duration>,
    printed: u64,
    skip_errors: bool,
}

impl Reading {
    async fn run(&mut self) -> Result<(), CliError> {
        let mut output = io::BufWriter::with_capacity(BUFFER_BYTES, io::stdout());
        let mut last_record = Instant::now();
        let mut last_commit = Instant::now();
        loop {
            if self.limit.is_some_and(|limit| self.printed >= limit) {
                return Ok(());
            }
            let wait = match self.idle_limit {
                Some(limit) => limit.saturating_sub(last_record.elapsed()).min(POLL),
                None => POLL,
            };
            let batches = self.source.next(wait).await?;
            let before = self.printed;
            for batch in &batches {
                self.print(batch, &mut output)?;
            }
            output.flush()?;
            if self.printed > before {
                last_record = Instant::now();
            } else if self
                .idle_limit
                .is_some_and(|limit| last_record.elapsed() >= limit)
            {
                return Ok(());
            }
            if self
                .commit_interval
                .is_some_and(|interval| last_commit.elapsed() >= interval)
            {
                self.source.commit().await?;
                last_commit = Instant::now();
            }
        }
    }

    fn print(&mut self, batch: &FetchedBatch, output: &mut impl Write) -> Result<(), CliError> {
        for record in &batch.records {
            if self.limit.is_some_and(|limit| self.printed >= limit) {
                self.source.consumed(batch, record.offset);
                return Ok(());
            }
            self.printed += 1;
            match self.formatter.write(record, batch.partition, output)? {
                Ok(()) => {}
                Err(problem) if self.skip_errors => {
                    output::note(&format!("skipping a record: {problem}"))
                }
                Err(problem) => {
                    return Err(CliError::failed(format!(
                        "error: the record at offset {} of {}-{} cannot be printed: {problem}",
                        record.offset, batch.topic, batch.partition
                    )));
                }
            }
        }
        self.source.consumed(batch, batch.next_offset);
        Ok(())
    }
}

fn check(arguments: &Arguments) -> Result<(), &'static str> {
    if arguments.topic.is_some() == arguments.include.is_some() {
        return Err("Exactly one of the following arguments is required: [topic], [include]");
    }
    if arguments.partition.is_some() {
        if arguments.topic.is_none() {
            return Err("The topic is required when partition is specified.");
        }
        if arguments.from_beginning && arguments.offset.is_some() {
            return Err("Options from-beginning and offset cannot be specified together.");
        }
    } else if arguments.offset.is_some() {
        return Err("The partition is required when offset is specified.");
    }
    Ok(())
}

/// The one group that all places name.
fn group(arguments: &Arguments, properties: &Properties) -> Result<Option<String>, String> {
    let named = properties.get("group.id").map(str::to_owned);
    let group = match (&arguments.group, named) {
        (Some(one), Some(other)) if *one != other => {
            return Err(format!(
                "The group ids provided in different places do not match. Detected group ids: '{one}', '{other}'"
            ));
        }
        (Some(one), _) => Some(one.clone()),
        (None, other) => other,
    };
    if group.is_some() && arguments.partition.is_some() {
        return Err("Options group and partition cannot be specified together.".to_owned());
    }
    Ok(group)
}

fn formatter(arguments: &Arguments) -> Result<Formatter, CliError> {
    let mut properties = match &arguments.formatter_config {
        Some(path) => properties::load(path)?,
        None => Properties::empty(),
    };
    properties.set_pairs("--formatter-property", &arguments.formatter_properties)?;
    for (key, option, class) in [
        (
            "key.deserializer",
            "--key-deserializer",
            &arguments.key_deserializer,
        ),
        (
            "value.deserializer",
            "--value-deserializer",
            &arguments.value_deserializer,
        ),
    ] {
        if let Some(class) = class {
            properties.set(key, class, option);
        }
    }
    Formatter::from_properties(arguments.formatter.as_deref(), &properties)
}

fn consumer_config(
    arguments: &Arguments,
    properties: &Properties,
    group: Option<String>,
) -> Result<ConsumerConfig, CliError> {
    let mut config = ConsumerConfig::default();
    config.group_id = group;
    config.group_instance_id = properties.get("group.instance.id").map(str::to_owned);
    config.auto_offset_reset = match properties.get("auto.offset.reset") {
        Some(other) if arguments.from_beginning && other != "earliest" => {
            return Err(CliError::failed(format!(
                "Can't simultaneously specify --from-beginning and 'auto.offset.reset={other}', \
                 please remove one option"
            )));
        }
        Some("earliest") => AutoOffsetReset::Earliest,
        Some("latest") => AutoOffsetReset::Latest,
        Some("none") => AutoOffsetReset::None,
        Some(other) => {
            let message = format!("expected earliest, latest or none, got \"{other}\"");
            return Err(properties.refused("auto.offset.reset", message));
        }
        None if arguments.from_beginning => AutoOffsetReset::Earliest,
        None => AutoOffsetReset::Latest,
    };
    config.isolation = match properties.get("isolation.level") {
        None | Some("read_uncommitted") => IsolationLevel::ReadUncommitted,
        Some("read_committed") => IsolationLevel::ReadCommitted,
        Some(other) => {
            let message = format!("expected read_uncommitted or read_committed, got \"{other}\"");
            return Err(properties.refused("isolation.level", message));
        }
    };
    for (key, value) in [
        ("fetch.max.wait.ms", &mut config.fetch_max_wait),
        ("session.timeout.ms", &mut config.session_timeout),
        ("heartbeat.interval.ms", &mut config.heartbeat_interval),
        ("max.poll.interval.ms", &mut config.max_poll_interval),
    ] {
        if let Some(millis) = properties.parsed(key, "a number of milliseconds")? {
            *value = Duration::from_millis(millis);
        }
    }
    for (key, value) in [
        ("fetch.min.bytes", &mut config.fetch_min_bytes),
        ("fetch.max.bytes", &mut config.fetch_max_bytes),
        (
            "max.partition.fetch.bytes",
            &mut config.max_partition_fetch_bytes,
        ),
    ] {
        if let Some(number) = properties.parsed(key, "a number of bytes")? {
            *value = number;
        }
    }
    if let Some(check_crcs) = properties.parsed("check.crcs", "true or false")? {
        config.check_crcs = check_crcs;
    }
    Ok(config)
}

fn start_at(arguments: &Arguments, config: &ConsumerConfig) -> Result<StartAt, String> {
    match arguments
        .offset
        .as_deref()
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        None if config.auto_offset_reset == AutoOffsetReset::Earliest => Ok(StartAt::Earliest),
        None | Some("latest") => Ok(StartAt::Latest),
        Some("earliest") => Ok(StartAt::Earliest),
        Some(text) => match text.parse() {
            Ok(offset) if offset >= 0 => Ok(StartAt::Offset(offset)),
            _ => Err(format!(
                "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', \
                 or a non-negative long."
            )),
        },
    }
}

/// Whether the error only means that the topic or its leader is not there yet.
fn may_appear(error: &ClientError) -> bool {
    error.code().is_some_and(|code| {
        [
            kafka_client::ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            kafka_client::ErrorCode::LEADER_NOT_AVAILABLE,
        ]
        .contains(&code)
    })
}
