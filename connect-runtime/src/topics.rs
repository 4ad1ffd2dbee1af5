//! Which topics connectors have used (KIP-558): those a source has written to and those whose records a
//! sink was given, since the worker started or somebody reset it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

/// The used topics of all connectors.
pub(crate) struct UsedTopics {
    tracked: bool,
    topics: RwLock<HashMap<Arc<str>, BTreeSet<Arc<str>>>>,
}

impl UsedTopics {
    /// None used yet; none is ever noted unless they are `tracked`.
    pub(crate) fn new(tracked: bool) -> Self {
        Self {
            tracked,
            topics: RwLock::default(),
        }
    }

    /// A connector uses a topic. Cheap if it is known already, for it is called for every batch.
    pub(crate) fn note(&self, connector: &Arc<str>, topic: &Arc<str>) {
        let known = |used: &HashMap<Arc<str>, BTreeSet<Arc<str>>>| {
            used.get(connector)
                .is_some_and(|topics| topics.contains(topic))
        };
        if !self.tracked || known(&self.topics.read()) {
            return;
        }
        let mut used = self.topics.write();
        // A copy, because what a batch has may be a part of something large.
        let topic = Arc::from(&**topic);
        used.entry(Arc::clone(connector)).or_default().insert(topic);
    }

    /// The topics of a connector, sorted.
    pub(crate) fn of(&self, connector: &str) -> Vec<String> {
        let used = self.topics.read();
        let topics = used.get(connector).into_iter().flatten();
        topics.map(|topic| topic.to_string()).collect()
    }

    /// Forgets the topics of a connector; those it goes on to use are noted again.
    pub(crate) fn forget(&self, connector: &str) {
        self.topics.write().remove(connector);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_noted_until_they_are_forgotten() {
        let used = UsedTopics::new(true);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        for topic in ["y", "x", "y"] {
            used.note(&a, &topic.into());
        }
        used.note(&b, &"z".into());
        assert_eq!(used.of("a"), ["x", "y"]);
        used.forget("a");
        assert!(used.of("a").is_empty());
        assert_eq!(used.of("b"), ["z"]);
        used.note(&a, &"x".into());
        assert_eq!(used.of("a"), ["x"]);
    }

    #[test]
    fn nothing_is_noted_unless_it_is_wanted() {
        let used = UsedTopics::new(false);
        used.note(&"a".into(), &"x".into());
        assert!(used.of("a").is_empty());
    }
}
