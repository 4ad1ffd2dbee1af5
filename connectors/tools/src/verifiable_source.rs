//! The verifiable source: consecutive numbers, with a line on standard output for each.

use std::sync::Arc;

use connect_core::config::{Config, ConfigMap};
use connect_core::{
    ConnectError, ConnectorContext, ExactlyOnce, Schema, SchemaRef, SourceConnector, SourceOffset,
    SourcePartition, SourcePosition, SourceRecord, SourceTask, SourceTaskContext, Struct, Value,
    async_trait, register_connector,
};
use serde_json::{Value as Json, json};

use crate::json::now_ms;
use crate::lines::Lines;
use crate::offsets::{self, Count};
use crate::throughput::Throughput;

register_connector! {
    /// Kafka's `VerifiableSourceConnector`.
    pub struct VerifiableSourceConnector;
    class = "org.apache.kafka.connect.tools.VerifiableSourceConnector",
    config = VerifiableSourceConfig,
    source = VerifiableSource::default(),
}

/// The keys of the verifiable source.
#[derive(Debug, Clone, Config)]
pub struct VerifiableSourceConfig {
    /// The topic to write to.
    #[config(importance = "high", non_empty)]
    topic: Arc<str>,
    /// Records per second of each task; -1 is as fast as possible, 0 is none.
    #[config(default = -1, range = -1..)]
    throughput: i64,
    /// Whether values are structs of name, task, topic, time_ms and seqno instead of the number alone.
    #[config(default = false, importance = "low")]
    complete_record_data: bool,
}

/// Counts, with as many tasks as there may be.
#[derive(Debug, Default)]
struct VerifiableSource {
    config: ConfigMap,
}

#[async_trait]
impl SourceConnector for VerifiableSource {
    async fn start(
        &mut self,
        _context: ConnectorContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        VerifiableSourceConfig::parse(config)?;
        self.config = config.clone();
        Ok(())
    }

    fn task_configs(&self, max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.config.clone(); max_tasks])
    }

    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(VerifiableSourceTask::new(Lines::stdout()))
    }

    fn exactly_once(&self, _config: &ConfigMap) -> ExactlyOnce {
        ExactlyOnce::Supported
    }

    async fn alter_offsets(
        &self,
        _config: &ConfigMap,
        offsets: &[(SourcePartition, Option<SourceOffset>)],
    ) -> Result<bool, ConnectError> {
        offsets::check(offsets)
    }
}

/// Counts in one source partition.
struct VerifiableSourceTask {
    lines: Lines,
    running: Option<Running>,
}

/// A started task.
struct Running {
    name: String,
    task: u32,
    topic: Arc<str>,
    /// The schema of values that are structs.
    complete: Option<SchemaRef>,
    throughput: Throughput,
    count: Count,
    /// The first number of which it was not said that it is committed.
    uncommitted: u64,
    /// Made and perhaps printed, but not handed over.
    made: Vec<SourceRecord>,
}

impl VerifiableSourceTask {
    fn new(lines: Lines) -> Self {
        Self {
            lines,
            running: None,
        }
    }
}

fn complete_schema() -> SchemaRef {
    Schema::structure()
        .field("name", SchemaRef::STRING)
        .field("task", SchemaRef::INT32)
        .field("topic", SchemaRef::STRING)
        .field("time_ms", SchemaRef::INT64)
        .field("seqno", SchemaRef::INT64)
        .build()
}

fn not_started() -> ConnectError {
    ConnectError::fatal("the task was used before it was started")
}

#[async_trait]
impl SourceTask for VerifiableSourceTask {
    async fn start(
        &mut self,
        context: SourceTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        let config = VerifiableSourceConfig::parse(config)?;
        let count = Count::of(&context).await?;
        self.running = Some(Running {
            name: context.name().to_owned(),
            task: context.task_id(),
            topic: config.topic,
            complete: config.complete_record_data.then(complete_schema),
            throughput: Throughput::new(config.throughput),
            uncommitted: count.next,
            count,
            made: Vec::new(),
        });
        Ok(())
    }

    /// Cancel-safe: what was made is kept until it is returned, and printed once.
    async fn poll(&mut self) -> Result<Vec<SourceRecord>, ConnectError> {
        let running = self.running.as_mut().ok_or_else(not_started)?;
        if running.made.is_empty() {
            let due = running.throughput.due().await;
            running.make(due, &mut self.lines)?;
        }
        self.lines.print().await?;
        Ok(running.hand_over())
    }

    async fn commit(&mut self, committed: &[SourcePosition]) -> Result<(), ConnectError> {
        let running = self.running.as_mut().ok_or_else(not_started)?;
        let Some(last) = running.count.committed(committed) else {
            return Ok(());
        };
        let time_ms = now_ms();
        for seqno in running.uncommitted..=last {
            let mut line = running.line(seqno, time_ms);
            if let Json::Object(fields) = &mut line {
                fields.insert("committed".to_owned(), Json::from(true));
            }
            self.lines.add(&line);
        }
        running.uncommitted = running.uncommitted.max(last.saturating_add(1));
        self.lines.print().await
    }
}

impl Running {
    fn make(&mut self, count: usize, lines: &mut Lines) -> Result<(), ConnectError> {
        let time_ms = now_ms();
        let mut made = Vec::with_capacity(count);
        for seqno in self.count.next..self.count.next.saturating_add(count as u64) {
            made.push(self.record(seqno, time_ms)?);
        }
        for seqno in self.count.next..self.count.next.saturating_add(count as u64) {
            lines.add(&self.line(seqno, time_ms));
        }
        self.made = made;
        Ok(())
    }

