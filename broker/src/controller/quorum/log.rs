//! The quorum's log on disk: one append-only file that holds everything that must outlive the
//! process but the snapshot.
//!
//! `<generation>.log` is a sequence of [`Piece`]s; reading it from the start gives the vote, how
//! far is agreed, and the entries. It is replaced by the next generation when most of it is no
//! longer needed. Entries and votes are on disk before anybody hears of them; how far is agreed is
//! only written, because everything up to there can be agreed on again.
//!
//! What a failed write may have left is taken back before anything else is written.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use platform::fs;
use serde::{Deserialize, Serialize};

use super::frames::{self, FileError, Tail, fail};
use super::raft_types::{Entry, LogId, Vote};

/// The file is rewritten without what was purged when it has grown to this.
const REWRITE_BYTES: u64 = 1024 * 1024;

/// What the file consists of.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Piece<E> {
    Vote(Vote),
    Entry(E),
    /// Everything up to here is agreed on.
    Committed(LogId),
    /// The entries from here on do not count.
    Truncate(u64),
    /// The entries up to here are in a snapshot.
    Purged(LogId),
}

/// What the log holds, as readers see it: everything in it is durable.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// Those after `purged`, without gaps.
    entries: VecDeque<Entry>,
    /// How often entries were taken out of the end.
    pub(super) truncations: u64,
}

impl Contents {
    /// Where the last entry is, or was before it was purged.
    pub(super) fn last(&self) -> Option<LogId> {
        self.entries
            .back()
            .map(|entry| entry.log_id)
            .or(self.purged)
    }

    fn first_index(&self) -> u64 {
        self.purged.map_or(0, |purged| purged.index + 1)
    }

    fn next_index(&self) -> u64 {
        self.last().map_or(0, |last| last.index + 1)
    }

    /// The entries from `start` up to and without `end`.
    pub(super) fn range(&self, start: u64, end: u64) -> impl Iterator<Item = &Entry> {
        let first = self.first_index();
        let skip = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
        self.entries
            .iter()
            .skip(skip)
            .take_while(move |entry| entry.log_id.index < end)
    }

    fn push(&mut self, entry: Entry) -> Result<(), String> {
        let expected = self.next_index();
        if entry.log_id.index != expected {
            return Err(format!(
                "entry {} is where {expected} should be",
                entry.log_id.index
            ));
        }
        self.entries.push_back(entry);
        Ok(())
    }

    fn truncate(&mut self, from: u64) {
        while self
            .entries
            .back()
            .is_some_and(|entry| entry.log_id.index >= from)
        {
            self.entries.pop_back();
        }
        self.truncations += 1;
    }

    fn purge(&mut self, upto: LogId) {
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.log_id.index <= upto.index)
        {
            self.entries.pop_front();
        }
        self.purged = Some(upto);
    }

    fn apply(&mut self, piece: Piece<Entry>) -> Result<(), String> {
        match piece {
            Piece::Vote(vote) => self.vote = Some(vote),
            Piece::Entry(entry) => self.push(entry)?,
            Piece::Committed(upto) => self.committed = Some(upto),
            Piece::Truncate(from) => self.truncate(from),
            Piece::Purged(upto) => self.purge(upto),
        }
        Ok(())
    }
}

/// The open file. All of its methods block.
#[derive(Debug)]
pub(super) struct LogFile {
    folder: PathBuf,
    file: fs::File,
    path: PathBuf,
    generation: u64,
    length: u64,
    /// Set when a write failed and could not be taken back: what is on disk is unknown then.
    broken: bool,
    /// A new generation that could not be finished. While it is there it may count at the next
    /// start, and then what is appended here would not.
    stray: Option<PathBuf>,
}

