//! `connect produce`, the same as `kafka-console-producer`: every line becomes a record.

mod lines;
mod parse;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kafka_client::{Acks, Compression, Delivery, Producer, ProducerConfig, ProducerRecord};

use crate::connection::{self, ConnectionArguments};
use crate::interruption::Interruption;
use crate::invocation::Invocation;
use crate::properties::{self, Properties};
use crate::{CliError, output};

/// Sends that may be under way at once; the producer's own buffer limits their bytes.
const SENDS_MAX: usize = 1024;
/// Kafka's console producer groups records into batches of this size.
const BATCH_BYTES: usize = 16 * 1024;

/// Arguments of `connect produce`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Options for the connection to the cluster.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// The topic to write to.
    #[arg(long)]
    pub topic: Option<String>,
    /// Read lines from this file instead of standard input.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How lines are read, such as parse.key=true, key.separator=:, parse.headers=true,
    /// headers.delimiter, headers.separator, headers.key.separator, ignore.error, null.marker.
    #[arg(
        long = "reader-property",
        visible_alias = "property",
        value_name = "KEY=VALUE"
    )]
    pub reader_properties: Vec<String>,
    /// A file with such properties.
    #[arg(long, value_name = "FILE")]
    pub reader_config: Option<PathBuf>,
    /// A client setting, such as linger.ms=0; may be repeated.
    #[arg(
        long = "command-property",
        visible_alias = "producer-property",
        value_name = "KEY=VALUE"
    )]
    pub producer_properties: Vec<String>,
    /// Compress batches: none, gzip, snappy, lz4 or zstd; gzip if none is named.
    #[arg(long, value_name = "CODEC", num_args = 0..=1, default_missing_value = "gzip")]
    pub compression_codec: Option<String>,
    /// Wait for the acknowledgement of each line before reading the next.
    #[arg(long)]
    pub sync: bool,
    /// Whose acknowledgement counts: all or -1 (all in-sync copies), 1 (the leader), 0 (nobody).
    #[arg(long, value_name = "ACKS", allow_hyphen_values = true)]
    pub request_required_acks: Option<String>,
    /// Bytes of a batch.
    #[arg(long, value_name = "BYTES", alias = "max-partition-memory-bytes")]
    pub batch_size: Option<usize>,
    /// How long a batch waits for more lines, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub timeout: Option<u64>,
    /// Bytes that may wait for their acknowledgement.
    #[arg(long, value_name = "BYTES")]
    pub max_memory_bytes: Option<usize>,
    /// How long to wait for the topic to be known, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub max_block_ms: Option<u64>,
    /// How long a broker may take to answer, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub request_timeout_ms: Option<u64>,
    /// The wait before a failed request is repeated, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub retry_backoff_ms: Option<u64>,
    /// How old metadata may get, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub metadata_expiry_ms: Option<u64>,
    /// Accepted and without effect: a record is retried until delivery.timeout.ms.
    #[arg(long, value_name = "N", hide = true)]
    pub message_send_max_retries: Option<u32>,
    /// Accepted and without effect: the system chooses.
    #[arg(long, value_name = "BYTES", hide = true)]
    pub socket_buffer_size: Option<usize>,
    /// Only Kafka's own reader of lines is known.
    #[arg(long, value_name = "CLASS", hide = true)]
    pub line_reader: Option<String>,
}

/// Sends the lines.
///
/// # Errors
/// Arguments that make no sense, lines that cannot be parsed, and records that were not acknowledged.
pub fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    let Some(topic) = &arguments.topic else {
        return Err(invocation.usage("Missing required argument \"[topic]\""));
    };
    if let Some(reader) = arguments
        .line_reader
        .as_deref()
        .filter(|name| !name.ends_with("LineMessageReader"))
    {
        return Err(invocation.usage(format!(
            "the line reader \"{reader}\" is not known; only LineMessageReader is"
        )));
    }
    let mut properties = arguments.connection.properties(invocation)?;
    apply_options(&mut properties, arguments)?;
    let mut reading = match &arguments.reader_config {
        Some(path) => properties::load(path)?,
        None => Properties::empty(),
    };
    reading.set_pairs("--reader-property", &arguments.reader_properties)?;
    let parser = parse::LineParser::from_properties(&reading)?;
    let config = producer_config(&properties)?;
    let topic: Arc<str> = topic.as_str().into();
    connection::block_on(async {
        let mut interruption = Interruption::listen()?;
        let client = connection::connect(&properties, "console-producer").await?;
        let mut sending = Sending {
            lines: lines::Lines::open(arguments.file.as_deref())?,
            producer: Producer::new(client.clone(), config)?,
            topic,
            parser,
            sync: arguments.sync,
            under_way: VecDeque::new(),
            failed: 0,
        };
        let result = tokio::select! {
            result = sending.send_lines() => result,
            exit = interruption.next() => Err(exit),
        };
        // What was read is delivered; whoever cannot wait for that interrupts once more.
        let result = tokio::select! {
            finished = sending.finish() => result.and(finished),
            exit = interruption.next() => Err(exit),
        };
        sending.producer.close(Duration::ZERO).await;
        client.close().await;
        result
    })
}

/// One run of the command.
struct Sending {
    lines: lines::Lines,
    producer: Producer,
    topic: Arc<str>,
    parser: parse::LineParser,
    /// Each record is acknowledged before the next is sent.
    sync: bool,
    under_way: VecDeque<Delivery>,
    failed: usize,
}

