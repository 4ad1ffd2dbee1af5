//! The loop of a sink task: consume → convert → put → flush → commit.
//!
//! The task runs in a [`Room`](crate::room::Room) of its own; puts are prepared ahead of it.
//! Invariants: an offset is committed only after `flush` returned it; before partitions go away
//! everything that was put is flushed and committed; a put that was not taken comes again, and
//! nothing behind it comes first.

mod calls;
mod commit;
mod consumer;
mod convert;
mod ending;
mod partitions;
mod put;
mod redelivery;
mod requests;
mod retry;
mod room;
mod wishes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use connect_core::{ConnectError, OffsetMap, SinkTaskContext, TopicPartition};
use kafka_client::{Consumer, FetchedBatch, Polled, RebalanceEvent};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::backoff::Backoff;
use crate::converters::Converters;
use crate::pace::Pace;
use crate::room::Room;
use crate::state::{State, Witness};
use crate::task::{Control, Setup, Target, TaskFailure, next_stop};
use crate::tolerance::{DeadLetterQueue, Tolerance};
use crate::transforms::Transforms;
use calls::{first_reply, overtime};
use convert::Stretch;
use redelivery::Redelivery;
use requests::SinkRequests;
use room::{Command, PutReply, SinkRoom};

pub(crate) use convert::Inlet;

/// Puts that the room may have in its queue or in work.
const PUTS_AHEAD_MAX: usize = 2;
/// How long one poll waits; nothing depends on it.
const POLL_WAIT: Duration = Duration::from_secs(30);
/// How long brokers may be silent before the state says so.
const BROKER_PATIENCE: Duration = Duration::from_secs(5);
/// The first pause after a put or flush that may be tried again.
const PUT_RETRY: Duration = Duration::from_millis(100);

/// Runs a sink task once: until it is told to stop, or fails.
pub(crate) async fn run(setup: Setup) -> Result<(), TaskFailure> {
    let converters = Arc::new(Converters::of(&setup.connector)?);
    let guard = converters.guard();
    let transforms = Transforms::of(&setup.connector.resolved)?;
    let tolerance = Arc::new(Tolerance::of(&setup));
    let mut target = setup.target.clone();
    let dead_letters = tokio::select! {
        dead_letters = open_dead_letters(&setup, &tolerance) => dead_letters?,
        () = next_stop(&mut target) => return Ok(()),
    };
    let (consumer, call_patience) = consumer::open(&setup)?;
    let tap = setup.shared.taps.of(&setup.id.connector);
    let requests = SinkRequests::new(Control::new(setup.reporter.clone()), Arc::clone(&tolerance));
    let (commands, command_receiver) = mpsc::channel(PUTS_AHEAD_MAX + 2);
    let (started_sender, started) = oneshot::channel();
    let room = SinkRoom {
        class: setup.connector.class.clone(),
        context: SinkTaskContext::new(setup.id.clone(), requests.clone()),
        config: setup.task_config.clone(),
        requests: Arc::clone(&requests),
        activity: Arc::clone(&setup.activity),
        meter: Arc::clone(&setup.meter),
        inlet: Inlet {
            converters,
            transforms,
            tolerance,
            tap: (tap, setup.id.task),
        },
        dead_letters: dead_letters.as_ref().map(Arc::downgrade),
        started: started_sender,
        commands: command_receiver,
    };
    let room = Room::open(&setup.id.to_string(), setup.span(), room.run());
    let target = *setup.target.borrow();
    let retry_max = setup.connector.errors.retry_delay_max;
    let sink = SinkLoop {
        target,
        pace: Pace::new(setup.shared.config.offset_flush_interval),
        next_look: Instant::now(),
        retry: Backoff::new(PUT_RETRY, retry_max),
        setup: setup.clone(),
        consumer,
        call_patience,
        events: VecDeque::new(),
        letting_go: false,
        room,
        commands,
        requests,
        _dead_letters: dead_letters,
        seeks: 0,
        in_flight: VecDeque::new(),
        round: 0,
        owned: BTreeSet::new(),
        put: BTreeMap::new(),
        committed: OffsetMap::new(),
        paused_by_task: BTreeSet::new(),
        paused: BTreeSet::new(),
        retry_at: None,
        flush_first: false,
        flush_refused: false,
        redelivery: Redelivery::default(),
    };
    let patience = setup.out_of_patience();
    guard.during(sink.run(started), patience).await
}

