//! What a worker gives to connectors and tasks: the contexts, and the traits behind them.
//!
//! Authors use [`ConnectorContext`], [`SourceTaskContext`] and [`SinkTaskContext`]. The traits are what
//! a worker (or [`testing`](crate::testing)) implements to make them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::ConnectError;
use crate::position::{SourceOffset, SourcePartition};
use crate::record::{SinkRecord, TopicPartition};

/// Which task this is: the connector's name and the task's number, from 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    /// The connector's name.
    pub connector: Arc<str>,
    /// The task's number within the connector.
    pub task: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.connector, self.task)
    }
}

/// Reads stored source offsets; the worker's side.
#[async_trait]
pub trait OffsetReader: Send + Sync {
    /// The stored offset of each partition, in the order asked; `None` where nothing is stored.
    async fn offsets(
        &self,
        partitions: &[SourcePartition],
    ) -> Result<Vec<Option<SourceOffset>>, ConnectError>;
}

/// What any task may tell its worker; the worker's side. No method may block.
pub trait TaskControl: Send + Sync {
    /// The task makes no progress for this reason; shown in its state until `progress`.
    fn waiting(&self, reason: String);
    /// The task makes progress again. Called often, so cheap if nothing changes.
    fn progress(&self);
}

/// What a sink task may ask of its worker; the worker's side. No method may block.
pub trait SinkControl: TaskControl {
    /// Stop delivering records of these partitions.
    fn pause(&self, partitions: &[TopicPartition]);
    /// Deliver them again.
    fn resume(&self, partitions: &[TopicPartition]);
    /// Deliver this partition from `offset` on, next time.
    fn seek(&self, partition: &TopicPartition, offset: i64);
    /// Flush and commit as soon as possible instead of at the next interval.
    fn request_commit(&self);
    /// After the next retriable error wait this long instead of the worker's back-off.
    fn retry_after(&self, delay: Duration);
    /// The partitions the task owns now.
    fn assignment(&self) -> BTreeSet<TopicPartition>;
    /// Treat this record as `errors.tolerance` says; the error comes back if that is to fail the task.
    fn report(&self, record: &SinkRecord, error: ConnectError) -> Result<(), ConnectError>;
}

/// What a connector may ask of its worker; the worker's side. No method may block.
pub trait ConnectorControl: Send + Sync {
    /// Ask the connector for its task configurations again.
    fn request_task_reconfiguration(&self);
    /// Fail the connector with this error.
    fn raise(&self, error: ConnectError);
}

/// What a connector (not its tasks) can ask of the worker; cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct ConnectorContext {
    name: Arc<str>,
    control: Arc<dyn ConnectorControl>,
    offsets: Option<Arc<dyn OffsetReader>>,
}

impl ConnectorContext {
    /// Made by the worker; `offsets` is there for source connectors.
    pub fn new(
        name: impl Into<Arc<str>>,
        control: Arc<dyn ConnectorControl>,
        offsets: Option<Arc<dyn OffsetReader>>,
    ) -> Self {
        ConnectorContext {
            name: name.into(),
            control,
            offsets,
        }
    }

    /// The connector's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says that `task_configs` would answer differently now; the worker will call it soon and restart
    /// the tasks if that is so. Returns at once.
    pub fn request_task_reconfiguration(&self) {
        self.control.request_task_reconfiguration();
    }

    /// Fails the connector; for errors found outside the worker's calls, in a task of its own.
    pub fn raise(&self, error: ConnectError) {
        self.control.raise(error);
    }

    /// The stored offset of a source partition; always `None` for sink connectors.
    ///
    /// # Errors
    /// Retriable, while offsets cannot be read.
    pub async fn offset(
        &self,
        partition: &SourcePartition,
    ) -> Result<Option<SourceOffset>, ConnectError> {
        match &self.offsets {
            Some(reader) => one(reader.as_ref(), partition).await,
            None => Ok(None),
        }
    }
}

/// What a source task can ask of the worker; cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct SourceTaskContext {
    id: TaskId,
    control: Arc<dyn TaskControl>,
    offsets: Arc<dyn OffsetReader>,
}

impl SourceTaskContext {
    /// Made by the worker.
    pub fn new(id: TaskId, control: Arc<dyn TaskControl>, offsets: Arc<dyn OffsetReader>) -> Self {
        SourceTaskContext {
            id,
            control,
            offsets,
        }
    }

    /// Connector and number of the task.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// The connector's name.
    pub fn name(&self) -> &str {
        &self.id.connector
    }

    /// The task's number, from 0.
    pub fn task_id(&self) -> u32 {
        self.id.task
    }

