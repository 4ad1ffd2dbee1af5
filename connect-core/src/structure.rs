//! Structs: values with named fields.

use crate::error::ConnectError;
use crate::schema::{Schema, SchemaRef, Type};
use crate::value::Value;

/// Values of the fields that a struct schema names, in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct Struct {
    schema: SchemaRef,
    values: Vec<Value>,
}

impl Struct {
    /// A struct with all fields null.
    ///
    /// # Errors
    /// Fatal, if the schema is not a struct's.
    pub fn new(schema: SchemaRef) -> Result<Self, ConnectError> {
        if schema.kind() != Type::Struct {
            return Err(ConnectError::fatal(format!(
                "a struct cannot have the schema of a {}",
                schema.kind()
            )));
        }
        let values = vec![Value::Null; schema.fields().len()];
        Ok(Struct { schema, values })
    }

    /// Its schema.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Sets a field; checks the value against the field's schema.
    ///
    /// # Errors
    /// Record, if there is no such field or the value does not fit.
    pub fn put(&mut self, name: &str, value: impl Into<Value>) -> Result<&mut Self, ConnectError> {
        let value = value.into();
        let Some((index, field)) = self.schema.field(name) else {
            return Err(no_field(&self.schema, name));
        };
        // Null may be set while a struct is being filled; `validate` decides at the end.
        if !value.is_null() {
            field.schema.validate_at(name, &value)?;
        }
        if let Some(slot) = self.values.get_mut(index) {
            *slot = value;
        }
        Ok(self)
    }

    /// [`put`](Self::put) for chains.
    ///
    /// # Errors
    /// As `put`.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Result<Self, ConnectError> {
        self.put(name, value)?;
        Ok(self)
    }

    /// A field's value, or the default of its schema if it is null; `None` if there is no such field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let (index, field) = self.schema.field(name)?;
        let value = self.values.get(index)?;
        Some(match field.schema.default() {
            Some(default) if value.is_null() => default,
            _ => value,
        })
    }

    /// A field's value as it was set.
    pub fn get_without_default(&self, name: &str) -> Option<&Value> {
        self.values.get(self.schema.field(name)?.0)
    }

    /// Names and values as set, in the schema's order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &SchemaRef, &Value)> {
        self.schema
            .fields()
            .iter()
            .zip(&self.values)
            .map(|(field, value)| (field.name.as_ref(), &field.schema, value))
    }

    /// The values as set, in the schema's order.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Checks every field, nested ones too.
    ///
    /// # Errors
    /// Record: the first field that does not fit.
    pub fn validate(&self) -> Result<(), ConnectError> {
        self.fields()
            .try_for_each(|(name, schema, value)| schema.validate_at(name, value))
    }

    /// Schema and values, to be changed together: afterwards there must be one value per field again.
    pub(crate) fn parts_mut(&mut self) -> (&mut SchemaRef, &mut Vec<Value>) {
        (&mut self.schema, &mut self.values)
    }

    /// A struct of values that were read with the schema in hand, one per field, which are not checked
    /// one by one.
    ///
    /// # Errors
    /// Fatal, if the schema is not a struct's or has another number of fields.
    pub fn of(schema: SchemaRef, values: Vec<Value>) -> Result<Self, ConnectError> {
        if schema.kind() != Type::Struct || schema.fields().len() != values.len() {
            return Err(ConnectError::fatal(format!(
                "{} values are no struct of a {} schema with {} fields",
                values.len(),
                schema.kind(),
                schema.fields().len()
            )));
        }
        Ok(Struct { schema, values })
    }

    /// From values that were read with the schema in hand, one per field.
    pub(crate) fn from_parts(schema: SchemaRef, values: Vec<Value>) -> Self {
        debug_assert_eq!(schema.fields().len(), values.len(), "one value per field");
        Struct { schema, values }
    }
}

fn no_field(schema: &Schema, name: &str) -> ConnectError {
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name.as_ref())
        .collect();
    ConnectError::record(format!(
        "struct \"{}\" has no field \"{name}\"; its fields are {}",
        schema.name().unwrap_or("without name"),
        names.join(", ")
    ))
}

impl Schema {
    /// Checks that a value keeps the promise, nested parts too.
    ///
    /// # Errors
    /// Record: the first part that does not.
    pub fn validate(&self, value: &Value) -> Result<(), ConnectError> {
        self.validate_at("value", value)
    }

