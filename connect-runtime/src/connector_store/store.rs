//! The stored connectors: a topic, and what it says in memory.
//!
//! Invariant: what is in memory is in the topic; a change appears in memory only after its record
//! was acknowledged by all in-sync replicas. One change is one batch, which is in the topic as a
//! whole or not at all.

use std::collections::BTreeMap;
use std::time::Duration;

use connect_core::ConfigMap;
use kafka_client::{Client, ClientError, ProducerRecord, TopicPartition};
use parking_lot::RwLock;
use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant, timeout_at};

use super::record::{self, Entry};
use crate::backoff::Backoff;
use crate::config::connector::InitialState;
use crate::config::worker::InternalTopicConfig;
use crate::error::WorkerError;
use crate::internal_topic;

/// How long a change may take to be stored, as in Kafka.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Between attempts.
const WRITE_RETRY: Duration = Duration::from_millis(50);
const WRITE_RETRY_MAX: Duration = Duration::from_secs(1);

/// Distributed workers make a new session key every hour; with one this young they are most likely
/// at work.
const SESSION_KEY_YOUNG_MS: i64 = 75 * 60 * 1000;

/// A stored connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its configuration as it was given.
    pub(crate) config: ConfigMap,
    /// What it should do.
    pub(crate) target: InitialState,
}

/// What changes about a connector.
#[derive(Debug)]
pub(crate) enum Change<'a> {
    /// It is new, or takes the place of what is stored under its name.
    Create(&'a ConfigMap, InitialState),
    /// It has another configuration.
    Configure(&'a ConfigMap),
    /// It should do something else.
    Target(InitialState),
    /// It is deleted.
    Forget,
}

/// What the topic says, record by record.
#[derive(Debug, Default)]
struct Contents {
    connectors: BTreeMap<String, ConfigMap>,
    /// They come before the connectors they are for.
    targets: BTreeMap<String, InitialState>,
    session_key_ms: i64,
}

/// All stored connectors.
pub(crate) struct ConnectorStore {
    topic: InternalTopicConfig,
    client: Client,
    contents: RwLock<Contents>,
    /// Set once the topic is there: whoever never makes a connector by REST gets no topic.
    there: OnceCell<()>,
    closed: watch::Sender<bool>,
}

impl ConnectorStore {
    /// Checks the topic and reads it to its end, if it is there.
    ///
    /// # Errors
    /// The topic is not compacted, has several partitions, or cannot be read.
    pub(crate) async fn open(
        client: Client,
        topic: &InternalTopicConfig,
    ) -> Result<Self, WorkerError> {
        let mut contents = Contents::default();
        let there = OnceCell::new();
        if let Some(partitions) = internal_topic::find(&client, topic).await? {
            check_partitions(topic, partitions)?;
            let keep = |record| contents.read(record);
            internal_topic::read(&client, topic, partitions, keep).await?;
            there.set(()).ok();
        }
        contents.warn_of_distributed_workers(topic);
        Ok(Self {
            topic: topic.clone(),
            client,
            contents: RwLock::new(contents),
            there,
            closed: watch::Sender::new(false),
        })
    }

    /// The name of the topic.
    pub(crate) fn topic(&self) -> &str {
        &self.topic.name
    }

    /// Whether a connector of this name is stored.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.contents.read().connectors.contains_key(name)
    }

    /// Every stored connector by name.
    pub(crate) fn all(&self) -> BTreeMap<String, Stored> {
        let contents = self.contents.read();
        let stored = |(name, config): (&String, &ConfigMap)| {
            let (config, target) = (config.clone(), contents.target(name));
            (name.clone(), Stored { config, target })
        };
        contents.connectors.iter().map(stored).collect()
    }

    /// Stores a change. When this returns, it is acknowledged by all in-sync replicas. Whoever
    /// calls this takes turns. Dropped half-way, it may or may not be stored.
    ///
    /// # Errors
    /// It may not be stored: the topic cannot be made, nobody acknowledged the change in time, or
    /// the store was closed.
    pub(crate) async fn write(&self, name: &str, change: Change<'_>) -> Result<(), WorkerError> {
        let records = match &change {
            // As Kafka does it: a connector is not there before it is known what it should do.
            Change::Create(config, target) => vec![
                record::target(name, *target),
                record::connector(name, config),
            ],
            Change::Configure(config) => vec![record::connector(name, config)],
            Change::Target(target) => vec![record::target(name, *target)],
            Change::Forget => record::forgotten(name).into(),
        };
        let mut closed = self.closed.subscribe();
        let append = async {
            let deadline = Instant::now() + WRITE_TIMEOUT;
            let there = self.there.get_or_try_init(|| self.create());
            let written = match timeout_at(deadline, there).await {
                Ok(there) => {
                    there?;
                    self.append(&records, deadline).await
                }
                Err(_) => Err(too_late("creating the topic".to_owned())),
            };
            written.map_err(|source| WorkerError::NotStored {
                name: name.to_owned(),
                topic: self.topic.name.clone(),
                source,
            })
        };
        tokio::select! {
            appended = append => appended?,
            _ = closed.wait_for(|closed| *closed) => return Err(WorkerError::Stopping),
        }
        self.contents.write().make(name, change);
        Ok(())
    }

    /// Ends writes that are under way, and refuses others.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }

    async fn create(&self) -> Result<(), WorkerError> {
        let partitions = internal_topic::create(&self.client, &self.topic).await?;
        check_partitions(&self.topic, partitions)
    }

    async fn append(
        &self,
        records: &[ProducerRecord],
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let partition = TopicPartition::new(self.topic.name.as_str(), 0);
        let mut backoff = Backoff::new(WRITE_RETRY, WRITE_RETRY_MAX);
        loop {
            let write = self.client.write(&partition, records, None);
            let error = match timeout_at(deadline, write).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) if error.is_retriable() => error,
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(too_late(format!("a write to {partition}"))),
            };
            let pause = backoff.failed();
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            tracing::debug!("a connector is not stored yet: {error}");
            tokio::time::sleep(pause).await;
        }
    }
}

