//! `connect dlq replay`: a way back for records that went no further.
//!
//! How far it has come is committed as the offsets of a group of its own, after what was sent is
//! acknowledged: whoever is interrupted sends a few letters twice and loses none. A record that was
//! replayed carries a header, which comes back with its letter if it fails again, so that no record
//! goes in circles.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use connect_core::ConnectorKind;
use kafka_client::{
    Client, Header, OffsetAndMetadata, Producer, ProducerConfig, ProducerRecord, TopicPartition,
};
use serde_json::Value;

use super::letter::Letter;
use super::queue::{self, Spans};
use crate::connection::ConnectionArguments;
use crate::invocation::Invocation;
use crate::listing::columns;
use crate::rest::{self, RestArguments};
use crate::{CliError, output, worker_cluster};

pub(super) const NOTES: &str = "\
Records go behind all others of the topic and partition where they were read,
with their key, value, headers and timestamp. Whoever else reads the topic gets
them as well; --to-topic sends them elsewhere. The group dlq-replay-NAME keeps
how far it has come, and the next run goes on there.";

/// Says on a record how often it was replayed.
const GUARD: &str = "__connect.replays";
/// How many letters are read and sent before it is committed that they were. It bounds what is held in
/// memory, and what an interruption sends twice.
const CHUNK: i64 = 200;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of `connect dlq replay`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the worker is.
    #[command(flatten)]
    rest: RestArguments,
    /// Where the worker's cluster is.
    #[command(flatten)]
    connection: ConnectionArguments,
    /// The queue's topic [default: the connector's errors.deadletterqueue.topic.name].
    #[arg(long)]
    topic: Option<String>,
    /// Send the records to this topic, not to where they were read.
    #[arg(long, value_name = "TOPIC")]
    to_topic: Option<String>,
    /// Begin with the oldest letter, also if it was replayed before.
    #[arg(long)]
    from_beginning: bool,
    /// Also records that were replayed before and have failed again.
    #[arg(long)]
    again: bool,
    /// At most this many letters, the oldest ones.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max: u32,
    /// Only show what would be sent where.
    #[arg(long)]
    dry_run: bool,
    /// The connector.
    name: String,
}

/// What is to be done about a letter.
enum Fate {
    Send {
        topic: String,
        partition: Option<i32>,
    },
    /// It stays where it is, and this says why.
    Leave(&'static str),
    /// It is another connector's.
    Ignore,
}

pub(super) async fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    let rest = arguments.rest.rest(invocation)?;
    let name = arguments.name.as_str();
    let topic = match &arguments.topic {
        Some(topic) => topic.clone(),
        None => queue::topic_of(&rest, name).await?,
    };
    let info = rest
        .get(&rest::path(&["connectors", name]))
        .await?
        .success()?;
    let kind = info.get("type").and_then(Value::as_str);
    if kind == Some(ConnectorKind::Source.name()) && arguments.to_topic.is_none() {
        return Err(CliError::failed(format!(
            "error: letters of a source such as \"{name}\" are not what its converter would have written; \
             name a topic for them with --to-topic"
        )));
    }
    let client = worker_cluster::connect(&rest, &arguments.connection, invocation).await?;
    let result = replay(arguments, &client, &topic).await;
    client.close().await;
    result
}

async fn replay(arguments: &Arguments, client: &Client, queue: &str) -> Result<(), CliError> {
    // No sink has a group of this name: theirs begin with "connect-".
    let group = format!("dlq-replay-{}", arguments.name);
    let bounds = queue::bounds(client, queue).await?;
    let committed = client.admin().list_group_offsets(&group).await?;
    let mut replay = Replay {
        arguments,
        client,
        group: &group,
        producer: Producer::new(client.clone(), ProducerConfig::default())?,
        room: i64::from(arguments.max),
        sent: 0,
        left: 0,
    };
    let mut result = Ok(());
    for (partition, (first, end)) in bounds {
        let done = committed.get(&partition).map(|done| done.offset);
        // Behind the end is what was committed for another topic of this name.
        let done = done.filter(|done| !arguments.from_beginning && *done <= end);
        let from = done.map_or(first, |done| done.max(first));
        result = replay.partition(&partition, from, end).await;
        if result.is_err() {
            break;
        }
    }
    let Replay {
        producer,
        room,
        sent,
        left,
        ..
    } = replay;
    producer.close(CLOSE_TIMEOUT).await;
    result?;
    if !arguments.dry_run {
        let stayed = match left {
            0 => String::new(),
            left => format!(", {left} left"),
        };
        output::line(&format!("{sent} replayed{stayed}"))?;
    }
    if room == 0 {
        output::note("there may be more; run it again to go on, or with a larger --max");
    }
    Ok(())
}

/// One run of the command.
struct Replay<'a> {
    arguments: &'a Arguments,
    client: &'a Client,
    group: &'a str,
    producer: Producer,
    /// How many letters may still be looked at.
    room: i64,
    sent: usize,
    left: usize,
}

