//! `SetSchemaMetadata`: sets name and version of the schema.

use super::fields::{DerivedSchemas, structure};
use super::{Fate, Part, RecordView, Transform, registry};
use crate::config::{Config, Problem};
use crate::error::ConnectError;
use crate::schema::Schema;
use crate::value::Value;

#[derive(Config)]
pub(super) struct SetSchemaMetadataConfig {
    /// The schema's name.
    schema_name: Option<String>,
    /// The schema's version.
    #[config(range = 1..)]
    schema_version: Option<i32>,
    /// Whether fields that are null get their default.
    #[config(default = true)]
    replace_null_with_default: bool,
}

struct SetSchemaMetadata {
    part: Part,
    config: SetSchemaMetadataConfig,
    schemas: DerivedSchemas,
}

registry::register_parts!(
    "SetSchemaMetadata",
    SetSchemaMetadata,
    SetSchemaMetadataConfig
);

impl SetSchemaMetadata {
    fn new(part: Part, config: SetSchemaMetadataConfig) -> Result<Self, Vec<Problem>> {
        if config.schema_name.is_none() && config.schema_version.is_none() {
            let message = "is missing, and so is schema.version; at least one is needed";
            return Err(vec![Problem::new("schema.name", message)]);
        }
        Ok(SetSchemaMetadata {
            part,
            config,
            schemas: DerivedSchemas::default(),
        })
    }

    fn schema(&self, of: &Schema) -> Schema {
        let mut schema = of.clone();
        if let Some(name) = &self.config.schema_name {
            schema.name = Some(name.clone().into());
        }
        schema.version = self.config.schema_version.or(schema.version);
        schema
    }
}

impl Transform for SetSchemaMetadata {
    fn apply(&self, record: &mut RecordView<'_>) -> Result<Fate, ConnectError> {
        let (value, value_schema) = record.part(self.part);
        let Some(old) = value_schema.as_ref() else {
            return match value {
                Value::Null => Ok(Fate::Keep),
                _ => Err(ConnectError::record(
                    "cannot set name or version of a schema where there is none",
                )),
            };
        };
        let schema = self.schemas.of(old, |of| Ok(self.schema(of)))?;
        if let Value::Struct(fields) = value {
            let replace_null = self.config.replace_null_with_default;
            let values = fields
                .fields()
                .map(|(_, schema, value)| super::fields::current(schema, value, replace_null))
                .collect();
            *value = structure(schema.clone(), values);
        }
        *value_schema = Some(schema);
        Ok(Fate::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn name_and_version_are_set_where_there_is_a_schema() {
        let set = transform(
            "SetSchemaMetadata",
            &[("schema.name", "x"), ("schema.version", "2")],
        );
        let changed = changed(&*set, pair());
        let schema = changed.as_struct().unwrap().schema().clone();
        assert_eq!((schema.name(), schema.version()), (Some("x"), Some(2)));
        let mut null = source(Value::Null);
        assert_eq!(apply(&*set, &mut null).unwrap(), Fate::Keep);
        assert!(error(&*set, map()).contains("there is none"));
        assert_eq!(
            problems("SetSchemaMetadata", &[("schema.version", "0")]).len(),
            1
        );
    }
}
