//! From the records of one poll to the sends that carry them.

use std::collections::HashMap;
use std::sync::Arc;

use connect_core::{SourcePosition, SourceRecord};
use kafka_client::ProducerRecord;

use crate::converters::Converters;
use crate::tap::{Samples, Tap};
use crate::task::TaskFailure;
use crate::tolerance::{BadRecord, Tolerance};
use crate::trace::{Point, Snapshot, Trace};
use crate::transforms::Transforms;

use super::submitted::Carried;

/// One poll, ready to be sent.
#[derive(Default)]
pub(super) struct Batch {
    /// Where each source partition stands after the poll.
    pub(super) positions: Vec<SourcePosition>,
    /// One send per topic; the order of the poll is kept within each.
    pub(super) sends: Vec<Send>,
}

/// The records of one poll for one topic.
pub(super) struct Send {
    pub(super) topic: Arc<str>,
    pub(super) records: Vec<ProducerRecord>,
    /// What depends on these records.
    pub(super) carried: Carried,
}

/// Transforms and converts polls, and decides about records for which that fails.
pub(crate) struct Batcher {
    transforms: Option<Transforms>,
    converters: Arc<Converters>,
    tolerance: Tolerance,
    /// The topic for records that are skipped.
    dead_letters: Option<Arc<str>>,
    /// For those who look, and the number of the task.
    tap: (Arc<Tap>, u32),
}

impl Batcher {
    pub(crate) fn new(
        transforms: Option<Transforms>,
        converters: Arc<Converters>,
        tolerance: Tolerance,
        tap: (Arc<Tap>, u32),
    ) -> Self {
        let queue = tolerance.policy().dead_letters.as_ref();
        let queue = queue.filter(|_| tolerance.has_queue());
        Self {
            transforms,
            converters,
            dead_letters: queue.map(|queue| queue.topic.as_str().into()),
            tolerance,
            tap,
        }
    }

    /// Transforms and converts the records of a poll. What does not go on moves the offset all the
    /// same, once its dead letter, if there is one, is acknowledged.
    ///
    /// # Errors
    /// A record is bad and `errors.tolerance` is `none`.
    pub(super) async fn convert(&self, records: Vec<SourceRecord>) -> Result<Batch, TaskFailure> {
        let mut builder = Builder::new(records.len());
        self.tolerance.comes(records.len());
        let is_patient = self.tolerance.policy().is_patient();
        let (tap, task) = &self.tap;
        let mut samples = tap.samples(*task);
        for mut record in records {
            let position = record.position.take();
            // Reference counts only.
            let original = self.dead_letters.is_some().then(|| record.clone());
            let failed = match samples.as_mut().and_then(Samples::next) {
                None => {
                    let kept = match &self.transforms {
                        Some(transforms) => {
                            transforms.keeps_source(&mut record, &self.tolerance).await
                        }
                        None => Ok(true),
                    };
                    match kept {
                        Ok(true) => {
                            let send = builder.send_for(&record.topic);
                            let converted = match is_patient {
                                false => self.converters.to_producer(record),
                                true => self.convert_patiently(record).await,
                            };
                            converted.map(|record| builder.add(send, record)).err()
                        }
                        Ok(false) => None,
                        Err(bad) => Some(bad),
                    }
                }
                Some(mut sample) => {
                    let traced = self.traced(record, sample.trace()).await;
                    sample.show();
                    match traced {
                        Ok(Some((topic, record))) => {
                            let send = builder.send_for(&topic);
                            builder.add(send, record);
                            None
                        }
                        Ok(None) => None,
                        Err(bad) => Some(bad),
                    }
                }
            };
            if let Some(bad) = failed {
                self.skip(&mut builder, bad, original.as_ref())?;
            }
            if let Some(position) = position {
                builder.cover(position);
            }
        }
        Ok(builder.finish())
    }

    /// Transforms and converts a record, and notes every step; `None` if a transform drops it.
    pub(crate) async fn traced(
        &self,
        record: SourceRecord,
        trace: &mut Trace,
    ) -> Result<Option<(Arc<str>, ProducerRecord)>, BadRecord> {
        let converted = self.steps(record, trace).await;
        if let Err(bad) = &converted {
            trace.failed(bad, self.tolerance.fate(&bad.error));
        }
        converted
    }

