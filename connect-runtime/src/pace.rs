//! When to commit next: soon while little is known to be safe, then at the configured interval.
//!
//! The first news after a start, or after a quiet time, is committed at once. While more keeps
//! coming the gaps double up to the interval, so that a crash early in a copy repeats about half
//! of it at most, and later never more than one interval.

use std::time::Duration;

use tokio::time::Instant;

/// The first gap between two commits.
const FIRST_GAP: Duration = Duration::from_millis(50);

/// The times of one task's commits.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    gap: Duration,
    due: Instant,
}

impl Pace {
    /// Commits are due at once, and later once per `interval`.
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            gap: FIRST_GAP.min(interval),
            due: Instant::now(),
        }
    }

    /// When the next commit is due, if there is something to commit.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// The next commit is due now.
    pub(crate) fn hurry(&mut self) {
        self.due = Instant::now();
    }

    /// A commit begins.
    pub(crate) fn begin(&mut self) {
        let late = Instant::now().saturating_duration_since(self.due);
        if late >= self.interval {
            self.gap = FIRST_GAP.min(self.interval);
        }
    }

    /// A commit was made, or tried.
    pub(crate) fn committed(&mut self) {
        self.due = Instant::now() + self.gap;
        self.gap = self.gap.saturating_mul(2).min(self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, sleep_until};

    async fn gaps(pace: &mut Pace, count: usize) -> Vec<u128> {
        let mut gaps = Vec::new();
        for _ in 0..count {
            let start = Instant::now();
            sleep_until(pace.due()).await;
            gaps.push(start.elapsed().as_millis());
            pace.begin();
            pace.committed();
        }
        gaps
    }

    #[tokio::test(start_paused = true)]
    async fn gaps_double_up_to_the_interval_and_start_over_after_a_quiet_time() {
        let mut pace = Pace::new(Duration::from_secs(1));
        let busy = gaps(&mut pace, 8).await;
        assert_eq!(busy, [0, 50, 100, 200, 400, 800, 1000, 1000]);
        advance(Duration::from_secs(3)).await;
        assert_eq!(gaps(&mut pace, 3).await, [0, 50, 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_interval_is_never_exceeded() {
        let mut pace = Pace::new(Duration::from_millis(20));
        assert_eq!(gaps(&mut pace, 3).await, [0, 20, 20]);
        pace.hurry();
        assert_eq!(gaps(&mut pace, 1).await, [0]);
    }
}
