//! Removing whole segments by age, by size, and below the log's start; closed ones only, oldest first.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::segment::Segment;
use super::{Log, LogError};

impl Log {
    /// Removes what the topic's configuration no longer wants; answers how many segments went.
    pub(crate) fn retain(&self, now_ms: i64) -> Result<usize, LogError> {
        let config = self.config();
        let mut removed = self.remove_below_start(now_ms)?;
        if config.cleanup_policy.delete {
            if config.retention_ms >= 0 {
                let oldest = now_ms.saturating_sub(config.retention_ms);
                let expired = |segment: &Segment| segment.newest_ms() < oldest;
                if self.active().size() > 0
                    && self.segments.read().iter().all(|segment| expired(segment))
                {
                    self.appender().roll(now_ms)?;
                }
                removed += self.remove_while(now_ms, |segment, _| expired(segment))?;
            }
            if let Ok(limit) = u64::try_from(config.retention_bytes) {
                let mut excess = self.size_bytes().saturating_sub(limit);
                removed += self.remove_while(now_ms, |segment, _| {
                    let goes = excess >= segment.size() && excess > 0;
                    excess = excess.saturating_sub(segment.size());
                    goes
                })?;
            }
        }
        Ok(removed)
    }

    /// Removes segments that lie wholly below the log's start.
    pub(crate) fn remove_below_start(&self, now_ms: i64) -> Result<usize, LogError> {
        let start = self.start();
        self.remove_while(now_ms, |_, next_base| next_base <= start)
    }

    /// Removes closed segments from the oldest on while `goes` holds; it is told where the next one starts.
    fn remove_while(
        &self,
        now_ms: i64,
        mut goes: impl FnMut(&Segment, i64) -> bool,
    ) -> Result<usize, LogError> {
        let _structure = self.structure.lock();
        let committed = self.committed();
        let removed: Vec<Arc<Segment>> = {
            let mut segments = self.segments.write();
            let count = segments
                .iter()
                .zip(segments.iter().skip(1))
                .take_while(|(segment, next)| {
                    next.base_offset <= committed && goes(segment, next.base_offset)
                })
                .count();
            segments.drain(..count).collect()
        };
        if removed.is_empty() {
            return Ok(0);
        }
        let first = self
            .segments
            .read()
            .first()
            .map_or(0, |segment| segment.base_offset);
        let start = self.start.fetch_max(first, Ordering::AcqRel).max(first);
        for segment in &removed {
            segment.rename("", ".deleted")?;
            self.discard(Arc::clone(segment), now_ms);
        }
        self.epochs.lock().truncate_before(start)?;
        tracing::info!(folder = %self.folder.display(), segments = removed.len(), log_start = start, "removed old segments");
        Ok(removed.len())
    }

    /// Raises the log's start (DeleteRecords); segments go with the next retention.
    pub(crate) fn raise_start(&self, offset: i64) -> i64 {
        self.start
            .fetch_max(offset.min(self.end()), Ordering::AcqRel)
            .max(offset)
    }

    /// Has a segment's files, renamed already, removed after the topic's delay.
    pub(crate) fn discard(&self, segment: Arc<Segment>, now_ms: i64) {
        let due = now_ms.saturating_add(self.config().file_delete_delay_ms);
        self.trash.lock().push((due, segment));
    }

    /// Removes the files whose delay is over; one may be kept to be used again.
    pub(crate) fn empty_trash(&self, now_ms: i64) -> Result<(), LogError> {
        let due: Vec<Arc<Segment>> = {
            let mut trash = self.trash.lock();
            let (due, later) = trash.drain(..).partition(|(due, _)| *due <= now_ms);
            *trash = later;
            due.into_iter().map(|(_, segment)| segment).collect()
        };
        // The cleaner's copies are small, and what it replaced is not used again either.
        let reuses = !self.config().cleanup_policy.compact;
        for segment in &due {
            if reuses {
                self.spare.keep_or_remove(segment, self.start(), now_ms)?;
            } else {
                segment.remove_files()?;
            }
        }
        self.spare.expire(now_ms)
    }
}
