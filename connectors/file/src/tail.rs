//! Follows one file: reads what is new, notices that it was truncated, rewritten, replaced or
//! rotated, and says what it waits for.
//!
//! Everything here blocks and belongs on a thread that may. Nothing is decided from file events:
//! each [`Tail::step`] looks at the open handle and at the path, and compares identity, length and
//! the bytes before its position.
//!
//! Invariants: `buffer` holds the bytes of the file that end at `position` and were not handed out;
//! `before` is the content before them; a position handed out is the start of a line.

use std::fs::{File, Metadata};
use std::io::{self, IoSliceMut, Read, Seek, SeekFrom};
use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::chunk::Chunk;
use crate::error::FileError;
use crate::identity::{Birth, Identity, find_renamed, open, same_content, window_before};
use crate::lines::{complete, skip};
use crate::position::{FilePosition, WINDOW_BYTES, Window};
use crate::rotation;

/// One read from a pipe: what Linux keeps for one.
const PIPE_BYTES: usize = 64 * 1024;

/// So many files that were left are remembered, not to be read again.
const FINISHED_MAX: usize = 64;

/// After this many times `rotate_wait` a rotated file is left even if it still grows.
const ROTATE_PATIENCE: u32 = 10;

/// What bounds a tail.
#[derive(Debug, Clone)]
pub(crate) struct TailOptions {
    /// The most to read at once.
    pub(crate) read_bytes: usize,
    /// The longest line, without its terminator.
    pub(crate) max_line_bytes: usize,
    /// How long a rotated file must be quiet before it is left for the new one.
    pub(crate) rotate_wait: Duration,
}

/// What one look at the file gave.
#[derive(Debug)]
pub(crate) enum Step {
    /// New lines.
    Lines(Chunk),
    /// A line beyond the limit starts at this position; its bytes are skipped from now on.
    TooLong(u64),
    /// Nothing new.
    Idle(Idle),
}

/// Why there is nothing new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idle {
    /// There is no file.
    Missing,
    /// All was read, except perhaps for a last line that has no end yet.
    AtEnd {
        /// Whether there is such a line.
        unfinished: bool,
    },
    /// All was read, and the file has gone from its path.
    Removed,
    /// All was read, a new file is there, and the old one is kept for late lines this much longer.
    Rotating(Duration),
    /// A pipe in which there is nothing now.
    Pipe {
        /// Whether somebody else may be writing, so that it can be waited for; otherwise it can only be
        /// looked at again.
        open: bool,
    },
}

/// A file that is followed.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    options: TailOptions,
    /// Where to take up, until the file was opened.
    stored: Option<FilePosition>,
    current: Option<Current>,
    position: u64,
    buffer: Vec<u8>,
    before: Window,
    /// Inside a line that is too long.
    skipping: bool,
    /// The files that were read to their end and left, the last ones of them.
    finished: Vec<Birth>,
}

/// What reading on found.
#[derive(Debug)]
enum Looked {
    /// The file that was read so far, and this many bytes more.
    Same(usize),
    Truncated,
    Rewritten,
}

/// The file that is open.
#[derive(Debug)]
struct Current {
    file: File,
    identity: Identity,
    /// A pipe or a device: has no positions.
    stream: bool,
    /// The last read of the stream found it open but empty.
    open: bool,
    /// Since when another file is at the path, and since when this one is quiet.
    replaced: Option<(Instant, Instant)>,
}

impl Tail {
    pub(crate) fn new(path: PathBuf, options: TailOptions, stored: Option<FilePosition>) -> Self {
        Self {
            path,
            options,
            stored,
            current: None,
            position: 0,
            buffer: Vec::new(),
            before: Window::default(),
            skipping: false,
            finished: Vec::new(),
        }
    }

