//! The loop of a source task: poll → transform → convert → send → acknowledged prefix → commit.
//!
//! The task runs in a [`Room`](crate::room::Room) of its own, from where its batches go through the
//! converters to the producer while earlier ones are on their way. Here it is followed what is
//! acknowledged: that moves the offsets of its source partitions, which are committed at the flush
//! interval.

mod batch;
mod outlet;
mod room;
mod submitted;
mod topic_creation;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connect_core::{SourcePosition, SourceTaskContext};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use kafka_client::{Client, ClientError, DeliveryError, ErrorCode, Producer};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::backoff::Backoff;
use crate::clients;
use crate::converters::Converters;
use crate::offsets::Unproven;
use crate::pace::Pace;
use crate::room::Room;
use crate::state::{State, Witness};
use crate::task::{Cause, Control, Setup, Target, TaskFailure, next_stop, next_target};
use crate::tolerance::{Tolerance, ensure_topic};
use crate::transforms::Transforms;
use outlet::{OneSend, Outlet, Sent};
use room::{Command, Event, Orders, SourceRoom};
use submitted::{Carried, Submitted, Ticket};
use topic_creation::TopicCreator;

pub(crate) use batch::Batcher;

/// Events that the room may be ahead of the loop.
const EVENTS_AHEAD_MAX: usize = 2;
/// Sends that are not acknowledged yet; the producer's buffer bounds their bytes.
const SENDS_IN_FLIGHT_MAX: usize = 256;
/// The first pause after a retriable poll.
const POLL_RETRY: Duration = Duration::from_millis(100);
const POLL_RETRY_MAX: Duration = Duration::from_secs(30);

/// A send on its way, with what becomes committable by it.
struct InFlight {
    topic: Arc<str>,
    records: usize,
    delivery: kafka_client::Delivery,
    ticket: Ticket,
}

/// The topic, the number of records, what became of them and what becomes committable.
type Acknowledged = (
    Arc<str>,
    usize,
    Result<kafka_client::Delivered, DeliveryError>,
    Ticket,
);

/// Runs a source task once: until it is told to stop, or fails.
pub(crate) async fn run(setup: Setup) -> Result<(), TaskFailure> {
    let tolerance = Tolerance::of(&setup);
    let mut target = setup.target.clone();
    let producer = tokio::select! {
        producer = producer(&setup, &tolerance) => Arc::new(producer?),
        () = next_stop(&mut target) => return Ok(()),
    };
    let converters = Arc::new(Converters::of(&setup.connector)?);
    let guard = converters.guard();
    let transforms = Transforms::of(&setup.connector.resolved)?;
    let control = Arc::new(Control::new(setup.reporter.clone()));
    let tap = (setup.shared.taps.of(&setup.id.connector), setup.id.task);
    let (commands, command_receiver) = mpsc::channel(16);
    let (event_sender, events) = mpsc::channel(EVENTS_AHEAD_MAX);
    let offsets = setup.shared.offsets.reader(&setup.id.connector);
    let on_the_way: Arc<Mutex<OnTheWay>> = Arc::default();
    let room = SourceRoom {
        class: setup.connector.class.clone(),
        context: SourceTaskContext::new(setup.id.clone(), control.clone(), Arc::new(offsets)),
        config: setup.task_config.clone(),
        control,
        activity: Arc::clone(&setup.activity),
        orders: Orders::new(command_receiver, *setup.target.borrow() == Target::Pause),
        events: event_sender,
        backoff: Backoff::new(POLL_RETRY, POLL_RETRY_MAX),
        meter: Arc::clone(&setup.meter),
        outlet: Outlet {
            meter: Arc::clone(&setup.meter),
            batcher: Batcher::new(transforms, converters, tolerance, tap),
            producer: Arc::downgrade(&producer),
            creator: topic_creator(&setup)?.map(Arc::new),
            on_the_way: Arc::clone(&on_the_way),
            connections: Handle::current(),
        },
    };
    let room = Room::open(&setup.id.to_string(), setup.span(), room.run());
    let source = SourceLoop {
        setup: setup.clone(),
        producer,
        commands,
        submitted: Mutex::default(),
        unproven: Mutex::default(),
        lost: AtomicBool::new(false),
        on_the_way,
        news: Notify::new(),
    };
    let patience = setup.out_of_patience();
    guard.during(source.run(room, events), patience).await
}

