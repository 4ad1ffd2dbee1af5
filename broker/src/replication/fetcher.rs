//! Copies partitions from one leader: fetch, write what came, fetch from there on.
//!
//! A partition is in one of three states: it is fetched, it rests after something went wrong, or
//! (throttled) it waits until it may be copied again. Where its log and the leader's part is found
//! out by fetching: the answer says where to cut (KIP-595).

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use kafka_records::BatchHeader;
use kafka_wire::fetch_request::ReplicaState;
use kafka_wire::fetch_response::PartitionData;
use kafka_wire::{FetchRequest, FetchResponse};
use tokio::time::{Instant, sleep, sleep_until};

use super::fetchers::Fetching;
use super::leader_link::{EpochQuestion, LeaderLink};
use super::mailbox::{Assignment, Mailbox};
use super::session::{Position, Session};
use super::{Key, rest_after};
use crate::error_code;
use crate::replica::{AppendError, Partition};

/// Partitions that are written to at the same time.
const WRITES_AT_ONCE: usize = 8;
/// The first rest after a failure; each further one is twice as long.
const FIRST_REST: Duration = Duration::from_millis(20);
/// How long a fetch may still take when another partition is to be copied, too.
const INTERRUPTED_AFTER: Duration = Duration::from_millis(20);
/// Failures in a row after which a partition's trouble is worth a warning.
const TROUBLE: u32 = 5;

struct Followed {
    assignment: Assignment,
    rests_until: Option<Instant>,
    /// In a row.
    failures: u32,
}

/// One of a leader's fetchers.
pub(super) struct Fetcher {
    fetching: Arc<Fetching>,
    leader: i32,
    mailbox: Arc<Mailbox>,
    followed: BTreeMap<Key, Followed>,
    session: Session,
    link: Option<Box<dyn LeaderLink>>,
    /// Of the connection, in a row.
    failures: u32,
}

/// What came of a request.
enum Fetched {
    Answer(FetchResponse),
    /// It is not waited for any more.
    Interrupted,
    Failed(String),
}

/// Why a partition was not copied.
struct Problem {
    code: i16,
    message: String,
}

