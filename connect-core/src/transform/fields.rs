//! Named fields of structs and of maps without schema, and schemas derived from others.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::ConnectError;
use crate::schema::{Schema, SchemaRef};
use crate::structure::Struct;
use crate::text::Str;
use crate::value::Value;

/// Schemas that are remembered by one transform; topics with more than that derive again.
const REMEMBERED_MAX: usize = 32;

/// Schemas already derived from others.
#[derive(Default)]
pub(super) struct DerivedSchemas(Mutex<Vec<(SchemaRef, SchemaRef)>>);

impl DerivedSchemas {
    /// The schema derived from `from`.
    pub(super) fn of(
        &self,
        from: &SchemaRef,
        derive: impl FnOnce(&Schema) -> Result<Schema, ConnectError>,
    ) -> Result<SchemaRef, ConnectError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = known.iter().find(|(source, _)| source.same(from));
        if let Some((_, derived)) = same.or_else(|| known.iter().find(|(source, _)| source == from))
        {
            return Ok(derived.clone());
        }
        let derived = SchemaRef::from(derive(from)?);
        if known.len() >= REMEMBERED_MAX {
            known.remove(0);
        }
        known.push((from.clone(), derived.clone()));
        Ok(derived)
    }
}

/// A copy of a schema that is required and has no default, as Kafka's transforms derive them.
pub(super) fn basics(schema: &Schema) -> Schema {
    let mut copy = schema.clone();
    copy.optional = false;
    copy.default = None;
    copy
}

/// A schema that allows null if `optional` says so, and is otherwise the same.
pub(super) fn or_optional(schema: &SchemaRef, optional: bool) -> SchemaRef {
    if !optional || schema.is_optional() {
        return schema.clone();
    }
    let mut copy = Schema::clone(schema);
    copy.optional = true;
    copy.into()
}

/// A field's value; null becomes the schema's default if `replace_null` says so.
pub(super) fn current(schema: &Schema, value: &Value, replace_null: bool) -> Value {
    match schema.default() {
        Some(default) if replace_null && value.is_null() => default.clone(),
        _ => value.clone(),
    }
}

/// Gives fields that are null their defaults, if `replace_null` says so.
pub(super) fn fill(fields: &mut Struct, replace_null: bool) {
    if !replace_null {
        return;
    }
    let (schema, values) = fields.parts_mut();
    for (field, value) in schema.fields().iter().zip(values) {
        if let Some(default) = field.schema.default()
            && value.is_null()
        {
            *value = default.clone();
        }
    }
}

/// A struct as a value.
pub(super) fn structure(schema: SchemaRef, values: Vec<Value>) -> Value {
    Value::Struct(Arc::new(Struct::from_parts(schema, values)))
}

/// A field of a map.
pub(super) fn get<'v>(entries: &'v [(Value, Value)], name: &str) -> Option<&'v Value> {
    let mut entries = entries.iter();
    entries
        .find(|(key, _)| key.as_str() == Some(name))
        .map(|(_, value)| value)
}

/// Sets a field of a map.
pub(super) fn put(entries: &mut Vec<(Value, Value)>, name: &str, value: Value) {
    if let Some(new) = replace(entries, name, value) {
        entries.push((Value::string(name), new));
    }
}

/// As [`put`], with a name that is there already and need not be made.
pub(super) fn put_named(entries: &mut Vec<(Value, Value)>, name: &Str, value: Value) {
    if let Some(new) = replace(entries, name, value) {
        entries.push((Value::String(name.clone()), new));
    }
}

/// Gives the value back if there is no such field yet.
fn replace(entries: &mut [(Value, Value)], name: &str, value: Value) -> Option<Value> {
    match entries
        .iter_mut()
        .find(|(key, _)| key.as_str() == Some(name))
    {
        Some((_, old)) => {
            *old = value;
            None
        }
        None => Some(value),
    }
}

