//! The coordinator over a log in memory.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use kafka_wire_core::StrBytes;

use super::{
    answer::{Identity, Join, Sync},
    committed::TopicPartition,
    error::GroupError,
    member::Protocol,
    memory_storage::MemoryStorage,
    record::OffsetValue,
    service::GroupCoordinator,
    settings::GroupSettings,
};

fn settings() -> GroupSettings {
    GroupSettings {
        initial_rebalance_delay: Duration::ZERO,
        ..GroupSettings::default()
    }
}

pub(super) async fn start(storage: &Arc<MemoryStorage>) -> GroupCoordinator {
    let coordinator = GroupCoordinator::over(settings(), Arc::clone(storage) as Arc<_>);
    coordinator.start().await;
    coordinator
}

pub(super) fn orders(partition: i32) -> TopicPartition {
    TopicPartition {
        topic: "orders".into(),
        partition,
    }
}

pub(super) fn value(offset: i64) -> OffsetValue {
    OffsetValue {
        offset,
        leader_epoch: 3,
        metadata: "note".into(),
        commit_timestamp: platform::clock::unix_millis(),
        expire_timestamp: None,
        topic_id: [7; 16],
    }
}

pub(super) fn join_request(member_id: &str) -> Join {
    Join {
        member_id: member_id.into(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(60),
        protocol_type: "consumer".into(),
        protocols: vec![Protocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"not a subscription"),
        }],
        requires_known_member_id: true,
        supports_skipping_assignment: true,
    }
}

/// Joins and syncs a group's only member.
pub(super) async fn join(coordinator: &GroupCoordinator, group: &StrBytes) -> Identity {
    let asked = coordinator.join(group, join_request("")).await;
    assert_eq!(asked.error, Some(GroupError::MemberIdRequired));
    let joined = coordinator
        .join(group, join_request(&asked.member_id))
        .await;
    assert_eq!(joined.error, None);
    let synced = coordinator
        .sync(
            group,
            Sync {
                generation: joined.generation,
                member_id: joined.member_id.clone(),
                assignments: vec![(joined.member_id.clone(), Bytes::from_static(b"work"))],
                ..Sync::default()
            },
        )
        .await;
    assert_eq!((synced.error, &synced.assignment[..]), (None, &b"work"[..]));
    Identity {
        member_id: joined.member_id,
        instance_id: None,
    }
}

