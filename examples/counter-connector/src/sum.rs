//! A sink that adds up numbers, each exactly once: it keeps its offsets with its result, and knows
//! what a source sends again after a crash by its key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use connect_core::config::{Config, ConfigMap};
use connect_core::{
    ConnectError, ConnectorContext, OffsetMap, PutOutcome, RecordFailure, SinkConnector,
    SinkRecord, SinkTask, SinkTaskContext, TopicPartition, Value, async_trait, register_connector,
};
use serde::{Deserialize, Serialize};

register_connector! {
    /// Found as `org.example.SumSinkConnector`, `SumSinkConnector` or `SumSink`.
    pub struct SumSinkConnector;
    class = "org.example.SumSinkConnector",
    config = SumConfig,
    sink = Sum::default(),
}

/// What a user can set.
#[derive(Debug, Config)]
pub struct SumConfig {
    /// The file that holds the sum, and which records are in it.
    #[config(importance = "high", non_empty)]
    file: PathBuf,
}

/// There is one sum, so there is one task.
#[derive(Default)]
struct Sum {
    config: ConfigMap,
}

#[async_trait]
impl SinkConnector for Sum {
    async fn start(
        &mut self,
        _context: ConnectorContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        SumConfig::parse(config)?;
        self.config = config.clone();
        Ok(())
    }

    fn task_configs(&self, _max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.config.clone()])
    }

    fn task(&self) -> Box<dyn SinkTask> {
        Box::new(SumTask {
            context: None,
            file: PathBuf::new(),
            state: State::default(),
        })
    }
}

/// What is in the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// The sum of all numbers so far.
    sum: i64,
    /// For each partition the offset of the first record that is not in the sum.
    next: BTreeMap<String, i64>,
    /// For each key the last number that is in the sum. The numbers of a key grow, so one that does
    /// not was sent again by its source.
    #[serde(default)]
    last: BTreeMap<String, i64>,
}

impl State {
    /// Adds a number; `None` if it cannot be.
    fn add(&mut self, key: Option<&str>, number: i64) -> Option<()> {
        if let Some(key) = key {
            if self.last.get(key).is_some_and(|last| number <= *last) {
                return Some(());
            }
            self.last.insert(key.to_owned(), number);
        }
        self.sum = self.sum.checked_add(number)?;
        Some(())
    }
}

struct SumTask {
    context: Option<SinkTaskContext>,
    file: PathBuf,
    state: State,
}

#[async_trait]
impl SinkTask for SumTask {
    async fn start(
        &mut self,
        context: SinkTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        self.file = SumConfig::parse(config)?.file;
        let file = self.file.clone();
        self.state = blocking(move || read(&file)).await?;
        self.context = Some(context);
        Ok(())
    }

    /// Goes on behind what is in the sum, whatever the consumer group has committed.
    async fn open(&mut self, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        for partition in partitions {
            if let (Some(context), Some(next)) =
                (&self.context, self.state.next.get(&partition.to_string()))
            {
                context.seek(partition, *next);
            }
        }
        Ok(())
    }

    async fn put(&mut self, records: Vec<SinkRecord>) -> Result<PutOutcome, ConnectError> {
        let mut failures = Vec::new();
        for (index, record) in records.iter().enumerate() {
            let (partition, offset) = record.source();
            let next = self.state.next.entry(partition.to_string()).or_default();
            if offset < *next {
                continue;
            }
            *next = offset + 1;
            let key = record.key.as_str();
            if number(&record.value)
                .and_then(|number| self.state.add(key, number))
                .is_none()
            {
                let error = ConnectError::record(format!("\"{}\" cannot be added", record.value));
                failures.push(RecordFailure { index, error });
            }
        }
        Ok(PutOutcome::failed(failures))
    }

