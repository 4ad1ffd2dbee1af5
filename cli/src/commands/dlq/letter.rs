//! A letter: a record as it was read, and in Kafka's headers why it went no further.
//!
//! Everything in it comes from elsewhere, so none of it reaches a terminal without being made plain.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kafka_client::{Header, Record};
use serde_json::{Map, Value, json};

use crate::listing::{FormArguments, columns, plain};
use crate::moment;

/// What the names of Kafka's headers start with.
const PREFIX: &str = "__connect.errors.";
/// The names of its ten headers behind that, in the order in which they are shown.
const CONTEXT: [&str; 10] = [
    "connector.name",
    "task.id",
    "topic",
    "partition",
    "offset",
    "stage",
    "class.name",
    "exception.class.name",
    "exception.message",
    "exception.stacktrace",
];
/// The longest error in a list, in characters.
const ERROR_CHARS_MAX: usize = 120;

/// A record of a dead letter queue.
#[derive(Debug)]
pub(super) struct Letter {
    /// The queue's partition.
    pub(super) partition: i32,
    /// As it is there.
    pub(super) record: Record,
}

impl Letter {
    /// What one of Kafka's headers says. A letter that came here twice has it twice, the last is the
    /// newest.
    pub(super) fn context(&self, name: &str) -> Option<String> {
        let headers = self.record.headers.iter().rev();
        let mut found = headers.filter(|header| {
            let rest = header.key.strip_prefix(PREFIX.as_bytes());
            rest == Some(name.as_bytes())
        });
        let value = found.next()?.value.as_deref()?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// The connector that wrote it, if it says so.
    pub(super) fn is_of(&self, connector: &str) -> bool {
        let name = self.context("connector.name");
        name.is_none_or(|name| name == connector)
    }

    /// How it is named: the queue's partition and the offset there.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.partition, self.record.offset)
    }

    /// Where it was read, or should have been written.
    pub(super) fn place(&self) -> String {
        let Some(topic) = self.context("topic") else {
            return "-".to_owned();
        };
        let partition = self.context("partition").map(|number| format!("-{number}"));
        let offset = self.context("offset").map(|offset| format!("@{offset}"));
        plain(&(topic + &partition.unwrap_or_default() + &offset.unwrap_or_default()))
    }

    /// The headers that are the record's own, as they are.
    pub(super) fn without_context(&self) -> Vec<Header> {
        let headers = self.record.headers.iter();
        let own = headers.filter(|header| !header.key.starts_with(PREFIX.as_bytes()));
        own.cloned().collect()
    }

    /// The headers that are the record's own.
    fn own_headers(&self) -> impl Iterator<Item = (String, Option<&[u8]>)> {
        let headers = self.record.headers.iter();
        let own = headers.filter(|header| !header.key.starts_with(PREFIX.as_bytes()));
        own.map(|header| {
            let key = String::from_utf8_lossy(&header.key).into_owned();
            (key, header.value.as_deref())
        })
    }

    /// All of it, for programs.
    pub(super) fn json(&self) -> Value {
        let context = CONTEXT.iter().filter_map(|name| {
            let text = self.context(name)?;
            Some(((*name).to_owned(), Value::from(text)))
        });
        let headers = self.own_headers();
        let headers = headers.map(|(key, value)| json!({"key": key, "value": bytes(value)}));
        json!({
            "partition": self.partition,
            "offset": self.record.offset,
            "timestamp": self.record.timestamp,
            "key": bytes(self.record.key.as_deref()),
            "value": bytes(self.record.value.as_deref()),
            "headers": headers.collect::<Vec<Value>>(),
            "error": context.collect::<Map<String, Value>>(),
        })
    }

    /// All of it, for people.
    pub(super) fn text(&self) -> String {
        let context = |name: &str| self.context(name).map(|text| plain(text.trim_end()));
        let mut lines = vec![
            ["  key", &quoted(self.record.key.as_deref())],
            ["  value", &quoted(self.record.value.as_deref())],
        ]
        .into_iter()
        .map(|line| line.map(str::to_owned))
        .collect::<Vec<_>>();
        for (key, value) in self.own_headers() {
            lines.push([format!("  header {}", plain(&key)), quoted(value)]);
        }
        let known = CONTEXT.iter().filter(|name| !name.ends_with("stacktrace"));
        for name in known {
            if let Some(text) = context(name) {
                lines.push([format!("  {name}"), text]);
            }
        }
        let mut text = format!(
            "letter {}, {}\n{}",
            self.name(),
            moment::datetime(self.record.timestamp),
            columns(&lines)
        );
        if let Some(trace) = self.context("exception.stacktrace") {
            text += "  exception.stacktrace\n";
            for line in trace.lines() {
                text += &format!("    {}\n", plain(line));
            }
        }
        text
    }
}

