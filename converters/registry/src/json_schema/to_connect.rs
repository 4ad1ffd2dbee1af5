//! The Connect schema of a JSON Schema, as Confluent's converter reads it.
//!
//! Stricter: what would be dropped from every record without a word (an object of which nothing is known)
//! is refused. More generous: a property that others wrote and did not require may be missing.

use bytes::Bytes;
use connect_core::converter::{JsonPayload, ONE_OF};
use connect_core::{Schema, SchemaBuilder, SchemaRef, Type};
use serde_json::{Map, Value as Json};

use super::names::{
    CONNECT_INDEX, CONNECT_PARAMETERS, CONNECT_TYPE, CONNECT_VERSION, DEPTH_MAX, ENUM,
};
use crate::client::Referred;

/// Schemas that one text may stand for: a definition that is used twice within one that is used twice, and
/// so on, grows without end.
const SCHEMAS_MAX: usize = 10_000;

/// The Connect schema of a text.
///
/// # Errors
/// What has no counterpart in Connect.
pub(super) fn connect_schema(
    text: &str,
    references: &[Referred],
    options: Options,
) -> Result<SchemaRef, String> {
    let parse = |text: &str| {
        serde_json::from_str::<Json>(text).map_err(|error| format!("it is not JSON: {error}"))
    };
    let others = references
        .iter()
        .map(|other| Ok((other.name.as_str(), parse(&other.text)?)))
        .collect::<Result<Vec<_>, String>>()?;
    let root = parse(text)?;
    let mut reader = Reader {
        others: &others,
        options,
        left: SCHEMAS_MAX,
    };
    reader.schema(
        Spot {
            root: &root,
            node: &root,
        },
        false,
        0,
    )
}

/// What changes how schemas are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    /// Whether what is not required is optional also where Connect wrote the schema.
    pub(super) optional_for_nonrequired: bool,
    pub(super) payload: JsonPayload,
}

struct Reader<'a> {
    others: &'a [(&'a str, Json)],
    options: Options,
    left: usize,
}

/// A schema, and the document that its references are about.
#[derive(Clone, Copy)]
struct Spot<'a> {
    root: &'a Json,
    node: &'a Json,
}

impl<'a> Spot<'a> {
    fn at(self, node: &'a Json) -> Self {
        Spot { node, ..self }
    }
}

