//! What a leader knows of its followers, and what follows from it: which records are committed, and who is in sync.
//!
//! Values in, values out: no files, no clock of its own, no locks. [`Partition`](super::Partition) keeps one while it
//! leads.
//!
//! Invariants: what is committed is on every replica that may become leader, which are those in sync as the controller
//! knows them, and those that it may come to know because they were proposed; nothing is committed while fewer than
//! `min.insync.replicas` are in sync, so that a replica that was in sync then still has all of it (KIP-966).

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::roles::{FollowerFetch, IsrProposal, Leading};
use crate::error_code;

/// For how long after a fetch a follower that is about to be in sync holds back what counts as committed. Without it,
/// one would never reach a leader that is written to all the time; a dead one must not hold up anybody for long.
pub(super) const JOINING: Duration = Duration::from_millis(200);
/// How long no new replica is proposed after the controller refused one.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// Stands for a replica's log end that is not known, as the replica did not fetch from this leader yet.
const UNKNOWN: i64 = -1;

/// One follower, as far as its fetches tell.
#[derive(Debug)]
struct Follower {
    /// Of the registration it fetches under; -1 before its first fetch.
    broker_epoch: i64,
    log_end: i64,
    log_start: i64,
    fetched: Option<Instant>,
    /// The leader's log end at its last fetch.
    leader_end: i64,
    /// When it last had everything.
    caught_up: Option<Instant>,
}

impl Follower {
    fn new(caught_up: Option<Instant>) -> Self {
        Self {
            broker_epoch: -1,
            log_end: UNKNOWN,
            log_start: UNKNOWN,
            fetched: None,
            leader_end: i64::MAX,
            caught_up,
        }
    }

    /// Kafka's rule: it has caught up when its fetch reaches the end that the leader had at the fetch before, as of
    /// that fetch. Else it would never have, while the leader is written to.
    fn note(&mut self, offset: i64, leader_end: i64, now: Instant) {
        if offset >= leader_end {
            self.caught_up = Some(now);
        } else if offset >= self.leader_end {
            self.caught_up = self.caught_up.max(self.fetched);
        }
        self.log_end = offset;
        self.leader_end = leader_end;
        self.fetched = Some(now);
    }

    fn is_caught_up(&self, leader_end: i64, now: Instant, lag_max: Duration) -> bool {
        self.log_end == leader_end
            || self
                .caught_up
                .is_some_and(|at| now.saturating_duration_since(at) <= lag_max)
    }

    fn is_joining(&self, now: Instant) -> bool {
        let recent =
            |at: Option<Instant>| at.is_some_and(|at| now.saturating_duration_since(at) <= JOINING);
        recent(self.fetched) && recent(self.caught_up)
    }
}

/// A proposal on its way.
#[derive(Debug)]
struct InFlight {
    proposal: IsrProposal,
    /// What came of it is not known, so that it is sent again.
    again: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Leadership {
    leading: Leading,
    /// Where the log ended when this epoch began.
    epoch_start: i64,
    /// All other replicas.
    followers: BTreeMap<i32, Follower>,
    in_flight: Option<InFlight>,
    refused: Option<Instant>,
    /// The latest moment anybody named.
    now: Instant,
}

impl Leadership {
    pub(super) fn new(leading: Leading, epoch_start: i64, now: Instant) -> Self {
        let mut leadership = Self {
            leading,
            epoch_start,
            followers: BTreeMap::new(),
            in_flight: None,
            refused: None,
            now,
        };
        leadership.name_followers();
        leadership
    }

    /// Adds and removes followers as the replicas say. Those in sync get their time to fetch.
    fn name_followers(&mut self) {
        let Leading {
            me, replicas, isr, ..
        } = &self.leading;
        self.followers
            .retain(|id, _| replicas.contains(id) && id != me);
        for id in replicas.iter().filter(|id| *id != me) {
            let caught_up = isr.contains(id).then_some(self.now);
            self.followers
                .entry(*id)
                .or_insert_with(|| Follower::new(caught_up));
        }
    }

