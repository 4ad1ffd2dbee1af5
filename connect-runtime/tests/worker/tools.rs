//! The connectors that people test with, in a worker.

use std::collections::BTreeMap;

use connect_runtime::{State, Worker};
use connect_tools as _;
use kafka_client::{AutoOffsetReset, Consumer, ConsumerConfig, TopicPartition};
use serde_json::{Value, json};
use tokio::time::Duration;

use crate::rest::Rest;
use crate::world::World;

/// All records of a topic of one partition, keys and values as text.
async fn records(world: &World, topic: &str, count: usize) -> Vec<(String, String)> {
    let mut config = ConsumerConfig::default();
    config.auto_offset_reset = AutoOffsetReset::Earliest;
    let mut consumer = Consumer::new(world.client(), config).unwrap();
    consumer
        .assign(vec![TopicPartition::new(topic, 0)])
        .unwrap();
    let mut records = Vec::new();
    let text = |bytes: Option<bytes::Bytes>| {
        String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap()
    };
    while records.len() < count {
        let polled = consumer.poll(Duration::from_secs(5)).await.unwrap();
        for record in polled.batches.into_iter().flat_map(|batch| batch.records) {
            records.push((text(record.key), text(record.value)));
        }
    }
    consumer.close().await;
    records
}

fn json_values() -> [(&'static str, &'static str); 2] {
    [
        ("value.converter", "json"),
        ("value.converter.schemas.enable", "false"),
    ]
}

fn task(worker: &Worker, name: &str) -> Option<connect_runtime::TaskStatus> {
    worker.status().get(name)?.tasks.first().cloned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_records_come_once_over_a_restart_and_are_the_same_with_the_same_seed() {
    let world = World::start().await;
    let config = |name: &str, topic: &str, iterations: &str| -> Value {
        let mut config = json!({
            "name": name, "connector.class": "DatagenSource", "kafka.topic": topic,
            "max.interval": "0", "iterations": iterations, "quickstart": "orders",
            "random.seed": "42",
        });
        for (key, text) in json_values() {
            config[key] = json!(text);
        }
        config
    };
    for (count, iterations) in [(1200, "1200"), (3000, "3000")] {
        let worker = world.worker().await;
        let made = world.of(&config("made", "made", iterations));
        worker.create(made).await.unwrap();
        let again = world.of(&config("again", "again", "3000"));
        worker.create(again).await.unwrap();
        let waits = |name: &str, count: usize| {
            let said = task(&worker, name)
                .map(|task| task.summary(0))
                .unwrap_or_default();
            said.contains(&format!("all {count} records (iterations) are written"))
        };
        world
            .until("it says that it is done", || waits("made", count))
            .await;
        world
            .until("so does the other", || waits("again", 3000))
            .await;
        worker.stop().await;
    }
    let made = records(&world, "made", 3000).await;
    assert_eq!(made.len(), 3000);
    assert_eq!(made, records(&world, "again", 3000).await);
    for (number, (key, value)) in made.iter().enumerate() {
        let value: BTreeMap<String, Value> = serde_json::from_str(value).unwrap();
        assert_eq!(
            (key.as_str(), &value["orderid"]),
            (number.to_string().as_str(), &json!(number))
        );
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mock_connectors_fail_as_they_are_asked_to() {
    let world = World::start().await;
    let worker = world.worker().await;
    let config = |name: &str, class: &str, mode: &str| {
        json!({
            "name": name, "connector.class": class, "mock_mode": mode, "delay_ms": "200",
            "topics": "mocked",
        })
    };
    world.create_topic("mocked", &[]).await;
    let numbers = json!({
        "name": "numbers", "connector.class": "DatagenSource", "kafka.topic": "mocked",
        "max.interval": "20", "quickstart": "users", "value.converter": "json",
    });
    worker.create(world.of(&numbers)).await.unwrap();
    for (name, class, mode) in [
        ("source-task", "MockSource", "task-failure"),
        ("sink-task", "MockSinkConnector", "task-failure"),
        (
            "source",
            "org.apache.kafka.connect.tools.MockSourceConnector",
            "connector-failure",
        ),
    ] {
        worker
            .create(world.of(&config(name, class, mode)))
            .await
            .unwrap();
    }
    for name in ["source-task", "sink-task"] {
        world
            .until("the task fails", || {
                task(&worker, name).is_some_and(|task| {
                    task.last_error
                        .is_some_and(|it| it.contains("mock task fails"))
                })
            })
            .await;
    }
    world
        .until("the connector fails", || {
            worker.status()["source"]
                .connector
                .last_error
                .as_ref()
                .is_some_and(|error| error.contains("mock connector fails"))
        })
        .await;
    assert_eq!(task(&worker, "source").unwrap().state, State::Running);
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_mistakes_in_their_keys_are_told_by_a_validation() {
    let rest = Rest::start().await;
    for (class, keys, wrong) in [
        (
            "VerifiableSource",
            json!({"throughput": "fast", "complete.record.data": "maybe"}),
            vec!["complete.record.data", "throughput", "topic"],
        ),
        (
            "SchemaSource",
            json!({"topic": "t", "num.messages": "-2", "partition.count": "0"}),
            vec!["num.messages", "partition.count"],
        ),
        (
            "MockSource",
            json!({"mock_mode": "sometimes", "delay_ms": "-1"}),
            vec!["delay_ms", "mock_mode"],
        ),
        (
            "DatagenSource",
            json!({"kafka.topic": "t", "schema.string": "{}", "quickstart": "users"}),
            vec!["quickstart", "schema.string"],
        ),
        (
            "DatagenSource",
            json!({"kafka.topic": "t", "schema.filename": "/does/not/exist"}),
            vec!["schema.filename"],
        ),
    ] {
        let mut config = keys;
        config["name"] = json!("v");
        config["connector.class"] = json!(class);
        let path = format!("PUT /connector-plugins/{class}/config/validate");
        let infos = rest.send(&path, &config.to_string()).await.json();
        let configs = infos["configs"]
            .as_array()
            .unwrap_or_else(|| panic!("{infos}"));
        let mut found: Vec<&str> = configs
            .iter()
            .map(|it| &it["value"])
            .filter(|value| !value["errors"].as_array().unwrap().is_empty())
            .filter_map(|value| value["name"].as_str())
            .collect();
        found.sort_unstable();
        assert_eq!(found, wrong, "{class}");
    }
    rest.end().await;
}