    /// Only what is in the file may be committed.
    async fn flush(&mut self, offsets: &OffsetMap) -> Result<OffsetMap, ConnectError> {
        let (file, state) = (self.file.clone(), self.state.clone());
        blocking(move || write(&file, &state)).await?;
        Ok(offsets.clone())
    }
}

/// Integers as they are, and text that is one.
fn number(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_str()?.trim().parse().ok())
}

fn read(file: &Path) -> Result<State, ConnectError> {
    match std::fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| {
            let file = file.display();
            ConnectError::fatal(format!(
                "\"{file}\" is not a file of this sink; delete it to start from nothing"
            ))
            .with_source(error)
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
        Err(error) => Err(error.into()),
    }
}

/// Replaces the file as a whole, so that sum and offsets always belong together.
fn write(file: &Path, state: &State) -> Result<(), ConnectError> {
    let text = serde_json::to_vec(state)
        .map_err(|error| ConnectError::fatal("cannot write the sum").with_source(error))?;
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    std::fs::write(&new, text)?;
    std::fs::File::open(&new)?.sync_all()?;
    Ok(std::fs::rename(&new, file)?)
}

/// Files block, so they have no place on the thread that runs the task.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ConnectError> + Send + 'static,
) -> Result<T, ConnectError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(ConnectError::fatal("working with the file failed unexpectedly").with_source(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use connect_core::testing::TestWorker;

    use super::*;

    async fn start(worker: &TestWorker, file: &Path) -> SumTask {
        let config = ConfigMap::from([("file".to_owned(), file.to_str().unwrap().to_owned())]);
        let mut task = SumTask {
            context: None,
            file: PathBuf::new(),
            state: State::default(),
        };
        task.start(worker.sink_context(), &config).await.unwrap();
        task
    }

    fn record(offset: i64, value: impl Into<Value>) -> SinkRecord {
        SinkRecord::new("counts".into(), 0, offset, value)
    }

    #[tokio::test]
    async fn every_record_counts_once_although_it_comes_twice() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sum.json");
        let worker = TestWorker::new("sum");
        let mut task = start(&worker, &file).await;
        assert!(
            task.put(vec![record(0, 1i64), record(1, "2")])
                .await
                .unwrap()
                .failures()
                .is_empty()
        );
        task.flush(&OffsetMap::new()).await.unwrap();

        let mut task = start(&worker, &file).await;
        let partition = TopicPartition::new("counts", 0);
        task.open(std::slice::from_ref(&partition)).await.unwrap();
        assert_eq!(worker.seeks(), [(partition, 2)]);
        assert!(
            task.put(vec![record(1, "2"), record(2, 4i64)])
                .await
                .unwrap()
                .failures()
                .is_empty()
        );
        assert_eq!(task.state.sum, 7);
    }

    #[tokio::test]
    async fn what_a_source_sends_again_after_a_crash_is_known_by_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let mut task = start(&TestWorker::new("sum"), &folder.path().join("sum.json")).await;
        let numbers = [
            ("a", 1i64),
            ("b", 1),
            ("a", 2),
            ("a", 1),
            ("a", 2),
            ("a", 3),
        ];
        let records = numbers.iter().enumerate().map(|(offset, (key, number))| {
            let mut record = record(i64::try_from(offset).unwrap(), *number);
            record.key = (*key).to_owned().into();
            record
        });
        let outcome = task.put(records.collect()).await.unwrap();
        assert!(outcome.failures().is_empty());
        assert_eq!(task.state.sum, 7);
    }

    #[tokio::test]
    async fn a_value_that_is_no_number_is_refused_and_the_others_count() {
        let folder = tempfile::tempdir().unwrap();
        let mut task = start(&TestWorker::new("sum"), &folder.path().join("sum.json")).await;
        let outcome = task
            .put(vec![record(0, "one"), record(1, 2i64)])
            .await
            .unwrap();
        assert_eq!(outcome.failures().len(), 1);
        assert_eq!(outcome.failures()[0].index, 0);
        assert_eq!(task.state.sum, 2);
    }
}
