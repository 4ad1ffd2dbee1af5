//! Reading records, alone or in a group.
//!
//! All decisions are taken in `poll`, in the caller's task; what takes time (fetches, joining,
//! looking up positions) runs in tasks that the consumer owns, so that `poll` keeps its timeout and
//! the next records arrive while the application works on the previous ones.

mod assignor;
mod config;
mod contact;
mod events;
mod fetch;
mod heartbeat;
mod join;
mod membership;
mod poll;
mod positions;
mod protocol;
mod rebalance;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use regex::Regex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use assignor::Assignor;
pub use config::{AutoOffsetReset, ConsumerConfig, IsolationLevel};
pub use events::{FetchedBatch, OffsetAndMetadata, Polled, RebalanceEvent};

use crate::backoff::Backoff;
use crate::group_offsets::{self, Committer};
use crate::pool::Pool;
use crate::{Client, ClientError, TopicPartition};
use contact::{Contact, Peer};
use membership::Membership;
use poll::Outcome;
use positions::{Position, Start};

/// Reads records of some partitions: those it was given with [`assign`](Consumer::assign), or those
/// its group gives it for the topics of [`subscribe`](Consumer::subscribe).
///
/// Call [`poll`](Consumer::poll) again and again, at least every `max_poll_interval`; everything
/// moves on there.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    config: Arc<ConsumerConfig>,
    /// For fetches, which wait for records.
    fetch_pool: Arc<Pool>,
    /// For the coordinator, so that heartbeats don't wait behind fetches.
    group_pool: Arc<Pool>,
    /// For joining, which waits for the other members.
    join_pool: Arc<Pool>,
    subscription: Subscription,
    membership: Membership,
    partitions: BTreeMap<TopicPartition, Assigned>,
    /// Partitions to be dropped with the next poll: the caller was told so.
    revoked: Vec<TopicPartition>,
    /// What the group gave, not taken over yet.
    pending_assignment: Option<Vec<TopicPartition>>,
    /// What it had before that assignment was lost.
    pending_lost: bool,
    work: JoinSet<Outcome>,
    /// Brokers with a fetch under way, and its number.
    fetching: HashMap<i32, u64>,
    next_fetch: u64,
    ready: VecDeque<FetchedBatch>,
    refreshing: bool,
    refresh_not_before: Instant,
    refresh_backoff: Backoff,
    last_poll: Arc<Mutex<Instant>>,
    /// Heartbeats wake a waiting poll.
    wake: Arc<Notify>,
    contact: Arc<Contact>,
    /// Another member has this one's instance id; the next poll says so.
    fenced: Option<ClientError>,
    next_version: u64,
}

#[derive(Debug)]
enum Subscription {
    None,
    /// Partitions named by the caller.
    Manual,
    Topics(Vec<Arc<str>>),
    Pattern {
        pattern: Regex,
        topics: Vec<Arc<str>>,
        checked: Option<Instant>,
    },
}

impl Subscription {
    fn topics(&self) -> &[Arc<str>] {
        match self {
            Self::None | Self::Manual => &[],
            Self::Topics(topics) | Self::Pattern { topics, .. } => topics,
        }
    }

    const fn is_group(&self) -> bool {
        matches!(self, Self::Topics(_) | Self::Pattern { .. })
    }
}

/// A partition this consumer reads.
#[derive(Debug)]
struct Assigned {
    /// Changes whenever what is under way for this partition must be ignored.
    version: u64,
    position: Option<Position>,
    /// How to find the position while there is none.
    start: Start,
    resolving: bool,
    paused: bool,
    /// After an error.
    not_before: Option<Instant>,
    /// Since when the leader that is known was replaced before the record that was read last.
    outrun: Option<Instant>,
    high_watermark: Option<i64>,
}

