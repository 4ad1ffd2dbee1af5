//! Partitions and all of a node's partitions.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kafka_records::{
    Batch, BatchBuilder, Compression, ProducerIdentity, Record, RecordRef, batches,
};

use super::*;
use crate::log::{CleanupPolicy, LogConfig, LogError, LogOptions, TimestampType};

const MAX: usize = 16 << 20;
const TOPIC_ID: [u8; 16] = [3; 16];
const COMPACT: CleanupPolicy = CleanupPolicy {
    delete: false,
    compact: true,
};

async fn open(folder: &Path) -> Arc<Replicas> {
    open_with(folder, LogOptions::default()).await
}

/// Opens the partitions of a node that leads them all.
async fn open_with(folder: &Path, options: LogOptions) -> Arc<Replicas> {
    let replicas = Replicas::open(vec![folder.to_owned()], options)
        .await
        .unwrap();
    for partition in replicas.list() {
        partition.lead(partition.leader_epoch());
    }
    replicas
}

async fn create(replicas: &Arc<Replicas>, topic: &str, config: LogConfig) -> Arc<Partition> {
    let partition = replicas.create(topic, TOPIC_ID, 0, config).await.unwrap();
    partition.lead(0);
    partition
}

fn now() -> i64 {
    platform::clock::unix_millis()
}

fn encode(
    compression: Compression,
    records: &[(Option<&str>, &str)],
    timestamp: i64,
    id: ProducerIdentity,
) -> Bytes {
    let mut builder = BatchBuilder::new(compression, 0);
    for (key, value) in records {
        let key = key.map(str::as_bytes);
        builder.push(RecordRef {
            timestamp,
            key,
            value: Some(value.as_bytes()),
            headers: &[],
        });
    }
    builder.finish_with(id, false).unwrap()
}

fn line(value: &str) -> Bytes {
    encode(
        Compression::None,
        &[(None, value)],
        now(),
        ProducerIdentity::NONE,
    )
}

async fn append(partition: &Arc<Partition>, value: &str) -> Appended {
    let appended = partition.append(line(value), Origin::Client).await;
    appended.unwrap()
}

async fn read(partition: &Arc<Partition>) -> Vec<Record> {
    let mut at = partition.offsets().log_start;
    let mut records = Vec::new();
    loop {
        let read = partition
            .read(at, MAX, Isolation::Uncommitted)
            .await
            .unwrap();
        if read.records.is_empty() {
            return records;
        }
        for batch in batches(read.records) {
            let batch = batch.unwrap();
            at = batch.header.next_offset();
            records.extend(batch.records(MAX).unwrap().map(Result::unwrap));
        }
    }
}

async fn values(partition: &Arc<Partition>) -> Vec<String> {
    let text = |record: Record| String::from_utf8(record.value.unwrap().to_vec()).unwrap();
    read(partition).await.into_iter().map(text).collect()
}

#[tokio::test]
async fn appended_records_are_read_and_wake_who_waits() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    let partition = create(&replicas, "orders", LogConfig::default()).await;
    let mut waiting = partition.appended();
    let appended = append(&partition, "a").await;
    assert_eq!(
        (
            appended.base_offset,
            appended.last_offset,
            appended.log_append_time
        ),
        (0, 0, -1)
    );
    waiting.changed().await.unwrap();
    assert_eq!(*waiting.borrow(), 1);
    assert_eq!(values(&partition).await, ["a"]);
    assert_eq!(
        partition.offsets(),
        Offsets {
            log_start: 0,
            high_watermark: 1,
            last_stable: 1,
            log_end: 1
        }
    );
    assert!(
        partition
            .read(1, 10, Isolation::Committed)
            .await
            .unwrap()
            .records
            .is_empty()
    );
    assert_eq!(
        partition
            .read(2, 10, Isolation::Committed)
            .await
            .unwrap_err()
            .code(),
        1
    );
    assert_eq!(partition.epoch_end_offset(0), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_of_many_callers_all_get_their_own_offsets() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    for topic in ["orders", "__consumer_offsets"] {
        let partition = create(&replicas, topic, LogConfig::default()).await;
        let mut callers = tokio::task::JoinSet::new();
        for n in 0..100 {
            let partition = Arc::clone(&partition);
            callers.spawn(async move { append(&partition, &n.to_string()).await.base_offset });
        }
        let mut offsets = callers.join_all().await;
        offsets.sort_unstable();
        assert_eq!(offsets, (0..100).collect::<Vec<i64>>());
        assert_eq!(read(&partition).await.len(), 100);
    }
}