impl LogFile {
    /// Opens the log in `folder`, which must be there.
    ///
    /// # Errors
    /// When the disk refuses or the log is damaged.
    pub(super) fn open(folder: &Path) -> Result<(Self, Contents), FileError> {
        let generations = frames::files(folder, ".log")?;
        let generation = generations.last().map_or(0, |(generation, _)| *generation);
        let path = folder.join(file_name(generation));
        let options = fs::OpenOptions::new().read(true).write(true).create(true);
        let file = options.open(&path).map_err(fail("open", &path))?;
        let mut contents = Contents::default();
        let mut length = 0;
        if !generations.is_empty() {
            let bytes = fs::read(&path).map_err(fail("read", &path))?;
            let valid =
                frames::decode(&path, &bytes, Tail::MayBeCut, |piece| contents.apply(piece))?;
            if valid < bytes.len() {
                tracing::warn!(
                    path = %path.display(),
                    bytes = bytes.len() - valid,
                    "dropped a metadata change that was being written when the broker stopped"
                );
            }
            length = u64::try_from(valid).unwrap_or(u64::MAX);
            file.set_len(length).map_err(fail("truncate", &path))?;
            // From now on everything that was read counts.
            file.sync_all().map_err(fail("flush", &path))?;
        }
        fs::sync_dir(folder).map_err(fail("flush", folder))?;
        // Left behind by a crash between writing a generation and cleaning up.
        for (_, old) in generations.iter().filter(|(other, _)| *other != generation) {
            fs::remove_file(old).map_err(fail("remove", old))?;
        }
        contents.truncations = 0;
        let log = Self {
            folder: folder.to_owned(),
            file,
            path,
            generation,
            length,
            broken: false,
            stray: None,
        };
        Ok((log, contents))
    }

    /// Makes entries durable.
    ///
    /// # Errors
    /// When the disk refuses; nothing is recorded then.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<(), FileError> {
        let pieces: Vec<_> = entries.iter().map(Piece::Entry).collect();
        self.write(&pieces, Flush::Now)
    }

    /// Makes a vote durable.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(super) fn vote(&mut self, vote: Vote) -> Result<(), FileError> {
        self.write(&[Piece::<&Entry>::Vote(vote)], Flush::Now)
    }

    /// The vote and the first entry of a new quorum, at once.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(super) fn found(&mut self, vote: Vote, entry: &Entry) -> Result<(), FileError> {
        self.write(&[Piece::Vote(vote), Piece::Entry(entry)], Flush::Now)
    }

    /// Notes how far is agreed on.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(super) fn committed(&mut self, upto: LogId) -> Result<(), FileError> {
        self.write(&[Piece::<&Entry>::Committed(upto)], Flush::Later)
    }

    /// Takes the entries from `from` on out, durably.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(super) fn truncate(&mut self, from: u64) -> Result<(), FileError> {
        self.write(&[Piece::<&Entry>::Truncate(from)], Flush::Now)
    }

    /// Notes that the entries up to `upto` are not needed any more; `contents` is without them.
    /// Rewrites the file when that makes it much smaller.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(super) fn purged(&mut self, upto: LogId, kept: &Kept) -> Result<(), FileError> {
        if self.length < REWRITE_BYTES {
            return self.write(&[Piece::<&Entry>::Purged(upto)], Flush::Later);
        }
        let mut pieces = vec![Piece::Purged(upto)];
        pieces.extend(kept.vote.map(Piece::Vote));
        pieces.extend(kept.entries.iter().map(Piece::Entry));
        pieces.extend(kept.committed.map(Piece::Committed));
        self.rewrite(&pieces)
    }

    fn rewrite(&mut self, pieces: &[Piece<&Entry>]) -> Result<(), FileError> {
        if self.broken {
            self.take_back()?;
        }
        let bytes = encode(pieces).map_err(fail("encode", &self.path))?;
        let path = self.folder.join(file_name(self.generation + 1));
        let opened = fs::write_atomic(&path, &bytes)
            .and_then(|()| fs::OpenOptions::new().read(true).write(true).open(&path));
        let file = match opened {
            Ok(file) => file,
            Err(source) => {
                self.broken = true;
                self.stray = Some(path.clone());
                self.take_back()?;
                return Err(fail("write", &path)(source));
            }
        };
        let old = std::mem::replace(&mut self.path, path);
        self.file = file;
        self.generation += 1;
        self.length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if let Err(error) = fs::remove_file(&old) {
            tracing::warn!(path = %old.display(), %error, "cannot remove an old metadata file");
        }
        Ok(())
    }

    fn write(&mut self, pieces: &[Piece<&Entry>], flush: Flush) -> Result<(), FileError> {
        if self.broken {
            self.take_back()?;
        }
        let bytes = encode(pieces).map_err(fail("encode", &self.path))?;
        let written = self
            .file
            .write_all_at(&bytes, self.length)
            .and_then(|()| match flush {
                Flush::Now => self.file.sync_data(),
                Flush::Later => Ok(()),
            });
        if let Err(source) = written {
            self.broken = true;
            // Whether this succeeds or not, the change is refused; the next one tries again.
            if let Err(error) = self.take_back() {
                tracing::error!(%error, "a metadata change failed and could not be taken back yet");
            }
            return Err(fail("write", &self.path)(source));
        }
        self.length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Removes what a failed write may have left.
    ///
    /// # Errors
    /// When the disk refuses that, too.
    pub(super) fn take_back(&mut self) -> Result<(), FileError> {
        if !self.broken {
            return Ok(());
        }
        if let Some(stray) = &self.stray {
            match fs::remove_file(stray) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(fail("remove", stray))?,
            }
            fs::sync_dir(&self.folder).map_err(fail("flush", &self.folder))?;
            self.stray = None;
        }
        self.file
            .set_len(self.length)
            .and_then(|()| self.file.sync_data())
            .map_err(fail("repair", &self.path))?;
        self.broken = false;
        Ok(())
    }
}

