//! A cache with a limit on entries and on bytes, because what fills it comes from outside.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// All schemas of a cache together, by their texts; more than enough, and a hostile topic cannot take more.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a converter remembers of schemas: so many entries at most, and 16 MiB of what they are said to
/// take. Forgets the oldest entry first.
#[derive(Debug)]
pub struct Cache<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<(K, usize)>,
    entries_max: usize,
    bytes: usize,
}

impl<K: Hash + Eq + Clone, V> Cache<K, V> {
    /// With room for so many entries; none are kept if it is 0.
    pub fn new(entries_max: usize) -> Self {
        Cache {
            entries: HashMap::new(),
            order: VecDeque::new(),
            entries_max,
            bytes: 0,
        }
    }

    /// What is remembered of a key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key)
    }

    /// Remembers a value, which takes so many bytes, unless there is one.
    pub fn put(&mut self, key: K, bytes: usize, value: V) {
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

    /// Forgets a key.
    pub fn remove(&mut self, key: &K) {
        if self.entries.remove(key).is_some()
            && let Some(at) = self.order.iter().position(|(other, _)| other == key)
            && let Some((_, size)) = self.order.remove(at)
        {
            self.bytes -= size;
        }
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
        cache.remove(&3);
        cache.put(4, BYTES_MAX, 4);
        assert_eq!(cache.get(&4), Some(&4), "what was removed takes no room");
    }
}