#[tokio::test]
async fn bad_batches_are_refused_with_kafkas_codes() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    let config = LogConfig {
        max_message_bytes: 1000,
        ..LogConfig::default()
    };
    let partition = create(&replicas, "orders", config).await;
    let good = line("a");
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        kafka_records::stamp_producer(&mut bytes, ProducerIdentity::NONE, false);
        Bytes::from(bytes)
    };
    let mut flipped = good.to_vec();
    flipped[65] ^= 1;
    let mut old = good.to_vec();
    old[16] = 1;
    let mut control = BatchBuilder::new(Compression::None, 0);
    control.push(RecordRef {
        timestamp: 0,
        key: Some(b"\0\0\0\x01"),
        value: None,
        headers: &[],
    });
    let future = encode(
        Compression::None,
        &[(None, "x")],
        now() + 2 * 3_600_000,
        ProducerIdentity::NONE,
    );
    let nameless = ProducerIdentity {
        producer_id: 5,
        producer_epoch: -1,
        base_sequence: 0,
    };
    for (what, bytes, code) in [
        ("flip", Bytes::from(flipped), 2),
        ("cut", good.slice(..good.len() - 1), 2),
        ("nothing", Bytes::new(), 2),
        (
            "two batches",
            Bytes::from([good.clone(), good.clone()].concat()),
            87,
        ),
        ("old format", Bytes::from(old), 43),
        ("unknown codec", changed(22, 5), 76),
        ("record count", changed(60, 2), 87),
        ("offset delta", changed(26, 1), 87),
        ("append time", changed(22, 8), 32),
        (
            "no records",
            BatchBuilder::new(Compression::None, 0).finish().unwrap(),
            87,
        ),
        (
            "control batch",
            control.finish_control(ProducerIdentity::NONE).unwrap(),
            87,
        ),
        ("too large", line(&"x".repeat(1000)), 10),
        ("future", future, 32),
        (
            "epoch",
            encode(Compression::None, &[(None, "x")], now(), nameless),
            87,
        ),
    ] {
        let error = partition.append(bytes, Origin::Client).await.unwrap_err();
        assert_eq!(error.code(), code, "{what}: {error}");
    }
    assert_eq!(partition.offsets().log_end, 0);
}

#[tokio::test]
async fn keyless_records_of_a_compacted_topic_are_named_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    let partition = create(
        &replicas,
        "table",
        LogConfig {
            cleanup_policy: COMPACT,
            ..LogConfig::default()
        },
    )
    .await;
    let records = [(Some("k"), "1"), (None, "2"), (Some("k"), "3"), (None, "4")];
    let batch = encode(Compression::Lz4, &records, now(), ProducerIdentity::NONE);
    let error = partition.append(batch, Origin::Client).await.unwrap_err();
    assert_eq!(error.code(), 87);
    let named: Vec<i32> = error.records().iter().map(|(index, _)| *index).collect();
    assert_eq!(named, [1, 3]);
}

