//! Space on disk that segments reserve ahead or use again: who takes it, when it is given back, and that nothing of
//! the records comes back that were in it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kafka_records::{Batch, BatchBuilder, Compression, RecordRef, assign_offsets, batches};

use proptest::prelude::*;

use super::space::SPARE_FILE;
use super::*;

const NOW: i64 = 1_700_000_000_000;
const MIB: u64 = 1 << 20;

fn opening(folder: &Path, clean: bool, recovery_point: i64) -> Opening {
    Opening {
        folder: folder.to_owned(),
        config: LogConfig {
            segment_bytes: 12 << 20,
            file_delete_delay_ms: 0,
            ..LogConfig::default()
        },
        options: Arc::new(LogOptions::default()),
        clean,
        recovery_point,
        log_start: 0,
        clean_up_to: 0,
        now_ms: NOW,
    }
}

/// A value that says which offset it has.
fn value(offset: i64, len: usize) -> Vec<u8> {
    let mut value = format!("{offset:020}").into_bytes();
    value.resize(len.max(20), offset as u8);
    value
}

fn append(log: &Log, len: usize) -> Result<(), LogError> {
    let mut appender = log.appender();
    let offset = log.end();
    let mut builder = BatchBuilder::new(Compression::None, 0);
    builder.push(RecordRef {
        timestamp: NOW,
        key: None,
        value: Some(&value(offset, len)),
        headers: &[],
    });
    let bytes = builder.finish().unwrap();
    let mut header = Batch::parse(&bytes).unwrap().header;
    (header.base_offset, header.partition_leader_epoch) = (offset, 0);
    let (prefix, rest) = bytes.split_first_chunk().unwrap();
    let mut prefix = *prefix;
    assign_offsets(&mut prefix, offset, 0);
    let placed = Placed {
        header,
        prefix,
        rest,
    };
    appender.append(&placed, NOW)
}

/// Appends batches of 100 kB until the active segment has `size`.
fn fill(log: &Log, size: u64) {
    while log.active().size() < size {
        append(log, 100_000).unwrap();
    }
}

/// Checks that exactly the records from `start` to `end` are there.
fn expect(log: &Log, start: i64, end: i64) {
    assert_eq!((log.start(), log.end()), (start, end));
    let mut at = start;
    loop {
        let bytes: Bytes = log.read(at, 1 << 20, end).unwrap();
        if bytes.is_empty() {
            break;
        }
        for batch in batches(bytes) {
            let batch = batch.unwrap();
            assert_eq!(batch.header.base_offset, at);
            let record = batch.records(16 << 20).unwrap().next().unwrap().unwrap();
            assert_eq!(record.value.unwrap().get(..20), value(at, 0).get(..20));
            at += 1;
        }
    }
    assert_eq!(at, end);
}

fn file(folder: &Path, base: i64) -> PathBuf {
    folder.join(format!("{base:020}.log"))
}

/// Length, and what it takes on disk.
fn taken(path: &Path) -> (u64, u64) {
    let metadata = std::fs::metadata(path).unwrap();
    (metadata.len(), metadata.blocks() * 512)
}

/// Whether the file system of the tests can reserve space behind a file's end.
fn can_reserve(folder: &Path) -> bool {
    let path = folder.join("probe");
    let probe = platform::fs::File::create(&path).unwrap();
    probe.reserve(0, MIB).unwrap();
    let reserved = taken(&path).1 >= MIB;
    std::fs::remove_file(path).unwrap();
    reserved
}

#[test]
fn a_growing_segment_reserves_ahead_without_changing_its_length() {
    let folder = tempfile::tempdir().unwrap();
    if !can_reserve(folder.path()) {
        return;
    }
    let log = opening(folder.path(), false, 0).open().unwrap();
    let path = file(folder.path(), 0);
    fill(&log, 900_000);
    log.flush().unwrap();
    assert!(taken(&path).1 < MIB, "small ones reserve nothing");
    fill(&log, MIB + 1);
    log.flush().unwrap();
    let (len, space) = taken(&path);
    assert_eq!(len, log.active().size());
    assert!((4 * MIB..5 * MIB).contains(&space), "{space}");
    fill(&log, 9 * MIB);
    log.flush().unwrap();
    let (len, space) = taken(&path);
    assert_eq!(len, log.active().size());
    assert!((12 * MIB..13 * MIB).contains(&space), "{space}");
    expect(&log, 0, log.end());
}

#[test]
fn the_unused_rest_is_given_back_at_the_roll_and_at_an_orderly_end() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    fill(&log, 2 * MIB);
    log.appender().roll(NOW).unwrap();
    let second = log.end();
    fill(&log, 2 * MIB);
    log.close().unwrap();
    for base in [0, second] {
        let (len, space) = taken(&file(folder.path(), base));
        assert!(space < len + 64 * 1024, "{space} for {len}");
    }
    let end = log.end();
    drop(log);
    expect(&opening(folder.path(), true, end).open().unwrap(), 0, end);
}

