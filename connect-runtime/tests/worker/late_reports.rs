//! Records that a sink reports after the put that brought them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use connect_core::{ConnectError, OffsetMap, SinkRecord, SinkTaskContext};
use kafka_client::{AutoOffsetReset, Consumer, ConsumerConfig, TopicPartition};

use crate::COUNT;
use crate::scripted::{Script, sink, text};
use crate::world::World;

/// Takes number 7 and says with the next put that it cannot be written. As long as it has not said so,
/// no flush covers the number.
#[derive(Default)]
struct Late {
    held: Mutex<Option<SinkRecord>>,
}

impl Script for Late {
    fn put(&self, context: &SinkTaskContext, records: Vec<SinkRecord>) -> Result<(), ConnectError> {
        if let Some(held) = self.held.lock().unwrap().take() {
            context.report(&held, ConnectError::record("7 is errant"))?;
        }
        let seven = records.into_iter().find(|record| text(record) == "7");
        if seven.is_some() {
            *self.held.lock().unwrap() = seven;
        }
        Ok(())
    }

    fn flush(&self, _: &SinkTaskContext, offsets: &OffsetMap) -> Result<OffsetMap, ConnectError> {
        match &*self.held.lock().unwrap() {
            Some(held) => Ok(OffsetMap::from([held.source()])),
            None => Ok(offsets.clone()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_an_earlier_put_is_not_committed_before_its_letter_is_safe() {
    let world = World::start().await;
    let worker = world.worker_with(&[("producer.batch.size", "2000")]).await;
    // No letter fits.
    world
        .create_topic("late-dead", &[("max.message.bytes", "100")])
        .await;
    let source = world.source("late-source", "late", COUNT, "");
    worker.create(source).await.unwrap();
    world
        .until("all numbers are in the topic", || {
            let stored = worker.offsets("late-source");
            stored
                .first()
                .is_some_and(|at| at.offset.fields()["next"] == COUNT)
        })
        .await;
    let keys = [
        ("errors.tolerance", "all"),
        ("errors.deadletterqueue.topic.name", "late-dead"),
        ("errors.deadletterqueue.context.headers.enable", "true"),
        // Several puts.
        ("consumer.override.max.partition.fetch.bytes", "1000"),
    ];
    let late = Arc::new(Late::default());
    worker
        .create(sink(&world, "late-sink", "late", &keys, &late))
        .await
        .unwrap();
    let failures = || {
        let status = worker.status();
        let task = status["late-sink"].tasks.first();
        task.map_or(0, |task| task.failures)
    };
    world
        .until("the letter is refused", || failures() > 0)
        .await;
    let covered = world.committed("late-sink").await.unwrap_or(0);
    assert!(covered <= 7, "committed {covered} without the letter");

    world.let_in("late-dead").await;
    world.until_committed("late-sink", COUNT as i64).await;
    let mut config = ConsumerConfig::default();
    config.auto_offset_reset = AutoOffsetReset::Earliest;
    let mut letters = Consumer::new(world.client(), config).unwrap();
    letters
        .assign(vec![TopicPartition::new("late-dead", 0)])
        .unwrap();
    let mut polled = letters.poll(Duration::from_secs(60)).await.unwrap();
    let letter = polled.batches.remove(0).records.remove(0);
    assert_eq!(letter.value.as_deref(), Some(b"7".as_slice()));
    worker.stop().await;
    world.end().await;
}
