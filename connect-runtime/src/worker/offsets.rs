//! Offsets of stopped connectors, changed and removed on request (KIP-875).
//!
//! The connector is asked first, on a fresh instance, and what it refuses is not done. The change is made
//! in turn with everything that starts and stops connectors, so that no task runs meanwhile; the connector
//! is not waited for then, for its code may hang and others wait for their turn. Doing the same again is
//! always right, also after a failure half-way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use connect_core::{
    AnyConnector, ConnectError, ConnectorKind, ErrorClass, SourceOffset, SourcePartition,
    SourcePosition,
};
use kafka_client::{ClientError, ErrorCode, OffsetAndMetadata, TopicPartition};
use serde_json::{Value, json};
use tokio::time::timeout;
use tracing::Span;

use super::Worker;
use crate::config::connector::ConnectorConfig;
use crate::error::WorkerError;
use crate::offsets::OffsetChange;
use crate::room::Room;
use crate::task::TaskFailure;

/// How long a connector may take to say what it thinks of offsets.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long brokers may take, before and while others wait for their turn.
const BROKER_TIMEOUT: Duration = Duration::from_secs(15);

type SourceChanges = Vec<(SourcePartition, Option<SourceOffset>)>;
type SinkChanges = Vec<(connect_core::TopicPartition, Option<i64>)>;

/// Offsets to set (`Some`) and to remove (`None`); of the same partition, the last one counts.
#[derive(Debug, Clone)]
pub enum OffsetChanges {
    /// Of a source connector.
    Source(SourceChanges),
    /// Of the consumer group of a sink connector.
    Sink(SinkChanges),
}

impl OffsetChanges {
    fn kind(&self) -> ConnectorKind {
        match self {
            Self::Source(_) => ConnectorKind::Source,
            Self::Sink(_) => ConnectorKind::Sink,
        }
    }
}

impl Worker {
    /// Changes some offsets of a stopped connector; all others stay. Tells whether the connector has
    /// checked them; one that keeps offsets of its own elsewhere may not have.
    ///
    /// # Errors
    /// There is no such connector, it is not stopped or is of the other kind, it refuses the offsets,
    /// or they may not be stored, in which case the same can be tried again.
    pub async fn alter_offsets(
        &self,
        name: &str,
        changes: OffsetChanges,
    ) -> Result<bool, WorkerError> {
        let config = self.once_stopped(name).await?;
        if config.kind != changes.kind() {
            let reason = format!(
                "they are offsets of a {}, but the connector is a {}",
                changes.kind(),
                config.kind
            );
            return Err(refused(name, reason));
        }
        let changes = match changes {
            OffsetChanges::Source(changes) => OffsetChanges::Source(self.as_stored(name, changes)),
            OffsetChanges::Sink(changes) => {
                in_time(name, self.check_partitions(name, &changes)).await?;
                OffsetChanges::Sink(changes)
            }
        };
        let checked = self.ask(&config, changes.clone()).await?;
        let _turn = self.turn.lock().await;
        self.check_still_stopped(&config).await?;
        in_time(name, async {
            self.note_change(&config, &changes, false).await?;
            match changes {
                OffsetChanges::Source(changes) => self.change_source(name, &changes).await,
                OffsetChanges::Sink(changes) => self.change_sink(&config, &changes).await,
            }
        })
        .await?;
        Ok(checked)
    }

    /// The changes of a connector's offsets on request, as far as they are kept, the oldest first.
    #[must_use]
    pub fn offset_changes(&self, connector: &str) -> Vec<OffsetChange> {
        self.shared.offsets.changes(connector)
    }

