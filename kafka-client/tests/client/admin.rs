//! Administration.

use std::time::Duration;

use kafka_client::{
    AlterConfigOp, Client, ClientConfig, ClientError, ConfigAlteration, ConfigResource,
    ConfigSource, ErrorCode, NewTopic, OffsetAndMetadata, OffsetSpec, TopicPartition,
};

use crate::world::{World, numbered, read};

#[tokio::test]
async fn topics_are_created_described_grown_and_deleted() {
    let world = World::start().await;
    let admin = world.client().admin();
    world.topic("orders", 2).await;
    let again = admin
        .create_topics(&[NewTopic::new("orders", 1, 1)], false)
        .await
        .unwrap();
    assert_eq!(
        again[0].1.as_ref().unwrap_err().code(),
        Some(ErrorCode::TOPIC_ALREADY_EXISTS)
    );
    let listed = admin.list_topics().await.unwrap();
    assert!(
        listed
            .iter()
            .any(|topic| topic.name == "orders" && topic.partitions == 2)
    );
    admin.create_partitions("orders", 5, false).await.unwrap();
    let described = admin
        .describe_topics(&["orders".to_owned(), "absent".to_owned()])
        .await
        .unwrap();
    let orders = described[0].1.as_ref().unwrap();
    assert_eq!(orders.partitions.len(), 5);
    assert_eq!(orders.partitions[4].leader, 0);
    assert_ne!(orders.id, [0; 16]);
    let code = described[1].1.as_ref().unwrap_err().code();
    assert_eq!(code, Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    let deleted = admin
        .delete_topics(&["orders".to_owned(), "absent".to_owned()])
        .await
        .unwrap();
    deleted[0].1.as_ref().unwrap();
    assert!(deleted[1].1.is_err());
    assert!(
        !admin
            .list_topics()
            .await
            .unwrap()
            .iter()
            .any(|topic| topic.name == "orders")
    );
}

#[tokio::test]
async fn configurations_are_changed_key_by_key() {
    let world = World::start().await;
    world.topic("orders", 1).await;
    let admin = world.client().admin();
    let resource = ConfigResource::topic("orders");
    let set = |value: Option<&str>| ConfigAlteration {
        name: "retention.ms".to_owned(),
        op: if value.is_some() {
            AlterConfigOp::Set
        } else {
            AlterConfigOp::Delete
        },
        value: value.map(str::to_owned),
    };
    admin
        .incremental_alter_configs(&resource, &[set(Some("12345"))], false)
        .await
        .unwrap();
    let read = async || {
        let described = admin
            .describe_configs(std::slice::from_ref(&resource))
            .await
            .unwrap();
        let entries = described.into_iter().next().unwrap().1.unwrap();
        entries
            .into_iter()
            .find(|entry| entry.name == "retention.ms")
            .unwrap()
    };
    let entry = read().await;
    assert_eq!(entry.value.as_deref(), Some("12345"));
    assert_eq!(entry.source, ConfigSource::Topic);
    admin
        .incremental_alter_configs(&resource, &[set(None)], false)
        .await
        .unwrap();
    assert_ne!(read().await.source, ConfigSource::Topic);
    let wrong = ConfigAlteration {
        name: "no.such.key".to_owned(),
        ..set(Some("1"))
    };
    assert!(
        admin
            .incremental_alter_configs(&resource, &[wrong], false)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn offsets_are_listed_and_records_deleted() {
    let world = World::start().await;
    let topic = world.topic("orders", 1).await;
    world
        .producer()
        .send(&topic, numbered(0..10))
        .await
        .unwrap()
        .await
        .unwrap();
    let admin = world.client().admin();
    let partition = TopicPartition::new("orders", 0);
    let list = async |spec| {
        let listed = admin
            .list_offsets(&[(partition.clone(), spec)])
            .await
            .unwrap();
        listed[0].1.as_ref().unwrap().offset
    };
    assert_eq!(list(OffsetSpec::Earliest).await, 0);
    assert_eq!(list(OffsetSpec::Latest).await, 10);
    assert_eq!(list(OffsetSpec::Timestamp(0)).await, 0);
    assert_eq!(list(OffsetSpec::Timestamp(i64::MAX / 2)).await, -1);
    let deleted = admin
        .delete_records(&[(partition.clone(), 4)])
        .await
        .unwrap();
    assert_eq!(*deleted[0].1.as_ref().unwrap(), 4);
    assert_eq!(list(OffsetSpec::Earliest).await, 4);
    assert_eq!(read(&mut world.reader("orders", 1), 6).await[&0][0], "4");
}

#[tokio::test]
async fn offsets_of_a_group_without_members_are_set_and_deleted() {
    let world = World::start().await;
    world.topic("orders", 2).await;
    let admin = world.client().admin();
    let offsets: Vec<_> = (0..2)
        .map(|index| {
            (
                TopicPartition::new("orders", index),
                OffsetAndMetadata::new(7),
            )
        })
        .collect();
    admin
        .alter_group_offsets("readers", &offsets)
        .await
        .unwrap();
    let listed = admin.list_group_offsets("readers").await.unwrap();
    assert_eq!(listed.into_iter().collect::<Vec<_>>(), offsets);
    let groups = admin.list_groups().await.unwrap();
    assert!(
        groups.iter().any(|group| group.group == "readers"),
        "{groups:?}"
    );
    let deleted = admin
        .delete_group_offsets("readers", &[TopicPartition::new("orders", 0)])
        .await
        .unwrap();
    deleted[0].1.as_ref().unwrap();
    assert_eq!(admin.list_group_offsets("readers").await.unwrap().len(), 1);
    let described = admin
        .describe_groups(&["readers".to_owned()])
        .await
        .unwrap();
    assert_eq!(described[0].1.as_ref().unwrap().state, "Empty");
    admin.delete_groups(&["readers".to_owned()]).await.unwrap()[0]
        .1
        .as_ref()
        .unwrap();
    assert!(
        admin
            .list_group_offsets("readers")
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn the_cluster_and_its_folders_are_described() {
    let world = World::start().await;
    world.topic("orders", 1).await;
    let admin = world.client().admin();
    let cluster = admin.describe_cluster().await.unwrap();
    assert_eq!(cluster.brokers.len(), 1);
    assert_eq!(cluster.brokers[0].addr(), world.addr.to_string());
    assert_eq!(
        cluster.cluster_id,
        world.client().cluster().await.unwrap().cluster_id
    );
    let folders = admin.describe_log_dirs(&[]).await.unwrap();
    let replicas = folders.iter().flat_map(|folder| &folder.replicas);
    assert!(
        replicas
            .into_iter()
            .any(|replica| &*replica.topic == "orders")
    );
}

#[tokio::test]
async fn an_absent_broker_is_named_with_the_way_out() {
    let mut config = ClientConfig::new(["127.0.0.1:1"]);
    config.api_timeout = Duration::from_millis(300);
    let error = Client::new(config)
        .unwrap()
        .admin()
        .list_topics()
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Bootstrap { .. }));
    let text = error.to_string();
    assert!(
        text.contains("127.0.0.1:1") && text.contains("start the broker"),
        "{text}"
    );
}

/// Connectors and tools run all of this in spawned tasks.
#[tokio::test]
async fn calls_can_be_spawned() {
    let world = World::start().await;
    let client = world.client();
    let listed = tokio::spawn(async move {
        let admin = client.admin();
        admin
            .describe_configs(&[ConfigResource::broker(0)])
            .await
            .unwrap();
        admin.list_group_offsets("nobody").await.unwrap();
        admin.remove_members("nobody", &[]).await.unwrap();
        admin.list_config_resources(&[]).await.unwrap();
        admin.list_groups().await.unwrap()
    });
    assert!(listed.await.unwrap().is_empty());
}
