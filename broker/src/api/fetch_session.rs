//! Incremental fetch sessions (KIP-227): the broker remembers which partitions a client reads, so
//! that the client sends and receives only what changed.

use std::collections::HashMap;
use std::time::Duration;

use kafka_wire::FetchRequest;
use kafka_wire::fetch_request::FetchPartition;
use kafka_wire_core::{StrBytes, Uuid};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error_code;

/// A session that was used within this time is not given up for another
/// (`min.incremental.fetch.session.eviction.ms`).
const EVICTABLE_AFTER: Duration = Duration::from_secs(120);
/// Partitions one session may remember; a client that reads more fetches without a session.
const PARTITIONS_PER_SESSION_MAX: usize = 20_000;
/// Partitions all sessions together may remember.
const PARTITIONS_MAX: usize = 200_000;
/// Request epoch that closes the session, or asks for none.
const FINAL_EPOCH: i32 = -1;
/// Request epoch that opens a session.
const INITIAL_EPOCH: i32 = 0;

/// A topic as the request named it: by id since version 13, before by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TopicKey {
    pub(crate) name: StrBytes,
    pub(crate) id: Uuid,
}

/// One partition that a client wants to read.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) topic: TopicKey,
    pub(crate) partition: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) fetch_offset: i64,
    /// Epoch of the last record it has, -1 if it does not say.
    pub(crate) last_epoch: i32,
    /// Start of a follower's log.
    pub(crate) log_start: i64,
    pub(crate) bytes_max: usize,
}

impl Wanted {
    fn new(topic: TopicKey, partition: &FetchPartition) -> Self {
        Self {
            topic,
            partition: partition.partition,
            leader_epoch: partition.current_leader_epoch,
            fetch_offset: partition.fetch_offset,
            last_epoch: partition.last_fetched_epoch,
            log_start: partition.log_start_offset,
            bytes_max: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
        }
    }
}

/// What the client was last told about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) high_watermark: i64,
    pub(crate) log_start: i64,
}

/// What is told before anything was: a partition in this state is always answered for.
const NOTHING_TOLD: Told = Told {
    high_watermark: -1,
    log_start: -1,
};

/// How a request is to be answered.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Everything asked for, with no session.
    Full(Vec<Wanted>),
    /// Everything asked for, opening a session.
    Open(Vec<Wanted>),
    /// The partitions of session `id`; only what changed is answered.
    Incremental { id: i32, wanted: Vec<Wanted> },
    /// The session is not there or not in step.
    Refused(i16),
}

#[derive(Debug)]
struct Session {
    /// The epoch the client's next request has.
    epoch: i32,
    by_topic_id: bool,
    /// In the order they are read; those that gave records go to the end.
    partitions: Vec<(Wanted, Told)>,
    used: Instant,
}

/// The sessions of all clients.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    sessions: Mutex<HashMap<i32, Session>>,
    slots: usize,
}

