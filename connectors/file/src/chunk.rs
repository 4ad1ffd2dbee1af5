//! A run of whole lines read from a file at once. Lines are slices of it, never copies.

use bytes::Bytes;
use connect_core::Str;

use crate::lines::{Line, line_at};
use crate::position::{FilePosition, Window};

/// Whole lines, in file order, and where they came from.
#[derive(Debug)]
pub(crate) struct Chunk {
    bytes: Bytes,
    /// The same bytes, if all of them are UTF-8.
    text: Option<Str>,
    /// The position of the first byte of `bytes`.
    start: u64,
    /// What comes before `bytes` in the file.
    before: Window,
    inode: Option<u64>,
    /// Whether the file is a pipe, which has no positions.
    stream: bool,
    /// The lines up to here were taken.
    taken: usize,
}

impl Chunk {
    /// `bytes` must be whole lines; only at the end of a file that was finished may the last one
    /// lack its terminator. Checks for UTF-8, once for all lines.
    pub(crate) fn new(bytes: Bytes, start: u64, before: Window, inode: Option<u64>) -> Self {
        let text = Str::from_utf8(bytes.clone()).ok();
        Self {
            bytes,
            text,
            start,
            before,
            inode,
            stream: false,
            taken: 0,
        }
    }

    /// The same lines, out of a pipe.
    pub(crate) fn of_stream(mut self, stream: bool) -> Self {
        self.stream = stream;
        self
    }

    /// Whether the lines came out of a pipe and cannot be read again.
    pub(crate) fn is_stream(&self) -> bool {
        self.stream
    }

    /// The next line, which stays where it is until it is passed to [`Chunk::advance`].
    pub(crate) fn line(&self) -> Option<Line> {
        (!self.is_empty()).then(|| line_at(&self.bytes, self.taken))
    }

    /// Goes on behind `line`.
    pub(crate) fn advance(&mut self, line: Line) {
        debug_assert!(
            line.start == self.taken && line.next > self.taken,
            "lines are taken in order"
        );
        self.taken = line.next;
    }

    /// A line's bytes, without its terminator.
    pub(crate) fn bytes(&self, line: Line) -> Bytes {
        self.bytes.slice(line.start..line.end)
    }

    /// A line's text, without its terminator; `None` if it is not UTF-8.
    pub(crate) fn text(&self, line: Line) -> Option<Str> {
        match &self.text {
            // A terminator is one byte, so a line of valid text never cuts a character.
            Some(text) => text.slice(line.start..line.end),
            None => Str::from_utf8(self.bytes(line)).ok(),
        }
    }

    /// Whether all lines were taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.taken >= self.bytes.len()
    }

    /// The next byte that was not taken, from the start of the file.
    pub(crate) fn position(&self) -> u64 {
        self.start + self.taken as u64
    }

    /// Where to resume after the lines taken so far.
    pub(crate) fn offset(&self) -> FilePosition {
        let taken = self.bytes.get(..self.taken).unwrap_or_default();
        FilePosition {
            position: self.position(),
            inode: self.inode,
            checksum: Some(self.before.checksum_after(taken)),
        }
    }
}
