//! One segment: a file of batches and its two indexes.
//!
//! Invariants: the first `size` bytes of the file are whole batches with growing offsets; what may lie behind them
//! (reserved space, a write that failed) is never read. One thread appends at a time; any number read meanwhile, up
//! to the size they see.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use kafka_records::{Batch, BatchHeader, batches};
use parking_lot::{Mutex, RwLock};
use platform::fs::{File, OpenOptions};

use super::index::{Entry, Index, OffsetEntry, TimeEntry};
use super::scan::{Found, Headers, Verified, corrupt};
use super::space::{RESERVING_FROM_BYTES, reserve_to};
use super::{LogConfig, LogError};

/// A batch as it is appended: the 16 bytes that the broker sets, and the rest as it came.
pub(crate) struct Placed<'a> {
    pub(crate) header: BatchHeader,
    pub(crate) prefix: [u8; 16],
    pub(crate) rest: &'a [u8],
}

/// Batches up to this size are written with one call.
const JOINED_BYTES: usize = 64 * 1024;

/// Written where the next batch would start if another segment's contents lie there: no batch begins with it.
const NO_BATCH: [u8; 64] = [0; 64];

#[derive(Debug)]
struct State {
    offsets: Index<OffsetEntry>,
    times: Index<TimeEntry>,
    /// Largest timestamp and the last offset of the batch that has it.
    max_timestamp: Option<(i64, i64)>,
    bytes_since_index: u64,
    /// Largest timestamp of the first batch, which `segment.ms` counts from.
    first_timestamp: Option<i64>,
    /// Where the batch after the last read starts, so that a reader that goes on needs no index.
    next_read: (i64, u64),
    /// Where the space ends that the file takes on disk, as far as it is known.
    reserved: u64,
    /// Where the contents end that another segment left in the file.
    stale_end: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base_offset: i64,
    created_ms: i64,
    path: RwLock<PathBuf>,
    file: File,
    size: AtomicU64,
    synced: AtomicU64,
    name_synced: AtomicBool,
    /// What lay behind the batches was cut off, and that is not durable yet.
    cut_unsynced: AtomicBool,
    /// Held during a sync. True if the last one failed: the system may have dropped what it could not write, and says
    /// so only once.
    sync_failed: Mutex<bool>,
    state: Mutex<State>,
}

/// A batch whose offsets do not fit those of its neighbours.
fn misplaced(path: &Path, position: u64, header: &BatchHeader) -> LogError {
    let reason = format!(
        "offsets {} to {} do not belong there",
        header.base_offset,
        header.last_offset()
    );
    corrupt(path, position, reason)
}

/// A file of a segment: `suffix` is "log", "index", "timeindex", or one of them with ".cleaned" and so on.
pub(crate) fn file_path(folder: &Path, base_offset: i64, suffix: &str) -> PathBuf {
    folder.join(format!("{base_offset:020}.{suffix}"))
}

/// What checking a segment found.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Recovered {
    /// Offset after the last good batch.
    pub(crate) next_offset: i64,
    /// Bytes that were cut off.
    pub(crate) cut_bytes: u64,
    /// Something before the recovery point is broken: the file was left as it is.
    pub(crate) damaged: bool,
}

impl Segment {
    /// Creates an empty segment; `extra` is appended to the files' suffixes.
    pub(crate) fn create(
        folder: &Path,
        base_offset: i64,
        extra: &str,
        now_ms: i64,
    ) -> Result<Self, LogError> {
        let path = file_path(folder, base_offset, &format!("log{extra}"));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(LogError::io("create", &path))?;
        Ok(Self::empty(
            folder,
            base_offset,
            extra,
            (path, file),
            0,
            now_ms,
        ))
    }