    /// Notes what is about to be changed, and what was there before.
    async fn note_change(
        &self,
        config: &Arc<ConnectorConfig>,
        changes: &OffsetChanges,
        reset: bool,
    ) -> Result<(), WorkerError> {
        let name = &config.name;
        let (before, after): (Vec<Value>, Vec<Value>) = match changes {
            OffsetChanges::Source(changes) => {
                let stored = self.offsets(name);
                let stored = |partition: &SourcePartition| {
                    let at = stored.iter().find(|at| at.partition == *partition);
                    at.map(|at| at.offset.clone())
                };
                let entry = |partition: &SourcePartition, offset: Option<&SourceOffset>| {
                    let offset = offset.map(SourceOffset::fields);
                    json!({"partition": partition.fields(), "offset": offset})
                };
                let pair = |(partition, offset): &(SourcePartition, Option<SourceOffset>)| {
                    let before = entry(partition, stored(partition).as_ref());
                    (before, entry(partition, offset.as_ref()))
                };
                changes.iter().map(pair).unzip()
            }
            OffsetChanges::Sink(changes) => {
                let committed = self.sink_offsets(config).await;
                let committed = committed.map_err(|error| group_failed(name, &error))?;
                let entry = |at: &connect_core::TopicPartition, offset: Option<i64>| {
                    let offset = offset.map(|offset| json!({"kafka_offset": offset}));
                    json!({
                        "partition": {"kafka_topic": &*at.topic, "kafka_partition": at.partition},
                        "offset": offset,
                    })
                };
                let pair = |(at, offset): &(connect_core::TopicPartition, Option<i64>)| {
                    let key = TopicPartition::new(&*at.topic, at.partition);
                    let before = committed.get(&key).map(|found| found.offset);
                    (entry(at, before), entry(at, *offset))
                };
                changes.iter().map(pair).unzip()
            }
        };
        let noted = self.shared.offsets.note_change(name, reset, before, after);
        noted.await.map_err(|error| failed(name, error.to_string()))
    }

    /// Removes all offsets of a stopped connector, so that it begins anew. Tells whether the connector
    /// has been asked, as [`Worker::alter_offsets`] does.
    ///
    /// # Errors
    /// As of [`Worker::alter_offsets`].
    pub async fn reset_offsets(&self, name: &str) -> Result<bool, WorkerError> {
        let config = self.once_stopped(name).await?;
        let removed = match config.kind {
            ConnectorKind::Source => OffsetChanges::Source(self.all_removed(name)),
            ConnectorKind::Sink => {
                let committed = in_time(name, async {
                    let committed = self.sink_offsets(&config).await;
                    committed.map_err(|error| group_failed(name, &error))
                });
                let removed = committed.await?.into_keys().map(|at| {
                    let at = connect_core::TopicPartition::new(at.topic, at.partition);
                    (at, None)
                });
                OffsetChanges::Sink(removed.collect())
            }
        };
        let checked = self.ask(&config, removed.clone()).await?;
        let _turn = self.turn.lock().await;
        self.check_still_stopped(&config).await?;
        in_time(name, async {
            self.note_change(&config, &removed, true).await?;
            match config.kind {
                ConnectorKind::Source => self.change_source(name, &self.all_removed(name)).await,
                ConnectorKind::Sink => self.delete_group(&config).await,
            }
        })
        .await?;
        Ok(checked)
    }

    /// The configuration of a connector that is stopped, after its tasks have ended.
    async fn once_stopped(&self, name: &str) -> Result<Arc<ConnectorConfig>, WorkerError> {
        let _turn = self.turn.lock().await;
        self.stopped_configuration(name).await
    }

    /// The configuration of a connector that is stopped, for whose turn it is.
    async fn stopped_configuration(&self, name: &str) -> Result<Arc<ConnectorConfig>, WorkerError> {
        let look = |connector: &super::Connector| {
            let config = Arc::clone(&connector.config);
            connector.running.is_none().then_some(config)
        };
        let found = self.with(name, look).await?;
        found.ok_or_else(|| WorkerError::NotStopped {
            connector: name.to_owned(),
        })
    }

    /// Whether a connector is what it was when it was asked, for whose turn it is.
    async fn check_still_stopped(&self, asked: &Arc<ConnectorConfig>) -> Result<(), WorkerError> {
        let now = self.stopped_configuration(&asked.name).await?;
        match Arc::ptr_eq(&now, asked) {
            true => Ok(()),
            false => Err(failed(
                &asked.name,
                "its configuration was changed meanwhile; try again".to_owned(),
            )),
        }
    }

