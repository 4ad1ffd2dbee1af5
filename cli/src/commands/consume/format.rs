//! How a record is printed, with the names of Kafka's default formatter.

use std::io::{self, Write};

use kafka_client::Record;

use crate::CliError;
use crate::properties::Properties;

/// Prints records.
#[derive(Debug)]
pub(super) struct Formatter {
    columns: Columns,
    key_separator: String,
    line_separator: String,
    headers_separator: String,
    null_literal: String,
    key: Deserializer,
    value: Deserializer,
    header: Deserializer,
    /// Prints nothing at all.
    silent: bool,
}

#[derive(Debug)]
struct Columns {
    timestamp: bool,
    partition: bool,
    offset: bool,
    headers: bool,
    key: bool,
    value: bool,
}

/// What bytes mean.
#[derive(Debug, Clone, Copy)]
enum Deserializer {
    /// Text or bytes, printed as they are.
    Plain,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Boolean,
}

impl Formatter {
    /// Reads `print.*`, the separators, `null.literal` and the deserializers.
    ///
    /// # Errors
    /// A formatter or deserializer that this program doesn't have.
    pub(super) fn from_properties(
        class: Option<&str>,
        properties: &Properties,
    ) -> Result<Self, CliError> {
        let silent = match class.map(simple_name) {
            None | Some("DefaultMessageFormatter") => false,
            Some("NoOpMessageFormatter") => true,
            Some(other) => {
                return Err(CliError::failed(format!(
                    "the formatter \"{other}\" is not known; use DefaultMessageFormatter or NoOpMessageFormatter"
                )));
            }
        };
        let flag = |key, default| {
            properties.get(key).map_or(default, |text: &str| {
                text.trim().eq_ignore_ascii_case("true")
            })
        };
        let text = |key, default: &str| properties.get(key).unwrap_or(default).to_owned();
        Ok(Self {
            columns: Columns {
                timestamp: flag("print.timestamp", false),
                partition: flag("print.partition", false),
                offset: flag("print.offset", false),
                headers: flag("print.headers", false),
                key: flag("print.key", false),
                value: flag("print.value", true),
            },
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            headers_separator: text("headers.separator", ","),
            null_literal: text("null.literal", "null"),
            key: deserializer(properties, "key.deserializer")?,
            value: deserializer(properties, "value.deserializer")?,
            header: deserializer(properties, "headers.deserializer")?,
            silent,
        })
    }

    /// Prints one record. The inner error is the record's own: its bytes are not what they should be.
    ///
    /// # Errors
    /// Those of the output.
    pub(super) fn write(
        &self,
        record: &Record,
        partition: i32,
        output: &mut impl Write,
    ) -> io::Result<Result<(), String>> {
        if self.silent {
            return Ok(Ok(()));
        }
        if self.value_only() {
            let value = record
                .value
                .as_deref()
                .unwrap_or(self.null_literal.as_bytes());
            output.write_all(value)?;
            return output.write_all(self.line_separator.as_bytes()).map(Ok);
        }
        let mut line = Vec::new();
        match self.columns(record, partition, &mut line)? {
            Ok(()) => output.write_all(&line).map(Ok),
            Err(problem) => Ok(Err(problem)),
        }
    }

    /// Whether the line is the value as it is: the usual case, which needs no buffer.
    fn value_only(&self) -> bool {
        let Columns {
            timestamp,
            partition,
            offset,
            headers,
            key,
            value,
        } = self.columns;
        value
            && !(timestamp || partition || offset || headers || key)
            && matches!(self.value, Deserializer::Plain)
    }

    fn columns(
        &self,
        record: &Record,
        partition: i32,
        line: &mut Vec<u8>,
    ) -> io::Result<Result<(), String>> {
        let columns = &self.columns;
        let mut rest = [
            columns.timestamp,
            columns.partition,
            columns.offset,
            columns.headers,
            columns.key,
            columns.value,
        ]
        .into_iter()
        .filter(|wanted| *wanted)
        .count();
        let mut end_column = |line: &mut Vec<u8>| {
            rest = rest.saturating_sub(1);
            line.extend_from_slice(if rest > 0 {
                self.key_separator.as_bytes()
            } else {
                self.line_separator.as_bytes()
            });
        };
        if columns.timestamp {
            match record.timestamp {
                -1 => write!(line, "NO_TIMESTAMP")?,
                timestamp => write!(line, "CreateTime:{timestamp}")?,
            }
            end_column(line);
        }
        if columns.partition {
            write!(line, "Partition:{partition}")?;
            end_column(line);
        }
        if columns.offset {
            write!(line, "Offset:{}", record.offset)?;
            end_column(line);
        }
        if columns.headers {
            if record.headers.is_empty() {
                write!(line, "NO_HEADERS")?;
            }
            for (index, header) in record.headers.iter().enumerate() {
                if index > 0 {
                    line.extend_from_slice(self.headers_separator.as_bytes());
                }
                line.extend_from_slice(&header.key);
                line.push(b':');
                if let Err(problem) = self.bytes(self.header, header.value.as_deref(), line) {
                    return Ok(Err(problem));
                }
            }
            end_column(line);
        }
        for (wanted, deserializer, bytes) in [
            (columns.key, self.key, &record.key),
            (columns.value, self.value, &record.value),
        ] {
            if wanted {
                if let Err(problem) = self.bytes(deserializer, bytes.as_deref(), line) {
                    return Ok(Err(problem));
                }
                end_column(line);
            }
        }
        Ok(Ok(()))
    }

