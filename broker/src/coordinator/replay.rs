//! Rebuilds the groups of a partition of `__consumer_offsets` from its log.

use std::collections::BTreeMap;

use kafka_records::{Batch, batches};
use kafka_wire_core::StrBytes;

use super::{
    committed::{CommittedOffsets, TopicPartition},
    error::GroupError,
    group::Group,
    moment::Moment,
    record::{GroupValue, OffsetValue, RecordFormatError, RecordKey},
    storage::{GroupStorage, StorageError, Term},
};

/// The most bytes one batch of the offsets topic may decompress to.
const DECOMPRESSED_BYTES_MAX: usize = 128 * 1024 * 1024;

/// What the records read so far add up to.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    groups: BTreeMap<StrBytes, Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    group: Option<GroupValue>,
    offsets: CommittedOffsets,
}

impl Replay {
    /// Reads the whole log of `partition`; also says where it ended.
    ///
    /// # Errors
    /// When the log can't be read or a batch in it is corrupt. A single record that this broker
    /// doesn't understand is stepped over with a warning.
    pub(crate) async fn of(
        storage: &dyn GroupStorage,
        partition: i32,
        term: Term,
    ) -> Result<(Self, i64), StorageError> {
        let mut replay = Self::default();
        let mut next = storage.log_start(partition, term)?;
        loop {
            let chunk = storage.read(partition, term, next).await?;
            if next >= chunk.log_end {
                return Ok((replay, next));
            }
            let before = next;
            for batch in batches(chunk.records) {
                let batch = batch.map_err(|error| corrupt(partition, next, &error))?;
                let end = batch.header.next_offset();
                // The first batch may begin before `next`, which it then also covers.
                if end > next {
                    replay.batch(partition, &batch)?;
                    next = end;
                }
            }
            if next == before {
                return Err(StorageError::new(
                    GroupError::CoordinatorNotAvailable,
                    format!(
                        "partition {partition} of \"__consumer_offsets\" has no whole batch at offset {next} though its log ends at {}",
                        chunk.log_end
                    ),
                ));
            }
        }
    }

    fn batch(&mut self, partition: i32, batch: &Batch) -> Result<(), StorageError> {
        let offset = batch.header.base_offset;
        // Offsets of transactions are a feature this broker doesn't have; it never wrote them.
        if batch.header.is_control() || batch.header.is_transactional() {
            return Ok(());
        }
        batch
            .verify()
            .map_err(|error| corrupt(partition, offset, &error))?;
        let records = batch
            .records(DECOMPRESSED_BYTES_MAX)
            .map_err(|error| corrupt(partition, offset, &error))?;
        for record in records {
            let record = record.map_err(|error| corrupt(partition, offset, &error))?;
            let outcome = match &record.key {
                Some(key) => self.record(key, record.value.as_deref()),
                None => Ok(()),
            };
            if let Err(error) = outcome {
                tracing::warn!(
                    partition,
                    offset = record.offset,
                    %error,
                    "a record of \"__consumer_offsets\" is not understood and is left out"
                );
            }
        }
        Ok(())
    }

    /// Takes one record.
    pub(crate) fn record(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), RecordFormatError> {
        match RecordKey::decode(key)? {
            RecordKey::Offset(key) => {
                let partition = TopicPartition {
                    topic: key.topic,
                    partition: key.partition,
                };
                let value = value.map(OffsetValue::decode).transpose()?;
                let offsets = &mut self.groups.entry(key.group).or_default().offsets;
                match value {
                    Some(value) => offsets.insert(partition, value),
                    None => offsets.remove(&partition),
                }
            }
            RecordKey::Group(id) => {
                let value = value.map(GroupValue::decode).transpose()?;
                self.groups.entry(id).or_default().group = value;
            }
            RecordKey::Other(kind) => {
                tracing::debug!(kind, "a record of another type is left out");
            }
        }
        Ok(())
    }

    /// The groups that exist after the last record.
    pub(crate) fn into_groups(self, moment: Moment) -> impl Iterator<Item = Group> {
        self.groups
            .into_iter()
            .filter(|(_, remembered)| remembered.group.is_some() || !remembered.offsets.is_empty())
            .map(move |(id, remembered)| {
                let mut group = match remembered.group {
                    Some(value) => Group::restore(id, value, moment),
                    None => Group::new(id, moment),
                };
                group.offsets = remembered.offsets;
                group
            })
    }
}

fn corrupt(partition: i32, offset: i64, error: &kafka_records::RecordError) -> StorageError {
    StorageError::new(
        GroupError::CoordinatorNotAvailable,
        format!(
            "partition {partition} of \"__consumer_offsets\" is corrupt at offset {offset}: {error}"
        ),
    )
}
