//! `ReplaceField`: leaves fields out and renames others.

use std::sync::Arc;

use super::fields::{DerivedSchemas, basics, fill, no_fields};
use super::{Fate, Part, RecordView, Transform, registry};
use crate::config::{Config, Problem};
use crate::error::ConnectError;
use crate::schema::{Field, Schema};
use crate::text::Str;
use crate::value::Value;

#[derive(Config)]
pub(super) struct ReplaceFieldConfig {
    /// The fields that stay; empty for all.
    #[config(default = "")]
    include: Vec<String>,
    /// The fields that go; they win over those that stay.
    #[config(default = "")]
    exclude: Vec<String>,
    /// New names of fields, each as "old:new".
    #[config(default = "")]
    renames: Vec<String>,
    /// Whether fields that are null get their default.
    #[config(default = true)]
    replace_null_with_default: bool,
}

struct ReplaceField {
    part: Part,
    include: Vec<String>,
    exclude: Vec<String>,
    renames: Vec<(String, Str)>,
    replace_null: bool,
    schemas: DerivedSchemas,
}

registry::register_parts!("ReplaceField", ReplaceField, ReplaceFieldConfig);

impl ReplaceField {
    fn new(part: Part, config: ReplaceFieldConfig) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut renames = Vec::new();
        for rename in config.renames {
            match rename.split_once(':') {
                Some((old, new)) if !old.is_empty() && !new.is_empty() && !new.contains(':') => {
                    renames.push((old.trim().to_owned(), new.trim().into()));
                }
                _ => problems.push(Problem::with_value(
                    "renames",
                    rename,
                    "expected an old and a new name with a colon between",
                )),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(ReplaceField {
            part,
            include: config.include,
            exclude: config.exclude,
            renames,
            replace_null: config.replace_null_with_default,
            schemas: DerivedSchemas::default(),
        })
    }

    fn stays(&self, name: &str) -> bool {
        let listed = |names: &[String]| names.iter().any(|other| other == name);
        !listed(&self.exclude) && (self.include.is_empty() || listed(&self.include))
    }

    fn new_name(&self, name: &str) -> Option<&Str> {
        let mut renames = self.renames.iter();
        renames.rfind(|(old, _)| old == name).map(|(_, new)| new)
    }

    fn schema(&self, of: &Schema) -> Result<Schema, ConnectError> {
        let mut schema = basics(of);
        schema.fields.retain(|field| self.stays(&field.name));
        for Field { name, .. } in &mut schema.fields {
            if let Some(new) = self.new_name(name) {
                *name = new.to_string().into();
            }
        }
        let mut names: Vec<&str> = schema.fields.iter().map(|field| &*field.name).collect();
        names.sort_unstable();
        match names.iter().zip(names.iter().skip(1)).find(|(a, b)| a == b) {
            Some((twice, _)) => Err(ConnectError::record(format!(
                "two fields would be called \"{twice}\"; exclude one or choose another new name"
            ))),
            None => Ok(schema),
        }
    }
}

impl Transform for ReplaceField {
    fn apply(&self, record: &mut RecordView<'_>) -> Result<Fate, ConnectError> {
        let (value, value_schema) = record.part(self.part);
        match value {
            Value::Null => {}
            Value::Struct(fields) => {
                let schema = self.schemas.of(fields.schema(), |of| self.schema(of))?;
                let fields = Arc::make_mut(fields);
                fill(fields, self.replace_null);
                let (own, values) = fields.parts_mut();
                let old = std::mem::replace(own, schema.clone());
                let mut old = old.fields().iter();
                values.retain(|_| old.next().is_some_and(|field| self.stays(&field.name)));
                *value_schema = Some(schema);
            }
            Value::Map(entries) if value_schema.is_none() => {
                let entries = Arc::make_mut(entries);
                entries.retain(|(name, _)| name.as_str().is_none_or(|name| self.stays(name)));
                let mut again = false;
                for index in 0..entries.len() {
                    let name = entries.get(index).and_then(|(name, _)| name.as_str());
                    let Some(new) = name.and_then(|name| self.new_name(name)) else {
                        continue;
                    };
                    again |= super::fields::get(entries, new).is_some();
                    if let Some((name, _)) = entries.get_mut(index) {
                        *name = Value::String(new.clone());
                    }
                }
                if again {
                    // Of fields that get the same name the last counts, as in any map.
                    let mut unique: Vec<(Value, Value)> = Vec::with_capacity(entries.len());
                    for (name, value) in std::mem::take(entries) {
                        match unique.iter_mut().find(|(other, _)| *other == name) {
                            Some((_, old)) => *old = value,
                            None => unique.push((name, value)),
                        }
                    }
                    *entries = unique;
                }
            }
            other => return Err(no_fields(other, "replace fields")),
        }
        Ok(Fate::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn fields_go_stay_or_are_renamed() {
        let exclude = transform("ReplaceField", &[("exclude", "b"), ("renames", "a:x")]);
        assert_eq!(changed(&*exclude, pair()).to_string(), "Struct{x=1}");
        assert_eq!(changed(&*exclude, map()).to_string(), "{x=1}");
        let include = transform("ReplaceField", &[("include", "b")]);
        assert_eq!(changed(&*include, pair()).to_string(), "Struct{b=text}");
        assert_eq!(changed(&*include, Value::Null), Value::Null);
        assert!(error(&*include, Value::Boolean(true)).contains("boolean"));
    }

    #[test]
    fn every_wrong_rename_is_a_problem() {
        assert_eq!(
            problems("ReplaceField", &[("renames", "a,b:,c:d")]).len(),
            2
        );
    }
}
