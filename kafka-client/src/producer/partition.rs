//! One partition's batches between closing and acknowledgement, and the rules that keep their
//! order.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use kafka_records::{BatchBuilder, Compression, ProducerIdentity, RecordError};
use kafka_wire::produce_response::PartitionProduceResponse;
use tokio::time::Instant;

use super::lane::Lane;
use super::outgoing::{Outgoing, Payload, sequence_after};
use super::sender::{Event, Identity};
use super::{Shared, delivery};
use crate::backoff::Backoff;
use crate::{ClientError, ErrorCode, TopicPartition};

pub(super) struct Partition {
    pub(super) lane: Arc<Lane>,
    /// To be sent, in order.
    pub(super) pending: VecDeque<Outgoing>,
    /// Sent and not answered, in order.
    pub(super) in_flight: VecDeque<Outgoing>,
    /// The broker they were sent to.
    pub(super) node: i32,
    /// A batch failed: hold back until all are answered.
    pub(super) holding: bool,
    /// Raise the epoch once all are answered.
    pub(super) renumber: bool,
    pub(super) not_before: Instant,
    pub(super) backoff: Backoff,
    /// Producer id and epoch in use here.
    pub(super) identity: Option<(i64, i16)>,
    pub(super) next_sequence: i32,
}

impl Partition {
    pub(super) fn new(lane: Arc<Lane>, backoff: Backoff) -> Self {
        Self {
            lane,
            pending: VecDeque::new(),
            in_flight: VecDeque::new(),
            node: -1,
            holding: false,
            renumber: false,
            not_before: Instant::now(),
            backoff,
            identity: None,
            next_sequence: 0,
        }
    }

    /// Moves closed batches over, and the open one if its time has come and it could be sent.
    /// Returns when the open one's time comes.
    pub(super) fn take_batches(
        &mut self,
        shared: &Arc<Shared>,
        now: Instant,
        hurry: bool,
        events: &FuturesUnordered<BoxFuture<'static, Event>>,
    ) -> Option<Instant> {
        let mut wake_at = None;
        let taken = {
            let mut queue = self.lane.queue.lock();
            if let Some(open) = &queue.open {
                let due = open.created + shared.config.linger;
                let expired = deadline(open.created, shared).is_some_and(|at| at <= now);
                let blocked = !self.pending.is_empty() || self.holding || self.not_before > now;
                if expired || ((hurry || due <= now) && !blocked && queue.full.is_empty()) {
                    queue.seal();
                } else if due > now {
                    wake_at = Some(due);
                } else if let Some(at) = deadline(open.created, shared) {
                    wake_at = Some(at);
                }
            }
            std::mem::take(&mut queue.full)
        };
        for filling in taken {
            let mut batch = Outgoing::new(filling);
            if shared.config.compression != Compression::None
                && let Payload::Raw(builder) =
                    std::mem::replace(&mut batch.payload, Payload::Compressing)
            {
                events.push(compress(self.lane.slot, batch.order, builder));
            }
            self.pending.push_back(batch);
        }
        wake_at
    }

    /// Fails batches that wait for too long. Returns when the next one would.
    pub(super) fn expire(&mut self, shared: &Shared, now: Instant) -> Option<Instant> {
        while let Some(front) = self.pending.front() {
            let at = deadline(front.created, shared)?;
            if at > now {
                return Some(at);
            }
            let Some(batch) = self.pending.pop_front() else {
                break;
            };
            let error = ClientError::Undelivered {
                partition: self.lane.partition.clone(),
                after: shared.config.delivery_timeout,
                last: batch.last_error.as_ref().map_or_else(
                    || "its leader could not be reached".to_owned(),
                    ToString::to_string,
                ),
            };
            batch.fail(&error);
            shared.settle(batch.order, batch.reserved);
        }
        None
    }

