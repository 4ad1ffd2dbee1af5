//! The two sparse indexes of a segment: offset → position and timestamp → offset.
//!
//! Entries live in a file in Kafka's layout and, until [`Index::store`], in memory; lookups are a binary search
//! over both, reading the file's part entry by entry through the page cache. An index is only a hint where to
//! start: it can be lost or cut and is then rebuilt from the segment.

use std::path::{Path, PathBuf};

use platform::fs::{File, OpenOptions};

use super::LogError;

/// An entry of fixed size.
pub(crate) trait Entry: Copy {
    /// Bytes in the file.
    const WIDTH: usize;
    /// What the index is sorted by.
    fn key(&self) -> i64;
    /// Appends the entry's bytes.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads `WIDTH` bytes; `None` for fewer.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// Entry of the `.index` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    /// Offset of the last record of the batch at `position`, minus the segment's base offset.
    pub(crate) relative: i32,
    /// Byte position of a batch in the segment.
    pub(crate) position: u32,
}

impl Entry for OffsetEntry {
    const WIDTH: usize = 8;

    fn key(&self) -> i64 {
        i64::from(self.relative)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.relative.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (relative, rest) = bytes.split_first_chunk()?;
        Some(Self {
            relative: i32::from_be_bytes(*relative),
            position: u32::from_be_bytes(*rest.first_chunk()?),
        })
    }
}

/// Entry of the `.timeindex` file: the largest timestamp so far and the offset that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    /// Milliseconds since the Unix epoch.
    pub(crate) timestamp: i64,
    /// Offset minus the segment's base offset.
    pub(crate) relative: i32,
}

impl Entry for TimeEntry {
    const WIDTH: usize = 12;

    fn key(&self) -> i64 {
        self.timestamp
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.relative.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (timestamp, rest) = bytes.split_first_chunk()?;
        Some(Self {
            timestamp: i64::from_be_bytes(*timestamp),
            relative: i32::from_be_bytes(*rest.first_chunk()?),
        })
    }
}

/// A sorted list of entries, on disk and in memory.
#[derive(Debug)]
pub(crate) struct Index<E> {
    path: PathBuf,
    file: Option<File>,
    stored: usize,
    pending: Vec<E>,
    last: Option<E>,
}

