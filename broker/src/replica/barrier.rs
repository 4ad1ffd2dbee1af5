//! The order of durability across partitions: before an offset is made durable, the records are that it may cover.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

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
    /// Notes that a partition has records that are not durable; called after each append that leaves some, before
    /// it is acknowledged. The lock orders it against [`Barrier::flush`]: an append is seen by the flush that takes
    /// its note.
    pub(crate) fn note(&self, id: u64, partition: &Weak<Partition>) {
        self.unflushed
            .lock()
            .entry(id)
            .or_insert_with(|| Weak::clone(partition));
    }

    /// Makes everything durable that was noted before the call. Blocks.
    ///
    /// # Errors
    /// The first partition's that could not be flushed; it and the rest stay noted.
    pub(crate) fn flush(&self) -> Result<(), LogError> {
        let _flushing = self.flushing.lock();
        let noted = std::mem::take(&mut *self.unflushed.lock());
        let mut left: Vec<Arc<Partition>> = noted.values().filter_map(Weak::upgrade).collect();
        while let Some(partition) = left.last() {
            if let Err(error) = partition.flush() {
                for partition in left {
                    partition.note_unflushed(platform::clock::unix_millis());
                }
                return Err(error);
            }
            left.pop();
        }
        Ok(())
    }
}
