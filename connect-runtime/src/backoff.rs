//! Pauses that double, up to a cap, with jitter, so that many tasks that failed together do not
//! come back together.

use std::time::Duration;

/// The pauses between attempts of one thing.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    initial: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// Pauses from `initial` to `max`.
    pub(crate) fn new(initial: Duration, max: Duration) -> Self {
        Self {
            initial: initial.min(max),
            max,
            failures: 0,
        }
    }

    /// How many failures there were in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a failure; the pause before the next attempt, between 80 % and 100 % of the doubled
    /// one.
    pub(crate) fn failed(&mut self) -> Duration {
        let doublings = self.failures.min(31);
        self.failures = self.failures.saturating_add(1);
        let full = self
            .initial
            .saturating_mul(1_u32 << doublings)
            .min(self.max);
        jitter(full)
    }

    /// The thing works again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

fn jitter(full: Duration) -> Duration {
    let percent = 80 + platform::random::below(21);
    full.mul_f64(u32::try_from(percent).unwrap_or(100).into()) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_with_jitter_below_it() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = backoff.failed();
            let full = Duration::from_secs(expected);
            assert!(
                pause <= full && pause >= full * 8 / 10,
                "{pause:?} for {full:?}"
            );
        }
        assert_eq!(backoff.failures(), 8);
        backoff.reset();
        assert!(backoff.failed() <= Duration::from_secs(1));
    }

    #[test]
    fn a_thousand_failures_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_millis(1), Duration::MAX / 100);
        for _ in 0..1000 {
            assert!(backoff.failed() > Duration::ZERO);
        }
    }
}
