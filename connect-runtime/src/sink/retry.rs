//! Puts and flushes that were not taken: read again, tried again.

use connect_core::{ConnectError, OffsetMap, TopicPartition};
use kafka_client::FetchedBatch;
use tokio::time::Instant;

use super::partitions::to_client;
use super::redelivery::{Redelivery, Whole};
use super::wishes::read_again;
use super::{InFlight, SinkLoop};
use crate::state::Witness;
use crate::task::TaskFailure;

impl SinkLoop {
    /// A put was not taken: read it, and everything behind it, again.
    pub(super) fn go_back(&mut self, put: InFlight) -> Result<(), TaskFailure> {
        self.round += 1;
        let later = std::mem::take(&mut self.in_flight);
        let again = std::mem::replace(&mut self.redelivery, Redelivery::of(&put.stretches));
        let mut first: OffsetMap = OffsetMap::new();
        for stretch in std::iter::once(put)
            .chain(later)
            .flat_map(|put| put.stretches)
        {
            first.entry(stretch.partition).or_insert(stretch.first);
        }
        for (partition, offset) in again.starts() {
            first.entry(partition).or_insert(offset);
        }
        for (partition, offset) in first {
            if self.owned.contains(&partition) {
                self.consumer.seek(&to_client(&partition), offset)?;
            }
        }
        Ok(())
    }

    /// Puts a batch that is complete again, and what was fetched behind it, but for partitions that the
    /// task rests.
    pub(super) async fn put_again(&mut self, whole: Option<Whole>) -> Result<(), TaskFailure> {
        let Some(Whole { batch, mut behind }) = whole else {
            return Ok(());
        };
        if !batch.is_empty() {
            self.put(batch).await?;
        }
        let resting = |batch: &mut FetchedBatch| {
            let partition = TopicPartition::new(batch.topic.clone(), batch.partition);
            self.paused_by_task.contains(&partition)
        };
        let later = behind.extract_if(.., resting).collect();
        read_again(&mut self.consumer, later)?;
        match behind.is_empty() {
            true => Ok(()),
            false => self.put(behind).await,
        }
    }

    /// Records of a put may be gone from the log when it is made again; nobody waits for them, then.
    pub(super) async fn pass_what_was_deleted(&mut self) -> Result<(), TaskFailure> {
        if self.redelivery.is_done() {
            return Ok(());
        }
        let consumer = &self.consumer;
        let whole = self.redelivery.pass(|partition| {
            let partition = to_client(partition);
            let position = consumer.position(&partition);
            position.filter(|_| !consumer.holds(&partition))
        });
        if whole.as_ref().is_some_and(|whole| whole.batch.is_empty()) {
            // Nothing is left of the put that failed.
            self.recovered();
        }
        self.put_again(whole).await
    }

    pub(super) fn wait_to_retry(&mut self, what: &str, error: &ConnectError) {
        let wanted = self.requests.take_retry_after();
        let counted = self.retry.failed();
        let pause = wanted.unwrap_or(counted);
        self.retry_at = Some(Instant::now() + pause);
        let reason = format!(
            "{what} failed, retry {} in {pause:.1?}: {}",
            self.retry.failures(),
            error.report()
        );
        tracing::warn!("{reason}");
        self.setup.reporter.waiting(Witness::Retry, Some(reason));
    }

    /// Nothing waits for another attempt any more.
    pub(super) fn recovered(&mut self) {
        self.flush_first = false;
        self.retry_at = None;
        if self.retry.failures() > 0 {
            self.retry.reset();
            self.setup.reporter.waiting(Witness::Retry, None);
        }
    }

    pub(super) async fn resume_after_retry(&mut self) -> Result<(), TaskFailure> {
        if self.retry_at.is_some_and(|at| at <= Instant::now()) {
            self.retry_at = None;
            if self.flush_first {
                self.commit().await?;
            }
        }
        Ok(())
    }
}
