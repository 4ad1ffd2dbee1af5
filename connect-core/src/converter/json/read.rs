//! JSON into values, without a tree in between: text without escapes becomes a slice of the record.
//!
//! The text is checked to be UTF-8 once, then read from its beginning to its end. Stricter than JSON is
//! nothing; as in Kafka, a number may begin with zeros.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::Error;

use super::names::Names;
use super::{MapEntries, ONE_OF, Options};
use crate::decimal::Decimal;
use crate::schema::{Field, Logical, Schema, SchemaRef, Type};
use crate::structure::Struct;
use crate::text::Str;
use crate::value::Value;

/// Some ten thousand digits. Writing digits out takes the square of their number, so more of them would
/// let one record stop a task.
const DECIMAL_BYTES_MAX: usize = 4096;
/// How deep arrays and objects may be nested.
const DEPTH_MAX: usize = 128;
/// Up to so many fields it is faster to look at each of them than to ask a map.
const FEW: usize = 16;

/// What is wrong with a text, and where.
#[derive(Debug)]
pub(super) struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Wrong(message.to_string())
    }
}

/// What one value should be.
#[derive(Clone, Copy)]
pub(super) struct Seed<'a> {
    pub(super) schema: Option<&'a SchemaRef>,
    pub(super) options: Options,
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

impl Seed<'_> {
    fn boolean<E: Error>(self, value: bool) -> Result<Value, E> {
        match self.schema {
            Some(schema) if schema.kind() != Type::Boolean => Err(mismatch(schema, "a boolean")),
            _ => Ok(Value::Boolean(value)),
        }
    }

    fn float<E: Error>(self, number: f64) -> Result<Value, E> {
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
}

/// Reads a text from its beginning to its end.
pub(super) struct Reader<'t> {
    /// What the text lies in, so that texts can be slices of it.
    buffer: &'t Bytes,
    text: &'t str,
    at: usize,
    depth: usize,
    names: &'t mut Names,
}

