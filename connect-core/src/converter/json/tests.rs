use super::*;
use crate::decimal::Decimal;
use crate::schema::{Schema, Type};
use crate::structure::Struct;

fn converter(entries: &[(&str, &str)]) -> JsonConverter {
    let config = entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let mut converter = JsonConverter::default();
    converter.configure(&config, false).unwrap();
    converter
}

fn write(converter: &JsonConverter, schema: Option<&SchemaRef>, value: impl Into<Value>) -> String {
    let bytes = converter
        .from_connect("t", schema, value.into())
        .unwrap()
        .unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn read(converter: &JsonConverter, json: &str) -> SchemaAndValue {
    converter
        .to_connect("t", Some(Bytes::copy_from_slice(json.as_bytes())))
        .unwrap()
}

fn error(converter: &JsonConverter, json: &str) -> String {
    converter
        .to_connect("t", Some(Bytes::copy_from_slice(json.as_bytes())))
        .unwrap_err()
        .report()
}

fn plain() -> JsonConverter {
    converter(&[("schemas.enable", "false")])
}

#[test]
fn envelopes_look_as_kafka_s() {
    let json = JsonConverter::default();
    for (schema, value, kind, payload) in [
        (SchemaRef::BOOLEAN, Value::Boolean(true), "boolean", "true"),
        (SchemaRef::INT8, Value::Int8(12), "int8", "12"),
        (SchemaRef::INT16, Value::Int16(12), "int16", "12"),
        (SchemaRef::INT32, Value::Int32(12), "int32", "12"),
        (
            SchemaRef::INT64,
            Value::Int64(4_398_046_511_104),
            "int64",
            "4398046511104",
        ),
        (SchemaRef::FLOAT32, Value::Float32(12.34), "float", "12.34"),
        (SchemaRef::FLOAT64, Value::Float64(12.34), "double", "12.34"),
        (
            SchemaRef::BYTES,
            Value::from(b"test-string".to_vec()),
            "bytes",
            "\"dGVzdC1zdHJpbmc=\"",
        ),
        (
            SchemaRef::STRING,
            Value::from("test-\"string"),
            "string",
            "\"test-\\\"string\"",
        ),
    ] {
        let expected = format!(
            "{{\"schema\":{{\"type\":\"{kind}\",\"optional\":false}},\"payload\":{payload}}}"
        );
        assert_eq!(write(&json, Some(&schema), value.clone()), expected);
        assert_eq!(read(&json, &expected), (Some(schema), value));
    }
}

#[test]
fn collections_go_both_ways() {
    let json = JsonConverter::default();
    let list = Schema::array(SchemaRef::INT32).build();
    let text = r#"{"schema":{"type":"array","items":{"type":"int32","optional":false},"optional":false},"payload":[1,2,3]}"#;
    let value = Value::array([1i32, 2, 3].map(Value::from));
    assert_eq!(write(&json, Some(&list), value.clone()), text);
    assert_eq!(read(&json, text), (Some(list), value));

    let map = Schema::map(SchemaRef::STRING, SchemaRef::INT32).build();
    let text = r#"{"schema":{"type":"map","keys":{"type":"string","optional":false},"values":{"type":"int32","optional":false},"optional":false},"payload":{"key1":12,"key2":15}}"#;
    let value = Value::map([("key1".into(), 12i32.into()), ("key2".into(), 15i32.into())]);
    assert_eq!(write(&json, Some(&map), value.clone()), text);
    assert_eq!(read(&json, text), (Some(map), value));

    let map = Schema::map(SchemaRef::INT32, SchemaRef::INT32).build();
    let text = r#"{"schema":{"type":"map","keys":{"type":"int32","optional":false},"values":{"type":"int32","optional":false},"optional":false},"payload":[[1,12],[2,15]]}"#;
    let value = Value::map([(1i32.into(), 12i32.into()), (2i32.into(), 15i32.into())]);
    assert_eq!(write(&json, Some(&map), value.clone()), text);
    assert_eq!(read(&json, text), (Some(map), value));
}

#[test]
fn structs_and_all_attributes_of_a_schema_go_both_ways() {
    let json = JsonConverter::default();
    let schema = Schema::structure()
        .name("org.example.Order")
        .version(2)
        .doc("an order")
        .parameter("p", "q")
        .field("id", SchemaRef::INT64)
        .field("note", SchemaRef::OPTIONAL_STRING)
        .field(
            "count",
            Schema::builder(Type::Int32).default_value(7i32).build(),
        )
        .build();
    let value = Struct::new(schema.clone())
        .unwrap()
        .with("id", 1i64)
        .unwrap();
    let text = write(&json, Some(&schema), value.clone());
    assert_eq!(
        text,
        r#"{"schema":{"type":"struct","fields":[{"type":"int64","optional":false,"field":"id"},{"type":"string","optional":true,"field":"note"},{"type":"int32","optional":false,"default":7,"field":"count"}],"optional":false,"name":"org.example.Order","version":2,"doc":"an order","parameters":{"p":"q"}},"payload":{"id":1,"note":null,"count":7}}"#
    );
    let (read_schema, read_value) = read(&json, &text);
    assert_eq!(read_schema, Some(schema));
    let read_value = read_value.as_struct().cloned().unwrap();
    assert_eq!(
        read_value.get_without_default("count"),
        Some(&Value::Int32(7))
    );
    assert_eq!(read_value.get("id"), Some(&Value::Int64(1)));
    let again = read(&json, &text).0.unwrap();
    assert!(
        again.same(read_value.schema()),
        "the schema comes from the cache"
    );
}

#[test]
fn logical_types_are_stored_as_kafka_stores_them() {
    let json = JsonConverter::default();
    let text = r#"{"schema":{"type":"int32","optional":false,"name":"org.apache.kafka.connect.data.Date","version":1},"payload":10000}"#;
    assert_eq!(
        write(&json, Some(&Schema::date().build()), Value::Date(10000)),
        text
    );
    assert_eq!(
        read(&json, text),
        (Some(Schema::date().build()), Value::Date(10000))
    );
    for (schema, value) in [
        (Schema::time().build(), Value::Time(14_400_000)),
        (Schema::timestamp().build(), Value::Timestamp(4_000_000_000)),
        (
            Schema::decimal(2).build(),
            Value::from(Decimal::new(156, 2)),
        ),
        (Schema::decimal(2).optional().build(), Value::Null),
    ] {
        assert_eq!(
            read(&json, &write(&json, Some(&schema), value.clone())),
            (Some(schema), value)
        );
    }
    assert!(
        write(
            &json,
            Some(&Schema::decimal(2).build()),
            Decimal::new(156, 2)
        )
        .ends_with(r#""payload":"AJw="}"#)
    );
}

#[test]
fn decimals_are_numbers_if_asked_and_read_either_way() {
    let numeric = converter(&[("decimal.format", "numeric")]);
    let schema = Schema::decimal(2).build();
    let text = write(&numeric, Some(&schema), Decimal::new(156, 2));
    assert!(text.ends_with(r#""payload":1.56}"#), "{text}");
    assert_eq!(
        read(&JsonConverter::default(), &text).1,
        Value::from(Decimal::new(156, 2))
    );
    let exact = text.replace("1.56", "12345678901234567890123.45");
    assert_eq!(
        read(&numeric, &exact).1,
        Value::from("12345678901234567890123.45".parse::<Decimal>().unwrap()),
        "more digits than a float has"
    );
    assert!(error(&numeric, &text.replace("1.56", "1.567")).contains("more than 2 digits"));
}

#[test]
fn only_no_schema_and_no_value_is_a_tombstone() {
    let json = JsonConverter::default();
    assert_eq!(json.from_connect("t", None, Value::Null).unwrap(), None);
    assert_eq!(json.to_connect("t", None).unwrap(), (None, Value::Null));
    assert_eq!(
        write(&json, Some(&SchemaRef::OPTIONAL_STRING), Value::Null),
        r#"{"schema":{"type":"string","optional":true},"payload":null}"#
    );
    assert_eq!(
        write(&plain(), Some(&SchemaRef::OPTIONAL_STRING), Value::Null),
        "null"
    );
    assert!(
        json.from_connect("t", Some(&SchemaRef::STRING), Value::Null)
            .is_err()
    );
    assert_eq!(
        read(&json, r#"{"schema":null,"payload":null}"#),
        (None, Value::Null)
    );
    assert_eq!(write(&json, None, 5i64), r#"{"schema":null,"payload":5}"#);
}

#[test]
fn null_becomes_the_default_unless_told_otherwise() {
    let schema = Schema::builder(Type::String)
        .optional()
        .default_value("x")
        .build();
    let text = r#"{"schema":{"type":"string","optional":true,"default":"x"},"payload":null}"#;
    let replacing = JsonConverter::default();
    assert!(write(&replacing, Some(&schema), Value::Null).ends_with(r#""payload":"x"}"#));
    assert_eq!(read(&replacing, text), (Some(schema.clone()), "x".into()));
    let keeping = converter(&[("replace.null.with.default", "false")]);
    assert_eq!(write(&keeping, Some(&schema), Value::Null), text);
    assert_eq!(read(&keeping, text), (Some(schema), Value::Null));
}

#[test]
fn without_schemas_types_are_those_of_json() {
    let json = plain();
    let (schema, value) = read(
        &json,
        r#" {"a": 1, "b": [1.5, true, null, "x\n"], "a": 2} "#,
    );
    assert_eq!(schema, None);
    let items = Value::array([Value::Float64(1.5), true.into(), Value::Null, "x\n".into()]);
    assert_eq!(
        value,
        Value::map([("a".into(), Value::Int64(2)), ("b".into(), items)])
    );
    assert_eq!(
        read(&json, "-9223372036854775808").1,
        Value::Int64(i64::MIN)
    );
    assert_eq!(
        read(&json, "18446744073709551615").1,
        Value::Float64(18_446_744_073_709_551_615.0)
    );
    let value = Value::map([(1i64.into(), "a".into())]);
    assert_eq!(write(&json, None, value), r#"[[1,"a"]]"#);
    assert_eq!(write(&json, None, Value::Float64(1e10)), "1.0E10");
    assert_eq!(read(&json, "1.0E10").1, Value::Float64(1e10));
}

#[test]
fn text_is_a_slice_of_the_record() {
    let bytes = Bytes::from(br#"{"name":"value"}"#.to_vec());
    let Value::Map(entries) = plain().to_connect("t", Some(bytes.clone())).unwrap().1 else {
        panic!("a map")
    };
    let (Value::String(name), Value::String(value)) = entries[0].clone() else {
        panic!("text")
    };
    assert_eq!(name, "name", "which is kept for all records");
    assert_eq!(value.into_bytes().as_ptr(), bytes[9..].as_ptr());
    let bytes = Bytes::from(br#"{"schema":{"type":"string"},"payload":"value"}"#.to_vec());
    let Value::String(value) = JsonConverter::default()
        .to_connect("t", Some(bytes.clone()))
        .unwrap()
        .1
    else {
        panic!("text")
    };
    assert_eq!(value.into_bytes().as_ptr(), bytes[39..].as_ptr());
}

#[test]
fn numbers_that_do_not_fit_are_errors() {
    let json = JsonConverter::default();
    let of = |kind: &str, payload: &str| {
        format!(r#"{{"schema":{{"type":"{kind}"}},"payload":{payload}}}"#)
    };
    assert!(error(&json, &of("int8", "300")).contains("300 does not fit into int8"));
    assert!(error(&json, &of("int32", "1.5")).contains("a fraction"));
    assert!(
        error(&json, &of("string", "5")).contains("found a number where the schema says string")
    );
    assert!(error(&json, &of("bytes", "\"%\"")).contains("base64"));
    assert_eq!(read(&json, &of("int8", "5.0")).1, Value::Int8(5));
    assert_eq!(read(&json, &of("double", "5")).1, Value::Float64(5.0));
    assert_eq!(
        read(&json, &of("float", "\"-Infinity\"")).1,
        Value::Float32(f32::NEG_INFINITY)
    );
    assert_eq!(write(&plain(), None, f64::NAN), "\"NaN\"");
}

#[test]
fn anything_but_an_envelope_is_refused() {
    let json = JsonConverter::default();
    for text in [
        "5",
        "{}",
        "[]",
        r#"{"payload":1}"#,
        r#"{"schema":null,"payload":1,"more":1}"#,
    ] {
        let said = error(&json, text);
        assert!(
            said.contains("\"schema\" and \"payload\""),
            "{text}: {said}"
        );
    }
    error(&json, "");
    assert_eq!(read(&plain(), ""), (None, Value::Null), "as in Kafka");
    for text in ["{", "x", "{\"schema\":null,\"payload\":1} 2", "\u{1}"] {
        error(&json, text);
        error(&plain(), text);
    }
    for schema in [
        "5",
        "{}",
        r#"{"type":"x"}"#,
        r#"{"type":"array"}"#,
        r#"{"type":"struct"}"#,
        r#"{"type":"map","keys":1}"#,
    ] {
        error(&json, &format!(r#"{{"schema":{schema},"payload":null}}"#));
    }
    let deep = "[".repeat(100_000);
    error(&plain(), &deep);
    error(&json, &format!(r#"{{"schema":null,"payload":{deep}"#));
}

#[test]
fn a_configured_schema_makes_envelopes_unnecessary() {
    let json = converter(&[(
        "schema.content",
        r#"{"type":"struct","fields":[{"field":"a","type":"int32"}]}"#,
    )]);
    let (schema, value) = read(&json, r#"{"other":[1,{"x":2}],"a":5}"#);
    assert_eq!(schema.unwrap().kind(), Type::Struct);
    assert_eq!(value.as_struct().unwrap().get("a"), Some(&Value::Int32(5)));
    assert!(error(&json, "{}").contains("field \"a\": null where the schema requires a int32"));
    let marked = "\u{feff}{\"a\":5}";
    assert_eq!(read(&json, marked).1, value, "marked as UTF-8");
    let without = converter(&[
        ("schemas.enable", "false"),
        ("schema.content", "{\"type\":\"int8\"}"),
    ]);
    assert_eq!(
        read(&without, "5"),
        (None, Value::Int64(5)),
        "as in Kafka, no schemas are none"
    );
    let config = ConfigMap::from([("schema.content".into(), "{".into())]);
    assert!(JsonConverter::default().configure(&config, false).is_err());
}

#[test]
fn values_must_keep_the_schema_s_promise() {
    let json = JsonConverter::default();
    let wrong = json
        .from_connect("orders", Some(&SchemaRef::INT32), "x".into())
        .unwrap_err();
    assert_eq!(wrong.class(), crate::ErrorClass::Record);
    assert!(wrong.message().contains("topic \"orders\""), "{wrong}");
    let list = Schema::array(SchemaRef::INT32).build();
    assert!(
        json.from_connect("t", Some(&list), Value::array([Value::Int64(1)]))
            .is_err()
    );
    let many: Vec<String> = (0..40).rev().map(|n| format!("\"f{n}\":{n}")).collect();
    let fields: Vec<String> = (0..40)
        .map(|n| format!(r#"{{"field":"f{n}","type":"int8"}}"#))
        .collect();
    let text = format!(
        r#"{{"payload":{{{}}},"schema":{{"type":"struct","fields":[{}]}}}}"#,
        many.join(","),
        fields.join(",")
    );
    assert_eq!(
        read(&json, &text).1.as_struct().unwrap().get("f33"),
        Some(&Value::Int8(33))
    );
}

#[test]
fn no_bytes_make_it_panic() {
    let text = r#"{"schema":{"type":"struct","fields":[{"type":"bytes","field":"d","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"},"default":"AJw="},{"type":"map","keys":{"type":"int8"},"values":{"type":"string","optional":true},"field":"m"}]},"payload":{"d":1.5e1,"m":[[1,"\u00e9x"],[2,null]]}}"#;
    let (enveloped, bare) = (JsonConverter::default(), plain());
    assert_eq!(
        read(&enveloped, text).1.to_string(),
        "Struct{d=15.00,m={1=éx, 2=null}}"
    );
    for end in 0..text.len() {
        let bytes = Bytes::copy_from_slice(&text.as_bytes()[..end]);
        enveloped.to_connect("t", Some(bytes.clone())).unwrap_err();
        assert_eq!(bare.to_connect("t", Some(bytes)).is_ok(), end == 0);
    }
    for place in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.as_bytes().to_vec();
            bytes[place] ^= 1 << bit;
            for converter in [&enveloped, &bare] {
                if let Ok((schema, value)) =
                    converter.to_connect("t", Some(Bytes::from(bytes.clone())))
                {
                    // What was read can be written and shown.
                    let _shown = value.to_string();
                    if let Ok(Some(again)) =
                        converter.from_connect("t", schema.as_ref(), value.clone())
                    {
                        assert_eq!(
                            converter.to_connect("t", Some(again)).unwrap(),
                            (schema, value)
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn data_of_a_schema_registry_says_which_converter_to_take() {
    for enable in ["true", "false"] {
        let converter = converter(&[("schemas.enable", enable)]);
        let bytes = Bytes::from_static(&[0, 0, 0, 0, 7, b'{', b'}']);
        let error = converter.to_connect("t", Some(bytes)).unwrap_err();
        assert_eq!(
            error.message(),
            "value in topic \"t\" cannot be read as JSON: byte 0 is 0: this topic looks like data of a \
             schema registry (schema 7), the converter expects plain JSON; set the converter to avro \
             or jsonschema, with schema.registry.url"
        );
    }
}
