//! What was changed in offsets on request, and what they were before, so that it can be undone.
//!
//! It is kept in the topic of the offsets, because that outlives the worker and is written in turn with them:
//! a record for each connector, which other workers pass over. It is written before the change is made, so that
//! a change is never without it; after a crash in between, it tells of a change that was not made, and
//! undoing that does no harm.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The changes that are kept of a connector.
const CHANGES_MAX: usize = 20;
/// The most bytes that they take: a record has to fit into a request.
const BYTES_MAX: usize = 512 * 1024;

/// One change of a connector's offsets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OffsetChange {
    /// Counts up from 1.
    pub number: u64,
    /// When it was made, in milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// Whether all offsets were removed.
    pub reset: bool,
    /// What was there: entries as the REST interface has them, with null for none. `None` if that was too
    /// much to keep.
    pub before: Option<Vec<Value>>,
    /// What was wanted.
    pub after: Option<Vec<Value>>,
}

/// The changes of one connector, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct OffsetHistory {
    pub(crate) changes: Vec<OffsetChange>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    #[serde(rename = "offsets-history")]
    connector: String,
}

impl OffsetHistory {
    /// The same with one more change.
    pub(super) fn with(&self, reset: bool, before: Vec<Value>, after: Vec<Value>) -> Self {
        let mut changes = self.changes.clone();
        let number = changes.last().map_or(1, |last| last.number + 1);
        changes.push(OffsetChange {
            number,
            timestamp_ms: platform::clock::unix_millis(),
            reset,
            before: Some(before),
            after: Some(after),
        });
        let mut history = Self { changes };
        while history.changes.len() > CHANGES_MAX
            || (history.changes.len() > 1 && history.bytes().len() > BYTES_MAX)
        {
            history.changes.remove(0);
        }
        if history.bytes().len() > BYTES_MAX
            && let Some(last) = history.changes.last_mut()
        {
            (last.before, last.after) = (None, None);
        }
        history
    }

    pub(super) fn bytes(&self) -> Bytes {
        // Maps with text keys always serialize to memory.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// Under which key the history of a connector is stored. It is no list, as those of offsets are.
pub(super) fn key_bytes(connector: &str) -> Bytes {
    let connector = connector.to_owned();
    serde_json::to_vec(&Key { connector })
        .unwrap_or_default()
        .into()
}

/// The connector whose history is stored under a key, if it is one of those.
pub(super) fn parse_key(bytes: &[u8]) -> Option<String> {
    let key: Key = serde_json::from_slice(bytes).ok()?;
    Some(key.connector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_not_those_of_offsets() {
        let key = key_bytes("a \"b\"");
        assert_eq!(parse_key(&key).unwrap(), "a \"b\"");
        assert!(crate::offsets::key::parse_key(&key).is_none());
        assert!(parse_key(br#"["a",{"b":1}]"#).is_none());
    }

    #[test]
    fn the_last_changes_are_kept_as_far_as_they_fit() {
        let mut history = OffsetHistory::default();
        for number in 0..30 {
            history = history.with(false, vec![json!(number)], Vec::new());
        }
        assert_eq!(history.changes.len(), CHANGES_MAX);
        assert_eq!(history.changes.last().unwrap().number, 30);
        assert_eq!(OffsetHistory::parse(&history.bytes()).unwrap(), history);
        let large = vec![json!("x".repeat(400_000))];
        history = history.with(false, large.clone(), Vec::new());
        history = history.with(true, large.clone(), Vec::new());
        assert_eq!(history.changes.len(), 1);
        history = history.with(true, large.clone(), large);
        assert_eq!(history.changes[0].before, None);
        assert_eq!(history.changes[0].number, 33);
    }
}
