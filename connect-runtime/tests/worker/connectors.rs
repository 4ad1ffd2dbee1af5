//! A source of numbers and a sink that keeps a journal; both misbehave on request.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use connect_core::config::Password;
use connect_core::{
    Config, ConfigMap, ConnectError, ConnectorContext, OffsetMap, Problem, PutOutcome,
    RecordFailure, SinkConnector, SinkRecord, SinkTask, SinkTaskContext, SourceConnector,
    SourceOffset, SourcePartition, SourcePosition, SourceRecord, SourceTask, SourceTaskContext,
    TopicPartition, Value, async_trait,
};
use serde_json::json;

pub(crate) const SOURCE: &str = "org.example.NumbersSourceConnector";
pub(crate) const SINK: &str = "org.example.JournalSinkConnector";

/// How many records a poll returns.
const BATCH: usize = 100;

#[derive(Config, Clone)]
struct NumbersConfig {
    /// Where numbers go.
    topic: String,
    /// How many there are.
    count: u64,
    /// How to misbehave.
    #[config(default = "")]
    mode: String,
}

#[derive(Config)]
struct JournalConfig {
    /// How to misbehave.
    #[config(default = "")]
    mode: String,
    /// A secret.
    token: Option<Password>,
}

connect_core::register_connector! {
    /// Numbers.
    pub(crate) struct NumbersFactory;
    class = "org.example.NumbersSourceConnector",
    config = NumbersConfig,
    source = Numbers::default()
}

connect_core::register_connector! {
    /// A journal.
    pub(crate) struct JournalFactory;
    class = "org.example.JournalSinkConnector",
    config = JournalConfig,
    sink = JournalSink::default()
}

/// Blocked threads wait here.
static BLOCKED: Mutex<()> = Mutex::new(());
static RELEASED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

pub(crate) fn release_the_blocked() {
    RELEASED.store(true, std::sync::atomic::Ordering::Relaxed);
}

fn block() {
    drop(BLOCKED.lock());
    while !RELEASED.load(std::sync::atomic::Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

async fn misbehave(mode: &str) -> Result<(), ConnectError> {
    match mode {
        "panic" => panic!("no more"),
        "fatal" => Err(ConnectError::fatal("it broke")),
        "configuration" => Err(ConnectError::configuration("it can never work")),
        "block" => {
            block();
            Ok(())
        }
        "hang" => std::future::pending().await,
        "outage" => Err(ConnectError::retriable("the outside world is away")),
        _ => Ok(()),
    }
}

#[derive(Default)]
struct Numbers {
    config: ConfigMap,
}

#[async_trait]
impl SourceConnector for Numbers {
    async fn start(&mut self, _: ConnectorContext, config: &ConfigMap) -> Result<(), ConnectError> {
        self.config = config.clone();
        match config.get("mode").map(String::as_str) {
            Some("no-connector") => Err(ConnectError::fatal("it cannot begin")),
            _ => Ok(()),
        }
    }

    fn task_configs(&self, _: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.config.clone()])
    }

    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(NumbersTask::default())
    }

    async fn alter_offsets(
        &self,
        config: &ConfigMap,
        offsets: &[(SourcePartition, Option<SourceOffset>)],
    ) -> Result<bool, ConnectError> {
        let config = NumbersConfig::parse(config)?;
        misbehave(&config.mode).await?;
        let wrong = |(_, offset): &&(SourcePartition, Option<SourceOffset>)| {
            let next = offset.as_ref().map(|offset| offset.fields().get("next"));
            next.is_some_and(|next| next.is_none_or(|next| !next.is_u64()))
        };
        let wrong: Vec<String> = offsets
            .iter()
            .filter(wrong)
            .map(|(partition, _)| format!("{partition} needs a number \"next\""))
            .collect();
        match wrong.is_empty() {
            true => Ok(config.mode == "checks-offsets"),
            false => Err(ConnectError::configuration(wrong.join("\n"))),
        }
    }
}

