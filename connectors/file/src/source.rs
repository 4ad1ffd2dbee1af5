//! The file source: every line of a file becomes a record.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use connect_core::config::{Config, ConfigChoice, ConfigMap};
use connect_core::{
    ConnectError, ConnectorContext, ExactlyOnce, Headers, SchemaRef, SourceConnector, SourceOffset,
    SourcePartition, SourcePosition, SourceRecord, SourceTask, SourceTaskContext, Str, Value,
    async_trait, register_connector,
};

use crate::chunk::Chunk;
use crate::error::FileError;
use crate::follow::Follow;
use crate::lines::Line;
use crate::position::{FilePartition, FilePosition};
use crate::stdin;
use crate::tail::{Idle, Step, Tail, TailOptions};

register_connector! {
    /// Kafka's `FileStreamSourceConnector`.
    pub struct FileStreamSourceConnector;
    class = "org.apache.kafka.connect.file.FileStreamSourceConnector",
    config = FileSourceConfig,
    source = FileSource::default(),
}

/// How bytes become values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ConfigChoice)]
pub enum Encoding {
    /// Lines are text; one that is not UTF-8 becomes a value of bytes, so that nothing is lost.
    #[config(name = "utf-8")]
    Utf8,
    /// Lines are text; what is not UTF-8 is replaced by U+FFFD, as Kafka does.
    #[config(name = "utf-8-replace")]
    Utf8Replace,
    /// Lines are bytes.
    #[config(name = "bytes")]
    Bytes,
}

/// The keys of the file source.
#[derive(Debug, Clone, Config)]
pub struct FileSourceConfig {
    /// The file to read. It may not exist yet, may be a named pipe, and is followed when it is rotated
    /// or replaced. Standard input if absent.
    #[config(importance = "high", non_empty)]
    file: Option<String>,
    /// The topic to write to.
    #[config(importance = "high", non_empty)]
    topic: Arc<str>,
    /// The most lines to hand over at once.
    #[config(default = 2000, range = 1.., importance = "low")]
    batch_size: i32,
    /// The longest line, in bytes without its end. A longer one is an error of that record, see
    /// "errors.tolerance".
    #[config(default = 1000000, range = 1..=1073741824, importance = "low")]
    max_line_bytes: i32,
    /// What becomes of lines: "utf-8" makes text, and bytes of a line that is not valid, which the
    /// converter then has to take; "utf-8-replace" makes text with invalid bytes replaced, as Kafka
    /// does; "bytes" makes bytes, for the byte array converter.
    #[config(default = "utf-8", importance = "low")]
    encoding: Encoding,
    /// How often to look at the file even if the system reports no change, in milliseconds. Network
    /// file systems report none.
    #[config(default = 1000, range = 10..=3600000, importance = "low")]
    poll_interval_ms: Duration,
    /// How long a file that was replaced by another one is still read for late lines, in milliseconds
    /// since the last of them.
    #[config(default = 1000, range = 0..=3600000, importance = "low")]
    rotate_wait_ms: Duration,
    /// How much of the file to read at once, in bytes. About four times as much memory is used.
    #[config(default = 524288, range = 4096..=67108864, importance = "low")]
    read_buffer_bytes: i32,
}

/// Reads one file with one task.
#[derive(Debug, Default)]
struct FileSource {
    config: ConfigMap,
}

#[async_trait]
impl SourceConnector for FileSource {
    async fn start(
        &mut self,
        _context: ConnectorContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        FileSourceConfig::parse(config)?;
        self.config = config.clone();
        Ok(())
    }

    fn task_configs(&self, _max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        // A file has one order of lines, so there is one task.
        Ok(vec![self.config.clone()])
    }

    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(FileSourceTask { running: None })
    }

    fn exactly_once(&self, config: &ConfigMap) -> ExactlyOnce {
        match config.contains_key("file") {
            true => ExactlyOnce::Supported,
            false => ExactlyOnce::Unsupported,
        }
    }

    async fn alter_offsets(
        &self,
        config: &ConfigMap,
        offsets: &[(SourcePartition, Option<SourceOffset>)],
    ) -> Result<bool, ConnectError> {
        if !config.contains_key("file") {
            return Err(ConnectError::configuration(
                "offsets of standard input cannot be altered; it is never read twice",
            ));
        }
        let problems: Vec<String> = offsets
            .iter()
            .filter_map(|(partition, offset)| {
                // Anything may be removed, also what an older version or another connector left behind.
                let offset = offset.as_ref()?;
                check_partition(partition)
                    .and_then(|()| check_offset(offset))
                    .err()
            })
            .collect();
        match problems.is_empty() {
            true => Ok(true),
            false => Err(ConnectError::configuration(problems.join("\n"))),
        }
    }
}

