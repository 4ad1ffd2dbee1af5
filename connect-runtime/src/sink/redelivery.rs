//! The same batch again: after a put that was not taken, what is fetched anew is cut to the
//! stretches of that put, whatever the boundaries of the fetches.

use connect_core::{OffsetMap, TopicPartition};
use kafka_client::FetchedBatch;

use super::convert::Stretch;

/// What a put that was not taken had, and what of it has been fetched again.
#[derive(Default)]
pub(super) struct Redelivery {
    /// The ends of the stretches that are not complete yet.
    missing: OffsetMap,
    /// Fetched parts of the batch.
    batch: Vec<FetchedBatch>,
    /// Fetched records that come behind it.
    behind: Vec<FetchedBatch>,
}

impl Redelivery {
    /// Expects the batch of a put again.
    pub(super) fn of(stretches: &[Stretch]) -> Self {
        let missing = stretches
            .iter()
            .filter(|stretch| stretch.first < stretch.next);
        Self {
            missing: missing
                .map(|stretch| (stretch.partition.clone(), stretch.next))
                .collect(),
            ..Self::default()
        }
    }

    /// Takes fetched records; what is to be put, once the batch is complete.
    pub(super) fn take(&mut self, fetched: Vec<FetchedBatch>) -> Option<Whole> {
        for batch in fetched {
            let partition = TopicPartition::new(batch.topic.clone(), batch.partition);
            let Some(end) = self.missing.get(&partition).copied() else {
                self.behind.push(batch);
                continue;
            };
            if batch.next_offset >= end {
                self.missing.remove(&partition);
            }
            let (within, behind) = split(batch, end);
            self.batch.extend(within);
            self.behind.extend(behind);
        }
        self.complete()
    }

    /// What is read on from these positions has nothing of the batch any more: its records were deleted
    /// meanwhile.
    pub(super) fn pass(
        &mut self,
        position: impl Fn(&TopicPartition) -> Option<i64>,
    ) -> Option<Whole> {
        let waited = !self.missing.is_empty();
        self.missing
            .retain(|partition, end| position(partition).is_none_or(|at| at < *end));
        if waited { self.complete() } else { None }
    }

    /// These partitions are no longer the task's, so their records do not come again.
    pub(super) fn forget(&mut self, partitions: &[TopicPartition]) -> Option<Whole> {
        let gone = |batch: &FetchedBatch| {
            let mut all = partitions.iter();
            all.any(|gone| gone.partition == batch.partition && gone.topic == batch.topic)
        };
        self.missing
            .retain(|partition, _| !partitions.contains(partition));
        self.batch.retain(|batch| !gone(batch));
        self.behind.retain(|batch| !gone(batch));
        self.complete()
    }

    /// Whether everything has been handed out.
    pub(super) fn is_done(&self) -> bool {
        self.missing.is_empty() && self.batch.is_empty() && self.behind.is_empty()
    }

    /// Whether more of a partition's records may be fetched now: those of the batch while it is not
    /// complete, any otherwise.
    pub(super) fn may_fetch(&self, partition: &TopicPartition) -> bool {
        self.missing.is_empty() || self.missing.contains_key(partition)
    }

    /// Whether records of this partition are still to be read for the batch, also while the task rests it:
    /// a put comes again as it was.
    pub(super) fn misses(&self, partition: &TopicPartition) -> bool {
        self.missing.contains_key(partition)
    }

    /// Where to read on if all this is dropped: the first offset of each partition.
    pub(super) fn starts(&self) -> OffsetMap {
        let mut starts = OffsetMap::new();
        for batch in self.batch.iter().chain(&self.behind) {
            let partition = TopicPartition::new(batch.topic.clone(), batch.partition);
            let first = batch
                .records
                .first()
                .map_or(batch.next_offset, |record| record.offset);
            starts.entry(partition).or_insert(first);
        }
        starts
    }

    fn complete(&mut self) -> Option<Whole> {
        if !self.missing.is_empty() {
            return None;
        }
        Some(Whole {
            batch: std::mem::take(&mut self.batch),
            behind: std::mem::take(&mut self.behind),
        })
    }
}

/// A batch that is complete again.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Whole {
    pub(super) batch: Vec<FetchedBatch>,
    /// What was fetched behind it.
    pub(super) behind: Vec<FetchedBatch>,
}

