//! Finding a dead letter queue, and reading it without a group: looking changes nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_client::{
    Client, Consumer, ConsumerConfig, ErrorCode, OffsetSpec, Record, TopicPartition,
};
use serde_json::Value;

use super::letter::Letter;
use crate::CliError;
use crate::commands::groups;
use crate::rest::{self, Rest};

const KEY: &str = "errors.deadletterqueue.topic.name";
const POLL: Duration = Duration::from_millis(200);
/// How long it may take until something is read.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selection {
    /// At most so many, the newest ones.
    Newest(u32),
    /// The one there.
    One {
        /// The queue's partition.
        partition: i32,
        /// The offset in it.
        offset: i64,
    },
}

impl Selection {
    /// `PARTITION:OFFSET`
    pub(super) fn one(text: &str) -> Option<Self> {
        let (partition, offset) = text.split_once(':')?;
        let (partition, offset) = (partition.parse().ok()?, offset.parse().ok()?);
        (partition >= 0 && offset >= 0).then_some(Self::One { partition, offset })
    }
}

/// The topic of a connector's queue.
pub(super) async fn topic_of(rest: &Rest, name: &str) -> Result<String, CliError> {
    let config = rest
        .get(&rest::path(&["connectors", name, "config"]))
        .await?;
    let config = config.success()?;
    let topic = config.get(KEY).and_then(Value::as_str).map(str::trim);
    match topic.unwrap_or_default() {
        "" => Err(CliError::failed(format!(
            "error: connector \"{name}\" has no dead letter queue; it gets one with errors.tolerance=all and \
             {KEY}, or name a topic with --topic"
        ))),
        // The worker alone knows what a reference stands for.
        text if text.contains("${") => Err(CliError::failed(format!(
            "error: the dead letter queue of connector \"{name}\" is not in its configuration but in \
             \"{text}\"; name the topic with --topic"
        ))),
        topic => Ok(topic.to_owned()),
    }
}

/// Offsets of partitions: from the first up to and without the second.
pub(super) type Spans = BTreeMap<TopicPartition, (i64, i64)>;

/// All that is in a queue; nothing if there is no such topic yet.
pub(super) async fn bounds(client: &Client, topic: &str) -> Result<Spans, CliError> {
    let admin = client.admin();
    let topics = [topic.to_owned()];
    let described = admin.describe_topics(&topics).await?;
    let mut partitions = Vec::new();
    for (_, found) in described {
        match found {
            Ok(description) => partitions.extend(
                description
                    .partitions
                    .iter()
                    .map(|partition| TopicPartition::new(topic, partition.index)),
            ),
            // It is made with the first letter.
            Err(error) if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let first = groups::listed(&admin, &partitions, OffsetSpec::Earliest).await?;
    let end = groups::listed(&admin, &partitions, OffsetSpec::Latest).await?;
    let both = first.into_iter().map(|(partition, first)| {
        let end = end.get(&partition).copied().unwrap_or(first);
        (partition, (first, end))
    });
    Ok(both.collect())
}

/// The selected letters, the oldest first.
pub(super) async fn read(
    client: &Client,
    topic: &str,
    selection: Selection,
) -> Result<Vec<Letter>, CliError> {
    let mut spans = Spans::new();
    for (partition, (first, end)) in bounds(client, topic).await? {
        let span = match selection {
            Selection::Newest(max) => (first.max(end - i64::from(max)), end),
            Selection::One {
                partition: wanted,
                offset,
            } if wanted == partition.partition && (first..end).contains(&offset) => {
                (offset, offset + 1)
            }
            Selection::One { .. } => (end, end),
        };
        if span.0 < span.1 {
            spans.insert(partition, span);
        }
    }
    if let (Selection::One { partition, offset }, true) = (selection, spans.is_empty()) {
        return Err(CliError::failed(format!(
            "error: topic {topic} has no letter {partition}:{offset}; see which there are with 'connect dlq ls'"
        )));
    }
    let mut letters = read_spans(client, spans).await?;
    letters.sort_by_key(|letter| {
        (
            letter.record.timestamp,
            letter.partition,
            letter.record.offset,
        )
    });
    if let Selection::Newest(max) = selection {
        let too_many = letters.len().saturating_sub(max as usize);
        letters.drain(..too_many);
    }
    Ok(letters)
}

/// All records within offsets, from the first of each span up to and without the second.
pub(super) async fn read_spans(client: &Client, spans: Spans) -> Result<Vec<Letter>, CliError> {
    let mut letters = Vec::new();
    if spans.is_empty() {
        return Ok(letters);
    }
    let mut consumer = Consumer::new(client.clone(), ConsumerConfig::default())?;
    consumer.assign(spans.keys().cloned().collect())?;
    for (partition, (first, _)) in &spans {
        consumer.seek(partition, *first)?;
    }
    let mut open = spans;
    let mut moved = Instant::now();
    while !open.is_empty() {
        let polled = consumer.poll(POLL).await?;
        for batch in polled.batches {
            moved = Instant::now();
            let partition = TopicPartition::new(&*batch.topic, batch.partition);
            let Some((_, end)) = open.get(&partition).copied() else {
                continue;
            };
            let within = |record: &Record| record.offset < end;
            letters.extend(
                batch
                    .records
                    .into_iter()
                    .filter(within)
                    .map(|record| Letter {
                        partition: batch.partition,
                        record,
                    }),
            );
            if batch.next_offset >= end {
                consumer.pause(std::slice::from_ref(&partition));
                open.remove(&partition);
            }
        }
        if moved.elapsed() > PATIENCE {
            consumer.close().await;
            return Err(CliError::failed(format!(
                "error: nothing was read for {} seconds; see 'connect cluster status'",
                PATIENCE.as_secs()
            )));
        }
    }
    consumer.close().await;
    Ok(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_named_by_partition_and_offset() {
        let expected = Selection::One {
            partition: 2,
            offset: 17,
        };
        assert_eq!(Selection::one("2:17"), Some(expected));
        for wrong in ["", "2", "2:", ":17", "a:1", "-1:0", "0:-1"] {
            assert_eq!(Selection::one(wrong), None, "{wrong}");
        }
    }
}
