//! Logs as a whole: what was appended is read, whatever happened in between.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kafka_records::{
    Batch, BatchBuilder, Compression, ProducerIdentity, Record, RecordRef, assign_offsets, batches,
};
use proptest::prelude::*;

use super::*;

const MAX: usize = 16 << 20;
const NOW: i64 = 1_700_000_000_000;

fn options() -> Arc<LogOptions> {
    Arc::new(LogOptions::default())
}

fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 1000,
        index_interval_bytes: 100,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    }
}

fn opening(folder: &Path, clean: bool, recovery_point: i64) -> Opening {
    Opening {
        folder: folder.to_owned(),
        config: small(),
        options: options(),
        clean,
        recovery_point,
        log_start: 0,
        clean_up_to: 0,
        now_ms: NOW,
    }
}

fn batch_of(
    records: &[(Option<&str>, Option<&str>)],
    timestamp: i64,
    identity: ProducerIdentity,
) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    for (key, value) in records {
        builder.push(RecordRef {
            timestamp,
            key: key.map(str::as_bytes),
            value: value.map(str::as_bytes),
            headers: &[],
        });
    }
    builder.finish_with(identity, false).unwrap()
}

fn append(log: &Log, bytes: &Bytes) -> Result<i64, LogError> {
    let mut appender = log.appender();
    let mut header = Batch::parse(bytes).unwrap().header;
    header.base_offset = log.end();
    header.partition_leader_epoch = 0;
    let (prefix, rest) = bytes.split_first_chunk().unwrap();
    let mut prefix = *prefix;
    assign_offsets(&mut prefix, header.base_offset, 0);
    appender.append(
        &Placed {
            header,
            prefix,
            rest,
        },
        NOW,
    )?;
    Ok(header.base_offset)
}

fn append_line(log: &Log, n: i64) -> i64 {
    let value = format!("value number {n}");
    append(
        log,
        &batch_of(&[(None, Some(&value))], NOW + n, ProducerIdentity::NONE),
    )
    .unwrap()
}

fn read_all(log: &Log) -> Vec<Record> {
    let mut records = Vec::new();
    let mut at = log.start();
    loop {
        let bytes = log.read(at, 700, log.end()).unwrap();
        if bytes.is_empty() {
            return records;
        }
        for batch in batches(bytes) {
            let batch = batch.unwrap();
            at = batch.header.next_offset();
            records.extend(batch.records(MAX).unwrap().map(Result::unwrap));
        }
    }
}

fn values(log: &Log) -> Vec<String> {
    read_all(log)
        .into_iter()
        .map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap())
        .collect()
}

fn expect_lines(log: &Log, count: i64) {
    let want: Vec<String> = (0..count).map(|n| format!("value number {n}")).collect();
    assert_eq!(values(log), want);
}

fn files(folder: &Path, suffix: &str) -> Vec<String> {
    let entries = platform::fs::read_dir(folder).unwrap();
    entries
        .into_iter()
        .map(|entry| entry.file_name)
        .filter(|name| name.ends_with(suffix))
        .collect()
}

#[test]
fn every_offset_is_found_across_segments_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    for n in 0..200 {
        assert_eq!(append_line(&log, n), n);
    }
    assert!(files(folder.path(), ".log").len() > 10);
    assert_eq!(files(folder.path(), ".log")[0], "00000000000000000000.log");
    let check = |log: &Log| {
        for offset in 0..200 {
            let bytes = log.read(offset, 1, log.end()).unwrap();
            let batch = Batch::parse(&bytes).unwrap();
            assert_eq!(
                (batch.header.base_offset, bytes.len()),
                (offset, batch.bytes.len())
            );
        }
        assert!(log.read(200, 1, log.end()).unwrap().is_empty());
        assert!(matches!(
            log.read(201, 1, log.end()),
            Err(LogError::OffsetOutOfRange { log_end: 200, .. })
        ));
        expect_lines(log, 200);
    };
    check(&log);
    assert!(Batch::parse(&log.read(50, 10_000, 53).unwrap()).is_ok());
    assert_eq!(
        batches(log.read(50, 10_000, 53).unwrap()).count(),
        3,
        "nothing beyond the limit"
    );
    log.close().unwrap();
    check(&opening(folder.path(), true, 200).open().unwrap());
    check(&opening(folder.path(), false, 0).open().unwrap());
    check(&opening(folder.path(), false, 137).open().unwrap());
    // Without indexes they are built again.
    for name in files(folder.path(), "index") {
        platform::fs::remove_file(&folder.path().join(name)).unwrap();
    }
    check(&opening(folder.path(), true, 200).open().unwrap());
    assert!(files(folder.path(), ".index").len() > 10);
}

