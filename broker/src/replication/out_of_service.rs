//! Partitions of this node that cannot be used for now, and why.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::Key;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct OutOfService {
    reasons: Mutex<BTreeMap<Key, String>>,
}

impl OutOfService {
    /// Notes why; answers whether that is news.
    pub(super) fn note(&self, key: Key, reason: &str) -> bool {
        let mut reasons = self.reasons.lock();
        let known = reasons.get(&key).is_some_and(|known| known == reason);
        if !known {
            reasons.insert(key, reason.to_owned());
        }
        !known
    }

    /// It is in service again, or not on this node any more. Answers whether it had not been.
    pub(super) fn clear(&self, key: &Key) -> bool {
        self.reasons.lock().remove(key).is_some()
    }

    /// Why the partition cannot be used, if it cannot.
    pub(crate) fn reason(&self, key: &Key) -> Option<String> {
        self.reasons.lock().get(key).cloned()
    }

    /// All of them.
    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<(Key, String)> {
        let reasons = self.reasons.lock();
        reasons
            .iter()
            .map(|(key, reason)| (*key, reason.clone()))
            .collect()
    }
}