/// Also makes sure of the topic for dead letters, if there is one.
async fn producer(setup: &Setup, tolerance: &Tolerance) -> Result<Producer, TaskFailure> {
    let worker = &setup.shared.config;
    let client_id = format!("connector-producer-{}", setup.id);
    let client = clients::client_config(
        &setup.shared.bootstrap_servers,
        &worker.connection,
        &client_id,
    );
    let mut settings = clients::source_producer(client);
    // Their problems were reported when the configurations were read.
    settings.apply(&worker.producer);
    settings.apply(&setup.connector.producer);
    let client = Client::new(settings.client)?;
    let queue = setup.connector.errors.dead_letters.as_ref();
    if let Some(queue) = queue.filter(|_| tolerance.has_queue()) {
        ensure_topic(setup, queue).await?;
    }
    Ok(Producer::new(client, settings.producer)?)
}

/// What creates topics by the connector's rules, if it has any.
fn topic_creator(setup: &Setup) -> Result<Option<TopicCreator>, TaskFailure> {
    let Some(rules) = &setup.connector.topic_creation else {
        return Ok(None);
    };
    let client = clients::task_admin(setup, "connector-adminclient");
    TopicCreator::new(Client::new(client)?, rules, Tolerance::of(setup)).map(Some)
}

struct SourceLoop {
    setup: Setup,
    producer: Arc<Producer>,
    commands: mpsc::Sender<Command>,
    submitted: Mutex<Submitted>,
    unproven: Mutex<Unproven>,
    /// The broker lost what it acknowledged: nothing more may be committed by this run.
    lost: AtomicBool,
    on_the_way: Arc<Mutex<OnTheWay>>,
    /// Something was acknowledged, or needs to be committed again.
    news: Notify,
}

/// Positions on their way into the store, with what has to be in the log for them; what is still
/// here when it is dropped goes back.
struct Taken<'a> {
    source: &'a SourceLoop,
    positions: Vec<SourcePosition>,
    unproven: Unproven,
}

impl<'a> Taken<'a> {
    fn from(source: &'a SourceLoop) -> Self {
        // Positions first: what they stand for was added before they became committable.
        let positions = source.submitted.lock().take_committable();
        let unproven = std::mem::take(&mut *source.unproven.lock());
        Self {
            source,
            positions,
            unproven,
        }
    }

    fn stored(mut self) -> Vec<SourcePosition> {
        self.unproven = Unproven::default();
        std::mem::take(&mut self.positions)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let positions = std::mem::take(&mut self.positions);
        if !positions.is_empty() {
            self.source.submitted.lock().give_back(positions);
        }
        let unproven = std::mem::take(&mut self.unproven);
        self.source.unproven.lock().give_back(unproven);
    }
}

/// Sends that are not acknowledged, to notice when the broker takes none.
#[derive(Default)]
struct OnTheWay {
    sends: usize,
    /// When the last one was acknowledged, or the first one given to the producer.
    moved: Option<Instant>,
}

impl OnTheWay {
    fn sending(&mut self) {
        self.sends += 1;
        if self.sends == 1 {
            self.moved = Some(Instant::now());
        }
    }

    fn acknowledged(&mut self) {
        self.sends = self.sends.saturating_sub(1);
        self.moved = Some(Instant::now());
    }
}

/// Whether a record was not taken because of what it is; an outage is no bad record.
fn is_about_the_record(reason: &ClientError) -> bool {
    match reason {
        ClientError::RecordTooLarge { .. }
        | ClientError::Encode { .. }
        | ClientError::UnknownPartition { .. } => true,
        ClientError::Broker { code, .. } => matches!(
            *code,
            ErrorCode::MESSAGE_TOO_LARGE
                | ErrorCode::RECORD_LIST_TOO_LARGE
                | ErrorCode::INVALID_TIMESTAMP
                | ErrorCode::INVALID_RECORD
        ),
        _ => false,
    }
}