impl<'t> Reader<'t> {
    /// Reads what should be one value and nothing else, or one value of more.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub(super) fn new(
        buffer: &'t Bytes,
        json: &'t [u8],
        names: &'t mut Names,
    ) -> Result<Self, Wrong> {
        let text = std::str::from_utf8(json)
            .map_err(|error| Wrong(format!("byte {} is not UTF-8", error.valid_up_to())))?;
        names.begin();
        Ok(Reader {
            buffer,
            text,
            at: 0,
            depth: 0,
            names,
        })
    }

    /// The value, and nothing behind it.
    pub(super) fn only(&mut self, seed: Seed<'_>) -> Result<Value, Wrong> {
        let value = self.value(seed)?;
        self.end()?;
        Ok(value)
    }

    /// The value, then `closing`, and nothing behind that.
    pub(super) fn closed(&mut self, seed: Seed<'_>, closing: u8) -> Result<Value, Wrong> {
        let value = self.value(seed)?;
        if !self.takes(closing) {
            return Err(self.wrong(&format!("expected \"{}\"", char::from(closing))));
        }
        self.end()?;
        Ok(value)
    }

    fn end(&mut self) -> Result<(), Wrong> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.wrong("trailing characters")),
        }
    }

    fn wrong(&self, what: &str) -> Wrong {
        Wrong(format!("{what} at byte {}", self.at))
    }

    /// The next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                other => return Some(*other),
            }
        }
        None
    }

    fn takes(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, seed: Seed<'_>) -> Result<Value, Wrong> {
        let first = self.peek();
        if let Some(schema) = seed.schema
            && schema.name().is_some()
            && schema.logical_type() == Some(Logical::Decimal)
            && first != Some(b'n')
        {
            // As text, because a number with more digits than a float has must not lose them.
            let start = self.at;
            self.value(seed.with(None))?;
            return decimal(schema, self.text.get(start..self.at).unwrap_or_default());
        }
        if seed.options.entries == MapEntries::Objects
            && let Some(schema) = seed.schema
            && schema.name() == Some(ONE_OF)
            && first != Some(b'n')
        {
            return self.one_of(seed, schema);
        }
        match first {
            Some(b'"') => match self.string()? {
                Cow::Borrowed(text) => seed.text(Str::within(self.buffer, text)),
                Cow::Owned(text) => seed.text(Str::from(text)),
            },
            Some(b'{') => self.nested(|reader| reader.object(seed)),
            Some(b'[') => self.nested(|reader| reader.array(seed)),
            Some(b'-' | b'0'..=b'9') => self.number(seed),
            Some(b't') => self.literal("true").and_then(|()| seed.boolean(true)),
            Some(b'f') => self.literal("false").and_then(|()| seed.boolean(false)),
            Some(b'n') => self.literal("null").and_then(|()| seed.null()),
            Some(_) => Err(self.wrong("expected a value")),
            None => Err(self.wrong("the text ends where a value is expected")),
        }
    }

    /// The first of several schemas that takes it.
    fn one_of(&mut self, seed: Seed<'_>, schema: &SchemaRef) -> Result<Value, Wrong> {
        let (start, depth) = (self.at, self.depth);
        let plain = self.value(seed.with(None))?;
        let end = self.at;
        let json = self.text.get(start..end).unwrap_or_default();
        for (place, field) in schema.fields().iter().enumerate() {
            if !may_be(&field.schema, &plain, json) {
                continue;
            }
            (self.at, self.depth) = (start, depth);
            let Ok(value) = self.value(seed.with(Some(&field.schema))) else {
                continue;
            };
            let mut values = vec![Value::Null; schema.fields().len()];
            if let Some(slot) = values.get_mut(place) {
                *slot = value;
            }
            return Ok(Value::from(Struct::from_parts(schema.clone(), values)));
        }
        (self.at, self.depth) = (end, depth);
        let begin: String = json.chars().take(40).collect();
        Err(Wrong(format!(
            "none of the schemas that it may have takes {begin}"
        )))
    }

    fn nested(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Value, Wrong>,
    ) -> Result<Value, Wrong> {
        self.depth += 1;
        if self.depth >= DEPTH_MAX {
            return Err(self.wrong(&format!("more than {DEPTH_MAX} levels of nesting")));
        }
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn literal(&mut self, word: &str) -> Result<(), Wrong> {
        let found = self.text.as_bytes().get(self.at..self.at + word.len());
        if found != Some(word.as_bytes()) {
            return Err(self.wrong("expected a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Text; `at` is at its first quote.
    fn string(&mut self) -> Result<Cow<'t, str>, Wrong> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut end = start;
        let mut escaped = false;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    end += 2;
                }
                Some(0..=0x1F) => {
                    self.at = end;
                    return Err(self.wrong("a control character in a text must be escaped"));
                }
                Some(_) => end += 1,
                None => {
                    self.at = bytes.len();
                    return Err(self.wrong("the text ends within quotes"));
                }
            }
        }
        let quoted = self.at..end + 1;
        self.at = end + 1;
        if !escaped {
            return Ok(Cow::Borrowed(self.text.get(start..end).unwrap_or_default()));
        }
        // Escapes are rare enough to leave them to others.
        let quoted = self.text.get(quoted).unwrap_or_default();
        serde_json::from_str(quoted)
            .map(Cow::Owned)
            .map_err(|error| self.wrong(&error.to_string()))
    }

    fn number(&mut self, seed: Seed<'_>) -> Result<Value, Wrong> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let first = start + usize::from(bytes.get(start) == Some(&b'-'));
        let whole = digits(first);
        let mut end = whole;
        let mut complete = end > first;
        if bytes.get(end) == Some(&b'.') {
            end = digits(whole + 1);
            complete &= end > whole + 1;
        }
        if let Some(b'e' | b'E') = bytes.get(end) {
            let signed = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = end + 1 + signed;
            end = digits(exponent);
            complete &= end > exponent;
        }
        self.at = end;
        if !complete {
            return Err(self.wrong("a number is not complete"));
        }
        let text = self.text.get(start..end).unwrap_or_default();
        if end == whole {
            if let Ok(number) = text.parse::<i64>() {
                return seed.integer(i128::from(number));
            }
            if let Ok(number) = text.parse::<i128>() {
                return seed.integer(number);
            }
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => seed.float(number),
            _ => Err(self.wrong("a number is out of range")),
        }
    }

    fn array(&mut self, seed: Seed<'_>) -> Result<Value, Wrong> {
        let Some(schema) = seed.schema else {
            return self.items(seed);
        };
        match (schema.kind(), schema.key_schema()) {
            (Type::Array, _) => self.items(seed.with(schema.value_schema())),
            (Type::Map, Some(keys)) if keys.kind() != Type::String => {
                self.pairs(seed.with(Some(keys)), seed.with(schema.value_schema()))
            }
            _ => Err(mismatch(schema, "an array")),
        }
    }

    /// Whether there is another item or member; `closing` ends them.
    fn more(&mut self, first: &mut bool, closing: u8) -> Result<bool, Wrong> {
        if self.takes(closing) {
            // Not behind a comma: that is followed by a value, which this is not.
            return Ok(false);
        }
        if !std::mem::take(first) && !self.takes(b',') {
            return Err(self.wrong(&format!("expected a comma or \"{}\"", char::from(closing))));
        }
        Ok(true)
    }

    fn items(&mut self, seed: Seed<'_>) -> Result<Value, Wrong> {
        let mut items = Vec::new();
        let mut first = true;
        while self.more(&mut first, b']')? {
            items.push(self.value(seed)?);
        }
        Ok(Value::Array(Arc::new(items)))
    }

    /// A map whose keys are not text: an array of `[key, value]` or of `{"key": …, "value": …}`.
    fn pairs(&mut self, keys: Seed<'_>, values: Seed<'_>) -> Result<Value, Wrong> {
        let mut entries = Vec::new();
        let mut first = true;
        while self.more(&mut first, b']')? {
            entries.push(match self.peek() {
                Some(b'[') => self.pair(keys, values)?,
                Some(b'{') => self.pair_by_name(keys, values)?,
                _ => return Err(self.wrong("expected an array of key and value")),
            });
        }
        Ok(Value::Map(Arc::new(entries)))
    }

    fn pair(&mut self, keys: Seed<'_>, values: Seed<'_>) -> Result<(Value, Value), Wrong> {
        const NO_PAIR: &str = "a map's entry is not an array of key and value";
        self.at += 1;
        let key = self.value(keys)?;
        if !self.takes(b',') {
            return Err(self.wrong(NO_PAIR));
        }
        let value = self.value(values)?;
        if !self.takes(b']') {
            return Err(self.wrong(NO_PAIR));
        }
        Ok((key, value))
    }

    fn pair_by_name(&mut self, keys: Seed<'_>, values: Seed<'_>) -> Result<(Value, Value), Wrong> {
        self.at += 1;
        let (mut key, mut value) = (None, None);
        let mut first = true;
        while self.more(&mut first, b'}')? {
            match &*self.name()? {
                "key" => key = Some(self.value(keys)?),
                "value" => value = Some(self.value(values)?),
                _ => {
                    self.value(keys.with(None))?;
                }
            }
        }
        key.zip(value)
            .ok_or_else(|| self.wrong("a map's entry has no \"key\" or no \"value\""))
    }

    fn object(&mut self, seed: Seed<'_>) -> Result<Value, Wrong> {
        let Some(schema) = seed.schema else {
            return self.members(seed);
        };
        match (schema.kind(), schema.key_schema()) {
            (Type::Struct, _) => self.structure(seed, schema),
            (Type::Map, Some(keys)) if keys.kind() == Type::String => {
                self.members(seed.with(schema.value_schema()))
            }
            _ => Err(mismatch(schema, "an object")),
        }
    }

    /// A member's name and the colon behind it.
    fn name(&mut self) -> Result<Cow<'t, str>, Wrong> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong("expected a name in quotes"));
        }
        let name = self.string()?;
        match self.takes(b':') {
            true => Ok(name),
            false => Err(self.wrong("expected a colon")),
        }
    }

    fn members(&mut self, values: Seed<'_>) -> Result<Value, Wrong> {
        let mut entries = Vec::with_capacity(8);
        let mut first = true;
        while self.more(&mut first, b'}')? {
            let name = match self.name()? {
                Cow::Borrowed(name) => self.names.get(self.buffer, name),
                Cow::Owned(name) => Str::from(name),
            };
            entries.push((Value::String(name), self.value(values)?));
        }
        Ok(Value::Map(Arc::new(last_wins(entries))))
    }

    fn structure(&mut self, seed: Seed<'_>, schema: &SchemaRef) -> Result<Value, Wrong> {
        let fields = schema.fields();
        let mut values: Vec<Value> = Vec::with_capacity(fields.len());
        let mut first = true;
        // Members usually come in the schema's order and all of them.
        let mut strange = None;
        while self.more(&mut first, b'}')? {
            let name = self.name()?;
            match fields.get(values.len()) {
                Some(field) if field.name == name => {
                    values.push(self.value(seed.with(Some(&field.schema)))?);
                }
                _ => {
                    strange = Some(name);
                    break;
                }
            }
        }
        if strange.is_some() || values.len() < fields.len() {
            values = self.in_any_order(seed, schema, values, strange)?;
        }
        Ok(Value::Struct(Arc::new(Struct::from_parts(
            schema.clone(),
            values,
        ))))
    }

    /// The rest of a struct, behind the name of a member that is not the next field.
    fn in_any_order(
        &mut self,
        seed: Seed<'_>,
        schema: &SchemaRef,
        begun: Vec<Value>,
        mut name: Option<Cow<'t, str>>,
    ) -> Result<Vec<Value>, Wrong> {
        let fields = schema.fields();
        let mut values: Vec<Option<Value>> = begun.into_iter().map(Some).collect();
        values.resize(fields.len(), None);
        let mut places = None;
        let mut first = false;
        while let Some(member) = name.take() {
            // A map keeps the work from growing with the square of the fields.
            let found = match fields.len() <= FEW {
                true => schema.field(&member),
                false => {
                    let places = places.get_or_insert_with(|| by_name(schema));
                    places.get(member.as_ref()).copied()
                }
            };
            match found {
                None => {
                    self.value(seed.with(None))?;
                }
                Some((index, field)) => {
                    let value = self.value(seed.with(Some(&field.schema)))?;
                    if let Some(slot) = values.get_mut(index) {
                        *slot = Some(value);
                    }
                }
            }
            if self.more(&mut first, b'}')? {
                name = Some(self.name()?);
            }
        }
        let values = values.into_iter().zip(fields);
        values
            .map(|(value, field)| match value {
                Some(value) => Ok(value),
                None => seed
                    .with(Some(&field.schema))
                    .null()
                    .map_err(|error: Wrong| Wrong(format!("field \"{}\": {error}", field.name))),
            })
            .collect()
    }
}