    fn bytes(
        &self,
        deserializer: Deserializer,
        bytes: Option<&[u8]>,
        line: &mut Vec<u8>,
    ) -> Result<(), String> {
        let Some(bytes) = bytes else {
            line.extend_from_slice(self.null_literal.as_bytes());
            return Ok(());
        };
        let wrong = |expected| move |_| format!("expected {expected} bytes, got {}", bytes.len());
        let text = match deserializer {
            Deserializer::Plain => {
                line.extend_from_slice(bytes);
                return Ok(());
            }
            Deserializer::Short => {
                i16::from_be_bytes(bytes.try_into().map_err(wrong(2))?).to_string()
            }
            Deserializer::Integer => {
                i32::from_be_bytes(bytes.try_into().map_err(wrong(4))?).to_string()
            }
            Deserializer::Long => {
                i64::from_be_bytes(bytes.try_into().map_err(wrong(8))?).to_string()
            }
            Deserializer::Float => format!(
                "{:?}",
                f32::from_be_bytes(bytes.try_into().map_err(wrong(4))?)
            ),
            Deserializer::Double => format!(
                "{:?}",
                f64::from_be_bytes(bytes.try_into().map_err(wrong(8))?)
            ),
            Deserializer::Boolean => match bytes {
                [0] => "false".to_owned(),
                [1] => "true".to_owned(),
                _ => {
                    return Err(format!(
                        "expected one byte 0 or 1, got {} bytes",
                        bytes.len()
                    ));
                }
            },
        };
        line.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn deserializer(properties: &Properties, key: &str) -> Result<Deserializer, CliError> {
    match properties.get(key).map(simple_name) {
        None | Some("StringDeserializer" | "ByteArrayDeserializer" | "BytesDeserializer") => Ok(Deserializer::Plain),
        Some("ShortDeserializer") => Ok(Deserializer::Short),
        Some("IntegerDeserializer") => Ok(Deserializer::Integer),
        Some("LongDeserializer") => Ok(Deserializer::Long),
        Some("FloatDeserializer") => Ok(Deserializer::Float),
        Some("DoubleDeserializer") => Ok(Deserializer::Double),
        Some("BooleanDeserializer") => Ok(Deserializer::Boolean),
        Some(other) => Err(properties.refused(
            key,
            format!("\"{other}\" is not known; there are String, ByteArray, Short, Integer, Long, Float, Double \
                     and Boolean, each with \"Deserializer\" behind it"),
        )),
    }
}

fn simple_name(class: &str) -> &str {
    class.rsplit_once('.').map_or(class, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_client::Header;

    use super::*;

    fn record() -> Record {
        Record {
            offset: 7,
            timestamp: 1000,
            key: Some(Bytes::from("k")),
            value: Some(Bytes::from("v")),
            headers: vec![Header {
                key: Bytes::from("h"),
                value: None,
            }],
        }
    }

    fn print(pairs: &[&str], record: &Record) -> Result<String, String> {
        let pairs: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        let mut properties = Properties::empty();
        properties.set_pairs("--property", &pairs).unwrap();
        let mut line = Vec::new();
        let formatter = Formatter::from_properties(None, &properties).unwrap();
        formatter.write(record, 3, &mut line).unwrap()?;
        Ok(String::from_utf8(line).unwrap())
    }

    #[test]
    fn only_the_value_is_printed_by_default() {
        assert_eq!(print(&[], &record()).unwrap(), "v\n");
    }

    #[test]
    fn all_columns_come_in_kafkas_order() {
        let all = [
            "print.timestamp=true",
            "print.key=true",
            "print.offset=true",
            "print.partition=true",
            "print.headers=true",
        ];
        let line = print(&all, &record()).unwrap();
        assert_eq!(
            line,
            "CreateTime:1000\tPartition:3\tOffset:7\th:null\tk\tv\n"
        );
    }

    #[test]
    fn the_last_column_ends_the_line_whichever_it_is() {
        assert_eq!(
            print(&["print.value=false", "print.key=true"], &record()).unwrap(),
            "k\n"
        );
    }

    #[test]
    fn numbers_are_read_from_their_bytes() {
        let mut number = record();
        number.value = Some(Bytes::copy_from_slice(&5_i64.to_be_bytes()));
        let long = "value.deserializer=org.apache.kafka.common.serialization.LongDeserializer";
        assert_eq!(print(&[long], &number).unwrap(), "5\n");
        assert_eq!(
            print(&[long], &record()).unwrap_err(),
            "expected 8 bytes, got 1"
        );
    }
}
