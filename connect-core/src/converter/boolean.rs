//! One byte: true or false.

use bytes::Bytes;

use super::{Converter, SchemaAndValue};
use crate::error::ConnectError;
use crate::schema::{SchemaRef, Type};
use crate::value::Value;

/// `BooleanConverter`: one byte, 1 or 0.
#[derive(Debug, Clone, Default)]
pub struct BooleanConverter;

impl Converter for BooleanConverter {
    fn from_connect(
        &self,
        topic: &str,
        schema: Option<&SchemaRef>,
        value: Value,
    ) -> Result<Option<Bytes>, ConnectError> {
        match (schema.map_or(Type::Boolean, |schema| schema.kind()), value) {
            (Type::Boolean, Value::Null) => Ok(None),
            (Type::Boolean, Value::Boolean(true)) => Ok(Some(Bytes::from_static(&[1]))),
            (Type::Boolean, Value::Boolean(false)) => Ok(Some(Bytes::from_static(&[0]))),
            (kind, value) => {
                let found = if kind == Type::Boolean {
                    value.type_name()
                } else {
                    kind.name()
                };
                Err(ConnectError::record(format!(
                    "BooleanConverter cannot write a {found} to topic \"{topic}\""
                )))
            }
        }
    }

    fn to_connect(
        &self,
        topic: &str,
        bytes: Option<Bytes>,
    ) -> Result<SchemaAndValue, ConnectError> {
        let value = match bytes.as_deref() {
            None => Value::Null,
            Some([0]) => Value::Boolean(false),
            Some([1]) => Value::Boolean(true),
            Some(other) => {
                return Err(ConnectError::record(format!(
                    "topic \"{topic}\" has {} bytes where BooleanConverter expects one that is 0 or 1",
                    other.len()
                )));
            }
        };
        Ok((Some(SchemaRef::OPTIONAL_BOOLEAN), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_that_is_zero_or_one() {
        for (value, byte) in [(true, 1u8), (false, 0)] {
            let bytes = BooleanConverter
                .from_connect("t", Some(&SchemaRef::BOOLEAN), value.into())
                .unwrap();
            assert_eq!(bytes.as_deref(), Some([byte].as_slice()));
            assert_eq!(
                BooleanConverter.to_connect("t", bytes).unwrap().1,
                Value::Boolean(value)
            );
        }
        assert!(
            BooleanConverter
                .from_connect("t", None, Value::Int8(1))
                .is_err()
        );
        assert!(
            BooleanConverter
                .from_connect("t", Some(&SchemaRef::INT8), Value::Null)
                .is_err()
        );
        assert!(
            BooleanConverter
                .to_connect("t", Some(Bytes::from_static(&[2])))
                .is_err()
        );
        assert!(
            BooleanConverter
                .to_connect("t", Some(Bytes::new()))
                .is_err()
        );
    }
}