impl Sending {
    /// Sends lines until there are no more, or one cannot be parsed.
    async fn send_lines(&mut self) -> Result<(), CliError> {
        while let Some(chunk) = self.lines.next().await {
            let mut records: Vec<ProducerRecord> = Vec::new();
            let mut refused = None;
            for line in chunk? {
                match self.parser.parse(line) {
                    Ok(record) => records.push(record),
                    Err(error) => {
                        refused = Some(error);
                        break;
                    }
                }
            }
            let groups = if self.sync {
                records.into_iter().map(|record| vec![record]).collect()
            } else {
                vec![records]
            };
            for group in groups
                .into_iter()
                .filter(|group: &Vec<_>| !group.is_empty())
            {
                let delivery = self.producer.send(&self.topic, group).await?;
                self.under_way.push_back(delivery);
                let keep = if self.sync { 0 } else { SENDS_MAX };
                while self.under_way.len() > keep {
                    self.settle_oldest().await;
                }
            }
            if let Some(error) = refused {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Waits for everything that was sent.
    async fn finish(&mut self) -> Result<(), CliError> {
        let flushed = self.producer.flush().await;
        while !self.under_way.is_empty() {
            self.settle_oldest().await;
        }
        match self.failed {
            0 => Ok(flushed?),
            failed => Err(CliError::failed(format!(
                "{failed} records were not delivered"
            ))),
        }
    }

    /// Waits for the oldest acknowledgement, and says what failed. Cancel-safe: it stays the oldest.
    async fn settle_oldest(&mut self) {
        if let Some(delivery) = self.under_way.front_mut() {
            self.failed += settle(delivery, &self.topic).await;
            self.under_way.pop_front();
        }
    }
}

/// Waits for an acknowledgement; says what failed and gives how many records did.
async fn settle(delivery: &mut Delivery, topic: &str) -> usize {
    let Err(error) = delivery.await else { return 0 };
    if let Some((_, first)) = error.failures.first() {
        output::note(&format!(
            "ERROR when sending {} records to topic {topic}: {first}",
            error.failures.len()
        ));
    }
    error.failures.len()
}

/// Kafka's own options for some client settings.
fn apply_options(properties: &mut Properties, arguments: &Arguments) -> Result<(), CliError> {
    let options = [
        (
            "compression.type",
            "--compression-codec",
            arguments.compression_codec.clone(),
        ),
        (
            "acks",
            "--request-required-acks",
            arguments.request_required_acks.clone(),
        ),
        (
            "batch.size",
            "--batch-size",
            arguments.batch_size.map(|value| value.to_string()),
        ),
        (
            "linger.ms",
            "--timeout",
            arguments.timeout.map(|value| value.to_string()),
        ),
        (
            "buffer.memory",
            "--max-memory-bytes",
            arguments.max_memory_bytes.map(|value| value.to_string()),
        ),
        (
            "max.block.ms",
            "--max-block-ms",
            arguments.max_block_ms.map(|value| value.to_string()),
        ),
        (
            "request.timeout.ms",
            "--request-timeout-ms",
            arguments.request_timeout_ms.map(|value| value.to_string()),
        ),
        (
            "retry.backoff.ms",
            "--retry-backoff-ms",
            arguments.retry_backoff_ms.map(|value| value.to_string()),
        ),
        (
            "metadata.max.age.ms",
            "--metadata-expiry-ms",
            arguments.metadata_expiry_ms.map(|value| value.to_string()),
        ),
    ];
    for (key, option, value) in options {
        if let Some(value) = value {
            properties.set(key, &value, option);
        }
    }
    properties.set_pairs("--command-property", &arguments.producer_properties)
}

fn producer_config(properties: &Properties) -> Result<ProducerConfig, CliError> {
    let mut config = ProducerConfig::default();
    config.batch_bytes = BATCH_BYTES;
    config.acks = match properties.get("acks").map(str::trim) {
        None | Some("all" | "-1") => Acks::All,
        Some("1") => Acks::Leader,
        Some("0") => Acks::None,
        Some(other) => {
            return Err(
                properties.refused("acks", format!("expected all, -1, 0 or 1, got \"{other}\""))
            );
        }
    };
    config.idempotence = match properties.parsed("enable.idempotence", "true or false")? {
        Some(value) => value,
        None => config.acks == Acks::All,
    };
    if let Some(codec) = properties.get("compression.type") {
        config.compression = codec.parse::<Compression>().map_err(|_| {
            let message = format!("expected none, gzip, snappy, lz4 or zstd, got \"{codec}\"");
            properties.refused("compression.type", message)
        })?;
    }
    for (key, value) in [
        ("linger.ms", &mut config.linger),
        ("delivery.timeout.ms", &mut config.delivery_timeout),
        ("max.block.ms", &mut config.max_block),
    ] {
        if let Some(millis) = properties.parsed(key, "a number of milliseconds")? {
            *value = Duration::from_millis(millis);
        }
    }
    for (key, value) in [
        ("batch.size", &mut config.batch_bytes),
        ("buffer.memory", &mut config.buffer_bytes),
        ("max.request.size", &mut config.max_request_bytes),
        (
            "max.in.flight.requests.per.connection",
            &mut config.max_in_flight,
        ),
    ] {
        if let Some(number) = properties.parsed(key, "a number")? {
            *value = number;
        }
    }
    Ok(config)
}
