//! Headers as text whose types are guessed: Kafka's `SimpleHeaderConverter`.

mod guess;
mod temporal;
mod tokens;
mod write;

use bytes::Bytes;

use super::{HeaderConverter, SchemaAndValue};
use crate::error::ConnectError;
use crate::schema::SchemaRef;
use crate::text::Str;
use crate::value::Value;

/// `SimpleHeaderConverter`: values as text, and the type guessed when read.
///
/// Guessed are, in this order: `null`, booleans, arrays `[…]`, maps `{…}`, ISO 8601 dates, times and
/// timestamps (in UTC with milliseconds), the smallest type that holds a number; the rest is text. So
/// text that looks like a number does not survive a round trip as text: `"00123"` comes back as the
/// number 123. Use `StringConverter` where that matters. What is not UTF-8 is read as bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct SimpleHeaderConverter;

impl HeaderConverter for SimpleHeaderConverter {
    fn from_connect_header(
        &self,
        _topic: &str,
        _key: &str,
        _schema: Option<&SchemaRef>,
        value: Value,
    ) -> Result<Option<Bytes>, ConnectError> {
        Ok(match value {
            Value::Null => None,
            Value::String(text) => Some(text.into_bytes()),
            other => Some(Bytes::from(write::text(&other))),
        })
    }