#[derive(Default)]
struct NumbersTask {
    config: Option<NumbersConfig>,
    next: u64,
}

fn partition() -> SourcePartition {
    SourcePartition::of(&json!({ "of": "numbers" })).unwrap()
}

#[async_trait]
impl SourceTask for NumbersTask {
    async fn start(
        &mut self,
        context: SourceTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        let config = NumbersConfig::parse(config)?;
        if ["configuration", "outage"].contains(&config.mode.as_str()) {
            misbehave(&config.mode).await?;
        }
        if let Some(offset) = context.offset(&partition()).await? {
            self.next = offset.fields()["next"].as_u64().unwrap();
        }
        self.config = Some(config);
        Ok(())
    }

    async fn poll(&mut self) -> Result<Vec<SourceRecord>, ConnectError> {
        let config = self.config.clone().unwrap();
        misbehave(&config.mode).await?;
        let end = match config.mode.as_str() {
            "flood" => self.next + BATCH as u64,
            _ => config.count.min(self.next + BATCH as u64),
        };
        if end == self.next {
            return std::future::pending().await;
        }
        let topic: std::sync::Arc<str> = config.topic.as_str().into();
        let mut records: Vec<SourceRecord> = (self.next..end)
            .map(|number| SourceRecord::new(topic.clone(), number.to_string()))
            .collect();
        let offset = SourceOffset::of(&json!({ "next": end }))?;
        records.last_mut().unwrap().position = Some(SourcePosition::new(partition(), offset));
        self.next = end;
        Ok(records)
    }
}

/// What a sink has got, by the connector's name; survives restarts of its tasks.
#[derive(Default, Clone)]
struct Entries {
    values: Vec<String>,
    flushed: Option<i64>,
    refusals: usize,
    flushes: usize,
    /// Whether the one thing that a mode does once has been done.
    done: bool,
}

static JOURNALS: LazyLock<Mutex<BTreeMap<String, Entries>>> = LazyLock::new(Mutex::default);

pub(crate) struct Journal(String);

impl Journal {
    pub(crate) fn of(name: &str) -> Self {
        Self(name.to_owned())
    }

    pub(crate) fn values(&self) -> Vec<String> {
        self.with(|entries| entries.values.clone())
    }

    pub(crate) fn flushed(&self) -> Option<i64> {
        self.with(|entries| entries.flushed)
    }

    pub(crate) fn flushes(&self) -> usize {
        self.with(|entries| entries.flushes)
    }

    /// Whether this is the first time somebody asks.
    fn once(&self) -> bool {
        self.with(|entries| !std::mem::replace(&mut entries.done, true))
    }

    fn with<T>(&self, read: impl FnOnce(&mut Entries) -> T) -> T {
        read(JOURNALS.lock().unwrap().entry(self.0.clone()).or_default())
    }
}

#[derive(Default)]
struct JournalSink {
    config: ConfigMap,
}

#[async_trait]
impl SinkConnector for JournalSink {
    async fn validate(&self, config: &ConfigMap) -> Vec<Problem> {
        let token = config.get("token").map(String::as_str).unwrap_or_default();
        match config.get("mode").map(String::as_str) {
            Some("refuse") => vec![
                Problem::with_value("token", token, format!("{token} is wrong")),
                Problem::new("mode", format!("not with {token}")),
            ],
            _ => Vec::new(),
        }
    }

    async fn start(&mut self, _: ConnectorContext, config: &ConfigMap) -> Result<(), ConnectError> {
        self.config = config.clone();
        Ok(())
    }

    fn task_configs(&self, max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.config.clone(); max_tasks])
    }

    fn task(&self) -> Box<dyn SinkTask> {
        Box::new(JournalTask {
            journal: Journal::of(""),
            mode: String::new(),
            token: None,
            context: None,
        })
    }
}

struct JournalTask {
    journal: Journal,
    mode: String,
    token: Option<Password>,
    context: Option<SinkTaskContext>,
}

