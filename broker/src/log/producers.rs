//! What a partition remembers of idempotent producers (KIP-98): the last five batches of each, to tell a retry
//! from a gap, and the snapshots that survive restarts in Kafka's `.snapshot` format.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

use kafka_records::BatchHeader;

use super::LogError;

/// Batches remembered per producer; clients have at most as many in flight.
pub(crate) const WINDOW: usize = 5;
const SNAPSHOT_VERSION: i16 = 1;
const SNAPSHOT_ENTRY_BYTES: usize = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8;
const SNAPSHOT_HEADER_BYTES: usize = 2 + 4 + 4;

/// One remembered batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) last_sequence: i32,
    pub(crate) last_offset: i64,
    pub(crate) offset_delta: i32,
    pub(crate) timestamp: i64,
}

impl Remembered {
    fn first_sequence(&self) -> i32 {
        let first = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        if first < 0 {
            (first + i64::from(i32::MAX) + 1) as i32
        } else {
            first as i32
        }
    }

    pub(crate) fn base_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }
}

#[derive(Debug, Clone)]
struct Producer {
    epoch: i16,
    batches: VecDeque<Remembered>,
    last_timestamp: i64,
}

/// What a batch is, judged by its producer's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// Not idempotent, or the next one.
    Next,
    /// Was appended before: the answer is the same as then.
    Duplicate(Remembered),
    /// Older than the producer's current epoch.
    OldEpoch {
        /// The epoch the partition knows.
        current: i16,
    },
    /// Not the next sequence number.
    Gap {
        /// The one that should have come.
        expected: i32,
    },
    /// In the middle of a sequence of which nothing is known: expired, or lost with the log's tail.
    Unknown,
}

/// All producers of a partition.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    producers: HashMap<i64, Producer>,
}

impl Producers {
    /// Judges a client's batch; changes nothing.
    pub(crate) fn check(&self, batch: &BatchHeader) -> Sequence {
        if batch.producer_id < 0 {
            return Sequence::Next;
        }
        let Some(producer) = self.producers.get(&batch.producer_id) else {
            return match batch.base_sequence {
                0 => Sequence::Next,
                _ => Sequence::Unknown,
            };
        };
        if batch.producer_epoch < producer.epoch {
            return Sequence::OldEpoch {
                current: producer.epoch,
            };
        }
        if batch.producer_epoch > producer.epoch {
            return if batch.base_sequence == 0 {
                Sequence::Next
            } else {
                Sequence::Gap { expected: 0 }
            };
        }
        let again = producer.batches.iter().find(|known| {
            known.last_sequence == batch.last_sequence()
                && known.first_sequence() == batch.base_sequence
        });
        if let Some(known) = again {
            return Sequence::Duplicate(*known);
        }
        match producer.batches.back() {
            Some(last) => {
                let expected = if last.last_sequence == i32::MAX {
                    0
                } else {
                    last.last_sequence + 1
                };
                if expected == batch.base_sequence {
                    Sequence::Next
                } else {
                    Sequence::Gap { expected }
                }
            }
            None => Sequence::Next,
        }
    }

