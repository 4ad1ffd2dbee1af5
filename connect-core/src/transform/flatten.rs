//! `Flatten`: fields of nested structs or maps become fields with long names.

use super::fields::{DerivedSchemas, basics, current, no_fields, or_optional, structure};
use super::{Fate, Part, RecordView, Transform, registry};
use crate::config::{Config, Problem};
use crate::error::ConnectError;
use crate::schema::{Field, Schema, Type};
use crate::structure::Struct;
use crate::value::Value;

#[derive(Config)]
pub(super) struct FlattenConfig {
    /// What stands between the names.
    #[config(default = ".")]
    delimiter: String,
}

struct Flatten {
    part: Part,
    delimiter: String,
    schemas: DerivedSchemas,
}

registry::register_parts!("Flatten", Flatten, FlattenConfig);

impl Flatten {
    fn new(part: Part, config: FlattenConfig) -> Result<Self, Vec<Problem>> {
        Ok(Flatten {
            part,
            delimiter: config.delimiter,
            schemas: DerivedSchemas::default(),
        })
    }

    fn name(&self, prefix: &str, name: &str) -> String {
        match prefix {
            "" => name.to_owned(),
            prefix => format!("{prefix}{}{name}", self.delimiter),
        }
    }

    fn schema(&self, of: &Schema) -> Result<Schema, ConnectError> {
        let mut schema = basics(of);
        schema.fields.clear();
        self.add_fields(of, "", of.is_optional(), &mut schema.fields)?;
        Ok(schema)
    }

    fn add_fields(
        &self,
        of: &Schema,
        prefix: &str,
        optional: bool,
        fields: &mut Vec<Field>,
    ) -> Result<(), ConnectError> {
        for field in of.fields() {
            let name = self.name(prefix, &field.name);
            match field.schema.kind() {
                Type::Struct => {
                    let optional = optional || field.schema.is_optional();
                    self.add_fields(&field.schema, &name, optional, fields)?;
                }
                Type::Map => {
                    return Err(ConnectError::record(format!(
                        "cannot flatten the map in field \"{name}\" of a struct"
                    )));
                }
                _ if fields.iter().any(|other| other.name == name) => {
                    return Err(ConnectError::record(format!(
                        "two fields would be called \"{name}\"; set another delimiter"
                    )));
                }
                _ => fields.push(Field {
                    name: name.into(),
                    schema: or_optional(&field.schema, optional),
                }),
            }
        }
        Ok(())
    }

    fn add_entries(&self, of: &[(Value, Value)], prefix: &str, flat: &mut Vec<(Value, Value)>) {
        for (name, value) in of {
            let name = match name {
                Value::String(name) => self.name(prefix, name),
                other => self.name(prefix, &other.to_string()),
            };
            match value {
                Value::Map(nested) => self.add_entries(nested, &name, flat),
                value => super::fields::put(flat, &name, value.clone()),
            }
        }
    }
}

/// The values of the flat schema, in its order.
fn add_values(schema: &Schema, fields: Option<&Struct>, values: &mut Vec<Value>) {
    for (index, field) in schema.fields().iter().enumerate() {
        let value = fields.and_then(|fields| fields.values().get(index));
        match field.schema.kind() {
            Type::Struct => add_values(&field.schema, value.and_then(Value::as_struct), values),
            _ => values.push(match value {
                Some(value) => current(&field.schema, value, true),
                None => Value::Null,
            }),
        }
    }
}

impl Transform for Flatten {
    fn apply(&self, record: &mut RecordView<'_>) -> Result<Fate, ConnectError> {
        let (value, value_schema) = record.part(self.part);
        match value {
            Value::Null => {}
            Value::Struct(fields) => {
                let schema = self.schemas.of(fields.schema(), |of| self.schema(of))?;
                let mut values = Vec::with_capacity(schema.fields().len());
                add_values(fields.schema(), Some(fields), &mut values);
                *value = structure(schema.clone(), values);
                *value_schema = Some(schema);
            }
            Value::Map(entries) if value_schema.is_none() => {
                let mut flat = Vec::with_capacity(entries.len());
                self.add_entries(entries, "", &mut flat);
                *value = Value::map(flat);
            }
            other => return Err(no_fields(other, "flatten the fields")),
        }
        Ok(Fate::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::schema::SchemaRef;

    #[test]
    fn nested_fields_get_long_names() {
        let flatten = transform("Flatten", &[("delimiter", "_")]);
        let hoisted = changed(&*transform("HoistField", &[("field", "o")]), pair());
        assert_eq!(
            changed(&*flatten, hoisted).to_string(),
            "Struct{o_a=1,o_b=text}"
        );
        let nested = Value::map([
            (Value::string("o"), map()),
            (Value::string("l"), Value::array([map()])),
        ]);
        assert_eq!(
            changed(&*flatten, nested).to_string(),
            "{o_a=1, o_b=text, l=[{a=1, b=text}]}"
        );
        assert_eq!(changed(&*flatten, Value::Null), Value::Null);
        assert!(error(&*flatten, Value::Int8(1)).contains("int8"));
    }

    #[test]
    fn a_nested_struct_that_is_null_makes_its_fields_null() {
        let inner = Schema::structure().field("a", SchemaRef::INT32).optional();
        let outer = Schema::structure().field("o", inner.build()).build();
        let value = Value::from(Struct::new(outer).unwrap());
        let flat = changed(&*transform("Flatten", &[]), value);
        assert_eq!(flat.as_struct().unwrap().get("o.a"), Some(&Value::Null));
    }

    #[test]
    fn a_map_in_a_struct_is_an_error() {
        let map = Schema::map(SchemaRef::STRING, SchemaRef::INT32).optional();
        let outer = Schema::structure().field("m", map.build()).build();
        let value = Value::from(Struct::new(outer).unwrap());
        assert!(error(&*transform("Flatten", &[]), value).contains("\"m\""));
    }
}
