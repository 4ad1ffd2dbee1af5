//! The 61 bytes in front of every batch.

use crate::{Compression, RecordError};

/// Size of a batch's header; the records follow.
pub const HEADER_BYTES: usize = 61;
/// The only message format there is since Kafka 4.0.
pub const MAGIC: i8 = 2;

/// Bytes of base offset and length, which the length field does not count.
pub(crate) const LOG_OVERHEAD: usize = 12;
pub(crate) const EPOCH_AT: usize = 12;
pub(crate) const CRC_AT: usize = 17;
pub(crate) const ATTRIBUTES_AT: usize = 21;
pub(crate) const MAX_TIMESTAMP_AT: usize = 35;
pub(crate) const PRODUCER_AT: usize = 43;

pub(crate) const COMPRESSION_MASK: i16 = 0x07;
pub(crate) const LOG_APPEND_TIME: i16 = 0x08;
pub(crate) const TRANSACTIONAL: i16 = 0x10;
pub(crate) const CONTROL: i16 = 0x20;
pub(crate) const DELETE_HORIZON: i16 = 0x40;

/// Who produced a batch, for idempotence and transactions (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProducerIdentity {
    /// Id from the broker, -1 for a producer without idempotence.
    pub producer_id: i64,
    /// Epoch of that id; grows when the producer is fenced.
    pub producer_epoch: i16,
    /// Sequence number of the batch's first record, per partition.
    pub base_sequence: i32,
}

impl ProducerIdentity {
    /// No idempotence.
    pub const NONE: Self = Self {
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
    };
}

/// A batch's header, decoded. Field meanings are those of Kafka's record batch format 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the batch's first record (of the first it had when it was appended).
    pub base_offset: i64,
    /// Bytes after this field.
    pub batch_length: i32,
    /// Epoch of the leader that appended it; -1 before.
    pub partition_leader_epoch: i32,
    /// Format, always 2.
    pub magic: i8,
    /// CRC-32C of everything from `attributes` to the end.
    pub crc: u32,
    /// Codec, timestamp type and flags.
    pub attributes: i16,
    /// Offset of the last record minus `base_offset`; compaction keeps it.
    pub last_offset_delta: i32,
    /// What the records' timestamps are relative to, in milliseconds; the delete horizon if that flag is set.
    pub base_timestamp: i64,
    /// Largest timestamp in the batch, in milliseconds.
    pub max_timestamp: i64,
    /// Producer id or -1.
    pub producer_id: i64,
    /// Producer epoch or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record or -1.
    pub base_sequence: i32,
    /// Records in the batch; 0 is possible after compaction.
    pub record_count: i32,
}

