//! The room of a source task: the task itself and the order of its calls.
//!
//! It polls as long as somebody takes the batches, and otherwise obeys commands. A command that
//! comes during a poll drops the poll, which is cancel-safe by contract.

use std::sync::Arc;
use std::time::Duration;

use connect_core::context::TaskControl;
use connect_core::{
    AnyConnector, ConfigMap, ConnectError, ErrorClass, SourcePosition, SourceRecord, SourceTask,
    SourceTaskContext,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::room::{Activity, Patience};
use crate::task::Control;

/// What the loop tells the room.
#[derive(Debug)]
pub(super) enum Command {
    /// These positions are stored.
    Commit(Vec<SourcePosition>),
    /// Do not poll.
    Pause,
    /// Poll again.
    Resume,
    /// Do not poll any more, and say when the last batch is out.
    Drain,
    /// End.
    Stop,
}

/// What the room tells the loop.
#[derive(Debug)]
pub(super) enum Event {
    /// The task has started.
    Started,
    /// A batch.
    Polled(Vec<SourceRecord>),
    /// A poll found a record that it could not read, and goes on behind it.
    Skipped(ConnectError),
    /// A poll failed and is made again after this pause.
    Retrying(ConnectError, Duration),
    /// The task cannot go on.
    Failed(ConnectError),
    /// The last batch is out.
    Drained,
}

/// What the room needs.
pub(super) struct SourceRoom {
    pub(super) class: String,
    pub(super) context: SourceTaskContext,
    pub(super) config: ConfigMap,
    pub(super) control: Arc<Control>,
    pub(super) activity: Arc<Activity>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) backoff: Backoff,
    pub(super) paused: bool,
}

impl SourceRoom {
    /// Runs a fresh task until it is stopped or fails. Its result has gone out as an event.
    pub(super) async fn run(mut self) {
        let mut task = match task_of(&self.class) {
            Ok(task) => task,
            Err(error) => return self.tell(Event::Failed(error)).await,
        };
        if let Err(error) = self.work(&mut *task).await {
            self.tell(Event::Failed(error)).await;
        }
        let stopped = self
            .activity
            .watch("stop", Patience::ReturnsSoon, task.stop())
            .await;
        if let Err(error) = stopped {
            tracing::warn!("stop failed: {}", error.report());
        }
    }

    async fn work(&mut self, task: &mut dyn SourceTask) -> Result<(), ConnectError> {
        if !self.start(task).await? {
            return Ok(());
        }
        self.tell(Event::Started).await;
        let mut resume_at = None;
        loop {
            let command = if self.paused {
                self.commands.recv().await
            } else {
                tokio::select! {
                    biased;
                    command = self.commands.recv() => command,
                    polled = poll(task, &self.events, &self.activity, resume_at) => {
                        resume_at = self.polled(polled).await?;
                        continue;
                    }
                }
            };
            match command {
                Some(Command::Commit(positions)) => self.commit(task, &positions).await,
                Some(Command::Pause) => self.paused = true,
                Some(Command::Resume) => self.paused = false,
                Some(Command::Drain) => {
                    self.paused = true;
                    self.tell(Event::Drained).await;
                }
                Some(Command::Stop) | None => return Ok(()),
            }
        }
    }

    /// False if the task was told to end before it had started.
    async fn start(&mut self, task: &mut dyn SourceTask) -> Result<bool, ConnectError> {
        let start = task.start(self.context.clone(), &self.config);
        let mut start = std::pin::pin!(self.activity.watch("start", Patience::ReturnsSoon, start));
        loop {
            tokio::select! {
                started = &mut start => return started.map(|()| true),
                command = self.commands.recv() => match command {
                    Some(Command::Pause) => self.paused = true,
                    Some(Command::Resume) => self.paused = false,
                    Some(Command::Commit(_)) => {}
                    Some(Command::Drain) => {
                        tell(&self.events, Event::Drained).await;
                        return Ok(false);
                    }
                    Some(Command::Stop) | None => return Ok(false),
                },
            }
        }
    }

    /// What follows from a poll: when to poll again at the earliest.
    async fn polled(
        &mut self,
        polled: Result<(), ConnectError>,
    ) -> Result<Option<Instant>, ConnectError> {
        let error = match polled {
            Ok(()) => {
                self.backoff.reset();
                self.control.progress();
                return Ok(None);
            }
            Err(error) => error,
        };
        match error.class() {
            ErrorClass::Retriable => {
                let pause = self.backoff.failed();
                self.tell(Event::Retrying(error, pause)).await;
                Ok(Some(Instant::now() + pause))
            }
            ErrorClass::Record => {
                self.tell(Event::Skipped(error)).await;
                Ok(None)
            }
            ErrorClass::Configuration | ErrorClass::Fatal => Err(error),
        }
    }

    async fn commit(&self, task: &mut dyn SourceTask, positions: &[SourcePosition]) {
        let commit = task.commit(positions);
        if let Err(error) = self
            .activity
            .watch("commit", Patience::ReturnsSoon, commit)
            .await
        {
            tracing::warn!(
                "commit failed, which changes nothing else: {}",
                error.report()
            );
        }
    }

    async fn tell(&self, event: Event) {
        tell(&self.events, event).await;
    }
}

/// A loop that is gone needs no news.
async fn tell(events: &mpsc::Sender<Event>, event: Event) {
    drop(events.send(event).await);
}

/// One poll, made only when there is room for its records. Cancel-safe as the task's poll is.
async fn poll(
    task: &mut dyn SourceTask,
    events: &mpsc::Sender<Event>,
    activity: &Activity,
    not_before: Option<Instant>,
) -> Result<(), ConnectError> {
    if let Some(at) = not_before {
        tokio::time::sleep_until(at).await;
    }
    let Ok(permit) = events.reserve().await else {
        // The loop is gone; the command channel will say so.
        return std::future::pending().await;
    };
    let records = activity
        .watch("poll", Patience::MayWait, task.poll())
        .await?;
    if records.is_empty() {
        // A task that returns nothing at once, again and again, must not starve the commands.
        tokio::task::yield_now().await;
    } else {
        permit.send(Event::Polled(records));
    }
    Ok(())
}

fn task_of(class: &str) -> Result<Box<dyn SourceTask>, ConnectError> {
    match connect_core::plugin::find(class)?.create() {
        AnyConnector::Source(connector) => Ok(connector.task()),
        AnyConnector::Sink(_) => Err(ConnectError::configuration(format!(
            "connector class \"{class}\" is a sink, not a source"
        ))),
    }
}