async fn open_dead_letters(
    setup: &Setup,
    tolerance: &Tolerance,
) -> Result<Option<Arc<DeadLetterQueue>>, TaskFailure> {
    match &setup.connector.errors.dead_letters {
        Some(config) if tolerance.has_queue() => {
            let queue = DeadLetterQueue::open(setup, config).await?;
            Ok(Some(Arc::new(queue)))
        }
        _ => Ok(None),
    }
}

/// A put that the room has not answered yet.
struct InFlight {
    reply: oneshot::Receiver<PutReply>,
    stretches: Vec<Stretch>,
}

struct SinkLoop {
    setup: Setup,
    consumer: Consumer,
    /// How long a call may take before the group hears in other ways that the task is alive.
    call_patience: Duration,
    /// Changes of the assignment that came during a call.
    events: VecDeque<RebalanceEvent>,
    /// Partitions are given back; to poll now would mean that it is done.
    letting_go: bool,
    room: Room<()>,
    commands: mpsc::Sender<Command>,
    requests: Arc<SinkRequests>,
    /// Kept for the room.
    _dead_letters: Option<Arc<DeadLetterQueue>>,
    /// How many of the task's seeks have been made.
    seeks: u64,
    target: Target,
    in_flight: VecDeque<InFlight>,
    /// Puts of a round are in order; a new round begins with every seek back.
    round: u64,
    owned: BTreeSet<TopicPartition>,
    /// Behind the last record that the task has taken, with its leader epoch.
    put: BTreeMap<TopicPartition, (i64, Option<i32>)>,
    committed: OffsetMap,
    paused_by_task: BTreeSet<TopicPartition>,
    /// What is paused at the consumer.
    paused: BTreeSet<TopicPartition>,
    retry: Backoff,
    /// Set while a put or a flush waits for its next attempt; everything is paused meanwhile.
    retry_at: Option<Instant>,
    /// A flush failed, and nothing may be put before it has worked.
    flush_first: bool,
    /// The task said that what it had put cannot be flushed: nothing of it may be committed, even if
    /// a later flush should work.
    flush_refused: bool,
    /// The batch of a put that was not taken, while it is read again.
    redelivery: Redelivery,
    pace: Pace,
    /// When to look whether brokers answer.
    next_look: Instant,
}

impl SinkLoop {
    async fn run(
        mut self,
        started: oneshot::Receiver<Result<(), ConnectError>>,
    ) -> Result<(), TaskFailure> {
        let watcher = self.setup.clone();
        let outcome = tokio::select! {
            outcome = self.work(started) => outcome,
            () = watcher.watch_calls() => Ok(()),
            () = watcher.out_of_patience() => Ok(()),
        };
        let finished = match &outcome {
            Ok(()) => self.finish().await,
            Err(_) => {
                // What was taken before the failure need not come again; what came behind it must.
                self.in_flight.clear();
                if let Err(failure) = self.finish().await {
                    tracing::debug!(
                        "nothing could be committed after the failure: {}",
                        failure.message
                    );
                }
                Ok(())
            }
        };
        self.end().await;
        outcome.and(finished)
    }