    /// Numbers the next batch and counts it as sent.
    pub(super) fn next_batch(
        &mut self,
        identity: &Identity,
        shared: &Shared,
    ) -> Option<(u64, Bytes)> {
        loop {
            let mut batch = self.pending.pop_front()?;
            if !batch.is_ready() {
                self.pending.push_front(batch);
                return None;
            }
            let numbered = match (identity, batch.identity) {
                (
                    Identity::Known {
                        producer_id,
                        producer_epoch,
                    },
                    None,
                ) => {
                    let (producer_id, producer_epoch) =
                        *self.identity.get_or_insert((*producer_id, *producer_epoch));
                    let base_sequence = self.next_sequence;
                    self.next_sequence = sequence_after(base_sequence, batch.records);
                    ProducerIdentity {
                        producer_id,
                        producer_epoch,
                        base_sequence,
                    }
                }
                (_, Some(known)) => known,
                (_, None) => ProducerIdentity::NONE,
            };
            match batch.encode(numbered) {
                Ok(bytes) => {
                    let order = batch.order;
                    self.in_flight.push_back(batch);
                    return Some((order, bytes));
                }
                Err(error) => {
                    // Its numbers are not used: the next batch takes them.
                    if numbered.base_sequence >= 0 {
                        self.next_sequence = numbered.base_sequence;
                    }
                    fail_encoding(shared, &self.lane.partition, &batch, &error);
                }
            }
        }
    }

    pub(super) fn take(&mut self, order: u64) -> Option<Outgoing> {
        let place = self
            .in_flight
            .iter()
            .position(|batch| batch.order == order)?;
        self.in_flight.remove(place)
    }

    pub(super) fn acknowledged(&mut self, shared: &Shared, order: u64, base_offset: i64) {
        let Some(batch) = self.take(order) else {
            return;
        };
        delivery::acknowledge(&batch.parts, self.lane.partition.partition, base_offset);
        shared.settle(batch.order, batch.reserved);
        self.backoff.reset();
    }

    /// The whole request failed, or this batch did: repeat or give up.
    pub(super) fn failed(&mut self, shared: &Shared, order: u64, error: ClientError) {
        let Some(mut batch) = self.take(order) else {
            return;
        };
        if error.is_retriable() {
            tracing::debug!(partition = %self.lane.partition, "batch will be repeated: {error}");
            batch.last_error = Some(error);
            self.put_back(batch);
            self.not_before = Instant::now() + self.backoff.next();
        } else {
            batch.fail(&error);
            shared.settle(batch.order, batch.reserved);
        }
    }

    /// Puts a batch back in its place in the order; nothing is sent until all are answered.
    pub(super) fn put_back(&mut self, batch: Outgoing) {
        self.holding = true;
        let place = self
            .pending
            .partition_point(|other| other.order < batch.order);
        self.pending.insert(place, batch);
    }