#[test]
fn a_batch_in_the_middle_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    append(
        &log,
        &batch_of(
            &[(None, Some("a")), (None, Some("b")), (None, Some("c"))],
            NOW,
            ProducerIdentity::NONE,
        ),
    )
    .unwrap();
    let bytes = log.read(1, 1, log.end()).unwrap();
    assert_eq!(Batch::parse(&bytes).unwrap().header.base_offset, 0);
}

#[test]
fn a_cut_at_any_byte_of_the_tail_loses_only_what_was_cut() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    let mut ends = vec![0u64];
    for n in 0..8 {
        append_line(&log, n);
        ends.push(log.active().size());
    }
    log.flush().unwrap();
    drop(log);
    let path = folder.path().join("00000000000000000000.log");
    let whole = platform::fs::read(&path).unwrap();
    for cut in 0..=whole.len() {
        for tail in [0usize, 100] {
            // A tail of zeros is what reserved space looks like after a crash.
            let mut bytes = whole[..cut].to_vec();
            bytes.resize(cut + tail, 0);
            std::fs::write(&path, &bytes).unwrap();
            let log = opening(folder.path(), false, 0).open().unwrap();
            let same = |end: usize| bytes.get(..end) == Some(&whole[..end]);
            let survive = ends
                .iter()
                .filter(|end| **end > 0 && same(**end as usize))
                .count() as i64;
            assert_eq!(log.end(), survive, "cut at {cut}");
            expect_lines(&log, survive);
            append_line(&log, survive);
            expect_lines(&log, survive + 1);
        }
    }
}

#[test]
fn a_flip_of_any_byte_is_never_served() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    for n in 0..5 {
        append_line(&log, n);
    }
    log.close().unwrap();
    drop(log);
    let path = folder.path().join("00000000000000000000.log");
    let whole = platform::fs::read(&path).unwrap();
    let batch_bytes = whole.len() / 5;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        std::fs::write(&path, &bytes).unwrap();
        let in_batch = at % batch_bytes;
        if in_batch < 8 || (12..16).contains(&in_batch) {
            continue; // Offset and epoch are outside the checksum, as in Kafka; see the next test.
        }
        // After an orderly end nothing may vanish: the damage stays, and is an error for who reads it.
        let log = opening(folder.path(), true, 5).open().unwrap();
        assert_eq!(log.end(), 5, "byte {at}");
        let damaged = (at / batch_bytes) as i64;
        for offset in 0..damaged {
            assert!(!log.read(offset, 1, 5).unwrap().is_empty());
        }
        match log.read(damaged, 1, 5) {
            Err(LogError::Corrupt { path: file, .. }) => assert_eq!(file, path),
            other => panic!("byte {at}: {other:?}"),
        }
        assert_eq!(append_line(&log, 5), 5);
        assert!(
            log.read(5, 1, 6).is_ok_and(|bytes| !bytes.is_empty()),
            "byte {at}"
        );
        drop(log);
        for name in files(folder.path(), "") {
            if name != "00000000000000000000.log" {
                std::fs::remove_file(folder.path().join(name)).unwrap();
            }
        }
        // After a crash, what was not durable ends at the damage.
        std::fs::write(&path, &bytes).unwrap();
        let log = opening(folder.path(), false, 0).open().unwrap();
        assert_eq!(log.end(), damaged, "byte {at}");
        expect_lines(&log, damaged);
    }
}

