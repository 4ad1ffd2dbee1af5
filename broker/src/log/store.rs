//! A partition's log: its segments in order, one of them active.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use bytes::Bytes;
use kafka_records::BatchHeader;
use parking_lot::{Mutex, MutexGuard, RwLock};

use platform::fs::File;

use super::checkpoint;
use super::epochs::Epochs;
use super::producers::{self, Producers};
use super::segment::{Placed, Segment};
use super::space::Spare;
use super::{LogConfig, LogError, LogOptions};

/// Snapshots of producers kept per partition, for the case that the newest describe what a crash took.
const SNAPSHOTS_KEPT: usize = 3;
/// Offsets before a snapshot that are read at most to find the batches that producers may send again.
const WINDOW_OFFSETS: i64 = 100_000;

/// What only the appending thread touches.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) producers: Producers,
    /// Offset of the newest stored snapshot.
    pub(crate) snapshot_at: i64,
    /// Records behind the log's end could not be cut off everywhere; nothing is appended before they are.
    pub(crate) cut_unfinished: bool,
}

/// See the module. Locks are taken in this order: `structure`, `writer`, `flushing`, `segments`, `epochs` or that of
/// `spare`.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) folder: PathBuf,
    pub(crate) config: RwLock<Arc<LogConfig>>,
    pub(crate) options: Arc<LogOptions>,
    /// Sorted by base offset, never empty; the last one is active.
    pub(crate) segments: RwLock<Vec<Arc<Segment>>>,
    pub(crate) epochs: Mutex<Epochs>,
    pub(crate) start: AtomicI64,
    pub(crate) end: AtomicI64,
    pub(crate) flushed: AtomicI64,
    /// Held during a flush and while the end is cut, so that a flush does not vouch for records that were cut off
    /// meanwhile.
    pub(crate) flushing: Mutex<()>,
    pub(crate) writer: Mutex<Writer>,
    /// Held by whoever removes or replaces segments.
    pub(crate) structure: Mutex<()>,
    /// Segments whose files are to be removed at a time.
    pub(crate) trash: Mutex<Vec<(i64, Arc<Segment>)>>,
    /// The file for the next segment, if an old one is used again.
    pub(super) spare: Spare,
    /// Whether the folder's own name and the files that describe it are durable.
    pub(crate) name_synced: AtomicBool,
    /// Opened after an unclean stop: what was last appended before may be missing.
    pub(crate) tail_in_doubt: AtomicBool,
    /// Everything before it is committed; what lies behind it may still be cut off, so that neither retention nor
    /// compaction touch it.
    pub(crate) committed: AtomicI64,
    /// Taken off `segment.ms`, as a share of the jitter.
    pub(crate) jitter: f64,
}

impl Log {
    pub(crate) fn config(&self) -> Arc<LogConfig> {
        self.config.read().clone()
    }

    pub(crate) fn set_config(&self, config: LogConfig) {
        *self.config.write() = Arc::new(config);
    }

    /// Whether records that were acknowledged before the last start may be missing at the end.
    pub(crate) fn tail_in_doubt(&self) -> bool {
        self.tail_in_doubt.load(Ordering::Acquire)
    }

    /// Nothing that was acknowledged is missing: a leader that has it all was copied.
    pub(crate) fn trust_tail(&self) {
        self.tail_in_doubt.store(false, Ordering::Release);
    }

    /// Offset up to which records stay, whatever happens.
    pub(crate) fn committed(&self) -> i64 {
        self.committed.load(Ordering::Acquire)
    }

    pub(crate) fn set_committed(&self, offset: i64) {
        self.committed.store(offset, Ordering::Release);
    }

    /// First offset there is.
    pub(crate) fn start(&self) -> i64 {
        self.start.load(Ordering::Acquire)
    }

    /// Offset of the next record.
    pub(crate) fn end(&self) -> i64 {
        self.end.load(Ordering::Acquire)
    }

    /// Offset up to which everything is durable.
    pub(crate) fn flushed(&self) -> i64 {
        self.flushed.load(Ordering::Acquire).min(self.end())
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.segments
            .read()
            .iter()
            .map(|segment| segment.size())
            .sum()
    }

    pub(crate) fn active(&self) -> Arc<Segment> {
        let segments = self.segments.read();
        match segments.last() {
            Some(segment) => Arc::clone(segment),
            None => unreachable!("a log has an active segment from its opening to its end"),
        }
    }

