//! From fetched batches to one put.

use std::time::Duration;

use connect_core::{ConnectError, SinkRecord, TopicPartition};
use kafka_client::{FetchedBatch, Record};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::config::connector::ErrorPolicy;
use crate::converters::Converters;
use crate::retry::CONVERTER_RETRY;
use crate::task::TaskFailure;
use crate::transforms::Transforms;

/// The stretch of a partition that a put covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) partition: TopicPartition,
    /// The offset of its first record: where to go back to if the put was not taken.
    pub(super) first: i64,
    /// The offset behind it: what may be committed once the put was taken.
    pub(super) next: i64,
    /// The leader epoch of its last record, if known.
    pub(super) leader_epoch: Option<i32>,
}

impl Stretch {
    pub(super) fn of(batch: &FetchedBatch) -> Self {
        let first = batch.records.first();
        Self {
            partition: TopicPartition::new(batch.topic.clone(), batch.partition),
            first: first.map_or(batch.next_offset, |record| record.offset),
            next: batch.next_offset,
            leader_epoch: (batch.leader_epoch >= 0).then_some(batch.leader_epoch),
        }
    }
}

/// Records for one put.
pub(super) struct Batch {
    pub(super) records: Vec<SinkRecord>,
    /// Where each record comes from, for messages about bad ones.
    pub(super) places: Vec<Place>,
}

/// The stretch of a put that a record comes from, and its offset.
pub(super) type Place = (usize, i64);

/// Converts and transforms what was fetched. Records for which that fails are skipped or end the task,
/// as `errors.tolerance` says.
pub(super) async fn convert(
    converters: &Converters,
    transforms: Option<&Transforms>,
    errors: &ErrorPolicy,
    fetched: Vec<FetchedBatch>,
) -> Result<Batch, TaskFailure> {
    let count = fetched.iter().map(|batch| batch.records.len()).sum();
    let mut batch = Batch {
        records: Vec::with_capacity(count),
        places: Vec::with_capacity(count),
    };
    let patient = errors.retry_timeout != Some(Duration::ZERO);
    for (stretch, fetched) in fetched.into_iter().enumerate() {
        // One count for every put: threads that work on different puts do not meet at it.
        let topic = std::sync::Arc::<str>::from(&*fetched.topic);
        let partition = fetched.partition;
        for record in fetched.records {
            let offset = record.offset;
            let converted = match patient {
                false => converters.to_sink(&topic, partition, record),
                true => convert_patiently(converters, errors, &topic, partition, record).await,
            };
            match converted {
                Ok(mut record) => {
                    if let Some(transforms) = transforms
                        && !transforms.keeps_sink(&mut record, errors).await?
                    {
                        continue;
                    }
                    batch.records.push(record);
                    batch.places.push((stretch, offset));
                }
                Err(error) => errors.bad_record(&error)?,
            }
        }
    }
    Ok(batch)
}

async fn convert_patiently(
    converters: &Converters,
    errors: &ErrorPolicy,
    topic: &std::sync::Arc<str>,
    partition: i32,
    record: Record,
) -> Result<SinkRecord, ConnectError> {
    let started = Instant::now();
    let mut backoff = Backoff::new(CONVERTER_RETRY, errors.retry_delay_max);
    loop {
        let error = match converters.to_sink(topic, partition, record.clone()) {
            Err(error) if error.is_retriable() => error,
            done => return done,
        };
        if errors
            .retry_timeout
            .is_some_and(|limit| started.elapsed() >= limit)
        {
            return Err(error);
        }
        tokio::time::sleep(backoff.failed()).await;
    }
}
