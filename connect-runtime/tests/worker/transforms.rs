//! Records on their way through transforms.

use connect_runtime::State;

use crate::connectors::Journal;
use crate::world::World;
use crate::{COUNT, numbers};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_pass_the_transforms_of_source_and_sink() {
    let world = World::start().await;
    let worker = world.worker().await;
    let to_routed = [
        ("transforms", "hoist,insert,route"),
        ("transforms.hoist.type", "HoistField$Value"),
        ("transforms.hoist.field", "n"),
        (
            "transforms.insert.type",
            "org.apache.kafka.connect.transforms.InsertField$Value",
        ),
        ("transforms.insert.topic.field", "from"),
        ("transforms.route.type", "RegexRouter"),
        ("transforms.route.regex", "raw-(.*)"),
        ("transforms.route.replacement", "routed-$1"),
    ];
    for (name, topic, count) in [("a", "raw-a", COUNT), ("b", "raw-b", 2 * COUNT)] {
        let source = world.source_with(&format!("{name}-source"), topic, count, &to_routed);
        worker.create(source).await.unwrap();
    }
    let only_a = [
        ("transforms", "only,route"),
        ("transforms.only.type", "Filter"),
        ("transforms.only.predicate", "is-a"),
        ("transforms.only.negate", "true"),
        ("transforms.route.type", "RegexRouter"),
        ("transforms.route.regex", "routed-(.*)"),
        ("transforms.route.replacement", "$1"),
        ("predicates", "is-a"),
        ("predicates.is-a.type", "TopicNameMatches"),
        ("predicates.is-a.pattern", ".*-a"),
    ];
    let sink = world.sink_with("routed-sink", "routed-a,routed-b", "", &only_a);
    worker.create(sink).await.unwrap();
    let journal = Journal::of("routed-sink");
    world
        .until("the records of one topic are in the sink", || {
            journal.values().len() >= COUNT
        })
        .await;
    world
        .until("the offset moves over dropped records", || {
            journal.flushed() == Some(2 * COUNT as i64)
        })
        .await;
    let expected: Vec<String> = numbers(0..COUNT)
        .iter()
        .map(|number| format!("{{n={number}, from=raw-a}}"))
        .collect();
    assert_eq!(journal.values(), expected);
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_offset_of_a_source_moves_over_dropped_records() {
    let world = World::start().await;
    let worker = world.worker().await;
    let drop = [("transforms", "drop"), ("transforms.drop.type", "Filter")];
    let source = world.source_with("dropped-source", "dropped", COUNT, &drop);
    worker.create(source).await.unwrap();
    let stored = || {
        let offsets = worker.offsets("dropped-source");
        offsets.first().map(|at| at.offset.to_json())
    };
    world
        .until("the offset is stored", || {
            stored().as_deref() == Some(r#"{"next":1000}"#)
        })
        .await;
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_no_transform_can_change_fails_the_task_or_is_skipped() {
    let world = World::start().await;
    let worker = world.worker().await;
    let mask = [
        ("transforms", "mask"),
        ("transforms.mask.type", "MaskField"),
        ("transforms.mask.fields", "x"),
    ];
    let strict = world.source_with("strict-mask", "masked", COUNT, &mask);
    worker.create(strict).await.unwrap();
    let mut tolerant = mask.to_vec();
    tolerant.push(("errors.tolerance", "all"));
    let tolerant = world.source_with("tolerant-mask", "masked", COUNT, &tolerant);
    worker.create(tolerant).await.unwrap();
    world
        .until("the tolerant source is done", || {
            !worker.offsets("tolerant-mask").is_empty()
        })
        .await;
    let task = || {
        let status = worker.status();
        status["strict-mask"]
            .tasks
            .first()
            .cloned()
            .unwrap_or_default()
    };
    world
        .until("the strict source failed", || task().failures > 0)
        .await;
    let error = task().last_error.unwrap();
    assert!(error.contains("transform \"mask\""), "{error}");
    assert_eq!(
        worker.status()["tolerant-mask"].tasks[0].state,
        State::Running
    );
    worker.stop().await;
    world.end().await;
}
