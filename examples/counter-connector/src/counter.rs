//! A source that counts: the smallest one that has work to share out and a place to go on from.

use std::sync::Arc;
use std::time::Duration;

use connect_core::config::{Config, ConfigMap, Problem};
use connect_core::{
    ConnectError, ConnectorContext, SchemaRef, SourceConnector, SourceOffset, SourcePartition,
    SourcePosition, SourceRecord, SourceTask, SourceTaskContext, Str, async_trait,
    register_connector,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

register_connector! {
    /// Found as `org.example.CounterSourceConnector`, `CounterSourceConnector` or `CounterSource`.
    pub struct CounterSourceConnector;
    class = "org.example.CounterSourceConnector",
    config = CounterConfig,
    source = Counter::default(),
}

/// What a user can set. The comments are the documentation that users see.
#[derive(Debug, Config)]
#[config(validate = check)]
pub struct CounterConfig {
    /// The topic to write to.
    #[config(importance = "high", non_empty)]
    topic: Arc<str>,
    /// How many counters there are. They are shared out among the tasks.
    #[config(default = 1, range = 1..=1000)]
    counters: u32,
    /// The first number.
    #[config(default = 1)]
    first: i64,
    /// The last number. Without it the counters go on for ever.
    last: Option<i64>,
    /// The pause after each number, in milliseconds.
    #[config(default = 1000)]
    interval_ms: Duration,
    /// The counters of one task; set by the connector.
    #[config(default = "", importance = "low")]
    task_counters: Vec<u32>,
}

/// A rule across keys; rules for one key are in its attributes.
fn check(config: &CounterConfig, problems: &mut Vec<Problem>) {
    if let Some(last) = config.last.filter(|last| *last < config.first) {
        let first = config.first;
        problems.push(Problem::with_value(
            "last",
            last.to_string(),
            format!("expected at least \"first\", {first}"),
        ));
    }
}

/// What is read: one of the counters.
#[derive(Serialize, Deserialize)]
struct CounterPartition {
    counter: u32,
}

/// How far: the last number that was sent.
#[derive(Serialize, Deserialize)]
struct CounterOffset {
    count: i64,
}

/// Shares the counters out among the tasks.
#[derive(Default)]
struct Counter {
    counters: u32,
    config: ConfigMap,
}

#[async_trait]
impl SourceConnector for Counter {
    async fn start(
        &mut self,
        _context: ConnectorContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        self.counters = CounterConfig::parse(config)?.counters;
        self.config = config.clone();
        Ok(())
    }

    fn task_configs(&self, max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        let all: Vec<String> = (0..self.counters)
            .map(|counter| counter.to_string())
            .collect();
        let share = all.len().div_ceil(max_tasks.max(1)).max(1);
        let configs = all.chunks(share).map(|counters| {
            let mut config = self.config.clone();
            config.insert("task.counters".to_owned(), counters.join(","));
            config
        });
        Ok(configs.collect())
    }

    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(CounterTask::default())
    }
}

/// Counts some of the counters.
#[derive(Default)]
struct CounterTask {
    topic: Arc<str>,
    last: Option<i64>,
    interval: Duration,
    pause_until: Option<Instant>,
    next: Vec<Next>,
}

/// A counter and its next number.
struct Next {
    /// Its name, which is the key of its records.
    counter: Str,
    partition: SourcePartition,
    number: i64,
}

#[async_trait]
impl SourceTask for CounterTask {
    async fn start(
        &mut self,
        context: SourceTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        let config = CounterConfig::parse(config)?;
        for counter in config.task_counters {
            let name = Str::from(counter.to_string());
            let partition = SourcePartition::of(&CounterPartition { counter })?;
            let number = match context.offset(&partition).await? {
                Some(stored) => stored.read::<CounterOffset>()?.count + 1,
                None => config.first,
            };
            self.next.push(Next {
                counter: name,
                partition,
                number,
            });
        }
        (self.topic, self.last, self.interval) = (config.topic, config.last, config.interval_ms);
        Ok(())
    }

