//! Wall-clock time. Monotonic time is [`tokio::time::Instant`], which a simulation already
//! controls.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since the Unix epoch; zero if the machine's clock stands before it.
#[must_use]
pub fn since_epoch() -> Duration {
    #[cfg(feature = "simulation")]
    if let Some(now) = turmoil::since_epoch() {
        return crate::faults::clock(now);
    }
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Milliseconds since the Unix epoch, as Kafka's record timestamps count.
#[must_use]
pub fn unix_millis() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}
