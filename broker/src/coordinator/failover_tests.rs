//! Groups that move from one node to another, over a log in memory.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use kafka_wire_core::StrBytes;

use super::{
    answer::Identity,
    error::GroupError,
    memory_storage::MemoryStorage,
    service::GroupCoordinator,
    service_tests::{join, join_request, orders, start, value},
};

/// Two nodes; the first leads every partition and both know it.
struct Pair {
    storages: [Arc<MemoryStorage>; 2],
    nodes: [Arc<GroupCoordinator>; 2],
}

impl Pair {
    async fn start() -> Self {
        let first = Arc::new(MemoryStorage::new());
        let second = Arc::new(first.beside(1));
        first.lead_all();
        let nodes = [start(&first).await.into(), start(&second).await.into()];
        tokio::time::sleep(Duration::from_millis(1)).await;
        Self {
            storages: [first, second],
            nodes,
        }
    }

    /// Makes a node the leader and waits until it serves.
    async fn lead(&self, node: usize) {
        self.storages[node].lead_all();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn group() -> StrBytes {
    StrBytes::from("group")
}

async fn commit(node: &GroupCoordinator, offset: i64) -> Result<(), GroupError> {
    let offsets = vec![(orders(0), value(offset))];
    node.commit(&group(), &Identity::default(), -1, offsets)
        .await
}

fn committed(node: &GroupCoordinator) -> Result<Vec<i64>, GroupError> {
    let committed = node.committed(&group(), None)?;
    Ok(committed.iter().map(|(_, value)| value.offset).collect())
}

#[tokio::test(start_paused = true)]
async fn members_and_offsets_move_with_the_leader() {
    let pair = Pair::start().await;
    let [first, second] = &pair.nodes;
    let member = join(first, &group()).await;
    let offsets = vec![(orders(0), value(5))];
    assert_eq!(first.commit(&group(), &member, 1, offsets).await, Ok(()));
    assert_eq!(
        second.heartbeat(&group(), &member, 1),
        Err(GroupError::NotCoordinator)
    );
    assert_eq!(second.find("group").await.unwrap(), Some(0));

    pair.storages[1].lead_all();
    assert_eq!(
        second.heartbeat(&group(), &member, 1),
        Err(GroupError::CoordinatorLoadInProgress),
        "what the metadata says holds at once"
    );
    assert_eq!(
        first.heartbeat(&group(), &member, 1),
        Err(GroupError::NotCoordinator)
    );
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(first.find("group").await.unwrap(), Some(1));
    assert_eq!(second.heartbeat(&group(), &member, 1), Ok(()));
    assert_eq!(committed(second), Ok(vec![5]));
    assert_eq!(first.list(), Ok(Vec::new()));
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(second.heartbeat(&group(), &member, 1), Ok(()));
    tokio::time::sleep(Duration::from_millis(10_001)).await;
    assert_eq!(
        second.heartbeat(&group(), &member, 1),
        Err(GroupError::UnknownMemberId),
        "its session is watched by the new coordinator"
    );
}

#[tokio::test(start_paused = true)]
async fn what_changed_on_another_node_is_known_when_the_leadership_returns() {
    let pair = Pair::start().await;
    let [first, second] = &pair.nodes;
    assert_eq!(commit(first, 1).await, Ok(()));
    pair.lead(1).await;
    assert_eq!(commit(second, 2).await, Ok(()));
    assert_eq!(commit(first, 3).await, Err(GroupError::NotCoordinator));
    pair.lead(0).await;
    assert_eq!(committed(first), Ok(vec![2]));
}

#[tokio::test(start_paused = true)]
async fn a_new_epoch_is_loaded_anew_even_if_the_leader_stays() {
    let pair = Pair::start().await;
    let [first, second] = &pair.nodes;
    assert_eq!(commit(first, 1).await, Ok(()));
    // Too fast for the first to see that there was another.
    pair.storages[1].lead_all();
    assert_eq!(
        commit(second, 2).await,
        Err(GroupError::CoordinatorLoadInProgress)
    );
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(commit(second, 2).await, Ok(()));
    pair.lead(0).await;
    pair.lead(0).await;
    assert_eq!(committed(first), Ok(vec![2]));
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_are_sent_to_the_new_coordinator() {
    let pair = Pair::start().await;
    let first = &pair.nodes[0];
    let _member = join(first, &StrBytes::from("running")).await;
    let asked = first
        .join(&StrBytes::from("running"), join_request(""))
        .await;
    let parked = tokio::spawn({
        let first = Arc::clone(first);
        async move {
            first
                .join(&StrBytes::from("running"), join_request(&asked.member_id))
                .await
        }
    });
    pair.storages[0].flowing.send_replace(false);
    let writing = tokio::spawn({
        let first = Arc::clone(first);
        async move { commit(&first, 7).await }
    });
    let queued = tokio::spawn({
        let first = Arc::clone(first);
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            commit(&first, 8).await
        }
    });
    tokio::time::sleep(Duration::from_millis(5)).await;
    pair.lead(1).await;
    assert_eq!(
        parked.await.unwrap().error,
        Some(GroupError::NotCoordinator)
    );
    assert_eq!(queued.await.unwrap(), Err(GroupError::NotCoordinator));
    assert!(!writing.is_finished());
    pair.storages[0].flowing.send_replace(true);
    assert_eq!(writing.await.unwrap(), Err(GroupError::NotCoordinator));
    assert_eq!(committed(&pair.nodes[1]), Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_returns_waits_for_its_own_last_write() {
    let pair = Pair::start().await;
    let first = &pair.nodes[0];
    pair.storages[0].flowing.send_replace(false);
    let writing = tokio::spawn({
        let first = Arc::clone(first);
        async move { commit(&first, 7).await }
    });
    tokio::time::sleep(Duration::from_millis(5)).await;
    pair.lead(1).await;
    pair.lead(0).await;
    assert_eq!(
        committed(first),
        Err(GroupError::CoordinatorLoadInProgress),
        "the write may still get into the log"
    );
    pair.storages[0].flowing.send_replace(true);
    assert_eq!(writing.await.unwrap(), Err(GroupError::NotCoordinator));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(committed(first), Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn after_a_write_in_doubt_the_groups_are_what_the_log_says() {
    let pair = Pair::start().await;
    let [first, _] = &pair.nodes;
    assert_eq!(commit(first, 1).await, Ok(()));
    let member = join(first, &StrBytes::from("running")).await;
    pair.storages[0].in_doubt.store(true, Ordering::Relaxed);
    assert_eq!(
        commit(first, 2).await,
        Err(GroupError::CoordinatorNotAvailable)
    );
    pair.storages[0].in_doubt.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(committed(first), Ok(vec![2]));
    tokio::time::sleep(Duration::from_millis(10_001)).await;
    let running = StrBytes::from("running");
    assert_eq!(
        first.heartbeat(&running, &member, 1),
        Err(GroupError::UnknownMemberId),
        "sessions are watched though nobody asked"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_shown_before_it_is_committed() {
    let pair = Pair::start().await;
    let [first, second] = &pair.nodes;
    assert_eq!(commit(first, 1).await, Ok(()));
    pair.storages[1].in_sync.send_replace(false);
    pair.lead(1).await;
    assert_eq!(
        committed(second),
        Err(GroupError::CoordinatorLoadInProgress)
    );
    pair.storages[1].in_sync.send_replace(true);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(committed(second), Ok(vec![1]));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_knows_no_offsets_topic_concludes_nothing() {
    let storage = Arc::new(MemoryStorage::new());
    let node = start(&storage).await;
    assert_eq!(committed(&node), Err(GroupError::NotCoordinator));
    assert_eq!(
        node.heartbeat(&group(), &Identity::default(), 1),
        Err(GroupError::NotCoordinator)
    );
    assert_eq!(node.find("group").await.unwrap(), Some(0));
    assert_eq!(committed(&node), Ok(Vec::new()));
}