    /// Segments that may hold `offset` or later ones.
    pub(crate) fn segments_from(&self, offset: i64) -> Vec<Arc<Segment>> {
        let segments = self.segments.read();
        let first = segments
            .partition_point(|segment| segment.base_offset <= offset)
            .saturating_sub(1);
        segments.iter().skip(first).cloned().collect()
    }

    /// The right to append; one holder at a time.
    pub(crate) fn appender(&self) -> Appender<'_> {
        Appender {
            log: self,
            writer: self.writer.lock(),
        }
    }

    /// Whole batches from the one with `from` on that start before `limit`; empty at the end.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] outside the log, [`LogError::Corrupt`], [`LogError::Io`].
    pub(crate) fn read(&self, from: i64, max_bytes: usize, limit: i64) -> Result<Bytes, LogError> {
        let (log_start, log_end) = (self.start(), self.end());
        if from < log_start || from > log_end {
            return Err(LogError::OffsetOutOfRange {
                offset: from,
                log_start,
                log_end,
            });
        }
        if from >= limit {
            return Ok(Bytes::new());
        }
        let mut segments = self.segments_from(from).into_iter().peekable();
        while let Some(segment) = segments.next() {
            if segment.base_offset >= limit {
                break;
            }
            let segment_end = segments.peek().map_or(limit, |next| next.base_offset);
            if let Some(records) = segment.read(from, max_bytes, limit.min(segment_end))? {
                return Ok(records);
            }
        }
        Ok(Bytes::new())
    }

    /// Offset and timestamp of the first record that is at least as new as `timestamp`.
    pub(crate) fn find_timestamp(
        &self,
        timestamp: i64,
        limit: i64,
    ) -> Result<Option<(i64, i64)>, LogError> {
        let from = self.start();
        for segment in self.segments_from(from) {
            let found = segment.find_timestamp(
                timestamp,
                from,
                limit,
                self.options.decompressed_bytes_max,
            )?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Offset and timestamp of the first record with the largest timestamp.
    pub(crate) fn max_timestamp(&self, limit: i64) -> Result<Option<(i64, i64)>, LogError> {
        let newest = self
            .segments
            .read()
            .iter()
            .filter_map(|segment| segment.max_timestamp())
            .max_by_key(|max| max.0);
        match newest {
            Some((timestamp, _)) => self.find_timestamp(timestamp, limit),
            None => Ok(None),
        }
    }

    /// Makes everything durable that was appended before the call, and answers up to where.
    pub(crate) fn flush(&self) -> Result<i64, LogError> {
        let _flushing = self.flushing.lock();
        let end = self.end();
        let flushed = self.flushed();
        if flushed < end {
            self.sync_name()?;
            for segment in self.segments_from(flushed) {
                segment.sync()?;
            }
            self.flushed.fetch_max(end, Ordering::AcqRel);
        }
        Ok(end)
    }

    /// Makes the folder durable, with what says whose records are in it.
    fn sync_name(&self) -> Result<(), LogError> {
        if self.name_synced.load(Ordering::Acquire) {
            return Ok(());
        }
        let metadata = self.folder.join(checkpoint::name::PARTITION_METADATA);
        match File::open(&metadata) {
            Ok(file) => file.sync_all().map_err(LogError::io("sync", &metadata))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(LogError::io("open", &metadata)(error)),
        }
        platform::fs::sync_dir(&self.folder).map_err(LogError::io("sync", &self.folder))?;
        if let Some(parent) = self.folder.parent() {
            platform::fs::sync_dir(parent).map_err(LogError::io("sync", parent))?;
        }
        self.name_synced.store(true, Ordering::Release);
        Ok(())
    }

    /// Flushes and stores what shortens the next recovery: index entries and the producers' state.
    pub(crate) fn checkpoint(&self) -> Result<i64, LogError> {
        let flushed = self.flush()?;
        self.active().store_indexes()?;
        let mut writer = self.writer.lock();
        let end = self.end();
        writer.store_snapshot(&self.folder, end)?;
        Ok(flushed)
    }

    /// Ends the log in an orderly way: everything is durable and nothing needs recovery.
    pub(crate) fn close(&self) -> Result<(), LogError> {
        let _structure = self.structure.lock();
        let mut writer = self.writer.lock();
        self.active().close()?;
        self.flush()?;
        // The next start takes the names for durable, also where nothing was appended.
        self.sync_name()?;
        self.active().sync()?;
        self.spare.clear()?;
        let end = self.end();
        writer.store_snapshot(&self.folder, end)
    }

    /// Drops everything from `offset` on: an append that could not be made durable. Whoever calls holds the writer,
    /// so `structure` is not taken: segments at the end are nobody else's.
    fn truncate_with(&self, writer: &mut Writer, offset: i64) -> Result<(), LogError> {
        if offset >= self.end() && !writer.cut_unfinished {
            return Ok(());
        }
        let _flushing = self.flushing.lock();
        writer.cut_unfinished = true;
        self.end.store(offset, Ordering::Release);
        self.flushed.fetch_min(offset, Ordering::AcqRel);
        let config = self.config();
        while self.segments.read().len() > 1 && self.active().base_offset >= offset {
            self.active().remove_files()?;
            self.segments.write().pop();
        }
        self.active().truncate_from(offset, &config)?;
        self.epochs.lock().truncate_from(offset)?;
        self.reload_producers(writer)
    }

    /// Producers as of the log's end: the newest usable snapshot and what follows it.
    pub(crate) fn reload_producers(&self, writer: &mut Writer) -> Result<(), LogError> {
        let end = self.end();
        let (mut producers, from) = match producers::load(&self.folder, end)? {
            Some(loaded) => loaded,
            None => (Producers::default(), self.start()),
        };
        let window = producers
            .window_start(from, WINDOW_OFFSETS)
            .max(self.start());
        if window < from {
            let mut read = Producers::default();
            self.replay(&mut read, window, from)?;
            producers.refine(read);
        }
        self.replay(&mut producers, from, end)?;
        *writer = Writer {
            producers,
            snapshot_at: from,
            cut_unfinished: false,
        };
        Ok(())
    }

    /// Has `producers` remember the batches from `from` to `end`.
    fn replay(&self, producers: &mut Producers, from: i64, end: i64) -> Result<(), LogError> {
        if from >= end {
            return Ok(());
        }
        for segment in self.segments_from(from) {
            let replayed = segment.headers(from, |header| {
                if header.base_offset < end {
                    producers.remember(header, header.max_timestamp);
                }
            });
            match replayed {
                Err(error @ LogError::Corrupt { .. }) => {
                    tracing::error!(%error, "producers are remembered only up to here");
                    break;
                }
                replayed => replayed?,
            }
        }
        Ok(())
    }

    /// Forgets producers that have been silent for too long.
    pub(crate) fn expire_producers(&self, now_ms: i64) {
        let mut writer = self.writer.lock();
        if !writer.producers.is_empty() {
            writer
                .producers
                .expire(now_ms, self.options.producer_id_expiration_ms);
        }
    }

    /// The partition's folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Writer {
    fn store_snapshot(&mut self, folder: &Path, offset: i64) -> Result<(), LogError> {
        if offset > self.snapshot_at && !self.cut_unfinished {
            producers::store(&self.producers, folder, offset, SNAPSHOTS_KEPT)?;
            self.snapshot_at = offset;
        }
        Ok(())
    }
}

/// The right to append to a log; see [`Log::appender`].
pub(crate) struct Appender<'a> {
    log: &'a Log,
    writer: MutexGuard<'a, Writer>,
}

