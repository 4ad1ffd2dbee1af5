//! From records to bytes and back with a registry between: which schema, which id, and what is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use connect_core::converter::{Cache, SchemaAndValue};
use connect_core::{ConnectError, ErrorClass, Problem, SchemaRef, Type, Value};
use parking_lot::Mutex;

use crate::client::{Registry, RegistryConfig};
use crate::format::{Format, Registered};
use crate::subject::Strategy;
use crate::wire::{FRAME_BYTES, frame, unframe};

/// A guess for a record's bytes; what is longer grows.
const RECORD_BYTES: usize = 256;
/// How long it is remembered that a schema was refused.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// The schemas of one converter.
#[derive(Debug)]
pub(crate) struct Schemas<F: Format> {
    format: F,
    registry: Registry,
    is_key: bool,
    strategy: Strategy,
    target: Target,
    /// By id.
    readers: Mutex<Cache<i32, Arc<F::Reader>>>,
    /// The writer used last: records of one schema come one behind the other.
    last: Mutex<Option<Arc<Writing<F::Writer>>>>,
    /// By topic and the schema's address; what is kept keeps the schema alive, so that no other can take its
    /// address.
    writers: Mutex<Writers<F::Writer>>,
    /// By subject and text, for sources that make a new schema for every record.
    ids: Mutex<Cache<(String, String), i32>>,
    /// What was refused lately and why, by subject and text, so that a source of bad records does not flood
    /// the registry.
    refused: Mutex<Cache<(String, String), (Instant, String)>>,
}

/// What writes, by topic and the address of a schema.
type Writers<W> = Cache<(Box<str>, usize), Arc<Writing<W>>>;

/// Which schema records are written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// Their own, which is registered.
    Registered,
    /// Their own, which must be there.
    Known,
    /// The latest of the subject.
    Latest { strict: bool },
}

/// How to write values of one schema to one topic.
#[derive(Debug)]
struct Writing<W> {
    topic: Box<str>,
    schema: SchemaRef,
    frame: [u8; FRAME_BYTES],
    writer: W,
}

impl<F: Format> Schemas<F> {
    pub(crate) fn new(
        format: F,
        config: &RegistryConfig,
        is_key: bool,
    ) -> Result<Self, Vec<Problem>> {
        let target = match (config.auto_register_schemas, config.use_latest_version) {
            (true, false) => Target::Registered,
            (false, false) => Target::Known,
            (false, true) => Target::Latest {
                strict: config.latest_compatibility_strict,
            },
            (true, true) => {
                return Err(vec![Problem::new(
                    "use.latest.version",
                    "has no effect while auto.register.schemas is true; set that to false",
                )]);
            }
        };
        Ok(Schemas {
            format,
            registry: config.registry()?,
            is_key,
            strategy: config.strategy(is_key),
            target,
            readers: Mutex::new(Cache::new(config.schemas_cache)),
            last: Mutex::new(None),
            writers: Mutex::new(Cache::new(config.schemas_cache)),
            ids: Mutex::new(Cache::new(config.schemas_cache)),
            refused: Mutex::new(Cache::new(config.schemas_cache)),
        })
    }

    // As the converters' own.
    #[allow(clippy::wrong_self_convention)]
    pub(crate) fn from_connect(
        &self,
        topic: &str,
        schema: Option<&SchemaRef>,
        value: Value,
    ) -> Result<Option<Bytes>, ConnectError> {
        let schema = match schema {
            Some(schema) => schema.clone(),
            None if value.is_null() => return Ok(None),
            None => schema_of(&value).ok_or_else(|| self.schemaless(&value))?,
        };
        // As Confluent's converters have it: a null as a whole is a tombstone.
        if value.is_null() && schema.is_optional() {
            return Ok(None);
        }
        let writing = self.writing(topic, &schema)?;
        let mut out = Vec::with_capacity(RECORD_BYTES);
        out.extend_from_slice(&writing.frame);
        match self.format.write(&mut out, &writing.writer, &value) {
            Ok(()) => Ok(Some(Bytes::from(out))),
            Err(problem) => Err(self.bad(&problem)),
        }
    }

    pub(crate) fn to_connect(&self, bytes: Option<Bytes>) -> Result<SchemaAndValue, ConnectError> {
        let Some(bytes) = bytes else {
            return Ok((None, Value::Null));
        };
        let (id, data) = unframe(&bytes, F::LANGUAGE, self.is_key)?;
        let reader = self.reader(id)?;
        let read = self.format.read(&reader, &data);
        read.map_err(|problem| self.bad(&format!("does not fit schema {id}: {problem}")))
    }

    pub(crate) fn interrupt(&self) {
        self.registry.interrupt();
    }

    fn reader(&self, id: i32) -> Result<Arc<F::Reader>, ConnectError> {
        if let Some(reader) = self.readers.lock().get(&id) {
            return Ok(Arc::clone(reader));
        }
        let stored = self.registry.schema(id)?;
        stored.expect(F::LANGUAGE)?;
        let registered = Registered {
            text: &stored.text,
            references: &stored.references,
        };
        let reader = self
            .format
            .reader(&registered)
            .map_err(|problem| self.bad(&format!("schema {id}: {problem}")))?;
        let reader = Arc::new(reader);
        let size = stored.text.len();
        self.readers.lock().put(id, size, Arc::clone(&reader));
        Ok(reader)
    }