/// Of members with the same name the last counts.
fn last_wins(entries: Vec<(Value, Value)>) -> Vec<(Value, Value)> {
    let few = entries.len() <= FEW;
    if few
        && !entries.iter().zip(1..).any(|(entry, next)| {
            entries
                .iter()
                .skip(next)
                .any(|other| same(&other.0, &entry.0))
        })
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

fn same(one: &Value, other: &Value) -> bool {
    match (one.as_str(), other.as_str()) {
        (Some(one), Some(other)) => one.len() == other.len() && one == other,
        _ => false,
    }
}

fn by_name(schema: &Schema) -> HashMap<&str, (usize, &Field)> {
    schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| (field.name.as_ref(), (index, field)))
        .collect()
}

/// Whether JSON can be of a schema, as far as its kind tells; of a struct, only if that has all members.
fn may_be(schema: &Schema, plain: &Value, json: &str) -> bool {
    match (schema.kind(), plain) {
        (Type::Boolean, Value::Boolean(_)) | (Type::String | Type::Bytes, Value::String(_)) => true,
        (
            Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64,
            Value::Int64(_) | Value::Float64(_),
        ) => !json.contains(['.', 'e', 'E']),
        (Type::Float32 | Type::Float64 | Type::Bytes, Value::Int64(_) | Value::Float64(_)) => true,
        (Type::Array, Value::Array(_)) | (Type::Map, Value::Array(_) | Value::Map(_)) => true,
        (Type::Struct, Value::Map(members)) => members.iter().all(|(name, _)| {
            name.as_str()
                .is_some_and(|name| schema.field(name).is_some())
        }),
        _ => false,
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