impl FetchSessions {
    /// Remembers at most `slots` sessions.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            sessions: Mutex::default(),
            slots,
        }
    }

    /// Decides how `request` is answered, and updates its session.
    pub(crate) fn plan(&self, request: &FetchRequest, by_topic_id: bool) -> Plan {
        let wanted = || {
            request
                .topics
                .iter()
                .flat_map(|topic| {
                    let key = TopicKey {
                        // A copy, because a session must not keep the whole request alive.
                        name: StrBytes::from(&*topic.topic),
                        id: topic.topic_id,
                    };
                    topic
                        .partitions
                        .iter()
                        .map(move |partition| Wanted::new(key.clone(), partition))
                })
                .collect::<Vec<_>>()
        };
        let id = request.session_id;
        let mut sessions = self.sessions.lock();
        match request.session_epoch {
            FINAL_EPOCH => {
                sessions.remove(&id);
                Plan::Full(wanted())
            }
            INITIAL_EPOCH => {
                sessions.remove(&id);
                Plan::Open(wanted())
            }
            epoch => {
                let Some(session) = sessions.get_mut(&id) else {
                    return Plan::Refused(error_code::FETCH_SESSION_ID_NOT_FOUND);
                };
                if session.epoch != epoch {
                    return Plan::Refused(error_code::INVALID_FETCH_SESSION_EPOCH);
                }
                if session.by_topic_id != by_topic_id {
                    return Plan::Refused(error_code::FETCH_SESSION_TOPIC_ID_ERROR);
                }
                session.epoch = next_epoch(epoch);
                session.used = Instant::now();
                session.update(wanted(), request);
                let partitions = session.partitions.len();
                if partitions > PARTITIONS_PER_SESSION_MAX
                    || (!request.topics.is_empty() && remembered(&sessions) > PARTITIONS_MAX)
                {
                    sessions.remove(&id);
                    return Plan::Refused(error_code::FETCH_SESSION_ID_NOT_FOUND);
                }
                let wanted = sessions
                    .get(&id)
                    .into_iter()
                    .flat_map(|session| &session.partitions)
                    .map(|(wanted, _)| wanted.clone())
                    .collect();
                Plan::Incremental { id, wanted }
            }
        }
    }

    /// Opens a session over `partitions`; gives its id, or 0 when there is no room for it.
    pub(crate) fn open(&self, partitions: Vec<(Wanted, Told)>, by_topic_id: bool) -> i32 {
        if partitions.len() > PARTITIONS_PER_SESSION_MAX {
            return 0;
        }
        let now = Instant::now();
        let mut sessions = self.sessions.lock();
        if remembered(&sessions) + partitions.len() > PARTITIONS_MAX {
            return 0;
        }
        if sessions.len() >= self.slots {
            let oldest = sessions
                .iter()
                .min_by_key(|(_, session)| session.used)
                .filter(|(_, session)| now.duration_since(session.used) >= EVICTABLE_AFTER)
                .map(|(id, _)| *id);
            match oldest {
                Some(oldest) => sessions.remove(&oldest),
                None => return 0,
            };
        }
        let id = loop {
            let candidate = i32::try_from(platform::random::below(0x7fff_fffe) + 1).unwrap_or(1);
            if !sessions.contains_key(&candidate) {
                break candidate;
            }
        };
        let session = Session {
            epoch: 1,
            by_topic_id,
            partitions,
            used: now,
        };
        sessions.insert(id, session);
        id
    }

    /// Which of the partitions of session `id` have something to tell, given what there is to
    /// tell and whether there are records or an error; remembers that it was told.
    pub(crate) fn changed(&self, id: i32, answers: &[(Wanted, Told, bool)]) -> Vec<bool> {
        let mut sessions = self.sessions.lock();
        let Some(session) = sessions.get_mut(&id) else {
            return vec![true; answers.len()];
        };
        let mut places: HashMap<(&TopicKey, i32), usize> = HashMap::new();
        for (place, (wanted, _, _)) in answers.iter().enumerate() {
            places.insert((&wanted.topic, wanted.partition), place);
        }
        let mut changed = vec![true; answers.len()];
        let mut gave = Vec::new();
        let mut kept = Vec::with_capacity(session.partitions.len());
        for (wanted, told) in session.partitions.drain(..) {
            let place = places.get(&(&wanted.topic, wanted.partition)).copied();
            let Some((place, (_, now, must))) =
                place.and_then(|place| Some((place, answers.get(place)?)))
            else {
                kept.push((wanted, told));
                continue;
            };
            if let Some(changed) = changed.get_mut(place) {
                *changed = *must || told != *now;
            }
            if *must {
                gave.push((wanted, *now));
            } else {
                kept.push((wanted, *now));
            }
        }
        kept.append(&mut gave);
        session.partitions = kept;
        changed
    }
}

impl Session {
    /// Adds and changes what the request names, and drops what it forgets.
    fn update(&mut self, named: Vec<Wanted>, request: &FetchRequest) {
        if !named.is_empty() {
            let places: HashMap<(TopicKey, i32), usize> = self
                .partitions
                .iter()
                .enumerate()
                .map(|(place, (wanted, _))| ((wanted.topic.clone(), wanted.partition), place))
                .collect();
            for wanted in named {
                let place = places
                    .get(&(wanted.topic.clone(), wanted.partition))
                    .copied();
                match place.and_then(|place| self.partitions.get_mut(place)) {
                    Some((known, _)) => *known = wanted,
                    None => self.partitions.push((wanted, NOTHING_TOLD)),
                }
            }
        }
        if !request.forgotten_topics_data.is_empty() {
            let mut forgotten = std::collections::HashSet::new();
            for topic in &request.forgotten_topics_data {
                for partition in &topic.partitions {
                    forgotten.insert((&topic.topic, topic.topic_id, *partition));
                }
            }
            self.partitions.retain(|(wanted, _)| {
                !forgotten.contains(&(&wanted.topic.name, wanted.topic.id, wanted.partition))
            });
        }
    }
}

