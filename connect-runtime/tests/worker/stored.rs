//! Connectors that outlive their worker.

use std::path::Path;
use std::time::Duration;

use connect_runtime::config::Settings;
use connect_runtime::config::connector::ConnectorConfig;
use connect_runtime::{State, Worker, WorkerError};
use kafka_client::{
    AutoOffsetReset, Client, ClientConfig, ConfigResource, Consumer, ConsumerConfig,
    ProducerRecord, TopicPartition,
};
use serde_json::json;
use tokio::time::Instant;

use crate::COUNT;
use crate::connectors::{Journal, SINK};
use crate::rest::{Rest, source};
use crate::world::World;

const TOPIC: &str = "kept-connectors";

async fn worker(world: &World) -> Worker {
    world.worker_with(&[("config.storage.topic", TOPIC)]).await
}

/// Ends a worker and starts another one, as a restart of the program does.
async fn again(world: &World, worker: Worker) -> Worker {
    worker.stop().await;
    let worker = self::worker(world).await;
    let restored = worker.start_stored().await.unwrap();
    assert!(restored.refused.is_empty(), "{:?}", restored.refused);
    worker
}

fn initially(config: ConnectorConfig, state: &str, worker: &Worker) -> ConnectorConfig {
    let json = serde_json::json!({"config": config.map, "initial_state": state}).to_string();
    let format = connect_runtime::config::Format::Json;
    let (settings, _) = Settings::parse(format, "test", json.as_bytes()).unwrap();
    ConnectorConfig::read(&settings, worker.config()).unwrap().0
}

/// The values of all records of the topic.
async fn stored_values(world: &World) -> Vec<String> {
    let mut config = ConsumerConfig::default();
    config.auto_offset_reset = AutoOffsetReset::Earliest;
    let mut consumer = Consumer::new(world.client(), config).unwrap();
    let partition = TopicPartition::new(TOPIC, 0);
    consumer.assign(vec![partition.clone()]).unwrap();
    let mut values = Vec::new();
    while consumer.high_watermark(&partition).is_none()
        || consumer.position(&partition) < consumer.high_watermark(&partition)
    {
        let polled = consumer.poll(Duration::from_secs(1)).await.unwrap();
        let records = polled.batches.into_iter().flat_map(|batch| batch.records);
        let text = |value: bytes::Bytes| String::from_utf8(value.to_vec()).unwrap();
        values.extend(records.filter_map(|record| record.value.map(text)));
    }
    values
}