impl Replay<'_> {
    /// Goes through one partition of the queue, chunk by chunk.
    async fn partition(
        &mut self,
        partition: &TopicPartition,
        mut from: i64,
        end: i64,
    ) -> Result<(), CliError> {
        while from < end && self.room > 0 {
            let to = end.min(from + CHUNK.min(self.room));
            self.room -= to - from;
            let span = Spans::from([(partition.clone(), (from, to))]);
            let mut letters = queue::read_spans(self.client, span).await?;
            letters.sort_by_key(|letter| letter.record.offset);
            if self.arguments.dry_run {
                show(self.arguments, &letters)?;
            } else {
                self.send(&letters).await?;
                let done = [(partition.clone(), OffsetAndMetadata::new(to))];
                let admin = self.client.admin();
                admin.alter_group_offsets(self.group, &done).await?;
            }
            from = to;
        }
        Ok(())
    }

    /// Sends what is to be sent, and waits until all of it is acknowledged.
    async fn send(&mut self, letters: &[Letter]) -> Result<(), CliError> {
        let mut by_topic: BTreeMap<String, Vec<ProducerRecord>> = BTreeMap::new();
        for letter in letters {
            match fate(self.arguments, letter) {
                Fate::Send { topic, partition } => {
                    let record = record(letter, partition);
                    by_topic.entry(topic).or_default().push(record);
                }
                Fate::Leave(why) => {
                    self.left += 1;
                    output::note(&format!("letter {} stays: {why}", letter.name()));
                }
                Fate::Ignore => {}
            }
        }
        for (topic, records) in by_topic {
            let count = records.len();
            let delivery = self
                .producer
                .send(&Arc::from(topic.as_str()), records)
                .await?;
            delivery.await.map_err(|error| {
                CliError::failed(format!(
                    "error: topic {topic}: {error}; nothing is lost, run it again when that is mended (up \
                     to {CHUNK} records may come twice then)"
                ))
            })?;
            self.sent += count;
        }
        Ok(())
    }
}

fn fate(arguments: &Arguments, letter: &Letter) -> Fate {
    if !letter.is_of(&arguments.name) {
        return Fate::Ignore;
    }
    if replays(letter) > 0 && !arguments.again {
        return Fate::Leave(
            "it was replayed before and has failed again; --again sends it all the same",
        );
    }
    if let Some(topic) = &arguments.to_topic {
        return Fate::Send {
            topic: topic.clone(),
            partition: None,
        };
    }
    match letter.context("topic") {
        Some(topic) => Fate::Send {
            topic,
            partition: letter
                .context("partition")
                .and_then(|text| text.parse().ok()),
        },
        None => Fate::Leave(
            "no header says where it was read (errors.deadletterqueue.context.headers.enable); name a topic \
             with --to-topic",
        ),
    }
}

fn replays(letter: &Letter) -> u32 {
    let headers = letter.record.headers.iter().rev();
    let mut guards = headers.filter(|header| *header.key == *GUARD.as_bytes());
    let value = guards.next().and_then(|header| header.value.as_deref());
    let text = value.and_then(|value| std::str::from_utf8(value).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The record as it was before it became a letter, and how often it was sent back.
fn record(letter: &Letter, partition: Option<i32>) -> ProducerRecord {
    let mut headers = letter.without_context();
    headers.retain(|header| *header.key != *GUARD.as_bytes());
    headers.push(Header {
        key: GUARD.into(),
        value: Some((replays(letter) + 1).to_string().into()),
    });
    let record = &letter.record;
    ProducerRecord {
        partition,
        timestamp: (record.timestamp >= 0).then_some(record.timestamp),
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
    }
}

fn show(arguments: &Arguments, letters: &[Letter]) -> Result<(), CliError> {
    let row = |letter: &Letter| {
        let target = match fate(arguments, letter) {
            Fate::Send {
                topic,
                partition: Some(partition),
            } => format!("would go to {topic}-{partition}"),
            Fate::Send { topic, .. } => format!("would go to {topic}"),
            Fate::Leave(why) => format!("stays: {why}"),
            Fate::Ignore => return None,
        };
        Some([
            letter.name(),
            letter.place(),
            crate::listing::plain(&target),
        ])
    };
    let rows: Vec<[String; 3]> = letters.iter().filter_map(row).collect();
    output::print(&columns(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_client::Record;

    fn letter(headers: &[(&str, &str)]) -> Letter {
        let headers = headers.iter().map(|(key, value)| Header {
            key: (*key).to_owned().into(),
            value: Some((*value).to_owned().into()),
        });
        Letter {
            partition: 0,
            record: Record {
                offset: 3,
                timestamp: 5,
                key: Some("k".into()),
                value: None,
                headers: headers.collect(),
            },
        }
    }

    #[test]
    fn a_record_goes_back_as_it_was_but_for_the_guard() {
        let letter = letter(&[
            ("own", "1"),
            ("__connect.errors.stage", "TASK_PUT"),
            (GUARD, "1"),
        ]);
        let record = record(&letter, Some(2));
        assert_eq!((record.partition, record.timestamp), (Some(2), Some(5)));
        assert_eq!(
            (record.key.as_deref(), record.value),
            (Some(&b"k"[..]), None)
        );
        let headers: Vec<(&[u8], &[u8])> = record
            .headers
            .iter()
            .map(|header| (&*header.key, header.value.as_deref().unwrap()))
            .collect();
        assert_eq!(
            headers,
            [(&b"own"[..], &b"1"[..]), (GUARD.as_bytes(), b"2")]
        );
    }
}
