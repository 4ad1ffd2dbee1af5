//! A broker that goes away and comes back.

use std::time::Duration;

use kafka_client::{
    ClientError, Moment, Producer, ProducerConfig, ProducerRecord, Proof, TopicPartition,
};

use crate::world::{World, numbered, read};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_lose_and_repeat_nothing_of_an_idempotent_producer() {
    const TOTAL: usize = 20_000;
    let mut world = World::start().await;
    let topic = world.topic("orders", 1).await;
    let mut config = ProducerConfig::default();
    config.batch_bytes = 2048;
    let producer = Producer::new(world.client(), config).unwrap();
    let mut reader = world.reader("orders", 1);
    let sending = tokio::spawn(async move {
        let mut deliveries = Vec::new();
        for start in (0..TOTAL).step_by(20) {
            deliveries.push(
                producer
                    .send(&topic, numbered(start..start + 20))
                    .await
                    .unwrap(),
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
    });
    let restarting = async {
        for round in 0..3 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            if round % 2 == 0 {
                world.stop().await;
            } else {
                drop(world.broker.take());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            world.start_again().await;
        }
    };
    let reading = read(&mut reader, TOTAL);
    let ((), values) = tokio::join!(restarting, reading);
    sending.await.unwrap();
    let expected: Vec<String> = (0..TOTAL).map(|number| number.to_string()).collect();
    assert!(values[&0] == expected, "every record once and in order");
    assert!(
        reader
            .poll(Duration::from_millis(300))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_is_told_of_damage_and_where() {
    let mut world = World::start().await;
    let topic = world.topic("orders", 1).await;
    let producer = world.producer();
    let delivery = producer.send(&topic, numbered(0..3)).await.unwrap();
    delivery.await.unwrap();
    world.stop().await;
    let log = world
        .folder
        .path()
        .join("orders-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[70] ^= 0x40;
    std::fs::write(&log, bytes).unwrap();
    world.start_again().await;
    let mut reader = world.reader("orders", 1);
    let error = loop {
        match reader.poll(Duration::from_secs(5)).await {
            Ok(polled) => assert!(polled.batches.is_empty()),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, ClientError::Corrupt { offset: 0, .. }),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_relies_on_a_connection_notices_a_restart() {
    let mut world = World::start().await;
    world.topic("offsets", 1).await;
    let partition = TopicPartition::new("offsets", 0);
    let client = world.client();
    let record = [ProducerRecord::value("a")];
    assert_eq!(client.write(&partition, &record, None).await.unwrap(), 0);
    let before = Proof {
        since: Moment::now(),
        broker: Some(0),
    };
    let again = client.write(&partition, &record, Some(before)).await;
    assert_eq!(again.unwrap(), 1);
    let elsewhere = Proof {
        broker: Some(1),
        ..before
    };
    let error = client.write(&partition, &record, Some(elsewhere)).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ClientError::Reconnected { .. }), "{error}");
    world.stop().await;
    world.start_again().await;
    let error = loop {
        match client.write(&partition, &record, Some(before)).await {
            // The old connection may break with the first use.
            Err(error) if error.is_retriable() => {
                tokio::time::sleep(Duration::from_millis(20)).await
            }
            other => break other.unwrap_err(),
        }
    };
    assert!(matches!(error, ClientError::Reconnected { .. }), "{error}");
    let since = Proof {
        since: Moment::now(),
        broker: None,
    };
    assert_eq!(
        client
            .write(&partition, &record, Some(since))
            .await
            .unwrap(),
        2
    );
}
