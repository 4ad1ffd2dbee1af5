//! Where records come from: a group's share, one partition, or all partitions of the matching topics.
//!
//! Without a group nothing is committed and nobody else is asked, so reading starts at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kafka_client::{
    Client, ClientError, Consumer, ErrorCode, FetchedBatch, OffsetAndMetadata, OffsetSpec,
    RebalanceEvent, TopicPartition,
};
use regex::Regex;
use tokio::time::timeout;

use super::{Arguments, may_appear};
use crate::commands::topics::topic_pattern;
use crate::{CliError, output};

/// How often new topics and partitions are looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The same while there is nothing to read yet.
const LOOK_AGAIN_SOON: Duration = Duration::from_millis(200);
/// How long a commit may hold up reading; what it leaves undone is tried again with the next one.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where to start in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartAt {
    /// At the oldest record.
    Earliest,
    /// Behind the newest record.
    Latest,
    /// At this offset.
    Offset(i64),
}

/// A consumer, and what it reads.
#[derive(Debug)]
pub(super) struct Source {
    client: Client,
    consumer: Consumer,
    /// `None` in a group: its coordinator says what is read.
    direct: Option<Direct>,
    /// Whether the group's offsets are committed.
    commits: bool,
    /// What was printed and is not committed yet, for a group.
    consumed: BTreeMap<TopicPartition, OffsetAndMetadata>,
    /// The partitions of which the position is committed, or will be.
    started: BTreeSet<TopicPartition>,
}

#[derive(Debug)]
struct Direct {
    topics: Regex,
    partition: Option<i32>,
    start: StartAt,
    known: BTreeSet<TopicPartition>,
    looked: Option<Instant>,
    told_missing: bool,
}

impl Source {
    /// Reads what the arguments name, as a member of the consumer's group.
    ///
    /// # Errors
    /// A regular expression that is none, or a consumer that refuses.
    pub(super) fn of_group(
        client: Client,
        mut consumer: Consumer,
        arguments: &Arguments,
        commits: bool,
    ) -> Result<Self, CliError> {
        match &arguments.topic {
            Some(topic) => consumer.subscribe(vec![topic.clone()])?,
            None => {
                let include = arguments.include.as_deref().unwrap_or_default();
                consumer.subscribe_pattern(topic_pattern(include)?.as_str())?;
            }
        }
        Ok(Self {
            client,
            consumer,
            direct: None,
            commits,
            consumed: BTreeMap::new(),
            started: BTreeSet::new(),
        })
    }

    /// Reads what the arguments name, on its own.
    ///
    /// # Errors
    /// A regular expression that is none.
    pub(super) fn alone(
        client: Client,
        consumer: Consumer,
        arguments: &Arguments,
        start: StartAt,
    ) -> Result<Self, CliError> {
        let topics = match &arguments.topic {
            Some(topic) => topic_pattern(&regex::escape(topic))?,
            None => topic_pattern(arguments.include.as_deref().unwrap_or_default())?,
        };
        let direct = Direct {
            topics,
            partition: arguments.partition,
            start,
            known: BTreeSet::new(),
            looked: None,
            told_missing: false,
        };
        Ok(Self {
            client,
            consumer,
            direct: Some(direct),
            commits: false,
            consumed: BTreeMap::new(),
            started: BTreeSet::new(),
        })
    }

    /// The next records; none if nothing comes within `wait`.
    ///
    /// # Errors
    /// What the cluster refuses for good.
    pub(super) async fn next(&mut self, wait: Duration) -> Result<Vec<FetchedBatch>, CliError> {
        if let Some(direct) = &mut self.direct {
            direct.look(&self.client, &mut self.consumer).await?;
            if direct.known.is_empty() {
                tokio::time::sleep(wait.min(LOOK_AGAIN_SOON)).await;
                return Ok(Vec::new());
            }
        }
        let polled = match self.consumer.poll(wait).await {
            Ok(polled) => polled,
            Err(error) if may_appear(&error) => {
                tokio::time::sleep(wait.min(LOOK_AGAIN_SOON)).await;
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.into()),
        };
        for event in polled.events {
            self.rebalanced(event).await?;
        }
        if self.commits {
            self.note_starts(&polled.batches);
        }
        Ok(polled.batches)
    }

    async fn rebalanced(&mut self, event: RebalanceEvent) -> Result<(), CliError> {
        let gone = match event {
            RebalanceEvent::Assigned(_) => return Ok(()),
            RebalanceEvent::Revoked(partitions) => {
                self.commit().await?;
                partitions
            }
            RebalanceEvent::Lost(partitions) => partitions,
        };
        self.consumed
            .retain(|partition, _| !gone.contains(partition));
        self.started.retain(|partition| !gone.contains(partition));
        Ok(())
    }

