//! What is counted beside one task, and beside a connector's own code.
//!
//! Counters are atomics, written once per batch, call or commit, never per record; whoever reads them
//! holds nobody up. They belong to the number of a task rather than to one run of it, so that totals go
//! on over restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::sample::{Recent, Sampled, Sampling};
use crate::room::Activity;
use crate::state::State;

/// Something that is counted from the start of the worker on, and lately.
pub(crate) struct Flow {
    total: AtomicU64,
    recent: Sampled,
}

impl Flow {
    fn new(sampling: Sampling) -> Self {
        Self {
            total: AtomicU64::new(0),
            recent: Sampled::new(sampling),
        }
    }

    fn add(&self, count: u64) {
        self.total.fetch_add(count, Ordering::Relaxed);
        self.recent.add(count);
    }

    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(crate) fn recent(&self) -> Recent {
        self.recent.recent()
    }
}

/// How records that fail are treated (KIP-298).
#[derive(Default)]
pub(crate) struct ErrorMeter {
    failures: AtomicU64,
    errors: AtomicU64,
    skipped: AtomicU64,
    retries: AtomicU64,
    logged: AtomicU64,
    letters: AtomicU64,
    lost_letters: AtomicU64,
    last_ms: AtomicI64,
}

impl ErrorMeter {
    /// Something failed for a record and is tried again.
    pub(crate) fn retried(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Records failed for good, and were skipped or end the task.
    pub(crate) fn failed(&self, records: usize, skipped: bool) {
        let counter = match skipped {
            true => &self.skipped,
            false => &self.errors,
        };
        counter.fetch_add(records as u64, Ordering::Relaxed);
        self.failures.fetch_add(records as u64, Ordering::Relaxed);
        self.last_ms
            .store(platform::clock::unix_millis(), Ordering::Relaxed);
    }

    /// A failure was logged.
    pub(crate) fn logged(&self) {
        self.logged.fetch_add(1, Ordering::Relaxed);
    }

    /// A record goes to the dead letter queue.
    pub(crate) fn letter(&self) {
        self.letters.fetch_add(1, Ordering::Relaxed);
    }

    /// Letters could not be written.
    pub(crate) fn letters_lost(&self, letters: usize) {
        self.lost_letters
            .fetch_add(letters as u64, Ordering::Relaxed);
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub(crate) fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    pub(crate) fn total_logged(&self) -> u64 {
        self.logged.load(Ordering::Relaxed)
    }

    pub(crate) fn letters(&self) -> u64 {
        self.letters.load(Ordering::Relaxed)
    }

    pub(crate) fn lost_letters(&self) -> u64 {
        self.lost_letters.load(Ordering::Relaxed)
    }

    /// When a record failed last, in milliseconds since the epoch; 0 for never.
    pub(crate) fn last_ms(&self) -> i64 {
        self.last_ms.load(Ordering::Relaxed)
    }
}

/// How long something has been in which state, and how often it began. Changes of state are rare, so
/// that a lock costs nothing.
pub(crate) struct Life {
    states: Mutex<States>,
    restarts: AtomicU64,
    failures: AtomicU64,
}

struct States {
    now: State,
    since: Instant,
    running: Duration,
    paused: Duration,
    all: Duration,
}

impl States {
    /// The time that was spent running, paused, and in all states, the present one included.
    fn spent(&self) -> (Duration, Duration, Duration) {
        let lately = self.since.elapsed();
        let in_state = |state| match self.now == state {
            true => lately,
            false => Duration::ZERO,
        };
        (
            self.running + in_state(State::Running),
            self.paused + in_state(State::Paused),
            self.all + lately,
        )
    }

    fn change(&mut self, state: State) {
        (self.running, self.paused, self.all) = self.spent();
        self.since = Instant::now();
        self.now = state;
    }
}

impl Default for Life {
    fn default() -> Self {
        Self {
            states: Mutex::new(States {
                now: State::Unassigned,
                since: Instant::now(),
                running: Duration::ZERO,
                paused: Duration::ZERO,
                all: Duration::ZERO,
            }),
            restarts: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }
}

impl Life {
    pub(crate) fn state(&self, state: State) {
        self.states.lock().change(state);
    }

    pub(crate) fn restarted(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Which parts of its time it was running and paused.
    pub(crate) fn ratios(&self) -> (f64, f64) {
        let (running, paused, all) = self.states.lock().spent();
        let part = |of: Duration| match all.is_zero() {
            true => 0.0,
            false => of.as_secs_f64() / all.as_secs_f64(),
        };
        (part(running), part(paused))
    }

    /// How long it has been in its state.
    pub(crate) fn since(&self) -> Instant {
        self.states.lock().since
    }
}

/// What is counted beside one task.
pub(crate) struct TaskMeter {
    pub(crate) life: Life,
    pub(crate) errors: ErrorMeter,
    /// Records that a source polled, or a sink's consumer read.
    pub(crate) read: Flow,
    /// Records that a source's brokers acknowledged, or a sink's task took.
    pub(crate) written: Flow,
    /// The records of a poll or a put.
    pub(crate) batch: Sampled,
    /// How long a poll that gave records, or a put, took, in microseconds.
    pub(crate) call_us: Sampled,
    /// How long commits took, in microseconds; those that worked and those that did not.
    pub(crate) commit_us: Sampled,
    pub(crate) commits: Flow,
    pub(crate) failed_commits: Flow,
    /// Records that are in neither a broker's log nor behind a committed offset yet.
    active: AtomicU64,
    pub(crate) active_samples: Sampled,
    buffered_bytes: AtomicU64,
    partitions: AtomicU64,
    /// How far a sink is behind in its slowest partition; negative while nobody knows.
    lag_max: AtomicI64,
    last_record_ms: AtomicI64,
    /// What the task's code is doing; exchanged when the connector divides its work anew.
    activity: Mutex<Arc<Activity>>,
}

impl TaskMeter {
    pub(crate) fn new(sampling: Sampling) -> Self {
        let (sampled, flow) = (|| Sampled::new(sampling), || Flow::new(sampling));
        Self {
            life: Life::default(),
            errors: ErrorMeter::default(),
            read: flow(),
            written: flow(),
            batch: sampled(),
            call_us: sampled(),
            commit_us: sampled(),
            commits: flow(),
            failed_commits: flow(),
            active: AtomicU64::new(0),
            active_samples: sampled(),
            buffered_bytes: AtomicU64::new(0),
            partitions: AtomicU64::new(0),
            lag_max: AtomicI64::new(-1),
            last_record_ms: AtomicI64::new(0),
            activity: Mutex::default(),
        }
    }

    /// A run begins: nothing is on its way.
    pub(crate) fn begin(&self) {
        self.set_active(0);
        self.set_buffered_bytes(0);
        self.set_partitions(0);
        self.set_lag_max(None);
    }

    pub(crate) fn set_activity(&self, activity: Arc<Activity>) {
        *self.activity.lock() = activity;
    }

    /// How long a call into the task's code has been under way that should have returned.
    pub(crate) fn blocked(&self) -> Duration {
        let activity = Arc::clone(&self.activity.lock());
        activity.blocked()
    }

    /// A source's poll gave records.
    pub(crate) fn polled(&self, records: usize, took: Duration) {
        self.read.add(records as u64);
        self.batch.add(records as u64);
        self.call_us.add(micros(took));
        self.touch();
    }

    /// Records of a source are with the producer.
    pub(crate) fn sending(&self, records: usize) {
        self.active_samples
            .add(self.active.fetch_add(records as u64, Ordering::Relaxed) + records as u64);
    }

    /// The delivery of a source's records is over; this many of them are in a topic.
    pub(crate) fn sent(&self, records: usize, written: usize) {
        self.written.add(written as u64);
        // `begin` may have come first.
        let less = |active: u64| Some(active.saturating_sub(records as u64));
        let _before = self
            .active
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// A sink's consumer has read records.
    pub(crate) fn consumed(&self, records: usize) {
        self.read.add(records as u64);
        self.sending(records);
        self.touch();
    }

    /// A sink's task has taken records.
    pub(crate) fn put(&self, records: usize, took: Duration) {
        self.written.add(records as u64);
        self.batch.add(records as u64);
        self.call_us.add(micros(took));
    }

    /// Offsets were committed.
    pub(crate) fn committed(&self, took: Duration) {
        self.commits.add(1);
        self.commit_us.add(micros(took));
    }

    /// Offsets could not be committed.
    pub(crate) fn not_committed(&self) {
        self.failed_commits.add(1);
    }

    pub(crate) fn set_active(&self, records: u64) {
        self.active.store(records, Ordering::Relaxed);
    }

    pub(crate) fn set_buffered_bytes(&self, bytes: usize) {
        self.buffered_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn set_partitions(&self, partitions: usize) {
        self.partitions.store(partitions as u64, Ordering::Relaxed);
    }

    pub(crate) fn set_lag_max(&self, records: Option<i64>) {
        self.lag_max.store(records.unwrap_or(-1), Ordering::Relaxed);
    }

    fn touch(&self) {
        self.last_record_ms
            .store(platform::clock::unix_millis(), Ordering::Relaxed);
    }

    pub(crate) fn active(&self) -> u64 {
        self.active.load(Ordering::Relaxed)
    }

    /// As of the last send or acknowledgement. A delivery is told of a moment before its bytes are free,
    /// so the last one of many may have seen them still in use.
    pub(crate) fn buffered_bytes(&self) -> u64 {
        match self.active() {
            0 => 0,
            _ => self.buffered_bytes.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn partitions(&self) -> u64 {
        self.partitions.load(Ordering::Relaxed)
    }

    pub(crate) fn lag_max(&self) -> Option<i64> {
        let lag = self.lag_max.load(Ordering::Relaxed);
        (lag >= 0).then_some(lag)
    }

    /// When the last record came, in milliseconds since the epoch.
    pub(crate) fn last_record_ms(&self) -> Option<i64> {
        let last = self.last_record_ms.load(Ordering::Relaxed);
        (last > 0).then_some(last)
    }

    /// Which part of the last commits worked; no number if there were none.
    pub(crate) fn commit_success(&self) -> f64 {
        let worked = self.commits.recent().sum as f64;
        worked / (worked + self.failed_commits.recent().sum as f64)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_life_is_divided_into_running_paused_and_the_rest() {
        let life = Life::default();
        life.state(State::Running);
        advance(Duration::from_secs(6)).await;
        life.state(State::Paused);
        advance(Duration::from_secs(3)).await;
        life.state(State::Restarting);
        advance(Duration::from_secs(3)).await;
        let (running, paused) = life.ratios();
        assert_eq!((running, paused), (0.5, 0.25));
        let since = life.since().elapsed();
        assert_eq!(since, Duration::from_secs(3), "to ask changes nothing");
    }

    #[test]
    fn a_run_begins_with_nothing_on_its_way_and_totals_go_on() {
        let meter = TaskMeter::new(Sampling::default());
        meter.polled(10, Duration::from_millis(1));
        meter.sending(10);
        meter.sent(4, 3);
        assert_eq!((meter.active(), meter.written.total()), (6, 3));
        meter.begin();
        meter.sent(6, 6);
        assert_eq!((meter.active(), meter.written.total()), (0, 9));
        assert_eq!(meter.read.total(), 10);
        assert!(meter.last_record_ms().is_some() && meter.lag_max().is_none());
    }

    #[test]
    fn once_everything_is_acknowledged_nothing_is_buffered() {
        let meter = TaskMeter::new(Sampling::default());
        meter.sending(3);
        meter.set_buffered_bytes(100);
        assert_eq!(meter.buffered_bytes(), 100);
        meter.sent(3, 3);
        meter.set_buffered_bytes(100);
        assert_eq!(meter.buffered_bytes(), 0);
    }

    #[test]
    fn commits_that_fail_count_against_those_that_work() {
        let meter = TaskMeter::new(Sampling::default());
        assert!(meter.commit_success().is_nan());
        for _ in 0..3 {
            meter.committed(Duration::from_millis(2));
        }
        meter.not_committed();
        assert_eq!(meter.commit_success(), 0.75);
        assert_eq!(meter.commit_us.recent().max(), 2000.0);
    }
}