impl Problem {
    fn new(code: i16, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// Whether it goes by itself when both nodes know the newest metadata.
    fn is_transition(&self) -> bool {
        matches!(
            self.code,
            error_code::NOT_LEADER_OR_FOLLOWER
                | error_code::FENCED_LEADER_EPOCH
                | error_code::UNKNOWN_LEADER_EPOCH
                | error_code::LEADER_NOT_AVAILABLE
                | error_code::UNKNOWN_TOPIC_OR_PARTITION
                | error_code::UNKNOWN_TOPIC_ID
        )
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        Self::new(error.code(), error.message())
    }
}

impl From<crate::log::LogError> for Problem {
    fn from(error: crate::log::LogError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl Fetcher {
    pub(super) fn new(fetching: Arc<Fetching>, leader: i32, mailbox: Arc<Mailbox>) -> Self {
        Self {
            fetching,
            leader,
            mailbox,
            followed: BTreeMap::new(),
            session: Session::default(),
            link: None,
            failures: 0,
        }
    }

    /// Copies until the mailbox is closed.
    pub(super) async fn run(mut self) {
        while AssertUnwindSafe(self.copy()).catch_unwind().await.is_err() {
            tracing::error!(
                leader = self.leader,
                "a replica fetcher panicked; it begins anew"
            );
            self.disconnect();
            sleep(self.fetching.settings.backoff).await;
        }
    }

    async fn copy(&mut self) {
        loop {
            let Some(changes) = self.mailbox.take() else {
                return;
            };
            self.change(changes);
            let (wanted, next) = self.wanted(Instant::now());
            if wanted.is_empty() {
                self.rest_until(next).await;
                continue;
            }
            if self.link.is_none()
                && let Err(problem) = self.connect().await
            {
                self.leader_failed(&problem).await;
                continue;
            }
            match self.fetch(&wanted, next).await {
                Fetched::Answer(response) => self.take_over(response).await,
                Fetched::Interrupted => self.disconnect(),
                Fetched::Failed(problem) => {
                    self.disconnect();
                    self.leader_failed(&problem).await;
                }
            }
        }
    }

    fn change(&mut self, changes: BTreeMap<Key, Option<Assignment>>) {
        for (key, assignment) in changes {
            let Some(assignment) = assignment else {
                self.followed.remove(&key);
                continue;
            };
            match self.followed.get_mut(&key) {
                Some(known) if known.assignment.leader_epoch == assignment.leader_epoch => {
                    known.assignment = assignment;
                }
                _ => {
                    let followed = Followed {
                        assignment,
                        rests_until: None,
                        failures: 0,
                    };
                    self.followed.insert(key, followed);
                }
            }
        }
    }

    /// What to fetch now, and when there may be more to fetch.
    fn wanted(&self, now: Instant) -> (BTreeMap<Key, Position>, Option<Instant>) {
        let throttled_until = self.fetching.throttle.wait().map(|wait| now + wait);
        let mut next: Option<Instant> = None;
        let mut wanted = BTreeMap::new();
        for (key, followed) in &self.followed {
            let assignment = &followed.assignment;
            let rests_until = followed.rests_until.filter(|until| *until > now);
            let waits_until = throttled_until.filter(|_| assignment.throttled);
            if let Some(until) = rests_until.max(waits_until) {
                next = Some(next.map_or(until, |next| next.min(until)));
                continue;
            }
            if assignment.partition.is_damaged() {
                // It copies nothing to what it has, so that it is in sync no more and may begin anew.
                continue;
            }
            let offsets = assignment.partition.offsets();
            let position = Position {
                leader_epoch: assignment.leader_epoch,
                offset: offsets.log_end,
                last_epoch: assignment.partition.last_epoch(),
                log_start: offsets.log_start,
            };
            wanted.insert(*key, position);
        }
        (wanted, next)
    }

    async fn connect(&mut self) -> Result<(), String> {
        let address = self
            .fetching
            .images
            .borrow()
            .broker(self.leader)
            .and_then(|leader| Some(leader.endpoints.first()?.address()))
            .ok_or_else(|| "its address is not known".to_owned())?;
        tokio::select! {
            link = self.fetching.leaders.connect(&address) => self.link = Some(link?),
            () = self.mailbox.urgent() => {}
        }
        Ok(())
    }

    /// Sends one request. The answer is waited for unless something more urgent comes up.
    async fn fetch(&mut self, wanted: &BTreeMap<Key, Position>, next: Option<Instant>) -> Fetched {
        let Some(link) = &self.link else {
            return Fetched::Interrupted;
        };
        let settings = &self.fetching.settings;
        let mut wait = settings.wait_max;
        if let Some(next) = next {
            wait = wait.min(next.saturating_duration_since(Instant::now()));
        }
        let mut request = FetchRequest::default();
        let mut replica = ReplicaState::default();
        replica.replica_id = self.fetching.me;
        replica.replica_epoch = self.fetching.broker_epoch.borrow().unwrap_or(-1);
        request.replica_state = replica;
        request.max_wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        request.min_bytes = settings.bytes_min;
        request.max_bytes = settings.response_bytes_max;
        self.session
            .fill(&mut request, wanted, settings.partition_bytes_max);
        let interrupted = async {
            self.mailbox.urgent().await;
            sleep(INTERRUPTED_AFTER).await;
        };
        tokio::select! {
            biased;
            answer = link.fetch(&request, settings.timeout.saturating_add(wait)) => match answer {
                Ok(response) => Fetched::Answer(response),
                Err(problem) => Fetched::Failed(problem),
            },
            () = interrupted => Fetched::Interrupted,
        }
    }

    /// Gives up the connection, and what was asked for on it.
    fn disconnect(&mut self) {
        self.link = None;
        self.session.reset();
    }

    /// The leader cannot be reached, or not be talked to.
    async fn leader_failed(&mut self, problem: &str) {
        self.failures = self.failures.saturating_add(1);
        let (leader, partitions) = (self.leader, self.followed.len());
        if self.failures == 1 {
            tracing::info!(
                leader,
                partitions,
                problem,
                "cannot copy from a leader; trying again"
            );
        } else {
            tracing::debug!(leader, partitions, problem, "cannot copy from a leader yet");
        }
        let rest = backoff(self.failures, self.fetching.settings.backoff);
        self.rest_until(Some(Instant::now() + rest)).await;
    }

    /// Rests, but not when there is something new to copy.
    async fn rest_until(&self, until: Option<Instant>) {
        match until {
            Some(until) => tokio::select! {
                () = sleep_until(until) => {}
                () = self.mailbox.news() => {}
            },
            None => self.mailbox.news().await,
        }
    }

    /// Writes what came.
    async fn take_over(&mut self, response: FetchResponse) {
        let mut parts = Vec::new();
        let code = response.error_code;
        let sent = |key: &Key| self.session.sent(key);
        let positions: Vec<Option<(Key, Position)>> = response
            .responses
            .iter()
            .flat_map(|topic| {
                let id = *topic.topic_id.as_bytes();
                topic
                    .partitions
                    .iter()
                    .map(move |data| (id, data.partition_index))
            })
            .map(|key| Some((key, sent(&key)?)))
            .collect();
        self.session.answered(&response);
        if code != error_code::NONE {
            // The session is opened again; anything else is a leader that cannot answer.
            if !matches!(
                code,
                error_code::FETCH_SESSION_ID_NOT_FOUND
                    | error_code::INVALID_FETCH_SESSION_EPOCH
                    | error_code::FETCH_SESSION_TOPIC_ID_ERROR
            ) {
                self.leader_failed(&format!("it refuses fetches with error {code}"))
                    .await;
            }
            return;
        }
        if self.failures > 0 {
            tracing::info!(leader = self.leader, "a leader can be copied from again");
            self.failures = 0;
        }
        let data = response
            .responses
            .into_iter()
            .flat_map(|topic| topic.partitions);
        for (position, data) in positions.into_iter().zip(data) {
            let Some((key, position)) = position else {
                continue;
            };
            let Some(followed) = self.followed.get(&key) else {
                continue;
            };
            if followed.assignment.leader_epoch == position.leader_epoch {
                parts.push((key, position, followed.assignment.clone(), data));
            }
        }
        let Some(link) = self.link.as_deref() else {
            return;
        };
        let fetching = &*self.fetching;
        let written: Vec<(Key, Result<(), Problem>)> = stream::iter(parts)
            .map(|(key, position, assignment, data)| async move {
                let copy = Copying {
                    fetching,
                    link,
                    partition: &assignment.partition,
                    position,
                };
                if assignment.throttled {
                    let bytes = data.records.as_ref().map_or(0, bytes::Bytes::len);
                    fetching.throttle.copied(bytes);
                }
                (key, copy.write(data).await)
            })
            .buffer_unordered(WRITES_AT_ONCE)
            .collect()
            .await;
        for (key, result) in written {
            self.note(key, result);
        }
    }

    /// Notes how a partition fared.
    fn note(&mut self, key: Key, result: Result<(), Problem>) {
        let backoff_max = self.fetching.settings.backoff;
        let Some(followed) = self.followed.get_mut(&key) else {
            return;
        };
        let partition = &followed.assignment.partition;
        let (topic, index) = (partition.topic(), partition.index());
        let problem = match result {
            Ok(()) => {
                if followed.failures > 0 {
                    followed.failures = 0;
                    followed.rests_until = None;
                    if self.fetching.out_of_service.clear(&key) {
                        tracing::info!(%topic, partition = index, "a replica can be written again");
                    }
                }
                return;
            }
            Err(problem) => problem,
        };
        followed.failures = followed.failures.saturating_add(1);
        followed.rests_until = Some(Instant::now() + backoff(followed.failures, backoff_max));
        let (code, message) = (problem.code, &problem.message);
        if code == error_code::KAFKA_STORAGE_ERROR {
            if self.fetching.out_of_service.note(key, message) {
                tracing::error!(%topic, partition = index, problem = message, "a replica cannot be written; trying again");
            }
        } else if followed.failures == TROUBLE && !problem.is_transition() {
            tracing::warn!(%topic, partition = index, leader = self.leader, code, problem = message, "a replica cannot be copied; trying again");
        } else {
            tracing::debug!(%topic, partition = index, leader = self.leader, code, problem = message, "a replica cannot be copied yet");
        }
    }
}

/// Rests between failures in a row.
fn backoff(failures: u32, max: Duration) -> Duration {
    rest_after(failures, FIRST_REST, max).max(Duration::from_millis(1))
}

/// One partition's part of an answer being written.
struct Copying<'a> {
    fetching: &'a Fetching,
    link: &'a dyn LeaderLink,
    partition: &'a Arc<Partition>,
    position: Position,
}

impl Copying<'_> {
    async fn write(self, data: PartitionData) -> Result<(), Problem> {
        let epoch = self.position.leader_epoch;
        match data.error_code {
            error_code::NONE if data.diverging_epoch.epoch >= 0 => {
                let diverging = &data.diverging_epoch;
                self.cut(diverging.epoch, diverging.end_offset).await
            }
            error_code::NONE => {
                let records = data.records.unwrap_or_default();
                self.begin_within_a_batch(&records).await?;
                let (high_watermark, log_start) = (data.high_watermark, data.log_start_offset);
                self.partition
                    .append_as_follower(epoch, records, high_watermark, log_start)
                    .await?;
                Ok(())
            }
            error_code::OFFSET_OUT_OF_RANGE => self.find_the_leaders_log(&data).await,
            code => Err(Problem::new(
                code,
                format!("the leader answers error {code}"),
            )),
        }
    }