/// The part before `end`, and the part from there on.
fn split(mut batch: FetchedBatch, end: i64) -> (Option<FetchedBatch>, Option<FetchedBatch>) {
    let at = batch.records.partition_point(|record| record.offset < end);
    if at == batch.records.len() {
        return (Some(batch), None);
    }
    let records = batch.records.split_off(at);
    let behind = FetchedBatch {
        topic: batch.topic.clone(),
        records,
        ..batch
    };
    batch.next_offset = end;
    let within = (!batch.records.is_empty()).then_some(batch);
    (within, Some(behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_client::Record;

    fn fetched(partition: i32, offsets: std::ops::Range<i64>) -> FetchedBatch {
        let next_offset = offsets.end;
        let record = |offset| Record {
            offset,
            timestamp: 0,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        FetchedBatch {
            topic: "t".into(),
            partition,
            records: offsets.map(record).collect(),
            high_watermark: 100,
            next_offset,
            leader_epoch: 0,
        }
    }

    fn stretch(partition: i32, first: i64, next: i64) -> Stretch {
        Stretch {
            partition: TopicPartition::new("t", partition),
            first,
            next,
            leader_epoch: None,
        }
    }

    fn offsets(put: &[FetchedBatch]) -> Vec<(i32, i64)> {
        let one = |batch: &FetchedBatch| {
            let partition = batch.partition;
            batch
                .records
                .iter()
                .map(|record| (partition, record.offset))
                .collect::<Vec<_>>()
        };
        put.iter().flat_map(one).collect()
    }

    #[test]
    fn the_batch_is_whole_again_whatever_the_fetches_look_like() {
        let mut again = Redelivery::of(&[stretch(0, 3, 6), stretch(1, 0, 2)]);
        assert!(again.take(vec![fetched(0, 3..5)]).is_none());
        assert!(again.take(vec![fetched(0, 5..9)]).is_none());
        let whole = again
            .take(vec![fetched(1, 0..2), fetched(2, 7..8)])
            .unwrap();
        assert_eq!(
            offsets(&whole.batch),
            [(0, 3), (0, 4), (0, 5), (1, 0), (1, 1)]
        );
        assert_eq!(offsets(&whole.behind), [(0, 6), (0, 7), (0, 8), (2, 7)]);
        assert!(again.is_done());
    }

    #[test]
    fn only_what_is_missing_is_fetched_until_the_batch_is_complete() {
        let (zero, one) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        let mut again = Redelivery::of(&[stretch(0, 0, 2)]);
        assert!(again.may_fetch(&zero) && !again.may_fetch(&one));
        assert!(again.misses(&zero) && !again.misses(&one));
        let whole = again.take(vec![fetched(0, 0..2)]).unwrap();
        assert!(whole.behind.is_empty());
        assert!(again.may_fetch(&one));
    }

    #[test]
    fn partitions_that_went_away_are_not_waited_for() {
        let mut again = Redelivery::of(&[stretch(0, 0, 2), stretch(1, 0, 2)]);
        assert!(again.take(vec![fetched(0, 0..3)]).is_none());
        assert_eq!(
            again.starts(),
            OffsetMap::from([(TopicPartition::new("t", 0), 0)])
        );
        let whole = again.forget(&[TopicPartition::new("t", 1)]).unwrap();
        assert_eq!(offsets(&whole.batch), [(0, 0), (0, 1)]);
        assert_eq!(offsets(&whole.behind), [(0, 2)]);
    }

    #[test]
    fn records_that_were_deleted_are_not_waited_for() {
        let mut again = Redelivery::of(&[stretch(0, 0, 2), stretch(1, 0, 2)]);
        assert!(again.take(vec![fetched(0, 0..2)]).is_none());
        assert!(again.pass(|_| None).is_none(), "nobody knows yet");
        assert!(again.pass(|_| Some(1)).is_none());
        let whole = again.pass(|_| Some(2)).unwrap();
        assert_eq!(offsets(&whole.batch), [(0, 0), (0, 1)]);
        assert!(again.is_done() && again.pass(|_| Some(9)).is_none());
    }

    #[test]
    fn a_batch_with_gaps_ends_where_reading_went_on() {
        let mut again = Redelivery::of(&[stretch(0, 0, 10)]);
        let mut gap = fetched(0, 0..2);
        gap.next_offset = 10;
        assert_eq!(
            offsets(&again.take(vec![gap]).unwrap().batch),
            [(0, 0), (0, 1)]
        );
        assert!(again.is_done());
    }
}
