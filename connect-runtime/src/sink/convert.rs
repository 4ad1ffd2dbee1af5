//! From fetched batches to one put.

use std::ops::Range;
use std::sync::Arc;

use connect_core::{Attachment, SinkRecord, TopicPartition};
use kafka_client::{FetchedBatch, ProducerRecord, Record};

use crate::converters::Converters;
use crate::tap::{Sample, Samples, Tap};
use crate::task::TaskFailure;
use crate::tolerance::{BadRecord, Consumed, Tolerance};
use crate::trace::{Point, Snapshot, Trace};
use crate::transforms::Transforms;

/// The stretch of a partition that a put covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) partition: TopicPartition,
    /// The offset of its first record: where to go back to if the put was not taken.
    pub(super) first: i64,
    /// The offset behind it: what may be committed once the put was taken.
    pub(super) next: i64,
    /// The leader epoch of its last record, if known.
    pub(super) leader_epoch: Option<i32>,
}

impl Stretch {
    pub(super) fn of(batch: &FetchedBatch) -> Self {
        let first = batch.records.first();
        Self {
            partition: TopicPartition::new(batch.topic.clone(), batch.partition),
            first: first.map_or(batch.next_offset, |record| record.offset),
            next: batch.next_offset,
            leader_epoch: (batch.leader_epoch >= 0).then_some(batch.leader_epoch),
        }
    }
}

/// Records for one put.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) records: Vec<SinkRecord>,
    /// Where each record comes from.
    pub(super) places: Vec<Place>,
    /// For the dead letter queue.
    pub(super) letters: Vec<ProducerRecord>,
}

/// The fetched stretch that a record comes from, and its offset.
pub(super) type Place = (usize, i64);

/// What was fetched of a partition.
pub(super) struct Source {
    /// One count for every put: threads that work on different puts do not meet at it.
    topic: Arc<str>,
    partition: i32,
    /// The records as they were read, where records that fail are skipped.
    originals: Option<Arc<Originals>>,
}

/// Consecutive records of a partition as they were read; what a task's records have attached.
pub(super) struct Originals {
    topic: Arc<str>,
    partition: i32,
    records: Vec<Record>,
}

impl Originals {
    fn consumed<'a>(&'a self, record: &'a Record) -> Consumed<'a> {
        Consumed {
            topic: &self.topic,
            partition: self.partition,
            record,
        }
    }

    /// The record at an offset.
    pub(super) fn at(&self, offset: i64) -> Option<Consumed<'_>> {
        let at = self
            .records
            .binary_search_by_key(&offset, |record| record.offset);
        Some(self.consumed(self.records.get(at.ok()?)?))
    }
}

impl Source {
    /// The record at an offset, as it was read.
    pub(super) fn original(&self, offset: i64) -> Option<Consumed<'_>> {
        self.originals.as_ref()?.at(offset)
    }

    /// Where a record was read, for messages.
    pub(super) fn place(&self, offset: i64) -> String {
        format!("{}-{} offset {offset}", self.topic, self.partition)
    }
}

/// Converts and transforms what is fetched for a task.
pub(crate) struct Inlet {
    pub(crate) converters: Arc<Converters>,
    pub(crate) transforms: Option<Transforms>,
    pub(crate) tolerance: Arc<Tolerance>,
    /// For those who look, and the number of the task.
    pub(crate) tap: (Arc<Tap>, u32),
}

impl Inlet {
    /// All of what was fetched, and where it is from. Records for which it fails are skipped or end the
    /// task, as `errors.tolerance` says.
    pub(super) async fn convert(
        &self,
        fetched: Vec<FetchedBatch>,
    ) -> Result<(Batch, Vec<Source>), TaskFailure> {
        let count = fetched.iter().map(|batch| batch.records.len()).sum();
        let mut batch = Batch {
            records: Vec::with_capacity(count),
            places: Vec::with_capacity(count),
            letters: Vec::new(),
        };
        let mut sources = Vec::with_capacity(fetched.len());
        let keeps = self.tolerance.skips() || self.tolerance.policy().is_patient();
        let mut samples = self.samples();
        self.tolerance.comes(count);
        for (stretch, fetched) in fetched.into_iter().enumerate() {
            let source = Source {
                topic: Arc::from(&*fetched.topic),
                partition: fetched.partition,
                originals: None,
            };
            // Whoever looks is shown records as they were read.
            sources.push(match keeps || samples.is_some() {
                false => {
                    self.move_all(&mut batch, stretch, source, fetched.records)
                        .await?
                }
                true => {
                    self.copy_all(&mut batch, stretch, source, fetched.records, &mut samples)
                        .await?
                }
            });
        }
        Ok((batch, sources))
    }

    /// Converts some records again.
    pub(super) async fn convert_again(
        &self,
        sources: &[Source],
        places: &[Place],
    ) -> Result<Batch, TaskFailure> {
        let mut batch = Batch::default();
        for place in places {
            let source = sources.get(place.0);
            let originals = source.and_then(|source| source.originals.as_ref());
            if let Some((source, originals)) = source.zip(originals)
                && let Some(consumed) = originals.at(place.1)
            {
                self.copy(&mut batch, *place, &source.topic, originals, consumed, None)
                    .await?;
            }
        }
        Ok(batch)
    }

