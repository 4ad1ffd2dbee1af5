//! A broker that goes away and comes back.

use std::time::Duration;

use kafka_client::{Producer, ProducerConfig};

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
