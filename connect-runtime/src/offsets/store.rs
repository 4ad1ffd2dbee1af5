//! The offsets of all connectors: a topic, and its latest values in memory.
//!
//! Invariant: what is in memory is in the topic; an offset appears in memory only after its record
//! was acknowledged by all in-sync replicas.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use connect_core::context::OffsetReader;
use connect_core::{ConnectError, SourceOffset, SourcePartition, SourcePosition};
use kafka_client::{Client, ClientError, ProducerRecord, TopicPartition, partition_for_key};
use parking_lot::RwLock;

use super::Unproven;
use super::history::{self, OffsetChange, OffsetHistory};
use super::key::{key_bytes, parse_key, value_bytes};
use crate::backoff::Backoff;
use crate::config::worker::InternalTopicConfig;
use crate::error::WorkerError;
use crate::internal_topic;

/// Between attempts to store offsets.
const WRITE_RETRY: Duration = Duration::from_millis(50);
const WRITE_RETRY_MAX: Duration = Duration::from_secs(1);

type Offsets = HashMap<Bytes, SourceOffset>;
type Histories = HashMap<String, OffsetHistory>;

/// All stored source offsets; clones share them.
#[derive(Clone)]
pub(crate) struct OffsetStore(Arc<Inner>);

struct Inner {
    topic: Arc<str>,
    partitions: i32,
    client: Client,
    offsets: RwLock<Offsets>,
    /// What was changed on request, by connector.
    histories: RwLock<Histories>,
}

impl OffsetStore {
    /// Makes sure of the topic and reads it to its end.
    ///
    /// # Errors
    /// The topic cannot be created, is not compacted, or cannot be read.
    pub(crate) async fn open(
        client: Client,
        config: &InternalTopicConfig,
    ) -> Result<Self, WorkerError> {
        let (mut offsets, mut histories) = (Offsets::new(), Histories::new());
        let partitions = match internal_topic::find(&client, config).await? {
            Some(partitions) => {
                let keep = |record| apply(&mut offsets, &mut histories, record);
                internal_topic::read(&client, config, partitions, keep).await?;
                partitions
            }
            None => internal_topic::create(&client, config).await?,
        };
        Ok(Self(Arc::new(Inner {
            topic: config.name.as_str().into(),
            partitions,
            client,
            offsets: RwLock::new(offsets),
            histories: RwLock::new(histories),
        })))
    }

    /// The worker's own client.
    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    /// How many source partitions have an offset.
    pub(crate) fn len(&self) -> usize {
        self.0.offsets.read().len()
    }

    /// Stores the offsets of a connector. When this returns, they are acknowledged by all in-sync
    /// replicas, and so are the records they stand for, by the same process of the broker or, where
    /// other brokers lead those, as far as these said just before. Goes on trying while that may help. Dropped half-way, they may or may not be stored; later ones still
    /// come later.
    ///
    /// # Errors
    /// Some of them may not be stored. [`ClientError::AcknowledgedLost`]: they must not be, because
    /// records they stand for are gone.
    pub(crate) async fn store(
        &self,
        connector: &str,
        positions: &[SourcePosition],
        unproven: &mut Unproven,
    ) -> Result<(), ClientError> {
        let changes = positions
            .iter()
            .map(|SourcePosition { partition, offset }| (partition, Some(offset)));
        self.put(connector, changes, unproven).await
    }

    /// Stores offsets of a connector that no task works for, or removes them (`None`). Goes on trying
    /// as [`store`](Self::store) does.
    ///
    /// # Errors
    /// Some of them may not be stored.
    pub(crate) async fn alter(
        &self,
        connector: &str,
        changes: &[(SourcePartition, Option<SourceOffset>)],
    ) -> Result<(), ClientError> {
        let changes = changes
            .iter()
            .map(|(partition, offset)| (partition, offset.as_ref()));
        // Nobody has sent records for these.
        self.put(connector, changes, &mut Unproven::default()).await
    }

    /// Notes that offsets of a connector are about to be changed on request, for whoever wants that undone.
    ///
    /// # Errors
    /// It may not be stored.
    pub(crate) async fn note_change(
        &self,
        connector: &str,
        reset: bool,
        before: Vec<serde_json::Value>,
        after: Vec<serde_json::Value>,
    ) -> Result<(), ClientError> {
        let known = self.0.histories.read().get(connector).cloned();
        let history = known.unwrap_or_default().with(reset, before, after);
        let key = history::key_bytes(connector);
        let partition = partition_for_key(&key, self.0.partitions);
        let record = ProducerRecord {
            key: Some(key),
            value: Some(history.bytes()),
            ..ProducerRecord::default()
        };
        let partition = TopicPartition::new(Arc::clone(&self.0.topic), partition);
        self.write(&partition, &[record], &mut Unproven::default())
            .await?;
        self.0
            .histories
            .write()
            .insert(connector.to_owned(), history);
        Ok(())
    }