#[test]
fn what_was_reserved_before_a_crash_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    fill(&log, 2 * MIB);
    log.flush().unwrap();
    let end = log.end();
    drop(log);
    for recovery_point in [0, end] {
        let log = opening(folder.path(), false, recovery_point)
            .open()
            .unwrap();
        let (len, space) = taken(&file(folder.path(), 0));
        assert_eq!(len, log.active().size());
        assert!(space < len + 64 * 1024, "{space} for {len}");
        expect(&log, 0, end);
    }
}

#[test]
fn space_that_the_setting_reserved_is_durably_gone_before_the_next_segment_begins() {
    let folder = tempfile::tempdir().unwrap();
    let log = opening(folder.path(), false, 0).open().unwrap();
    log.set_config(LogConfig {
        preallocate: true,
        ..LogConfig::clone(&log.config())
    });
    append(&log, 100).unwrap();
    log.flush().unwrap();
    let first = log.active();
    log.appender().roll(NOW).unwrap();
    assert!(!first.has_unsynced_cut(), "a flush does not come by again");
    append(&log, 100).unwrap();
    let second = log.active();
    log.appender().roll(NOW).unwrap();
    assert!(second.has_unsynced_cut());
    log.flush().unwrap();
    assert!(!second.has_unsynced_cut());
    append(&log, 100).unwrap();
    log.flush().unwrap();
    log.close().unwrap();
    assert!(!log.active().has_unsynced_cut());
    expect(&log, 0, 3);
}

fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

/// Removes all closed segments below `offset`, as DeleteRecords and its delay do.
fn delete_below(log: &Log, offset: i64) {
    log.raise_start(offset);
    log.remove_below_start(NOW).unwrap();
    log.empty_trash(NOW).unwrap();
}

/// A log whose active segment is empty and in the file of the first one, which had batches of 100 kB.
fn with_reused_file(folder: &Path) -> Log {
    let log = opening(folder, false, 0).open().unwrap();
    fill(&log, 5 * MIB);
    let first = inode(&file(folder, 0));
    log.appender().roll(NOW).unwrap();
    append(&log, 100).unwrap();
    delete_below(&log, log.end() - 1);
    assert_eq!(inode(&folder.join(SPARE_FILE)), first);
    log.appender().roll(NOW).unwrap();
    assert!(!folder.join(SPARE_FILE).exists());
    assert_eq!(inode(&file(folder, log.end())), first);
    log
}

#[test]
fn a_removed_segments_file_becomes_the_next_one_and_is_cut_when_that_ends() {
    let folder = tempfile::tempdir().unwrap();
    let log = with_reused_file(folder.path());
    let (start, base) = (log.start(), log.end());
    for len in [100, 100_000, 300] {
        append(&log, len).unwrap();
        expect(&log, start, log.end());
    }
    let active = log.active();
    assert!(taken(&file(folder.path(), base)).0 > 5 * MIB);
    log.flush().unwrap();
    log.appender().roll(NOW).unwrap();
    assert_eq!(taken(&file(folder.path(), base)).0, active.size());
    assert!(!active.has_unsynced_cut());
    append(&log, 100).unwrap();
    log.close().unwrap();
    let end = log.end();
    drop(log);
    let log = opening(folder.path(), true, end).open().unwrap();
    expect(&log, start, end);
}

#[test]
fn a_reused_file_that_is_still_open_is_cut_at_an_orderly_end() {
    let folder = tempfile::tempdir().unwrap();
    for appended in [0, 1, 30] {
        let folder = folder.path().join(appended.to_string());
        let log = with_reused_file(&folder);
        let (start, base) = (log.start(), log.end());
        for _ in 0..appended {
            append(&log, 40_000).unwrap();
        }
        log.flush().unwrap();
        log.close().unwrap();
        assert_eq!(taken(&file(&folder, base)).0, log.active().size());
        assert!(!log.active().has_unsynced_cut());
        let end = log.end();
        drop(log);
        expect(&opening(&folder, true, end).open().unwrap(), start, end);
    }
}

#[test]
fn after_a_crash_nothing_of_a_files_former_records_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    // Batches of the former size end where former ones ended; others leave a torn one.
    for (case, lens) in [
        &[][..],
        &[100_000][..],
        &[100_000, 100_000, 100_000],
        &[777, 100_000, 5],
        &[60_000, 60_000],
    ]
    .iter()
    .enumerate()
    {
        for lost in ["nothing", "the end mark", "half of the last batch"] {
            let folder = folder.path().join(format!("{case}-{lost}"));
            let log = opening(&folder, false, 0).open().unwrap();
            fill(&log, 5 * MIB);
            let former = std::fs::read(file(&folder, 0)).unwrap();
            drop(log);
            std::fs::remove_dir_all(&folder).unwrap();
            let log = with_reused_file(&folder);
            let (start, base) = (log.start(), log.end());
            let mut before_last = 0;
            for len in lens.iter() {
                before_last = log.active().size();
                append(&log, *len).unwrap();
            }
            let (end, size) = (log.end(), log.active().size());
            drop(log);
            // A power cut may lose any page: the former contents are there again.
            let path = file(&folder, base);
            let mut bytes = std::fs::read(&path).unwrap();
            let from = match lost {
                "nothing" => bytes.len() as u64,
                "the end mark" => size,
                _ => before_last + (size - before_last) / 2,
            } as usize;
            bytes.truncate(from);
            bytes.extend_from_slice(&former[from..]);
            std::fs::write(&path, &bytes).unwrap();
            let torn = lost == "half of the last batch" && !lens.is_empty();
            let end = end - i64::from(torn);
            for recovery_point in [0, base, end] {
                std::fs::write(&path, &bytes).unwrap();
                let log = Opening {
                    log_start: start,
                    ..opening(&folder, false, recovery_point)
                };
                let log = log.open().unwrap();
                expect(&log, start, end);
                assert_eq!(taken(&path).0, log.active().size());
                append(&log, 10).unwrap();
                expect(&log, start, end + 1);
                // As it was before.
                drop(log);
            }
        }
    }
}

