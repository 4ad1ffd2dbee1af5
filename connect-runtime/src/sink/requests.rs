//! What a sink task asked for through its context, until the loop has done it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use connect_core::context::{SinkControl, TaskControl};
use connect_core::{ConnectError, SinkRecord, TopicPartition};
use kafka_client::ProducerRecord;
use parking_lot::Mutex;

use super::convert::Originals;
use crate::task::{Control, TaskFailure};
use crate::tolerance::{BadRecord, Tolerance};

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
    tolerance: Arc<Tolerance>,
    /// Letters about the records that the task has reported, until they are safe. A record that is
    /// reported with every attempt at its put has one.
    reported: Mutex<Letters>,
}

/// By the place that each record was read from.
type Letters = BTreeMap<(TopicPartition, i64), ProducerRecord>;

/// Letters on their way to the dead letter queue. Those that are not known to be safe when this is
/// dropped wait for the next time: their records may be covered by any offset that is committed.
pub(super) struct Reported<'a> {
    requests: &'a SinkRequests,
    letters: Letters,
}

impl Reported<'_> {
    pub(super) fn letters(&self) -> impl Iterator<Item = ProducerRecord> {
        self.letters.values().cloned()
    }

    pub(super) fn safe(mut self) {
        self.letters.clear();
    }
}

impl Drop for Reported<'_> {
    fn drop(&mut self) {
        let mut open = self.requests.reported.lock();
        for (place, letter) in std::mem::take(&mut self.letters) {
            open.entry(place).or_insert(letter);
        }
    }
}

impl SinkRequests {
    pub(super) fn new(control: Control, tolerance: Arc<Tolerance>) -> Arc<Self> {
        Arc::new(Self {
            control,
            tolerance,
            reported: Mutex::default(),
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

    /// Letters that have to be safe before anything more is committed.
    pub(super) fn take_reported(&self) -> Reported<'_> {
        Reported {
            requests: self,
            letters: std::mem::take(&mut self.reported.lock()),
        }
    }

    /// Whether so few records fail that the task may go on.
    pub(super) fn check_rate(&self) -> Result<(), TaskFailure> {
        self.tolerance.check_rate()
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

    fn report(&self, record: &SinkRecord, error: ConnectError) -> Result<(), ConnectError> {
        if !self.tolerance.takes(&error) {
            return Err(error);
        }
        let (partition, offset) = record.source();
        let original = record.attachment.get::<Originals>();
        let original = original.and_then(|originals| originals.at(offset));
        let bad = BadRecord::put(error);
        let decided = match original {
            Some(consumed) => self.tolerance.consumed(bad, consumed),
            None => {
                let bad = bad.context(format_args!("{partition} offset {offset}"));
                self.tolerance.unknown(&bad).map(|()| None)
            }
        };
        match decided {
            Ok(Some(letter)) => drop(self.reported.lock().insert((partition, offset), letter)),
            Ok(None) => {}
            Err(failure) => return Err(ConnectError::record(failure.message)),
        }
        Ok(())
    }
}
