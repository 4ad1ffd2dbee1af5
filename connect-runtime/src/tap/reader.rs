//! One who looks: the side that tasks write to, and the side that is read.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::{Tap, Wish};

/// Samples that wait for a reader; each is bounded in bytes.
const LINES_MAX: usize = 64;
/// After so long without a sample the reader hears how many records there were.
const QUIET: Duration = Duration::from_secs(5);

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// A record, as JSON.
    Sample(String),
    /// So many samples were lost since the last time, because they were not read in time.
    Lost(u64),
    /// No sample for a while; so many records have gone by since the beginning.
    Quiet(u64),
}

/// What both sides count.
#[derive(Debug, Default)]
struct Counts {
    seen: AtomicU64,
    lost: AtomicU64,
}

/// The side of the tasks.
pub(super) struct Reader {
    pub(super) wish: Wish,
    counts: Arc<Counts>,
    lines: mpsc::Sender<String>,
    allowance: Mutex<Allowance>,
}

/// Samples that may be taken; a second's worth at most.
struct Allowance {
    samples: f64,
    counted: Instant,
}

/// The side that reads; dropping it ends it.
pub(crate) struct Reading {
    lines: mpsc::Receiver<String>,
    counts: Arc<Counts>,
    tap: Weak<Tap>,
    /// How many readers the worker has.
    readers: Arc<AtomicUsize>,
}

pub(super) fn pair(
    wish: Wish,
    tap: Weak<Tap>,
    readers: Arc<AtomicUsize>,
) -> (Arc<Reader>, Reading) {
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    let counts: Arc<Counts> = Arc::default();
    let allowance = Allowance {
        samples: f64::from(wish.rate),
        counted: Instant::now(),
    };
    let reader = Reader {
        wish,
        counts: Arc::clone(&counts),
        lines: sender,
        allowance: Mutex::new(allowance),
    };
    let reading = Reading {
        lines: receiver,
        counts,
        tap,
        readers,
    };
    (Arc::new(reader), reading)
}

impl Reader {
    /// Takes all samples that may be taken now.
    pub(super) fn take(&self) -> u32 {
        let mut allowance = self.allowance.lock();
        let now = Instant::now();
        let rate = f64::from(self.wish.rate);
        let more = (now - allowance.counted).as_secs_f64() * rate;
        let all = (allowance.samples + more).min(rate);
        // At most the rate, which is a u32 and positive.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let taken = all.floor() as u32;
        allowance.samples = all - f64::from(taken);
        allowance.counted = now;
        taken
    }

    /// Gives back what was not used.
    pub(super) fn give_back(&self, samples: u32) {
        let mut allowance = self.allowance.lock();
        allowance.samples += f64::from(samples);
    }

    /// Counts a record; whether it is one of every so many.
    pub(super) fn sees(&self) -> bool {
        let number = self.counts.seen.fetch_add(1, Ordering::Relaxed);
        number.is_multiple_of(self.wish.every.max(1))
    }

    /// Whether there is room for another sample; it is lost otherwise.
    pub(super) fn has_room(&self) -> bool {
        let has_room = self.lines.capacity() > 0;
        if !has_room {
            self.lose();
        }
        has_room
    }

    pub(super) fn show(&self, line: String) {
        if self.lines.try_send(line).is_err() {
            self.lose();
        }
    }

    fn lose(&self) {
        self.counts.lost.fetch_add(1, Ordering::Relaxed);
    }
}

impl Reading {
    /// What comes next; `None` once the connector or the worker is gone. Cancel-safe, but for the count
    /// of what was lost.
    pub(crate) async fn next(&mut self) -> Option<Line> {
        let lost = self.counts.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            return Some(Line::Lost(lost));
        }
        tokio::select! {
            line = self.lines.recv() => line.map(Line::Sample),
            () = sleep(QUIET) => Some(Line::Quiet(self.counts.seen.load(Ordering::Relaxed))),
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(tap) = self.tap.upgrade() {
            let counts = &self.counts;
            tap.change(|readers| readers.retain(|reader| !Arc::ptr_eq(&reader.counts, counts)));
        }
        self.readers.fetch_sub(1, Ordering::Relaxed);
    }
}
