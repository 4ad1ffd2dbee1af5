//! What `poll` does: takes in what has finished, decides, starts what comes next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_wire::fetch_response::{FetchResponse, PartitionData};
use kafka_wire_core::Uuid;
use tokio::time::Instant;

use super::contact::Peer;
use super::fetch::{self, Want};
use super::join::Joined;
use super::positions::{self, Position, Resolved, Start};
use super::{Consumer, Polled, Subscription};
use crate::{BrokerInfo, ClientError, ErrorCode, TopicPartition};

/// How long a partition with damaged records is left alone before the damage is reported again.
const DAMAGE_PAUSE: Duration = Duration::from_secs(1);
/// A leader that lets this pass beyond what it was allowed to wait may have been replaced.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a leader that was replaced before the record that was read last is not asked for more. A topic
/// that was made anew begins with lower epochs, so its successor is not waited for for ever.
const OUTRUN_MAX: Duration = Duration::from_secs(30);
/// How often the others are asked from then on.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What a task of the consumer brings back.
#[derive(Debug)]
pub(super) enum Outcome {
    Fetched {
        node: i32,
        number: u64,
        wants: Vec<(Want, u64)>,
        result: Result<FetchResponse, ClientError>,
    },
    Joined(Result<Joined, ClientError>),
    Resolved(Vec<Resolved>),
    Refreshed(Result<(), ClientError>),
    Matched(Result<Vec<Arc<str>>, ClientError>),
}

