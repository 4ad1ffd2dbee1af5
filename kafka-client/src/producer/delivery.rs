//! The fate of the records of one `send`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{ClientError, Moment};

/// What was delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    /// How many records.
    pub records: usize,
    /// For each partition that got some, the offset of its last record; -1 if the broker did not
    /// tell (`acks=0`, or it recognised a repeated batch).
    pub last_offsets: Vec<(i32, i64)>,
    /// When the first of their batches was sent, in the attempt that was acknowledged.
    pub sent: Option<Moment>,
    /// The brokers that acknowledged them, by id.
    pub brokers: Vec<i32>,
}

/// Which records of a `send` were not delivered, and why. All others were.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{} records were not delivered, the first because {}", .failures.len(), first(.failures))]
pub struct DeliveryError {
    /// Index within the `send`, and the reason; ordered by index.
    pub failures: Vec<(usize, ClientError)>,
}

fn first(failures: &[(usize, ClientError)]) -> String {
    failures
        .first()
        .map_or_else(String::new, |(_, error)| error.to_string())
}

/// Resolves when every record of one `send` is acknowledged or has failed. Dropping it changes
/// nothing about the delivery.
#[derive(Debug)]
pub struct Delivery {
    records: usize,
    outcome: oneshot::Receiver<Result<Delivered, DeliveryError>>,
}

impl Future for Delivery {
    type Output = Result<Delivered, DeliveryError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.outcome).poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(outcome)) => Poll::Ready(outcome),
            Poll::Ready(Err(_)) => {
                let closed = ClientError::Closed { what: "producer" };
                let failures = (0..self.records)
                    .map(|index| (index, closed.clone()))
                    .collect();
                Poll::Ready(Err(DeliveryError { failures }))
            }
        }
    }
}

/// The sending side of a [`Delivery`].
#[derive(Debug)]
pub(super) struct Tracker {
    open: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    delivered: Delivered,
    failures: Vec<(usize, ClientError)>,
    outcome: Option<oneshot::Sender<Result<Delivered, DeliveryError>>>,
}

impl Tracker {
    /// For a `send` of this many records.
    pub(super) fn new(records: usize) -> (Arc<Self>, Delivery) {
        let (sender, outcome) = oneshot::channel();
        let tracker = Self {
            open: AtomicUsize::new(records),
            state: Mutex::new(State {
                delivered: Delivered::default(),
                failures: Vec::new(),
                outcome: Some(sender),
            }),
        };
        if records == 0 {
            tracker.finish();
        }
        (Arc::new(tracker), Delivery { records, outcome })
    }

    fn acknowledged(
        &self,
        count: usize,
        partition: i32,
        last_offset: i64,
        (sent, broker): (Moment, i32),
    ) {
        let mut state = self.state.lock();
        state.delivered.records += count;
        state.delivered.sent = Some(state.delivered.sent.map_or(sent, |first| first.min(sent)));
        if !state.delivered.brokers.contains(&broker) {
            state.delivered.brokers.push(broker);
        }
        let offsets = &mut state.delivered.last_offsets;
        match offsets.iter_mut().find(|(known, _)| *known == partition) {
            Some((_, offset)) => *offset = (*offset).max(last_offset),
            None => offsets.push((partition, last_offset)),
        }
        drop(state);
        self.settle(count);
    }

    pub(super) fn failed(&self, first: usize, count: usize, error: &ClientError) {
        let failures = (first..first + count).map(|index| (index, error.clone()));
        self.state.lock().failures.extend(failures);
        self.settle(count);
    }

    fn settle(&self, count: usize) {
        if self.open.fetch_sub(count, Ordering::AcqRel) == count {
            self.finish();
        }
    }

    fn finish(&self) {
        let mut state = self.state.lock();
        let mut failures = std::mem::take(&mut state.failures);
        let delivered = std::mem::take(&mut state.delivered);
        let sender = state.outcome.take();
        drop(state);
        failures.sort_by_key(|(index, _)| *index);
        let outcome = if failures.is_empty() {
            Ok(delivered)
        } else {
            Err(DeliveryError { failures })
        };
        if let Some(sender) = sender {
            // Nobody has to wait for it.
            sender.send(outcome).ok();
        }
    }
}