    /// Where reading starts is committed before anything was read, so that the group goes on there
    /// and not at what is the newest record by then.
    fn note_starts(&mut self, batches: &[FetchedBatch]) {
        for partition in self.consumer.assignment() {
            let Some(position) = self.consumer.position(&partition) else {
                continue;
            };
            let has_records = batches.iter().any(|batch| {
                *batch.topic == *partition.topic && batch.partition == partition.partition
            });
            if self.started.insert(partition.clone()) && !has_records {
                self.consumed
                    .insert(partition, OffsetAndMetadata::new(position));
            }
        }
    }

    /// Everything of this partition before `next` has been printed.
    pub(super) fn consumed(&mut self, batch: &FetchedBatch, next: i64) {
        if !self.commits {
            return;
        }
        let partition = TopicPartition::new(batch.topic.clone(), batch.partition);
        self.consumed
            .insert(partition, OffsetAndMetadata::new(next));
    }

    /// Commits what was printed, in a group. While the group is between two assignments, that waits
    /// for the next time; what was lost to another member is its to commit.
    ///
    /// # Errors
    /// What the coordinator refuses for good.
    pub(super) async fn commit(&mut self) -> Result<(), CliError> {
        if self.consumed.is_empty() {
            return Ok(());
        }
        let offsets: Vec<_> = self
            .consumed
            .iter()
            .map(|(partition, offset)| (partition.clone(), offset.clone()))
            .collect();
        let reason = match timeout(COMMIT_TIMEOUT, self.consumer.commit(&offsets)).await {
            Ok(Ok(())) => {
                self.consumed.clear();
                return Ok(());
            }
            Ok(Err(error)) if error.is_retriable() || is_rebalance(&error) => error.to_string(),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => format!("it took longer than {COMMIT_TIMEOUT:?}"),
        };
        output::note(&format!("WARN: offsets could not be committed: {reason}"));
        Ok(())
    }

    /// Leaves the group and ends.
    pub(super) async fn close(self) {
        self.consumer.close().await;
    }
}

impl Direct {
    /// Looks for partitions that match and are not read yet.
    async fn look(&mut self, client: &Client, consumer: &mut Consumer) -> Result<(), CliError> {
        let pause = if self.known.is_empty() {
            LOOK_AGAIN_SOON
        } else {
            LOOK_AGAIN
        };
        if self.looked.is_some_and(|looked| looked.elapsed() < pause) {
            return Ok(());
        }
        let first_look = self.looked.is_none();
        self.looked = Some(Instant::now());
        let admin = client.admin();
        let listed = admin.list_topics().await?;
        let mut found = BTreeSet::new();
        for topic in listed
            .into_iter()
            .filter(|topic| self.topics.is_match(&topic.name))
        {
            let count = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
            if let Some(partition) = self
                .partition
                .filter(|wanted| *wanted < 0 || *wanted >= count)
            {
                return Err(CliError::failed(format!(
                    "topic \"{}\" has {count} partitions, so there is no partition {partition}",
                    topic.name
                )));
            }
            let wanted = self
                .partition
                .map_or(0..count, |partition| partition..partition + 1);
            found.extend(
                wanted.map(|partition| TopicPartition::new(topic.name.as_str(), partition)),
            );
        }
        if found.is_empty() && !self.told_missing {
            output::note("WARN: the topic does not exist yet; waiting for it");
            self.told_missing = true;
        }
        let new: Vec<TopicPartition> = found.difference(&self.known).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        // What appears while we read is read whole, like everything else that is written from now on.
        let start = match self.start {
            StartAt::Latest if !first_look => StartAt::Earliest,
            start => start,
        };
        let positions = positions(&admin, new, start).await?;
        let all: BTreeSet<TopicPartition> = self.known.union(&found).cloned().collect();
        consumer.assign(all.iter().cloned().collect())?;
        for (partition, offset) in positions {
            consumer.seek(&partition, offset)?;
        }
        self.known = all;
        Ok(())
    }
}

/// Whether the group only has to find itself again, which the next poll does.
fn is_rebalance(error: &ClientError) -> bool {
    error.code().is_some_and(|code| {
        [
            ErrorCode::REBALANCE_IN_PROGRESS,
            ErrorCode::ILLEGAL_GENERATION,
            ErrorCode::UNKNOWN_MEMBER_ID,
        ]
        .contains(&code)
    })
}

/// The offset to start at, for each partition.
async fn positions(
    admin: &kafka_client::Admin,
    partitions: Vec<TopicPartition>,
    start: StartAt,
) -> Result<Vec<(TopicPartition, i64)>, CliError> {
    let spec = match start {
        StartAt::Offset(offset) => {
            return Ok(partitions
                .into_iter()
                .map(|partition| (partition, offset))
                .collect());
        }
        StartAt::Earliest => OffsetSpec::Earliest,
        StartAt::Latest => OffsetSpec::Latest,
    };
    let asked: Vec<_> = partitions
        .into_iter()
        .map(|partition| (partition, spec))
        .collect();
    let listed = admin.list_offsets(&asked).await?;
    listed
        .into_iter()
        .map(|(partition, offset)| Ok((partition, offset?.offset)))
        .collect()
}