impl Consumer {
    /// Makes a consumer that reads nothing yet. Must be used within a tokio runtime.
    ///
    /// # Errors
    /// [`ClientError::Configuration`] for settings that cannot work.
    pub fn new(client: Client, config: ConsumerConfig) -> Result<Self, ClientError> {
        config.validate()?;
        let now = Instant::now();
        Ok(Self {
            fetch_pool: Arc::new(client.new_pool()),
            group_pool: Arc::new(client.new_pool()),
            join_pool: Arc::new(client.new_pool()),
            refresh_backoff: client.backoff(),
            client,
            config: Arc::new(config),
            subscription: Subscription::None,
            membership: Membership::none(),
            partitions: BTreeMap::new(),
            revoked: Vec::new(),
            pending_assignment: None,
            pending_lost: false,
            work: JoinSet::new(),
            fetching: HashMap::new(),
            next_fetch: 0,
            ready: VecDeque::new(),
            refreshing: false,
            refresh_not_before: now,
            last_poll: Arc::new(Mutex::new(now)),
            wake: Arc::new(Notify::new()),
            contact: Arc::default(),
            fenced: None,
            next_version: 0,
        })
    }

    /// Joins the group to read these topics, with the next `poll`. Replaces an earlier
    /// subscription.
    ///
    /// # Errors
    /// Without a group id, or after `assign`.
    pub fn subscribe(&mut self, topics: Vec<String>) -> Result<(), ClientError> {
        self.check_can_subscribe()?;
        let mut topics: Vec<Arc<str>> = topics.into_iter().map(Arc::from).collect();
        topics.sort();
        topics.dedup();
        if matches!(&self.subscription, Subscription::Topics(known) if *known == topics) {
            return Ok(());
        }
        self.subscription = Subscription::Topics(topics);
        self.membership.rejoin("the subscription changed");
        Ok(())
    }

    /// Joins the group to read all topics whose whole name matches a regular expression, internal
    /// ones excepted; new topics are found when metadata grows old.
    ///
    /// # Errors
    /// The expression is invalid; or as for `subscribe`.
    pub fn subscribe_pattern(&mut self, pattern: &str) -> Result<(), ClientError> {
        self.check_can_subscribe()?;
        let pattern =
            Regex::new(&format!("^(?:{pattern})$")).map_err(|error| ClientError::Usage {
                reason: format!("the topic pattern \"{pattern}\" is invalid: {error}"),
            })?;
        self.subscription = Subscription::Pattern {
            pattern,
            topics: Vec::new(),
            checked: None,
        };
        self.membership.rejoin("the subscription changed");
        Ok(())
    }

    fn check_can_subscribe(&self) -> Result<(), ClientError> {
        if self.config.group_id.is_none() {
            return Err(ClientError::Usage {
                reason: "subscribing needs a group; set group.id, or assign partitions".to_owned(),
            });
        }
        if matches!(self.subscription, Subscription::Manual) {
            return Err(ClientError::Usage {
                reason: "partitions were assigned; unsubscribe before subscribing".to_owned(),
            });
        }
        Ok(())
    }

    /// Reads exactly these partitions, without a group's rebalancing. With a group id, reading
    /// starts at its committed offsets. Partitions that stay keep their position.
    ///
    /// # Errors
    /// After `subscribe`.
    pub fn assign(&mut self, partitions: Vec<TopicPartition>) -> Result<(), ClientError> {
        if self.subscription.is_group() {
            return Err(ClientError::Usage {
                reason: "topics were subscribed; unsubscribe before assigning partitions"
                    .to_owned(),
            });
        }
        self.subscription = Subscription::Manual;
        self.partitions
            .retain(|partition, _| partitions.contains(partition));
        self.add_partitions(partitions);
        Ok(())
    }

    /// Gives up all partitions, and leaves the group if it is in one; a member with a
    /// `group_instance_id` stays in it until its session times out.
    pub async fn unsubscribe(&mut self) {
        if let Some(member) = self
            .give_up()
            .await
            .filter(|member| member.instance_id.is_none())
        {
            self.leave_group(&member).await;
        }
    }