impl SourceLoop {
    async fn run(
        self,
        mut room: Room<()>,
        mut events: mpsc::Receiver<Event>,
    ) -> Result<(), TaskFailure> {
        let (sends, mut sent) = mpsc::channel(1);
        let mut in_flight = FuturesUnordered::new();
        let outcome = tokio::select! {
            outcome = self.forward(&mut events, sends, &mut room) => outcome,
            outcome = self.acknowledge(&mut sent, &mut in_flight) => outcome,
            outcome = self.commit_regularly() => outcome,
            () = self.follow_target() => Ok(()),
            () = self.setup.watch_calls() => Ok(()),
            () = self.watch_acknowledgements() => Ok(()),
            () = self.setup.out_of_patience() => Ok(()),
        };
        let drained = self.drain(&mut sent, &mut in_flight).await;
        self.end(room, events).await;
        outcome.and(drained)
    }

    /// Registers every batch; ends when the room has drained or failed.
    async fn forward(
        &self,
        events: &mut mpsc::Receiver<Event>,
        sends: mpsc::Sender<InFlight>,
        room: &mut Room<()>,
    ) -> Result<(), TaskFailure> {
        loop {
            match events.recv().await {
                Some(Event::Started) => self.show_target(),
                Some(Event::Recovered) => self.setup.reporter.waiting(Witness::Retry, None),
                Some(Event::Sent(sent)) => self.register(sent, &sends).await,
                Some(Event::Retrying(error, pause)) => {
                    let reason =
                        format!("poll failed, next try in {pause:.1?}: {}", error.report());
                    tracing::warn!("{reason}");
                    self.setup.reporter.waiting(Witness::Retry, Some(reason));
                }
                Some(Event::Failed(failure)) => return Err(failure),
                Some(Event::Drained) => return Ok(()),
                None => {
                    room.result().await?;
                    return Err(TaskFailure::new("the task ended by itself"));
                }
            }
        }
    }

    /// Notes what becomes committable with a poll that is with the producer.
    async fn register(&self, sent: Sent, sends: &mpsc::Sender<InFlight>) {
        let carried: Vec<Carried> = sent.sends.iter().map(|send| send.carried.clone()).collect();
        let tickets = self.submitted.lock().submit(sent.positions, &carried);
        if tickets.is_empty() {
            self.news.notify_one();
        }
        for (
            OneSend {
                topic,
                records,
                delivery,
                ..
            },
            ticket,
        ) in sent.sends.into_iter().zip(tickets)
        {
            // `acknowledge` owns the receiver for as long as this runs.
            drop(
                sends
                    .send(InFlight {
                        topic,
                        records,
                        delivery,
                        ticket,
                    })
                    .await,
            );
        }
    }

    /// Takes sends and registers their acknowledgements; ends when no more sends come and all are
    /// acknowledged, or one failed that may not be skipped.
    async fn acknowledge(
        &self,
        sent: &mut mpsc::Receiver<InFlight>,
        in_flight: &mut FuturesUnordered<BoxFuture<'static, Acknowledged>>,
    ) -> Result<(), TaskFailure> {
        let mut open = true;
        loop {
            if !open && in_flight.is_empty() {
                return Ok(());
            }
            tokio::select! {
                Some((topic, records, result, ticket)) = in_flight.next(), if !in_flight.is_empty() => {
                    self.measure(&topic, records, &result);
                    match result {
                        Ok(delivered) => {
                            self.unproven.lock().add(&topic, &delivered);
                            self.note_topic(&topic);
                        }
                        Err(error) => self.undelivered(&topic, &error)?,
                    }
                    self.submitted.lock().acknowledge(ticket);
                    self.acknowledged();
                }
                send = sent.recv(), if open && in_flight.len() < SENDS_IN_FLIGHT_MAX => match send {
                    Some(InFlight { topic, records, delivery, ticket }) => {
                        in_flight.push(
                            async move { (topic, records, delivery.await, ticket) }.boxed(),
                        );
                    }
                    None => open = false,
                },
            }
        }
    }

