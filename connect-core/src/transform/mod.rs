//! Transforms: small changes to records between a connector and the converters; and predicates, which
//! say to which records a transform applies.
//!
//! A source's records pass them after `poll` and before the converters, a sink's after the converters
//! and before `put`. They are found by Kafka's class name, or its last part in any case ([`find`]).
//! Classes with a `$` come twice, as `…$Key` and `…$Value`; without that ending the value is meant.
//!
//! | class (`org.apache.kafka.connect.transforms.…`) | what it does |
//! |---|---|
//! | `Cast$` | changes the type of fields, or of the whole |
//! | `DropHeaders` | removes headers |
//! | `ExtractField$` | leaves one field of it |
//! | `Filter` | drops every record; made for predicates |
//! | `Flatten$` | nested fields become fields with long names |
//! | `HeaderFrom$` | moves or copies fields into headers |
//! | `HoistField$` | wraps it into a field |
//! | `InsertField$` | adds topic, partition, offset, timestamp or a fixed text as fields |
//! | `InsertHeader` | adds a header |
//! | `MaskField$` | replaces fields by nothing or a fixed text |
//! | `RegexRouter` | renames the topic by a pattern |
//! | `ReplaceField$` | leaves out and renames fields |
//! | `SetSchemaMetadata$` | sets name and version of the schema |
//! | `TimestampConverter$` | turns points in time into other types |
//! | `TimestampRouter` | puts the timestamp into the topic's name |
//! | `ValueToKey` | makes a key of fields of the value |
//!
//! | predicate (`….transforms.predicates.…`) | holds if |
//! |---|---|
//! | `HasHeaderKey` | there is a header of that name |
//! | `RecordIsTombstone` | the value is null |
//! | `TopicNameMatches` | the whole name of the topic matches a pattern |
//!
//! Patterns are Java's, with look-around and back-references; what is different is said in
//! `java_pattern.rs`. What every transform makes of every kind of value is compared with Kafka's own in
//! `tests/as_kafka.rs`.
//!
//! Where a value has fields, it is a struct, or a map without schema; other values are errors of the
//! record. Structs that change get a schema that is derived once and remembered.

mod cast;
mod date_pattern;
mod drop_headers;
mod extract_field;
mod fields;
mod filter;
mod flatten;
mod header_from;
mod hoist_field;
mod insert_field;
mod insert_header;
mod java_pattern;
mod mask_field;
mod predicate;
mod regex_router;
mod registry;
mod replace_field;
mod set_schema_metadata;
#[cfg(test)]
mod testing;
mod timestamp_converter;
mod timestamp_router;
mod value_to_key;

use std::sync::Arc;

pub use registry::{
    Make, PredicateInfo, TransformInfo, find, find_predicate, list, list_predicates,
};

use crate::error::ConnectError;
use crate::header::Headers;
use crate::record::{SinkRecord, SourceRecord};
use crate::schema::SchemaRef;
use crate::value::Value;

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a dropped record must not go on"]
pub enum Fate {
    /// It goes on, as the transform left it.
    Keep,
    /// It ends here. The offset of its source advances all the same.
    Drop,
}

/// Changes records, or drops them.
///
/// Called for every record, by one task at a time; it does no I/O and never waits. Errors: record, this
/// record cannot be changed, and `errors.tolerance` decides; retriable, the same call may succeed later;
/// anything else fails the task. After an error the record may be changed in part.
pub trait Transform: Send + Sync {
    /// Changes a record in place.
    ///
    /// # Errors
    /// See the trait.
    fn apply(&self, record: &mut RecordView<'_>) -> Result<Fate, ConnectError>;
}

/// Says whether a transform applies to a record.
pub trait Predicate: Send + Sync {
    /// Whether it holds.
    fn test(&self, record: &RecordView<'_>) -> bool;
}

/// Key or value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// A source's or sink's record, to be changed in place.
#[derive(Debug)]
pub struct RecordView<'a> {
    /// The topic.
    pub topic: &'a mut Arc<str>,
    /// The key.
    pub key: &'a mut Value,
    /// The promise about the key.
    pub key_schema: &'a mut Option<SchemaRef>,
    /// The value.
    pub value: &'a mut Value,
    /// The promise about the value.
    pub value_schema: &'a mut Option<SchemaRef>,
    /// The headers.
    pub headers: &'a mut Headers,
    /// Milliseconds since the epoch.
    pub timestamp: &'a mut Option<i64>,
    partition: PartitionView<'a>,
    offset: Option<i64>,
}

#[derive(Debug)]
enum PartitionView<'a> {
    Source(&'a mut Option<i32>),
    Sink(&'a mut i32),
}

impl RecordView<'_> {
    /// The partition; `None` where a source leaves it to the key, or chance.
    pub fn partition(&self) -> Option<i32> {
        match &self.partition {
            PartitionView::Source(partition) => **partition,
            PartitionView::Sink(partition) => Some(**partition),
        }
    }

    /// Sets the partition.
    pub fn set_partition(&mut self, to: i32) {
        match &mut self.partition {
            PartitionView::Source(partition) => **partition = Some(to),
            PartitionView::Sink(partition) => **partition = to,
        }
    }

    /// The offset that a sink's record was read from.
    pub fn offset(&self) -> Option<i64> {
        self.offset
    }

    /// Key or value, with its schema.
    pub fn part(&mut self, part: Part) -> (&mut Value, &mut Option<SchemaRef>) {
        match part {
            Part::Key => (self.key, self.key_schema),
            Part::Value => (self.value, self.value_schema),
        }
    }
}

impl<'a> From<&'a mut SourceRecord> for RecordView<'a> {
    fn from(record: &'a mut SourceRecord) -> Self {
        RecordView {
            topic: &mut record.topic,
            key: &mut record.key,
            key_schema: &mut record.key_schema,
            value: &mut record.value,
            value_schema: &mut record.value_schema,
            headers: &mut record.headers,
            timestamp: &mut record.timestamp,
            partition: PartitionView::Source(&mut record.partition),
            offset: None,
        }
    }
}

impl<'a> From<&'a mut SinkRecord> for RecordView<'a> {
    fn from(record: &'a mut SinkRecord) -> Self {
        RecordView {
            topic: &mut record.topic,
            key: &mut record.key,
            key_schema: &mut record.key_schema,
            value: &mut record.value,
            value_schema: &mut record.value_schema,
            headers: &mut record.headers,
            timestamp: &mut record.timestamp,
            partition: PartitionView::Sink(&mut record.partition),
            offset: Some(record.offset),
        }
    }
}
