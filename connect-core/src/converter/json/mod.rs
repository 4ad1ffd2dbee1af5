//! JSON, with or without its schema: Kafka's `JsonConverter`.

mod names;
mod payload;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod write;

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::cache::Cache;
use super::{Converter, SchemaAndValue};
use crate::config::{Config, ConfigChoice, ConfigDef, ConfigMap, Problem};
use crate::error::ConnectError;
use crate::schema::SchemaRef;
use crate::value::Value;

use names::Names;
pub use payload::{JsonPayload, ONE_OF};
use read::{Reader, Seed, Wrong};

/// `JsonConverter`.
///
/// With `schemas.enable` (the default) every record is an envelope `{"schema": …, "payload": …}`;
/// without, it is the payload alone, and when read, whole numbers are int64, others float64, and
/// objects are maps. Whole numbers beyond 64 bits are read as float64.
///
/// No schema and no value is a tombstone; a schema without a value is JSON's null, as in Kafka. Stricter
/// than Kafka: a number that does not fit its schema's type is an error and not cut off.
#[derive(Debug)]
pub struct JsonConverter {
    schemas_enable: bool,
    options: Options,
    /// What `schema.content` says every incoming payload has.
    content: Option<SchemaRef>,
    /// Schemas already read, by their text.
    read: Mutex<Cache<Box<str>, Option<SchemaRef>>>,
    /// Schemas already written, by their address; the value keeps the schema alive, so that no other
    /// can take its address.
    written: Mutex<Cache<usize, (SchemaRef, Bytes)>>,
    /// What the last record that was read tells about the next one.
    expected: Mutex<Expected>,
    /// Where records are written.
    room: Mutex<Room>,
}

/// Records of a topic mostly have one schema and the same names.
#[derive(Debug, Default)]
struct Expected {
    /// All of an envelope up to its payload, and the schema in it.
    envelope: Option<(Box<[u8]>, Option<SchemaRef>)>,
    names: Names,
}

/// Where a record is written before it gets memory of its own, once and of its size.
#[derive(Debug, Default)]
struct Room {
    record: Vec<u8>,
    /// The last schema that was written, and its JSON.
    schema: Option<(SchemaRef, Bytes)>,
}

/// How much of a room is kept for the next record.
const ROOM_BYTES_MAX: usize = 16 * 1024;
/// The longest beginning of an envelope that is kept to be compared.
const ENVELOPE_BYTES_MAX: usize = 64 * 1024;

/// What changes how values look.
#[derive(Debug, Clone, Copy)]
struct Options {
    decimal: DecimalFormat,
    replace_null_with_default: bool,
    entries: MapEntries,
}

/// How the entries of maps look whose keys are not text; both are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MapEntries {
    /// `[key, value]`.
    Arrays,
    /// `{"key": …, "value": …}`.
    Objects,
}

/// How decimal numbers look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ConfigChoice)]
pub enum DecimalFormat {
    /// The unscaled number's bytes as base64.
    #[config(name = "BASE64")]
    Base64,
    /// A JSON number.
    #[config(name = "NUMERIC")]
    Numeric,
}

#[derive(Config)]
struct JsonConverterConfig {
    /// Include schemas within each of the serialized values and keys.
    #[config(default = true, importance = "high", group = "Schemas")]
    schemas_enable: bool,
    /// The maximum number of schemas that can be cached in this converter instance.
    #[config(default = 1000, range = 0.., importance = "high", group = "Schemas")]
    schemas_cache_size: usize,
    /// Controls which format this converter will serialize decimals in: base64 of the unscaled number, or a JSON number.
    #[config(default = "BASE64", importance = "low", group = "Serialization")]
    decimal_format: DecimalFormat,
    /// Whether to replace fields that have a default value and that are null with the default value.
    #[config(default = true, importance = "low", group = "Schemas")]
    replace_null_with_default: bool,
    /// A schema as JSON that every incoming payload has; such payloads come without envelope. It needs
    /// "schemas.enable".
    #[config(importance = "high", group = "Schemas")]
    schema_content: Option<String>,
}

