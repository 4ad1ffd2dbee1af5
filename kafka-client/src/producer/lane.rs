//! One partition's records on the application's side: the batch being filled, and full ones the
//! sender has not taken yet.

use std::collections::VecDeque;
use std::sync::Arc;

use kafka_records::{BatchBuilder, Compression};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::ProducerRecord;
use super::delivery::{Part, Tracker};
use crate::TopicPartition;

/// Distance between the order numbers of two batches; what is between is for the pieces of one that
/// had to be split.
pub(super) const ORDER_SPAN: u64 = 1 << 24;
/// The smallest buffer a batch starts with.
const SMALLEST_BUFFER: usize = 1024;

#[derive(Debug)]
pub(super) struct Lane {
    /// Its number among all of the producer's partitions.
    pub(super) slot: usize,
    pub(super) partition: TopicPartition,
    pub(super) queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) open: Option<Filling>,
    pub(super) full: VecDeque<Filling>,
    /// Whether the sender looks after this partition at present.
    pub(super) listed: bool,
    /// The size of the previous batch: the next one's buffer starts with about that.
    last_bytes: usize,
}

/// A batch and who waits for it.
#[derive(Debug)]
pub(super) struct Filling {
    /// Grows from batch to batch.
    pub(super) order: u64,
    pub(super) builder: BatchBuilder,
    pub(super) parts: Vec<Part>,
    /// Bytes of the producer's buffer it holds.
    pub(super) reserved: usize,
    pub(super) created: Instant,
}

/// One record to be appended.
pub(super) struct Append<'a> {
    pub(super) record: &'a ProducerRecord,
    pub(super) index: usize,
    pub(super) size_bound: usize,
    pub(super) reserved: usize,
    pub(super) tracker: &'a Arc<Tracker>,
    /// An upper bound of what the same `send` still has to append, this record included.
    pub(super) remaining: usize,
    pub(super) now: i64,
}

/// What an append made necessary.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Appended {
    /// A batch was opened.
    pub(super) opened: bool,
    /// A batch was filled.
    pub(super) filled: bool,
}

impl Queue {
    /// Encodes one record into the open batch, closing that one first if it has no room.
    pub(super) fn append(
        &mut self,
        append: &Append<'_>,
        batch_bytes: usize,
        compression: Compression,
        next_order: impl FnOnce() -> u64,
    ) -> Appended {
        let mut appended = Appended::default();
        if let Some(open) = self.open.take_if(|open| {
            open.builder.encoded_bytes() + append.size_bound > batch_bytes
                && !open.builder.is_empty()
        }) {
            self.close(open);
            appended.filled = true;
        }
        let last_bytes = self.last_bytes;
        let open = self.open.get_or_insert_with(|| {
            appended.opened = true;
            let expected = last_bytes.max(append.remaining).max(SMALLEST_BUFFER);
            Filling {
                order: next_order(),
                builder: BatchBuilder::new(compression, expected.min(batch_bytes)),
                parts: Vec::new(),
                reserved: 0,
                created: Instant::now(),
            }
        });
        open.builder.push(append.record.as_ref(append.now));
        open.reserved += append.reserved;
        match open.parts.last_mut() {
            Some(part)
                if part.first + part.count == append.index
                    && Arc::ptr_eq(&part.tracker, append.tracker) =>
            {
                part.count += 1;
            }
            _ => open.parts.push(Part {
                tracker: Arc::clone(append.tracker),
                first: append.index,
                count: 1,
            }),
        }
        appended
    }

    /// Takes the open batch as it is.
    pub(super) fn seal(&mut self) {
        if let Some(open) = self.open.take() {
            self.close(open);
        }
    }

    fn close(&mut self, batch: Filling) {
        self.last_bytes = batch.builder.encoded_bytes() + 64;
        self.full.push_back(batch);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none() && self.full.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append_all(queue: &mut Queue, values: &[usize], batch_bytes: usize) -> Vec<Appended> {
        let (tracker, _delivery) = Tracker::new(values.len());
        let mut order = 0;
        values
            .iter()
            .enumerate()
            .map(|(index, size)| {
                let record = ProducerRecord::value(vec![7; *size]);
                let append = Append {
                    record: &record,
                    index,
                    size_bound: record.size_bound(),
                    reserved: record.size_bound(),
                    tracker: &tracker,
                    remaining: 0,
                    now: 0,
                };
                queue.append(&append, batch_bytes, Compression::None, || {
                    order += ORDER_SPAN;
                    order
                })
            })
            .collect()
    }

    #[test]
    fn a_batch_closes_before_it_would_be_too_large() {
        let mut queue = Queue::default();
        append_all(&mut queue, &[300, 300, 300, 300], 1000);
        assert_eq!(queue.full.len(), 1);
        assert_eq!(queue.full[0].builder.record_count(), 2);
        assert!(queue.full[0].builder.encoded_bytes() <= 1000);
        assert_eq!(queue.open.as_ref().unwrap().builder.record_count(), 2);
    }

    #[test]
    fn a_record_larger_than_a_batch_travels_alone() {
        let mut queue = Queue::default();
        append_all(&mut queue, &[10, 5000, 10], 1000);
        queue.seal();
        let counts: Vec<i32> = queue
            .full
            .iter()
            .map(|batch| batch.builder.record_count())
            .collect();
        assert_eq!(counts, [1, 1, 1]);
    }

    #[test]
    fn consecutive_records_of_one_send_are_one_part() {
        let mut queue = Queue::default();
        append_all(&mut queue, &[1, 2, 3], 1000);
        append_all(&mut queue, &[1], 1000);
        let open = queue.open.as_ref().unwrap();
        assert_eq!(
            open.parts.iter().map(|part| part.count).collect::<Vec<_>>(),
            [3, 1]
        );
        assert!(open.reserved > 0);
    }

    #[test]
    fn orders_grow_and_opening_and_filling_is_reported() {
        let mut queue = Queue::default();
        let steps = append_all(&mut queue, &[600, 600], 1000);
        assert!(steps[0].opened && !steps[0].filled);
        assert!(steps[1].opened && steps[1].filled);
        assert!(queue.full[0].order < queue.open.as_ref().unwrap().order);
    }
}
