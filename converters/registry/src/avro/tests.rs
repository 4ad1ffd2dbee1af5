use std::sync::Arc;

use connect_core::{ErrorClass, Logical, Schema, Struct, Type};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::client::stand_in::StandIn;

const PLAIN: Options = Options {
    enhanced: false,
    metadata: true,
    scrub: false,
    keep_null: false,
};

const ENHANCED: Options = Options {
    enhanced: true,
    ..PLAIN
};

fn avro_of(schema: &SchemaRef, options: Options) -> serde_json::Value {
    from_connect::avro(schema, options).unwrap()
}

fn reading_of(text: &str, options: Options) -> (SchemaRef, Read) {
    let node = Node::parse(text, &[]).unwrap();
    to_connect::reading(&node, options).unwrap()
}

/// Writes and reads a value with the schema that is made of its Connect schema.
fn round(schema: &SchemaRef, value: &Value, options: Options) -> (SchemaRef, Value) {
    let text = avro_of(schema, options).to_string();
    let node = Node::parse(&text, &[]).unwrap();
    let plan = encode::writing(schema, &node, options, true).unwrap();
    let mut bytes = Vec::new();
    encode::encode(&mut bytes, &plan, value).unwrap();
    let (schema, plan) = to_connect::reading(&node, options).unwrap();
    let value = decode::decode(&plan, &Bytes::from(bytes)).unwrap();
    (schema, value)
}

fn order() -> SchemaRef {
    Schema::structure()
        .name("com.example.Order")
        .version(2)
        .doc("an order")
        .field("id", SchemaRef::INT64)
        .field("note", SchemaRef::OPTIONAL_STRING)
        .field("rank", SchemaRef::INT8)
        .field("price", Schema::decimal(2).build())
        .field("day", Schema::date().optional().build())
        .field("at", Schema::timestamp().build())
        .field(
            "count",
            Schema::builder(Type::Int32).default_value(1i32).build(),
        )
        .field("tags", Schema::array(SchemaRef::STRING).build())
        .field(
            "codes",
            Schema::map(SchemaRef::INT32, SchemaRef::OPTIONAL_STRING).build(),
        )
        .build()
}

#[test]
fn a_connect_schema_is_written_as_confluent_s_converter_writes_it() {
    let expected = json!({
        "type": "record", "name": "Order", "namespace": "com.example",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "note", "type": ["null", "string"], "default": null},
            {"name": "rank", "type": {"type": "int", "connect.type": "int8"}},
            {"name": "price", "type": {
                "type": "bytes", "connect.version": 1, "connect.parameters": {"scale": "2"},
                "connect.name": "org.apache.kafka.connect.data.Decimal",
                "logicalType": "decimal", "precision": 64, "scale": 2}},
            {"name": "day", "type": ["null", {
                "type": "int", "connect.version": 1,
                "connect.name": "org.apache.kafka.connect.data.Date", "logicalType": "date"}],
                "default": null},
            {"name": "at", "type": {
                "type": "long", "connect.version": 1,
                "connect.name": "org.apache.kafka.connect.data.Timestamp",
                "logicalType": "timestamp-millis"}},
            {"name": "count", "type": {"type": "int", "connect.default": 1}, "default": 1},
            {"name": "tags", "type": {"type": "array", "items": "string"}},
            {"name": "codes", "type": {"type": "array", "items": {
                "type": "record", "name": "MapEntry", "namespace": "io.confluent.connect.avro",
                "fields": [
                    {"name": "key", "type": "int"},
                    {"name": "value", "type": ["null", "string"], "default": null}],
                "connect.internal.type": "MapEntry"}}}],
        "connect.doc": "an order", "connect.version": 2, "connect.name": "com.example.Order",
    });
    assert_eq!(avro_of(&order(), PLAIN), expected);
    let (read, _) = reading_of(&expected.to_string(), PLAIN);
    assert_eq!(read, order());
}