    fn to_connect_header(
        &self,
        _topic: &str,
        _key: &str,
        bytes: Option<Bytes>,
    ) -> Result<SchemaAndValue, ConnectError> {
        let Some(bytes) = bytes else {
            return Ok((None, Value::Null));
        };
        Ok(match Str::from_utf8(bytes.clone()) {
            Ok(text) => guess::guess(&text),
            Err(_) => (Some(SchemaRef::BYTES), Value::Bytes(bytes)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::Decimal;
    use crate::schema::{Schema, Type};
    use crate::structure::Struct;

    fn read(text: &str) -> SchemaAndValue {
        SimpleHeaderConverter
            .to_connect_header("t", "h", Some(Bytes::copy_from_slice(text.as_bytes())))
            .unwrap()
    }

    fn write(value: Value) -> String {
        let bytes = SimpleHeaderConverter
            .from_connect_header("t", "h", None, value)
            .unwrap()
            .unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn numbers_take_the_smallest_type_that_holds_them() {
        assert_eq!(read("1"), (Some(SchemaRef::INT8), Value::Int8(1)));
        assert_eq!(read("00123").1, Value::Int8(123));
        assert_eq!(read("-129").1, Value::Int16(-129));
        assert_eq!(read("40000").1, Value::Int32(40000));
        assert_eq!(read("5000000000").1, Value::Int64(5_000_000_000));
        assert_eq!(read("3.0").1, Value::Int8(3));
        assert_eq!(
            read("3.25"),
            (Some(SchemaRef::FLOAT32), Value::Float32(3.25))
        );
        assert_eq!(read("1.5e200").1, Value::Float64(1.5e200));
        let big = read("9223372036854775808");
        assert_eq!(
            big.1,
            Value::from(Decimal::new(9_223_372_036_854_775_808_i128, 0))
        );
        assert_eq!(big.0.unwrap().decimal_scale(), Some(0));
        assert_eq!(read("+"), (Some(SchemaRef::STRING), "+".into()));
    }

    #[test]
    fn literals_and_text() {
        assert_eq!(read("null"), (None, Value::Null));
        assert_eq!(read("true"), (Some(SchemaRef::BOOLEAN), true.into()));
        assert_eq!(read("true}").1, "true}".into());
        assert_eq!(read("").1, "".into());
        assert_eq!(read("  ").1, "  ".into());
        assert_eq!(read("a: b, c").1, "a: b, c".into());
        assert_eq!(read("\"quoted\"").1, "\"quoted\"".into());
    }

    #[test]
    fn dates_and_times_are_iso() {
        assert_eq!(
            read("2019-08-23"),
            (Some(Schema::date().build()), Value::Date(18_131))
        );
        assert_eq!(
            read("14:34:54.346Z"),
            (Some(Schema::time().build()), Value::Time(52_494_346))
        );
        assert_eq!(
            read("2019-08-23T14:34:54.346Z"),
            (
                Some(Schema::timestamp().build()),
                Value::Timestamp(1_566_570_894_346)
            )
        );
        assert_eq!(read("2019-13-23").1, "2019-13-23".into());
        for value in [
            Value::Date(18_131),
            Value::Time(52_494_346),
            Value::Timestamp(1_566_570_894_346),
        ] {
            assert_eq!(read(&write(value.clone())).1, value);
        }
    }

    #[test]
    fn arrays_and_maps_get_a_common_schema() {
        let (schema, value) = read("[1, 2, 300]");
        assert_eq!(schema, Some(Schema::array(SchemaRef::INT16).build()));
        assert_eq!(
            value,
            Value::array([Value::Int16(1), Value::Int16(2), Value::Int16(300)])
        );
        let (schema, value) = read(r#"{"a": 1, "b": 300}"#);
        assert_eq!(
            schema,
            Some(Schema::map(SchemaRef::STRING, SchemaRef::INT16).build())
        );
        assert_eq!(
            value,
            Value::map([
                ("a".into(), Value::Int16(1)),
                ("b".into(), Value::Int16(300))
            ])
        );
        assert_eq!(read(r#"{"a":1,"b":null}"#).0, Some(SchemaRef::STRING));
        assert_eq!(
            read("[]"),
            (Some(Schema::builder(Type::Array).build()), Value::array([]))
        );
        assert_eq!(
            read(r#"["2019-08-23"]"#).1,
            Value::array([Value::Date(18_131)])
        );
        assert_eq!(
            read(r#"[["a"], []]"#).1,
            Value::array([Value::array(["a".into()]), Value::array([])])
        );
    }

    #[test]
    fn what_only_looks_like_a_collection_is_text() {
        for text in [
            "[1, 2", "[1,,2]", "[a]", "{1}", "{\"a\":1", "[1 2]", "{null:1}", "[1,", "]",
        ] {
            assert_eq!(read(text), (Some(SchemaRef::STRING), text.into()), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(read(&deep).1, deep.as_str().into());
    }

    #[test]
    fn values_are_written_so_that_they_can_be_read() {
        let schema = Schema::structure()
            .field("a", SchemaRef::INT32)
            .field("b", SchemaRef::STRING)
            .build();
        let fields = Struct::new(schema)
            .unwrap()
            .with("a", 1i32)
            .unwrap()
            .with("b", "x\"y")
            .unwrap();
        assert_eq!(write(fields.into()), r#"{"a":1,"b":"x\"y"}"#);
        assert_eq!(
            write(Value::array([1i8.into(), "x".into(), Value::Null])),
            r#"[1,"x",null]"#
        );
        assert_eq!(write(vec![1u8, 2].into()), "AQI=");
        assert_eq!(write("as it is \"".into()), "as it is \"");
        let map = Value::map([("k".into(), Value::array([Value::Int8(1)]))]);
        assert_eq!(read(&write(map.clone())).1, map);
    }

    #[test]
    fn what_is_not_text_is_bytes() {
        let bytes = Bytes::from_static(&[0xff]);
        let read = SimpleHeaderConverter
            .to_connect_header("t", "h", Some(bytes.clone()))
            .unwrap();
        assert_eq!(read, (Some(SchemaRef::BYTES), Value::Bytes(bytes)));
        assert_eq!(
            SimpleHeaderConverter
                .from_connect_header("t", "h", None, Value::Null)
                .unwrap(),
            None
        );
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for text in [
            r#"{"a\"": [1, 2.5e3, "2019-08-23"], "é": {"x": null}}"#,
            "[14:34:54.346Z, 2019-08-23T14:34:54.346Z]",
            "-12345678901234567890.5e-3",
        ] {
            for place in 0..text.len() {
                for bit in 0..8 {
                    let mut bytes = text.as_bytes().to_vec();
                    bytes[place] ^= 1 << bit;
                    for bytes in [bytes.clone(), bytes[..place].to_vec()] {
                        let value =
                            SimpleHeaderConverter.to_connect_header("t", "h", Some(bytes.into()));
                        let (_, value) = value.unwrap();
                        SimpleHeaderConverter
                            .from_connect_header("t", "h", None, value)
                            .unwrap();
                    }
                }
            }
        }
    }
}
