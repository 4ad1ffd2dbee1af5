//! The Connect schema of an Avro schema, as Confluent's converter reads it, and the plan to read data.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use connect_core::{Schema, SchemaBuilder, SchemaRef, Str, Struct, Type, Value};
use serde_json::{Map, Value as Json};

use super::Options;
use super::decode::Read;
use super::names::{
    AVRO_PROPERTY, CONNECT_DEFAULT, CONNECT_DOC, CONNECT_INTERNAL_TYPE, CONNECT_NAME,
    CONNECT_PARAMETERS, CONNECT_TYPE, CONNECT_VERSION, ENUM, ENUM_DEFAULT, ENUM_DOC, FIELD_DEFAULT,
    FIELD_DOC, MAP_ENTRY, NAMESPACE, PRECISION, PRECISION_DEFAULT, RECORD_DOC, UNION,
    is_default_record,
};
use super::schema::{DEPTH_MAX, Kind, Node, RecordField};

/// The schema of what is read, and how to read it.
pub(super) type Reading = (SchemaRef, Read);

/// Makes the plan for a schema.
///
/// # Errors
/// What has no counterpart in Connect.
pub(super) fn reading(node: &Arc<Node>, options: Options) -> Result<Reading, String> {
    Planner {
        options,
        known: HashMap::new(),
    }
    .plan(node, Place::default(), 0)
}

/// How a schema is used where it stands.
#[derive(Clone, Copy, Default)]
struct Place<'a> {
    /// The union around it allows null.
    optional: bool,
    /// The field's own default.
    default: Option<&'a Json>,
}

struct Planner {
    options: Options,
    /// Named types without a default of their place, by node and whether null is allowed: a type that is
    /// used often is planned once.
    known: HashMap<(*const Node, bool), Reading>,
}

