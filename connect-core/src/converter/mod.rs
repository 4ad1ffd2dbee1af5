//! Converters: between values and the bytes in a topic.
//!
//! Found by Kafka's class name or a short one ([`find`]):
//!
//! | class | short | bytes |
//! |---|---|---|
//! | `org.apache.kafka.connect.storage.StringConverter` | `string` | text |
//! | `org.apache.kafka.connect.json.JsonConverter` | `json` | JSON, with or without its schema |
//! | `org.apache.kafka.connect.converters.ByteArrayConverter` | `bytes` | as they are |
//! | `org.apache.kafka.connect.converters.{Short,Integer,Long,Float,Double,Boolean}Converter` | `short`, … | big-endian |
//! | `org.apache.kafka.connect.storage.SimpleHeaderConverter` (headers only) | `simple` | text, types guessed |

mod boolean;
mod byte_array;
mod cache;
mod json;
mod number;
mod registry;
mod simple_header;
mod string;

use bytes::Bytes;

pub use boolean::BooleanConverter;
pub use byte_array::ByteArrayConverter;
pub use cache::Cache;
pub use json::{DecimalFormat, JsonConverter, JsonPayload, ONE_OF};
pub use number::{
    DoubleConverter, FloatConverter, IntegerConverter, LongConverter, ShortConverter,
};
pub use registry::{
    AsHeaderConverter, ConverterInfo, HeaderConverterInfo, find, find_header, header_info, info,
    list, list_header,
};
pub use simple_header::SimpleHeaderConverter;
pub use string::StringConverter;

use crate::config::{ConfigDef, ConfigMap, Problem};
use crate::error::ConnectError;
use crate::schema::SchemaRef;
use crate::value::Value;

/// A value and the promise about it, as a converter reads them.
pub type SchemaAndValue = (Option<SchemaRef>, Value);

/// Turns values into the bytes of a topic's keys or values, and back.
///
/// Called by many tasks at once, for every record; it does no I/O except to look up schemas, and never
/// waits long. Errors: record, this value or these bytes cannot be converted; retriable, the same call
/// may succeed later (a schema registry is away); anything else fails the task.
// Kafka's names, by which authors look for them.
#[allow(clippy::wrong_self_convention)]
pub trait Converter: Send + Sync {
    /// The keys it reads, without the prefix `key.converter.` or `value.converter.`.
    fn config(&self) -> ConfigDef {
        ConfigDef::default()
    }

    /// Sets it up, once, before anything else; `config` has the prefix removed.
    ///
    /// # Errors
    /// All problems of the configuration.
    fn configure(&mut self, _config: &ConfigMap, _is_key: bool) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    /// From a value to bytes; `None` is Kafka's null, a tombstone. Takes the value, so that text and
    /// bytes can be moved instead of copied.
    ///
    /// # Errors
    /// See the trait.
    fn from_connect(
        &self,
        topic: &str,
        schema: Option<&SchemaRef>,
        value: Value,
    ) -> Result<Option<Bytes>, ConnectError>;

    /// From bytes to a value, which may be a slice of them.
    ///
    /// # Errors
    /// See the trait.
    fn to_connect(&self, topic: &str, bytes: Option<Bytes>)
    -> Result<SchemaAndValue, ConnectError>;

    /// The task ends: a call that waits for the outside returns at once with a retriable error, and no
    /// later one waits. Called from another thread than the other methods. Whoever does no I/O has
    /// nothing to do.
    fn interrupt(&self) {}
}

/// As [`Converter`], for headers.
// Kafka's names, by which authors look for them.
#[allow(clippy::wrong_self_convention)]
pub trait HeaderConverter: Send + Sync {
    /// The keys it reads, without the prefix `header.converter.`.
    fn config(&self) -> ConfigDef {
        ConfigDef::default()
    }

    /// Sets it up, once, before anything else; `config` has the prefix removed.
    ///
    /// # Errors
    /// All problems of the configuration.
    fn configure(&mut self, _config: &ConfigMap) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    /// From a header's value to bytes.
    ///
    /// # Errors
    /// As [`Converter::from_connect`].
    fn from_connect_header(
        &self,
        topic: &str,
        key: &str,
        schema: Option<&SchemaRef>,
        value: Value,
    ) -> Result<Option<Bytes>, ConnectError>;

    /// From bytes to a header's value.
    ///
    /// # Errors
    /// As [`Converter::to_connect`].
    fn to_connect_header(
        &self,
        topic: &str,
        key: &str,
        bytes: Option<Bytes>,
    ) -> Result<SchemaAndValue, ConnectError>;
}
