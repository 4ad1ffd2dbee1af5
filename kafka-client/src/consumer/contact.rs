//! Whether the brokers that a consumer needs answer it, for those who ask why nothing comes.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::ClientError;

/// Whom a consumer talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    /// The coordinator of its group.
    Coordinator,
    /// The leader of partitions, by its id.
    Leader(i32),
}

/// The peers that do not answer: since when, and the last error.
#[derive(Debug, Default)]
pub(super) struct Contact(Mutex<BTreeMap<Peer, (Instant, ClientError)>>);

impl Contact {
    pub(super) fn failed(&self, peer: Peer, error: &ClientError) {
        let mut lost = self.0.lock();
        let now = Instant::now();
        let entry = lost.entry(peer).or_insert_with(|| (now, error.clone()));
        entry.1 = error.clone();
    }

    pub(super) fn restored(&self, peer: Peer) {
        let mut lost = self.0.lock();
        if !lost.is_empty() {
            lost.remove(&peer);
        }
    }

    /// The one that has been silent for the longest time, of those that are needed.
    pub(super) fn lost(&self, needed: impl Fn(Peer) -> bool) -> Option<(Duration, ClientError)> {
        let lost = self.0.lock();
        let needed = lost.iter().filter(|(peer, _)| needed(**peer));
        let (since, error) = needed.map(|(_, entry)| entry).min_by_key(|entry| entry.0)?;
        Some((since.elapsed(), error.clone()))
    }
}