/// Writes records as another program would.
async fn write(world: &World, records: &[(&str, Option<&str>)]) {
    let client = Client::new(ClientConfig::new([world.address()])).unwrap();
    let records: Vec<ProducerRecord> = records
        .iter()
        .map(|(key, value)| ProducerRecord {
            key: Some((*key).to_owned().into()),
            value: value.map(|value| value.to_owned().into()),
            ..ProducerRecord::default()
        })
        .collect();
    let partition = TopicPartition::new(TOPIC, 0);
    client.write(&partition, &records, None).await.unwrap();
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connectors_are_after_a_restart_as_they_were_left() {
    let world = World::start().await;
    let worker = worker(&world).await;
    for name in ["runs", "paused", "stopped", "changed", "deleted", "resumed"] {
        worker.create(world.sink(name, "kept", "")).await.unwrap();
    }
    let quiet = initially(world.sink("quiet", "kept", ""), "STOPPED", &worker);
    worker.create(quiet).await.unwrap();
    worker.pause("paused").await.unwrap();
    worker.stop_connector("stopped").await.unwrap();
    worker.stop_connector("resumed").await.unwrap();
    worker.resume("resumed").await.unwrap();
    let changed = world.sink_with("changed", "kept", "", &[("tasks.max", "2")]);
    worker.update(changed.clone()).await.unwrap();
    worker.remove("deleted").await.unwrap();

    let worker = again(&world, worker).await;
    let names = ["changed", "paused", "quiet", "resumed", "runs", "stopped"];
    assert_eq!(worker.names().await.unwrap(), names);
    let configuration = worker.configuration("changed").await.unwrap();
    assert_eq!(configuration.map, changed.map);
    let state = |name: &str| {
        let status = worker.status()[name].clone();
        (
            status.connector.state,
            status.tasks.first().map(|task| task.state),
        )
    };
    for (name, expected) in [
        ("runs", State::Running),
        ("changed", State::Running),
        ("resumed", State::Running),
        ("paused", State::Paused),
    ] {
        world
            .until(&format!("{name} is {expected:?}"), || {
                state(name) == (expected, Some(expected))
            })
            .await;
    }
    for name in ["stopped", "quiet"] {
        assert_eq!(state(name), (State::Stopped, None), "{name}");
    }
    // What was deleted may be made anew, and a second restart changes nothing.
    let deleted = world.sink("deleted", "kept", "");
    worker.create(deleted).await.unwrap();
    let worker = again(&world, worker).await;
    assert_eq!(worker.names().await.unwrap().len(), names.len() + 1);
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topic_is_made_for_the_first_connector_compacted_and_with_one_partition() {
    let world = World::start().await;
    let worker = worker(&world).await;
    let client = Client::new(ClientConfig::new([world.address()])).unwrap();
    let topics = [TOPIC.to_owned()];
    let described = client.admin().describe_topics(&topics).await.unwrap();
    assert!(described[0].1.is_err(), "{described:?}");
    worker
        .create(world.sink("first", "kept", ""))
        .await
        .unwrap();
    let described = client.admin().describe_topics(&topics).await.unwrap();
    assert_eq!(described[0].1.as_ref().unwrap().partitions.len(), 1);
    let resource = [ConfigResource::topic(TOPIC)];
    let configs = client.admin().describe_configs(&resource).await.unwrap();
    let entries = configs[0].1.as_ref().unwrap();
    let policy = entries.iter().find(|entry| entry.name == "cleanup.policy");
    assert_eq!(policy.unwrap().value.as_deref(), Some("compact"));
    client.close().await;
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_would_lose_connectors_or_their_order_is_refused() {
    let world = World::start().await;
    world
        .create_topic("deleting", &[("cleanup.policy", "delete")])
        .await;
    world
        .create_topic_of("wide", 3, &[("cleanup.policy", "compact")])
        .await;
    for (topic, expected) in [
        (
            "deleting",
            "topic \"deleting\" cannot keep connectors: its cleanup.policy is \"delete\"",
        ),
        (
            "wide",
            "topic \"wide\" cannot keep connectors: it has 3 partitions and must have 1",
        ),
    ] {
        let config = world.worker_config(&[("config.storage.topic", topic)]);
        let servers = config.bootstrap_servers.clone().unwrap();
        let error = Worker::start(config, servers).await.err().unwrap();
        let text = error.to_string();
        assert!(
            text.starts_with(expected) && text.contains("config.storage.topic"),
            "{text}"
        );
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_is_not_made_where_its_topic_cannot_be() {
    let world = World::start().await;
    let keys = [
        ("config.storage.topic", TOPIC),
        ("config.storage.replication.factor", "3"),
    ];
    let worker = world.worker_with(&keys).await;
    let refused = worker.create(world.sink("first", "kept", "")).await;
    let text = refused.unwrap_err().to_string();
    let expected = "topic \"kept-connectors\" cannot keep connectors: it could not be created: ";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(worker.names().await.unwrap(), Vec::<String>::new());
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_wins_over_a_stored_connector_which_waits_for_a_start_without_the_file() {
    let world = World::start().await;
    let worker = worker(&world).await;
    let stored = world.sink_with("both", "kept", "", &[("tasks.max", "2")]);
    worker.create(stored.clone()).await.unwrap();
    worker.stop().await;

    let worker = self::worker(&world).await;
    assert!(worker.is_stored("both"));
    let in_file = world.sink("both", "kept", "");
    let file = Path::new("both.toml");
    worker.create_from(in_file.clone(), file).await.unwrap();
    let restored = worker.start_stored().await.unwrap();
    assert!(restored.started.is_empty(), "{restored:?}");
    let configuration = worker.configuration("both").await.unwrap();
    assert_eq!(configuration.map, in_file.map);
    // A change of it is the file's business at the next start.
    let changed = world.sink_with("both", "kept", "", &[("tasks.max", "3")]);
    worker.update(changed).await.unwrap();
    worker.pause("both").await.unwrap();

    let worker = again(&world, worker).await;
    let configuration = worker.configuration("both").await.unwrap();
    assert_eq!(configuration.map, stored.map);
    world
        .until("it runs", || {
            worker.status()["both"].connector.state == State::Running
        })
        .await;
    worker.stop().await;

    // Whoever deletes it does not want the stored one back.
    let worker = self::worker(&world).await;
    worker.create_from(in_file, file).await.unwrap();
    worker.start_stored().await.unwrap();
    worker.remove("both").await.unwrap();
    let worker = again(&world, worker).await;
    assert_eq!(worker.names().await.unwrap(), Vec::<String>::new());
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_distributed_workers_left_is_started() {
    let world = World::start().await;
    world
        .create_topic(TOPIC, &[("cleanup.policy", "compact")])
        .await;
    let sink = format!(
        r#"{{"properties":{{"connector.class":"{SINK}","topics":"left","name":"left","tasks.max":"1"}}}}"#
    );
    write(
        &world,
        &[
            (
                "session-key",
                Some(r#"{"key":"AA==","algorithm":"HmacSHA256","creation-timestamp":1}"#),
            ),
            (
                "target-state-left",
                Some(r#"{"state":"PAUSED","state.v2":"PAUSED"}"#),
            ),
            ("connector-left", Some(&sink)),
            ("connector-gone", Some(&sink)),
            ("task-left-0", Some(r#"{"properties":{"task.class":"x"}}"#)),
            ("commit-left", Some(r#"{"tasks":1}"#)),
            ("connector-gone", None),
            ("target-state-gone", None),
            ("something else", Some("\u{0}")),
            (
                "connector-unknown",
                Some(r#"{"properties":{"connector.class":"io.example.Missing","name":"unknown"}}"#),
            ),
        ],
    )
    .await;
    let worker = worker(&world).await;
    let restored = worker.start_stored().await.unwrap();
    let names: Vec<&str> = restored.started.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["left"]);
    let (name, problems) = &restored.refused[0];
    assert_eq!(name, "unknown");
    assert!(
        problems.to_string().contains("io.example.Missing"),
        "{problems}"
    );
    world
        .until("it is paused as it was", || {
            worker.status()["left"].connector.state == State::Paused
        })
        .await;
    worker.resume("left").await.unwrap();
    let source = world.source("left-source", "left", COUNT, "");
    worker.create(source).await.unwrap();
    let journal = Journal::of("left");
    world
        .until("it moves records", || journal.values().len() >= COUNT)
        .await;
    // One that cannot be started can be deleted all the same.
    worker.remove("unknown").await.unwrap();
    assert!(!worker.is_stored("unknown"));
    let worker = again(&world, worker).await;
    assert_eq!(worker.names().await.unwrap(), ["left", "left-source"]);
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_whose_secret_is_missing_at_the_start_is_shown_and_starts_once_it_is_there() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join("secrets.properties");
    let keys = [
        ("config.storage.topic", TOPIC),
        ("config.providers", "file"),
        ("config.providers.file.class", "FileConfigProvider"),
        ("task.restart.backoff.ms", "20"),
        ("task.restart.backoff.max.ms", "100"),
        ("task.restart.failures.max", "0"),
    ];
    std::fs::write(&secrets, "topic=kept\n").unwrap();
    let worker = world.worker_with(&keys).await;
    let reference = format!("${{file:{}:topic}}", secrets.display());
    let config = json!({"name": "late", "connector.class": SINK, "topics": reference});
    let settings = Settings::from_map("test", &serde_json::from_value(config).unwrap());
    let (config, _) = ConnectorConfig::read(&settings, worker.config()).unwrap();
    let written = config.map.clone();
    worker.create(config).await.unwrap();
    worker.stop().await;

    std::fs::remove_file(&secrets).unwrap();
    let worker = world.worker_with(&keys).await;
    let restored = worker.start_stored().await.unwrap();
    assert_eq!(restored.refused[0].0, "late");
    assert_eq!(worker.names().await.unwrap(), ["late"]);
    assert_eq!(worker.configuration("late").await.unwrap().map, written);
    let connector = || worker.status()["late"].connector.clone();
    world
        .until("it says what is missing", || {
            let error = connector().last_error.unwrap_or_default();
            connector().failures > 1 && error.contains("secrets.properties")
        })
        .await;
    std::fs::write(&secrets, "topic=kept\n").unwrap();
    world
        .until("it runs", || connector().state == State::Running)
        .await;
    let source = world.source("kept-source", "kept", COUNT, "");
    worker.create(source).await.unwrap();
    let journal = Journal::of("late");
    world
        .until("it moves records", || journal.values().len() >= COUNT)
        .await;
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_cannot_be_stored_is_not_made_and_holds_up_no_stop() {
    let world = World::start().await;
    let worker = std::sync::Arc::new(worker(&world).await);
    worker.create(world.sink("here", "kept", "")).await.unwrap();
    let other = world.sink("other", "kept", "");
    let world = world.without_broker().await;
    let creating = std::sync::Arc::clone(&worker);
    let creating = tokio::spawn(async move { creating.create(other).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(worker.names().await.unwrap(), ["here"]);
    assert!(!creating.is_finished());
    let begun = Instant::now();
    worker.stop().await;
    let refused = creating.await.unwrap().unwrap_err();
    assert!(matches!(refused, WorkerError::Stopping), "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_topic_connectors_end_with_the_worker() {
    let world = World::start().await;
    let worker = world.worker().await;
    worker
        .create(world.sink("brief", "kept", ""))
        .await
        .unwrap();
    assert!(!worker.is_stored("brief"));
    worker.stop().await;
    let worker = world.worker().await;
    assert!(worker.start_stored().await.unwrap().started.is_empty());
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_stored_as_its_reference_and_read_again_after_a_restart() {
    const SECRET: &str = "canary-stored-4b1e";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), SECRET).unwrap();
    let keys = [
        ("config.storage.topic", TOPIC),
        ("config.providers", "dir"),
        ("config.providers.dir.class", "DirectoryConfigProvider"),
    ];
    let rest = Rest::start_with(&keys).await;
    let reference = format!("${{dir:{}:token}}", folder.path().display());
    let mut config = json!({
        "connector.class": SINK, "topics": "kept", "mode": "leak", "token": reference,
    });
    rest.create("kept", &config).await;
    rest.create("kept-source", &source("kept", "")).await;
    // Only one key is asked for; the others are as they were written.
    let line = "PATCH /connectors/kept/config";
    let patched = rest.send(line, r#"{"tasks.max": "2"}"#).await;
    assert_eq!(patched.status, 200, "{}", patched.text);
    assert_eq!(patched.json()["config"]["token"], reference);
    // What the connector refuses, with the secret in its hands, is not stored.
    config["mode"] = json!("refuse");
    let line = "PUT /connectors/kept/config";
    let refused = rest.send(line, &config.to_string()).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(
        refused.text.contains("not with [hidden]"),
        "{}",
        refused.text
    );
    let values = stored_values(&rest.world).await;
    assert_eq!(
        values
            .iter()
            .filter(|value| value.contains(&reference))
            .count(),
        2
    );
    assert!(
        !values.iter().any(|value| value.contains("refuse")),
        "{values:?}"
    );
    assert!(
        !values.iter().any(|value| value.contains(SECRET)),
        "{values:?}"
    );

    rest.worker.stop().await;
    let worker = rest.world.worker_with(&keys).await;
    let restored = worker.start_stored().await.unwrap();
    assert!(restored.refused.is_empty(), "{:?}", restored.refused);
    let configuration = worker.configuration("kept").await.unwrap();
    assert_eq!(configuration.map["token"], reference);
    assert_eq!(configuration.map["tasks.max"], "2");
    let says = || {
        let status = worker.status();
        let mut errors = status["kept"]
            .tasks
            .iter()
            .filter_map(|task| task.last_error.as_ref());
        errors.any(|error| error.contains("login with [hidden] failed"))
    };
    rest.world.until("the task has the secret", says).await;
    worker.stop().await;
    rest.end().await;
}