#[test]
fn a_flip_in_an_offset_skips_nothing_and_shows_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    for n in 0..40 {
        append_line(&log, n);
    }
    log.close().unwrap();
    drop(log);
    let names = files(folder.path(), ".log");
    assert!(names.len() > 2);
    for name in names {
        let path = folder.path().join(name);
        let whole = platform::fs::read(&path).unwrap();
        let starts: Vec<usize> = batches(Bytes::from(whole.clone()))
            .scan(0, |at, batch| {
                let start = *at;
                *at += batch.unwrap().bytes.len();
                Some(start)
            })
            .collect();
        for (start, byte, bit) in starts.into_iter().flat_map(|start| {
            (0..8).flat_map(move |byte| (0..8).map(move |bit| (start, byte, bit)))
        }) {
            let mut bytes = whole.clone();
            bytes[start + byte] ^= 1 << bit;
            std::fs::write(&path, &bytes).unwrap();
            let Ok(log) = opening(folder.path(), true, 40).open() else {
                continue;
            };
            for max_bytes in [1, 10_000] {
                let mut at = 0;
                while at < 40 {
                    let Ok(read) = log.read(at, max_bytes, 40) else {
                        break;
                    };
                    assert!(!read.is_empty(), "{start} {byte} {bit}: stuck at {at}");
                    for batch in batches(read) {
                        let batch = batch.unwrap();
                        let record = batch.records(MAX).unwrap().next().unwrap().unwrap();
                        assert_eq!(
                            (record.offset, record.value.unwrap()),
                            (at, Bytes::from(format!("value number {at}"))),
                            "{start} {byte} {bit}"
                        );
                        at = batch.header.next_offset();
                    }
                }
            }
        }
        std::fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn recovery_drops_segments_behind_the_first_damage_and_trusts_what_was_durable() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    for n in 0..100 {
        append_line(&log, n);
    }
    log.flush().unwrap();
    drop(log);
    let names = files(folder.path(), ".log");
    let third = folder.path().join(&names[3]);
    let base: i64 = names[3].trim_end_matches(".log").parse().unwrap();
    let mut bytes = platform::fs::read(&third).unwrap();
    bytes[70] ^= 1;
    std::fs::write(&third, &bytes).unwrap();
    let log = opening(folder.path(), false, 90).open().unwrap();
    assert_eq!(
        log.end(),
        100,
        "damage before the recovery point cuts nothing"
    );
    assert!(matches!(
        log.read(base, 1, 100),
        Err(LogError::Corrupt { .. })
    ));
    drop(log);
    let log = opening(folder.path(), false, base).open().unwrap();
    assert_eq!(log.end(), base);
    assert_eq!(files(folder.path(), ".log").len(), 4);
    expect_lines(&log, base);
}

#[test]
fn records_are_found_by_time() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    // Timestamps go up and down, as producers' clocks do.
    let stamps: Vec<i64> = (0..150i64)
        .map(|n| NOW + n * 10 + (n * 7919) % 53)
        .collect();
    for stamp in &stamps {
        append(
            &log,
            &batch_of(&[(None, Some("x"))], *stamp, ProducerIdentity::NONE),
        )
        .unwrap();
    }
    let check = |log: &Log| {
        for wanted in (NOW - 5..NOW + 1600).step_by(3) {
            let want = stamps
                .iter()
                .position(|stamp| *stamp >= wanted)
                .map(|at| (at as i64, stamps[at]));
            assert_eq!(
                log.find_timestamp(wanted, log.end()).unwrap(),
                want,
                "{wanted}"
            );
        }
        let max = *stamps.iter().max().unwrap();
        let first = stamps.iter().position(|stamp| *stamp == max).unwrap() as i64;
        assert_eq!(log.max_timestamp(log.end()).unwrap(), Some((first, max)));
    };
    check(&log);
    log.close().unwrap();
    check(&opening(folder.path(), true, 150).open().unwrap());
    check(&opening(folder.path(), false, 80).open().unwrap());
}

