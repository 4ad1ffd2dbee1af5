//! How much record data may wait to be written to consumers.
//!
//! A consumer that reads slowly keeps what it was sent in our memory. The more is on its way, the less a further fetch
//! is given, down to a little that everybody gets, so that slow ones stop nobody. Not a limit of one answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of all answers together from which on a fetch is given only the least.
const BYTES_MAX: usize = 256 * 1024 * 1024;
/// What a fetch is given in any case; one batch may be more.
const BYTES_LEAST: usize = 64 * 1024;

/// Counts the bytes of fetch answers that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct FetchMemory(AtomicUsize);

/// Bytes of one answer; no longer counted when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    memory: Arc<FetchMemory>,
    bytes: usize,
}

impl FetchMemory {
    /// The most bytes of records the next answer should have.
    pub(crate) fn room(&self) -> usize {
        let left = BYTES_MAX.saturating_sub(self.0.load(Ordering::Acquire));
        (left / 2).max(BYTES_LEAST)
    }

    /// Counts an answer.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        self.0.fetch_add(bytes, Ordering::AcqRel);
        Held {
            memory: Arc::clone(self),
            bytes,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.0.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_answers_on_their_way_leave_little_but_something_for_the_next() {
        let memory = Arc::new(FetchMemory::default());
        let mut held = Vec::new();
        let mut total = 0;
        for _ in 0..1000 {
            let bytes = memory.room();
            total += bytes;
            held.push(memory.hold(bytes));
        }
        assert_eq!(memory.room(), BYTES_LEAST);
        assert!(total <= BYTES_MAX + 1000 * BYTES_LEAST, "{total}");
        held.clear();
        assert_eq!(memory.room(), BYTES_MAX / 2);
    }
}
