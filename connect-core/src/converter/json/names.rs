//! Names of members: the records of a topic have the same ones, in the same order.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use bytes::Bytes;

use crate::text::Str;

/// Names that live as long as the program, all converters together, and how long each may be: a quarter
/// of a megabyte at most.
const KEPT_MAX: usize = 4096;
const KEPT_BYTES_MAX: usize = 64;
/// Names of one record that are expected to come again.
const EXPECTED_MAX: usize = 256;
/// How many more names may be unexpected than expected ones; where names are data there is no end of them.
const PATIENCE: u32 = 1024;

/// Text that is the program's is shared without counting references.
static KEPT: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);

/// What names the next record is expected to have.
#[derive(Debug)]
pub(super) struct Names {
    expected: Vec<Str>,
    next: usize,
    patience: u32,
}

impl Default for Names {
    fn default() -> Self {
        Names {
            expected: Vec::new(),
            next: 0,
            patience: PATIENCE,
        }
    }
}

impl Names {
    /// Of records that are not expected to have the same ones.
    pub(super) fn unexpected() -> Self {
        Names {
            patience: 0,
            ..Names::default()
        }
    }

    /// A record begins.
    pub(super) fn begin(&mut self) {
        self.next = 0;
    }

    /// The name as a text, which is a slice of the buffer unless it is one that comes again and again.
    pub(super) fn get(&mut self, buffer: &Bytes, name: &str) -> Str {
        let place = self.next;
        self.next += 1;
        if let Some(expected) = self.expected.get(place)
            && **expected == *name
        {
            self.patience = self.patience.saturating_add(1).min(PATIENCE);
            return expected.clone();
        }
        if self.patience == 0 || name.len() > KEPT_BYTES_MAX || place >= EXPECTED_MAX {
            return Str::within(buffer, name);
        }
        self.patience -= 1;
        let Some(kept) = kept(name) else {
            return Str::within(buffer, name);
        };
        if let Some(expected) = self.expected.get_mut(place) {
            *expected = kept.clone();
        } else if place == self.expected.len() {
            self.expected.push(kept.clone());
        }
        kept
    }
}

fn kept(name: &str) -> Option<Str> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.get(name) {
        return Some(Str::from_static(known));
    }
    if kept.len() >= KEPT_MAX {
        return None;
    }
    let name: &'static str = Box::leak(Box::from(name));
    kept.insert(name);
    Some(Str::from_static(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_come_again_are_kept_once_and_others_are_slices() {
        let mut names = Names::default();
        let buffer = Bytes::from_static(b"one two");
        for _ in 0..3 {
            names.begin();
            assert_eq!(names.get(&buffer, "kept once"), "kept once");
            assert_eq!(names.get(&buffer, "kept, too"), "kept, too");
        }
        let (first, again) = (kept("kept once").unwrap(), kept("kept once").unwrap());
        assert!(std::ptr::eq(first.as_str(), again.as_str()));
        let long = "x".repeat(KEPT_BYTES_MAX + 1);
        assert_eq!(names.get(&buffer, &long), *long);
        assert!(!KEPT.lock().unwrap().contains(&*long));
    }

    #[test]
    fn names_that_are_data_are_not_kept_for_ever() {
        let mut names = Names::default();
        let buffer = Bytes::new();
        for number in 0..10 * PATIENCE {
            names.begin();
            let name = format!("data {number}");
            assert_eq!(names.get(&buffer, &name), *name);
        }
        assert_eq!(names.patience, 0);
        assert!(KEPT.lock().unwrap().len() <= KEPT_MAX);
    }
}
