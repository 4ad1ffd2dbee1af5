//! Writing values straight as Avro's bytes, by a plan that is made once a pair of schemas.
//!
//! The Avro schema is the one that was made of the Connect schema, or the one that a registry has as the
//! latest; fields are matched by name. A value says its type itself, so the plan says only where it goes.

use std::collections::HashMap;

use connect_core::{Schema, SchemaRef, Str, Type, Value};
use serde_json::Value as Json;

use super::Options;
use super::names::{CONNECT_INTERNAL_TYPE, MAP_ENTRY, NAMESPACE, UNION};
use super::schema::{DEPTH_MAX, Kind, Node};
use super::to_connect::member_name;

/// How to write values of a schema.
#[derive(Debug, PartialEq)]
pub(super) enum Write {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    /// With digits after the point.
    Decimal(i32),
    Fixed(usize),
    /// Of a number of bytes, with digits after the point.
    FixedDecimal(usize, i32),
    Enum(HashMap<Str, i64>),
    Array(Box<Write>),
    Map(Box<Write>),
    Entries(Box<Write>, Box<Write>),
    /// One member of a union for all values but null, and one for null, if there is one.
    Member {
        null: Option<i64>,
        number: i64,
        plan: Box<Write>,
    },
    /// A struct that stands for a union: number and plan of each field.
    Union {
        schema: SchemaRef,
        null: Option<i64>,
        members: Vec<(i64, Write)>,
    },
    Record {
        schema: SchemaRef,
        fields: Vec<FieldWrite>,
    },
}

/// How to write a field.
#[derive(Debug, PartialEq)]
pub(super) enum FieldWrite {
    /// The struct's field of this number; its default stands for null.
    Value {
        at: usize,
        default: Option<Value>,
        plan: Write,
    },
    /// The struct has none, and these bytes are the default.
    Constant(Vec<u8>),
}

/// Makes the plan.
///
/// # Errors
/// What of the Connect schema the Avro schema does not take.
pub(super) fn writing(
    schema: &SchemaRef,
    node: &Node,
    options: Options,
    strict: bool,
) -> Result<Write, String> {
    Planner { options, strict }.plan(schema, node, 0)
}

struct Planner {
    options: Options,
    /// Whether a field that the Avro schema does not have is an error.
    strict: bool,
}

impl Planner {
    fn plan(&self, schema: &SchemaRef, node: &Node, depth: usize) -> Result<Write, String> {
        if depth > DEPTH_MAX {
            return Err(format!("the schema is nested more than {DEPTH_MAX} deep"));
        }
        match &node.kind {
            Kind::Union(members) if schema.name() == Some(UNION) => {
                self.union(schema, members, depth)
            }
            Kind::Union(members) => {
                let null = members.iter().position(|member| member.is_null());
                let mut refused = Vec::new();
                for (number, member) in members.iter().enumerate() {
                    if member.is_null() {
                        continue;
                    }
                    match self.required(schema, member, depth + 1) {
                        Ok(plan) => {
                            return Ok(Write::Member {
                                null: null.map(as_number),
                                number: as_number(number),
                                plan: Box::new(plan),
                            });
                        }
                        Err(problem) => refused.push(problem),
                    }
                }
                Err(match refused.as_slice() {
                    [only] => only.clone(),
                    _ => format!("no member of the union takes a {}", described(schema)),
                })
            }
            _ => self.required(schema, node, depth),
        }
    }

