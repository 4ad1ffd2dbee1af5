//! What a line means: headers, key and value, with Kafka's names for the separators.

use bytes::{Buf, Bytes};
use kafka_client::{Header, ProducerRecord};
use regex::bytes::Regex;

use crate::CliError;
use crate::properties::Properties;

/// Turns lines into records.
#[derive(Debug)]
pub(super) struct LineParser {
    key_separator: Option<Bytes>,
    headers: Option<HeaderSyntax>,
    ignore_errors: bool,
    null_marker: Option<Bytes>,
    line_number: u64,
}

#[derive(Debug)]
struct HeaderSyntax {
    /// Ends the headers.
    delimiter: Bytes,
    /// Between two headers; a regular expression, as in Kafka.
    separator: Regex,
    /// Between a header's key and value.
    key_separator: Bytes,
}

impl LineParser {
    /// Reads `parse.key`, `key.separator`, `parse.headers`, `headers.delimiter`, `headers.separator`,
    /// `headers.key.separator`, `ignore.error` and `null.marker`.
    ///
    /// # Errors
    /// Separators that cannot be told apart.
    pub(super) fn from_properties(properties: &Properties) -> Result<Self, CliError> {
        let flag = |key| {
            properties
                .get(key)
                .is_some_and(|text| text.trim().eq_ignore_ascii_case("true"))
        };
        let text = |key, default: &str| properties.get(key).unwrap_or(default).to_owned();
        let key_separator = text("key.separator", "\t");
        let delimiter = text("headers.delimiter", "\t");
        let separator = text("headers.separator", ",");
        let header_key_separator = text("headers.key.separator", ":");
        let null_marker = properties.get("null.marker").map(str::to_owned);
        let named = [
            ("headers.delimiter", &delimiter),
            ("headers.separator", &separator),
            ("headers.key.separator", &header_key_separator),
        ];
        for (at, (name, value)) in named.iter().enumerate() {
            if let Some((other, _)) = named.iter().skip(at + 1).find(|(_, other)| other == value) {
                return Err(CliError::failed(format!(
                    "{name} and {other} may not be equal"
                )));
            }
        }
        let with_key = named.into_iter().chain([("key.separator", &key_separator)]);
        for (name, value) in with_key {
            if null_marker.as_ref() == Some(value) {
                return Err(CliError::failed(format!(
                    "null.marker and {name} may not be equal"
                )));
            }
            if value.is_empty() {
                return Err(CliError::failed(format!("{name} may not be empty")));
            }
        }
        let separator = Regex::new(&separator).map_err(|error| {
            CliError::failed(format!(
                "headers.separator \"{separator}\" is no regular expression: {error}"
            ))
        })?;
        Ok(Self {
            key_separator: flag("parse.key").then(|| key_separator.into()),
            headers: flag("parse.headers").then(|| HeaderSyntax {
                delimiter: delimiter.into(),
                separator,
                key_separator: header_key_separator.into(),
            }),
            ignore_errors: flag("ignore.error"),
            null_marker: null_marker.map(Bytes::from),
            line_number: 0,
        })
    }

    /// The record of one line.
    ///
    /// # Errors
    /// When a separator is missing and errors are not to be ignored.
    pub(super) fn parse(&mut self, line: Bytes) -> Result<ProducerRecord, CliError> {
        self.line_number += 1;
        let mut rest = line.clone();
        let mut record = ProducerRecord::default();
        if let Some(syntax) = &self.headers
            && let Some(part) =
                self.take(&mut rest, &syntax.delimiter, "headers delimiter", &line)?
            && let Some(headers) = self.unless_null(part)
        {
            record.headers = self.headers(&headers, syntax)?;
        }
        if let Some(separator) = &self.key_separator
            && let Some(part) = self.take(&mut rest, separator, "key separator", &line)?
        {
            record.key = self.unless_null(part);
        }
        record.value = self.unless_null(rest);
        Ok(record)
    }