    fn writing(
        &self,
        topic: &str,
        schema: &SchemaRef,
    ) -> Result<Arc<Writing<F::Writer>>, ConnectError> {
        let last = self.last.lock().clone();
        if let Some(last) = last
            && last.schema.same(schema)
            && *last.topic == *topic
        {
            return Ok(last);
        }
        let address = std::ptr::from_ref(&**schema) as usize;
        let key = (Box::from(topic), address);
        let known = self.writers.lock().get(&key).map(Arc::clone);
        let writing = match known {
            Some(known) => known,
            None => {
                let (writing, size) = self.prepare(topic, schema)?;
                let writing = Arc::new(writing);
                self.writers.lock().put(key, size, Arc::clone(&writing));
                writing
            }
        };
        *self.last.lock() = Some(Arc::clone(&writing));
        Ok(writing)
    }

    /// Finds out how to write values of a schema, and the size of the schema's text.
    fn prepare(
        &self,
        topic: &str,
        schema: &SchemaRef,
    ) -> Result<(Writing<F::Writer>, usize), ConnectError> {
        let text = self
            .format
            .text(schema)
            .map_err(|problem| self.bad(&problem))?;
        let name = match self.strategy {
            Strategy::Topic => None,
            _ => self.format.record_name(&Registered {
                text: &text,
                references: &[],
            }),
        };
        let key = (
            self.strategy.subject(topic, self.is_key, name.as_deref())?,
            text,
        );
        let refused = self.refused.lock().get(&key).cloned();
        if let Some((since, reason)) = refused
            && since.elapsed() < REFUSED_FOR
        {
            return Err(ConnectError::record(reason));
        }
        let found = self.find(schema, &key);
        if let Err(error) = &found
            && error.class() == ErrorClass::Record
        {
            let mut refused = self.refused.lock();
            let size = key.1.len();
            refused.remove(&key);
            refused.put(key.clone(), size, (Instant::now(), error.report()));
        }
        let (id, writer) = found?;
        let writing = Writing {
            topic: topic.into(),
            schema: schema.clone(),
            frame: frame(id),
            writer,
        };
        Ok((writing, key.1.len()))
    }

    /// The id of the schema to write with, and what writes.
    fn find(
        &self,
        schema: &SchemaRef,
        key: &(String, String),
    ) -> Result<(i32, F::Writer), ConnectError> {
        let (subject, text) = key;
        match self.target {
            Target::Latest { strict } => {
                let latest = self.registry.latest(subject)?;
                latest.expect(F::LANGUAGE)?;
                let registered = Registered {
                    text: &latest.text,
                    references: &latest.references,
                };
                let writer = self.format.writer(schema, &registered, strict);
                let place = |problem| {
                    self.bad(&format!(
                        "does not fit the latest schema of subject \"{subject}\": {problem}"
                    ))
                };
                Ok((latest.id, writer.map_err(place)?))
            }
            Target::Registered | Target::Known => {
                let own = Registered {
                    text,
                    references: &[],
                };
                let writer = self.format.writer(schema, &own, true);
                let writer = writer.map_err(|problem| self.bad(&problem))?;
                Ok((self.id(key)?, writer))
            }
        }
    }

    fn id(&self, key: &(String, String)) -> Result<i32, ConnectError> {
        let (subject, text) = key;
        if let Some(id) = self.ids.lock().get(key) {
            return Ok(*id);
        }
        let id = match self.target {
            Target::Known => self.registry.lookup(subject, F::LANGUAGE, text),
            _ => self.registry.register(subject, F::LANGUAGE, text),
        }?;
        self.ids.lock().put(key.clone(), text.len(), id);
        Ok(id)
    }

    fn bad(&self, problem: &str) -> ConnectError {
        let part = if self.is_key { "key" } else { "value" };
        ConnectError::record(format!(
            "{part} ({}): {problem}",
            F::LANGUAGE.name().to_lowercase()
        ))
    }

    fn schemaless(&self, value: &Value) -> ConnectError {
        let part = if self.is_key { "key" } else { "value" };
        ConnectError::record(format!(
            "the {part} is a {} without a schema, and the registry wants one; have the source give one, or \
             set {part}.converter=json with {part}.converter.schemas.enable=false",
            value.type_name()
        ))
    }
}

/// The schema of a value that says all about itself.
fn schema_of(value: &Value) -> Option<SchemaRef> {
    let kind = match value {
        Value::Struct(fields) => return Some(fields.schema().clone()),
        Value::Boolean(_) => Type::Boolean,
        Value::Int8(_) => Type::Int8,
        Value::Int16(_) => Type::Int16,
        Value::Int32(_) => Type::Int32,
        Value::Int64(_) => Type::Int64,
        Value::Float32(_) => Type::Float32,
        Value::Float64(_) => Type::Float64,
        Value::String(_) => Type::String,
        Value::Bytes(_) => Type::Bytes,
        _ => return None,
    };
    SchemaRef::primitive(kind, false)
}

/// Whoever calls a converter has configured it.
pub(crate) fn configured<F: Format>(
    schemas: Option<&Schemas<F>>,
) -> Result<&Schemas<F>, ConnectError> {
    schemas.ok_or_else(|| ConnectError::fatal("the converter is used before it was configured"))
}
