//! The Avro schema of a Connect schema, as Confluent's converter writes it.

use std::collections::HashMap;

use connect_core::{Logical, Schema, SchemaRef, Type, Value};
use serde_json::{Map, Value as Json, json};

use super::Options;
use super::names::{
    AVRO_PROPERTY, CONNECT_DEFAULT, CONNECT_DOC, CONNECT_INTERNAL_TYPE, CONNECT_NAME,
    CONNECT_PARAMETERS, CONNECT_TYPE, CONNECT_VERSION, DEFAULT_RECORD, ENUM, ENUM_DEFAULT,
    ENUM_DOC, FIELD_DEFAULT, FIELD_DOC, MAP_ENTRY, NAMESPACE, PRECISION, PRECISION_DEFAULT,
    RECORD_DOC, UNION,
};
use super::schema::DEPTH_MAX;

/// The Avro schema.
///
/// # Errors
/// What has no counterpart in Avro, and what to do.
pub(super) fn avro(schema: &SchemaRef, options: Options) -> Result<Json, String> {
    Writer {
        options,
        defined: HashMap::new(),
        namespace: String::new(),
    }
    .schema(schema, Presence::AsPromised, 0)
}

/// Whether a schema's null matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    AsPromised,
    /// The union around it says it.
    Required,
}

struct Writer {
    options: Options,
    /// Named types written so far: a name means one thing within a schema.
    defined: HashMap<String, SchemaRef>,
    /// That of the record whose fields are being written.
    namespace: String,
}

impl Writer {
    fn schema(
        &mut self,
        schema: &SchemaRef,
        presence: Presence,
        depth: usize,
    ) -> Result<Json, String> {
        if depth > DEPTH_MAX {
            return Err(format!("the schema is nested more than {DEPTH_MAX} deep"));
        }
        if schema.kind() == Type::Struct && schema.name() == Some(UNION) {
            return self.union(schema, depth);
        }
        let base = self.base(schema, depth)?;
        if !schema.is_optional() || presence == Presence::Required {
            return Ok(base);
        }
        // A field's default belongs to the first member.
        Ok(match schema.default() {
            Some(_) => json!([base, "null"]),
            None => json!(["null", base]),
        })
    }

    fn union(&mut self, schema: &SchemaRef, depth: usize) -> Result<Json, String> {
        let mut members = Vec::new();
        if schema.is_optional() {
            members.push(json!("null"));
        }
        for field in schema.fields() {
            members.push(self.schema(&field.schema, Presence::Required, depth + 1)?);
        }
        Ok(Json::Array(members))
    }

    fn base(&mut self, schema: &SchemaRef, depth: usize) -> Result<Json, String> {
        let mut object = Map::new();
        match schema.kind() {
            Type::Boolean => set(&mut object, "type", "boolean"),
            Type::Int8 | Type::Int16 | Type::Int32 => set(&mut object, "type", "int"),
            Type::Int64 => set(&mut object, "type", "long"),
            Type::Float32 => set(&mut object, "type", "float"),
            Type::Float64 => set(&mut object, "type", "double"),
            Type::Bytes => set(&mut object, "type", "bytes"),
            Type::String => match schema.parameter(ENUM).filter(|_| self.options.enhanced) {
                Some(name) => match self.enumeration(schema, name)? {
                    Ok(definition) => object = definition,
                    Err(known) => return Ok(known),
                },
                None => set(&mut object, "type", "string"),
            },
            Type::Array => {
                let items = part(schema.value_schema(), "array")?;
                set(&mut object, "type", "array");
                object.insert(
                    "items".to_owned(),
                    self.schema(items, Presence::AsPromised, depth + 1)?,
                );
            }
            Type::Map => object = self.map(schema, depth)?,
            Type::Struct => match self.record(schema, depth)? {
                Ok(definition) => object = definition,
                Err(known) => return Ok(known),
            },
        }
        self.annotate(&mut object, schema)?;
        match (object.len(), object.get("type")) {
            // Nothing is said about it.
            (1, Some(Json::String(plain))) => Ok(Json::String(plain.clone())),
            _ => Ok(Json::Object(object)),
        }
    }

    /// A definition, or the name of one that is there already.
    fn define(
        &mut self,
        name: &str,
        schema: &SchemaRef,
        kind: &str,
    ) -> Result<Result<Map<String, Json>, Json>, String> {
        let name = name
            .split('.')
            .map(|part| self.options.name(part))
            .collect::<Result<Vec<_>, _>>()?
            .join(".");
        match self.defined.get(&name) {
            Some(other) if alike(other, schema) => return Ok(Err(Json::String(name))),
            Some(_) => {
                return Err(format!(
                    "two different schemas have the name \"{name}\", which Avro does not allow; give one \
                     of them another name"
                ));
            }
            None => {}
        }
        self.defined.insert(name.clone(), schema.clone());
        let mut object = Map::new();
        set(&mut object, "type", kind);
        match name.rsplit_once('.') {
            Some((namespace, simple)) => {
                set(&mut object, "name", simple);
                set(&mut object, "namespace", namespace);
            }
            None => {
                set(&mut object, "name", &name);
                if !self.namespace.is_empty() {
                    // Or it would be taken from the record around it.
                    set(&mut object, "namespace", "");
                }
            }
        }
        Ok(Ok(object))
    }