fn too_late(what: String) -> ClientError {
    ClientError::Timeout {
        what,
        after: WRITE_TIMEOUT,
    }
}

/// The order of changes is that of one partition.
fn check_partitions(topic: &InternalTopicConfig, partitions: i32) -> Result<(), WorkerError> {
    if partitions == 1 {
        return Ok(());
    }
    let reason = format!(
        "it has {partitions} partitions and must have 1; name another topic with \
         {}.topic",
        topic.keeps.prefix()
    );
    Err(internal_topic::refused(topic, reason))
}

impl Contents {
    fn read(&mut self, record: kafka_client::Record) {
        let Some(key) = record.key else { return };
        match record::parse(&key, record.value.as_deref()) {
            Ok(Entry::Connector(name, Some(config))) => {
                self.connectors.insert(name, config);
            }
            Ok(Entry::Connector(name, None)) => {
                self.connectors.remove(&name);
                self.targets.remove(&name);
            }
            Ok(Entry::Target(name, Some(target))) => {
                self.targets.insert(name, target);
            }
            Ok(Entry::Target(name, None)) => {
                self.targets.remove(&name);
            }
            Ok(Entry::SessionKey { created_ms }) => self.session_key_ms = created_ms,
            Ok(Entry::Other) => {}
            Err(what) => tracing::warn!(
                "ignored a record of the connectors' topic at offset {}: {what}",
                record.offset
            ),
        }
    }

    fn make(&mut self, name: &str, change: Change<'_>) {
        match change {
            Change::Create(config, target) => {
                self.connectors.insert(name.to_owned(), config.clone());
                self.targets.insert(name.to_owned(), target);
            }
            Change::Configure(config) => {
                self.connectors.insert(name.to_owned(), config.clone());
            }
            Change::Target(target) => {
                self.targets.insert(name.to_owned(), target);
            }
            Change::Forget => {
                self.connectors.remove(name);
                self.targets.remove(name);
            }
        }
    }

    fn target(&self, name: &str) -> InitialState {
        self.targets.get(name).copied().unwrap_or_default()
    }

    fn warn_of_distributed_workers(&self, topic: &InternalTopicConfig) {
        let age_ms = platform::clock::unix_millis().saturating_sub(self.session_key_ms);
        if self.session_key_ms > 0 && age_ms < SESSION_KEY_YOUNG_MS {
            tracing::warn!(
                "topic \"{}\" is that of distributed workers, whose session key is {} minutes old; if they \
                 are still at work, its connectors run twice: stop them, or name another topic with \
                 {}.topic",
                topic.name,
                age_ms / 60_000,
                topic.keeps.prefix()
            );
        }
    }
}
