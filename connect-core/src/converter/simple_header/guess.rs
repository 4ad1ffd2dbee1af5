//! Guesses what a header's text is, as Kafka's `Values.parseString` does.

use std::sync::Arc;

use super::super::SchemaAndValue;
use super::temporal;
use super::tokens::Tokens;
use crate::decimal::Decimal;
use crate::schema::{Schema, SchemaRef, Type};
use crate::text::Str;
use crate::value::Value;

/// How deep arrays and maps may be nested; deeper ones are text.
const DEPTH_MAX: usize = 64;

/// The text is not what it looked like at first.
struct NotACollection;

type Guess = Result<SchemaAndValue, NotACollection>;

pub(super) fn guess(text: &Str) -> SchemaAndValue {
    let as_text = || (Some(SchemaRef::STRING), Value::String(text.clone()));
    if text.is_empty() {
        return as_text();
    }
    match parse(&mut Tokens::new(text), None) {
        // Text of the whole header: the same slice instead of a copy.
        Ok((_, Value::String(_))) | Err(NotACollection) => as_text(),
        Ok(other) => other,
    }
}

/// One value; `depth` is that of the collection it lies in.
fn parse(tokens: &mut Tokens<'_>, depth: Option<usize>) -> Guess {
    let embedded = depth.is_some();
    if embedded && tokens.consume("\"") {
        return Ok(quoted(tokens));
    }
    for (literal, value) in [
        ("null", Value::Null),
        ("true", true.into()),
        ("false", false.into()),
    ] {
        let start = tokens.mark();
        // `true}` as a whole header is text, not a boolean.
        if tokens.consume(literal) && (embedded || !tokens.has_next()) {
            let schema = (!value.is_null()).then_some(SchemaRef::BOOLEAN);
            return Ok((schema, value));
        }
        tokens.rewind(start);
    }
    let start = tokens.mark();
    let inner = depth.map_or(0, |depth| depth + 1);
    let collection = if tokens.consume("[") {
        Some(array(tokens, inner))
    } else if tokens.consume("{") {
        Some(map(tokens, inner))
    } else {
        None
    };
    match collection {
        Some(Ok(found)) => return Ok(found),
        Some(Err(NotACollection)) => tokens.rewind(start),
        None => {}
    }
    leaf(tokens, embedded)
}

/// Behind the opening quote: text up to the closing one, or a date.
fn quoted(tokens: &mut Tokens<'_>) -> SchemaAndValue {
    let start = tokens.mark();
    let mut end = start;
    while let Some(token) = tokens.next() {
        if token == "\"" {
            break;
        }
        end = tokens.mark();
    }
    let content = tokens.text().get(start..end).unwrap_or_default();
    match temporal::parse(content) {
        Some((schema, value)) => (Some(schema), value),
        None => (Some(SchemaRef::STRING), content.into()),
    }
}

fn leaf(tokens: &mut Tokens<'_>, embedded: bool) -> Guess {
    let whole = tokens.text();
    let Some(token) = tokens.next() else {
        return Err(NotACollection);
    };
    if token.trim().is_empty() {
        return Ok((Some(SchemaRef::STRING), token.into()));
    }
    let token = token.trim();
    let digit = token.starts_with(|letter: char| letter.is_ascii_digit());
    if digit {
        // A time's colons are delimiters, so it comes in five tokens.
        let position = tokens.mark();
        if let Some(rest) = tokens.next_many(4)
            && let Some((schema, value)) = temporal::parse(&format!("{token}{rest}"))
        {
            return Ok((Some(schema), value));
        }
        tokens.rewind(position);
        if let Some((schema, value)) = temporal::parse(&token.replace("\\:", ":")) {
            return Ok((Some(schema), value));
        }
    }
    if (digit || token.starts_with(['+', '-']))
        && (embedded || !tokens.has_next())
        && let Ok(decimal) = token.parse::<Decimal>()
    {
        return Ok(number(decimal));
    }
    if embedded {
        return Err(NotACollection);
    }
    Ok((Some(SchemaRef::STRING), whole.into()))
}

/// The smallest type that holds the number.
fn number(decimal: Decimal) -> SchemaAndValue {
    if let Some(whole) = decimal
        .with_scale(0)
        .and_then(|decimal| i64::try_from(decimal.unscaled).ok())
    {
        return if let Ok(number) = i8::try_from(whole) {
            (Some(SchemaRef::INT8), Value::Int8(number))
        } else if let Ok(number) = i16::try_from(whole) {
            (Some(SchemaRef::INT16), Value::Int16(number))
        } else if let Ok(number) = i32::try_from(whole) {
            (Some(SchemaRef::INT32), Value::Int32(number))
        } else {
            (Some(SchemaRef::INT64), Value::Int64(whole))
        };
    }
    let float = decimal.to_f64();
    if decimal.scale != 0 && (float as f32).is_finite() {
        return (Some(SchemaRef::FLOAT32), Value::Float32(float as f32));
    }
    if decimal.scale != 0 && float.is_finite() {
        return (Some(SchemaRef::FLOAT64), Value::Float64(float));
    }
    (
        Some(Schema::decimal(decimal.scale).build()),
        Value::from(decimal),
    )
}