    fn enumeration(
        &mut self,
        schema: &SchemaRef,
        name: &str,
    ) -> Result<Result<Map<String, Json>, Json>, String> {
        let defined = self.define(name, schema, "enum")?;
        Ok(defined.map(|mut object| {
            let simple = name.rsplit('.').next().unwrap_or(name);
            let about = |prefix: &str| schema.parameter(&format!("{prefix}{simple}"));
            if let Some(doc) = about(ENUM_DOC) {
                set(&mut object, "doc", doc);
            }
            let prefix = format!("{ENUM}.");
            let symbols: Vec<&str> = schema
                .parameters()
                .filter(|(parameter, _)| parameter.starts_with(&prefix))
                .map(|(_, symbol)| symbol)
                .collect();
            object.insert("symbols".to_owned(), json!(symbols));
            if let Some(default) = about(ENUM_DEFAULT) {
                set(&mut object, "default", default);
            }
            object
        }))
    }

    fn map(&mut self, schema: &SchemaRef, depth: usize) -> Result<Map<String, Json>, String> {
        let keys = part(schema.key_schema(), "map")?;
        let values = part(schema.value_schema(), "map")?;
        let mut object = Map::new();
        if keys.kind() == Type::String && !keys.is_optional() {
            set(&mut object, "type", "map");
            let values = self.schema(values, Presence::AsPromised, depth + 1)?;
            object.insert("values".to_owned(), values);
            return Ok(object);
        }
        let name = match schema.name() {
            Some(name) => name.to_owned(),
            None => self.unnamed(MAP_ENTRY, schema),
        };
        set(&mut object, "type", "array");
        let entry = match self.define(&name, schema, "record")? {
            Err(known) => known,
            Ok(mut entry) => {
                let fields = [("key", keys), ("value", values)]
                    .map(|(name, schema)| self.field(name, schema, None, depth));
                let fields = fields.into_iter().collect::<Result<Vec<_>, _>>()?;
                entry.insert("fields".to_owned(), Json::Array(fields));
                set(&mut entry, CONNECT_INTERNAL_TYPE, MAP_ENTRY);
                Json::Object(entry)
            }
        };
        object.insert("items".to_owned(), entry);
        Ok(object)
    }

    fn record(
        &mut self,
        schema: &SchemaRef,
        depth: usize,
    ) -> Result<Result<Map<String, Json>, Json>, String> {
        let name = match schema.name() {
            Some(name) => name.to_owned(),
            None => self.unnamed(DEFAULT_RECORD, schema),
        };
        let mut object = match self.define(&name, schema, "record")? {
            Ok(object) => object,
            Err(known) => return Ok(Err(known)),
        };
        if let Some(doc) = schema.parameter(RECORD_DOC) {
            set(&mut object, "doc", doc);
        }
        let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let around = std::mem::replace(&mut self.namespace, namespace.to_owned());
        let mut fields = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let doc = schema.parameter(&format!("{FIELD_DOC}{}", field.name));
            fields.push(self.field(&field.name, &field.schema, doc, depth)?);
        }
        self.namespace = around;
        object.insert("fields".to_owned(), Json::Array(fields));
        Ok(Ok(object))
    }

    /// The name for what has none: the first of its kind has Confluent's, the others a number more.
    fn unnamed(&self, kind: &str, schema: &SchemaRef) -> String {
        let plain = format!("{NAMESPACE}.{kind}");
        let numbered = (2..).map(|number| format!("{plain}{number}"));
        let free = |name: &String| {
            let known = self.defined.get(name);
            known.is_none_or(|other| alike(other, schema))
        };
        let mut names = std::iter::once(plain.clone()).chain(numbered);
        names.find(free).unwrap_or_default()
    }

    fn field(
        &mut self,
        name: &str,
        schema: &SchemaRef,
        doc: Option<&str>,
        depth: usize,
    ) -> Result<Json, String> {
        let mut object = Map::new();
        set(&mut object, "name", &self.options.name(name)?);
        let within = |problem| format!("field \"{name}\": {problem}");
        let schema_json = self
            .schema(schema, Presence::AsPromised, depth + 1)
            .map_err(within)?;
        object.insert("type".to_owned(), schema_json);
        if let Some(doc) = doc {
            set(&mut object, "doc", doc);
        }
        if let Some(default) = schema.default() {
            let json = default_json(schema, default).map_err(within)?;
            object.insert("default".to_owned(), json);
        } else if schema.is_optional() {
            object.insert("default".to_owned(), Json::Null);
        }
        Ok(Json::Object(object))
    }

    /// What Avro has no words for.
    fn annotate(&self, object: &mut Map<String, Json>, schema: &Schema) -> Result<(), String> {
        if self.options.metadata {
            if let Some(doc) = schema.doc() {
                set(object, CONNECT_DOC, doc);
            }
            if let Some(version) = schema.version() {
                object.insert(CONNECT_VERSION.to_owned(), json!(version));
            }
            let parameters: Map<String, Json> = schema
                .parameters()
                .filter(|(parameter, _)| *parameter != FIELD_DEFAULT)
                .map(|(parameter, text)| (parameter.to_owned(), json!(text)))
                .collect();
            if !parameters.is_empty() {
                object.insert(CONNECT_PARAMETERS.to_owned(), Json::Object(parameters));
            }
            if let Some(default) = schema.default()
                && schema.parameter(FIELD_DEFAULT).is_none()
            {
                object.insert(CONNECT_DEFAULT.to_owned(), default_json(schema, default)?);
            }
            if let Some(name) = schema.name() {
                set(object, CONNECT_NAME, name);
            }
            match schema.kind() {
                Type::Int8 => set(object, CONNECT_TYPE, "int8"),
                Type::Int16 => set(object, CONNECT_TYPE, "int16"),
                _ => {}
            }
        }
        match schema.logical_type() {
            Some(Logical::Decimal) => {
                let scale = schema
                    .decimal_scale()
                    .ok_or("the schema of a Decimal has no scale")?;
                let precision = schema.parameter(PRECISION);
                let precision = precision.and_then(|text| text.parse().ok());
                set(object, "logicalType", "decimal");
                let precision: i64 = precision.unwrap_or(PRECISION_DEFAULT);
                object.insert("precision".to_owned(), json!(precision));
                object.insert("scale".to_owned(), json!(scale));
            }
            Some(Logical::Date) => set(object, "logicalType", "date"),
            Some(Logical::Time) => set(object, "logicalType", "time-millis"),
            Some(Logical::Timestamp) => set(object, "logicalType", "timestamp-millis"),
            None => {}
        }
        for (parameter, text) in schema.parameters() {
            if parameter.starts_with(AVRO_PROPERTY) {
                set(object, parameter, text);
            }
        }
        Ok(())
    }
}

