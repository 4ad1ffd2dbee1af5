//! JSON into values, without a tree in between: text without escapes becomes a slice of the record.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{MapEntries, ONE_OF, Options};
use crate::decimal::Decimal;
use crate::schema::{Field, Logical, Schema, SchemaRef, Type};
use crate::structure::Struct;
use crate::text::Str;
use crate::value::Value;

/// Some ten thousand digits. Writing digits out takes the square of their number, so more of them would
/// let one record stop a task.
const DECIMAL_BYTES_MAX: usize = 4096;

/// Reads one value, by its schema if there is one.
#[derive(Clone, Copy)]
pub(super) struct Seed<'a> {
    /// What the JSON lies in, so that text can be a slice of it.
    pub(super) buffer: &'a Bytes,
    pub(super) schema: Option<&'a SchemaRef>,
    pub(super) options: Options,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if let Some(schema) = self.schema
            && schema.logical_type() == Some(Logical::Decimal)
        {
            // As text, because a number with more digits than a float has must not lose them.
            let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
            return if raw.get() == "null" {
                self.null()
            } else {
                decimal(schema, raw.get())
            };
        }
        if self.options.entries == MapEntries::Objects
            && let Some(schema) = self.schema
            && schema.name() == Some(ONE_OF)
        {
            let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
            return self.one_of(schema, raw.get());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'a> Seed<'a> {
    fn with(self, schema: Option<&'a SchemaRef>) -> Self {
        Seed { schema, ..self }
    }

    fn null<E: Error>(self) -> Result<Value, E> {
        let Some(schema) = self.schema else {
            return Ok(Value::Null);
        };
        match schema.default() {
            Some(default) if self.options.replace_null_with_default => Ok(default.clone()),
            _ if schema.is_optional() => Ok(Value::Null),
            _ => Err(E::custom(format_args!(
                "null where the schema requires a {}",
                schema.kind()
            ))),
        }
    }

    /// The first of several schemas that takes it.
    fn one_of<E: Error>(self, schema: &SchemaRef, json: &str) -> Result<Value, E> {
        if json == "null" {
            return self.null();
        }
        let kind = json.bytes().next().unwrap_or_default();
        for (at, field) in schema.fields().iter().enumerate() {
            if !may_be(&field.schema, kind, json) {
                continue;
            }
            let mut deserializer = serde_json::Deserializer::from_str(json);
            let seed = self.with(Some(&field.schema));
            let Ok(value) = seed.deserialize(&mut deserializer) else {
                continue;
            };
            let mut values = vec![Value::Null; schema.fields().len()];
            if let Some(slot) = values.get_mut(at) {
                *slot = value;
            }
            let fields = Struct::from_parts(schema.clone(), values);
            return Ok(Value::from(fields));
        }
        let start: String = json.chars().take(40).collect();
        Err(E::custom(format_args!(
            "none of the schemas that it may have takes {start}"
        )))
    }

    fn text<E: Error>(self, text: Str) -> Result<Value, E> {
        let Some(schema) = self.schema else {
            return Ok(Value::String(text));
        };
        match schema.kind() {
            Type::String => Ok(Value::String(text)),
            Type::Bytes => match STANDARD.decode(text.as_bytes()) {
                Ok(bytes) => Ok(Value::Bytes(Bytes::from(bytes))),
                Err(error) => Err(E::custom(format_args!("text is not base64: {error}"))),
            },
            // How infinities and NaN are written.
            Type::Float32 if special(&text) => Ok(Value::Float32(text.parse().unwrap_or(f32::NAN))),
            Type::Float64 if special(&text) => Ok(Value::Float64(text.parse().unwrap_or(f64::NAN))),
            _ => Err(mismatch(schema, "text")),
        }
    }

    fn integer<E: Error>(self, number: i128) -> Result<Value, E> {
        let Some(schema) = self.schema else {
            return Ok(i64::try_from(number).map_or(Value::Float64(number as f64), Value::Int64));
        };
        let value = match (schema.kind(), schema.logical_type()) {
            (Type::Int8, _) => i8::try_from(number).ok().map(Value::Int8),
            (Type::Int16, _) => i16::try_from(number).ok().map(Value::Int16),
            (Type::Int32, Some(Logical::Date)) => i32::try_from(number).ok().map(Value::Date),
            (Type::Int32, Some(Logical::Time)) => i32::try_from(number)
                .ok()
                .filter(|ms| (0..=86_400_000).contains(ms))
                .map(Value::Time),
            (Type::Int32, _) => i32::try_from(number).ok().map(Value::Int32),
            (Type::Int64, Some(Logical::Timestamp)) => {
                i64::try_from(number).ok().map(Value::Timestamp)
            }
            (Type::Int64, _) => i64::try_from(number).ok().map(Value::Int64),
            (Type::Float32, _) => Some(Value::Float32(number as f32)),
            (Type::Float64, _) => Some(Value::Float64(number as f64)),
            _ => return Err(mismatch(schema, "a number")),
        };
        value.ok_or_else(|| E::custom(format_args!("{number} does not fit into {}", what(schema))))
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.schema.map_or("any value", |schema| what(schema)))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.null()
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        match self.schema {
            Some(schema) if schema.kind() != Type::Boolean => Err(mismatch(schema, "a boolean")),
            _ => Ok(Value::Boolean(value)),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        self.integer(i128::from(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        self.integer(i128::from(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        let Some(schema) = self.schema else {
            return Ok(Value::Float64(number));
        };
        match schema.kind() {
            Type::Float64 => Ok(Value::Float64(number)),
            Type::Float32 => Ok(Value::Float32(number as f32)),
            Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64 if number.fract() == 0.0 => {
                self.integer(number as i128)
            }
            _ => Err(mismatch(schema, "a number with a fraction")),
        }
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value, E> {
        self.text(Str::within(self.buffer, text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.text(Str::from(text))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        self.text(Str::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        match self.schema {
            None => array(self, &mut items),
            Some(schema) => match (schema.kind(), schema.key_schema()) {
                (Type::Array, _) => array(self.with(schema.value_schema()), &mut items),
                (Type::Map, Some(keys)) if keys.kind() != Type::String => {
                    let mut entries = Vec::new();
                    let pair = Pair {
                        key: self.with(Some(keys)),
                        value: self.with(schema.value_schema()),
                    };
                    while let Some(entry) = items.next_element_seed(pair)? {
                        entries.push(entry);
                    }
                    Ok(Value::Map(Arc::new(entries)))
                }
                _ => Err(mismatch(schema, "an array")),
            },
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        match self.schema {
            None => object(self, &mut members),
            Some(schema) => match (schema.kind(), schema.key_schema()) {
                (Type::Struct, _) => structure(self, schema, &mut members),
                (Type::Map, Some(keys)) if keys.kind() == Type::String => {
                    object(self.with(schema.value_schema()), &mut members)
                }
                _ => Err(mismatch(schema, "an object")),
            },
        }
    }
}

/// A member's name, borrowed from the JSON unless it has escapes.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Name<'de>(pub(super) Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}

fn array<'de, A: SeqAccess<'de>>(items: Seed<'_>, access: &mut A) -> Result<Value, A::Error> {
    let mut values = Vec::new();
    while let Some(value) = access.next_element_seed(items)? {
        values.push(value);
    }
    Ok(Value::Array(Arc::new(values)))
}

fn object<'de, A: MapAccess<'de>>(values: Seed<'_>, access: &mut A) -> Result<Value, A::Error> {
    let mut entries = Vec::new();
    while let Some(Name(name)) = access.next_key()? {
        let name = match name {
            Cow::Borrowed(name) => Str::within(values.buffer, name),
            Cow::Owned(name) => Str::from(name),
        };
        entries.push((Value::String(name), access.next_value_seed(values)?));
    }
    Ok(Value::Map(Arc::new(last_wins(entries))))
}

/// Of members with the same name the last counts.
fn last_wins(entries: Vec<(Value, Value)>) -> Vec<(Value, Value)> {
    let few = entries.len() <= 8;
    if few
        && !entries
            .iter()
            .zip(1..)
            .any(|(entry, next)| entries.iter().skip(next).any(|other| other.0 == entry.0))
    {
        return entries;
    }
    let mut places: HashMap<Str, usize> = HashMap::with_capacity(entries.len());
    let mut unique: Vec<(Value, Value)> = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        let Value::String(key) = &name else { continue };
        match places
            .get(key.as_str())
            .and_then(|place| unique.get_mut(*place))
        {
            Some(entry) => entry.1 = value,
            None => {
                places.insert(key.clone(), unique.len());
                unique.push((name, value));
            }
        }
    }
    unique
}

fn structure<'de, A: MapAccess<'de>>(
    seed: Seed<'_>,
    schema: &SchemaRef,
    access: &mut A,
) -> Result<Value, A::Error> {
    let mut values: Vec<Option<Value>> = vec![None; schema.fields().len()];
    let mut next = 0;
    let mut places = None;
    while let Some(Name(name)) = access.next_key()? {
        // Members usually come in the schema's order. If not, and there are many, a map keeps the work
        // from growing with their square.
        let found = match schema.fields().get(next) {
            Some(field) if field.name == name => Some((next, field)),
            _ if schema.fields().len() <= 16 => schema.field(&name),
            _ => places
                .get_or_insert_with(|| by_name(schema))
                .get(name.as_ref())
                .copied(),
        };
        let Some((index, field)) = found else {
            access.next_value::<IgnoredAny>()?;
            continue;
        };
        let value = access.next_value_seed(seed.with(Some(&field.schema)))?;
        if let Some(slot) = values.get_mut(index) {
            *slot = Some(value);
        }
        next = index + 1;
    }
    let mut complete = Vec::with_capacity(values.len());
    for (value, field) in values.into_iter().zip(schema.fields()) {
        complete.push(match value {
            Some(value) => value,
            None => seed
                .with(Some(&field.schema))
                .null()
                .map_err(|error: A::Error| {
                    A::Error::custom(format_args!("field \"{}\": {error}", field.name))
                })?,
        });
    }
    Ok(Value::Struct(Arc::new(Struct::from_parts(
        schema.clone(),
        complete,
    ))))
}

fn by_name(schema: &Schema) -> HashMap<&str, (usize, &Field)> {
    schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| (field.name.as_ref(), (index, field)))
        .collect()
}

/// Whether JSON that begins like this can be of a schema; a struct, only if it has all members.
fn may_be(schema: &Schema, first: u8, json: &str) -> bool {
    match (schema.kind(), first) {
        (Type::Boolean, b't' | b'f') | (Type::String, b'"') => true,
        (Type::Bytes, b'"') => true,
        (Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64, b'-' | b'0'..=b'9') => {
            !json.contains(['.', 'e', 'E'])
        }
        (Type::Float32 | Type::Float64 | Type::Bytes, b'-' | b'0'..=b'9') => true,
        (Type::Array, b'[') | (Type::Map, b'[' | b'{') => true,
        (Type::Struct, b'{') => {
            let members: Result<HashMap<Name<'_>, IgnoredAny>, _> = serde_json::from_str(json);
            let known = |Name(name): &Name<'_>| schema.field(name).is_some();
            members.is_ok_and(|members| members.keys().all(known))
        }
        _ => false,
    }
}

/// One entry of a map whose keys are not text: `[key, value]` or `{"key": …, "value": …}`.
#[derive(Clone, Copy)]
struct Pair<'a> {
    key: Seed<'a>,
    value: Seed<'a>,
}

impl<'de> DeserializeSeed<'de> for Pair<'_> {
    type Value = (Value, Value);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pair<'_> {
    type Value = (Value, Value);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of key and value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let key = items.next_element_seed(self.key)?;
        let value = items.next_element_seed(self.value)?;
        match (key, value, items.next_element::<IgnoredAny>()?) {
            (Some(key), Some(value), None) => Ok((key, value)),
            _ => Err(A::Error::custom(
                "a map's entry is not an array of key and value",
            )),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let (mut key, mut value) = (None, None);
        while let Some(Name(name)) = members.next_key()? {
            match name.as_ref() {
                "key" => key = Some(members.next_value_seed(self.key)?),
                "value" => value = Some(members.next_value_seed(self.value)?),
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        key.zip(value)
            .ok_or_else(|| A::Error::custom("a map's entry has no \"key\" or no \"value\""))
    }
}

/// A number, or base64 of the unscaled number, whatever `decimal.format` says.
fn decimal<E: Error>(schema: &Schema, json: &str) -> Result<Value, E> {
    let scale = schema
        .decimal_scale()
        .ok_or_else(|| E::custom("a Decimal's schema has no scale"))?;
    if json.starts_with('"') {
        let text: Cow<'_, str> = serde_json::from_str::<String>(json)
            .map_err(E::custom)?
            .into();
        let bytes = STANDARD
            .decode(text.as_bytes())
            .map_err(|error| E::custom(format_args!("a Decimal's text is not base64: {error}")))?;
        if bytes.len() > DECIMAL_BYTES_MAX {
            return Err(E::custom(format_args!(
                "a Decimal has {} bytes; {DECIMAL_BYTES_MAX} are the limit",
                bytes.len()
            )));
        }
        return Ok(Value::from(Decimal::from_bytes(&bytes, scale)));
    }
    let number: Decimal = json
        .parse()
        .map_err(|_| mismatch::<E>(schema, "something else"))?;
    let fitted = number.with_scale(scale).ok_or_else(|| {
        E::custom(format_args!(
            "{number} has more than {scale} digits after the point"
        ))
    })?;
    Ok(Value::from(fitted))
}

fn special(text: &str) -> bool {
    matches!(text, "NaN" | "Infinity" | "-Infinity")
}

fn what(schema: &Schema) -> &str {
    schema.name().unwrap_or(schema.kind().name())
}

fn mismatch<E: Error>(schema: &Schema, found: &str) -> E {
    E::custom(format_args!(
        "found {found} where the schema says {}",
        what(schema)
    ))
}