/// Partitions of all sessions.
fn remembered(sessions: &HashMap<i32, Session>) -> usize {
    sessions
        .values()
        .map(|session| session.partitions.len())
        .sum()
}

/// Epochs count from 1 and wrap past the largest number, leaving out 0 and the negative ones,
/// which mean something else.
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_wire::fetch_request::{FetchTopic, ForgottenTopic};

    fn request(id: i32, epoch: i32, partitions: &[i32]) -> FetchRequest {
        let mut request = FetchRequest::default();
        request.session_id = id;
        request.session_epoch = epoch;
        let mut topic = FetchTopic::default();
        topic.topic = StrBytes::from("t");
        for index in partitions {
            let mut partition = FetchPartition::default();
            partition.partition = *index;
            topic.partitions.push(partition);
        }
        if !partitions.is_empty() {
            request.topics.push(topic);
        }
        request
    }

    fn opened(sessions: &FetchSessions, partitions: &[i32]) -> i32 {
        let Plan::Open(wanted) = sessions.plan(&request(0, 0, partitions), false) else {
            panic!("a session is asked for");
        };
        sessions.open(
            wanted.into_iter().map(|w| (w, NOTHING_TOLD)).collect(),
            false,
        )
    }

    fn incremental(sessions: &FetchSessions, request: &FetchRequest) -> Vec<i32> {
        match sessions.plan(request, false) {
            Plan::Incremental { wanted, .. } => wanted.iter().map(|w| w.partition).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_session_remembers_adds_and_forgets_partitions() {
        let sessions = FetchSessions::new(10);
        let id = opened(&sessions, &[0, 1]);
        assert_eq!(incremental(&sessions, &request(id, 1, &[])), [0, 1]);
        assert_eq!(incremental(&sessions, &request(id, 2, &[2])), [0, 1, 2]);
        let mut forget = request(id, 3, &[]);
        let mut forgotten = ForgottenTopic::default();
        forgotten.topic = StrBytes::from("t");
        forgotten.partitions = vec![1];
        forget.forgotten_topics_data.push(forgotten);
        assert_eq!(incremental(&sessions, &forget), [0, 2]);
    }

    #[test]
    fn a_wrong_id_epoch_or_naming_is_refused() {
        let sessions = FetchSessions::new(10);
        let id = opened(&sessions, &[0]);
        let code = |request: &FetchRequest, by_id| match sessions.plan(request, by_id) {
            Plan::Refused(code) => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            code(&request(id, 2, &[]), false),
            error_code::INVALID_FETCH_SESSION_EPOCH
        );
        assert_eq!(
            code(&request(id, 1, &[]), true),
            error_code::FETCH_SESSION_TOPIC_ID_ERROR
        );
        assert_eq!(
            code(&request(0, 1, &[]), false),
            error_code::FETCH_SESSION_ID_NOT_FOUND
        );
        assert!(matches!(
            sessions.plan(&request(id, -1, &[]), false),
            Plan::Full(_)
        ));
        assert_eq!(
            code(&request(id, 1, &[]), false),
            error_code::FETCH_SESSION_ID_NOT_FOUND
        );
    }

    #[test]
    fn only_changes_are_told_and_partitions_that_gave_records_go_last() {
        let sessions = FetchSessions::new(10);
        let id = opened(&sessions, &[0, 1]);
        let told = Told {
            high_watermark: 5,
            log_start: 0,
        };
        let Plan::Incremental { wanted, .. } = sessions.plan(&request(id, 1, &[]), false) else {
            panic!();
        };
        let answers = |first_has_records| {
            vec![
                (wanted[0].clone(), told, first_has_records),
                (wanted[1].clone(), told, false),
            ]
        };
        assert_eq!(sessions.changed(id, &answers(false)), [true, true]);
        assert_eq!(sessions.changed(id, &answers(true)), [true, false]);
        assert_eq!(incremental(&sessions, &request(id, 2, &[])), [1, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_cache_gives_up_only_sessions_that_rest() {
        let sessions = FetchSessions::new(1);
        let first = opened(&sessions, &[0]);
        assert_ne!(first, 0);
        assert_eq!(opened(&sessions, &[0]), 0);
        tokio::time::advance(EVICTABLE_AFTER).await;
        assert_ne!(opened(&sessions, &[0]), 0);
    }

    #[test]
    fn epochs_wrap_to_one() {
        assert_eq!(next_epoch(i32::MAX), 1);
    }
}
