//! Where a source stands: source partitions and source offsets.
//!
//! Both are small JSON objects with primitive values, because that is what Kafka Connect stores in its
//! offsets topic, shows in its REST answers and takes back when offsets are altered. The author writes
//! them as plain structs with serde.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use crate::error::ConnectError;

/// What is read, e.g. `{"filename":"/var/log/x"}`: the name under which an offset is stored.
///
/// Stored keys are compared as bytes, so the order of fields is part of the name: keep the order of
/// your struct's fields.
#[derive(Clone)]
pub struct SourcePartition(Arc<Partition>);

struct Partition {
    fields: Map<String, Json>,
    json: Box<str>,
}

impl SourcePartition {
    /// From any struct or map that serializes to a JSON object with primitive values.
    ///
    /// # Errors
    /// Fatal, if `value` is not an object or a field is an array or object.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, ConnectError> {
        Self::from_fields(fields_of("source partition", value)?)
    }

    /// From a JSON object.
    ///
    /// # Errors
    /// Fatal, if a field is an array or object.
    pub fn from_fields(fields: Map<String, Json>) -> Result<Self, ConnectError> {
        check("source partition", &fields)?;
        let json = write(&fields).into_boxed_str();
        Ok(SourcePartition(Arc::new(Partition { fields, json })))
    }

    /// From its JSON text, as stored.
    ///
    /// # Errors
    /// Record, if the text is not a JSON object with primitive values.
    pub fn from_json(text: &str) -> Result<Self, ConnectError> {
        Self::from_fields(read_fields("source partition", text)?)
    }

    /// As the author's type.
    ///
    /// # Errors
    /// Fatal, if the fields don't fit.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ConnectError> {
        read("source partition", &self.0.fields)
    }

    /// The fields.
    pub fn fields(&self) -> &Map<String, Json> {
        &self.0.fields
    }

    /// Compact JSON, fields in the author's order.
    pub fn as_json(&self) -> &str {
        &self.0.json
    }

    /// Compact JSON, fields in the author's order.
    pub fn to_json(&self) -> String {
        self.0.json.to_string()
    }
}

impl PartialEq for SourcePartition {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.json == other.0.json
    }
}

impl Eq for SourcePartition {}

impl Hash for SourcePartition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.json.hash(state);
    }
}

impl PartialOrd for SourcePartition {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SourcePartition {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.json.cmp(&other.0.json)
    }
}

impl fmt::Display for SourcePartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.json)
    }
}

impl fmt::Debug for SourcePartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.json)
    }
}

/// How far a source partition has been read, e.g. `{"position":42}`: where to go on after a restart.
#[derive(Clone, PartialEq)]
pub struct SourceOffset(Arc<Map<String, Json>>);

impl SourceOffset {
    /// From any struct or map that serializes to a JSON object with primitive values.
    ///
    /// # Errors
    /// Fatal, if `value` is not an object or a field is an array or object.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, ConnectError> {
        Self::from_fields(fields_of("source offset", value)?)
    }

    /// From a JSON object.
    ///
    /// # Errors
    /// Fatal, if a field is an array or object.
    pub fn from_fields(fields: Map<String, Json>) -> Result<Self, ConnectError> {
        check("source offset", &fields)?;
        Ok(SourceOffset(Arc::new(fields)))
    }

    /// From its JSON text, as stored.
    ///
    /// # Errors
    /// Record, if the text is not a JSON object with primitive values.
    pub fn from_json(text: &str) -> Result<Self, ConnectError> {
        Self::from_fields(read_fields("source offset", text)?)
    }

    /// As the author's type.
    ///
    /// # Errors
    /// Fatal, if the fields don't fit; somebody altered the offset, or an older version of the
    /// connector wrote it.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ConnectError> {
        read("source offset", &self.0)
    }

    /// The fields.
    pub fn fields(&self) -> &Map<String, Json> {
        &self.0
    }

    /// Compact JSON, fields in the author's order.
    pub fn to_json(&self) -> String {
        write(&self.0)
    }
}

impl fmt::Display for SourceOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

impl fmt::Debug for SourceOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A source partition and how far it has been read *after* the record that carries this.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePosition {
    /// What is read.
    pub partition: SourcePartition,
    /// Where to go on.
    pub offset: SourceOffset,
}

impl SourcePosition {
    /// A position.
    pub fn new(partition: SourcePartition, offset: SourceOffset) -> Self {
        SourcePosition { partition, offset }
    }
}

fn fields_of<T: Serialize + ?Sized>(
    what: &str,
    value: &T,
) -> Result<Map<String, Json>, ConnectError> {
    match serde_json::to_value(value) {
        Ok(Json::Object(fields)) => Ok(fields),
        Ok(other) => Err(ConnectError::fatal(format!(
            "{what} {other} is not an object; use a struct or a map with string keys"
        ))),
        Err(error) => {
            Err(ConnectError::fatal(format!("{what} cannot be written as JSON")).with_source(error))
        }
    }
}

fn check(what: &str, fields: &Map<String, Json>) -> Result<(), ConnectError> {
    for (name, value) in fields {
        if value.is_array() || value.is_object() {
            return Err(ConnectError::fatal(format!(
                "field \"{name}\" of a {what} is an array or object; only text, numbers, booleans and null can be stored"
            )));
        }
    }
    Ok(())
}

fn read_fields(what: &str, text: &str) -> Result<Map<String, Json>, ConnectError> {
    serde_json::from_str(text).map_err(|error| {
        ConnectError::record(format!("{what} \"{text}\" is not a JSON object")).with_source(error)
    })
}

fn read<T: DeserializeOwned>(what: &str, fields: &Map<String, Json>) -> Result<T, ConnectError> {
    T::deserialize(serde::de::value::MapDeserializer::new(
        fields.iter().map(|(name, value)| (name.as_str(), value)),
    ))
    .map_err(|error: serde_json::Error| {
        ConnectError::fatal(format!(
            "{what} {} does not have the connector's shape; reset the connector's offsets",
            write(fields)
        ))
        .with_source(error)
    })
}

fn write(fields: &Map<String, Json>) -> String {
    // Writing a map with string keys to memory cannot fail; the fallback is the same text, slower.
    serde_json::to_string(fields).unwrap_or_else(|_| Json::Object(fields.clone()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Place {
        z: String,
        a: Option<i64>,
    }

    #[test]
    fn the_author_s_field_order_is_kept() {
        let place = Place {
            z: "x".into(),
            a: None,
        };
        let partition = SourcePartition::of(&place).unwrap();
        assert_eq!(partition.to_json(), r#"{"z":"x","a":null}"#);
        assert_eq!(partition.read::<Place>().unwrap(), place);
        assert_eq!(
            SourcePartition::from_json(r#"{ "z": "x", "a": null }"#).unwrap(),
            partition
        );
        assert_ne!(
            SourcePartition::from_json(r#"{"a":null,"z":"x"}"#).unwrap(),
            partition
        );
    }

    #[test]
    fn nested_values_are_refused() {
        let error = SourceOffset::of(&serde_json::json!({"a": [1]})).unwrap_err();
        assert!(error.message().contains("field \"a\""), "{error}");
        assert!(SourceOffset::of(&3).is_err());
    }

    #[test]
    fn an_offset_of_another_shape_says_what_to_do() {
        let offset = SourceOffset::from_json(r#"{"z":5}"#).unwrap();
        let error = offset.read::<Place>().unwrap_err();
        assert!(
            error.report().contains("reset the connector's offsets"),
            "{}",
            error.report()
        );
    }
}
