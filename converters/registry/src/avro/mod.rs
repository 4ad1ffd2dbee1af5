//! Avro: Confluent's `AvroConverter`.
//!
//! Schemas go both ways by Confluent's rules ([`from_connect`], [`to_connect`]): what only Connect knows
//! is noted in `connect.*` properties, an optional value is a union with null, and what Avro has no type
//! for comes back as what it was. Data goes through a plan made once a schema ([`encode`], [`decode`]).

mod decode;
mod encode;
mod from_connect;
mod names;
mod schema;
#[cfg(test)]
mod tests;
mod to_connect;

use std::sync::Arc;

use bytes::Bytes;
use connect_core::config::ConfigDef;
use connect_core::converter::SchemaAndValue;
use connect_core::{Config, ConfigMap, ConnectError, Converter, Problem, SchemaRef, Value};

use crate::client::{Language, RegistryConfig};
use crate::format::{Format, Registered};
use crate::schemas::{Schemas, configured};
use decode::Read;
use encode::Write;
use schema::Node;

/// `AvroConverter`.
#[derive(Debug, Default)]
pub struct AvroConverter {
    schemas: Option<Schemas<Avro>>,
}

#[derive(Debug, Config)]
struct AvroConfig {
    /// Whether enums are kept, and the members of unions have their namespace in their names.
    #[config(default = false, group = "Avro")]
    enhanced_avro_schema_support: bool,
    /// Whether names, versions, documentation and parameters of Connect's schemas are noted in Avro's, and read there.
    #[config(default = true, group = "Avro")]
    connect_meta_data: bool,
    /// Whether characters that Avro does not allow in names become underscores.
    #[config(default = false, importance = "low", group = "Avro")]
    scrub_invalid_names: bool,
    /// Whether null stays null in an optional field that has a default.
    #[config(default = false, importance = "low", group = "Avro")]
    ignore_default_for_nullables: bool,
}

/// What changes how schemas are mapped.
#[derive(Debug, Clone, Copy)]
struct Options {
    enhanced: bool,
    metadata: bool,
    scrub: bool,
    keep_null: bool,
}

impl Options {
    /// A part of a name as Avro allows it.
    fn name(self, name: &str) -> Result<String, String> {
        let fits = |(at, c): (usize, char)| {
            c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit())
        };
        if !name.is_empty() && name.chars().enumerate().all(fits) {
            return Ok(name.to_owned());
        }
        if !self.scrub || name.is_empty() {
            return Err(format!(
                "\"{name}\" is no name in Avro, where names have letters, digits and underscores; set \
                 scrub.invalid.names=true, or rename it with a transform"
            ));
        }
        let scrubbed = name.chars().enumerate();
        let scrubbed: String = scrubbed
            .map(|(at, c)| match fits((at.max(1), c)) {
                true => c,
                false => '_',
            })
            .collect();
        match scrubbed.starts_with(|c: char| c.is_ascii_digit()) {
            true => Ok(format!("_{scrubbed}")),
            false => Ok(scrubbed),
        }
    }
}

/// Avro as a language of schemas.
#[derive(Debug)]
struct Avro {
    options: Options,
}

impl Format for Avro {
    const LANGUAGE: Language = Language::Avro;
    type Reader = AvroReader;
    type Writer = Write;

    fn text(&self, schema: &SchemaRef) -> Result<String, String> {
        from_connect::avro(schema, self.options).map(|json| json.to_string())
    }

    fn record_name(&self, registered: &Registered<'_>) -> Option<String> {
        let node = Node::parse(registered.text, registered.references).ok()?;
        node.name().map(|name| name.0.clone())
    }

    fn reader(&self, registered: &Registered<'_>) -> Result<AvroReader, String> {
        let node = Node::parse(registered.text, registered.references)?;
        let (schema, plan) = to_connect::reading(&node, self.options)?;
        Ok(AvroReader { schema, plan })
    }

    fn read(&self, reader: &AvroReader, data: &Bytes) -> Result<SchemaAndValue, String> {
        let value = decode::decode(&reader.plan, data)?;
        Ok((Some(reader.schema.clone()), value))
    }

    fn writer(
        &self,
        schema: &SchemaRef,
        registered: &Registered<'_>,
        strict: bool,
    ) -> Result<Write, String> {
        let node: Arc<Node> = Node::parse(registered.text, registered.references)?;
        encode::writing(schema, &node, self.options, strict)
    }

    fn write(&self, out: &mut Vec<u8>, writer: &Write, value: &Value) -> Result<(), String> {
        encode::encode(out, writer, value)
    }
}

/// How to read one schema's data.
#[derive(Debug)]
struct AvroReader {
    schema: SchemaRef,
    plan: Read,
}

impl Converter for AvroConverter {
    fn config(&self) -> ConfigDef {
        let mut definition = RegistryConfig::definition();
        definition.extend(AvroConfig::definition());
        definition
    }

    fn configure(&mut self, config: &ConfigMap, is_key: bool) -> Result<(), Vec<Problem>> {
        let (own, registry) = RegistryConfig::with::<AvroConfig>(config)?;
        let options = Options {
            enhanced: own.enhanced_avro_schema_support,
            metadata: own.connect_meta_data,
            scrub: own.scrub_invalid_names,
            keep_null: own.ignore_default_for_nullables,
        };
        self.schemas = Some(Schemas::new(Avro { options }, &registry, is_key)?);
        Ok(())
    }

    fn from_connect(
        &self,
        topic: &str,
        schema: Option<&SchemaRef>,
        value: Value,
    ) -> Result<Option<Bytes>, ConnectError> {
        configured(self.schemas.as_ref())?.from_connect(topic, schema, value)
    }

    fn to_connect(
        &self,
        _topic: &str,
        bytes: Option<Bytes>,
    ) -> Result<SchemaAndValue, ConnectError> {
        configured(self.schemas.as_ref())?.to_connect(bytes)
    }

    fn interrupt(&self) {
        if let Some(schemas) = &self.schemas {
            schemas.interrupt();
        }
    }
}