    /// Counts a send that is over.
    fn measure(
        &self,
        topic: &str,
        records: usize,
        result: &Result<kafka_client::Delivered, DeliveryError>,
    ) {
        let meter = &self.setup.meter;
        let failed = result
            .as_ref()
            .err()
            .map_or(0, |error| error.failures.len());
        match self.is_for_dead_letters(topic) {
            true => {
                meter.sent(records, 0);
                meter.errors.letters_lost(failed);
            }
            false => meter.sent(records, records.saturating_sub(failed)),
        }
        meter.set_buffered_bytes(self.producer.buffered_bytes());
    }

    fn is_for_dead_letters(&self, topic: &str) -> bool {
        let queue = self.setup.connector.errors.dead_letters.as_ref();
        queue.is_some_and(|queue| queue.topic == topic)
    }

    /// The connector has used a topic; dead letters alone do not count, as those of a sink.
    fn note_topic(&self, topic: &Arc<str>) {
        if !self.is_for_dead_letters(topic) {
            let Setup { shared, id, .. } = &self.setup;
            shared.topics.note(&id.connector, topic);
        }
    }

    fn acknowledged(&self) {
        self.on_the_way.lock().acknowledged();
        self.news.notify_one();
    }

    /// Says so when the broker acknowledges nothing for long; never ends.
    async fn watch_acknowledgements(&self) {
        let after = self.setup.shared.config.stuck_after;
        loop {
            tokio::time::sleep(self.setup.look_interval()).await;
            let since = {
                let on_the_way = self.on_the_way.lock();
                on_the_way.moved.filter(|_| on_the_way.sends > 0)
            };
            let stuck = since
                .map(|since| since.elapsed())
                .filter(|elapsed| *elapsed >= after);
            let reason = stuck.map(|elapsed| {
                let seconds = elapsed.as_secs().max(1);
                format!(
                    "no record was acknowledged for {seconds} s; check the brokers and the topic"
                )
            });
            self.setup.reporter.waiting(Witness::Broker, reason);
        }
    }

    /// Decides about records that brokers did not take: skipped if they are bad and bad records are,
    /// otherwise the end of the task, whose successor reads them again.
    fn undelivered(&self, topic: &str, error: &DeliveryError) -> Result<(), TaskFailure> {
        let reasons = || error.failures.iter().map(|(_, reason)| reason);
        let lost = |reason: &ClientError| matches!(reason, ClientError::AcknowledgedLost { .. });
        if reasons().any(lost) {
            self.lost.store(true, Ordering::Release);
            return Err(TaskFailure::fresh_start(error.to_string()));
        }
        // A record whose letter is not safe would be gone without a trace.
        if self.is_for_dead_letters(topic) {
            return Err(TaskFailure::new(format!(
                "bad records could not be written to the dead letter queue \"{topic}\": {error}"
            )));
        }
        let policy = &self.setup.connector.errors;
        let skips = policy.tolerate_all && reasons().all(is_about_the_record);
        let errors = &self.setup.meter.errors;
        errors.failed(error.failures.len(), skips);
        if skips {
            if policy.log {
                for reason in reasons() {
                    tracing::error!("skipped a record that could not be produced: {reason}");
                }
            }
            return Ok(());
        }
        let why = reasons().find(|reason| !is_about_the_record(reason));
        let cause = why.map_or(Cause::Crash, |reason| {
            TaskFailure::from(reason.clone()).cause
        });
        Err(TaskFailure {
            cause,
            ..TaskFailure::new(error.to_string())
        })
    }

    /// Ends only when nothing may be committed any more.
    async fn commit_regularly(&self) -> Result<(), TaskFailure> {
        let mut pace = Pace::new(self.setup.shared.config.offset_flush_interval);
        loop {
            self.news.notified().await;
            sleep_until(pace.due()).await;
            pace.begin();
            self.commit().await?;
            pace.committed();
        }
    }

