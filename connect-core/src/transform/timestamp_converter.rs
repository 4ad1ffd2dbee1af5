//! `TimestampConverter`: points in time as text, numbers or logical types.

use std::sync::Arc;

use super::date_pattern::DatePattern;
use super::fields::{DerivedSchemas, basics, current, no_field, no_fields, structure};
use super::{Fate, Part, RecordView, Transform, registry};
use crate::config::{Config, Problem};
use crate::error::ConnectError;
use crate::schema::{Schema, SchemaRef};
use crate::value::Value;

#[derive(Config)]
pub(super) struct TimestampConverterConfig {
    /// The field with the point in time; empty if it is the whole.
    #[config(default = "", importance = "high")]
    field: String,
    /// What it becomes.
    #[config(importance = "high", choices = ["string", "unix", "Date", "Time", "Timestamp"])]
    target_type: String,
    /// The form of texts, as Java's SimpleDateFormat writes it, in UTC.
    #[config(default = "")]
    format: String,
    /// The unit of numbers.
    #[config(default = "milliseconds", choices = ["seconds", "milliseconds", "microseconds", "nanoseconds"])]
    unix_precision: String,
    /// Whether a field that is null gets its default.
    #[config(default = true)]
    replace_null_with_default: bool,
}

#[derive(Clone, Copy)]
enum Target {
    Text,
    Unix,
    Date,
    Time,
    Timestamp,
}

#[derive(Clone, Copy)]
enum Unit {
    Seconds,
    Millis,
    Micros,
    Nanos,
}

struct TimestampConverter {
    part: Part,
    field: Option<String>,
    target: Target,
    pattern: Option<DatePattern>,
    unit: Unit,
    replace_null: bool,
    schemas: DerivedSchemas,
}

registry::register_parts!(
    "TimestampConverter",
    TimestampConverter,
    TimestampConverterConfig
);

const DAY_MS: i64 = 86_400_000;

impl TimestampConverter {
    fn new(part: Part, config: TimestampConverterConfig) -> Result<Self, Vec<Problem>> {
        let target = match config.target_type.trim().to_ascii_lowercase().as_str() {
            "string" => Target::Text,
            "unix" => Target::Unix,
            "date" => Target::Date,
            "time" => Target::Time,
            _ => Target::Timestamp,
        };
        let unit = match config.unix_precision.trim().to_ascii_lowercase().as_str() {
            "seconds" => Unit::Seconds,
            "microseconds" => Unit::Micros,
            "nanoseconds" => Unit::Nanos,
            _ => Unit::Millis,
        };
        let pattern = match config.format.as_str() {
            "" if matches!(target, Target::Text) => {
                let message = "is missing; \"target.type\" string needs it";
                return Err(vec![Problem::new("format", message)]);
            }
            "" => None,
            format => Some(
                DatePattern::new(format)
                    .map_err(|message| vec![Problem::with_value("format", format, message)])?,
            ),
        };
        Ok(TimestampConverter {
            part,
            field: Some(config.field).filter(|field| !field.is_empty()),
            target,
            pattern,
            unit,
            replace_null: config.replace_null_with_default,
            schemas: DerivedSchemas::default(),
        })
    }

    fn schema(&self, optional: bool) -> SchemaRef {
        let logical = match self.target {
            Target::Text if optional => return SchemaRef::OPTIONAL_STRING,
            Target::Text => return SchemaRef::STRING,
            Target::Unix if optional => return SchemaRef::OPTIONAL_INT64,
            Target::Unix => return SchemaRef::INT64,
            Target::Date => Schema::date(),
            Target::Time => Schema::time(),
            Target::Timestamp => Schema::timestamp(),
        };
        match optional {
            true => logical.optional().build(),
            false => logical.build(),
        }
    }

    fn struct_schema(&self, name: &str, of: &Schema) -> Result<Schema, ConnectError> {
        let mut schema = basics(of);
        let field = schema.fields.iter_mut().find(|field| field.name == name);
        let field = field.ok_or_else(|| no_field(of, name))?;
        field.schema = self.schema(field.schema.is_optional());
        Ok(schema)
    }

    fn millis(&self, value: &Value) -> Result<i64, ConnectError> {
        match value {
            Value::Timestamp(ms) => Ok(*ms),
            Value::Date(days) => Ok(i64::from(*days) * DAY_MS),
            Value::Time(ms) => Ok(i64::from(*ms)),
            Value::Int64(number) => Ok(match self.unit {
                Unit::Seconds => number.saturating_mul(1000),
                Unit::Millis => *number,
                Unit::Micros => number / 1000,
                Unit::Nanos => number / 1_000_000,
            }),
            Value::String(text) => {
                let Some(pattern) = &self.pattern else {
                    return Err(ConnectError::record(
                        "a text can be read as a point in time only if \"format\" is set",
                    ));
                };
                pattern.parse(text).ok_or_else(|| {
                    let text: String = text.chars().take(64).collect();
                    ConnectError::record(format!("\"{text}\" does not have the form of \"format\""))
                })
            }
            other => Err(ConnectError::record(format!(
                "a {} is no point in time",
                other.type_name()
            ))),
        }
    }