impl Consumer {
    /// Waits up to `timeout` for records or a change of the assignment, and returns either. Keeps
    /// the membership alive and moves rebalances on. Safe to cancel: nothing is lost.
    ///
    /// # Errors
    /// [`ClientError::NoOffset`] where reading could not start, [`ClientError::Corrupt`] for damaged
    /// records, and what a broker refuses for good (authorisation, invalid group, an instance id
    /// that another member has taken: polling again takes it back). Polling again goes on with
    /// everything else. What can be retried is retried and never returned.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Polled, ClientError> {
        let deadline = Instant::now().checked_add(timeout);
        self.apply_revocation();
        loop {
            *self.last_poll.lock() = Instant::now();
            if let Some(error) = self.fenced.take() {
                return Err(error);
            }
            while let Some(finished) = self.work.try_join_next() {
                self.take_in(finished)?;
            }
            let mut events = self.take_assignment();
            if events.is_empty() {
                events = self.drive_membership();
            }
            if !events.is_empty() {
                return Ok(Polled {
                    events,
                    batches: Vec::new(),
                });
            }
            let wake_at = [
                self.refresh(),
                self.resolve_positions(),
                self.start_fetches(),
            ]
            .into_iter()
            .flatten()
            .min();
            if !self.ready.is_empty() {
                return Ok(Polled {
                    events: Vec::new(),
                    batches: self.ready.drain(..).collect(),
                });
            }
            // A long wait in here is not a stuck application: look in often enough to say so.
            let alive = Instant::now().checked_add(self.config.max_poll_interval / 2);
            let wake_at = [wake_at, deadline, alive].into_iter().flatten().min();
            let sleep = async {
                match wake_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let wake = Arc::clone(&self.wake);
            tokio::select! {
                Some(finished) = self.work.join_next(), if !self.work.is_empty() => {
                    self.take_in(finished)?;
                }
                () = wake.notified() => {}
                () = sleep => {
                    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                        return Ok(Polled::default());
                    }
                }
            }
        }
    }

    /// The caller has been told and had its time.
    fn apply_revocation(&mut self) {
        for partition in std::mem::take(&mut self.revoked) {
            self.partitions.remove(&partition);
            self.drop_ready(&partition);
        }
    }

    fn take_in(
        &mut self,
        finished: Result<Outcome, tokio::task::JoinError>,
    ) -> Result<(), ClientError> {
        match finished {
            Ok(Outcome::Fetched {
                node,
                number,
                wants,
                result,
            }) => {
                if self.fetching.get(&node) == Some(&number) {
                    self.fetching.remove(&node);
                }
                self.take_fetched(node, wants, result)
            }
            Ok(Outcome::Joined(result)) => self.take_joined(result),
            Ok(Outcome::Resolved(resolved)) => self.take_resolved(resolved),
            Ok(Outcome::Refreshed(result)) => {
                self.refreshing = false;
                if let Err(error) = result {
                    tracing::debug!("{error}");
                }
                Ok(())
            }
            Ok(Outcome::Matched(result)) => {
                self.refreshing = false;
                self.take_matched(result);
                Ok(())
            }
            Err(error) if error.is_cancelled() => Ok(()),
            Err(error) => {
                self.forget_work();
                Err(ClientError::Protocol {
                    context: "a task of the consumer ended unexpectedly".to_owned(),
                    reason: error.to_string(),
                })
            }
        }
    }

    /// A task panicked, and nobody knows which: nothing may wait for it. What the others bring is taken
    /// if it still fits.
    fn forget_work(&mut self) {
        self.fetching.clear();
        self.refreshing = false;
        for assigned in self.partitions.values_mut() {
            assigned.resolving = false;
        }
        if self.membership.is_joining() {
            self.membership.failed();
        }
    }

    // Metadata.

    /// Keeps metadata fresh. Returns when to try again.
    fn refresh(&mut self) -> Option<Instant> {
        if self.refreshing {
            return None;
        }
        let now = Instant::now();
        let max_age = self.client.config().metadata_max_age;
        if let Subscription::Pattern {
            pattern, checked, ..
        } = &self.subscription
        {
            let due = checked.and_then(|checked| checked.checked_add(max_age));
            let due = due.unwrap_or(now).max(self.refresh_not_before);
            if checked.is_none() || due <= now {
                if self.refresh_not_before > now {
                    return Some(self.refresh_not_before);
                }
                self.refreshing = true;
                self.refresh_not_before = now + self.refresh_backoff.next();
                let (client, pattern) = (self.client.clone(), pattern.clone());
                self.work.spawn(async move {
                    let result = client.all_topics().await.map(|response| {
                        let names = response.topics.iter().filter(|topic| !topic.is_internal);
                        let mut names: Vec<Arc<str>> = names
                            .filter_map(|topic| topic.name.as_ref())
                            .filter(|name| pattern.is_match(name))
                            .map(|name| Arc::from(name.as_str()))
                            .collect();
                        names.sort();
                        names
                    });
                    Outcome::Matched(result)
                });
                return None;
            }
        }
        let mut topics: Vec<Arc<str>> = self
            .partitions
            .keys()
            .map(|partition| &partition.topic)
            .chain(self.subscription.topics())
            .filter(|topic| !self.client.metadata().is_fresh(topic, max_age))
            .cloned()
            .collect();
        if topics.is_empty() {
            self.refresh_backoff.reset();
            return None;
        }
        if self.refresh_not_before > now {
            return Some(self.refresh_not_before);
        }
        topics.sort();
        topics.dedup();
        self.refreshing = true;
        self.refresh_not_before = now + self.refresh_backoff.next();
        let client = self.client.clone();
        let create = self.config.allow_auto_create_topics;
        self.work.spawn(async move {
            let result = client.refresh(&topics, create).await.map(|errors| {
                for (topic, code) in errors {
                    tracing::debug!("no metadata of topic \"{topic}\": {code}");
                }
            });
            Outcome::Refreshed(result)
        });
        None
    }

    fn take_matched(&mut self, result: Result<Vec<Arc<str>>, ClientError>) {
        match result {
            Err(error) => tracing::debug!("{error}"),
            Ok(matched) => {
                let mut changed = false;
                if let Subscription::Pattern {
                    topics, checked, ..
                } = &mut self.subscription
                {
                    changed = checked.is_some() && *topics != matched;
                    *topics = matched;
                    *checked = Some(Instant::now());
                }
                if changed {
                    self.membership.rejoin("other topics match the pattern now");
                }
            }
        }
    }

    // Positions.

    /// Looks up positions that are not known. Returns when to try again.
    fn resolve_positions(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut wake_at: Option<Instant> = None;
        let mut wanted = Vec::new();
        for (partition, assigned) in &mut self.partitions {
            if assigned.position.is_some() || assigned.resolving {
                continue;
            }
            if let Some(not_before) = assigned.not_before.filter(|at| *at > now) {
                wake_at = Some(wake_at.map_or(not_before, |at| at.min(not_before)));
                continue;
            }
            assigned.resolving = true;
            wanted.push((partition.clone(), assigned.version, assigned.start.clone()));
        }
        if !wanted.is_empty() {
            let resolving = positions::resolve(
                self.client.clone(),
                Arc::clone(&self.group_pool),
                Arc::clone(&self.config),
                wanted,
            );
            self.work
                .spawn(async move { Outcome::Resolved(resolving.await) });
        }
        wake_at
    }

    fn take_resolved(&mut self, resolved: Vec<Resolved>) -> Result<(), ClientError> {
        let mut refused = None;
        let retry_backoff = self.client.config().retry_backoff;
        for Resolved {
            partition,
            version,
            result,
        } in resolved
        {
            let Some(assigned) = self.partitions.get_mut(&partition) else {
                continue;
            };
            if assigned.version != version {
                continue;
            }
            assigned.resolving = false;
            match result {
                Ok(position) => {
                    tracing::debug!("{partition} is read from offset {}", position.offset);
                    assigned.not_before = None;
                    assigned.position = Some(position);
                }
                Err(error) if error.is_retriable() => {
                    tracing::debug!("{error}");
                    assigned.not_before = Some(Instant::now() + retry_backoff);
                }
                Err(error) => {
                    assigned.not_before = Some(Instant::now() + DAMAGE_PAUSE);
                    refused = Some(error);
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    // Fetches.

    /// Starts a fetch at each leader that has none under way. Returns when a partition that has to
    /// wait may go on.
    fn start_fetches(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut wake_at: Option<Instant> = None;
        let mut by_node: BTreeMap<i32, Vec<(Want, u64)>> = BTreeMap::new();
        let mut topic_ids: BTreeMap<Arc<str>, Uuid> = BTreeMap::new();
        for (partition, assigned) in &mut self.partitions {
            let Some(position) = &mut assigned.position else {
                continue;
            };
            if assigned.paused || self.revoked.contains(partition) {
                continue;
            }
            if let Some(not_before) = assigned.not_before.filter(|at| *at > now) {
                wake_at = Some(wake_at.map_or(not_before, |at| at.min(not_before)));
                continue;
            }
            let metadata = self.client.metadata();
            let Some((leader, leader_epoch)) = metadata.leader(partition) else {
                metadata.mark_stale(&partition.topic);
                let again = now + self.client.config().retry_backoff;
                wake_at = Some(wake_at.map_or(again, |at| at.min(again)));
                continue;
            };
            if position.epoch <= leader_epoch {
                assigned.outrun = None;
            } else if now - *assigned.outrun.get_or_insert(now) < OUTRUN_MAX {
                // Cut off from the others it may not know, and would take this offset for one beyond
                // the end of the log (KIP-320).
                metadata.mark_stale(&partition.topic);
                let again = now + self.client.config().retry_backoff;
                wake_at = Some(wake_at.map_or(again, |at| at.min(again)));
                continue;
            }
            if position.checked < leader_epoch {
                let new_leader = position.epoch >= 0 && position.checked != leader_epoch;
                position.checked = leader_epoch;
                if new_leader && position.epoch < leader_epoch {
                    assigned.start = Start::Check(position.clone());
                    assigned.position = None;
                    // Looked up in the next round.
                    wake_at = Some(now);
                    continue;
                }
            }
            if self.fetching.contains_key(&leader) {
                continue;
            }
            let topic_id = *topic_ids
                .entry(Arc::clone(&partition.topic))
                .or_insert_with(|| {
                    metadata
                        .topic(&partition.topic)
                        .map_or(Uuid::ZERO, |topic| topic.id)
                });
            let want = Want {
                partition: partition.clone(),
                topic_id,
                offset: position.offset,
                leader_epoch,
            };
            by_node
                .entry(leader)
                .or_default()
                .push((want, assigned.version));
        }
        for (node, mut wants) in by_node {
            self.next_fetch += 1;
            let number = self.next_fetch;
            // The broker fills its answer in the order of the request: each has its turn in front.
            let rotation = usize::try_from(number).unwrap_or(0) % wants.len();
            wants.rotate_left(rotation);
            self.fetching.insert(node, number);
            let client = self.client.clone();
            let pool = Arc::clone(&self.fetch_pool);
            let config = Arc::clone(&self.config);
            let wake = Arc::clone(&self.wake);
            self.work.spawn(async move {
                let plain: Vec<Want> = wants.iter().map(|(want, _)| want.clone()).collect();
                let mut patience = config.fetch_max_wait.saturating_add(PATIENCE);
                let mut fetching =
                    std::pin::pin!(fetch::fetch(&client, &pool, &config, node, &plain));
                let result = loop {
                    tokio::select! {
                        result = &mut fetching => break result,
                        () = tokio::time::sleep(patience) => {
                            // Perhaps others lead by now. They are asked while this one hangs.
                            for want in &plain {
                                client.metadata().mark_stale(&want.partition.topic);
                            }
                            wake.notify_one();
                            patience = ASK_AGAIN;
                        }
                    }
                };
                Outcome::Fetched {
                    node,
                    number,
                    wants,
                    result,
                }
            });
        }
        wake_at
    }

    fn take_fetched(
        &mut self,
        node: i32,
        wants: Vec<(Want, u64)>,
        result: Result<FetchResponse, ClientError>,
    ) -> Result<(), ClientError> {
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(broker = node, "{error}");
                self.contact.failed(Peer::Leader(node), &error);
                let not_before = Instant::now() + self.client.config().retry_backoff;
                for (want, _) in &wants {
                    self.client.metadata().mark_stale(&want.partition.topic);
                    if let Some(assigned) = self.partitions.get_mut(&want.partition) {
                        assigned.not_before = Some(not_before);
                    }
                }
                return if error.is_retriable() {
                    Ok(())
                } else {
                    Err(error)
                };
            }
        };
        self.contact.restored(Peer::Leader(node));
        let mut refused = None;
        for (want, version) in &wants {
            let Some(answer) = fetch::answer_for(&response, want) else {
                continue;
            };
            learn(self, &want.partition, answer, &response);
            let Some(assigned) = self.partitions.get_mut(&want.partition) else {
                continue;
            };
            let here = assigned
                .position
                .as_ref()
                .is_some_and(|at| at.offset == want.offset);
            if assigned.version != *version || assigned.paused || !here {
                continue;
            }
            if let Err(error) = self.take_partition(want, answer) {
                refused = Some(error);
            }
        }
        refused.map_or(Ok(()), Err)
    }

    fn take_partition(&mut self, want: &Want, answer: &PartitionData) -> Result<(), ClientError> {
        let retry_at = Instant::now() + self.client.config().retry_backoff;
        let Some(assigned) = self.partitions.get_mut(&want.partition) else {
            return Ok(());
        };
        let code = ErrorCode(answer.error_code);
        match code {
            ErrorCode::NONE => {}
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                let mut reason = format!("offset {} is out of range", want.offset);
                // Apache Kafka leaves the start out of such an answer.
                if let start @ 0.. = answer.log_start_offset {
                    reason.push_str(&format!(", its log starts at {start}"));
                }
                tracing::warn!("{}: {reason}", want.partition);
                assigned.position = None;
                assigned.start = Start::Reset(self.config.auto_offset_reset, reason);
                return Ok(());
            }
            ErrorCode::CORRUPT_MESSAGE => {
                assigned.not_before = Some(Instant::now() + DAMAGE_PAUSE);
                return Err(ClientError::Corrupt {
                    partition: want.partition.clone(),
                    offset: want.offset,
                    reason: "the broker cannot read the records there".to_owned(),
                });
            }
            code if code.is_retriable() || code == ErrorCode::UNKNOWN_SERVER_ERROR => {
                tracing::debug!("fetching {}: {code}", want.partition);
                if code.is_stale_metadata() {
                    self.client.metadata().mark_stale(&want.partition.topic);
                }
                assigned.not_before = Some(retry_at);
                return Ok(());
            }
            code => {
                assigned.not_before = Some(Instant::now() + DAMAGE_PAUSE);
                return Err(ClientError::broker(
                    code,
                    format!("cannot read {}", want.partition),
                ));
            }
        }
        assigned.high_watermark = Some(answer.high_watermark);
        match fetch::records(&self.config, &want.partition, want.offset, answer) {
            Ok(None) => Ok(()),
            Ok(Some(batch)) => {
                assigned.position = Some(Position {
                    offset: batch.next_offset,
                    epoch: batch.leader_epoch,
                    checked: want.leader_epoch,
                });
                assigned.not_before = None;
                self.ready.push_back(batch);
                Ok(())
            }
            Err(error) => {
                assigned.not_before = Some(Instant::now() + DAMAGE_PAUSE);
                Err(error)
            }
        }
    }
}