    fn required(&self, schema: &SchemaRef, node: &Node, depth: usize) -> Result<Write, String> {
        let wrong = || {
            Err(format!(
                "a {} does not fit Avro's {}",
                described(schema),
                node.type_name()
            ))
        };
        let is_decimal = schema.logical_type() == Some(connect_core::Logical::Decimal);
        Ok(match (&node.kind, schema.kind()) {
            (Kind::Boolean, Type::Boolean) => Write::Boolean,
            (Kind::Int, Type::Int8 | Type::Int16 | Type::Int32) => Write::Int,
            (Kind::Long, Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64) => Write::Long,
            (Kind::Float, Type::Float32) => Write::Float,
            (Kind::Double, Type::Float32 | Type::Float64) => Write::Double,
            (Kind::String, Type::String) => Write::Text,
            (Kind::Bytes | Kind::Fixed { .. }, Type::Bytes) => {
                match (node.decimal_scale(), is_decimal, &node.kind) {
                    (Some(scale), true, Kind::Fixed { size, .. }) => {
                        Write::FixedDecimal(*size, scale)
                    }
                    (Some(scale), true, _) => Write::Decimal(scale),
                    // A scale that Avro does not allow is noted as a parameter only.
                    (None, true, Kind::Bytes) => {
                        Write::Decimal(schema.decimal_scale().unwrap_or(0))
                    }
                    (None, false, Kind::Fixed { size, .. }) => Write::Fixed(*size),
                    (None, false, _) => Write::Bytes,
                    _ => return wrong(),
                }
            }
            (Kind::Enum { symbols, .. }, Type::String) => {
                let symbols = symbols.iter().enumerate();
                Write::Enum(
                    symbols
                        .map(|(number, symbol)| (Str::from(symbol.as_str()), as_number(number)))
                        .collect(),
                )
            }
            (Kind::Array(items), Type::Array) => {
                let Some(schema) = schema.value_schema() else {
                    return wrong();
                };
                Write::Array(Box::new(self.plan(schema, items, depth + 1)?))
            }
            (Kind::Map(values), Type::Map) => match (schema.key_schema(), schema.value_schema()) {
                (Some(keys), Some(schema)) if keys.kind() == Type::String => {
                    Write::Map(Box::new(self.plan(schema, values, depth + 1)?))
                }
                _ => return wrong(),
            },
            (Kind::Array(items), Type::Map) => self.entries(schema, items, depth)?,
            (Kind::Record { fields, name, .. }, Type::Struct) if schema.name() != Some(UNION) => {
                self.record(schema, &name.0, fields, depth)?
            }
            (Kind::Null, _) => Write::Null,
            _ => return wrong(),
        })
    }

    fn entries(&self, schema: &SchemaRef, items: &Node, depth: usize) -> Result<Write, String> {
        let parts = (schema.key_schema(), schema.value_schema());
        if let (Kind::Record { fields, name, .. }, (Some(keys), Some(values))) =
            (&items.kind, parts)
            && (items.text(CONNECT_INTERNAL_TYPE) == Some(MAP_ENTRY)
                || name.0 == format!("{NAMESPACE}.{MAP_ENTRY}"))
            && let [key, value] = fields.as_slice()
            && (key.name.as_str(), value.name.as_str()) == ("key", "value")
        {
            return Ok(Write::Entries(
                Box::new(self.plan(keys, &key.node, depth + 1)?),
                Box::new(self.plan(values, &value.node, depth + 1)?),
            ));
        }
        Err(format!("a {} does not fit Avro's array", described(schema)))
    }

    fn record(
        &self,
        schema: &SchemaRef,
        record: &str,
        fields: &[super::schema::RecordField],
        depth: usize,
    ) -> Result<Write, String> {
        let mut ours: HashMap<String, (usize, &SchemaRef)> = HashMap::new();
        for (at, field) in schema.fields().iter().enumerate() {
            ours.insert(self.options.name(&field.name)?, (at, &field.schema));
        }
        let mut plans = Vec::with_capacity(fields.len());
        for field in fields {
            let within = |problem| format!("field \"{}\": {problem}", field.name);
            plans.push(match (ours.remove(&field.name), &field.default) {
                (Some((at, schema)), _) => FieldWrite::Value {
                    at,
                    default: schema
                        .default()
                        .filter(|_| !(self.options.keep_null && schema.is_optional()))
                        .cloned(),
                    plan: self.plan(schema, &field.node, depth + 1).map_err(within)?,
                },
                (None, Some(default)) => {
                    let mut bytes = Vec::new();
                    constant(&mut bytes, &field.node, default).map_err(within)?;
                    FieldWrite::Constant(bytes)
                }
                (None, None) => {
                    return Err(format!(
                        "record \"{record}\" wants a field \"{}\", which the value does not have",
                        field.name
                    ));
                }
            });
        }
        if self.strict
            && let Some(extra) = ours.keys().min()
        {
            return Err(format!(
                "record \"{record}\" has no field \"{extra}\", which the value has; register a schema \
                 with it, or set latest.compatibility.strict=false to leave it out"
            ));
        }
        Ok(Write::Record {
            schema: schema.clone(),
            fields: plans,
        })
    }

    fn union(
        &self,
        schema: &SchemaRef,
        members: &[std::sync::Arc<Node>],
        depth: usize,
    ) -> Result<Write, String> {
        let null = members.iter().position(|member| member.is_null());
        let mut plans = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let found = members.iter().position(|member| {
                !member.is_null() && member_name(member, self.options) == field.name
            });
            let member = found.and_then(|at| Some((at, members.get(at)?)));
            let (at, member) =
                member.ok_or_else(|| format!("the union has no member \"{}\"", field.name))?;
            plans.push((
                as_number(at),
                self.required(&field.schema, member, depth + 1)?,
            ));
        }
        Ok(Write::Union {
            schema: schema.clone(),
            null: null.map(as_number),
            members: plans,
        })
    }
}

fn as_number(at: usize) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

