//! The loop of a sink task: consume → convert → put → flush → commit.
//!
//! The task runs in a [`Room`](crate::room::Room) of its own; puts are prepared ahead of it.
//! Invariants: an offset is committed only after `flush` returned it; before partitions go away
//! everything that was put is flushed and committed; a put that was not taken comes again, and
//! nothing behind it comes first.

mod convert;
mod redelivery;
mod requests;
mod room;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use connect_core::{
    ConnectError, ErrorClass, OffsetMap, PutOutcome, RecordFailure, SinkTaskContext, TopicPartition,
};
use kafka_client::{Client, Consumer, FetchedBatch, OffsetAndMetadata, Polled, RebalanceEvent};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::backoff::Backoff;
use crate::clients;
use crate::config::connector::Topics;
use crate::converters::Converters;
use crate::room::Room;
use crate::state::State;
use crate::task::{Control, Setup, Target, TaskFailure, next_stop};
use convert::Stretch;
use redelivery::Redelivery;
use requests::SinkRequests;
use room::{Command, PutReply, SinkRoom};

/// Puts that the room may have in its queue or in work.
const PUTS_AHEAD_MAX: usize = 2;
/// How long one poll waits; nothing depends on it.
const POLL_WAIT: Duration = Duration::from_secs(30);
/// The first pause after a put or flush that may be tried again.
const PUT_RETRY: Duration = Duration::from_millis(100);

/// Runs a sink task once: until it is told to stop, or fails.
pub(crate) async fn run(setup: Setup) -> Result<(), TaskFailure> {
    let converters = Converters::of(&setup.connector)?;
    let consumer = consumer(&setup)?;
    let requests = SinkRequests::new(Control::new(setup.reporter.clone()));
    let (commands, command_receiver) = mpsc::channel(PUTS_AHEAD_MAX + 2);
    let (started_sender, started) = oneshot::channel();
    let room = SinkRoom {
        class: setup.connector.class.clone(),
        context: SinkTaskContext::new(setup.id.clone(), requests.clone()),
        config: setup.task_config.clone(),
        requests: Arc::clone(&requests),
        activity: Arc::clone(&setup.activity),
        started: started_sender,
        commands: command_receiver,
    };
    let room = Room::open(&setup.id.to_string(), setup.span(), room.run());
    let target = *setup.target.borrow();
    let retry_max = setup.connector.errors.retry_delay_max;
    let sink = SinkLoop {
        target,
        next_commit: Instant::now() + setup.shared.config.offset_flush_interval,
        retry: Backoff::new(PUT_RETRY, retry_max),
        setup,
        converters,
        consumer,
        room,
        commands,
        requests,
        in_flight: VecDeque::new(),
        round: 0,
        owned: BTreeSet::new(),
        put: BTreeMap::new(),
        committed: OffsetMap::new(),
        paused_by_task: BTreeSet::new(),
        paused: BTreeSet::new(),
        retry_at: None,
        flush_first: false,
        redelivery: Redelivery::default(),
    };
    sink.run(started).await
}

fn consumer(setup: &Setup) -> Result<Consumer, TaskFailure> {
    let worker = &setup.shared.config;
    let client_id = format!("connector-consumer-{}", setup.id);
    let group_id = format!("connect-{}", setup.id.connector);
    let client = clients::client_config(
        &setup.shared.bootstrap_servers,
        &worker.connection,
        &client_id,
    );
    let mut settings = clients::sink_consumer(client, &group_id);
    if worker.bootstrap_servers.is_none() {
        // The broker is this worker's own, so nobody else has these tasks. With a name that
        // outlives the process, a restart after a crash need not wait until the group has
        // noticed that the member of the former process is gone.
        settings.consumer.group_instance_id =
            Some(group_id.clone() + &format!("-{}", setup.id.task));
    }
    // Their problems were reported when the configurations were read.
    settings.apply(&worker.consumer);
    settings.apply(&setup.connector.consumer);
    let client = Client::new(settings.client)?;
    let mut consumer = Consumer::new(client, settings.consumer)?;
    match &setup.connector.topics {
        Topics::Names(names) => consumer.subscribe(names.clone())?,
        Topics::Pattern(pattern) => consumer.subscribe_pattern(pattern)?,
    }
    Ok(consumer)
}