    /// Looks once and reads at most one chunk. Blocks for as long as the disk takes, never for a
    /// writer.
    ///
    /// # Errors
    /// What the system says; the next step tries again from the same position.
    pub(crate) fn step(&mut self) -> Result<Step, FileError> {
        loop {
            if self.current.is_none() && !self.open()? {
                return Ok(Step::Idle(Idle::Missing));
            }
            let stream = self.current.as_ref().is_some_and(|current| current.stream);
            let read = if stream {
                self.read_stream()
            } else {
                self.read_file()
            };
            let read = read.map_err(|source| FileError::io("read", &self.path, source))?;
            if read == 0 {
                match self.at_end()? {
                    Some(step) => return Ok(step),
                    None => continue,
                }
            }
            if let Some(Current {
                replaced: Some((_, quiet)),
                ..
            }) = &mut self.current
            {
                *quiet = Instant::now();
            }
            if let Some(step) = self.cut() {
                return Ok(step);
            }
        }
    }

    /// Another handle of the pipe, to wait until it can be read.
    pub(crate) fn stream(&self) -> Option<File> {
        let current = self.current.as_ref().filter(|current| current.stream)?;
        current.file.try_clone().ok()
    }

    /// Takes bytes from elsewhere, such as standard input, instead of reading a file. Call
    /// [`Tail::cut`] afterwards until it gives nothing.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.position += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
    }

    /// What was fed and has no end, once no more will come.
    pub(crate) fn finish(&mut self) -> Option<Step> {
        let rest = if self.skipping { 0 } else { self.buffer.len() };
        (rest > 0).then(|| Step::Lines(self.take(rest)))
    }

    /// Opens the file, or the renamed one that was not read to its end, at the stored position.
    /// False if there is none.
    fn open(&mut self) -> Result<bool, FileError> {
        let failed = |source| FileError::io("open", &self.path, source);
        let mut found = match open(&self.path) {
            Ok(file) => Some(file),
            Err(error) if is_missing(&error) => None,
            Err(error) => return Err(failed(error)),
        };
        let mut renamed = false;
        if let Some(stored) = &self.stored
            && stored.inode.is_some()
            && inode_of(found.as_ref()).map_err(failed)? != stored.inode
            && let Some(file) = find_renamed(&self.path, stored)
        {
            tracing::info!(file = %self.path.display(), "the file was rotated; finishing the renamed one first");
            found = Some(file);
            renamed = true;
        }
        let Some(file) = found else { return Ok(false) };
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(FileError::Directory {
                path: self.path.clone(),
            });
        }
        let position = match &self.stored {
            Some(stored) if metadata.is_file() => {
                let inode = Identity::of(&metadata).inode();
                let renamed_or_same = renamed || stored.inode.is_none() || stored.inode == inode;
                resume_at(&self.path, &file, metadata.len(), stored, renamed_or_same)
                    .map_err(failed)?
            }
            _ => 0,
        };
        self.before.clear();
        if position > 0 {
            self.before
                .extend(&window_before(&file, position).map_err(failed)?);
        }
        self.buffer.clear();
        self.skipping = false;
        self.position = position;
        self.stored = None;
        self.current = Some(Current::new(file, &metadata));
        Ok(true)
    }

    /// Reads what is new in a regular file; 0 at its end.
    fn read_file(&mut self) -> io::Result<usize> {
        let what = match self.read_on()? {
            Looked::Same(read) => return Ok(read),
            Looked::Truncated => "truncated",
            Looked::Rewritten => "rewritten",
        };
        tracing::warn!(
            file = %self.path.display(), position = self.position, "the file was {what}; reading it from its start"
        );
        self.rewind();
        match self.read_on()? {
            Looked::Same(read) => Ok(read),
            // Nothing comes before the start, so that it cannot have changed.
            Looked::Truncated | Looked::Rewritten => Ok(0),
        }
    }

    /// Reads on from the position if what comes before it is still what was read; a file that was
    /// truncated and written anew can have any length by now. Both are one read, so that nobody can
    /// rewrite the file between the look and the read.
    fn read_on(&mut self) -> io::Result<Looked> {
        let Some(Current { file, .. }) = &self.current else {
            return Ok(Looked::Same(0));
        };
        let mut file = file;
        let Some(new) = file.metadata()?.len().checked_sub(self.position) else {
            return Ok(Looked::Truncated);
        };
        let new = usize::try_from(new)
            .unwrap_or(usize::MAX)
            .min(self.options.read_bytes);
        let mut known = self.before.clone();
        known.extend(&self.buffer);
        let mut window = [0; WINDOW_BYTES];
        let window = window.get_mut(..known.bytes().len()).unwrap_or_default();
        let held = self.buffer.len();
        self.buffer.resize(held + new, 0);
        let result = file
            .seek(SeekFrom::Start(self.position - window.len() as u64))
            .and_then(|_| {
                let rest = self.buffer.get_mut(held..).unwrap_or_default();
                read_both(file, window, rest)
            });
        let read = result
            .as_ref()
            .map_or(0, |all| all.saturating_sub(window.len()));
        self.buffer.truncate(held + read);
        if result? < window.len() || window != known.bytes() {
            self.buffer.truncate(held);
            return Ok(Looked::Rewritten);
        }
        self.position += read as u64;
        Ok(Looked::Same(read))
    }

    /// Reads what a pipe has now; 0 if nothing.
    fn read_stream(&mut self) -> io::Result<usize> {
        let Some(current) = &mut self.current else {
            return Ok(0);
        };
        let held = self.buffer.len();
        self.buffer
            .resize(held + PIPE_BYTES.min(self.options.read_bytes), 0);
        let result = (&current.file).read(self.buffer.get_mut(held..).unwrap_or_default());
        current.open = result.is_err();
        let read = match &result {
            Ok(read) => *read,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                0
            }
            Err(_) => {
                self.buffer.truncate(held);
                return result;
            }
        };
        self.buffer.truncate(held + read);
        self.position += read as u64;
        Ok(read)
    }

    /// Starts over; an unfinished line of the old content is gone with it.
    fn rewind(&mut self) {
        self.position = 0;
        self.buffer.clear();
        self.before.clear();
        self.skipping = false;
    }

    /// Takes the whole lines out of the buffer; none if there is none yet.
    pub(crate) fn cut(&mut self) -> Option<Step> {
        if self.skipping {
            let (skipped, ended) = skip(&self.buffer);
            self.before
                .extend(self.buffer.get(..skipped).unwrap_or_default());
            self.buffer.drain(..skipped);
            if !ended {
                return None;
            }
            self.skipping = false;
        }
        let whole = complete(&self.buffer);
        if whole == 0 {
            if self.buffer.len() <= self.options.max_line_bytes + 1 {
                return None;
            }
            let start = self.buffer_start();
            self.skipping = true;
            return Some(Step::TooLong(start));
        }
        Some(Step::Lines(self.take(whole)))
    }

    /// Takes the first `length` bytes out of the buffer.
    fn take(&mut self, length: usize) -> Chunk {
        let start = self.buffer_start();
        let mut bytes = mem::take(&mut self.buffer);
        self.buffer = bytes.get(length..).unwrap_or_default().to_vec();
        bytes.truncate(length);
        let before = self.before.clone();
        self.before.extend(&bytes);
        let (inode, stream) = match &self.current {
            Some(current) => (current.identity.inode(), current.stream),
            None => (None, true),
        };
        Chunk::new(Bytes::from(bytes), start, before, inode).of_stream(stream)
    }

    fn buffer_start(&self) -> u64 {
        debug_assert!(
            self.position >= self.buffer.len() as u64,
            "the buffer ends at the position"
        );
        self.position - self.buffer.len() as u64
    }

    /// At the end of the open file: is there another one by now? None to go on with that.
    fn at_end(&mut self) -> Result<Option<Step>, FileError> {
        let unfinished = !self.buffer.is_empty();
        let Some(current) = &mut self.current else {
            return Ok(None);
        };
        let idle = if current.stream {
            Idle::Pipe { open: current.open }
        } else {
            Idle::AtEnd { unfinished }
        };
        let now_there = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if is_missing(&error) => {
                current.replaced = None;
                return Ok(Some(Step::Idle(Idle::Removed)));
            }
            Err(error) => return Err(FileError::io("look at", &self.path, error)),
        };
        if Identity::of(&now_there) == current.identity {
            current.replaced = None;
            return Ok(Some(Step::Idle(idle)));
        }
        let failed = |source| FileError::io("look at", &self.path, source);
        let metadata = current.file.metadata().map_err(failed)?;
        let between = match current.stream {
            true => None,
            false => rotation::next(&self.path, &metadata, &now_there, &self.finished),
        };
        // Nobody writes to an empty file yet; the old one is where lines still arrive.
        if between.is_none() && now_there.is_file() && now_there.len() == 0 {
            current.replaced = None;
            return Ok(Some(Step::Idle(idle)));
        }
        let now = Instant::now();
        let wait = self.options.rotate_wait;
        let (since, quiet) = *current.replaced.get_or_insert_with(|| {
            // A file that was rotated long ago need not be waited for.
            let age = metadata
                .modified()
                .ok()
                .and_then(|modified| modified.elapsed().ok());
            (
                now,
                now.checked_sub(age.unwrap_or_default().min(wait))
                    .unwrap_or(now),
            )
        });
        let remaining = wait
            .saturating_sub(now - quiet)
            .min((wait * ROTATE_PATIENCE).saturating_sub(now - since));
        if !remaining.is_zero() {
            return Ok(Some(Step::Idle(Idle::Rotating(remaining))));
        }
        tracing::info!(file = %self.path.display(), "the file was replaced; reading the new one");
        // Nothing more will come to end this line.
        let last = self.finish();
        self.leave(between)?;
        Ok(last)
    }

    /// Leaves the file that is open for the one that came after it, or for the one at the path.
    fn leave(&mut self, next: Option<File>) -> Result<(), FileError> {
        self.rewind();
        let Some(left) = self.current.take() else {
            return Ok(());
        };
        if self.finished.len() >= FINISHED_MAX {
            self.finished.remove(0);
        }
        if let Ok(metadata) = left.file.metadata() {
            self.finished.push(Birth::of(&metadata));
        }
        if let Some(file) = next {
            let metadata = file
                .metadata()
                .map_err(|source| FileError::io("open", &self.path, source))?;
            self.current = Some(Current::new(file, &metadata));
        }
        Ok(())
    }
}