#[tokio::test(start_paused = true)]
async fn groups_and_offsets_survive_a_restart() {
    let storage = Arc::new(MemoryStorage::new());
    let coordinator = start(&storage).await;
    let group = StrBytes::from("group");
    let member = join(&coordinator, &group).await;
    let outcome = coordinator
        .commit(
            &group,
            &member,
            1,
            vec![(orders(0), value(5)), (orders(1), value(6))],
        )
        .await;
    assert_eq!(outcome, Ok(()));
    let outcome = coordinator
        .commit(&group, &member, 1, vec![(orders(0), value(50))])
        .await;
    assert_eq!(outcome, Ok(()));
    let simple = StrBytes::from("simple");
    let nobody = Identity::default();
    let outcome = coordinator
        .commit(&simple, &nobody, -1, vec![(orders(2), value(9))])
        .await;
    assert_eq!(outcome, Ok(()));
    let before = coordinator.committed(&group, None).unwrap();
    coordinator.shutdown().await;
    assert_eq!(
        coordinator.heartbeat(&group, &member, 1),
        Err(GroupError::NotCoordinator)
    );

    let coordinator = start(&storage).await;
    assert_eq!(
        coordinator.heartbeat(&group, &member, 1),
        Err(GroupError::CoordinatorLoadInProgress)
    );
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(coordinator.heartbeat(&group, &member, 1), Ok(()));
    assert_eq!(coordinator.committed(&group, None).unwrap(), before);
    assert_eq!(before.len(), 2);
    assert_eq!(before[0].1.offset, 50);
    assert_eq!(
        coordinator
            .committed(&simple, Some(&[orders(1), orders(2)]))
            .unwrap()
            .len(),
        1
    );
    assert_eq!(coordinator.list().unwrap().len(), 2);
    let described = coordinator.describe(&group).unwrap().unwrap();
    assert_eq!(described.state, "Stable");
    assert_eq!(described.members[0].assignment, "work");
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_answered_and_visible_only_when_it_is_written() {
    let storage = Arc::new(MemoryStorage::new());
    let coordinator = Arc::new(start(&storage).await);
    let group = StrBytes::from("group");
    coordinator.prepare().await.unwrap();
    storage.flowing.send_replace(false);
    let commits: Vec<_> = (0..20)
        .map(|partition| {
            let (coordinator, group) = (Arc::clone(&coordinator), group.clone());
            tokio::spawn(async move {
                let nobody = Identity::default();
                let offsets = vec![(orders(partition), value(1))];
                coordinator.commit(&group, &nobody, -1, offsets).await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(commits.iter().all(|commit| !commit.is_finished()));
    assert_eq!(coordinator.committed(&group, None), Ok(Vec::new()));
    storage.flowing.send_replace(true);
    for commit in commits {
        assert_eq!(commit.await.unwrap(), Ok(()));
    }
    assert_eq!(coordinator.committed(&group, None).unwrap().len(), 20);
    assert!(storage.batches() <= 2, "commits that wait share a batch");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_cannot_be_written_is_refused_and_leaves_no_trace() {
    let storage = Arc::new(MemoryStorage::new());
    let coordinator = start(&storage).await;
    let group = StrBytes::from("group");
    let nobody = Identity::default();
    storage.broken.store(true, Ordering::Relaxed);
    let outcome = coordinator
        .commit(&group, &nobody, -1, vec![(orders(0), value(1))])
        .await;
    assert_eq!(outcome, Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(coordinator.committed(&group, None), Ok(Vec::new()));
    assert_eq!(coordinator.list(), Ok(Vec::new()));
    storage.broken.store(false, Ordering::Relaxed);
    let outcome = coordinator
        .commit(&group, &nobody, -1, vec![(orders(0), value(1))])
        .await;
    assert_eq!(outcome, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_group_stays_deleted() {
    let storage = Arc::new(MemoryStorage::new());
    let coordinator = start(&storage).await;
    let group = StrBytes::from("group");
    let member = join(&coordinator, &group).await;
    let outcome = coordinator
        .commit(&group, &member, 1, vec![(orders(0), value(5))])
        .await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(
        coordinator.delete(&group).await,
        Err(GroupError::NonEmptyGroup)
    );
    assert_eq!(
        coordinator.leave(&group, std::slice::from_ref(&member)),
        Ok(vec![None])
    );
    assert_eq!(coordinator.delete(&group).await, Ok(()));
    assert_eq!(
        coordinator.delete(&group).await,
        Err(GroupError::GroupIdNotFound)
    );
    coordinator.shutdown().await;
    let coordinator = start(&storage).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(coordinator.list(), Ok(Vec::new()));
    assert_eq!(coordinator.committed(&group, None), Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_commit_queued_before_a_deletion_is_deleted_too() {
    let storage = Arc::new(MemoryStorage::new());
    let coordinator = Arc::new(start(&storage).await);
    coordinator.prepare().await.unwrap();
    storage.flowing.send_replace(false);
    let group = StrBytes::from("group");
    let (c, g) = (Arc::clone(&coordinator), group.clone());
    let commit = tokio::spawn(async move {
        let offsets = vec![(orders(0), value(1))];
        c.commit(&g, &Identity::default(), -1, offsets).await
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    let (c, g) = (Arc::clone(&coordinator), group.clone());
    let delete = tokio::spawn(async move { c.delete(&g).await });
    tokio::time::sleep(Duration::from_millis(1)).await;
    storage.flowing.send_replace(true);
    assert_eq!(commit.await.unwrap(), Ok(()));
    assert_eq!(delete.await.unwrap(), Ok(()));
    coordinator.shutdown().await;
    let coordinator = start(&storage).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(coordinator.list(), Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn offsets_are_deleted_one_by_one() {
    let storage = Arc::new(MemoryStorage::new());
    let coordinator = start(&storage).await;
    let group = StrBytes::from("group");
    let offsets = vec![(orders(0), value(1)), (orders(1), value(1))];
    let nobody = Identity::default();
    let outcome = coordinator.commit(&group, &nobody, -1, offsets).await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(
        coordinator.delete_offsets(&group, &[orders(0)]).await,
        Ok(vec![None])
    );
    let left = coordinator.committed(&group, None).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].0, orders(1));
}

#[tokio::test(start_paused = true)]
async fn the_offsets_of_a_running_group_are_not_deleted() {
    let storage = Arc::new(MemoryStorage::new());
    let coordinator = start(&storage).await;
    let group = StrBytes::from("group");
    let _member = join(&coordinator, &group).await;
    assert_eq!(
        coordinator.delete_offsets(&group, &[orders(0)]).await,
        Ok(vec![Some(GroupError::GroupSubscribedToTopic)])
    );
}

#[tokio::test(start_paused = true)]
async fn members_time_out_while_nobody_asks() {
    let storage = Arc::new(MemoryStorage::new());
    let coordinator = start(&storage).await;
    let group = StrBytes::from("group");
    let member = join(&coordinator, &group).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(coordinator.heartbeat(&group, &member, 1), Ok(()));
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(coordinator.heartbeat(&group, &member, 1), Ok(()));
    tokio::time::sleep(Duration::from_millis(10_001)).await;
    let described = coordinator.describe(&group).unwrap().unwrap();
    assert_eq!((described.state, described.members.len()), ("Empty", 0));
    assert_eq!(
        coordinator.heartbeat(&group, &member, 1),
        Err(GroupError::UnknownMemberId)
    );
}

#[tokio::test(start_paused = true)]
async fn offsets_expire_when_the_retention_is_over() {
    let storage = Arc::new(MemoryStorage::new());
    let coordinator = start(&storage).await;
    let nobody = Identity::default();
    let group = StrBytes::from("group");
    let week = i64::try_from(settings().offsets_retention.as_millis()).unwrap();
    let old = OffsetValue {
        commit_timestamp: platform::clock::unix_millis() - week - 1,
        ..value(1)
    };
    let offsets = vec![(orders(0), old.clone()), (orders(1), value(1))];
    let outcome = coordinator.commit(&group, &nobody, -1, offsets).await;
    assert_eq!(outcome, Ok(()));
    let expiring = StrBytes::from("expiring");
    let outcome = coordinator
        .commit(&expiring, &nobody, -1, vec![(orders(0), old)])
        .await;
    assert_eq!(outcome, Ok(()));
    coordinator.expire_now();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(coordinator.committed(&group, None).unwrap().len(), 1);
    let left: Vec<StrBytes> = coordinator
        .list()
        .unwrap()
        .into_iter()
        .map(|listing| listing.group_id)
        .collect();
    assert_eq!(left, [group]);
}

#[tokio::test(start_paused = true)]
async fn the_offsets_of_a_group_that_just_became_empty_are_kept_however_old_they_are() {
    let storage = Arc::new(MemoryStorage::new());
    let coordinator = start(&storage).await;
    let group = StrBytes::from("group");
    let member = join(&coordinator, &group).await;
    let ancient = OffsetValue {
        commit_timestamp: 1,
        ..value(1)
    };
    let outcome = coordinator
        .commit(&group, &member, 1, vec![(orders(0), ancient)])
        .await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(coordinator.leave(&group, &[member]), Ok(vec![None]));
    tokio::time::sleep(Duration::from_millis(1)).await;
    coordinator.expire_now();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(coordinator.committed(&group, None).unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_offsets_of_a_deleted_topic_are_hidden_and_then_deleted() {
    let storage = Arc::new(MemoryStorage::new());
    let coordinator = start(&storage).await;
    let group = StrBytes::from("group");
    let nobody = Identity::default();
    let outcome = coordinator
        .commit(&group, &nobody, -1, vec![(orders(0), value(1))])
        .await;
    assert_eq!(outcome, Ok(()));
    storage.deleted_topics.lock().push("orders".into());
    assert_eq!(coordinator.committed(&group, None), Ok(Vec::new()));
    coordinator.expire_now();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(coordinator.list(), Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn parked_requests_are_sent_elsewhere_when_the_broker_stops() {
    let storage = Arc::new(MemoryStorage::new());
    let coordinator = Arc::new(start(&storage).await);
    let group = StrBytes::from("group");
    let _first = join(&coordinator, &group).await;
    let asked = coordinator.join(&group, join_request("")).await;
    let parked = tokio::spawn({
        let coordinator = Arc::clone(&coordinator);
        async move {
            coordinator
                .join(&group, join_request(&asked.member_id))
                .await
        }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    coordinator.shutdown().await;
    assert_eq!(
        parked.await.unwrap().error,
        Some(GroupError::NotCoordinator)
    );
}

#[tokio::test(start_paused = true)]
async fn bad_requests_are_refused_before_they_create_anything() {
    let storage = Arc::new(MemoryStorage::new());
    let coordinator = start(&storage).await;
    let empty = StrBytes::default();
    assert_eq!(
        coordinator.join(&empty, join_request("")).await.error,
        Some(GroupError::InvalidGroupId)
    );
    let long = StrBytes::from("x".repeat(40_000));
    assert_eq!(
        coordinator.join(&long, join_request("")).await.error,
        Some(GroupError::InvalidGroupId)
    );
    let hasty = Join {
        session_timeout: Duration::from_secs(1),
        ..join_request("")
    };
    let group = StrBytes::from("group");
    assert_eq!(
        coordinator.join(&group, hasty).await.error,
        Some(GroupError::InvalidSessionTimeout)
    );
    assert_eq!(
        coordinator
            .join(&group, join_request("unknown"))
            .await
            .error,
        Some(GroupError::UnknownMemberId)
    );
    assert_eq!(coordinator.list(), Ok(Vec::new()));
}
