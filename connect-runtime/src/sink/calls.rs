//! Calls into the room of the task, and their answers.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
use std::time::Duration;

use connect_core::TopicPartition;
use kafka_client::{ClientError, Consumer, RebalanceEvent};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::partitions::to_client;
use super::room::{Command, PutReply};
use super::wishes::read_again;
use super::{InFlight, POLL_WAIT, SinkLoop, consumer};
use crate::task::TaskFailure;

impl SinkLoop {
    /// Waits until the room has answered every put.
    pub(super) async fn drain_in_flight(&mut self) -> Result<(), TaskFailure> {
        while !self.in_flight.is_empty() {
            let reply = tokio::select! {
                biased;
                reply = first_reply(&mut self.in_flight) => reply,
                error = overtime(
                    self.call_patience,
                    &mut self.consumer,
                    &self.owned,
                    &mut self.paused,
                    &mut self.events,
                ), if !self.letting_go => return Err(consumer::failure(&self.setup, error)),
            };
            self.answered(reply).await?;
        }
        Ok(())
    }

    pub(super) async fn send(&mut self, command: Command) -> Result<(), TaskFailure> {
        match self.commands.send(command).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.room_failure().await),
        }
    }

    pub(super) async fn ask<T>(
        &mut self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, TaskFailure> {
        let (reply, receiver) = oneshot::channel();
        self.send(command(reply)).await?;
        let answer = tokio::select! {
            biased;
            answer = receiver => answer,
            error = overtime(
                self.call_patience,
                &mut self.consumer,
                &self.owned,
                &mut self.paused,
                &mut self.events,
            ), if !self.letting_go => return Err(consumer::failure(&self.setup, error)),
        };
        match answer {
            Ok(answer) => Ok(answer),
            Err(_) => Err(self.room_failure().await),
        }
    }

    /// Why the room is gone.
    pub(super) async fn room_failure(&mut self) -> TaskFailure {
        match self.room.result().await {
            Ok(()) => TaskFailure::new("the task ended by itself"),
            Err(failure) => failure.into(),
        }
    }
}

/// Keeps the task in its group while a call takes long: goes on polling, with everything paused.
/// What changes meanwhile is kept in `events`; then nothing can be done before the call is over.
/// Returns only if polling fails. Cancel-safe.
pub(super) async fn overtime(
    patience: Duration,
    consumer: &mut Consumer,
    owned: &BTreeSet<TopicPartition>,
    paused: &mut BTreeSet<TopicPartition>,
    events: &mut VecDeque<RebalanceEvent>,
) -> ClientError {
    sleep(patience).await;
    let partitions: Vec<_> = owned.iter().map(to_client).collect();
    consumer.pause(&partitions);
    paused.clone_from(owned);
    while events.is_empty() {
        let kept = match consumer.poll(POLL_WAIT).await {
            Ok(polled) => {
                events.extend(polled.events);
                read_again(consumer, polled.batches)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            return error;
        }
    }
    pending().await
}

/// The answer to the oldest put; never comes if there is none. Cancel-safe.
pub(super) async fn first_reply(
    in_flight: &mut VecDeque<InFlight>,
) -> (InFlight, Option<PutReply>) {
    let reply = match in_flight.front_mut() {
        Some(put) => (&mut put.reply).await.ok(),
        None => std::future::pending().await,
    };
    match in_flight.pop_front() {
        Some(put) => (put, reply),
        None => std::future::pending().await,
    }
}