#[tokio::test]
async fn the_topics_codec_and_time_are_applied() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    let config = LogConfig {
        compression: Some(Compression::Zstd),
        message_timestamp_type: TimestampType::LogAppendTime,
        ..LogConfig::default()
    };
    let partition = create(&replicas, "orders", config).await;
    let sent = [(None, "a"), (None, "b"), (None, "c")];
    let identity = ProducerIdentity {
        producer_id: 1,
        producer_epoch: 0,
        base_sequence: 0,
    };
    let appended = partition
        .append(
            encode(Compression::Gzip, &sent, 5, identity),
            Origin::Client,
        )
        .await
        .unwrap();
    assert!((appended.log_append_time - now()).abs() < 10_000);
    let stored = partition
        .read(0, MAX, Isolation::Uncommitted)
        .await
        .unwrap()
        .records;
    let batch = Batch::parse(&stored).unwrap();
    batch.verify().unwrap();
    assert_eq!(batch.header.compression().unwrap(), Compression::Zstd);
    assert_eq!(batch.header.producer(), identity);
    let records = read(&partition).await;
    assert!(
        records
            .iter()
            .all(|record| record.timestamp == appended.log_append_time)
    );
    assert_eq!(values(&partition).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_wrong_largest_timestamp_is_corrected() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    let partition = create(&replicas, "orders", LogConfig::default()).await;
    let mut bytes = encode(
        Compression::None,
        &[(None, "x")],
        1000,
        ProducerIdentity::NONE,
    )
    .to_vec();
    kafka_records::set_max_timestamp(&mut bytes, i64::MAX);
    partition
        .append(Bytes::from(bytes), Origin::Client)
        .await
        .unwrap();
    assert_eq!(partition.max_timestamp().await.unwrap(), Some((0, 1000, 0)));
}

#[tokio::test]
async fn retries_get_the_same_answer_and_gaps_none() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    let partition = create(&replicas, "orders", LogConfig::default()).await;
    let batch = |epoch: i16, sequence: i32| {
        let id = ProducerIdentity {
            producer_id: 9,
            producer_epoch: epoch,
            base_sequence: sequence,
        };
        encode(Compression::None, &[(None, "x"), (None, "y")], 7, id)
    };
    for n in 0..6 {
        partition
            .append(batch(0, n * 2), Origin::Client)
            .await
            .unwrap();
    }
    let again = partition.append(batch(0, 8), Origin::Client).await.unwrap();
    assert_eq!(
        (again.base_offset, again.last_offset, again.duplicate),
        (8, 9, true)
    );
    assert_eq!(
        partition
            .append(batch(0, 14), Origin::Client)
            .await
            .unwrap_err()
            .code(),
        45
    );
    assert_eq!(
        partition
            .append(batch(0, 0), Origin::Client)
            .await
            .unwrap_err()
            .code(),
        45
    );
    partition.append(batch(1, 0), Origin::Client).await.unwrap();
    assert_eq!(
        partition
            .append(batch(0, 12), Origin::Client)
            .await
            .unwrap_err()
            .code(),
        47
    );
    assert_eq!(partition.offsets().log_end, 14);
}

#[tokio::test]
async fn everything_is_there_after_an_orderly_end_and_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    for orderly in [true, false, true] {
        let replicas = open(folder.path()).await;
        let before = match replicas.get("orders", 0) {
            Some(partition) => values(&partition).await.len(),
            None => 0,
        };
        let partition = create(&replicas, "orders", LogConfig::default()).await;
        for n in before..before + 10 {
            append(&partition, &n.to_string()).await;
        }
        if orderly {
            replicas.shutdown().await.unwrap();
        }
        assert_eq!(
            platform::fs::exists(&folder.path().join(".kafka_cleanshutdown")),
            orderly
        );
    }
    let replicas = open(folder.path()).await;
    let partition = replicas.get_by_id(TOPIC_ID, 0).unwrap();
    let want: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    assert_eq!(values(&partition).await, want);
    assert_eq!(partition.topic().as_ref(), "orders");
}

#[tokio::test]
async fn deleted_records_stay_deleted_and_a_compacted_topic_keeps_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    let config = LogConfig {
        segment_bytes: 200,
        ..LogConfig::default()
    };
    let partition = create(&replicas, "orders", config).await;
    for n in 0..20 {
        append(&partition, &n.to_string()).await;
    }
    assert_eq!(replicas.delete_records(&partition, 7).await.unwrap(), 7);
    assert_eq!(replicas.delete_records(&partition, 3).await.unwrap(), 7);
    assert_eq!(
        replicas
            .delete_records(&partition, 21)
            .await
            .unwrap_err()
            .code(),
        1
    );
    drop((partition, replicas));
    let replicas = open(folder.path()).await;
    let partition = replicas.get("orders", 0).unwrap();
    assert_eq!(partition.offsets().log_start, 7);
    assert_eq!(
        partition
            .read(6, 1, Isolation::Uncommitted)
            .await
            .unwrap_err()
            .code(),
        1
    );
    assert!(partition.read(7, 1, Isolation::Uncommitted).await.is_ok());
    assert_eq!(replicas.delete_records(&partition, -1).await.unwrap(), 20);
    let table = create(
        &replicas,
        "table",
        LogConfig {
            cleanup_policy: COMPACT,
            ..LogConfig::default()
        },
    )
    .await;
    assert_eq!(
        replicas.delete_records(&table, 0).await.unwrap_err().code(),
        44
    );
}