    /// The changes of a connector's offsets on request, the oldest first.
    pub(crate) fn changes(&self, connector: &str) -> Vec<OffsetChange> {
        let histories = self.0.histories.read();
        let history = histories.get(connector).cloned();
        history.unwrap_or_default().changes
    }

    async fn put<'a>(
        &self,
        connector: &str,
        changes: impl Iterator<Item = (&'a SourcePartition, Option<&'a SourceOffset>)>,
        unproven: &mut Unproven,
    ) -> Result<(), ClientError> {
        let mut records: BTreeMap<i32, Vec<ProducerRecord>> = BTreeMap::new();
        let mut offsets = Vec::new();
        for (partition, offset) in changes {
            let key = Bytes::from(key_bytes(connector, partition));
            records
                .entry(partition_for_key(&key, self.0.partitions))
                .or_default()
                .push(ProducerRecord {
                    key: Some(key.clone()),
                    value: offset.map(|offset| value_bytes(offset).into()),
                    ..ProducerRecord::default()
                });
            offsets.push((key, offset.cloned()));
        }
        for (partition, records) in records {
            let partition = TopicPartition::new(Arc::clone(&self.0.topic), partition);
            self.write(&partition, &records, unproven).await?;
        }
        let mut known = self.0.offsets.write();
        for (key, offset) in offsets {
            match offset {
                Some(offset) => known.insert(key, offset),
                None => known.remove(&key),
            };
        }
        Ok(())
    }

    async fn write(
        &self,
        partition: &TopicPartition,
        records: &[ProducerRecord],
        unproven: &mut Unproven,
    ) -> Result<(), ClientError> {
        let client = &self.0.client;
        let mut backoff = Backoff::new(WRITE_RETRY, WRITE_RETRY_MAX);
        loop {
            let written = match unproven.by_one() {
                false => unproven.verify(client).await,
                true => match client.write(partition, records, unproven.proof()).await {
                    Ok(_) => return Ok(()),
                    Err(ClientError::Reconnected { .. }) => unproven.verify(client).await,
                    Err(error) => Err(error),
                },
            };
            match written {
                Err(error) if !error.is_retriable() => return Err(error),
                Err(error) => {
                    tracing::debug!("offsets are not stored yet: {error}");
                    tokio::time::sleep(backoff.failed()).await;
                }
                Ok(()) => {}
            }
        }
    }

    /// The stored offsets as one connector sees them.
    pub(crate) fn reader(&self, connector: &Arc<str>) -> ConnectorOffsets {
        ConnectorOffsets {
            store: self.clone(),
            connector: Arc::clone(connector),
        }
    }

    /// All stored offsets of one connector.
    pub(crate) fn of(&self, connector: &str) -> Vec<SourcePosition> {
        let offsets = self.0.offsets.read();
        let own = offsets.iter().filter_map(|(key, offset)| {
            let (name, partition) = parse_key(key)?;
            let offset = offset.clone();
            (name == connector).then_some(SourcePosition { partition, offset })
        });
        own.collect()
    }
}

fn apply(offsets: &mut Offsets, histories: &mut Histories, record: kafka_client::Record) {
    let Some(key) = record.key else { return };
    if let Some(connector) = history::parse_key(&key) {
        match record.value.and_then(|value| OffsetHistory::parse(&value)) {
            Some(history) => histories.insert(connector, history),
            None => histories.remove(&connector),
        };
        return;
    }
    let Some(value) = record.value else {
        offsets.remove(&key);
        return;
    };
    let offset = std::str::from_utf8(&value)
        .ok()
        .map(SourceOffset::from_json);
    match (parse_key(&key), offset) {
        (Some(_), Some(Ok(offset))) => {
            // A copy, so that the whole fetched chunk is not kept for one small key.
            offsets.insert(Bytes::copy_from_slice(&key), offset);
        }
        _ => tracing::warn!(
            "ignored a record of the offsets topic at offset {} that is not an offset",
            record.offset
        ),
    }
}

/// The offsets of one connector.
#[derive(Clone)]
pub(crate) struct ConnectorOffsets {
    store: OffsetStore,
    connector: Arc<str>,
}

#[async_trait]
impl OffsetReader for ConnectorOffsets {
    async fn offsets(
        &self,
        partitions: &[SourcePartition],
    ) -> Result<Vec<Option<SourceOffset>>, ConnectError> {
        let offsets = self.store.0.offsets.read();
        let stored = |partition: &SourcePartition| {
            let key = key_bytes(&self.connector, partition);
            offsets.get(key.as_slice()).cloned()
        };
        Ok(partitions.iter().map(stored).collect())
    }
}
