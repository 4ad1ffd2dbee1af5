//! Space on disk for what is going to be appended: how far ahead of its end a segment reserves it, and the file of a
//! removed segment as the next one of its partition.
//!
//! Appending into space that is reserved already is faster, as the file system need not look for it each time. The
//! file's length stays that of its contents, so nothing of this is seen by who reads the file or by recovery. An idle
//! or small topic reserves nothing.
//!
//! Space that was written before is faster still. In a file that is used again, the former records lie behind the new
//! ones until the segment ends. Readers end at the segment's size, and recovery takes nothing of it: each append ends
//! with zeros where the next batch would start, and as a file stays in its partition, offsets behind that are lower.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::LogError;
use super::segment::Segment;

/// Segments up to this size reserve nothing.
pub(super) const RESERVING_FROM_BYTES: u64 = 1 << 20;
const SMALLEST_STEP_BYTES: u64 = 4 << 20;
const LARGEST_STEP_BYTES: u64 = 64 << 20;

/// Up to where a segment is to reserve before it grows to `size`; `None` if it has enough, or is small, or at its
/// `limit`. Steps double with what there is.
pub(super) fn reserve_to(size: u64, reserved: u64, limit: u64) -> Option<u64> {
    if size <= RESERVING_FROM_BYTES || size <= reserved {
        return None;
    }
    let step = reserved.clamp(SMALLEST_STEP_BYTES, LARGEST_STEP_BYTES);
    let to = reserved.saturating_add(step).max(size).min(limit);
    (to > size).then_some(to)
}

/// Ends as Kafka's names do for what is removed at the next start.
pub(super) const SPARE_FILE: &str = "spare.log.deleted";
/// Smaller files are not kept.
const SPARE_FROM_BYTES: u64 = 4 << 20;
/// Only a log that begins a segment this often has a spare, and for no longer.
const SPARE_KEPT_MS: i64 = 10 * 60 * 1000;

/// A partition's spare file; one at most.
#[derive(Debug)]
pub(super) struct Spare {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the log last began a segment.
    rolled_ms: Option<i64>,
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    since_ms: i64,
    /// No former record has this offset or a higher one.
    below: i64,
}

impl Spare {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            path: folder.join(SPARE_FILE),
            state: Mutex::default(),
        }
    }

    /// Takes the file of a segment that is to be removed, from before `log_start`; removes it if it is of no use.
    pub(super) fn keep_or_remove(
        &self,
        segment: &Arc<Segment>,
        log_start: i64,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let mut state = self.state.lock();
        let has_use = state.kept.is_none()
            && is_recent(state.rolled_ms, now_ms)
            && segment.size() >= SPARE_FROM_BYTES
            // The log does not have it any more, so nobody can begin to read it.
            && Arc::strong_count(segment) == 1;
        if !has_use {
            return segment.remove_files();
        }
        state.kept = Some(Kept {
            since_ms: now_ms,
            below: log_start,
        });
        let kept = segment.keep_file(&self.path);
        if kept.is_err() {
            self.remove(&mut state)?;
        }
        kept
    }

    /// A segment without batches, in the spare file if there is one.
    pub(super) fn begin_segment(
        &self,
        folder: &Path,
        base_offset: i64,
        now_ms: i64,
    ) -> Result<Segment, LogError> {
        // An append does not wait until a file is kept durably.
        if let Some(mut state) = self.state.try_lock() {
            state.rolled_ms = Some(now_ms);
            if state
                .kept
                .as_ref()
                .is_some_and(|kept| base_offset >= kept.below)
            {
                match Segment::reuse(&self.path, folder, base_offset, now_ms) {
                    Ok(segment) => {
                        state.kept = None;
                        return Ok(segment);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a spare file cannot be used");
                        self.remove(&mut state)?;
                    }
                }
            }
        }
        Segment::create(folder, base_offset, "", now_ms)
    }

    /// Removes the file if no segment needed it for long.
    pub(super) fn expire(&self, now_ms: i64) -> Result<(), LogError> {
        let mut state = self.state.lock();
        match &state.kept {
            Some(kept) if !is_recent(Some(kept.since_ms), now_ms) => self.remove(&mut state),
            _ => Ok(()),
        }
    }

    /// Removes the file if there is one.
    pub(super) fn clear(&self) -> Result<(), LogError> {
        self.remove(&mut self.state.lock())
    }

    fn remove(&self, state: &mut State) -> Result<(), LogError> {
        if state.kept.take().is_none() {
            return Ok(());
        }
        match platform::fs::remove_file(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(LogError::io("remove", &self.path)),
        }
    }
}

fn is_recent(then_ms: Option<i64>, now_ms: i64) -> bool {
    then_ms.is_some_and(|then| now_ms.saturating_sub(then) < SPARE_KEPT_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn steps_double_and_end_at_the_limit() {
        assert_eq!(reserve_to(MIB, 0, 1024 * MIB), None);
        let mut ends = Vec::new();
        let mut reserved = 0;
        for size in (MIB..300 * MIB).step_by(1 << 18) {
            if let Some(to) = reserve_to(size, reserved, 280 * MIB) {
                ends.push(to / MIB);
                reserved = to;
            }
        }
        assert_eq!(ends, [4, 8, 16, 32, 64, 128, 192, 256, 280]);
        assert_eq!(reserve_to(90 * MIB, 2 * MIB, 280 * MIB), None);
        assert_eq!(reserve_to(u64::MAX, 0, u64::MAX), None);
    }
}
