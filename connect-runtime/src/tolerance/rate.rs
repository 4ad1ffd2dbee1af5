//! The rate breaker: a task that skips records is stopped when too large a share of them fails.
//!
//! Kafka Connect has nothing of the kind, and a wrong converter empties a topic into the dead letter queue.
//! What fails is counted when it is decided about; the task ends between two batches, so that what was
//! taken is committed and what was skipped has its letter.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::task::{Cause, TaskFailure};

/// How finely the window slides.
const SLOTS: u32 = 20;

/// How many records may fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatePolicy {
    /// More than this share of them, in percent, is too many; below 100.
    pub percent_max: u8,
    /// The time over which they are counted.
    pub window: Duration,
    /// Of fewer records than this nothing is said.
    pub records_min: u64,
}

/// Counts the records of one run of a task.
pub(super) struct RateBreaker {
    policy: RatePolicy,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// The oldest first.
    slots: VecDeque<Slot>,
    /// Set for good by the first moment at which there were too many.
    tripped: Option<String>,
}

struct Slot {
    begun: Instant,
    records: u64,
    failed: u64,
}

impl RateBreaker {
    pub(super) fn new(policy: RatePolicy) -> Self {
        Self {
            policy,
            counts: Mutex::default(),
        }
    }

    /// A batch of so many records comes.
    pub(super) fn comes(&self, records: usize) {
        let mut counts = self.counts.lock();
        if let Some(slot) = self.slot(&mut counts) {
            slot.records += records as u64;
        }
    }

    /// Some of them were skipped; `error` is why.
    pub(super) fn skipped(&self, records: usize, error: &str) {
        let mut counts = self.counts.lock();
        if let Some(slot) = self.slot(&mut counts) {
            slot.failed += records as u64;
        }
        if counts.tripped.is_some() {
            return;
        }
        let all: u64 = counts.slots.iter().map(|slot| slot.records).sum();
        let failed: u64 = counts.slots.iter().map(|slot| slot.failed).sum();
        let RatePolicy {
            percent_max,
            window,
            records_min,
        } = self.policy;
        if all >= records_min && failed * 100 > all * u64::from(percent_max) {
            counts.tripped = Some(format!(
                "{failed} of {all} records failed within {window:?}, which is more than \
                 errors.rate.max.percent ({percent_max}) allows; the last: {error}"
            ));
        }
    }

    /// # Errors
    /// Too many have failed.
    pub(super) fn check(&self) -> Result<(), TaskFailure> {
        match &self.counts.lock().tripped {
            None => Ok(()),
            Some(message) => Err(TaskFailure {
                cause: Cause::BadRecords,
                ..TaskFailure::new(message.as_str())
            }),
        }
    }

    /// Where to count now; what is too old is forgotten.
    fn slot<'c>(&self, counts: &'c mut Counts) -> Option<&'c mut Slot> {
        let (now, window) = (Instant::now(), self.policy.window);
        let is_old = |slot: &Slot| now.duration_since(slot.begun) > window;
        while counts.slots.front().is_some_and(is_old) {
            counts.slots.pop_front();
        }
        let is_full = |slot: &Slot| now.duration_since(slot.begun) >= window / SLOTS;
        if counts.slots.back().is_none_or(is_full) {
            counts.slots.push_back(Slot {
                begun: now,
                records: 0,
                failed: 0,
            });
        }
        counts.slots.back_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn breaker(percent_max: u8) -> RateBreaker {
        RateBreaker::new(RatePolicy {
            percent_max,
            window: Duration::from_secs(60),
            records_min: 10,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn too_large_a_share_of_enough_records_is_too_many() {
        let breaker = breaker(20);
        breaker.comes(9);
        breaker.skipped(9, "bad");
        assert!(breaker.check().is_ok(), "too few to say anything");
        breaker.comes(91);
        breaker.skipped(11, "bad");
        assert!(breaker.check().is_ok(), "20 of 100 are allowed");
        breaker.skipped(1, "the 21st is bad");
        let failure = breaker.check().unwrap_err();
        assert_eq!(failure.cause, Cause::BadRecords);
        assert_eq!(
            failure.message,
            "21 of 100 records failed within 60s, which is more than errors.rate.max.percent (20) allows; \
             the last: the 21st is bad"
        );
        breaker.comes(100_000);
        assert!(breaker.check().is_err(), "it stays so");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_the_window_does_not_count() {
        let breaker = breaker(20);
        for _ in 0..100 {
            breaker.comes(10);
            breaker.skipped(2, "bad");
            advance(Duration::from_secs(7)).await;
        }
        assert!(breaker.check().is_ok());
        assert!(breaker.counts.lock().slots.len() <= 21);
        advance(Duration::from_secs(61)).await;
        breaker.comes(10);
        breaker.skipped(3, "bad");
        assert!(breaker.check().is_err(), "the good old days do not help");
    }

    #[tokio::test(start_paused = true)]
    async fn none_may_fail_where_none_is_allowed() {
        let breaker = breaker(0);
        breaker.comes(1000);
        assert!(breaker.check().is_ok());
        breaker.skipped(1, "bad");
        assert!(breaker.check().is_err());
    }
}