impl BatchHeader {
    /// Decodes the header at the start of `bytes`.
    ///
    /// # Errors
    /// [`RecordError::Truncated`] with fewer than [`HEADER_BYTES`], [`RecordError::BadLength`] and
    /// [`RecordError::BadMagic`]. The checksum is not looked at; see [`crate::Batch::verify`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(RecordError::Truncated {
            needed: HEADER_BYTES,
            found: bytes.len(),
        })?;
        let parsed = Self {
            base_offset: i64::from_be_bytes(field::<0, 8>(header)),
            batch_length: i32::from_be_bytes(field::<8, 4>(header)),
            partition_leader_epoch: i32::from_be_bytes(field::<12, 4>(header)),
            magic: i8::from_be_bytes(field::<16, 1>(header)),
            crc: u32::from_be_bytes(field::<17, 4>(header)),
            attributes: i16::from_be_bytes(field::<21, 2>(header)),
            last_offset_delta: i32::from_be_bytes(field::<23, 4>(header)),
            base_timestamp: i64::from_be_bytes(field::<27, 8>(header)),
            max_timestamp: i64::from_be_bytes(field::<35, 8>(header)),
            producer_id: i64::from_be_bytes(field::<43, 8>(header)),
            producer_epoch: i16::from_be_bytes(field::<51, 2>(header)),
            base_sequence: i32::from_be_bytes(field::<53, 4>(header)),
            record_count: i32::from_be_bytes(field::<57, 4>(header)),
        };
        if parsed.magic != MAGIC {
            return Err(RecordError::BadMagic {
                magic: parsed.magic,
            });
        }
        if parsed.batch_length < (HEADER_BYTES - LOG_OVERHEAD) as i32 {
            return Err(RecordError::BadLength {
                length: parsed.batch_length,
            });
        }
        Ok(parsed)
    }

    /// Encodes the header.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        put::<0, 8>(&mut out, self.base_offset.to_be_bytes());
        put::<8, 4>(&mut out, self.batch_length.to_be_bytes());
        put::<12, 4>(&mut out, self.partition_leader_epoch.to_be_bytes());
        put::<16, 1>(&mut out, self.magic.to_be_bytes());
        put::<17, 4>(&mut out, self.crc.to_be_bytes());
        put::<21, 2>(&mut out, self.attributes.to_be_bytes());
        put::<23, 4>(&mut out, self.last_offset_delta.to_be_bytes());
        put::<27, 8>(&mut out, self.base_timestamp.to_be_bytes());
        put::<35, 8>(&mut out, self.max_timestamp.to_be_bytes());
        put::<43, 8>(&mut out, self.producer_id.to_be_bytes());
        put::<51, 2>(&mut out, self.producer_epoch.to_be_bytes());
        put::<53, 4>(&mut out, self.base_sequence.to_be_bytes());
        put::<57, 4>(&mut out, self.record_count.to_be_bytes());
        out
    }

    /// Size of the whole batch, header included.
    pub fn total_bytes(&self) -> usize {
        usize::try_from(self.batch_length).unwrap_or(0) + LOG_OVERHEAD
    }

    /// Offset of the last record the batch had when it was appended.
    pub fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
    }

    /// Offset after the batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// The codec of the records.
    ///
    /// # Errors
    /// [`RecordError::UnknownCompression`] for codec ids 5 to 7.
    pub fn compression(&self) -> Result<Compression, RecordError> {
        Compression::try_from(self.attributes)
    }

    /// Part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Written by a broker to end a transaction or for the quorum; never shown to consumers.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether `max_timestamp` is when the broker appended it and holds for all records.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// When the batch's tombstones may be dropped (KIP-534), if the cleaner has set it.
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// The same header with the delete horizon set. The records have to be encoded again relative to it.
    #[must_use]
    pub fn with_delete_horizon(mut self, horizon: i64) -> Self {
        self.attributes |= DELETE_HORIZON;
        self.base_timestamp = horizon;
        self
    }

    /// Sequence number of the last record, -1 without idempotence. Wraps from `i32::MAX` to 0.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        let sum = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        (sum % (i64::from(i32::MAX) + 1)) as i32
    }

    /// Who produced the batch.
    pub fn producer(&self) -> ProducerIdentity {
        ProducerIdentity {
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
        }
    }

    /// What the header's fields say about each other, without looking at the records.
    pub(crate) fn check(&self) -> Result<(), RecordError> {
        let reason = if self.last_offset_delta < 0 {
            format!("last offset delta is {}", self.last_offset_delta)
        } else if self.record_count < 0 {
            format!("record count is {}", self.record_count)
        } else if i64::from(self.record_count) > i64::from(self.last_offset_delta) + 1 {
            format!(
                "{} records do not fit a last offset delta of {}",
                self.record_count, self.last_offset_delta
            )
        } else {
            self.compression()?;
            return Ok(());
        };
        Err(RecordError::Inconsistent {
            base_offset: self.base_offset,
            reason,
        })
    }
}

fn field<const AT: usize, const N: usize>(header: &[u8; HEADER_BYTES]) -> [u8; N] {
    const { assert!(AT + N <= HEADER_BYTES) };
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(header.iter().skip(AT)) {
        *to = *from;
    }
    out
}

fn put<const AT: usize, const N: usize>(header: &mut [u8; HEADER_BYTES], value: [u8; N]) {
    const { assert!(AT + N <= HEADER_BYTES) };
    for (to, from) in header.iter_mut().skip(AT).zip(value) {
        *to = from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_as_it_was_encoded() {
        let header = BatchHeader {
            base_offset: 0x0102_0304_0506_0708,
            batch_length: 100,
            partition_leader_epoch: 7,
            magic: MAGIC,
            crc: 0xdead_beef,
            attributes: 0x0b,
            last_offset_delta: 41,
            base_timestamp: 1_700_000_000_000,
            max_timestamp: 1_700_000_000_999,
            producer_id: 77,
            producer_epoch: 3,
            base_sequence: i32::MAX - 1,
            record_count: 42,
        };
        let encoded = header.encode();
        assert_eq!(encoded[0], 1);
        assert_eq!(&encoded[17..21], &[0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(BatchHeader::parse(&encoded).unwrap(), header);
        assert_eq!(header.total_bytes(), 112);
        assert_eq!(header.last_sequence(), 39);
        assert!(header.is_log_append_time());
        assert_eq!(header.compression().unwrap(), Compression::Lz4);
    }

    #[test]
    fn short_foreign_and_impossible_headers_are_refused() {
        let mut header = [0u8; HEADER_BYTES];
        header[11] = 60;
        header[16] = 2;
        assert!(BatchHeader::parse(&header).is_ok());
        assert_eq!(
            BatchHeader::parse(&header[..60]),
            Err(RecordError::Truncated {
                needed: 61,
                found: 60
            })
        );
        header[16] = 1;
        assert_eq!(
            BatchHeader::parse(&header),
            Err(RecordError::BadMagic { magic: 1 })
        );
        header[16] = 2;
        header[11] = 48;
        assert_eq!(
            BatchHeader::parse(&header),
            Err(RecordError::BadLength { length: 48 })
        );
    }
}
