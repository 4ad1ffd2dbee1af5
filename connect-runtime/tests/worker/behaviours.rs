//! Behaviours of Kafka Connect's own tests that need connectors made for them; `docs/conformance.md` says
//! where all of them are shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use connect_core::{
    Config, ConfigMap, ConnectError, ConnectorContext, OffsetMap, PutOutcome, SchemaRef,
    SinkConnector, SinkRecord, SinkTask, SinkTaskContext, SourceConnector, SourceOffset,
    SourcePartition, SourcePosition, SourceRecord, SourceTask, SourceTaskContext, TopicPartition,
    Value, async_trait,
};
use connect_runtime::{State, Worker};
use kafka_client::{Assignor, Consumer, ConsumerConfig, Producer, ProducerConfig, ProducerRecord};
use serde_json::json;

use crate::connectors::{Journal, SINK};
use crate::rest::{Rest, source};
use crate::world::World;
use crate::{COUNT, numbers};

const SCRIPTED_SOURCE: &str = "org.example.BehavingSourceConnector";
const SCRIPTED_SINK: &str = "org.example.BehavingSinkConnector";

#[derive(Config, Clone)]
struct Script {
    /// What to do.
    mode: String,
    /// Where a source writes.
    topic: Option<String>,
}

connect_core::register_connector! {
    /// A source that follows a script.
    pub(crate) struct ScriptedSourceFactory;
    class = "org.example.BehavingSourceConnector",
    config = Script,
    source = ScriptedSource::default()
}

connect_core::register_connector! {
    /// A sink that follows a script.
    pub(crate) struct ScriptedSinkFactory;
    class = "org.example.BehavingSinkConnector",
    config = Script,
    sink = ScriptedSink::default()
}

#[derive(Default)]
struct ScriptedSource(ConfigMap);

#[async_trait]
impl SourceConnector for ScriptedSource {
    async fn start(&mut self, _: ConnectorContext, config: &ConfigMap) -> Result<(), ConnectError> {
        self.0 = config.clone();
        Ok(())
    }

    fn task_configs(&self, max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        let count = match self.0.get("mode").map(String::as_str) {
            Some("three-tasks") => 3,
            _ => max_tasks.min(1),
        };
        Ok(vec![self.0.clone(); count])
    }

    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(ScriptedSourceTask {
            script: None,
            polls: 0,
        })
    }
}

struct ScriptedSourceTask {
    script: Option<Script>,
    polls: u64,
}

impl ScriptedSourceTask {
    fn record(&self, number: u64) -> Result<SourceRecord, ConnectError> {
        let topic = self.script.as_ref().and_then(|script| script.topic.clone());
        let partition = SourcePartition::of(&json!({"of": "script"}))?;
        let offset = SourceOffset::of(&json!({"next": number + 1}))?;
        let topic = topic.unwrap_or_default().into();
        Ok(SourceRecord::new(topic, number.to_string()).at(SourcePosition::new(partition, offset)))
    }
}

#[async_trait]
impl SourceTask for ScriptedSourceTask {
    async fn start(
        &mut self,
        _: SourceTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        self.script = Some(Script::parse(config)?);
        Ok(())
    }

    async fn poll(&mut self) -> Result<Vec<SourceRecord>, ConnectError> {
        let poll = self.polls;
        self.polls += 1;
        let mode = self.script.as_ref().map(|script| script.mode.clone());
        match (mode.as_deref().unwrap_or_default(), poll) {
            ("fails-in-the-sixth-poll", 0..5) => Ok(vec![self.record(poll)?]),
            ("fails-in-the-sixth-poll", _) => Err(ConnectError::fatal("that was the last one")),
            ("timestamps", 0) => [None, Some(-1), Some(0), Some(-2), Some(5)]
                .into_iter()
                .zip(0..)
                .map(|(timestamp, number)| {
                    let mut record = self.record(number)?;
                    record.timestamp = timestamp;
                    Ok(record)
                })
                .collect(),
            ("headers", 0) => {
                let mut record = self.record(0)?;
                record.headers.add("n", 7, Some(SchemaRef::INT32));
                record.headers.add("n", "seven", Some(SchemaRef::STRING));
                record.headers.add("nothing", Value::Null, None);
                Ok(vec![record])
            }
            _ => std::future::pending().await,
        }
    }
}