#[test]
fn without_metadata_only_avro_s_own_words_are_written() {
    let options = Options {
        metadata: false,
        ..PLAIN
    };
    let schema = Schema::structure()
        .name("R")
        .version(3)
        .field("rank", SchemaRef::INT8)
        .field("at", Schema::timestamp().build())
        .build();
    let expected = json!({"type": "record", "name": "R", "fields": [
        {"name": "rank", "type": "int"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]});
    assert_eq!(avro_of(&schema, options), expected);
}

#[test]
fn schemas_of_others_come_with_their_types_names_and_documentation() {
    let text = r#"{"type":"record","name":"User","namespace":"a.b","doc":"who","fields":[
        {"name":"name","type":"string","doc":"full"},
        {"name":"state","type":{"type":"enum","name":"State","symbols":["ON","OFF"],"default":"OFF"},"default":"ON"},
        {"name":"hash","type":{"type":"fixed","name":"Hash","size":4}},
        {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
        {"name":"alarm","type":{"type":"int","logicalType":"time-millis"}},
        {"name":"nano","type":{"type":"long","logicalType":"timestamp-micros"}},
        {"name":"id","type":{"type":"string","logicalType":"uuid"}},
        {"name":"back","type":["string","null"],"default":"x"},
        {"name":"one","type":["null","long","string"],"default":null},
        {"name":"props","type":{"type":"map","values":["null","double"]}}]}"#;
    let (schema, _) = reading_of(text, PLAIN);
    assert_eq!(schema.name(), Some("a.b.User"));
    assert_eq!(schema.parameter(names::RECORD_DOC), Some("who"));
    assert_eq!(
        schema.parameter("io.confluent.connect.avro.field.doc.name"),
        Some("full")
    );
    let field = |name: &str| schema.field(name).unwrap().1.schema.clone();
    let state = field("state");
    assert_eq!(
        (state.kind(), state.name()),
        (Type::String, Some("a.b.State"))
    );
    assert_eq!(state.parameter(names::ENUM), Some("a.b.State"));
    assert_eq!(
        state.parameter("io.confluent.connect.avro.Enum.OFF"),
        Some("OFF")
    );
    assert_eq!(
        state.parameter("io.confluent.connect.avro.enum.default.State"),
        Some("OFF")
    );
    assert_eq!(state.default(), Some(&Value::string("ON")));
    assert_eq!(field("hash"), SchemaRef::BYTES);
    assert_eq!(field("price").decimal_scale(), Some(2));
    assert_eq!(field("price").parameter(names::PRECISION), Some("9"));
    assert_eq!(field("alarm").logical_type(), Some(Logical::Time));
    assert_eq!(field("nano"), SchemaRef::INT64);
    assert_eq!(field("id"), SchemaRef::STRING);
    assert!(field("back").is_optional());
    assert_eq!(field("back").default(), Some(&Value::string("x")));
    let one = field("one");
    assert_eq!((one.name(), one.is_optional()), (Some(names::UNION), true));
    let members: Vec<&str> = one
        .fields()
        .iter()
        .map(|field| field.name.as_ref())
        .collect();
    assert_eq!(members, ["long", "string"]);
    assert_eq!(
        **field("props").value_schema().unwrap(),
        *SchemaRef::OPTIONAL_FLOAT64
    );
}

#[test]
fn what_was_read_is_written_as_the_same_schema() {
    for text in [
        r#"{"type":"record","name":"R","namespace":"n","fields":[
            {"name":"a","type":"int","default":3},
            {"name":"b","type":["null","string"],"default":null},
            {"name":"c","type":["long","null"],"default":7}]}"#,
        r#"["null","long","string"]"#,
        r#"{"type":"map","values":{"type":"array","items":"float"}}"#,
    ] {
        let (schema, _) = reading_of(text, PLAIN);
        let mut written = avro_of(&schema, PLAIN);
        let remove = |json: &mut serde_json::Value| {
            if let Some(object) = json.as_object_mut() {
                object.remove("connect.name");
            }
        };
        remove(&mut written);
        // A note about where a default came from is no part of it.
        let expected: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(written, expected);
    }
}

#[test]
fn an_enum_is_kept_with_enhanced_support_and_text_without() {
    let text = r#"{"type":"record","name":"R","fields":[
        {"name":"state","type":{"type":"enum","name":"State","symbols":["OFF","ON"]}}]}"#;
    let (schema, _) = reading_of(text, ENHANCED);
    let enhanced = avro_of(&schema, ENHANCED);
    assert_eq!(
        enhanced["fields"][0]["type"]["symbols"],
        json!(["OFF", "ON"])
    );
    assert_eq!(
        avro_of(&schema, PLAIN)["fields"][0]["type"]["type"],
        "string"
    );
    let value = Struct::new(schema.clone())
        .unwrap()
        .with("state", "ON")
        .unwrap();
    let (_, read) = round(&schema, &Value::from(value.clone()), ENHANCED);
    assert_eq!(
        read.as_struct().unwrap().get("state"),
        Some(&Value::string("ON"))
    );
    let mut wrong = value;
    wrong.put("state", "BLUE").unwrap();
    let node = Node::parse(&enhanced.to_string(), &[]).unwrap();
    let plan = encode::writing(&schema, &node, ENHANCED, true).unwrap();
    let error = encode::encode(&mut Vec::new(), &plan, &Value::from(wrong)).unwrap_err();
    assert_eq!(error, "state: \"BLUE\" is no symbol of the enum");
}

