//! Whole batches in a buffer.

use bytes::Bytes;

use crate::record::{self, RecordShape};
use crate::rewrite::checksum;
use crate::{BatchHeader, Compression, HEADER_BYTES, RecordError, RecordIter};

/// One batch: its decoded header and all its bytes, header included.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The decoded header.
    pub header: BatchHeader,
    /// Exactly the batch.
    pub bytes: Bytes,
}

impl Batch {
    /// Takes the batch at the start of `bytes`.
    ///
    /// # Errors
    /// Those of [`BatchHeader::parse`], and [`RecordError::Truncated`] when the batch is not all there.
    pub fn parse(bytes: &Bytes) -> Result<Self, RecordError> {
        let header = BatchHeader::parse(bytes)?;
        let needed = header.total_bytes();
        if needed > bytes.len() {
            return Err(RecordError::Truncated {
                needed,
                found: bytes.len(),
            });
        }
        Ok(Self {
            header,
            bytes: bytes.slice(..needed),
        })
    }

    /// Checks the checksum and what the header's fields say about each other. Records are not decoded.
    ///
    /// # Errors
    /// [`RecordError::Checksum`], [`RecordError::Inconsistent`], [`RecordError::UnknownCompression`],
    /// [`RecordError::Truncated`].
    pub fn verify(&self) -> Result<(), RecordError> {
        if self.bytes.len() != self.header.total_bytes() {
            return Err(RecordError::Truncated {
                needed: self.header.total_bytes(),
                found: self.bytes.len(),
            });
        }
        let computed = checksum(&self.bytes);
        if computed != self.header.crc {
            return Err(RecordError::Checksum {
                base_offset: self.header.base_offset,
                stored: self.header.crc,
                computed,
            });
        }
        self.header.check()
    }

    /// The block of records, decompressed if need be; shares the batch's buffer if not.
    ///
    /// # Errors
    /// [`RecordError::Decompress`] and [`RecordError::DecompressedTooLarge`].
    pub fn payload(&self, max_decompressed: usize) -> Result<Bytes, RecordError> {
        let block = self.bytes.slice(HEADER_BYTES.min(self.bytes.len())..);
        match self.header.compression()? {
            Compression::None => Ok(block),
            codec => Ok(Bytes::from(codec.decompress(&block, max_decompressed)?)),
        }
    }

    /// The batch's records; a compressed block may grow to `max_decompressed` bytes.
    ///
    /// # Errors
    /// As [`Batch::payload`]; malformed records are errors of the iterator.
    pub fn records(&self, max_decompressed: usize) -> Result<RecordIter, RecordError> {
        Ok(RecordIter::new(
            self.header,
            self.payload(max_decompressed)?,
        ))
    }

    /// Checks that every record can be decoded and shows its shape to `each`, without making a [`crate::Record`].
    ///
    /// # Errors
    /// As [`Batch::payload`], and [`RecordError::BadRecord`].
    pub fn inspect(
        &self,
        max_decompressed: usize,
        each: impl FnMut(RecordShape),
    ) -> Result<(), RecordError> {
        match self.header.compression()? {
            Compression::None => record::inspect(
                self.bytes.get(HEADER_BYTES..).unwrap_or_default(),
                &self.header,
                each,
            ),
            _ => record::inspect(&self.payload(max_decompressed)?, &self.header, each),
        }
    }
}

/// The batches in `bytes`, one after the other.
///
/// A batch that is not all there at the end ends the iteration silently, as fetch responses may be cut anywhere. A
/// length or format that cannot be right is an error, and the end.
pub fn batches(bytes: Bytes) -> Batches {
    Batches { rest: bytes }
}

/// See [`batches`].
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

impl Iterator for Batches {
    type Item = Result<Batch, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        match Batch::parse(&self.rest) {
            Ok(batch) => {
                self.rest = self.rest.slice(batch.bytes.len()..);
                Some(Ok(batch))
            }
            Err(RecordError::Truncated { .. }) => {
                self.rest = Bytes::new();
                None
            }
            Err(error) => {
                self.rest = Bytes::new();
                Some(Err(error))
            }
        }
    }
}
