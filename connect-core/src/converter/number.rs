//! Big-endian numbers.

use bytes::Bytes;

use super::{Converter, SchemaAndValue};
use crate::error::ConnectError;
use crate::schema::{SchemaRef, Type};
use crate::value::Value;

macro_rules! number_converter {
    ($converter:ident, $number:ty, $kind:ident, $optional:ident) => {
        #[doc = concat!("`", stringify!($converter), "`: big-endian `", stringify!($number), "`; any other type or length is a record error.")]
        #[derive(Debug, Clone, Default)]
        pub struct $converter;

        impl Converter for $converter {
            fn from_connect(
                &self,
                topic: &str,
                schema: Option<&SchemaRef>,
                value: Value,
            ) -> Result<Option<Bytes>, ConnectError> {
                match (schema.map_or(Type::$kind, |schema| schema.kind()), value) {
                    (Type::$kind, Value::Null) => Ok(None),
                    (Type::$kind, Value::$kind(number)) => Ok(Some(Bytes::copy_from_slice(&number.to_be_bytes()))),
                    (kind, value) => {
                        let found = if kind == Type::$kind { value.type_name() } else { kind.name() };
                        Err(ConnectError::record(format!(
                            concat!(stringify!($converter), " cannot write a {} to topic \"{}\""),
                            found, topic
                        )))
                    }
                }
            }

            fn to_connect(&self, topic: &str, bytes: Option<Bytes>) -> Result<SchemaAndValue, ConnectError> {
                let value = match bytes.as_deref() {
                    None => Value::Null,
                    Some(bytes) => match bytes.try_into() {
                        Ok(bytes) => Value::$kind(<$number>::from_be_bytes(bytes)),
                        Err(_) => {
                            return Err(ConnectError::record(format!(
                                concat!("topic \"{}\" has {} bytes where ", stringify!($converter), " expects {}"),
                                topic,
                                bytes.len(),
                                size_of::<$number>()
                            )));
                        }
                    },
                };
                Ok((Some(SchemaRef::$optional), value))
            }
        }
    };
}

number_converter!(ShortConverter, i16, Int16, OPTIONAL_INT16);
number_converter!(IntegerConverter, i32, Int32, OPTIONAL_INT32);
number_converter!(LongConverter, i64, Int64, OPTIONAL_INT64);
number_converter!(FloatConverter, f32, Float32, OPTIONAL_FLOAT32);
number_converter!(DoubleConverter, f64, Float64, OPTIONAL_FLOAT64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_big_endian_and_of_one_length() {
        let bytes = LongConverter
            .from_connect("t", None, Value::Int64(258))
            .unwrap();
        assert_eq!(bytes.as_deref(), Some([0, 0, 0, 0, 0, 0, 1, 2].as_slice()));
        assert_eq!(
            LongConverter.to_connect("t", bytes).unwrap(),
            (Some(SchemaRef::OPTIONAL_INT64), Value::Int64(258))
        );
        let bytes = DoubleConverter
            .from_connect("t", Some(&SchemaRef::FLOAT64), Value::Float64(1.5))
            .unwrap();
        assert_eq!(
            DoubleConverter.to_connect("t", bytes).unwrap().1,
            Value::Float64(1.5)
        );
        let error = ShortConverter
            .to_connect("t", Some(Bytes::from_static(&[1])))
            .unwrap_err();
        assert_eq!(
            error.message(),
            "topic \"t\" has 1 bytes where ShortConverter expects 2"
        );
        assert!(
            IntegerConverter
                .from_connect("t", None, Value::Int64(1))
                .is_err()
        );
        assert!(
            FloatConverter
                .from_connect("t", Some(&SchemaRef::FLOAT64), Value::Null)
                .is_err()
        );
        assert_eq!(FloatConverter.to_connect("t", None).unwrap().1, Value::Null);
    }
}
