//! Avro schemas as they are written, with every property, also on plain types.
//!
//! A named type that is used again is the same node, so that a schema stays as small as its text. A type
//! that contains itself is refused: nothing in Connect could hold it.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::client::Referred;

/// How deep schemas may be nested: they come from outside, and whoever walks them uses the stack.
pub(super) const DEPTH_MAX: usize = 100;

/// A schema.
#[derive(Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// What the specification does not say itself: logical types, and what converters note.
    pub(crate) properties: Map<String, Json>,
}

/// What a schema describes.
#[derive(Debug, PartialEq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Array(Arc<Node>),
    Map(Arc<Node>),
    Union(Vec<Arc<Node>>),
    Record {
        name: Name,
        doc: Option<String>,
        fields: Vec<RecordField>,
    },
    Enum {
        name: Name,
        doc: Option<String>,
        symbols: Vec<String>,
        default: Option<String>,
    },
    Fixed {
        name: Name,
        size: usize,
    },
}

/// A field of a record.
#[derive(Debug, PartialEq)]
pub(crate) struct RecordField {
    pub(crate) name: String,
    pub(crate) doc: Option<String>,
    pub(crate) node: Arc<Node>,
    pub(crate) default: Option<Json>,
}

/// A full name: namespace and name, with a dot between them if there is a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Name(pub(crate) String);

impl Name {
    /// Without the namespace.
    pub(crate) fn simple(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or(&self.0)
    }

    fn namespace(&self) -> &str {
        self.0
            .rsplit_once('.')
            .map_or("", |(namespace, _)| namespace)
    }
}

impl Node {
    /// Reads a schema; `references` are known by their names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str, references: &[Referred]) -> Result<Arc<Node>, String> {
        let mut parser = Parser::default();
        for reference in references {
            parser
                .text(&reference.text)
                .map_err(|problem| format!("reference \"{}\": {problem}", reference.name))?;
        }
        parser.text(text)
    }

    /// The full name of a named type.
    pub(crate) fn name(&self) -> Option<&Name> {
        match &self.kind {
            Kind::Record { name, .. } | Kind::Enum { name, .. } | Kind::Fixed { name, .. } => {
                Some(name)
            }
            _ => None,
        }
    }

    /// The type, as a schema spells it.
    pub(crate) fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Boolean => "boolean",
            Kind::Int => "int",
            Kind::Long => "long",
            Kind::Float => "float",
            Kind::Double => "double",
            Kind::Bytes => "bytes",
            Kind::String => "string",
            Kind::Array(_) => "array",
            Kind::Map(_) => "map",
            Kind::Union(_) => "union",
            Kind::Record { .. } => "record",
            Kind::Enum { .. } => "enum",
            Kind::Fixed { .. } => "fixed",
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// A property that is text.
    pub(crate) fn text(&self, property: &str) -> Option<&str> {
        self.properties.get(property)?.as_str()
    }

    pub(crate) fn logical(&self) -> Option<&str> {
        self.text("logicalType")
    }

    /// The number of digits after the point, if this is a decimal number.
    pub(crate) fn decimal_scale(&self) -> Option<i32> {
        let stored_as_bytes = matches!(self.kind, Kind::Bytes | Kind::Fixed { .. });
        if !stored_as_bytes || self.logical() != Some("decimal") {
            return None;
        }
        match self.properties.get("scale") {
            None => Some(0),
            Some(scale) => i32::try_from(scale.as_i64()?).ok(),
        }
    }
}

#[derive(Default)]
struct Parser {
    /// Nothing while a type is being defined.
    names: HashMap<String, Option<Arc<Node>>>,
}

impl Parser {
    fn text(&mut self, text: &str) -> Result<Arc<Node>, String> {
        // A bare word, not even quoted, is what some registries store for a plain type.
        let json: Json = match serde_json::from_str(text) {
            Ok(json) => json,
            Err(_) if text.chars().all(|c| c.is_ascii_alphabetic()) => text.into(),
            Err(error) => return Err(format!("it is not JSON: {error}")),
        };
        self.node(&json, "", 0)
    }

