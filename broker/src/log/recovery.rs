//! Opening a partition's log, after an orderly end or a crash.
//!
//! After a crash only what lies behind the recovery point is read: what was not known to be durable. The first
//! batch there that is broken or out of order ends the log, as nothing behind it was complete. What lies before the
//! recovery point is never cut; damage there is an error for whoever reads it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};

use kafka_records::BatchHeader;
use parking_lot::{Mutex, RwLock};

use super::epochs::Epochs;
use super::producers::Producers;
use super::scan::Headers;
use super::segment::{Segment, file_path};
use super::space::Spare;
use super::store::Writer;
use super::{Log, LogConfig, LogError, LogOptions};

/// What is known about a log before it is opened.
pub(crate) struct Opening {
    /// The partition's folder; created if it is not there.
    pub(crate) folder: PathBuf,
    /// The topic's configuration.
    pub(crate) config: LogConfig,
    /// The node's settings.
    pub(crate) options: Arc<LogOptions>,
    /// Whether the node ended in an orderly way.
    pub(crate) clean: bool,
    /// From the checkpoint, 0 if it is not there.
    pub(crate) recovery_point: i64,
    /// From the checkpoint, 0 if it is not there.
    pub(crate) log_start: i64,
    /// Offset up to which it was compacted, from the checkpoint, 0 if it is not there.
    pub(crate) clean_up_to: i64,
    /// Wall clock.
    pub(crate) now_ms: i64,
}

/// Notes the epoch of a batch if it is newer than those before.
fn note_epoch(epochs: &mut Vec<(i32, i64)>, header: &BatchHeader) {
    let epoch = header.partition_leader_epoch;
    if epochs.last().is_none_or(|(latest, _)| *latest < epoch) {
        epochs.push((epoch, header.base_offset));
    }
}

impl Opening {
    /// Opens the log.
    ///
    /// # Errors
    /// [`LogError::Io`], and [`LogError::Corrupt`] where the end of a log that was closed in an orderly way cannot
    /// be found.
    pub(crate) fn open(self) -> Result<Log, LogError> {
        platform::fs::create_dir_all(&self.folder).map_err(LogError::io("create", &self.folder))?;
        self.finish_interrupted_work()?;
        let bases = self.segment_bases()?;
        let mut segments: Vec<Arc<Segment>> = Vec::with_capacity(bases.len().max(1));
        let mut end = self.log_start;
        let mut ordered = bases.iter().copied().peekable();
        // Epochs of the checked batches, whose file may be older.
        let mut epochs: Vec<(i32, i64)> = Vec::new();
        let mut checked_end = None;
        while let Some(base) = ordered.next() {
            let next = ordered.peek().copied();
            let suspect = !self.clean && next.is_none_or(|next| next > self.recovery_point);
            if !suspect {
                let segment = Segment::open(&self.folder, base, &self.config, self.now_ms)?;
                if next.is_none() {
                    end = self.end_of(&segment)?;
                }
                segments.push(Arc::new(segment));
                continue;
            }
            // Segments follow each other without a gap, unless Kafka compacted them. One that doesn't lost what was
            // in front of it, or had been cut off and came back.
            if checked_end.is_some_and(|end| end > base || (end < base && base > self.clean_up_to))
            {
                self.remove_segments(std::iter::once(base).chain(ordered))?;
                break;
            }
            let segment = Segment::open_untrusted(&self.folder, base, self.now_ms)?;
            let recovered = segment.recover(self.recovery_point, &self.config, |header| {
                note_epoch(&mut epochs, header);
            })?;
            end = if recovered.damaged {
                self.recovery_point
            } else {
                recovered.next_offset
            };
            segments.push(Arc::new(segment));
            checked_end = Some(end);
            if recovered.cut_bytes > 0 || recovered.damaged {
                self.remove_segments(ordered)?;
                break;
            }
        }
        if end < self.log_start {
            // Everything up to the log's start is gone, and deleted records must not come back.
            for segment in segments.drain(..) {
                segment.remove_files()?;
            }
            end = self.log_start;
        }
        // A new one also behind a damaged one, whose readable part ends before the log does.
        if segments
            .last()
            .is_none_or(|last| last.next_offset(&self.config).unwrap_or(-1) != end)
        {
            segments.push(Arc::new(Segment::create(
                &self.folder,
                end,
                "",
                self.now_ms,
            )?));
        }
        self.assemble(segments, end, epochs)
    }

    /// Removes segments behind the end of the log.
    fn remove_segments(&self, bases: impl Iterator<Item = i64>) -> Result<(), LogError> {
        for base in bases {
            tracing::warn!(folder = %self.folder.display(), base, "removing a segment behind the end of the log");
            Segment::open_untrusted(&self.folder, base, self.now_ms)?.remove_files()?;
        }
        Ok(())
    }