    /// Partitions as they are stored, if they are: keys are compared as bytes, and people do not know
    /// in which order the connector writes fields.
    fn as_stored(&self, name: &str, mut changes: SourceChanges) -> SourceChanges {
        let stored = self.offsets(name);
        for (partition, _) in &mut changes {
            let same = |at: &&SourcePosition| at.partition.fields() == partition.fields();
            if let Some(at) = stored.iter().find(same) {
                *partition = at.partition.clone();
            }
        }
        changes
    }

    fn all_removed(&self, name: &str) -> SourceChanges {
        let stored = self.offsets(name).into_iter();
        stored.map(|at| (at.partition, None)).collect()
    }

    async fn change_source(&self, name: &str, changes: &SourceChanges) -> Result<(), WorkerError> {
        let done = self.shared.offsets.alter(name, changes).await;
        done.map_err(|error| failed(name, error.to_string()))
    }

    async fn change_sink(
        &self,
        config: &Arc<ConnectorConfig>,
        changes: &SinkChanges,
    ) -> Result<(), WorkerError> {
        let latest: BTreeMap<TopicPartition, Option<i64>> = changes
            .iter()
            .map(|(at, offset)| (TopicPartition::new(&*at.topic, at.partition), *offset))
            .collect();
        let mut set = Vec::new();
        let mut removed = Vec::new();
        for (partition, offset) in latest {
            match offset {
                Some(offset) => set.push((partition, OffsetAndMetadata::new(offset))),
                None => removed.push(partition),
            }
        }
        let name = &config.name;
        let group = self.group_of(config).await;
        let group = group.map_err(|error| group_failed(name, &error))?;
        let admin = self.shared.offsets.client().admin();
        if !set.is_empty() {
            let altered = admin.alter_group_offsets(&group, &set).await;
            altered.map_err(|error| group_failed(name, &error))?;
        }
        if removed.is_empty() {
            return Ok(());
        }
        let outcomes = match admin.delete_group_offsets(&group, &removed).await {
            Ok(outcomes) => outcomes,
            Err(error) if error.code() == Some(ErrorCode::GROUP_ID_NOT_FOUND) => Vec::new(),
            Err(error) => return Err(group_failed(name, &error)),
        };
        for (_, outcome) in outcomes {
            match outcome {
                // The topic is gone, and so are offsets in it.
                Err(error) if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {}
                outcome => outcome.map_err(|error| group_failed(name, &error))?,
            }
        }
        Ok(())
    }

    async fn delete_group(&self, config: &Arc<ConnectorConfig>) -> Result<(), WorkerError> {
        let name = &config.name;
        let group = self.group_of(config).await;
        let group = group.map_err(|error| group_failed(name, &error))?;
        let admin = self.shared.offsets.client().admin();
        let deleted = admin.delete_groups(&[group]).await;
        for (_, outcome) in deleted.map_err(|error| group_failed(name, &error))? {
            match outcome {
                Err(error) if error.code() == Some(ErrorCode::GROUP_ID_NOT_FOUND) => {}
                outcome => outcome.map_err(|error| group_failed(name, &error))?,
            }
        }
        Ok(())
    }

