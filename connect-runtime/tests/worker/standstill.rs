//! A sink that runs and gets nothing although there is something.

use std::sync::Arc;

use connect_core::{ConnectError, SinkRecord, SinkTaskContext, TopicPartition};

use crate::COUNT;
use crate::scripted::{Script, sink};
use crate::world::World;

/// Pauses its partition and forgets about it.
struct Forgetful;

impl Script for Forgetful {
    fn put(&self, context: &SinkTaskContext, _: Vec<SinkRecord>) -> Result<(), ConnectError> {
        context.pause(&[TopicPartition::new("forgotten", 0)]);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_stands_still_before_records_says_why() {
    let world = World::start().await;
    let worker = world.worker_with(&[("producer.batch.size", "2000")]).await;
    let source = world.source("forgotten-source", "forgotten", COUNT, "");
    worker.create(source).await.unwrap();
    world
        .until("all numbers are in the topic", || {
            let stored = worker.offsets("forgotten-source");
            let next = stored.first().map(|at| at.offset.fields()["next"].clone());
            next.is_some_and(|next| next == COUNT)
        })
        .await;
    // Not all of them at once.
    let keys = [("consumer.override.max.partition.fetch.bytes", "1000")];
    worker
        .create(sink(
            &world,
            "forgotten-sink",
            "forgotten",
            &keys,
            &Arc::new(Forgetful),
        ))
        .await
        .unwrap();
    let waiting = || {
        let status = worker.status();
        let task = status["forgotten-sink"].tasks.first().cloned();
        task.unwrap_or_default().waiting.unwrap_or_default()
    };
    world
        .until("it says so", || {
            waiting().ends_with("more; the task has paused forgotten-0")
        })
        .await;
    worker.stop().await;
    world.end().await;
}