/// A put that the room has not answered yet.
struct InFlight {
    reply: oneshot::Receiver<PutReply>,
    stretches: Vec<Stretch>,
    offsets: Vec<(usize, i64)>,
}

struct SinkLoop {
    setup: Setup,
    converters: Converters,
    consumer: Consumer,
    room: Room<()>,
    commands: mpsc::Sender<Command>,
    requests: Arc<SinkRequests>,
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
    /// The batch of a put that was not taken, while it is read again.
    redelivery: Redelivery,
    next_commit: Instant,
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
            self.set_pauses();
            let may_poll = self.in_flight.len() < PUTS_AHEAD_MAX;
            let uncommitted = self.has_uncommitted();
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
                () = sleep_until(self.next_commit), if uncommitted && self.retry_at.is_none() => {
                    self.commit().await?;
                }
                () = until(self.retry_at) => {}
                polled = self.consumer.poll(POLL_WAIT), if may_poll => self.polled(polled?).await?,
            }
        }
    }

    fn show_target(&self) {
        self.setup.reporter.state(match self.target {
            Target::Pause => State::Paused,
            Target::Run | Target::Stop => State::Running,
        });
    }

    async fn polled(&mut self, polled: Polled) -> Result<(), TaskFailure> {
        for event in polled.events {
            match event {
                RebalanceEvent::Assigned(partitions) => self.assigned(partitions).await?,
                RebalanceEvent::Revoked(partitions) => self.revoked(partitions).await?,
                RebalanceEvent::Lost(partitions) => self.lost(partitions).await?,
            }
        }
        let batches = self.without_paused(polled.batches)?;
        if batches.is_empty() {
            return Ok(());
        }
        if self.redelivery.is_done() {
            return self.put(batches).await;
        }
        for batch in self.redelivery.take(batches) {
            self.put(batch).await?;
        }
        Ok(())
    }

    /// What had been fetched of a partition before it was paused is read again later.
    fn without_paused(
        &mut self,
        mut batches: Vec<FetchedBatch>,
    ) -> Result<Vec<FetchedBatch>, TaskFailure> {
        if self.paused.is_empty() {
            return Ok(batches);
        }
        let paused = |batch: &mut FetchedBatch| {
            self.paused
                .contains(&TopicPartition::new(batch.topic.clone(), batch.partition))
        };
        for batch in batches.extract_if(.., paused) {
            let first = batch
                .records
                .first()
                .map_or(batch.next_offset, |record| record.offset);
            let partition = kafka_client::TopicPartition::new(batch.topic, batch.partition);
            self.consumer.seek(&partition, first)?;
        }
        Ok(batches)
    }

    async fn put(&mut self, fetched: Vec<FetchedBatch>) -> Result<(), TaskFailure> {
        let errors = &self.setup.connector.errors;
        let batch = convert::convert(&self.converters, errors, fetched).await?;
        let (reply, receiver) = oneshot::channel();
        let put = Command::Put {
            records: batch.records,
            round: self.round,
            reply,
        };
        self.send(put).await?;
        self.in_flight.push_back(InFlight {
            reply: receiver,
            stretches: batch.stretches,
            offsets: batch.offsets,
        });
        Ok(())
    }

    /// The room has answered the oldest put.
    async fn answered(
        &mut self,
        (put, reply): (InFlight, Option<PutReply>),
    ) -> Result<(), TaskFailure> {
        let outcome = match reply {
            Some(PutReply::Done(outcome)) => outcome,
            Some(PutReply::Refused) => {
                self.go_back(put)?;
                return Ok(());
            }
            None => return Err(self.room_failure().await),
        };
        match outcome {
            Ok(outcome) => self.taken(put, outcome),
            Err(error) => match error.class() {
                ErrorClass::Retriable => {
                    self.go_back(put)?;
                    self.wait_to_retry("put", &error);
                    Ok(())
                }
                ErrorClass::Record => {
                    self.setup.connector.errors.bad_record(&error)?;
                    self.taken(put, PutOutcome::done())
                }
                ErrorClass::Configuration | ErrorClass::Fatal => Err(error.into()),
            },
        }
    }

    fn taken(&mut self, put: InFlight, outcome: PutOutcome) -> Result<(), TaskFailure> {
        for RecordFailure { index, error } in outcome.into_failures() {
            let place = put.offsets.get(index).and_then(|(stretch, offset)| {
                Some(format!(
                    "{} offset {offset}",
                    put.stretches.get(*stretch)?.partition
                ))
            });
            let error = error.context(place.unwrap_or_else(|| format!("record {index}")));
            self.setup.connector.errors.bad_record(&error)?;
        }
        for stretch in put.stretches {
            if self.owned.contains(&stretch.partition) {
                self.put
                    .insert(stretch.partition, (stretch.next, stretch.leader_epoch));
            }
        }
        if self.retry.failures() > 0 && !self.flush_first {
            self.retry.reset();
            self.setup.reporter.waiting(None);
        }
        Ok(())
    }

    /// A put was not taken: read it, and everything behind it, again.
    fn go_back(&mut self, put: InFlight) -> Result<(), TaskFailure> {
        self.round += 1;
        let later = std::mem::take(&mut self.in_flight);
        let again = std::mem::replace(&mut self.redelivery, Redelivery::of(&put.stretches));
        let mut first: OffsetMap = OffsetMap::new();
        for stretch in std::iter::once(put)
            .chain(later)
            .flat_map(|put| put.stretches)
        {
            first.entry(stretch.partition).or_insert(stretch.first);
        }
        for (partition, offset) in again.starts() {
            first.entry(partition).or_insert(offset);
        }
        for (partition, offset) in first {
            if self.owned.contains(&partition) {
                self.consumer.seek(&to_client(&partition), offset)?;
            }
        }
        Ok(())
    }

    fn wait_to_retry(&mut self, what: &str, error: &ConnectError) {
        let wanted = self.requests.take_retry_after();
        let counted = self.retry.failed();
        let pause = wanted.unwrap_or(counted);
        self.retry_at = Some(Instant::now() + pause);
        let reason = format!(
            "{what} failed, retry {} in {pause:.1?}: {}",
            self.retry.failures(),
            error.report()
        );
        tracing::warn!("{reason}");
        self.setup.reporter.waiting(Some(reason));
    }

    async fn resume_after_retry(&mut self) -> Result<(), TaskFailure> {
        if self.retry_at.is_some_and(|at| at <= Instant::now()) {
            self.retry_at = None;
            if self.flush_first {
                self.commit().await?;
            }
        }
        Ok(())
    }

    /// Does what the task asked for through its context.
    async fn obey_requests(&mut self) -> Result<(), TaskFailure> {
        let requests = self.requests.take();
        for partition in requests.resume {
            self.paused_by_task.remove(&partition);
        }
        self.paused_by_task.extend(requests.pause);
        if !requests.seek.is_empty() {
            self.drain_in_flight().await?;
            self.round += 1;
        }
        for (partition, offset) in requests.seek {
            for batch in self.redelivery.forget(std::slice::from_ref(&partition)) {
                self.put(batch).await?;
            }
            if self.owned.contains(&partition) {
                self.consumer.seek(&to_client(&partition), offset)?;
                self.put.insert(partition, (offset, None));
            }
        }
        if requests.commit {
            self.next_commit = Instant::now();
        }
        Ok(())
    }

    /// Pauses and resumes at the consumer what should be.
    fn set_pauses(&mut self) {
        let all = self.target == Target::Pause || self.retry_at.is_some() || self.flush_first;
        let wanted: BTreeSet<TopicPartition> = match all {
            true => self.owned.clone(),
            false => self
                .paused_by_task
                .intersection(&self.owned)
                .cloned()
                .collect(),
        };
        if wanted == self.paused {
            return;
        }
        let pause: Vec<_> = wanted.difference(&self.paused).map(to_client).collect();
        let resume: Vec<_> = self.paused.difference(&wanted).map(to_client).collect();
        self.consumer.pause(&pause);
        self.consumer.resume(&resume);
        self.paused = wanted;
    }

    async fn assigned(
        &mut self,
        partitions: Vec<kafka_client::TopicPartition>,
    ) -> Result<(), TaskFailure> {
        let partitions: Vec<TopicPartition> = partitions.iter().map(from_client).collect();
        tracing::info!("assigned {}", listed(&partitions));
        self.owned.extend(partitions.iter().cloned());
        self.requests
            .assign(|owned| owned.extend(partitions.iter().cloned()));
        self.ask(|reply| Command::Open(partitions, reply)).await??;
        self.obey_requests().await
    }

    /// Partitions go away in order: everything put is flushed, committed and closed.
    async fn revoked(
        &mut self,
        partitions: Vec<kafka_client::TopicPartition>,
    ) -> Result<(), TaskFailure> {
        let partitions: Vec<TopicPartition> = partitions.iter().map(from_client).collect();
        tracing::info!("revoked {}", listed(&partitions));
        self.drain_in_flight().await?;
        let offsets = self.offsets_of(|partition| partitions.contains(partition));
        if !offsets.is_empty() {
            match self.flush(offsets).await? {
                Ok(offsets) => self.commit_offsets(&offsets).await,
                Err(error) => tracing::warn!(
                    "flush failed, so their offsets are not committed: {}",
                    error.report()
                ),
            }
        }
        self.close(partitions).await
    }

    /// Partitions are gone already: nothing may be committed for them.
    async fn lost(
        &mut self,
        partitions: Vec<kafka_client::TopicPartition>,
    ) -> Result<(), TaskFailure> {
        let partitions: Vec<TopicPartition> = partitions.iter().map(from_client).collect();
        tracing::warn!(
            "lost {}; another task may have them already",
            listed(&partitions)
        );
        for partition in &partitions {
            self.owned.remove(partition);
        }
        self.drain_in_flight().await?;
        self.close(partitions).await
    }

    async fn close(&mut self, partitions: Vec<TopicPartition>) -> Result<(), TaskFailure> {
        for partition in &partitions {
            self.owned.remove(partition);
            self.put.remove(partition);
            self.committed.remove(partition);
            self.paused_by_task.remove(partition);
            self.paused.remove(partition);
        }
        self.requests
            .assign(|owned| owned.retain(|own| !partitions.contains(own)));
        let complete = self.redelivery.forget(&partitions);
        self.ask(|reply| Command::Close(partitions, reply))
            .await??;
        for batch in complete {
            self.put(batch).await?;
        }
        Ok(())
    }

    fn has_uncommitted(&self) -> bool {
        let committed = |partition| self.committed.get(partition);
        self.put
            .iter()
            .any(|(partition, (next, _))| committed(partition) != Some(next))
            || !self.in_flight.is_empty()
    }

    fn offsets_of(&self, wanted: impl Fn(&TopicPartition) -> bool) -> OffsetMap {
        let put = self.put.iter().filter(|(partition, _)| wanted(partition));
        put.map(|(partition, (next, _))| (partition.clone(), *next))
            .collect()
    }

    /// Flushes and commits everything that was put.
    async fn commit(&mut self) -> Result<(), TaskFailure> {
        self.drain_in_flight().await?;
        self.next_commit = Instant::now() + self.setup.shared.config.offset_flush_interval;
        let offsets = self.offsets_of(|_| true);
        if offsets.is_empty() || !self.has_uncommitted() {
            self.flush_first = false;
            return Ok(());
        }
        match self.flush(offsets).await? {
            Ok(offsets) => {
                if std::mem::take(&mut self.flush_first) {
                    self.retry.reset();
                    self.setup.reporter.waiting(None);
                }
                self.commit_offsets(&offsets).await;
                Ok(())
            }
            Err(error) if error.is_retriable() => {
                self.flush_first = true;
                self.wait_to_retry("flush", &error);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What the task says is safe, without what it cannot know.
    async fn flush(
        &mut self,
        offsets: OffsetMap,
    ) -> Result<Result<OffsetMap, ConnectError>, TaskFailure> {
        let flushed = self.ask(|reply| Command::Flush(offsets, reply)).await?;
        Ok(flushed.map(|mut flushed| {
            flushed.retain(|partition, offset| {
                let put = self.put.get(partition).map(|(next, _)| *next);
                let known = put.is_some_and(|next| *offset <= next);
                if !known {
                    tracing::warn!(
                        "flush returned offset {offset} for {partition}, which is ahead of what \
                         was put; it is ignored"
                    );
                }
                known
            });
            flushed
        }))
    }

    /// Commits offsets; a failure is made up for by a later commit, or by repeating records.
    async fn commit_offsets(&mut self, offsets: &OffsetMap) {
        let changed: Vec<_> = offsets
            .iter()
            .filter(|(partition, offset)| self.committed.get(partition) != Some(offset))
            .map(|(partition, offset)| {
                let put = self.put.get(partition);
                let leader_epoch = put.and_then(|(next, epoch)| epoch.filter(|_| next == offset));
                let committed = OffsetAndMetadata {
                    offset: *offset,
                    leader_epoch,
                    metadata: String::new(),
                };
                (to_client(partition), committed)
            })
            .collect();
        if changed.is_empty() {
            return;
        }
        let limit = self.setup.shared.config.offset_flush_timeout;
        match timeout(limit, self.consumer.commit(&changed)).await {
            Ok(Ok(())) => {
                self.committed.extend(
                    offsets
                        .iter()
                        .map(|(partition, offset)| (partition.clone(), *offset)),
                );
            }
            Ok(Err(error)) => {
                tracing::warn!(
                    "offsets could not be committed, they are tried again later: {error}"
                );
            }
            Err(_) => tracing::warn!(
                "offsets could not be committed within offset.flush.timeout.ms ({limit:?}), they \
                 are tried again later"
            ),
        }
    }

    /// Waits until the room has answered every put.
    async fn drain_in_flight(&mut self) -> Result<(), TaskFailure> {
        while !self.in_flight.is_empty() {
            let reply = first_reply(&mut self.in_flight).await;
            self.answered(reply).await?;
        }
        Ok(())
    }

    /// Flushes, commits and closes everything, as far as the task still answers.
    async fn finish(&mut self) -> Result<(), TaskFailure> {
        let patience = self.setup.drain_patience();
        let finish = async {
            self.drain_in_flight().await?;
            if !self.owned.is_empty() {
                let owned = self.owned.iter().map(to_client).collect();
                self.revoked(owned).await?;
            }
            Ok(())
        };
        match timeout(patience, finish).await {
            Ok(finished) => finished,
            Err(_) => {
                tracing::warn!(
                    "the last flush took longer than half of task.shutdown.graceful.timeout.ms \
                     ({patience:?}); what was not committed comes again after the next start"
                );
                Ok(())
            }
        }
    }

    /// Ends the room, or abandons it if it does not end in time, and leaves the group.
    async fn end(mut self) {
        let patience = self.setup.end_patience();
        let ended = async {
            drop(self.commands.send(Command::Stop).await);
            self.room.result().await
        };
        if timeout(patience, ended).await.is_err() {
            tracing::error!(
                "the task did not stop in time ({patience:?}, a part of \
                 task.shutdown.graceful.timeout.ms) and is abandoned"
            );
        }
        if timeout(patience, self.consumer.close()).await.is_err() {
            tracing::debug!("the group was not left in time");
        }
    }

    async fn send(&mut self, command: Command) -> Result<(), TaskFailure> {
        match self.commands.send(command).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.room_failure().await),
        }
    }

    async fn ask<T>(
        &mut self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, TaskFailure> {
        let (reply, receiver) = oneshot::channel();
        self.send(command(reply)).await?;
        match receiver.await {
            Ok(answer) => Ok(answer),
            Err(_) => Err(self.room_failure().await),
        }
    }

    /// Why the room is gone.
    async fn room_failure(&mut self) -> TaskFailure {
        match self.room.result().await {
            Ok(()) => TaskFailure::new("the task ended by itself"),
            Err(failure) => failure.into(),
        }
    }
}

/// The answer to the oldest put; never comes if there is none. Cancel-safe.
async fn first_reply(in_flight: &mut VecDeque<InFlight>) -> (InFlight, Option<PutReply>) {
    let reply = match in_flight.front_mut() {
        Some(put) => (&mut put.reply).await.ok(),
        None => std::future::pending().await,
    };
    match in_flight.pop_front() {
        Some(put) => (put, reply),
        None => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn to_client(partition: &TopicPartition) -> kafka_client::TopicPartition {
    kafka_client::TopicPartition::new(Arc::clone(&partition.topic), partition.partition)
}

fn from_client(partition: &kafka_client::TopicPartition) -> TopicPartition {
    TopicPartition::new(Arc::clone(&partition.topic), partition.partition)
}

fn listed(partitions: &[TopicPartition]) -> String {
    let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
    names.join(", ")
}
