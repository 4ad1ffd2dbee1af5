//! The records of one batch that somebody wants to see.

use std::sync::Arc;

use serde_json::{Value, json};

use super::reader::Reader;
use crate::trace::{Shaper, Step, Trace};

/// About the most that one sample takes, in bytes of text.
const SAMPLE_BYTES_MAX: usize = 32 * 1024;
/// What each of its steps may have at least.
const STEP_BYTES_MIN: usize = 512;

/// Who looks at a batch.
pub(crate) struct Samples {
    turns: Vec<Turn>,
    task: u32,
}

/// One reader, while a batch lasts.
struct Turn {
    reader: Arc<Reader>,
    allowance: u32,
}

/// A record that somebody wants to see.
pub(crate) struct Sample {
    readers: Vec<Arc<Reader>>,
    task: u32,
    trace: Trace,
}

impl Samples {
    pub(super) fn of(readers: &[Arc<Reader>], task: u32) -> Option<Self> {
        let of_this = |reader: &&Arc<Reader>| reader.wish.task.is_none_or(|wanted| wanted == task);
        let turns: Vec<Turn> = readers
            .iter()
            .filter(of_this)
            .map(|reader| Turn {
                allowance: reader.take(),
                reader: Arc::clone(reader),
            })
            .collect();
        (!turns.is_empty()).then_some(Self { turns, task })
    }

    /// The next record, if somebody wants to see it.
    pub(crate) fn next(&mut self) -> Option<Sample> {
        let mut readers = Vec::new();
        for turn in &mut self.turns {
            if turn.wants() {
                readers.push(Arc::clone(&turn.reader));
            }
        }
        (!readers.is_empty()).then(|| Sample {
            readers,
            task: self.task,
            trace: Trace::default(),
        })
    }
}

impl Turn {
    fn wants(&mut self) -> bool {
        if !self.reader.sees() || self.allowance == 0 {
            return false;
        }
        self.allowance -= 1;
        self.reader.has_room()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.reader.give_back(self.allowance);
    }
}

impl Sample {
    /// To note what happens to it.
    pub(crate) fn trace(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// Shows what has happened to it.
    pub(crate) fn show(self) {
        for reader in &self.readers {
            let wish = &reader.wish;
            let steps = self.trace.steps.iter();
            let steps: Vec<&Step> = steps.filter(|step| wish.wants(step)).collect();
            let Some(room) = SAMPLE_BYTES_MAX.checked_div(steps.len()) else {
                continue;
            };
            let shaped = steps.iter().map(|step| {
                let shaper = Shaper::bounded(&wish.mask, room.max(STEP_BYTES_MIN));
                step.shown(&shaper)
            });
            let shaped: Vec<Value> = shaped.collect();
            reader.show(json!({"task": self.task, "steps": shaped}).to_string());
        }
    }
}
