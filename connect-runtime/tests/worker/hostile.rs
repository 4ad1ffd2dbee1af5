//! Connectors that misbehave in every one of their methods, beside a copy that does not.

use std::sync::Mutex;
use std::time::Duration;

use connect_core::{
    Config, ConfigMap, ConnectError, ConnectorContext, OffsetMap, Problem, PutOutcome,
    SinkConnector, SinkRecord, SinkTask, SinkTaskContext, SourceConnector, SourceOffset,
    SourcePartition, SourcePosition, SourceRecord, SourceTask, SourceTaskContext, TopicPartition,
    async_trait,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::connectors::Journal;
use crate::numbers;
use crate::rest::{Rest, creation, send};

const SOURCE: &str = "org.example.HostileSourceConnector";
const SINK: &str = "org.example.HostileSinkConnector";

/// How they misbehave: a future that never ends, a thread that never comes back, a panic.
const MANNERS: [&str; 3] = ["hang", "block", "panic"];
/// Where.
const CONNECTOR_METHODS: [&str; 3] = ["start", "task_configs", "stop"];
const SOURCE_METHODS: [&str; 5] = ["task", "task_start", "poll", "commit", "task_stop"];
const SINK_METHODS: [&str; 7] = [
    "task",
    "task_start",
    "open",
    "put",
    "flush",
    "close",
    "task_stop",
];
/// How long an answer of the worker's own may take on a slow machine that is busy with all this.
const ANSWER: Duration = Duration::from_secs(20);

#[derive(Config, Clone)]
struct HostileConfig {
    /// The method in which it misbehaves.
    place: String,
    /// How it does.
    manner: String,
    /// Where a source's records go.
    topic: Option<String>,
}

connect_core::register_connector! {
    /// Misbehaves.
    pub(crate) struct HostileSourceFactory;
    class = "org.example.HostileSourceConnector",
    config = HostileConfig,
    source = Hostile::default()
}

connect_core::register_connector! {
    /// Misbehaves.
    pub(crate) struct HostileSinkFactory;
    class = "org.example.HostileSinkConnector",
    config = HostileConfig,
    sink = Hostile::default()
}

/// Blocked threads wait here, for as long as the test program runs.
static BLOCKED: Mutex<()> = Mutex::new(());

/// What a leak has kept.
static LEAKED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

#[derive(Default, Clone)]
struct Hostile {
    place: String,
    manner: String,
    topic: String,
    sent: u64,
}

impl Hostile {
    fn configured(config: &ConfigMap) -> Result<Self, ConnectError> {
        let config = HostileConfig::parse(config)?;
        Ok(Self {
            place: config.place,
            manner: config.manner,
            topic: config.topic.unwrap_or_default(),
            sent: 0,
        })
    }

    /// What may happen in any method.
    fn at(&self, place: &str) {
        if self.place != place {
            return;
        }
        match self.manner.as_str() {
            "panic" => panic!("in {place}"),
            "block" => {
                let _first = BLOCKED.lock();
                loop {
                    std::thread::park();
                }
            }
            "leak" => {
                let mut leaked = LEAKED.lock().unwrap();
                // Enough to be one, little enough for a test machine.
                if leaked.len() < 1000 {
                    leaked.push(vec![1; 64 * 1024]);
                }
            }
            _ => {}
        }
    }

    async fn misbehave(&self, place: &str) {
        self.at(place);
        if self.place == place && self.manner == "hang" {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl SourceConnector for Hostile {
    async fn validate(&self, config: &ConfigMap) -> Vec<Problem> {
        if let Ok(hostile) = Self::configured(config) {
            hostile.misbehave("validate").await;
        }
        Vec::new()
    }

    async fn start(&mut self, _: ConnectorContext, config: &ConfigMap) -> Result<(), ConnectError> {
        *self = Self::configured(config)?;
        self.misbehave("start").await;
        Ok(())
    }

    fn task_configs(&self, _: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        self.at("task_configs");
        Ok(vec![self.as_config()])
    }

    fn task(&self) -> Box<dyn SourceTask> {
        self.at("task");
        Box::new(Self::default())
    }

    async fn stop(&mut self) -> Result<(), ConnectError> {
        self.misbehave("stop").await;
        Ok(())
    }

    async fn alter_offsets(
        &self,
        config: &ConfigMap,
        _: &[(SourcePartition, Option<SourceOffset>)],
    ) -> Result<bool, ConnectError> {
        Self::configured(config)?.misbehave("alter_offsets").await;
        Ok(true)
    }
}

impl Hostile {
    fn as_config(&self) -> ConfigMap {
        let keys = [
            ("place", &self.place),
            ("manner", &self.manner),
            ("topic", &self.topic),
        ];
        let keys = keys.into_iter();
        keys.map(|(key, text)| (key.to_owned(), text.clone()))
            .collect()
    }
}

#[async_trait]
impl SourceTask for Hostile {
    async fn start(
        &mut self,
        _: SourceTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        *self = Self::configured(config)?;
        self.misbehave("task_start").await;
        Ok(())
    }

    async fn poll(&mut self) -> Result<Vec<SourceRecord>, ConnectError> {
        self.misbehave("poll").await;
        let count = match self.manner.as_str() {
            "flood" | "leak" => 500,
            // So that there is something to commit.
            _ if self.sent == 0 => 1,
            _ => return std::future::pending().await,
        };
        self.sent += count;
        let topic: std::sync::Arc<str> = self.topic.as_str().into();
        let record = || SourceRecord::new(topic.clone(), "x".repeat(100));
        let mut records: Vec<SourceRecord> = (0..count).map(|_| record()).collect();
        let partition = SourcePartition::of(&json!({"of": "hostile"}))?;
        let offset = SourceOffset::of(&json!({"next": self.sent}))?;
        records.last_mut().unwrap().position = Some(SourcePosition::new(partition, offset));
        Ok(records)
    }

    async fn commit(&mut self, _: &[SourcePosition]) -> Result<(), ConnectError> {
        self.misbehave("commit").await;
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), ConnectError> {
        self.misbehave("task_stop").await;
        Ok(())
    }
}

#[async_trait]
impl SinkConnector for Hostile {
    async fn start(&mut self, _: ConnectorContext, config: &ConfigMap) -> Result<(), ConnectError> {
        *self = Self::configured(config)?;
        self.misbehave("start").await;
        Ok(())
    }

    fn task_configs(&self, _: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        self.at("task_configs");
        Ok(vec![self.as_config()])
    }

    fn task(&self) -> Box<dyn SinkTask> {
        self.at("task");
        Box::new(Self::default())
    }

    async fn stop(&mut self) -> Result<(), ConnectError> {
        self.misbehave("stop").await;
        Ok(())
    }
}

#[async_trait]
impl SinkTask for Hostile {
    async fn start(&mut self, _: SinkTaskContext, config: &ConfigMap) -> Result<(), ConnectError> {
        *self = Self::configured(config)?;
        self.misbehave("task_start").await;
        Ok(())
    }

    async fn open(&mut self, _: &[TopicPartition]) -> Result<(), ConnectError> {
        self.misbehave("open").await;
        Ok(())
    }

    async fn put(&mut self, _: Vec<SinkRecord>) -> Result<PutOutcome, ConnectError> {
        self.misbehave("put").await;
        Ok(PutOutcome::done())
    }

    async fn flush(&mut self, offsets: &OffsetMap) -> Result<OffsetMap, ConnectError> {
        self.misbehave("flush").await;
        Ok(offsets.clone())
    }

    async fn close(&mut self, _: &[TopicPartition]) -> Result<(), ConnectError> {
        self.misbehave("close").await;
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), ConnectError> {
        self.misbehave("task_stop").await;
        Ok(())
    }
}

/// Every place and manner: a name and a configuration.
fn everybody() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let sources = CONNECTOR_METHODS.iter().chain(&SOURCE_METHODS);
    let sinks = CONNECTOR_METHODS.iter().chain(&SINK_METHODS);
    let sources = sources.map(|place| (SOURCE, "source", *place));
    for (class, kind, place) in sources.chain(sinks.map(|place| (SINK, "sink", *place))) {
        for manner in MANNERS {
            let name = format!("{manner}-in-{place}-of-{kind}");
            let mut config = json!({"connector.class": class, "place": place, "manner": manner});
            match kind {
                "source" => config["topic"] = json!(name),
                _ => config["topics"] = json!("peace"),
            }
            all.push((name, config));
        }
    }
    for manner in ["flood", "leak"] {
        let config =
            json!({"connector.class": SOURCE, "place": "poll", "manner": manner, "topic": manner});
        all.push((format!("{manner}-source"), config));
    }
    let leak = json!({"connector.class": SINK, "place": "put", "manner": "leak", "topics": "leak"});
    all.push(("leak-sink".to_owned(), leak));
    all
}

/// Asks for everything the worker itself answers; nothing of it may wait for a connector.
async fn everything_is_answered(rest: &Rest, names: &[&str]) {
    let mut paths: Vec<String> = [
        "/",
        "/health",
        "/metrics",
        "/connectors",
        "/connectors?expand=status&expand=info",
        "/connector-plugins",
        "/admin/loggers",
    ]
    .map(str::to_owned)
    .into();
    for name in names {
        for rest in ["", "/status", "/config", "/tasks", "/history", "/topics"] {
            paths.push(format!("/connectors/{name}{rest}"));
        }
    }
    for path in paths {
        let line = format!("GET {path}");
        let answer = timeout(ANSWER, rest.call(&line)).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {line}"));
        assert_eq!(answer.status, 200, "{line}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_misbehaves_in_any_method_harms_nobody() {
    const COUNT: usize = 2000;
    let rest = Rest::start_with(&[("task.shutdown.graceful.timeout.ms", "2000")]).await;
    let everybody = everybody();
    assert!(everybody.len() > 50);
    for (name, config) in &everybody {
        let body = creation(name, config);
        let answer = timeout(ANSWER, rest.send("POST /connectors", &body)).await;
        assert_eq!(answer.expect(name).status, 201, "{name}");
    }
    // The copy begins among all of them.
    let source = rest.world.source("peace-source", "peace", COUNT, "");
    rest.worker.create(source).await.unwrap();
    let sink = rest.world.sink("peace-sink", "peace", "");
    rest.worker.create(sink).await.unwrap();
    let journal = Journal::of("peace-sink");
    rest.world
        .until("the copy is done", || journal.values().len() >= COUNT)
        .await;
    assert_eq!(journal.values(), numbers(0..COUNT));
    rest.world.until_committed("peace-sink", COUNT as i64).await;
    let some: Vec<&str> = everybody
        .iter()
        .step_by(7)
        .map(|(name, _)| name.as_str())
        .collect();
    everything_is_answered(&rest, &some).await;

    // What is wrong is to be seen.
    for (name, text) in [
        ("panic-in-poll-of-source", "panicked: in poll"),
        ("panic-in-put-of-sink", "panicked: in put"),
        ("hang-in-task_start-of-sink", "start has not returned"),
        ("block-in-put-of-sink", "put has not returned"),
        (
            "panic-in-task_configs-of-source",
            "panicked: in task_configs",
        ),
    ] {
        let shown = || {
            let status = rest.worker.status();
            let connector = &status[name];
            let errors = connector
                .tasks
                .iter()
                .map(|task| format!("{} {:?}", task.summary(0), task.last_error));
            errors.collect::<String>() + &format!("{connector:?}")
        };
        rest.world
            .until(&format!("{name} says {text}"), || shown().contains(text))
            .await;
    }

    // A check that hangs or panics is a request of its own, and others are answered meanwhile.
    let mut hanging = JoinSet::new();
    for manner in MANNERS {
        let config = json!({
            "connector.class": SOURCE, "place": "validate", "manner": manner, "topic": "x",
            "name": format!("{manner}-validate"),
        });
        let address = rest.address;
        hanging.spawn(async move {
            let line = "PUT /connector-plugins/HostileSourceConnector/config/validate";
            send(address, line, &config.to_string()).await.status
        });
    }
    everything_is_answered(&rest, &["peace-sink"]).await;
    hanging.abort_all();

    // Those that refuse to end are let go: deleting all of them, and more of the copy meanwhile.
    let copied = rest.world.source("peace-again-source", "peace", COUNT, "");
    rest.worker.create(copied).await.unwrap();
    let begun = Instant::now();
    for (name, _) in everybody
        .iter()
        .filter(|(name, _)| name.contains("stop") || name.contains("block-in-p"))
    {
        let line = format!("DELETE /connectors/{name}");
        let answer = timeout(ANSWER, rest.call(&line)).await;
        assert_eq!(answer.expect(name).status, 204, "{name}");
    }
    everything_is_answered(&rest, &["peace-sink"]).await;
    assert!(begun.elapsed() < Duration::from_secs(120));
    rest.world
        .until("more is copied", || journal.values().len() >= 2 * COUNT)
        .await;
    let stopped = timeout(Duration::from_secs(30), rest.worker.stop()).await;
    let abandoned = stopped.expect("the worker stops").abandoned;
    assert!(
        !abandoned.contains(&"peace-sink".to_owned()),
        "{abandoned:?}"
    );
    assert_eq!(journal.flushed(), Some(2 * COUNT as i64));
    rest.world.end().await;
}
