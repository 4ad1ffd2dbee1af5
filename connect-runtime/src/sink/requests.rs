//! What a sink task asked for through its context, until the loop has done it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use connect_core::TopicPartition;
use connect_core::context::{SinkControl, TaskControl};
use parking_lot::Mutex;

use crate::task::Control;

/// Requests that are open.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) pause: BTreeSet<TopicPartition>,
    pub(super) resume: BTreeSet<TopicPartition>,
    pub(super) seek: Vec<(TopicPartition, i64)>,
    pub(super) commit: bool,
    pub(super) retry_after: Option<Duration>,
}

/// The worker's side of a sink task's context.
pub(super) struct SinkRequests {
    control: Control,
    open: Mutex<Requests>,
    assignment: Mutex<BTreeSet<TopicPartition>>,
}

impl SinkRequests {
    pub(super) fn new(control: Control) -> Arc<Self> {
        Arc::new(Self {
            control,
            open: Mutex::default(),
            assignment: Mutex::default(),
        })
    }

    /// Takes everything that was asked for since the last time, but the pause before a retry.
    pub(super) fn take(&self) -> Requests {
        let mut open = self.open.lock();
        let retry_after = open.retry_after;
        let taken = std::mem::take(&mut *open);
        open.retry_after = retry_after;
        taken
    }

    /// The pause that the task wants before its call is made again.
    pub(super) fn take_retry_after(&self) -> Option<Duration> {
        self.open.lock().retry_after.take()
    }

    /// Whether the task wants to go on somewhere else than behind what it was given.
    pub(super) fn has_seek(&self) -> bool {
        !self.open.lock().seek.is_empty()
    }

    pub(super) fn assign(&self, change: impl FnOnce(&mut BTreeSet<TopicPartition>)) {
        change(&mut self.assignment.lock());
    }
}

impl TaskControl for SinkRequests {
    fn waiting(&self, reason: String) {
        self.control.waiting(reason);
    }

    fn progress(&self) {
        self.control.progress();
    }
}

impl SinkControl for SinkRequests {
    fn pause(&self, partitions: &[TopicPartition]) {
        let mut open = self.open.lock();
        for partition in partitions {
            open.resume.remove(partition);
            open.pause.insert(partition.clone());
        }
    }

    fn resume(&self, partitions: &[TopicPartition]) {
        let mut open = self.open.lock();
        for partition in partitions {
            open.pause.remove(partition);
            open.resume.insert(partition.clone());
        }
    }

    fn seek(&self, partition: &TopicPartition, offset: i64) {
        self.open.lock().seek.push((partition.clone(), offset));
    }

    fn request_commit(&self) {
        self.open.lock().commit = true;
    }

    fn retry_after(&self, delay: Duration) {
        self.open.lock().retry_after = Some(delay);
    }

    fn assignment(&self) -> BTreeSet<TopicPartition> {
        self.assignment.lock().clone()
    }
}