/// Whether two schemas have the same definition; null and defaults are said where it is used.
fn alike(one: &Schema, two: &Schema) -> bool {
    std::ptr::eq(one, two)
        || (one.kind() == two.kind()
            && one.name() == two.name()
            && one.version() == two.version()
            && one.doc() == two.doc()
            && one.parameters().eq(two.parameters())
            && one.fields() == two.fields()
            && one.key_schema() == two.key_schema()
            && one.value_schema() == two.value_schema())
}

fn part<'a>(schema: Option<&'a SchemaRef>, whose: &str) -> Result<&'a SchemaRef, String> {
    schema.ok_or_else(|| format!("an {whose} does not say what it holds, which Avro must know"))
}

fn set(object: &mut Map<String, Json>, member: &str, text: &str) {
    object.insert(member.to_owned(), Json::String(text.to_owned()));
}

/// A default as Avro writes it: bytes are text with a character a byte.
fn default_json(schema: &Schema, value: &Value) -> Result<Json, String> {
    let number = |number: f64| {
        serde_json::Number::from_f64(number)
            .map(Json::Number)
            .ok_or_else(|| format!("the default {number} has no counterpart in Avro"))
    };
    Ok(match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => json!(value),
        Value::Int8(value) => json!(value),
        Value::Int16(value) => json!(value),
        Value::Int32(value) | Value::Date(value) | Value::Time(value) => json!(value),
        Value::Int64(value) | Value::Timestamp(value) => json!(value),
        Value::Float32(value) => number(f64::from(*value))?,
        Value::Float64(value) => number(*value)?,
        Value::String(value) => json!(value.as_str()),
        Value::Bytes(bytes) => latin(bytes),
        Value::Decimal(decimal) => latin(&decimal.unscaled_bytes()),
        Value::Array(items) => {
            let schema = part(schema.value_schema(), "array")?;
            let items = items.iter().map(|item| default_json(schema, item));
            Json::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Map(entries) => {
            let keys = part(schema.key_schema(), "map")?;
            let values = part(schema.value_schema(), "map")?;
            let entries = entries
                .iter()
                .map(|(key, value)| Ok((default_json(keys, key)?, default_json(values, value)?)))
                .collect::<Result<Vec<_>, String>>()?;
            match keys.kind() == Type::String && !keys.is_optional() {
                true => entries
                    .into_iter()
                    .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), value)))
                    .collect::<Map<_, _>>()
                    .into(),
                false => entries
                    .into_iter()
                    .map(|(key, value)| json!({ "key": key, "value": value }))
                    .collect(),
            }
        }
        Value::Struct(fields) => {
            let mut object = Map::new();
            for (name, schema, value) in fields.fields() {
                let value = match (value, schema.default()) {
                    (Value::Null, Some(default)) => default,
                    (value, _) => value,
                };
                object.insert(name.to_owned(), default_json(schema, value)?);
            }
            Json::Object(object)
        }
    })
}

fn latin(bytes: &[u8]) -> Json {
    Json::String(bytes.iter().map(|byte| char::from(*byte)).collect())
}
