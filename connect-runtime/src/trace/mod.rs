//! The way of one record through a task, step by step, for those who look: taps and trials.
//!
//! What is noted is what the task itself does with the record, never a second attempt at it: transforms of
//! authors may count. Nothing of this exists for a record that nobody looks at.

mod shape;
mod snapshot;
mod step;

pub(crate) use shape::{Mask, Shaper};
pub(crate) use snapshot::Snapshot;
pub(crate) use step::{Fate, Point, Step, What};

use std::sync::Arc;

use connect_core::transform::RecordView;

use crate::tolerance::{BadRecord, Stage};

/// Whoever follows a record through the transforms.
pub(crate) trait Watcher {
    /// An attempt begins; what was noted of an earlier one counts no more.
    fn begin(&mut self) {}
    /// A transform has passed it on.
    fn passed(&mut self, _alias: &Arc<str>, _class: &'static str, _record: &RecordView<'_>) {}
    /// Its predicate keeps a transform away from it.
    fn not_applied(&mut self, _alias: &Arc<str>, _class: &'static str) {}
    /// A transform has dropped it.
    fn dropped(&mut self, _alias: &Arc<str>, _class: &'static str) {}
    /// A transform has failed.
    fn failed(&mut self, _alias: &Arc<str>, _class: &'static str) {}
}

/// Nobody looks; costs nothing.
pub(crate) struct Nobody;

impl Watcher for Nobody {}

/// What happened to one record so far.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) steps: Vec<Step>,
    /// The transform that has failed, until it is known what becomes of the record.
    failing: Option<(Arc<str>, &'static str)>,
}

impl Trace {
    /// It was seen like this.
    pub(crate) fn saw(&mut self, point: Point, record: Snapshot) {
        self.steps.push(Step {
            point,
            what: What::Record(record),
        });
    }

    /// It failed, and this becomes of it.
    pub(crate) fn failed(&mut self, bad: &BadRecord, fate: Fate) {
        let point = match (self.failing.take(), bad.stage) {
            (Some((alias, class)), _) => Point::Transform { alias, class },
            (None, Stage::Poll) => Point::Polled,
            (None, Stage::Put) => Point::Put,
            (None, _) => Point::Converter { class: bad.class },
        };
        self.steps.push(Step {
            point,
            what: What::Failed {
                error: bad.error.report(),
                fate,
            },
        });
    }

    fn transform(&mut self, alias: &Arc<str>, class: &'static str, what: What) {
        let alias = Arc::clone(alias);
        self.steps.push(Step {
            point: Point::Transform { alias, class },
            what,
        });
    }
}

impl Watcher for Trace {
    fn begin(&mut self) {
        self.failing = None;
        self.steps
            .retain(|step| !matches!(step.point, Point::Transform { .. }));
    }

    fn passed(&mut self, alias: &Arc<str>, class: &'static str, record: &RecordView<'_>) {
        self.transform(alias, class, What::Record(Snapshot::of_view(record)));
    }

    fn not_applied(&mut self, alias: &Arc<str>, class: &'static str) {
        self.transform(alias, class, What::NotApplied);
    }

    fn dropped(&mut self, alias: &Arc<str>, class: &'static str) {
        self.transform(alias, class, What::Dropped);
    }

    fn failed(&mut self, alias: &Arc<str>, class: &'static str) {
        self.failing = Some((Arc::clone(alias), class));
    }
}
