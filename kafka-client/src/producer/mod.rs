//! Sending records in batches.
//!
//! `send` encodes records straight into the open batch of their partition; that is all that is done
//! per record. One task per producer, the [`sender`], takes full or old enough batches, groups them
//! by leader and sees them through retries.

mod config;
mod delivery;
mod frame;
mod identity;
mod lane;
mod outgoing;
mod partition;
mod partitioner;
mod record;
mod sender;
mod topic;
mod write;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

pub use config::{Acks, ProducerConfig};
pub use delivery::{Delivered, Delivery, DeliveryError};
pub use partitioner::partition_for_key;
pub use record::ProducerRecord;
pub use write::Proof;

use crate::pool::Pool;
use crate::{Client, ClientError};
use delivery::Tracker;
use lane::{Append, Lane, ORDER_SPAN};
use topic::Topic;

/// Room for a request's own fields beside its largest batch.
const REQUEST_OVERHEAD: usize = 512;

/// Sends records to topics. Share it by reference or `Arc`; `send` may be called from many tasks.
///
/// Dropping it gives up what is not acknowledged; [`close`](Producer::close) waits for it.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    sender: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    pool: Pool,
    config: ProducerConfig,
    topics: RwLock<HashMap<Arc<str>, Arc<Topic>>>,
    next_slot: AtomicUsize,
    next_order: AtomicU64,
    /// Free bytes of the buffer.
    budget: Semaphore,
    budget_bytes: usize,
    /// `send` calls that wait for room.
    waiting: AtomicUsize,
    /// `flush` calls under way.
    flushing: AtomicUsize,
    closed: AtomicBool,
    /// Partitions that got their first record since the sender last looked.
    listed: Mutex<Vec<Arc<Lane>>>,
    /// Wakes the sender.
    wake: Notify,
    /// Batches not settled yet.
    outstanding: Mutex<BTreeSet<u64>>,
    /// Tells flushes that a batch was settled.
    settled: Notify,
}

/// Counts a caller in, and out again even if it is cancelled.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::AcqRel);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Producer {
    /// Starts a producer. Must be called within a tokio runtime; it connects with the first `send`.
    ///
    /// # Errors
    /// [`ClientError::Configuration`] for settings that contradict each other.
    pub fn new(client: Client, config: ProducerConfig) -> Result<Self, ClientError> {
        config.validate()?;
        let budget_bytes = config
            .buffer_bytes
            .min(Semaphore::MAX_PERMITS)
            .min(u32::MAX as usize);
        let shared = Arc::new(Shared {
            pool: client.new_pool(),
            client,
            config,
            topics: RwLock::new(HashMap::new()),
            next_slot: AtomicUsize::new(0),
            next_order: AtomicU64::new(ORDER_SPAN),
            budget: Semaphore::new(budget_bytes),
            budget_bytes,
            waiting: AtomicUsize::new(0),
            flushing: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            listed: Mutex::new(Vec::new()),
            wake: Notify::new(),
            outstanding: Mutex::new(BTreeSet::new()),
            settled: Notify::new(),
        });
        let sender = tokio::spawn(sender::run(Arc::clone(&shared)));
        Ok(Self { shared, sender })
    }

    /// Accepts records for a topic, in order, and returns what tells of their delivery.
    ///
    /// Waits for the topic's metadata if it is not known yet, and while the buffer is full. Safe to
    /// cancel: either all records are accepted, when it returns, or none. A record that can never
    /// be sent (too large, no such partition) fails by itself, in the [`Delivery`].
    ///
    /// # Errors
    /// None of the records was accepted: the topic doesn't exist or nobody could be asked about it
    /// within `max_block`, or the producer is closed.
    pub async fn send(
        &self,
        topic: &Arc<str>,
        records: Vec<ProducerRecord>,
    ) -> Result<Delivery, ClientError> {
        let shared = &self.shared;
        let topic = shared.topic(topic).await?;
        let total: usize = records.iter().map(ProducerRecord::size_bound).sum();
        // A send larger than the whole buffer waits until the buffer is empty.
        let reserved = total.min(shared.budget_bytes);
        shared.reserve(reserved).await?;
        if shared.closed.load(Ordering::Acquire) {
            shared.budget.add_permits(reserved);
            return Err(ClientError::Closed { what: "producer" });
        }
        Ok(shared.append(&topic, &records, total, reserved))
    }

    /// The bytes of records that were accepted and are not settled yet, as counted against
    /// [`buffer_bytes`](ProducerConfig::buffer_bytes).
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        let free = self.shared.budget.available_permits();
        self.shared.budget_bytes.saturating_sub(free)
    }

    /// Whether [`send`](Producer::send) needs no metadata before it accepts records for a topic.
    /// What it may still wait for then, room in the buffer, needs no connection, so that it may be
    /// called within another runtime than the one whose tasks are the producer's.
    pub fn knows(&self, topic: &str) -> bool {
        self.shared.topics.read().contains_key(topic)
    }

    /// Asks for a topic's metadata as [`send`](Producer::send) would. Safe to cancel.
    ///
    /// # Errors
    /// As those of `send`.
    pub async fn look_up(&self, topic: &Arc<str>) -> Result<(), ClientError> {
        self.shared.topic(topic).await.map(drop)
    }

    /// Sends what is waiting without linger, and waits until everything accepted before this call
    /// is acknowledged or has failed; the outcome is in the deliveries.
    ///
    /// # Errors
    /// The producer was closed meanwhile.
    pub async fn flush(&self) -> Result<(), ClientError> {
        let shared = &self.shared;
        let _flushing = Counted::new(&shared.flushing);
        let end = shared.next_order.load(Ordering::Acquire);
        shared.wake.notify_one();
        loop {
            let settled = shared.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            let first = shared.outstanding.lock().first().copied();
            if first.is_none_or(|order| order >= end) {
                return Ok(());
            }
            if shared.budget.is_closed() {
                return Err(ClientError::Closed { what: "producer" });
            }
            settled.await;
        }
    }

    /// Accepts nothing more, flushes for at most `timeout`, and ends; what is not acknowledged by
    /// then fails with [`ClientError::Closed`].
    pub async fn close(self, timeout: Duration) {
        self.shared.closed.store(true, Ordering::Release);
        if tokio::time::timeout(timeout, self.flush()).await.is_err() {
            tracing::warn!("the producer was closed before everything was acknowledged");
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.sender.abort();
        self.shared.budget.close();
        self.shared.pool.close();
    }
}