fn described(schema: &Schema) -> String {
    match schema.name() {
        Some(name) => format!("{} ({name})", schema.kind()),
        None => schema.kind().to_string(),
    }
}

/// Writes one value.
///
/// # Errors
/// Where the value does not keep its schema's promise.
pub(super) fn encode(out: &mut Vec<u8>, plan: &Write, value: &Value) -> Result<(), String> {
    match (plan, value) {
        (Write::Member { null, number, plan }, value) => match (value, null) {
            (Value::Null, Some(null)) => long(out, *null),
            (Value::Null, None) => return Err("null, where the schema allows none".to_owned()),
            (value, _) => {
                long(out, *number);
                encode(out, plan, value)?;
            }
        },
        (Write::Null, Value::Null) => {}
        (Write::Boolean, Value::Boolean(value)) => out.push(u8::from(*value)),
        (Write::Int | Write::Long, Value::Int8(number)) => long(out, i64::from(*number)),
        (Write::Int | Write::Long, Value::Int16(number)) => long(out, i64::from(*number)),
        (
            Write::Int | Write::Long,
            Value::Int32(number) | Value::Date(number) | Value::Time(number),
        ) => long(out, i64::from(*number)),
        (Write::Long, Value::Int64(number) | Value::Timestamp(number)) => long(out, *number),
        (Write::Float, Value::Float32(number)) => out.extend_from_slice(&number.to_le_bytes()),
        (Write::Double, Value::Float64(number)) => out.extend_from_slice(&number.to_le_bytes()),
        (Write::Double, Value::Float32(number)) => {
            out.extend_from_slice(&f64::from(*number).to_le_bytes());
        }
        (Write::Text, Value::String(text)) => counted(out, text.as_bytes()),
        (Write::Bytes, Value::Bytes(bytes)) => counted(out, bytes),
        (Write::Fixed(size), Value::Bytes(bytes)) if bytes.len() == *size => {
            out.extend_from_slice(bytes);
        }
        (Write::Fixed(size), Value::Bytes(bytes)) => {
            return Err(format!(
                "{} bytes, where the schema says {size}",
                bytes.len()
            ));
        }
        (Write::Decimal(scale), Value::Decimal(number)) => {
            counted(out, &digits(number, *scale)?);
        }
        (Write::FixedDecimal(size, scale), Value::Decimal(number)) => {
            let digits = digits(number, *scale)?;
            let missing = size.checked_sub(digits.len());
            let missing = missing
                .ok_or_else(|| format!("{number} does not fit into the schema's {size} bytes"))?;
            // The sign goes on to the left.
            let negative = digits.first().is_some_and(|byte| byte & 0x80 != 0);
            let fill = if negative { 0xff } else { 0 };
            out.resize(out.len() + missing, fill);
            out.extend_from_slice(&digits);
        }
        (Write::Enum(symbols), Value::String(symbol)) => match symbols.get(symbol.as_str()) {
            Some(number) => long(out, *number),
            None => return Err(format!("\"{symbol}\" is no symbol of the enum")),
        },
        (Write::Array(plan), Value::Array(items)) => {
            block(out, items, |out, item| encode(out, plan, item))?
        }
        (Write::Map(plan), Value::Map(entries)) => block(out, entries, |out, (key, value)| {
            let Value::String(key) = key else {
                return Err(format!("a key is a {}, not text", key.type_name()));
            };
            counted(out, key.as_bytes());
            encode(out, plan, value)
        })?,
        (Write::Entries(keys, values), Value::Map(entries)) => {
            block(out, entries, |out, (key, value)| {
                encode(out, keys, key)?;
                encode(out, values, value)
            })?;
        }
        (Write::Union { null, .. }, Value::Null) => match null {
            Some(null) => long(out, *null),
            None => return Err("null, where the schema allows none".to_owned()),
        },
        (
            Write::Union {
                schema, members, ..
            },
            Value::Struct(fields),
        ) => {
            same(schema, fields.schema())?;
            let mut set = fields
                .values()
                .iter()
                .zip(members)
                .filter(|(value, _)| !value.is_null());
            match (set.next(), set.next()) {
                (Some((value, (number, plan))), None) => {
                    long(out, *number);
                    encode(out, plan, value)?;
                }
                _ => {
                    return Err(
                        "a struct that stands for a union must have exactly one field set"
                            .to_owned(),
                    );
                }
            }
        }
        (Write::Record { schema, fields }, Value::Struct(value)) => {
            same(schema, value.schema())?;
            for field in fields {
                match field {
                    FieldWrite::Constant(bytes) => out.extend_from_slice(bytes),
                    FieldWrite::Value { at, default, plan } => {
                        let own = value.values().get(*at).unwrap_or(&Value::Null);
                        let shown = match (own, default) {
                            (Value::Null, Some(default)) => default,
                            (own, _) => own,
                        };
                        encode(out, plan, shown).map_err(|problem| {
                            let name = schema.fields().get(*at).map(|field| field.name.as_ref());
                            format!("{}: {problem}", name.unwrap_or_default())
                        })?;
                    }
                }
            }
        }
        (_, Value::Null) => return Err("null, where the schema allows none".to_owned()),
        (_, value) => {
            return Err(format!(
                "a {}, where the schema says something else",
                value.type_name()
            ));
        }
    }
    Ok(())
}

