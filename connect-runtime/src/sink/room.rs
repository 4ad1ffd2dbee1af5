//! The room of a sink task: the task itself, and the order of its calls. Records are converted here,
//! on the thread that uses them.
//!
//! Puts are queued ahead. When one was not taken, or the task asked to go on elsewhere, those
//! queued behind it must not come first: the room refuses them until the loop, which has sought
//! back by then, sends puts of a later round.

use std::sync::Arc;

use connect_core::context::TaskControl;
use connect_core::{
    AnyConnector, ConfigMap, ConnectError, ErrorClass, OffsetMap, PutOutcome, SinkTask,
    SinkTaskContext, TopicPartition,
};
use kafka_client::FetchedBatch;
use tokio::sync::{mpsc, oneshot};

use super::convert::{self, Place};
use super::requests::SinkRequests;
use crate::config::connector::ErrorPolicy;
use crate::converters::Converters;
use crate::room::{Activity, Patience};
use crate::task::TaskFailure;
use crate::transforms::Transforms;

/// What became of a put.
#[derive(Debug)]
pub(super) enum PutReply {
    /// The task answered about records from these places.
    Done(Result<PutOutcome, ConnectError>, Vec<Place>),
    /// A record could not be converted, and may not be skipped.
    NotConverted(TaskFailure),
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
    pub(super) converters: Converters,
    pub(super) transforms: Option<Transforms>,
    pub(super) errors: ErrorPolicy,
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
            converters,
            transforms,
            errors,
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
                    let converted = tokio::select! {
                        biased;
                        converted = convert::convert(&converters, transforms.as_ref(), &errors, fetched) => converted,
                        // Nobody waits for it any more.
                        () = reply.closed() => continue,
                    };
                    let batch = match converted {
                        Ok(batch) => batch,
                        Err(failure) => {
                            refused_round = Some(round);
                            answer(reply, PutReply::NotConverted(failure));
                            continue;
                        }
                    };
                    let put = task.put(batch.records);
                    let outcome = activity.watch("put", Patience::ReturnsSoon, put).await;
                    if outcome.is_err() {
                        refused_round = Some(round);
                    }
                    if outcome.is_ok() {
                        requests.progress();
                    }
                    answer(reply, PutReply::Done(outcome, batch.places));
                }
                Command::Flush(offsets, reply) => {
                    let flush = task.flush(&offsets);
                    answer(
                        reply,
                        activity.watch("flush", Patience::ReturnsSoon, flush).await,
                    );
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