impl Planner {
    fn plan(
        &mut self,
        node: &Arc<Node>,
        place: Place<'_>,
        depth: usize,
    ) -> Result<Reading, String> {
        let key = (Arc::as_ptr(node), place.optional);
        let shared = node.name().is_some() && place.default.is_none();
        if shared && let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        if depth > DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} deep"));
        }
        let reading = self.plan_anew(node, place, depth)?;
        if shared {
            self.known.insert(key, reading.clone());
        }
        Ok(reading)
    }

    fn plan_anew(
        &mut self,
        node: &Arc<Node>,
        place: Place<'_>,
        depth: usize,
    ) -> Result<Reading, String> {
        if let Kind::Union(members) = &node.kind
            && let [one, two] = members.as_slice()
            && one.is_null() != two.is_null()
        {
            return self.optional(one, two, place, depth);
        }
        let (builder, read) = self.unannotated(node, depth)?;
        let builder = self.annotate(builder, node)?;
        let schema = self.finish(builder, node, place)?;
        Ok((schema.clone(), with_schema(read, &schema)))
    }

    /// A union of null and one other is that other, and optional.
    fn optional(
        &mut self,
        one: &Arc<Node>,
        two: &Arc<Node>,
        place: Place<'_>,
        depth: usize,
    ) -> Result<Reading, String> {
        let (null, member) = if one.is_null() { (0, two) } else { (1, one) };
        let place = Place {
            optional: true,
            // A default belongs to the first member, and null is none.
            default: place.default.filter(|_| null == 1),
        };
        let (schema, read) = self.plan(member, place, depth + 1)?;
        Ok((schema, Read::Optional(null, Arc::new(read))))
    }

    /// The type alone. Plans of structs have a stand-in for their schema.
    fn unannotated(
        &mut self,
        node: &Arc<Node>,
        depth: usize,
    ) -> Result<(SchemaBuilder, Read), String> {
        let plain = Schema::builder;
        if let Some(scale) = node.decimal_scale() {
            let mut builder = Schema::decimal(scale);
            let precision = node.properties.get("precision").and_then(Json::as_i64);
            if let Some(precision) = precision.filter(|number| *number != PRECISION_DEFAULT) {
                builder = builder.parameter(PRECISION, precision.to_string());
            }
            let read = match node.kind {
                Kind::Fixed { size, .. } => Read::FixedDecimal(size, scale),
                _ => Read::Decimal(scale),
            };
            return Ok((builder, read));
        }
        Ok(match &node.kind {
            Kind::Null => {
                return Err("a null by itself has no counterpart in Connect".to_owned());
            }
            Kind::Boolean => (plain(Type::Boolean), Read::Boolean),
            Kind::Int => match (node.logical(), node.text(CONNECT_TYPE)) {
                (Some("date"), _) => (Schema::date(), Read::Date),
                (Some("time-millis"), _) => (Schema::time(), Read::Time),
                (_, Some("int8")) => (plain(Type::Int8), Read::Int8),
                (_, Some("int16")) => (plain(Type::Int16), Read::Int16),
                _ => (plain(Type::Int32), Read::Int32),
            },
            Kind::Long => match node.logical() {
                Some("timestamp-millis") => (Schema::timestamp(), Read::Timestamp),
                _ => (plain(Type::Int64), Read::Int64),
            },
            Kind::Float => (plain(Type::Float32), Read::Float32),
            Kind::Double => (plain(Type::Float64), Read::Float64),
            Kind::Bytes => (plain(Type::Bytes), Read::Bytes),
            Kind::Fixed { size, .. } => (plain(Type::Bytes), Read::Fixed(*size)),
            Kind::String => (plain(Type::String), Read::Text),
            Kind::Enum {
                name,
                doc,
                symbols,
                default,
            } => {
                let mut builder = plain(Type::String);
                if self.options.metadata {
                    if let Some(doc) = doc {
                        builder =
                            builder.parameter(format!("{ENUM_DOC}{}", name.simple()), doc.clone());
                    }
                    if let Some(default) = default {
                        let parameter = format!("{ENUM_DEFAULT}{}", name.simple());
                        builder = builder.parameter(parameter, default.clone());
                    }
                }
                builder = builder.parameter(ENUM, name.0.clone());
                for symbol in symbols {
                    builder = builder.parameter(format!("{ENUM}.{symbol}"), symbol.clone());
                }
                let symbols = symbols.iter().map(|symbol| Str::from(symbol.as_str()));
                (builder, Read::Enum(symbols.collect()))
            }
            Kind::Array(items) => match entry(items)? {
                Some((key, value, key_first)) => {
                    let (keys, read_key) = self.plan(key, Place::default(), depth + 1)?;
                    let (values, read_value) = self.plan(value, Place::default(), depth + 1)?;
                    let read = Read::Entries(Arc::new(read_key), Arc::new(read_value), key_first);
                    (Schema::map(keys, values), read)
                }
                None => {
                    let (schema, read) = self.plan(items, Place::default(), depth + 1)?;
                    (Schema::array(schema), Read::Array(Arc::new(read)))
                }
            },
            Kind::Map(values) => {
                let (schema, read) = self.plan(values, Place::default(), depth + 1)?;
                let builder = Schema::map(SchemaRef::STRING, schema);
                (builder, Read::Map(Arc::new(read)))
            }
            Kind::Record { doc, fields, .. } => self.record(doc.as_deref(), fields, depth)?,
            Kind::Union(members) => self.union(members, depth)?,
        })
    }

    fn record(
        &mut self,
        doc: Option<&str>,
        fields: &[RecordField],
        depth: usize,
    ) -> Result<(SchemaBuilder, Read), String> {
        let mut builder = Schema::structure();
        if let Some(doc) = doc.filter(|_| self.options.metadata) {
            builder = builder.parameter(RECORD_DOC, doc.to_owned());
        }
        let mut plans = Vec::with_capacity(fields.len());
        for field in fields {
            let place = Place {
                optional: false,
                default: field.default.as_ref(),
            };
            let (schema, read) = self
                .plan(&field.node, place, depth + 1)
                .map_err(|problem| format!("field \"{}\": {problem}", field.name))?;
            if let Some(doc) = field.doc.as_ref().filter(|_| self.options.metadata) {
                builder = builder.parameter(format!("{FIELD_DOC}{}", field.name), doc.clone());
            }
            builder = builder.field(field.name.clone(), schema);
            plans.push(read);
        }
        Ok((builder, Read::Record(SchemaRef::STRING, plans.into())))
    }

    fn union(
        &mut self,
        members: &[Arc<Node>],
        depth: usize,
    ) -> Result<(SchemaBuilder, Read), String> {
        let mut builder = Schema::structure().name(UNION);
        let mut plans = Vec::with_capacity(members.len());
        let mut names: Vec<String> = Vec::new();
        for member in members {
            if member.is_null() {
                builder = builder.optional();
                plans.push(None);
                continue;
            }
            let name = member_name(member, self.options);
            if names.contains(&name) {
                return Err(format!(
                    "two members of a union have the name \"{name}\"; set \
                     enhanced.avro.schema.support=true, which puts the namespace before it"
                ));
            }
            let place = Place {
                optional: true,
                default: None,
            };
            let (schema, read) = self.plan(member, place, depth + 1)?;
            builder = builder.field(name.clone(), schema);
            plans.push(Some((names.len(), read)));
            names.push(name);
        }
        Ok((builder, Read::Union(SchemaRef::STRING, plans.into())))
    }

    /// What the writer noted.
    fn annotate(&self, mut builder: SchemaBuilder, node: &Node) -> Result<SchemaBuilder, String> {
        if self.options.metadata {
            if let Some(doc) = node.text(CONNECT_DOC) {
                builder = builder.doc(doc.to_owned());
            }
            match node.properties.get(CONNECT_PARAMETERS) {
                None => {}
                Some(Json::Object(parameters)) => {
                    for (name, text) in parameters {
                        let text = text.as_str().ok_or_else(|| {
                            format!("\"{CONNECT_PARAMETERS}\" has \"{name}\", which is not text")
                        })?;
                        builder = builder.parameter(name.clone(), text.to_owned());
                    }
                }
                Some(other) => {
                    return Err(format!(
                        "\"{CONNECT_PARAMETERS}\" is {other}, not an object"
                    ));
                }
            }
        }
        if let Some(version) = node.properties.get(CONNECT_VERSION) {
            let version = version
                .as_i64()
                .and_then(|number| i32::try_from(number).ok());
            let version =
                version.ok_or_else(|| format!("\"{CONNECT_VERSION}\" is no whole number"))?;
            builder = builder.version(version);
        }
        for (name, json) in &node.properties {
            if name.starts_with(AVRO_PROPERTY) {
                let text = match json {
                    Json::String(text) => text.clone(),
                    other => other.to_string(),
                };
                builder = builder.parameter(name.clone(), text);
            }
        }
        Ok(builder)
    }

    /// Adds name, null and default.
    fn finish(
        &self,
        mut builder: SchemaBuilder,
        node: &Arc<Node>,
        place: Place<'_>,
    ) -> Result<SchemaRef, String> {
        let own = match &node.kind {
            Kind::Record { name, .. } | Kind::Enum { name, .. } => Some(name.0.as_str()),
            _ => None,
        };
        let name = node.text(CONNECT_NAME).or(own);
        if let Some(name) = name.filter(|name| !is_default_record(name)) {
            builder = builder.name(name.to_owned());
        }
        if place.optional {
            builder = builder.optional();
        }
        let noted = node.properties.get(CONNECT_DEFAULT);
        let default = place.default.or(noted).filter(|json| !json.is_null());
        let Some(default) = default else {
            return Ok(builder.build());
        };
        if place.default.is_some() && noted.is_none() {
            builder = builder.parameter(FIELD_DEFAULT, "true");
        }
        let schema = builder.clone().build();
        let value = value_of(node, &schema, default)?;
        Ok(builder.default_value(value).build())
    }
}