#[test]
fn a_union_is_a_struct_with_one_field_set() {
    let (schema, plan) = reading_of(r#"["long","string","null"]"#, PLAIN);
    let value = decode::decode(&plan, &Bytes::from_static(&[2, 4, b'h', b'i'])).unwrap();
    let fields = value.as_struct().unwrap();
    assert_eq!(fields.get("string"), Some(&Value::string("hi")));
    assert_eq!(fields.get("long"), Some(&Value::Null));
    let (_, again) = round(&schema, &value, PLAIN);
    assert_eq!(
        again.as_struct().unwrap().get("string"),
        Some(&Value::string("hi"))
    );
    assert_eq!(
        decode::decode(&plan, &Bytes::from_static(&[4])).unwrap(),
        Value::Null
    );
    let problem = decode::decode(&plan, &Bytes::from_static(&[6])).unwrap_err();
    assert_eq!(problem, "the union has no member 3");
}

#[test]
fn structs_without_a_name_and_structs_used_twice_are_defined_once_each() {
    let inner = Schema::structure().field("a", SchemaRef::INT32).build();
    let schema = Schema::structure()
        .field("one", inner.clone())
        .field("two", inner)
        .build();
    let json = avro_of(&schema, PLAIN);
    assert_eq!(json["name"], "ConnectDefault");
    assert_eq!(json["fields"][0]["type"]["name"], "ConnectDefault2");
    assert_eq!(
        json["fields"][1]["type"],
        "io.confluent.connect.avro.ConnectDefault2"
    );
    let (read, _) = reading_of(&json.to_string(), PLAIN);
    assert_eq!(read, schema);

    let one = Schema::structure()
        .name("X")
        .field("a", SchemaRef::INT32)
        .build();
    let other = Schema::structure()
        .name("X")
        .field("b", SchemaRef::INT32)
        .build();
    let both = Schema::structure()
        .field("one", one)
        .field("two", other)
        .build();
    let problem = from_connect::avro(&both, PLAIN).unwrap_err();
    assert!(
        problem.contains("two different schemas have the name \"X\""),
        "{problem}"
    );
}

#[test]
fn names_that_avro_does_not_allow_are_refused_or_scrubbed() {
    let schema = Schema::structure()
        .name("a.b-c")
        .field("1 two", SchemaRef::INT32)
        .build();
    let problem = from_connect::avro(&schema, PLAIN).unwrap_err();
    assert!(problem.contains("scrub.invalid.names=true"), "{problem}");
    let scrubbing = Options {
        scrub: true,
        ..PLAIN
    };
    let json = avro_of(&schema, scrubbing);
    assert_eq!(
        (&json["name"], &json["fields"][0]["name"]),
        (&json!("b_c"), &json!("_1_two"))
    );
    let value = Struct::new(schema.clone())
        .unwrap()
        .with("1 two", 5)
        .unwrap();
    let (_, read) = round(&schema, &Value::from(value), scrubbing);
    assert_eq!(
        read.as_struct().unwrap().get("_1_two"),
        Some(&Value::Int32(5))
    );
}

#[test]
fn bytes_that_do_not_fit_are_refused_wherever_they_end() {
    let schema = order();
    let text = avro_of(&schema, PLAIN).to_string();
    let node = Node::parse(&text, &[]).unwrap();
    let write = encode::writing(&schema, &node, PLAIN, true).unwrap();
    let mut bytes = Vec::new();
    encode::encode(&mut bytes, &write, &an_order()).unwrap();
    let (_, read) = to_connect::reading(&node, PLAIN).unwrap();
    for end in 0..bytes.len() {
        let cut = Bytes::copy_from_slice(&bytes[..end]);
        decode::decode(&read, &cut).unwrap_err();
    }
    bytes.push(0);
    let problem = decode::decode(&read, &Bytes::from(bytes)).unwrap_err();
    assert!(problem.starts_with("1 bytes are left over"), "{problem}");
}

#[test]
fn lengths_and_counts_are_not_believed() {
    let huge = |tail: &[u8]| {
        Bytes::from([&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..], tail].concat())
    };
    let (_, text) = reading_of("\"string\"", PLAIN);
    let problem = decode::decode(&text, &huge(b"abc")).unwrap_err();
    assert!(
        problem.contains("bytes should follow and 3 are left"),
        "{problem}"
    );
    let (_, array) = reading_of(r#"{"type":"array","items":"int"}"#, PLAIN);
    decode::decode(&array, &huge(b"abc")).unwrap_err();
    let empty = r#"{"type":"array","items":{"type":"record","name":"E","fields":[]}}"#;
    let (_, empty) = reading_of(empty, PLAIN);
    let problem = decode::decode(&empty, &huge(b"")).unwrap_err();
    assert!(problem.contains("items without bytes"), "{problem}");
    let negative = Bytes::from_static(&[1]);
    assert_eq!(
        decode::decode(&text, &negative).unwrap_err(),
        "-1 is no length"
    );
}

#[test]
fn a_schema_that_grows_like_a_tree_is_planned_in_no_time() {
    // Each record has two fields of the next: four billion leaves in forty lines.
    let mut text = r#"{"type":"record","name":"R32","fields":[]}"#.to_owned();
    for number in (0..32).rev() {
        let next = number + 1;
        text = format!(
            r#"{{"type":"record","name":"R{number}","fields":[{{"name":"a","type":{text}}},{{"name":"b","type":"R{next}"}}]}}"#
        );
    }
    let (schema, _) = reading_of(&text, PLAIN);
    assert_eq!(schema.fields().len(), 2);
}

fn an_order() -> Value {
    let order = Struct::new(order())
        .unwrap()
        .with("id", 7i64)
        .unwrap()
        .with("note", "hi")
        .unwrap()
        .with("rank", 3i8)
        .unwrap()
        .with("price", connect_core::Decimal::new(-1995, 2))
        .unwrap()
        .with("day", Value::Date(19_000))
        .unwrap()
        .with("at", Value::Timestamp(1_700_000_000_000))
        .unwrap()
        .with("count", 12)
        .unwrap()
        .with("tags", Value::array(["a".into(), "b".into()]))
        .unwrap()
        .with(
            "codes",
            Value::map([
                (Value::Int32(1), "x".into()),
                (Value::Int32(2), Value::Null),
            ]),
        )
        .unwrap();
    Value::from(order)
}

fn converter(stand_in: &StandIn, keys: &[(&str, &str)]) -> AvroConverter {
    let mut converter = AvroConverter::default();
    converter.configure(&stand_in.config(keys), false).unwrap();
    converter
}

#[test]
fn a_record_goes_through_the_registry_and_back() {
    let stand_in = StandIn::start();
    let writing = converter(&stand_in, &[]);
    let bytes = writing
        .from_connect("orders", Some(&order()), an_order())
        .unwrap()
        .unwrap();
    assert_eq!(bytes[..5], [0, 0, 0, 0, 1]);
    // A source that makes its schema anew for every record costs no request each.
    writing
        .from_connect("orders", Some(&order()), an_order())
        .unwrap();
    let (schema, value) = converter(&stand_in, &[])
        .to_connect("orders", Some(bytes))
        .unwrap();
    assert_eq!(schema.unwrap(), order());
    assert_eq!(value, an_order());
    assert_eq!(
        stand_in.asked(),
        ["POST /subjects/orders-value/versions", "GET /schemas/ids/1"]
    );
}

#[test]
fn null_is_a_tombstone_and_values_without_schema_are_taken_if_they_say_what_they_are() {
    let stand_in = StandIn::start();
    let converter = converter(&stand_in, &[]);
    assert_eq!(
        converter.from_connect("t", None, Value::Null).unwrap(),
        None
    );
    let optional = SchemaRef::OPTIONAL_STRING;
    assert_eq!(
        converter
            .from_connect("t", Some(&optional), Value::Null)
            .unwrap(),
        None
    );
    assert_eq!(
        converter.to_connect("t", None).unwrap(),
        (None, Value::Null)
    );
    let bytes = converter
        .from_connect("t", None, "hi".into())
        .unwrap()
        .unwrap();
    assert_eq!(bytes[5..], [4, b'h', b'i']);
    assert_eq!(stand_in.schema(1)["schema"], "\"string\"");
    let map = Value::map([("a".into(), Value::Int32(1))]);
    let error = converter.from_connect("t", None, map).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Record);
    assert!(error.message().contains("value.converter=json"), "{error}");
}

