//! Values into JSON, straight into the output buffer.

use std::io::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{DecimalFormat, MapEntries, ONE_OF, Options};
use crate::decimal::Decimal;
use crate::error::ConnectError;
use crate::schema::{Schema, Type};
use crate::structure::Struct;
use crate::value::Value;

pub(super) fn value(
    out: &mut Vec<u8>,
    schema: Option<&Schema>,
    value: &Value,
    options: Options,
) -> Result<(), ConnectError> {
    match (schema, value) {
        (Some(schema), Value::Null) => null(out, schema, options),
        (Some(schema), Value::Array(items)) if schema.kind() == Type::Array => array(
            out,
            schema.value_schema().map(|items| &**items),
            items,
            options,
        ),
        (Some(schema), Value::Map(entries)) if schema.kind() == Type::Map => {
            let keys = schema.key_schema().map(|keys| &**keys);
            let values = schema.value_schema().map(|values| &**values);
            let by_name = keys.is_some_and(|keys| keys.kind() == Type::String);
            map(out, keys, values, entries, by_name, options)
        }
        (Some(schema), Value::Struct(fields)) if schema.kind() == Type::Struct => {
            let same = std::ptr::eq(&**fields.schema(), schema) || **fields.schema() == *schema;
            if !same {
                return Err(ConnectError::record(
                    "a struct has another schema than the record says",
                ));
            }
            structure(out, fields, options)
        }
        (Some(schema), value) => {
            schema.validate(value)?;
            leaf(out, value, options);
            Ok(())
        }
        (None, Value::Array(items)) => array(out, None, items, options),
        (None, Value::Map(entries)) => {
            let by_name = entries
                .iter()
                .all(|(key, _)| matches!(key, Value::String(_)));
            map(out, None, None, entries, by_name, options)
        }
        (None, Value::Struct(fields)) => structure(out, fields, options),
        (None, value) => {
            leaf(out, value, options);
            Ok(())
        }
    }
}

fn null(out: &mut Vec<u8>, schema: &Schema, options: Options) -> Result<(), ConnectError> {
    if let Some(default) = schema.default()
        && options.replace_null_with_default
        && !default.is_null()
    {
        return value(out, Some(schema), default, options);
    }
    if schema.is_optional() {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    Err(ConnectError::record(format!(
        "null where the schema requires a {}; it has no default either",
        schema.kind()
    )))
}

fn array(
    out: &mut Vec<u8>,
    schema: Option<&Schema>,
    items: &[Value],
    options: Options,
) -> Result<(), ConnectError> {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        value(out, schema, item, options)?;
    }
    out.push(b']');
    Ok(())
}

/// An object if keys are text, otherwise an array of entries.
fn map(
    out: &mut Vec<u8>,
    keys: Option<&Schema>,
    values: Option<&Schema>,
    entries: &[(Value, Value)],
    by_name: bool,
    options: Options,
) -> Result<(), ConnectError> {
    let [begin, between, end]: [&[u8]; 3] = match (by_name, options.entries) {
        (true, _) => [b"", b":", b""],
        (false, MapEntries::Arrays) => [b"[", b",", b"]"],
        (false, MapEntries::Objects) => [b"{\"key\":", b",\"value\":", b"}"],
    };
    out.push(if by_name { b'{' } else { b'[' });
    for (index, (key, entry)) in entries.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(begin);
        match (by_name, key) {
            (true, Value::String(name)) => text(out, name),
            (true, Value::Null) => text(out, "null"),
            (true, other) => {
                return Err(ConnectError::record(format!(
                    "a map's key is a {} but its schema says string",
                    other.type_name()
                )));
            }
            (false, key) => value(out, keys, key, options)?,
        }
        out.extend_from_slice(between);
        value(out, values, entry, options)?;
        out.extend_from_slice(end);
    }
    out.push(if by_name { b'}' } else { b']' });
    Ok(())
}

fn structure(out: &mut Vec<u8>, fields: &Struct, options: Options) -> Result<(), ConnectError> {
    if options.entries == MapEntries::Objects && fields.schema().name() == Some(ONE_OF) {
        return one_of(out, fields, options);
    }
    out.push(b'{');
    for (index, (name, schema, field)) in fields.fields().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        text(out, name);
        out.push(b':');
        value(out, Some(schema), field, options)
            .map_err(|error| error.context(format!("field \"{name}\"")))?;
    }
    out.push(b'}');
    Ok(())
}

/// The one field that is set.
fn one_of(out: &mut Vec<u8>, fields: &Struct, options: Options) -> Result<(), ConnectError> {
    let mut set = fields.fields().filter(|(_, _, field)| !field.is_null());
    match (set.next(), set.next()) {
        (Some((_, schema, field)), None) => value(out, Some(schema), field, options),
        _ => Err(ConnectError::record(
            "a struct that stands for one of several schemas must have exactly one field set",
        )),
    }
}

/// A value without parts.
fn leaf(out: &mut Vec<u8>, value: &Value, options: Options) {
    match value {
        Value::Boolean(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Int8(number) => integer(out, i64::from(*number)),
        Value::Int16(number) => integer(out, i64::from(*number)),
        Value::Int32(number) | Value::Date(number) | Value::Time(number) => {
            integer(out, i64::from(*number))
        }
        Value::Int64(number) | Value::Timestamp(number) => integer(out, *number),
        // Java writes numbers of this size as others do.
        Value::Float32(number) if (1e-3..1e7).contains(&number.abs()) => plain(out, number),
        Value::Float64(number) if (1e-3..1e7).contains(&number.abs()) => plain(out, number),
        Value::Float32(number) => float(out, number.is_finite(), value),
        Value::Float64(number) => float(out, number.is_finite(), value),
        Value::String(value) => text(out, value),
        Value::Bytes(bytes) => base64(out, bytes),
        Value::Decimal(number) => decimal(out, number, options.decimal),
        Value::Null | Value::Array(_) | Value::Map(_) | Value::Struct(_) => {
            debug_assert!(
                value.is_null(),
                "values with parts are written by their own functions"
            );
            out.extend_from_slice(b"null");
        }
    }
}

fn integer(out: &mut Vec<u8>, number: i64) {
    // Writing to memory cannot fail; nor below.
    let _written = serde_json::to_writer(out, &number);
}

fn plain(out: &mut Vec<u8>, number: &impl serde::Serialize) {
    let _written = serde_json::to_writer(out, number);
}

/// As Java writes them, which is JSON; NaN and the infinities in quotes, as Jackson does.
fn float(out: &mut Vec<u8>, finite: bool, value: &Value) {
    let quote = if finite { "" } else { "\"" };
    let _written = write!(out, "{quote}{value}{quote}");
}

pub(super) fn text(out: &mut Vec<u8>, value: &str) {
    let _written = serde_json::to_writer(out, value);
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}

fn decimal(out: &mut Vec<u8>, number: &Decimal, format: DecimalFormat) {
    match format {
        DecimalFormat::Base64 => base64(out, &number.unscaled_bytes()),
        DecimalFormat::Numeric => {
            let _written = write!(out, "{number}");
        }
    }
}