impl Default for JsonConverter {
    fn default() -> Self {
        JsonConverter {
            schemas_enable: true,
            options: Options {
                decimal: DecimalFormat::Base64,
                replace_null_with_default: true,
                entries: MapEntries::Arrays,
            },
            content: None,
            read: Mutex::new(Cache::new(1000)),
            written: Mutex::new(Cache::new(1000)),
            expected: Mutex::default(),
            room: Mutex::default(),
        }
    }
}

impl Converter for JsonConverter {
    fn config(&self) -> ConfigDef {
        JsonConverterConfig::definition()
    }

    fn configure(&mut self, config: &ConfigMap, _is_key: bool) -> Result<(), Vec<Problem>> {
        let config = JsonConverterConfig::parse(config)?;
        self.schemas_enable = config.schemas_enable;
        self.options = Options {
            decimal: config.decimal_format,
            replace_null_with_default: config.replace_null_with_default,
            entries: MapEntries::Arrays,
        };
        self.content = match config.schema_content.filter(|text| !text.trim().is_empty()) {
            None => None,
            Some(text) => schema::read(&text, self.options).map_err(|error| {
                vec![Problem::new(
                    "schema.content",
                    format!("is not a schema; {}", error.report()),
                )]
            })?,
        };
        self.read = Mutex::new(Cache::new(config.schemas_cache_size));
        self.written = Mutex::new(Cache::new(config.schemas_cache_size));
        Ok(())
    }

    fn from_connect(
        &self,
        topic: &str,
        schema: Option<&SchemaRef>,
        value: Value,
    ) -> Result<Option<Bytes>, ConnectError> {
        if schema.is_none() && value.is_null() {
            return Ok(None);
        }
        let located = |error: ConnectError| {
            error.context(format!(
                "value for topic \"{topic}\" cannot be written as JSON"
            ))
        };
        let mut room = lock(&self.room);
        let Room {
            record: out,
            schema: last,
        } = &mut *room;
        out.clear();
        if self.schemas_enable {
            out.extend_from_slice(b"{\"schema\":");
            match (schema, &last) {
                (None, _) => out.extend_from_slice(b"null"),
                (Some(schema), Some((same, json))) if same.same(schema) => {
                    out.extend_from_slice(json);
                }
                (Some(schema), _) => {
                    let json = self.schema_json(schema).map_err(located)?;
                    out.extend_from_slice(&json);
                    *last = Some((schema.clone(), json));
                }
            }
            out.extend_from_slice(b",\"payload\":");
        }
        write::value(out, schema.map(|schema| &**schema), &value, self.options).map_err(located)?;
        if self.schemas_enable {
            out.push(b'}');
        }
        let bytes = Bytes::copy_from_slice(out);
        // A large record is no reason to keep its memory.
        out.clear();
        out.shrink_to(ROOM_BYTES_MAX);
        Ok(Some(bytes))
    }

