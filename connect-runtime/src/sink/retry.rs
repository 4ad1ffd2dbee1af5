//! Puts and flushes that were not taken: read again, tried again.

use connect_core::{ConnectError, OffsetMap};
use tokio::time::Instant;

use super::partitions::to_client;
use super::redelivery::Redelivery;
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
