//! The room of a sink task: the task itself, and the order of its calls. Records are converted here,
//! on the thread that uses them.
//!
//! Puts are queued ahead. When one was not taken, or the task asked to go on elsewhere, those
//! queued behind it must not come first: the room refuses them until the loop, which has sought
//! back by then, sends puts of a later round.

use std::sync::{Arc, Weak};

use connect_core::{
    AnyConnector, ConfigMap, ConnectError, ErrorClass, OffsetMap, SinkTask, SinkTaskContext,
    TopicPartition,
};
use kafka_client::FetchedBatch;
use tokio::sync::{mpsc, oneshot};

use super::convert::Inlet;
use super::put::{Put, deliver};
use super::requests::SinkRequests;
use crate::metrics::TaskMeter;
use crate::room::{Activity, Patience};
use crate::task::TaskFailure;
use crate::tolerance::DeadLetterQueue;

/// What became of a put.
#[derive(Debug)]
pub(super) enum PutReply {
    /// The task has taken it, but for bad records, which are in the dead letter queue if there is one.
    Taken,
    /// The task has not, and may take it later.
    NotTaken(ConnectError),
    /// The task cannot go on.
    Failed(TaskFailure),
    /// It was not given to the task, because an earlier one was not taken.
    Refused,
}

/// What the loop tells the room; every command is answered.
pub(super) enum Command {
    Open(
        Vec<TopicPartition>,
        oneshot::Sender<Result<(), ConnectError>>,
    ),
    Put {
        fetched: Vec<FetchedBatch>,
        round: u64,
        /// The seeks that had been made before.
        seeks: u64,
        reply: oneshot::Sender<PutReply>,
    },
    Flush(OffsetMap, oneshot::Sender<Result<OffsetMap, ConnectError>>),
    Close(
        Vec<TopicPartition>,
        oneshot::Sender<Result<(), ConnectError>>,
    ),
    Stop,
}

/// What the room needs.
pub(super) struct SinkRoom {
    pub(super) class: String,
    pub(super) context: SinkTaskContext,
    pub(super) config: ConfigMap,
    pub(super) requests: Arc<SinkRequests>,
    pub(super) activity: Arc<Activity>,
    pub(super) meter: Arc<TaskMeter>,
    pub(super) inlet: Inlet,
    /// Weak, so that a room that was abandoned does not keep it.
    pub(super) dead_letters: Option<Weak<DeadLetterQueue>>,
    pub(super) started: oneshot::Sender<Result<(), ConnectError>>,
    pub(super) commands: mpsc::Receiver<Command>,
}

impl SinkRoom {
    /// Runs a fresh task until it is stopped.
    pub(super) async fn run(self) {
        let Self {
            class,
            context,
            config,
            requests,
            activity,
            meter,
            inlet,
            dead_letters,
            started,
            mut commands,
        } = self;
        let mut task = match task_of(&class) {
            Ok(task) => task,
            Err(error) => return answer(started, Err(error)),
        };
        let start = task.start(context, &config);
        let result = activity.watch("start", Patience::ReturnsSoon, start).await;
        let went_well = result.is_ok();
        answer(started, result);
        let mut refused_round = None;
        while went_well && let Some(command) = commands.recv().await {
            match command {
                Command::Open(partitions, reply) => {
                    let open = task.open(&partitions);
                    answer(
                        reply,
                        activity.watch("open", Patience::ReturnsSoon, open).await,
                    );
                }
                Command::Put {
                    round,
                    seeks,
                    reply,
                    ..
                } if refused_round.is_some_and(|refused| round <= refused)
                    || seeks < requests.seeks() =>
                {
                    answer(reply, PutReply::Refused);
                }
                Command::Put {
                    fetched,
                    round,
                    mut reply,
                    ..
                } => {
                    let put = Put {
                        task: &mut *task,
                        inlet: &inlet,
                        activity: &activity,
                        meter: &meter,
                        requests: &requests,
                        dead_letters: dead_letters.as_ref(),
                    };
                    let Some(outcome) = put.run(fetched, &mut reply).await else {
                        continue;
                    };
                    if !matches!(outcome, PutReply::Taken) {
                        refused_round = Some(round);
                    }
                    answer(reply, outcome);
                }
                Command::Flush(offsets, mut reply) => {
                    let flush = task.flush(&offsets);
                    let flushed = activity.watch("flush", Patience::ReturnsSoon, flush).await;
                    // Offsets of records that were reported may be among these.
                    let reported = tokio::select! {
                        biased;
                        reported = deliver_reported(&requests, dead_letters.as_ref(), &meter) => reported,
                        // Nobody waits for it any more.
                        () = reply.closed() => continue,
                    };
                    answer(reply, reported.and(flushed));
                }
                Command::Close(partitions, reply) => {
                    let close = task.close(&partitions);
                    answer(
                        reply,
                        activity.watch("close", Patience::ReturnsSoon, close).await,
                    );
                }
                Command::Stop => break,
            }
        }
        let stopped = activity
            .watch("stop", Patience::ReturnsSoon, task.stop())
            .await;
        if let Err(error) = stopped {
            tracing::warn!("stop failed: {}", error.report());
        }
    }
}

/// Writes what the task has reported since the last time.
async fn deliver_reported(
    requests: &SinkRequests,
    dead_letters: Option<&Weak<DeadLetterQueue>>,
    meter: &TaskMeter,
) -> Result<(), ConnectError> {
    let reported = requests.take_reported();
    let letters = reported.letters().collect();
    deliver(letters, dead_letters, requests, meter)
        .await
        .map_err(|failure| ConnectError::fatal(failure.message))?;
    reported.safe();
    Ok(())
}

/// A loop that is gone needs no answer.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    drop(reply.send(value));
}

fn task_of(class: &str) -> Result<Box<dyn SinkTask>, ConnectError> {
    match connect_core::plugin::find(class)?.create() {
        AnyConnector::Sink(connector) => Ok(connector.task()),
        AnyConnector::Source(_) => Err(ConnectError::new(
            ErrorClass::Configuration,
            format!("connector class \"{class}\" is a source, not a sink"),
        )),
    }
}
