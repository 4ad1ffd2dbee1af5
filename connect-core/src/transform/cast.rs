//! `Cast`: other types for fields, or for the whole.

use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::fields::{DerivedSchemas, basics, current, no_fields, structure};
use super::{Fate, Part, RecordView, Transform, registry};
use crate::config::{Config, Problem};
use crate::error::ConnectError;
use crate::schema::{Schema, Type};
use crate::value::Value;

#[derive(Config)]
pub(super) struct CastConfig {
    /// Fields with their new types, each as "field:type", or one type for the whole; a type is one of
    /// int8, int16, int32, int64, float32, float64, boolean, string.
    #[config(importance = "high", non_empty)]
    spec: Vec<String>,
    /// Whether fields that are null get their default.
    #[config(default = true)]
    replace_null_with_default: bool,
}

enum Spec {
    Whole(Type),
    Fields(Vec<(String, Type)>),
}

struct Cast {
    part: Part,
    spec: Spec,
    replace_null: bool,
    schemas: DerivedSchemas,
}

registry::register_parts!("Cast", Cast, CastConfig);

const TYPES: [Type; 8] = [
    Type::Int8,
    Type::Int16,
    Type::Int32,
    Type::Int64,
    Type::Float32,
    Type::Float64,
    Type::Boolean,
    Type::String,
];

impl Cast {
    fn new(part: Part, config: CastConfig) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut fields = Vec::new();
        let mut whole = None;
        for text in &config.spec {
            let mut problem = |message: String| {
                problems.push(Problem::with_value("spec", text.as_str(), message))
            };
            let (name, kind) = match text.split_once(':') {
                Some((name, kind)) => (Some(name.trim()), kind.trim()),
                None => (None, text.as_str()),
            };
            let lower = kind.to_ascii_lowercase();
            let Some(kind) = TYPES.iter().copied().find(|known| known.name() == lower) else {
                let names = TYPES.map(Type::name).join(", ");
                problem(format!("expected one of the types {names}, got \"{kind}\""));
                continue;
            };
            match name {
                None if config.spec.len() > 1 => {
                    problem("expected \"field:type\" in every part, or one type alone".to_owned());
                }
                None => whole = Some(kind),
                Some(name) if fields.iter().any(|(other, _)| other == name) => {
                    problem(format!("expected field \"{name}\" once"));
                }
                Some(name) => fields.push((name.to_owned(), kind)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Cast {
            part,
            spec: whole.map_or(Spec::Fields(fields), Spec::Whole),
            replace_null: config.replace_null_with_default,
            schemas: DerivedSchemas::default(),
        })
    }
}

fn of_field(fields: &[(String, Type)], name: &str) -> Option<Type> {
    let mut fields = fields.iter();
    fields
        .find(|(field, _)| field == name)
        .map(|(_, kind)| *kind)
}

/// The schema of a cast value: the type, and what can still be said of null.
fn schema_of(kind: Type, old: &Schema) -> Result<Schema, ConnectError> {
    let mut schema = Schema::clone(&Schema::builder(kind).build());
    schema.optional = old.optional;
    if let Some(default) = old.default() {
        schema.default = Some(Box::new(cast(kind, default)?));
    }
    Ok(schema)
}

fn struct_schema(fields: &[(String, Type)], of: &Schema) -> Result<Schema, ConnectError> {
    let mut schema = basics(of);
    schema.optional = of.optional;
    for field in &mut schema.fields {
        if let Some(kind) = of_field(fields, &field.name) {
            field.schema = schema_of(kind, &field.schema)?.into();
        }
    }
    Ok(schema)
}

/// The value as another type, as Java converts numbers: what does not fit is cut off.
fn cast(kind: Type, value: &Value) -> Result<Value, ConnectError> {
    // Kafka casts the number that stands for a point in time, but its text where a text is wanted.
    let value = match value {
        Value::Null => return Ok(Value::Null),
        Value::Array(_) | Value::Map(_) | Value::Struct(_) => {
            return Err(ConnectError::record(format!(
                "cannot cast a {} to {kind}",
                value.type_name()
            )));
        }
        _ if kind == Type::String => {
            return Ok(match value {
                Value::String(_) => value.clone(),
                Value::Bytes(bytes) => Value::string(STANDARD.encode(bytes)),
                other => Value::string(other.to_string()),
            });
        }
        Value::Boolean(whether) => Value::Int8(i8::from(*whether)),
        Value::Date(days) | Value::Time(days) => Value::Int32(*days),
        Value::Timestamp(ms) => Value::Int64(*ms),
        Value::Decimal(number) => Value::Float64(number.to_f64()),
        other => other.clone(),
    };
    let number = match &value {
        Value::String(text) => return of_text(kind, text),
        Value::Float32(number) => Number::Float(f64::from(*number)),
        Value::Float64(number) => Number::Float(*number),
        other => match other.as_i64() {
            Some(number) => Number::Whole(number),
            None => {
                return Err(ConnectError::record(format!(
                    "cannot cast a {} to {kind}",
                    value.type_name()
                )));
            }
        },
    };
    Ok(number.into(kind))
}

enum Number {
    Whole(i64),
    Float(f64),
}

impl Number {
    // What does not fit is cut off: that is what was asked for.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    fn into(self, kind: Type) -> Value {
        let int32 = match self {
            Number::Whole(number) => number as i32,
            Number::Float(number) => number as i32,
        };
        let float = match self {
            Number::Whole(number) => number as f64,
            Number::Float(number) => number,
        };
        match (kind, self) {
            (Type::Int8, _) => Value::Int8(int32 as i8),
            (Type::Int16, _) => Value::Int16(int32 as i16),
            (Type::Int32, _) => Value::Int32(int32),
            (Type::Int64, Number::Whole(number)) => Value::Int64(number),
            (Type::Int64, Number::Float(number)) => Value::Int64(number as i64),
            (Type::Float32, Number::Whole(number)) => Value::Float32(number as f32),
            (Type::Float32, Number::Float(number)) => Value::Float32(number as f32),
            (Type::Boolean, Number::Whole(number)) => Value::Boolean(number != 0),
            (Type::Boolean, Number::Float(number)) => Value::Boolean(number as i64 != 0),
            _ => Value::Float64(float),
        }
    }
}