/// What stays when the file is rewritten.
pub(super) struct Kept {
    vote: Option<Vote>,
    committed: Option<LogId>,
    entries: Vec<Entry>,
}

/// The log, for openraft and for whoever looks after it.
#[derive(Debug)]
pub(super) struct Log {
    /// Locked on blocking threads only.
    file: parking_lot::Mutex<LogFile>,
    contents: parking_lot::Mutex<Contents>,
    length: AtomicU64,
    /// Why the last change could not be written, if it could not.
    failure: parking_lot::Mutex<Option<String>>,
}

impl Log {
    /// See [`LogFile::open`].
    ///
    /// # Errors
    /// When the disk refuses or the log is damaged.
    pub(super) fn open(folder: &Path) -> Result<Self, FileError> {
        let (file, contents) = LogFile::open(folder)?;
        Ok(Self {
            length: AtomicU64::new(file.length),
            file: parking_lot::Mutex::new(file),
            contents: parking_lot::Mutex::new(contents),
            failure: parking_lot::Mutex::default(),
        })
    }

    /// Looks at what is in it.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Contents) -> T) -> T {
        look(&self.contents.lock())
    }

    /// Bytes of the file.
    pub(super) fn length(&self) -> u64 {
        self.length.load(Ordering::Relaxed)
    }

    /// Changes the file. Blocks.
    fn write(
        &self,
        change: impl FnOnce(&mut LogFile) -> Result<(), FileError>,
    ) -> Result<(), FileError> {
        let mut file = self.file.lock();
        let changed = change(&mut file);
        self.length.store(file.length, Ordering::Relaxed);
        *self.failure.lock() = changed.as_ref().err().map(ToString::to_string);
        changed
    }

    /// Why the last change could not be written, if it could not.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// Makes the disk refuse every change, or take them again.
    #[cfg(test)]
    pub(super) fn refuse_changes(&self, refuse: bool) {
        let mut file = self.file.lock();
        let options = fs::OpenOptions::new().read(true).write(!refuse);
        file.file = options.open(&file.path).unwrap();
    }

    /// Whether nothing was ever in it.
    pub(super) fn is_new(&self) -> bool {
        self.read(|contents| contents.vote.is_none() && contents.last().is_none())
    }

    /// Puts right what failed writes left. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn repair(&self) -> Result<(), FileError> {
        self.write(LogFile::take_back)
    }

    /// Makes entries durable, then visible. Blocks.
    ///
    /// # Errors
    /// When the disk refuses; nothing is changed then.
    pub(super) fn append(&self, entries: Vec<Entry>) -> Result<(), FileError> {
        self.write(|file| {
            let expected = self.read(Contents::next_index);
            let gapless = (expected..)
                .zip(&entries)
                .all(|(index, entry)| entry.log_id.index == index);
            assert!(
                gapless,
                "entries to append do not follow those before {expected}"
            );
            file.append(&entries)?;
            self.contents.lock().entries.extend(entries);
            Ok(())
        })
    }

    /// Makes a vote durable. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn vote(&self, vote: Vote) -> Result<(), FileError> {
        self.write(|file| {
            file.vote(vote)?;
            self.contents.lock().vote = Some(vote);
            Ok(())
        })
    }

    /// Begins a new quorum. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn found(&self, vote: Vote, entry: Entry) -> Result<(), FileError> {
        self.write(|file| {
            file.found(vote, &entry)?;
            let mut contents = self.contents.lock();
            contents.vote = Some(vote);
            contents.entries.push_back(entry);
            Ok(())
        })
    }

    /// Notes how far is agreed on. Blocks.
    ///
    /// # Errors
    /// When the disk refuses; only the note is missing then.
    pub(super) fn committed(&self, upto: LogId) -> Result<(), FileError> {
        self.write(|file| {
            self.contents.lock().committed = Some(upto);
            file.committed(upto)
        })
    }

    /// Takes the entries from `from` on out. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn truncate(&self, from: u64) -> Result<(), FileError> {
        self.write(|file| {
            file.truncate(from)?;
            self.contents.lock().truncate(from);
            Ok(())
        })
    }

    /// Forgets the entries up to `upto`, which are in a snapshot. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn purge(&self, upto: LogId) -> Result<(), FileError> {
        self.write(|file| {
            let kept = {
                let mut contents = self.contents.lock();
                contents.purge(upto);
                Kept {
                    vote: contents.vote,
                    committed: contents.committed,
                    entries: contents.entries.iter().cloned().collect(),
                }
            };
            file.purged(upto, &kept)
        })
    }
}

