//! JSON with a JSON Schema: Confluent's `JsonSchemaConverter`.

mod from_connect;
mod names;
#[cfg(test)]
mod tests;
mod to_connect;

use bytes::Bytes;
use connect_core::config::ConfigDef;
use connect_core::converter::{DecimalFormat, JsonPayload, SchemaAndValue};
use connect_core::{Config, ConfigMap, ConnectError, Converter, Problem, SchemaRef, Type, Value};

use crate::client::{Language, RegistryConfig};
use crate::format::{Format, Registered};
use crate::schemas::{Schemas, configured};
use to_connect::Options;

/// `JsonSchemaConverter`.
#[derive(Debug, Default)]
pub struct JsonSchemaConverter {
    schemas: Option<Schemas<JsonSchema>>,
}

#[derive(Debug, Config)]
struct JsonSchemaConfig {
    /// How decimal numbers are written: base64 of the unscaled number, or a JSON number. Both are read.
    #[config(default = "BASE64", importance = "low", group = "JSON Schema")]
    decimal_format: DecimalFormat,
    /// Whether properties that are not required are optional, also in schemas that a Connect converter wrote.
    #[config(default = false, group = "JSON Schema")]
    use_optional_for_nonrequired: bool,
}

/// JSON Schema as a language of schemas.
#[derive(Debug)]
struct JsonSchema {
    options: Options,
}

impl JsonSchema {
    fn connect(&self, registered: &Registered<'_>) -> Result<SchemaRef, String> {
        to_connect::connect_schema(registered.text, registered.references, self.options)
    }
}

impl Format for JsonSchema {
    const LANGUAGE: Language = Language::Json;
    type Reader = SchemaRef;
    type Writer = SchemaRef;

    fn text(&self, schema: &SchemaRef) -> Result<String, String> {
        let json = from_connect::json_schema(schema, self.options.payload)?;
        Ok(json.to_string())
    }

    fn record_name(&self, registered: &Registered<'_>) -> Option<String> {
        let json: serde_json::Value = serde_json::from_str(registered.text).ok()?;
        json.get("title")?.as_str().map(str::to_owned)
    }

    fn reader(&self, registered: &Registered<'_>) -> Result<SchemaRef, String> {
        self.connect(registered)
    }

    fn read(&self, reader: &SchemaRef, data: &Bytes) -> Result<SchemaAndValue, String> {
        let value = self.options.payload.read(data, reader);
        let value = value.map_err(|error| error.report())?;
        Ok((Some(reader.clone()), value))
    }

    fn writer(
        &self,
        schema: &SchemaRef,
        registered: &Registered<'_>,
        strict: bool,
    ) -> Result<SchemaRef, String> {
        if strict {
            fits(schema, &self.connect(registered)?)?;
        }
        Ok(schema.clone())
    }

    fn write(&self, out: &mut Vec<u8>, writer: &SchemaRef, value: &Value) -> Result<(), String> {
        let written = self.options.payload.write(out, writer, value);
        written.map_err(|error| error.report())
    }
}

/// Whether values of one schema are values of another.
fn fits(ours: &SchemaRef, theirs: &SchemaRef) -> Result<(), String> {
    let alike = match (ours.kind(), theirs.kind()) {
        (Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64, kind) => matches!(
            kind,
            Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64 | Type::Float32 | Type::Float64
        ),
        (Type::Float32 | Type::Float64, kind) => matches!(kind, Type::Float32 | Type::Float64),
        (one, other) => one == other,
    };
    if !alike {
        return Err(format!(
            "a {} does not fit a {}",
            ours.kind(),
            theirs.kind()
        ));
    }
    if ours.is_optional() && !theirs.is_optional() && ours.default().is_none() {
        return Err("it may be null, which is not allowed there".to_owned());
    }
    for (one, other) in [
        (ours.key_schema(), theirs.key_schema()),
        (ours.value_schema(), theirs.value_schema()),
    ] {
        if let (Some(one), Some(other)) = (one, other) {
            fits(one, other)?;
        }
    }
    for field in ours.fields() {
        let Some((_, other)) = theirs.field(&field.name) else {
            return Err(format!(
                "there is no property \"{}\", which the value has; register a schema with it, or set \
                 latest.compatibility.strict=false",
                field.name
            ));
        };
        fits(&field.schema, &other.schema)
            .map_err(|problem| format!("property \"{}\": {problem}", field.name))?;
    }
    let missing = theirs.fields().iter().find(|field| {
        !field.schema.is_optional()
            && field.schema.default().is_none()
            && ours.field(&field.name).is_none()
    });
    match missing {
        None => Ok(()),
        Some(field) => Err(format!(
            "property \"{}\" is required, which the value does not have",
            field.name
        )),
    }
}

impl Converter for JsonSchemaConverter {
    fn config(&self) -> ConfigDef {
        let mut definition = RegistryConfig::definition();
        definition.extend(JsonSchemaConfig::definition());
        definition
    }

    fn configure(&mut self, config: &ConfigMap, is_key: bool) -> Result<(), Vec<Problem>> {
        let (own, registry) = RegistryConfig::with::<JsonSchemaConfig>(config)?;
        let options = Options {
            optional_for_nonrequired: own.use_optional_for_nonrequired,
            payload: JsonPayload::new(own.decimal_format),
        };
        self.schemas = Some(Schemas::new(JsonSchema { options }, &registry, is_key)?);
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
