//! Records as JSON for people: bounded in size where that is asked for, and without what is masked.
//!
//! This is not the JSON of `JsonConverter`: bytes are told from text, and whatever a connector made is
//! shown, also where a converter would refuse it.

use std::cell::Cell;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use connect_core::{Schema, Value};
use serde_json::{Map, Value as Json, json};

use super::snapshot::{Part, Snapshot};
use crate::secrets::{self, is_secret_key};

const HIDDEN: &str = "[hidden]";
/// Values within values within values; what lies deeper is left out.
const DEPTH_MAX: usize = 64;
/// Texts that may be documents with fields to mask are not read beyond this, in bytes.
const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// Which fields are not shown, at any depth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mask {
    /// These, in any case.
    pub(crate) fields: Vec<String>,
    /// Those that are named like secrets.
    pub(crate) secrets: bool,
}

impl Mask {
    fn hides(&self, field: &str) -> bool {
        let is_named = |name: &String| name.eq_ignore_ascii_case(field);
        self.fields.iter().any(is_named) || (self.secrets && is_secret_key(field))
    }

    fn is_empty(&self) -> bool {
        self.fields.is_empty() && !self.secrets
    }
}

/// Makes JSON of records.
pub(crate) struct Shaper<'m> {
    mask: &'m Mask,
    /// What is left of the bytes that a record may take; `None` without a limit.
    left: Option<Cell<usize>>,
}

impl<'m> Shaper<'m> {
    /// Without a limit of size.
    pub(crate) fn whole(mask: &'m Mask) -> Self {
        Self { mask, left: None }
    }

    /// With about this many bytes of text; what is beyond is left out, and that is said.
    pub(crate) fn bounded(mask: &'m Mask, bytes_max: usize) -> Self {
        Self {
            mask,
            left: Some(Cell::new(bytes_max)),
        }
    }

    /// An error may quote anything of the record, so that it is not shown where fields were named.
    pub(crate) fn error(&self, error: &str) -> Json {
        match self.mask.fields.is_empty() {
            true => self.text(error),
            false => json!("[hidden: it may quote what is masked; the log has it]"),
        }
    }

    pub(crate) fn record(&self, record: &Snapshot) -> Json {
        let mut shape = Map::new();
        let mut put = |key: &str, value: Json| {
            shape.insert(key.to_owned(), value);
        };
        put("topic", self.text(&record.topic));
        if let Some(partition) = record.partition {
            put("partition", json!(partition));
        }
        if let Some(offset) = record.offset {
            put("offset", json!(offset));
        }
        if let Some(timestamp) = record.timestamp {
            put("timestamp", json!(timestamp));
        }
        for (name, part) in [("key", &record.key), ("value", &record.value)] {
            put(name, self.part(part));
            if let Part::Value(_, Some(schema)) = part {
                put(&format!("{name}_schema"), self.text(&named(schema)));
            }
        }
        let header = |(key, part): &(connect_core::Str, Part)| {
            let value = match self.mask.hides(key) {
                true => json!(HIDDEN),
                false => self.part(part),
            };
            json!({"key": self.text(key), "value": value})
        };
        let headers = record.headers.iter().take_while(|_| self.has_room());
        put("headers", Json::Array(headers.map(header).collect()));
        Json::Object(shape)
    }