    /// Refuses partitions that do not exist, all of them at once.
    async fn check_partitions(&self, name: &str, changes: &SinkChanges) -> Result<(), WorkerError> {
        // Whatever is gone may be removed.
        let set = changes.iter().filter(|(_, offset)| offset.is_some());
        let set: BTreeSet<(&str, i32)> = set.map(|(at, _)| (&*at.topic, at.partition)).collect();
        let topics: BTreeSet<&str> = set.iter().map(|(topic, _)| *topic).collect();
        let topics: Vec<String> = topics.into_iter().map(str::to_owned).collect();
        if topics.is_empty() {
            return Ok(());
        }
        let admin = self.shared.offsets.client().admin();
        let described = admin.describe_topics(&topics).await;
        let described = described.map_err(|error| group_failed(name, &error))?;
        let mut problems = Vec::new();
        for (topic, outcome) in described {
            let found = match outcome {
                Ok(found) => found,
                Err(error)
                    if matches!(
                        error.code(),
                        Some(
                            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                                | ErrorCode::INVALID_TOPIC_EXCEPTION
                        )
                    ) =>
                {
                    problems.push(format!("there is no topic \"{topic}\""));
                    continue;
                }
                Err(error) => return Err(group_failed(name, &error)),
            };
            let wanted = set.iter().filter(|(name, _)| *name == topic);
            for (_, partition) in wanted {
                if !found.partitions.iter().any(|it| it.index == *partition) {
                    problems.push(format!(
                        "topic \"{topic}\" has {} partitions, so there is no partition {partition}",
                        found.partitions.len()
                    ));
                }
            }
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(refused(name, problems.join("\n"))),
        }
    }

    /// Asks a fresh connector what it thinks of new offsets.
    async fn ask(
        &self,
        config: &Arc<ConnectorConfig>,
        changes: OffsetChanges,
    ) -> Result<bool, WorkerError> {
        let name = &config.name;
        // With what references stand for now: it may have rested for long.
        let asked = self.shared.fresh(config).await;
        let asked = asked.map_err(|problems| failed(name, problems.to_string()))?;
        let work = async move {
            let connector = connect_core::plugin::find(&asked.class)?.create();
            match (connector, changes) {
                (AnyConnector::Source(connector), OffsetChanges::Source(changes)) => {
                    connector.alter_offsets(&asked.resolved, &changes).await
                }
                (AnyConnector::Sink(connector), OffsetChanges::Sink(changes)) => {
                    connector.alter_offsets(&asked.resolved, &changes).await
                }
                _ => Err(ConnectError::fatal("its class is of the other kind now")),
            }
        };
        let mut room = Room::open("alter offsets", Span::current(), work);
        match timeout(ASK_TIMEOUT, room.result()).await {
            Ok(Ok(Ok(checked))) => Ok(checked),
            Ok(Ok(Err(error))) => Err(match error.class() {
                ErrorClass::Configuration | ErrorClass::Record => refused(name, error.report()),
                ErrorClass::Retriable | ErrorClass::Fatal => failed(name, error.report()),
            }),
            Ok(Err(failure)) => Err(failed(name, TaskFailure::from(failure).message)),
            Err(_) => {
                let reason =
                    format!("the connector did not say within {ASK_TIMEOUT:?} whether it can");
                Err(failed(name, reason))
            }
        }
    }
}

async fn in_time<T>(
    name: &str,
    work: impl Future<Output = Result<T, WorkerError>>,
) -> Result<T, WorkerError> {
    let done = timeout(BROKER_TIMEOUT, work).await;
    done.unwrap_or_else(|_| {
        let reason = format!(
            "brokers took longer than {BROKER_TIMEOUT:?}, and some of them may be changed; try again \
             before the connector is resumed"
        );
        Err(failed(name, reason))
    })
}

fn refused(connector: &str, reason: String) -> WorkerError {
    WorkerError::OffsetsRefused {
        connector: connector.to_owned(),
        reason,
    }
}

fn failed(connector: &str, reason: String) -> WorkerError {
    WorkerError::OffsetsNotChanged {
        connector: connector.to_owned(),
        reason,
    }
}

fn group_failed(connector: &str, error: &ClientError) -> WorkerError {
    let has_members = matches!(
        error.code(),
        Some(
            ErrorCode::UNKNOWN_MEMBER_ID
                | ErrorCode::NON_EMPTY_GROUP
                | ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC
        )
    );
    match has_members {
        true => WorkerError::GroupHasMembers {
            connector: connector.to_owned(),
        },
        false => failed(connector, error.to_string()),
    }
}