#[test]
fn old_segments_go_by_age_and_by_size_but_never_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    for n in 0..100 {
        append_line(&log, n);
    }
    log.set_config(LogConfig {
        retention_ms: 50,
        ..small()
    });
    log.retain(NOW + 100).unwrap();
    let start = log.start();
    assert!(start > 30 && start <= 50, "{start}");
    assert!(matches!(
        log.read(start - 1, 1, 100),
        Err(LogError::OffsetOutOfRange { .. })
    ));
    assert_eq!(read_all(&log).len() as i64, 100 - start);
    log.set_config(LogConfig {
        retention_bytes: 2500,
        ..small()
    });
    log.retain(NOW).unwrap();
    assert!(log.size_bytes() > 2500 - 1000 && log.size_bytes() < 2500 + 1000);
    log.set_config(LogConfig {
        retention_ms: 1,
        ..small()
    });
    log.retain(NOW + 10_000).unwrap();
    assert_eq!((log.start(), log.end(), log.size_bytes()), (100, 100, 0));
    log.empty_trash(NOW + 10_000).unwrap();
    assert!(files(folder.path(), ".deleted").is_empty());
    append_line(&log, 100);
    log.close().unwrap();
    let log = opening(folder.path(), true, 101).open().unwrap();
    assert_eq!((log.start(), log.end()), (100, 101));
}

#[test]
fn records_without_a_time_are_kept_from_their_append_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    log.set_config(LogConfig {
        retention_ms: 1000,
        ..small()
    });
    for _ in 0..40 {
        append(
            &log,
            &batch_of(&[(None, Some("x"))], -1, ProducerIdentity::NONE),
        )
        .unwrap();
    }
    log.retain(NOW + 1000).unwrap();
    assert_eq!(log.start(), 0);
    log.retain(NOW + 1001).unwrap();
    assert_eq!(log.start(), 40);
}

#[test]
fn a_segment_ends_after_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    log.set_config(LogConfig {
        segment_ms: 1000,
        ..LogConfig::default()
    });
    for n in [0, 500, 1000, 1001, 2500] {
        append_line(&log, n);
    }
    assert_eq!(files(folder.path(), ".log").len(), 3);
}

#[test]
fn old_records_that_are_copied_in_share_a_segment() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    log.set_config(LogConfig::default());
    for timestamp in [1000, 2000, -1, 3000] {
        append(
            &log,
            &batch_of(&[(None, Some("x"))], timestamp, ProducerIdentity::NONE),
        )
        .unwrap();
    }
    assert_eq!(files(folder.path(), ".log").len(), 1);
}

#[test]
fn reserved_space_is_cut_when_a_segment_ends() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    log.set_config(LogConfig {
        preallocate: true,
        ..small()
    });
    for n in 0..50 {
        append_line(&log, n);
    }
    let newest = folder
        .path()
        .join(files(folder.path(), ".log").last().unwrap());
    let oldest = folder.path().join("00000000000000000000.log");
    assert_eq!(platform::fs::metadata(&newest).unwrap().len(), 1000);
    assert!(platform::fs::metadata(&oldest).unwrap().len() < 1000);
    log.flush().unwrap();
    drop(log);
    let log = opening(folder.path(), false, 0).open().unwrap();
    expect_lines(&log, 50);
}

#[test]
fn a_full_disk_refuses_the_append_and_nothing_else_changes() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join("00000000000000000000.log"))
        .unwrap();
    let log = opening(folder.path(), true, 0).open().unwrap();
    let error = append(
        &log,
        &batch_of(&[(None, Some("x"))], NOW, ProducerIdentity::NONE),
    )
    .unwrap_err();
    assert_eq!(error.code(), 56);
    assert!(
        error.to_string().contains("00000000000000000000.log"),
        "{error}"
    );
    assert_eq!(log.end(), 0);
}

