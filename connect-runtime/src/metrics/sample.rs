//! What happened lately: sums, averages and maxima over the last few windows of time, as Kafka's
//! `metrics.sample.window.ms` and `metrics.num.samples` have it.
//!
//! Nothing here waits: writers and readers share atomics alone. When two threads enter a new window at
//! the same moment, what one of them adds may be missing from it; totals are counted elsewhere and
//! miss nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long is "lately".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// The length of one window.
    pub window: Duration,
    /// How many windows are remembered, the present one included.
    pub windows: usize,
}

/// Kafka's defaults.
impl Default for Sampling {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(30),
            windows: 2,
        }
    }
}

/// Values of the last windows.
pub(crate) struct Sampled {
    born: Instant,
    window_ms: u64,
    slots: Box<[Slot]>,
}

/// One window.
#[derive(Default)]
struct Slot {
    /// The number of the window, from one on; zero before the first.
    window: AtomicU64,
    sum: AtomicU64,
    count: AtomicU64,
    max: AtomicU64,
}

/// What the last windows hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Recent {
    pub(crate) sum: u64,
    pub(crate) count: u64,
    pub(crate) max: u64,
    /// The time over which that was.
    pub(crate) span: Duration,
}

impl Sampled {
    pub(crate) fn new(sampling: Sampling) -> Self {
        let slots = (0..sampling.windows.max(1)).map(|_| Slot::default());
        Self {
            born: Instant::now(),
            window_ms: millis(sampling.window).max(1),
            slots: slots.collect(),
        }
    }

    /// Notes a value.
    pub(crate) fn add(&self, value: u64) {
        let (window, _) = self.now();
        let Some(slot) = self.slot(window) else {
            return;
        };
        let last = slot.window.load(Ordering::Acquire);
        if last != window {
            let mine =
                slot.window
                    .compare_exchange(last, window, Ordering::AcqRel, Ordering::Acquire);
            if mine.is_ok() {
                slot.sum.store(0, Ordering::Relaxed);
                slot.count.store(0, Ordering::Relaxed);
                slot.max.store(0, Ordering::Relaxed);
            }
        }
        slot.sum.fetch_add(value, Ordering::Relaxed);
        slot.count.fetch_add(1, Ordering::Relaxed);
        slot.max.fetch_max(value, Ordering::Relaxed);
    }

    pub(crate) fn recent(&self) -> Recent {
        let (window, into) = self.now();
        let kept = self.slots.len() as u64;
        let mut recent = Recent {
            sum: 0,
            count: 0,
            max: 0,
            // As in Kafka: as if it had been there for all of the earlier windows, so that the first
            // record after a start is no burst.
            span: Duration::from_millis(
                (kept - 1)
                    .saturating_mul(self.window_ms)
                    .saturating_add(into),
            )
            .max(Duration::from_secs(1)),
        };
        for slot in &self.slots {
            let of = slot.window.load(Ordering::Acquire);
            if of > 0 && of <= window && window - of < kept {
                recent.sum += slot.sum.load(Ordering::Relaxed);
                recent.count += slot.count.load(Ordering::Relaxed);
                recent.max = recent.max.max(slot.max.load(Ordering::Relaxed));
            }
        }
        recent
    }

    /// The number of the present window, and the milliseconds since it began.
    fn now(&self) -> (u64, u64) {
        let age = millis(self.born.elapsed());
        (age / self.window_ms + 1, age % self.window_ms)
    }

    fn slot(&self, window: u64) -> Option<&Slot> {
        let index = window % self.slots.len() as u64;
        self.slots.get(usize::try_from(index).unwrap_or_default())
    }
}

impl Recent {
    /// The sum per second.
    pub(crate) fn rate(&self) -> f64 {
        self.sum as f64 / self.span.as_secs_f64()
    }

    /// The average of the values; no number if there is none.
    pub(crate) fn average(&self) -> f64 {
        self.sum as f64 / self.count as f64
    }

    /// The largest value; no number if there is none.
    pub(crate) fn max(&self) -> f64 {
        match self.count {
            0 => f64::NAN,
            _ => self.max as f64,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn values_count_for_two_windows_and_then_no_more() {
        let sampled = Sampled::new(Sampling::default());
        assert!(sampled.recent().average().is_nan() && sampled.recent().max().is_nan());
        sampled.add(10);
        sampled.add(30);
        let recent = sampled.recent();
        assert_eq!((recent.average(), recent.max()), (20.0, 30.0));
        advance(Duration::from_secs(40)).await;
        sampled.add(5);
        assert_eq!(sampled.recent().sum, 45);
        advance(Duration::from_secs(25)).await;
        let recent = sampled.recent();
        assert_eq!((recent.sum, recent.max()), (5, 5.0));
        advance(Duration::from_secs(300)).await;
        assert_eq!(sampled.recent().count, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_flow_has_a_steady_rate_and_the_first_record_is_no_burst() {
        let sampled = Sampled::new(Sampling::default());
        sampled.add(100);
        assert!(sampled.recent().rate() < 4.0);
        for second in 0..300 {
            advance(Duration::from_secs(1)).await;
            sampled.add(100);
            let rate = sampled.recent().rate();
            assert!(second < 60 || (95.0..=105.0).contains(&rate), "{rate}");
        }
    }

    #[test]
    fn windows_that_never_end_are_fine() {
        let sampled = Sampled::new(Sampling {
            window: Duration::MAX,
            windows: 1000,
        });
        sampled.add(7);
        assert_eq!(sampled.recent().sum, 7);
        assert!(sampled.recent().rate() < 1.0);
    }

    #[test]
    fn threads_that_add_within_a_window_lose_nothing() {
        let sampled = Sampled::new(Sampling::default());
        sampled.add(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| sampled.add(2)));
            }
        });
        let recent = sampled.recent();
        assert_eq!((recent.sum, recent.count), (8000, 4001));
    }
}