#[test]
fn the_latest_schema_takes_what_fits_it_by_name() {
    let stand_in = StandIn::start();
    let latest = r#"{"type":"record","name":"R","fields":[
        {"name":"extra","type":["string","null"],"default":"none"},
        {"name":"id","type":"long"}]}"#;
    stand_in.add("t-value", json!({ "schema": latest }));
    let keys = [
        ("auto.register.schemas", "false"),
        ("use.latest.version", "true"),
    ];
    let strict = converter(&stand_in, &keys);
    let schema = Schema::structure()
        .name("R")
        .field("id", SchemaRef::INT32)
        .build();
    let value = Struct::new(schema.clone()).unwrap().with("id", 5).unwrap();
    let bytes = strict
        .from_connect("t", Some(&schema), value.into())
        .unwrap()
        .unwrap();
    assert_eq!(bytes[5..], [0, 8, b'n', b'o', b'n', b'e', 10]);

    let more = Schema::structure()
        .name("R")
        .field("id", SchemaRef::INT32)
        .field("more", SchemaRef::INT32)
        .build();
    let value = Value::from(
        Struct::new(more.clone())
            .unwrap()
            .with("id", 5)
            .unwrap()
            .with("more", 6)
            .unwrap(),
    );
    let error = strict
        .from_connect("t", Some(&more), value.clone())
        .unwrap_err();
    assert!(error.message().contains("has no field \"more\""), "{error}");
    assert!(
        error
            .message()
            .contains("latest schema of subject \"t-value\""),
        "{error}"
    );
    let lax = [keys[0], keys[1], ("latest.compatibility.strict", "false")];
    let lax = converter(&stand_in, &lax);
    assert_eq!(
        lax.from_connect("t", Some(&more), value).unwrap().unwrap(),
        bytes
    );
    let asked = stand_in.asked().len();
    let again = Value::from(
        Struct::new(more.clone())
            .unwrap()
            .with("id", 5)
            .unwrap()
            .with("more", 6)
            .unwrap(),
    );
    strict.from_connect("t", Some(&more), again).unwrap_err();
    assert_eq!(
        stand_in.asked().len(),
        asked,
        "what was refused lately is not asked again"
    );
    let less = Schema::structure()
        .name("R")
        .field("more", SchemaRef::INT32)
        .build();
    let value = Value::from(Struct::new(less.clone()).unwrap().with("more", 6).unwrap());
    let error = strict.from_connect("t", Some(&less), value).unwrap_err();
    assert!(error.message().contains("wants a field \"id\""), "{error}");
}