#[test]
fn an_end_mark_follows_every_batch_in_front_of_former_records() {
    let folder = tempfile::tempdir().unwrap();
    let log = with_reused_file(folder.path());
    let path = file(folder.path(), log.end());
    for len in [0, 10, 90_000, 100] {
        let at = log.active().size() as usize;
        assert_eq!(std::fs::read(&path).unwrap()[at..at + 64], [0; 64]);
        append(&log, len).unwrap();
    }
}

#[test]
fn a_spare_file_goes_with_an_idle_log_an_orderly_end_or_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let with_spare = |name: &str| {
        let folder = folder.path().join(name);
        let log = opening(&folder, false, 0).open().unwrap();
        fill(&log, 5 * MIB);
        log.appender().roll(NOW).unwrap();
        delete_below(&log, log.end());
        assert!(folder.join(SPARE_FILE).exists());
        (log, folder.join(SPARE_FILE))
    };
    let (log, spare) = with_spare("idle");
    log.empty_trash(NOW + 60_000).unwrap();
    assert!(spare.exists());
    log.empty_trash(NOW + 3_600_000).unwrap();
    assert!(!spare.exists());
    let (log, spare) = with_spare("closed");
    log.close().unwrap();
    assert!(!spare.exists());
    let (log, spare) = with_spare("crashed");
    drop(log);
    assert!(spare.exists());
    opening(spare.parent().unwrap(), false, 0).open().unwrap();
    assert!(!spare.exists());
}

#[test]
fn files_that_are_read_or_small_or_compacted_or_of_slow_logs_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    for case in ["read", "small", "compacted", "slow"] {
        let folder = folder.path().join(case);
        let log = opening(&folder, false, 0).open().unwrap();
        fill(&log, if case == "small" { MIB } else { 5 * MIB });
        let reader = (case == "read").then(|| log.active());
        if case == "compacted" {
            let mut config = LogConfig::clone(&log.config());
            config.cleanup_policy.compact = true;
            log.set_config(config);
        }
        log.appender().roll(NOW).unwrap();
        log.raise_start(log.end());
        log.remove_below_start(NOW).unwrap();
        let later = if case == "slow" { 3_600_000 } else { 0 };
        log.empty_trash(NOW + later).unwrap();
        let left = platform::fs::read_dir(&folder).unwrap();
        let deleted = |name: &str| name.ends_with(".deleted");
        assert!(
            !left.iter().any(|entry| deleted(&entry.file_name)),
            "{case}"
        );
        if let Some(reader) = reader {
            assert!(reader.read(0, 1, 1).unwrap().is_some());
        }
    }
}

/// What is done to a log.
#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Roll,
    Flush,
    DeleteBelow(u8),
    Restart { clean: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![Just(100usize), Just(70_000), Just(1_500_000)];
    prop_oneof![
        12 => len.prop_map(Step::Append),
        1 => Just(Step::Roll),
        2 => Just(Step::Flush),
        4 => any::<u8>().prop_map(Step::DeleteBelow),
        1 => any::<bool>().prop_map(|clean| Step::Restart { clean }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_log_that_uses_files_again_has_what_was_appended_and_not_deleted(steps in prop::collection::vec(step(), 20..120)) {
        let folder = tempfile::tempdir().unwrap();
        let small = |opening: Opening| Opening {
            config: LogConfig { segment_bytes: 5 << 20, ..opening.config },
            ..opening
        };
        let mut log = small(opening(folder.path(), false, 0)).open().unwrap();
        let (mut start, mut end) = (0, 0);
        for step in steps {
            match step {
                Step::Append(len) => {
                    append(&log, len).unwrap();
                    end += 1;
                }
                Step::Roll => log.appender().roll(NOW).unwrap(),
                Step::Flush => { log.flush().unwrap(); }
                Step::DeleteBelow(part) => {
                    start = start.max(end * i64::from(part) / 255);
                    delete_below(&log, start);
                }
                Step::Restart { clean } => {
                    if clean {
                        log.close().unwrap();
                    }
                    let recovery_point = log.flushed();
                    drop(log);
                    let again = Opening { log_start: start, ..opening(folder.path(), clean, recovery_point) };
                    log = small(again).open().unwrap();
                }
            }
            prop_assert_eq!((log.start(), log.end()), (start, end));
        }
        expect(&log, start, end);
    }
}
