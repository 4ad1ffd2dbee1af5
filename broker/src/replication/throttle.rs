//! How fast replicas that catch up may be copied (KIP-73), so that a reassignment leaves room for
//! clients. Replicas in sync are never held back.

use std::collections::BTreeSet;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::layers::Settings;

/// Bytes per second, counted over about one second.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    state: Mutex<Option<Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    bytes_per_second: u64,
    /// What may be copied now; below zero after more was copied at once.
    left: i64,
    refilled: Instant,
}

impl Throttle {
    /// Limits to `bytes_per_second`; `None` for no limit.
    pub(super) fn set_rate(&self, bytes_per_second: Option<u64>) {
        let mut state = self.state.lock();
        if state.as_ref().map(|bucket| bucket.bytes_per_second) == bytes_per_second {
            return;
        }
        *state = bytes_per_second.map(|bytes_per_second| Bucket {
            bytes_per_second: bytes_per_second.max(1),
            left: signed(bytes_per_second.max(1)),
            refilled: Instant::now(),
        });
    }

    /// Whether there is a limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.state.lock().is_some()
    }

    /// Notes bytes of a throttled replica.
    pub(crate) fn copied(&self, bytes: usize) {
        if let Some(bucket) = &mut *self.state.lock() {
            bucket.left = bucket
                .left
                .saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// How long throttled replicas have to wait; `None` if not at all.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let mut state = self.state.lock();
        let bucket = state.as_mut()?;
        bucket.refill(Instant::now());
        if bucket.left > 0 {
            return None;
        }
        let missing = bucket.left.unsigned_abs().saturating_add(1);
        let millis = missing
            .saturating_mul(1000)
            .div_ceil(bucket.bytes_per_second);
        Some(Duration::from_millis(millis.max(1)))
    }
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled).as_millis();
        let earned = u128::from(self.bytes_per_second).saturating_mul(elapsed) / 1000;
        if earned == 0 {
            return;
        }
        self.refilled = now;
        self.left = self
            .left
            .saturating_add(i64::try_from(earned).unwrap_or(i64::MAX))
            .min(signed(self.bytes_per_second));
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Which replicas of a topic are throttled: the value of one of its `*.throttled.replicas`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ThrottledReplicas {
    #[default]
    None,
    All,
    /// Partition and broker.
    Some(BTreeSet<(i32, i32)>),
}

impl ThrottledReplicas {
    /// What `key` says in a topic's settings.
    pub(crate) fn of(settings: &Settings, key: &str) -> Self {
        match settings.get(key).map(|value| value.trim()) {
            None | Some("") => Self::None,
            Some("*") => Self::All,
            Some(list) => Self::Some(
                list.split(',')
                    .filter_map(|entry| {
                        let (partition, broker) = entry.trim().split_once(':')?;
                        Some((partition.parse().ok()?, broker.parse().ok()?))
                    })
                    .collect(),
            ),
        }
    }

    /// Whether the replica of `partition` on `broker` is one of them.
    pub(crate) fn contains(&self, partition: i32, broker: i32) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(replicas) => replicas.contains(&(partition, broker)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_a_burst_it_waits_until_the_rate_is_kept() {
        let throttle = Throttle::default();
        throttle.copied(1 << 40);
        assert_eq!(throttle.wait(), None, "without a rate there is no limit");
        throttle.set_rate(Some(1000));
        assert_eq!(throttle.wait(), None);
        throttle.copied(3000);
        let wait = throttle.wait().unwrap();
        assert!(wait > Duration::from_millis(1990) && wait < Duration::from_millis(2010));
        tokio::time::advance(wait).await;
        assert_eq!(throttle.wait(), None);
        throttle.set_rate(None);
        throttle.copied(1 << 40);
        assert_eq!(throttle.wait(), None);
    }

    #[test]
    fn replicas_are_named_by_partition_and_broker() {
        let settings = |value: &str| Settings::from([("k".to_owned(), value.to_owned())]);
        let listed = ThrottledReplicas::of(&settings("0:1, 2:3"), "k");
        assert!(listed.contains(0, 1) && listed.contains(2, 3) && !listed.contains(0, 3));
        assert!(ThrottledReplicas::of(&settings("*"), "k").contains(7, 7));
        assert!(!ThrottledReplicas::of(&Settings::new(), "k").contains(0, 0));
    }
}