/// What a scripted sink was asked, by the connector's name.
#[derive(Default, Clone)]
struct Calls {
    opened: Vec<BTreeSet<i32>>,
    /// With what was committed when it was called.
    flushed: Vec<OffsetMap>,
    closed: Vec<BTreeSet<i32>>,
    /// By partition.
    values: BTreeMap<i32, Vec<String>>,
    records: Vec<SinkRecord>,
    refusals: usize,
}

static CALLS: LazyLock<Mutex<BTreeMap<String, Calls>>> = LazyLock::new(Mutex::default);
/// Sinks that wait for it take nothing before it is set.
static OUTSIDE_IS_THERE: AtomicBool = AtomicBool::new(false);

fn calls(name: &str) -> Calls {
    with_calls(name, |calls| calls.clone())
}

fn with_calls<T>(name: &str, change: impl FnOnce(&mut Calls) -> T) -> T {
    change(CALLS.lock().unwrap().entry(name.to_owned()).or_default())
}

#[derive(Default)]
struct ScriptedSink(ConfigMap);

#[async_trait]
impl SinkConnector for ScriptedSink {
    async fn start(&mut self, _: ConnectorContext, config: &ConfigMap) -> Result<(), ConnectError> {
        self.0 = config.clone();
        Ok(())
    }

    fn task_configs(&self, max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.0.clone(); max_tasks])
    }

    fn task(&self) -> Box<dyn SinkTask> {
        Box::new(ScriptedSinkTask {
            name: String::new(),
            mode: String::new(),
        })
    }
}

struct ScriptedSinkTask {
    name: String,
    mode: String,
}

fn indices(partitions: &[TopicPartition]) -> BTreeSet<i32> {
    partitions
        .iter()
        .map(|partition| partition.partition)
        .collect()
}

#[async_trait]
impl SinkTask for ScriptedSinkTask {
    async fn start(
        &mut self,
        context: SinkTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        context.name().clone_into(&mut self.name);
        self.mode = Script::parse(config)?.mode;
        Ok(())
    }

    async fn open(&mut self, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        with_calls(&self.name, |calls| calls.opened.push(indices(partitions)));
        Ok(())
    }

    async fn put(&mut self, records: Vec<SinkRecord>) -> Result<PutOutcome, ConnectError> {
        if self.mode == "waits-for-the-outside" && !OUTSIDE_IS_THERE.load(Ordering::SeqCst) {
            with_calls(&self.name, |calls| calls.refusals += 1);
            return Err(ConnectError::retriable("the outside world is away"));
        }
        with_calls(&self.name, |calls| {
            for record in records {
                let values = calls.values.entry(record.partition).or_default();
                values.push(record.value.to_string());
                calls.records.push(record);
            }
        });
        Ok(PutOutcome::done())
    }

    async fn flush(&mut self, offsets: &OffsetMap) -> Result<OffsetMap, ConnectError> {
        with_calls(&self.name, |calls| calls.flushed.push(offsets.clone()));
        let mut safe = offsets.clone();
        match self.mode.as_str() {
            "holds-ten-back" => safe.values_mut().for_each(|offset| *offset -= 10),
            "knows-the-future" => {
                safe.values_mut().for_each(|offset| *offset += 10);
                safe.insert(TopicPartition::new("elsewhere", 0), 3);
            }
            "nothing-is-safe" => safe.clear(),
            _ => {}
        }
        Ok(safe)
    }

    async fn close(&mut self, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        with_calls(&self.name, |calls| calls.closed.push(indices(partitions)));
        Ok(())
    }
}