    fn to_connect(
        &self,
        topic: &str,
        bytes: Option<Bytes>,
    ) -> Result<SchemaAndValue, ConnectError> {
        let Some(bytes) = bytes else {
            return Ok((None, Value::Null));
        };
        let foreign = foreign(&bytes);
        let located = |error: ConnectError| {
            let error = match &foreign {
                Some(what) => ConnectError::record(what.as_str()),
                None => error,
            };
            error.context(format!("value in topic \"{topic}\" cannot be read as JSON"))
        };
        // Marks the order of bytes, which JSON has only one of; some write it all the same.
        let bytes = match bytes.strip_prefix(b"\xEF\xBB\xBF") {
            Some(json) => bytes.slice_ref(json),
            None => bytes,
        };
        if !self.schemas_enable && bytes.is_empty() {
            return Ok((None, Value::Null));
        }
        let mut expected = lock(&self.expected);
        let Expected { envelope, names } = &mut *expected;
        let seed = |schema| Seed {
            schema,
            options: self.options,
        };
        if !self.schemas_enable || self.content.is_some() {
            let schema = self.content.as_ref().filter(|_| self.schemas_enable);
            let value = Reader::new(&bytes, &bytes, names)
                .and_then(|mut reader| reader.only(seed(schema)))
                .map_err(|error| located(record(error)))?;
            return Ok((schema.cloned(), value));
        }
        if let Some((begin, schema)) = envelope
            && let Some(rest) = bytes.strip_prefix(&**begin)
        {
            let value = Reader::new(&bytes, rest, names)
                .and_then(|mut reader| reader.closed(seed(schema.as_ref()), b'}'));
            // If not, another member follows, and the whole says more.
            if let Ok(value) = value {
                return Ok((schema.clone(), value));
            }
        }
        let (schema, value) = {
            let found = Envelope::read(&bytes).map_err(located)?;
            let schema = self.schema(found.schema.get()).map_err(located)?;
            let payload = found.payload.get();
            let value = Reader::new(&bytes, payload.as_bytes(), names)
                .and_then(|mut reader| reader.only(seed(schema.as_ref())))
                .map_err(|error| located(record(error)))?;
            let begin = payload.as_ptr() as usize - bytes.as_ptr() as usize;
            let schema_first = (found.schema.get().as_ptr() as usize) < payload.as_ptr() as usize;
            if schema_first
                && begin <= ENVELOPE_BYTES_MAX
                && let Some(begin) = bytes.get(..begin)
            {
                *envelope = Some((begin.into(), schema.clone()));
            }
            (schema, value)
        };
        Ok((schema, value))
    }
}

fn record(error: Wrong) -> ConnectError {
    ConnectError::record(error.to_string())
}

impl JsonConverter {
    fn schema(&self, json: &str) -> Result<Option<SchemaRef>, ConnectError> {
        if let Some(schema) = lock(&self.read).get(json) {
            return Ok(schema.clone());
        }
        let schema = schema::read(json, self.options)?;
        lock(&self.read).put(json.into(), json.len(), schema.clone());
        Ok(schema)
    }

    fn schema_json(&self, schema: &SchemaRef) -> Result<Bytes, ConnectError> {
        let address = std::ptr::from_ref(&**schema) as usize;
        if let Some((_, json)) = lock(&self.written).get(&address) {
            return Ok(json.clone());
        }
        let mut out = Vec::new();
        schema::write(&mut out, schema, None, self.options)?;
        let json = Bytes::from(out);
        lock(&self.written).put(address, json.len(), (schema.clone(), json.clone()));
        Ok(json)
    }
}

/// What bytes are that no JSON begins with, and which converter to take.
fn foreign(bytes: &[u8]) -> Option<String> {
    match bytes {
        [0, a, b, c, d, ..] => Some(format!(
            "byte 0 is 0: this topic looks like data of a schema registry (schema {}), the converter \
             expects plain JSON; set the converter to avro or jsonschema, with \
             schema.registry.url",
            u32::from_be_bytes([*a, *b, *c, *d])
        )),
        _ => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A cache is valid whatever the panicking thread was doing with it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const ENVELOPE: &str = "JsonConverter with schemas.enable requires \"schema\" and \"payload\" fields and may not contain \
                        additional fields; for plain JSON set schemas.enable=false";

/// The two members, not read yet.
struct Envelope<'a> {
    schema: &'a RawValue,
    payload: &'a RawValue,
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ConnectError> {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        serde::Deserializer::deserialize_any(&mut deserializer, EnvelopeVisitor)
            .and_then(|envelope| deserializer.end().map(|()| envelope))
            .map_err(|error| ConnectError::record(error.to_string()))
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object; ")?;
        f.write_str(ENVELOPE)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut schema, mut payload) = (None, None);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "schema" => schema = Some(map.next_value::<&'de RawValue>()?),
                "payload" => payload = Some(map.next_value::<&'de RawValue>()?),
                _ => return Err(A::Error::custom(ENVELOPE)),
            }
        }
        match (schema, payload) {
            (Some(schema), Some(payload)) => Ok(Envelope { schema, payload }),
            _ => Err(A::Error::custom(ENVELOPE)),
        }
    }
}