fn array(tokens: &mut Tokens<'_>, depth: usize) -> Guess {
    if depth >= DEPTH_MAX {
        return Err(NotACollection);
    }
    let mut items = Vec::new();
    let mut common = None;
    loop {
        if tokens.consume("]") {
            return Ok(match common {
                Some(schema) => {
                    let items: Option<Vec<Value>> =
                        items.into_iter().map(|item| widen(item, &schema)).collect();
                    (
                        Some(Schema::array(schema).build()),
                        Value::Array(Arc::new(items.ok_or(NotACollection)?)),
                    )
                }
                None => (
                    Some(Schema::builder(Type::Array).build()),
                    Value::Array(Arc::new(items)),
                ),
            });
        }
        if !tokens.has_next() || tokens.consume(",") {
            return Err(NotACollection);
        }
        let (schema, item) = parse(tokens, Some(depth))?;
        common = common_schema(common, schema);
        items.push(item);
        let end = tokens.mark();
        if tokens.consume("]") {
            tokens.rewind(end);
        } else if !tokens.consume(",") || !tokens.has_next() {
            return Err(NotACollection);
        }
    }
}

fn map(tokens: &mut Tokens<'_>, depth: usize) -> Guess {
    if depth >= DEPTH_MAX {
        return Err(NotACollection);
    }
    let mut entries: Vec<(Value, Value)> = Vec::new();
    let (mut keys, mut values) = (None, None);
    loop {
        if tokens.consume("}") {
            return finish_map(entries, keys, values);
        }
        if !tokens.has_next() || tokens.consume(",") {
            return Err(NotACollection);
        }
        let (key_schema, key) = parse(tokens, Some(depth))?;
        if key.is_null() || !tokens.consume(":") {
            return Err(NotACollection);
        }
        let (value_schema, value) = parse(tokens, Some(depth))?;
        entries.push((key, value));
        tokens.consume(",");
        keys = common_schema(keys, key_schema);
        values = common_schema(values, value_schema);
    }
}

fn finish_map(
    entries: Vec<(Value, Value)>,
    keys: Option<SchemaRef>,
    values: Option<SchemaRef>,
) -> Guess {
    let schema = Schema::builder(Type::Map).parts(keys.clone(), values.clone());
    let mut widened: Vec<(Value, Value)> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let key = fit(key, keys.as_ref()).ok_or(NotACollection)?;
        let value = fit(value, values.as_ref()).ok_or(NotACollection)?;
        widened.push((key, value));
    }
    Ok((Some(schema.build()), Value::Map(Arc::new(widened))))
}

fn fit(value: Value, schema: Option<&SchemaRef>) -> Option<Value> {
    match schema {
        Some(schema) => widen(value, schema),
        None => Some(value),
    }
}

/// The order in which numbers widen.
fn rank(kind: Type) -> Option<u8> {
    Some(match kind {
        Type::Int8 => 0,
        Type::Int16 => 1,
        Type::Int32 => 2,
        Type::Int64 => 3,
        Type::Float32 => 4,
        Type::Float64 => 5,
        _ => return None,
    })
}

/// The schema that holds both; `None`, as long as nothing or nothing in common is known.
fn common_schema(previous: Option<SchemaRef>, latest: Option<SchemaRef>) -> Option<SchemaRef> {
    let (previous, latest) = match (previous, latest) {
        (Some(previous), Some(latest)) => (previous, latest),
        (previous, latest) => return previous.or(latest),
    };
    if previous.kind() == latest.kind() {
        // Of two arrays the one whose items are known says more.
        return Some(if latest.value_schema().is_none() {
            previous
        } else {
            latest
        });
    }
    match (rank(previous.kind()), rank(latest.kind())) {
        (Some(before), Some(now)) => Some(if now > before { latest } else { previous }),
        _ => None,
    }
}

/// The value in a wider type; `None` if it does not fit.
fn widen(value: Value, schema: &SchemaRef) -> Option<Value> {
    if value.is_null() {
        // As in Kafka, `[1,null]` is text: its items are all of one required type.
        return schema.is_optional().then_some(value);
    }
    let float = match &value {
        Value::Float32(number) => Some(f64::from(*number)),
        Value::Float64(number) => Some(*number),
        _ => value.as_i64().map(|number| number as f64),
    };
    Some(match (schema.kind(), &value) {
        (Type::Int16, _) => Value::Int16(i16::try_from(value.as_i64()?).ok()?),
        (Type::Int32, Value::Date(_) | Value::Time(_)) => value,
        (Type::Int32, _) => Value::Int32(i32::try_from(value.as_i64()?).ok()?),
        (Type::Int64, Value::Timestamp(_)) => value,
        (Type::Int64, _) => Value::Int64(value.as_i64()?),
        (Type::Float32, _) => Value::Float32(float? as f32),
        (Type::Float64, _) => Value::Float64(float?),
        (Type::Int8, Value::Int8(_))
        | (Type::Boolean, Value::Boolean(_))
        | (Type::String, Value::String(_))
        | (Type::Array, Value::Array(_))
        | (Type::Map, Value::Map(_)) => value,
        (Type::Bytes, Value::Decimal(decimal)) => {
            Value::from(decimal.with_scale(schema.decimal_scale()?)?)
        }
        _ => return None,
    })
}