#[test]
fn appends_go_on_when_the_cause_of_an_error_is_gone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("orders-0");
    let log = opening(&folder, false, 0).open().unwrap();
    let mut n = 0;
    while files(&folder, ".log").len() < 2 {
        append_line(&log, n);
        n += 1;
    }
    // The next segment cannot be created while the folder is away.
    let away = parent.path().join("away");
    std::fs::rename(&folder, &away).unwrap();
    let line = |n: i64| {
        batch_of(
            &[(None, Some(&format!("value number {n}")))],
            NOW + n,
            ProducerIdentity::NONE,
        )
    };
    let failed = loop {
        match append(&log, &line(n)) {
            Ok(_) => n += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(failed, LogError::Io { .. }));
    assert_eq!(log.end(), n);
    std::fs::rename(&away, &folder).unwrap();
    for n in n..n + 20 {
        append_line(&log, n);
    }
    expect_lines(&log, n + 20);
    log.flush().unwrap();
    drop(log);
    expect_lines(&opening(&folder, false, 0).open().unwrap(), n + 20);
}

#[test]
fn retries_are_recognised_after_a_crash_and_after_an_orderly_end() {
    let folder = tempfile::tempdir().unwrap();
    let batch = |n: i32| {
        let identity = ProducerIdentity {
            producer_id: 7,
            producer_epoch: 1,
            base_sequence: n,
        };
        batch_of(&[(None, Some("x"))], NOW, identity)
    };
    let judge = |log: &Log, n: i32| {
        log.appender()
            .producers()
            .check(&Batch::parse(&batch(n)).unwrap().header)
    };
    let log = opening(folder.path(), false, 0).open().unwrap();
    for n in 0..30 {
        assert_eq!(judge(&log, n), Sequence::Next);
        append(&log, &batch(n)).unwrap();
    }
    log.flush().unwrap();
    drop(log);
    let log = opening(folder.path(), false, 0).open().unwrap();
    for n in 28..30 {
        assert!(matches!(judge(&log, n), Sequence::Duplicate(_)), "{n}");
    }
    assert_eq!(judge(&log, 31), Sequence::Gap { expected: 30 });
    log.close().unwrap();
    drop(log);
    let log = opening(folder.path(), true, 30).open().unwrap();
    for n in 25..30 {
        assert!(matches!(judge(&log, n), Sequence::Duplicate(_)), "{n}");
    }
    assert_eq!(judge(&log, 30), Sequence::Next);
}

#[test]
fn tombstones_go_after_their_time_and_an_empty_batch_keeps_its_producers_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    let config = LogConfig {
        delete_retention_ms: 1000,
        ..small()
    };
    log.set_config(config);
    let identity = |n| ProducerIdentity {
        producer_id: 7,
        producer_epoch: 0,
        base_sequence: n,
    };
    append(&log, &batch_of(&[(Some("a"), Some("1"))], NOW, identity(0))).unwrap();
    append(&log, &batch_of(&[(Some("a"), None)], NOW, identity(1))).unwrap();
    log.appender().roll(NOW).unwrap();
    append(
        &log,
        &batch_of(&[(Some("b"), Some("1"))], NOW, ProducerIdentity::NONE),
    )
    .unwrap();
    let keys = |log: &Log| -> Vec<(i64, bool)> {
        read_all(log)
            .iter()
            .map(|record| (record.offset, record.value.is_some()))
            .collect()
    };
    let cleaned = clean(&log, 0, NOW).unwrap();
    assert_eq!(cleaned.clean_up_to, 2);
    assert_eq!(keys(&log), [(1, false), (2, true)]);
    assert_eq!(
        read_all(&log)[0].timestamp,
        NOW,
        "timestamps stay when the horizon is set"
    );
    clean(&log, 0, NOW + 999).unwrap();
    assert_eq!(keys(&log), [(1, false), (2, true)]);
    clean(&log, 0, NOW + 1001).unwrap();
    assert_eq!(keys(&log), [(2, true)]);
    // The producer's last batch is there, without records.
    let first = Batch::parse(&log.read(0, 1, 3).unwrap()).unwrap();
    assert_eq!(
        (first.header.record_count, first.header.last_sequence()),
        (0, 1)
    );
    drop(log);
    std::fs::remove_dir_all(folder.path().join("x")).unwrap_or_default();
    let log = opening(folder.path(), false, 0).open().unwrap();
    assert_eq!(keys(&log), [(2, true)]);
}