    fn converted(&self, value: &Value) -> Result<Value, ConnectError> {
        if value.is_null() {
            return Ok(Value::Null);
        }
        let ms = self.millis(value)?;
        Ok(match self.target {
            Target::Text => match &self.pattern {
                Some(pattern) => Value::string(pattern.format(ms)),
                None => Value::Null,
            },
            Target::Unix => Value::Int64(match self.unit {
                Unit::Seconds => ms / 1000,
                Unit::Millis => ms,
                Unit::Micros => ms.saturating_mul(1000),
                Unit::Nanos => ms.saturating_mul(1_000_000),
            }),
            Target::Date => {
                let days = i32::try_from(ms.div_euclid(DAY_MS));
                Value::Date(days.map_err(|_| ConnectError::record("the day is too far away"))?)
            }
            // Less than a day fits.
            Target::Time => Value::Time(i32::try_from(ms.rem_euclid(DAY_MS)).unwrap_or(0)),
            Target::Timestamp => Value::Timestamp(ms),
        })
    }
}

impl Transform for TimestampConverter {
    fn apply(&self, record: &mut RecordView<'_>) -> Result<Fate, ConnectError> {
        let (value, value_schema) = record.part(self.part);
        let Some(name) = &self.field else {
            *value = self.converted(value)?;
            if let Some(old) = value_schema.as_ref() {
                *value_schema = Some(self.schema(old.is_optional()));
            }
            return Ok(Fate::Keep);
        };
        let in_field = |error: ConnectError| error.context(format_args!("field \"{name}\""));
        match value {
            Value::Null => {}
            // As in Kafka: topics may hold records of several kinds.
            Value::Struct(fields) if fields.schema().field(name).is_none() => {}
            Value::Struct(fields) => {
                let derive = |of: &Schema| self.struct_schema(name, of);
                let schema = self.schemas.of(fields.schema(), derive)?;
                let values = fields
                    .fields()
                    .map(|(field, schema, value)| {
                        let value = current(schema, value, self.replace_null);
                        match field == name {
                            true => self.converted(&value).map_err(in_field),
                            false => Ok(value),
                        }
                    })
                    .collect::<Result<_, _>>()?;
                *value = structure(schema.clone(), values);
                *value_schema = Some(schema);
            }
            Value::Map(entries) if value_schema.is_none() => {
                let entries = Arc::make_mut(entries).iter_mut();
                for (field, value) in entries {
                    if field.as_str() == Some(name) {
                        *value = self.converted(value).map_err(in_field)?;
                    }
                }
            }
            other => return Err(no_fields(other, "convert a field")),
        }
        Ok(Fate::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::structure::Struct;

    fn to(target: &str, more: &[(&str, &str)]) -> Box<dyn Transform> {
        let mut keys = vec![("target.type", target)];
        keys.extend(more);
        transform("TimestampConverter$Value", &keys)
    }

    #[test]
    fn every_form_becomes_every_other() {
        let format = [
            ("format", "yyyy-MM-dd HH:mm:ss"),
            ("unix.precision", "seconds"),
        ];
        let text = Value::string("1970-01-02 00:00:05");
        for from in [
            text.clone(),
            Value::Int64(86_405),
            Value::Timestamp(86_405_000),
        ] {
            for (target, result) in [
                ("string", text.clone()),
                ("unix", Value::Int64(86_405)),
                ("Date", Value::Date(1)),
                ("Time", Value::Time(5000)),
                ("Timestamp", Value::Timestamp(86_405_000)),
            ] {
                assert_eq!(changed(&*to(target, &format), from.clone()), result);
            }
        }
    }

    #[test]
    fn a_field_of_a_struct_or_map_is_converted() {
        let schema = Schema::structure().field("t", SchemaRef::INT64).build();
        let value = Value::from(Struct::new(schema).unwrap().with("t", 5i64).unwrap());
        let convert = to("Timestamp", &[("field", "t")]);
        let new = changed(&*convert, value);
        assert_eq!(
            new.as_struct().unwrap().get("t"),
            Some(&Value::Timestamp(5))
        );
        let value = Value::map([(Value::string("t"), Value::Int64(5))]);
        let new = Value::map([(Value::string("t"), Value::Timestamp(5))]);
        assert_eq!(changed(&*convert, value), new);
        assert_eq!(changed(&*convert, Value::Null), Value::Null);
        assert_eq!(
            changed(&*convert, pair()),
            pair(),
            "there is nothing to convert"
        );
        assert!(error(&*to("unix", &[("field", "a")]), map()).contains("field \"a\": a int32"));
    }

    #[test]
    fn texts_need_a_format() {
        assert_eq!(
            problems("TimestampConverter", &[("target.type", "string")]).len(),
            1
        );
        assert_eq!(
            problems("TimestampConverter", &[("target.type", "x")]).len(),
            1
        );
        assert!(error(&*to("unix", &[]), Value::string("x")).contains("\"format\""));
        let wrong = to("unix", &[("format", "yyyy")]);
        assert!(error(&*wrong, Value::string("x")).contains("\"x\""));
    }
}
