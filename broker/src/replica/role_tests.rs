//! Leading and following, one situation at a time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_records::{BatchBuilder, Compression, ProducerIdentity, RecordRef};
use tokio::time::Instant;

use super::*;
use crate::error_code;
use crate::log::{LogConfig, LogOptions};

const TOPIC_ID: [u8; 16] = [3; 16];
const MAX: usize = 1 << 20;

/// Partition 0 of "orders" in this folder.
pub(super) async fn opened(folder: &Path, config: LogConfig) -> (Arc<Replicas>, Arc<Partition>) {
    let replicas = Replicas::open(vec![folder.to_owned()], LogOptions::default())
        .await
        .unwrap();
    let partition = replicas
        .create("orders", TOPIC_ID, 0, config)
        .await
        .unwrap();
    (replicas, partition)
}

/// Makes it the leader of brokers 1 and 2, of which `isr` are in sync.
async fn lead(partition: &Arc<Partition>, leader_epoch: i32, partition_epoch: i32, isr: &[i32]) {
    let leading = Leading {
        me: 1,
        leader_epoch,
        partition_epoch,
        replicas: vec![1, 2],
        isr: isr.to_vec(),
    };
    partition.become_leader(leading).await.unwrap();
}

async fn append(partition: &Arc<Partition>, sequence: i32) -> Appended {
    let appended = partition.append(sent(sequence), Origin::Client).await;
    appended.unwrap()
}

fn fetch(leader_epoch: i32, last_epoch: i32, offset: i64) -> FollowerFetch {
    FollowerFetch {
        broker: 2,
        broker_epoch: 7,
        offset,
        log_start: 0,
        last_epoch,
        leader_epoch,
    }
}

fn sent(sequence: i32) -> Bytes {
    sent_together(sequence, 1)
}

fn sent_together(sequence: i32, records: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    for _ in 0..records {
        builder.push(RecordRef {
            timestamp: 1,
            key: Some(b"key"),
            value: Some(&[b'x'; 100]),
            headers: &[],
        });
    }
    let id = ProducerIdentity {
        producer_id: 1,
        producer_epoch: 0,
        base_sequence: sequence,
    };
    builder.finish_with(id, false).unwrap()
}

