//! `HoistField`: the whole becomes the only field of a struct, or of a map without schema.

use super::fields::{DerivedSchemas, structure};
use super::{Fate, Part, RecordView, Transform, registry};
use crate::config::{Config, Problem};
use crate::error::ConnectError;
use crate::schema::{Field, Schema, SchemaRef, Type};
use crate::value::Value;

#[derive(Config)]
pub(super) struct HoistFieldConfig {
    /// The field's name.
    #[config(importance = "high")]
    field: String,
}

struct HoistField {
    part: Part,
    field: String,
    schemas: DerivedSchemas,
}

registry::register_parts!("HoistField", HoistField, HoistFieldConfig);

impl HoistField {
    fn new(part: Part, config: HoistFieldConfig) -> Result<Self, Vec<Problem>> {
        Ok(HoistField {
            part,
            field: config.field,
            schemas: DerivedSchemas::default(),
        })
    }

    fn schema(&self, of: &SchemaRef) -> Schema {
        let mut schema = Schema::clone(&Schema::builder(Type::Struct).build());
        schema.fields.push(Field {
            name: self.field.clone().into(),
            schema: of.clone(),
        });
        schema
    }
}

impl Transform for HoistField {
    fn apply(&self, record: &mut RecordView<'_>) -> Result<Fate, ConnectError> {
        let (value, value_schema) = record.part(self.part);
        let whole = std::mem::take(value);
        match value_schema.as_ref() {
            None => *value = Value::map([(Value::string(self.field.as_str()), whole)]),
            Some(of) => {
                let schema = self.schemas.of(of, |_| Ok(self.schema(of)))?;
                *value = structure(schema.clone(), vec![whole]);
                *value_schema = Some(schema);
            }
        }
        Ok(Fate::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn the_whole_becomes_a_field() {
        let hoist = transform("HoistField$Value", &[("field", "x")]);
        assert_eq!(
            changed(&*hoist, pair()).to_string(),
            "Struct{x=Struct{a=1,b=text}}"
        );
        assert_eq!(changed(&*hoist, Value::Int8(1)).to_string(), "{x=1}");
        assert_eq!(changed(&*hoist, Value::Null).to_string(), "{x=null}");
        assert_eq!(problems("HoistField$Key", &[]).len(), 1);
    }
}
