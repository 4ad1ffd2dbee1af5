//! The verifiable sink: a line on standard output for each record, and another one when it is flushed.

use std::collections::VecDeque;

use connect_core::config::{Config, ConfigMap};
use connect_core::{
    ConnectError, ConnectorContext, OffsetMap, PutOutcome, SinkConnector, SinkRecord, SinkTask,
    SinkTaskContext, TopicPartition, async_trait, register_connector,
};
use serde_json::{Map, Value as Json, json};

use crate::json::{self, now_ms};
use crate::lines::Lines;

/// Records that are remembered until they are flushed; with more, a commit is asked for.
const UNFLUSHED_MAX: usize = 10_000;

register_connector! {
    /// Kafka's `VerifiableSinkConnector`.
    pub struct VerifiableSinkConnector;
    class = "org.apache.kafka.connect.tools.VerifiableSinkConnector",
    config = VerifiableSinkConfig,
    sink = VerifiableSink::default(),
}

/// The verifiable sink has no keys of its own.
#[derive(Debug, Clone, Config)]
pub struct VerifiableSinkConfig {}

/// Prints, with as many tasks as there may be.
#[derive(Debug, Default)]
struct VerifiableSink {
    config: ConfigMap,
}

#[async_trait]
impl SinkConnector for VerifiableSink {
    async fn start(
        &mut self,
        _context: ConnectorContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        self.config = config.clone();
        Ok(())
    }

    fn task_configs(&self, max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.config.clone(); max_tasks])
    }

    fn task(&self) -> Box<dyn SinkTask> {
        Box::new(VerifiableSinkTask::new(Lines::stdout()))
    }

    async fn alter_offsets(
        &self,
        _config: &ConfigMap,
        _offsets: &[(TopicPartition, Option<i64>)],
    ) -> Result<bool, ConnectError> {
        // Nothing outside Kafka remembers an offset.
        Ok(true)
    }
}

/// Prints the records of its partitions.
struct VerifiableSinkTask {
    lines: Lines,
    context: Option<SinkTaskContext>,
    unflushed: VecDeque<Unflushed>,
}

/// A record that was printed, but not as flushed.
struct Unflushed {
    partition: TopicPartition,
    offset: i64,
    line: Map<String, Json>,
}

impl VerifiableSinkTask {
    fn new(lines: Lines) -> Self {
        Self {
            lines,
            context: None,
            unflushed: VecDeque::new(),
        }
    }
}

#[async_trait]
impl SinkTask for VerifiableSinkTask {
    async fn start(
        &mut self,
        context: SinkTaskContext,
        _config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        self.context = Some(context);
        Ok(())
    }

    async fn put(&mut self, records: Vec<SinkRecord>) -> Result<PutOutcome, ConnectError> {
        let context = self.context.as_ref();
        let context = context
            .ok_or_else(|| ConnectError::fatal("the task was used before it was started"))?;
        // What a put before could not print; after an error the same records come again.
        self.lines.print().await?;
        let time_ms = now_ms();
        for record in &records {
            let line = json!({
                "name": context.name(), "task": json::of(&record.key),
                "sinkTask": context.task_id(), "topic": &*record.topic, "time_ms": time_ms,
                "seqno": json::of(&record.value), "offset": record.offset,
            });
            self.lines.add(&line);
            let Json::Object(line) = line else { continue };
            let (partition, offset) = record.source();
            self.unflushed.push_back(Unflushed {
                partition,
                offset,
                line,
            });
        }
        if self.unflushed.len() > UNFLUSHED_MAX {
            context.request_commit();
        }
        // Taken all the same if this fails: they are printed with the next put or flush.
        if let Err(error) = self.lines.print().await {
            context.waiting(error.report());
        }
        Ok(PutOutcome::done())
    }

    async fn flush(&mut self, offsets: &OffsetMap) -> Result<OffsetMap, ConnectError> {
        self.lines.print().await?;
        let time_ms = now_ms();
        let is_flushed = |record: &Unflushed| {
            offsets
                .get(&record.partition)
                .is_some_and(|next| record.offset < *next)
        };
        for mut record in std::mem::take(&mut self.unflushed) {
            if is_flushed(&record) {
                record.line.insert("time_ms".to_owned(), time_ms.into());
                record.line.insert("flushed".to_owned(), true.into());
                self.lines.add(&Json::Object(record.line));
            } else {
                self.unflushed.push_back(record);
            }
        }
        self.lines.print().await?;
        Ok(offsets.clone())
    }

    async fn close(&mut self, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        // Whoever has them now prints them.
        self.unflushed
            .retain(|record| !partitions.contains(&record.partition));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::testing::Printed;
    use connect_core::Value;
    use connect_core::testing::TestWorker;

    fn record(partition: i32, offset: i64) -> SinkRecord {
        let mut record = SinkRecord::new("numbers".into(), partition, offset, offset * 10);
        record.key = Value::Int32(3);
        record
    }

    fn offsets_of(lines: &[Json]) -> Vec<i64> {
        lines
            .iter()
            .map(|line| line["offset"].as_i64().unwrap())
            .collect()
    }

    #[tokio::test]
    async fn every_record_has_a_line_and_another_one_once_it_is_flushed() {
        let printed = Printed::default();
        let mut task = VerifiableSinkTask::new(printed.lines());
        let context = TestWorker::new("v").sink_context();
        task.start(context, &ConfigMap::new()).await.unwrap();
        let records = vec![record(0, 5), record(1, 6), record(0, 7)];
        let outcome = task.put(records).await.unwrap();
        assert!(outcome.failures().is_empty());
        let lines = printed.take();
        assert_eq!(
            lines[0],
            json!({
                "name": "v", "task": 3, "sinkTask": 0, "topic": "numbers", "seqno": 50, "offset": 5,
            })
        );
        assert_eq!(offsets_of(&lines), [5, 6, 7]);

        let of = |partition: i32, next: i64| {
            OffsetMap::from([(TopicPartition::new("numbers", partition), next)])
        };
        task.flush(&of(0, 7)).await.unwrap();
        let lines = printed.take();
        assert_eq!(offsets_of(&lines), [5], "only what the offsets cover");
        assert_eq!(lines[0]["flushed"], true);
        task.close(&[TopicPartition::new("numbers", 1)])
            .await
            .unwrap();
        task.flush(&of(0, 8)).await.unwrap();
        assert_eq!(offsets_of(&printed.take()), [7]);
        task.flush(&of(1, 9)).await.unwrap();
        assert!(printed.take().is_empty(), "others have that partition");
    }
}
