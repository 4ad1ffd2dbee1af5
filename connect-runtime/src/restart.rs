//! Whether and when something that failed is started again.
//!
//! A failure that only another configuration mends is not tried again, nor one because too many records are
//! bad: going on would skip the rest of them. An outage is for as long as it
//! lasts, and anything else until it happened too often in too short a time: who crashes again and again
//! repeats records each time, and a person should look.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::state::{Reporter, State};
use crate::task::{Cause, TaskFailure};

/// When tasks and connectors that failed are started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Whether they are at all. They stay failed otherwise, as in Kafka Connect.
    pub enabled: bool,
    /// The first pause; it doubles with every failure in a row.
    pub backoff: Duration,
    /// The longest pause; what ran that long without failing starts over.
    pub backoff_max: Duration,
    /// With how many crashes within [`window`](Self::window) it ends; 0 for never.
    pub failures_max: usize,
    /// See [`failures_max`](Self::failures_max).
    pub window: Duration,
}

/// What comes after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is started again after this pause.
    After(Duration),
    /// It stays failed, for this reason, until somebody asks.
    Never(String),
}

/// The failures of one thing, and what came after them.
pub(crate) struct Restarts {
    policy: RestartPolicy,
    backoff: Backoff,
    /// The last crashes, as many as the policy counts at most.
    crashes: VecDeque<Instant>,
}

impl Restarts {
    pub(crate) fn new(policy: RestartPolicy) -> Self {
        Self {
            backoff: Backoff::new(policy.backoff, policy.backoff_max),
            policy,
            crashes: VecDeque::new(),
        }
    }

    /// Counts a failure.
    fn failed(&mut self, cause: Cause) -> Next {
        let pause = self.backoff.failed();
        match cause {
            Cause::Configuration => {
                let reason = "time does not mend it; correct the configuration, or restart it once \
                     what it refers to is right";
                Next::Never(reason.to_owned())
            }
            Cause::BadRecords => {
                let reason = "going on would skip more records; look at those that failed, mend the \
                     cause, then restart it by request";
                Next::Never(reason.to_owned())
            }
            Cause::FreshStart => Next::After(pause),
            _ if !self.policy.enabled => {
                let reason = "task.restart.enable is false; restart it by request";
                Next::Never(reason.to_owned())
            }
            Cause::Outage => Next::After(pause),
            Cause::Crash if self.crashes_again() => Next::Never(format!(
                "it failed {} times within {:?} (task.restart.failures.max and \
                 task.restart.failures.window.ms); mend the cause, then restart it by request",
                self.policy.failures_max, self.policy.window
            )),
            Cause::Crash => Next::After(pause),
        }
    }

    /// Counts a crash; whether there were too many.
    fn crashes_again(&mut self) -> bool {
        let RestartPolicy {
            failures_max,
            window,
            ..
        } = self.policy;
        if failures_max == 0 {
            return false;
        }
        self.crashes.push_back(Instant::now());
        while self.crashes.len() > failures_max {
            self.crashes.pop_front();
        }
        let oldest = self.crashes.front();
        let within = oldest.is_some_and(|oldest| oldest.elapsed() <= window);
        self.crashes.len() == failures_max && within
    }

    /// It has run well for long enough that earlier failures do not make the next pause longer.
    pub(crate) fn settled(&mut self) {
        self.backoff.reset();
    }

    /// Somebody asked for a restart: nothing that was counts any more.
    pub(crate) fn asked(&mut self) {
        self.backoff.reset();
        self.crashes.clear();
    }

    /// Counts a failure of `what` and tells everybody.
    pub(crate) fn report(&mut self, what: &str, failure: TaskFailure, reporter: &Reporter) -> Next {
        let next = self.failed(failure.cause);
        let failures = self.backoff.failures();
        let message = &failure.message;
        let state = match &next {
            Next::After(_) => State::Restarting,
            Next::Never(_) => State::Failed,
        };
        match &next {
            Next::After(pause) => {
                tracing::error!("{what} failed ({failures}), next try in {pause:.1?}: {message}");
            }
            Next::Never(reason) => {
                tracing::error!("{what} failed ({failures}) and stays so, {reason}: {message}");
            }
        }
        let shown = match &next {
            Next::After(pause) => {
                let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
                Ok(platform::clock::unix_millis().saturating_add(pause))
            }
            Next::Never(reason) => Err(reason.clone()),
        };
        reporter.failed(state, failures, failure.message, shown);
        next
    }
}

impl Next {
    /// Waits until it is time. Cancel-safe.
    pub(crate) async fn due(&self) {
        match self {
            Self::After(pause) => tokio::time::sleep(*pause).await,
            Self::Never(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn policy() -> RestartPolicy {
        RestartPolicy {
            enabled: true,
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            failures_max: 5,
            window: Duration::from_secs(600),
        }
    }

    fn is_never(next: &Next) -> bool {
        matches!(next, Next::Never(_))
    }

    #[tokio::test(start_paused = true)]
    async fn who_crashes_too_often_is_left_alone_until_somebody_asks() {
        let mut restarts = Restarts::new(policy());
        for _ in 0..4 {
            let Next::After(pause) = restarts.failed(Cause::Crash) else {
                panic!("too early")
            };
            advance(pause).await;
        }
        let Next::Never(reason) = restarts.failed(Cause::Crash) else {
            panic!("too late")
        };
        assert!(reason.contains("5 times within 600s"), "{reason}");
        restarts.asked();
        let next = restarts.failed(Cause::Crash);
        assert!(matches!(next, Next::After(pause) if pause <= Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn crashes_that_are_far_apart_are_no_loop() {
        let mut restarts = Restarts::new(policy());
        for _ in 0..100 {
            assert!(!is_never(&restarts.failed(Cause::Crash)));
            restarts.settled();
            advance(Duration::from_secs(200)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn outages_are_waited_for_and_wrong_configurations_are_not() {
        let mut restarts = Restarts::new(policy());
        for _ in 0..100 {
            assert!(!is_never(&restarts.failed(Cause::Outage)));
        }
        assert!(is_never(&restarts.failed(Cause::Configuration)));
        assert!(is_never(&restarts.failed(Cause::BadRecords)));
    }

    #[tokio::test(start_paused = true)]
    async fn when_restarts_are_off_only_those_are_made_that_the_runtime_needs_itself() {
        let mut restarts = Restarts::new(RestartPolicy {
            enabled: false,
            ..policy()
        });
        assert!(is_never(&restarts.failed(Cause::Crash)));
        assert!(is_never(&restarts.failed(Cause::Outage)));
        assert!(!is_never(&restarts.failed(Cause::FreshStart)));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_it_goes_on_for_ever() {
        let mut restarts = Restarts::new(RestartPolicy {
            failures_max: 0,
            ..policy()
        });
        for _ in 0..1000 {
            assert!(!is_never(&restarts.failed(Cause::Crash)));
        }
    }
}
