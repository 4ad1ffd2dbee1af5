//! The room of a source task: the task itself and the order of its calls.
//!
//! It polls, gives what it got to the producer, and polls again; in between it obeys commands. A
//! command that comes during a poll drops the poll, which is cancel-safe by contract. One that comes
//! while a batch waits for the producer is obeyed once the batch is out, except for the one to end.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use connect_core::context::TaskControl;
use connect_core::{
    AnyConnector, ConfigMap, ConnectError, ErrorClass, SourcePosition, SourceRecord, SourceTask,
    SourceTaskContext,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::outlet::{Outlet, Sent};
use crate::backoff::Backoff;
use crate::metrics::TaskMeter;
use crate::room::{Activity, Patience};
use crate::task::{Control, TaskFailure};
use crate::tolerance::BadRecord;

/// Commits that are kept for a task that waits for the producer; it misses more.
const COMMITS_KEPT_MAX: usize = 16;

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
    /// A batch is with the producer.
    Sent(Sent),
    /// Polls work again.
    Recovered,
    /// A poll failed and is made again after this pause.
    Retrying(ConnectError, Duration),
    /// The task cannot go on.
    Failed(TaskFailure),
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
    pub(super) orders: Orders,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) backoff: Backoff,
    pub(super) meter: Arc<TaskMeter>,
    pub(super) outlet: Outlet,
}

/// The loop's commands, and what of them is still to be done.
pub(super) struct Orders {
    commands: mpsc::Receiver<Command>,
    paused: bool,
    draining: bool,
    commits: Vec<Vec<SourcePosition>>,
}

impl Orders {
    pub(super) fn new(commands: mpsc::Receiver<Command>, paused: bool) -> Self {
        Self {
            commands,
            paused,
            draining: false,
            commits: Vec::new(),
        }
    }

    /// Notes a command; `None` if it is the one to end.
    fn note(&mut self, command: Option<Command>) -> Option<()> {
        match command? {
            Command::Commit(positions) if self.commits.len() < COMMITS_KEPT_MAX => {
                self.commits.push(positions);
            }
            Command::Commit(_) => tracing::debug!("the task is busy and was not told of a commit"),
            Command::Pause => self.paused = true,
            Command::Resume => self.paused = false,
            Command::Drain => {
                self.paused = true;
                self.draining = true;
            }
            Command::Stop => return None,
        }
        Some(())
    }

    /// Waits for `work` and notes the commands that come meanwhile; `None` if one is to end.
    async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => self.note(command)?,
                done = &mut work => return Some(done),
            }
        }
    }
}

impl SourceRoom {
    /// Runs a fresh task until it is stopped or fails. Its result has gone out as an event.
    pub(super) async fn run(mut self) {
        let mut task = match task_of(&self.class) {
            Ok(task) => task,
            Err(error) => return self.tell(Event::Failed(error.into())).await,
        };
        if let Err(failure) = self.work(&mut *task).await {
            self.tell(Event::Failed(failure)).await;
        }
        let stopped = self
            .activity
            .watch("stop", Patience::ReturnsSoon, task.stop())
            .await;
        if let Err(error) = stopped {
            tracing::warn!("stop failed: {}", error.report());
        }
    }

    async fn work(&mut self, task: &mut dyn SourceTask) -> Result<(), TaskFailure> {
        if !self.start(task).await? {
            return Ok(());
        }
        self.tell(Event::Started).await;
        let mut resume_at = None;
        loop {
            for positions in std::mem::take(&mut self.orders.commits) {
                self.commit(task, &positions).await;
            }
            if std::mem::take(&mut self.orders.draining) {
                self.tell(Event::Drained).await;
            }
            let polled = tokio::select! {
                biased;
                command = self.orders.commands.recv() => match self.orders.note(command) {
                    Some(()) => continue,
                    None => return Ok(()),
                },
                polled = poll(task, &self.activity, resume_at), if !self.orders.paused => polled,
            };
            let (polled, took) = polled;
            resume_at = match polled {
                Ok(records) => match self.polled(records, took).await? {
                    Some(()) => None,
                    None => return Ok(()),
                },
                Err(error) => self.not_polled(error).await?,
            };
        }
    }