    async fn steps(
        &self,
        mut record: SourceRecord,
        trace: &mut Trace,
    ) -> Result<Option<(Arc<str>, ProducerRecord)>, BadRecord> {
        trace.saw(Point::Polled, Snapshot::of_source(&record));
        if let Some(transforms) = &self.transforms
            && !transforms
                .shows_source(&mut record, &self.tolerance, trace)
                .await?
        {
            return Ok(None);
        }
        let topic = Arc::clone(&record.topic);
        let record = self.converted(record).await?;
        trace.saw(Point::Sent, Snapshot::of_produced(&topic, &record));
        Ok(Some((topic, record)))
    }

    async fn converted(&self, record: SourceRecord) -> Result<ProducerRecord, BadRecord> {
        match self.tolerance.policy().is_patient() {
            false => self.converters.to_producer(record),
            true => self.convert_patiently(record).await,
        }
    }

    /// Decides about a record that failed; its letter goes along with the others.
    fn skip(
        &self,
        builder: &mut Builder,
        bad: BadRecord,
        record: Option<&SourceRecord>,
    ) -> Result<(), TaskFailure> {
        let letter = self.tolerance.produced(bad, record)?;
        if let Some((letter, topic)) = letter.zip(self.dead_letters.as_ref()) {
            let send = builder.send_for(topic);
            builder.add(send, letter);
        }
        Ok(())
    }

    /// Converts a record, and again while the converter says that it may work later.
    async fn convert_patiently(&self, record: SourceRecord) -> Result<ProducerRecord, BadRecord> {
        let mut attempts = self.tolerance.attempts();
        loop {
            match self.converters.to_producer(record.clone()) {
                Err(bad) if attempts.again(&bad.error).await => {}
                done => return done,
            }
        }
    }

    /// Decides about a record that could not even be read: skipped, or the end of the task.
    pub(super) fn unreadable(&self, bad: &BadRecord) -> Result<(), TaskFailure> {
        self.tolerance.comes(1);
        self.tolerance.unknown(bad)?;
        self.check_rate()
    }

    /// Whether so few records fail that the task may go on.
    pub(super) fn check_rate(&self) -> Result<(), TaskFailure> {
        self.tolerance.check_rate()
    }
}

/// Groups records by topic, and remembers which positions depend on which topic.
struct Builder {
    batch: Batch,
    capacity: usize,
    /// The sends that carry records that no position covers yet.
    uncovered: Vec<usize>,
    indexes: HashMap<connect_core::SourcePartition, usize>,
}

impl Builder {
    fn new(capacity: usize) -> Self {
        Self {
            batch: Batch::default(),
            capacity,
            uncovered: Vec::new(),
            indexes: HashMap::new(),
        }
    }

    /// The index of the send for a topic. Nearly always there is one topic, and one `Arc` of it.
    fn send_for(&mut self, topic: &Arc<str>) -> usize {
        let sends = &mut self.batch.sends;
        let same = |send: &Send| Arc::ptr_eq(&send.topic, topic) || send.topic == *topic;
        if let Some(index) = sends.iter().position(same) {
            return index;
        }
        let capacity = if sends.is_empty() { self.capacity } else { 0 };
        sends.push(Send {
            topic: Arc::clone(topic),
            records: Vec::with_capacity(capacity),
            carried: Carried::default(),
        });
        sends.len() - 1
    }

    fn add(&mut self, index: usize, record: ProducerRecord) {
        if let Some(send) = self.batch.sends.get_mut(index) {
            send.records.push(record);
        }
        if self.uncovered.last() != Some(&index) && !self.uncovered.contains(&index) {
            self.uncovered.push(index);
        }
    }

    fn finish(mut self) -> Batch {
        for send in self.uncovered.drain(..) {
            if let Some(send) = self.batch.sends.get_mut(send) {
                send.carried.loose = true;
            }
        }
        // Topics whose records were all bad; no position depends on them.
        self.batch.sends.retain(|send| !send.records.is_empty());
        self.batch
    }

