//! The file sink: every record's value becomes a line of a file.

use std::fmt::Arguments;
use std::io::Write;
use std::path::PathBuf;

use connect_core::config::{Config, ConfigMap};
use connect_core::{
    ConnectError, ConnectorContext, OffsetMap, PutOutcome, SinkConnector, SinkRecord, SinkTask,
    SinkTaskContext, TopicPartition, Value, async_trait, register_connector,
};

use crate::append::Appender;
use crate::write_behind::WriteBehind;

register_connector! {
    /// Kafka's `FileStreamSinkConnector`.
    pub struct FileStreamSinkConnector;
    class = "org.apache.kafka.connect.file.FileStreamSinkConnector",
    config = FileSinkConfig,
    sink = FileSink::default(),
}

/// The keys of the file sink.
#[derive(Debug, Clone, Config)]
pub struct FileSinkConfig {
    /// The file to append to; created if it does not exist, in a directory that does. Standard output if
    /// absent.
    #[config(importance = "high", non_empty)]
    file: Option<PathBuf>,
}

/// Appends to one file, with as many tasks as there may be.
#[derive(Debug, Default)]
struct FileSink {
    config: ConfigMap,
}

#[async_trait]
impl SinkConnector for FileSink {
    async fn start(
        &mut self,
        _context: ConnectorContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        FileSinkConfig::parse(config)?;
        self.config = config.clone();
        Ok(())
    }

    fn task_configs(&self, max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.config.clone(); max_tasks])
    }

    fn task(&self) -> Box<dyn SinkTask> {
        Box::new(FileSinkTask { output: None })
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

/// Appends to one file.
struct FileSinkTask {
    output: Option<WriteBehind>,
}

#[async_trait]
impl SinkTask for FileSinkTask {
    async fn start(
        &mut self,
        context: SinkTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        let config = FileSinkConfig::parse(config)?;
        let mut output = WriteBehind::new(Appender::new(config.file));
        match output.open().await {
            // Nothing to write yet; a put will try again.
            Err(error) if error.is_retriable() => context.waiting(error.message()),
            opened => opened?,
        }
        self.output = Some(output);
        Ok(())
    }

    async fn put(&mut self, records: Vec<SinkRecord>) -> Result<PutOutcome, ConnectError> {
        let output = self.output()?;
        output.room().await?;
        if !records.is_empty() {
            output
                .add(|lines| {
                    records
                        .iter()
                        .for_each(|record| render(&record.value, lines))
                })
                .await?;
        }
        Ok(PutOutcome::done())
    }

    async fn flush(&mut self, offsets: &OffsetMap) -> Result<OffsetMap, ConnectError> {
        self.output()?.flush().await?;
        Ok(offsets.clone())
    }

    async fn stop(&mut self) -> Result<(), ConnectError> {
        match self.output.take() {
            Some(mut output) => output.close().await,
            None => Ok(()),
        }
    }
}

impl FileSinkTask {
    fn output(&mut self) -> Result<&mut WriteBehind, ConnectError> {
        self.output
            .as_mut()
            .ok_or_else(|| ConnectError::fatal("the task was used before it was started"))
    }
}

/// A value as a line: as Kafka writes it, except for bytes, of which Java writes where they are in
/// memory and this writes what they are.
fn render(value: &Value, lines: &mut Vec<u8>) {
    match value {
        Value::String(text) => lines.extend_from_slice(text.as_bytes()),
        Value::Bytes(bytes) => lines.extend_from_slice(bytes),
        other => write(lines, format_args!("{other}")),
    }
    lines.push(b'\n');
}

/// Writing to memory does not fail.
fn write(lines: &mut Vec<u8>, text: Arguments<'_>) {
    if lines.write_fmt(text).is_err() {
        debug_assert!(false, "a value cannot be rendered");
    }
}

#[cfg(test)]
mod tests;