    pub(crate) fn validate_at(&self, place: &str, value: &Value) -> Result<(), ConnectError> {
        if value.is_null() {
            return if self.optional || self.default.is_some() {
                Ok(())
            } else {
                Err(ConnectError::record(format!(
                    "\"{place}\" is null but its schema ({}) is not optional",
                    self.kind
                )))
            };
        }
        let logical = self.logical_type();
        let fits = match (self.kind, value) {
            (Type::Bytes, Value::Decimal(decimal)) => {
                if logical.is_some() && self.decimal_scale() != Some(decimal.scale) {
                    return Err(ConnectError::record(format!(
                        "\"{place}\" has {} digits after the point but its schema says {}",
                        decimal.scale,
                        self.parameter(crate::schema::DECIMAL_SCALE)
                            .unwrap_or("nothing")
                    )));
                }
                logical == Some(crate::schema::Logical::Decimal)
            }
            (Type::Int32, Value::Date(_)) => logical == Some(crate::schema::Logical::Date),
            (Type::Int32, Value::Time(_)) => logical == Some(crate::schema::Logical::Time),
            (Type::Int64, Value::Timestamp(_)) => {
                logical == Some(crate::schema::Logical::Timestamp)
            }
            // A schema with a logical name takes only the logical value, as in Kafka.
            _ if logical.is_some() => false,
            (Type::Boolean, Value::Boolean(_))
            | (Type::Int8, Value::Int8(_))
            | (Type::Int16, Value::Int16(_))
            | (Type::Int32, Value::Int32(_))
            | (Type::Int64, Value::Int64(_))
            | (Type::Float32, Value::Float32(_))
            | (Type::Float64, Value::Float64(_))
            | (Type::String, Value::String(_))
            | (Type::Bytes, Value::Bytes(_)) => true,
            (Type::Array, Value::Array(items)) => {
                if let Some(schema) = &self.value {
                    items
                        .iter()
                        .try_for_each(|item| schema.validate_at(place, item))?;
                }
                true
            }
            (Type::Map, Value::Map(entries)) => {
                for (key, value) in entries.iter() {
                    if let Some(schema) = &self.key {
                        schema.validate_at(place, key)?;
                    }
                    if let Some(schema) = &self.value {
                        schema.validate_at(place, value)?;
                    }
                }
                true
            }
            (Type::Struct, Value::Struct(fields)) => {
                if **fields.schema() != *self {
                    return Err(ConnectError::record(format!(
                        "\"{place}\" is a struct of another schema"
                    )));
                }
                fields.validate()?;
                true
            }
            _ => false,
        };
        if fits {
            return Ok(());
        }
        Err(ConnectError::record(format!(
            "\"{place}\" is a {} but its schema says {}",
            value.type_name(),
            self.name().unwrap_or(self.kind.name())
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::Decimal;

    fn schema() -> SchemaRef {
        Schema::structure()
            .name("Order")
            .field("id", SchemaRef::INT64)
            .field("note", SchemaRef::OPTIONAL_STRING)
            .field(
                "count",
                Schema::builder(Type::Int32).default_value(1i32).build(),
            )
            .build()
    }

    #[test]
    fn a_struct_takes_only_what_its_schema_promises() {
        let mut order = Struct::new(schema()).unwrap();
        assert!(order.validate().is_err(), "id is required");
        order.put("id", 5i64).unwrap();
        order.validate().unwrap();
        let wrong = order.put("id", "five").unwrap_err();
        assert_eq!(
            wrong.message(),
            "\"id\" is a string but its schema says int64"
        );
        let missing = order.put("ids", 5i64).unwrap_err();
        assert!(
            missing.message().contains("its fields are id, note, count"),
            "{missing}"
        );
    }

    #[test]
    fn null_reads_as_the_default_unless_asked_otherwise() {
        let order = Struct::new(schema()).unwrap();
        assert_eq!(order.get("count"), Some(&Value::Int32(1)));
        assert_eq!(order.get_without_default("count"), Some(&Value::Null));
        assert_eq!(order.get("nothing"), None);
    }

    #[test]
    fn logical_schemas_take_logical_values_only() {
        let price = Schema::decimal(2).build();
        price.validate(&Value::from(Decimal::new(199, 2))).unwrap();
        assert!(
            price.validate(&Value::from(Decimal::new(199, 3))).is_err(),
            "another scale"
        );
        assert!(price.validate(&Value::from(vec![1u8])).is_err());
        assert!(Schema::date().build().validate(&Value::Int32(1)).is_err());
        Schema::date().build().validate(&Value::Date(1)).unwrap();
        assert!(SchemaRef::INT32.validate(&Value::Date(1)).is_err());
    }

    #[test]
    fn nested_parts_are_checked() {
        let list = Schema::array(SchemaRef::INT8).build();
        assert!(
            list.validate(&Value::array([Value::Int8(1), Value::Null]))
                .is_err()
        );
        let map = Schema::map(SchemaRef::STRING, SchemaRef::OPTIONAL_INT8).build();
        map.validate(&Value::map([("a".into(), Value::Null)]))
            .unwrap();
        assert!(
            map.validate(&Value::map([(Value::Int8(1), Value::Null)]))
                .is_err()
        );
    }
}
