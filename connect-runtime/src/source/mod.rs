//! The loop of a source task: poll → convert → send → acknowledged prefix → commit.
//!
//! The task runs in a [`Room`](crate::room::Room) of its own and polls ahead. Here its batches are
//! converted and sent while earlier ones are on their way; what is acknowledged moves the offsets
//! of its source partitions, which are committed at the flush interval.

mod batch;
mod room;
mod submitted;

use std::sync::Arc;
use std::time::Duration;

use connect_core::{SourcePosition, SourceTaskContext};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use kafka_client::{Client, DeliveryError, Producer};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};

use crate::backoff::Backoff;
use crate::clients;
use crate::converters::Converters;
use crate::room::Room;
use crate::state::State;
use crate::task::{Control, Setup, Target, TaskFailure, next_target};
use batch::Batcher;
use room::{Command, Event, SourceRoom};
use submitted::{Submitted, Ticket};

/// Batches that a task may have polled and that are not sent yet.
const POLLS_AHEAD_MAX: usize = 2;
/// Sends that are not acknowledged yet; the producer's buffer bounds their bytes.
const SENDS_IN_FLIGHT_MAX: usize = 256;
/// The first pause after a retriable poll.
const POLL_RETRY: Duration = Duration::from_millis(100);
const POLL_RETRY_MAX: Duration = Duration::from_secs(30);

/// A send on its way, with what becomes committable by it.
struct InFlight {
    delivery: kafka_client::Delivery,
    ticket: Ticket,
}

type Acknowledged = (Result<kafka_client::Delivered, DeliveryError>, Ticket);

/// Runs a source task once: until it is told to stop, or fails.
pub(crate) async fn run(setup: Setup) -> Result<(), TaskFailure> {
    let producer = producer(&setup)?;
    let converters = Converters::of(&setup.connector)?;
    let control = Arc::new(Control::new(setup.reporter.clone()));
    let (commands, command_receiver) = mpsc::channel(16);
    let (event_sender, events) = mpsc::channel(POLLS_AHEAD_MAX);
    let offsets = setup.shared.offsets.reader(&setup.id.connector);
    let room = SourceRoom {
        class: setup.connector.class.clone(),
        context: SourceTaskContext::new(setup.id.clone(), control.clone(), Arc::new(offsets)),
        config: setup.task_config.clone(),
        control,
        activity: Arc::clone(&setup.activity),
        commands: command_receiver,
        events: event_sender,
        backoff: Backoff::new(POLL_RETRY, POLL_RETRY_MAX),
        paused: *setup.target.borrow() == Target::Pause,
    };
    let room = Room::open(&setup.id.to_string(), setup.span(), room.run());
    let source = SourceLoop {
        batcher: Batcher::new(converters, setup.connector.errors.clone()),
        setup,
        producer,
        commands,
        submitted: Mutex::default(),
        on_the_way: Mutex::default(),
        news: Notify::new(),
    };
    source.run(room, events).await
}

fn producer(setup: &Setup) -> Result<Producer, TaskFailure> {
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
    Ok(Producer::new(client, settings.producer)?)
}

struct SourceLoop {
    setup: Setup,
    producer: Producer,
    batcher: Batcher,
    commands: mpsc::Sender<Command>,
    submitted: Mutex<Submitted>,
    on_the_way: Mutex<OnTheWay>,
    /// Something was acknowledged, or needs to be committed again.
    news: Notify,
}

/// Positions on their way into the store; those still here when it is dropped go back.
struct Taken<'a> {
    submitted: &'a Mutex<Submitted>,
    positions: Vec<SourcePosition>,
}