    /// Takes in the broker's answer for one batch. Returns whether the producer needs a new id.
    pub(super) fn answered(
        &mut self,
        shared: &Shared,
        order: u64,
        answer: &PartitionProduceResponse,
    ) -> bool {
        let code = ErrorCode(answer.error_code);
        match code {
            ErrorCode::NONE => self.acknowledged(shared, order, answer.base_offset),
            // In the log already, from an earlier attempt.
            ErrorCode::DUPLICATE_SEQUENCE_NUMBER => self.acknowledged(shared, order, -1),
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID
                if shared.config.idempotence =>
            {
                let oldest = self
                    .in_flight
                    .front()
                    .is_some_and(|batch| batch.order == order)
                    && self
                        .pending
                        .front()
                        .is_none_or(|batch| batch.order > order || batch.identity.is_none());
                let Some(batch) = self.take(order) else {
                    return false;
                };
                if oldest {
                    tracing::warn!(
                        partition = %self.lane.partition,
                        "the broker answered {code}; the producer epoch is raised and the batch sent again"
                    );
                    self.renumber = true;
                }
                self.put_back(batch);
                self.not_before = Instant::now() + self.backoff.next();
            }
            ErrorCode::INVALID_PRODUCER_EPOCH if shared.config.idempotence => {
                // Nobody else uses this id, so this can only be an id from before a disaster.
                let Some(batch) = self.take(order) else {
                    return false;
                };
                self.put_back(batch);
                self.not_before = Instant::now() + self.backoff.next();
                self.identity = None;
                self.renumber = true;
                return true;
            }
            ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => {
                let Some(batch) = self.take(order) else {
                    return false;
                };
                match batch.halve(shared.config.compression) {
                    Ok((left, right)) => {
                        tracing::info!(
                            partition = %self.lane.partition,
                            "a batch is larger than the broker takes and is sent in halves; set batch.size below the topic's max.message.bytes"
                        );
                        shared.outstanding.lock().insert(right.order);
                        self.put_back(right);
                        self.put_back(left);
                    }
                    Err(batch) => self.give_up(shared, &batch, answer),
                }
            }
            ErrorCode::INVALID_RECORD if !answer.record_errors.is_empty() => {
                let Some(batch) = self.take(order) else {
                    return false;
                };
                let context = self.context(answer);
                let bad: Vec<(i32, ClientError)> = answer
                    .record_errors
                    .iter()
                    .map(|error| {
                        let reason = error.batch_index_error_message.as_deref().map_or_else(
                            || context.clone(),
                            |reason| format!("{context}: {reason}"),
                        );
                        (error.batch_index, ClientError::broker(code, reason))
                    })
                    .collect();
                let (order, reserved) = (batch.order, batch.reserved);
                match batch.without(shared.config.compression, &bad) {
                    Ok(Some(rest)) => self.put_back(rest),
                    Ok(None) => shared.settle(order, reserved),
                    Err(batch) => self.give_up(shared, &batch, answer),
                }
            }
            code => {
                if code.is_stale_metadata() {
                    shared
                        .client
                        .metadata()
                        .mark_stale(&self.lane.partition.topic);
                }
                let error = ClientError::broker(code, self.context(answer));
                self.failed(shared, order, error);
            }
        }
        false
    }

    pub(super) fn give_up(
        &self,
        shared: &Shared,
        batch: &Outgoing,
        answer: &PartitionProduceResponse,
    ) {
        batch.fail(&ClientError::broker(
            ErrorCode(answer.error_code),
            self.context(answer),
        ));
        shared.settle(batch.order, batch.reserved);
    }

    pub(super) fn context(&self, answer: &PartitionProduceResponse) -> String {
        let partition = &self.lane.partition;
        match answer
            .error_message
            .as_deref()
            .filter(|message| !message.is_empty())
        {
            Some(message) => format!(
                "broker {} refused records for {partition}: {message}",
                self.node
            ),
            None => format!("broker {} refused records for {partition}", self.node),
        }
    }

    /// Starts numbering anew: nothing of what is pending is in the log.
    pub(super) fn raise_epoch(&mut self) {
        self.identity = match self.identity {
            Some((id, epoch)) if epoch < i16::MAX => Some((id, epoch + 1)),
            _ => None,
        };
        self.next_sequence = 0;
        for batch in &mut self.pending {
            batch.identity = None;
        }
    }
}

fn deadline(created: Instant, shared: &Shared) -> Option<Instant> {
    created.checked_add(shared.config.delivery_timeout)
}

fn compress(slot: usize, order: u64, mut builder: BatchBuilder) -> BoxFuture<'static, Event> {
    Box::pin(async move {
        let result = platform::blocking::run(move || builder.finish()).await;
        Event::Compressed {
            slot,
            order,
            result,
        }
    })
}

pub(super) fn fail_encoding(
    shared: &Shared,
    partition: &TopicPartition,
    batch: &Outgoing,
    error: &RecordError,
) {
    let error = ClientError::Encode {
        topic: partition.topic.to_string(),
        reason: error.to_string(),
    };
    batch.fail(&error);
    shared.settle(batch.order, batch.reserved);
}