    /// The leader's log may start within a batch, whose first records were deleted. A log without
    /// records takes the whole batch, and its start moves on with the leader's.
    async fn begin_within_a_batch(&self, records: &[u8]) -> Result<(), Problem> {
        let offsets = self.partition.offsets();
        if records.is_empty() || offsets.log_start < offsets.log_end {
            return Ok(());
        }
        let Ok(first) = BatchHeader::parse(records) else {
            return Ok(());
        };
        if first.base_offset < offsets.log_end && offsets.log_end < first.next_offset() {
            self.partition
                .restart_at(self.position.leader_epoch, first.base_offset)
                .await?;
        }
        Ok(())
    }

    /// Cuts back to where the leader's log and this one may agree.
    async fn cut(&self, diverging_epoch: i32, end_offset: i64) -> Result<(), Problem> {
        let epoch = self.position.leader_epoch;
        let end = self
            .partition
            .truncate_to_leader(epoch, diverging_epoch, end_offset)
            .await?;
        if end < self.position.offset {
            return Ok(());
        }
        Err(Problem::new(
            error_code::UNKNOWN_SERVER_ERROR,
            format!(
                "the leader's epoch {diverging_epoch} ends at {end_offset}, which leaves nothing to cut off before {end}"
            ),
        ))
    }