fn of_text(kind: Type, text: &str) -> Result<Value, ConnectError> {
    fn parse<T: FromStr + Into<Value>>(kind: Type, text: &str) -> Result<Value, ConnectError> {
        text.parse::<T>().map(Into::into).map_err(|_| {
            let text: String = text.chars().take(64).collect();
            ConnectError::record(format!("cannot cast \"{text}\" to {kind}"))
        })
    }
    match kind {
        Type::Int8 => parse::<i8>(kind, text),
        Type::Int16 => parse::<i16>(kind, text),
        Type::Int32 => parse::<i32>(kind, text),
        Type::Int64 => parse::<i64>(kind, text),
        Type::Float32 => parse::<f32>(kind, text.trim()),
        Type::Boolean => Ok(Value::Boolean(text.eq_ignore_ascii_case("true"))),
        _ => parse::<f64>(kind, text.trim()),
    }
}

impl Transform for Cast {
    fn apply(&self, record: &mut RecordView<'_>) -> Result<Fate, ConnectError> {
        let (value, value_schema) = record.part(self.part);
        match (&mut *value, &self.spec) {
            (Value::Null, _) => {}
            (whole, Spec::Whole(kind)) => {
                *whole = cast(*kind, whole)?;
                if let Some(old) = value_schema.as_ref() {
                    *value_schema = Some(self.schemas.of(old, |old| schema_of(*kind, old))?);
                }
            }
            (Value::Struct(old), Spec::Fields(fields)) => {
                let derive = |of: &Schema| struct_schema(fields, of);
                let schema = self.schemas.of(old.schema(), derive)?;
                let values = old
                    .fields()
                    .map(|(name, schema, value)| {
                        let value = current(schema, value, self.replace_null);
                        cast_field(fields, name, value)
                    })
                    .collect::<Result<_, _>>()?;
                *value = structure(schema.clone(), values);
                *value_schema = Some(schema);
            }
            (Value::Map(entries), Spec::Fields(fields)) if value_schema.is_none() => {
                for (name, value) in Arc::make_mut(entries) {
                    if let Some(name) = name.as_str() {
                        *value = cast_field(fields, name, std::mem::take(value))?;
                    }
                }
            }
            (other, Spec::Fields(_)) => return Err(no_fields(other, "cast fields")),
        }
        Ok(Fate::Keep)
    }
}

