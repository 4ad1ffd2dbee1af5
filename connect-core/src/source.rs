//! Sources: from the outside world into topics.

use async_trait::async_trait;

use crate::config::{ConfigMap, Problem};
use crate::context::{ConnectorContext, SourceTaskContext};
use crate::error::ConnectError;
use crate::position::{SourceOffset, SourcePartition, SourcePosition};
use crate::record::SourceRecord;

/// Whether a source can take part in exactly-once delivery (KIP-618).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ExactlyOnce {
    /// The connector does not say; `exactly.once.support=required` refuses it.
    #[default]
    Unknown,
    /// Its offsets say exactly which records were read, so records and offsets can be one transaction.
    Supported,
    /// A restart may repeat or skip records, e.g. when reading standard input.
    Unsupported,
}

/// One configured source: splits the work into tasks, which do it.
///
/// The worker calls a connector's methods one after the other, never two at once. None of them may
/// block the thread; put blocking work on a thread of its own and await it. A call that does not return
/// harms only this connector: it is shown as unresponsive, and given up when the connector is stopped.
#[async_trait]
pub trait SourceConnector: Send + Sync {
    /// Checks what the configuration's definition cannot, such as whether the outside world is there.
    ///
    /// Called on a fresh connector before it is created, and whenever somebody asks to have a
    /// configuration validated, perhaps without ever starting it; so it must have no side effects.
    /// Types, ranges and cross-field rules of the definition were checked before. Anything returned
    /// keeps the connector from being created and is shown to the user, all at once.
    async fn validate(&self, _config: &ConfigMap) -> Vec<Problem> {
        Vec::new()
    }

    /// Starts the connector: parse the configuration, begin to watch the outside world if the number of
    /// tasks depends on it.
    ///
    /// Called once, before anything but `validate`. A retriable error makes the worker create a fresh
    /// connector and try again with back-off, as a fatal one does; a configuration error waits for a
    /// new configuration. A changed configuration comes as `stop` and a fresh connector.
    async fn start(
        &mut self,
        context: ConnectorContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError>;

    /// One configuration per task, at most `max_tasks` (`tasks.max`, at least 1) of them.
    ///
    /// Called after `start` and after each
    /// [`request_task_reconfiguration`](ConnectorContext::request_task_reconfiguration). The worker
    /// compares the answer with the last one and restarts tasks only if it changed, so the same state
    /// must give the same answer, in the same order. An error fails the connector and leaves running
    /// tasks alone. No configuration is a valid answer: nothing to do now.
    fn task_configs(&self, max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError>;

    /// A fresh task, not started. Called on any worker of a cluster, on a connector that may never be
    /// started there; so all it knows must come from its own configuration.
    fn task(&self) -> Box<dyn SourceTask>;

    /// Stops the connector and whatever it started. Called once, after the last other call, even after
    /// an error; its own error is only logged.
    async fn stop(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }

    /// Whether the source can take part in exactly-once delivery with this configuration.
    fn exactly_once(&self, _config: &ConfigMap) -> ExactlyOnce {
        ExactlyOnce::Unknown
    }

    /// Checks offsets that a user wants to store (`Some`) or remove (`None`), while no task runs.
    ///
    /// Called on a fresh connector that is not started. `Ok(true)` says that they were checked,
    /// `Ok(false)` that the connector has nothing to say. An error refuses the change: a configuration
    /// error says what is wrong with them, best with all of it, one a line; any other that the
    /// connector could not tell. May be called more than once with the same offsets.
    async fn alter_offsets(
        &self,
        _config: &ConfigMap,
        _offsets: &[(SourcePartition, Option<SourceOffset>)],
    ) -> Result<bool, ConnectError> {
        Ok(false)
    }
}

/// Reads part of what a source has to read.
///
/// The worker calls a task's methods one after the other, never two at once: `start`, then `poll` again
/// and again with `commit` in between, then `stop`. It converts and sends the records of a poll in
/// order, and polls again while they are on their way, within a memory limit.
///
/// Nothing is lost as long as two rules are kept: a position covers exactly the records up to the one
/// it is on, and a poll that is dropped loses nothing.
#[async_trait]
pub trait SourceTask: Send {
    /// Starts the task: parse the configuration, ask for the stored offset, open what is to be read.
    ///
    /// Called once. May wait (connect, read offsets) but must not block the thread. Errors: retriable
    /// and fatal ones make a fresh task with back-off, a configuration error waits for a new
    /// configuration. Something that is merely not there yet is better waited for in `poll`, with
    /// [`waiting`](SourceTaskContext::waiting) saying so. If the future is dropped (the worker stops),
    /// `stop` follows.
    async fn start(
        &mut self,
        context: SourceTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError>;

    /// The next records, in order; waits until there are some.
    ///
    /// **Must be cancel-safe:** the worker drops the future to pause, to commit or to stop the task. What was read but
    /// not returned must come with the next poll: keep it in `self`, and move positions only when
    /// returning. Waiting on a channel, a timer or a notification is fine; reading half a message into a
    /// local variable across an `.await` is not.
    ///
    /// Must not block the thread. An empty batch is allowed (the worker polls again at once, so wait
    /// first). Batches of some hundred to some thousand records, or up to about 1 MiB, are best.
    ///
    /// Errors: retriable, the reason is shown and the *same task* is polled again with back-off; record,
    /// the task skipped something it could not read, counted and treated as `errors.tolerance` says (the
    /// next poll must go on behind it); configuration or fatal, the task is stopped, and a fatal one
    /// restarted as a fresh task from the stored offsets.
    async fn poll(&mut self) -> Result<Vec<SourceRecord>, ConnectError>;

    /// These positions are stored: for each source partition the last one, all records up to it being
    /// acknowledged by the broker. Now is the time to delete, acknowledge or forget what was read.
    ///
    /// Called between polls, after offsets were committed; commits may be skipped or repeated after a
    /// crash. Not called with every position. An error is logged and counted, and changes nothing else.
    /// Not dropped except when the worker stops the hard way.
    async fn commit(&mut self, _committed: &[SourcePosition]) -> Result<(), ConnectError> {
        Ok(())
    }

    /// Closes what the task opened. Called once, after the last other call, even after an error; its
    /// own error is only logged. Limited by `task.shutdown.graceful.timeout.ms`.
    async fn stop(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }
}
