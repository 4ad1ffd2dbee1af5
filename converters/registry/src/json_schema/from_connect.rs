//! The JSON Schema of a Connect schema, as Confluent's converter writes it.

use connect_core::converter::{JsonPayload, ONE_OF};
use connect_core::{SchemaRef, Type};
use serde_json::{Map, Value as Json, json};

use super::names::{
    CONNECT_INDEX, CONNECT_PARAMETERS, CONNECT_TYPE, CONNECT_VERSION, DEPTH_MAX, ENUM, NAMESPACE,
};

/// The JSON Schema.
///
/// # Errors
/// What has no counterpart.
pub(super) fn json_schema(schema: &SchemaRef, payload: JsonPayload) -> Result<Json, String> {
    Writer { payload }
        .schema(schema, Place::default(), 0)
        .map(Json::Object)
}

/// Where a schema stands.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Among the fields of a struct.
    index: Option<usize>,
    /// What is around it says whether null is allowed.
    required: bool,
}

struct Writer {
    payload: JsonPayload,
}

impl Writer {
    fn schema(
        &self,
        schema: &SchemaRef,
        place: Place,
        depth: usize,
    ) -> Result<Map<String, Json>, String> {
        if depth > DEPTH_MAX {
            return Err(format!("the schema is nested more than {DEPTH_MAX} deep"));
        }
        let is_one_of = schema.kind() == Type::Struct && schema.name() == Some(ONE_OF);
        let mut object = match is_one_of {
            true => self.one_of(schema, depth)?,
            false => {
                let base = self.base(schema, depth)?;
                match schema.is_optional() && !place.required {
                    true => object_of(json!({ "oneOf": [{ "type": "null" }, base] })),
                    false => base,
                }
            }
        };
        if let Some(index) = place.index {
            object.insert(CONNECT_INDEX.to_owned(), json!(index));
        }
        Ok(object)
    }

    fn one_of(&self, schema: &SchemaRef, depth: usize) -> Result<Map<String, Json>, String> {
        let mut members = Vec::new();
        if schema.is_optional() {
            members.push(json!({ "type": "null" }));
        }
        for (index, field) in schema.fields().iter().enumerate() {
            let place = Place {
                index: Some(index),
                required: true,
            };
            members.push(Json::Object(self.schema(
                &field.schema,
                place,
                depth + 1,
            )?));
        }
        Ok(object_of(json!({ "oneOf": members })))
    }

    fn base(&self, schema: &SchemaRef, depth: usize) -> Result<Map<String, Json>, String> {
        let number = |connect: &str| json!({ "type": "integer", CONNECT_TYPE: connect });
        let float = |connect: &str| json!({ "type": "number", CONNECT_TYPE: connect });
        let within = |schema: Option<&SchemaRef>, place: Place| {
            let schema = schema.ok_or("an array or map does not say what it holds")?;
            self.schema(schema, place, depth + 1)
        };
        let at = |index| Place {
            index: Some(index),
            required: false,
        };
        let mut object = object_of(match schema.kind() {
            Type::Boolean => json!({ "type": "boolean" }),
            Type::Int8 => number("int8"),
            Type::Int16 => number("int16"),
            Type::Int32 => number("int32"),
            Type::Int64 => number("int64"),
            Type::Float32 => float("float32"),
            Type::Float64 => float("float64"),
            Type::String if schema.parameter(ENUM).is_some() => {
                let prefix = format!("{ENUM}.");
                let values = schema.parameters();
                let values: Vec<&str> = values
                    .filter(|(name, _)| name.starts_with(&prefix))
                    .map(|(_, value)| value)
                    .collect();
                json!({ "enum": values })
            }
            Type::String => json!({ "type": "string" }),
            Type::Bytes if schema.decimal_scale().is_some() => float("bytes"),
            Type::Bytes => json!({ "type": "string", CONNECT_TYPE: "bytes" }),
            Type::Array => {
                json!({ "type": "array", "items": within(schema.value_schema(), Place::default())? })
            }
            Type::Map => {
                let by_name = schema
                    .key_schema()
                    .is_some_and(|keys| keys.kind() == Type::String && !keys.is_optional());
                match by_name {
                    true => json!({
                        "type": "object",
                        "additionalProperties": within(schema.value_schema(), Place::default())?,
                        CONNECT_TYPE: "map",
                    }),
                    false => json!({
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "key": within(schema.key_schema(), at(0))?,
                                "value": within(schema.value_schema(), at(1))?,
                            },
                        },
                        CONNECT_TYPE: "map",
                    }),
                }
            }
            Type::Struct => {
                let mut properties = Map::new();
                for (index, field) in schema.fields().iter().enumerate() {
                    let property = self
                        .schema(&field.schema, at(index), depth + 1)
                        .map_err(|problem| format!("field \"{}\": {problem}", field.name))?;
                    properties.insert(field.name.to_string(), Json::Object(property));
                }
                json!({ "type": "object", "properties": properties })
            }
        });
        if let Some(name) = schema.name() {
            object.insert("title".to_owned(), json!(name));
        }
        if let Some(doc) = schema.doc() {
            object.insert("description".to_owned(), json!(doc));
        }
        if let Some(version) = schema.version() {
            object.insert(CONNECT_VERSION.to_owned(), json!(version));
        }
        let parameters: Map<String, Json> = schema
            .parameters()
            .filter(|(name, _)| !name.starts_with(NAMESPACE))
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        if !parameters.is_empty() {
            object.insert(CONNECT_PARAMETERS.to_owned(), Json::Object(parameters));
        }
        if let Some(default) = schema.default() {
            let mut text = Vec::new();
            self.payload
                .write(&mut text, schema, default)
                .map_err(|error| format!("the default: {}", error.report()))?;
            let default = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
            object.insert("default".to_owned(), default);
        }
        Ok(object)
    }
}

fn object_of(json: Json) -> Map<String, Json> {
    match json {
        Json::Object(object) => object,
        _ => Map::new(),
    }
}
