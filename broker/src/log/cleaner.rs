//! Compaction: keeping the newest record of each key, at its old offset.
//!
//! The closed segments are read twice: the part that was not cleaned yet to learn each key's newest offset, then
//! all of it to copy what stays. Copies are written beside the originals and take their place by renaming, so that
//! a crash leaves one or the other. The active segment is never touched.
//!
//! A tombstone (a key without value) stays for `delete.retention.ms` from the first cleaning that saw it; that
//! moment is kept in the batch header (KIP-534). A batch that loses all its records is kept empty if it is the last
//! its producer wrote, so that its sequence number is not forgotten, or the last of its segment, so that a gap between
//! segments always means that something is lost.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use kafka_records::{Batch, BatchHeader, Record, RecordRef, encode_record, seal};

use super::scan::corrupt;
use super::segment::{Placed, Segment};
use super::{Log, LogConfig, LogError};

/// Memory per key in the map of newest offsets.
const BYTES_PER_KEY: usize = 48;

/// What a cleaning did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cleaning {
    /// Offset up to which keys are unique now.
    pub(crate) clean_up_to: i64,
    /// Size of the cleaned segments before and after.
    pub(crate) bytes: (u64, u64),
}

/// How much of a compacted log is new.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Dirtiness {
    /// New bytes that may be cleaned, as a part of all that may.
    pub(crate) ratio: f64,
    /// Something waits for longer than `max.compaction.lag.ms`.
    pub(crate) overdue: bool,
}

/// How urgently a log wants cleaning; `None` if there is nothing to clean.
pub(crate) fn dirtiness(log: &Log, first_dirty: i64, now_ms: i64) -> Option<Dirtiness> {
    let config = log.config();
    let segments = cleanable(log, &config, now_ms);
    let mut dirty = segments
        .iter()
        .filter(|segment| segment.base_offset >= first_dirty && segment.size() > 0)
        .peekable();
    let oldest = dirty.peek()?.began_ms().unwrap_or(now_ms);
    let dirty_bytes: u64 = dirty.map(|segment| segment.size()).sum();
    let all: u64 = segments.iter().map(|segment| segment.size()).sum();
    Some(Dirtiness {
        ratio: dirty_bytes as f64 / all.max(1) as f64,
        overdue: now_ms.saturating_sub(oldest) > config.max_compaction_lag_ms,
    })
}

/// Closed segments that are old enough and committed: a key's last record may not go for one that is cut off later.
fn cleanable(log: &Log, config: &LogConfig, now_ms: i64) -> Vec<Arc<Segment>> {
    let committed = log.committed();
    let segments = log.segments.read();
    let youngest = now_ms.saturating_sub(config.min_compaction_lag_ms);
    segments
        .iter()
        .zip(segments.iter().skip(1))
        .take_while(|(_, next)| next.base_offset <= committed)
        .map(|(segment, _)| segment)
        .take_while(|segment| {
            config.min_compaction_lag_ms == 0
                || segment
                    .max_timestamp()
                    .is_none_or(|(max, _)| max <= youngest)
        })
        .cloned()
        .collect()
}

/// Newest offset of each key. Keys are held as 128 bits of two independently seeded hashes.
struct Newest {
    seed: u64,
    offsets: HashMap<(u64, u64), i64>,
    capacity: usize,
}

impl Newest {
    fn new(bytes: usize) -> Self {
        Self {
            seed: platform::random::u64(),
            offsets: HashMap::new(),
            capacity: (bytes / BYTES_PER_KEY).max(1),
        }
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let half = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(self.seed ^ salt);
            hasher.write(key);
            hasher.finish()
        };
        (half(0x9e37_79b9_7f4a_7c15), half(0xc2b2_ae3d_27d4_eb4f))
    }

    fn is_full(&self) -> bool {
        self.offsets.len() >= self.capacity
    }

    fn put(&mut self, key: &[u8], offset: i64) {
        let hash = self.hash(key);
        let newest = self.offsets.entry(hash).or_insert(offset);
        *newest = (*newest).max(offset);
    }

    fn is_newest(&self, key: &[u8], offset: i64) -> bool {
        self.offsets
            .get(&self.hash(key))
            .is_none_or(|newest| offset >= *newest)
    }
}

