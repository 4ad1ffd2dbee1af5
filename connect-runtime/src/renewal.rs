//! Notices that references to configuration providers stand for something else than what was given to
//! something that runs.
//!
//! Files are not always exchanged in one step, so a change counts once it looks the same twice. A value
//! that is gone is no change: what runs needs it only when it starts again.

use std::time::Duration;

use connect_core::ConfigMap;

/// Between the two looks at a change.
const CONFIRM: Duration = Duration::from_secs(1);

/// Values as something was given them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    maps: Vec<ConfigMap>,
    /// References that stayed as they stand.
    unresolved: usize,
}

impl Given {
    pub(crate) fn of(maps: Vec<ConfigMap>) -> Self {
        let values = maps.iter().flat_map(ConfigMap::values);
        Self {
            unresolved: values.filter(|text| text.contains("${")).count(),
            maps,
        }
    }
}

/// Compares what was given with what would be given now.
pub(crate) struct Renewal {
    interval: Duration,
    given: Given,
    /// What was another at the last look.
    seen: Option<Given>,
}

impl Renewal {
    pub(crate) fn new(interval: Duration, given: Given) -> Self {
        Self {
            interval,
            given,
            seen: None,
        }
    }

    /// The time until the next look.
    pub(crate) fn pause(&self) -> Duration {
        match self.seen {
            Some(_) => self.interval.min(CONFIRM),
            None => self.interval,
        }
    }

    /// Takes a look; whether it is another for certain. `None` if it could not be read.
    pub(crate) fn sees(&mut self, now: Option<Given>) -> bool {
        let other = now.filter(|now| *now != self.given && now.unresolved <= self.given.unresolved);
        let certain = other.is_some() && other == self.seen;
        self.seen = other;
        certain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(password: &str) -> Given {
        let map = [("user", "alice"), ("password", password)];
        let map = map.map(|(key, text)| (key.to_owned(), text.to_owned()));
        Given::of(vec![map.into()])
    }

    #[test]
    fn a_change_counts_once_it_looks_the_same_twice() {
        let interval = Duration::from_secs(10);
        let mut renewal = Renewal::new(interval, given("old"));
        assert!(!renewal.sees(Some(given("old"))));
        assert_eq!(renewal.pause(), interval);
        assert!(!renewal.sees(Some(given("ne"))), "half of it is written");
        assert_eq!(renewal.pause(), CONFIRM);
        assert!(!renewal.sees(Some(given("new"))));
        assert!(renewal.sees(Some(given("new"))));
    }

    #[test]
    fn a_value_that_is_gone_is_no_change() {
        let mut renewal = Renewal::new(Duration::ZERO, given("old"));
        for _ in 0..3 {
            assert!(!renewal.sees(None));
            assert!(!renewal.sees(Some(given("${file:/secrets:password}"))));
        }
    }
}