    /// False if the task was told to end before it had started.
    async fn start(&mut self, task: &mut dyn SourceTask) -> Result<bool, ConnectError> {
        let start = task.start(self.context.clone(), &self.config);
        let mut start = std::pin::pin!(self.activity.watch("start", Patience::ReturnsSoon, start));
        loop {
            tokio::select! {
                started = &mut start => return started.map(|()| true),
                command = self.orders.commands.recv() => match command {
                    Some(Command::Pause) => self.orders.paused = true,
                    Some(Command::Resume) => self.orders.paused = false,
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

    /// Gives a poll to the producer; `None` if the room is to end.
    async fn polled(
        &mut self,
        records: Vec<SourceRecord>,
        took: Duration,
    ) -> Result<Option<()>, TaskFailure> {
        if self.backoff.failures() > 0 {
            self.backoff.reset();
            self.tell(Event::Recovered).await;
        }
        self.control.progress();
        if records.is_empty() {
            // A task that returns nothing at once, again and again, must not starve others.
            tokio::task::yield_now().await;
            return Ok(Some(()));
        }
        self.meter.polled(records.len(), took);
        let send = async {
            let sent = self.outlet.send(records).await?;
            tell(&self.events, Event::Sent(sent)).await;
            self.outlet.batcher.check_rate()
        };
        self.orders.unless_stopped(send).await.transpose()
    }

    /// What follows from a poll that failed: when to poll again at the earliest.
    async fn not_polled(&mut self, error: ConnectError) -> Result<Option<Instant>, TaskFailure> {
        match error.class() {
            ErrorClass::Retriable => {
                let pause = self.backoff.failed();
                self.meter.errors.retried();
                self.tell(Event::Retrying(error, pause)).await;
                Ok(Some(Instant::now() + pause))
            }
            // It could not read a record, and goes on behind it.
            ErrorClass::Record => {
                self.outlet.batcher.unreadable(&BadRecord::poll(error))?;
                Ok(None)
            }
            ErrorClass::Configuration | ErrorClass::Fatal => Err(error.into()),
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

/// One poll, and how long it took. Cancel-safe as the task's poll is.
async fn poll(
    task: &mut dyn SourceTask,
    activity: &Activity,
    not_before: Option<Instant>,
) -> (Result<Vec<SourceRecord>, ConnectError>, Duration) {
    if let Some(at) = not_before {
        tokio::time::sleep_until(at).await;
    }
    let begun = Instant::now();
    let polled = activity.watch("poll", Patience::MayWait, task.poll());
    (polled.await, begun.elapsed())
}

fn task_of(class: &str) -> Result<Box<dyn SourceTask>, ConnectError> {
    match connect_core::plugin::find(class)?.create() {
        AnyConnector::Source(connector) => Ok(connector.task()),
        AnyConnector::Sink(_) => Err(ConnectError::configuration(format!(
            "connector class \"{class}\" is a sink, not a source"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_order_to_end_interrupts_what_is_under_way() {
        let (commands, receiver) = mpsc::channel(4);
        let mut orders = Orders::new(receiver, false);
        commands.send(Command::Commit(Vec::new())).await.unwrap();
        commands.send(Command::Drain).await.unwrap();
        let sent = orders.unless_stopped(tokio::task::yield_now()).await;
        assert_eq!(sent, Some(()));
        assert!(orders.paused && orders.draining && orders.commits.len() == 1);
        commands.send(Command::Stop).await.unwrap();
        let sent = orders.unless_stopped(std::future::pending::<()>()).await;
        assert_eq!(sent, None);
    }
}