    /// The records since the last position belong to this one.
    fn cover(&mut self, position: SourcePosition) {
        let positions = &mut self.batch.positions;
        let index = match self.indexes.get(&position.partition) {
            Some(index) => {
                if let Some(earlier) = positions.get_mut(*index) {
                    earlier.offset = position.offset;
                }
                *index
            }
            None => {
                self.indexes
                    .insert(position.partition.clone(), positions.len());
                positions.push(position);
                positions.len() - 1
            }
        };
        for send in self.uncovered.drain(..) {
            if let Some(send) = self.batch.sends.get_mut(send)
                && !send.carried.positions.contains(&index)
            {
                send.carried.positions.push(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::connector::ErrorPolicy;
    use connect_core::{SourceOffset, SourcePartition};
    use serde_json::json;

    fn at(name: &str, position: u64) -> SourcePosition {
        SourcePosition {
            partition: SourcePartition::of(&json!({ "filename": name })).unwrap(),
            offset: SourceOffset::of(&json!({ "position": position })).unwrap(),
        }
    }

    fn record(text: &'static str) -> ProducerRecord {
        ProducerRecord::value(text.as_bytes())
    }

    fn add(builder: &mut Builder, topic: &str, record: ProducerRecord) {
        let send = builder.send_for(&topic.into());
        builder.add(send, record);
    }

    #[test]
    fn records_keep_their_order_within_a_topic() {
        let mut builder = Builder::new(4);
        let (x, y): (Arc<str>, Arc<str>) = ("x".into(), "y".into());
        for (topic, text) in [(&x, "1"), (&y, "2"), (&x, "3")] {
            let send = builder.send_for(topic);
            builder.add(send, record(text));
        }
        builder.cover(at("a", 3));
        let batch = builder.batch;
        let values = |index: usize| -> Vec<_> {
            batch.sends[index]
                .records
                .iter()
                .map(|r| r.value.clone().unwrap())
                .collect()
        };
        assert_eq!(values(0), ["1", "3"]);
        assert_eq!(values(1), ["2"]);
        assert_eq!(batch.positions, [at("a", 3)]);
        assert!(batch.sends.iter().all(|send| send.carried.positions == [0]));
    }

    #[test]
    fn a_position_depends_only_on_the_topics_of_its_records() {
        let mut builder = Builder::new(4);
        add(&mut builder, "x", record("1"));
        builder.cover(at("a", 1));
        add(&mut builder, "y", record("2"));
        builder.cover(at("b", 1));
        add(&mut builder, "x", record("3"));
        builder.cover(at("a", 2));
        assert_eq!(builder.batch.positions, [at("a", 2), at("b", 1)]);
        assert_eq!(builder.batch.sends[0].carried.positions, [0]);
        assert_eq!(builder.batch.sends[1].carried.positions, [1]);
    }

    #[tokio::test]
    async fn a_poll_whose_records_were_all_dropped_moves_the_offset() {
        let config = |keys: &[(&str, &str)]| -> connect_core::ConfigMap {
            let keys = keys.iter();
            keys.map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
                .collect()
        };
        let transforms = Transforms::of(&config(&[
            ("transforms", "drop"),
            ("transforms.drop.type", "Filter"),
        ]));
        let tolerance = Tolerance::for_tests(ErrorPolicy::default());
        let batcher = Batcher::new(
            transforms.unwrap(),
            Arc::new(Converters::text()),
            tolerance,
            Default::default(),
        );
        let records = ["1", "2"].map(|text| SourceRecord::new("x".into(), text).at(at("a", 7)));
        let batch = batcher.convert(records.into()).await.unwrap();
        assert!(batch.sends.is_empty());
        assert_eq!(batch.positions, [at("a", 7)]);
    }

    #[test]
    fn records_behind_the_last_position_move_no_offset() {
        let mut builder = Builder::new(4);
        add(&mut builder, "x", record("1"));
        let batch = builder.finish();
        assert!(batch.positions.is_empty());
        assert!(batch.sends[0].carried.positions.is_empty());
        assert!(
            batch.sends[0].carried.loose,
            "they are not forgotten, either"
        );
    }
}
