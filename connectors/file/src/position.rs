//! Where a source stands in a file, in the shape in which it is stored.
//!
//! Kafka's shape is `{"filename": …}` → `{"position": …}`, and `position` is all that is needed to
//! resume. Two more fields, which Kafka's own connector ignores, tell whether the file found there
//! is still the one that was read: a rotated, replaced or rewritten file would otherwise be skipped
//! up to the old position.

use serde::{Deserialize, Serialize};

/// The source partition: one file, by its name as configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePartition {
    /// The value of the `file` key; null for standard input.
    pub filename: Option<String>,
}

/// The source offset: the next byte to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePosition {
    /// Bytes from the start of the file.
    pub position: u64,
    /// The inode of the file, where the system has such a thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
    /// CRC-32C of the last 256 (or fewer) bytes before `position`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<u32>,
}

/// How many bytes before a position identify the content.
pub(crate) const WINDOW_BYTES: usize = 256;

/// The last bytes before a position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Window(Vec<u8>);

impl Window {
    /// The window that ends where `bytes` ends, if `bytes` follows this one.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        if let Some(whole) = bytes.len().checked_sub(WINDOW_BYTES) {
            self.0.clear();
            self.0
                .extend_from_slice(bytes.get(whole..).unwrap_or_default());
        } else {
            let excess = (self.0.len() + bytes.len()).saturating_sub(WINDOW_BYTES);
            self.0.drain(..excess);
            self.0.extend_from_slice(bytes);
        }
    }

    /// The checksum of the window that ends where `bytes` ends, if `bytes` follows this one.
    pub(crate) fn checksum_after(&self, bytes: &[u8]) -> u32 {
        match bytes.len().checked_sub(WINDOW_BYTES) {
            Some(whole) => crc32c::crc32c(bytes.get(whole..).unwrap_or_default()),
            None => {
                let excess = (self.0.len() + bytes.len()).saturating_sub(WINDOW_BYTES);
                let before = crc32c::crc32c(self.0.get(excess..).unwrap_or_default());
                crc32c::crc32c_append(before, bytes)
            }
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// How many bytes the window before `position` has.
pub(crate) fn window_length(position: u64) -> usize {
    usize::try_from(position).map_or(WINDOW_BYTES, |position| position.min(WINDOW_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kafkas_offset_is_read() {
        let read: FilePosition = serde_json::from_str(r#"{"position":9}"#).unwrap();
        assert_eq!(
            read,
            FilePosition {
                position: 9,
                inode: None,
                checksum: None
            }
        );
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"{"position":9}"#);
    }

    proptest! {
        #[test]
        fn a_window_is_the_last_bytes_however_they_arrive(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6),
            last in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut window = Window::default();
            let mut all = Vec::new();
            for piece in &pieces {
                window.extend(piece);
                all.extend_from_slice(piece);
            }
            all.extend_from_slice(&last);
            let from = all.len() - window_length(all.len() as u64);
            prop_assert_eq!(window.checksum_after(&last), crc32c::crc32c(&all[from..]));
            window.extend(&last);
            prop_assert_eq!(window.bytes(), &all[from..]);
        }
    }
}