    /// Makes the file at `spare`, from a segment that was removed, an empty segment. After an error the file is still
    /// there.
    pub(crate) fn reuse(
        spare: &Path,
        folder: &Path,
        base_offset: i64,
        now_ms: i64,
    ) -> Result<Self, LogError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(spare)
            .map_err(LogError::io("open", spare))?;
        let len = file.len().map_err(LogError::io("measure", spare))?;
        file.write_all_at(&NO_BATCH, 0)
            .map_err(LogError::io("write", spare))?;
        let path = file_path(folder, base_offset, "log");
        // Last, as the name makes it a part of the log.
        platform::fs::rename(spare, &path).map_err(LogError::io("rename", spare))?;
        let file = (path, file);
        Ok(Self::empty(folder, base_offset, "", file, len, now_ms))
    }

    fn empty(
        folder: &Path,
        base_offset: i64,
        extra: &str,
        (path, file): (PathBuf, File),
        len: u64,
        now_ms: i64,
    ) -> Self {
        let state = State {
            offsets: Index::empty(file_path(folder, base_offset, &format!("index{extra}"))),
            times: Index::empty(file_path(folder, base_offset, &format!("timeindex{extra}"))),
            max_timestamp: None,
            bytes_since_index: 0,
            first_timestamp: None,
            next_read: (base_offset, 0),
            reserved: len,
            stale_end: len,
        };
        Self::with(base_offset, path, file, 0, now_ms, state)
    }

    fn with(
        base_offset: i64,
        path: PathBuf,
        file: File,
        size: u64,
        now_ms: i64,
        state: State,
    ) -> Self {
        Self {
            base_offset,
            created_ms: now_ms,
            path: RwLock::new(path),
            file,
            size: AtomicU64::new(size),
            synced: AtomicU64::new(0),
            name_synced: AtomicBool::new(false),
            cut_unsynced: AtomicBool::new(false),
            sync_failed: Mutex::new(false),
            state: Mutex::new(state),
        }
    }

    /// Opens a segment whose contents are trusted. Indexes that are missing or make no sense are built again.
    pub(crate) fn open(
        folder: &Path,
        base_offset: i64,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<Self, LogError> {
        let segment = Self::open_untrusted(folder, base_offset, now_ms)?;
        segment.synced.store(segment.size(), Ordering::Release);
        segment.name_synced.store(true, Ordering::Release);
        if segment.size() > 0 && !segment.has_usable_indexes()? {
            tracing::warn!(path = %segment.path().display(), "building the indexes of a segment again");
            segment.rebuild_indexes(config)?;
        }
        Ok(segment)
    }

    fn has_usable_indexes(&self) -> Result<bool, LogError> {
        let state = self.state.lock();
        let last = state.offsets.last();
        Ok(platform::fs::exists(state.offsets.path())
            && platform::fs::exists(state.times.path())
            && state.offsets.is_sorted()?
            && state.times.is_sorted()?
            && match last {
                Some(last) => self.has_batch_of(last)?,
                None => true,
            })
    }

    /// Opens a segment that [`Segment::recover`] is going to check.
    pub(crate) fn open_untrusted(
        folder: &Path,
        base_offset: i64,
        now_ms: i64,
    ) -> Result<Self, LogError> {
        let path = file_path(folder, base_offset, "log");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(LogError::io("open", &path))?;
        let size = file.len().map_err(LogError::io("measure", &path))?;
        let offsets: Index<OffsetEntry> = Index::open(file_path(folder, base_offset, "index"))?;
        let times: Index<TimeEntry> = Index::open(file_path(folder, base_offset, "timeindex"))?;
        let max_timestamp = times
            .last()
            .map(|last| (last.timestamp, base_offset + i64::from(last.relative)));
        let state = State {
            offsets,
            times,
            max_timestamp,
            bytes_since_index: 0,
            first_timestamp: None,
            next_read: (base_offset, 0),
            reserved: size,
            stale_end: 0,
        };
        Ok(Self::with(base_offset, path, file, size, now_ms, state))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.path.read().clone()
    }

    /// Bytes of whole batches.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Largest timestamp, with the last offset of the batch that has it.
    pub(crate) fn max_timestamp(&self) -> Option<(i64, i64)> {
        self.state.lock().max_timestamp
    }

    /// Time of the newest record, or when the segment was created or opened if its records have none.
    pub(crate) fn newest_ms(&self) -> i64 {
        self.max_timestamp()
            .map(|(timestamp, _)| timestamp)
            .filter(|timestamp| *timestamp >= 0)
            .unwrap_or(self.created_ms)
    }

    /// When the segment began: its first batch's time, or when it was created or opened if that has none.
    pub(crate) fn began_ms(&self) -> Result<i64, LogError> {
        Ok(self.first_timestamp()?.unwrap_or(self.created_ms))
    }

    /// How old the segment is for a record of `next_timestamp`, for `segment.ms`. Records' own time counts, so that
    /// old records that are copied in do not get a segment each.
    pub(crate) fn age_ms(&self, next_timestamp: i64, now_ms: i64) -> Result<i64, LogError> {
        Ok(match self.first_timestamp()? {
            Some(first) => next_timestamp.saturating_sub(first),
            None => now_ms.saturating_sub(self.created_ms),
        })
    }

    fn first_timestamp(&self) -> Result<Option<i64>, LogError> {
        if let Some(first) = self.state.lock().first_timestamp {
            return Ok(Some(first));
        }
        let path = self.path();
        let first = match Headers::new(&self.file, &path, 0, self.size()).next() {
            Ok(first) => first,
            // Damage is reported to who reads it.
            Err(LogError::Corrupt { .. }) => None,
            Err(error) => return Err(error),
        };
        let timestamp = first
            .map(|first| first.header.max_timestamp)
            .filter(|timestamp| *timestamp >= 0);
        self.state.lock().first_timestamp = timestamp;
        Ok(timestamp)
    }

    /// Whether a batch that ends at `last_offset` has to go into a new segment.
    pub(crate) fn is_full_for(&self, bytes: usize, last_offset: i64, config: &LogConfig) -> bool {
        let size = self.size();
        let index_entries = {
            let state = self.state.lock();
            (state.offsets.len() * OffsetEntry::WIDTH).max(state.times.len() * TimeEntry::WIDTH)
                + TimeEntry::WIDTH
        };
        size > 0
            && (size + bytes as u64 > u64::from(config.segment_bytes)
                || index_entries > config.segment_index_bytes as usize
                || i32::try_from(last_offset - self.base_offset).is_err())
    }

    /// Appends a batch. After an error the segment is as it was.
    pub(crate) fn append(&self, batch: &Placed<'_>, config: &LogConfig) -> Result<(), LogError> {
        let at = self.size();
        let total = (batch.prefix.len() + batch.rest.len()) as u64;
        if let Err(error) = self.write(batch, at, config) {
            // What was written of it lies behind the size and is not read; cutting it off keeps a restart from
            // looking at it. If that fails too, the next append writes over it.
            let cut = self.file.set_len(at);
            let mut state = self.state.lock();
            state.reserved = at;
            match cut {
                Ok(()) => state.stale_end = 0,
                Err(cut) => {
                    tracing::warn!(path = %self.path().display(), error = %cut, "a failed append could not be cut off");
                }
            }
            return Err(error);
        }
        let mut state = self.state.lock();
        self.note(&mut state, &batch.header, at, config);
        drop(state);
        self.size.store(at + total, Ordering::Release);
        Ok(())
    }

    fn write(&self, batch: &Placed<'_>, at: u64, config: &LogConfig) -> Result<(), LogError> {
        let path = self.path.read();
        if config.preallocate && at == 0 {
            self.file
                .preallocate(u64::from(config.segment_bytes))
                .map_err(LogError::io("reserve space for", &path))?;
            self.state.lock().reserved = u64::from(config.segment_bytes);
        }
        let total = (batch.prefix.len() + batch.rest.len()) as u64;
        self.reserve_ahead(&path, at + total, u64::from(config.segment_bytes));
        let stale = self.state.lock().stale_end.saturating_sub(at + total);
        let stale = usize::try_from(stale).unwrap_or(NO_BATCH.len());
        let no_batch = NO_BATCH.get(..stale).unwrap_or(&NO_BATCH);
        let written = if batch.rest.len() <= JOINED_BYTES {
            let mut joined =
                Vec::with_capacity(batch.prefix.len() + batch.rest.len() + no_batch.len());
            joined.extend_from_slice(&batch.prefix);
            joined.extend_from_slice(batch.rest);
            joined.extend_from_slice(no_batch);
            self.file.write_all_at(&joined, at)
        } else {
            // The prefix last: a crash in between leaves zeros where a batch would start.
            self.file
                .write_all_at(batch.rest, at + batch.prefix.len() as u64)
                .and_then(|()| self.file.write_all_at(no_batch, at + total))
                .and_then(|()| self.file.write_all_at(&batch.prefix, at))
        };
        written.map_err(LogError::io("write", &path))
    }

    /// Reserves space before the segment grows to `size`. An error is left to the write that needs the space, and to
    /// the next step.
    fn reserve_ahead(&self, path: &Path, size: u64, limit: u64) {
        let mut state = self.state.lock();
        let Some(to) = reserve_to(size, state.reserved, limit) else {
            return;
        };
        let from = state.reserved;
        state.reserved = to;
        drop(state);
        if let Err(error) = self.file.reserve(from, to - from) {
            tracing::debug!(path = %path.display(), %error, "no space is reserved ahead");
        }
    }

    /// Keeps indexes and timestamps in step with a batch at `position`.
    fn note(&self, state: &mut State, header: &BatchHeader, position: u64, config: &LogConfig) {
        if state.bytes_since_index > u64::from(config.index_interval_bytes) {
            self.index(state, header.last_offset(), position);
            state.bytes_since_index = 0;
        }
        if state
            .max_timestamp
            .is_none_or(|(timestamp, _)| header.max_timestamp > timestamp)
        {
            state.max_timestamp = Some((header.max_timestamp, header.last_offset()));
        }
        if state.first_timestamp.is_none() && position == 0 && header.max_timestamp >= 0 {
            state.first_timestamp = Some(header.max_timestamp);
        }
        state.bytes_since_index += header.total_bytes() as u64;
    }

    fn index(&self, state: &mut State, last_offset: i64, position: u64) {
        let (Ok(relative), Ok(position)) = (
            i32::try_from(last_offset - self.base_offset),
            u32::try_from(position),
        ) else {
            return;
        };
        if state
            .offsets
            .last()
            .is_none_or(|last| last.relative < relative)
        {
            state.offsets.push(OffsetEntry { relative, position });
        }
        self.index_time(state);
    }

    fn index_time(&self, state: &mut State) {
        let Some((timestamp, offset)) = state.max_timestamp else {
            return;
        };
        let Ok(relative) = i32::try_from(offset - self.base_offset) else {
            return;
        };
        if state
            .times
            .last()
            .is_none_or(|last| last.timestamp < timestamp)
        {
            state.times.push(TimeEntry {
                timestamp,
                relative,
            });
        }
    }

    /// Whether the file goes on behind the batches.
    pub(crate) fn is_longer_than_its_contents(&self) -> Result<bool, LogError> {
        let len = self.file.len();
        Ok(len.map_err(LogError::io("measure", &self.path.read()))? > self.size())
    }

    /// Whether what lay behind the batches may be there again after a power cut.
    pub(crate) fn has_unsynced_cut(&self) -> bool {
        self.cut_unsynced.load(Ordering::Acquire)
    }

    /// Ends the segment: its files have exactly the size of their contents.
    pub(crate) fn close(&self) -> Result<(), LogError> {
        let mut state = self.state.lock();
        self.index_time(&mut state);
        let size = self.size();
        let shorter = self.is_longer_than_its_contents()?;
        if shorter || state.reserved > size {
            self.file
                .set_len(size)
                .map_err(LogError::io("cut", &self.path.read()))?;
            if shorter {
                self.cut_unsynced.store(true, Ordering::Release);
            }
            (state.reserved, state.stale_end) = (size, 0);
        }
        state.offsets.store()?;
        state.times.store()
    }

    /// Writes index entries that are only in memory.
    pub(crate) fn store_indexes(&self) -> Result<(), LogError> {
        let mut state = self.state.lock();
        state.offsets.store()?;
        state.times.store()
    }

    /// Makes what was appended durable.
    pub(crate) fn sync(&self) -> Result<(), LogError> {
        let mut failed = self.sync_failed.lock();
        let size = self.size();
        let synced = self.synced.load(Ordering::Acquire);
        if synced < size || self.cut_unsynced.load(Ordering::Acquire) {
            if *failed {
                self.write_again(synced, size)?;
            }
            let cut = self.cut_unsynced.swap(false, Ordering::AcqRel);
            let result = self.file.sync_data();
            *failed = result.is_err();
            if cut && *failed {
                self.cut_unsynced.store(true, Ordering::Release);
            }
            result.map_err(LogError::io("sync", &self.path.read()))?;
            self.synced.fetch_max(size, Ordering::AcqRel);
        }
        drop(failed);
        if !self.name_synced.load(Ordering::Acquire) {
            let path = self.path();
            let folder = path.parent().unwrap_or(Path::new("."));
            platform::fs::sync_dir(folder).map_err(LogError::io("sync", folder))?;
            self.name_synced.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Writes the batches between two positions over themselves, so that the next sync takes them along.
    fn write_again(&self, from: u64, to: u64) -> Result<(), LogError> {
        let path = self.path();
        let mut verified = Verified::new(&self.file, &path, from, to);
        while let Some((position, batch)) = verified.next()? {
            self.file
                .write_all_at(&batch.bytes, position)
                .map_err(LogError::io("write", &path))?;
        }
        Ok(())
    }

    /// Makes the indexes durable too, before the file takes another's place.
    pub(crate) fn sync_all(&self) -> Result<(), LogError> {
        self.close()?;
        self.sync()?;
        self.sync_indexes()
    }

    /// Makes what is stored of the indexes durable.
    pub(crate) fn sync_indexes(&self) -> Result<(), LogError> {
        let state = self.state.lock();
        state.offsets.sync()?;
        state.times.sync()
    }

    /// A position at or before the batch with `offset`. The index is only believed where its entry's batch is.
    fn position_before(&self, offset: i64) -> Result<u64, LogError> {
        let state = self.state.lock();
        if state.next_read.0 == offset {
            return Ok(state.next_read.1);
        }
        // An entry has its batch's last offset, so the batch with `offset` is at or behind the floor's.
        let entry = state
            .offsets
            .floor(offset.saturating_sub(self.base_offset))?;
        drop(state);
        match entry {
            Some(entry) if self.has_batch_of(entry)? => Ok(u64::from(entry.position)),
            _ => Ok(0),
        }
    }

    /// Whether the batch that an index entry names is where it says.
    fn has_batch_of(&self, entry: OffsetEntry) -> Result<bool, LogError> {
        let path = self.path();
        let position = u64::from(entry.position);
        match Headers::new(&self.file, &path, position, self.size()).next() {
            Ok(found) => Ok(found.is_some_and(|found| {
                found.header.last_offset() - self.base_offset == i64::from(entry.relative)
            })),
            Err(LogError::Corrupt { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The first batch that ends at `offset` or later.
    fn find(&self, offset: i64) -> Result<Option<Found>, LogError> {
        let path = self.path();
        let start = self.position_before(offset)?;
        let goes_on = self.state.lock().next_read == (offset, start);
        let mut headers = Headers::new(&self.file, &path, start, self.size());
        let mut before: Option<Found> = None;
        let found = loop {
            match headers.next()? {
                // Nothing ends where a reader went on, or before the segment.
                Some(found)
                    if (goes_on && found.header.base_offset < offset)
                        || found.header.base_offset < self.base_offset =>
                {
                    return Err(misplaced(&path, found.position, &found.header));
                }
                Some(found) if found.header.last_offset() < offset => before = Some(found),
                found => break found,
            }
        };
        // Where offsets are missing, either compaction took them or the header before lies about its length.
        if found.is_none_or(|found| found.header.base_offset > offset)
            && let Some(before) = before
        {
            Verified::new(&self.file, &path, before.position, before.end()).next()?;
        }
        Ok(found)
    }

    /// Whole batches from the one with `from` on, none that starts at `limit` or later; about `max_bytes`, but at
    /// least one. `None` if the segment has none.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] instead of the first batch if that one is damaged; good batches before a damaged one
    /// are answered.
    pub(crate) fn read(
        &self,
        from: i64,
        max_bytes: usize,
        limit: i64,
    ) -> Result<Option<Bytes>, LogError> {
        let Some(first) = self.find(from)? else {
            return Ok(None);
        };
        if first.header.base_offset >= limit {
            if self.is_misplaced(&first, limit)? {
                return Err(misplaced(&self.path(), first.position, &first.header));
            }
            return Ok(None);
        }
        let available = usize::try_from(self.size() - first.position).unwrap_or(usize::MAX);
        let len = max_bytes.max(first.header.total_bytes()).min(available);
        let path = self.path();
        let mut buffer = Vec::new();
        self.file
            .append_from(&mut buffer, len, first.position)
            .map_err(LogError::io("read", &path))?;
        let buffer = Bytes::from(buffer);
        let mut end = 0;
        let mut next_offset = from;
        for batch in batches(buffer.clone()) {
            let checked = batch.and_then(|batch| batch.verify().map(|()| batch));
            let batch = match checked {
                Ok(batch) => batch,
                Err(_) if end > 0 => break,
                Err(error) => return Err(corrupt(&path, first.position, error)),
            };
            let header = batch.header;
            if header.base_offset >= limit || (end > 0 && header.base_offset < next_offset) {
                break;
            }
            if header.base_offset > next_offset {
                let position = first.position + end as u64;
                if self.is_misplaced(&Found { position, header }, limit)? {
                    if end > 0 {
                        break;
                    }
                    return Err(misplaced(&path, position, &header));
                }
            }
            end += batch.bytes.len();
            next_offset = header.next_offset();
        }
        if end == 0 {
            return Err(corrupt(
                &path,
                first.position,
                "the file ends inside a batch",
            ));
        }
        self.state.lock().next_read = (next_offset, first.position + end as u64);
        Ok(Some(buffer.slice(..end)))
    }

    /// Whether a batch that offsets are missing in front of does not fit what follows either. The checksum does not
    /// cover offsets; compaction leaves such gaps too.
    fn is_misplaced(&self, found: &Found, limit: i64) -> Result<bool, LogError> {
        let path = self.path();
        let next = found.header.next_offset();
        match Headers::new(&self.file, &path, found.end(), self.size()).next() {
            Ok(Some(following)) => Ok(following.header.base_offset < next),
            Ok(None) => Ok(next > limit),
            Err(LogError::Corrupt { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Headers of all batches from the one with `from` on.
    pub(crate) fn headers(
        &self,
        from: i64,
        mut each: impl FnMut(&BatchHeader),
    ) -> Result<(), LogError> {
        let path = self.path();
        let mut headers = Headers::new(&self.file, &path, self.position_before(from)?, self.size());
        while let Some(found) = headers.next()? {
            if found.header.last_offset() >= from {
                each(&found.header);
            }
        }
        Ok(())
    }

    /// Every batch, checked.
    pub(crate) fn verified(
        &self,
        mut each: impl FnMut(&Batch) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let path = self.path();
        let mut verified = Verified::new(&self.file, &path, 0, self.size());
        while let Some((_, batch)) = verified.next()? {
            each(&batch)?;
        }
        Ok(())
    }

    /// The first record of `offset >= from` and before `limit` whose timestamp is at least `timestamp`.
    pub(crate) fn find_timestamp(
        &self,
        timestamp: i64,
        from: i64,
        limit: i64,
        max_decompressed: usize,
    ) -> Result<Option<(i64, i64)>, LogError> {
        let start = {
            let state = self.state.lock();
            if state.max_timestamp.is_none_or(|(max, _)| max < timestamp) {
                return Ok(None);
            }
            // All records up to the offset of an entry below `timestamp` are older.
            match state.times.floor(timestamp.saturating_sub(1))? {
                Some(entry) => self.base_offset + i64::from(entry.relative),
                None => self.base_offset,
            }
        };
        let path = self.path();
        let mut headers = Headers::new(
            &self.file,
            &path,
            self.position_before(start.max(from))?,
            self.size(),
        );
        while let Some(found) = headers.next()? {
            if found.header.base_offset >= limit {
                break;
            }
            if found.header.max_timestamp < timestamp || found.header.last_offset() < from {
                continue;
            }
            let Some((_, batch)) =
                Verified::new(&self.file, &path, found.position, found.end()).next()?
            else {
                break;
            };
            let records = batch
                .records(max_decompressed)
                .map_err(|error| corrupt(&path, found.position, error))?;
            for record in records {
                let record = record.map_err(|error| corrupt(&path, found.position, error))?;
                if record.timestamp >= timestamp && record.offset >= from {
                    return Ok(Some((record.offset, record.timestamp)));
                }
            }
        }
        Ok(None)
    }

    /// Offset after the last batch; only what lies behind the index's last entry is read.
    pub(crate) fn next_offset(&self, config: &LogConfig) -> Result<i64, LogError> {
        let start = self
            .state
            .lock()
            .offsets
            .last()
            .map_or(0, |last| u64::from(last.position));
        let path = self.path();
        let mut verified = Verified::new(&self.file, &path, start, self.size());
        let mut next = self.base_offset;
        let mut since_index = 0;
        while let Some((_, batch)) = verified.next()? {
            let header = batch.header;
            next = header.next_offset();
            since_index += header.total_bytes() as u64;
            let mut state = self.state.lock();
            if state
                .max_timestamp
                .is_none_or(|(timestamp, _)| header.max_timestamp > timestamp)
            {
                state.max_timestamp = Some((header.max_timestamp, header.last_offset()));
            }
        }
        self.state.lock().bytes_since_index =
            since_index.min(u64::from(config.index_interval_bytes) + 1);
        Ok(next)
    }

    fn rebuild_indexes(&self, config: &LogConfig) -> Result<(), LogError> {
        self.forget_indexes_from(0)?;
        let path = self.path();
        let mut headers = Headers::new(&self.file, &path, 0, self.size());
        loop {
            match headers.next() {
                Ok(Some(found)) => self.note(
                    &mut self.state.lock(),
                    &found.header,
                    found.position,
                    config,
                ),
                Ok(None) => break,
                // Readers will hit it and say so; what lies before it is indexed.
                Err(error @ LogError::Corrupt { .. }) => {
                    tracing::error!(%error, "segment is corrupt");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.close()
    }

    /// Drops index entries for what lies at `position` or behind it.
    fn forget_indexes_from(&self, position: u64) -> Result<(), LogError> {
        let mut state = self.state.lock();
        state
            .offsets
            .retain_prefix(|entry| u64::from(entry.position) < position)?;
        let last = state.offsets.last().map_or(-1, |last| last.relative);
        state.times.retain_prefix(|entry| entry.relative <= last)?;
        state.max_timestamp = state
            .times
            .last()
            .map(|last| (last.timestamp, self.base_offset + i64::from(last.relative)));
        state.bytes_since_index = 0;
        state.next_read = (self.base_offset, 0);
        if position == 0 {
            state.first_timestamp = None;
        }
        Ok(())
    }

    /// Checks what lies behind the recovery point: cuts the file at the first batch that is broken or out of order,
    /// and builds the indexes for the rest. `each` sees the good batches.
    pub(crate) fn recover(
        &self,
        recovery_point: i64,
        config: &LogConfig,
        mut each: impl FnMut(&BatchHeader),
    ) -> Result<Recovered, LogError> {
        let mut start = 0;
        let mut expected = self.base_offset;
        if recovery_point > self.base_offset && self.has_usable_indexes()? {
            // The last index entry that is known to be durable; what it points to was checked before.
            let entry = self
                .state
                .lock()
                .offsets
                .floor(recovery_point - 1 - self.base_offset)?;
            if let Some(entry) = entry
                && self.has_batch_of(entry)?
            {
                start = u64::from(entry.position);
                expected = i64::MIN;
            }
        }
        self.forget_indexes_from(if start > 0 { start + 1 } else { 0 })?;
        let path = self.path();
        let end = self.size();
        let mut verified = Verified::new(&self.file, &path, start, end);
        let mut good = start;
        let mut next_offset = self.base_offset;
        let problem = loop {
            match verified.next() {
                Ok(Some((position, batch))) if batch.header.base_offset >= expected => {
                    let mut state = self.state.lock();
                    self.note(&mut state, &batch.header, position, config);
                    drop(state);
                    each(&batch.header);
                    expected = batch.header.next_offset();
                    next_offset = expected;
                    good = position + batch.bytes.len() as u64;
                }
                Ok(Some((position, batch))) => {
                    let reason = format!(
                        "offset {} comes after {}",
                        batch.header.base_offset,
                        expected - 1
                    );
                    break Some(corrupt(&path, position, reason));
                }
                Ok(None) => break None,
                Err(error @ LogError::Corrupt { .. }) => break Some(error),
                Err(error) => return Err(error),
            }
        };
        let damaged = problem.is_some() && next_offset < recovery_point;
        if let Some(problem) = problem {
            if damaged {
                tracing::error!(error = %problem, "records that were durable are damaged; they are kept as they are");
                return Ok(Recovered {
                    next_offset,
                    cut_bytes: 0,
                    damaged,
                });
            }
            tracing::warn!(bytes = end - good, reason = %problem, "cutting off what was not completely written");
            self.truncate_to_size(good)?;
        } else if end > RESERVING_FROM_BYTES {
            // What was reserved when the crash came.
            self.file.set_len(end).map_err(LogError::io("cut", &path))?;
        }
        self.synced.store(0, Ordering::Release);
        Ok(Recovered {
            next_offset,
            cut_bytes: end - good,
            damaged,
        })
    }

    fn truncate_to_size(&self, size: u64) -> Result<(), LogError> {
        self.size.store(size, Ordering::Release);
        self.file
            .set_len(size)
            .map_err(LogError::io("cut", &self.path.read()))?;
        self.file
            .sync_data()
            .map_err(LogError::io("sync", &self.path.read()))?;
        // Not raised: a sync that failed before may have dropped what lies in front, and this one does not say so.
        self.synced.fetch_min(size, Ordering::AcqRel);
        let mut state = self.state.lock();
        (state.reserved, state.stale_end) = (size, 0);
        Ok(())
    }

    /// Drops all batches that reach `offset` or beyond.
    pub(crate) fn truncate_from(&self, offset: i64, config: &LogConfig) -> Result<(), LogError> {
        let Some(found) = self.find(offset)? else {
            return Ok(());
        };
        self.forget_indexes_from(found.position)?;
        self.truncate_to_size(found.position)?;
        self.next_offset(config)?;
        Ok(())
    }

    /// Renames the files: `from` and `to` are what follows "log", "index" and "timeindex". The log goes last when
    /// the segment is to appear and first when it is to vanish, for a crash in between.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), LogError> {
        let folder = self.path().parent().unwrap_or(Path::new(".")).to_owned();
        let order: [&str; 3] = if to == ".deleted" {
            ["log", "index", "timeindex"]
        } else {
            ["index", "timeindex", "log"]
        };
        for kind in order {
            let old = file_path(&folder, self.base_offset, &format!("{kind}{from}"));
            let new = file_path(&folder, self.base_offset, &format!("{kind}{to}"));
            match platform::fs::rename(&old, &new) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && kind != "log" => {}
                renamed => renamed.map_err(LogError::io("rename", &old))?,
            }
        }
        let mut state = self.state.lock();
        state
            .offsets
            .set_path(file_path(&folder, self.base_offset, &format!("index{to}")));
        state.times.set_path(file_path(
            &folder,
            self.base_offset,
            &format!("timeindex{to}"),
        ));
        drop(state);
        *self.path.write() = file_path(&folder, self.base_offset, &format!("log{to}"));
        Ok(())
    }

    /// Keeps the log's file at `spare`, durably, for [`Segment::reuse`], and removes the others. Nobody may read the
    /// segment any more.
    pub(crate) fn keep_file(&self, spare: &Path) -> Result<(), LogError> {
        let path = self.path();
        platform::fs::rename(&path, spare).map_err(LogError::io("rename", &path))?;
        self.remove_files()?;
        // Before it is written to: its former name would say that it has other records.
        let folder = spare.parent().unwrap_or(Path::new("."));
        platform::fs::sync_dir(folder).map_err(LogError::io("sync", folder))
    }

    /// Removes the files, under their present names.
    pub(crate) fn remove_files(&self) -> Result<(), LogError> {
        let paths = {
            let state = self.state.lock();
            [
                self.path(),
                state.offsets.path().to_owned(),
                state.times.path().to_owned(),
            ]
        };
        for path in paths {
            match platform::fs::remove_file(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.map_err(LogError::io("remove", &path))?,
            }
        }
        Ok(())
    }
}
