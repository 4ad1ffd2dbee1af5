//! Records and transforms for this folder's tests.

use super::{Fate, RecordView, Transform};
use crate::config::ConfigMap;
use crate::error::ConnectError;
use crate::record::{SinkRecord, SourceRecord};
use crate::schema::{Schema, SchemaRef};
use crate::structure::Struct;
use crate::value::Value;

pub(super) fn map_of(keys: &[(&str, &str)]) -> ConfigMap {
    let keys = keys.iter();
    keys.map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
        .collect()
}

pub(super) fn transform(class: &str, keys: &[(&str, &str)]) -> Box<dyn Transform> {
    (super::find(class).unwrap().make)(&map_of(keys)).unwrap()
}

/// The problems of a configuration, as users read them.
pub(super) fn problems(class: &str, keys: &[(&str, &str)]) -> Vec<String> {
    let problems = (super::find(class).unwrap().make)(&map_of(keys))
        .err()
        .unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}

pub(super) fn source(value: Value) -> SourceRecord {
    let schema = value.as_struct().map(|fields| fields.schema().clone());
    let mut record = SourceRecord::new("topic".into(), value);
    record.value_schema = schema;
    record
}

pub(super) fn sink(value: Value) -> SinkRecord {
    let schema = value.as_struct().map(|fields| fields.schema().clone());
    let mut record = SinkRecord::new("topic".into(), 3, 42, value);
    record.value_schema = schema;
    record
}

pub(super) fn apply(
    transform: &dyn Transform,
    record: &mut SourceRecord,
) -> Result<Fate, ConnectError> {
    transform.apply(&mut RecordView::from(record))
}

/// What a transform makes of a value, checked against its new schema.
pub(super) fn changed(transform: &dyn Transform, value: Value) -> Value {
    let mut record = source(value);
    assert_eq!(apply(transform, &mut record).unwrap(), Fate::Keep);
    if let Some(schema) = &record.value_schema {
        schema.validate(&record.value).unwrap();
    }
    record.value
}

pub(super) fn error(transform: &dyn Transform, value: Value) -> String {
    let error = apply(transform, &mut source(value)).unwrap_err();
    assert_eq!(error.class(), crate::error::ErrorClass::Record);
    error.report()
}

/// `{a=1, b=text}`
pub(super) fn map() -> Value {
    Value::map([
        (Value::string("a"), Value::Int32(1)),
        (Value::string("b"), Value::string("text")),
    ])
}

/// `Struct{a=1,b=text}`
pub(super) fn pair() -> Value {
    let schema = Schema::structure()
        .name("Pair")
        .field("a", SchemaRef::INT32)
        .field("b", SchemaRef::OPTIONAL_STRING)
        .build();
    let fields = Struct::new(schema).unwrap();
    Value::from(fields.with("a", 1).unwrap().with("b", "text").unwrap())
}
