//! Puts that come again although something has happened to their records or partitions meanwhile.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use connect_core::{ConnectError, SinkRecord, SinkTaskContext, TopicPartition};
use kafka_client::{Producer, ProducerConfig, ProducerRecord};

use crate::scripted::{Script, sink, text};
use crate::world::World;

async fn produce(world: &World, topic: &str, partition: i32, values: &[&'static str]) {
    let producer = Producer::new(world.client(), ProducerConfig::default()).unwrap();
    let records = values.iter().map(|value| ProducerRecord {
        partition: Some(partition),
        ..ProducerRecord::value(*value)
    });
    let sent = producer
        .send(&topic.into(), records.collect())
        .await
        .unwrap();
    sent.await.unwrap();
}

/// Takes nothing before it is told to.
#[derive(Default)]
struct Closed {
    open: AtomicBool,
    refused: AtomicBool,
    taken: Mutex<Vec<String>>,
}

impl Script for Closed {
    fn put(&self, _: &SinkTaskContext, records: Vec<SinkRecord>) -> Result<(), ConnectError> {
        if !self.open.load(Ordering::Acquire) {
            self.refused.store(true, Ordering::Release);
            return Err(ConnectError::retriable("the outside world is away"));
        }
        self.taken.lock().unwrap().extend(records.iter().map(text));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_were_deleted_before_they_were_taken_hold_up_no_other_partition() {
    let world = World::start().await;
    let worker = world.worker().await;
    world.create_topic_of("deleted", 2, &[]).await;
    produce(&world, "deleted", 0, &["old"]).await;
    let closed = Arc::new(Closed::default());
    let keys = [("errors.retry.delay.max.ms", "200")];
    worker
        .create(sink(&world, "deleted-sink", "deleted", &keys, &closed))
        .await
        .unwrap();
    world
        .until("a put is refused", || {
            closed.refused.load(Ordering::Acquire)
        })
        .await;
    let client = world.client();
    let first = kafka_client::TopicPartition::new("deleted", 0);
    for (_, deleted) in client.admin().delete_records(&[(first, 1)]).await.unwrap() {
        deleted.unwrap();
    }
    produce(&world, "deleted", 1, &["new"]).await;
    closed.open.store(true, Ordering::Release);
    world
        .until("the other partition goes on", || {
            closed
                .taken
                .lock()
                .unwrap()
                .iter()
                .any(|text| text == "new")
        })
        .await;
    worker.stop().await;
    world.end().await;
}

/// Does not take its first put, and rests the partition until it comes again.
#[derive(Default)]
struct Resting {
    refused: AtomicBool,
    taken: Mutex<Vec<String>>,
}

impl Script for Resting {
    fn put(&self, context: &SinkTaskContext, records: Vec<SinkRecord>) -> Result<(), ConnectError> {
        let partition = TopicPartition::new("resting", 0);
        if !self.refused.swap(true, Ordering::AcqRel) {
            context.pause(&[partition]);
            return Err(ConnectError::retriable("the outside world is away"));
        }
        let mut taken = self.taken.lock().unwrap();
        if records.iter().any(|record| text(record) == "b") {
            context.resume(&[partition]);
        }
        taken.extend(records.iter().map(text));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_comes_again_although_the_task_rests_its_partition() {
    let world = World::start().await;
    let worker = world.worker().await;
    world.create_topic_of("resting", 2, &[]).await;
    produce(&world, "resting", 0, &["a"]).await;
    let resting = Arc::new(Resting::default());
    let keys = [("errors.retry.delay.max.ms", "200")];
    worker
        .create(sink(&world, "resting-sink", "resting", &keys, &resting))
        .await
        .unwrap();
    let taken = || resting.taken.lock().unwrap().clone();
    world
        .until("the put comes again", || taken() == ["a"])
        .await;
    // What comes behind it in that partition waits until it is resumed.
    produce(&world, "resting", 0, &["c"]).await;
    produce(&world, "resting", 1, &["b"]).await;
    world.until("everything is in", || taken().len() == 3).await;
    assert_eq!(taken(), ["a", "b", "c"]);
    worker.stop().await;
    world.end().await;
}
