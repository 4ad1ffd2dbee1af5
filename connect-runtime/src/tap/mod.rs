//! Taps: live records at any stage of a connector, for those who look.
//!
//! A task asks once per batch whether anybody looks, with one atomic load. What is sampled is noted on the
//! task's own way, masked and made text there, bounded in bytes, so that nothing of a record outlives
//! it. A reader that does not keep up loses samples and is told how many; no task ever waits for one.

mod reader;
mod samples;
mod wish;

pub(crate) use reader::{Line, Reading};
pub(crate) use samples::{Sample, Samples};
pub(crate) use wish::Wish;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use reader::Reader;

/// The most readers at a time of a worker: each takes memory.
pub(crate) const READERS_MAX: usize = 16;

/// The taps of all connectors.
#[derive(Default)]
pub(crate) struct Taps {
    taps: Mutex<HashMap<Arc<str>, Arc<Tap>>>,
    /// Readers of all of them.
    readers: Arc<AtomicUsize>,
}

/// The tap of one connector; its tasks have it, whoever looks.
#[derive(Default)]
pub(crate) struct Tap {
    readers: RwLock<Vec<Arc<Reader>>>,
    /// How many there are, to be seen without a lock.
    open: AtomicUsize,
}

/// There are as many readers as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyReaders;

impl Taps {
    /// The tap of a connector, which outlives its tasks and its changes.
    pub(crate) fn of(&self, connector: &str) -> Arc<Tap> {
        let mut taps = self.taps.lock();
        match taps.get(connector) {
            Some(tap) => Arc::clone(tap),
            None => Arc::clone(taps.entry(connector.into()).or_default()),
        }
    }

    /// Begins to read. It ends when the reading is dropped.
    pub(crate) fn read(&self, connector: &str, wish: Wish) -> Result<Reading, TooManyReaders> {
        let more = |count: usize| (count < READERS_MAX).then_some(count + 1);
        let (relaxed, readers) = (Ordering::Relaxed, &self.readers);
        if readers.fetch_update(relaxed, relaxed, more).is_err() {
            return Err(TooManyReaders);
        }
        let tap = self.of(connector);
        let (reader, reading) = reader::pair(wish, Arc::downgrade(&tap), Arc::clone(readers));
        tap.change(|readers| readers.push(reader));
        Ok(reading)
    }

    /// Ends what reads from a connector that is gone.
    pub(crate) fn forget(&self, connector: &str) {
        if let Some(tap) = self.taps.lock().remove(connector) {
            tap.change(Vec::clear);
        }
    }

    /// Ends everything.
    pub(crate) fn end(&self) {
        for (_, tap) in self.taps.lock().drain() {
            tap.change(Vec::clear);
        }
    }
}

impl Tap {
    /// Who looks at the batch that comes now; nearly always nobody.
    pub(crate) fn samples(&self, task: u32) -> Option<Samples> {
        match self.open.load(Ordering::Relaxed) {
            0 => None,
            _ => Samples::of(&self.readers.read(), task),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Reader>>)) {
        let mut readers = self.readers.write();
        change(&mut readers);
        self.open.store(readers.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Point, Snapshot};
    use connect_core::SourceRecord;

    fn wish(every: u64, rate: u32) -> Wish {
        Wish {
            every,
            rate,
            ..Wish::default()
        }
    }

    /// Shows some records to whoever looks; how many were sampled.
    fn show(tap: &Tap, count: usize) -> usize {
        let Some(mut samples) = tap.samples(0) else {
            return 0;
        };
        let mut sampled = 0;
        for number in 0..count {
            let Some(mut sample) = samples.next() else {
                continue;
            };
            let record = SourceRecord::new("t".into(), number.to_string());
            let trace = sample.trace();
            trace.saw(Point::Polled, Snapshot::of_source(&record));
            trace.saw(Point::Sent, Snapshot::of_source(&record));
            sample.show();
            sampled += 1;
        }
        sampled
    }

    fn shown(line: Option<Line>) -> serde_json::Value {
        let Some(Line::Sample(text)) = line else {
            panic!("{line:?}")
        };
        serde_json::from_str(&text).unwrap()
    }

    #[tokio::test]
    async fn nothing_is_sampled_unless_somebody_looks() {
        let taps = Taps::default();
        let tap = taps.of("a");
        assert!(tap.samples(0).is_none());
        let reading = taps.read("a", wish(1, 100)).unwrap();
        assert_eq!(show(&tap, 3), 3);
        assert_eq!(show(&taps.of("b"), 3), 0);
        drop(reading);
        assert!(tap.samples(0).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn every_nth_record_at_most_so_many_a_second() {
        let taps = Taps::default();
        let tap = taps.of("a");
        let mut reading = taps.read("a", wish(10, 3)).unwrap();
        assert_eq!(show(&tap, 25), 3);
        for expected in ["0", "10", "20"] {
            let line = shown(reading.next().await);
            assert_eq!(line["steps"][0]["record"]["value"], expected);
            assert_eq!(line["steps"].as_array().unwrap().len(), 2);
        }
        assert_eq!(show(&tap, 1000), 0, "the second's samples are used up");
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(show(&tap, 1000), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_loses_samples_and_is_told_how_many() {
        let taps = Taps::default();
        let tap = taps.of("a");
        let mut reading = taps.read("a", wish(1, 1000)).unwrap();
        let sampled = show(&tap, 1000);
        assert!((1..200).contains(&sampled), "{sampled}");
        let Some(Line::Lost(lost)) = reading.next().await else {
            panic!("the loss is said first")
        };
        assert_eq!(lost, 1000 - sampled as u64);
        for _ in 0..sampled {
            shown(reading.next().await);
        }
        assert_eq!(show(&tap, 0), 0);
        taps.forget("a");
        assert!(reading.next().await.is_none(), "the connector is gone");
    }

    #[tokio::test]
    async fn only_the_stages_that_are_wanted_are_shown() {
        let taps = Taps::default();
        let tap = taps.of("a");
        let sent = Wish {
            stages: vec!["sent".into()],
            ..wish(1, 10)
        };
        let mut reading = taps.read("a", sent).unwrap();
        show(&tap, 1);
        let line = shown(reading.next().await);
        assert_eq!(line["steps"].as_array().unwrap().len(), 1);
        assert_eq!(line["steps"][0]["stage"], "sent");
    }

    #[test]
    fn there_are_only_so_many_readers() {
        let taps = Taps::default();
        let mut readings: Vec<Reading> = (0..READERS_MAX)
            .map(|number| taps.read(&number.to_string(), wish(1, 1)).unwrap())
            .collect();
        assert!(taps.read("more", wish(1, 1)).is_err());
        readings.pop();
        assert!(taps.read("more", wish(1, 1)).is_ok());
        taps.end();
        assert!(taps.of("0").samples(0).is_none());
    }
}