#[test]
fn a_segment_behind_a_gap_goes_after_a_power_cut() {
    let build = || {
        let folder = tempfile::tempdir().unwrap();
        let log = opening(folder.path(), false, 0).open().unwrap();
        for n in 0..60 {
            append_line(&log, n);
        }
        let bases: Vec<i64> = log.segments_from(0).iter().map(|s| s.base_offset).collect();
        assert!(bases.len() > 3);
        (folder, bases)
    };
    // The file system lost whole batches at the end of a segment, but not what was written to the next one.
    let (folder, bases) = build();
    let path = folder.path().join(format!("{:020}.log", bases[1]));
    let whole = Bytes::from(std::fs::read(&path).unwrap());
    let last = batches(whole.clone()).last().unwrap().unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len((whole.len() - last.bytes.len()) as u64)
        .unwrap();
    let log = opening(folder.path(), false, bases[1]).open().unwrap();
    assert_eq!(log.end(), bases[2] - 1);
    expect_lines(&log, log.end());
    assert_eq!(files(folder.path(), ".log").len(), 2);
    // Kafka's own cleaner may have taken them.
    let (folder, bases) = build();
    let path = folder.path().join(format!("{:020}.log", bases[1]));
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len((whole.len() - last.bytes.len()) as u64)
        .unwrap();
    let compacted = Opening {
        clean_up_to: bases[2],
        ..opening(folder.path(), false, 0)
    };
    assert_eq!(compacted.open().unwrap().end(), 60);
    // A segment that was cut off and came back lies before the end of the one in front.
    let (folder, bases) = build();
    let stray = folder.path().join(format!("{:020}.log", bases[1] + 1));
    std::fs::copy(folder.path().join(format!("{:020}.log", bases[2])), &stray).unwrap();
    for base in &bases[2..] {
        std::fs::remove_file(folder.path().join(format!("{base:020}.log"))).unwrap();
    }
    let log = opening(folder.path(), false, bases[1]).open().unwrap();
    assert_eq!(log.end(), bases[2]);
    expect_lines(&log, bases[2]);
    assert!(!stray.exists());
}

#[test]
fn compaction_leaves_no_gap_between_segments() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    let put = |value: &str| {
        let records = [(Some("key"), Some(value))];
        append(&log, &batch_of(&records, NOW, ProducerIdentity::NONE)).unwrap();
    };
    for _ in 0..3 {
        put("old");
        put("older");
        log.appender().roll(NOW).unwrap();
    }
    put("new");
    clean(&log, 0, NOW).unwrap();
    log.flush().unwrap();
    assert_eq!(values(&log), ["older", "new"]);
    put("newest");
    log.appender().roll(NOW).unwrap();
    clean(&log, 0, NOW).unwrap();
    assert_eq!(values(&log), ["newest"]);
    drop(log);
    let log = opening(folder.path(), false, 0).open().unwrap();
    assert_eq!((log.end(), values(&log)), (8, vec!["newest".to_owned()]));
}

#[test]
fn compaction_with_little_memory_takes_a_part_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let log = Opening {
        options: Arc::new(LogOptions {
            cleaner_dedupe_bytes: 10 * 48,
            ..LogOptions::default()
        }),
        ..opening(folder.path(), false, 0)
    };
    let log = log.open().unwrap();
    for n in 0..200 {
        let (key, value) = (format!("key-{}", n % 40), n.to_string());
        let records = [(Some(&*key), Some(&*value))];
        append(&log, &batch_of(&records, NOW, ProducerIdentity::NONE)).unwrap();
    }
    log.appender().roll(NOW).unwrap();
    let mut first_dirty = 0;
    while first_dirty < 200 {
        let cleaned = clean(&log, first_dirty, NOW).unwrap();
        assert!((first_dirty + 1..=first_dirty + 10).contains(&cleaned.clean_up_to));
        first_dirty = cleaned.clean_up_to;
    }
    let want: Vec<String> = (160..200).map(|n: i32| n.to_string()).collect();
    assert_eq!(values(&log), want);
}