#[test]
fn a_schema_is_only_looked_up_where_registering_is_turned_off() {
    let stand_in = StandIn::start();
    let keys = [
        ("auto.register.schemas", "false"),
        (
            "value.subject.name.strategy",
            "io.confluent.kafka.serializers.subject.RecordNameStrategy",
        ),
    ];
    let knowing = || converter(&stand_in, &keys);
    let error = knowing()
        .from_connect("t", Some(&order()), an_order())
        .unwrap_err();
    assert!(
        error.message().contains("subject \"com.example.Order\""),
        "{error}"
    );
    stand_in.add(
        "com.example.Order",
        json!({ "schema": avro_of(&order(), PLAIN).to_string() }),
    );
    knowing()
        .from_connect("t", Some(&order()), an_order())
        .unwrap();
    let problems = AvroConverter::default()
        .configure(&stand_in.config(&[("use.latest.version", "true")]), false);
    assert!(
        problems.unwrap_err()[0]
            .to_string()
            .contains("auto.register.schemas")
    );
}

#[test]
fn schemas_of_other_languages_and_plain_data_say_which_converter_to_take() {
    let stand_in = StandIn::start();
    stand_in.add("t-value", json!({ "schema": "{}", "schemaType": "JSON" }));
    let converter = converter(&stand_in, &[]);
    let bytes = Bytes::from_static(&[0, 0, 0, 0, 1, b'{', b'}']);
    let error = converter.to_connect("t", Some(bytes)).unwrap_err();
    assert!(
        error
            .message()
            .contains("schema 1 is JSON, the converter expects AVRO"),
        "{error}"
    );
    let error = converter
        .to_connect("t", Some(Bytes::from_static(b"{}")))
        .unwrap_err();
    assert!(error.message().contains("looks like plain JSON"), "{error}");
    assert_eq!(error.class(), ErrorClass::Record);
}