    fn node(&mut self, json: &Json, namespace: &str, depth: usize) -> Result<Arc<Node>, String> {
        if depth > DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} deep"));
        }
        match json {
            Json::String(name) => self.named(name, namespace),
            Json::Array(members) => self.union(members, namespace, depth),
            Json::Object(object) => self.object(object, namespace, depth),
            other => Err(format!("{other} is no schema")),
        }
    }

    fn named(&self, name: &str, namespace: &str) -> Result<Arc<Node>, String> {
        if let Some(kind) = plain(name) {
            return Ok(Arc::new(Node {
                kind,
                properties: Map::new(),
            }));
        }
        let full = full_name(name, namespace);
        match self.names.get(&full).or_else(|| self.names.get(name)) {
            Some(Some(node)) => Ok(Arc::clone(node)),
            Some(None) => Err(format!(
                "\"{full}\" contains itself, and Connect has nothing that could hold it; send this topic \
                 through the bytes converter, or write a schema that does not"
            )),
            None => Err(format!("type \"{full}\" is not defined")),
        }
    }

    fn union(
        &mut self,
        members: &[Json],
        namespace: &str,
        depth: usize,
    ) -> Result<Arc<Node>, String> {
        let mut nodes: Vec<Arc<Node>> = Vec::with_capacity(members.len());
        for member in members {
            let node = self.node(member, namespace, depth + 1)?;
            if matches!(node.kind, Kind::Union(_)) {
                return Err("a union is directly within a union".to_owned());
            }
            let twice = nodes.iter().any(|other| match (other.name(), node.name()) {
                (None, None) => other.type_name() == node.type_name(),
                (one, two) => one == two,
            });
            if twice {
                return Err(format!("a union has {} twice", node.type_name()));
            }
            nodes.push(node);
        }
        Ok(Arc::new(Node {
            kind: Kind::Union(nodes),
            properties: Map::new(),
        }))
    }

    fn object(
        &mut self,
        object: &Map<String, Json>,
        namespace: &str,
        depth: usize,
    ) -> Result<Arc<Node>, String> {
        let kind = match object.get("type") {
            Some(Json::String(kind)) => kind.as_str(),
            Some(inner @ (Json::Object(_) | Json::Array(_))) => {
                return self.node(inner, namespace, depth + 1);
            }
            _ => return Err("an object has no \"type\"".to_owned()),
        };
        let part = |member: &str| {
            object
                .get(member)
                .ok_or_else(|| format!("a schema of type {kind} has no \"{member}\""))
        };
        let kind = match kind {
            "array" => Kind::Array(self.node(part("items")?, namespace, depth + 1)?),
            "map" => Kind::Map(self.node(part("values")?, namespace, depth + 1)?),
            "record" | "error" | "enum" | "fixed" => {
                return self.definition(kind, object, namespace, depth);
            }
            other => match plain(other) {
                Some(kind) => kind,
                None => return self.named(other, namespace),
            },
        };
        Ok(Arc::new(Node {
            kind,
            properties: properties(object, &["type", "items", "values"]),
        }))
    }

    fn definition(
        &mut self,
        kind: &str,
        object: &Map<String, Json>,
        namespace: &str,
        depth: usize,
    ) -> Result<Arc<Node>, String> {
        let text = |member: &str| object.get(member).and_then(Json::as_str);
        let simple = text("name").ok_or_else(|| format!("a schema of type {kind} has no name"))?;
        let name = Name(full_name(simple, text("namespace").unwrap_or(namespace)));
        if self.names.contains_key(&name.0) {
            return Err(format!("\"{}\" is defined twice", name.0));
        }
        self.names.insert(name.0.clone(), None);
        let doc = text("doc").map(str::to_owned);
        let (kind, own): (Kind, &[&str]) = match kind {
            "enum" => {
                let symbols = texts(object.get("symbols"))
                    .ok_or_else(|| format!("enum \"{}\" has no symbols", name.0))?;
                let default = text("default").map(str::to_owned);
                let kind = Kind::Enum {
                    name: name.clone(),
                    doc,
                    symbols,
                    default,
                };
                (kind, &["symbols", "default"])
            }
            "fixed" => {
                let size = object.get("size").and_then(Json::as_u64);
                let size = size.and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or_else(|| format!("fixed \"{}\" has no size", name.0))?;
                let kind = Kind::Fixed {
                    name: name.clone(),
                    size,
                };
                (kind, &["size"])
            }
            _ => {
                let fields = self.fields(&name, object, depth)?;
                let kind = Kind::Record {
                    name: name.clone(),
                    doc,
                    fields,
                };
                (kind, &["fields"])
            }
        };
        let mut properties = properties(object, &["type", "name", "namespace", "doc", "aliases"]);
        properties.retain(|property, _| !own.contains(&property.as_str()));
        let node = Arc::new(Node { kind, properties });
        self.names.insert(name.0, Some(Arc::clone(&node)));
        Ok(node)
    }

    fn fields(
        &mut self,
        name: &Name,
        object: &Map<String, Json>,
        depth: usize,
    ) -> Result<Vec<RecordField>, String> {
        let Some(Json::Array(fields)) = object.get("fields") else {
            return Err(format!("record \"{}\" has no fields", name.0));
        };
        let mut known = std::collections::HashSet::new();
        let mut read = Vec::with_capacity(fields.len());
        for field in fields {
            let text = |member: &str| field.get(member).and_then(Json::as_str);
            let own = text("name")
                .ok_or_else(|| format!("a field of record \"{}\" has no name", name.0))?;
            let schema = field
                .get("type")
                .ok_or_else(|| format!("field \"{own}\" of record \"{}\" has no type", name.0))?;
            if !known.insert(own) {
                return Err(format!("record \"{}\" has two fields \"{own}\"", name.0));
            }
            read.push(RecordField {
                name: own.to_owned(),
                doc: text("doc").map(str::to_owned),
                node: self.node(schema, name.namespace(), depth + 1)?,
                default: field.get("default").cloned(),
            });
        }
        Ok(read)
    }
}

