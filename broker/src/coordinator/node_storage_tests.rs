//! The coordinator on real logs in a folder.

use std::{path::Path, sync::Arc};

use super::{
    answer::Identity, committed::TopicPartition, record::OffsetValue, service::GroupCoordinator,
    storage::OFFSETS_TOPIC,
};
use crate::{
    Broker,
    controller::{Controller, NewTopic},
    replica::Replicas,
};

/// The rooms of a broker that the coordinator needs.
struct Rooms {
    controller: Arc<Controller>,
    replicas: Arc<Replicas>,
    groups: Arc<GroupCoordinator>,
    broker: Broker,
}

impl Rooms {
    async fn open(folder: &Path) -> Self {
        let broker = Broker::builder()
            .listen("127.0.0.1:0")
            .data_dir(folder)
            .property("offsets.topic.num.partitions", "5")
            .start()
            .await
            .unwrap();
        Self {
            controller: Arc::clone(&broker.node.controller),
            replicas: Arc::clone(&broker.node.replicas),
            groups: Arc::clone(&broker.node.groups),
            broker,
        }
    }

    async fn close(self) {
        self.broker.shutdown().await;
    }

    /// Creates a topic and gives its id.
    async fn create(&self, name: &str) -> [u8; 16] {
        let created = self
            .controller
            .create_topics(&[NewTopic::named(name)], false)
            .await;
        created.into_iter().next().unwrap().unwrap().id
    }
}

fn value(offset: i64, topic_id: [u8; 16]) -> OffsetValue {
    OffsetValue {
        offset,
        leader_epoch: 0,
        metadata: "note".into(),
        commit_timestamp: platform::clock::unix_millis(),
        expire_timestamp: None,
        topic_id,
    }
}

#[tokio::test]
async fn offsets_are_in_the_log_of_the_offsets_topic_and_come_back_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let rooms = Rooms::open(folder.path()).await;
    assert!(rooms.controller.image().topic(OFFSETS_TOPIC).is_none());
    let id = rooms.create("orders").await;
    let group = "group".into();
    let orders = TopicPartition {
        topic: "orders".into(),
        partition: 0,
    };
    for offset in 1..=10 {
        let offsets = vec![(orders.clone(), value(offset, id))];
        let outcome = rooms
            .groups
            .commit(&group, &Identity::default(), -1, offsets)
            .await;
        assert_eq!(outcome, Ok(()));
    }
    let topic = rooms.controller.image().topic(OFFSETS_TOPIC).cloned();
    assert_eq!(topic.unwrap().partition_count(), 5);
    let written: i64 = (0..5)
        .filter_map(|partition| rooms.replicas.get(OFFSETS_TOPIC, partition))
        .map(|partition| partition.offsets().log_end)
        .sum();
    assert_eq!(written, 10);
    rooms.close().await;

    let rooms = Rooms::open(folder.path()).await;
    rooms.groups.loaded().await;
    let committed = rooms.groups.committed(&group, None).unwrap();
    assert_eq!(committed.len(), 1);
    assert_eq!((committed[0].1.offset, committed[0].1.topic_id), (10, id));
    rooms.close().await;
}

#[tokio::test]
async fn a_topic_that_was_created_anew_has_no_offsets() {
    let folder = tempfile::tempdir().unwrap();
    let rooms = Rooms::open(folder.path()).await;
    let id = rooms.create("orders").await;
    let group = "group".into();
    let orders = TopicPartition {
        topic: "orders".into(),
        partition: 0,
    };
    let offsets = vec![(orders.clone(), value(7, id))];
    let outcome = rooms
        .groups
        .commit(&group, &Identity::default(), -1, offsets)
        .await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(rooms.groups.committed(&group, None).unwrap().len(), 1);
    rooms.controller.delete_topic("orders", id).await.unwrap();
    rooms.create("orders").await;
    assert_eq!(rooms.groups.committed(&group, None), Ok(Vec::new()));
    rooms.close().await;
}
