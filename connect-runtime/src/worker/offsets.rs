//! Offsets of stopped connectors, changed and removed on request (KIP-875).
//!
//! It is done in turn with everything that starts and stops connectors, so no task runs meanwhile. The
//! connector is asked first, on a fresh instance; what it refuses is not done. Doing the same again is
//! always right, also after a failure half-way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use connect_core::{
    AnyConnector, ConnectError, ConnectorKind, ErrorClass, SourceOffset, SourcePartition,
};
use kafka_client::{ClientError, ErrorCode, OffsetAndMetadata, TopicPartition};
use tokio::time::timeout;
use tracing::Span;

use super::Worker;
use crate::config::connector::ConnectorConfig;
use crate::error::WorkerError;
use crate::room::Room;
use crate::task::TaskFailure;

/// How long a connector may take to say what it thinks of offsets.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a change may take altogether.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Offsets to set (`Some`) and to remove (`None`); of the same partition, the last one counts.
#[derive(Debug, Clone)]
pub enum OffsetChanges {
    /// Of a source connector.
    Source(Vec<(SourcePartition, Option<SourceOffset>)>),
    /// Of the consumer group of a sink connector.
    Sink(Vec<(connect_core::TopicPartition, Option<i64>)>),
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
        let _turn = self.turn.lock().await;
        let config = self.stopped_configuration(name).await?;
        if config.kind != changes.kind() {
            let reason = format!(
                "they are offsets of a {}, but the connector is a {}",
                changes.kind(),
                config.kind
            );
            return Err(refused(name, reason));
        }
        within_limit(name, async {
            match changes {
                OffsetChanges::Source(changes) => self.change_source(&config, changes).await,
                OffsetChanges::Sink(changes) => self.change_sink(&config, changes).await,
            }
        })
        .await
    }

    /// Removes all offsets of a stopped connector, so that it begins anew. Tells whether the connector
    /// has been asked, as [`Worker::alter_offsets`] does.
    ///
    /// # Errors
    /// As of [`Worker::alter_offsets`].
    pub async fn reset_offsets(&self, name: &str) -> Result<bool, WorkerError> {
        let _turn = self.turn.lock().await;
        let config = self.stopped_configuration(name).await?;
        within_limit(name, async {
            match config.kind {
                ConnectorKind::Source => {
                    let stored = self.offsets(name).into_iter();
                    let changes = stored.map(|at| (at.partition, None)).collect();
                    self.change_source(&config, changes).await
                }
                ConnectorKind::Sink => self.reset_sink(&config).await,
            }
        })
        .await
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

    async fn change_source(
        &self,
        config: &Arc<ConnectorConfig>,
        mut changes: Vec<(SourcePartition, Option<SourceOffset>)>,
    ) -> Result<bool, WorkerError> {
        let name = &config.name;
        // Keys are compared as bytes; people do not know in which order the connector writes fields.
        let stored = self.offsets(name);
        for (partition, _) in &mut changes {
            let same =
                |at: &&connect_core::SourcePosition| at.partition.fields() == partition.fields();
            if let Some(at) = stored.iter().find(same) {
                *partition = at.partition.clone();
            }
        }
        let checked = ask(config, OffsetChanges::Source(changes.clone())).await?;
        let done = self.shared.offsets.alter(name, &changes).await;
        done.map_err(|error| failed(name, error.to_string()))?;
        Ok(checked)
    }

    async fn change_sink(
        &self,
        config: &Arc<ConnectorConfig>,
        changes: Vec<(connect_core::TopicPartition, Option<i64>)>,
    ) -> Result<bool, WorkerError> {
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
        self.check_partitions(name, &set).await?;
        let checked = ask(config, OffsetChanges::Sink(changes)).await?;
        let group = self.group_of(config);
        let admin = self.shared.offsets.client().admin();
        if !set.is_empty() {
            let altered = admin.alter_group_offsets(&group, &set).await;
            altered.map_err(|error| group_failed(name, &error))?;
        }
        if !removed.is_empty() {
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
        }
        Ok(checked)
    }

    async fn reset_sink(&self, config: &Arc<ConnectorConfig>) -> Result<bool, WorkerError> {
        let name = &config.name;
        let committed = self.sink_offsets(config).await;
        let committed = committed.map_err(|error| group_failed(name, &error))?;
        let of_core = |at: &TopicPartition| {
            connect_core::TopicPartition::new(Arc::clone(&at.topic), at.partition)
        };
        let changes = committed.keys().map(|at| (of_core(at), None)).collect();
        let checked = ask(config, OffsetChanges::Sink(changes)).await?;
        let group = self.group_of(config);
        let admin = self.shared.offsets.client().admin();
        let deleted = admin.delete_groups(std::slice::from_ref(&group)).await;
        for (_, outcome) in deleted.map_err(|error| group_failed(name, &error))? {
            match outcome {
                Err(error) if error.code() == Some(ErrorCode::GROUP_ID_NOT_FOUND) => {}
                outcome => outcome.map_err(|error| group_failed(name, &error))?,
            }
        }
        Ok(checked)
    }

    /// Refuses partitions that do not exist, all of them at once.
    async fn check_partitions(
        &self,
        name: &str,
        set: &[(TopicPartition, OffsetAndMetadata)],
    ) -> Result<(), WorkerError> {
        let mut topics: Vec<String> = set.iter().map(|(at, _)| at.topic.to_string()).collect();
        topics.dedup();
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
            let wanted = set.iter().filter(|(at, _)| *at.topic == *topic);
            for (at, _) in wanted {
                let exists = found.partitions.iter().any(|it| it.index == at.partition);
                if !exists {
                    problems.push(format!(
                        "topic \"{topic}\" has {} partitions, so there is no partition {}",
                        found.partitions.len(),
                        at.partition
                    ));
                }
            }
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(refused(name, problems.join("\n"))),
        }
    }
}

/// Asks a fresh connector what it thinks of new offsets.
async fn ask(config: &Arc<ConnectorConfig>, changes: OffsetChanges) -> Result<bool, WorkerError> {
    let name = &config.name;
    let asked = Arc::clone(config);
    let work = async move {
        let connector = connect_core::plugin::find(&asked.class)?.create();
        match (connector, changes) {
            (AnyConnector::Source(connector), OffsetChanges::Source(changes)) => {
                connector.alter_offsets(&asked.map, &changes).await
            }
            (AnyConnector::Sink(connector), OffsetChanges::Sink(changes)) => {
                connector.alter_offsets(&asked.map, &changes).await
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
            let reason = format!("the connector did not say within {ASK_TIMEOUT:?} whether it can");
            Err(failed(name, reason))
        }
    }
}

async fn within_limit(
    name: &str,
    change: impl Future<Output = Result<bool, WorkerError>>,
) -> Result<bool, WorkerError> {
    let done = timeout(CHANGE_TIMEOUT, change).await;
    done.unwrap_or_else(|_| {
        let reason = format!(
            "it took longer than {CHANGE_TIMEOUT:?}, and some of them may be changed; try again \
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
