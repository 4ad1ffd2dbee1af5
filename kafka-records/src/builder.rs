//! Encoding: records straight into the buffer that will be sent.

use bytes::Bytes;

use crate::header::{CONTROL, LOG_OVERHEAD, TRANSACTIONAL};
use crate::varint::{self, Prefix};
use crate::{
    BatchHeader, Compression, HEADER_BYTES, Header, MAGIC, ProducerIdentity, RecordError, RecordRef,
};

/// Builds one batch at a time.
///
/// Records are encoded into one buffer, behind the room for the header; an uncompressed batch is that buffer, and
/// its checksum is computed once, in [`BatchBuilder::finish`]. After finishing, the builder is empty again.
#[derive(Debug)]
pub struct BatchBuilder {
    compression: Compression,
    capacity: usize,
    buffer: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// A builder whose buffer starts with `capacity_bytes`; it grows when a batch needs more.
    pub fn new(compression: Compression, capacity_bytes: usize) -> Self {
        Self {
            compression,
            capacity: capacity_bytes.max(HEADER_BYTES),
            buffer: Vec::new(),
            count: 0,
            base_timestamp: 0,
            max_timestamp: 0,
        }
    }

    /// Appends a record.
    #[inline]
    pub fn push(&mut self, record: RecordRef<'_>) {
        if self.count == 0 {
            self.start(record.timestamp);
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        let timestamp_delta = record.timestamp.wrapping_sub(self.base_timestamp);
        encode_record(&mut self.buffer, self.count, timestamp_delta, &record);
        self.count += 1;
    }

    #[cold]
    fn start(&mut self, timestamp: i64) {
        self.buffer.clear();
        self.buffer.reserve(self.capacity);
        self.buffer.resize(HEADER_BYTES, 0);
        self.base_timestamp = timestamp;
        self.max_timestamp = timestamp;
    }

    /// Whether no record was pushed since the last finish.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Records pushed since the last finish.
    pub fn record_count(&self) -> i32 {
        self.count
    }

    /// What the batch takes now, before compression.
    pub fn encoded_bytes(&self) -> usize {
        self.buffer.len().max(HEADER_BYTES)
    }

    /// The most bytes that `record` adds to a batch.
    pub fn estimate(record: RecordRef<'_>) -> usize {
        const FIXED: usize = 5 + 1 + varint::MAX_BYTES + 5 + 5 + 5 + 5;
        let headers: usize = record
            .headers
            .iter()
            .map(|header| 10 + header.key.len() + header.value.as_ref().map_or(0, Bytes::len))
            .sum();
        FIXED + record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + headers
    }

    /// Ends the batch: offset 0, no producer identity.
    ///
    /// # Errors
    /// [`RecordError::TooLarge`] beyond 2 GiB and [`RecordError::Compress`]; the records are gone in both cases.
    pub fn finish(&mut self) -> Result<Bytes, RecordError> {
        self.finish_with(ProducerIdentity::NONE, false)
    }

    /// Ends the batch with a producer's identity, in the same checksum pass.
    ///
    /// # Errors
    /// As [`BatchBuilder::finish`].
    pub fn finish_with(
        &mut self,
        identity: ProducerIdentity,
        transactional: bool,
    ) -> Result<Bytes, RecordError> {
        self.finish_as(identity, if transactional { TRANSACTIONAL } else { 0 })
    }

    /// Ends the batch as a control batch of a transaction: its single record is the marker.
    ///
    /// # Errors
    /// As [`BatchBuilder::finish`].
    pub fn finish_control(&mut self, identity: ProducerIdentity) -> Result<Bytes, RecordError> {
        self.finish_as(identity, TRANSACTIONAL | CONTROL)
    }

    fn finish_as(&mut self, identity: ProducerIdentity, flags: i16) -> Result<Bytes, RecordError> {
        if self.count == 0 {
            self.start(-1);
        }
        let header = BatchHeader {
            base_offset: 0,
            batch_length: 0,
            partition_leader_epoch: -1,
            magic: MAGIC,
            crc: 0,
            attributes: flags,
            last_offset_delta: (self.count - 1).max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: identity.producer_id,
            producer_epoch: identity.producer_epoch,
            base_sequence: identity.base_sequence,
            record_count: self.count,
        };
        self.count = 0;
        let records = std::mem::take(&mut self.buffer);
        if self.compression == Compression::None {
            seal_in_place(header, records)
        } else {
            seal(
                header,
                self.compression,
                records.get(HEADER_BYTES..).unwrap_or_default(),
            )
        }
    }
}

/// Appends one encoded record to `out`.
///
/// This is the inner loop of everything that writes: one copy of constant size for the fields before the
/// payload, then the payload.
#[inline]
pub fn encode_record(
    out: &mut Vec<u8>,
    offset_delta: i32,
    timestamp_delta: i64,
    record: &RecordRef<'_>,
) {
    let key_len = record.key.map_or(0, <[u8]>::len);
    let value_len = record.value.map_or(0, <[u8]>::len);
    let key_field = record.key.map_or(-1, |key| key.len() as i64);
    let value_field = record.value.map_or(-1, |value| value.len() as i64);
    let mut body = 1
        + varint::size(timestamp_delta)
        + varint::size(i64::from(offset_delta))
        + varint::size(key_field)
        + key_len
        + varint::size(value_field)
        + value_len
        + varint::size(record.headers.len() as i64);
    if !record.headers.is_empty() {
        body += headers_size(record.headers);
    }
    out.reserve(body + 2 * Prefix::CAPACITY);
    let mut prefix = Prefix::new();
    prefix.varint(body as i64);
    prefix.byte(0);
    prefix.varint(timestamp_delta);
    prefix.varint(i64::from(offset_delta));
    prefix.varint(key_field);
    if key_len == 0 {
        prefix.varint(value_field);
        prefix.append_to(out);
    } else {
        prefix.append_to(out);
        out.extend_from_slice(record.key.unwrap_or_default());
        varint::put(out, value_field);
    }
    out.extend_from_slice(record.value.unwrap_or_default());
    if record.headers.is_empty() {
        out.push(0);
    } else {
        put_headers(out, record.headers);
    }
}

fn headers_size(headers: &[Header]) -> usize {
    headers
        .iter()
        .map(|header| {
            let value = header.value.as_ref();
            varint::size(header.key.len() as i64)
                + header.key.len()
                + varint::size(value.map_or(-1, |value| value.len() as i64))
                + value.map_or(0, Bytes::len)
        })
        .sum()
}

fn put_headers(out: &mut Vec<u8>, headers: &[Header]) {
    varint::put(out, headers.len() as i64);
    for header in headers {
        varint::put(out, header.key.len() as i64);
        out.extend_from_slice(&header.key);
        match &header.value {
            Some(value) => {
                varint::put(out, value.len() as i64);
                out.extend_from_slice(value);
            }
            None => varint::put(out, -1),
        }
    }
}

/// Makes a batch of already encoded `records`: compresses them, then sets the header's length, codec and checksum;
/// its other fields are taken as they are.
///
/// # Errors
/// As [`BatchBuilder::finish`].
pub fn seal(
    mut header: BatchHeader,
    compression: Compression,
    records: &[u8],
) -> Result<Bytes, RecordError> {
    header.attributes = (header.attributes & !crate::header::COMPRESSION_MASK) | compression.id();
    let mut out = Vec::with_capacity(HEADER_BYTES + records.len() / 2 + 64);
    out.resize(HEADER_BYTES, 0);
    compression.compress(records, &mut out)?;
    seal_in_place(header, out)
}

/// `buffer` starts with room for the header.
fn seal_in_place(mut header: BatchHeader, mut buffer: Vec<u8>) -> Result<Bytes, RecordError> {
    header.batch_length =
        i32::try_from(buffer.len().saturating_sub(LOG_OVERHEAD)).map_err(|_| {
            RecordError::TooLarge {
                bytes: buffer.len(),
            }
        })?;
    if let Some(room) = buffer.first_chunk_mut::<HEADER_BYTES>() {
        *room = header.encode();
    }
    crate::rewrite::write_checksum(&mut buffer);
    Ok(Bytes::from(buffer))
}
