//! One reading of both clocks, taken at the edge and handed to the state machine.

use tokio::time::Instant;

/// The time of an event: monotonic for timeouts, wall clock for what is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Monotonic time (virtual in a simulation); session and rebalance deadlines use it.
    pub(crate) instant: Instant,
    /// Milliseconds since the Unix epoch; stored with groups and offsets.
    pub(crate) unix_millis: i64,
}

impl Moment {
    /// Reads both clocks.
    pub(crate) fn now() -> Self {
        Self {
            instant: Instant::now(),
            unix_millis: platform::clock::unix_millis(),
        }
    }
}