fn plain(name: &str) -> Option<Kind> {
    Some(match name {
        "null" => Kind::Null,
        "boolean" => Kind::Boolean,
        "int" => Kind::Int,
        "long" => Kind::Long,
        "float" => Kind::Float,
        "double" => Kind::Double,
        "bytes" => Kind::Bytes,
        "string" => Kind::String,
        _ => return None,
    })
}

fn full_name(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    }
}

fn texts(json: Option<&Json>) -> Option<Vec<String>> {
    json?
        .as_array()?
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect()
}

/// All members but those that the specification gives a meaning.
fn properties(object: &Map<String, Json>, own: &[&str]) -> Map<String, Json> {
    object
        .iter()
        .filter(|(member, _)| !own.contains(&member.as_str()))
        .map(|(member, json)| (member.clone(), json.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        Node::parse(text, &[]).unwrap_err()
    }

    #[test]
    fn properties_are_kept_on_plain_types() {
        let node = Node::parse(r#"{"type":"int","connect.type":"int8"}"#, &[]).unwrap();
        assert_eq!(node.text("connect.type"), Some("int8"));
        assert_eq!(Node::parse("string", &[]).unwrap().kind, Kind::String);
        assert_eq!(Node::parse("\"long\"", &[]).unwrap().kind, Kind::Long);
    }

    #[test]
    fn names_are_found_in_their_namespace_and_in_references() {
        let references = [Referred {
            name: "a.Money".to_owned(),
            text: r#"{"type":"fixed","name":"Money","namespace":"a","size":4}"#.to_owned(),
        }];
        let text = r#"{"type":"record","name":"a.Order","fields":[
            {"name":"price","type":"Money"}, {"name":"tax","type":"a.Money"}]}"#;
        let node = Node::parse(text, &references).unwrap();
        let Kind::Record { fields, .. } = &node.kind else {
            panic!("{node:?}")
        };
        assert!(Arc::ptr_eq(&fields[0].node, &fields[1].node));
        assert_eq!(fields[0].node.name().unwrap().0, "a.Money");
    }

    #[test]
    fn what_cannot_be_held_or_makes_no_sense_is_refused_with_its_reason() {
        let recursive = r#"{"type":"record","name":"Tree","fields":[
            {"name":"children","type":{"type":"array","items":"Tree"}}]}"#;
        assert!(problem(recursive).starts_with("\"Tree\" contains itself"));
        for (text, expected) in [
            ("{", "it is not JSON"),
            ("3", "3 is no schema"),
            (r#""Other""#, "type \"Other\" is not defined"),
            (r#"["int","int"]"#, "a union has int twice"),
            (r#"["int",["null"]]"#, "directly within a union"),
            (r#"{"type":"array"}"#, "has no \"items\""),
            (r#"{"type":"record","name":"R"}"#, "has no fields"),
            (r#"{"type":"fixed","name":"F","size":-1}"#, "has no size"),
        ] {
            assert!(problem(text).contains(expected), "{}", problem(text));
        }
        let deep = format!(
            "{}\"int\"{}",
            r#"{"type":"array","items":"#.repeat(110),
            "}".repeat(110)
        );
        assert!(!problem(&deep).is_empty());
    }
}
