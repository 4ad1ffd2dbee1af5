//! A cache with a limit on entries and on bytes, because what fills it comes from outside.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// All schemas of a converter together; more than enough, and a hostile topic cannot take more.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Forgets the oldest entry first.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<(K, usize)>,
    entries_max: usize,
    bytes: usize,
}

impl<K: Hash + Eq + Clone, V> Cache<K, V> {
    pub(super) fn new(entries_max: usize) -> Self {
        Cache {
            entries: HashMap::new(),
            order: VecDeque::new(),
            entries_max,
            bytes: 0,
        }
    }

    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key)
    }

    pub(super) fn put(&mut self, key: K, bytes: usize, value: V) {
        if self.entries_max == 0 || bytes > BYTES_MAX || self.entries.contains_key(&key) {
            return;
        }
        while self.entries.len() >= self.entries_max || self.bytes + bytes > BYTES_MAX {
            let Some((oldest, size)) = self.order.pop_front() else {
                break;
            };
            self.entries.remove(&oldest);
            self.bytes -= size;
        }
        self.order.push_back((key.clone(), bytes));
        self.entries.insert(key, value);
        self.bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_makes_room() {
        let mut cache = Cache::new(2);
        for key in 0..3 {
            cache.put(key, 1, key);
        }
        assert_eq!(
            (cache.get(&0), cache.get(&1), cache.get(&2)),
            (None, Some(&1), Some(&2))
        );
        cache.put(3, BYTES_MAX, 3);
        assert_eq!((cache.get(&2), cache.get(&3)), (None, Some(&3)));
        cache.put(4, BYTES_MAX + 1, 4);
        assert_eq!(cache.get(&4), None);
    }
}