/// A value that has no fields, where some were needed.
pub(super) fn no_fields(value: &Value, doing: &str) -> ConnectError {
    ConnectError::record(format!(
        "cannot {doing} of a {}; it must be a struct, or a map without schema",
        value.type_name()
    ))
}

/// A field that a struct does not have.
pub(super) fn no_field(schema: &Schema, name: &str) -> ConnectError {
    let names: Vec<&str> = schema.fields().iter().map(|field| &*field.name).collect();
    ConnectError::record(format!(
        "there is no field \"{name}\"; there are {}",
        names.join(", ")
    ))
}

/// Where a field is: its name, or the names of the structs or maps around it and its own (KIP-821).
#[derive(Debug, PartialEq)]
pub(super) struct FieldPath(Vec<String>);

impl FieldPath {
    /// A field of the value itself; dots are part of its name.
    pub(super) fn name(name: String) -> Self {
        FieldPath(vec![name])
    }

    /// Names separated by dots; a name in back-ticks may hold dots, and back-ticks behind a backslash.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn dotted(text: &str) -> Result<Self, String> {
        let mut names = Vec::new();
        let mut rest = text.chars().peekable();
        loop {
            let mut name = String::new();
            if rest.next_if_eq(&'`').is_some() {
                loop {
                    match rest.next() {
                        Some('\\') if rest.next_if_eq(&'`').is_some() => name.push('`'),
                        Some('`') => break,
                        Some(symbol) => name.push(symbol),
                        None => return Err("expected a back-tick at the end of a name".to_owned()),
                    }
                }
                if rest.peek().is_some_and(|symbol| *symbol != '.') {
                    return Err("expected a dot behind a name in back-ticks".to_owned());
                }
            } else {
                while let Some(symbol) = rest.next_if(|symbol| *symbol != '.') {
                    name.push(symbol);
                }
            }
            names.push(name);
            if rest.next().is_none() {
                return Ok(FieldPath(names));
            }
        }
    }

    /// The field's value in a map; `None` if it is not there.
    ///
    /// # Errors
    /// Record: something on the way is neither a map nor null.
    pub(super) fn in_map<'v>(&self, map: &'v Value) -> Result<Option<&'v Value>, ConnectError> {
        let mut found = map;
        for name in &self.0 {
            let Value::Map(entries) = found else {
                return match found {
                    Value::Null => Ok(None),
                    other => Err(no_fields(other, &format!("find the field \"{name}\""))),
                };
            };
            match get(entries, name) {
                Some(value) => found = value,
                None => return Ok(None),
            }
        }
        Ok(Some(found))
    }

    /// The field's schema; `None` if there is no such field.
    pub(super) fn schema<'s>(&self, schema: &'s SchemaRef) -> Option<&'s SchemaRef> {
        let mut names = self.0.iter();
        names.try_fold(schema, |schema, name| Some(&schema.field(name)?.1.schema))
    }

    /// The field's value in a struct; null if a struct around it is.
    pub(super) fn in_struct(&self, whole: &Struct, replace_null: bool) -> Value {
        let mut at = Some(whole);
        let mut found = Value::Null;
        for name in &self.0 {
            let Some(value) = at.and_then(|fields| match replace_null {
                true => fields.get(name),
                false => fields.get_without_default(name),
            }) else {
                return Value::Null;
            };
            found = value.clone();
            at = value.as_struct();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_names_between_dots_or_in_back_ticks() {
        let names = |text: &str| FieldPath::dotted(text).unwrap().0;
        assert_eq!(names("a"), ["a"]);
        assert_eq!(names("a.b"), ["a", "b"]);
        assert_eq!(names("a.`b.c`.d"), ["a", "b.c", "d"]);
        assert_eq!(names(r"`b\`c`"), ["b`c"]);
        assert!(FieldPath::dotted("`a").is_err());
        assert!(FieldPath::dotted("`a`b").is_err());
    }
}
