//! Where metadata changes are kept: an append-only file of checksummed entries, and a snapshot
//! that stands for all entries before it.
//!
//! A folder holds `<index>.snapshot` (at most one that counts, the newest) and `<index>.journal`,
//! the entries from `index` on. An entry is a list of changes that belong together:
//!
//! ```text
//! length u32 · crc32c of the payload u32 · payload (JSON list of records)
//! ```
//!
//! An entry that a crash cut short was never acknowledged and is dropped at the next start. One
//! that is whole but does not match its checksum is damage, and the start is refused.

use std::io;
use std::path::{Path, PathBuf};

use platform::fs;
use serde::de::IgnoredAny;
use thiserror::Error;

use super::image::MetadataImage;
use super::record::MetadataRecord;

/// Bytes in front of an entry's payload.
const ENTRY_HEADER_BYTES: usize = 8;
/// The journal is replaced by a snapshot when it has grown to this.
const JOURNAL_BYTES_MAX: u64 = 1024 * 1024;

/// Why the metadata cannot be read or written.
#[derive(Debug, Error)]
pub(crate) enum JournalError {
    /// The disk refused.
    #[error("cannot {action} \"{path}\": {source}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// What is there is not what was written.
    #[error(
        "\"{path}\" is damaged at byte {position}: {problem}; restore it from a copy, or move the folder away to start anew"
    )]
    Damaged {
        path: PathBuf,
        position: usize,
        problem: String,
    },
}

/// The open journal.
pub(crate) struct Journal {
    folder: PathBuf,
    file: fs::File,
    path: PathBuf,
    length: u64,
    /// Entries ever written, those in snapshots included.
    index: u64,
    /// Set when a write failed and could not be taken back: what is on disk is unknown then.
    broken: bool,
    /// A snapshot that could not be finished. While it is there it may count at the next start, and then what is
    /// appended here would not.
    stray_snapshot: Option<PathBuf>,
}

impl Journal {
    /// Opens the journal in `folder`, which is created if needed, and rebuilds the image. Also
    /// says whether there was one.
    ///
    /// # Errors
    /// When the disk refuses or the journal is damaged.
    pub(crate) fn open(folder: &Path) -> Result<(Self, MetadataImage, bool), JournalError> {
        let fail = |action: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| JournalError::Io {
                action,
                path,
                source,
            }
        };
        fs::create_dir_all(folder).map_err(fail("create", folder))?;
        let entries = fs::read_dir(folder).map_err(fail("read", folder))?;
        let numbered = |suffix: &str| {
            let mut found: Vec<(u64, PathBuf)> = entries
                .iter()
                .filter_map(|entry| {
                    let index = entry.file_name.strip_suffix(suffix)?.parse().ok()?;
                    Some((index, entry.path.clone()))
                })
                .collect();
            found.sort();
            found
        };
        let snapshots = numbered(".snapshot");
        let journals = numbered(".journal");
        let existed = !snapshots.is_empty() || !journals.is_empty();

