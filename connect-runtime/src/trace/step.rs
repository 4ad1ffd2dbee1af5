//! One step of a record's way.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Shaper, Snapshot};

/// Where a record was seen.
#[derive(Debug, Clone)]
pub(crate) enum Point {
    /// As a source gave it.
    Polled,
    /// As it was in the topic.
    Consumed,
    /// A sink's record behind the converters.
    Converted,
    /// At a converter that failed.
    Converter { class: &'static str },
    /// Behind a transform.
    Transform {
        alias: Arc<str>,
        class: &'static str,
    },
    /// As bytes for the topic.
    Sent,
    /// As a sink is given it.
    Put,
}

impl Point {
    /// The names by which people ask for it; a transform's is `transform:` and its own.
    pub(crate) const NAMES: [&str; 6] = [
        "polled",
        "consumed",
        "converted",
        "transformed",
        "sent",
        "put",
    ];

    /// Its name among [`NAMES`](Self::NAMES). A converter that fails is between what a record was and
    /// what it becomes.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Polled => "polled",
            Self::Consumed => "consumed",
            Self::Converted | Self::Converter { .. } => "converted",
            Self::Transform { .. } => "transformed",
            Self::Sent => "sent",
            Self::Put => "put",
        }
    }
}

/// What happened there.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// It went on like this.
    Record(Snapshot),
    /// A predicate kept the transform away.
    NotApplied,
    /// The transform dropped it.
    Dropped,
    /// It failed.
    Failed { error: String, fate: Fate },
}

/// What becomes of a record that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The task ends.
    FailsTask,
    /// It is skipped and gone.
    Skipped,
    /// It is skipped and kept in this topic.
    Letter(Arc<str>),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailsTask => f.write_str("fails the task"),
            Self::Skipped => f.write_str("skipped"),
            Self::Letter(topic) => write!(f, "skipped, kept in topic {topic}"),
        }
    }
}

/// One step.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) point: Point,
    pub(crate) what: What,
}

impl Step {
    /// As it is shown.
    pub(crate) fn shown(&self, shaper: &Shaper<'_>) -> Value {
        let mut shape = Map::new();
        let mut put = |key: &str, value: Value| {
            shape.insert(key.to_owned(), value);
        };
        put("stage", json!(self.point.name()));
        match &self.point {
            Point::Transform { alias, class } => {
                put("transform", json!(&**alias));
                put("class", json!(class));
            }
            Point::Converter { class } => put("class", json!(class)),
            _ => {}
        }
        match &self.what {
            What::Record(record) => put("record", shaper.record(record)),
            What::NotApplied => put("outcome", json!("not applied")),
            What::Dropped => put("outcome", json!("dropped")),
            What::Failed { error, fate } => {
                put("outcome", json!("failed"));
                put("error", shaper.error(error));
                put("then", json!(fate.to_string()));
            }
        }
        Value::Object(shape)
    }
}