    fn record(&self, seqno: u64, time_ms: i64) -> Result<SourceRecord, ConnectError> {
        let number = signed(seqno);
        let (value, schema) = match &self.complete {
            None => (Value::Int64(number), SchemaRef::INT64),
            Some(schema) => {
                let complete = Struct::new(schema.clone())?
                    .with("name", self.name.as_str())?
                    .with("task", task_number(self.task))?
                    .with("topic", &*self.topic)?
                    .with("time_ms", time_ms)?
                    .with("seqno", number)?;
                (complete.into(), schema.clone())
            }
        };
        Ok(SourceRecord::new(Arc::clone(&self.topic), value)
            .with_key(task_number(self.task), Some(SchemaRef::INT32))
            .with_value_schema(schema)
            .at(self.count.at(seqno)?))
    }

    fn line(&self, seqno: u64, time_ms: i64) -> Json {
        json!({
            "name": self.name, "task": self.task, "topic": &*self.topic, "time_ms": time_ms,
            "seqno": seqno,
        })
    }

    fn hand_over(&mut self) -> Vec<SourceRecord> {
        let made = std::mem::take(&mut self.made);
        self.throughput.took(made.len());
        self.count.next = self.count.next.saturating_add(made.len() as u64);
        made
    }
}

/// Connect's numbers are signed; nobody counts so far.
pub(crate) fn signed(seqno: u64) -> i64 {
    i64::try_from(seqno).unwrap_or(i64::MAX)
}

/// Tasks are counted in 32 bits, as in Kafka.
pub(crate) fn task_number(task: u32) -> i32 {
    i32::try_from(task).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::testing::Printed;
    use connect_core::testing::TestWorker;

    async fn started(
        worker: &TestWorker,
        printed: &Printed,
        more: &[(&str, &str)],
    ) -> VerifiableSourceTask {
        let mut config = ConfigMap::from([("topic".to_owned(), "numbers".to_owned())]);
        config.extend(
            more.iter()
                .map(|(key, text)| ((*key).to_owned(), (*text).to_owned())),
        );
        let mut task = VerifiableSourceTask::new(printed.lines());
        task.start(worker.source_context(), &config).await.unwrap();
        task
    }

    fn numbers(printed: &[Json]) -> Vec<i64> {
        printed
            .iter()
            .map(|line| line["seqno"].as_i64().unwrap())
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn every_record_has_a_line_and_another_one_once_it_is_committed() {
        let (worker, printed) = (TestWorker::new("v"), Printed::default());
        let mut task = started(&worker, &printed, &[("throughput", "10")]).await;
        let mut records = Vec::new();
        while records.len() < 3 {
            records.extend(task.poll().await.unwrap());
        }
        let lines = printed.take();
        assert_eq!(
            lines[0],
            json!({"name": "v", "task": 0, "topic": "numbers", "seqno": 0})
        );
        assert_eq!(numbers(&lines), [0, 1, 2]);
        assert_eq!(
            (&records[2].key, &records[2].value),
            (&Value::Int32(0), &Value::Int64(2))
        );
        let position = records[1].position.clone().unwrap();
        assert_eq!(position.partition.to_json(), r#"{"id":0}"#);
        assert_eq!(position.offset.to_json(), r#"{"seqno":1}"#);
        task.commit(std::slice::from_ref(&position)).await.unwrap();
        task.commit(&[position]).await.unwrap();
        let lines = printed.take();
        assert_eq!(numbers(&lines), [0, 1], "each of them once");
        assert!(lines.iter().all(|line| line["committed"] == true));
    }

    #[tokio::test]
    async fn a_restart_goes_on_behind_the_last_number() {
        let (worker, printed) = (TestWorker::new("v"), Printed::default());
        let records = started(&worker, &printed, &[]).await.poll().await.unwrap();
        worker.store(records[6].position.as_ref().unwrap());
        let mut task = started(&worker, &printed, &[]).await;
        assert_eq!(task.poll().await.unwrap()[0].value, Value::Int64(7));
    }

    #[tokio::test]
    async fn complete_values_are_structs_of_what_is_printed() {
        let (worker, printed) = (TestWorker::new("v"), Printed::default());
        let mut task = started(&worker, &printed, &[("complete.record.data", "true")]).await;
        let record = task.poll().await.unwrap().remove(0);
        record
            .value_schema
            .as_ref()
            .unwrap()
            .validate(&record.value)
            .unwrap();
        let mut value = crate::json::of(&record.value);
        value.as_object_mut().unwrap().remove("time_ms");
        assert_eq!(value, printed.take()[0]);
    }

    #[test]
    fn offsets_of_others_are_refused_all_at_once() {
        let of = |partition: &str, offset: &str| {
            (
                SourcePartition::from_json(partition).unwrap(),
                Some(SourceOffset::from_json(offset).unwrap()),
            )
        };
        assert!(offsets::check(&[of(r#"{"id":0}"#, r#"{"seqno":5}"#)]).unwrap());
        let wrong = [
            of(r#"{"file":"x"}"#, r#"{"seqno":5}"#),
            of(r#"{"id":1}"#, r#"{"seqno":-5}"#),
        ];
        let error = offsets::check(&wrong).unwrap_err();
        assert_eq!(error.message().lines().count(), 2, "{error}");
    }
}
