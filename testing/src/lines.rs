//! A source and a sink of lines on the simulated file system of their host.
//!
//! They stand in for the file connectors, whose files are the real machine's: the same positions in
//! bytes, the same promise to have synced what `flush` returned for.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use connect_core::config::{Config, ConfigMap};
use connect_core::{
    ConnectError, ConnectorContext, OffsetMap, PutOutcome, SinkConnector, SinkRecord, SinkTask,
    SinkTaskContext, SourceConnector, SourceOffset, SourcePartition, SourcePosition, SourceRecord,
    SourceTask, SourceTaskContext, async_trait, register_connector,
};
use platform::fs::{self, File, OpenOptions};

register_connector! {
    /// Reads the lines of a simulated file.
    pub struct SimulatedLinesSource;
    class = "SimulatedLinesSource",
    config = SourceConfig,
    source = Source::default(),
}

register_connector! {
    /// Appends lines to a simulated file.
    pub struct SimulatedLinesSink;
    class = "SimulatedLinesSink",
    config = SinkConfig,
    sink = Sink::default(),
}

/// Keys of the source.
#[derive(Debug, Clone, Config)]
pub struct SourceConfig {
    /// The file to read.
    file: PathBuf,
    /// The topic for its lines.
    topic: String,
}

/// Keys of the sink.
#[derive(Debug, Clone, Config)]
pub struct SinkConfig {
    /// The file to append to.
    file: PathBuf,
}

#[derive(Default)]
struct Source {
    config: ConfigMap,
}

#[async_trait]
impl SourceConnector for Source {
    async fn start(&mut self, _: ConnectorContext, config: &ConfigMap) -> Result<(), ConnectError> {
        self.config.clone_from(config);
        Ok(())
    }

    fn task_configs(&self, _: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.config.clone()])
    }

    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(SourceLines { state: None })
    }
}

struct SourceLines {
    state: Option<Reading>,
}

struct Reading {
    content: String,
    position: usize,
    topic: std::sync::Arc<str>,
    partition: SourcePartition,
}

#[async_trait]
impl SourceTask for SourceLines {
    async fn start(
        &mut self,
        context: SourceTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        let config = SourceConfig::parse(config)?;
        let partition = SourcePartition::of(&ConfigMap::from([(
            "filename".to_owned(),
            config.file.display().to_string(),
        )]))?;
        let stored = match context.offset(&partition).await? {
            Some(offset) => offset.read::<std::collections::BTreeMap<String, usize>>()?,
            None => Default::default(),
        };
        self.state = Some(Reading {
            content: fs::read_to_string(&config.file)?,
            position: stored.get("position").copied().unwrap_or(0),
            topic: config.topic.into(),
            partition,
        });
        Ok(())
    }

    async fn poll(&mut self) -> Result<Vec<SourceRecord>, ConnectError> {
        // Slow enough that a crash falls into the copy, in chunks that never have the same size.
        tokio::time::sleep(Duration::from_millis(2 + platform::random::below(10))).await;
        let Some(state) = &mut self.state else {
            return Err(ConnectError::fatal("polled before it was started"));
        };
        let mut records = Vec::new();
        for _ in 0..platform::random::below(40) {
            let rest = state.content.get(state.position..).unwrap_or_default();
            let Some((line, _)) = rest.split_once('\n') else {
                break;
            };
            state.position += line.len() + 1;
            records.push(SourceRecord::new(state.topic.clone(), line.to_owned()));
        }
        if let Some(last) = records.last_mut() {
            last.position = Some(SourcePosition {
                partition: state.partition.clone(),
                offset: SourceOffset::of(&std::collections::BTreeMap::from([(
                    "position",
                    state.position,
                )]))?,
            });
        }
        Ok(records)
    }
}

#[derive(Default)]
struct Sink {
    config: ConfigMap,
}

#[async_trait]
impl SinkConnector for Sink {
    async fn start(&mut self, _: ConnectorContext, config: &ConfigMap) -> Result<(), ConnectError> {
        self.config.clone_from(config);
        Ok(())
    }

    fn task_configs(&self, _: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.config.clone()])
    }

    fn task(&self) -> Box<dyn SinkTask> {
        Box::new(SinkLines { output: None })
    }
}

struct SinkLines {
    output: Option<(File, u64)>,
}

#[async_trait]
impl SinkTask for SinkLines {
    async fn start(&mut self, _: SinkTaskContext, config: &ConfigMap) -> Result<(), ConnectError> {
        let config = SinkConfig::parse(config)?;
        self.output = Some(open_sink(&config.file)?);
        Ok(())
    }

    async fn put(&mut self, records: Vec<SinkRecord>) -> Result<PutOutcome, ConnectError> {
        let Some((file, length)) = &mut self.output else {
            return Err(ConnectError::fatal("put before it was started"));
        };
        for record in records {
            let line = format!("{}\n", record.value);
            file.write_all_at(line.as_bytes(), *length)?;
            *length += line.len() as u64;
        }
        Ok(PutOutcome::done())
    }

    async fn flush(&mut self, offsets: &OffsetMap) -> Result<OffsetMap, ConnectError> {
        if let Some((file, _)) = &self.output {
            file.sync_data()?;
        }
        Ok(offsets.clone())
    }
}

/// Opens the sink's file and cuts a line that a crash has torn.
fn open_sink(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .open(path)?;
    let content = fs::read(path)?;
    let whole = content
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at as u64 + 1);
    file.set_len(whole)?;
    file.sync_all()?;
    if let Some(folder) = path.parent() {
        fs::sync_dir(folder)?;
    }
    Ok((file, whole))
}