/// Letters as a list.
pub(super) fn table(letters: &[Letter], form: FormArguments) -> String {
    let rows = letters.iter().map(|letter| {
        let context = |name: &str| {
            letter
                .context(name)
                .map_or("-".to_owned(), |text| plain(&text))
        };
        let error = context("exception.message");
        let error = match error.chars().count() > ERROR_CHARS_MAX && !form.is_wide() {
            true => error
                .chars()
                .take(ERROR_CHARS_MAX)
                .chain("…".chars())
                .collect(),
            false => error,
        };
        [
            letter.name(),
            moment::datetime(letter.record.timestamp),
            letter.place(),
            context("connector.name") + "-" + &context("task.id"),
            context("stage"),
            error,
        ]
    });
    match form.is_wide() {
        true => form.table(
            ["LETTER", "TIME", "FROM", "TASK", "STAGE", "ERROR"],
            rows.collect(),
        ),
        false => {
            let narrow = rows
                .map(|[letter, time, from, _, stage, error]| [letter, time, from, stage, error]);
            form.table(
                ["LETTER", "TIME", "FROM", "STAGE", "ERROR"],
                narrow.collect(),
            )
        }
    }
}

/// Bytes as text where they are text, otherwise so that they can be had back.
fn bytes(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => Value::Null,
        Some(Ok(text)) => Value::from(text),
        Some(Err(bytes)) => json!({"base64": STANDARD.encode(bytes)}),
    }
}

fn quoted(bytes: Option<&[u8]>) -> String {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => "null".to_owned(),
        Some(Ok(text)) => format!("\"{}\"", plain(text)),
        Some(Err(bytes)) => format!(
            "{} bytes, in base64 {}",
            bytes.len(),
            STANDARD.encode(bytes)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(headers: &[(&str, &str)]) -> Letter {
        let headers = headers.iter().map(|(key, value)| Header {
            key: (*key).to_owned().into(),
            value: Some((*value).to_owned().into()),
        });
        Letter {
            partition: 1,
            record: Record {
                offset: 7,
                timestamp: 0,
                key: None,
                value: Some(bytes::Bytes::from_static(b"a\x1b[2Jb")),
                headers: headers.collect(),
            },
        }
    }

    #[test]
    fn kafka_s_headers_are_told_from_the_record_s_own() {
        let letter = letter(&[
            ("own", "1"),
            ("__connect.errors.topic", "orders"),
            ("__connect.errors.partition", "3"),
            ("__connect.errors.offset", "17"),
            ("__connect.errors.stage", "VALUE_CONVERTER"),
        ]);
        assert_eq!(letter.place(), "orders-3@17");
        let json = letter.json();
        assert_eq!(json["headers"], json!([{"key": "own", "value": "1"}]));
        assert_eq!(json["error"]["stage"], "VALUE_CONVERTER");
        let text = letter.text();
        assert!(
            text.starts_with("letter 1:7, 1970-01-01T00:00:00.000Z\n"),
            "{text}"
        );
        assert!(text.contains("  header own  \"1\"\n"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn the_newest_of_two_reasons_counts() {
        let twice = letter(&[
            ("__connect.errors.stage", "VALUE_CONVERTER"),
            ("__connect.errors.stage", "TASK_PUT"),
        ]);
        assert_eq!(twice.context("stage").as_deref(), Some("TASK_PUT"));
        assert_eq!(letter(&[]).place(), "-");
    }

    #[test]
    fn bytes_that_are_no_text_can_be_had_back() {
        assert_eq!(super::bytes(Some(b"\xff")), json!({"base64": "/w=="}));
        assert_eq!(super::bytes(None), Value::Null);
        assert_eq!(quoted(Some(b"\xff")), "1 bytes, in base64 /w==");
    }
}