/// Puts the finished schema where the stand-in was.
fn with_schema(read: Read, schema: &SchemaRef) -> Read {
    match read {
        Read::Record(_, fields) => Read::Record(schema.clone(), fields),
        Read::Union(_, members) => Read::Union(schema.clone(), members),
        other => other,
    }
}

/// Key and value of a map's entry, and whether the key comes first.
type Entry<'a> = (&'a Arc<Node>, &'a Arc<Node>, bool);

/// What is in an entry, if this is the record of one.
fn entry(items: &Node) -> Result<Option<Entry<'_>>, String> {
    let Kind::Record { name, fields, .. } = &items.kind else {
        return Ok(None);
    };
    let is_entry = name.0 == format!("{NAMESPACE}.{MAP_ENTRY}")
        || items.text(CONNECT_INTERNAL_TYPE) == Some(MAP_ENTRY);
    if !is_entry {
        return Ok(None);
    }
    match fields.as_slice() {
        [first, second] if first.name == "key" && second.name == "value" => {
            Ok(Some((&first.node, &second.node, true)))
        }
        [first, second] if first.name == "value" && second.name == "key" => {
            Ok(Some((&second.node, &first.node, false)))
        }
        _ => Err(format!(
            "record \"{}\" says it is a map's entry but has not the fields key and value",
            name.0
        )),
    }
}

/// What the field of a union's member is called.
pub(super) fn member_name(member: &Node, options: Options) -> String {
    match &member.kind {
        Kind::Record { name, .. } | Kind::Enum { name, .. } => match options.enhanced {
            true => name.0.clone(),
            false => name.simple().to_owned(),
        },
        _ => member.type_name().to_owned(),
    }
}

