//! The schema source: a given number of structs, every other one of a second version of their schema if
//! wanted.

use std::sync::Arc;

use connect_core::config::{Config, ConfigMap};
use connect_core::{
    ConnectError, ConnectorContext, ExactlyOnce, Schema, SchemaRef, SourceConnector, SourceOffset,
    SourcePartition, SourceRecord, SourceTask, SourceTaskContext, Struct, Type, async_trait,
    register_connector,
};
use serde_json::json;

use crate::lines::Lines;
use crate::offsets::{self, Count};
use crate::throughput::Throughput;
use crate::verifiable_source::{signed, task_number};

register_connector! {
    /// Kafka's `SchemaSourceConnector`.
    pub struct SchemaSourceConnector;
    class = "org.apache.kafka.connect.tools.SchemaSourceConnector",
    config = SchemaSourceConfig,
    source = SchemaSource::default(),
}

/// The keys of the schema source.
#[derive(Debug, Clone, Config)]
pub struct SchemaSourceConfig {
    /// The topic to write to; task n writes to its partition n.
    #[config(importance = "high", non_empty)]
    topic: Arc<str>,
    /// How many records each task writes, over all its restarts; -1 is without end.
    #[config(default = -1, range = -1..)]
    num_messages: i64,
    /// Records per second of each task; -1 is as fast as possible, 0 is none.
    #[config(default = -1, range = -1..)]
    throughput: i64,
    /// Whether every other record has a second version of the schema, with a field "string".
    #[config(default = false)]
    multiple_schema: bool,
    /// The field "partitioning" counts from 0 to one less than this, again and again.
    #[config(default = 1, range = 1..=2147483647)]
    partition_count: i32,
}

/// Writes structs, with as many tasks as there may be.
#[derive(Debug, Default)]
struct SchemaSource {
    config: ConfigMap,
}

#[async_trait]
impl SourceConnector for SchemaSource {
    async fn start(
        &mut self,
        _context: ConnectorContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        SchemaSourceConfig::parse(config)?;
        self.config = config.clone();
        Ok(())
    }

    fn task_configs(&self, max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.config.clone(); max_tasks])
    }

    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(SchemaSourceTask::new(Lines::stdout()))
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

/// Writes structs.
struct SchemaSourceTask {
    lines: Lines,
    running: Option<Running>,
}

/// A started task.
struct Running {
    context: SourceTaskContext,
    config: SchemaSourceConfig,
    schemas: [SchemaRef; 2],
    throughput: Throughput,
    count: Count,
    /// Made and perhaps printed, but not handed over.
    made: Vec<SourceRecord>,
}

impl SchemaSourceTask {
    fn new(lines: Lines) -> Self {
        Self {
            lines,
            running: None,
        }
    }
}

/// Kafka's two versions of the schema.
fn schema(version: i32) -> SchemaRef {
    let mut builder = Schema::structure()
        .name("record")
        .version(version)
        .field("boolean", SchemaRef::BOOLEAN)
        .field("int", SchemaRef::INT32)
        .field("long", SchemaRef::INT64)
        .field("float", SchemaRef::FLOAT32)
        .field("double", SchemaRef::FLOAT64)
        .field("partitioning", SchemaRef::INT32);
    if version == 2 {
        let text = Schema::builder(Type::String).default_value("abc").build();
        builder = builder.field("string", text);
    }
    builder
        .field("id", SchemaRef::INT32)
        .field("seqno", SchemaRef::INT64)
        .build()
}

#[async_trait]
impl SourceTask for SchemaSourceTask {
    async fn start(
        &mut self,
        context: SourceTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        let config = SchemaSourceConfig::parse(config)?;
        self.running = Some(Running {
            schemas: [schema(1), schema(2)],
            throughput: Throughput::new(config.throughput),
            count: Count::of(&context).await?,
            context,
            config,
            made: Vec::new(),
        });
        Ok(())
    }

    /// Cancel-safe: what was made is kept until it is returned, and printed once.
    async fn poll(&mut self) -> Result<Vec<SourceRecord>, ConnectError> {
        let running = self.running.as_mut();
        let running = running
            .ok_or_else(|| ConnectError::fatal("the task was polled before it was started"))?;
        if running.made.is_empty() {
            let Some(left) = running.left() else {
                let all = running.config.num_messages;
                running
                    .context
                    .waiting(format!("all {all} records (num.messages) are written"));
                return std::future::pending().await;
            };
            let due = running.throughput.due().await as u64;
            running.make(due.min(left), &mut self.lines)?;
        }
        self.lines.print().await?;
        Ok(running.hand_over())
    }
}