#[tokio::test]
async fn a_topic_created_again_starts_empty_also_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    let partition = create(&replicas, "orders", LogConfig::default()).await;
    for n in 0..20 {
        append(&partition, &n.to_string()).await;
    }
    replicas.delete_records(&partition, 15).await.unwrap();
    replicas.delete("orders").await.unwrap();
    assert_eq!(
        partition
            .append(line("late"), Origin::Client)
            .await
            .unwrap_err()
            .code(),
        3
    );
    assert!(replicas.get("orders", 0).is_none());
    let again = replicas
        .create("orders", [4; 16], 0, LogConfig::default())
        .await
        .unwrap();
    again.lead(0);
    append(&again, "new").await;
    drop((partition, again, replicas));
    let replicas = open(folder.path()).await;
    let partition = replicas.get("orders", 0).unwrap();
    assert_eq!(values(&partition).await, ["new"]);
    let other = replicas
        .create("orders", [9; 16], 0, LogConfig::default())
        .await
        .unwrap_err();
    assert!(matches!(other, LogError::TopicId { .. }));
}

#[tokio::test]
async fn a_folder_whose_metadata_a_crash_took_is_kept_for_its_topic() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    let partition = create(&replicas, "orders", LogConfig::default()).await;
    append(&partition, "a").await;
    let metadata = partition.folder().join("partition.metadata");
    drop((partition, replicas));
    for damage in [&b""[..], b"version: 0\n"] {
        std::fs::write(&metadata, damage).unwrap();
        let replicas = open(folder.path()).await;
        assert!(replicas.get("orders", 0).is_none());
        let partition = create(&replicas, "orders", LogConfig::default()).await;
        assert_eq!(values(&partition).await, ["a"]);
    }
    assert!(open(folder.path()).await.get_by_id(TOPIC_ID, 0).is_some());
}

#[tokio::test]
async fn damage_is_an_error_of_its_partition_only_and_names_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    for topic in ["good", "bad"] {
        let partition = create(&replicas, topic, LogConfig::default()).await;
        for n in 0..3 {
            append(&partition, &n.to_string()).await;
        }
    }
    replicas.shutdown().await.unwrap();
    let path = folder.path().join("bad-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    let second = bytes.len() / 3;
    bytes[second + 65] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let replicas = open(folder.path()).await;
    assert_eq!(values(&replicas.get("good", 0).unwrap()).await.len(), 3);
    let bad = replicas.get("bad", 0).unwrap();
    assert!(bad.read(0, 1, Isolation::Uncommitted).await.is_ok());
    let error = bad.read(1, 1, Isolation::Uncommitted).await.unwrap_err();
    assert_eq!(error.code(), 2);
    let place = format!("bad-0/00000000000000000000.log\" is corrupt at byte {second}");
    assert!(error.to_string().contains(&place), "{error}");
    assert_eq!(append(&bad, "new").await.base_offset, 3);
    assert!(
        !bad.read(3, 1, Isolation::Uncommitted)
            .await
            .unwrap()
            .records
            .is_empty()
    );
}

#[tokio::test]
async fn an_offset_is_never_durable_before_the_records_it_covers() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    let orders = create(&replicas, "orders", LogConfig::default()).await;
    let offsets = create(&replicas, "__consumer_offsets", LogConfig::default()).await;
    append(&orders, "a").await;
    assert_eq!(orders.log().flushed(), 0);
    let commit = encode(
        Compression::None,
        &[(Some("group"), "1")],
        now(),
        ProducerIdentity::NONE,
    );
    offsets.append(commit, Origin::Coordinator).await.unwrap();
    assert_eq!((orders.log().flushed(), offsets.log().flushed()), (1, 1));
    append(&orders, "b").await;
    assert_eq!(orders.log().flushed(), 1);
    orders.append(line("c"), Origin::Coordinator).await.unwrap();
    assert_eq!(orders.log().flushed(), 3);
}