/// A leader's bytes for a follower.
async fn all(partition: &Arc<Partition>, from: i64) -> Bytes {
    let read = partition.read(from, MAX, Isolation::LogEnd).await.unwrap();
    read.records
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_deposed_leader_is_told_at_once_and_nothing_more_is_appended() {
    let folder = tempfile::tempdir().unwrap();
    let (_replicas, partition) = opened(folder.path(), LogConfig::default()).await;
    let refused = partition.append(sent(0), Origin::Client).await.unwrap_err();
    assert_eq!(refused.code(), error_code::NOT_LEADER_OR_FOLLOWER);
    lead(&partition, 3, 0, &[1, 2]).await;
    let appended = append(&partition, 0).await;
    assert_eq!((appended.leader_epoch, appended.last_offset), (3, 0));
    let start = Instant::now();
    let far = start + Duration::from_secs(60);
    let soon = start + Duration::from_secs(1);
    assert_eq!(
        partition.committed(3, 1, soon).await,
        Err(error_code::REQUEST_TIMED_OUT)
    );
    let waiting = {
        let partition = Arc::clone(&partition);
        tokio::spawn(async move { partition.committed(3, 1, far).await })
    };
    tokio::task::yield_now().await;
    partition.become_follower(Some(2), 4).await;
    assert_eq!(
        waiting.await.unwrap(),
        Err(error_code::NOT_LEADER_OR_FOLLOWER)
    );
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(partition.role(), Role::Follower { leader: Some(2) });
    lead(&partition, 3, 9, &[1]).await;
    assert_eq!(partition.role(), Role::Follower { leader: Some(2) });
    assert!(partition.append(sent(1), Origin::Client).await.is_err());
    assert_eq!(partition.leads(3), Err(error_code::FENCED_LEADER_EPOCH));
    assert_eq!(partition.leads(5), Err(error_code::UNKNOWN_LEADER_EPOCH));
    // Leading again does not make up for it: the log may have been cut in between.
    lead(&partition, 5, 10, &[1]).await;
    assert_eq!(
        partition.committed(3, 1, far).await,
        Err(error_code::NOT_LEADER_OR_FOLLOWER)
    );
    assert_eq!(partition.epoch_end_offset(3), (3, 1));
    assert_eq!(partition.last_epoch(), 5);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_committed_with_too_few_in_sync_and_who_waits_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let config = LogConfig {
        min_insync_replicas: 2,
        ..LogConfig::default()
    };
    let (_replicas, partition) = opened(folder.path(), config).await;
    lead(&partition, 0, 0, &[1, 2]).await;
    append(&partition, 0).await;
    let far = Instant::now() + Duration::from_secs(60);
    lead(&partition, 0, 1, &[1]).await;
    assert_eq!(partition.in_sync_shortage(), Some((1, 2)));
    assert_eq!(
        partition.committed(0, 1, far).await,
        Err(error_code::NOT_ENOUGH_REPLICAS_AFTER_APPEND)
    );
    let refused = partition.append(sent(1), Origin::Coordinator).await;
    assert_eq!(refused.unwrap_err().code(), error_code::NOT_ENOUGH_REPLICAS);
    assert_eq!(partition.offsets().high_watermark, 0);

    lead(&partition, 0, 2, &[1, 2]).await;
    let retried = append(&partition, 0).await;
    assert!(retried.duplicate);
    let waiting = {
        let partition = Arc::clone(&partition);
        tokio::spawn(async move { partition.append(sent(1), Origin::Coordinator).await })
    };
    while partition.offsets().log_end < 2 {
        tokio::task::yield_now().await;
    }
    assert!(
        !waiting.is_finished(),
        "a coordinator waits until its records are committed"
    );
    partition
        .follower_fetched(fetch(0, 0, 2), Instant::now())
        .unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(partition.committed(0, 2, far).await, Ok(()));
}

#[tokio::test]
async fn a_high_watermark_is_remembered_and_an_opened_partition_does_not_lead() {
    let folder = tempfile::tempdir().unwrap();
    {
        let (replicas, partition) = opened(folder.path(), LogConfig::default()).await;
        lead(&partition, 2, 0, &[1, 2]).await;
        for sequence in 0..3 {
            append(&partition, sequence).await;
        }
        let now = Instant::now();
        partition.follower_fetched(fetch(2, -1, 0), now).unwrap();
        partition.follower_fetched(fetch(2, 2, 2), now).unwrap();
        replicas.write_high_watermarks().unwrap();
    }
    let (_replicas, partition) = opened(folder.path(), LogConfig::default()).await;
    let offsets = partition.offsets();
    assert_eq!((offsets.high_watermark, offsets.log_end), (2, 3));
    assert_eq!(partition.role(), Role::Follower { leader: None });
    assert_eq!(partition.leader_epoch(), 2);
    lead(&partition, 3, 1, &[1, 2]).await;
    assert!(partition.high_watermark_lags());
    assert_eq!(partition.offsets().high_watermark, 2);
    // The only one in sync has everything that was ever committed.
    lead(&partition, 4, 2, &[1]).await;
    assert_eq!(partition.offsets().high_watermark, 3);
    assert!(!partition.high_watermark_lags());
}

#[tokio::test]
async fn what_could_not_be_made_durable_is_never_shown_to_a_follower() {
    let folder = tempfile::tempdir().unwrap();
    let config = LogConfig {
        flush_messages: 2,
        ..LogConfig::default()
    };
    let (_replicas, partition) = opened(folder.path(), config).await;
    lead(&partition, 1, 0, &[1, 2]).await;
    append(&partition, 0).await;
    let mut written = partition.written();
    written.mark_unchanged();
    let away = folder.path().join("away");
    std::fs::rename(partition.folder(), &away).unwrap();
    assert!(partition.append(sent(1), Origin::Client).await.is_err());
    assert!(!written.has_changed().unwrap());
    assert_eq!(partition.epoch_end_offset(1), (1, 1));
    assert_eq!(partition.offsets().log_end, 1);
    assert_eq!(
        partition.follower_fetched(fetch(1, -1, 2), Instant::now()),
        Err(error_code::OFFSET_OUT_OF_RANGE)
    );
    std::fs::rename(&away, partition.folder()).unwrap();
    let again = append(&partition, 1).await;
    assert_eq!(again.base_offset, 1);
    assert_eq!(partition.last_epoch(), 1);
    assert!(written.has_changed().unwrap());
}

#[tokio::test]
async fn a_follower_takes_the_leaders_bytes_and_leads_with_what_it_learned() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (_one, leader) = opened(folders[0].path(), LogConfig::default()).await;
    let (_two, follower) = opened(folders[1].path(), LogConfig::default()).await;
    lead(&leader, 1, 0, &[1, 2]).await;
    follower.become_follower(Some(1), 1).await;
    for sequence in 0..4 {
        append(&leader, sequence).await;
    }
    let records = all(&leader, 0).await;
    let code = |result: Result<(), AppendError>| result.unwrap_err().code();
    let mut damaged = records.to_vec();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let damaged = Bytes::from(damaged);
    let later = all(&leader, 1).await;
    assert_eq!(
        code(follower.append_as_follower(0, records.clone(), 0, 0).await),
        error_code::NOT_LEADER_OR_FOLLOWER
    );
    assert_eq!(
        code(follower.append_as_follower(1, damaged, 9, 0).await),
        AppendError::CORRUPT_MESSAGE
    );
    assert_eq!(
        follower.offsets().log_end,
        3,
        "what was good before it is kept"
    );
    // Again from the start: what is there is not written twice.
    follower.append_as_follower(1, records, 2, 0).await.unwrap();
    follower.append_as_follower(1, later, 2, 0).await.unwrap();
    let offsets = follower.offsets();
    assert_eq!((offsets.high_watermark, offsets.log_end), (2, 4));
    assert_eq!(all(&follower, 0).await, all(&leader, 0).await);
    follower
        .append_as_follower(1, Bytes::new(), 99, 1)
        .await
        .unwrap();
    let offsets = follower.offsets();
    assert_eq!((offsets.log_start, offsets.high_watermark), (1, 4));

    lead(&follower, 2, 1, &[1]).await;
    assert_eq!(follower.epoch_end_offset(1), (1, 4));
    let again = append(&follower, 3).await;
    assert!(again.duplicate);
    let next = append(&follower, 4).await;
    assert_eq!(next.base_offset, 4);
}