/// Consecutive records of one `send` within a batch.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) tracker: Arc<Tracker>,
    /// Index of the first within the `send`.
    pub(super) first: usize,
    pub(super) count: usize,
}

impl Part {
    pub(super) fn fail(&self, error: &ClientError) {
        self.tracker.failed(self.first, self.count, error);
    }
}

/// Tells everyone that a whole batch is in the log; `base_offset` is -1 if unknown. Also when it
/// was sent, and to which broker.
pub(super) fn acknowledge(parts: &[Part], partition: i32, base_offset: i64, sent: (Moment, i32)) {
    let mut position = 0;
    for part in parts {
        position += part.count;
        let last = i64::try_from(position).unwrap_or(0) - 1;
        let offset = if base_offset < 0 {
            -1
        } else {
            base_offset + last
        };
        part.tracker
            .acknowledged(part.count, partition, offset, sent);
    }
}

/// Splits a batch's parts behind its first `records` records.
pub(super) fn split(parts: Vec<Part>, records: usize) -> (Vec<Part>, Vec<Part>) {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let mut room = records;
    for part in parts {
        let here = part.count.min(room);
        room -= here;
        if here > 0 {
            left.push(Part {
                count: here,
                ..part.clone()
            });
        }
        if part.count > here {
            right.push(Part {
                first: part.first + here,
                count: part.count - here,
                ..part
            });
        }
    }
    (left, right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed() -> ClientError {
        ClientError::Closed { what: "producer" }
    }

    #[tokio::test]
    async fn resolves_when_the_last_record_is_settled() {
        let (tracker, delivery) = Tracker::new(5);
        let part = |first, count| Part {
            tracker: Arc::clone(&tracker),
            first,
            count,
        };
        let earlier = Moment::now();
        acknowledge(&[part(0, 2)], 3, 100, (Moment::now(), 1));
        acknowledge(&[part(2, 1), part(3, 2)], 4, 7, (earlier, 2));
        let delivered = delivery.await.unwrap();
        assert_eq!(delivered.records, 5);
        assert_eq!(delivered.last_offsets, [(3, 101), (4, 9)]);
        assert_eq!(delivered.sent, Some(earlier));
        assert_eq!(delivered.brokers, [1, 2]);
    }

    #[tokio::test]
    async fn names_the_records_that_failed() {
        let (tracker, delivery) = Tracker::new(3);
        tracker.failed(2, 1, &closed());
        acknowledge(
            &[Part {
                tracker: Arc::clone(&tracker),
                first: 0,
                count: 2,
            }],
            0,
            0,
            (Moment::now(), 1),
        );
        let error = delivery.await.unwrap_err();
        assert_eq!(error.failures.len(), 1);
        assert_eq!(error.failures[0].0, 2);
    }

    #[tokio::test]
    async fn all_have_failed_when_the_producer_is_gone() {
        let (tracker, delivery) = Tracker::new(2);
        drop(tracker);
        assert_eq!(delivery.await.unwrap_err().failures.len(), 2);
    }

    #[tokio::test]
    async fn an_empty_send_is_delivered_at_once() {
        assert_eq!(Tracker::new(0).1.await.unwrap(), Delivered::default());
    }

    #[test]
    fn splitting_keeps_every_record_once() {
        let (tracker, _delivery) = Tracker::new(10);
        let part = |first, count| Part {
            tracker: Arc::clone(&tracker),
            first,
            count,
        };
        let (left, right) = split(vec![part(0, 4), part(6, 4)], 5);
        let shape = |parts: &[Part]| {
            parts
                .iter()
                .map(|part| (part.first, part.count))
                .collect::<Vec<_>>()
        };
        assert_eq!(shape(&left), [(0, 4), (6, 1)]);
        assert_eq!(shape(&right), [(7, 3)]);
    }
}