#[tokio::test]
async fn an_append_that_cannot_be_made_durable_is_cut_off_and_its_retry_is_no_duplicate() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    let config = LogConfig {
        flush_messages: 2,
        ..LogConfig::default()
    };
    let partition = create(&replicas, "orders", config).await;
    let sent = |n: i32| {
        let id = ProducerIdentity {
            producer_id: 1,
            producer_epoch: 0,
            base_sequence: n,
        };
        let value = n.to_string();
        encode(Compression::None, &[(None, &value)], now(), id)
    };
    partition.append(sent(0), Origin::Client).await.unwrap();
    // Without the folder its name cannot be made durable, and what is remembered cannot be read again either.
    let away = folder.path().join("away");
    std::fs::rename(partition.folder(), &away).unwrap();
    for _ in 0..2 {
        let error = partition.append(sent(1), Origin::Client).await.unwrap_err();
        assert_eq!(error.code(), 56, "{error}");
        assert_eq!(
            (partition.offsets().log_end, partition.log().flushed()),
            (1, 0)
        );
        assert_eq!(values(&partition).await, ["0"]);
    }
    std::fs::rename(&away, partition.folder()).unwrap();
    let again = partition.append(sent(1), Origin::Client).await.unwrap();
    assert_eq!((again.base_offset, again.duplicate), (1, false));
    assert_eq!(partition.log().flushed(), 2);
    assert!(
        partition
            .append(sent(0), Origin::Client)
            .await
            .unwrap()
            .duplicate
    );
    assert_eq!(values(&partition).await, ["0", "1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_barrier_covers_what_is_acknowledged_while_others_flush() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    let orders = create(&replicas, "orders", LogConfig::default()).await;
    let flushing = Arc::clone(&orders);
    let others = tokio::task::spawn_blocking(move || {
        for _ in 0..2000 {
            flushing.flush().unwrap();
        }
    });
    let barrier = Arc::clone(&orders);
    while !others.is_finished() {
        let appended = append(&orders, "a").await;
        let partition = Arc::clone(&barrier);
        tokio::task::spawn_blocking(move || partition.barrier().flush().unwrap())
            .await
            .unwrap();
        assert!(orders.log().flushed() > appended.last_offset);
    }
    others.await.unwrap();
}

#[tokio::test]
async fn a_deleted_topic_takes_its_partitions_that_cannot_be_opened_along() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    create(&replicas, "orders", LogConfig::default()).await;
    let unopened = folder.path().join("orders-1");
    let other = folder.path().join("orders-archive-1");
    for path in [&unopened, &other] {
        std::fs::create_dir(path).unwrap();
    }
    replicas.delete("orders").await.unwrap();
    assert!(!unopened.exists() && other.exists());
}

#[tokio::test]
async fn offsets_of_a_deleted_partition_that_are_still_on_disk_are_not_the_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    let partition = create(&replicas, "orders", LogConfig::default()).await;
    for _ in 0..20 {
        append(&partition, "old").await;
    }
    replicas.delete_records(&partition, 15).await.unwrap();
    // The checkpoints cannot be written when the topic goes.
    let blocked = folder.path().join("log-start-offset-checkpoint.tmp");
    std::fs::create_dir(&blocked).unwrap();
    assert!(replicas.delete("orders").await.is_err());
    let create_again = || replicas.create("orders", [4; 16], 0, LogConfig::default());
    assert!(create_again().await.is_err());
    std::fs::remove_dir(&blocked).unwrap();
    let again = create_again().await.unwrap();
    again.lead(0);
    append(&again, "new").await;
    drop((partition, again, replicas));
    let partition = open(folder.path()).await.get("orders", 0).unwrap();
    assert_eq!(values(&partition).await, ["new"]);
}

