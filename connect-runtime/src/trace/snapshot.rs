//! A record as it is at one point of its way. Keys, values and headers are shared, not copied.

use std::sync::Arc;

use bytes::Bytes;
use connect_core::transform::RecordView;
use connect_core::{Headers, SchemaRef, SinkRecord, SourceRecord, Str, Value};
use kafka_client::ProducerRecord;

use crate::tolerance::Consumed;

/// A record at one point.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: Option<i32>,
    pub(crate) offset: Option<i64>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Part,
    pub(crate) value: Part,
    pub(crate) headers: Vec<(Str, Part)>,
}

/// A key, a value or that of a header.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// As connectors and transforms see it.
    Value(Value, Option<SchemaRef>),
    /// As it is in a topic.
    Bytes(Option<Bytes>),
}

impl Snapshot {
    pub(crate) fn of_source(record: &SourceRecord) -> Self {
        Self {
            topic: Arc::clone(&record.topic),
            partition: record.partition,
            offset: None,
            timestamp: record.timestamp,
            key: Part::Value(record.key.clone(), record.key_schema.clone()),
            value: Part::Value(record.value.clone(), record.value_schema.clone()),
            headers: headers(&record.headers),
        }
    }

    pub(crate) fn of_sink(record: &SinkRecord) -> Self {
        Self {
            topic: Arc::clone(&record.topic),
            partition: Some(record.partition),
            offset: Some(record.offset),
            timestamp: record.timestamp,
            key: Part::Value(record.key.clone(), record.key_schema.clone()),
            value: Part::Value(record.value.clone(), record.value_schema.clone()),
            headers: headers(&record.headers),
        }
    }

    pub(crate) fn of_view(record: &RecordView<'_>) -> Self {
        Self {
            topic: Arc::clone(record.topic),
            partition: record.partition(),
            offset: record.offset(),
            timestamp: *record.timestamp,
            key: Part::Value(record.key.clone(), record.key_schema.clone()),
            value: Part::Value(record.value.clone(), record.value_schema.clone()),
            headers: headers(record.headers),
        }
    }

    pub(crate) fn of_consumed(topic: &Arc<str>, consumed: Consumed<'_>) -> Self {
        let record = consumed.record;
        Self {
            topic: Arc::clone(topic),
            partition: Some(consumed.partition),
            offset: Some(record.offset),
            timestamp: (record.timestamp >= 0).then_some(record.timestamp),
            key: Part::Bytes(record.key.clone()),
            value: Part::Bytes(record.value.clone()),
            headers: raw_headers(&record.headers),
        }
    }

    pub(crate) fn of_produced(topic: &Arc<str>, record: &ProducerRecord) -> Self {
        Self {
            topic: Arc::clone(topic),
            partition: record.partition,
            offset: None,
            timestamp: record.timestamp,
            key: Part::Bytes(record.key.clone()),
            value: Part::Bytes(record.value.clone()),
            headers: raw_headers(&record.headers),
        }
    }
}

fn headers(headers: &Headers) -> Vec<(Str, Part)> {
    let headers = headers.iter();
    let pair = |header: &connect_core::Header| {
        let part = Part::Value(header.value.clone(), header.schema.clone());
        (header.key.clone(), part)
    };
    headers.map(pair).collect()
}

fn raw_headers(headers: &[kafka_client::Header]) -> Vec<(Str, Part)> {
    let pair = |header: &kafka_client::Header| {
        let key = Str::from_utf8_lossy(header.key.clone());
        (key, Part::Bytes(header.value.clone()))
    };
    headers.iter().map(pair).collect()
}
