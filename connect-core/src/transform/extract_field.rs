//! `ExtractField`: one field takes the place of the whole.

use super::fields::{FieldPath, no_field, no_fields};
use super::{Fate, Part, RecordView, Transform, registry};
use crate::config::{Config, Problem};
use crate::error::ConnectError;
use crate::value::Value;

#[derive(Config)]
pub(super) struct ExtractFieldConfig {
    /// The field.
    #[config(importance = "high")]
    field: String,
    /// "V2" reads dots in the field as steps into nested fields, with back-ticks around names that hold dots.
    #[config(default = "V1", choices = ["V1", "V2"])]
    field_syntax_version: String,
    /// Whether a field that is null gets its default.
    #[config(default = true)]
    replace_null_with_default: bool,
}

struct ExtractField {
    part: Part,
    name: String,
    path: FieldPath,
    replace_null: bool,
}

registry::register_parts!("ExtractField", ExtractField, ExtractFieldConfig);

impl ExtractField {
    fn new(part: Part, config: ExtractFieldConfig) -> Result<Self, Vec<Problem>> {
        let name = config.field;
        let path = match config
            .field_syntax_version
            .trim()
            .eq_ignore_ascii_case("V2")
        {
            true => FieldPath::dotted(&name)
                .map_err(|message| vec![Problem::with_value("field", name.as_str(), message)])?,
            false => FieldPath::name(name.clone()),
        };
        Ok(ExtractField {
            part,
            name,
            path,
            replace_null: config.replace_null_with_default,
        })
    }
}

impl Transform for ExtractField {
    fn apply(&self, record: &mut RecordView<'_>) -> Result<Fate, ConnectError> {
        let (value, value_schema) = record.part(self.part);
        match (&*value, &*value_schema) {
            (Value::Null, None) => {}
            (Value::Null, Some(schema)) => {
                let found = self.path.schema(schema).cloned();
                *value_schema = Some(found.ok_or_else(|| no_field(schema, &self.name))?);
            }
            (Value::Struct(fields), _) => {
                let found = self.path.schema(fields.schema()).cloned();
                let schema = found.ok_or_else(|| no_field(fields.schema(), &self.name))?;
                *value = self.path.in_struct(fields, self.replace_null);
                *value_schema = Some(schema);
            }
            (Value::Map(_), None) => {
                *value = self.path.in_map(value)?.cloned().unwrap_or_default();
            }
            (other, _) => return Err(no_fields(other, "extract a field")),
        }
        Ok(Fate::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn the_field_takes_the_place_of_the_whole() {
        let extract = transform("ExtractField$Value", &[("field", "a")]);
        assert_eq!(changed(&*extract, pair()), Value::Int32(1));
        assert_eq!(changed(&*extract, map()), Value::Int32(1));
        assert_eq!(changed(&*extract, Value::Null), Value::Null);
        assert!(error(&*extract, Value::Int8(1)).contains("int8"));
        let missing = transform("ExtractField", &[("field", "x")]);
        assert_eq!(changed(&*missing, map()), Value::Null);
        assert_eq!(
            error(&*missing, pair()),
            "there is no field \"x\"; there are a, b"
        );
    }

    #[test]
    fn a_path_leads_into_nested_fields() {
        let keys = [("field", "o.a"), ("field.syntax.version", "V2")];
        let extract = transform("ExtractField", &keys);
        let nested = Value::map([(Value::string("o"), map())]);
        assert_eq!(changed(&*extract, nested), Value::Int32(1));
        let hoisted = changed(&*transform("HoistField", &[("field", "o")]), pair());
        assert_eq!(changed(&*extract, hoisted), Value::Int32(1));
        let wrong = [("field", "`o"), ("field.syntax.version", "V2")];
        assert_eq!(problems("ExtractField", &wrong).len(), 1);
        assert_eq!(
            problems("ExtractField", &[("field.syntax.version", "V3")]).len(),
            2
        );
    }
}
