//! Converters and transforms that say that the same call may work later are tried again.

use std::time::Duration;

use connect_core::ConnectError;
use tokio::time::{Instant, sleep};

use super::Tolerance;
use crate::backoff::Backoff;
use crate::config::connector::ErrorPolicy;
use crate::metrics::ErrorMeter;

/// The first pause; Kafka's value.
const PAUSE: Duration = Duration::from_millis(300);

/// The attempts to bring one record through one step.
pub(crate) struct Attempts<'a> {
    /// `None` for ever.
    deadline: Option<Instant>,
    backoff: Backoff,
    errors: &'a ErrorMeter,
}

impl ErrorPolicy {
    /// Whether anything is tried more than once.
    pub(crate) fn is_patient(&self) -> bool {
        self.retry_timeout != Some(Duration::ZERO)
    }
}

impl Tolerance {
    /// Starts the clock for one record.
    pub(crate) fn attempts(&self) -> Attempts<'_> {
        let timeout = self.policy.retry_timeout;
        Attempts {
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            backoff: Backoff::new(PAUSE, self.policy.retry_delay_max),
            errors: self.errors(),
        }
    }
}

impl Attempts<'_> {
    /// Waits before the next attempt; false if this error was the last word. The last attempt is made
    /// when the time is over, not later.
    pub(crate) async fn again(&mut self, error: &ConnectError) -> bool {
        if !error.is_retriable() {
            return false;
        }
        let pause = self.backoff.failed();
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match left {
            Some(Duration::ZERO) => return false,
            Some(left) => sleep(pause.min(left)).await,
            None => sleep(pause).await,
        }
        self.errors.retried();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_attempt_is_made_when_the_time_is_over() {
        let policy = ErrorPolicy {
            retry_timeout: Some(Duration::from_secs(1)),
            ..ErrorPolicy::default()
        };
        let (start, mut count) = (Instant::now(), 1);
        let tolerance = Tolerance::for_tests(policy);
        let mut attempts = tolerance.attempts();
        while attempts.again(&ConnectError::retriable("not yet")).await {
            count += 1;
        }
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        assert_eq!(count, 4, "at 0, about 0.3, about 0.8 and 1 s");
        assert_eq!(tolerance.errors().retries(), 3);
        let mut attempts = tolerance.attempts();
        assert!(!attempts.again(&ConnectError::record("never")).await);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_timeout_there_is_one_attempt_and_with_minus_one_no_end() {
        let policy = ErrorPolicy::default();
        let error = ConnectError::retriable("not yet");
        assert!(!policy.is_patient());
        let once = Tolerance::for_tests(policy.clone());
        assert!(!once.attempts().again(&error).await);
        let for_ever = ErrorPolicy {
            retry_timeout: None,
            ..policy
        };
        let for_ever = Tolerance::for_tests(for_ever);
        let mut attempts = for_ever.attempts();
        for _ in 0..100 {
            assert!(attempts.again(&error).await);
        }
    }
}