/// Keys of a connector.
fn keys(pairs: &[(&str, &str)]) -> serde_json::Value {
    let pairs = pairs.iter();
    pairs
        .map(|(key, text)| ((*key).to_owned(), json!(text)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

impl World {
    fn scripted_sink(
        &self,
        name: &str,
        topic: &str,
        mode: &str,
        more: &[(&str, &str)],
    ) -> connect_runtime::config::connector::ConnectorConfig {
        let mut all = vec![
            ("name", name),
            ("connector.class", SCRIPTED_SINK),
            ("topics", topic),
            ("mode", mode),
        ];
        all.extend(more);
        self.of(&keys(&all))
    }

    fn scripted_source(
        &self,
        name: &str,
        mode: &str,
        more: &[(&str, &str)],
    ) -> connect_runtime::config::connector::ConnectorConfig {
        let mut all = vec![
            ("name", name),
            ("connector.class", SCRIPTED_SOURCE),
            ("topic", name),
            ("mode", mode),
        ];
        all.extend(more);
        self.of(&keys(&all))
    }

    /// Writes `count` numbers into each partition of a topic.
    async fn fill(&self, topic: &str, partitions: i32, count: usize) {
        let client = self.client();
        let topic: Arc<str> = topic.into();
        let producer = Producer::new(client.clone(), ProducerConfig::default()).unwrap();
        for partition in 0..partitions {
            let record = |number: usize| ProducerRecord {
                partition: Some(partition),
                value: Some(number.to_string().into()),
                ..ProducerRecord::default()
            };
            let records: Vec<ProducerRecord> = (0..count).map(record).collect();
            let delivery = producer.send(&topic, records).await.unwrap();
            delivery.await.unwrap();
        }
        producer.close(Duration::from_secs(10)).await;
        client.close().await;
    }
}

fn task_state(worker: &Worker, name: &str) -> Option<State> {
    let status = worker.status();
    Some(status.get(name)?.tasks.first()?.state)
}

fn values(name: &str) -> usize {
    calls(name).values.values().map(Vec::len).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_that_a_flush_holds_back_come_again_after_a_restart() {
    let world = World::start().await;
    let worker = world.worker().await;
    let source = world.source("held", "held", COUNT, "");
    worker.create(source).await.unwrap();
    let sink = || world.scripted_sink("held-sink", "held", "holds-ten-back", &[]);
    worker.create(sink()).await.unwrap();
    world
        .until("all are in", || values("held-sink") == COUNT)
        .await;
    world.until_committed("held-sink", COUNT as i64 - 10).await;
    worker.stop().await;
    assert_eq!(world.committed("held-sink").await, Some(COUNT as i64 - 10));
    let worker = world.worker().await;
    worker.create(sink()).await.unwrap();
    let all = || values("held-sink") == COUNT + 10;
    world.until("what was held back comes again", all).await;
    let again = calls("held-sink").values[&0][COUNT..].to_vec();
    assert_eq!(again, numbers(COUNT - 10..COUNT));
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_ahead_of_what_was_put_and_of_others_are_ignored() {
    let world = World::start().await;
    let worker = world.worker().await;
    let source = world.source("ahead", "ahead", COUNT, "");
    worker.create(source).await.unwrap();
    let sink = world.scripted_sink("ahead-sink", "ahead", "knows-the-future", &[]);
    worker.create(sink).await.unwrap();
    world
        .until("all are in", || values("ahead-sink") == COUNT)
        .await;
    let before = calls("ahead-sink").flushed.len();
    let flushed = || calls("ahead-sink").flushed.len() > before + 1;
    world.until("it was flushed", flushed).await;
    assert_eq!(world.committed("ahead-sink").await, None);
    assert_eq!(task_state(&worker, "ahead-sink"), Some(State::Running));
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_that_returns_nothing_skips_the_commit_and_loses_nothing() {
    let world = World::start().await;
    let worker = world.worker().await;
    let source = world.source("skip", "skip", COUNT, "");
    worker.create(source).await.unwrap();
    let sink = world.scripted_sink("skip-sink", "skip", "nothing-is-safe", &[]);
    worker.create(sink).await.unwrap();
    world
        .until("all are in", || values("skip-sink") == COUNT)
        .await;
    worker.stop().await;
    assert_eq!(world.committed("skip-sink").await, None);
    let worker = world.worker().await;
    let sink = world.scripted_sink("skip-sink", "skip", "", &[]);
    worker.create(sink).await.unwrap();
    let again = || values("skip-sink") == 2 * COUNT;
    world.until("all come again", again).await;
    world.until_committed("skip-sink", COUNT as i64).await;
    worker.stop().await;
    world.end().await;
}

/// Somebody else in the group of a sink.
fn join(world: &World, name: &str, topic: &str) -> tokio::task::JoinHandle<()> {
    let mut config = ConsumerConfig::group(format!("connect-{name}"));
    config.assignors = vec![Assignor::CooperativeSticky];
    let mut other = Consumer::new(world.client(), config).unwrap();
    other.subscribe(vec![topic.to_owned()]).unwrap();
    tokio::spawn(async move { while other.poll(Duration::from_millis(50)).await.is_ok() {} })
}

const COOPERATIVE: [(&str, &str); 2] = [
    (
        "consumer.override.partition.assignment.strategy",
        "cooperative-sticky",
    ),
    ("consumer.override.heartbeat.interval.ms", "50"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_go_away_are_flushed_committed_and_closed_and_no_others() {
    let world = World::start().await;
    world.create_topic_of("parted", 4, &[]).await;
    world.fill("parted", 4, 100).await;
    // Nothing is committed before partitions go.
    let worker = world
        .worker_with(&[("offset.flush.interval.ms", "600000")])
        .await;
    let name = "parted-sink";
    let sink = world.scripted_sink(name, "parted", "", &COOPERATIVE);
    worker.create(sink).await.unwrap();
    world.until("all are in", || values(name) == 400).await;
    let before = calls(name);
    assert_eq!(before.opened, [BTreeSet::from([0, 1, 2, 3])]);

    let other = join(&world, name, "parted");
    world
        .until("some go away", || !calls(name).closed.is_empty())
        .await;
    let after = calls(name);
    let gone = after
        .closed
        .iter()
        .flatten()
        .copied()
        .collect::<BTreeSet<i32>>();
    assert_eq!(
        (after.closed.len(), gone.len()),
        (1, 2),
        "{:?}",
        after.closed
    );
    let flushed: BTreeSet<i32> = after.flushed[before.flushed.len()..]
        .iter()
        .flatten()
        .map(|(of, _)| of.partition)
        .collect();
    assert_eq!(flushed, gone, "only what goes away");
    let client = world.client();
    let committed = client
        .admin()
        .list_group_offsets(&format!("connect-{name}"))
        .await
        .unwrap();
    client.close().await;
    for partition in &gone {
        let of = committed.iter().find(|(of, _)| of.partition == *partition);
        assert_eq!(of.map(|(_, at)| at.offset), Some(100), "of {partition}");
    }

    // What stays goes on, without having been opened again.
    world.fill("parted", 4, 10).await;
    let stays = || {
        let values = calls(name).values;
        (0..4)
            .filter(|of| !gone.contains(of))
            .all(|of| values[&of].len() == 110)
    };
    world.until("those that stay go on", stays).await;
    assert_eq!(calls(name).opened.iter().flatten().count(), 4);
    other.abort();
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebalance_while_a_put_is_not_taken_loses_and_reorders_nothing() {
    let world = World::start().await;
    world.create_topic_of("torn", 4, &[]).await;
    world.fill("torn", 4, 100).await;
    let worker = world.worker().await;
    let name = "torn-sink";
    let sink = world.scripted_sink(name, "torn", "waits-for-the-outside", &COOPERATIVE);
    worker.create(sink).await.unwrap();
    world
        .until("a put is refused", || calls(name).refusals > 1)
        .await;
    // It takes two of the four away, commits nothing, and leaves.
    let other = join(&world, name, "torn");
    world
        .until("some go away", || !calls(name).closed.is_empty())
        .await;
    assert_eq!(
        calls(name).flushed.iter().flatten().count(),
        0,
        "nothing was put"
    );
    other.abort();
    OUTSIDE_IS_THERE.store(true, Ordering::SeqCst);
    world.until("all are in", || values(name) >= 400).await;
    for (partition, values) in calls(name).values {
        assert_eq!(values, numbers(0..100), "of {partition}");
    }
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_poll_failed_is_committed() {
    let world = World::start().await;
    // Nothing is committed because it is time.
    let worker = world
        .worker_with(&[("offset.flush.interval.ms", "600000")])
        .await;
    let for_good = [("task.restart.enable", "false")];
    let source = world.scripted_source("last-words", "fails-in-the-sixth-poll", &for_good);
    worker.create(source).await.unwrap();
    let failed = || task_state(&worker, "last-words") == Some(State::Failed);
    world.until("the task fails", failed).await;
    let stored = || {
        worker
            .offsets("last-words")
            .first()
            .map(|at| at.offset.to_json())
    };
    let all = || stored().as_deref() == Some(r#"{"next":5}"#);
    world.until("its offset is stored", all).await;
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timestamp_that_cannot_be_makes_a_bad_record_and_minus_one_is_none() {
    let world = World::start().await;
    let worker = world.worker().await;
    let tolerant = [("errors.tolerance", "all")];
    let source = world.scripted_source("times", "timestamps", &tolerant);
    worker.create(source).await.unwrap();
    let sink = world.scripted_sink("times-sink", "times", "", &[]);
    worker.create(sink).await.unwrap();
    world
        .until("the good ones are in", || values("times-sink") == 4)
        .await;
    let records = calls("times-sink").records;
    let shown: Vec<String> = records
        .iter()
        .map(|record| record.value.to_string())
        .collect();
    assert_eq!(shown, ["0", "1", "2", "4"]);
    let times: Vec<i64> = records
        .iter()
        .map(|record| record.timestamp.unwrap())
        .collect();
    assert!(
        times[0] > 1_000_000 && times[1] > 1_000_000,
        "the time of sending: {times:?}"
    );
    assert_eq!(times[2..], [0, 5]);
    // Where bad records are not tolerated the task says which it was.
    let strict = world.scripted_source("strict-times", "timestamps", &[]);
    worker.create(strict).await.unwrap();
    let error = || {
        let status = worker.status();
        let task = status.get("strict-times").and_then(|all| all.tasks.first());
        task.and_then(|task| task.last_error.clone())
            .unwrap_or_default()
    };
    let said = || error().contains("expected a timestamp of at least 0, got -2");
    world.until("the task fails", said).await;
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_pass_the_header_converter_of_the_connector_both_ways() {
    let world = World::start().await;
    let worker = world.worker().await;
    let json = [
        (
            "header.converter",
            "org.apache.kafka.connect.json.JsonConverter",
        ),
        ("header.converter.schemas.enable", "true"),
    ];
    let source = world.scripted_source("headed", "headers", &json);
    worker.create(source).await.unwrap();
    for (name, more) in [("headed-json", &json[..]), ("headed-simple", &[])] {
        let sink = world.scripted_sink(name, "headed", "", more);
        worker.create(sink).await.unwrap();
        world.until("it is in", || values(name) == 1).await;
    }
    let headers = |name: &str| calls(name).records[0].headers.clone();
    let json: Vec<_> = headers("headed-json")
        .iter()
        .map(|header| header.value.clone())
        .collect();
    assert_eq!(
        json,
        [Value::Int32(7), "seven".into(), Value::Null],
        "in order, twice one name"
    );
    let first = headers("headed-json").iter().next().cloned().unwrap();
    assert_eq!(first.schema, Some(SchemaRef::INT32));
    // The worker's own converter sees what is in the topic.
    let simple = headers("headed-simple")
        .iter()
        .next()
        .unwrap()
        .value
        .to_string();
    assert!(simple.contains("payload"), "{simple}");
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_tasks_than_tasks_max_fail_the_connector_unless_that_is_allowed() {
    let world = World::start().await;
    let worker = world.worker().await;
    let two = ("tasks.max", "2");
    let strict = world.scripted_source("too-many", "three-tasks", &[two]);
    worker.create(strict).await.unwrap();
    let connector = || worker.status()["too-many"].clone();
    let failed = || connector().connector.state == State::Failed;
    world.until("the connector fails", failed).await;
    assert!(connector().tasks.is_empty());
    let error = connector().connector.last_error.unwrap();
    assert!(error.contains("tasks.max"), "{error}");
    let more = [two, ("tasks.max.enforce", "false")];
    let lax = world.scripted_source("many", "three-tasks", &more);
    worker.create(lax).await.unwrap();
    let running = || {
        let tasks = worker.status()["many"].tasks.clone();
        tasks.len() == 3 && tasks.iter().all(|task| task.state == State::Running)
    };
    world.until("all three run", running).await;
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_keep_their_order_over_an_outage_of_the_broker() {
    let mut world = World::start().await;
    let worker = world.worker_with(&[("producer.batch.size", "200")]).await;
    let count = 30 * COUNT;
    let source = world.source("ordered", "ordered", count, "");
    worker.create(source).await.unwrap();
    worker
        .create(world.sink("ordered-sink", "ordered", ""))
        .await
        .unwrap();
    let journal = Journal::of("ordered-sink");
    world
        .until("some are in", || !journal.values().is_empty())
        .await;
    assert!(journal.values().len() < count, "it is not over yet");
    world.stop_broker().await;
    world.start_broker().await;
    let all = || {
        journal
            .values()
            .last()
            .is_some_and(|last| *last == (count - 1).to_string())
    };
    world.until("all are in", all).await;
    // The sink may see records twice that were not committed, but never one before its turn.
    let mut next = 0;
    for value in journal.values() {
        let value: usize = value.parse().unwrap();
        assert!(value <= next, "{value} came where {next} was due");
        next = next.max(value + 1);
    }
    let status = worker.status();
    assert_eq!(
        status["ordered"].tasks[0].failures, 0,
        "an outage is waited for"
    );
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_made_stopped_begins_where_its_offsets_were_set() {
    let rest = Rest::start().await;
    let body = json!({"name": "later", "config": source("later", ""), "initial_state": "STOPPED"});
    let answer = rest.send("POST /connectors", &body.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let path = "/connectors/later/offsets";
    assert_eq!(rest.get(path).await, json!({"offsets": []}));
    let offsets = json!({"offsets": [{"partition": {"of": "numbers"}, "offset": {"next": 90}}]});
    let answer = rest
        .send(&format!("PATCH {path}"), &offsets.to_string())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(rest.get("/connectors/later/tasks").await, json!([]));
    rest.call("PUT /connectors/later/resume").await;
    let config = json!({"connector.class": SINK, "topics": "later"});
    rest.create("later-sink", &config).await;
    let journal = Journal::of("later-sink");
    rest.world
        .until("the rest is in", || journal.values().len() >= 10)
        .await;
    assert_eq!(journal.values(), numbers(90..100));
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_of_a_sink_with_a_group_of_its_own_are_shown_and_reset_twice() {
    let rest = Rest::start().await;
    rest.create("own", &source("own", "")).await;
    let config = json!({
        "connector.class": SINK, "topics": "own", "consumer.override.group.id": "a-group-of-its-own",
    });
    rest.create("own-sink", &config).await;
    let path = "/connectors/own-sink/offsets";
    let all = json!({"offsets": [{
        "partition": {"kafka_topic": "own", "kafka_partition": 0},
        "offset": {"kafka_offset": 100},
    }]});
    rest.until_get(path, &all).await;
    let client = rest.world.client();
    let committed = client
        .admin()
        .list_group_offsets("a-group-of-its-own")
        .await
        .unwrap();
    client.close().await;
    assert_eq!(
        committed.values().map(|at| at.offset).collect::<Vec<_>>(),
        [100]
    );
    rest.stop("own-sink").await;
    for round in 0..2 {
        let answer = rest.call(&format!("DELETE {path}")).await;
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text);
        assert_eq!(rest.get(path).await, json!({"offsets": []}));
    }
    rest.end().await;
}

#[test]
fn the_scripted_connectors_are_registered() {
    for class in [SCRIPTED_SOURCE, SCRIPTED_SINK] {
        assert_eq!(connect_core::plugin::find(class).unwrap().class(), class);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_trimmed_and_may_hold_anything_but_control_characters() {
    let rest = Rest::start().await;
    let create = async |name: &str| {
        let body = json!({"name": name, "config": source("named", "")});
        rest.send("POST /connectors", &body.to_string()).await
    };
    let answer = create("  spaced out ").await;
    assert_eq!(
        (answer.status, &answer.json()["name"]),
        (201, &json!("spaced out"))
    );
    assert!(
        answer.head.contains("location: /connectors/spaced%20out"),
        "{}",
        answer.head
    );
    for (name, path) in [
        ("with/slash", "with%2Fslash"),
        ("100%", "100%25"),
        ("ä?#&=", "%C3%A4%3F%23%26%3D"),
        ("plus+", "plus+"),
    ] {
        let answer = create(name).await;
        assert_eq!(answer.status, 201, "{name}: {}", answer.text);
        assert_eq!(rest.get(&format!("/connectors/{path}")).await["name"], name);
        let answer = rest.call(&format!("DELETE /connectors/{path}")).await;
        assert_eq!(answer.status, 204, "{name}: {}", answer.text);
    }
    for name in ["", "   ", "bell\u{7}", "line\nbreak", "nul\0"] {
        let answer = create(name).await;
        assert_eq!(answer.status, 400, "{name:?}: {}", answer.text);
    }
    assert_eq!(rest.get("/connectors").await, json!(["spaced out"]));
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_is_put_again_restarts_no_task() {
    let rest = Rest::start().await;
    let config = json!({"connector.class": SCRIPTED_SINK, "topics": "again-put", "mode": ""});
    rest.create("again-put", &config).await;
    let opened = || calls("again-put").opened.len();
    rest.world.until("it reads", || opened() == 1).await;
    let path = "PUT /connectors/again-put/config";
    for _ in 0..3 {
        assert_eq!(rest.send(path, &config.to_string()).await.status, 200);
    }
    let changed =
        json!({"connector.class": SCRIPTED_SINK, "topics": "again-put", "mode": "nothing-is-safe"});
    assert_eq!(rest.send(path, &changed.to_string()).await.status, 200);
    rest.world.until("it reads again", || opened() > 1).await;
    assert_eq!(opened(), 2, "once for each configuration");
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_takes_only_what_its_flags_say() {
    let rest = Rest::start().await;
    rest.create("sound", &source("sound", "")).await;
    rest.create("broken", &source("broken", "configuration"))
        .await;
    let task = |name: &str| {
        rest.worker.status()[name]
            .tasks
            .first()
            .cloned()
            .unwrap_or_default()
    };
    rest.world
        .until("one runs", || task("sound").state == State::Running)
        .await;
    rest.world
        .until("one fails", || task("broken").state == State::Failed)
        .await;
    // Flags, the status of the answer, whether the tasks of a running and of a failed one restart.
    for (flags, status, sound, broken) in [
        ("", 204, false, false),
        ("?includeTasks=false&onlyFailed=true", 202, false, false),
        ("?includeTasks=true&onlyFailed=true", 202, false, true),
        ("?includeTasks=true&onlyFailed=false", 202, true, true),
    ] {
        for (name, restarts) in [("sound", sound), ("broken", broken)] {
            let before = task(name).restarts;
            let answer = rest
                .call(&format!("POST /connectors/{name}/restart{flags}"))
                .await;
            assert_eq!(answer.status, status, "{name} {flags}: {}", answer.text);
            if status == 202 {
                let shown = answer.json()["tasks"][0]["state"] == "RESTARTING";
                assert_eq!(shown, restarts, "{name} {flags}: {}", answer.text);
            }
            let done = || {
                let task = task(name);
                let state = if name == "sound" {
                    State::Running
                } else {
                    State::Failed
                };
                task.restarts == before + u64::from(restarts) && task.state == state
            };
            rest.world.until("it is as before", done).await;
        }
    }
    for _ in 0..2 {
        assert_eq!(rest.call("PUT /connectors/sound/resume").await.status, 202);
    }
    for _ in 0..2 {
        assert_eq!(rest.call("PUT /connectors/sound/stop").await.status, 204);
    }
    assert!(rest.worker.status()["sound"].tasks.is_empty());
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validation_finds_what_kafka_s_finds() {
    let rest = Rest::start().await;
    let errors = async |more: serde_json::Value| {
        let mut config = json!({"name": "v", "connector.class": SINK});
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        let path = "PUT /connector-plugins/JournalSinkConnector/config/validate";
        let answer = rest.send(path, &config.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let infos = answer.json();
        let configs = infos["configs"].as_array().unwrap();
        let wrong = configs
            .iter()
            .filter(|it| it["value"]["errors"] != json!([]));
        wrong
            .map(|it| it["value"]["name"].as_str().unwrap().to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(errors(json!({"topics": "t"})).await, BTreeSet::new());
    for (more, key) in [
        (json!({}), "topics"),
        (
            json!({"topics": "t", "topics.regex": "t.*"}),
            "topics.regex",
        ),
        (
            json!({"topics": "t", "errors.deadletterqueue.topic.name": "t",
                "errors.tolerance": "all"}),
            "errors.deadletterqueue.topic.name",
        ),
        (
            json!({"topics.regex": "t.*", "errors.deadletterqueue.topic.name": "tt",
                "errors.tolerance": "all"}),
            "errors.deadletterqueue.topic.name",
        ),
        (
            json!({"topics": "t", "transforms": "a,a", "transforms.a.type": "Filter"}),
            "transforms",
        ),
        (json!({"topics": "t", "predicates": "p,p"}), "predicates"),
        (
            json!({"topics": "t", "transforms": "a", "transforms.a.type": "Filter",
                "transforms.a.negate": "true"}),
            "transforms.a.negate",
        ),
        (
            json!({"topics": "t", "transforms": "a", "transforms.a.type": "Filter",
                "transforms.a.predicate": "nobody"}),
            "transforms.a.predicate",
        ),
        (
            json!({"topics": "t", "transforms": "a"}),
            "transforms.a.type",
        ),
        (
            json!({"topics": "t", "transforms": "a", "transforms.a.type": "NoSuchTransform"}),
            "transforms.a.type",
        ),
        // A class that is no converter, one that is none for values, and one that is none at all.
        (
            json!({"topics": "t", "value.converter": SINK}),
            "value.converter",
        ),
        (
            json!({"topics": "t",
                "key.converter": "org.apache.kafka.connect.storage.SimpleHeaderConverter"}),
            "key.converter",
        ),
        (
            json!({"topics": "t", "header.converter": "no.such.Converter"}),
            "header.converter",
        ),
    ] {
        let found = errors(more.clone()).await;
        assert!(found.contains(key), "{more}: {found:?}");
    }
    rest.end().await;
}