    /// The stored offset of a partition; `None` if it was never read. Meant for `start`; later it may
    /// lag behind what was returned from `poll`.
    ///
    /// # Errors
    /// Retriable, while offsets cannot be read.
    pub async fn offset(
        &self,
        partition: &SourcePartition,
    ) -> Result<Option<SourceOffset>, ConnectError> {
        one(self.offsets.as_ref(), partition).await
    }

    /// The stored offsets of many partitions in one go, in the order asked.
    ///
    /// # Errors
    /// Retriable, while offsets cannot be read.
    pub async fn offsets(
        &self,
        partitions: &[SourcePartition],
    ) -> Result<Vec<Option<SourceOffset>>, ConnectError> {
        self.offsets.offsets(partitions).await
    }

    /// Says what the task is waiting for (`file "x" does not exist yet`), shown in its state until
    /// [`progress`](Self::progress) or the next record.
    pub fn waiting(&self, reason: impl Into<String>) {
        self.control.waiting(reason.into());
    }

    /// Says that the wait is over.
    pub fn progress(&self) {
        self.control.progress();
    }
}

/// What a sink task can ask of the worker; cheap to clone, usable from any thread.
///
/// Requests take effect between two calls of the task, never during one.
#[derive(Clone)]
pub struct SinkTaskContext {
    id: TaskId,
    control: Arc<dyn SinkControl>,
}

impl SinkTaskContext {
    /// Made by the worker.
    pub fn new(id: TaskId, control: Arc<dyn SinkControl>) -> Self {
        SinkTaskContext { id, control }
    }

    /// Connector and number of the task.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// The connector's name.
    pub fn name(&self) -> &str {
        &self.id.connector
    }

    /// The task's number, from 0.
    pub fn task_id(&self) -> u32 {
        self.id.task
    }

    /// Stops delivery of these partitions until [`resume`](Self::resume); `put` still comes for others.
    pub fn pause(&self, partitions: &[TopicPartition]) {
        self.control.pause(partitions);
    }

    /// Delivers these partitions again.
    pub fn resume(&self, partitions: &[TopicPartition]) {
        self.control.resume(partitions);
    }

    /// Delivers a partition from `offset` on, forward or backward; for sinks that keep their own
    /// offsets. Ask for it in `open` or `put`; partitions that the task does not own are ignored.
    pub fn seek(&self, partition: &TopicPartition, offset: i64) {
        self.control.seek(partition, offset);
    }

    /// Asks for `flush` and a commit now rather than at the next interval.
    pub fn request_commit(&self) {
        self.control.request_commit();
    }

    /// Sets how long the worker waits after the retriable error that the task is about to return.
    pub fn retry_after(&self, delay: Duration) {
        self.control.retry_after(delay);
    }

    /// Reports a record that cannot be written, as Kafka's `ErrantRecordReporter` (KIP-610): also one
    /// that an earlier `put` has taken. With `errors.tolerance=all` it goes to the dead letter queue, if
    /// there is one, as it was read; the task goes on without it. Report it before `flush` returns an
    /// offset that covers it: the worker commits nothing before what was reported is safe.
    ///
    /// ```
    /// # use connect_core::{ConnectError, SinkRecord, SinkTaskContext};
    /// # fn write(_: &SinkRecord) -> Result<(), ConnectError> { Ok(()) }
    /// # fn put(context: &SinkTaskContext, records: &[SinkRecord]) -> Result<(), ConnectError> {
    /// for record in records {
    ///     if let Err(error) = write(record) {
    ///         context.report(record, error)?;
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `error` itself, if bad records are to fail the task, or if it says nothing about the record;
    /// return it.
    pub fn report(&self, record: &SinkRecord, error: ConnectError) -> Result<(), ConnectError> {
        self.control.report(record, error)
    }

    /// The partitions the task owns now.
    pub fn assignment(&self) -> BTreeSet<TopicPartition> {
        self.control.assignment()
    }

    /// Says what the task is waiting for, shown in its state until [`progress`](Self::progress) or the
    /// next successful `put`.
    pub fn waiting(&self, reason: impl Into<String>) {
        self.control.waiting(reason.into());
    }

    /// Says that the wait is over.
    pub fn progress(&self) {
        self.control.progress();
    }
}

async fn one(
    reader: &dyn OffsetReader,
    partition: &SourcePartition,
) -> Result<Option<SourceOffset>, ConnectError> {
    let found = reader.offsets(std::slice::from_ref(partition)).await?;
    Ok(found.into_iter().next().flatten())
}