fn check_partition(partition: &SourcePartition) -> Result<(), String> {
    // Another field would make it the name of something that nobody reads.
    let named = partition.read::<FilePartition>();
    match named.is_ok_and(|named| named.filename.is_some()) && partition.fields().len() == 1 {
        true => Ok(()),
        false => Err(format!(
            "source partition {partition} is not of this connector; write {{\"filename\":\"…\"}}"
        )),
    }
}

fn check_offset(offset: &SourceOffset) -> Result<(), String> {
    match offset.read::<FilePosition>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "source offset {offset} is not of this connector; write {{\"position\":n}}, n bytes from the start"
        )),
    }
}

/// Reads one file.
struct FileSourceTask {
    running: Option<Running>,
}

/// A started task.
struct Running {
    context: SourceTaskContext,
    config: FileSourceConfig,
    partition: SourcePartition,
    batch_lines: usize,
    max_line_bytes: usize,
    input: Input,
    /// What was read and not handed over yet.
    chunk: Option<Chunk>,
    /// What the worker was told that is waited for.
    said: Option<Idle>,
}

enum Input {
    File(Box<Follow>),
    Stdin(Box<Stdin>),
}

/// Standard input in lines.
struct Stdin {
    lines: Tail,
    ended: bool,
}

#[async_trait]
impl SourceTask for FileSourceTask {
    async fn start(
        &mut self,
        context: SourceTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        let config = FileSourceConfig::parse(config)?;
        let partition = SourcePartition::of(&FilePartition {
            filename: config.file.clone(),
        })?;
        let bytes = |limit: i32| usize::try_from(limit).unwrap_or_default();
        let options = TailOptions {
            read_bytes: bytes(config.read_buffer_bytes),
            max_line_bytes: bytes(config.max_line_bytes),
            rotate_wait: config.rotate_wait_ms,
        };
        let input = match &config.file {
            Some(file) => {
                let stored = context.offset(&partition).await?;
                let stored = stored
                    .map(|offset| offset.read::<FilePosition>())
                    .transpose()?;
                let path = PathBuf::from(file);
                let tail = Tail::new(path.clone(), options, stored);
                Input::File(Box::new(Follow::new(path, config.poll_interval_ms, tail)))
            }
            None => Input::Stdin(Box::new(Stdin {
                lines: Tail::new(PathBuf::from("standard input"), options, None),
                ended: false,
            })),
        };
        self.running = Some(Running {
            context,
            batch_lines: bytes(config.batch_size),
            max_line_bytes: bytes(config.max_line_bytes),
            config,
            partition,
            input,
            chunk: None,
            said: None,
        });
        Ok(())
    }

    /// Cancel-safe: lines stay in the chunk until they are returned, and a read goes on by itself.
    async fn poll(&mut self) -> Result<Vec<SourceRecord>, ConnectError> {
        match &mut self.running {
            Some(running) => running.poll().await,
            None => Err(ConnectError::fatal(
                "the task was polled before it was started",
            )),
        }
    }

    async fn stop(&mut self) -> Result<(), ConnectError> {
        self.running = None;
        Ok(())
    }
}

impl Running {
    async fn poll(&mut self) -> Result<Vec<SourceRecord>, ConnectError> {
        loop {
            if let Some(records) = self.take_lines()? {
                return Ok(records);
            }
            match self.step().await? {
                Step::Lines(chunk) => self.chunk = Some(chunk),
                Step::TooLong(position) => return Err(self.too_long(position)),
                Step::Idle(idle) => {
                    self.say(idle);
                    if let Input::File(follow) = &mut self.input {
                        follow.wait(idle).await;
                    }
                }
            }
        }
    }

    /// The next step of the input. Cancel-safe.
    async fn step(&mut self) -> Result<Step, ConnectError> {
        match &mut self.input {
            Input::File(follow) => {
                let step = follow.step().await.map_err(|error| {
                    ConnectError::fatal("reading the file failed unexpectedly").with_source(error)
                })??;
                if matches!(step, Step::Lines(_)) {
                    follow.look_ahead();
                }
                Ok(step)
            }
            Input::Stdin(stdin) => match stdin.step().await {
                Some(step) => Ok(step),
                None => {
                    self.context.waiting("standard input has ended");
                    std::future::pending().await
                }
            },
        }
    }

