//! Which leader epoch began at which offset (KIP-101): the file `leader-epoch-checkpoint` in memory.

use std::path::{Path, PathBuf};

use super::LogError;
use super::checkpoint::{self, name};

/// Epochs and their first offsets, both growing.
#[derive(Debug)]
pub(crate) struct Epochs {
    path: PathBuf,
    entries: Vec<(i32, i64)>,
}

impl Epochs {
    /// Reads a partition's epochs, cut to the log that is really there. None if the file is lost or damaged: the
    /// batches know them too.
    pub(crate) fn open(folder: &Path, log_end: i64) -> Result<Self, LogError> {
        let path = folder.join(name::LEADER_EPOCHS);
        let entries = checkpoint::read_epochs(&path).unwrap_or_else(|error| {
            tracing::warn!(%error, "leader epochs are read from the batches");
            Vec::new()
        });
        let mut epochs = Self { path, entries };
        epochs.truncate_from(log_end)?;
        Ok(epochs)
    }

    /// Notes that `epoch` starts at `offset`, if it is new.
    pub(crate) fn begin(&mut self, epoch: i32, offset: i64) -> Result<(), LogError> {
        if epoch < 0 || self.latest().is_some_and(|latest| latest >= epoch) {
            return Ok(());
        }
        let mut entries = self.entries.clone();
        entries.retain(|(_, start)| *start < offset);
        entries.push((epoch, offset));
        checkpoint::write_epochs(&self.path, &entries)?;
        self.entries = entries;
        Ok(())
    }

    /// Notes the epochs of batches, as [`Epochs::begin`] does.
    pub(crate) fn learn(&mut self, batches: &[(i32, i64)]) -> Result<(), LogError> {
        batches
            .iter()
            .try_for_each(|(epoch, offset)| self.begin(*epoch, *offset))
    }

    /// The newest epoch.
    pub(crate) fn latest(&self) -> Option<i32> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// The epoch `offset` was written in.
    pub(crate) fn epoch_at(&self, offset: i64) -> Option<i32> {
        self.entries
            .iter()
            .rev()
            .find(|(_, start)| *start <= offset)
            .map(|(epoch, _)| *epoch)
    }

    /// The largest epoch up to `epoch` and where it ends, for OffsetForLeaderEpoch; `(-1, -1)` if unknown.
    pub(crate) fn end_of(&self, epoch: i32, log_end: i64) -> (i32, i64) {
        if self.latest() == Some(epoch) {
            return (epoch, log_end);
        }
        let Some(next) = self.entries.iter().position(|(e, _)| *e > epoch) else {
            return (-1, -1);
        };
        let end = self.entries.get(next).map_or(-1, |(_, start)| *start);
        match next.checked_sub(1).and_then(|at| self.entries.get(at)) {
            Some((found, _)) => (*found, end),
            None => (epoch, end),
        }
    }

    /// The largest epoch up to `epoch` that is here, and where it ends; if all are larger, `epoch` itself, which ends
    /// where the first begins. `None` if none is known.
    pub(crate) fn floor(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        let next = self.entries.partition_point(|(known, _)| *known <= epoch);
        let end = self.entries.get(next).map_or(log_end, |(_, start)| *start);
        match next.checked_sub(1).and_then(|at| self.entries.get(at)) {
            Some((found, _)) => Some((*found, end)),
            None => self.entries.first().map(|_| (epoch, end)),
        }
    }

    /// Forgets what starts at `offset` or later, without exception.
    pub(crate) fn forget_from(&mut self, offset: i64) -> Result<(), LogError> {
        let keep = self.entries.partition_point(|(_, start)| *start < offset);
        if keep == self.entries.len() {
            return Ok(());
        }
        self.entries.truncate(keep);
        checkpoint::write_epochs(&self.path, &self.entries)
    }

    /// Forgets what starts at `offset` or later, but for the current epoch of an empty log.
    pub(crate) fn truncate_from(&mut self, offset: i64) -> Result<(), LogError> {
        let keep = self
            .entries
            .iter()
            .take_while(|(_, start)| *start < offset)
            .count();
        // An epoch that begins exactly at an empty log's end is still the current one.
        let keep = keep
            + usize::from(
                self.entries
                    .get(keep)
                    .is_some_and(|(_, start)| *start == offset && keep == 0),
            );
        if keep == self.entries.len() {
            return Ok(());
        }
        self.entries.truncate(keep);
        checkpoint::write_epochs(&self.path, &self.entries)
    }

    /// Raises the start of the oldest epochs to the log's new start.
    pub(crate) fn truncate_before(&mut self, log_start: i64) -> Result<(), LogError> {
        let gone = self
            .entries
            .iter()
            .skip(1)
            .take_while(|(_, start)| *start <= log_start)
            .count();
        let raise = self
            .entries
            .get(gone)
            .is_some_and(|(_, start)| *start < log_start);
        if gone == 0 && !raise {
            return Ok(());
        }
        self.entries.drain(..gone);
        if let Some((_, start)) = self.entries.first_mut() {
            *start = (*start).max(log_start);
        }
        checkpoint::write_epochs(&self.path, &self.entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let folder = tempfile::tempdir().unwrap();
        let mut epochs = Epochs::open(folder.path(), 0).unwrap();
        assert_eq!(epochs.end_of(0, 0), (-1, -1));
        epochs.begin(0, 0).unwrap();
        epochs.begin(2, 10).unwrap();
        epochs.begin(2, 15).unwrap();
        epochs.begin(5, 20).unwrap();
        assert_eq!(epochs.end_of(0, 30), (0, 10));
        assert_eq!(epochs.end_of(1, 30), (0, 10));
        assert_eq!(epochs.end_of(3, 30), (2, 20));
        assert_eq!(epochs.end_of(5, 30), (5, 30));
        assert_eq!(epochs.end_of(6, 30), (-1, -1));
        assert_eq!(epochs.epoch_at(12), Some(2));
        let mut again = Epochs::open(folder.path(), 18).unwrap();
        assert_eq!(again.latest(), Some(2));
        again.truncate_before(12).unwrap();
        assert_eq!(again.end_of(2, 18), (2, 18));
        assert_eq!(again.epoch_at(11), None);
    }
}
