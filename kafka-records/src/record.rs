//! Single records: what goes into a batch and what comes out of one.

use bytes::Bytes;

use crate::varint::Reader;
use crate::{BatchHeader, RecordError};

/// A record's header: a name and bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Header {
    /// Name, UTF-8 by convention.
    pub key: Bytes,
    /// Value; a header may have none.
    pub value: Option<Bytes>,
}

/// A record to encode; borrows everything.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Key, `None` for null.
    pub key: Option<&'a [u8]>,
    /// Value, `None` for null (a tombstone in a compacted topic).
    pub value: Option<&'a [u8]>,
    /// Headers in order.
    pub headers: &'a [Header],
}

/// A decoded record. Key, value and headers are slices of the batch's buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Position in the partition.
    pub offset: i64,
    /// Milliseconds since the Unix epoch; the append time where the topic uses that.
    pub timestamp: i64,
    /// Key, `None` for null.
    pub key: Option<Bytes>,
    /// Value, `None` for null.
    pub value: Option<Bytes>,
    /// Headers in order.
    pub headers: Vec<Header>,
}

/// The fields of a record a broker checks, without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordShape {
    /// Position in the batch's sequence, from 0.
    pub index: i32,
    /// Offset minus the batch's base offset.
    pub offset_delta: i32,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Whether it has a key.
    pub has_key: bool,
    /// Whether it has a value.
    pub has_value: bool,
}

/// Where a record's parts are in the block of records.
struct Layout {
    shape: RecordShape,
    key: Option<(usize, usize)>,
    value: Option<(usize, usize)>,
    header_count: usize,
    /// Where headers start.
    headers_at: usize,
    end: usize,
}

fn malformed(index: i32, reason: &'static str) -> RecordError {
    RecordError::BadRecord { index, reason }
}

fn nullable(reader: &mut Reader<'_>) -> Option<Option<(usize, usize)>> {
    match reader.varint()? {
        -1 => Some(None),
        len => {
            let len = usize::try_from(len).ok()?;
            let start = reader.skip(len)?;
            Some(Some((start, start + len)))
        }
    }
}

#[inline]
fn layout(data: &[u8], at: usize, index: i32, header: &BatchHeader) -> Result<Layout, RecordError> {
    let mut reader = Reader::at(data, at);
    let len = reader
        .varint()
        .ok_or_else(|| malformed(index, "its length is cut off"))?;
    let end = usize::try_from(len)
        .ok()
        .filter(|len| *len <= reader.remaining())
        .map(|len| reader.position() + len)
        .ok_or_else(|| malformed(index, "its length is negative or beyond the batch"))?;
    // Everything below has to stay within the record.
    let body = data.get(..end).unwrap_or_default();
    let mut reader = Reader::at(body, reader.position());
    reader
        .byte()
        .ok_or_else(|| malformed(index, "its attributes are missing"))?;
    let timestamp_delta = reader
        .varlong()
        .ok_or_else(|| malformed(index, "its timestamp is malformed"))?;
    let offset_delta = reader
        .varint()
        .ok_or_else(|| malformed(index, "its offset is malformed"))?;
    if offset_delta < 0 || offset_delta > header.last_offset_delta {
        return Err(malformed(index, "its offset is outside the batch"));
    }
    let key = nullable(&mut reader).ok_or_else(|| malformed(index, "its key is malformed"))?;
    let value = nullable(&mut reader).ok_or_else(|| malformed(index, "its value is malformed"))?;
    let header_count = reader
        .varint()
        .and_then(|count| usize::try_from(count).ok())
        // The smallest header takes two bytes.
        .filter(|count| *count <= reader.remaining() / 2)
        .ok_or_else(|| malformed(index, "its header count is malformed"))?;
    if header_count == 0 && reader.position() != end {
        return Err(malformed(index, "it is shorter than its length says"));
    }
    let timestamp = if header.is_log_append_time() {
        header.max_timestamp
    } else {
        header.base_timestamp.wrapping_add(timestamp_delta)
    };
    Ok(Layout {
        shape: RecordShape {
            index,
            offset_delta,
            timestamp,
            has_key: key.is_some(),
            has_value: value.is_some(),
        },
        key,
        value,
        header_count,
        headers_at: reader.position(),
        end,
    })
}

/// Calls `each` with every header of a record; `None` for a null value.
fn walk_headers(
    data: &[u8],
    layout: &Layout,
    mut each: impl FnMut((usize, usize), Option<(usize, usize)>),
) -> Result<(), RecordError> {
    let index = layout.shape.index;
    let body = data.get(..layout.end).unwrap_or_default();
    let mut reader = Reader::at(body, layout.headers_at);
    for _ in 0..layout.header_count {
        let key = nullable(&mut reader)
            .flatten()
            .ok_or_else(|| malformed(index, "a header's key is malformed"))?;
        let value = nullable(&mut reader)
            .ok_or_else(|| malformed(index, "a header's value is malformed"))?;
        each(key, value);
    }
    if reader.position() != layout.end {
        return Err(malformed(index, "it is shorter than its length says"));
    }
    Ok(())
}

/// Checks every record of a block and shows its shape.
pub(crate) fn inspect(
    data: &[u8],
    header: &BatchHeader,
    mut each: impl FnMut(RecordShape),
) -> Result<(), RecordError> {
    let mut at = 0;
    for index in 0..header.record_count {
        let layout = layout(data, at, index, header)?;
        if layout.header_count > 0 {
            walk_headers(data, &layout, |_, _| {})?;
        }
        each(layout.shape);
        at = layout.end;
    }
    if at != data.len() {
        return Err(malformed(
            header.record_count,
            "bytes follow the last record",
        ));
    }
    Ok(())
}

/// The records of a batch, in order. Ends after the first error.
#[derive(Debug, Clone)]
pub struct RecordIter {
    data: Bytes,
    header: BatchHeader,
    at: usize,
    index: i32,
}

impl RecordIter {
    pub(crate) fn new(header: BatchHeader, data: Bytes) -> Self {
        Self {
            data,
            header,
            at: 0,
            index: 0,
        }
    }

    /// The batch the records are from.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    fn read(&mut self) -> Result<Record, RecordError> {
        let layout = layout(&self.data, self.at, self.index, &self.header)?;
        let slice = |(from, to): (usize, usize)| self.data.slice(from..to);
        let mut headers = Vec::new();
        if layout.header_count > 0 {
            headers.reserve_exact(layout.header_count);
            walk_headers(&self.data, &layout, |key, value| {
                headers.push(Header {
                    key: slice(key),
                    value: value.map(slice),
                });
            })?;
        }
        let record = Record {
            offset: self
                .header
                .base_offset
                .saturating_add(i64::from(layout.shape.offset_delta)),
            timestamp: layout.shape.timestamp,
            key: layout.key.map(slice),
            value: layout.value.map(slice),
            headers,
        };
        self.at = layout.end;
        self.index += 1;
        Ok(record)
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.header.record_count {
            if self.at < self.data.len() {
                self.at = self.data.len();
                return Some(Err(malformed(self.index, "bytes follow the last record")));
            }
            return None;
        }
        let record = self.read();
        if record.is_err() {
            self.index = i32::MAX;
            self.at = self.data.len();
        }
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // A record takes at least seven bytes, so the count cannot reserve more than the batch is large.
        let possible = (self.data.len().saturating_sub(self.at) / 7).saturating_add(1);
        let left =
            usize::try_from(self.header.record_count.saturating_sub(self.index)).unwrap_or(0);
        (left.min(possible), Some(left.saturating_add(1)))
    }
}