    /// Where the last segment ends. If it is damaged, the offset that is known to be durable is the end, so that no
    /// offset is given out twice.
    fn end_of(&self, segment: &Segment) -> Result<i64, LogError> {
        match segment.next_offset(&self.config) {
            Err(error @ LogError::Corrupt { .. }) if self.recovery_point > segment.base_offset => {
                tracing::error!(%error, "records are damaged; they are kept as they are");
                Ok(self.recovery_point)
            }
            end => end,
        }
    }

    fn assemble(
        self,
        segments: Vec<Arc<Segment>>,
        end: i64,
        mut found_epochs: Vec<(i32, i64)>,
    ) -> Result<Log, LogError> {
        let first = segments.first().map_or(0, |segment| segment.base_offset);
        let start = self.log_start.max(first);
        let flushed = if self.clean {
            end
        } else {
            self.recovery_point.min(end)
        };
        let mut epochs = Epochs::open(&self.folder, end)?;
        if epochs.latest().is_none() {
            found_epochs.clear();
            for segment in &segments {
                let read = segment.headers(start, |header| note_epoch(&mut found_epochs, header));
                match read {
                    Err(LogError::Corrupt { .. }) => {}
                    read => read?,
                }
            }
        }
        epochs.learn(&found_epochs)?;
        epochs.truncate_before(start)?;
        let log = Log {
            spare: Spare::new(&self.folder),
            folder: self.folder,
            config: RwLock::new(Arc::new(self.config)),
            options: self.options,
            segments: RwLock::new(segments),
            epochs: Mutex::new(epochs),
            start: AtomicI64::new(start),
            end: AtomicI64::new(end),
            flushed: AtomicI64::new(flushed),
            writer: Mutex::new(Writer {
                producers: Producers::default(),
                snapshot_at: start,
                cut_unfinished: false,
            }),
            flushing: Mutex::new(()),
            structure: Mutex::new(()),
            trash: Mutex::new(Vec::new()),
            name_synced: AtomicBool::new(self.clean),
            tail_in_doubt: AtomicBool::new(!self.clean),
            committed: AtomicI64::new(i64::MAX),
            jitter: platform::random::below(1000) as f64 / 1000.0,
        };
        log.reload_producers(&mut log.writer.lock())?;
        Ok(log)
    }

    fn segment_bases(&self) -> Result<BTreeSet<i64>, LogError> {
        let entries =
            platform::fs::read_dir(&self.folder).map_err(LogError::io("list", &self.folder))?;
        Ok(entries
            .iter()
            .filter_map(|entry| entry.file_name.strip_suffix(".log"))
            // Others are not ours, such as a copy that someone made.
            .filter(|base| base.len() == 20)
            .filter_map(|base| base.parse().ok())
            .collect())
    }

    /// Removes what was being deleted or written, and ends the replacement of segments that the cleaner had begun:
    /// a `.log.swap` is complete and stands for all segments it covers.
    fn finish_interrupted_work(&self) -> Result<(), LogError> {
        let entries =
            platform::fs::read_dir(&self.folder).map_err(LogError::io("list", &self.folder))?;
        let swapped: Vec<i64> = entries
            .iter()
            .filter_map(|entry| entry.file_name.strip_suffix(".log.swap")?.parse().ok())
            .collect();
        for entry in &entries {
            let name = entry.file_name.as_str();
            let stray_swap = name
                .strip_suffix(".index.swap")
                .or_else(|| name.strip_suffix(".timeindex.swap"))
                .is_some_and(|base| base.parse().is_ok_and(|base: i64| !swapped.contains(&base)));
            if stray_swap
                || [".deleted", ".cleaned", ".tmp"]
                    .iter()
                    .any(|suffix| name.ends_with(suffix))
            {
                platform::fs::remove_file(&entry.path)
                    .map_err(LogError::io("remove", &entry.path))?;
            }
        }
        for base in swapped {
            self.finish_swap(base)?;
        }
        Ok(())
    }

    fn finish_swap(&self, base: i64) -> Result<(), LogError> {
        let path = file_path(&self.folder, base, "log.swap");
        let file = platform::fs::File::open(&path).map_err(LogError::io("open", &path))?;
        let size = file.len().map_err(LogError::io("measure", &path))?;
        let mut headers = Headers::new(&file, &path, 0, size);
        let mut end = base;
        while let Some(found) = headers.next()? {
            end = found.header.next_offset();
        }
        for old in self.segment_bases()?.range(base + 1..end.max(base + 1)) {
            for kind in ["log", "index", "timeindex"] {
                let path = file_path(&self.folder, *old, kind);
                if platform::fs::exists(&path) {
                    platform::fs::remove_file(&path).map_err(LogError::io("remove", &path))?;
                }
            }
        }
        for kind in ["index", "timeindex", "log"] {
            let from = file_path(&self.folder, base, &format!("{kind}.swap"));
            let to = file_path(&self.folder, base, kind);
            if platform::fs::exists(&from) {
                platform::fs::rename(&from, &to).map_err(LogError::io("rename", &from))?;
            }
        }
        platform::fs::sync_dir(&self.folder).map_err(LogError::io("sync", &self.folder))
    }
}