impl Running {
    /// How many records are still to come; `None` if it is at the end.
    fn left(&self) -> Option<u64> {
        let Ok(all) = u64::try_from(self.config.num_messages) else {
            return Some(u64::MAX);
        };
        all.checked_sub(self.count.next).filter(|left| *left > 0)
    }

    fn make(&mut self, count: u64, lines: &mut Lines) -> Result<(), ConnectError> {
        let numbers = self.count.next..self.count.next.saturating_add(count);
        let made: Result<Vec<_>, _> = numbers.clone().map(|seqno| self.record(seqno)).collect();
        self.made = made?;
        for seqno in numbers {
            lines.add(&json!({"task": self.context.task_id(), "seqno": seqno}));
        }
        Ok(())
    }

    fn record(&self, seqno: u64) -> Result<SourceRecord, ConnectError> {
        let [first, second] = &self.schemas;
        let is_second = self.config.multiple_schema && seqno % 2 == 1;
        let schema = if is_second { second } else { first };
        let id = task_number(self.context.task_id());
        let count = u64::from(self.config.partition_count.unsigned_abs().max(1));
        let partitioning = i32::try_from(seqno % count).unwrap_or(0);
        let mut value = Struct::new(schema.clone())?
            .with("boolean", true)?
            .with("int", 12)?
            .with("long", 12_i64)?
            .with("float", 12.2_f32)?
            .with("double", 12.2)?
            .with("partitioning", partitioning)?
            .with("id", id)?
            .with("seqno", signed(seqno))?;
        if is_second {
            value.put("string", "def")?;
        }
        let mut record = SourceRecord::new(Arc::clone(&self.config.topic), value)
            .with_key("key", Some(SchemaRef::STRING))
            .with_value_schema(schema.clone())
            .at(self.count.at(seqno)?);
        record.partition = Some(id);
        Ok(record)
    }

    fn hand_over(&mut self) -> Vec<SourceRecord> {
        let made = std::mem::take(&mut self.made);
        self.throughput.took(made.len());
        self.count.next = self.count.next.saturating_add(made.len() as u64);
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::testing::Printed;
    use connect_core::testing::TestWorker;
    use std::time::Duration;

    async fn started(worker: &TestWorker, printed: &Printed) -> SchemaSourceTask {
        let config = [
            ("topic", "structs"),
            ("num.messages", "5"),
            ("multiple.schema", "true"),
            ("partition.count", "3"),
        ];
        let config = config.map(|(key, text)| (key.to_owned(), text.to_owned()));
        let mut task = SchemaSourceTask::new(printed.lines());
        task.start(worker.source_context(), &config.into())
            .await
            .unwrap();
        task
    }

    #[tokio::test(start_paused = true)]
    async fn it_writes_structs_of_both_schemas_and_then_waits() {
        let (worker, printed) = (TestWorker::new("s"), Printed::default());
        let mut task = started(&worker, &printed).await;
        let records = task.poll().await.unwrap();
        let versions: Vec<_> = records
            .iter()
            .map(|record| record.value_schema.as_ref().unwrap().version().unwrap())
            .collect();
        assert_eq!(versions, [1, 2, 1, 2, 1]);
        for record in &records {
            record
                .value_schema
                .as_ref()
                .unwrap()
                .validate(&record.value)
                .unwrap();
        }
        let value = records[4].value.as_struct().unwrap();
        assert_eq!(value.get("partitioning").unwrap().as_i64(), Some(1));
        assert_eq!(records[4].partition, Some(0));
        assert_eq!(printed.take()[4], json!({"task": 0, "seqno": 4}));
        let more = tokio::time::timeout(Duration::from_secs(60), task.poll()).await;
        assert!(more.is_err());
        assert_eq!(
            worker.waiting().unwrap(),
            "all 5 records (num.messages) are written"
        );
    }

    #[tokio::test]
    async fn a_restart_writes_the_very_records_that_are_missing() {
        let (worker, printed) = (TestWorker::new("s"), Printed::default());
        let all = started(&worker, &printed).await.poll().await.unwrap();
        worker.store(all[2].position.as_ref().unwrap());
        let rest = started(&worker, &printed).await.poll().await.unwrap();
        assert_eq!(rest, all[3..]);
    }
}