    fn part(&self, part: &Part) -> Json {
        match part {
            Part::Bytes(None) => Json::Null,
            Part::Bytes(Some(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => self.document(text),
                Err(_) => self.opaque(bytes),
            },
            Part::Value(Value::String(text), _) => self.document(text),
            Part::Value(Value::Bytes(bytes), _) => self.opaque(bytes),
            Part::Value(value, _) => self.value(value, 0),
        }
    }

    /// Bytes in which no field can be found.
    fn opaque(&self, bytes: &[u8]) -> Json {
        match self.mask.fields.is_empty() {
            true => self.base64(bytes),
            false => json!(format!(
                "[hidden: {} bytes in which no field can be masked]",
                bytes.len()
            )),
        }
    }

    /// Text that may be JSON, whose fields are masked as those of a struct are.
    fn document(&self, text: &str) -> Json {
        if self.mask.is_empty() {
            return self.text(text);
        }
        let is_document = text.trim_start().starts_with(['{', '[']);
        if is_document && text.len() > DOCUMENT_BYTES_MAX {
            let bytes = text.len();
            return json!(format!(
                "[hidden: {bytes} bytes, too many to look for fields to mask]"
            ));
        }
        let read = is_document.then(|| serde_json::from_str::<Json>(text).ok());
        match read.flatten() {
            Some(mut document) => match self.mask_document(&mut document) {
                true => self.text(&document.to_string()),
                false => self.text(text),
            },
            None if self.mask.fields.is_empty() => self.text(text),
            None => json!(format!(
                "[hidden: {} bytes in which no field can be masked]",
                text.len()
            )),
        }
    }

    /// Whether anything was masked. Its depth is bounded by the reader of JSON.
    fn mask_document(&self, document: &mut Json) -> bool {
        let mut masked = false;
        match document {
            Json::Object(fields) => {
                for (name, value) in fields {
                    if self.mask.hides(name) {
                        *value = json!(HIDDEN);
                        masked = true;
                    } else {
                        masked |= self.mask_document(value);
                    }
                }
            }
            Json::Array(items) => {
                for item in items {
                    masked |= self.mask_document(item);
                }
            }
            _ => {}
        }
        masked
    }

    fn value(&self, value: &Value, depth: usize) -> Json {
        if depth >= DEPTH_MAX || !self.has_room() {
            return json!("…");
        }
        match value {
            Value::Null => Json::Null,
            Value::Boolean(value) => json!(value),
            Value::Int8(number) => self.number(*number),
            Value::Int16(number) => self.number(*number),
            Value::Int32(number) => self.number(*number),
            Value::Int64(number) => self.number(*number),
            Value::Float32(number) if number.is_finite() => self.number(*number),
            Value::Float64(number) if number.is_finite() => self.number(*number),
            Value::String(text) => self.text(text),
            Value::Bytes(bytes) => self.base64(bytes),
            Value::Array(items) => {
                let items = items.iter().take_while(|_| self.has_room());
                Json::Array(items.map(|item| self.value(item, depth + 1)).collect())
            }
            Value::Map(entries) => self.map(entries, depth),
            Value::Struct(fields) => {
                let fields = fields.fields().map(|(name, _, value)| (name, value));
                self.fields(fields, depth)
            }
            other => self.text(&other.to_string()),
        }
    }

    /// An object if keys are text, otherwise an array of `[key, value]` pairs.
    fn map(&self, entries: &[(Value, Value)], depth: usize) -> Json {
        let by_name: Option<Vec<(&str, &Value)>> = entries
            .iter()
            .map(|(key, value)| Some((key.as_str()?, value)))
            .collect();
        match by_name {
            Some(fields) => self.fields(fields.into_iter(), depth),
            None => {
                let pair = |(key, value): &(Value, Value)| {
                    json!([self.value(key, depth + 1), self.value(value, depth + 1)])
                };
                let entries = entries.iter().take_while(|_| self.has_room());
                Json::Array(entries.map(pair).collect())
            }
        }
    }

    fn fields<'v>(&self, fields: impl Iterator<Item = (&'v str, &'v Value)>, depth: usize) -> Json {
        let field = |(name, value): (&str, &Value)| {
            self.take(name.len());
            let shown = match self.mask.hides(name) {
                true => json!(HIDDEN),
                false => self.value(value, depth + 1),
            };
            (secrets::hide(name), shown)
        };
        let fields = fields.take_while(|_| self.has_room());
        Json::Object(fields.map(field).collect())
    }

    fn number(&self, number: impl Into<Json>) -> Json {
        self.take(8);
        number.into()
    }

    fn base64(&self, bytes: &[u8]) -> Json {
        let room = self.room().map_or(bytes.len(), |room| room / 4 * 3);
        let shown = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        let text = STANDARD.encode(shown);
        self.take(text.len());
        match bytes.len() - shown.len() {
            0 => json!({"base64": text}),
            rest => json!({"base64": text, "bytes_left_out": rest}),
        }
    }

    /// A text without secrets, as much of it as there is room for. A secret that is cut is not seen any
    /// more, so that it is looked for in a little more than what is shown.
    fn text(&self, text: &str) -> Json {
        let room = self.room().unwrap_or(usize::MAX);
        let looked_at = room.saturating_add(secrets::longest()).min(text.len());
        let looked_at = text.get(..text.floor_char_boundary(looked_at));
        let hidden = secrets::hide(looked_at.unwrap_or_default());
        self.take(hidden.len());
        if text.len() <= room {
            return Json::String(hidden);
        }
        let end = hidden.floor_char_boundary(room.min(hidden.len()));
        let shown = hidden.get(..end).unwrap_or_default();
        json!(format!("{shown}… ({} bytes in all)", text.len()))
    }