impl Shared {
    async fn topic(&self, name: &Arc<str>) -> Result<Arc<Topic>, ClientError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(ClientError::Closed { what: "producer" });
        }
        let known = self.topics.read().get(name).cloned();
        let topic = if let Some(topic) = known {
            topic
        } else {
            self.client.topic(name, true, self.config.max_block).await?;
            let mut topics = self.topics.write();
            let topic = topics
                .entry(Arc::clone(name))
                .or_insert_with(|| Arc::new(Topic::new(Arc::clone(name))));
            Arc::clone(topic)
        };
        topic.update(self.client.metadata(), &self.next_slot);
        Ok(topic)
    }

    async fn reserve(&self, bytes: usize) -> Result<(), ClientError> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        if let Ok(permit) = self.budget.try_acquire_many(permits) {
            permit.forget();
            return Ok(());
        }
        let _waiting = Counted::new(&self.waiting);
        self.wake.notify_one();
        match self.budget.acquire_many(permits).await {
            Ok(permit) => {
                permit.forget();
                Ok(())
            }
            Err(_) => Err(ClientError::Closed { what: "producer" }),
        }
    }

    /// Encodes all records into their partitions' batches; never waits.
    fn append(
        &self,
        topic: &Topic,
        records: &[ProducerRecord],
        total: usize,
        reserved: usize,
    ) -> Delivery {
        let (tracker, delivery) = Tracker::new(records.len());
        let now = platform::clock::unix_millis();
        let batch_bytes = self.config.batch_bytes;
        let limit = self
            .config
            .max_request_bytes
            .saturating_sub(REQUEST_OVERHEAD);
        let mut budget = reserved;
        let mut remaining = total;
        let mut wake = false;
        let mut unused = 0;
        let mut choice = topic.choice();
        let place = |choice: &mut topic::Choice<'_>, record: &ProducerRecord| {
            let size = record.size_bound();
            (size, choice.choose(record, size, batch_bytes))
        };
        let mut next = records.first().map(|record| place(&mut choice, record));
        let mut index = 0;
        while let Some((mut size_bound, chosen)) = next.take() {
            let lane = chosen.as_ref().ok().and_then(|chosen| choice.lane(*chosen));
            let mut queue = lane.as_ref().map(|lane| (lane, lane.queue.lock()));
            // One lock for as many records as go to the same partition in a row.
            while let Some(record) = records.get(index) {
                let share = size_bound.min(budget);
                budget -= share;
                match &mut queue {
                    Some((lane, queue)) if size_bound <= limit => {
                        let append = Append {
                            record,
                            index,
                            size_bound,
                            reserved: share,
                            tracker: &tracker,
                            remaining,
                            now,
                        };
                        let order = || {
                            let order = self.next_order.fetch_add(ORDER_SPAN, Ordering::AcqRel);
                            self.outstanding.lock().insert(order);
                            order
                        };
                        let appended =
                            queue.append(&append, batch_bytes, self.config.compression, order);
                        if appended.opened && !queue.listed {
                            queue.listed = true;
                            self.listed.lock().push(Arc::clone(lane));
                            wake = true;
                        }
                        wake |= appended.filled;
                    }
                    Some((lane, _)) => {
                        unused += share;
                        let error = ClientError::RecordTooLarge {
                            topic: lane.partition.topic.to_string(),
                            bytes: size_bound,
                            limit: self.config.max_request_bytes,
                        };
                        tracker.failed(index, 1, &error);
                    }
                    None => {
                        unused += share;
                        if let Err(error) = &chosen {
                            tracker.failed(index, 1, error);
                        }
                    }
                }
                remaining = remaining.saturating_sub(size_bound);
                index += 1;
                next = records.get(index).map(|record| place(&mut choice, record));
                match (&next, &chosen) {
                    (Some((size, Ok(other))), Ok(chosen)) if other == chosen => {
                        size_bound = *size;
                    }
                    _ => break,
                }
            }
        }
        if unused + budget > 0 {
            self.budget.add_permits(unused + budget);
        }
        if wake {
            self.wake.notify_one();
        }
        delivery
    }

    /// A batch is settled: its bytes are free, flushes may go on.
    fn settle(&self, order: u64, reserved: usize) {
        self.outstanding.lock().remove(&order);
        self.budget.add_permits(reserved);
        self.settled.notify_waiters();
    }
}