fn cast_field(fields: &[(String, Type)], name: &str, value: Value) -> Result<Value, ConnectError> {
    match of_field(fields, name) {
        Some(kind) => {
            cast(kind, &value).map_err(|error| error.context(format_args!("field \"{name}\"")))
        }
        None => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn fields_get_other_types() {
        let cast = transform("Cast$Value", &[("spec", "a:string, x:int8")]);
        let changed_struct = changed(&*cast, pair());
        let fields = changed_struct.as_struct().unwrap();
        assert_eq!(fields.get("a"), Some(&Value::string("1")));
        assert_eq!(changed(&*cast, map()).to_string(), "{a=1, b=text}");
        assert_eq!(changed(&*cast, Value::Null), Value::Null);
        assert!(error(&*cast, Value::Int8(1)).contains("int8"));
        let number = transform("Cast", &[("spec", "b:int32")]);
        assert_eq!(
            error(&*number, map()),
            "field \"b\": cannot cast \"text\" to int32"
        );
    }

    #[test]
    fn numbers_are_cut_as_java_does() {
        for (kind, value, result) in [
            (Type::Int8, Value::Int32(300), Value::Int8(44)),
            (Type::Int8, Value::Float64(300.7), Value::Int8(44)),
            (Type::Int64, Value::Float64(1e30), Value::Int64(i64::MAX)),
            (Type::Boolean, Value::Int32(2), Value::Boolean(true)),
            (Type::Int32, Value::Boolean(true), Value::Int32(1)),
            (Type::Float32, Value::string("1.5"), Value::Float32(1.5)),
            (Type::Boolean, Value::string("TRUE"), Value::Boolean(true)),
            (Type::Int64, Value::Timestamp(5), Value::Int64(5)),
            (
                Type::String,
                Value::from(vec![1u8, 2]),
                Value::string("AQI="),
            ),
            (Type::String, Value::Boolean(true), Value::string("true")),
        ] {
            assert_eq!(cast(kind, &value).unwrap(), result, "{value:?} to {kind}");
        }
        assert!(cast(Type::Int8, &map()).is_err());
        assert!(
            cast(Type::String, &pair()).is_err(),
            "as in Kafka, parts are not written out"
        );
    }

    #[test]
    fn the_whole_gets_another_type() {
        let cast = transform("Cast", &[("spec", "int64")]);
        let mut record = source(Value::Int8(5));
        record.value_schema = Some(crate::schema::SchemaRef::OPTIONAL_INT8);
        assert_eq!(apply(&*cast, &mut record).unwrap(), Fate::Keep);
        assert_eq!(record.value, Value::Int64(5));
        assert_eq!(
            record.value_schema,
            Some(crate::schema::SchemaRef::OPTIONAL_INT64)
        );
    }

    #[test]
    fn every_wrong_part_is_a_problem() {
        assert_eq!(
            problems("Cast", &[("spec", "a:int,b:string,b:int8,int8")]).len(),
            3
        );
    }
}
