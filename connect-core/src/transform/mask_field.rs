//! `MaskField`: replaces fields by their type's empty value, or by a text or number.

use std::str::FromStr;
use std::sync::Arc;

use super::fields::{fill, no_fields};
use super::{Fate, Part, RecordView, Transform, registry};
use crate::config::{Config, Problem};
use crate::decimal::Decimal;
use crate::error::ConnectError;
use crate::text::Str;
use crate::value::Value;

#[derive(Config)]
pub(super) struct MaskFieldConfig {
    /// The fields to mask.
    #[config(importance = "high", non_empty)]
    fields: Vec<String>,
    /// What stands in their place, for texts and numbers; without it the type's empty value.
    #[config(non_empty)]
    replacement: Option<String>,
    /// Whether fields that are null get their default.
    #[config(default = true)]
    replace_null_with_default: bool,
}

struct MaskField {
    part: Part,
    config: MaskFieldConfig,
    replacement: Option<Str>,
}

registry::register_parts!("MaskField", MaskField, MaskFieldConfig);

impl MaskField {
    fn new(part: Part, config: MaskFieldConfig) -> Result<Self, Vec<Problem>> {
        Ok(MaskField {
            part,
            replacement: config.replacement.as_deref().map(Str::from),
            config,
        })
    }

    fn masks(&self, name: &str) -> bool {
        self.config.fields.iter().any(|field| field == name)
    }

    fn masked(&self, name: &str, value: &Value) -> Result<Value, ConnectError> {
        match &self.replacement {
            None => empty(value),
            Some(text) => replaced(value, text),
        }
        .map_err(|error| error.context(format_args!("field \"{name}\"")))
    }
}

fn empty(value: &Value) -> Result<Value, ConnectError> {
    Ok(match value {
        Value::Null => Value::Null,
        Value::Boolean(_) => Value::Boolean(false),
        Value::Int8(_) => Value::Int8(0),
        Value::Int16(_) => Value::Int16(0),
        Value::Int32(_) => Value::Int32(0),
        Value::Int64(_) => Value::Int64(0),
        Value::Float32(_) => Value::Float32(0.0),
        Value::Float64(_) => Value::Float64(0.0),
        Value::String(_) => Value::string(""),
        Value::Array(_) => Value::array([]),
        Value::Map(_) => Value::map([]),
        Value::Decimal(number) => Value::from(Decimal::new(0, number.scale)),
        Value::Date(_) => Value::Date(0),
        Value::Time(_) => Value::Time(0),
        Value::Timestamp(_) => Value::Timestamp(0),
        Value::Bytes(_) | Value::Struct(_) => {
            return Err(ConnectError::record(format!(
                "cannot mask a {}",
                value.type_name()
            )));
        }
    })
}

fn replaced(value: &Value, text: &Str) -> Result<Value, ConnectError> {
    fn parse<T: FromStr + Into<Value>>(value: &Value, text: &str) -> Result<Value, ConnectError> {
        text.trim().parse::<T>().map(Into::into).map_err(|_| {
            ConnectError::record(format!(
                "the replacement \"{text}\" is no {}",
                value.type_name()
            ))
        })
    }
    match value {
        Value::Null => Ok(Value::Null),
        Value::Int8(_) => parse::<i8>(value, text),
        Value::Int16(_) => parse::<i16>(value, text),
        Value::Int32(_) => parse::<i32>(value, text),
        Value::Int64(_) => parse::<i64>(value, text),
        Value::Float32(_) => parse::<f32>(value, text),
        Value::Float64(_) => parse::<f64>(value, text),
        Value::Decimal(number) => text
            .trim()
            .parse::<Decimal>()
            .ok()
            .and_then(|replacement| replacement.with_scale(number.scale))
            .map(Value::from)
            .ok_or_else(|| {
                ConnectError::record(format!(
                    "the replacement \"{text}\" is no number with {} digits after the point",
                    number.scale
                ))
            }),
        Value::String(_) => Ok(Value::String(text.clone())),
        other => Err(ConnectError::record(format!(
            "cannot mask a {} with a replacement; only texts and numbers",
            other.type_name()
        ))),
    }
}

impl Transform for MaskField {
    fn apply(&self, record: &mut RecordView<'_>) -> Result<Fate, ConnectError> {
        let (value, value_schema) = record.part(self.part);
        match value {
            Value::Null => {}
            Value::Struct(fields) => {
                let fields = Arc::make_mut(fields);
                fill(fields, self.config.replace_null_with_default);
                let (schema, values) = fields.parts_mut();
                for (field, value) in schema.fields().iter().zip(values) {
                    if self.masks(&field.name) {
                        *value = self.masked(&field.name, value)?;
                    }
                }
            }
            Value::Map(entries) if value_schema.is_none() => {
                for (name, value) in Arc::make_mut(entries) {
                    if let Some(name) = name.as_str().filter(|name| self.masks(name)) {
                        *value = self.masked(name, value)?;
                    }
                }
            }
            other => return Err(no_fields(other, "mask fields")),
        }
        Ok(Fate::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn fields_become_empty_or_something_else() {
        let empty = transform("MaskField", &[("fields", "a,b")]);
        assert_eq!(changed(&*empty, pair()).to_string(), "Struct{a=0,b=}");
        assert_eq!(changed(&*empty, map()).to_string(), "{a=0, b=}");
        assert_eq!(changed(&*empty, Value::Null), Value::Null);
        let hidden = transform(
            "MaskField$Value",
            &[("fields", "b"), ("replacement", "***")],
        );
        assert_eq!(changed(&*hidden, pair()).to_string(), "Struct{a=1,b=***}");
        let wrong = transform("MaskField", &[("fields", "a"), ("replacement", "x")]);
        assert_eq!(
            error(&*wrong, map()),
            "field \"a\": the replacement \"x\" is no int32"
        );
        assert!(error(&*empty, Value::string("x")).contains("string"));
        let bytes = Value::map([(Value::string("a"), Value::from(vec![1u8]))]);
        assert!(error(&*empty, bytes).contains("cannot mask a bytes"));
    }

    #[test]
    fn all_mistakes_are_said_at_once() {
        assert_eq!(problems("MaskField", &[("replacement", "")]).len(), 2);
    }
}
