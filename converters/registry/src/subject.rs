//! Under which subject a registry has the schema of a record's key or value.

use connect_core::ConnectError;

/// How a subject is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Strategy {
    /// `orders-value`: one schema a topic.
    #[default]
    Topic,
    /// `com.example.Order`: one schema a record type, whatever the topic.
    Record,
    /// `orders-com.example.Order`.
    TopicRecord,
}

impl Strategy {
    /// By Confluent's class name, or its last part.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.trim().rsplit('.').next()? {
            "TopicNameStrategy" => Some(Strategy::Topic),
            "RecordNameStrategy" => Some(Strategy::Record),
            "TopicRecordNameStrategy" => Some(Strategy::TopicRecord),
            _ => None,
        }
    }

    /// The subject; `record` is the full name of the schema's outermost record, if it is one.
    ///
    /// # Errors
    /// Record: the strategy needs a name and there is none.
    pub(crate) fn subject(
        self,
        topic: &str,
        is_key: bool,
        record: Option<&str>,
    ) -> Result<String, ConnectError> {
        let part = if is_key { "key" } else { "value" };
        let named = || {
            record.ok_or_else(|| {
                ConnectError::record(format!(
                    "the subject is named after the record, but the {part}'s schema is no record with a \
                     name; set {part}.subject.name.strategy=TopicNameStrategy"
                ))
            })
        };
        Ok(match self {
            Strategy::Topic => format!("{topic}-{part}"),
            Strategy::Record => named()?.to_owned(),
            Strategy::TopicRecord => format!("{topic}-{}", named()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_answer_to_confluent_s_names() {
        let full = "io.confluent.kafka.serializers.subject.TopicRecordNameStrategy";
        let strategy = Strategy::named(full).unwrap();
        assert_eq!(strategy.subject("t", false, Some("a.B")).unwrap(), "t-a.B");
        let topic = Strategy::default();
        assert_eq!(topic.subject("t", true, None).unwrap(), "t-key");
        let record = Strategy::named("RecordNameStrategy").unwrap();
        assert_eq!(record.subject("t", false, Some("a.B")).unwrap(), "a.B");
        assert!(record.subject("t", false, None).is_err());
        assert_eq!(Strategy::named("Other"), None);
    }
}