    /// The short way: what fails ends the task, so that nothing of the records need be kept.
    async fn move_all(
        &self,
        batch: &mut Batch,
        stretch: usize,
        source: Source,
        records: Vec<Record>,
    ) -> Result<Source, TaskFailure> {
        for record in records {
            let offset = record.offset;
            let mut converted = self
                .converters
                .to_sink(&source.topic, source.partition, record);
            if let (Ok(record), Some(transforms)) = (&mut converted, &self.transforms) {
                match transforms.keeps_sink(record, &self.tolerance).await {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(bad) => converted = Err(bad),
                }
            }
            match converted {
                Ok(record) => {
                    batch.records.push(record);
                    batch.places.push((stretch, offset));
                }
                Err(bad) => self.tolerance.unknown(&bad)?,
            }
        }
        Ok(source)
    }

    /// Who looks at the batch that comes now.
    fn samples(&self) -> Option<Samples> {
        let (tap, task) = &self.tap;
        tap.samples(*task)
    }

    /// As [`one`](Self::one), and somebody sees it.
    async fn shown(
        &self,
        topic: &Arc<str>,
        consumed: Consumed<'_>,
        mut sample: Sample,
    ) -> Result<Option<SinkRecord>, BadRecord> {
        let converted = self.traced(topic, consumed, sample.trace()).await;
        sample.show();
        converted
    }

    /// As [`one`](Self::one), and every step is noted.
    pub(crate) async fn traced(
        &self,
        topic: &Arc<str>,
        consumed: Consumed<'_>,
        trace: &mut Trace,
    ) -> Result<Option<SinkRecord>, BadRecord> {
        let converted = self.steps(topic, consumed, trace).await;
        if let Err(bad) = &converted {
            trace.failed(bad, self.tolerance.fate(&bad.error));
        }
        converted
    }

    async fn steps(
        &self,
        topic: &Arc<str>,
        consumed: Consumed<'_>,
        trace: &mut Trace,
    ) -> Result<Option<SinkRecord>, BadRecord> {
        trace.saw(Point::Consumed, Snapshot::of_consumed(topic, consumed));
        let mut record = self.converted(topic, consumed).await?;
        trace.saw(Point::Converted, Snapshot::of_sink(&record));
        if let Some(transforms) = &self.transforms
            && !transforms
                .shows_sink(&mut record, &self.tolerance, trace)
                .await?
        {
            return Ok(None);
        }
        trace.saw(Point::Put, Snapshot::of_sink(&record));
        Ok(Some(record))
    }

    async fn copy_all(
        &self,
        batch: &mut Batch,
        stretch: usize,
        source: Source,
        records: Vec<Record>,
        samples: &mut Option<Samples>,
    ) -> Result<Source, TaskFailure> {
        let originals = Arc::new(Originals {
            topic: Arc::clone(&source.topic),
            partition: source.partition,
            records,
        });
        for record in &originals.records {
            let place = (stretch, record.offset);
            let consumed = originals.consumed(record);
            let sample = samples.as_mut().and_then(Samples::next);
            self.copy(batch, place, &source.topic, &originals, consumed, sample)
                .await?;
        }
        Ok(Source {
            originals: Some(originals),
            ..source
        })
    }

    async fn copy(
        &self,
        batch: &mut Batch,
        place: Place,
        topic: &Arc<str>,
        originals: &Arc<Originals>,
        consumed: Consumed<'_>,
        sample: Option<Sample>,
    ) -> Result<(), TaskFailure> {
        let converted = match sample {
            None => self.one(topic, consumed).await,
            Some(sample) => self.shown(topic, consumed, sample).await,
        };
        match converted {
            Ok(None) => {}
            Ok(Some(mut record)) => {
                if self.tolerance.has_queue() {
                    record.attachment = Attachment::new(originals.clone());
                }
                batch.records.push(record);
                batch.places.push(place);
            }
            Err(bad) => batch
                .letters
                .extend(self.tolerance.consumed(bad, consumed)?),
        }
        Ok(())
    }

    /// Converts and transforms a record; `None` if a transform drops it.
    async fn one(
        &self,
        topic: &Arc<str>,
        consumed: Consumed<'_>,
    ) -> Result<Option<SinkRecord>, BadRecord> {
        let mut record = self.converted(topic, consumed).await?;
        let kept = match &self.transforms {
            Some(transforms) => transforms.keeps_sink(&mut record, &self.tolerance).await?,
            None => true,
        };
        Ok(kept.then_some(record))
    }

    async fn converted(
        &self,
        topic: &Arc<str>,
        consumed: Consumed<'_>,
    ) -> Result<SinkRecord, BadRecord> {
        match self.tolerance.policy().is_patient() {
            false => self.converters.copy_to_sink(topic, consumed),
            true => self.convert_patiently(topic, consumed).await,
        }
    }

    async fn convert_patiently(
        &self,
        topic: &Arc<str>,
        consumed: Consumed<'_>,
    ) -> Result<SinkRecord, BadRecord> {
        let mut attempts = self.tolerance.attempts();
        loop {
            match self.converters.copy_to_sink(topic, consumed) {
                Err(bad) if attempts.again(&bad.error).await => {}
                done => return done,
            }
        }
    }
}

/// Both halves of a range of at least two.
pub(super) fn halves(range: &Range<usize>) -> [Range<usize>; 2] {
    let middle = range.start + range.len() / 2;
    [range.start..middle, middle..range.end]
}