/// Compacts what was appended since `first_dirty`, together with all before it.
///
/// # Errors
/// [`LogError::Corrupt`] if a segment is damaged: it then stays as it is. [`LogError::Io`].
pub(crate) fn clean(log: &Log, first_dirty: i64, now_ms: i64) -> Result<Cleaning, LogError> {
    let config = log.config();
    // What is not durable may still be cut off again.
    log.flush()?;
    let segments = cleanable(log, &config, now_ms);
    let mut newest = Newest::new(log.options.cleaner_dedupe_bytes);
    let mut clean_up_to = first_dirty;
    let mut covered = 0;
    for segment in &segments {
        if newest.is_full() {
            break;
        }
        covered += 1;
        if segment.base_offset < first_dirty
            && segments
                .get(covered)
                .is_some_and(|next| next.base_offset <= first_dirty)
        {
            continue;
        }
        clean_up_to = clean_up_to.max(collect_keys(
            segment,
            first_dirty,
            &mut newest,
            log.options.decompressed_bytes_max,
        )?);
    }
    let mut bytes = (0, 0);
    for group in groups(segments.get(..covered).unwrap_or_default(), &config) {
        let (before, after) = replace_group(log, &config, &group, &newest, now_ms)?;
        bytes = (bytes.0 + before, bytes.1 + after);
    }
    Ok(Cleaning { clean_up_to, bytes })
}

/// Learns a segment's keys from `from` on, until the map is full; answers the offset up to which it did.
fn collect_keys(
    segment: &Segment,
    from: i64,
    newest: &mut Newest,
    max: usize,
) -> Result<i64, LogError> {
    let mut next = segment.base_offset;
    segment.verified(|batch| {
        if newest.is_full() {
            return Ok(());
        }
        next = batch.header.next_offset();
        if next <= from {
            return Ok(());
        }
        if batch.header.is_control() {
            return Ok(());
        }
        for record in batch.records(max)? {
            let record = record?;
            if let Some(key) = &record.key {
                newest.put(key, record.offset);
            }
        }
        Ok(())
    })?;
    Ok(next)
}

/// Neighbours that fit into one segment together.
fn groups(segments: &[Arc<Segment>], config: &LogConfig) -> Vec<Vec<Arc<Segment>>> {
    let mut groups: Vec<Vec<Arc<Segment>>> = Vec::new();
    let mut size = 0;
    for (at, segment) in segments.iter().enumerate() {
        // The group's last offset is below the next segment's base.
        let span_end = segments
            .get(at + 1)
            .map_or(segment.base_offset, |next| next.base_offset);
        let fits = groups
            .last()
            .and_then(|group| group.first())
            .is_some_and(|first| {
                size + segment.size() <= u64::from(config.segment_bytes)
                    && i32::try_from(span_end - first.base_offset).is_ok()
            });
        match groups.last_mut() {
            Some(group) if fits => group.push(Arc::clone(segment)),
            _ => {
                size = 0;
                groups.push(vec![Arc::clone(segment)]);
            }
        }
        size += segment.size();
    }
    groups
}

fn replace_group(
    log: &Log,
    config: &LogConfig,
    group: &[Arc<Segment>],
    newest: &Newest,
    now_ms: i64,
) -> Result<(u64, u64), LogError> {
    let Some(first) = group.first() else {
        return Ok((0, 0));
    };
    let before = group.iter().map(|segment| segment.size()).sum();
    let copy = Segment::create(&log.folder, first.base_offset, ".cleaned", now_ms)?;
    let without_reserve = LogConfig {
        preallocate: false,
        ..config.clone()
    };
    let end = end_of(log, group);
    let copied = group.iter().try_for_each(|segment| {
        segment
            .verified(|batch| copy_batch(log, &without_reserve, batch, end, &copy, newest, now_ms))
    });
    if let Err(error) = copied.and_then(|()| copy.sync_all()) {
        copy.remove_files()?;
        return Err(error);
    }
    let after = copy.size();
    install(log, group, copy, now_ms)?;
    Ok((before, after))
}

/// Base offset of the segment behind a group; there is one, as the active segment is in none.
fn end_of(log: &Log, group: &[Arc<Segment>]) -> i64 {
    let last = group.last().map_or(0, |last| last.base_offset);
    log.segments_from(last)
        .get(1)
        .map_or(last, |next| next.base_offset)
}