    /// Remembers an appended batch; `batch` has its final offsets.
    pub(crate) fn remember(&mut self, batch: &BatchHeader, now_ms: i64) {
        if batch.producer_id < 0 || batch.is_control() {
            return;
        }
        let producer = self
            .producers
            .entry(batch.producer_id)
            .or_insert_with(|| Producer {
                epoch: batch.producer_epoch,
                batches: VecDeque::with_capacity(WINDOW),
                last_timestamp: now_ms,
            });
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == WINDOW {
            producer.batches.pop_front();
        }
        producer.last_timestamp = now_ms;
        producer.batches.push_back(Remembered {
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
    }

    /// Offset of the last record a producer wrote, if it is remembered.
    pub(crate) fn last_offset(&self, producer_id: i64) -> Option<i64> {
        self.producers
            .get(&producer_id)?
            .batches
            .back()
            .map(|batch| batch.last_offset)
    }

    /// Offset from which the batches lie that the window of a snapshot's producers would hold, `limit` at most before
    /// `end`: a snapshot has only the last batch of each.
    pub(crate) fn window_start(&self, end: i64, limit: i64) -> i64 {
        let starts = self.producers.values().filter_map(|producer| {
            let last = producer.batches.back()?;
            Some(last.last_offset - (i64::from(last.offset_delta) + 1) * WINDOW as i64 * 2)
        });
        starts.min().unwrap_or(end).max(end - limit)
    }

    /// Takes over windows that were read from the log, for producers whose last batch is the same.
    pub(crate) fn refine(&mut self, mut read: Self) {
        for (id, producer) in &mut self.producers {
            let Some(found) = read.producers.remove(id) else {
                continue;
            };
            let same_end = found.batches.back().map(|batch| batch.last_sequence)
                == producer.batches.back().map(|batch| batch.last_sequence);
            if found.epoch == producer.epoch && same_end {
                producer.batches = found.batches;
            }
        }
    }

    /// Forgets producers that wrote nothing for `expiration_ms`.
    pub(crate) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers
            .retain(|_, producer| now_ms.saturating_sub(producer.last_timestamp) < expiration_ms);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    fn encode(&self) -> Vec<u8> {
        let mut entries = Vec::with_capacity(self.producers.len() * SNAPSHOT_ENTRY_BYTES);
        let mut ids: Vec<_> = self.producers.iter().collect();
        ids.sort_by_key(|(id, _)| **id);
        for (id, producer) in ids {
            let last = producer.batches.back().copied().unwrap_or(Remembered {
                last_sequence: -1,
                last_offset: -1,
                offset_delta: 0,
                timestamp: -1,
            });
            entries.extend_from_slice(&id.to_be_bytes());
            entries.extend_from_slice(&producer.epoch.to_be_bytes());
            entries.extend_from_slice(&last.last_sequence.to_be_bytes());
            entries.extend_from_slice(&last.last_offset.to_be_bytes());
            entries.extend_from_slice(&last.offset_delta.to_be_bytes());
            entries.extend_from_slice(&producer.last_timestamp.to_be_bytes());
            // Coordinator epoch and first offset of an open transaction: none.
            entries.extend_from_slice(&(-1i32).to_be_bytes());
            entries.extend_from_slice(&(-1i64).to_be_bytes());
        }
        let mut body = (self.producers.len() as i32).to_be_bytes().to_vec();
        body.extend_from_slice(&entries);
        let mut out = SNAPSHOT_VERSION.to_be_bytes().to_vec();
        out.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
        out.extend_from_slice(&body);
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, entries) = bytes.split_at_checked(SNAPSHOT_HEADER_BYTES)?;
        let (version, rest) = header.split_first_chunk()?;
        let (crc, count) = rest.split_first_chunk()?;
        if i16::from_be_bytes(*version) != SNAPSHOT_VERSION
            || u32::from_be_bytes(*crc) != crc32c::crc32c(bytes.get(6..)?)
            || usize::try_from(i32::from_be_bytes(*count.first_chunk()?)).ok()?
                * SNAPSHOT_ENTRY_BYTES
                != entries.len()
        {
            return None;
        }
        let mut producers = HashMap::new();
        for entry in entries.chunks_exact(SNAPSHOT_ENTRY_BYTES) {
            let (id, rest) = entry.split_first_chunk()?;
            let (epoch, rest) = rest.split_first_chunk()?;
            let (last_sequence, rest) = rest.split_first_chunk()?;
            let (last_offset, rest) = rest.split_first_chunk()?;
            let (offset_delta, rest) = rest.split_first_chunk()?;
            let timestamp = i64::from_be_bytes(*rest.first_chunk()?);
            let batch = Remembered {
                last_sequence: i32::from_be_bytes(*last_sequence),
                last_offset: i64::from_be_bytes(*last_offset),
                offset_delta: i32::from_be_bytes(*offset_delta),
                timestamp,
            };
            let producer = Producer {
                epoch: i16::from_be_bytes(*epoch),
                batches: (batch.last_sequence >= 0)
                    .then_some(batch)
                    .into_iter()
                    .collect(),
                last_timestamp: timestamp,
            };
            producers.insert(i64::from_be_bytes(*id), producer);
        }
        Some(Self { producers })
    }
}

/// Path of the snapshot of the state before `offset`.
pub(crate) fn snapshot_path(folder: &Path, offset: i64) -> PathBuf {
    folder.join(format!("{offset:020}.snapshot"))
}

/// Offsets of the snapshots in a folder, growing.
pub(crate) fn snapshots(folder: &Path) -> Result<Vec<i64>, LogError> {
    let entries = platform::fs::read_dir(folder).map_err(LogError::io("list", folder))?;
    let mut offsets: Vec<i64> = entries
        .iter()
        .filter_map(|entry| entry.file_name.strip_suffix(".snapshot")?.parse().ok())
        .collect();
    offsets.sort_unstable();
    Ok(offsets)
}

/// Writes the state before `offset` and removes all but the newest `keep` snapshots.
pub(crate) fn store(
    producers: &Producers,
    folder: &Path,
    offset: i64,
    keep: usize,
) -> Result<(), LogError> {
    let path = snapshot_path(folder, offset);
    platform::fs::write_atomic(&path, &producers.encode()).map_err(LogError::io("write", &path))?;
    let offsets = snapshots(folder)?;
    for old in offsets.iter().take(offsets.len().saturating_sub(keep)) {
        let path = snapshot_path(folder, *old);
        platform::fs::remove_file(&path).map_err(LogError::io("remove", &path))?;
    }
    Ok(())
}

/// Removes all snapshots.
pub(crate) fn forget(folder: &Path) -> Result<(), LogError> {
    for offset in snapshots(folder)? {
        let path = snapshot_path(folder, offset);
        platform::fs::remove_file(&path).map_err(LogError::io("remove", &path))?;
    }
    Ok(())
}

/// Loads the newest usable snapshot up to `limit` and answers the offset to go on from; snapshots beyond the limit
/// describe what is not there any more and are removed, broken ones too.
pub(crate) fn load(folder: &Path, limit: i64) -> Result<Option<(Producers, i64)>, LogError> {
    for offset in snapshots(folder)?.into_iter().rev() {
        let path = snapshot_path(folder, offset);
        if offset <= limit {
            let bytes = platform::fs::read(&path).map_err(LogError::io("read", &path))?;
            if let Some(producers) = Producers::decode(&bytes) {
                return Ok(Some((producers, offset)));
            }
            tracing::warn!(path = %path.display(), "producer snapshot is broken and is not used");
        }
        platform::fs::remove_file(&path).map_err(LogError::io("remove", &path))?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(epoch: i16, base_sequence: i32, count: i32, base_offset: i64) -> BatchHeader {
        BatchHeader {
            base_offset,
            batch_length: 49,
            partition_leader_epoch: 0,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: 5,
            max_timestamp: 5,
            producer_id: 1,
            producer_epoch: epoch,
            base_sequence,
            record_count: count,
        }
    }

    #[test]
    fn retries_within_the_window_are_duplicates_and_gaps_are_refused() {
        let mut producers = Producers::default();
        for n in 0..7 {
            let batch = batch(0, n * 10, 10, i64::from(n) * 10);
            assert_eq!(producers.check(&batch), Sequence::Next);
            producers.remember(&batch, 0);
        }
        for n in 2..7 {
            let Sequence::Duplicate(known) = producers.check(&batch(0, n * 10, 10, 0)) else {
                panic!("{n}")
            };
            assert_eq!(known.base_offset(), i64::from(n) * 10);
        }
        assert_eq!(
            producers.check(&batch(0, 10, 10, 0)),
            Sequence::Gap { expected: 70 }
        );
        assert_eq!(
            producers.check(&batch(0, 71, 1, 0)),
            Sequence::Gap { expected: 70 }
        );
        assert_eq!(
            producers.check(&batch(0, 60, 9, 0)),
            Sequence::Gap { expected: 70 }
        );
        assert_eq!(
            producers.check(&batch(1, 5, 1, 0)),
            Sequence::Gap { expected: 0 }
        );
        assert_eq!(producers.check(&batch(1, 0, 1, 0)), Sequence::Next);
        producers.remember(&batch(1, 0, 1, 70), 0);
        assert_eq!(
            producers.check(&batch(0, 70, 1, 0)),
            Sequence::OldEpoch { current: 1 }
        );
    }

    #[test]
    fn sequence_numbers_wrap_to_zero() {
        let mut producers = Producers::default();
        let wrapping = batch(0, i32::MAX - 1, 4, 0);
        producers.remember(&wrapping, 0);
        assert!(matches!(producers.check(&wrapping), Sequence::Duplicate(_)));
        assert_eq!(producers.check(&batch(0, 2, 1, 4)), Sequence::Next);
        let mut producers = Producers::default();
        producers.remember(&batch(0, i32::MAX, 1, 0), 0);
        assert_eq!(producers.check(&batch(0, 0, 1, 1)), Sequence::Next);
    }

    #[test]
    fn a_snapshot_keeps_the_last_batch_and_a_broken_one_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut producers = Producers::default();
        producers.remember(&batch(3, 0, 5, 100), 7);
        store(&producers, folder.path(), 105, 3).unwrap();
        producers.remember(&batch(3, 5, 5, 105), 8);
        store(&producers, folder.path(), 110, 3).unwrap();
        store(&producers, folder.path(), 999, 3).unwrap();
        let path = snapshot_path(folder.path(), 110);
        let mut bytes = platform::fs::read(&path).unwrap();
        let (loaded, from) = load(folder.path(), 500).unwrap().unwrap();
        assert_eq!(from, 110);
        assert!(matches!(
            loaded.check(&batch(3, 5, 5, 0)),
            Sequence::Duplicate(_)
        ));
        bytes[20] ^= 1;
        platform::fs::write_atomic(&path, &bytes).unwrap();
        let (loaded, from) = load(folder.path(), 500).unwrap().unwrap();
        assert_eq!(from, 105);
        assert_eq!(loaded.check(&batch(3, 5, 5, 0)), Sequence::Next);
        assert_eq!(snapshots(folder.path()).unwrap(), [105]);
    }

    #[test]
    fn silent_producers_are_forgotten() {
        let mut producers = Producers::default();
        producers.remember(&batch(0, 0, 1, 0), 1000);
        producers.expire(1999, 1000);
        assert!(!producers.is_empty());
        producers.expire(2000, 1000);
        assert!(producers.is_empty());
    }
}
