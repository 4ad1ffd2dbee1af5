//! What is still done when a worker or a connector stops, and how long it may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use connect_core::{ConnectError, OffsetMap, SinkRecord, SinkTaskContext};

use crate::COUNT;
use crate::scripted::{Script, sink};
use crate::world::World;

/// No flush works before the end, and there the first ones do not, either.
#[derive(Default)]
struct HardToFlush {
    put: AtomicUsize,
    stopping: AtomicBool,
    last_flushes: AtomicUsize,
}

impl Script for HardToFlush {
    fn put(&self, _: &SinkTaskContext, records: Vec<SinkRecord>) -> Result<(), ConnectError> {
        self.put.fetch_add(records.len(), Ordering::AcqRel);
        Ok(())
    }

    fn flush(&self, _: &SinkTaskContext, offsets: &OffsetMap) -> Result<OffsetMap, ConnectError> {
        let ends = self.stopping.load(Ordering::Acquire);
        match ends && self.last_flushes.fetch_add(1, Ordering::AcqRel) >= 2 {
            false => Err(ConnectError::retriable("the disk is busy")),
            true => Ok(offsets.clone()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_flush_is_tried_again_while_there_is_time() {
    let world = World::start().await;
    let worker = world.worker().await;
    let source = world.source("hard-source", "hard", COUNT, "");
    worker.create(source).await.unwrap();
    world
        .until("all numbers are in the topic", || {
            let stored = worker.offsets("hard-source");
            stored
                .first()
                .is_some_and(|at| at.offset.fields()["next"] == COUNT)
        })
        .await;
    let hard = Arc::new(HardToFlush::default());
    worker
        .create(sink(&world, "hard-sink", "hard", &[], &hard))
        .await
        .unwrap();
    world
        .until("all numbers are put", || {
            hard.put.load(Ordering::Acquire) >= COUNT
        })
        .await;
    hard.stopping.store(true, Ordering::Release);
    worker.stop_connector("hard-sink").await.unwrap();
    assert_eq!(world.committed("hard-sink").await, Some(COUNT as i64));
    worker.stop().await;
    world.end().await;
}

/// Blocks in its puts until the test is over.
#[derive(Default)]
struct Stuck {
    stuck: AtomicBool,
    over: AtomicBool,
}

impl Script for Stuck {
    fn put(&self, _: &SinkTaskContext, _: Vec<SinkRecord>) -> Result<(), ConnectError> {
        self.stuck.store(true, Ordering::Release);
        while !self.over.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Counts its flushes.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Script for Counting {
    fn put(&self, _: &SinkTaskContext, _: Vec<SinkRecord>) -> Result<(), ConnectError> {
        Ok(())
    }

    fn flush(&self, _: &SinkTaskContext, offsets: &OffsetMap) -> Result<OffsetMap, ConnectError> {
        self.0.fetch_add(1, Ordering::AcqRel);
        Ok(offsets.clone())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stops_does_not_first_wait_for_a_connector_that_is_being_stopped() {
    let world = World::start().await;
    let worker = world
        .worker_with(&[("offset.flush.interval.ms", "600000")])
        .await;
    let source = world.source("stuck-source", "stuck", 10, "");
    worker.create(source).await.unwrap();
    let (stuck, counting) = (Arc::new(Stuck::default()), Arc::new(Counting::default()));
    worker
        .create(sink(&world, "stuck-sink", "stuck", &[], &stuck))
        .await
        .unwrap();
    worker
        .create(sink(&world, "counting-sink", "stuck", &[], &counting))
        .await
        .unwrap();
    world
        .until("it hangs", || stuck.stuck.load(Ordering::Acquire))
        .await;
    world.until_committed("counting-sink", 10).await;
    let before = counting.0.load(Ordering::Acquire);
    let worker = Arc::new(worker);
    let stopping = Arc::clone(&worker);
    let stopping = tokio::spawn(async move { stopping.stop_connector("stuck-sink").await });
    // It has no tasks any more once it is being stopped.
    while !worker
        .task_configurations("stuck-sink")
        .await
        .unwrap()
        .is_empty()
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let stop = Arc::clone(&worker);
    let stop = tokio::spawn(async move { stop.stop().await });
    drop(stopping.await.unwrap());
    let after = counting.0.load(Ordering::Acquire);
    assert!(after > before, "the other one has not been told yet");
    stop.await.unwrap();
    stuck.over.store(true, Ordering::Release);
    world.end().await;
}