    /// Gives up all partitions; as whom the group can be left, if this was a member.
    async fn give_up(&mut self) -> Option<Committer> {
        let heartbeat = self.membership.reset();
        self.subscription = Subscription::None;
        self.partitions.clear();
        self.revoked.clear();
        self.pending_assignment = None;
        self.ready.clear();
        self.work.abort_all();
        while self.work.join_next().await.is_some() {}
        self.fetching.clear();
        self.refreshing = false;
        heartbeat.map(|heartbeat| heartbeat.committer().clone())
    }

    async fn leave_group(&self, member: &Committer) {
        let group = self.config.group_id.as_deref().unwrap_or_default();
        let reason = "the consumer unsubscribed from all topics or was closed";
        let leaving = join::leave(&self.client, &self.group_pool, group, member, reason);
        if let Err(error) = leaving.await {
            tracing::debug!("{error}; the group notices when the session times out");
        }
    }

    /// Commits offsets in the group, now, and says whether they were accepted. Committing what was
    /// returned by `poll` means committing `next_offset`.
    ///
    /// # Errors
    /// `REBALANCE_IN_PROGRESS` (27): poll, then try again. `ILLEGAL_GENERATION`,
    /// `UNKNOWN_MEMBER_ID`: the partitions are lost, as the next `poll` will say.
    pub async fn commit(
        &mut self,
        offsets: &[(TopicPartition, OffsetAndMetadata)],
    ) -> Result<(), ClientError> {
        let group = self.group()?;
        let committer = match self.membership.committer() {
            Some(committer) => committer.clone(),
            None if self.subscription.is_group() => {
                return Err(ClientError::Usage {
                    reason: format!(
                        "this consumer is not a member of group \"{group}\" at present; poll to join"
                    ),
                });
            }
            None => Committer::outsider(),
        };
        let result =
            group_offsets::commit(&self.client, &self.group_pool, &group, &committer, offsets)
                .await;
        if let Err(error) = &result
            && !matches!(error.code(), Some(crate::ErrorCode::REBALANCE_IN_PROGRESS))
        {
            self.membership.note(error);
        }
        result
    }

