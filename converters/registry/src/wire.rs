//! The frame around data whose schema is in a registry: a zero byte, the schema's id, the data.

use bytes::Bytes;
use connect_core::ConnectError;

use crate::client::Language;

/// Bytes before the data.
pub(crate) const FRAME_BYTES: usize = 5;

/// The frame of a schema.
pub(crate) fn frame(id: i32) -> [u8; FRAME_BYTES] {
    let [a, b, c, d] = id.to_be_bytes();
    [0, a, b, c, d]
}

/// The schema's id, and the data.
///
/// # Errors
/// Record: there is no frame; says what it looks like instead and what to do about it.
pub(crate) fn unframe(
    bytes: &Bytes,
    language: Language,
    is_key: bool,
) -> Result<(i32, Bytes), ConnectError> {
    match bytes.as_ref() {
        [0, a, b, c, d, ..] => {
            let id = i32::from_be_bytes([*a, *b, *c, *d]);
            Ok((id, bytes.slice(FRAME_BYTES..)))
        }
        other => Err(unframed(other, language, is_key)),
    }
}

fn unframed(bytes: &[u8], language: Language, is_key: bool) -> ConnectError {
    let part = if is_key { "key" } else { "value" };
    let expected = format!(
        "the converter expects registry {} (a zero byte and a schema's id first)",
        match language {
            Language::Avro => "Avro",
            Language::Json => "JSON",
        }
    );
    let (first, looks, advice) = match bytes {
        [] => {
            return ConnectError::record(format!(
                "there are no bytes; {expected}; a tombstone is null and not empty"
            ));
        }
        [0, ..] => {
            return ConnectError::record(format!(
                "byte 0 is 0, but only {} bytes are there; {expected}; set {part}.converter=bytes to see \
                 what they are",
                bytes.len()
            ));
        }
        [1, rest @ ..] if rest.len() >= 16 => (
            "1".to_owned(),
            "this may be data with a schema's GUID, which is not supported",
            format!("have the producer write the schema's id, or set {part}.converter=bytes"),
        ),
        [first @ (b'{' | b'['), ..]
            if serde_json::from_slice::<serde_json::Value>(bytes).is_ok() =>
        {
            (
                format!("`{}`", char::from(*first)),
                "this topic looks like plain JSON",
                format!(
                    "set {part}.converter=json, with {part}.converter.schemas.enable=false unless each \
                 {part} has its schema with it"
                ),
            )
        }
        [first, ..] => {
            let text = std::str::from_utf8(bytes)
                .is_ok_and(|text| text.chars().all(|c| !c.is_control() || c.is_whitespace()));
            match text {
                true => (
                    match first.is_ascii_graphic() {
                        true => format!("`{}`", char::from(*first)),
                        false => first.to_string(),
                    },
                    "this topic looks like plain text",
                    format!("set {part}.converter=string"),
                ),
                false => (
                    first.to_string(),
                    "this is something else",
                    format!("set {part}.converter to the one that fits, or to bytes"),
                ),
            }
        }
    };
    ConnectError::record(format!("byte 0 is {first}: {looks}; {expected}; {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &'static [u8]) -> String {
        let error = unframe(&Bytes::from_static(bytes), Language::Avro, false).unwrap_err();
        assert_eq!(error.class(), connect_core::ErrorClass::Record);
        error.message().to_owned()
    }

    #[test]
    fn a_frame_is_taken_off_again() {
        let bytes = Bytes::from([&frame(258)[..], b"data"].concat());
        let (id, data) = unframe(&bytes, Language::Avro, false).unwrap();
        assert_eq!((id, data.as_ref()), (258, &b"data"[..]));
    }

    #[test]
    fn what_has_no_frame_is_called_what_it_looks_like() {
        assert_eq!(
            refused(b"{\"a\":1}"),
            "byte 0 is `{`: this topic looks like plain JSON; the converter expects registry Avro (a zero \
             byte and a schema's id first); set value.converter=json, with \
             value.converter.schemas.enable=false unless each value has its schema with it"
        );
        assert!(refused(b"hello").contains("byte 0 is `h`: this topic looks like plain text"));
        assert!(refused(b"{hello").contains("set value.converter=string"));
        assert!(refused(b"\x07\x00\x01").contains("byte 0 is 7: this is something else"));
        assert!(refused(b"\x00\x00").contains("only 2 bytes are there"));
        assert!(refused(b"").contains("a tombstone is null"));
        assert!(refused(b"\x01aaaaaaaaaaaaaaaa").contains("GUID"));
    }
}
