//! A worker with an embedded broker, and connectors that behave and misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod behaviours;
mod client_overrides;
mod connectors;
mod dead_letters;
mod hostile;
mod late_reports;
mod program;
mod redelivery;
mod relay;
mod renewal;
mod rest;
mod rest_doors;
mod rest_health;
mod rest_http;
mod rest_loggers;
mod rest_metrics;
mod rest_offsets;
mod rest_openapi;
mod rest_tls;
mod rest_topics;
mod restarts;
mod scripted;
mod secrets;
mod sinks;
mod stopping;
mod stored;
mod tap;
mod tools;
mod topic_creation;
mod transforms;
mod undelivered;
mod world;

use std::time::Duration;

use connect_runtime::{State, WorkerError};
use connectors::{Journal, SINK, SOURCE};
use world::World;

const COUNT: usize = 1000;

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_go_from_source_to_sink_in_order() {
    let world = World::start().await;
    let worker = world.worker().await;
    worker
        .create(world.source("flow-source", "flow", COUNT, ""))
        .await
        .unwrap();
    worker
        .create(world.sink("flow-sink", "flow", ""))
        .await
        .unwrap();
    let journal = Journal::of("flow-sink");
    world
        .until("all records are in the sink", || {
            journal.values().len() >= COUNT
        })
        .await;
    assert_eq!(journal.values(), numbers(0..COUNT));
    let status = worker.status();
    assert_eq!(status["flow-source"].tasks[0].state, State::Running);
    assert_eq!(status["flow-sink"].tasks[0].state, State::Running);
    let stored = || {
        worker
            .offsets("flow-source")
            .first()
            .map(|at| at.offset.to_json())
    };
    world
        .until("the offset is stored", || {
            stored().as_deref() == Some(r#"{"next":1000}"#)
        })
        .await;
    assert_eq!(worker.stop().await.abandoned, Vec::<String>::new());
    assert_eq!(
        journal.flushed(),
        Some(COUNT as i64),
        "the last flush covers everything"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_clean_stop_nothing_is_repeated() {
    let world = World::start().await;
    for (count, round) in [(COUNT, 1), (2 * COUNT, 2)] {
        let worker = world.worker().await;
        worker
            .create(world.source("resume-source", "resume", count, ""))
            .await
            .unwrap();
        worker
            .create(world.sink("resume-sink", "resume", ""))
            .await
            .unwrap();
        let journal = Journal::of("resume-sink");
        world
            .until("this round's records are in", || {
                journal.values().len() >= count
            })
            .await;
        assert!(worker.stop().await.abandoned.is_empty(), "round {round}");
    }
    assert_eq!(Journal::of("resume-sink").values(), numbers(0..2 * COUNT));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_neighbours_harm_nobody_and_are_seen() {
    let world = World::start().await;
    let worker = world.worker().await;
    for mode in ["panic", "fatal", "block", "hang", "flood", "configuration"] {
        let (source, sink) = (format!("{mode}-source"), format!("{mode}-sink"));
        worker
            .create(world.source(&source, &format!("{mode}-topic"), 10, mode))
            .await
            .unwrap();
        if mode != "flood" {
            worker
                .create(world.sink(&sink, "kind", mode))
                .await
                .unwrap();
        }
    }
    worker
        .create(world.source("kind-source", "kind", COUNT, ""))
        .await
        .unwrap();
    worker
        .create(world.sink("kind-sink", "kind", ""))
        .await
        .unwrap();
    let journal = Journal::of("kind-sink");
    world
        .until("the kind neighbour is done", || {
            journal.values().len() >= COUNT
        })
        .await;
    assert_eq!(journal.values(), numbers(0..COUNT));
    let task = |name: &str| {
        worker.status()[name]
            .tasks
            .first()
            .cloned()
            .unwrap_or_default()
    };
    let says = |name: &str, text: &str| {
        let task = task(name);
        task.summary(0).contains(text) || task.last_error.is_some_and(|error| error.contains(text))
    };
    for (name, text) in [
        ("panic-source", "panicked: no more"),
        ("panic-sink", "panicked: no more"),
        ("fatal-source", "it broke"),
        ("fatal-sink", "it broke"),
        ("block-source", "poll has blocked its thread"),
        ("block-sink", "put has not returned"),
        ("hang-sink", "put has not returned"),
        ("configuration-source", "FAILED"),
    ] {
        world
            .until(&format!("{name} says {text:?}"), || says(name, text))
            .await;
    }
    world
        .until("failures are counted", || {
            task("panic-source").failures >= 2
        })
        .await;
    let stop = tokio::time::Instant::now();
    worker.stop().await;
    assert!(
        stop.elapsed() < Duration::from_secs(8),
        "{:?}",
        stop.elapsed()
    );
    connectors::release_the_blocked();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_that_was_not_taken_comes_again_in_order() {
    let world = World::start().await;
    let worker = world.worker().await;
    worker
        .create(world.source("retry-source", "retry", COUNT, ""))
        .await
        .unwrap();
    worker
        .create(world.sink("retry-sink", "retry", "retriable"))
        .await
        .unwrap();
    let journal = Journal::of("retry-sink");
    let summary = || {
        worker.status()["retry-sink"]
            .tasks
            .first()
            .map(|task| task.summary(0))
    };
    let waits = || summary().is_some_and(|text| text.contains("RUNNING: put failed, retry"));
    world.until("the state says why nothing moves", waits).await;
    world
        .until("all records are in the sink", || {
            journal.values().len() >= COUNT
        })
        .await;
    assert_eq!(journal.values(), numbers(0..COUNT));
    world
        .until("it says that it moves again", || {
            summary().as_deref() == Some("RUNNING")
        })
        .await;
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_record_fails_the_task_or_is_skipped() {
    let world = World::start().await;
    let worker = world.worker().await;
    worker
        .create(world.source("bad-source", "bad", COUNT, ""))
        .await
        .unwrap();
    worker
        .create(world.sink("strict-sink", "bad", "bad-500"))
        .await
        .unwrap();
    let tolerant = world.sink_with(
        "tolerant-sink",
        "bad",
        "bad-500",
        &[("errors.tolerance", "all")],
    );
    worker.create(tolerant).await.unwrap();
    let journal = Journal::of("tolerant-sink");
    world
        .until("the tolerant sink is done", || {
            journal.values().len() >= COUNT - 1
        })
        .await;
    let expected: Vec<String> = numbers(0..COUNT)
        .into_iter()
        .filter(|text| text != "500")
        .collect();
    assert_eq!(journal.values(), expected);
    let strict = || {
        worker.status()["strict-sink"]
            .tasks
            .first()
            .cloned()
            .unwrap_or_default()
    };
    world
        .until("the strict sink failed", || strict().failures > 0)
        .await;
    let error = strict().last_error.unwrap();
    assert!(
        error.contains("bad-0 offset 500") && error.contains("is bad"),
        "{error}"
    );
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_connector_moves_nothing_until_it_is_resumed() {
    let world = World::start().await;
    let worker = world.worker().await;
    worker
        .create(world.sink("pause-sink", "pause", ""))
        .await
        .unwrap();
    let state = |name: &str| worker.status()[name].tasks.first().map(|task| task.state);
    world
        .until("the sink runs", || {
            state("pause-sink") == Some(State::Running)
        })
        .await;
    worker.pause("pause-sink").await.unwrap();
    world
        .until("the sink is paused", || {
            state("pause-sink") == Some(State::Paused)
        })
        .await;
    worker
        .create(world.source("pause-source", "pause", COUNT, ""))
        .await
        .unwrap();
    world
        .until("the source is done", || {
            !worker.offsets("pause-source").is_empty()
        })
        .await;
    assert_eq!(Journal::of("pause-sink").values(), Vec::<String>::new());
    worker.resume("pause-sink").await.unwrap();
    let journal = Journal::of("pause-sink");
    world
        .until("all records are in the sink", || {
            journal.values().len() >= COUNT
        })
        .await;
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_connector_of_a_name_and_an_unsafe_offsets_topic_are_refused() {
    let world = World::start().await;
    let worker = world.worker().await;
    worker.create(world.sink("one", "one", "")).await.unwrap();
    let error = worker
        .create(world.sink("one", "one", ""))
        .await
        .unwrap_err();
    assert!(
        matches!(error, WorkerError::ConnectorExists { .. }),
        "{error}"
    );
    worker.stop().await;
    world
        .create_topic("unsafe-offsets", &[("cleanup.policy", "delete")])
        .await;
    let config = world.worker_config(&[("offset.storage.topic", "unsafe-offsets")]);
    let servers = config.bootstrap_servers.clone().unwrap();
    let error = connect_runtime::Worker::start(config, servers)
        .await
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("its cleanup.policy is \"delete\""),
        "{error}"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_without_a_broker_says_where_it_looked() {
    let world = World::start().await;
    let config = world.worker_config(&[]);
    world.end().await;
    let servers = config.bootstrap_servers.clone().unwrap();
    let error = connect_runtime::Worker::start(config, servers.clone())
        .await
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(matches!(error, WorkerError::Unreachable { .. }), "{text}");
    assert!(
        text.contains(&servers[0]) && text.contains("start the broker"),
        "{text}"
    );
}

#[test]
fn the_test_connectors_are_registered() {
    for class in [SOURCE, SINK] {
        assert_eq!(connect_core::plugin::find(class).unwrap().class(), class);
    }
}
