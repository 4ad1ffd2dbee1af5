//! Sinks: from topics to the outside world.

use async_trait::async_trait;

use crate::config::{ConfigMap, Problem};
use crate::context::{ConnectorContext, SinkTaskContext};
use crate::error::ConnectError;
use crate::record::{OffsetMap, SinkRecord, TopicPartition};

/// One record of a `put` that the sink refuses.
#[derive(Debug)]
pub struct RecordFailure {
    /// Its index in the batch.
    pub index: usize,
    /// Why.
    pub error: ConnectError,
}

/// What became of the records of a `put`: all accepted, except those listed.
#[derive(Debug, Default)]
#[must_use = "the worker has to learn which records failed"]
pub struct PutOutcome {
    failures: Vec<RecordFailure>,
}

impl PutOutcome {
    /// Every record was accepted.
    pub fn done() -> Self {
        PutOutcome::default()
    }

    /// Every record was accepted, except these.
    pub fn failed(failures: Vec<RecordFailure>) -> Self {
        PutOutcome { failures }
    }

    /// The records that were refused.
    pub fn failures(&self) -> &[RecordFailure] {
        &self.failures
    }

    /// The records that were refused.
    pub fn into_failures(self) -> Vec<RecordFailure> {
        self.failures
    }
}

/// One configured sink: splits the work into tasks, which do it.
///
/// Called as a [`SourceConnector`](crate::SourceConnector) is: one method at a time, none may block the
/// thread.
#[async_trait]
pub trait SinkConnector: Send + Sync {
    /// Checks what the configuration's definition cannot; no side effects. As
    /// [`SourceConnector::validate`](crate::SourceConnector::validate).
    async fn validate(&self, _config: &ConfigMap) -> Vec<Problem> {
        Vec::new()
    }

    /// Starts the connector. As [`SourceConnector::start`](crate::SourceConnector::start).
    async fn start(
        &mut self,
        context: ConnectorContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError>;

    /// One configuration per task, at most `max_tasks`. Partitions are shared out among the tasks by
    /// the consumer group, so most sinks return the same configuration `max_tasks` times. Otherwise as
    /// [`SourceConnector::task_configs`](crate::SourceConnector::task_configs).
    fn task_configs(&self, max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError>;

    /// A fresh task, not started. As [`SourceConnector::task`](crate::SourceConnector::task).
    fn task(&self) -> Box<dyn SinkTask>;

    /// Stops the connector. As [`SourceConnector::stop`](crate::SourceConnector::stop).
    async fn stop(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }

    /// Checks (or applies to the outside world) offsets that a user wants to set (`Some`) or remove
    /// (`None`), while no task runs. `Ok(false)` says that the connector has nothing to say; an error
    /// refuses the change. As [`SourceConnector::alter_offsets`](crate::SourceConnector::alter_offsets).
    async fn alter_offsets(
        &self,
        _config: &ConfigMap,
        _offsets: &[(TopicPartition, Option<i64>)],
    ) -> Result<bool, ConnectError> {
        Ok(false)
    }
}

/// Writes records of some partitions to the outside world.
///
/// The worker calls a task's methods one after the other, never two at once:
/// `start`, then `open` for partitions gained, `put` and `flush` again and again, `flush` and `close` for
/// partitions lost, at last `flush`, `close` for all and `stop`.
///
/// Nothing is lost as long as one rule is kept: an offset that `flush` returns covers only records that
/// are safe out there. After a crash or a rebalance the records behind the last committed offset come
/// again (at least once).
///
/// No call is dropped half-way, except when the worker stops the hard way (a second Ctrl-C, or
/// `task.shutdown.graceful.timeout.ms` is over); then records whose offsets were not returned by a
/// `flush` come again.
#[async_trait]
pub trait SinkTask: Send {
    /// Starts the task: parse the configuration, connect. Called once; may wait but must not block the
    /// thread. Errors: retriable and fatal ones make a fresh task with back-off, a configuration error
    /// waits for a new configuration.
    async fn start(
        &mut self,
        context: SinkTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError>;

    /// These partitions are the task's from now on: those gained, not all it owns. The place to look up
    /// offsets kept in the outside world and [`seek`](SinkTaskContext::seek) to them. Any error fails
    /// the task; it is restarted as for `start`.
    async fn open(&mut self, _partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        Ok(())
    }

    /// Takes a batch of records; per partition they are in order, with ever larger offsets. They need
    /// not be safe when this returns, only when `flush` says so.
    ///
    /// Must not block the thread. May wait for as long as it takes: the worker delivers nothing more
    /// meanwhile, and keeps the partitions assigned. Only if the group rebalances meanwhile, and waits
    /// in vain for `max.poll.interval.ms`, are they lost to others.
    ///
    /// Outcome: records listed as failures are treated as `errors.tolerance` says, all others count as
    /// taken. [`report`](SinkTaskContext::report) does the same for records of earlier puts.
    ///
    /// Errors: retriable says that *nothing* of this batch was taken; the same batch is put again with
    /// back-off, for as long as it takes, with the reason in the task's state. Record says that nothing
    /// of it was taken because the outside world refuses some record, without saying which: with
    /// `errors.tolerance=all` the worker puts ever smaller parts of the batch, in order, until it has
    /// found the bad ones. Configuration or fatal stops the task; a fatal one is restarted and continues
    /// behind the last committed offsets.
    async fn put(&mut self, records: Vec<SinkRecord>) -> Result<PutOutcome, ConnectError>;

    /// Makes everything put so far safe and says which offsets may be committed (Kafka's `preCommit`).
    ///
    /// `offsets` holds for each owned partition the offset behind the last record that was put. Return
    /// it as it is if all is safe; lower offsets, or without some partitions, to hold them back.
    /// Offsets ahead of what was put are ignored. Called at the commit interval, before partitions go
    /// away, and on request; with `offsets` limited to the partitions in question.
    ///
    /// The default says that records are safe as soon as `put` returns.
    ///
    /// Errors: retriable, nothing is committed and `flush` is called again with back-off before any
    /// further `put`; any other class stops the task, and whatever was put since the last commit comes
    /// again to its successor.
    async fn flush(&mut self, offsets: &OffsetMap) -> Result<OffsetMap, ConnectError> {
        Ok(offsets.clone())
    }

    /// These partitions are no longer the task's. `flush` came before, unless they were lost (the task
    /// was out of contact for so long that another may have them already): then drop what is buffered
    /// for them. An error fails the task.
    async fn close(&mut self, _partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        Ok(())
    }

    /// Closes what the task opened. Called once, after the last other call, even after an error; its own
    /// error is only logged.
    async fn stop(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }
}
