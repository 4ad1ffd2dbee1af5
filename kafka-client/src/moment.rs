//! The order in which things happened in this process.

use std::sync::atomic::{AtomicU64, Ordering};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A point in the order of this process's events; later ones compare greater. Not a time: it shows
/// what came before what, even when two things happen within one tick of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// Now, after every moment taken before.
    #[must_use]
    pub fn now() -> Self {
        Self(NEXT.fetch_add(1, Ordering::SeqCst))
    }
}
