//! The task that owns everything between a closed batch and its acknowledgement.
//!
//! Order within a partition: batches are sent in order, on one connection at a time. When one
//! fails, nothing more of that partition is sent until all of its unanswered batches are answered;
//! then they are repeated in order. With idempotence each batch keeps its sequence number through
//! all attempts, so the broker drops repetitions and refuses what would leave a gap. When it says
//! that the oldest unacknowledged batch leaves a gap, that batch is not in the log, and neither are
//! those behind it: the producer epoch is raised for this partition and numbering starts over
//! (KIP-360).
//!
//! A leader that hangs keeps its connection open and would hold its partitions for as long as a
//! request may take. So metadata is asked for again while a leader owes an answer for long, and
//! when another one leads by then, the old connection is given up: what was sent over it is
//! repeated to the new leader, which knows by the sequence numbers what it has already.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use kafka_records::RecordError;
use kafka_wire::produce_response::PartitionProduceResponse;
use kafka_wire::{ProduceRequest, ProduceResponse};
use tokio::time::Instant;

use super::frame::{self, TopicBatches};
use super::identity::{Identity, init_producer_id};
use super::outgoing::{Outgoing, Payload};
use super::partition::{Partition, fail_encoding};
use super::{Acks, REQUEST_OVERHEAD, Shared};
use crate::connection::Connection;
use crate::{BrokerInfo, Client, ClientError, ErrorCode, TopicPartition};

/// A leader that owes an answer for this long may have been replaced.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the others are asked from then on. A silent leader is replaced when its session is over, so
/// this comes on top of it.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Runs until it is aborted.
pub(super) async fn run(shared: Arc<Shared>) {
    let _end = End(Arc::clone(&shared));
    Sender::new(shared).work().await;
}

/// However the sender ends, nobody waits for it any more.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.budget.close();
        self.0.settled.notify_waiters();
    }
}

struct Sender {
    shared: Arc<Shared>,
    /// By slot; kept for ever, for the sequence numbers.
    partitions: HashMap<usize, Partition>,
    /// Slots with something to do.
    active: BTreeSet<usize>,
    nodes: HashMap<i32, Node>,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
    identity: Identity,
    refreshing: bool,
    refresh_not_before: Instant,
    /// Where the next round starts, so that every partition has its turn.
    start: usize,
}

#[derive(Default)]
struct Node {
    connection: Option<Connection>,
    connecting: bool,
    in_flight: usize,
}

pub(super) enum Event {
    Connected(i32, Result<Connection, ClientError>),
    Answered {
        node: i32,
        sent: Vec<(usize, u64)>,
        result: Result<Option<ProduceResponse>, ClientError>,
    },
    Compressed {
        slot: usize,
        order: u64,
        result: Result<Bytes, RecordError>,
    },
    Identified(Result<(i64, i16), ClientError>),
    Refreshed(Result<(), ClientError>),
}