    fn room(&self) -> Option<usize> {
        self.left.as_ref().map(Cell::get)
    }

    fn has_room(&self) -> bool {
        self.room() != Some(0)
    }

    fn take(&self, bytes: usize) {
        if let Some(left) = &self.left {
            // Punctuation counts, too, or nothing but empty texts would be endless.
            left.set(left.get().saturating_sub(bytes + 4));
        }
    }
}

/// A schema in a word or two.
fn named(schema: &Schema) -> String {
    let optional = if schema.is_optional() { "?" } else { "" };
    match schema.name() {
        Some(name) => format!("{} {name}{optional}", schema.kind()),
        None => format!("{}{optional}", schema.kind()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connect_core::{SinkRecord, SourceRecord};

    fn mask(fields: &[&str]) -> Mask {
        Mask {
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            secrets: true,
        }
    }

    fn order() -> Value {
        let card = Value::map([
            ("Number".into(), "4111".into()),
            ("cvc".into(), 7i32.into()),
        ]);
        Value::map([
            ("id".into(), 7i64.into()),
            ("card".into(), Value::array([card])),
            ("api_token".into(), "t0ken".into()),
            ("photo".into(), vec![0u8, 255].into()),
        ])
    }

    fn value(value: Value, mask: &Mask) -> Json {
        let record = Snapshot::of_source(&SourceRecord::new("orders".into(), value));
        Shaper::whole(mask).record(&record)["value"].clone()
    }

    #[test]
    fn fields_are_masked_at_any_depth_and_whatever_carries_them() {
        let expected = json!({
            "id": 7, "card": [{"Number": "[hidden]", "cvc": 7}], "api_token": "[hidden]",
            "photo": {"base64": "AP8="},
        });
        assert_eq!(value(order(), &mask(&["number"])), expected);
        let text = r#"{"card": {"number": "4111"}, "id": 7}"#;
        let masked = value(text.into(), &mask(&["number"]));
        assert_eq!(masked, r#"{"card":{"number":"[hidden]"},"id":7}"#);
        // What needs no mask stays as it was written.
        assert_eq!(value(text.into(), &mask(&[])), text);
    }

    #[test]
    fn what_cannot_be_masked_is_not_shown_if_fields_were_named() {
        let bytes: Value = vec![0u8, 1, 2].into();
        for hidden in [bytes.clone(), "number=4111".into()] {
            let shown = value(hidden, &mask(&["number"]));
            assert!(shown.as_str().unwrap().starts_with("[hidden: "), "{shown}");
        }
        assert_eq!(value(bytes, &mask(&[])), json!({"base64": "AAEC"}));
        assert_eq!(value("number=4111".into(), &mask(&[])), "number=4111");
    }

    #[test]
    fn a_record_takes_no_more_room_than_it_may() {
        let mask = Mask::default();
        let long = "ü".repeat(1_000_000);
        let many = Value::array((0..1_000_000).map(|_| Value::from("")));
        let map = Value::map((0..100_000).map(|n| (n.to_string().into(), Value::Null)));
        for large in [
            Value::from(long.as_str()),
            many,
            map,
            Value::from(long.clone().into_bytes()),
        ] {
            let mut record = SinkRecord::new("orders".into(), 0, 7, large.clone());
            record.headers.add("h", large, None);
            let shown = Shaper::bounded(&mask, 1000).record(&Snapshot::of_sink(&record));
            let length = shown.to_string().len();
            assert!(length < 8_000, "{length}");
        }
    }

    #[test]
    fn a_secret_is_hidden_also_where_a_text_is_cut() {
        secrets::learn("cut-here-canary-0815");
        let text = format!("{}cut-here-canary-0815 and more", "x".repeat(985));
        let record = Snapshot::of_source(&SourceRecord::new("t".into(), text.as_str()));
        let mask = Mask::default();
        for room in 985..1010 {
            let shown = Shaper::bounded(&mask, room).record(&record).to_string();
            assert!(!shown.contains("cut"), "{room}: {shown}");
        }
    }
}
