//! `ValueToKey`: fields of the value become the key.
//!
//! Fields are named, not reached by a path: `field.syntax.version` is not read.

use super::fields::{DerivedSchemas, current, get, no_field, no_fields, put, structure};
use super::{Fate, RecordView, Transform, registry};
use crate::config::{Config, Problem};
use crate::error::ConnectError;
use crate::schema::{Schema, SchemaRef};
use crate::structure::Struct;
use crate::value::Value;

#[derive(Config)]
pub(super) struct ValueToKeyConfig {
    /// The fields.
    #[config(importance = "high", non_empty)]
    fields: Vec<String>,
    /// Whether fields that are null get their default.
    #[config(default = true)]
    replace_null_with_default: bool,
}

struct ValueToKey {
    config: ValueToKeyConfig,
    schemas: DerivedSchemas,
}

registry::register_whole!("ValueToKey", ValueToKey, ValueToKeyConfig);

impl ValueToKey {
    fn new(config: ValueToKeyConfig) -> Result<Self, Vec<Problem>> {
        Ok(ValueToKey {
            config,
            schemas: DerivedSchemas::default(),
        })
    }

    fn schema(&self, of: &Schema) -> Result<Schema, ConnectError> {
        let mut key = Schema::structure();
        for name in &self.config.fields {
            let (_, field) = of.field(name).ok_or_else(|| no_field(of, name))?;
            key = key.field(name.clone(), field.schema.clone());
        }
        Ok(Schema::clone(&key.build()))
    }

    fn of_struct(&self, value: &Struct) -> Result<(Value, SchemaRef), ConnectError> {
        let schema = self.schemas.of(value.schema(), |of| self.schema(of))?;
        let replace_null = self.config.replace_null_with_default;
        let field = |field: &crate::schema::Field| {
            let value = value.get_without_default(&field.name);
            current(&field.schema, value.unwrap_or(&Value::Null), replace_null)
        };
        let values = schema.fields().iter().map(field).collect();
        Ok((structure(schema.clone(), values), schema))
    }
}

impl Transform for ValueToKey {
    fn apply(&self, record: &mut RecordView<'_>) -> Result<Fate, ConnectError> {
        match &*record.value {
            Value::Struct(fields) => {
                let (key, schema) = self.of_struct(fields)?;
                *record.key = key;
                *record.key_schema = Some(schema);
            }
            Value::Map(entries) if record.value_schema.is_none() => {
                let mut key = Vec::with_capacity(self.config.fields.len());
                for name in &self.config.fields {
                    put(
                        &mut key,
                        name,
                        get(entries, name).cloned().unwrap_or_default(),
                    );
                }
                *record.key = Value::map(key);
                *record.key_schema = None;
            }
            other => return Err(no_fields(other, "make a key of fields")),
        }
        Ok(Fate::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn fields_become_the_key() {
        let to_key = transform("ValueToKey", &[("fields", "b, a")]);
        for (value, key) in [(pair(), "Struct{b=text,a=1}"), (map(), "{b=text, a=1}")] {
            let mut record = source(value.clone());
            assert_eq!(apply(&*to_key, &mut record).unwrap(), Fate::Keep);
            assert_eq!(record.key.to_string(), key);
            assert_eq!(record.value, value);
        }
        assert!(error(&*to_key, Value::Null).contains("of a null"));
        assert!(error(&*transform("ValueToKey", &[("fields", "x")]), pair()).contains("\"x\""));
        assert_eq!(problems("ValueToKey", &[("fields", "")]).len(), 1);
    }
}