impl Current {
    fn new(file: File, metadata: &Metadata) -> Self {
        Self {
            file,
            identity: Identity::of(metadata),
            stream: !metadata.is_file(),
            open: false,
            replaced: None,
        }
    }
}

/// Fills `first`, then as much of `second` as there is, in one read where the system can.
fn read_both(mut file: &File, first: &mut [u8], second: &mut [u8]) -> io::Result<usize> {
    loop {
        let both = &mut [IoSliceMut::new(first), IoSliceMut::new(second)];
        match file.read_vectored(both) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // All that was wanted, or a system that fills one buffer at a time.
            Ok(read) if read == first.len() => return Ok(read + file.read(second)?),
            done => return done,
        }
    }
}

/// Where to take up in a file that is `length` bytes long.
fn resume_at(
    path: &Path,
    file: &File,
    length: u64,
    stored: &FilePosition,
    same_inode: bool,
) -> io::Result<u64> {
    let file_name = path.display();
    let position = stored.position;
    if length < position {
        tracing::warn!(file = %file_name, length, position, "the file is shorter than what was read; reading it from its start");
        return Ok(0);
    }
    if !same_content(file, stored)? {
        tracing::warn!(file = %file_name, position, "the file is not the one that was read; reading it from its start");
        return Ok(0);
    }
    // A copy that was put back has another inode but the same content. So can a new file by chance,
    // if there is little to compare.
    if !same_inode && (stored.checksum.is_none() || position < WINDOW_BYTES as u64) {
        tracing::warn!(file = %file_name, position, "the file was replaced; reading it from its start");
        return Ok(0);
    }
    Ok(position)
}

fn inode_of(file: Option<&File>) -> io::Result<Option<u64>> {
    Ok(match file {
        Some(file) => Identity::of(&file.metadata()?).inode(),
        None => None,
    })
}

/// A missing directory on the way is a missing file too: both may still come.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests;