/// A schema, and a value that keeps its promise.
fn any_value() -> impl Strategy<Value = (SchemaRef, Value)> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(|value| (SchemaRef::BOOLEAN, Value::Boolean(value))),
        any::<i8>().prop_map(|value| (SchemaRef::INT8, Value::Int8(value))),
        any::<i16>().prop_map(|value| (SchemaRef::INT16, Value::Int16(value))),
        any::<i32>().prop_map(|value| (SchemaRef::INT32, Value::Int32(value))),
        any::<i64>().prop_map(|value| (SchemaRef::INT64, Value::Int64(value))),
        (-1e9f32..1e9).prop_map(|value| (SchemaRef::FLOAT32, Value::Float32(value))),
        (-1e9f64..1e9).prop_map(|value| (SchemaRef::FLOAT64, Value::Float64(value))),
        "\\PC{0,12}".prop_map(|value| (SchemaRef::STRING, Value::from(value))),
        proptest::collection::vec(any::<u8>(), 0..12)
            .prop_map(|value| (SchemaRef::BYTES, Value::from(value))),
        any::<i64>().prop_map(|value| {
            let number = connect_core::Decimal::new(value, 3);
            (Schema::decimal(3).build(), Value::from(number))
        }),
        any::<i32>().prop_map(|value| (Schema::date().build(), Value::Date(value))),
        (0..86_400_000i32).prop_map(|value| (Schema::time().build(), Value::Time(value))),
        any::<i64>().prop_map(|value| (Schema::timestamp().build(), Value::Timestamp(value))),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let optional = (inner.clone(), any::<bool>()).prop_map(|((schema, value), is_null)| {
            let schema = nullable(&schema);
            let is_null = is_null && schema.is_optional();
            (schema, if is_null { Value::Null } else { value })
        });
        let array = (inner.clone(), 0..4usize).prop_map(|((schema, value), count)| {
            (
                Schema::array(schema).build(),
                Value::array(vec![value; count]),
            )
        });
        let map = (
            inner.clone(),
            proptest::collection::btree_set("[a-z]{0,3}", 0..4),
        )
            .prop_map(|((schema, value), keys)| {
                let entries = keys
                    .into_iter()
                    .map(|key| (Value::from(key), value.clone()));
                (
                    Schema::map(SchemaRef::STRING, schema).build(),
                    Value::map(entries.collect::<Vec<_>>()),
                )
            });
        let entries = (inner.clone(), inner.clone()).prop_map(|((keys, key), (values, value))| {
            let keys = nullable(&keys);
            (
                Schema::map(keys, values).build(),
                Value::map([(key, value)]),
            )
        });
        let record = proptest::collection::vec(inner, 0..5).prop_map(|fields| {
            let mut schema = Schema::structure();
            for (at, (field, _)) in fields.iter().enumerate() {
                schema = schema.field(format!("f{at}"), field.clone());
            }
            let schema = schema.build();
            let values = fields.into_iter().map(|(_, value)| value).collect();
            let value = Struct::of(schema.clone(), values).unwrap();
            (schema, Value::from(value))
        });
        prop_oneof![optional, array, map, entries, record]
    })
}

/// The same schema with null allowed; only parts without structs are made so.
fn nullable(schema: &SchemaRef) -> SchemaRef {
    match SchemaRef::primitive(schema.kind(), true) {
        Some(plain) if schema.logical_type().is_none() => plain,
        _ => schema.clone(),
    }
}

