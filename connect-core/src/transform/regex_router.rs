//! `RegexRouter`: renames the topic of records whose topic matches.

use std::sync::{Arc, Mutex, PoisonError};

use super::java_pattern::JavaPattern;
use super::{Fate, RecordView, Transform, registry};
use crate::config::{Config, Problem};
use crate::error::ConnectError;

#[derive(Config)]
pub(super) struct RegexRouterConfig {
    /// The pattern that the whole name of the topic must match.
    #[config(importance = "high")]
    regex: String,
    /// The new name; "$1" and "${name}" stand for groups of the pattern.
    #[config(importance = "high")]
    replacement: String,
}

/// A piece of Java's replacement text.
#[derive(Debug, PartialEq)]
enum Piece {
    Text(String),
    Group(usize),
}

/// Reads a replacement as Java's `Matcher.appendReplacement` does.
fn pieces(text: &str, pattern: &JavaPattern) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text.chars().peekable();
    while let Some(symbol) = rest.next() {
        let group = match symbol {
            '\\' => {
                let escaped = rest.next();
                plain.push(escaped.ok_or("expected a character behind the last backslash")?);
                continue;
            }
            '$' if rest.next_if_eq(&'{').is_some() => {
                let name: String = std::iter::from_fn(|| rest.next_if(|c| *c != '}')).collect();
                let found = pattern.group(&name);
                rest.next()
                    .ok_or("expected \"}\" behind the name of a group")?;
                found.ok_or_else(|| format!("expected a group of the pattern, got \"{name}\""))?
            }
            '$' => {
                let digit = |c: &char| c.is_ascii_digit();
                let first = rest.next_if(digit).and_then(|c| c.to_digit(10));
                let mut group = first.ok_or("expected a number or {name} behind \"$\"")? as usize;
                // As many digits as there are groups for.
                while let Some(next) = rest.peek().and_then(|c| c.to_digit(10)) {
                    let longer = group * 10 + next as usize;
                    if longer >= pattern.groups() {
                        break;
                    }
                    group = longer;
                    rest.next();
                }
                if group >= pattern.groups() {
                    return Err(format!("expected a group of the pattern, got {group}"));
                }
                group
            }
            other => {
                plain.push(other);
                continue;
            }
        };
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(Piece::Group(group));
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

struct RegexRouter {
    pattern: JavaPattern,
    replacement: Vec<Piece>,
    /// The last topic and its new name, so that records of one topic share one text.
    last: Mutex<Option<(Arc<str>, Arc<str>)>>,
}

registry::register_whole!("RegexRouter", RegexRouter, RegexRouterConfig);

impl RegexRouter {
    fn new(config: RegexRouterConfig) -> Result<Self, Vec<Problem>> {
        let wrong = |key: &str, value: &str, message: String| {
            vec![Problem::with_value(key, value, message)]
        };
        let pattern = JavaPattern::new(&config.regex)
            .map_err(|message| wrong("regex", &config.regex, message))?;
        let replacement = pieces(&config.replacement, &pattern)
            .map_err(|message| wrong("replacement", &config.replacement, message))?;
        Ok(RegexRouter {
            pattern,
            replacement,
            last: Mutex::default(),
        })
    }

    fn renamed(&self, topic: &Arc<str>) -> Result<Arc<str>, ConnectError> {
        if !self.pattern.is_whole(topic)? {
            return Ok(Arc::clone(topic));
        }
        let new = self.pattern.replace(topic, |captures| {
            let piece = |piece: &Piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Group(group) => captures
                    .get(*group)
                    .map_or_else(String::new, |found| found.as_str().to_owned()),
            };
            self.replacement.iter().map(piece).collect()
        })?;
        Ok(new.into())
    }
}

impl Transform for RegexRouter {
    fn apply(&self, record: &mut RecordView<'_>) -> Result<Fate, ConnectError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *record.topic = match &*last {
            Some((old, new)) if Arc::ptr_eq(old, record.topic) || old == record.topic => {
                Arc::clone(new)
            }
            _ => {
                let new = self.renamed(record.topic)?;
                *last = Some((Arc::clone(record.topic), Arc::clone(&new)));
                new
            }
        };
        Ok(Fate::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::value::Value;

    fn routed(regex: &str, replacement: &str, topic: &str) -> String {
        let router = transform(
            "RegexRouter",
            &[("regex", regex), ("replacement", replacement)],
        );
        let mut record = source(Value::Null);
        record.topic = topic.into();
        assert_eq!(apply(&*router, &mut record).unwrap(), Fate::Keep);
        record.topic.to_string()
    }

    #[test]
    fn only_a_topic_that_matches_as_a_whole_is_renamed() {
        assert_eq!(routed("(.*)-dev", "$1", "orders-dev"), "orders");
        assert_eq!(routed("dev", "x", "orders-dev"), "orders-dev");
        assert_eq!(routed("(?<n>.)(.*)", r"\$${n}$20", "abc"), "$abc0");
        assert_eq!(routed("a|b", "c", "b"), "c");
    }

    #[test]
    fn records_of_a_topic_share_its_new_name() {
        let router = transform("RegexRouter", &[("regex", ".*"), ("replacement", "x")]);
        let (mut a, mut b) = (source(Value::Null), source(Value::Null));
        assert_eq!(apply(&*router, &mut a).unwrap(), Fate::Keep);
        assert_eq!(apply(&*router, &mut b).unwrap(), Fate::Keep);
        assert!(Arc::ptr_eq(&a.topic, &b.topic));
    }

    #[test]
    fn wrong_patterns_and_groups_are_problems() {
        for (regex, replacement) in [
            ("(", "x"),
            ("a)(b", "x"),
            ("a", "$1"),
            ("a", "${n}"),
            ("a", "$"),
        ] {
            let keys = [("regex", regex), ("replacement", replacement)];
            assert_eq!(
                problems("RegexRouter", &keys).len(),
                1,
                "{regex} {replacement}"
            );
        }
        assert_eq!(problems("RegexRouter", &[]).len(), 2);
    }
}
