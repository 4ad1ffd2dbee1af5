//! Bytes as they are.

use bytes::Bytes;

use super::{Converter, SchemaAndValue};
use crate::error::ConnectError;
use crate::schema::{SchemaRef, Type};
use crate::value::Value;

/// `ByteArrayConverter`: bytes as they are, in both directions, never copied.
///
/// Text is accepted, too (Kafka refuses it), so that a source of lines can be copied byte by byte.
#[derive(Debug, Clone, Default)]
pub struct ByteArrayConverter;

impl Converter for ByteArrayConverter {
    fn from_connect(
        &self,
        topic: &str,
        schema: Option<&SchemaRef>,
        value: Value,
    ) -> Result<Option<Bytes>, ConnectError> {
        if let Some(schema) = schema
            && !matches!(schema.kind(), Type::Bytes | Type::String)
        {
            return Err(refused(topic, schema.kind().name()));
        }
        match value {
            Value::Null => Ok(None),
            Value::Bytes(bytes) => Ok(Some(bytes)),
            Value::String(text) => Ok(Some(text.into_bytes())),
            other => Err(refused(topic, other.type_name())),
        }
    }

    fn to_connect(
        &self,
        _topic: &str,
        bytes: Option<Bytes>,
    ) -> Result<SchemaAndValue, ConnectError> {
        Ok((
            Some(SchemaRef::OPTIONAL_BYTES),
            bytes.map_or(Value::Null, Value::Bytes),
        ))
    }
}

fn refused(topic: &str, found: &str) -> ConnectError {
    ConnectError::record(format!(
        "ByteArrayConverter cannot write a {found} to topic \"{topic}\"; use another converter, or a source of bytes"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_untouched_and_nothing_else_does() {
        let bytes = Bytes::from(vec![0, 255]);
        let address = bytes.as_ptr();
        let (schema, value) = ByteArrayConverter.to_connect("t", Some(bytes)).unwrap();
        assert_eq!(schema, Some(SchemaRef::OPTIONAL_BYTES));
        let back = ByteArrayConverter
            .from_connect("t", schema.as_ref(), value)
            .unwrap()
            .unwrap();
        assert_eq!(back.as_ptr(), address);
        assert!(
            ByteArrayConverter
                .from_connect("t", Some(&SchemaRef::INT32), Value::Bytes(back))
                .is_err()
        );
        assert!(
            ByteArrayConverter
                .from_connect("t", None, Value::Int32(12))
                .is_err()
        );
        assert_eq!(
            ByteArrayConverter.to_connect("t", None).unwrap().1,
            Value::Null
        );
    }
}