/// A value as the oracle has it, by the schema that both have.
fn oracle(value: &Value, node: &Node) -> apache_avro::types::Value {
    use apache_avro::types::Value as Avro;
    use schema::Kind;
    if let Kind::Union(members) = &node.kind {
        let at = members
            .iter()
            .position(|member| member.is_null() == value.is_null())
            .unwrap();
        return Avro::Union(at as u32, Box::new(oracle(value, &members[at])));
    }
    match (value, &node.kind) {
        (Value::Null, _) => Avro::Null,
        (Value::Boolean(value), _) => Avro::Boolean(*value),
        (Value::Int8(value), _) => Avro::Int(i32::from(*value)),
        (Value::Int16(value), _) => Avro::Int(i32::from(*value)),
        (Value::Int32(value), _) => Avro::Int(*value),
        (Value::Int64(value), _) => Avro::Long(*value),
        (Value::Float32(value), _) => Avro::Float(*value),
        (Value::Float64(value), _) => Avro::Double(*value),
        (Value::String(value), _) => Avro::String(value.to_string()),
        (Value::Bytes(value), _) => Avro::Bytes(value.to_vec()),
        (Value::Decimal(value), _) => Avro::Decimal(value.unscaled_bytes().into()),
        (Value::Date(value), _) => Avro::Date(*value),
        (Value::Time(value), _) => Avro::TimeMillis(*value),
        (Value::Timestamp(value), _) => Avro::TimestampMillis(*value),
        (Value::Array(items), Kind::Array(node)) => {
            Avro::Array(items.iter().map(|item| oracle(item, node)).collect())
        }
        (Value::Map(entries), Kind::Map(node)) => Avro::Map(
            entries
                .iter()
                .map(|(key, value)| (key.as_str().unwrap().to_owned(), oracle(value, node)))
                .collect(),
        ),
        (Value::Map(entries), Kind::Array(node)) => {
            let Kind::Record { fields, .. } = &node.kind else {
                panic!()
            };
            let entry = |(key, value): &(Value, Value)| {
                Avro::Record(vec![
                    ("key".to_owned(), oracle(key, &fields[0].node)),
                    ("value".to_owned(), oracle(value, &fields[1].node)),
                ])
            };
            Avro::Array(entries.iter().map(entry).collect())
        }
        (Value::Struct(value), Kind::Record { fields, .. }) => Avro::Record(
            fields
                .iter()
                .zip(value.values())
                .map(|(field, value)| (field.name.clone(), oracle(value, &field.node)))
                .collect(),
        ),
        (value, kind) => panic!("{value:?} as {kind:?}"),
    }
}

proptest! {
    #[test]
    fn what_we_write_another_implementation_reads_and_we_read_what_it_writes(
        (schema, value) in any_value()
    ) {
        prop_assert!(schema.validate(&value).is_ok());
        let text = avro_of(&schema, PLAIN).to_string();
        let node: Arc<Node> = Node::parse(&text, &[]).unwrap();
        let write = encode::writing(&schema, &node, PLAIN, true).unwrap();
        let mut bytes = Vec::new();
        encode::encode(&mut bytes, &write, &value).unwrap();

        let theirs = apache_avro::Schema::parse_str(&text).unwrap();
        let reader = apache_avro::reader::datum::GenericDatumReader::builder(&theirs).build().unwrap();
        let read = reader.read_value(&mut bytes.as_slice()).unwrap();
        prop_assert_eq!(&read, &oracle(&value, &node));
        let writer = apache_avro::writer::datum::GenericDatumWriter::builder(&theirs).build().unwrap();
        let written = writer.write_value_to_vec(read).unwrap();

        let (read_schema, plan) = to_connect::reading(&node, PLAIN).unwrap();
        prop_assert_eq!(&read_schema, &schema);
        prop_assert_eq!(&decode::decode(&plan, &Bytes::from(bytes)).unwrap(), &value);
        // Maps have no order there, so its bytes may be others; what they mean is the same.
        let again = decode::decode(&plan, &Bytes::from(written)).unwrap();
        prop_assert_eq!(sorted(again), sorted(value));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let text = avro_of(&order(), PLAIN).to_string();
        let (_, plan) = reading_of(&text, PLAIN);
        drop(decode::decode(&plan, &Bytes::from(bytes)));
    }
}

/// With the entries of all maps in the order of their keys.
fn sorted(value: Value) -> Value {
    match value {
        Value::Map(entries) => {
            let mut entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| (sorted(key.clone()), sorted(value.clone())))
                .collect();
            entries.sort_by_key(|(key, _)| key.to_string());
            Value::map(entries)
        }
        Value::Array(items) => Value::array(items.iter().cloned().map(sorted).collect::<Vec<_>>()),
        Value::Struct(fields) => {
            let values = fields.values().iter().cloned().map(sorted).collect();
            Value::from(Struct::of(fields.schema().clone(), values).unwrap())
        }
        other => other,
    }
}