/// A default as a value. Its union, if it is one, was taken off by the caller.
fn value_of(node: &Node, schema: &SchemaRef, json: &Json) -> Result<Value, String> {
    let wrong = || format!("the default {json} does not fit {}", node.type_name());
    let bytes = || {
        let text = json.as_str().ok_or_else(wrong)?;
        let bytes: Result<Vec<u8>, _> = text.chars().map(|c| u8::try_from(u32::from(c))).collect();
        bytes.map_err(|_| wrong())
    };
    let int = || {
        let number = json.as_i64().and_then(|number| i32::try_from(number).ok());
        number.ok_or_else(wrong)
    };
    Ok(match &node.kind {
        Kind::Null => Value::Null,
        Kind::Boolean => Value::Boolean(json.as_bool().ok_or_else(wrong)?),
        Kind::Int => match (schema.kind(), schema.logical_type()) {
            (_, Some(connect_core::Logical::Date)) => Value::Date(int()?),
            (_, Some(connect_core::Logical::Time)) => Value::Time(int()?),
            (Type::Int8, _) => Value::Int8(int()?.try_into().map_err(|_| wrong())?),
            (Type::Int16, _) => Value::Int16(int()?.try_into().map_err(|_| wrong())?),
            _ => Value::Int32(int()?),
        },
        Kind::Long => {
            let number = json.as_i64().ok_or_else(wrong)?;
            match schema.logical_type() {
                Some(connect_core::Logical::Timestamp) => Value::Timestamp(number),
                _ => Value::Int64(number),
            }
        }
        Kind::Float => Value::Float32(json.as_f64().ok_or_else(wrong)? as f32),
        Kind::Double => Value::Float64(json.as_f64().ok_or_else(wrong)?),
        Kind::Bytes | Kind::Fixed { .. } => match node.decimal_scale() {
            Some(scale) => Value::from(connect_core::Decimal::from_bytes(&bytes()?, scale)),
            None => Value::Bytes(Bytes::from(bytes()?)),
        },
        Kind::String | Kind::Enum { .. } => Value::string(json.as_str().ok_or_else(wrong)?),
        Kind::Array(items) => {
            let listed = json.as_array().ok_or_else(wrong)?;
            match (entry(items)?, schema.key_schema(), schema.value_schema()) {
                (Some((key, value, _)), Some(keys), Some(values)) => {
                    let entries = listed.iter().map(|entry| {
                        // Confluent's converter writes an array of both.
                        let part = |name: &str, at: usize| {
                            entry.get(name).or_else(|| entry.get(at)).ok_or_else(wrong)
                        };
                        Ok((
                            within(key, keys, part("key", 0)?)?,
                            within(value, values, part("value", 1)?)?,
                        ))
                    });
                    Value::map(entries.collect::<Result<Vec<_>, String>>()?)
                }
                (None, _, Some(schema)) => {
                    let values = listed.iter().map(|item| within(items, schema, item));
                    Value::array(values.collect::<Result<Vec<_>, _>>()?)
                }
                _ => return Err(wrong()),
            }
        }
        Kind::Map(values) => {
            let schema = schema.value_schema().ok_or_else(wrong)?;
            let object = json.as_object().ok_or_else(wrong)?;
            let entries = object
                .iter()
                .map(|(key, json)| Ok((key.as_str().into(), within(values, schema, json)?)));
            Value::map(entries.collect::<Result<Vec<_>, String>>()?)
        }
        Kind::Record { fields, .. } => {
            let object: &Map<String, Json> = json.as_object().ok_or_else(wrong)?;
            let mut values = Vec::with_capacity(fields.len());
            for (field, connect) in fields.iter().zip(schema.fields()) {
                let json = object.get(&field.name).or(field.default.as_ref());
                values.push(within(
                    &field.node,
                    &connect.schema,
                    json.ok_or_else(wrong)?,
                )?);
            }
            structure(schema, values)?
        }
        Kind::Union(members) => {
            // A default belongs to the first member.
            let first = members.first().ok_or_else(wrong)?;
            if first.is_null() {
                return Ok(Value::Null);
            }
            let mut values = vec![Value::Null; schema.fields().len()];
            if let (Some(slot), Some(field)) = (values.first_mut(), schema.fields().first()) {
                *slot = within(first, &field.schema, json)?;
            }
            structure(schema, values)?
        }
    })
}

/// As [`value_of`], for what may be null.
fn within(node: &Node, schema: &SchemaRef, json: &Json) -> Result<Value, String> {
    match &node.kind {
        Kind::Union(members) if members.iter().any(|member| member.is_null()) && json.is_null() => {
            Ok(Value::Null)
        }
        Kind::Union(members) => match members.as_slice() {
            [one, two] if one.is_null() != two.is_null() => {
                value_of(if one.is_null() { two } else { one }, schema, json)
            }
            _ => value_of(node, schema, json),
        },
        _ => value_of(node, schema, json),
    }
}

/// A struct of a schema that has the same fields; the default of an optional schema is one of the schema
/// without it.
fn structure(schema: &SchemaRef, values: Vec<Value>) -> Result<Value, String> {
    let fields = Struct::of(schema.clone(), values).map_err(|error| error.report())?;
    Ok(Value::from(fields))
}