    /// Takes over a newer state of the same leader epoch; an older one changes nothing.
    pub(super) fn update(&mut self, leading: Leading, now: Instant) {
        self.now = self.now.max(now);
        if leading.partition_epoch <= self.leading.partition_epoch {
            return;
        }
        let before = std::mem::replace(&mut self.leading, leading);
        self.in_flight = None;
        for id in before.isr {
            // It holds back nobody any more, until it shows that it has everything.
            if !self.leading.isr.contains(&id)
                && let Some(follower) = self.followers.get_mut(&id)
            {
                follower.caught_up = None;
            }
        }
        self.name_followers();
        for id in &self.leading.isr {
            if let Some(follower) = self.followers.get_mut(id)
                && follower.caught_up.is_none()
            {
                follower.caught_up = Some(self.now);
            }
        }
    }

    pub(super) fn epoch_start(&self) -> i64 {
        self.epoch_start
    }

    /// How many replicas are in sync, and how many must be: `min_in_sync`, but never more than there are.
    pub(super) fn in_sync(&self, min_in_sync: usize) -> (usize, usize) {
        let needed = min_in_sync.min(self.leading.replicas.len());
        (self.leading.isr.len(), needed)
    }

    /// Who is proposed to be in sync, while it is not known what came of it.
    pub(super) fn proposed(&self) -> Vec<i32> {
        let proposed = self.in_flight.iter().flat_map(|sent| &sent.proposal.isr);
        proposed.map(|(id, _)| *id).collect()
    }

    /// The lowest start of the leader's log, which is given, and of those in sync; -1 while one of them did not tell.
    pub(super) fn low_watermark(&self, log_start: i64) -> i64 {
        let followers = self
            .leading
            .isr
            .iter()
            .filter_map(|id| self.followers.get(id));
        followers.fold(log_start, |low, follower| low.min(follower.log_start))
    }

    /// Whether the controller knows it as in sync, or may.
    fn counts(&self, id: i32) -> bool {
        self.leading.isr.contains(&id)
            || self
                .in_flight
                .as_ref()
                .is_some_and(|sent| sent.proposal.isr.iter().any(|(other, _)| *other == id))
    }

    /// Up to where everything is committed, given the end of the leader's own log; `None` while nothing more is.
    pub(super) fn committed(&self, log_end: i64, min_in_sync: usize) -> Option<i64> {
        let (in_sync, needed) = self.in_sync(min_in_sync);
        if in_sync < needed {
            return None;
        }
        let holding = self
            .followers
            .iter()
            .filter(|(id, follower)| self.counts(**id) || follower.is_joining(self.now));
        let least = holding.map(|(_, follower)| follower.log_end).min();
        Some(least.unwrap_or(log_end).min(log_end))
    }

    /// Whether a replica that is not in sync yet holds back what is committed, so that time must be told.
    pub(super) fn is_held_back(&self, log_end: i64) -> bool {
        self.followers.iter().any(|(id, follower)| {
            follower.log_end < log_end && !self.counts(*id) && follower.is_joining(self.now)
        })
    }