        let mut image = MetadataImage::default();
        let mut index = 0;
        if let Some((at, path)) = snapshots.last() {
            let bytes = fs::read(path).map_err(fail("read", path))?;
            let entries = parse(path, &bytes, Tail::MustBeWhole)?;
            for record in entries.records {
                image.apply(&record);
            }
            index = *at;
        }
        let path = folder.join(file_name(index, "journal"));
        let mut length = 0;
        let existing = journals.iter().any(|(at, _)| *at == index);
        let options = fs::OpenOptions::new().read(true).write(true).create(true);
        let file = options.open(&path).map_err(fail("open", &path))?;
        if existing {
            let bytes = fs::read(&path).map_err(fail("read", &path))?;
            let entries = parse(&path, &bytes, Tail::MayBeCut)?;
            for record in entries.records {
                image.apply(&record);
            }
            index += entries.count;
            if entries.valid_bytes < bytes.len() {
                tracing::warn!(
                    path = %path.display(),
                    bytes = bytes.len() - entries.valid_bytes,
                    "dropped a metadata change that was being written when the broker stopped"
                );
            }
            length = u64::try_from(entries.valid_bytes).unwrap_or(u64::MAX);
            file.set_len(length).map_err(fail("truncate", &path))?;
        }
        file.sync_all().map_err(fail("flush", &path))?;
        fs::sync_dir(folder).map_err(fail("flush", folder))?;
        // Left behind by a crash between writing a snapshot and cleaning up.
        for (_, old) in snapshots.iter().rev().skip(1) {
            fs::remove_file(old).map_err(fail("remove", old))?;
        }
        for (_, old) in journals.iter().filter(|(_, journal)| *journal != path) {
            fs::remove_file(old).map_err(fail("remove", old))?;
        }
        let journal = Self {
            folder: folder.to_owned(),
            file,
            path,
            length,
            index,
            broken: false,
            stray_snapshot: None,
        };
        Ok((journal, image, existed))
    }

    /// Makes `records` durable as one entry: after a crash, all of them are there or none.
    ///
    /// # Errors
    /// When the disk refuses; nothing is recorded then.
    pub(crate) fn append(&mut self, records: &[MetadataRecord]) -> Result<(), JournalError> {
        if self.broken {
            self.take_back()?;
        }
        let entry = encode(records).map_err(|source| self.fail("encode", source))?;
        let written = self
            .file
            .write_all_at(&entry, self.length)
            .and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            self.broken = true;
            // Whether this succeeds or not, the change is refused; the next one tries again.
            if let Err(error) = self.take_back() {
                tracing::error!(%error, "a metadata change failed and could not be taken back yet");
            }
            return Err(self.fail("write", source));
        }
        self.length += u64::try_from(entry.len()).unwrap_or(u64::MAX);
        self.index += 1;
        Ok(())
    }

    /// Replaces the journal by a snapshot of `image` when it has grown large.
    ///
    /// # Errors
    /// When the disk refuses; the journal goes on as it was.
    pub(crate) fn compact(&mut self, image: &MetadataImage) -> Result<(), JournalError> {
        if self.length < JOURNAL_BYTES_MAX {
            return Ok(());
        }
        let bytes = encode(&image.to_records()).map_err(|source| self.fail("encode", source))?;
        // The new journal is there before the snapshot that makes it count.
        let journal_path = self.folder.join(file_name(self.index, "journal"));
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&journal_path)
            .map_err(|source| self.fail("create", source))?;
        file.sync_all()
            .map_err(|source| self.fail("flush", source))?;
        let snapshot_path = self.folder.join(file_name(self.index, "snapshot"));
        if let Err(source) = fs::write_atomic(&snapshot_path, &bytes) {
            self.broken = true;
            self.stray_snapshot = Some(snapshot_path);
            if let Err(error) = self.take_back() {
                tracing::error!(%error, "a snapshot of the metadata failed and could not be taken back yet");
            }
            return Err(self.fail("write", source));
        }
        let old = std::mem::replace(&mut self.path, journal_path);
        self.file = file;
        self.length = 0;
        let leftovers = fs::read_dir(&self.folder).map_err(|source| self.fail("read", source))?;
        for entry in leftovers {
            let stale = entry.path == old
                || (entry.file_name.ends_with(".snapshot") && entry.path != snapshot_path);
            if stale && let Err(error) = fs::remove_file(&entry.path) {
                tracing::warn!(path = %entry.path.display(), %error, "cannot remove an old metadata file");
            }
        }
        Ok(())
    }

    /// Removes what a failed write may have left.
    fn take_back(&mut self) -> Result<(), JournalError> {
        if let Some(stray) = &self.stray_snapshot {
            match fs::remove_file(stray) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(|source| self.fail("remove", source))?,
            }
            fs::sync_dir(&self.folder).map_err(|source| self.fail("flush", source))?;
            self.stray_snapshot = None;
        }
        self.file
            .set_len(self.length)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| self.fail("repair", source))?;
        self.broken = false;
        Ok(())
    }

    fn fail(&self, action: &'static str, source: io::Error) -> JournalError {
        JournalError::Io {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

fn file_name(index: u64, suffix: &str) -> String {
    format!("{index:020}.{suffix}")
}

fn encode(records: &[MetadataRecord]) -> io::Result<Vec<u8>> {
    let payload = serde_json::to_vec(records)?;
    let length = u32::try_from(payload.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a change of over 4 GiB"))?;
    let mut entry = Vec::with_capacity(ENTRY_HEADER_BYTES + payload.len());
    entry.extend_from_slice(&length.to_be_bytes());
    entry.extend_from_slice(&crc32c::crc32c(&payload).to_be_bytes());
    entry.extend_from_slice(&payload);
    Ok(entry)
}

/// Whether the end of a file may have been cut off by a crash.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tail {
    MayBeCut,
    MustBeWhole,
}

struct Entries {
    records: Vec<MetadataRecord>,
    count: u64,
    valid_bytes: usize,
}

fn parse(path: &Path, bytes: &[u8], tail: Tail) -> Result<Entries, JournalError> {
    let damaged = |position: usize, problem: String| JournalError::Damaged {
        path: path.to_owned(),
        position,
        problem,
    };
    let mut entries = Entries {
        records: Vec::new(),
        count: 0,
        valid_bytes: 0,
    };
    loop {
        let position = entries.valid_bytes;
        let rest = bytes.get(position..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        let Some((payload, crc)) = split_entry(rest) else {
            if tail == Tail::MustBeWhole {
                return Err(damaged(position, "the end is missing".to_owned()));
            }
            if is_whole_but_for_its_length(rest) {
                return Err(damaged(position, "the length is wrong".to_owned()));
            }
            break;
        };
        if crc32c::crc32c(payload) != crc {
            // A write that was cut short ends in nothing or zeros, not in the end of a list.
            let looks_whole = payload.ends_with(b"]");
            let after = rest
                .get(ENTRY_HEADER_BYTES + payload.len()..)
                .unwrap_or_default();
            let more_follows = after.iter().any(|byte| *byte != 0);
            if tail == Tail::MustBeWhole || looks_whole || more_follows {
                return Err(damaged(position, "the checksum does not match".to_owned()));
            }
            break;
        }
        let records: Vec<MetadataRecord> = serde_json::from_slice(payload)
            .map_err(|error| damaged(position, format!("not a list of changes: {error}")))?;
        entries.records.extend(records);
        entries.count += 1;
        entries.valid_bytes += ENTRY_HEADER_BYTES + payload.len();
    }
    if entries.count == 0 && tail == Tail::MustBeWhole {
        return Err(damaged(0, "it is empty".to_owned()));
    }
    Ok(entries)
}

/// Whether `bytes` start with an entry that is all there and only claims another length: damage,
/// and not the work of a crash.
fn is_whole_but_for_its_length(bytes: &[u8]) -> bool {
    let Some(([_, _, _, _, crc @ ..], payload)) = bytes.split_first_chunk::<ENTRY_HEADER_BYTES>()
    else {
        return false;
    };
    let mut values = serde_json::Deserializer::from_slice(payload).into_iter::<IgnoredAny>();
    if !matches!(values.next(), Some(Ok(_))) {
        return false;
    }
    let payload = payload.get(..values.byte_offset()).unwrap_or_default();
    crc32c::crc32c(payload) == u32::from_be_bytes(*crc)
}

/// Payload and checksum of the entry at the start of `bytes`, if all of it is there.
fn split_entry(bytes: &[u8]) -> Option<(&[u8], u32)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    // No entry is empty; zeros are what a crash leaves of one.
    if length == 0 {
        return None;
    }
    Some((rest.get(..length)?, u32::from_be_bytes(*crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(next: i64) -> Vec<MetadataRecord> {
        vec![MetadataRecord::ProducerIds { next }]
    }

    #[test]
    fn what_was_appended_is_there_after_opening_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, image, existed) = Journal::open(folder.path()).unwrap();
        assert!(!existed);
        assert_eq!(image, MetadataImage::default());
        journal.append(&change(1000)).unwrap();
        journal.append(&change(2000)).unwrap();
        drop(journal);
        let (_, image, existed) = Journal::open(folder.path()).unwrap();
        assert!(existed);
        assert_eq!(image.next_producer_id(), 2000);
    }

    #[test]
    fn a_tail_cut_at_any_byte_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, ..) = Journal::open(folder.path()).unwrap();
        journal.append(&change(1000)).unwrap();
        let first = journal.length as usize;
        journal.append(&change(2000)).unwrap();
        let path = journal.path.clone();
        let whole = fs::read(&path).unwrap();
        drop(journal);
        for cut in first..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, image, _) = Journal::open(folder.path()).unwrap();
            assert_eq!(image.next_producer_id(), 1000, "cut at {cut}");
            journal.append(&change(3000)).unwrap();
            drop(journal);
            let (_, image, _) = Journal::open(folder.path()).unwrap();
            assert_eq!(image.next_producer_id(), 3000);
        }
    }

    #[test]
    fn a_changed_byte_in_an_entry_that_others_follow_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, ..) = Journal::open(folder.path()).unwrap();
        journal.append(&change(1000)).unwrap();
        let first = journal.length as usize;
        journal.append(&change(2000)).unwrap();
        let path = journal.path.clone();
        drop(journal);
        let whole = fs::read(&path).unwrap();
        for at in 0..first {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            let error = Journal::open(folder.path()).map(|_| ()).unwrap_err();
            assert!(
                error.to_string().contains("is damaged"),
                "byte {at}: {error}"
            );
        }
    }

    #[test]
    fn a_snapshot_that_could_not_be_finished_does_not_hide_later_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, mut image, _) = Journal::open(folder.path()).unwrap();
        journal.append(&change(1)).unwrap();
        image.apply(&change(1)[0]);
        // As if only making its name durable had failed: it is there.
        let stray = folder.path().join(file_name(1, "snapshot"));
        fs::write_atomic(&stray, &encode(&image.to_records()).unwrap()).unwrap();
        journal.broken = true;
        journal.stray_snapshot = Some(stray);
        journal.append(&change(2)).unwrap();
        drop(journal);
        let (_, image, _) = Journal::open(folder.path()).unwrap();
        assert_eq!(image.next_producer_id(), 2);
    }

    #[test]
    fn a_large_journal_becomes_a_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, mut image, _) = Journal::open(folder.path()).unwrap();
        for next in 0..3 {
            let records = change(next);
            journal.append(&records).unwrap();
            image.apply(&records[0]);
        }
        journal.length = JOURNAL_BYTES_MAX;
        journal.compact(&image).unwrap();
        journal.append(&change(9)).unwrap();
        drop(journal);
        let (_, image, _) = Journal::open(folder.path()).unwrap();
        assert_eq!(image.next_producer_id(), 9);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
