//! Records that fail, and where they end.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use connect_runtime::config::connector::ConnectorConfig;
use connect_runtime::config::{Problems, Settings};
use connect_runtime::{State, Worker};
use kafka_client::{
    AutoOffsetReset, Consumer, ConsumerConfig, Header, Producer, ProducerConfig, ProducerRecord,
    Record, TopicPartition,
};
use tokio::time::timeout;

use crate::connectors::{Journal, SINK};
use crate::world::World;
use crate::{COUNT, numbers};

const QUEUE: &str = "errors.deadletterqueue.topic.name";
const CONTEXT: (&str, &str) = ("errors.deadletterqueue.context.headers.enable", "true");
const TOLERANT: (&str, &str) = ("errors.tolerance", "all");

/// The first `count` records of a topic with one partition.
async fn records_of(world: &World, topic: &str, count: usize) -> Vec<Record> {
    let mut config = ConsumerConfig::default();
    config.auto_offset_reset = AutoOffsetReset::Earliest;
    let mut consumer = Consumer::new(world.client(), config).unwrap();
    let partition = TopicPartition::new(topic, 0);
    consumer.assign(vec![partition]).unwrap();
    let mut records = Vec::new();
    let read = async {
        while records.len() < count {
            let polled = consumer.poll(Duration::from_secs(1)).await.unwrap();
            records.extend(polled.batches.into_iter().flat_map(|batch| batch.records));
        }
    };
    let done = timeout(Duration::from_secs(60), read).await;
    assert!(done.is_ok(), "{count} records of {topic}");
    records
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn values(records: &[Record]) -> Vec<String> {
    let values = records.iter().map(|record| record.value.as_ref());
    values.map(|value| text(value.unwrap())).collect()
}

/// The headers of a dead letter, without their prefix.
fn context(record: &Record) -> BTreeMap<String, String> {
    let pair = |header: &Header| {
        let key = text(&header.key);
        let name = key.strip_prefix("__connect.errors.")?.to_owned();
        Some((name, text(header.value.as_ref()?)))
    };
    record.headers.iter().filter_map(pair).collect()
}

/// Numbers from 0 in a topic, and a sink of it that has put all but the bad ones.
async fn sink_of_numbers(
    world: &World,
    worker: &Worker,
    topic: &str,
    mode: &str,
    queue: &str,
) -> String {
    let source = world.source(&format!("{topic}-source"), topic, COUNT, "");
    worker.create(source).await.unwrap();
    let name = format!("{topic}-sink");
    let keys = [TOLERANT, (QUEUE, queue), CONTEXT];
    let sink = world.sink_with(&name, topic, mode, &keys);
    worker.create(sink).await.unwrap();
    name
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_cannot_be_converted_go_to_the_queue_as_they_were_read() {
    let world = World::start().await;
    let worker = world.worker().await;
    world.create_topic("raw", &[]).await;
    let producer = Producer::new(world.client(), ProducerConfig::default()).unwrap();
    let bad = ProducerRecord {
        partition: Some(0),
        timestamp: Some(1_700_000_000_000),
        key: Some("k".into()),
        value: Some(Bytes::from_static(b"{\"a\": \xff")),
        headers: vec![Header {
            key: "mine".into(),
            value: Some("1".into()),
        }],
    };
    let records = vec![
        ProducerRecord::value("\"one\""),
        bad.clone(),
        ProducerRecord::value("\"two\""),
    ];
    producer
        .send(&"raw".into(), records)
        .await
        .unwrap()
        .await
        .unwrap();
    let keys = [
        TOLERANT,
        (QUEUE, "raw-dead"),
        CONTEXT,
        (
            "value.converter",
            "org.apache.kafka.connect.json.JsonConverter",
        ),
        ("value.converter.schemas.enable", "false"),
    ];
    let sink = world.sink_with("raw-sink", "raw", "", &keys);
    worker.create(sink).await.unwrap();
    let letters = records_of(&world, "raw-dead", 1).await;
    let letter = &letters[0];
    assert_eq!(
        (&letter.key, &letter.value, letter.timestamp),
        (&bad.key, &bad.value, 1_700_000_000_000)
    );
    assert_eq!(letter.headers[0], bad.headers[0]);
    let context = context(letter);
    let names: Vec<&str> = context.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "class.name",
            "connector.name",
            "exception.class.name",
            "exception.message",
            "exception.stacktrace",
            "offset",
            "partition",
            "stage",
            "task.id",
            "topic",
        ]
    );
    for (name, expected) in [
        ("class.name", "org.apache.kafka.connect.json.JsonConverter"),
        ("connector.name", "raw-sink"),
        (
            "exception.class.name",
            "org.apache.kafka.connect.errors.DataException",
        ),
        ("offset", "1"),
        ("partition", "0"),
        ("stage", "VALUE_CONVERTER"),
        ("task.id", "0"),
        ("topic", "raw"),
    ] {
        assert_eq!(context[name], expected, "{name}");
    }
    world.until_committed("raw-sink", 3).await;
    assert_eq!(Journal::of("raw-sink").values(), ["one", "two"]);
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_refused_as_a_whole_is_divided_until_the_bad_records_are_found() {
    let world = World::start().await;
    let worker = world.worker().await;
    let name = sink_of_numbers(
        &world,
        &worker,
        "poisoned",
        "poison-3,500,501",
        "poison-dead",
    )
    .await;
    let letters = records_of(&world, "poison-dead", 3).await;
    assert_eq!(values(&letters), ["3", "500", "501"]);
    let context = context(&letters[1]);
    assert_eq!(context["stage"], "TASK_PUT");
    assert_eq!(context["offset"], "500");
    assert_eq!(context["exception.message"], "one of these is poison");
    world.until_committed(&name, COUNT as i64).await;
    let expected: Vec<String> = numbers(0..COUNT)
        .into_iter()
        .filter(|number| !["3", "500", "501"].contains(&number.as_str()))
        .collect();
    assert_eq!(Journal::of(&name).values(), expected, "in order, once");
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_a_sink_lists_or_reports_go_to_the_queue() {
    let world = World::start().await;
    let worker = world.worker().await;
    for (topic, mode, queue, message) in [
        ("listed", "bad-7,8", "listed-dead", "7 is bad"),
        ("reported", "report-7,8", "reported-dead", "7 is errant"),
    ] {
        let name = sink_of_numbers(&world, &worker, topic, mode, queue).await;
        let letters = records_of(&world, queue, 2).await;
        assert_eq!(values(&letters), ["7", "8"]);
        let context = context(&letters[0]);
        assert_eq!(context["exception.message"], message);
        assert_eq!((&*context["topic"], &*context["offset"]), (topic, "7"));
        world.until_committed(&name, COUNT as i64).await;
        assert_eq!(Journal::of(&name).values().len(), COUNT - 2);
    }
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reported_record_fails_the_task_where_bad_records_are_not_tolerated() {
    let world = World::start().await;
    let worker = world.worker().await;
    let source = world.source("intolerant-source", "intolerant", COUNT, "");
    worker.create(source).await.unwrap();
    let sink = world.sink("intolerant-sink", "intolerant", "report-7");
    worker.create(sink).await.unwrap();
    let error = || {
        let status = worker.status();
        let task = status["intolerant-sink"].tasks.first()?;
        task.last_error.clone()
    };
    world.until("the sink fails", || error().is_some()).await;
    assert!(error().unwrap().contains("7 is errant"));
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_committed_before_the_dead_letter_is_acknowledged() {
    let world = World::start().await;
    let worker = world.worker().await;
    // No letter fits.
    world
        .create_topic("held-dead", &[("max.message.bytes", "100")])
        .await;
    let name = sink_of_numbers(&world, &worker, "held", "bad-0", "held-dead").await;
    let fails = || {
        let status = worker.status();
        let error = status[&name].tasks.first();
        let error = error.and_then(|task| task.last_error.clone());
        error.is_some_and(|error| error.contains("dead letter queue \"held-dead\""))
    };
    world.until("the state says what is wrong", fails).await;
    assert_eq!(world.committed(&name).await, None);
    world.let_in("held-dead").await;
    world.until_committed(&name, COUNT as i64).await;
    assert_eq!(values(&records_of(&world, "held-dead", 1).await)[0], "0");
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_s_records_that_fail_go_to_the_queue() {
    let world = World::start().await;
    let worker = world.worker().await;
    let keys = [
        TOLERANT,
        (QUEUE, "source-dead"),
        CONTEXT,
        ("transforms", "mask"),
        ("transforms.mask.type", "MaskField"),
        ("transforms.mask.fields", "x"),
    ];
    let source = world.source_with("failing-source", "failing", COUNT, &keys);
    worker.create(source).await.unwrap();
    let letters = records_of(&world, "source-dead", COUNT).await;
    assert_eq!(values(&letters), numbers(0..COUNT));
    let context = context(&letters[0]);
    assert_eq!(context["topic"], "failing");
    assert_eq!(context["stage"], "TRANSFORMATION");
    assert_eq!(
        context["class.name"],
        "org.apache.kafka.connect.transforms.MaskField$Value"
    );
    let stored = || {
        let offsets = worker.offsets("failing-source");
        offsets.first().map(|at| at.offset.to_json())
    };
    world
        .until("the offset is stored", || {
            stored().as_deref() == Some(r#"{"next":1000}"#)
        })
        .await;
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_the_sink_reads_is_refused_and_one_without_tolerance_is_warned_about() {
    let world = World::start().await;
    let read = |more: &[(&str, &str)]| {
        let mut keys = vec![("name", "loop"), ("connector.class", SINK)];
        keys.extend(more);
        let keys = keys.into_iter();
        let map = keys.map(|(key, text)| (key.to_owned(), text.to_owned()));
        let settings = Settings::from_map("test", &map.collect());
        let read = ConnectorConfig::read(&settings, &world.worker_config(&[]));
        read.map(|(_, notes)| Problems(notes).to_string())
            .map_err(|problems| problems.to_string())
    };
    for topics in [("topics", "a,dead"), ("topics.regex", "de.*")] {
        let error = read(&[topics, TOLERANT, (QUEUE, "dead")]).unwrap_err();
        assert!(
            error.contains("expected another topic than those the connector reads, got \"dead\""),
            "{error}"
        );
    }
    let warned = read(&[("topics", "a"), (QUEUE, "dead")]).unwrap();
    assert!(
        warned.contains("has no effect while errors.tolerance is \"none\""),
        "{warned}"
    );
    let good = [("topics.regex", "dea"), TOLERANT, (QUEUE, "dead")];
    assert_eq!(read(&good).as_deref(), Ok(""));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_stops_for_good_when_too_many_records_fail() {
    let world = World::start().await;
    let worker = world.worker().await;
    let produced = world.source("rate-numbers", "rate", COUNT, "");
    worker.create(produced).await.unwrap();
    // Numbers are not JSON objects, so all of them fail at the transform.
    let keys = [
        ("errors.tolerance", "all"),
        ("errors.deadletterqueue.topic.name", "rate-dead"),
        ("errors.rate.max.percent", "20"),
        ("errors.rate.records.min", "100"),
        ("transforms", "cast"),
        ("transforms.cast.type", "ReplaceField$Value"),
        ("transforms.cast.exclude", "x"),
    ];
    let sink = world.sink_with("rate-sink", "rate", "", &keys);
    worker.create(sink).await.unwrap();
    let task = |name: &str| {
        let status = worker.status();
        status[name].tasks.first().cloned().unwrap_or_default()
    };
    world
        .until("the sink is failed", || {
            task("rate-sink").state == State::Failed
        })
        .await;
    let failed = task("rate-sink");
    let error = failed.last_error.unwrap();
    assert!(
        error.contains("records failed within 60s")
            && error.contains("errors.rate.max.percent (20)"),
        "{error}"
    );
    let why = failed.not_restarted.unwrap();
    assert!(why.contains("restart it by request"), "{why}");
    // What was skipped is in the queue and committed, and nothing else.
    let committed = world.committed("rate-sink").await.unwrap();
    assert!((100..=COUNT as i64).contains(&committed), "{committed}");
    let letters = records_of(&world, "rate-dead", usize::try_from(committed).unwrap()).await;
    let values = values(&letters);
    assert_eq!(values, numbers(0..values.len()));

    // A source is stopped as well, and one whose share is small enough is not.
    let bad = [
        ("errors.tolerance", "all"),
        ("errors.rate.max.percent", "20"),
        ("transforms", "cast"),
        ("transforms.cast.type", "ReplaceField$Value"),
        ("transforms.cast.exclude", "x"),
    ];
    let source = world.source_with("rate-source", "rate-out", COUNT, &bad);
    worker.create(source).await.unwrap();
    world
        .until("the source is failed", || {
            task("rate-source").state == State::Failed
        })
        .await;
    let few = [
        ("errors.tolerance", "all"),
        ("errors.rate.max.percent", "20"),
    ];
    let sink = world.sink_with("rate-few-sink", "rate", "bad-500,501", &few);
    worker.create(sink).await.unwrap();
    let journal = Journal::of("rate-few-sink");
    world
        .until("all others are in the sink", || {
            journal.values().len() == COUNT - 2
        })
        .await;
    assert_eq!(task("rate-few-sink").state, State::Running);
    worker.stop().await;
    world.end().await;
}
