//! Groups: sharing, rebalances, committed offsets.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_client::{
    Assignor, AutoOffsetReset, Consumer, ConsumerConfig, OffsetAndMetadata, RebalanceEvent,
    TopicPartition,
};

use crate::world::{World, numbered, read};

fn member(world: &World, assignors: &[Assignor]) -> Consumer {
    let mut config = ConsumerConfig::group("readers");
    config.auto_offset_reset = AutoOffsetReset::Earliest;
    config.assignors = assignors.to_vec();
    config.heartbeat_interval = Duration::from_millis(100);
    config.session_timeout = Duration::from_secs(10);
    config.fetch_max_wait = Duration::from_millis(50);
    let mut consumer = Consumer::new(world.client(), config).unwrap();
    consumer.subscribe(vec!["orders".to_owned()]).unwrap();
    consumer
}

/// Polls all members in turn until all six partitions are owned, evenly, for a while. Returns the
/// events each member saw.
async fn settle(members: &mut [Consumer]) -> Vec<Vec<RebalanceEvent>> {
    let mut events: Vec<Vec<RebalanceEvent>> = members.iter().map(|_| Vec::new()).collect();
    let mut calm = 0;
    let settling = async {
        while calm < 10 {
            let mut moved = false;
            for (member, events) in members.iter_mut().zip(&mut events) {
                let polled = member.poll(Duration::from_millis(50)).await.unwrap();
                moved |= !polled.events.is_empty();
                events.extend(polled.events);
            }
            let owned: Vec<TopicPartition> =
                members.iter().flat_map(Consumer::assignment).collect();
            let distinct: BTreeSet<&TopicPartition> = owned.iter().collect();
            let each = 6 / members.len();
            let even = members
                .iter()
                .all(|member| member.assignment().len() == each);
            if !moved && even && owned.len() == 6 && distinct.len() == 6 {
                calm += 1;
            } else {
                calm = 0;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), settling)
        .await
        .expect("the group settles");
    events
}

async fn three_members_share_and_take_over(assignors: &[Assignor]) -> Vec<RebalanceEvent> {
    let world = World::start().await;
    world.topic("orders", 6).await;
    let mut members = vec![member(&world, assignors)];
    settle(&mut members).await;
    members.push(member(&world, assignors));
    let mut first = settle(&mut members).await.remove(0);
    members.push(member(&world, assignors));
    first.extend(settle(&mut members).await.remove(0));
    // One leaves, one just disappears from the calls: the others take over.
    members.remove(0).close().await;
    settle(&mut members).await;
    members.remove(0).close().await;
    settle(&mut members).await;
    first
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_three_rebalances_eagerly_with_range() {
    let events = three_members_share_and_take_over(&[Assignor::Range]).await;
    assert!(
        matches!(&events[0], RebalanceEvent::Revoked(all) if all.len() == 6),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_three_rebalances_eagerly_with_round_robin() {
    three_members_share_and_take_over(&[Assignor::RoundRobin]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cooperative_group_of_three_moves_only_what_it_must() {
    let events = three_members_share_and_take_over(&[Assignor::CooperativeSticky]).await;
    let revoked: usize = events
        .iter()
        .map(|event| match event {
            RebalanceEvent::Revoked(partitions) => partitions.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(revoked, 4, "from six to three to two: {events:?}");
    assert!(
        !events
            .iter()
            .any(|event| matches!(event, RebalanceEvent::Assigned(_))),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_goes_on_at_the_committed_offset() {
    let world = World::start().await;
    let topic = world.topic("orders", 1).await;
    let producer = world.producer();
    producer
        .send(&topic, numbered(0..100))
        .await
        .unwrap()
        .await
        .unwrap();
    let partition = TopicPartition::new("orders", 0);

    let mut first = member(&world, &[Assignor::Range]);
    read(&mut first, 100).await;
    let committed = OffsetAndMetadata {
        metadata: "note".to_owned(),
        ..OffsetAndMetadata::new(40)
    };
    first
        .commit(&[(partition.clone(), committed.clone())])
        .await
        .unwrap();
    let found = first
        .committed(&[partition.clone(), TopicPartition::new("orders", 9)])
        .await
        .unwrap();
    assert_eq!(found[0].1, Some(committed));
    assert_eq!(found[1].1, None);
    first.close().await;

    let mut second = member(&world, &[Assignor::Range]);
    assert_eq!(read(&mut second, 60).await[&0][0], "40");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_partitions_can_still_be_committed() {
    let world = World::start().await;
    world.topic("orders", 6).await;
    let mut members = vec![member(&world, &[Assignor::Range])];
    settle(&mut members).await;
    let mut other = member(&world, &[Assignor::Range]);
    let background = tokio::spawn(async move {
        for _ in 0..50 {
            other.poll(Duration::from_millis(100)).await.unwrap();
        }
    });
    let revoked = loop {
        let polled = members[0].poll(Duration::from_secs(5)).await.unwrap();
        if let Some(RebalanceEvent::Revoked(revoked)) = polled.events.into_iter().next() {
            break revoked;
        }
    };
    assert_eq!(members[0].assignment(), revoked, "still owned");
    let offsets: Vec<_> = revoked
        .into_iter()
        .map(|partition| (partition, OffsetAndMetadata::new(0)))
        .collect();
    members[0].commit(&offsets).await.unwrap();
    background.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_finds_topics_that_come_later() {
    let world = World::start().await;
    world.topic("orders-a", 1).await;
    let mut config = kafka_client::ClientConfig::new([world.addr.to_string()]);
    config.metadata_max_age = Duration::from_millis(500);
    let client = kafka_client::Client::new(config).unwrap();
    let mut consumer = Consumer::new(client, ConsumerConfig::group("pattern")).unwrap();
    consumer.subscribe_pattern("orders-.*").unwrap();
    let owned = async |consumer: &mut Consumer, count: usize| {
        let waiting = async {
            while consumer.assignment().len() != count {
                consumer.poll(Duration::from_millis(50)).await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting)
            .await
            .unwrap();
    };
    owned(&mut consumer, 1).await;
    world.topic("orders-b", 2).await;
    owned(&mut consumer, 3).await;
}