fn same(promised: &SchemaRef, actual: &SchemaRef) -> Result<(), String> {
    match promised == actual {
        true => Ok(()),
        false => Err("a struct of another schema than promised".to_owned()),
    }
}

fn digits(number: &connect_core::Decimal, scale: i32) -> Result<Vec<u8>, String> {
    if number.scale == scale {
        return Ok(number.unscaled_bytes());
    }
    let fitted = number.with_scale(scale);
    let fitted = fitted.ok_or_else(|| {
        format!("{number} has more digits after the point than the schema's {scale}")
    })?;
    Ok(fitted.unscaled_bytes())
}

/// Seven bits a byte, beginning with the lowest; the sign is the last bit, so that small numbers are short.
pub(super) fn long(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        out.push((rest as u8) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn counted(out: &mut Vec<u8>, bytes: &[u8]) {
    long(out, as_number(bytes.len()));
    out.extend_from_slice(bytes);
}

fn block<T>(
    out: &mut Vec<u8>,
    items: &[T],
    mut write: impl FnMut(&mut Vec<u8>, &T) -> Result<(), String>,
) -> Result<(), String> {
    if !items.is_empty() {
        long(out, as_number(items.len()));
        for (at, item) in items.iter().enumerate() {
            write(out, item).map_err(|problem| format!("item {at}: {problem}"))?;
        }
    }
    long(out, 0);
    Ok(())
}

/// Writes a default as a schema has it.
fn constant(out: &mut Vec<u8>, node: &Node, json: &Json) -> Result<(), String> {
    let wrong = || format!("the default {json} does not fit {}", node.type_name());
    let bytes = || {
        let text = json.as_str().ok_or_else(wrong)?;
        let bytes: Result<Vec<u8>, _> = text.chars().map(|c| u8::try_from(u32::from(c))).collect();
        bytes.map_err(|_| wrong())
    };
    match &node.kind {
        Kind::Null => {}
        Kind::Boolean => out.push(u8::from(json.as_bool().ok_or_else(wrong)?)),
        Kind::Int | Kind::Long => long(out, json.as_i64().ok_or_else(wrong)?),
        Kind::Float => {
            let number = json.as_f64().ok_or_else(wrong)? as f32;
            out.extend_from_slice(&number.to_le_bytes());
        }
        Kind::Double => {
            let number = json.as_f64().ok_or_else(wrong)?;
            out.extend_from_slice(&number.to_le_bytes());
        }
        Kind::Bytes => counted(out, &bytes()?),
        Kind::Fixed { size, .. } => {
            let bytes = bytes()?;
            if bytes.len() != *size {
                return Err(wrong());
            }
            out.extend_from_slice(&bytes);
        }
        Kind::String => counted(out, json.as_str().ok_or_else(wrong)?.as_bytes()),
        Kind::Enum { symbols, .. } => {
            let number = symbols
                .iter()
                .position(|symbol| Some(symbol.as_str()) == json.as_str());
            long(out, as_number(number.ok_or_else(wrong)?));
        }
        Kind::Array(items) => {
            let listed = json.as_array().ok_or_else(wrong)?;
            block(out, listed, |out, item| constant(out, items, item))?;
        }
        Kind::Map(values) => {
            let entries: Vec<_> = json.as_object().ok_or_else(wrong)?.iter().collect();
            block(out, &entries, |out, (key, value)| {
                counted(out, key.as_bytes());
                constant(out, values, value)
            })?;
        }
        Kind::Record { fields, .. } => {
            for field in fields {
                let own = json.get(&field.name).or(field.default.as_ref());
                constant(out, &field.node, own.ok_or_else(wrong)?)?;
            }
        }
        Kind::Union(members) => {
            // The specification's first member, or whichever takes it.
            let start = out.len();
            for (number, member) in members.iter().enumerate() {
                if member.is_null() == json.is_null() {
                    long(out, as_number(number));
                    if constant(out, member, json).is_ok() {
                        return Ok(());
                    }
                    out.truncate(start);
                }
            }
            return Err(wrong());
        }
    }
    Ok(())
}
