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
    /// How many seeks there have been since the start.
    pub(super) seeks: u64,
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
        let rest = Requests {
            retry_after: open.retry_after,
            seeks: open.seeks,
            ..Requests::default()
        };
        std::mem::replace(&mut *open, rest)
    }

    /// The pause that the task wants before its call is made again.
    pub(super) fn take_retry_after(&self) -> Option<Duration> {
        self.open.lock().retry_after.take()
    }

    /// How many seeks there have been. Puts made before the last of them hold records from
    /// elsewhere than where the task wants to go on.
    pub(super) fn seeks(&self) -> u64 {
        self.open.lock().seeks
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
        let mut open = self.open.lock();
        open.seeks += 1;
        open.seek.push((partition.clone(), offset));
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