    /// One number of each counter. The worker may drop this while it waits, and call it again: so
    /// `self` changes only once there is nothing left to wait for, and the end of the pause is kept
    /// rather than its length, or it would begin anew each time.
    async fn poll(&mut self) -> Result<Vec<SourceRecord>, ConnectError> {
        if let Some(pause_until) = self.pause_until {
            tokio::time::sleep_until(pause_until).await;
        }
        self.next
            .retain(|next| self.last.is_none_or(|last| next.number <= last));
        if self.next.is_empty() {
            // All has been counted; the worker stops the task when it wants to.
            return std::future::pending().await;
        }
        let mut records = Vec::with_capacity(self.next.len());
        for next in &mut self.next {
            let offset = SourceOffset::of(&CounterOffset { count: next.number })?;
            records.push(
                SourceRecord::new(Arc::clone(&self.topic), next.number)
                    .with_key(next.counter.clone(), Some(SchemaRef::STRING))
                    .with_value_schema(SchemaRef::INT64)
                    .at(SourcePosition::new(next.partition.clone(), offset)),
            );
            next.number += 1;
        }
        self.pause_until = Some(Instant::now() + self.interval);
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use connect_core::testing::TestWorker;
    use connect_core::{AnyConnector, Value, plugin};

    use super::*;

    fn config(counters: &str) -> ConfigMap {
        let config = [
            ("topic", "counts"),
            ("last", "3"),
            ("interval.ms", "1"),
            ("task.counters", counters),
        ];
        config
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    async fn start(worker: &TestWorker) -> CounterTask {
        let mut task = CounterTask::default();
        task.start(worker.source_context(), &config("0"))
            .await
            .unwrap();
        task
    }

    #[tokio::test]
    async fn counting_goes_on_behind_the_stored_count() {
        let worker = TestWorker::new("counter");
        let records = start(&worker).await.poll().await.unwrap();
        assert_eq!(records[0].value, Value::Int64(1));
        worker.store(records[0].position.as_ref().unwrap());
        let records = start(&worker).await.poll().await.unwrap();
        assert_eq!(records[0].value, Value::Int64(2));
    }

    #[tokio::test]
    async fn a_dropped_poll_loses_nothing() {
        let mut task = start(&TestWorker::new("counter")).await;
        task.interval = Duration::from_millis(50);
        task.poll().await.unwrap();
        for _ in 0..10 {
            tokio::select! {
                biased;
                _ = task.poll() => panic!("the pause was too short"),
                () = std::future::ready(()) => {}
            }
        }
        assert_eq!(task.poll().await.unwrap()[0].value, Value::Int64(2));
    }

    #[tokio::test]
    async fn counters_are_shared_out() {
        let AnyConnector::Source(mut connector) = plugin::find("CounterSource").unwrap().create()
        else {
            panic!("not a source")
        };
        let mut all = config("");
        all.remove("task.counters");
        all.insert("counters".to_owned(), "5".to_owned());
        connector
            .start(TestWorker::new("counter").connector_context(), &all)
            .await
            .unwrap();
        let shares: Vec<String> = connector
            .task_configs(2)
            .unwrap()
            .into_iter()
            .map(|config| config["task.counters"].clone())
            .collect();
        assert_eq!(shares, ["0,1,2", "3,4"]);
        assert_eq!(connector.task_configs(9).unwrap().len(), 5);
    }

    #[test]
    fn the_last_number_is_not_before_the_first() {
        let mut config = config("0");
        config.insert("last".to_owned(), "0".to_owned());
        let problems = CounterConfig::parse(&config).unwrap_err();
        assert_eq!(
            problems[0].to_string(),
            "\"last\" is \"0\"; expected at least \"first\", 1"
        );
    }
}
