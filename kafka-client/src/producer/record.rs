//! One record on its way out.

use bytes::Bytes;
use kafka_records::{Header, RecordRef};

/// A record to be sent. Key and value are shared slices; they are copied once, into the batch.
#[derive(Debug, Clone, Default)]
pub struct ProducerRecord {
    /// The partition; `None` lets the key decide, or without a key spreads batch by batch.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; `None` is now.
    pub timestamp: Option<i64>,
    /// The key, if any.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<Header>,
}

impl ProducerRecord {
    /// A record with a value only.
    pub fn value(value: impl Into<Bytes>) -> Self {
        Self {
            value: Some(value.into()),
            ..Self::default()
        }
    }

    /// A record with key and value.
    pub fn keyed(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self {
            key: Some(key.into()),
            value: Some(value.into()),
            ..Self::default()
        }
    }

    pub(crate) fn as_ref(&self, now: i64) -> RecordRef<'_> {
        RecordRef {
            timestamp: self.timestamp.unwrap_or(now),
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &self.headers,
        }
    }

    /// An upper bound of the bytes it takes in a batch.
    pub(crate) fn size_bound(&self) -> usize {
        /// Length, attributes, timestamp, offset, key length, value length, header count.
        const OVERHEAD: usize = 5 + 1 + 10 + 5 + 5 + 5 + 5;
        let headers: usize = self
            .headers
            .iter()
            .map(|header| 10 + header.key.len() + header.value.as_ref().map_or(0, Bytes::len))
            .sum();
        OVERHEAD
            + self.key.as_ref().map_or(0, Bytes::len)
            + self.value.as_ref().map_or(0, Bytes::len)
            + headers
    }
}
