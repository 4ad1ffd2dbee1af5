//! Records: what sources give and sinks take.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::header::Headers;
use crate::position::SourcePosition;
use crate::schema::SchemaRef;
use crate::value::Value;

/// One partition of a topic.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's index.
    pub partition: i32,
}

impl TopicPartition {
    /// A partition of a topic.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        TopicPartition {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// For each partition the offset of the *next* record to read, as Kafka commits them.
pub type OffsetMap = BTreeMap<TopicPartition, i64>;

/// A record on its way from a source to a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceRecord {
    /// The topic to write to; clone one `Arc` per topic, not one text per record.
    pub topic: Arc<str>,
    /// The partition to write to; `None` lets the key, or chance, decide.
    pub partition: Option<i32>,
    /// The key; [`Value::Null`] for none.
    pub key: Value,
    /// The promise about the key.
    pub key_schema: Option<SchemaRef>,
    /// The value.
    pub value: Value,
    /// The promise about the value.
    pub value_schema: Option<SchemaRef>,
    /// The headers.
    pub headers: Headers,
    /// Milliseconds since the epoch; `None` takes the time of sending.
    pub timestamp: Option<i64>,
    /// Where the source stands after this record.
    ///
    /// `None` means: covered by the next record of the same poll that has one. So a source that reads
    /// a chunk of a thousand lines may put a position on the last of them only; its offset is stored
    /// once all thousand are safe, and a crash before that repeats them. If no later record of the
    /// poll has one, the record is sent but never moves the stored offset.
    pub position: Option<SourcePosition>,
}

impl SourceRecord {
    /// A record with a value and nothing else; set the public fields for the rest.
    pub fn new(topic: Arc<str>, value: impl Into<Value>) -> Self {
        SourceRecord {
            topic,
            partition: None,
            key: Value::Null,
            key_schema: None,
            value: value.into(),
            value_schema: None,
            headers: Headers::new(),
            timestamp: None,
            position: None,
        }
    }

    /// Sets the value's schema.
    pub fn with_value_schema(mut self, schema: SchemaRef) -> Self {
        self.value_schema = Some(schema);
        self
    }

    /// Sets the key and its schema.
    pub fn with_key(mut self, key: impl Into<Value>, schema: Option<SchemaRef>) -> Self {
        self.key = key.into();
        self.key_schema = schema;
        self
    }

    /// Sets the timestamp, in milliseconds since the epoch.
    pub fn with_timestamp(mut self, timestamp_ms: i64) -> Self {
        self.timestamp = Some(timestamp_ms);
        self
    }

    /// Sets where the source stands after this record.
    pub fn at(mut self, position: SourcePosition) -> Self {
        self.position = Some(position);
        self
    }
}

/// Who set a record's timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// Nobody.
    None,
    /// The producer, when it made the record.
    #[default]
    CreateTime,
    /// The broker, when it appended the record.
    LogAppendTime,
}

/// Where a record was read from, before transforms changed that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// What a worker keeps with a record, to know it again when it is
/// [reported](crate::SinkTaskContext::report). It says nothing about the record, so any two are equal.
#[derive(Clone, Default)]
pub struct Attachment(Option<Arc<dyn Any + Send + Sync>>);

impl Attachment {
    /// Made by the worker.
    pub fn new(kept: Arc<dyn Any + Send + Sync>) -> Self {
        Attachment(Some(kept))
    }

    /// What is kept, if it is of this type.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.as_ref()?.downcast_ref()
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attachment")
    }
}

impl PartialEq for Attachment {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A record on its way from a topic to a sink.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkRecord {
    /// The topic, as transforms left it.
    pub topic: Arc<str>,
    /// The partition, as transforms left it.
    pub partition: i32,
    /// The offset in the partition it was read from.
    pub offset: i64,
    /// Milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// The key.
    pub key: Value,
    /// The promise about the key.
    pub key_schema: Option<SchemaRef>,
    /// The value.
    pub value: Value,
    /// The promise about the value.
    pub value_schema: Option<SchemaRef>,
    /// The headers.
    pub headers: Headers,
    /// Where the record was read from, if a transform changed topic or partition; use
    /// [`SinkRecord::source`] (KIP-793).
    pub original: Option<Box<Origin>>,
    /// The worker's; keep it with the record.
    pub attachment: Attachment,
}

impl SinkRecord {
    /// A record with a value and nothing else; set the public fields for the rest.
    pub fn new(topic: Arc<str>, partition: i32, offset: i64, value: impl Into<Value>) -> Self {
        SinkRecord {
            topic,
            partition,
            offset,
            timestamp: None,
            timestamp_type: TimestampType::CreateTime,
            key: Value::Null,
            key_schema: None,
            value: value.into(),
            value_schema: None,
            headers: Headers::new(),
            original: None,
            attachment: Attachment::default(),
        }
    }

    /// The partition and offset it was read from, which are what offsets are committed for.
    pub fn source(&self) -> (TopicPartition, i64) {
        match &self.original {
            Some(origin) => (
                TopicPartition {
                    topic: Arc::clone(&origin.topic),
                    partition: origin.partition,
                },
                origin.offset,
            ),
            None => (
                TopicPartition {
                    topic: Arc::clone(&self.topic),
                    partition: self.partition,
                },
                self.offset,
            ),
        }
    }
}
