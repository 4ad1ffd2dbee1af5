//! What a sink may ask for and what may happen to it, without loss and without disorder.

use std::collections::BTreeSet;
use std::time::Duration;

use connect_runtime::config::Settings;
use connect_runtime::config::connector::ConnectorConfig;
use connect_runtime::config::worker::WorkerConfig;
use connect_runtime::{State, Worker};
use kafka_client::{Assignor, Consumer, ConsumerConfig};
use tokio::time::Instant;

use crate::connectors::{Journal, SINK};
use crate::relay::Relay;
use crate::world::World;
use crate::{COUNT, numbers};

fn summary(worker: &Worker, name: &str) -> String {
    let status = worker.status();
    let task = status.get(name).and_then(|status| status.tasks.first());
    task.map(|task| task.summary(0)).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_that_fails_is_tried_again_and_commits_nothing_before() {
    let world = World::start().await;
    let worker = world.worker().await;
    let source = world.source("flush-source", "flush", COUNT, "");
    worker.create(source).await.unwrap();
    let sink = world.sink("flush-sink", "flush", "flush-retriable");
    worker.create(sink).await.unwrap();
    world
        .until("the state says why nothing moves", || {
            summary(&worker, "flush-sink").contains("RUNNING: flush failed, retry")
        })
        .await;
    let journal = Journal::of("flush-sink");
    world
        .until("all records are flushed", || {
            journal.flushed() == Some(COUNT as i64)
        })
        .await;
    assert_eq!(journal.values(), numbers(0..COUNT), "each of them once");
    world
        .until("it says that it moves again", || {
            summary(&worker, "flush-sink") == "RUNNING"
        })
        .await;
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_flush_lost_is_not_committed_by_a_later_one() {
    let world = World::start().await;
    let worker = world.worker().await;
    let source = world.source("gone-source", "gone", COUNT, "");
    worker.create(source).await.unwrap();
    let sink = world.sink("gone-sink", "gone", "flush-fatal");
    worker.create(sink).await.unwrap();
    let journal = Journal::of("gone-sink");
    world
        .until("all records are flushed", || {
            journal.flushed() == Some(COUNT as i64) && journal.values().len() >= COUNT
        })
        .await;
    let values: BTreeSet<String> = journal.values().into_iter().collect();
    let all: BTreeSet<String> = numbers(0..COUNT).into_iter().collect();
    assert_eq!(values, all);
    assert_eq!(worker.status()["gone-sink"].tasks[0].failures, 1);
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_seek_the_next_record_is_the_one_sought() {
    let world = World::start().await;
    let worker = world.worker_with(&[("producer.batch.size", "2000")]).await;
    let count = 20 * COUNT;
    let source = world.source("rewind-source", "rewind", count, "");
    worker.create(source).await.unwrap();
    // Small fetches, so that more puts are on their way when the task seeks.
    let small = [("consumer.override.max.partition.fetch.bytes", "1000")];
    let sink = world.sink_with("rewind-sink", "rewind", "rewind", &small);
    worker.create(sink).await.unwrap();
    let journal = Journal::of("rewind-sink");
    world
        .until("all records have come again", || {
            journal
                .values()
                .last()
                .is_some_and(|value| value == "19999")
        })
        .await;
    let values = journal.values();
    let again = values.iter().skip(1).position(|value| value == "0");
    let (before, after) = values.split_at(again.expect("it began again") + 1);
    assert!((300..count).contains(&before.len()), "{}", before.len());
    assert_eq!(before, numbers(0..before.len()));
    assert_eq!(after, numbers(0..count));
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_may_rest_a_partition_and_loses_nothing_of_it() {
    let world = World::start().await;
    let worker = world.worker_with(&[("producer.batch.size", "2000")]).await;
    let small = [("consumer.override.max.partition.fetch.bytes", "1000")];
    let sink = world.sink_with("rest-sink", "rest", "rest", &small);
    worker.create(sink).await.unwrap();
    let source = world.source("rest-source", "rest", COUNT, "");
    worker.create(source).await.unwrap();
    let journal = Journal::of("rest-sink");
    world
        .until("all records are in", || journal.values().len() >= COUNT)
        .await;
    assert_eq!(journal.values(), numbers(0..COUNT));
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_longer_than_the_poll_interval_keeps_its_partitions() {
    let world = World::start().await;
    let worker = world.worker().await;
    let source = world.source("slow-source", "slow", COUNT, "");
    worker.create(source).await.unwrap();
    let hasty = [
        ("consumer.override.max.poll.interval.ms", "600"),
        ("consumer.override.heartbeat.interval.ms", "100"),
    ];
    let sink = world.sink_with("slow-sink", "slow", "slow", &hasty);
    worker.create(sink).await.unwrap();
    let journal = Journal::of("slow-sink");
    world
        .until("all records are flushed", || {
            journal.flushed() == Some(COUNT as i64)
        })
        .await;
    assert_eq!(journal.values(), numbers(0..COUNT), "each of them once");
    assert_eq!(worker.status()["slow-sink"].tasks[0].failures, 0);
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_match_are_read_also_when_they_come_later() {
    let world = World::start().await;
    let worker = world.worker_with(&[("metadata.max.age.ms", "200")]).await;
    world.create_topic("match-one", &[]).await;
    let sink = world.sink_matching("match-sink", "match-.*");
    worker.create(sink).await.unwrap();
    let source = world.source("match-one-source", "match-one", 10, "");
    worker.create(source).await.unwrap();
    let journal = Journal::of("match-sink");
    world
        .until("the first topic is read", || journal.values().len() == 10)
        .await;
    let source = world.source("match-two-source", "match-two", 10, "");
    worker.create(source).await.unwrap();
    let other = world.source("other-source", "no-match", 10, "");
    worker.create(other).await.unwrap();
    world
        .until("the second topic is read", || journal.values().len() >= 20)
        .await;
    assert_eq!(journal.values().len(), 20);
    worker.stop().await;
    world.end().await;
}

#[test]
fn topics_that_no_broker_accepts_are_refused_before_anything_starts() {
    let refused = |key: &str, value: &str| {
        let keys = [("name", "odd"), ("connector.class", SINK), (key, value)];
        let map = keys.map(|(key, text)| (key.to_owned(), text.to_owned()));
        let settings = Settings::from_map("odd", &map.into());
        let worker = [("key.converter", "string"), ("value.converter", "string")];
        let worker = worker.map(|(key, text)| (key.to_owned(), text.to_owned()));
        let (worker, _) = WorkerConfig::read(&Settings::from_map("w", &worker.into())).unwrap();
        ConnectorConfig::read(&settings, &worker)
            .unwrap_err()
            .to_string()
    };
    let both = refused("topics", "fine,a b,..");
    assert_eq!(both.lines().count(), 2, "{both}");
    assert!(
        both.contains("got \"a b\"") && both.contains("got \"..\""),
        "{both}"
    );
    let pattern = refused("topics.regex", "a(b");
    assert!(
        pattern.contains("\"topics.regex\": expected a regular expression: unclosed group"),
        "{pattern}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_share_a_sink_and_one_takes_over_at_once() {
    let world = World::start().await;
    world.create_topic_of("share", 6, &[]).await;
    let first = world.worker().await;
    let second = world
        .worker_with(&[("offset.storage.topic", "other-offsets")])
        .await;
    let sink = || world.sink_with("share-sink", "share", "", &[("tasks.max", "2")]);
    first.create(sink()).await.unwrap();
    let count = 20 * COUNT;
    let source = world.source("share-source", "share", count, "");
    // In the worker that stays.
    second.create(source).await.unwrap();
    second.create(sink()).await.unwrap();
    let journal = Journal::of("share-sink");
    let running = |worker: &Worker| {
        let status = worker.status();
        let mut tasks = status
            .get("share-sink")
            .into_iter()
            .flat_map(|all| &all.tasks);
        tasks.all(|task| task.state == State::Running)
    };
    world
        .until("both workers run", || running(&first) && running(&second))
        .await;
    first.stop().await;
    let stopped = Instant::now();
    let all: BTreeSet<String> = numbers(0..count).into_iter().collect();
    world
        .until("all records are in", || {
            journal.values().into_iter().collect::<BTreeSet<_>>() == all
        })
        .await;
    assert!(
        stopped.elapsed() < Duration::from_secs(30),
        "a session of 45 s was waited for: {:?}",
        stopped.elapsed()
    );
    second.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_with_one_name_in_the_group_do_not_throw_each_other_out_for_ever() {
    let world = World::start().await;
    world.create_topic_of("twins", 4, &[]).await;
    let first = world.worker().await;
    let second = world
        .worker_with(&[("offset.storage.topic", "twin-offsets")])
        .await;
    let same = [("consumer.override.group.instance.id", "the-same")];
    let sink = || world.sink_with("twin-sink", "twins", "", &same);
    first.create(sink()).await.unwrap();
    let failures = |worker: &Worker| {
        let status = worker.status();
        let task = status.get("twin-sink").and_then(|all| all.tasks.first());
        task.map_or(0, |task| task.failures)
    };
    world
        .until("the first one runs", || {
            summary(&first, "twin-sink") == "RUNNING"
        })
        .await;
    second.create(sink()).await.unwrap();
    world
        .until("one of them notices", || {
            failures(&first) + failures(&second) > 0
        })
        .await;
    let source = world.source("twin-source", "twins", COUNT, "");
    second.create(source).await.unwrap();
    let journal = Journal::of("twin-sink");
    let all: BTreeSet<String> = numbers(0..COUNT).into_iter().collect();
    world
        .until("all records are in", || {
            journal.values().into_iter().collect::<BTreeSet<_>>() == all
        })
        .await;
    assert!(failures(&first) + failures(&second) <= 2, "they made peace");
    first.stop().await;
    second.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_whose_broker_is_away_says_so() {
    let world = World::start().await;
    let worker = world.worker().await;
    let source = world.source("away-source", "away", 10, "");
    worker.create(source).await.unwrap();
    worker
        .create(world.sink("away-sink", "away", ""))
        .await
        .unwrap();
    let journal = Journal::of("away-sink");
    world
        .until("the sink has read", || journal.flushes() > 0)
        .await;
    let world = world.without_broker().await;
    world
        .until("the state says why nothing comes", || {
            summary(&worker, "away-sink").contains("RUNNING: brokers have not answered for")
        })
        .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_commit_waits_for_the_end_of_a_rebalance() {
    let mut relay = Relay::bind().await;
    let world = World::start_behind(&mut relay).await;
    let worker = world.worker().await;
    let source = world.source("between-source", "between", COUNT, "");
    worker.create(source).await.unwrap();
    let cooperative = [
        (
            "consumer.override.partition.assignment.strategy",
            "cooperative-sticky",
        ),
        ("consumer.override.heartbeat.interval.ms", "50"),
    ];
    let name = "between-sink";
    let sink = world.sink_with(name, "between", "", &cooperative);
    worker.create(sink).await.unwrap();
    world.until_committed(name, COUNT as i64).await;

    // Somebody else joins, and the task does not hear how that ends.
    relay.hold();
    let mut config = ConsumerConfig::group(format!("connect-{name}"));
    config.assignors = vec![Assignor::CooperativeSticky];
    let mut other = Consumer::new(world.client(), config).unwrap();
    other.subscribe(vec!["elsewhere".to_owned()]).unwrap();
    let other =
        tokio::spawn(async move { while other.poll(Duration::from_secs(1)).await.is_ok() {} });
    world
        .until("the group rebalances", || relay.is_holding())
        .await;
    let more = world.source("more-source", "between", COUNT, "");
    worker.create(more).await.unwrap();
    let journal = Journal::of(name);
    world
        .until("all records are in", || journal.values().len() == 2 * COUNT)
        .await;
    let end_of_rebalance = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        relay.let_go();
    };
    let (stopped, ()) = tokio::join!(worker.stop_connector(name), end_of_rebalance);
    assert!(stopped.unwrap().abandoned.is_empty());
    assert_eq!(world.committed(name).await, Some(2 * COUNT as i64));
    other.abort();
    worker.stop().await;
    world.end().await;
}
