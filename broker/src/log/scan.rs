//! Going through the batches of a segment file from a position on.
//!
//! [`Headers`] reads headers only, through a small window; [`Verified`] reads and checks whole batches. Both end at
//! the limit they are given, and every length is checked against it before anything is allocated.

use std::path::Path;

use bytes::Bytes;
use kafka_records::{Batch, BatchHeader, HEADER_BYTES, RecordError};
use platform::fs::File;

use super::LogError;

/// Bytes read at once while looking at headers; several small batches fit.
const WINDOW_BYTES: usize = 8 * 1024;
/// Bytes read at once while checking batches.
const CHUNK_BYTES: usize = 1 << 20;

/// A batch in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

impl Found {
    pub(crate) fn end(&self) -> u64 {
        self.position + self.header.total_bytes() as u64
    }
}

pub(crate) fn corrupt(path: &Path, position: u64, reason: impl ToString) -> LogError {
    LogError::Corrupt {
        path: path.to_owned(),
        position,
        reason: reason.to_string(),
    }
}

/// Reads batch headers one after the other.
pub(crate) struct Headers<'a> {
    file: &'a File,
    path: &'a Path,
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
    expected_offset: i64,
}

impl<'a> Headers<'a> {
    pub(crate) fn new(file: &'a File, path: &'a Path, position: u64, end: u64) -> Self {
        Self {
            file,
            path,
            position,
            end,
            window: Vec::new(),
            window_at: position,
            expected_offset: i64::MIN,
        }
    }

    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] for what is not a batch that ends within the limit, [`LogError::Io`].
    pub(crate) fn next(&mut self) -> Result<Option<Found>, LogError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        if self.in_window().is_none() {
            self.window_at = position;
            let len = WINDOW_BYTES.min(usize::try_from(self.end - position).unwrap_or(usize::MAX));
            self.window.resize(len, 0);
            let read = read_up_to(self.file, &mut self.window, position)
                .map_err(LogError::io("read", self.path))?;
            self.window.truncate(read);
        }
        let header = BatchHeader::parse(self.in_window().unwrap_or_default())
            .map_err(|error| corrupt(self.path, position, error))?;
        let found = Found { position, header };
        if found.end() > self.end {
            let needed = header.total_bytes();
            let found = usize::try_from(self.end - position).unwrap_or(usize::MAX);
            return Err(corrupt(
                self.path,
                position,
                RecordError::Truncated { needed, found },
            ));
        }
        check_order(self.path, position, &header, self.expected_offset)?;
        self.expected_offset = header.next_offset();
        self.position = found.end();
        Ok(Some(found))
    }

    fn in_window(&self) -> Option<&[u8]> {
        let from = usize::try_from(self.position.checked_sub(self.window_at)?).ok()?;
        self.window.get(from..from.checked_add(HEADER_BYTES)?)
    }
}

/// Refuses a batch that starts before the one in front of it ends.
fn check_order(
    path: &Path,
    position: u64,
    header: &BatchHeader,
    expected_offset: i64,
) -> Result<(), LogError> {
    if header.last_offset_delta >= 0 && header.base_offset >= expected_offset {
        return Ok(());
    }
    let reason = format!(
        "offsets go back to {} from {expected_offset}",
        header.last_offset()
    );
    Err(corrupt(path, position, reason))
}

/// Fills as much of `buffer` as the file has.
pub(crate) fn read_up_to(file: &File, buffer: &mut [u8], position: u64) -> std::io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, position + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Reads whole batches one after the other and checks each.
pub(crate) struct Verified<'a> {
    file: &'a File,
    path: &'a Path,
    position: u64,
    end: u64,
    chunk: Bytes,
    expected_offset: i64,
}

impl<'a> Verified<'a> {
    pub(crate) fn new(file: &'a File, path: &'a Path, position: u64, end: u64) -> Self {
        Self {
            file,
            path,
            position,
            end,
            chunk: Bytes::new(),
            expected_offset: i64::MIN,
        }
    }

    /// The next batch and where it is; `None` at the end.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] for a broken one or one that is cut off, [`LogError::Io`].
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Batch)>, LogError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        let batch = match Batch::parse(&self.chunk) {
            Err(RecordError::Truncated { needed, .. }) => {
                let left = usize::try_from(self.end - position).unwrap_or(usize::MAX);
                if needed > left {
                    return Err(corrupt(
                        self.path,
                        position,
                        RecordError::Truncated {
                            needed,
                            found: left,
                        },
                    ));
                }
                self.chunk = self.read(needed.max(CHUNK_BYTES).min(left))?;
                match Batch::parse(&self.chunk) {
                    // The chunk held only a part of the header until now.
                    Err(RecordError::Truncated { needed, .. })
                        if needed <= left && needed > self.chunk.len() =>
                    {
                        self.chunk = self.read(needed)?;
                        Batch::parse(&self.chunk)
                    }
                    parsed => parsed,
                }
            }
            parsed => parsed,
        };
        let batch = batch.and_then(|batch| batch.verify().map(|()| batch));
        let batch = batch.map_err(|error| corrupt(self.path, position, error))?;
        check_order(self.path, position, &batch.header, self.expected_offset)?;
        self.expected_offset = batch.header.next_offset();
        self.chunk = self.chunk.slice(batch.bytes.len()..);
        self.position += batch.bytes.len() as u64;
        Ok(Some((position, batch)))
    }

    fn read(&self, len: usize) -> Result<Bytes, LogError> {
        let mut buffer = vec![0; len];
        let read = read_up_to(self.file, &mut buffer, self.position)
            .map_err(LogError::io("read", self.path))?;
        buffer.truncate(read);
        Ok(Bytes::from(buffer))
    }
}
