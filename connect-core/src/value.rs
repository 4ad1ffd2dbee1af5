//! Values: what keys, values and headers of records hold.

use std::sync::Arc;

use bytes::Bytes;

use crate::decimal::Decimal;
use crate::structure::Struct;
use crate::text::Str;

/// One value of any of Connect's types.
///
/// Cloning is cheap: text and bytes are slices of shared buffers, and the rest is numbers or reference
/// counts. To change an array or map in place use [`Arc::make_mut`].
///
/// A value says its type itself; a schema, where there is one, says what was promised
/// ([`Schema::validate`](crate::Schema::validate) compares the two). Logical types have variants of
/// their own, so that nobody has to look at a schema's name to know that 19000 is a day.
///
/// `Display` renders as Java's `toString` would (`Struct{a=1}`, `{k=v}`, `[a, b]`, `null`), which is
/// what Kafka's `StringConverter` and `FileStreamSink` write; see [`crate::display`].
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    /// No value; as a whole record value together with no schema, a tombstone.
    #[default]
    Null,
    /// True or false.
    Boolean(bool),
    /// 8-bit signed integer.
    Int8(i8),
    /// 16-bit signed integer.
    Int16(i16),
    /// 32-bit signed integer.
    Int32(i32),
    /// 64-bit signed integer.
    Int64(i64),
    /// 32-bit floating point number.
    Float32(f32),
    /// 64-bit floating point number.
    Float64(f64),
    /// Text.
    String(Str),
    /// Bytes.
    Bytes(Bytes),
    /// Values in order, of one type if there is a schema.
    Array(Arc<Vec<Value>>),
    /// Keys and values, in the order they were written.
    Map(Arc<Vec<(Value, Value)>>),
    /// Named fields, as a schema says.
    Struct(Arc<Struct>),
    /// Logical type `Decimal`: an exact decimal number.
    Decimal(Arc<Decimal>),
    /// Logical type `Date`: days since 1970-01-01.
    Date(i32),
    /// Logical type `Time`: milliseconds since midnight, 0 to 86 399 999.
    Time(i32),
    /// Logical type `Timestamp`: milliseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
}

impl Value {
    /// Text; a shortcut for `Value::String(text.into())`.
    pub fn string(text: impl Into<Str>) -> Self {
        Value::String(text.into())
    }

    /// An array.
    pub fn array(values: impl IntoIterator<Item = Value>) -> Self {
        Value::Array(Arc::new(values.into_iter().collect()))
    }

    /// A map, in the order given.
    pub fn map(entries: impl IntoIterator<Item = (Value, Value)>) -> Self {
        Value::Map(Arc::new(entries.into_iter().collect()))
    }

    /// Whether this is [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is a plain integer of any width.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int8(number) => Some(i64::from(*number)),
            Value::Int16(number) => Some(i64::from(*number)),
            Value::Int32(number) => Some(i64::from(*number)),
            Value::Int64(number) => Some(*number),
            _ => None,
        }
    }

    /// The fields, if it is a struct.
    pub fn as_struct(&self) -> Option<&Struct> {
        match self {
            Value::Struct(fields) => Some(fields),
            _ => None,
        }
    }

    /// The name of the value's type, as schemas spell it; logical types by their short name.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Boolean(_) => "boolean",
            Value::Int8(_) => "int8",
            Value::Int16(_) => "int16",
            Value::Int32(_) => "int32",
            Value::Int64(_) => "int64",
            Value::Float32(_) => "float32",
            Value::Float64(_) => "float64",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Array(_) => "array",
            Value::Map(_) => "map",
            Value::Struct(_) => "struct",
            Value::Decimal(_) => "Decimal",
            Value::Date(_) => "Date",
            Value::Time(_) => "Time",
            Value::Timestamp(_) => "Timestamp",
        }
    }
}

macro_rules! from {
    ($($source:ty => $variant:ident),+ $(,)?) => {
        $(impl From<$source> for Value {
            fn from(value: $source) -> Self {
                Value::$variant(value.into())
            }
        })+
    };
}

from! {
    bool => Boolean, i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64, f32 => Float32, f64 => Float64,
    Str => String, String => String, &str => String, Bytes => Bytes, Vec<u8> => Bytes,
    Struct => Struct, Decimal => Decimal,
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}
