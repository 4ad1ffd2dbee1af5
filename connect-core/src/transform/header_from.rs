//! `HeaderFrom`: moves or copies fields into headers.

use std::sync::Arc;

use super::fields::{DerivedSchemas, basics, current, get, no_field, no_fields, structure};
use super::{Fate, Part, RecordView, Transform, registry};
use crate::config::{Config, Problem};
use crate::error::ConnectError;
use crate::header::Header;
use crate::value::Value;

#[derive(Config)]
pub(super) struct HeaderFromConfig {
    /// The fields.
    #[config(importance = "high", non_empty)]
    fields: Vec<String>,
    /// The headers' names, one for each field.
    #[config(importance = "high", non_empty)]
    headers: Vec<String>,
    /// Whether the fields go or stay.
    #[config(importance = "high", choices = ["move", "copy"])]
    operation: String,
    /// Whether fields that are null get their default.
    #[config(default = true)]
    replace_null_with_default: bool,
}

struct HeaderFrom {
    part: Part,
    /// Fields and their headers.
    names: Vec<(String, String)>,
    moves: bool,
    replace_null: bool,
    schemas: DerivedSchemas,
}

registry::register_parts!("HeaderFrom", HeaderFrom, HeaderFromConfig);

impl HeaderFrom {
    fn new(part: Part, config: HeaderFromConfig) -> Result<Self, Vec<Problem>> {
        if config.fields.len() != config.headers.len() {
            let message = format!(
                "has {} names but \"fields\" has {}; every field needs a header",
                config.headers.len(),
                config.fields.len()
            );
            return Err(vec![Problem::new("headers", message)]);
        }
        Ok(HeaderFrom {
            part,
            names: config.fields.into_iter().zip(config.headers).collect(),
            moves: config.operation.trim().eq_ignore_ascii_case("move"),
            replace_null: config.replace_null_with_default,
            schemas: DerivedSchemas::default(),
        })
    }

    fn is_moved(&self, name: &str) -> bool {
        self.moves && self.names.iter().any(|(field, _)| field == name)
    }
}

impl Transform for HeaderFrom {
    fn apply(&self, record: &mut RecordView<'_>) -> Result<Fate, ConnectError> {
        let mut headers = Vec::with_capacity(self.names.len());
        let (value, value_schema) = record.part(self.part);
        match value {
            Value::Struct(fields) => {
                for (name, header) in &self.names {
                    let of = fields.schema();
                    let (_, field) = of.field(name).ok_or_else(|| no_field(of, name))?;
                    let found = fields.get_without_default(name).unwrap_or(&Value::Null);
                    headers.push(Header {
                        key: header.as_str().into(),
                        value: current(&field.schema, found, self.replace_null),
                        schema: Some(field.schema.clone()),
                    });
                }
                if self.moves {
                    let schema = self.schemas.of(fields.schema(), |of| {
                        let mut schema = basics(of);
                        schema.fields.retain(|field| !self.is_moved(&field.name));
                        Ok(schema)
                    })?;
                    let values = fields
                        .fields()
                        .filter(|(name, ..)| !self.is_moved(name))
                        .map(|(_, schema, value)| current(schema, value, self.replace_null))
                        .collect();
                    *value = structure(schema.clone(), values);
                    *value_schema = Some(schema);
                }
            }
            Value::Map(entries) if value_schema.is_none() => {
                for (name, header) in &self.names {
                    headers.push(Header {
                        key: header.as_str().into(),
                        value: get(entries, name).cloned().unwrap_or_default(),
                        schema: None,
                    });
                }
                if self.moves {
                    let stays =
                        |name: &Value| name.as_str().is_none_or(|name| !self.is_moved(name));
                    Arc::make_mut(entries).retain(|(name, _)| stays(name));
                }
            }
            other => return Err(no_fields(other, "make headers of fields")),
        }
        for header in headers {
            record.headers.push(header);
        }
        Ok(Fate::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn header_from(operation: &str) -> Box<dyn Transform> {
        let keys = [("fields", "a"), ("headers", "h"), ("operation", operation)];
        transform("HeaderFrom", &keys)
    }

    #[test]
    fn fields_are_moved_or_copied_into_headers() {
        for (value, operation, left) in [
            (pair(), "move", "Struct{b=text}"),
            (pair(), "copy", "Struct{a=1,b=text}"),
            (map(), "move", "{b=text}"),
            (map(), "copy", "{a=1, b=text}"),
        ] {
            let mut record = source(value);
            assert_eq!(
                apply(&*header_from(operation), &mut record).unwrap(),
                Fate::Keep
            );
            assert_eq!(record.value.to_string(), left);
            assert_eq!(record.headers.last("h").unwrap().value, Value::Int32(1));
        }
        assert!(error(&*header_from("move"), Value::Null).contains("null"));
    }

    #[test]
    fn every_field_needs_a_header() {
        let keys = [("fields", "a,b"), ("headers", "h"), ("operation", "move")];
        assert_eq!(problems("HeaderFrom$Key", &keys).len(), 1);
        assert_eq!(problems("HeaderFrom", &[("operation", "steal")]).len(), 3);
    }
}