impl Appender<'_> {
    /// What the log knows of idempotent producers.
    pub(crate) fn producers(&self) -> &Producers {
        &self.writer.producers
    }

    /// The newest leader epoch, -1 if there is none.
    pub(crate) fn latest_epoch(&self) -> i32 {
        self.log.epochs.lock().latest().unwrap_or(-1)
    }

    /// Appends a batch whose offsets start at the log's end, or later where a leader's log was compacted. After an
    /// error the log is as it was.
    pub(crate) fn append(&mut self, batch: &Placed<'_>, now_ms: i64) -> Result<(), LogError> {
        debug_assert!(
            batch.header.base_offset >= self.log.end(),
            "offsets only grow"
        );
        let config = self.log.config();
        self.roll_if_due(&batch.header, now_ms, &config)?;
        self.log.epochs.lock().begin(
            batch.header.partition_leader_epoch,
            batch.header.base_offset,
        )?;
        self.log.active().append(batch, &config)?;
        self.writer.producers.remember(&batch.header, now_ms);
        self.log
            .end
            .store(batch.header.next_offset(), Ordering::Release);
        Ok(())
    }

    fn roll_if_due(
        &mut self,
        next: &BatchHeader,
        now_ms: i64,
        config: &LogConfig,
    ) -> Result<(), LogError> {
        let active = self.log.active();
        if active.size() == 0 {
            return Ok(());
        }
        let full = active.is_full_for(next.total_bytes(), next.last_offset(), config);
        let jitter = (config.segment_jitter_ms as f64 * self.log.jitter) as i64;
        let limit_ms = config.segment_ms.saturating_sub(jitter);
        let old = active.age_ms(next.max_timestamp, now_ms)? > limit_ms;
        if full || old {
            self.roll(now_ms)
        } else {
            Ok(())
        }
    }

    /// Ends the active segment and starts the next.
    pub(crate) fn roll(&mut self, now_ms: i64) -> Result<(), LogError> {
        self.finish_cut()?;
        let active = self.log.active();
        let end = self.log.end();
        if active.base_offset == end {
            return Ok(());
        }
        self.close_active(&active, end)?;
        // Once the recovery point is behind the segment, its indexes are trusted.
        active.sync_indexes()?;
        self.writer.store_snapshot(&self.log.folder, end)?;
        let spare = &self.log.spare;
        let next = spare.begin_segment(&self.log.folder, end, now_ms)?;
        self.log.segments.write().push(Arc::new(next));
        Ok(())
    }

    /// Ends the active segment. What its file loses at its end must not come back once the recovery point lies behind
    /// it: a flush makes that durable with the records, and if they are durable already, it happens here.
    fn close_active(&self, active: &Segment, end: i64) -> Result<(), LogError> {
        if !active.is_longer_than_its_contents()? && !active.has_unsynced_cut() {
            return active.close();
        }
        let _flushing = self.log.flushing.lock();
        active.close()?;
        if self.log.flushed() >= end {
            active.sync()?;
        }
        Ok(())
    }

    /// Ends a cut that failed before, if there was one. What producers sent behind it is remembered until then, so
    /// nothing may be answered from memory either.
    pub(crate) fn finish_cut(&mut self) -> Result<(), LogError> {
        if !self.writer.cut_unfinished {
            return Ok(());
        }
        self.truncate_from(self.log.end())
    }

    /// Drops everything from `offset` on.
    pub(crate) fn truncate_from(&mut self, offset: i64) -> Result<(), LogError> {
        self.log.truncate_with(&mut self.writer, offset)
    }

    /// Drops everything from `offset` on, also the epochs that begin there: their leader is not followed. Whoever calls
    /// holds `structure`, as closed segments may be cut.
    pub(crate) fn truncate_exactly(&mut self, offset: i64) -> Result<(), LogError> {
        self.truncate_from(offset)?;
        self.log.epochs.lock().forget_from(offset)?;
        platform::fs::sync_dir(&self.log.folder).map_err(LogError::io("sync", &self.log.folder))
    }

    /// Drops everything and begins anew at `offset`, whatever the log was. Whoever calls holds `structure`. After an
    /// error it may be called again, and nothing is appended before.
    pub(crate) fn begin_anew(&mut self, offset: i64, now_ms: i64) -> Result<(), LogError> {
        let log = self.log;
        let _flushing = log.flushing.lock();
        self.writer.cut_unfinished = true;
        // The newest first: what a crash leaves goes on where it begins.
        while log.segments.read().len() > 1 {
            let segment = log.active();
            segment.remove_files()?;
            log.segments.write().pop();
            log.end.store(segment.base_offset, Ordering::Release);
        }
        let next = Segment::create(&log.folder, offset, ".cleaned", now_ms)?;
        log.active().remove_files()?;
        next.rename(".cleaned", "")?;
        *log.segments.write() = vec![Arc::new(next)];
        log.start.store(offset, Ordering::Release);
        log.end.store(offset, Ordering::Release);
        log.flushed.store(offset, Ordering::Release);
        log.epochs.lock().forget_from(i64::MIN)?;
        platform::fs::sync_dir(&log.folder).map_err(LogError::io("sync", &log.folder))?;
        producers::forget(&log.folder)?;
        *self.writer = Writer {
            producers: Producers::default(),
            snapshot_at: offset,
            cut_unfinished: false,
        };
        Ok(())
    }
}