impl JournalTask {
    /// What the modes do that use the context, before they take a batch.
    async fn before(&self, records: &[SinkRecord]) {
        let Some(first) = records.first() else { return };
        let context = self.context.clone().unwrap();
        let partition = TopicPartition::new(first.topic.clone(), first.partition);
        match self.mode.as_str() {
            "slow" if self.journal.once() => tokio::time::sleep(Duration::from_secs(2)).await,
            "rewind" if self.journal.values().len() >= 300 && self.journal.once() => {
                context.seek(&partition, 0);
                // Time for the worker to see it before the put is over.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            "rest" if self.journal.once() => {
                context.pause(std::slice::from_ref(&partition));
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    context.resume(&[partition]);
                });
            }
            _ => {}
        }
    }
}

#[async_trait]
impl SinkTask for JournalTask {
    async fn start(
        &mut self,
        context: SinkTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        self.journal = Journal::of(context.name());
        let config = JournalConfig::parse(config)?;
        self.mode = config.mode;
        self.token = config.token;
        self.context = Some(context);
        Ok(())
    }

    async fn put(&mut self, records: Vec<SinkRecord>) -> Result<PutOutcome, ConnectError> {
        misbehave(&self.mode).await?;
        if self.mode == "leak" {
            let token = self.token.as_ref().unwrap().reveal();
            tracing::warn!(token, "logging in with {token}");
            self.context
                .as_ref()
                .unwrap()
                .waiting(format!("waiting for {token}"));
            return Err(ConnectError::fatal(format!("login with {token} failed")));
        }
        self.before(&records).await;
        let refuse = self.journal.with(|entries| {
            entries.refusals += 1;
            entries.refusals % 2 == 1 && entries.refusals < 8
        });
        if self.mode == "retriable" && refuse {
            return Err(ConnectError::retriable("the outside world is away"));
        }
        let (kind, bad) = self.mode.split_once('-').unwrap_or_default();
        let is_bad = |record: &SinkRecord| {
            let text = record.value.to_string();
            bad.split(',').any(|bad| bad == text)
        };
        if kind == "poison" {
            // Not the first put, which is whole, but the first of its parts.
            if self.journal.with(|entries| entries.refusals) == 2 {
                return Err(ConnectError::retriable("the outside world is away"));
            }
            if records.iter().any(is_bad) {
                return Err(ConnectError::record("one of these is poison"));
            }
        }
        let mut failures = Vec::new();
        let mut reported = Vec::new();
        self.journal.with(|entries| {
            for (index, record) in records.into_iter().enumerate() {
                if kind == "report" && is_bad(&record) {
                    reported.push(record);
                    continue;
                }
                let bad = kind == "bad" && is_bad(&record);
                let Value::String(text) = record.value else {
                    panic!("not a text")
                };
                if bad {
                    let error = ConnectError::record(format!("{} is bad", text.as_str()));
                    failures.push(RecordFailure { index, error });
                } else {
                    entries.values.push(text.as_str().to_owned());
                }
            }
        });
        for record in reported {
            let error = ConnectError::record(format!("{} is errant", record.value));
            self.context.as_ref().unwrap().report(&record, error)?;
        }
        Ok(PutOutcome::failed(failures))
    }

    async fn flush(&mut self, offsets: &OffsetMap) -> Result<OffsetMap, ConnectError> {
        let flushes = self.journal.with(|entries| {
            entries.flushes += 1;
            entries.flushes
        });
        if self.mode == "flush-retriable" && flushes <= 2 {
            return Err(ConnectError::retriable("the disk is full"));
        }
        if self.mode == "flush-fatal" && self.journal.once() {
            // The system says once that it could not write; the next flush would work.
            self.journal.with(|entries| entries.values.clear());
            return Err(ConnectError::fatal("what was written is gone"));
        }
        self.journal
            .with(|entries| entries.flushed = offsets.values().max().copied());
        Ok(offsets.clone())
    }
}