impl<'a> Reader<'a> {
    fn schema(
        &mut self,
        spot: Spot<'a>,
        optional: bool,
        depth: usize,
    ) -> Result<SchemaRef, String> {
        if depth > DEPTH_MAX {
            return Err(format!(
                "it contains itself, or is nested more than {DEPTH_MAX} deep, and Connect has nothing that \
                 could hold it"
            ));
        }
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| format!("it stands for more than {SCHEMAS_MAX} schemas"))?;
        let Json::Object(object) = spot.node else {
            return Err(format!(
                "a schema is {}, which says nothing about a value",
                spot.node
            ));
        };
        if let Some(reference) = object.get("$ref") {
            let reference = reference.as_str().ok_or("a \"$ref\" is not text")?;
            let target = self.resolve(spot, reference)?;
            return self.schema(target, optional, depth + 1);
        }
        for word in ["oneOf", "anyOf"] {
            if let Some(Json::Array(members)) = object.get(word) {
                return self.one_of(spot, members.iter().collect(), optional, depth);
            }
        }
        if let Some(Json::Array(members)) = object.get("allOf") {
            return self.all_of(spot, members, optional, depth);
        }
        if let Some(Json::Array(types)) = object.get("type") {
            return self.several_types(spot, object, types, optional, depth);
        }
        let builder = self.plain(spot, object, depth)?;
        self.annotated(builder, object, optional)
    }

    fn resolve(&self, spot: Spot<'a>, reference: &str) -> Result<Spot<'a>, String> {
        let unknown = || format!("reference \"{reference}\" leads nowhere");
        let (document, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let root = match document {
            "" => spot.root,
            name => {
                let found = self.others.iter().find(|(other, json)| {
                    *other == name || json.get("$id").and_then(Json::as_str) == Some(name)
                });
                found.map(|(_, json)| json).ok_or_else(unknown)?
            }
        };
        let node = root.pointer(pointer).ok_or_else(unknown)?;
        Ok(Spot { root, node })
    }

    fn one_of(
        &mut self,
        spot: Spot<'a>,
        members: Vec<&'a Json>,
        optional: bool,
        depth: usize,
    ) -> Result<SchemaRef, String> {
        let is_null = |member: &Json| member.get("type").and_then(Json::as_str) == Some("null");
        let nullable = members.iter().any(|member| is_null(member));
        let others: Vec<&Json> = members
            .into_iter()
            .filter(|member| !is_null(member))
            .collect();
        if let ([only], true) = (others.as_slice(), nullable) {
            return self.schema(spot.at(only), true, depth + 1);
        }
        let mut builder = Schema::structure().name(ONE_OF);
        if nullable || optional {
            builder = builder.optional();
        }
        for (index, member) in others.into_iter().enumerate() {
            let schema = self.schema(spot.at(member), true, depth + 1)?;
            builder = builder.field(format!("{ONE_OF}.field.{index}"), schema);
        }
        Ok(builder.build())
    }

    fn all_of(
        &mut self,
        spot: Spot<'a>,
        members: &'a [Json],
        optional: bool,
        depth: usize,
    ) -> Result<SchemaRef, String> {
        match members {
            [only] => self.schema(spot.at(only), optional, depth + 1),
            _ => {
                let mut builder = Schema::structure();
                for member in members {
                    let schema = self.schema(spot.at(member), false, depth + 1)?;
                    if schema.kind() != Type::Struct || schema.name() == Some(ONE_OF) {
                        return Err(
                            "an \"allOf\" of something else than objects has no counterpart in Connect"
                                .to_owned(),
                        );
                    }
                    for field in schema.fields() {
                        builder = builder.field(field.name.clone(), field.schema.clone());
                    }
                }
                let Json::Object(object) = spot.node else {
                    return Err("an \"allOf\" is in no object".to_owned());
                };
                self.annotated(builder, object, optional)
            }
        }
    }

    fn several_types(
        &mut self,
        spot: Spot<'a>,
        object: &'a Map<String, Json>,
        types: &'a [Json],
        optional: bool,
        depth: usize,
    ) -> Result<SchemaRef, String> {
        let nullable = types.iter().any(|kind| kind.as_str() == Some("null"));
        let others: Vec<&str> = types
            .iter()
            .filter_map(Json::as_str)
            .filter(|kind| *kind != "null")
            .collect();
        let [only] = others.as_slice() else {
            return Err(format!(
                "a value may be {}, which \"oneOf\" must say to have a counterpart in Connect",
                others.join(" or ")
            ));
        };
        let builder = self.typed(spot, object, only, depth)?;
        self.annotated(builder, object, optional || nullable)
    }

    fn plain(
        &mut self,
        spot: Spot<'a>,
        object: &'a Map<String, Json>,
        depth: usize,
    ) -> Result<SchemaBuilder, String> {
        if let Some(Json::Array(values)) = object.get("enum")
            && values.iter().all(Json::is_string)
        {
            let mut builder = Schema::builder(Type::String).parameter(ENUM, "");
            for value in values.iter().filter_map(Json::as_str) {
                builder = builder.parameter(format!("{ENUM}.{value}"), value.to_owned());
            }
            return Ok(builder);
        }
        match (object.get("type").and_then(Json::as_str), object) {
            (Some(kind), _) => self.typed(spot, object, kind, depth),
            (None, object) if object.contains_key("properties") => {
                self.typed(spot, object, "object", depth)
            }
            (None, object) => match object.get("const") {
                Some(Json::String(_)) => Ok(Schema::builder(Type::String)),
                Some(Json::Bool(_)) => Ok(Schema::builder(Type::Boolean)),
                Some(Json::Number(number)) if number.is_f64() => Ok(Schema::builder(Type::Float64)),
                Some(Json::Number(_)) => Ok(Schema::builder(Type::Int64)),
                _ => Err("a schema has no \"type\", so nothing is known of the value".to_owned()),
            },
        }
    }

    fn typed(
        &mut self,
        spot: Spot<'a>,
        object: &'a Map<String, Json>,
        kind: &str,
        depth: usize,
    ) -> Result<SchemaBuilder, String> {
        let connect = object.get(CONNECT_TYPE).and_then(Json::as_str);
        let unknown = |connect| format!("a {kind} has the \"{CONNECT_TYPE}\" \"{connect}\"");
        Ok(match kind {
            "boolean" => Schema::builder(Type::Boolean),
            "integer" | "number" => Schema::builder(match (connect, kind) {
                (None, "integer") => Type::Int64,
                (None, _) => Type::Float64,
                (Some("int8"), _) => Type::Int8,
                (Some("int16"), _) => Type::Int16,
                (Some("int32"), _) => Type::Int32,
                (Some("int64"), _) => Type::Int64,
                (Some("float32"), _) => Type::Float32,
                (Some("float64"), _) => Type::Float64,
                (Some("bytes"), _) => Type::Bytes,
                (Some(other), _) => return Err(unknown(other)),
            }),
            "string" => Schema::builder(match connect {
                Some("bytes") => Type::Bytes,
                _ => Type::String,
            }),
            "array" => {
                let items = object.get("items");
                let items = items.ok_or("an array does not say what its items are")?;
                let properties = items.get("properties");
                match (connect, properties) {
                    (Some("map"), Some(properties)) => {
                        let mut part = |name: &str| {
                            let part = properties.get(name);
                            let part = part.ok_or("a map's entry has no key or no value")?;
                            self.schema(spot.at(part), false, depth + 1)
                        };
                        Schema::map(part("key")?, part("value")?)
                    }
                    _ => Schema::array(self.schema(spot.at(items), false, depth + 1)?),
                }
            }
            "object" => self.object(spot, object, connect, depth)?,
            "null" => return Err("a null by itself has no counterpart in Connect".to_owned()),
            other => return Err(format!("type \"{other}\" is unknown")),
        })
    }

    fn object(
        &mut self,
        spot: Spot<'a>,
        object: &'a Map<String, Json>,
        connect: Option<&str>,
        depth: usize,
    ) -> Result<SchemaBuilder, String> {
        let properties = object.get("properties").and_then(Json::as_object);
        let values = object
            .get("additionalProperties")
            .filter(|values| values.is_object());
        let (properties, values) = match (connect, properties, values) {
            (Some("map"), _, Some(values)) | (None, None, Some(values)) => (None, Some(values)),
            (Some("map"), ..) => return Err("a map does not say what it holds".to_owned()),
            (_, Some(properties), _) => (Some(properties), None),
            // Written by Connect for a struct without fields, or of which nothing is known.
            (_, None, _) => {
                return Err(
                    "an object says nothing of its members, which would all be dropped; give it \
                     \"properties\", or \"additionalProperties\" with a schema"
                        .to_owned(),
                );
            }
        };
        if let Some(values) = values {
            let values = self.schema(spot.at(values), false, depth + 1)?;
            return Ok(Schema::map(SchemaRef::STRING, values));
        }
        let required = object.get("required").and_then(Json::as_array);
        let is_required = |name: &str| {
            required.is_some_and(|names| names.iter().any(|other| other.as_str() == Some(name)))
        };
        let mut fields: Vec<(usize, &String, &Json)> = Vec::new();
        for (at, (name, property)) in properties.into_iter().flatten().enumerate() {
            let index = property.get(CONNECT_INDEX).and_then(Json::as_u64);
            let index = index.and_then(|index| usize::try_from(index).ok());
            fields.push((index.unwrap_or(at), name, property));
        }
        fields.sort_by_key(|(index, ..)| *index);
        let mut builder = Schema::structure();
        for (_, name, property) in fields {
            let by_connect = property.get(CONNECT_INDEX).is_some();
            let optional =
                !is_required(name) && (!by_connect || self.options.optional_for_nonrequired);
            let schema = self
                .schema(spot.at(property), optional, depth + 1)
                .map_err(|problem| format!("property \"{name}\": {problem}"))?;
            builder = builder.field(name.clone(), schema);
        }
        Ok(builder)
    }

    fn annotated(
        &self,
        mut builder: SchemaBuilder,
        object: &Map<String, Json>,
        optional: bool,
    ) -> Result<SchemaRef, String> {
        let text = |member: &str| object.get(member).and_then(Json::as_str);
        if let Some(title) = text("title") {
            builder = builder.name(title.to_owned());
        }
        if let Some(description) = text("description") {
            builder = builder.doc(description.to_owned());
        }
        let version = object.get(CONNECT_VERSION).and_then(Json::as_i64);
        if let Some(version) = version.and_then(|version| i32::try_from(version).ok()) {
            builder = builder.version(version);
        }
        let parameters = object.get(CONNECT_PARAMETERS).and_then(Json::as_object);
        for (name, value) in parameters.into_iter().flatten() {
            let value = value.as_str();
            let value = value.ok_or_else(|| format!("the parameter \"{name}\" is not text"))?;
            builder = builder.parameter(name.clone(), value.to_owned());
        }
        if optional {
            builder = builder.optional();
        }
        if let Some(default) = object.get("default").filter(|default| !default.is_null()) {
            let schema = builder.clone().build();
            let json = Bytes::from(default.to_string());
            let value = self.options.payload.read(&json, &schema);
            let value = value.map_err(|error| format!("the default: {}", error.report()))?;
            builder = builder.default_value(value);
        }
        Ok(builder.build())
    }
}