#[test]
fn an_index_that_names_other_places_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    for n in 0..12 {
        append_line(&log, n);
    }
    log.close().unwrap();
    drop(log);
    let path = folder.path().join("00000000000000000000.index");
    let whole = std::fs::read(&path).unwrap();
    assert!(whole.len() >= 24);
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 3;
        for (clean, recovery_point) in [(true, 12), (false, 12), (false, 5)] {
            std::fs::write(&path, &bytes).unwrap();
            let log = opening(folder.path(), clean, recovery_point)
                .open()
                .unwrap();
            assert_eq!(log.end(), 12, "byte {at}");
            for offset in (0..12).rev() {
                let read = log.read(offset, 1, 12).unwrap();
                let found = Batch::parse(&read).unwrap().header.base_offset;
                assert_eq!(found, offset, "byte {at}");
            }
        }
    }
}

#[test]
fn lost_leader_epochs_are_read_from_the_batches() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    let append_in = |epoch: i32| {
        let bytes = batch_of(&[(None, Some("x"))], NOW, ProducerIdentity::NONE);
        let mut header = Batch::parse(&bytes).unwrap().header;
        (header.base_offset, header.partition_leader_epoch) = (log.end(), epoch);
        let (prefix, rest) = bytes.split_first_chunk().unwrap();
        let mut prefix = *prefix;
        assign_offsets(&mut prefix, header.base_offset, epoch);
        let placed = Placed {
            header,
            prefix,
            rest,
        };
        log.appender().append(&placed, NOW).unwrap();
    };
    for epoch in [0, 0, 2, 5, 5] {
        append_in(epoch);
    }
    log.flush().unwrap();
    drop(log);
    let path = folder.path().join("leader-epoch-checkpoint");
    let whole = std::fs::read(&path).unwrap();
    for (left, recovery_point) in [(&b""[..], 5), (b"0\n1\n0 0\n", 1), (&whole, 5)] {
        std::fs::write(&path, left).unwrap();
        let log = opening(folder.path(), false, recovery_point)
            .open()
            .unwrap();
        let epochs = log.epochs.lock();
        assert_eq!(epochs.end_of(0, 5), (0, 2));
        assert_eq!(epochs.end_of(2, 5), (2, 3));
        assert_eq!(epochs.latest(), Some(5));
    }
}

#[test]
fn what_is_closed_in_an_orderly_way_has_durable_names() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    log.close().unwrap();
    assert!(log.name_synced.load(std::sync::atomic::Ordering::Acquire));
}