    /// The group's committed offsets of these partitions; `None` where there is none.
    ///
    /// # Errors
    /// No group id, or its coordinator doesn't answer.
    pub async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Option<OffsetAndMetadata>)>, ClientError> {
        let group = self.group()?;
        let mut found =
            group_offsets::fetch(&self.client, &self.group_pool, &group, Some(partitions)).await?;
        Ok(partitions
            .iter()
            .map(|partition| (partition.clone(), found.remove(partition)))
            .collect())
    }

    fn group(&self) -> Result<String, ClientError> {
        self.config
            .group_id
            .clone()
            .ok_or_else(|| ClientError::Usage {
                reason: "committed offsets belong to a group; set group.id".to_owned(),
            })
    }

    /// Where reading goes on: behind the last record returned. `None` while it is not known yet or
    /// the partition is not this consumer's.
    #[must_use]
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.partitions
            .get(partition)?
            .position
            .as_ref()
            .map(|position| position.offset)
    }

    /// Whether records of the partition are here that no `poll` has returned yet; its position is behind
    /// them already.
    #[must_use]
    pub fn holds(&self, partition: &TopicPartition) -> bool {
        let mut ready = self.ready.iter();
        ready.any(|batch| batch.partition == partition.partition && batch.topic == partition.topic)
    }

    /// The partition's high watermark, as of the last fetch.
    #[must_use]
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<i64> {
        self.partitions.get(partition)?.high_watermark
    }

    /// Goes on reading at another offset.
    ///
    /// # Errors
    /// The partition is not this consumer's.
    pub fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), ClientError> {
        let version = self.bump_version();
        let assigned = self.assigned_mut(partition)?;
        assigned.version = version;
        assigned.resolving = false;
        assigned.not_before = None;
        assigned.position = Some(Position::at(offset));
        self.drop_ready(partition);
        Ok(())
    }

    /// Goes on reading at the first or behind the last record.
    ///
    /// # Errors
    /// The partition is not this consumer's.
    pub fn seek_to(
        &mut self,
        partition: &TopicPartition,
        reset: AutoOffsetReset,
    ) -> Result<(), ClientError> {
        let version = self.bump_version();
        let assigned = self.assigned_mut(partition)?;
        assigned.version = version;
        assigned.resolving = false;
        assigned.not_before = None;
        assigned.position = None;
        assigned.start = Start::Reset(reset, "a seek".to_owned());
        self.drop_ready(partition);
        Ok(())
    }

    fn assigned_mut(&mut self, partition: &TopicPartition) -> Result<&mut Assigned, ClientError> {
        self.partitions
            .get_mut(partition)
            .ok_or_else(|| ClientError::Usage {
                reason: format!(
                    "{partition} is not assigned to this consumer; assign or subscribe first"
                ),
            })
    }

    fn drop_ready(&mut self, partition: &TopicPartition) {
        self.ready.retain(|batch| {
            batch.partition != partition.partition || batch.topic != partition.topic
        });
    }

    /// Stops returning records of these partitions; they stay assigned. What was fetched already is
    /// fetched again after [`resume`](Self::resume).
    pub fn pause(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            if let Some(assigned) = self.partitions.get_mut(partition) {
                assigned.paused = true;
            }
        }
    }

    /// Undoes [`pause`](Self::pause).
    pub fn resume(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            if let Some(assigned) = self.partitions.get_mut(partition) {
                assigned.paused = false;
            }
        }
    }

    /// Those paused.
    #[must_use]
    pub fn paused(&self) -> Vec<TopicPartition> {
        let paused = self
            .partitions
            .iter()
            .filter(|(_, assigned)| assigned.paused);
        paused.map(|(partition, _)| partition.clone()).collect()
    }

    /// The partitions this consumer owns, in order.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.partitions.keys().cloned().collect()
    }

    /// Leaves the group and ends. Commit before; nothing is committed here. A member with a
    /// `group_instance_id` stays in the group until its session times out, so that it finds its
    /// place again when it comes back.
    pub async fn close(mut self) {
        self.unsubscribe().await;
        self.close_connections();
    }

    /// As [`close`](Self::close), but leaves the group in any case, so that others take over the
    /// partitions of a member with a `group_instance_id` at once (KIP-1092).
    pub async fn close_and_leave(mut self) {
        if let Some(member) = self.give_up().await {
            self.leave_group(&member).await;
        }
        self.close_connections();
    }

    /// How long a broker that this consumer needs has not answered, and the last error; `None`
    /// while all is well. [`poll`](Self::poll) goes on trying and does not return such errors.
    #[must_use]
    pub fn out_of_contact(&self) -> Option<(Duration, ClientError)> {
        self.contact.lost(|peer| match peer {
            Peer::Coordinator => self.subscription.is_group(),
            Peer::Leader(id) => {
                let metadata = self.client.metadata();
                let mut partitions = self.partitions.keys();
                partitions
                    .any(|partition| metadata.leader(partition).is_some_and(|led| led.0 == id))
            }
        })
    }

    fn close_connections(&self) {
        self.fetch_pool.close();
        self.group_pool.close();
        self.join_pool.close();
    }

    fn bump_version(&mut self) -> u64 {
        self.next_version += 1;
        self.next_version
    }

    fn add_partitions(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        for partition in partitions {
            let version = self.bump_version();
            let start = if self.config.group_id.is_some() {
                Start::Committed
            } else {
                Start::Reset(self.config.auto_offset_reset, "it has no group".to_owned())
            };
            self.partitions
                .entry(partition)
                .or_insert_with(|| Assigned {
                    version,
                    position: None,
                    start,
                    resolving: false,
                    paused: false,
                    not_before: None,
                    outrun: None,
                    high_watermark: None,
                });
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.fetch_pool.close();
    }
}
