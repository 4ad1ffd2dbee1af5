//! Schemas as JSON, both ways.

use std::io::Write as _;

use bytes::Bytes;
use serde_json::{Map, Value as Json};

use super::names::Names;
use super::read::{Reader, Seed};
use super::{Options, write};
use crate::error::ConnectError;
use crate::schema::{Schema, SchemaBuilder, SchemaRef, Type};

/// Writes a schema; as a struct's field it carries the field's name.
pub(super) fn write(
    out: &mut Vec<u8>,
    schema: &Schema,
    field: Option<&str>,
    options: Options,
) -> Result<(), ConnectError> {
    out.extend_from_slice(b"{\"type\":");
    write::text(out, type_name(schema.kind()));
    if let (Type::Map, Some(keys)) = (schema.kind(), schema.key_schema()) {
        out.extend_from_slice(b",\"keys\":");
        write(out, keys, None, options)?;
    }
    if let Some(values) = schema.value_schema() {
        out.extend_from_slice(if schema.kind() == Type::Map {
            b",\"values\":"
        } else {
            b",\"items\":"
        });
        write(out, values, None, options)?;
    }
    if schema.kind() == Type::Struct {
        out.extend_from_slice(b",\"fields\":[");
        for (index, field) in schema.fields().iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write(out, &field.schema, Some(&field.name), options)?;
        }
        out.push(b']');
    }
    attributes(out, schema, options)?;
    if let Some(name) = field {
        out.extend_from_slice(b",\"field\":");
        write::text(out, name);
    }
    out.push(b'}');
    Ok(())
}

fn attributes(out: &mut Vec<u8>, schema: &Schema, options: Options) -> Result<(), ConnectError> {
    // Writing to memory cannot fail.
    let _written = write!(out, ",\"optional\":{}", schema.is_optional());
    if let Some(name) = schema.name() {
        out.extend_from_slice(b",\"name\":");
        write::text(out, name);
    }
    if let Some(version) = schema.version() {
        let _written = write!(out, ",\"version\":{version}");
    }
    if let Some(doc) = schema.doc() {
        out.extend_from_slice(b",\"doc\":");
        write::text(out, doc);
    }
    if schema.parameters().len() > 0 {
        out.extend_from_slice(b",\"parameters\":{");
        for (index, (name, value)) in schema.parameters().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write::text(out, name);
            out.push(b':');
            write::text(out, value);
        }
        out.push(b'}');
    }
    if let Some(default) = schema.default() {
        out.extend_from_slice(b",\"default\":");
        write::value(out, Some(schema), default, options)?;
    }
    Ok(())
}

/// Reads a schema; JSON's null is no schema.
pub(super) fn read(json: &str, options: Options) -> Result<Option<SchemaRef>, ConnectError> {
    let json: Json = serde_json::from_str(json)
        .map_err(|error| ConnectError::record("schema is not JSON").with_source(error))?;
    match json {
        Json::Null => Ok(None),
        Json::Object(members) => from_members(&members, options).map(Some),
        _ => Err(ConnectError::record("schema is not an object")),
    }
}

fn from_members(members: &Map<String, Json>, options: Options) -> Result<SchemaRef, ConnectError> {
    let Some(kind) = members.get("type").and_then(Json::as_str) else {
        return Err(ConnectError::record(
            "schema must contain a \"type\" that is text",
        ));
    };
    let mut builder =
        match kind {
            "array" => Schema::array(part(members, "items", options)?),
            "map" => Schema::map(
                part(members, "keys", options)?,
                part(members, "values", options)?,
            ),
            "struct" => structure(members, options)?,
            name => Schema::builder(primitive(name).ok_or_else(|| {
                ConnectError::record(format!("schema type \"{name}\" is unknown"))
            })?),
        };
    if members.get("optional").and_then(Json::as_bool) == Some(true) {
        builder = builder.optional();
    }
    if let Some(name) = members.get("name").and_then(Json::as_str) {
        builder = builder.name(name.to_owned());
    }
    if let Some(version) = members.get("version").and_then(Json::as_i64) {
        let version = i32::try_from(version).map_err(|_| {
            ConnectError::record(format!(
                "schema version {version} does not fit into 32 bits"
            ))
        })?;
        builder = builder.version(version);
    }
    if let Some(doc) = members.get("doc").and_then(Json::as_str) {
        builder = builder.doc(doc.to_owned());
    }
    if let Some(parameters) = members.get("parameters").and_then(Json::as_object) {
        for (name, value) in parameters {
            let Some(value) = value.as_str() else {
                return Err(ConnectError::record(format!(
                    "schema parameter \"{name}\" is not text"
                )));
            };
            builder = builder.parameter(name.clone(), value.to_owned());
        }
    }
    match members.get("default") {
        None | Some(Json::Null) => Ok(builder.build()),
        Some(default) => with_default(builder, default, options),
    }
}

fn with_default(
    builder: SchemaBuilder,
    default: &Json,
    options: Options,
) -> Result<SchemaRef, ConnectError> {
    let schema = builder.clone().build();
    let json = default.to_string();
    let seed = Seed {
        schema: Some(&schema),
        options,
    };
    let value = Reader::new(&Bytes::new(), json.as_bytes(), &mut Names::default())
        .and_then(|mut reader| reader.only(seed))
        .map_err(|error| {
            ConnectError::record(format!("schema default {json} does not fit: {error}"))
        })?;
    Ok(builder.default_value(value).build())
}

fn part(
    members: &Map<String, Json>,
    name: &str,
    options: Options,
) -> Result<SchemaRef, ConnectError> {
    match members.get(name).and_then(Json::as_object) {
        Some(members) => from_members(members, options),
        None => Err(ConnectError::record(format!(
            "schema must contain \"{name}\" that is a schema"
        ))),
    }
}

fn structure(members: &Map<String, Json>, options: Options) -> Result<SchemaBuilder, ConnectError> {
    let Some(fields) = members.get("fields").and_then(Json::as_array) else {
        return Err(ConnectError::record(
            "struct schema must contain \"fields\" that is an array",
        ));
    };
    let mut names = std::collections::HashSet::with_capacity(fields.len());
    let mut builder = Schema::structure();
    for field in fields {
        let (Some(members), Some(name)) =
            (field.as_object(), field.get("field").and_then(Json::as_str))
        else {
            return Err(ConnectError::record(
                "struct schema has a field without a name in \"field\"",
            ));
        };
        if !names.insert(name) {
            return Err(ConnectError::record(format!(
                "struct schema has two fields \"{name}\""
            )));
        }
        builder = builder.push_field(name.to_owned(), from_members(members, options)?);
    }
    Ok(builder)
}

/// JSON says `float` and `double` where Connect says float32 and float64.
fn type_name(kind: Type) -> &'static str {
    match kind {
        Type::Float32 => "float",
        Type::Float64 => "double",
        other => other.name(),
    }
}

fn primitive(name: &str) -> Option<Type> {
    Some(match name {
        "boolean" => Type::Boolean,
        "int8" => Type::Int8,
        "int16" => Type::Int16,
        "int32" => Type::Int32,
        "int64" => Type::Int64,
        "float" => Type::Float32,
        "double" => Type::Float64,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        _ => return None,
    })
}