#[tokio::test]
async fn a_cut_follower_is_not_taken_for_durable_beyond_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = LogConfig {
        segment_bytes: 400,
        ..LogConfig::default()
    };
    let checkpoint =
        || std::fs::read_to_string(folder.path().join("recovery-point-offset-checkpoint")).unwrap();
    let (replicas, partition) = opened(folder.path(), config.clone()).await;
    lead(&partition, 1, 0, &[1, 2]).await;
    for sequence in 0..10 {
        append(&partition, sequence).await;
    }
    replicas.checkpoint().unwrap();
    assert!(checkpoint().contains("orders 0 10"));
    partition.become_follower(Some(2), 2).await;
    // An answer of a former leader changes nothing.
    assert_eq!(partition.truncate_to_leader(1, 1, 3).await.unwrap(), 10);
    assert_eq!(partition.truncate_to_leader(2, 1, 3).await.unwrap(), 3);
    assert!(checkpoint().contains("orders 0 3"));
    assert_eq!(partition.offsets().log_end, 3);
    assert_eq!(partition.last_epoch(), 1);
    partition.restart_at(2, 50).await.unwrap();
    let offsets = partition.offsets();
    assert_eq!(
        (offsets.log_start, offsets.high_watermark, offsets.log_end),
        (50, 50, 50)
    );
    assert_eq!(partition.last_epoch(), -1);
    assert!(checkpoint().contains("orders 0 50"));
    drop((replicas, partition));
    let (_replicas, partition) = opened(folder.path(), config).await;
    let offsets = partition.offsets();
    assert_eq!((offsets.log_start, offsets.log_end), (50, 50));
}

#[tokio::test]
async fn a_cut_within_a_batch_takes_the_whole_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (_replicas, partition) = opened(folder.path(), LogConfig::default()).await;
    lead(&partition, 1, 0, &[1, 2]).await;
    for sequence in [0, 3] {
        let batch = sent_together(sequence, 3);
        partition.append(batch, Origin::Client).await.unwrap();
    }
    partition.become_follower(Some(2), 2).await;
    assert_eq!(partition.truncate_to_leader(2, 1, 4).await.unwrap(), 3);
    assert_eq!(partition.offsets().log_end, 3);
    assert_eq!(partition.truncate_to_leader(2, 1, 1).await.unwrap(), 0);
    assert_eq!(partition.offsets().log_end, 0);
}

#[tokio::test]
async fn what_is_not_committed_is_neither_removed_nor_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let config = LogConfig {
        segment_bytes: 200,
        retention_bytes: 0,
        ..LogConfig::default()
    };
    let (_replicas, partition) = opened(folder.path(), config).await;
    lead(&partition, 1, 0, &[1, 2]).await;
    for sequence in 0..6 {
        append(&partition, sequence).await;
    }
    assert_eq!(partition.log().retain(i64::MAX).unwrap(), 0);
    assert_eq!(crate::log::dirtiness(partition.log(), 0, 0), None);
    partition
        .follower_fetched(fetch(1, 1, 3), Instant::now())
        .unwrap();
    assert!(crate::log::dirtiness(partition.log(), 0, 0).is_some());
    assert!(partition.log().retain(0).unwrap() > 0);
    assert_eq!(partition.offsets().log_start, 3);
}

#[tokio::test]
async fn a_follower_that_has_caught_up_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (replicas, partition) = opened(folder.path(), LogConfig::default()).await;
    lead(&partition, 1, 0, &[1]).await;
    append(&partition, 0).await;
    let now = Instant::now();
    partition.follower_fetched(fetch(1, -1, 0), now).unwrap();
    let none = tokio::time::timeout(Duration::from_millis(5), replicas.joining()).await;
    assert!(none.is_err());
    partition.follower_fetched(fetch(1, 1, 1), now).unwrap();
    let reported = replicas.joining().await;
    assert_eq!(reported.len(), 1);
    let proposal = reported[0]
        .propose_isr(now, Duration::from_secs(10), &|id, epoch| {
            (id, epoch) == (2, 7)
        })
        .unwrap();
    assert_eq!(proposal.isr, [(1, 0), (2, 7)]);
    lead(&partition, 1, 1, &[1, 2]).await;
    assert_eq!(
        partition.propose_isr(now, Duration::from_secs(10), &|_, _| true),
        None
    );
}
