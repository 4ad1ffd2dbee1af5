//! Records of a source that brokers do not take.

use std::collections::BTreeSet;

use connect_tools as _;
use kafka_client::{AutoOffsetReset, Consumer, ConsumerConfig, TopicPartition};
use serde_json::{Value, json};
use tokio::time::Duration;

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_skips_nothing_where_bad_records_are_skipped() {
    let mut world = World::start().await;
    let worker = world.worker().await;
    let config = json!({
        "name": "outage-source", "connector.class": "DatagenSource", "kafka.topic": "outage",
        "quickstart": "orders", "random.seed": "42", "max.interval": "2",
        "value.converter": "json", "value.converter.schemas.enable": "false",
        "errors.tolerance": "all", "producer.override.delivery.timeout.ms": "5000",
        "producer.override.request.timeout.ms": "2000",
    });
    worker.create(world.of(&config)).await.unwrap();
    let stored = || worker.offsets("outage-source");
    world.until("it runs", || !stored().is_empty()).await;
    world.stop_broker().await;
    let task = || {
        let status = worker.status();
        let task = status["outage-source"].tasks.first().cloned();
        task.unwrap_or_default()
    };
    world
        .until("the task begins anew", || task().restarts > 0)
        .await;
    world.start_broker().await;
    let before = stored();
    world.until("it goes on", || stored() != before).await;
    worker.stop_connector("outage-source").await.unwrap();
    let mut config = ConsumerConfig::default();
    config.auto_offset_reset = AutoOffsetReset::Earliest;
    let mut consumer = Consumer::new(world.client(), config).unwrap();
    let partition = TopicPartition::new("outage", 0);
    consumer.assign(vec![partition.clone()]).unwrap();
    let mut found = BTreeSet::new();
    let is_read = |consumer: &Consumer| {
        let end = consumer.high_watermark(&partition);
        end.is_some() && consumer.position(&partition) >= end
    };
    while !is_read(&consumer) {
        let polled = consumer.poll(Duration::from_secs(60)).await.unwrap();
        let records = polled.batches.into_iter().flat_map(|batch| batch.records);
        found.extend(records.map(|record| {
            let order: Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
            order["orderid"].as_u64().unwrap()
        }));
    }
    let last = *found.last().unwrap();
    let missing: Vec<u64> = (0..last).filter(|number| !found.contains(number)).collect();
    assert!(missing.is_empty(), "{missing:?} of {last} are gone");
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_record_is_not_passed_over_while_its_letter_cannot_be_written() {
    let world = World::start().await;
    let worker = world.worker().await;
    // No letter fits.
    world
        .create_topic("refused-dead", &[("max.message.bytes", "100")])
        .await;
    let keys = [
        ("errors.tolerance", "all"),
        ("errors.deadletterqueue.topic.name", "refused-dead"),
        ("errors.deadletterqueue.context.headers.enable", "true"),
        ("transforms", "mask"),
        ("transforms.mask.type", "MaskField"),
        ("transforms.mask.fields", "x"),
    ];
    let source = world.source_with("refused-source", "refused", 1, &keys);
    worker.create(source).await.unwrap();
    let error = || {
        let status = worker.status();
        let task = status["refused-source"].tasks.first().cloned();
        task.unwrap_or_default().last_error
    };
    let stored = || worker.offsets("refused-source");
    world
        .until("it fails or goes on", || {
            error().is_some() || !stored().is_empty()
        })
        .await;
    assert!(stored().is_empty(), "{:?} without the letter", stored());
    let error = error().unwrap();
    assert!(
        error.contains("dead letter queue \"refused-dead\""),
        "{error}"
    );
    worker.stop().await;
    world.end().await;
}