    /// Cuts what comes before `separator` off `rest`.
    fn take(
        &self,
        rest: &mut Bytes,
        separator: &[u8],
        what: &str,
        line: &[u8],
    ) -> Result<Option<Bytes>, CliError> {
        match memchr::memmem::find(rest, separator) {
            Some(at) => {
                let part = rest.split_to(at);
                rest.advance(separator.len());
                Ok(Some(part))
            }
            None if self.ignore_errors => Ok(None),
            None => Err(CliError::failed(format!(
                "No {what} found on line number {}: '{}'",
                self.line_number,
                String::from_utf8_lossy(line)
            ))),
        }
    }

    fn headers(&self, text: &Bytes, syntax: &HeaderSyntax) -> Result<Vec<Header>, CliError> {
        syntax
            .separator
            .split(text)
            .map(|pair| {
                let mut value = text.slice_ref(pair);
                let found = memchr::memmem::find(&value, &syntax.key_separator);
                let Some(at) = found else {
                    if self.ignore_errors {
                        return Ok(Header { key: value, value: None });
                    }
                    return Err(CliError::failed(format!(
                        "No header key separator found in pair '{}' on line number {}",
                        String::from_utf8_lossy(pair),
                        self.line_number
                    )));
                };
                let key = value.split_to(at);
                value.advance(syntax.key_separator.len());
                if self.null_marker.as_ref() == Some(&key) {
                    return Err(CliError::failed(format!(
                        "Header keys should not be equal to the null marker '{}' as they can't be null",
                        String::from_utf8_lossy(&key)
                    )));
                }
                Ok(Header { key, value: self.unless_null(value) })
            })
            .collect()
    }

    fn unless_null(&self, part: Bytes) -> Option<Bytes> {
        (self.null_marker.as_ref() != Some(&part)).then_some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parser(pairs: &[&str]) -> Result<LineParser, CliError> {
        let pairs: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        let mut properties = Properties::empty();
        properties.set_pairs("--property", &pairs).unwrap();
        LineParser::from_properties(&properties)
    }

    #[test]
    fn a_line_is_a_value() {
        let record = parser(&[]).unwrap().parse(Bytes::from("a\tb")).unwrap();
        assert_eq!(
            (record.key, record.value),
            (None, Some(Bytes::from("a\tb")))
        );
    }

    #[test]
    fn headers_and_key_come_before_the_value() {
        let mut parser =
            parser(&["parse.key=true", "key.separator=|", "parse.headers=true"]).unwrap();
        let record = parser
            .parse(Bytes::from("h1:v1,h2:v2\tkey|value|more"))
            .unwrap();
        assert_eq!(record.headers.len(), 2);
        assert_eq!(
            record.headers[1],
            Header {
                key: "h2".into(),
                value: Some("v2".into())
            }
        );
        assert_eq!(
            (record.key, record.value),
            (Some("key".into()), Some("value|more".into()))
        );
    }

    #[test]
    fn the_null_marker_is_no_bytes() {
        let mut parser =
            parser(&["parse.key=true", "key.separator=:", "null.marker=NULL"]).unwrap();
        let record = parser.parse(Bytes::from("key:NULL")).unwrap();
        assert_eq!((record.key, record.value), (Some("key".into()), None));
        let record = parser.parse(Bytes::from("NULL:value")).unwrap();
        assert_eq!((record.key, record.value), (None, Some("value".into())));
    }

    #[test]
    fn a_missing_separator_names_the_line() {
        let mut strict = parser(&["parse.key=true"]).unwrap();
        strict.parse(Bytes::from("k\tv")).unwrap();
        let error = strict.parse(Bytes::from("value")).unwrap_err().to_string();
        assert_eq!(error, "No key separator found on line number 2: 'value'");
        let mut lenient = parser(&["parse.key=true", "ignore.error=true"]).unwrap();
        assert_eq!(
            lenient.parse(Bytes::from("value")).unwrap().value,
            Some("value".into())
        );
    }

    #[test]
    fn equal_separators_are_refused() {
        assert!(parser(&["headers.delimiter=,"]).is_err());
        assert!(parser(&["null.marker=:"]).is_err());
        assert!(parser(&["key.separator="]).is_err());
    }
}