    /// The leader has nothing at this log's end: its log begins later, or ends earlier.
    async fn find_the_leaders_log(&self, data: &PartitionData) -> Result<(), Problem> {
        let epoch = self.position.leader_epoch;
        let start = data.log_start_offset;
        if start > self.position.offset {
            self.partition.restart_at(epoch, start).await?;
            return Ok(());
        }
        let question = EpochQuestion {
            me: self.fetching.me,
            topic: self.partition.topic(),
            index: self.partition.index(),
            leader_epoch: epoch,
            epoch: self.position.last_epoch,
        };
        let end = self
            .link
            .epoch_end(question, self.fetching.settings.timeout)
            .await
            .map_err(|problem| Problem::new(error_code::UNKNOWN_SERVER_ERROR, problem))?
            .map_err(|code| Problem::new(code, "the leader does not say where its epochs end"))?;
        if end.epoch >= 0 && end.end_offset >= 0 {
            return self.cut(end.epoch, end.end_offset).await;
        }
        if start < 0 {
            return Err(Problem::new(
                error_code::OFFSET_OUT_OF_RANGE,
                "the leader does not say where its log starts",
            ));
        }
        // None of this log's epochs is known to the leader: nothing is in common.
        self.partition.restart_at(epoch, start).await?;
        Ok(())
    }
}
