//! How many records per second, as Kafka's tools count them.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The most records that are due at a time.
const BATCH_MAX: usize = 500;

/// Keeps records from coming faster than wanted.
#[derive(Debug)]
pub(crate) struct Throughput {
    /// Records per second; `None` is as fast as possible.
    rate: Option<u64>,
    /// When it began, and how many have come since then.
    began: Option<Instant>,
    taken: u64,
}

impl Throughput {
    /// Negative is as fast as possible, 0 is never.
    pub(crate) fn new(per_second: i64) -> Self {
        Self {
            rate: u64::try_from(per_second).ok(),
            began: None,
            taken: 0,
        }
    }

    /// Waits until a record is due; how many are. Cancel-safe.
    pub(crate) async fn due(&mut self) -> usize {
        let Some(rate) = self.rate else {
            return BATCH_MAX;
        };
        if rate == 0 {
            return std::future::pending().await;
        }
        let began = *self.began.get_or_insert_with(Instant::now);
        let at =
            |number: u64| began.checked_add(Duration::from_secs_f64(number as f64 / rate as f64));
        if let Some(at) = at(self.taken) {
            sleep_until(at).await;
        }
        let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
        let due = (due + 1).saturating_sub(self.taken).max(1);
        usize::try_from(due).map_or(BATCH_MAX, |due| due.min(BATCH_MAX))
    }

    /// So many records have come.
    pub(crate) fn took(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn records_come_at_the_rate_that_is_asked_for() {
        let mut throughput = Throughput::new(10);
        let (begun, mut count) = (Instant::now(), 0);
        while count < 21 {
            let due = throughput.due().await;
            throughput.took(due);
            count += due;
        }
        let elapsed = begun.elapsed();
        assert!(elapsed >= Duration::from_millis(1999) && elapsed < Duration::from_millis(2200));
    }

    #[tokio::test(start_paused = true)]
    async fn none_come_at_rate_0_and_many_without_one() {
        assert_eq!(Throughput::new(-1).due().await, BATCH_MAX);
        let mut never = Throughput::new(0);
        let waited = tokio::time::timeout(Duration::from_secs(3600), never.due());
        assert!(waited.await.is_err());
    }
}
