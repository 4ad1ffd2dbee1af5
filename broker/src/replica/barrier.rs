//! The order of durability across partitions: before an offset is made durable, the records are that it may cover.

use std::collections::HashMap;
use std::sync::Weak;

use parking_lot::Mutex;

use super::Partition;
use crate::log::LogError;

/// The partitions of a node with acknowledged records that are not durable yet.
#[derive(Debug, Default)]
pub(crate) struct Barrier {
    /// Held during a flush of all, so that a second one waits for the first instead of finding nothing to do.
    flushing: Mutex<()>,
    unflushed: Mutex<HashMap<u64, Weak<Partition>>>,
}

impl Barrier {
    /// Notes that a partition has records that are not durable; called before they are acknowledged.
    pub(crate) fn note(&self, id: u64, partition: Weak<Partition>) {
        self.unflushed.lock().insert(id, partition);
    }

    /// Makes everything durable that was noted before the call. Blocks.
    ///
    /// # Errors
    /// The first partition's that could not be flushed; it and the rest stay noted.
    pub(crate) fn flush(&self) -> Result<(), LogError> {
        let _flushing = self.flushing.lock();
        let mut noted = std::mem::take(&mut *self.unflushed.lock()).into_iter();
        let mut result = Ok(());
        for partition in noted
            .by_ref()
            .filter_map(|(_, partition)| partition.upgrade())
        {
            result = partition.flush();
            if result.is_err() {
                break;
            }
        }
        // The failed one has noted itself again.
        self.unflushed.lock().extend(noted);
        result
    }
}