impl<'a> Taken<'a> {
    fn from(submitted: &'a Mutex<Submitted>) -> Self {
        let positions = submitted.lock().take_committable();
        Self {
            submitted,
            positions,
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let positions = std::mem::take(&mut self.positions);
        if !positions.is_empty() {
            self.submitted.lock().give_back(positions);
        }
    }
}

/// Sends that are not acknowledged, to notice when the broker takes none.
#[derive(Default)]
struct OnTheWay {
    sends: usize,
    /// When the last one was acknowledged, or the first one given to the producer.
    moved: Option<Instant>,
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
            () = self.commit_regularly() => Ok(()),
            () = self.follow_target() => Ok(()),
            () = self.setup.watch_calls() => Ok(()),
            () = self.watch_acknowledgements() => Ok(()),
            () = self.setup.out_of_patience() => Ok(()),
        };
        let drained = self.drain(&mut sent, &mut in_flight).await;
        self.end(room, events).await;
        outcome.and(drained)
    }

    /// Converts and sends every batch; ends when the room has drained or failed.
    async fn forward(
        &self,
        events: &mut mpsc::Receiver<Event>,
        sends: mpsc::Sender<InFlight>,
        room: &mut Room<()>,
    ) -> Result<(), TaskFailure> {
        let mut retrying = false;
        loop {
            match events.recv().await {
                Some(Event::Started) => self.show_target(),
                Some(Event::Polled(records)) => {
                    if std::mem::take(&mut retrying) {
                        self.setup.reporter.waiting(None);
                    }
                    let batch = self.batcher.convert(records).await?;
                    let tickets = {
                        let sends: Vec<Vec<usize>> = batch
                            .sends
                            .iter()
                            .map(|send| send.positions.clone())
                            .collect();
                        self.submitted.lock().submit(batch.positions, &sends)
                    };
                    if tickets.is_empty() {
                        self.news.notify_one();
                    }
                    for (send, ticket) in batch.sends.into_iter().zip(tickets) {
                        self.sending();
                        let delivery = self.producer.send(&send.topic, send.records).await?;
                        // `acknowledge` owns the receiver for as long as this runs.
                        drop(sends.send(InFlight { delivery, ticket }).await);
                    }
                }
                Some(Event::Retrying(error, pause)) => {
                    retrying = true;
                    let reason =
                        format!("poll failed, next try in {pause:.1?}: {}", error.report());
                    tracing::warn!("{reason}");
                    self.setup.reporter.waiting(Some(reason));
                }
                Some(Event::Skipped(error)) => self.batcher.bad_record(&error)?,
                Some(Event::Failed(error)) => return Err(error.into()),
                Some(Event::Drained) => return Ok(()),
                None => {
                    room.result().await?;
                    return Err(TaskFailure::new("the task ended by itself"));
                }
            }
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
                Some((result, ticket)) = in_flight.next(), if !in_flight.is_empty() => {
                    if let Err(error) = result {
                        self.undelivered(&error)?;
                    }
                    self.submitted.lock().acknowledge(ticket);
                    self.acknowledged();
                }
                send = sent.recv(), if open && in_flight.len() < SENDS_IN_FLIGHT_MAX => match send {
                    Some(InFlight { delivery, ticket }) => {
                        in_flight.push(async move { (delivery.await, ticket) }.boxed());
                    }
                    None => open = false,
                },
            }
        }
    }

    fn sending(&self) {
        let mut on_the_way = self.on_the_way.lock();
        on_the_way.sends += 1;
        if on_the_way.sends == 1 {
            on_the_way.moved = Some(Instant::now());
        }
    }

    fn acknowledged(&self) {
        let mut on_the_way = self.on_the_way.lock();
        on_the_way.sends = on_the_way.sends.saturating_sub(1);
        on_the_way.moved = Some(Instant::now());
        self.news.notify_one();
    }

    /// Says so when the broker acknowledges nothing for long; never ends.
    async fn watch_acknowledgements(&self) {
        let after = self.setup.shared.config.stuck_after;
        let mut was_stuck = false;
        loop {
            tokio::time::sleep((after / 2).max(Duration::from_millis(10))).await;
            let since = {
                let on_the_way = self.on_the_way.lock();
                on_the_way.moved.filter(|_| on_the_way.sends > 0)
            };
            let stuck = since
                .map(|since| since.elapsed())
                .filter(|elapsed| *elapsed >= after);
            if let Some(elapsed) = stuck {
                let seconds = elapsed.as_secs();
                let reason = format!(
                    "no record was acknowledged for {seconds} s; check the brokers and the topic"
                );
                self.setup.reporter.waiting(Some(reason));
            } else if was_stuck {
                self.setup.reporter.waiting(None);
            }
            was_stuck = stuck.is_some();
        }
    }

    fn undelivered(&self, error: &DeliveryError) -> Result<(), TaskFailure> {
        if !self.setup.connector.errors.tolerate_all {
            return Err(TaskFailure::new(error.to_string()));
        }
        if self.setup.connector.errors.log {
            for (_, reason) in &error.failures {
                tracing::error!("skipped a record that could not be produced: {reason}");
            }
        }
        Ok(())
    }

    async fn commit_regularly(&self) {
        let interval = self.setup.shared.config.offset_flush_interval;
        loop {
            // The first acknowledgement after a quiet time is committed at once, so that a crash
            // repeats nothing of a slow stream.
            self.news.notified().await;
            self.commit().await;
            tokio::time::sleep(interval).await;
        }
    }

    /// Stores what is acknowledged and tells the task. Cancel-safe: what is not known to be stored
    /// is tried again.
    async fn commit(&self) {
        let mut taken = Taken::from(&self.submitted);
        if taken.positions.is_empty() {
            return;
        }
        let limit = self.setup.shared.config.offset_flush_timeout;
        let store = &self.setup.shared.offsets;
        let stored = store.store(&self.setup.id.connector, &taken.positions);
        let failure = match timeout(limit, stored).await {
            Ok(Ok(())) => return self.tell_committed(std::mem::take(&mut taken.positions)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it took longer than offset.flush.timeout.ms ({limit:?})"),
        };
        tracing::warn!("offsets could not be committed, they are tried again later: {failure}");
        self.news.notify_one();
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
        let acknowledged = timeout(limit, self.acknowledge(sent, in_flight)).await;
        self.commit().await;
        match acknowledged {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::warn!(
                    "records were not acknowledged within {limit:?}; \
                     they are read again after the next start"
                );
                Ok(())
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
        self.producer.close(Duration::ZERO).await;
    }
}
