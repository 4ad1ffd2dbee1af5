//! Connectors that fail after a while, to see what becomes of it: Kafka's mock source and mock sink.
//!
//! The sink's task fails with the first records that come after the delay.

use std::time::Duration;

use connect_core::config::{Config, ConfigChoice, ConfigMap};
use connect_core::{
    ConnectError, ConnectorContext, PutOutcome, SinkConnector, SinkRecord, SinkTask,
    SinkTaskContext, SourceConnector, SourceRecord, SourceTask, SourceTaskContext, async_trait,
    register_connector,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

register_connector! {
    /// Kafka's `MockSourceConnector`.
    pub struct MockSourceConnector;
    class = "org.apache.kafka.connect.tools.MockSourceConnector",
    config = MockConfig,
    source = Mock::default(),
}

register_connector! {
    /// Kafka's `MockSinkConnector`.
    pub struct MockSinkConnector;
    class = "org.apache.kafka.connect.tools.MockSinkConnector",
    config = MockConfig,
    sink = Mock::default(),
}

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ConfigChoice)]
pub enum MockMode {
    /// The connector itself.
    #[config(name = "connector-failure")]
    Connector,
    /// Its task.
    #[config(name = "task-failure")]
    Task,
}

/// The keys of the mock connectors.
#[derive(Debug, Clone, Config)]
pub struct MockConfig {
    /// What fails: "connector-failure" or "task-failure"; nothing if absent.
    #[config(key = "mock_mode", importance = "high")]
    mode: Option<MockMode>,
    /// How long after its start it fails, in milliseconds.
    #[config(key = "delay_ms", default = 15000, range = 0..=86400000)]
    delay: Duration,
}

impl MockConfig {
    /// When something that starts now fails in this mode.
    fn failure(&self, mode: MockMode) -> Option<Duration> {
        (self.mode == Some(mode)).then_some(self.delay)
    }
}

fn failed(what: &str) -> ConnectError {
    ConnectError::fatal(format!(
        "the mock {what} fails, as mock_mode and delay_ms ask for"
    ))
}

/// Fails, or has a task that does.
#[derive(Debug, Default)]
struct Mock {
    config: ConfigMap,
    failing: Option<JoinHandle<()>>,
}

impl Mock {
    fn begin(&mut self, context: ConnectorContext, config: &ConfigMap) -> Result<(), ConnectError> {
        let parsed = MockConfig::parse(config)?;
        self.config = config.clone();
        self.failing = parsed.failure(MockMode::Connector).map(|delay| {
            tokio::spawn(async move {
                sleep(delay).await;
                context.raise(failed("connector"));
            })
        });
        Ok(())
    }

    fn end(&mut self) {
        if let Some(failing) = self.failing.take() {
            failing.abort();
        }
    }
}

#[async_trait]
impl SourceConnector for Mock {
    async fn start(
        &mut self,
        context: ConnectorContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        self.begin(context, config)
    }

    fn task_configs(&self, _max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.config.clone()])
    }

    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(MockTask::default())
    }

    async fn stop(&mut self) -> Result<(), ConnectError> {
        self.end();
        Ok(())
    }
}

#[async_trait]
impl SinkConnector for Mock {
    async fn start(
        &mut self,
        context: ConnectorContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        self.begin(context, config)
    }

    fn task_configs(&self, _max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.config.clone()])
    }

    fn task(&self) -> Box<dyn SinkTask> {
        Box::new(MockTask::default())
    }

    async fn stop(&mut self) -> Result<(), ConnectError> {
        self.end();
        Ok(())
    }
}

/// Does nothing until it fails.
#[derive(Debug, Default)]
struct MockTask {
    fails_at: Option<Instant>,
}

impl MockTask {
    fn begin(&mut self, config: &ConfigMap) -> Result<(), ConnectError> {
        let delay = MockConfig::parse(config)?.failure(MockMode::Task);
        self.fails_at = delay.map(|delay| Instant::now() + delay);
        Ok(())
    }
}

#[async_trait]
impl SourceTask for MockTask {
    async fn start(
        &mut self,
        _context: SourceTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        self.begin(config)
    }

    async fn poll(&mut self) -> Result<Vec<SourceRecord>, ConnectError> {
        match self.fails_at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
        Err(failed("task"))
    }
}

#[async_trait]
impl SinkTask for MockTask {
    async fn start(
        &mut self,
        _context: SinkTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        self.begin(config)
    }

    async fn put(&mut self, _records: Vec<SinkRecord>) -> Result<PutOutcome, ConnectError> {
        match self.fails_at.is_some_and(|at| Instant::now() >= at) {
            true => Err(failed("task")),
            false => Ok(PutOutcome::done()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connect_core::testing::TestWorker;

    fn config(mode: &str) -> ConfigMap {
        [("mock_mode", mode), ("delay_ms", "500")]
            .map(|(key, text)| (key.to_owned(), text.to_owned()))
            .into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connector_fails_after_the_delay_unless_it_is_stopped() {
        let worker = TestWorker::new("mock");
        let mut mock = Mock::default();
        let context = worker.connector_context();
        SourceConnector::start(&mut mock, context.clone(), &config("connector-failure"))
            .await
            .unwrap();
        sleep(Duration::from_millis(400)).await;
        assert!(worker.take_raised().is_empty());
        sleep(Duration::from_millis(200)).await;
        assert_eq!(worker.take_raised().len(), 1);
        SinkConnector::start(&mut mock, context, &config("connector-failure"))
            .await
            .unwrap();
        SinkConnector::stop(&mut mock).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert!(worker.take_raised().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_fails_after_the_delay() {
        let worker = TestWorker::new("mock");
        let mut source = MockTask::default();
        SourceTask::start(
            &mut source,
            worker.source_context(),
            &config("task-failure"),
        )
        .await
        .unwrap();
        let begun = Instant::now();
        let error = source.poll().await.unwrap_err();
        assert!(begun.elapsed() >= Duration::from_millis(500) && !error.is_retriable());
        let mut sink = MockTask::default();
        SinkTask::start(&mut sink, worker.sink_context(), &config("task-failure"))
            .await
            .unwrap();
        assert!(sink.put(Vec::new()).await.is_ok());
        sleep(Duration::from_millis(600)).await;
        assert!(sink.put(Vec::new()).await.is_err());
    }

    #[test]
    fn an_unknown_mode_and_a_wrong_delay_are_both_told() {
        let mut wrong = config("sometimes");
        wrong.insert("delay_ms".to_owned(), "-1".to_owned());
        assert_eq!(MockConfig::parse(&wrong).unwrap_err().len(), 2);
    }
}
