//! Contexts without a worker, for connectors' own tests.
//!
//! A [`TestWorker`] makes contexts and remembers what was asked through them:
//!
//! ```
//! # use connect_core::{testing::TestWorker, SourcePartition, SourceOffset};
//! let worker = TestWorker::new("my-connector");
//! let partition = SourcePartition::of(&serde_json::json!({"filename": "a"}))?;
//! worker.store_offset(&partition, &SourceOffset::of(&serde_json::json!({"position": 9}))?);
//! let context = worker.source_context(); // for SourceTask::start
//! context.waiting("file \"a\" does not exist yet");
//! assert_eq!(worker.waiting().as_deref(), Some("file \"a\" does not exist yet"));
//! # Ok::<(), connect_core::ConnectError>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::context::{
    ConnectorContext, ConnectorControl, OffsetReader, SinkControl, SinkTaskContext,
    SourceTaskContext, TaskControl, TaskId,
};
use crate::error::ConnectError;
use crate::position::{SourceOffset, SourcePartition, SourcePosition};
use crate::record::{SinkRecord, TopicPartition};

/// Stands in for a worker: stored offsets in memory, and a record of every request. Clones share it.
#[derive(Clone)]
pub struct TestWorker {
    name: Arc<str>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    offsets: BTreeMap<SourcePartition, SourceOffset>,
    waiting: Option<String>,
    paused: BTreeSet<TopicPartition>,
    assignment: BTreeSet<TopicPartition>,
    seeks: Vec<(TopicPartition, i64)>,
    commit_requests: usize,
    retry_after: Option<Duration>,
    reconfiguration_requests: usize,
    raised: Vec<ConnectError>,
    tolerant: bool,
    reported: Vec<(SinkRecord, ConnectError)>,
}

impl TestWorker {
    /// A worker with one connector of this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        TestWorker {
            name: name.into(),
            state: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn task(&self) -> TaskId {
        TaskId {
            connector: Arc::clone(&self.name),
            task: 0,
        }
    }

    /// A context for `SourceConnector::start` or `SinkConnector::start`.
    pub fn connector_context(&self) -> ConnectorContext {
        ConnectorContext::new(
            Arc::clone(&self.name),
            Arc::new(self.clone()),
            Some(Arc::new(self.clone())),
        )
    }

    /// A context for `SourceTask::start`.
    pub fn source_context(&self) -> SourceTaskContext {
        SourceTaskContext::new(self.task(), Arc::new(self.clone()), Arc::new(self.clone()))
    }

    /// A context for `SinkTask::start`.
    pub fn sink_context(&self) -> SinkTaskContext {
        SinkTaskContext::new(self.task(), Arc::new(self.clone()))
    }

    /// Stores an offset, as if it had been committed before the start.
    pub fn store_offset(&self, partition: &SourcePartition, offset: &SourceOffset) {
        self.state()
            .offsets
            .insert(partition.clone(), offset.clone());
    }

    /// Stores a record's position, as the worker does once the record is safe.
    pub fn store(&self, position: &SourcePosition) {
        self.store_offset(&position.partition, &position.offset);
    }

    /// Sets the partitions that a sink task owns.
    pub fn assign(&self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.state().assignment = partitions.into_iter().collect();
    }

    /// Takes reports of bad records, as with `errors.tolerance=all`; without this they come back as
    /// errors.
    pub fn tolerate(&self) {
        self.state().tolerant = true;
    }

    /// The records that were reported since the last call.
    pub fn take_reported(&self) -> Vec<(SinkRecord, ConnectError)> {
        std::mem::take(&mut self.state().reported)
    }

    /// What the task says it waits for.
    pub fn waiting(&self) -> Option<String> {
        self.state().waiting.clone()
    }

    /// The partitions that are paused.
    pub fn paused(&self) -> BTreeSet<TopicPartition> {
        self.state().paused.clone()
    }

    /// All seeks so far.
    pub fn seeks(&self) -> Vec<(TopicPartition, i64)> {
        self.state().seeks.clone()
    }

    /// How often a commit was requested.
    pub fn commit_requests(&self) -> usize {
        self.state().commit_requests
    }

    /// The last delay that was asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        self.state().retry_after
    }

    /// How often new task configurations were requested.
    pub fn reconfiguration_requests(&self) -> usize {
        self.state().reconfiguration_requests
    }

    /// The errors that the connector raised since the last call.
    pub fn take_raised(&self) -> Vec<ConnectError> {
        std::mem::take(&mut self.state().raised)
    }
}

#[async_trait]
impl OffsetReader for TestWorker {
    async fn offsets(
        &self,
        partitions: &[SourcePartition],
    ) -> Result<Vec<Option<SourceOffset>>, ConnectError> {
        let state = self.state();
        Ok(partitions
            .iter()
            .map(|partition| state.offsets.get(partition).cloned())
            .collect())
    }
}

impl TaskControl for TestWorker {
    fn waiting(&self, reason: String) {
        self.state().waiting = Some(reason);
    }

    fn progress(&self) {
        self.state().waiting = None;
    }
}

impl SinkControl for TestWorker {
    fn pause(&self, partitions: &[TopicPartition]) {
        self.state().paused.extend(partitions.iter().cloned());
    }

    fn resume(&self, partitions: &[TopicPartition]) {
        self.state()
            .paused
            .retain(|partition| !partitions.contains(partition));
    }

    fn seek(&self, partition: &TopicPartition, offset: i64) {
        self.state().seeks.push((partition.clone(), offset));
    }

    fn request_commit(&self) {
        self.state().commit_requests += 1;
    }

    fn retry_after(&self, delay: Duration) {
        self.state().retry_after = Some(delay);
    }

    fn assignment(&self) -> BTreeSet<TopicPartition> {
        self.state().assignment.clone()
    }

    fn report(&self, record: &SinkRecord, error: ConnectError) -> Result<(), ConnectError> {
        let mut state = self.state();
        if !state.tolerant {
            return Err(error);
        }
        state.reported.push((record.clone(), error));
        Ok(())
    }
}

impl ConnectorControl for TestWorker {
    fn request_task_reconfiguration(&self) {
        self.state().reconfiguration_requests += 1;
    }

    fn raise(&self, error: ConnectError) {
        self.state().raised.push(error);
    }
}
