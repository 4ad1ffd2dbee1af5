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

use super::identity::Identity;
use super::lane::Lane;
use super::outgoing::{Outgoing, Payload, sequence_after};
use super::sender::Event;
use super::{Shared, delivery};
use crate::backoff::Backoff;
use crate::{ClientError, ErrorCode, Moment, TopicPartition};

/// How many of a producer's batches a broker remembers per partition. One that is repeated when more
/// have followed it is not recognized.
const REMEMBERED: usize = 5;

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
    /// A batch with the present identity was acknowledged: the broker would notice a gap.
    proven: bool,
    /// The last acknowledged batch. Answers that arrive together may be looked at in any order.
    acknowledged_order: u64,
    /// The sequence number behind it, under the present identity.
    acknowledged_sequence: Option<i32>,
    /// The offset behind it.
    acknowledged_end: i64,
    /// Batches that were acknowledged while an earlier one was not, by their order.
    ahead: Vec<u64>,
    /// The broker lost what it had acknowledged; whatever comes behind fails with this, so that
    /// nothing overtakes the lost records when they are sent again.
    lost: Option<ClientError>,
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
            proven: false,
            acknowledged_order: 0,
            acknowledged_sequence: None,
            acknowledged_end: 0,
            ahead: Vec::new(),
            lost: None,
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
                let due = open.created.checked_add(shared.config.linger);
                let is_due = hurry || due.is_some_and(|due| due <= now);
                let expires = deadline(open.created, shared);
                let expired = expires.is_some_and(|at| at <= now);
                let blocked = !self.pending.is_empty() || self.holding || self.not_before > now;
                if expired || (is_due && !blocked && queue.full.is_empty()) {
                    queue.seal();
                } else {
                    let next = if is_due {
                        self.not_before
                    } else {
                        due.unwrap_or(now)
                    };
                    let next = Some(next).filter(|next| *next > now);
                    wake_at = [next, expires].into_iter().flatten().min();
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
            match &self.lost {
                None => self.pending.push_back(batch),
                Some(error) => {
                    batch.fail(error);
                    shared.settle(batch.order, batch.reserved);
                }
            }
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

    /// Since when the partition's leader has owed it something.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let sent = self.in_flight.front().map(|batch| batch.sent_at);
        sent.or_else(|| self.pending.front().map(|batch| batch.sent_at))
    }

    /// Whether the next batch may be sent before those in flight are answered. A broker that does not
    /// know a producer takes any first number: would it refuse the first batch and take the second,
    /// their order would be lost. So the first one under each identity travels alone.
    pub(super) fn can_send(&mut self, idempotence: bool) -> bool {
        if idempotence && (!self.in_flight.is_empty() && !self.proven || self.would_be_forgotten())
        {
            return false;
        }
        self.pending.front().is_some_and(Outgoing::is_ready)
    }

    /// Whether one more new batch could make the broker forget one that may have to be repeated.
    fn would_be_forgotten(&mut self) -> bool {
        if self
            .pending
            .front()
            .is_none_or(|next| next.identity.is_some())
        {
            return false;
        }
        // What has its numbers is at the front.
        let repeated = self.pending.iter().take_while(|it| it.identity.is_some());
        let open = repeated.chain(&self.in_flight).map(|batch| batch.order);
        let Some(oldest) = open.clone().min() else {
            self.ahead.clear();
            return false;
        };
        let open = open.count();
        self.ahead.retain(|order| *order > oldest);
        open + self.ahead.len() >= REMEMBERED
    }

    /// Numbers the next batch and counts it as sent.
    pub(super) fn next_batch(
        &mut self,
        identity: &Identity,
        shared: &Shared,
    ) -> Option<(u64, Bytes)> {
        loop {
            if matches!(identity, Identity::Known { .. }) && self.would_be_forgotten() {
                return None;
            }
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
                    batch.sent = Moment::now();
                    batch.sent_at = Instant::now();
                    let order = batch.order;
                    self.in_flight.push_back(batch);
                    return Some((order, bytes));
                }
                Err(error) => {
                    // If its numbers are new, they are not used: the next batch takes them.
                    if batch.identity.is_none() && numbered.base_sequence >= 0 {
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
        self.proven = true;
        self.backoff.reset();
        let mut open = self.in_flight.iter().chain(&self.pending);
        if open.any(|other| other.order < batch.order) {
            self.ahead.push(batch.order);
        }
        // If a later batch is known to be in the log, so is what it was numbered behind.
        if batch.order > self.acknowledged_order {
            self.acknowledged_order = batch.order;
            self.acknowledged_sequence = batch
                .identity
                .filter(|known| known.base_sequence >= 0)
                .map(|known| sequence_after(known.base_sequence, batch.records));
            if base_offset >= 0 {
                let expected = self.acknowledged_end;
                self.acknowledged_end = base_offset + i64::from(batch.records);
                if base_offset < expected && shared.config.fail_on_lost {
                    // The log was cut and has grown again: this batch is in it, earlier ones are not.
                    self.lose(shared, &batch, expected);
                    return;
                }
            }
        }
        delivery::acknowledge(
            &batch.parts,
            self.lane.partition.partition,
            base_offset,
            (batch.sent, self.node),
        );
        shared.settle(batch.order, batch.reserved);
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
                // The batch before this one was acknowledged, and the broker does not know of it.
                let lost = batch
                    .identity
                    .is_some_and(|known| Some(known.base_sequence) == self.acknowledged_sequence);
                if self.lost.is_some() || (oldest && lost && shared.config.fail_on_lost) {
                    self.lose(shared, &batch, self.acknowledged_end);
                    return false;
                }
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

    /// Fails a batch, and all behind it, because earlier ones are lost.
    fn lose(&mut self, shared: &Shared, batch: &Outgoing, expected: i64) {
        let error = self
            .lost
            .get_or_insert_with(|| ClientError::AcknowledgedLost {
                partition: self.lane.partition.clone(),
                expected,
            });
        for batch in std::iter::once(batch).chain(&self.pending) {
            batch.fail(error);
            shared.settle(batch.order, batch.reserved);
        }
        self.pending.clear();
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
        self.proven = false;
        self.ahead.clear();
        self.acknowledged_sequence = None;
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

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::super::delivery::Tracker;
    use super::super::lane::Append;
    use super::super::{Producer, ProducerConfig, ProducerRecord};
    use super::*;
    use crate::{Client, ClientConfig};

    /// A producer that reaches nobody, and a partition with as many batches on the application's side.
    pub(in crate::producer) fn world(
        batches: u64,
        change: impl FnOnce(&mut ProducerConfig),
    ) -> (Producer, Partition) {
        let mut config = ProducerConfig {
            linger: Duration::ZERO,
            ..ProducerConfig::default()
        };
        change(&mut config);
        let client = Client::new(ClientConfig::new(["127.0.0.1:1"])).unwrap();
        let backoff = client.backoff();
        let producer = Producer::new(client, config).unwrap();
        let lane = Lane {
            slot: 0,
            partition: TopicPartition::new("t", 0),
            queue: Default::default(),
        };
        for order in 1..=batches {
            append(&lane, order);
            if order < batches {
                lane.queue.lock().seal();
            }
        }
        (producer, Partition::new(Arc::new(lane), backoff))
    }

    /// Opens a batch with one record.
    pub(in crate::producer) fn append(lane: &Lane, order: u64) {
        let record = ProducerRecord::value("x");
        let append = Append {
            record: &record,
            index: 0,
            size_bound: record.size_bound(),
            reserved: 0,
            tracker: &Tracker::new(1).0,
            remaining: 0,
            now: 0,
        };
        let mut queue = lane.queue.lock();
        queue.append(&append, 1024, Compression::None, || order);
    }

    fn take_batches(producer: &Producer, partition: &mut Partition) -> Option<Instant> {
        let now = Instant::now();
        partition.take_batches(&producer.shared, now, false, &FuturesUnordered::new())
    }

    const IDENTITY: Identity = Identity::Known {
        producer_id: 7,
        producer_epoch: 0,
    };

    #[tokio::test]
    async fn an_open_batch_is_looked_at_when_the_back_off_ends() {
        let (producer, mut partition) = world(1, |_| {});
        partition.not_before = Instant::now() + Duration::from_millis(100);
        let wake_at = take_batches(&producer, &mut partition).unwrap();
        assert!(partition.pending.is_empty());
        assert_eq!(wake_at, partition.not_before);
    }

    #[tokio::test]
    async fn an_endless_linger_is_a_linger() {
        let (producer, mut partition) = world(1, |config| config.linger = Duration::MAX);
        assert!(take_batches(&producer, &mut partition).is_some());
        assert!(partition.pending.is_empty());
    }

    #[tokio::test]
    async fn answers_that_are_looked_at_out_of_order_are_no_loss() {
        let (producer, mut partition) = world(3, |config| config.fail_on_lost = true);
        let next = |partition: &mut Partition| {
            take_batches(&producer, partition);
            let (order, _) = partition.next_batch(&IDENTITY, &producer.shared).unwrap();
            order
        };
        let first = next(&mut partition);
        let second = next(&mut partition);
        let third = next(&mut partition);
        partition.acknowledged(&producer.shared, first, 0);
        partition.acknowledged(&producer.shared, third, 2);
        partition.acknowledged(&producer.shared, second, 1);
        assert!(partition.lost.is_none());
    }

    #[tokio::test]
    async fn no_batch_is_repeated_after_more_have_followed_than_brokers_remember() {
        let (producer, mut partition) = world(9, |_| {});
        let send = |partition: &mut Partition| {
            take_batches(&producer, partition);
            if !partition.can_send(true) {
                return None;
            }
            Some(partition.next_batch(&IDENTITY, &producer.shared)?.0)
        };
        let first = send(&mut partition).unwrap();
        partition.acknowledged(&producer.shared, first, 0);
        let sent: Vec<u64> = (0..5).map(|_| send(&mut partition).unwrap()).collect();
        assert_eq!(send(&mut partition), None);
        // It may be in the log, and those behind it are.
        let refused = ClientError::broker(ErrorCode::NOT_ENOUGH_REPLICAS, "refused".to_owned());
        partition.failed(&producer.shared, sent[0], refused.clone());
        for (offset, order) in (2..).zip(&sent[1..]) {
            partition.acknowledged(&producer.shared, *order, offset);
        }
        partition.holding = false;
        assert_eq!(send(&mut partition), Some(sent[0]));
        assert_eq!(send(&mut partition), None);
        partition.failed(&producer.shared, sent[0], refused);
        assert_eq!(send(&mut partition), Some(sent[0]));
        assert_eq!(send(&mut partition), None);
        partition.acknowledged(&producer.shared, sent[0], 1);
        assert!(send(&mut partition).is_some());
    }

    #[tokio::test]
    async fn the_first_batch_under_an_identity_travels_alone() {
        let (producer, mut partition) = world(3, |_| {});
        take_batches(&producer, &mut partition);
        assert!(partition.can_send(true));
        let (first, _) = partition.next_batch(&IDENTITY, &producer.shared).unwrap();
        assert!(!partition.can_send(true) && partition.can_send(false));
        partition.acknowledged(&producer.shared, first, 0);
        partition.next_batch(&IDENTITY, &producer.shared).unwrap();
        take_batches(&producer, &mut partition);
        assert!(partition.can_send(true));
        partition.raise_epoch();
        assert!(!partition.can_send(true));
    }
}
