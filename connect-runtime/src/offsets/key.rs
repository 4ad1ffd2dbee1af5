//! The bytes under which offsets are stored: what Kafka's JSON converter without schemas writes.
//! Brokers, compaction and other workers compare keys as bytes, so every byte counts.

use std::io;

use connect_core::{SourceOffset, SourcePartition};
use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

/// `["connector",{partition}]`.
pub(crate) fn key_bytes(connector: &str, partition: &SourcePartition) -> Vec<u8> {
    to_json(&(connector, partition.fields()))
}

/// `{offset}`.
pub(crate) fn value_bytes(offset: &SourceOffset) -> Vec<u8> {
    to_json(offset.fields())
}

/// The connector and the partition of a stored key; `None` for what is not a key of ours, such as
/// a record that somebody else wrote to the topic.
pub(crate) fn parse_key(bytes: &[u8]) -> Option<(String, SourcePartition)> {
    let (connector, fields): (String, serde_json::Map<String, serde_json::Value>) =
        serde_json::from_slice(bytes).ok()?;
    Some((connector, SourcePartition::from_fields(fields).ok()?))
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Jackson);
    let written = value.serialize(&mut serializer);
    debug_assert!(
        written.is_ok(),
        "maps with text keys always serialize to memory"
    );
    bytes
}

/// Compact JSON as Jackson writes it: control characters in upper-case hexadecimal.
struct Jackson;

impl Formatter for Jackson {
    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        match escape {
            CharEscape::AsciiControl(byte) => write!(writer, "\\u{byte:04X}"),
            other => CompactFormatter.write_char_escape(writer, other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(connector: &str, partition: serde_json::Value) -> String {
        let partition = SourcePartition::of(&partition).unwrap();
        String::from_utf8(key_bytes(connector, &partition)).unwrap()
    }

    #[test]
    fn keys_are_byte_for_byte_those_of_kafka() {
        assert_eq!(
            key("local-file-source", json!({"filename": "test.txt"})),
            r#"["local-file-source",{"filename":"test.txt"}]"#
        );
        assert_eq!(
            key(
                "a \"b\"",
                json!({"z": "é/\\\u{1f}\n", "a": 5, "n": null, "t": true})
            ),
            "[\"a \\\"b\\\"\",{\"z\":\"é/\\\\\\u001F\\n\",\"a\":5,\"n\":null,\"t\":true}]"
        );
    }

    #[test]
    fn a_stored_key_reads_back() {
        let partition = SourcePartition::of(&json!({"filename": "ü", "id": 3})).unwrap();
        let (connector, read) = parse_key(&key_bytes("c", &partition)).unwrap();
        assert_eq!((connector.as_str(), read), ("c", partition));
        assert_eq!(parse_key(b"not json"), None);
        assert_eq!(parse_key(br#"["c"]"#), None);
    }

    #[test]
    fn values_are_the_plain_offset_object() {
        let offset = SourceOffset::of(&json!({"position": 12})).unwrap();
        assert_eq!(value_bytes(&offset), br#"{"position":12}"#);
    }
}
