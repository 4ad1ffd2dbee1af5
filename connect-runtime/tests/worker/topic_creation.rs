//! Topics of sources are created by the rules of the connector (KIP-158).

use connect_core::ConfigMap;
use connect_runtime::State;
use connect_runtime::config::Settings;
use connect_runtime::config::connector::ConnectorConfig;
use kafka_client::ConfigResource;
use serde_json::json;

use crate::connectors::SOURCE;
use crate::rest::Rest;
use crate::world::World;

const COUNT: usize = 10;

/// How many partitions a topic has, and what one of its settings says.
async fn shape(world: &World, topic: &str, setting: &str) -> (usize, Option<String>) {
    let client = world.client();
    let described = client.admin().describe_topics(&[topic.to_owned()]).await;
    let partitions = described.unwrap().remove(0).1.unwrap().partitions.len();
    let resource = ConfigResource::topic(topic);
    let configs = client.admin().describe_configs(&[resource]).await.unwrap();
    let entries = configs.into_iter().next().unwrap().1.unwrap();
    client.close().await;
    let found = entries.into_iter().find(|entry| entry.name == setting);
    (partitions, found.and_then(|entry| entry.value))
}

const RULES: &[(&str, &str)] = &[
    ("topic.creation.groups", "logs,tables"),
    ("topic.creation.default.partitions", "2"),
    ("topic.creation.default.replication.factor", "-1"),
    ("topic.creation.logs.include", "log-.*"),
    ("topic.creation.logs.exclude", ".*-debug"),
    ("topic.creation.logs.partitions", "3"),
    ("topic.creation.logs.retention.ms", "86400000"),
    ("topic.creation.tables.include", "log-.*, table"),
    ("topic.creation.tables.partitions", "-1"),
    ("topic.creation.tables.max.message.bytes", "500000"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_created_by_the_first_group_that_takes_them() {
    let world = World::start().await;
    let worker = world.worker().await;
    for (topic, setting, expected) in [
        ("log-a", "retention.ms", (3, "86400000")),
        ("log-debug", "max.message.bytes", (1, "500000")),
        ("table", "max.message.bytes", (1, "500000")),
        // Patterns are for whole names.
        ("a-table", "cleanup.policy", (2, "delete")),
    ] {
        let name = format!("rules-{topic}");
        let source = world.source_with(&name, topic, COUNT, RULES);
        worker.create(source).await.unwrap();
        world
            .until("the records are written", || {
                !worker.offsets(&name).is_empty()
            })
            .await;
        let (partitions, value) = shape(&world, topic, setting).await;
        assert_eq!(
            (partitions, value.as_deref()),
            (expected.0, Some(expected.1)),
            "{topic}"
        );
    }
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_exists_is_left_as_it_is() {
    let world = World::start().await;
    world.create_topic_of("table", 4, &[]).await;
    let worker = world.worker().await;
    let source = world.source_with("existing", "table", COUNT, RULES);
    worker.create(source).await.unwrap();
    world
        .until("the records are written", || {
            !worker.offsets("existing").is_empty()
        })
        .await;
    let (partitions, limit) = shape(&world, "table", "max.message.bytes").await;
    assert_eq!(partitions, 4);
    assert_ne!(limit.as_deref(), Some("500000"));
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_the_worker_obeys_none_of_are_pointed_out_and_the_broker_creates() {
    let world = World::start().await;
    let off = [("topic.creation.enable", "false")];
    let worker = world.worker_with(&off).await;
    let count = COUNT.to_string();
    let mut keys = vec![
        ("name", "off"),
        ("connector.class", SOURCE),
        ("topic", "log-a"),
        ("count", count.as_str()),
    ];
    keys.extend(RULES);
    let map: ConfigMap = keys
        .into_iter()
        .map(|(key, text)| (key.to_owned(), text.to_owned()))
        .collect();
    let settings = Settings::from_map("test", &map);
    let (config, problems) = ConnectorConfig::read(&settings, &world.worker_config(&off)).unwrap();
    let ignored = problems
        .iter()
        .filter(|problem| problem.message().contains("topic.creation.enable is false"));
    assert_eq!(ignored.count(), RULES.len());
    worker.create(config).await.unwrap();
    world
        .until("the records are written", || {
            !worker.offsets("off").is_empty()
        })
        .await;
    assert_eq!(shape(&world, "log-a", "").await.0, 1);
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_needs_more_brokers_is_tried_again_then_fails_the_task_until_it_is_there() {
    let world = World::start().await;
    let worker = world.worker().await;
    let rules = [
        ("topic.creation.default.partitions", "1"),
        ("topic.creation.default.replication.factor", "3"),
        ("errors.retry.timeout", "400"),
    ];
    let begun = tokio::time::Instant::now();
    let source = world.source_with("replicas", "wide", COUNT, &rules);
    worker.create(source).await.unwrap();
    let task = || worker.status()["replicas"].tasks.first().cloned();
    world
        .until("the task has failed", || {
            task().is_some_and(|task| task.failures > 0)
        })
        .await;
    assert!(
        begun.elapsed().as_millis() >= 400,
        "it was tried again first"
    );
    let error = task().unwrap().last_error.unwrap();
    for part in [
        "topic \"wide\" could not be created by the rules of topic.creation.default",
        "replication factor 3",
        "INVALID_REPLICATION_FACTOR",
        "start more brokers or lower topic.creation.default.replication.factor",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    world.create_topic("wide", &[]).await;
    world
        .until("the records are written", || {
            !worker.offsets("replicas").is_empty()
        })
        .await;
    world
        .until("the task runs", || {
            task().is_some_and(|task| task.state == State::Running)
        })
        .await;
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_waited_for_and_the_topic_is_created_by_its_rules_after_it() {
    let mut world = World::start().await;
    let worker = world.worker().await;
    world.stop_broker().await;
    let rules = [
        ("topic.creation.default.partitions", "3"),
        ("topic.creation.default.replication.factor", "-1"),
        // The admin client gives up early, and is asked again.
        ("admin.override.default.api.timeout.ms", "200"),
    ];
    let source = world.source_with("outage", "late", COUNT, &rules);
    worker.create(source).await.unwrap();
    let task = || {
        worker.status()["outage"]
            .tasks
            .first()
            .cloned()
            .unwrap_or_default()
    };
    world
        .until("it says that it waits", || {
            task()
                .summary(0)
                .contains("check the brokers and the topic")
        })
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    world.start_broker().await;
    world
        .until("the records are written", || {
            !worker.offsets("outage").is_empty()
        })
        .await;
    assert_eq!(task().failures, 0);
    assert_eq!(shape(&world, "late", "").await.0, 3);
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validation_shows_the_keys_of_all_groups_and_what_is_wrong_with_them() {
    let rest = Rest::start().await;
    let path = "PUT /connector-plugins/NumbersSource/config/validate";
    let config = json!({
        "name": "v", "connector.class": SOURCE, "topic": "t", "count": "1",
        "topic.creation.groups": "a", "topic.creation.a.partitions": "0",
        "topic.creation.default.partitions": "5",
    });
    let infos = rest.send(path, &config.to_string()).await.json();
    let of = |name: &str| {
        let configs = infos["configs"].as_array().unwrap();
        let found = configs.iter().find(|it| it["value"]["name"] == name);
        found.unwrap_or_else(|| panic!("{name} in {infos}")).clone()
    };
    assert_eq!(infos["error_count"], json!(2));
    assert_eq!(
        of("topic.creation.default.replication.factor")["value"]["errors"],
        json!([
            "Missing required configuration \"topic.creation.default.replication.factor\" which has no \
             default value."
        ])
    );
    assert_eq!(
        of("topic.creation.a.partitions")["value"]["errors"],
        json!([
            "Invalid value 0 for configuration topic.creation.a.partitions: Number of partitions must be \
             positive, or -1 to use the broker's default"
        ])
    );
    assert_eq!(of("topic.creation.a.include")["definition"]["type"], "LIST");
    let without = json!({"name": "v", "connector.class": SOURCE, "topic": "t", "count": "1"});
    let infos = rest.send(path, &without.to_string()).await.json();
    let names = infos["configs"].as_array().unwrap().iter();
    let rules = names
        .filter_map(|it| it["value"]["name"].as_str())
        .filter(|name| name.starts_with("topic.creation."));
    assert_eq!(rules.collect::<Vec<_>>(), ["topic.creation.groups"]);
    rest.end().await;
}
