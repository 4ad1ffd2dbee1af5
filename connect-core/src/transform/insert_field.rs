//! `InsertField`: adds where and when a record is, or a fixed text, as fields.

use std::sync::{Arc, Mutex, PoisonError};

use super::fields::{DerivedSchemas, basics, fill, no_fields, put_named};
use super::{Fate, Part, RecordView, Transform, registry};
use crate::config::{Config, Problem};
use crate::error::ConnectError;
use crate::schema::{Field, Schema, SchemaRef};
use crate::text::Str;
use crate::value::Value;

#[derive(Config)]
pub(super) struct InsertFieldConfig {
    /// The field for the topic; "!" behind the name makes it required, "?" optional (the default).
    topic_field: Option<String>,
    /// The field for the partition, with "!" or "?" as for the topic.
    partition_field: Option<String>,
    /// The field for the offset, of sinks only, with "!" or "?" as for the topic.
    offset_field: Option<String>,
    /// The field for the timestamp, with "!" or "?" as for the topic.
    timestamp_field: Option<String>,
    /// The field for a fixed text, with "!" or "?" as for the topic.
    static_field: Option<String>,
    /// The fixed text.
    static_value: Option<String>,
    /// Whether fields that are null get their default.
    #[config(default = true)]
    replace_null_with_default: bool,
}

enum Content {
    Topic,
    Partition,
    Offset,
    Timestamp,
    Fixed(Str),
}

struct Insertion {
    name: Str,
    optional: bool,
    content: Content,
}

impl Insertion {
    fn new(text: &str, content: Content) -> Self {
        let (name, optional) = match text.strip_suffix('!') {
            Some(name) => (name, false),
            None => (text.strip_suffix('?').unwrap_or(text), true),
        };
        Insertion {
            name: name.into(),
            optional,
            content,
        }
    }

    fn schema(&self) -> SchemaRef {
        match (&self.content, self.optional) {
            (Content::Topic | Content::Fixed(_), false) => SchemaRef::STRING,
            (Content::Topic | Content::Fixed(_), true) => SchemaRef::OPTIONAL_STRING,
            (Content::Partition, false) => SchemaRef::INT32,
            (Content::Partition, true) => SchemaRef::OPTIONAL_INT32,
            (Content::Offset, false) => SchemaRef::INT64,
            (Content::Offset, true) => SchemaRef::OPTIONAL_INT64,
            (Content::Timestamp, false) => Schema::timestamp().build(),
            (Content::Timestamp, true) => Schema::timestamp().optional().build(),
        }
    }

    fn value(&self, place: &Place) -> Result<Value, ConnectError> {
        Ok(match &self.content {
            Content::Topic => place.topic.clone().map_or(Value::Null, Value::String),
            Content::Partition => place.partition.into(),
            Content::Offset => match place.offset {
                Some(offset) => offset.into(),
                None => {
                    return Err(ConnectError::record(
                        "a source's record has no offset yet; \"offset.field\" is for sinks",
                    ));
                }
            },
            Content::Timestamp => place.timestamp.map_or(Value::Null, Value::Timestamp),
            Content::Fixed(text) => Value::String(text.clone()),
        })
    }
}

/// Where and when a record is.
struct Place {
    /// If somebody wants to know.
    topic: Option<Str>,
    partition: Option<i32>,
    offset: Option<i64>,
    timestamp: Option<i64>,
}

struct InsertField {
    part: Part,
    insertions: Vec<Insertion>,
    replace_null: bool,
    schemas: DerivedSchemas,
    /// The last topic, so that records of one topic share one text.
    topic: Mutex<Option<(Arc<str>, Str)>>,
}

registry::register_parts!("InsertField", InsertField, InsertFieldConfig);

impl InsertField {
    fn new(part: Part, config: InsertFieldConfig) -> Result<Self, Vec<Problem>> {
        let fixed = match (&config.static_field, config.static_value) {
            (Some(_), None) => {
                let message = "is missing; \"static.field\" needs it";
                return Err(vec![Problem::new("static.value", message)]);
            }
            (_, value) => value.unwrap_or_default(),
        };
        let insertions: Vec<Insertion> = [
            (&config.topic_field, Content::Topic),
            (&config.partition_field, Content::Partition),
            (&config.offset_field, Content::Offset),
            (&config.timestamp_field, Content::Timestamp),
            (&config.static_field, Content::Fixed(fixed.into())),
        ]
        .into_iter()
        .filter_map(|(name, content)| Some(Insertion::new(name.as_ref()?, content)))
        .collect();
        if insertions.is_empty() {
            let message = "is missing, and so are partition.field, offset.field, timestamp.field and \
                           static.field; at least one is needed";
            return Err(vec![Problem::new("topic.field", message)]);
        }
        Ok(InsertField {
            part,
            insertions,
            replace_null: config.replace_null_with_default,
            schemas: DerivedSchemas::default(),
            topic: Mutex::default(),
        })
    }