#[tokio::test]
async fn what_is_known_of_a_partition_that_cannot_be_opened_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    let partition = create(&replicas, "orders", LogConfig::default()).await;
    for n in 0..20 {
        append(&partition, &n.to_string()).await;
    }
    replicas.delete_records(&partition, 15).await.unwrap();
    let index = partition.folder().join("00000000000000000000.index");
    drop((partition, replicas));
    // Something stands where an index is read.
    std::fs::create_dir(&index).unwrap();
    let replicas = open(folder.path()).await;
    assert!(replicas.get("orders", 0).is_none());
    std::fs::remove_dir(&index).unwrap();
    let partition = create(&replicas, "orders", LogConfig::default()).await;
    assert_eq!(values(&partition).await, ["15", "16", "17", "18", "19"]);
    assert_eq!(partition.log().flushed(), 20);
}

#[tokio::test]
async fn a_damaged_partition_does_not_keep_others_from_being_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    let config = LogConfig {
        segment_bytes: 200,
        cleanup_policy: COMPACT,
        ..LogConfig::default()
    };
    for topic in ["bad", "good"] {
        let partition = create(&replicas, topic, config.clone()).await;
        let count = if topic == "bad" { 40 } else { 20 };
        for n in 0..count {
            let value = n.to_string();
            let id = ProducerIdentity::NONE;
            let batch = encode(Compression::None, &[(Some("key"), &value)], now(), id);
            partition.append(batch, Origin::Client).await.unwrap();
        }
    }
    let path = folder.path().join("bad-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[65] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let good = replicas.get("good", 0).unwrap();
    let before = good.size_bytes();
    let cleaning = Arc::clone(&replicas);
    tokio::task::spawn_blocking(move || while cleaning.clean_one().unwrap() {})
        .await
        .unwrap();
    assert!(good.size_bytes() < before);
    assert_eq!(values(&good).await.last().unwrap(), "19");
}

#[tokio::test]
async fn flush_messages_makes_every_so_many_records_durable() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = open(folder.path()).await;
    let partition = create(
        &replicas,
        "orders",
        LogConfig {
            flush_messages: 3,
            ..LogConfig::default()
        },
    )
    .await;
    for want in [0, 0, 3, 3, 3, 6] {
        append(&partition, "x").await;
        assert_eq!(partition.log().flushed(), want);
    }
}

#[tokio::test]
async fn maintenance_flushes_retains_compacts_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions {
        retention_check_ms: 10,
        cleaner_backoff_ms: 10,
        flush_checkpoint_ms: 10,
        flush_scheduler_ms: 10,
        high_watermark_checkpoint_ms: 10,
        ..LogOptions::default()
    };
    let replicas = Replicas::open(vec![folder.path().to_owned()], options)
        .await
        .unwrap();
    let maintenance = replicas.start_maintenance();
    let config = LogConfig {
        segment_bytes: 300,
        retention_bytes: 900,
        ..LogConfig::default()
    };
    let orders = create(&replicas, "orders", config.clone()).await;
    let table = create(
        &replicas,
        "table",
        LogConfig {
            cleanup_policy: COMPACT,
            ..config
        },
    )
    .await;
    for n in 0..50 {
        append(&orders, &n.to_string()).await;
        let update = encode(
            Compression::None,
            &[(Some("key"), &n.to_string())],
            now(),
            ProducerIdentity::NONE,
        );
        table.append(update, Origin::Client).await.unwrap();
    }
    let checkpoint = folder.path().join("recovery-point-offset-checkpoint");
    let stored = || platform::fs::read_to_string(&checkpoint).unwrap_or_default();
    let done = || async {
        orders.size_bytes() < 1200
            && read(&table).await.len() < 8
            && orders.log().flushed() == 50
            && stored().contains("orders 0 50\n")
    };
    for _ in 0..500 {
        if done().await {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(
        done().await,
        "{} {} {}",
        orders.size_bytes(),
        read(&table).await.len(),
        stored()
    );
    assert!(orders.offsets().log_start > 0);
    assert_eq!(values(&table).await.last().unwrap(), "49");
    maintenance.stop().await;
}
