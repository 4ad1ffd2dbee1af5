//! A follower's side of an incremental fetch session (KIP-227): the leader remembers what this
//! follower copies, so that a request names only what changed.

use std::collections::BTreeMap;

use kafka_wire::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_wire::{FetchRequest, FetchResponse};
use kafka_wire_core::Uuid;

use super::Key;

/// Where one partition is fetched from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) leader_epoch: i32,
    pub(super) offset: i64,
    /// Epoch of the record before `offset`, -1 if there is none.
    pub(super) last_epoch: i32,
    pub(super) log_start: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// 0 while the leader remembers nothing.
    id: i32,
    /// 0 for a request that opens a session.
    epoch: i32,
    /// What the leader knows.
    sent: BTreeMap<Key, Position>,
    /// Where a request that names everything begins, so that each partition is first some time.
    turn: usize,
}

impl Session {
    /// Fills in what is fetched. The request must be sent, or the session be [reset](Self::reset).
    pub(super) fn fill(
        &mut self,
        request: &mut FetchRequest,
        wanted: &BTreeMap<Key, Position>,
        partition_bytes_max: i32,
    ) {
        request.session_id = self.id;
        request.session_epoch = self.epoch;
        if self.epoch == 0 {
            let mut all: Vec<_> = wanted.iter().collect();
            if !all.is_empty() {
                let first = self.turn % all.len();
                all.rotate_left(first);
                self.turn = self.turn.wrapping_add(1);
            }
            request.topics = topics(all.into_iter(), partition_bytes_max);
        } else {
            let changed = wanted
                .iter()
                .filter(|(key, position)| self.sent.get(key) != Some(position));
            request.topics = topics(changed, partition_bytes_max);
            request.forgotten_topics_data =
                forgotten(self.sent.keys().filter(|key| !wanted.contains_key(key)));
        }
        self.sent.clone_from(wanted);
    }

    /// Where `key` was asked for in the request that is being answered.
    pub(super) fn sent(&self, key: &Key) -> Option<Position> {
        self.sent.get(key).copied()
    }

    /// Takes over what the leader says of the session.
    pub(super) fn answered(&mut self, response: &FetchResponse) {
        if response.error_code != 0 || response.session_id == 0 {
            self.reset();
            self.id = 0;
        } else {
            self.id = response.session_id;
            self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        }
    }

    /// The next request names everything, and ends the session the leader remembers.
    pub(super) fn reset(&mut self) {
        self.epoch = 0;
        self.sent.clear();
    }
}

fn topics<'a>(
    partitions: impl Iterator<Item = (&'a Key, &'a Position)>,
    bytes_max: i32,
) -> Vec<FetchTopic> {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for ((topic, index), position) in partitions {
        let id = Uuid::from_bytes(*topic);
        let mut partition = FetchPartition::default();
        partition.partition = *index;
        partition.current_leader_epoch = position.leader_epoch;
        partition.fetch_offset = position.offset;
        partition.last_fetched_epoch = position.last_epoch;
        partition.log_start_offset = position.log_start;
        partition.partition_max_bytes = bytes_max;
        match topics.last_mut() {
            Some(last) if last.topic_id == id => last.partitions.push(partition),
            _ => {
                let mut topic = FetchTopic::default();
                topic.topic_id = id;
                topic.partitions = vec![partition];
                topics.push(topic);
            }
        }
    }
    topics
}

fn forgotten<'a>(partitions: impl Iterator<Item = &'a Key>) -> Vec<ForgottenTopic> {
    let mut topics: Vec<ForgottenTopic> = Vec::new();
    for (topic, index) in partitions {
        let id = Uuid::from_bytes(*topic);
        match topics.last_mut() {
            Some(last) if last.topic_id == id => last.partitions.push(*index),
            _ => {
                let mut topic = ForgottenTopic::default();
                topic.topic_id = id;
                topic.partitions = vec![*index];
                topics.push(topic);
            }
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Position {
        Position {
            leader_epoch: 1,
            offset,
            last_epoch: 0,
            log_start: 0,
        }
    }

    fn key(index: i32) -> Key {
        ([7; 16], index)
    }

    fn filled(session: &mut Session, wanted: &[(i32, i64)]) -> FetchRequest {
        let wanted = wanted
            .iter()
            .map(|(index, offset)| (key(*index), at(*offset)))
            .collect();
        let mut request = FetchRequest::default();
        session.fill(&mut request, &wanted, 10);
        request
    }

    fn answer(session: &mut Session, id: i32, error_code: i16) {
        let mut response = FetchResponse::default();
        response.session_id = id;
        response.error_code = error_code;
        session.answered(&response);
    }

    fn named(request: &FetchRequest) -> Vec<i32> {
        let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| partition.partition).collect()
    }

    #[test]
    fn a_session_names_only_what_changed() {
        let mut session = Session::default();
        let request = filled(&mut session, &[(0, 5), (1, 5)]);
        assert_eq!((request.session_id, request.session_epoch), (0, 0));
        assert_eq!(named(&request), [0, 1]);
        answer(&mut session, 9, 0);
        let request = filled(&mut session, &[(1, 6), (2, 0)]);
        assert_eq!((request.session_id, request.session_epoch), (9, 1));
        assert_eq!(named(&request), [1, 2]);
        assert_eq!(request.forgotten_topics_data[0].partitions, [0]);
        answer(&mut session, 9, 0);
        let request = filled(&mut session, &[(1, 6), (2, 0)]);
        assert!(request.topics.is_empty() && request.forgotten_topics_data.is_empty());
    }

    #[test]
    fn a_session_that_was_lost_is_opened_again_with_everything() {
        let mut session = Session::default();
        filled(&mut session, &[(0, 5)]);
        answer(&mut session, 9, 0);
        session.reset();
        let request = filled(&mut session, &[(0, 5)]);
        // The leader gives up the old one.
        assert_eq!((request.session_id, request.session_epoch), (9, 0));
        assert_eq!(named(&request), [0]);
        answer(&mut session, 10, 0);
        filled(&mut session, &[(0, 5)]);
        answer(&mut session, 0, 70);
        let request = filled(&mut session, &[(0, 5)]);
        assert_eq!((request.session_id, request.session_epoch), (0, 0));
        assert_eq!(named(&request), [0]);
    }

    #[test]
    fn without_a_session_each_partition_is_first_some_time() {
        let mut session = Session::default();
        let mut first = Vec::new();
        for _ in 0..3 {
            first.push(named(&filled(&mut session, &[(0, 0), (1, 0), (2, 0)]))[0]);
            answer(&mut session, 0, 0);
        }
        assert_eq!(first, [0, 1, 2]);
    }
}