impl<E: Entry> Index<E> {
    /// An empty index; what the file may hold is overwritten at the next store.
    pub(crate) fn empty(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            stored: 0,
            pending: Vec::new(),
            last: None,
        }
    }

    /// Opens what is stored. An entry that is cut off at the end is ignored; a missing file is an empty index.
    pub(crate) fn open(path: PathBuf) -> Result<Self, LogError> {
        let mut index = Self::empty(path);
        if platform::fs::exists(&index.path) {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(&index.path)
                .map_err(LogError::io("open", &index.path))?;
            let len = file.len().map_err(LogError::io("measure", &index.path))?;
            index.stored = usize::try_from(len).unwrap_or(0) / E::WIDTH;
            index.file = Some(file);
            index.last = match index.len().checked_sub(1) {
                Some(last) => index.get(last)?,
                None => None,
            };
        }
        Ok(index)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Follows a rename of the file.
    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    pub(crate) fn len(&self) -> usize {
        self.stored + self.pending.len()
    }

    pub(crate) fn last(&self) -> Option<E> {
        self.last
    }

    /// Appends an entry; its key is larger than the last one's.
    pub(crate) fn push(&mut self, entry: E) {
        self.pending.push(entry);
        self.last = Some(entry);
    }

    fn get(&self, at: usize) -> Result<Option<E>, LogError> {
        if let Some(pending) = at.checked_sub(self.stored) {
            return Ok(self.pending.get(pending).copied());
        }
        let Some(file) = &self.file else {
            return Ok(None);
        };
        let mut bytes = [0; 16];
        let slot = bytes.get_mut(..E::WIDTH).unwrap_or_default();
        file.read_exact_at(slot, (at * E::WIDTH) as u64)
            .map_err(LogError::io("read", &self.path))?;
        Ok(E::decode(slot))
    }

    /// Number of leading entries for which `keep` holds; it must hold for a prefix only.
    fn partition_point(&self, keep: impl Fn(&E) -> bool) -> Result<usize, LogError> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle)? {
                Some(entry) if keep(&entry) => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The last entry with a key of at most `key`.
    pub(crate) fn floor(&self, key: i64) -> Result<Option<E>, LogError> {
        match self
            .partition_point(|entry| entry.key() <= key)?
            .checked_sub(1)
        {
            Some(at) => self.get(at),
            None => Ok(None),
        }
    }

    /// Drops the entries from the first one on for which `keep` does not hold.
    pub(crate) fn retain_prefix(&mut self, keep: impl Fn(&E) -> bool) -> Result<(), LogError> {
        let len = self.partition_point(keep)?;
        self.pending.truncate(len.saturating_sub(self.stored));
        self.stored = self.stored.min(len);
        self.last = match len.checked_sub(1) {
            Some(last) => self.get(last)?,
            None => None,
        };
        Ok(())
    }

    /// Whether keys grow throughout; lost writes leave zeros behind.
    pub(crate) fn is_sorted(&self) -> Result<bool, LogError> {
        let mut previous = i64::MIN;
        if let Some(file) = &self.file {
            let mut chunk = vec![0; E::WIDTH * 1024];
            for start in (0..self.stored).step_by(1024) {
                let count = (self.stored - start).min(1024);
                let bytes = chunk.get_mut(..count * E::WIDTH).unwrap_or_default();
                file.read_exact_at(bytes, (start * E::WIDTH) as u64)
                    .map_err(LogError::io("read", &self.path))?;
                for entry in bytes.chunks_exact(E::WIDTH).filter_map(E::decode) {
                    if entry.key() <= previous {
                        return Ok(false);
                    }
                    previous = entry.key();
                }
            }
        }
        Ok(self.pending.iter().all(|entry| {
            let grows = entry.key() > previous;
            previous = entry.key();
            grows
        }))
    }

    /// Writes what is only in memory, and cuts the file to the entries there are.
    pub(crate) fn store(&mut self) -> Result<(), LogError> {
        if self.file.is_none() {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .open(&self.path)
                .map_err(LogError::io("create", &self.path))?;
            self.file = Some(file);
        }
        let Some(file) = &self.file else {
            return Ok(());
        };
        let end = (self.stored * E::WIDTH) as u64;
        if file.len().map_err(LogError::io("measure", &self.path))? != end {
            file.set_len(end).map_err(LogError::io("cut", &self.path))?;
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(self.pending.len() * E::WIDTH);
        for entry in &self.pending {
            entry.encode(&mut bytes);
        }
        file.write_all_at(&bytes, end)
            .map_err(LogError::io("write", &self.path))?;
        self.stored += self.pending.len();
        self.pending = Vec::new();
        Ok(())
    }

    /// Makes what was stored durable.
    pub(crate) fn sync(&self) -> Result<(), LogError> {
        match &self.file {
            Some(file) => file.sync_data().map_err(LogError::io("sync", &self.path)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(relative: i32) -> OffsetEntry {
        OffsetEntry {
            relative,
            position: relative as u32 * 10,
        }
    }

    #[test]
    fn lookups_are_the_same_in_memory_on_disk_and_across_both() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.index");
        let mut index = Index::empty(path.clone());
        for relative in (5..500).step_by(5) {
            index.push(entry(relative));
            if relative == 250 {
                index.store().unwrap();
            }
        }
        let check = |index: &Index<OffsetEntry>| {
            assert_eq!(index.floor(4).unwrap(), None);
            for key in 5..600 {
                let want = (key / 5 * 5).min(495);
                assert_eq!(
                    index.floor(i64::from(key)).unwrap(),
                    Some(entry(want)),
                    "{key}"
                );
            }
            assert_eq!(index.last(), Some(entry(495)));
        };
        check(&index);
        index.store().unwrap();
        check(&index);
        let again = Index::open(path).unwrap();
        check(&again);
        assert!(again.is_sorted().unwrap());
    }

    #[test]
    fn a_cut_index_forgets_the_rest_on_disk_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.timeindex");
        let mut index = Index::empty(path.clone());
        for n in 0..100 {
            index.push(TimeEntry {
                timestamp: i64::from(n) * 100,
                relative: n,
            });
        }
        index.store().unwrap();
        index.retain_prefix(|entry| entry.relative < 40).unwrap();
        index.push(TimeEntry {
            timestamp: 1_000_000,
            relative: 41,
        });
        index.store().unwrap();
        let again: Index<TimeEntry> = Index::open(path.clone()).unwrap();
        assert_eq!(again.len(), 41);
        assert_eq!(again.last().unwrap().relative, 41);
        assert_eq!(platform::fs::metadata(&path).unwrap().len(), 41 * 12);
    }

    #[test]
    fn zeros_left_by_a_crash_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.index");
        let mut index = Index::empty(path.clone());
        index.push(entry(7));
        index.store().unwrap();
        OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(21)
            .unwrap();
        let again: Index<OffsetEntry> = Index::open(path).unwrap();
        assert_eq!(again.len(), 2);
        assert!(!again.is_sorted().unwrap());
    }
}
