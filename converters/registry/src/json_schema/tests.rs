use connect_core::{ErrorClass, Schema, Struct};
use serde_json::json;

use super::*;
use crate::client::Referred;
use crate::client::stand_in::StandIn;

fn options() -> Options {
    Options {
        optional_for_nonrequired: false,
        payload: JsonPayload::new(DecimalFormat::Base64),
    }
}

fn connect(schema: &serde_json::Value) -> Result<SchemaRef, String> {
    to_connect::connect_schema(&schema.to_string(), &[], options())
}

fn json_of(schema: &SchemaRef) -> serde_json::Value {
    from_connect::json_schema(schema, options().payload).unwrap()
}

fn order() -> SchemaRef {
    Schema::structure()
        .name("com.example.Order")
        .version(2)
        .doc("an order")
        .field("id", SchemaRef::INT64)
        .field("a note", SchemaRef::OPTIONAL_STRING)
        .field("rank", SchemaRef::INT8)
        .field("price", Schema::decimal(2).build())
        .field("day", Schema::date().optional().build())
        .field(
            "count",
            Schema::builder(Type::Int32).default_value(1i32).build(),
        )
        .field("tags", Schema::array(SchemaRef::STRING).build())
        .field(
            "props",
            Schema::map(SchemaRef::STRING, SchemaRef::FLOAT64).build(),
        )
        .field(
            "codes",
            Schema::map(SchemaRef::INT32, SchemaRef::OPTIONAL_STRING).build(),
        )
        .field("raw", SchemaRef::BYTES)
        .build()
}

fn an_order() -> Value {
    let order = Struct::new(order())
        .unwrap()
        .with("id", 7i64)
        .unwrap()
        .with("rank", 3i8)
        .unwrap()
        .with("price", connect_core::Decimal::new(1995, 2))
        .unwrap()
        .with("day", Value::Date(19_000))
        .unwrap()
        .with("count", 12)
        .unwrap()
        .with("tags", Value::array(["a".into(), "b".into()]))
        .unwrap()
        .with("props", Value::map([("x".into(), Value::Float64(1.5))]))
        .unwrap()
        .with("codes", Value::map([(Value::Int32(1), "x".into())]))
        .unwrap()
        .with("raw", vec![1u8, 2])
        .unwrap();
    Value::from(order)
}

#[test]
fn a_connect_schema_is_written_as_confluent_s_converter_writes_it() {
    let json = json_of(&order());
    let expected = json!({
        "type": "object", "title": "com.example.Order", "description": "an order", "connect.version": 2,
        "properties": {
            "id": {"type": "integer", "connect.type": "int64", "connect.index": 0},
            "a note": {"oneOf": [{"type": "null"}, {"type": "string"}], "connect.index": 1},
            "rank": {"type": "integer", "connect.type": "int8", "connect.index": 2},
            "price": {"type": "number", "connect.type": "bytes", "connect.version": 1,
                "title": "org.apache.kafka.connect.data.Decimal", "connect.parameters": {"scale": "2"},
                "connect.index": 3},
            "day": {"oneOf": [{"type": "null"}, {"type": "integer", "connect.type": "int32",
                "connect.version": 1, "title": "org.apache.kafka.connect.data.Date"}], "connect.index": 4},
            "count": {"type": "integer", "connect.type": "int32", "default": 1, "connect.index": 5},
            "tags": {"type": "array", "items": {"type": "string"}, "connect.index": 6},
            "props": {"type": "object", "connect.type": "map", "connect.index": 7,
                "additionalProperties": {"type": "number", "connect.type": "float64"}},
            "codes": {"type": "array", "connect.type": "map", "connect.index": 8, "items": {
                "type": "object", "properties": {
                    "key": {"type": "integer", "connect.type": "int32", "connect.index": 0},
                    "value": {"oneOf": [{"type": "null"}, {"type": "string"}], "connect.index": 1}}}},
            "raw": {"type": "string", "connect.type": "bytes", "connect.index": 9},
        },
    });
    assert_eq!(json, expected);
    assert_eq!(connect(&json).unwrap(), order());
}

