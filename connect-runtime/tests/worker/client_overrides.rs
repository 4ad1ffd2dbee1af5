//! Client settings of the worker and of connectors, and the policy between them (KIP-458).

use serde_json::{Value, json};

use crate::connectors::{Journal, SINK, SOURCE};
use crate::rest::Rest;

const POLICY: &str = "connector.client.config.override.policy";

/// What a validation says about each key that it refuses.
async fn refused(rest: &Rest, class: &str, config: &Value) -> Vec<(String, String)> {
    let path = format!("PUT /connector-plugins/{class}/config/validate");
    let infos = rest.send(&path, &config.to_string()).await.json();
    let configs = infos["configs"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut errors: Vec<_> = configs
        .map(|it| &it["value"])
        .filter(|value| !value["errors"].as_array().unwrap().is_empty())
        .map(|value| (text(&value["name"]), text(&value["errors"][0])))
        .collect();
    errors.sort();
    errors
}

fn not_allowed(policy: &str, client: &str, key: &str) -> (String, String) {
    (
        format!("{client}.override.{key}"),
        format!(
            "The '{policy}' policy does not allow '{key}' to be overridden in the connector configuration."
        ),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_refuses_overrides_of_the_clients_that_a_connector_uses() {
    let source = json!({
        "name": "v", "connector.class": SOURCE, "topic": "t", "count": "1",
        "producer.override.linger.ms": "5", "consumer.override.fetch.min.bytes": "1",
        "admin.override.client.id": "x",
    });
    let mut creating = source.clone();
    creating["topic.creation.default.partitions"] = json!("1");
    creating["topic.creation.default.replication.factor"] = json!("1");
    let sink = json!({
        "name": "v", "connector.class": SINK, "topics": "t",
        "producer.override.linger.ms": "5", "consumer.override.fetch.min.bytes": "1",
    });

    let rest = Rest::start_with(&[(POLICY, "None")]).await;
    assert_eq!(
        refused(&rest, "NumbersSource", &source).await,
        [not_allowed("None", "producer", "linger.ms")]
    );
    assert_eq!(
        refused(&rest, "NumbersSource", &creating).await,
        [
            not_allowed("None", "admin", "client.id"),
            not_allowed("None", "producer", "linger.ms"),
        ]
    );
    assert_eq!(
        refused(&rest, "JournalSink", &sink).await,
        [not_allowed("None", "consumer", "fetch.min.bytes")]
    );
    rest.end().await;

    let allowlist = "connector.client.config.override.allowlist";
    let keys = [(POLICY, "Allowlist"), (allowlist, "linger.ms")];
    let rest = Rest::start_with(&keys).await;
    assert_eq!(
        refused(&rest, "NumbersSource", &creating).await,
        [not_allowed("Allowlist", "admin", "client.id")]
    );
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_s_settings_come_before_the_worker_s() {
    let rest = Rest::start_with(&[("producer.max.request.size", "1")]).await;
    let source = |topic: &str| json!({"name": topic, "connector.class": SOURCE, "topic": topic, "count": "5"});
    // It is too small for a batch, which only the worker's setting can be the cause of.
    let errors = refused(&rest, "NumbersSource", &source("small")).await;
    assert_eq!(errors[0].0, "producer.override.max.request.size");
    assert!(
        errors[0].1.contains("must not be smaller than batch.size"),
        "{}",
        errors[0].1
    );
    let mut large = source("large");
    large["producer.override.max.request.size"] = json!("8388608");
    rest.create("large", &large).await;
    rest.create(
        "large-sink",
        &json!({"connector.class": SINK, "topics": "large"}),
    )
    .await;
    let journal = Journal::of("large-sink");
    rest.world
        .until("the connector's setting counts", || {
            journal.values().len() == 5
        })
        .await;
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_override_sends_records_to_another_cluster() {
    let rest = Rest::start().await;
    let source = json!({
        "name": "v", "connector.class": SOURCE, "topic": "t", "count": "1",
        "producer.override.bootstrap.servers": "elsewhere:9092",
    });
    let errors = refused(&rest, "NumbersSource", &source).await;
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].0, "producer.override.bootstrap.servers");
    assert!(
        errors[0].1.contains("no other brokers than the worker's"),
        "{}",
        errors[0].1
    );
    rest.end().await;
}