    /// Moves time forward.
    pub(super) fn tell_time(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Notes a fetch. Answers whether the follower may be in sync now and is not known as such.
    ///
    /// # Errors
    /// Kafka's code for a broker that keeps no replica, as far as is known, or a former process of one.
    pub(super) fn fetched(
        &mut self,
        fetch: &FollowerFetch,
        log_end: i64,
        high_watermark: i64,
        now: Instant,
    ) -> Result<bool, i16> {
        self.tell_time(now);
        let Some(follower) = self.followers.get_mut(&fetch.broker) else {
            return Err(error_code::UNKNOWN_LEADER_EPOCH);
        };
        if fetch.broker_epoch < follower.broker_epoch {
            return Err(error_code::NOT_LEADER_OR_FOLLOWER);
        }
        if fetch.broker_epoch > follower.broker_epoch && follower.fetched.is_some() {
            // Another process: what the former one had tells nothing.
            *follower = Follower::new(None);
        }
        follower.broker_epoch = fetch.broker_epoch;
        follower.log_start = fetch.log_start;
        follower.note(fetch.offset, log_end, now);
        Ok(!self.leading.isr.contains(&fetch.broker)
            && self.in_flight.is_none()
            && self.may_join(fetch.broker, high_watermark))
    }

    /// Everything committed is on it, also what former leaders committed.
    fn may_join(&self, id: i32, high_watermark: i64) -> bool {
        let paused = self
            .refused
            .is_some_and(|at| self.now.saturating_duration_since(at) < REFUSED_PAUSE);
        !paused
            && self.followers.get(&id).is_some_and(|follower| {
                follower.log_end >= high_watermark
                    && follower.log_end >= self.epoch_start
                    && follower.fetched.is_some()
            })
    }

    /// What to propose now, if anything. Until it is answered, who is in it counts as in sync.
    pub(super) fn propose(
        &mut self,
        now: Instant,
        lag_max: Duration,
        log_end: i64,
        high_watermark: i64,
        is_live: &dyn Fn(i32, i64) -> bool,
    ) -> Option<IsrProposal> {
        self.tell_time(now);
        if let Some(sent) = &mut self.in_flight {
            return std::mem::take(&mut sent.again).then(|| sent.proposal.clone());
        }
        let me = self.leading.me;
        let mut isr = Vec::with_capacity(self.leading.replicas.len());
        let mut changed = false;
        for id in &self.leading.isr {
            match self.followers.get(id) {
                Some(follower) if follower.is_caught_up(log_end, now, lag_max) => {
                    isr.push((*id, follower.broker_epoch));
                }
                _ if *id == me => isr.push((*id, 0)),
                _ => changed = true,
            }
        }
        for (id, follower) in &self.followers {
            let joins = !self.leading.isr.contains(id)
                && self.may_join(*id, high_watermark)
                && is_live(*id, follower.broker_epoch);
            if joins {
                isr.push((*id, follower.broker_epoch));
                changed = true;
            }
        }
        if !changed {
            return None;
        }
        Some(self.send(isr))
    }

    /// The in-sync replicas without the leader, if others are live: its records are damaged, and who is in sync has all
    /// that is committed. As with [`propose`](Self::propose), nothing while another proposal is under way.
    pub(super) fn resign(
        &mut self,
        now: Instant,
        is_live: &dyn Fn(i32, i64) -> bool,
    ) -> Option<IsrProposal> {
        self.tell_time(now);
        if self.in_flight.is_some() {
            return None;
        }
        let others: Vec<(i32, i64)> = self
            .leading
            .isr
            .iter()
            .filter_map(|id| Some((*id, self.followers.get(id)?.broker_epoch)))
            .collect();
        if !others.iter().any(|(id, epoch)| is_live(*id, *epoch)) {
            return None;
        }
        Some(self.send(others))
    }

    fn send(&mut self, isr: Vec<(i32, i64)>) -> IsrProposal {
        let proposal = IsrProposal {
            leader_epoch: self.leading.leader_epoch,
            partition_epoch: self.leading.partition_epoch,
            isr,
        };
        self.in_flight = Some(InFlight {
            proposal: proposal.clone(),
            again: false,
        });
        proposal
    }

    /// What came of a proposal. Only where the controller says that it took nothing, who was proposed stops to count;
    /// where that is not known, the proposal is sent again; the rest is told by the metadata.
    pub(super) fn answered(&mut self, proposal: &IsrProposal, refused: Option<i16>) {
        let Some(sent) = &mut self.in_flight else {
            return;
        };
        if sent.proposal != *proposal {
            return;
        }
        match refused {
            None => {}
            // Said only where the proposal fits the state, so that it was not taken before, either.
            Some(error_code::INELIGIBLE_REPLICA) => {
                self.in_flight = None;
                self.refused = Some(self.now);
            }
            // This leader is not the newest any more, or does not know the newest state yet.
            Some(
                error_code::FENCED_LEADER_EPOCH
                | error_code::NEW_LEADER_ELECTED
                | error_code::INVALID_UPDATE_VERSION
                | error_code::UNKNOWN_TOPIC_OR_PARTITION
                | error_code::UNKNOWN_TOPIC_ID,
            ) => {}
            Some(_) => sent.again = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leading(isr: &[i32], partition_epoch: i32) -> Leading {
        Leading {
            me: 1,
            leader_epoch: 3,
            partition_epoch,
            replicas: vec![1, 2, 3],
            isr: isr.to_vec(),
        }
    }

    fn fetch(broker: i32, offset: i64) -> FollowerFetch {
        FollowerFetch {
            broker,
            broker_epoch: 10 + i64::from(broker),
            offset,
            log_start: 0,
            last_epoch: 3,
            leader_epoch: 3,
        }
    }

    const LAG: Duration = Duration::from_secs(10);
    const LIVE: &dyn Fn(i32, i64) -> bool = &|_, _| true;

    #[test]
    fn the_slowest_replica_in_sync_decides_what_is_committed() {
        let now = Instant::now();
        let mut leader = Leadership::new(leading(&[1, 2, 3], 0), 5, now);
        assert_eq!(leader.committed(9, 1), Some(-1));
        leader.fetched(&fetch(2, 9), 9, 0, now).unwrap();
        leader.fetched(&fetch(3, 7), 9, 0, now).unwrap();
        assert_eq!(leader.committed(9, 1), Some(7));
        leader.update(leading(&[1, 2], 1), now);
        assert_eq!(leader.committed(9, 1), Some(9));
        leader.update(leading(&[1, 2, 3], 0), now);
        assert_eq!(
            leader.committed(9, 1),
            Some(9),
            "an older state is not taken over"
        );
        assert_eq!(leader.committed(9, 3), None);
        assert_eq!(leader.in_sync(7), (2, 3));
    }

    #[test]
    fn records_are_deleted_when_no_replica_in_sync_has_them() {
        let now = Instant::now();
        let mut leader = Leadership::new(leading(&[1, 2], 0), 5, now);
        assert_eq!(leader.low_watermark(4), -1);
        let deleted = FollowerFetch {
            log_start: 4,
            ..fetch(2, 9)
        };
        leader.fetched(&fetch(2, 9), 9, 9, now).unwrap();
        assert_eq!(leader.low_watermark(4), 0);
        leader.fetched(&deleted, 9, 9, now).unwrap();
        assert_eq!(leader.low_watermark(4), 4);
        assert_eq!(leader.low_watermark(2), 2);
    }

    #[test]
    fn a_replica_that_was_proposed_counts_until_the_controller_refuses_it() {
        let now = Instant::now();
        let mut leader = Leadership::new(leading(&[1, 2], 0), 5, now);
        leader.fetched(&fetch(2, 9), 9, 7, now).unwrap();
        assert!(!leader.fetched(&fetch(3, 6), 9, 7, now).unwrap());
        assert_eq!(leader.propose(now, LAG, 9, 7, LIVE), None);
        assert!(leader.fetched(&fetch(3, 7), 9, 7, now).unwrap());
        assert_eq!(leader.propose(now, LAG, 9, 7, &|id, _| id != 3), None);
        let proposal = leader.propose(now, LAG, 9, 7, LIVE).unwrap();
        assert_eq!(proposal.isr, [(1, 0), (2, 12), (3, 13)]);
        assert_eq!(leader.propose(now, LAG, 9, 7, LIVE), None);
        let later = now + Duration::from_secs(5);
        leader.tell_time(later);
        assert_eq!(leader.committed(9, 1), Some(7));
        leader.answered(&proposal, Some(error_code::REQUEST_TIMED_OUT));
        assert_eq!(leader.committed(9, 1), Some(7));
        assert_eq!(
            leader.propose(later, LAG, 9, 7, LIVE),
            Some(proposal.clone())
        );
        leader.answered(&proposal, Some(error_code::INELIGIBLE_REPLICA));
        assert_eq!(leader.committed(9, 1), Some(9));
        assert_eq!(leader.propose(later, LAG, 9, 9, LIVE), None);
    }

    #[test]
    fn a_damaged_leader_proposes_the_others_if_one_is_live() {
        let now = Instant::now();
        let mut leader = Leadership::new(leading(&[1, 2, 3], 0), 5, now);
        leader.fetched(&fetch(2, 9), 9, 7, now).unwrap();
        leader.fetched(&fetch(3, 8), 9, 7, now).unwrap();
        assert_eq!(leader.resign(now, &|_, _| false), None);
        let proposal = leader.resign(now, LIVE).unwrap();
        assert_eq!(proposal.isr, [(2, 12), (3, 13)]);
        assert_eq!(leader.resign(now, LIVE), None, "one at a time");
        assert_eq!(leader.committed(9, 1), Some(8));
        leader.update(leading(&[1], 1), now);
        assert_eq!(leader.resign(now, LIVE), None);
    }

    #[test]
    fn a_replica_that_lags_is_proposed_to_leave() {
        let start = Instant::now();
        let mut leader = Leadership::new(leading(&[1, 2, 3], 0), 0, start);
        let mut now = start;
        for step in 0..12 {
            now += Duration::from_secs(1);
            // One is always a little behind, the other stands still.
            leader.fetched(&fetch(2, step), step + 1, 0, now).unwrap();
            leader.fetched(&fetch(3, 0), step + 1, 0, now).unwrap();
        }
        let proposal = leader.propose(now, LAG, 12, 0, LIVE).unwrap();
        assert_eq!(proposal.isr, [(1, 0), (2, 12)]);
        assert_eq!(
            leader.committed(12, 1),
            Some(0),
            "it counts until the controller knows"
        );
    }

    #[test]
    fn one_that_is_about_to_be_in_sync_holds_back_the_rest_but_not_when_it_is_gone() {
        let now = Instant::now();
        let mut leader = Leadership::new(leading(&[1], 0), 0, now);
        leader.fetched(&fetch(2, 5), 8, 8, now).unwrap();
        assert_eq!(leader.committed(9, 1), Some(9));
        leader.fetched(&fetch(2, 8), 10, 9, now).unwrap();
        assert!(leader.is_held_back(11));
        assert_eq!(leader.committed(11, 1), Some(8));
        leader.tell_time(now + JOINING * 2);
        assert_eq!(leader.committed(11, 1), Some(11));
    }

    #[test]
    fn what_a_former_process_of_a_broker_had_does_not_count() {
        let now = Instant::now();
        let mut leader = Leadership::new(leading(&[1, 2], 0), 0, now);
        leader.fetched(&fetch(2, 8), 8, 0, now).unwrap();
        let restarted = FollowerFetch {
            broker_epoch: 99,
            ..fetch(2, 3)
        };
        leader.fetched(&restarted, 8, 0, now).unwrap();
        assert_eq!(leader.committed(8, 1), Some(3));
        assert_eq!(
            leader.fetched(&fetch(2, 8), 8, 0, now),
            Err(error_code::NOT_LEADER_OR_FOLLOWER)
        );
        assert_eq!(
            leader.fetched(&fetch(7, 8), 8, 0, now),
            Err(error_code::UNKNOWN_LEADER_EPOCH)
        );
    }
}
