//! JSON whose schema is kept elsewhere, for converters that have a registry.

use bytes::Bytes;

use super::names::Names;
use super::{DecimalFormat, MapEntries, Options, read, write};
use crate::error::ConnectError;
use crate::schema::{Schema, SchemaRef};
use crate::value::Value;

/// The name of structs that stand for one of several schemas: exactly one of their fields is set, and its
/// value alone is written.
pub const ONE_OF: &str = "io.confluent.connect.json.OneOf";

/// Reads and writes values as JSON without an envelope, as Confluent's converters do: beside what
/// [`JsonConverter`](super::JsonConverter) does, entries of maps whose keys are not text are objects of
/// `key` and `value`, and structs named [`ONE_OF`] stand for their field.
#[derive(Debug, Clone, Copy)]
pub struct JsonPayload {
    options: Options,
}

impl JsonPayload {
    /// With decimal numbers in this format.
    pub fn new(decimal: DecimalFormat) -> Self {
        JsonPayload {
            options: Options {
                decimal,
                replace_null_with_default: true,
                entries: MapEntries::Objects,
            },
        }
    }

    /// Appends a value.
    ///
    /// # Errors
    /// Record: the value does not keep the schema's promise.
    pub fn write(
        &self,
        out: &mut Vec<u8>,
        schema: &Schema,
        value: &Value,
    ) -> Result<(), ConnectError> {
        write::value(out, Some(schema), value, self.options)
    }

    /// Reads a value; text without escapes is a slice of `json`.
    ///
    /// # Errors
    /// Record: it is not JSON, or does not fit the schema.
    pub fn read(&self, json: &Bytes, schema: &SchemaRef) -> Result<Value, ConnectError> {
        let seed = read::Seed {
            schema: Some(schema),
            options: self.options,
        };
        read::Reader::new(json, json, &mut Names::unexpected())
            .and_then(|mut reader| reader.only(seed))
            .map_err(|error| ConnectError::record(error.to_string()))
    }
}
