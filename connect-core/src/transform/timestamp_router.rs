//! `TimestampRouter`: the topic's name gets the record's timestamp, so that there is one topic a day.

use std::sync::{Arc, Mutex, PoisonError};

use super::date_pattern::DatePattern;
use super::{Fate, RecordView, Transform, registry};
use crate::config::{Config, Problem};
use crate::error::ConnectError;

#[derive(Config)]
pub(super) struct TimestampRouterConfig {
    /// The new name; "${topic}" and "${timestamp}" stand for the old one and the timestamp.
    #[config(default = "${topic}-${timestamp}", importance = "high")]
    topic_format: String,
    /// The timestamp's form, as Java's SimpleDateFormat writes it, in UTC.
    #[config(default = "yyyyMMdd", importance = "high")]
    timestamp_format: String,
}

struct TimestampRouter {
    topic_format: String,
    pattern: DatePattern,
    /// The last topic that was renamed, so that its records share one text.
    last: Mutex<Option<Renamed>>,
}

struct Renamed {
    topic: Arc<str>,
    timestamp: String,
    to: Arc<str>,
}

registry::register_whole!("TimestampRouter", TimestampRouter, TimestampRouterConfig);

impl TimestampRouter {
    fn new(config: TimestampRouterConfig) -> Result<Self, Vec<Problem>> {
        let pattern = DatePattern::new(&config.timestamp_format).map_err(|message| {
            let text = config.timestamp_format.as_str();
            vec![Problem::with_value("timestamp.format", text, message)]
        })?;
        Ok(TimestampRouter {
            topic_format: config.topic_format,
            pattern,
            last: Mutex::default(),
        })
    }
}

impl Transform for TimestampRouter {
    fn apply(&self, record: &mut RecordView<'_>) -> Result<Fate, ConnectError> {
        let Some(timestamp) = *record.timestamp else {
            return Err(ConnectError::record(format!(
                "the record for topic \"{}\" has no timestamp to name its topic by",
                record.topic
            )));
        };
        let text = self.pattern.format(timestamp);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *record.topic = match &*last {
            Some(last) if last.timestamp == text && last.topic == *record.topic => {
                Arc::clone(&last.to)
            }
            _ => {
                let new = self.topic_format.replace("${topic}", record.topic);
                let new: Arc<str> = new.replace("${timestamp}", &text).into();
                *last = Some(Renamed {
                    topic: Arc::clone(record.topic),
                    timestamp: text,
                    to: Arc::clone(&new),
                });
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

    #[test]
    fn the_topic_gets_the_timestamp() {
        let router = transform("TimestampRouter", &[]);
        let mut record = source(Value::Null).with_timestamp(1_700_000_000_000);
        assert_eq!(apply(&*router, &mut record).unwrap(), Fate::Keep);
        assert_eq!(&*record.topic, "topic-20231114");
        let keys = [
            ("topic.format", "${timestamp}.${topic}"),
            ("timestamp.format", "yyyy-MM"),
        ];
        let mut record = source(Value::Null).with_timestamp(0);
        assert_eq!(
            apply(&*transform("TimestampRouter", &keys), &mut record).unwrap(),
            Fate::Keep
        );
        assert_eq!(&*record.topic, "1970-01.topic");
        assert!(error(&*router, Value::Null).contains("no timestamp"));
        assert_eq!(
            problems("TimestampRouter", &[("timestamp.format", "yyyyQ")]).len(),
            1
        );
    }
}