    async fn work(
        &mut self,
        started: oneshot::Receiver<Result<(), ConnectError>>,
    ) -> Result<(), TaskFailure> {
        let mut target = self.setup.target.clone();
        tokio::select! {
            started = started => match started {
                Ok(started) => started?,
                Err(_) => return Err(self.room_failure().await),
            },
            () = next_stop(&mut target) => return Ok(()),
        }
        self.show_target();
        loop {
            self.obey_requests().await?;
            self.resume_after_retry().await?;
            self.pass_what_was_deleted().await?;
            while let Some(event) = self.events.pop_front() {
                self.rebalanced(event).await?;
            }
            self.set_pauses();
            let may_poll = self.in_flight.len() < PUTS_AHEAD_MAX;
            let uncommitted = self.has_uncommitted();
            let poll = async {
                if may_poll {
                    return self.consumer.poll(POLL_WAIT).await;
                }
                let (owned, paused, events) = (&self.owned, &mut self.paused, &mut self.events);
                let patience = self.call_patience;
                Err(overtime(patience, &mut self.consumer, owned, paused, events).await)
            };
            tokio::select! {
                biased;
                changed = target.changed() => {
                    let now = *target.borrow_and_update();
                    if changed.is_err() || now == Target::Stop {
                        return Ok(());
                    }
                    self.target = now;
                    self.commit().await?;
                    self.show_target();
                }
                reply = first_reply(&mut self.in_flight) => self.answered(reply).await?,
                () = sleep_until(self.pace.due()), if uncommitted && self.retry_at.is_none() => {
                    self.commit().await?;
                }
                () = until(self.retry_at) => {}
                () = sleep_until(self.next_look) => self.look(),
                polled = poll => match polled {
                    Ok(polled) => self.polled(polled).await?,
                    Err(error) => return Err(consumer::failure(&self.setup, error)),
                },
            }
        }
    }

    fn show_target(&self) {
        self.setup.reporter.state(match self.target {
            Target::Pause => State::Paused,
            Target::Run | Target::Stop => State::Running,
        });
    }

    /// A sink without new records and one without brokers look the same, unless somebody asks.
    fn look(&mut self) {
        self.next_look = Instant::now() + self.setup.look_interval().min(BROKER_PATIENCE / 2);
        self.setup.meter.set_lag_max(self.lag_max());
        let patience = self.setup.shared.config.stuck_after.min(BROKER_PATIENCE);
        let lost = self.consumer.out_of_contact();
        let reason = lost.filter(|(silent, _)| *silent >= patience);
        let reason = reason.map(|(silent, error)| {
            let seconds = silent.as_secs().max(1);
            format!("brokers have not answered for {seconds} s: {error}")
        });
        self.setup.reporter.waiting(Witness::Broker, reason);
    }

    async fn polled(&mut self, polled: Polled) -> Result<(), TaskFailure> {
        for event in polled.events {
            self.rebalanced(event).await?;
        }
        let batches = self.without_paused(polled.batches)?;
        if batches.is_empty() {
            return Ok(());
        }
        if self.redelivery.is_done() {
            return self.put(batches).await;
        }
        let whole = self.redelivery.take(batches);
        self.put_again(whole).await
    }

    async fn put(&mut self, fetched: Vec<FetchedBatch>) -> Result<(), TaskFailure> {
        let stretches: Vec<Stretch> = fetched.iter().map(Stretch::of).collect();
        let (used, connector) = (&self.setup.shared.topics, &self.setup.id.connector);
        for stretch in &stretches {
            used.note(connector, &stretch.partition.topic);
        }
        let records = fetched.iter().map(|batch| batch.records.len()).sum();
        self.setup.meter.consumed(records);
        let (reply, receiver) = oneshot::channel();
        let put = Command::Put {
            fetched,
            round: self.round,
            seeks: self.seeks,
            reply,
        };
        self.send(put).await?;
        self.in_flight.push_back(InFlight {
            reply: receiver,
            stretches,
        });
        Ok(())
    }

    /// The room has answered the oldest put.
    async fn answered(
        &mut self,
        (put, reply): (InFlight, Option<PutReply>),
    ) -> Result<(), TaskFailure> {
        match reply {
            Some(PutReply::Taken) => {
                self.taken(put);
                self.requests.check_rate()?;
            }
            Some(PutReply::NotTaken(error)) => {
                self.go_back(put)?;
                self.wait_to_retry("put", &error);
            }
            Some(PutReply::Failed(failure)) => return Err(failure),
            Some(PutReply::Refused) => self.go_back(put)?,
            None => return Err(self.room_failure().await),
        }
        Ok(())
    }

    fn taken(&mut self, put: InFlight) {
        for stretch in put.stretches {
            if self.owned.contains(&stretch.partition) {
                self.put
                    .insert(stretch.partition, (stretch.next, stretch.leader_epoch));
            }
        }
        if !self.flush_first {
            self.recovered();
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