#[test]
fn schemas_of_others_are_read_with_what_they_require() {
    let schema = connect(&json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object", "title": "User",
        "definitions": {"address": {"type": "object", "properties": {"city": {"type": "string"}},
            "required": ["city"]}},
        "properties": {
            "name": {"type": "string", "description": "full name"},
            "age": {"type": "integer"},
            "height": {"type": ["number", "null"]},
            "home": {"$ref": "#/definitions/address"},
            "state": {"enum": ["ON", "OFF"]},
            "id": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["name", "home", "height"],
    }))
    .unwrap();
    let field = |name: &str| schema.field(name).unwrap().1.schema.clone();
    assert_eq!(schema.name(), Some("User"));
    assert_eq!(
        (field("name").kind(), field("name").is_optional()),
        (Type::String, false)
    );
    assert_eq!(field("name").doc(), Some("full name"));
    assert_eq!(field("age"), SchemaRef::OPTIONAL_INT64);
    assert_eq!(field("height"), SchemaRef::OPTIONAL_FLOAT64);
    assert_eq!(field("home").fields()[0].schema, SchemaRef::STRING);
    assert_eq!(
        field("state").parameter("io.confluent.connect.json.Enum.ON"),
        Some("ON")
    );
    assert_eq!(field("id").fields().len(), 2);
    assert_eq!(field("labels").kind(), Type::Map);
    let read = |json: &'static str| {
        options()
            .payload
            .read(&Bytes::from_static(json.as_bytes()), &schema)
    };
    let value = read(r#"{"name":"a","home":{"city":"b"},"height":null,"id":7}"#).unwrap();
    let id = value
        .as_struct()
        .unwrap()
        .get("id")
        .unwrap()
        .as_struct()
        .unwrap();
    assert_eq!(
        id.get("io.confluent.connect.json.OneOf.field.1"),
        Some(&Value::Int64(7))
    );
    let mut again = Vec::new();
    options()
        .payload
        .write(&mut again, &schema, &value)
        .unwrap();
    assert!(String::from_utf8(again).unwrap().contains("\"id\":7"));
    let value = read(r#"{"name":"a","home":{"city":"b"},"height":1,"id":"x"}"#).unwrap();
    let id = value
        .as_struct()
        .unwrap()
        .get("id")
        .unwrap()
        .as_struct()
        .unwrap();
    assert_eq!(
        id.get("io.confluent.connect.json.OneOf.field.0"),
        Some(&"x".into())
    );
    let error = read(r#"{"home":{"city":"b"},"height":1}"#).unwrap_err();
    assert!(error.message().contains("field \"name\""), "{error}");
    let error = read(r#"{"name":"a","home":{"city":"b"},"height":1,"id":[]}"#).unwrap_err();
    assert!(error.message().contains("none of the schemas"), "{error}");
}

#[test]
fn what_says_nothing_or_has_no_end_is_refused() {
    for (schema, expected) in [
        (json!({}), "has no \"type\""),
        (json!(true), "says nothing about a value"),
        (json!({"type": "object"}), "says nothing of its members"),
        (json!({"type": "array"}), "what its items are"),
        (json!({"type": ["string", "integer"]}), "\"oneOf\" must say"),
        (json!({"$ref": "#/definitions/x"}), "leads nowhere"),
        (json!({"$ref": "#"}), "contains itself"),
        (
            json!({"type": "object", "properties": {"a": {"$ref": "#"}}}),
            "contains itself",
        ),
        (json!({"type": "null"}), "null by itself"),
    ] {
        let problem = connect(&schema).unwrap_err();
        assert!(problem.contains(expected), "{schema}: {problem}");
    }
    let mut definitions = serde_json::Map::new();
    for number in 0..30 {
        let next = json!({"$ref": format!("#/definitions/d{}", number + 1)});
        let both = json!({"type": "object", "properties": {"a": next, "b": next}});
        definitions.insert(format!("d{number}"), both);
    }
    definitions.insert("d30".to_owned(), json!({"type": "string"}));
    let bomb = json!({"$ref": "#/definitions/d0", "definitions": definitions});
    assert!(
        connect(&bomb)
            .unwrap_err()
            .contains("more than 10000 schemas")
    );
}

#[test]
fn other_documents_are_found_by_the_name_of_their_reference() {
    let references = [Referred {
        name: "address.json".to_owned(),
        text: json!({"definitions": {"a": {"type": "string"}}}).to_string(),
    }];
    let text = r#"{"type":"object","properties":{"a":{"$ref":"address.json#/definitions/a"}},"required":["a"]}"#;
    let schema = to_connect::connect_schema(text, &references, options()).unwrap();
    assert_eq!(schema.fields()[0].schema, SchemaRef::STRING);
}

fn converter(stand_in: &StandIn, keys: &[(&str, &str)]) -> JsonSchemaConverter {
    let mut converter = JsonSchemaConverter::default();
    converter.configure(&stand_in.config(keys), false).unwrap();
    converter
}

#[test]
fn a_record_goes_through_the_registry_and_back() {
    let stand_in = StandIn::start();
    let writing = converter(&stand_in, &[("decimal.format", "NUMERIC")]);
    let bytes = writing
        .from_connect("orders", Some(&order()), an_order())
        .unwrap()
        .unwrap();
    assert_eq!(
        std::str::from_utf8(&bytes[5..]).unwrap(),
        "{\"id\":7,\"a note\":null,\"rank\":3,\"price\":19.95,\"day\":19000,\"count\":12,\
         \"tags\":[\"a\",\"b\"],\"props\":{\"x\":1.5},\"codes\":[{\"key\":1,\"value\":\"x\"}],\"raw\":\"AQI=\"}"
    );
    assert_eq!(stand_in.schema(1)["schemaType"], "JSON");
    let (schema, value) = converter(&stand_in, &[])
        .to_connect("orders", Some(bytes))
        .unwrap();
    assert_eq!((schema.unwrap(), value), (order(), an_order()));
}

#[test]
fn the_latest_schema_must_have_what_the_value_has() {
    let stand_in = StandIn::start();
    let latest =
        json!({"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]});
    stand_in.add(
        "t-value",
        json!({ "schema": latest.to_string(), "schemaType": "JSON" }),
    );
    let keys = [
        ("auto.register.schemas", "false"),
        ("use.latest.version", "true"),
    ];
    let converter = converter(&stand_in, &keys);
    let schema = Schema::structure().field("id", SchemaRef::INT32).build();
    let value = Struct::new(schema.clone()).unwrap().with("id", 5).unwrap();
    converter
        .from_connect("t", Some(&schema), value.into())
        .unwrap();
    let other = Schema::structure().field("ids", SchemaRef::INT32).build();
    let value = Struct::new(other.clone()).unwrap().with("ids", 5).unwrap();
    let error = converter
        .from_connect("t", Some(&other), value.into())
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::Record);
    assert!(error.message().contains("no property \"ids\""), "{error}");
}
