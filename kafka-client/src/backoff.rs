//! How long to wait before trying again.

use std::time::Duration;

/// Doubles from a first wait to a longest one, each with up to 20 % more or less, so that clients
/// that failed together don't come back together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            failures: 0,
        }
    }

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let exponent = self.failures.min(20);
        self.failures = self.failures.saturating_add(1);
        let wait = self.first.saturating_mul(1 << exponent).min(self.max);
        let per_mille = 800 + u32::try_from(platform::random::below(401)).unwrap_or(200);
        wait.saturating_mul(per_mille) / 1000
    }

    /// Waits.
    pub(crate) async fn sleep(&mut self) {
        tokio::time::sleep(self.next()).await;
    }

    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_within_a_fifth() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for expected in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.next().as_millis();
            assert!(
                wait >= expected * 8 / 10 && wait <= expected * 12 / 10,
                "{wait} for {expected}"
            );
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(120));
    }
}
