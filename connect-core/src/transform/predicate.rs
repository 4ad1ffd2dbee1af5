//! Kafka's predicates.

use super::java_pattern::JavaPattern;
use super::registry::PredicateInfo;
use super::{Predicate, RecordView};
use crate::config::{Config, Problem};

#[derive(Config)]
struct TopicNameMatchesConfig {
    /// The pattern that the whole name of the topic must match.
    #[config(importance = "high", non_empty)]
    pattern: String,
}

struct TopicNameMatches(JavaPattern);

impl Predicate for TopicNameMatches {
    fn test(&self, record: &RecordView<'_>) -> bool {
        // A pattern that takes too long for a topic does not match it.
        self.0.is_whole(record.topic).unwrap_or(false)
    }
}

inventory::submit! {
    PredicateInfo {
        class: "org.apache.kafka.connect.transforms.predicates.TopicNameMatches",
        version: env!("CARGO_PKG_VERSION"),
        definition: TopicNameMatchesConfig::definition,
        make: |config| {
            let pattern = TopicNameMatchesConfig::parse(config)?.pattern;
            match JavaPattern::new(&pattern) {
                Ok(pattern) => Ok(Box::new(TopicNameMatches(pattern))),
                Err(message) => Err(vec![Problem::with_value("pattern", pattern, message)]),
            }
        },
    }
}

#[derive(Config)]
struct HasHeaderKeyConfig {
    /// The header's name.
    #[config(importance = "high", non_empty)]
    name: String,
}

struct HasHeaderKey(String);

impl Predicate for HasHeaderKey {
    fn test(&self, record: &RecordView<'_>) -> bool {
        record.headers.last(&self.0).is_some()
    }
}

inventory::submit! {
    PredicateInfo {
        class: "org.apache.kafka.connect.transforms.predicates.HasHeaderKey",
        version: env!("CARGO_PKG_VERSION"),
        definition: HasHeaderKeyConfig::definition,
        make: |config| Ok(Box::new(HasHeaderKey(HasHeaderKeyConfig::parse(config)?.name))),
    }
}

#[derive(Config)]
struct RecordIsTombstoneConfig {}

struct RecordIsTombstone;

impl Predicate for RecordIsTombstone {
    fn test(&self, record: &RecordView<'_>) -> bool {
        record.value.is_null()
    }
}

inventory::submit! {
    PredicateInfo {
        class: "org.apache.kafka.connect.transforms.predicates.RecordIsTombstone",
        version: env!("CARGO_PKG_VERSION"),
        definition: RecordIsTombstoneConfig::definition,
        make: |_| Ok(Box::new(RecordIsTombstone)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{map, map_of, source};
    use super::super::{RecordView, find_predicate};
    use crate::value::Value;

    fn holds(class: &str, keys: &[(&str, &str)], value: Value) -> bool {
        let predicate = (find_predicate(class).unwrap().make)(&map_of(keys)).unwrap();
        let mut record = source(value);
        record.headers.add("h", 1, None);
        predicate.test(&RecordView::from(&mut record))
    }

    #[test]
    fn predicates_look_at_topic_header_and_value() {
        let topic = |pattern| holds("TopicNameMatches", &[("pattern", pattern)], Value::Null);
        assert!(topic("to.*") && !topic("to"), "the whole name counts");
        let header = |name| holds("HasHeaderKey", &[("name", name)], Value::Null);
        assert!(header("h") && !header("x"));
        assert!(holds("RecordIsTombstone", &[], Value::Null));
        assert!(!holds("RecordIsTombstone", &[], map()));
    }

    #[test]
    fn wrong_patterns_are_problems() {
        let make = find_predicate("TopicNameMatches").unwrap().make;
        assert_eq!(make(&map_of(&[])).err().unwrap().len(), 1);
        assert_eq!(make(&map_of(&[("pattern", "(")])).err().unwrap().len(), 1);
    }
}