    /// Stores what is acknowledged and tells the task. Cancel-safe: what is not known to be stored
    /// is tried again.
    ///
    /// # Errors
    /// The broker has lost records it had acknowledged; they are read again from the last committed
    /// offset.
    async fn commit(&self) -> Result<(), TaskFailure> {
        let mut taken = Taken::from(self);
        if taken.positions.is_empty() || self.lost.load(Ordering::Acquire) {
            return Ok(());
        }
        let limit = self.setup.shared.config.offset_flush_timeout;
        let store = &self.setup.shared.offsets;
        let connector = &self.setup.id.connector;
        let begun = Instant::now();
        let stored = store.store(connector, &taken.positions, &mut taken.unproven);
        let stored = timeout(limit, stored).await;
        match &stored {
            Ok(Ok(())) => self.setup.meter.committed(begun.elapsed()),
            _ => self.setup.meter.not_committed(),
        }
        let failure = match stored {
            Ok(Ok(())) => {
                self.setup.reporter.waiting(Witness::Commit, None);
                self.tell_committed(taken.stored());
                return Ok(());
            }
            Ok(Err(error @ ClientError::AcknowledgedLost { .. })) => {
                self.lost.store(true, Ordering::Release);
                return Err(error.into());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it took longer than offset.flush.timeout.ms ({limit:?})"),
        };
        tracing::warn!("offsets could not be committed, they are tried again later: {failure}");
        let waits = format!("offsets could not be committed: {failure}");
        self.setup.reporter.waiting(Witness::Commit, Some(waits));
        self.news.notify_one();
        Ok(())
    }

    fn tell_committed(&self, positions: Vec<SourcePosition>) {
        // A task that does not keep up with commits misses some, as its contract says.
        if self.commands.try_send(Command::Commit(positions)).is_err() {
            tracing::debug!("the task is busy and was not told of a commit");
        }
    }

    /// Hands pause, resume and stop on to the room; never ends, because stopping shows as an event.
    async fn follow_target(&self) {
        let mut target = self.setup.target.clone();
        let mut now = *target.borrow_and_update();
        if now == Target::Stop {
            self.command(Command::Drain).await;
        }
        loop {
            now = next_target(&mut target, now).await;
            let command = match now {
                Target::Run => Command::Resume,
                Target::Pause => Command::Pause,
                Target::Stop => Command::Drain,
            };
            self.command(command).await;
            if now != Target::Stop {
                self.show_target();
            }
        }
    }

    fn show_target(&self) {
        self.setup
            .reporter
            .state(match *self.setup.target.borrow() {
                Target::Pause => State::Paused,
                Target::Run | Target::Stop => State::Running,
            });
    }

    async fn command(&self, command: Command) {
        // A room that is gone shows as the end of its events.
        drop(self.commands.send(command).await);
    }

    /// Waits for what is on its way and commits it, also after a failure.
    async fn drain(
        &self,
        sent: &mut mpsc::Receiver<InFlight>,
        in_flight: &mut FuturesUnordered<BoxFuture<'static, Acknowledged>>,
    ) -> Result<(), TaskFailure> {
        let limit = self
            .setup
            .shared
            .config
            .offset_flush_timeout
            .min(self.setup.drain_patience());
        let deadline = Instant::now() + self.setup.drain_patience();
        let acknowledged = timeout(limit, self.acknowledge(sent, in_flight)).await;
        // Time is left for this even if acknowledgements took all of theirs.
        let deadline = deadline.max(Instant::now() + self.setup.end_patience());
        let committed = timeout_at(deadline, self.commit()).await;
        let committed = committed.unwrap_or_else(|_| {
            tracing::warn!(
                "the last offsets could not be committed in time; what they cover is read again \
                 after the next start"
            );
            Ok(())
        });
        match acknowledged {
            Ok(outcome) => outcome.and(committed),
            Err(_) => {
                tracing::warn!(
                    "records were not acknowledged within {limit:?}; \
                     they are read again after the next start"
                );
                committed
            }
        }
    }

    /// Ends the room, or abandons it if it does not end in time.
    async fn end(self, mut room: Room<()>, events: mpsc::Receiver<Event>) {
        drop(events);
        let patience = self.setup.end_patience();
        let ended = async {
            self.command(Command::Stop).await;
            room.result().await
        };
        if timeout(patience, ended).await.is_err() {
            tracing::error!(
                "the task did not stop in time ({patience:?}, a part of \
                 task.shutdown.graceful.timeout.ms) and is abandoned"
            );
        }
        // Otherwise a room that was abandoned is just giving it something, which ends with it.
        if let Some(producer) = Arc::into_inner(self.producer) {
            producer.close(Duration::ZERO).await;
        }
    }
}