/// Takes in who leads now, if the broker says so (KIP-951).
fn learn(
    consumer: &Consumer,
    partition: &TopicPartition,
    answer: &PartitionData,
    response: &FetchResponse,
) {
    let leader = &answer.current_leader;
    if answer.error_code == 0 || leader.leader_id < 0 {
        return;
    }
    let endpoint = response
        .node_endpoints
        .iter()
        .find(|node| node.node_id == leader.leader_id)
        .map(|node| BrokerInfo {
            id: node.node_id,
            host: node.host.as_str().to_owned(),
            port: u16::try_from(node.port).unwrap_or(0),
            rack: node.rack.as_ref().map(|rack| rack.as_str().to_owned()),
        });
    let metadata = consumer.client.metadata();
    metadata.learn_leader(partition, leader.leader_id, leader.leader_epoch, endpoint);
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::cluster::led_by;
    use crate::{Client, ClientConfig, ConsumerConfig};

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_was_replaced_before_the_last_record_is_not_asked_for_the_next_one() {
        let client = Client::new(ClientConfig::new(["127.0.0.1:1"])).unwrap();
        let mut consumer = Consumer::new(client, ConsumerConfig::default()).unwrap();
        let partition = TopicPartition::new("t", 0);
        consumer.assign(vec![partition.clone()]).unwrap();
        let read = Position {
            offset: 5964,
            epoch: 6,
            checked: -1,
        };
        consumer.partitions.get_mut(&partition).unwrap().position = Some(read);
        let max_age = consumer.client.config().metadata_max_age;
        consumer.client.metadata().update(&led_by(1, 5), max_age);
        assert!(consumer.start_fetches().is_some(), "looks again");
        assert!(consumer.fetching.is_empty());
        assert!(!consumer.client.metadata().is_fresh("t", max_age));
        consumer.client.metadata().update(&led_by(2, 6), max_age);
        consumer.start_fetches();
        assert!(consumer.fetching.contains_key(&2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_that_was_made_anew_is_read_in_the_end() {
        let client = Client::new(ClientConfig::new(["127.0.0.1:1"])).unwrap();
        let mut consumer = Consumer::new(client, ConsumerConfig::default()).unwrap();
        let partition = TopicPartition::new("t", 0);
        consumer.assign(vec![partition.clone()]).unwrap();
        let read = Position {
            offset: 3,
            epoch: 6,
            checked: -1,
        };
        consumer.partitions.get_mut(&partition).unwrap().position = Some(read);
        let max_age = consumer.client.config().metadata_max_age;
        consumer.client.metadata().update(&led_by(1, 0), max_age);
        consumer.start_fetches();
        assert!(consumer.fetching.is_empty());
        tokio::time::sleep(OUTRUN_MAX).await;
        consumer.start_fetches();
        assert!(consumer.fetching.contains_key(&1));
    }

    #[tokio::test]
    async fn nothing_waits_for_a_task_that_panicked() {
        let client = Client::new(ClientConfig::new(["127.0.0.1:1"])).unwrap();
        let mut consumer = Consumer::new(client, ConsumerConfig::default()).unwrap();
        consumer.fetching.insert(1, 1);
        consumer.refreshing = true;
        consumer.work.spawn(async { panic!("as a test") });
        let error = consumer.poll(Duration::from_secs(5)).await.unwrap_err();
        assert!(error.to_string().contains("ended unexpectedly"), "{error}");
        assert!(consumer.fetching.is_empty() && !consumer.refreshing);
    }
}