impl Sender {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            identity: if shared.config.idempotence {
                Identity::Absent
            } else {
                Identity::NotUsed
            },
            shared,
            partitions: HashMap::new(),
            active: BTreeSet::new(),
            nodes: HashMap::new(),
            events: FuturesUnordered::new(),
            refreshing: false,
            refresh_not_before: Instant::now(),
            start: 0,
        }
    }

    async fn work(&mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            self.take_listed();
            let wake_at = self.advance();
            let sleep = async {
                match wake_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(event) = self.events.next(), if !self.events.is_empty() => self.handle(event),
                () = shared.wake.notified() => {}
                () = sleep => {}
            }
        }
    }

    fn take_listed(&mut self) {
        let listed = std::mem::take(&mut *self.shared.listed.lock());
        for lane in listed {
            let slot = lane.slot;
            self.active.insert(slot);
            let client = &self.shared.client;
            self.partitions
                .entry(slot)
                .or_insert_with(|| Partition::new(lane, client.backoff()));
        }
    }

    /// Takes closed batches, expires old ones and sends what can be sent. Returns when to look
    /// again even if nothing happens.
    fn advance(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut wake_at: Option<Instant> = None;
        let mut sooner = |at: Option<Instant>| {
            if let Some(at) = at {
                wake_at = Some(wake_at.map_or(at, |known| known.min(at)));
            }
        };
        let hurry = self.shared.flushing.load(Ordering::Acquire) > 0
            || self.shared.waiting.load(Ordering::Acquire) > 0
            || self.shared.closed.load(Ordering::Acquire);
        let mut ready: HashMap<i32, Vec<usize>> = HashMap::new();
        let mut idle = Vec::new();
        let mut leaderless: HashSet<Arc<str>> = HashSet::new();
        let mut hung = BTreeSet::new();
        let slots: Vec<usize> = self.active.iter().copied().collect();
        for slot in &slots {
            let Some(partition) = self.partitions.get_mut(slot) else {
                continue;
            };
            if partition.in_flight.is_empty() {
                partition.holding = false;
                if std::mem::take(&mut partition.renumber) {
                    partition.raise_epoch();
                }
            }
            // What expired no longer holds up the open batch, which may be old, too.
            partition.expire(&self.shared, now);
            sooner(partition.take_batches(&self.shared, now, hurry, &self.events));
            sooner(partition.expire(&self.shared, now));
            if partition.in_flight.is_empty() && partition.pending.is_empty() {
                let mut queue = partition.lane.queue.lock();
                if queue.is_empty() {
                    queue.listed = false;
                    drop(queue);
                    idle.push(*slot);
                }
                continue;
            }
            let replaced = question_leader(&self.shared.client, partition, now, &mut sooner);
            hung.extend(replaced.then_some(partition.node));
            if partition.holding || !partition.can_send(self.shared.config.idempotence) {
                continue;
            }
            if partition.not_before > now {
                sooner(Some(partition.not_before));
                continue;
            }
            match self
                .shared
                .client
                .metadata()
                .leader(&partition.lane.partition)
            {
                Some((leader, _)) if partition.in_flight.is_empty() || partition.node == leader => {
                    ready.entry(leader).or_default().push(*slot);
                }
                Some(_) => {}
                None => {
                    leaderless.insert(Arc::clone(&partition.lane.partition.topic));
                }
            }
        }
        for slot in idle {
            self.active.remove(&slot);
        }
        for id in hung {
            if let Some(connection) = self.nodes.get_mut(&id).and_then(|it| it.connection.take()) {
                tracing::warn!(
                    broker = id,
                    "gives no answers and was replaced as a leader; its requests are repeated"
                );
                // They fail now, and that is where repeating them begins.
                connection.close();
            }
        }
        self.start = self.start.wrapping_add(1);
        for (node, slots) in ready {
            self.send_to(node, slots);
        }
        sooner(self.refresh(leaderless, now));
        wake_at
    }

    /// Sends to one broker as much as may be unanswered.
    fn send_to(&mut self, id: i32, mut slots: Vec<usize>) {
        match &self.identity {
            Identity::Absent => {
                self.identity = Identity::Asked;
                let shared = Arc::clone(&self.shared);
                self.events.push(Box::pin(async move {
                    Event::Identified(init_producer_id(&shared.client).await)
                }));
                return;
            }
            Identity::Asked => return,
            Identity::Refused(error) => {
                let error = error.clone();
                for slot in slots {
                    let Some(partition) = self.partitions.get_mut(&slot) else {
                        continue;
                    };
                    for batch in partition.pending.drain(..) {
                        batch.fail(&error);
                        self.shared.settle(batch.order, batch.reserved);
                    }
                }
                // Batches that were held up behind these fail in the next round.
                self.shared.wake.notify_one();
                return;
            }
            Identity::Known { .. } | Identity::NotUsed => {}
        }
        let node = self.nodes.entry(id).or_default();
        let connection = node
            .connection
            .take()
            .filter(|connection| !connection.is_closed());
        let Some(connection) = connection else {
            if !node.connecting {
                node.connecting = true;
                let shared = Arc::clone(&self.shared);
                self.events.push(Box::pin(async move {
                    let result = match shared.client.broker_addr(id).await {
                        Ok(addr) => shared.pool.get(&addr).await,
                        Err(error) => Err(error),
                    };
                    Event::Connected(id, result)
                }));
            }
            return;
        };
        let rotation = self.start % slots.len().max(1);
        slots.rotate_left(rotation);
        let mut slots: VecDeque<usize> = slots.into();
        let mut in_flight = node.in_flight;
        while in_flight < self.shared.config.max_in_flight && !slots.is_empty() {
            if !self.send_request(id, &connection, &mut slots) {
                break;
            }
            in_flight += 1;
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            node.connection = Some(connection);
            node.in_flight = in_flight;
        }
    }

    /// Sends one request with at most one batch of each partition. Partitions with more to send stay
    /// in `slots`.
    fn send_request(
        &mut self,
        id: i32,
        connection: &Connection,
        slots: &mut VecDeque<usize>,
    ) -> bool {
        let config = &self.shared.config;
        let version = match connection.version::<ProduceRequest>(Some(frame::NEWEST_VERSION)) {
            Ok(version) => version,
            Err(error) => {
                self.identity = Identity::Refused(error);
                self.shared.wake.notify_one();
                return false;
            }
        };
        let mut room = config.max_request_bytes.saturating_sub(REQUEST_OVERHEAD);
        let mut topics: Vec<TopicBatches> = Vec::new();
        let mut sent = Vec::new();
        for _ in 0..slots.len() {
            let Some(slot) = slots.pop_front() else { break };
            let Some(partition) = self.partitions.get_mut(&slot) else {
                continue;
            };
            let Some(size) = partition.pending.front().map(Outgoing::size_bound) else {
                continue;
            };
            if size > room && !sent.is_empty() {
                slots.push_back(slot);
                continue;
            }
            let Some((order, batch)) = partition.next_batch(&self.identity, &self.shared) else {
                continue;
            };
            room = room.saturating_sub(size + 64 + partition.lane.partition.topic.len());
            partition.node = id;
            sent.push((slot, order));
            let name = &partition.lane.partition.topic;
            let entry = (partition.lane.partition.partition, batch);
            match topics.iter_mut().find(|topic| topic.topic == *name) {
                Some(topic) => topic.batches.push(entry),
                None => topics.push(TopicBatches {
                    topic: Arc::clone(name),
                    batches: vec![entry],
                }),
            }
            if partition.can_send(config.idempotence) {
                slots.push_back(slot);
            }
        }
        if sent.is_empty() {
            return false;
        }
        let timeout = self.shared.client.config().request_timeout;
        let (head, rest) = frame::encode(
            version.value(),
            connection.client_id(),
            config.acks.wire(),
            i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
            &topics,
        );
        let answered = config.acks != Acks::None;
        let pending = connection.submit_frame_now(head, rest, answered, "Produce");
        self.events.push(Box::pin(async move {
            let result = match pending {
                Err(error) => Err(error),
                // The broker itself may take the timeout; leave its answer time to arrive.
                Ok(pending) if answered => pending
                    .decode::<ProduceRequest>(
                        version,
                        timeout.saturating_add(Duration::from_secs(5)),
                    )
                    .await
                    .map(Some),
                Ok(pending) => pending.bytes(timeout).await.map(|_| None),
            };
            Event::Answered {
                node: id,
                sent,
                result,
            }
        }));
        true
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connected(id, result) => {
                let node = self.nodes.entry(id).or_default();
                node.connecting = false;
                match result {
                    Ok(connection) => node.connection = Some(connection),
                    Err(error) => {
                        tracing::debug!(broker = id, "{error}");
                        self.distrust(id, &error);
                    }
                }
            }
            Event::Answered { node, sent, result } => self.handle_answer(node, sent, result),
            Event::Compressed {
                slot,
                order,
                result,
            } => {
                let Some(partition) = self.partitions.get_mut(&slot) else {
                    return;
                };
                let Some(place) = partition
                    .pending
                    .iter()
                    .position(|batch| batch.order == order)
                else {
                    return;
                };
                match result {
                    Ok(bytes) => {
                        if let Some(batch) = partition.pending.get_mut(place) {
                            batch.payload = Payload::Encoded(bytes);
                        }
                    }
                    Err(error) => {
                        if let Some(batch) = partition.pending.remove(place) {
                            fail_encoding(&self.shared, &partition.lane.partition, &batch, &error);
                        }
                    }
                }
            }
            Event::Identified(Ok((producer_id, producer_epoch))) => {
                self.identity = Identity::Known {
                    producer_id,
                    producer_epoch,
                };
            }
            Event::Identified(Err(error)) => {
                self.identity = if error.is_retriable() {
                    tracing::debug!("no producer id yet: {error}");
                    Identity::Absent
                } else {
                    tracing::error!("no producer id: {error}");
                    Identity::Refused(error)
                };
            }
            Event::Refreshed(result) => {
                self.refreshing = false;
                if let Err(error) = result {
                    tracing::debug!("{error}");
                }
            }
        }
    }

    /// A broker can't be reached: perhaps its partitions have other leaders by now.
    fn distrust(&mut self, id: i32, error: &ClientError) {
        // Not at once: a broker that is not in the cluster's metadata fails without any waiting.
        let not_before = Instant::now() + self.shared.client.config().retry_backoff;
        for slot in &self.active {
            let Some(partition) = self.partitions.get_mut(slot) else {
                continue;
            };
            let topic = &partition.lane.partition;
            if self
                .shared
                .client
                .metadata()
                .leader(topic)
                .is_some_and(|(leader, _)| leader == id)
            {
                self.shared.client.metadata().mark_stale(&topic.topic);
                partition.not_before = partition.not_before.max(not_before);
                if let Some(batch) = partition.pending.front_mut() {
                    batch.last_error = Some(error.clone());
                }
            }
        }
    }

    fn handle_answer(
        &mut self,
        id: i32,
        sent: Vec<(usize, u64)>,
        result: Result<Option<ProduceResponse>, ClientError>,
    ) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.in_flight = node.in_flight.saturating_sub(1);
            if result.is_err() {
                node.connection = None;
            }
        }
        let shared = Arc::clone(&self.shared);
        let mut new_identity = false;
        for (slot, order) in sent {
            let Some(partition) = self.partitions.get_mut(&slot) else {
                continue;
            };
            let topic = partition.lane.partition.clone();
            match &result {
                Err(error) => {
                    shared.client.metadata().mark_stale(&topic.topic);
                    partition.failed(&shared, order, error.clone());
                }
                Ok(None) => partition.acknowledged(&shared, order, -1),
                Ok(Some(response)) => {
                    let answer = response
                        .responses
                        .iter()
                        .find(|answer| answer.name.as_str() == &*topic.topic)
                        .and_then(|answer| {
                            answer
                                .partition_responses
                                .iter()
                                .find(|answer| answer.index == topic.partition)
                        });
                    match answer {
                        Some(answer) => {
                            learn(&shared.client, &topic, answer, response);
                            new_identity |= partition.answered(&shared, order, answer);
                        }
                        None => {
                            let error = ClientError::broker(
                                ErrorCode::UNKNOWN_SERVER_ERROR,
                                format!("broker {id} did not answer for {topic}"),
                            );
                            partition.failed(&shared, order, error);
                        }
                    }
                }
            }
        }
        if new_identity {
            self.identity = Identity::Absent;
        }
    }

    /// Fetches metadata of topics that are stale, too old or lack a leader. Returns when to try
    /// again.
    fn refresh(&mut self, leaderless: HashSet<Arc<str>>, now: Instant) -> Option<Instant> {
        let client = &self.shared.client;
        let max_age = client.config().metadata_max_age;
        let mut topics = leaderless;
        for topic in &topics {
            client.metadata().mark_stale(topic);
        }
        for slot in &self.active {
            let Some(partition) = self.partitions.get(slot) else {
                continue;
            };
            let topic = &partition.lane.partition.topic;
            if !topics.contains(topic) && !client.metadata().is_fresh(topic, max_age) {
                topics.insert(Arc::clone(topic));
            }
        }
        if topics.is_empty() || self.refreshing {
            return None;
        }
        if self.refresh_not_before > now {
            return Some(self.refresh_not_before);
        }
        self.refreshing = true;
        self.refresh_not_before = now + client.config().retry_backoff;
        let client = client.clone();
        self.events.push(Box::pin(async move {
            let topics: Vec<Arc<str>> = topics.into_iter().collect();
            let result = client.refresh(&topics, true).await.map(|errors| {
                for (topic, code) in errors {
                    tracing::debug!("no metadata of topic \"{topic}\": {code}");
                }
            });
            Event::Refreshed(result)
        }));
        None
    }
}