/// What is done to a compacted log.
#[derive(Debug, Clone)]
enum Step {
    Append(Vec<(u8, Option<u8>)>, i16),
    Roll,
    Clean,
    Restart { clean: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let record = (0..12u8, prop::option::weighted(0.8, any::<u8>()));
    prop_oneof![
        6 => (prop::collection::vec(record, 1..8), 0..5i16).prop_map(|(records, codec)| Step::Append(records, codec)),
        2 => Just(Step::Roll),
        2 => Just(Step::Clean),
        1 => any::<bool>().prop_map(|clean| Step::Restart { clean }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn compaction_keeps_the_newest_of_every_key_and_all_offsets(steps in prop::collection::vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let mut log = opening(folder.path(), false, 0).open().unwrap();
        let mut appended: BTreeMap<i64, (String, Option<String>)> = BTreeMap::new();
        let mut first_dirty = 0;
        for step in steps {
            match step {
                Step::Append(records, codec) => {
                    let mut builder = BatchBuilder::new(Compression::try_from(codec).unwrap(), 0);
                    let base = log.end();
                    for (at, (key, value)) in records.iter().enumerate() {
                        let (key, value) = (format!("key-{key}"), value.map(|value| format!("value-{value}")));
                        builder.push(RecordRef {
                            timestamp: NOW, key: Some(key.as_bytes()), value: value.as_deref().map(str::as_bytes), headers: &[],
                        });
                        appended.insert(base + at as i64, (key, value));
                    }
                    append(&log, &builder.finish().unwrap()).unwrap();
                }
                Step::Roll => log.appender().roll(NOW).unwrap(),
                Step::Clean => {
                    let cleaned = clean(&log, first_dirty, NOW).unwrap();
                    prop_assert!(cleaned.clean_up_to >= first_dirty);
                    prop_assert!(cleaned.clean_up_to <= log.end());
                    first_dirty = cleaned.clean_up_to;
                    // Below the clean point every key is there once at most.
                    let mut seen = std::collections::BTreeSet::new();
                    for record in read_all(&log).iter().filter(|record| record.offset < first_dirty) {
                        prop_assert!(seen.insert(record.key.clone()), "{:?} twice", record.key);
                    }
                }
                Step::Restart { clean } => {
                    let end = log.end();
                    if clean { log.close().unwrap() } else { log.flush().unwrap(); }
                    drop(log);
                    log = opening(folder.path(), clean, if clean { end } else { 0 }).open().unwrap();
                    prop_assert_eq!(log.end(), end);
                }
            }
            let records = read_all(&log);
            prop_assert!(records.is_sorted_by_key(|record| record.offset));
            let mut newest = BTreeMap::new();
            for record in &records {
                let key = String::from_utf8(record.key.clone().unwrap().to_vec()).unwrap();
                let value = record.value.clone().map(|value| String::from_utf8(value.to_vec()).unwrap());
                prop_assert_eq!(&appended[&record.offset], &(key.clone(), value.clone()));
                newest.insert(key, (record.offset, value));
            }
            let mut want = BTreeMap::new();
            for (offset, (key, value)) in &appended {
                want.insert(key.clone(), (*offset, value.clone()));
            }
            prop_assert_eq!(newest, want);
            for name in [".cleaned", ".swap"] {
                prop_assert!(files(folder.path(), name).is_empty());
            }
        }
    }
}

#[test]
fn a_crash_in_the_middle_of_a_replacement_is_finished_or_undone() {
    let keyed = |n: i64| {
        batch_of(
            &[(Some(&format!("key-{}", n % 5)), Some(&format!("{n}")))],
            NOW,
            ProducerIdentity::NONE,
        )
    };
    let build = |folder: &Path| {
        let log = opening(folder, false, 0).open().unwrap();
        for n in 0..60 {
            append(&log, &keyed(n)).unwrap();
        }
        log.flush().unwrap();
        log
    };
    let newest = |log: &Log| -> BTreeMap<Bytes, i64> {
        read_all(log)
            .into_iter()
            .map(|record| (record.key.unwrap(), record.offset))
            .collect()
    };
    // What the cleaner makes of the first segments, under its real name.
    let cleaned = tempfile::tempdir().unwrap();
    let log = build(cleaned.path());
    let want = newest(&log);
    clean(&log, 0, NOW).unwrap();
    let copy = platform::fs::read(&cleaned.path().join("00000000000000000000.log")).unwrap();
    for (suffixes, finished) in [
        (&[".log.cleaned", ".index.cleaned"][..], false),
        (&[".log.cleaned", ".index.swap"][..], false),
        (&[".log.swap", ".index.swap", ".timeindex.swap"][..], true),
        (&[".log.swap"][..], true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let log = build(folder.path());
        let before = read_all(&log).len();
        log.close().unwrap();
        drop(log);
        for suffix in suffixes {
            let bytes = if suffix.starts_with(".log") {
                &copy[..]
            } else {
                &[]
            };
            std::fs::write(
                folder.path().join(format!("00000000000000000000{suffix}")),
                bytes,
            )
            .unwrap();
        }
        let log = opening(folder.path(), false, 60).open().unwrap();
        assert_eq!(newest(&log), want, "{suffixes:?}");
        assert_eq!(read_all(&log).len() < before, finished, "{suffixes:?}");
        for left in [".cleaned", ".swap"] {
            assert!(files(folder.path(), left).is_empty());
        }
        assert!(log.read(30, 1, 60).is_ok());
    }
}
