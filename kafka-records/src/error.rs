//! What can be wrong with a record batch.

use crate::Compression;

/// Why bytes are not a usable record batch, or why one could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than the batch says it has.
    #[error(
        "record batch is cut off: {needed} bytes are needed and {found} are there; fetch or send it again"
    )]
    Truncated {
        /// Bytes that the header asks for.
        needed: usize,
        /// Bytes that were given.
        found: usize,
    },
    /// The length field cannot be right.
    #[error(
        "record batch has length \"{length}\" but a batch has at least 49 bytes after its length field"
    )]
    BadLength {
        /// The length field.
        length: i32,
    },
    /// A format other than 2.
    #[error(
        "record batch has magic \"{magic}\", only 2 is supported; use a client that speaks Kafka 0.11 or later"
    )]
    BadMagic {
        /// The magic byte.
        magic: i8,
    },
    /// The checksum does not match: the bytes were changed after they were encoded.
    #[error(
        "record batch at offset {base_offset} is corrupt: its checksum is {stored:#010x} but its bytes give {computed:#010x}"
    )]
    Checksum {
        /// The batch's base offset field.
        base_offset: i64,
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// Header fields contradict each other.
    #[error("record batch at offset {base_offset} is inconsistent: {reason}")]
    Inconsistent {
        /// The batch's base offset field.
        base_offset: i64,
        /// Which fields, and how.
        reason: String,
    },
    /// A record inside the batch cannot be read.
    #[error("record {index} of the batch is malformed: {reason}")]
    BadRecord {
        /// Position of the record in the batch, from 0.
        index: i32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The attributes name a codec that does not exist.
    #[error(
        "record batch uses unknown compression id {id}; known are 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd"
    )]
    UnknownCompression {
        /// The three codec bits.
        id: i16,
    },
    /// A codec's name that does not exist.
    #[error("unknown compression \"{name}\"; use one of none, gzip, snappy, lz4, zstd")]
    UnknownCompressionName {
        /// What was given.
        name: String,
    },
    /// The compressed block is broken.
    #[error("{codec} block cannot be decompressed: {reason}")]
    Decompress {
        /// The codec that refused.
        codec: Compression,
        /// What the codec said.
        reason: String,
    },
    /// The block would grow beyond what the caller allows.
    #[error(
        "{codec} block decompresses to more than the allowed {max} bytes; send smaller batches or raise the limit"
    )]
    DecompressedTooLarge {
        /// The codec.
        codec: Compression,
        /// The caller's limit in bytes.
        max: usize,
    },
    /// Compressing failed (in practice: out of memory).
    #[error("{codec} block cannot be compressed: {reason}")]
    Compress {
        /// The codec that refused.
        codec: Compression,
        /// What the codec said.
        reason: String,
    },
    /// A batch's length is a 32-bit number.
    #[error(
        "record batch would have {bytes} bytes, the format's limit is 2147483647; finish batches earlier"
    )]
    TooLarge {
        /// Size of the batch.
        bytes: usize,
    },
}