    /// The next batch out of the chunk; none if it is used up.
    fn take_lines(&mut self) -> Result<Option<Vec<SourceRecord>>, ConnectError> {
        let Some(chunk) = &mut self.chunk else {
            return Ok(None);
        };
        let now_ms = now_ms();
        // One count for every batch: threads that work on different batches do not meet at it.
        let topic: Arc<str> = Arc::from(&*self.config.topic);
        let mut records = Vec::with_capacity(self.batch_lines.min(4096));
        while records.len() < self.batch_lines
            && let Some(line) = chunk.line()
        {
            if line.end - line.start > self.max_line_bytes {
                if !records.is_empty() {
                    break;
                }
                let position = chunk.position();
                chunk.advance(line);
                return Err(self.too_long(position));
            }
            let (value, schema) = value_of(chunk, line, self.config.encoding);
            chunk.advance(line);
            records.push(SourceRecord {
                topic: Arc::clone(&topic),
                partition: None,
                key: Value::Null,
                key_schema: None,
                value,
                value_schema: Some(schema),
                headers: Headers::new(),
                timestamp: Some(now_ms),
                position: None,
            });
        }
        let Some(last) = records.last_mut() else {
            self.chunk = None;
            return Ok(None);
        };
        // Standard input and pipes cannot be read again, so there is nothing to remember.
        if !chunk.is_stream() {
            let offset = SourceOffset::of(&chunk.offset())?;
            last.position = Some(SourcePosition::new(self.partition.clone(), offset));
        }
        if self.said.take().is_some() {
            self.context.progress();
        }
        Ok(Some(records))
    }

    fn too_long(&self, position: u64) -> ConnectError {
        FileError::LineTooLong {
            path: self.path(),
            position,
            limit: self.max_line_bytes,
        }
        .into()
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(self.config.file.as_deref().unwrap_or("standard input"))
    }

    /// Tells the worker what is waited for, if that changed.
    fn say(&mut self, idle: Idle) {
        let same = self
            .said
            .is_some_and(|said| std::mem::discriminant(&said) == std::mem::discriminant(&idle));
        if same && !matches!(idle, Idle::AtEnd { .. }) || self.said == Some(idle) {
            return;
        }
        self.said = Some(idle);
        let file = self.path();
        let file = file.display();
        self.context.waiting(match idle {
            Idle::Missing => format!("file \"{file}\" does not exist yet"),
            Idle::AtEnd { unfinished: false } => format!("all lines of \"{file}\" were read"),
            Idle::AtEnd { unfinished: true } => {
                format!(
                    "all lines of \"{file}\" were read, except the last, which has no line end yet"
                )
            }
            Idle::Removed => format!(
                "all lines of \"{file}\" were read and it was removed; waiting for a new one"
            ),
            Idle::Rotating(_) => {
                format!("\"{file}\" was replaced; waiting for late lines of the old one")
            }
            Idle::Pipe { .. } => format!("nobody writes to \"{file}\" now"),
        });
    }
}

impl Stdin {
    /// The next step; none at the end. Cancel-safe.
    async fn step(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.lines.cut() {
                return Some(step);
            }
            if self.ended {
                return None;
            }
            match stdin::next().await {
                Some(bytes) => self.lines.feed(&bytes),
                None => {
                    self.ended = true;
                    // Kafka keeps a last line without an end for ever.
                    if let Some(last) = self.lines.finish() {
                        return Some(last);
                    }
                }
            }
        }
    }
}

/// A line as a value, without copying it.
fn value_of(chunk: &Chunk, line: Line, encoding: Encoding) -> (Value, SchemaRef) {
    let text = match encoding {
        Encoding::Bytes => None,
        Encoding::Utf8 => chunk.text(line),
        Encoding::Utf8Replace => Some(
            chunk
                .text(line)
                .unwrap_or_else(|| Str::from_utf8_lossy(chunk.bytes(line))),
        ),
    };
    match text {
        Some(text) => (Value::String(text), SchemaRef::STRING),
        None => (Value::Bytes(chunk.bytes(line)), SchemaRef::BYTES),
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