/// Has metadata fetched anew while the leader owes an answer for long, in which case `look_again`
/// is told when to ask again. Returns whether another one leads now and the old one does not even
/// say so.
fn question_leader(
    client: &Client,
    partition: &Partition,
    now: Instant,
    look_again: &mut impl FnMut(Option<Instant>),
) -> bool {
    let Some(since) = partition.waiting_since() else {
        return false;
    };
    let metadata = client.metadata();
    let name = &partition.lane.partition;
    let Some(topic) = metadata.topic(&name.topic) else {
        return false;
    };
    let patient_until = (since + PATIENCE).max(topic.fetched + ASK_AGAIN);
    if patient_until > now {
        look_again(Some(patient_until));
    } else {
        metadata.mark_stale(&name.topic);
    }
    let leader = metadata.leader(name).map(|(leader, _)| leader);
    let replaced =
        !partition.in_flight.is_empty() && leader.is_some_and(|leader| leader != partition.node);
    if !replaced {
        return false;
    }
    // One that is alive says so itself, in far less time.
    let enough = since + PATIENCE;
    if enough > now {
        look_again(Some(enough));
    }
    enough <= now
}

/// Takes in who leads now, if the broker says so (KIP-951).
fn learn(
    client: &Client,
    partition: &TopicPartition,
    answer: &PartitionProduceResponse,
    response: &ProduceResponse,
) {
    if answer.error_code == 0 || answer.current_leader.leader_id < 0 {
        return;
    }
    let leader = &answer.current_leader;
    let endpoint = response
        .node_endpoints
        .iter()
        .find(|node| node.node_id == leader.leader_id)
        .map(|node| BrokerInfo {
            id: node.node_id,
            host: node.host.as_str().to_owned(),
            port: u16::try_from(node.port).unwrap_or(0),
            rack: node.rack.as_ref().map(|rack| rack.as_str().to_owned()),
        });
    client
        .metadata()
        .learn_leader(partition, leader.leader_id, leader.leader_epoch, endpoint);
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::partition::tests::{append, world};
    use super::*;
    use crate::cluster::led_by;

    fn sender(producer: &super::super::Producer, partition: Partition) -> Sender {
        let mut sender = Sender::new(Arc::clone(&producer.shared));
        sender.partitions.insert(0, partition);
        sender.active.insert(0);
        sender
    }

    #[tokio::test]
    async fn an_open_batch_is_not_held_up_by_one_that_expired() {
        let patience = Duration::from_millis(50);
        let (producer, partition) = world(1, |config| config.delivery_timeout = patience);
        let mut sender = sender(&producer, partition);
        sender.advance();
        tokio::time::sleep(patience * 2).await;
        append(&sender.partitions[&0].lane, 2);
        sender.advance();
        let pending = &sender.partitions[&0].pending;
        let orders: Vec<u64> = pending.iter().map(|batch| batch.order).collect();
        assert_eq!(orders, [2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_hangs_is_questioned_and_given_up_when_another_one_leads() {
        let (producer, mut partition) = world(1, |_| {});
        let shared = &producer.shared;
        let client = &shared.client;
        let max_age = client.config().metadata_max_age;
        client.metadata().update(&led_by(1, 5), max_age);
        let events = FuturesUnordered::new();
        partition.take_batches(shared, Instant::now(), true, &events);
        let identity = Identity::Known {
            producer_id: 7,
            producer_epoch: 0,
        };
        partition.next_batch(&identity, shared).unwrap();
        partition.node = 1;
        let ask = |partition: &Partition| {
            let mut again = None;
            let gone = question_leader(client, partition, Instant::now(), &mut |at| again = at);
            (gone, again.map(|at| at - Instant::now()))
        };
        assert_eq!(ask(&partition), (false, Some(PATIENCE)));
        assert!(client.metadata().is_fresh("t", max_age));
        tokio::time::sleep(PATIENCE).await;
        assert_eq!(ask(&partition), (false, None));
        assert!(!client.metadata().is_fresh("t", max_age));
        client.metadata().update(&led_by(1, 5), max_age);
        assert_eq!(ask(&partition), (false, Some(ASK_AGAIN)), "it still leads");
        client.metadata().update(&led_by(2, 6), max_age);
        assert!(ask(&partition).0);
    }

    #[tokio::test]
    async fn batches_behind_a_refused_one_are_looked_at() {
        let (producer, partition) = world(1, |_| {});
        let mut sender = sender(&producer, partition);
        sender.advance();
        append(&sender.partitions[&0].lane, 2);
        sender.identity = Identity::Refused(ClientError::Closed { what: "test" });
        sender.send_to(0, vec![0]);
        assert!(sender.partitions[&0].pending.is_empty());
        let woken = producer.shared.wake.notified().now_or_never();
        assert!(woken.is_some(), "the open batch would wait for ever");
    }
}
