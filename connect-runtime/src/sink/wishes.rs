//! What the task asked for through its context, and what is paused therefore.

use std::collections::BTreeSet;

use connect_core::TopicPartition;
use kafka_client::{ClientError, Consumer, FetchedBatch};

use super::SinkLoop;
use super::partitions::to_client;
use crate::task::{Target, TaskFailure};

impl SinkLoop {
    /// Does what the task asked for through its context.
    pub(super) async fn obey_requests(&mut self) -> Result<(), TaskFailure> {
        let requests = self.requests.take();
        self.seeks = requests.seeks;
        for partition in requests.resume {
            self.paused_by_task.remove(&partition);
        }
        self.paused_by_task.extend(requests.pause);
        if !requests.seek.is_empty() {
            self.drain_in_flight().await?;
            self.round += 1;
        }
        for (partition, offset) in requests.seek {
            let whole = self.redelivery.forget(std::slice::from_ref(&partition));
            self.put_again(whole).await?;
            if self.owned.contains(&partition) {
                self.consumer.seek(&to_client(&partition), offset)?;
                self.put.insert(partition, (offset, None));
            }
        }
        if requests.commit {
            self.pace.hurry();
        }
        Ok(())
    }

    /// Pauses and resumes at the consumer what should be.
    pub(super) fn set_pauses(&mut self) {
        let all = self.target == Target::Pause || self.retry_at.is_some() || self.flush_first;
        let wanted: BTreeSet<TopicPartition> = match all {
            true => self.owned.clone(),
            // While a batch is read again, only its partitions are, so that what is fetched behind
            // it stays small.
            false => self
                .owned
                .iter()
                .filter(|own| !self.redelivery.may_fetch(own) || self.rests(own))
                .cloned()
                .collect(),
        };
        if wanted == self.paused {
            return;
        }
        let pause: Vec<_> = wanted.difference(&self.paused).map(to_client).collect();
        let resume: Vec<_> = self.paused.difference(&wanted).map(to_client).collect();
        self.consumer.pause(&pause);
        self.consumer.resume(&resume);
        self.paused = wanted;
    }

    /// Whether the task wants nothing of a partition now, of which it has to have nothing.
    fn rests(&self, partition: &TopicPartition) -> bool {
        self.paused_by_task.contains(partition) && !self.redelivery.misses(partition)
    }

    /// What had been fetched of a partition before it was paused is read again later.
    pub(super) fn without_paused(
        &mut self,
        mut batches: Vec<FetchedBatch>,
    ) -> Result<Vec<FetchedBatch>, TaskFailure> {
        if self.paused.is_empty() {
            return Ok(batches);
        }
        let paused = |batch: &mut FetchedBatch| {
            self.paused
                .contains(&TopicPartition::new(batch.topic.clone(), batch.partition))
        };
        let again = batches.extract_if(.., paused).collect();
        read_again(&mut self.consumer, again)?;
        Ok(batches)
    }
}

/// Goes back to the first record of each partition.
pub(super) fn read_again(
    consumer: &mut Consumer,
    batches: Vec<FetchedBatch>,
) -> Result<(), ClientError> {
    // Of several batches of a partition the first counts, so the last word is its.
    for batch in batches.into_iter().rev() {
        let first = batch
            .records
            .first()
            .map_or(batch.next_offset, |record| record.offset);
        let partition = kafka_client::TopicPartition::new(batch.topic, batch.partition);
        consumer.seek(&partition, first)?;
    }
    Ok(())
}
