//! Text.

use bytes::Bytes;

use super::{Converter, SchemaAndValue};
use crate::config::{Config, ConfigDef, ConfigMap, Problem};
use crate::error::ConnectError;
use crate::schema::SchemaRef;
use crate::text::Str;
use crate::value::Value;

/// `StringConverter`: any value as text (see [`crate::display`]), and back as optional text.
///
/// Text is moved, not copied, in both directions. Bytes are written as they are, so that a line that is
/// not UTF-8 arrives unchanged; when read, what is not UTF-8 is replaced by U+FFFD, as Kafka does (use
/// `ByteArrayConverter` to keep it).
#[derive(Debug, Clone, Default)]
pub struct StringConverter;

#[derive(Config)]
#[config(validate = check)]
struct StringConverterConfig {
    /// The character set; UTF-8 is the only one.
    #[config(key = "converter.encoding", default = "UTF-8")]
    encoding: String,
}

fn check(config: &StringConverterConfig, problems: &mut Vec<Problem>) {
    if !["utf-8", "utf8"].contains(&config.encoding.to_ascii_lowercase().as_str()) {
        problems.push(Problem::with_value(
            "converter.encoding",
            &config.encoding,
            "expected UTF-8",
        ));
    }
}

impl Converter for StringConverter {
    fn config(&self) -> ConfigDef {
        StringConverterConfig::definition()
    }

    fn configure(&mut self, config: &ConfigMap, _is_key: bool) -> Result<(), Vec<Problem>> {
        StringConverterConfig::parse(config).map(|_| ())
    }

    fn from_connect(
        &self,
        _topic: &str,
        _schema: Option<&SchemaRef>,
        value: Value,
    ) -> Result<Option<Bytes>, ConnectError> {
        Ok(match value {
            Value::Null => None,
            Value::String(text) => Some(text.into_bytes()),
            Value::Bytes(bytes) => Some(bytes),
            other => Some(Bytes::from(other.to_string())),
        })
    }

    fn to_connect(
        &self,
        _topic: &str,
        bytes: Option<Bytes>,
    ) -> Result<SchemaAndValue, ConnectError> {
        let value = bytes.map_or(Value::Null, |bytes| {
            Value::String(Str::from_utf8_lossy(bytes))
        });
        Ok((Some(SchemaRef::OPTIONAL_STRING), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_moved_and_everything_else_rendered() {
        let bytes = Bytes::from(b"some text".to_vec());
        let address = bytes.as_ptr();
        let (schema, value) = StringConverter.to_connect("t", Some(bytes)).unwrap();
        assert_eq!(schema, Some(SchemaRef::OPTIONAL_STRING));
        let bytes = StringConverter
            .from_connect("t", None, value)
            .unwrap()
            .unwrap();
        assert_eq!(bytes.as_ptr(), address);
        assert_eq!(
            StringConverter
                .from_connect("t", None, Value::Null)
                .unwrap(),
            None
        );
        assert_eq!(
            StringConverter
                .from_connect("t", None, Value::Int32(5))
                .unwrap()
                .unwrap(),
            "5"
        );
        assert_eq!(
            StringConverter.to_connect("t", None).unwrap().1,
            Value::Null
        );
    }

    #[test]
    fn other_encodings_are_refused() {
        let config = ConfigMap::from([("converter.encoding".into(), "UTF-16".into())]);
        assert!(StringConverter.configure(&config, false).is_err());
        StringConverter.configure(&ConfigMap::new(), false).unwrap();
    }
}