/// Puts `copy` in the place of `group`, unless one of its segments is gone meanwhile.
fn install(log: &Log, group: &[Arc<Segment>], copy: Segment, now_ms: i64) -> Result<(), LogError> {
    let _structure = log.structure.lock();
    let present = {
        let segments = log.segments.read();
        // One that became active again after a cut has other records by now.
        let closed = segments.split_last().map_or(&[][..], |(_, closed)| closed);
        group
            .iter()
            .all(|old| closed.iter().any(|segment| Arc::ptr_eq(segment, old)))
    };
    if !present {
        return copy.remove_files();
    }
    copy.rename(".cleaned", ".swap")?;
    platform::fs::sync_dir(&log.folder).map_err(LogError::io("sync", &log.folder))?;
    for old in group {
        old.rename("", ".deleted")?;
    }
    copy.rename(".swap", "")?;
    platform::fs::sync_dir(&log.folder).map_err(LogError::io("sync", &log.folder))?;
    let mut segments = log.segments.write();
    let at = segments
        .iter()
        .position(|segment| group.first().is_some_and(|old| Arc::ptr_eq(segment, old)));
    if let Some(at) = at {
        segments.splice(at..at + group.len(), [Arc::new(copy)]);
    }
    drop(segments);
    for old in group {
        log.discard(Arc::clone(old), now_ms);
    }
    Ok(())
}

/// Copies what stays of a batch.
fn copy_batch(
    log: &Log,
    config: &LogConfig,
    batch: &Batch,
    group_end: i64,
    copy: &Segment,
    newest: &Newest,
    now_ms: i64,
) -> Result<(), LogError> {
    let header = &batch.header;
    if header.is_control() {
        return append_copy(copy, config, &batch.bytes, header);
    }
    let tombstones_stay = header
        .delete_horizon()
        .is_none_or(|horizon| now_ms < horizon);
    let mut kept: Vec<Record> = Vec::new();
    let mut has_tombstone = false;
    for record in batch.records(log.options.decompressed_bytes_max)? {
        let record = record?;
        let Some(key) = &record.key else { continue };
        if newest.is_newest(key, record.offset) && (record.value.is_some() || tombstones_stay) {
            has_tombstone |= record.value.is_none();
            kept.push(record);
        }
    }
    let starts_horizon = has_tombstone && header.delete_horizon().is_none();
    if kept.len() == usize::try_from(header.record_count).unwrap_or(0)
        && !starts_horizon
        && !kept.is_empty()
    {
        return append_copy(copy, config, &batch.bytes, header);
    }
    if kept.is_empty() && header.next_offset() != group_end && !is_last_of_its_producer(log, header)
    {
        return Ok(());
    }
    let horizon = starts_horizon.then(|| now_ms.saturating_add(config.delete_retention_ms));
    let (header, bytes) = rewrite(header, &kept, horizon)?;
    append_copy(copy, config, &bytes, &header)
}

fn is_last_of_its_producer(log: &Log, header: &BatchHeader) -> bool {
    header.producer_id >= 0
        && log.writer.lock().producers.last_offset(header.producer_id) == Some(header.last_offset())
}

/// The batch with only `kept` in it; offsets, sequence numbers and codec stay.
fn rewrite(
    original: &BatchHeader,
    kept: &[Record],
    horizon: Option<i64>,
) -> Result<(BatchHeader, bytes::Bytes), LogError> {
    let mut header = *original;
    if let Some(horizon) = horizon {
        header = header.with_delete_horizon(horizon);
    }
    header.record_count = i32::try_from(kept.len()).unwrap_or(i32::MAX);
    if !header.is_log_append_time() {
        header.max_timestamp = kept
            .iter()
            .map(|record| record.timestamp)
            .max()
            .unwrap_or(header.max_timestamp);
    }
    let mut records = Vec::new();
    for record in kept {
        let offset_delta =
            i32::try_from(record.offset - header.base_offset).unwrap_or(header.last_offset_delta);
        let timestamp_delta = record.timestamp.wrapping_sub(header.base_timestamp);
        let record = RecordRef {
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &record.headers,
        };
        encode_record(&mut records, offset_delta, timestamp_delta, &record);
    }
    let bytes = seal(header, header.compression()?, &records)?;
    Ok((BatchHeader::parse(&bytes)?, bytes))
}

fn append_copy(
    copy: &Segment,
    config: &LogConfig,
    bytes: &[u8],
    header: &BatchHeader,
) -> Result<(), LogError> {
    let Some((prefix, rest)) = bytes.split_first_chunk() else {
        return Err(corrupt(
            &copy.path(),
            copy.size(),
            "a batch without a header was to be copied",
        ));
    };
    copy.append(
        &Placed {
            header: *header,
            prefix: *prefix,
            rest,
        },
        config,
    )
}