    fn place(&self, record: &RecordView<'_>) -> Place {
        let wanted = |insertion: &Insertion| matches!(insertion.content, Content::Topic);
        let topic = self.insertions.iter().any(wanted).then(|| {
            let mut last = self.topic.lock().unwrap_or_else(PoisonError::into_inner);
            match &*last {
                Some((of, text)) if Arc::ptr_eq(of, record.topic) => text.clone(),
                _ => {
                    let text = Str::from(&**record.topic);
                    *last = Some((Arc::clone(record.topic), text.clone()));
                    text
                }
            }
        });
        Place {
            topic,
            partition: record.partition(),
            offset: record.offset(),
            timestamp: *record.timestamp,
        }
    }

    fn schema(&self, of: &Schema) -> Result<Schema, ConnectError> {
        let mut schema = basics(of);
        for insertion in &self.insertions {
            if schema.field(&insertion.name).is_some() {
                return Err(ConnectError::record(format!(
                    "there is a field \"{}\" already",
                    insertion.name
                )));
            }
            schema.fields.push(Field {
                name: insertion.name.to_string().into(),
                schema: insertion.schema(),
            });
        }
        Ok(schema)
    }
}

impl Transform for InsertField {
    fn apply(&self, record: &mut RecordView<'_>) -> Result<Fate, ConnectError> {
        if record.part(self.part).0.is_null() {
            return Ok(Fate::Keep);
        }
        let place = self.place(record);
        let (value, value_schema) = record.part(self.part);
        match value {
            Value::Struct(fields) => {
                let schema = self.schemas.of(fields.schema(), |of| self.schema(of))?;
                let fields = Arc::make_mut(fields);
                fill(fields, self.replace_null);
                // Values first: a struct is whole even where one of them is missing.
                let mut new = Vec::with_capacity(self.insertions.len());
                for insertion in &self.insertions {
                    let value = insertion.value(&place)?;
                    if value.is_null() && !insertion.optional {
                        return Err(ConnectError::record(format!(
                            "there is nothing to put into the required field \"{}\"",
                            insertion.name
                        )));
                    }
                    new.push(value);
                }
                let (own, values) = fields.parts_mut();
                values.append(&mut new);
                *own = schema.clone();
                *value_schema = Some(schema);
            }
            Value::Map(entries) if value_schema.is_none() => {
                let entries = Arc::make_mut(entries);
                for insertion in &self.insertions {
                    // Without a schema, Kafka inserts the plain number, and what is not known not at all.
                    match insertion.value(&place)? {
                        Value::Null => {}
                        Value::Timestamp(ms) => {
                            put_named(entries, &insertion.name, Value::Int64(ms));
                        }
                        new => put_named(entries, &insertion.name, new),
                    }
                }
            }
            other => return Err(no_fields(other, "insert fields into the part")),
        }
        Ok(Fate::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn fields_are_added_to_structs_and_maps() {
        let keys = [
            ("topic.field", "t!"),
            ("static.field", "s"),
            ("static.value", "x"),
        ];
        let insert = transform("InsertField$Value", &keys);
        assert_eq!(
            changed(&*insert, pair()).to_string(),
            "Struct{a=1,b=text,t=topic,s=x}"
        );
        assert_eq!(
            changed(&*insert, map()).to_string(),
            "{a=1, b=text, t=topic, s=x}"
        );
        assert_eq!(changed(&*insert, Value::Null), Value::Null);
        assert!(error(&*insert, Value::Int8(1)).contains("int8"));
        assert!(
            error(&*transform("InsertField", &[("topic.field", "a")]), pair()).contains("already")
        );
    }

    #[test]
    fn only_a_sink_s_record_has_an_offset() {
        let insert = transform(
            "InsertField",
            &[
                ("offset.field", "o"),
                ("partition.field", "p"),
                ("timestamp.field", "ts"),
            ],
        );
        let mut record = sink(pair());
        let view = &mut RecordView::from(&mut record);
        assert_eq!(insert.apply(view).unwrap(), Fate::Keep);
        let fields = record.value.as_struct().unwrap();
        assert_eq!(fields.get("o"), Some(&Value::Int64(42)));
        assert_eq!(fields.get("p"), Some(&Value::Int32(3)));
        assert_eq!(fields.get("ts"), Some(&Value::Null));
        assert!(error(&*insert, map()).contains("for sinks"));
        let required = transform("InsertField", &[("timestamp.field", "ts!")]);
        assert!(error(&*required, pair()).contains("\"ts\""));
        let mut timed = source(map()).with_timestamp(7);
        assert_eq!(apply(&*required, &mut timed).unwrap(), Fate::Keep);
        assert_eq!(timed.value.to_string(), "{a=1, b=text, ts=7}");
    }

    #[test]
    fn something_must_be_inserted() {
        assert_eq!(problems("InsertField", &[]).len(), 1);
        assert_eq!(
            problems("InsertField", &[("static.field", "x")]),
            ["\"static.value\" is missing; \"static.field\" needs it"]
        );
    }
}