/// When a write has to be on the disk.
#[derive(Clone, Copy)]
enum Flush {
    Now,
    Later,
}

fn encode(pieces: &[Piece<&Entry>]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for piece in pieces {
        frames::encode(piece, &mut bytes)?;
    }
    Ok(bytes)
}

fn file_name(generation: u64) -> String {
    format!("{generation:020}.log")
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;

    use super::*;
    use crate::controller::record::MetadataRecord;

    fn at(index: u64) -> LogId {
        LogId::new(openraft::LeaderId::new(1, 0), index)
    }

    fn entry(index: u64, next: i64) -> Entry {
        Entry {
            log_id: at(index),
            payload: EntryPayload::Normal(vec![MetadataRecord::ProducerIds { next }]),
        }
    }

    fn indexes(log: &Log) -> Vec<u64> {
        log.read(|log| {
            log.range(0, u64::MAX)
                .map(|entry| entry.log_id.index)
                .collect()
        })
    }

    /// A folder, the file in it with two entries, and where the second one begins.
    fn two_entries() -> (tempfile::TempDir, PathBuf, usize) {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path()).unwrap();
        log.append(vec![entry(0, 1000)]).unwrap();
        let first = log.length() as usize;
        log.append(vec![entry(1, 2000)]).unwrap();
        let path = log.file.lock().path.clone();
        (folder, path, first)
    }

    #[test]
    fn what_was_appended_is_there_after_opening_again() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path()).unwrap();
        assert!(log.is_new());
        log.vote(Vote::new(3, 7)).unwrap();
        log.append(vec![entry(0, 1), entry(1, 2), entry(2, 3)])
            .unwrap();
        log.committed(at(1)).unwrap();
        log.truncate(2).unwrap();
        log.append(vec![entry(2, 4)]).unwrap();
        log.purge(at(0)).unwrap();
        drop(log);
        let log = Log::open(folder.path()).unwrap();
        assert!(!log.is_new());
        assert_eq!(indexes(&log), [1, 2]);
        log.read(|log| {
            assert_eq!(log.vote, Some(Vote::new(3, 7)));
            assert_eq!((log.committed, log.purged), (Some(at(1)), Some(at(0))));
            assert_eq!(log.range(2, 3).next(), Some(&entry(2, 4)));
            assert_eq!(log.range(0, 2).count(), 1);
        });
    }

    #[test]
    fn a_tail_cut_at_any_byte_is_dropped() {
        let (folder, path, first) = two_entries();
        let whole = fs::read(&path).unwrap();
        for cut in first..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let log = Log::open(folder.path()).unwrap();
            assert_eq!(indexes(&log), [0], "cut at {cut}");
            log.append(vec![entry(1, 3000)]).unwrap();
            drop(log);
            let log = Log::open(folder.path()).unwrap();
            assert_eq!(
                log.read(|log| log.range(1, 2).next().cloned()),
                Some(entry(1, 3000))
            );
        }
    }

    #[test]
    fn a_changed_byte_in_an_entry_that_others_follow_is_refused() {
        let (folder, path, first) = two_entries();
        let whole = fs::read(&path).unwrap();
        for at in 0..first {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            let error = Log::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains("is damaged"), "byte {at}: {error}");
        }
    }

    #[test]
    fn a_large_file_is_rewritten_without_what_was_purged() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path()).unwrap();
        log.vote(Vote::new(1, 1)).unwrap();
        let mut next = 0;
        while log.length() < REWRITE_BYTES {
            let many = (0..100).map(|more| entry(next + more, 1)).collect();
            log.append(many).unwrap();
            next += 100;
        }
        log.committed(at(next - 1)).unwrap();
        log.purge(at(next - 3)).unwrap();
        assert!(log.length() < 1000);
        log.append(vec![entry(next, 9)]).unwrap();
        drop(log);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let log = Log::open(folder.path()).unwrap();
        assert_eq!(indexes(&log), [next - 2, next - 1, next]);
        assert_eq!(log.read(|log| log.committed), Some(at(next - 1)));
        assert_eq!(log.read(|log| log.vote), Some(Vote::new(1, 1)));
    }

    #[test]
    fn a_new_generation_that_could_not_be_finished_does_not_hide_later_entries() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path()).unwrap();
        log.append(vec![entry(0, 1)]).unwrap();
        {
            // As if only making its name durable had failed: it is there.
            let mut file = log.file.lock();
            let stray = folder.path().join(file_name(1));
            std::fs::write(&stray, encode(&[Piece::Vote(Vote::new(9, 9))]).unwrap()).unwrap();
            file.broken = true;
            file.stray = Some(stray);
        }
        log.append(vec![entry(1, 2)]).unwrap();
        drop(log);
        assert_eq!(indexes(&Log::open(folder.path()).unwrap()), [0, 1]);
    }

    #[test]
    fn what_could_not_be_written_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path()).unwrap();
        log.append(vec![entry(0, 1)]).unwrap();
        log.refuse_changes(true);
        assert!(log.append(vec![entry(1, 2)]).is_err());
        assert!(log.failure().is_some());
        assert!(log.repair().is_err());
        log.refuse_changes(false);
        log.append(vec![entry(1, 3)]).unwrap();
        assert_eq!(log.failure(), None);
        drop(log);
        let log = Log::open(folder.path()).unwrap();
        assert_eq!(
            log.read(|log| log.range(1, 2).next().cloned()),
            Some(entry(1, 3))
        );
    }
}
