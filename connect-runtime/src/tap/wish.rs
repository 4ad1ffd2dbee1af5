//! What a reader of a tap wants to see.

use crate::trace::{Mask, Point, Step};

/// See the fields.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// Names of stages, or `transform:` and the name of one; empty for all.
    pub(crate) stages: Vec<String>,
    /// Of this task only.
    pub(crate) task: Option<u32>,
    /// Every so many records.
    pub(crate) every: u64,
    /// At most so many records in a second.
    pub(crate) rate: u32,
    /// What is not shown of them.
    pub(crate) mask: Mask,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            stages: Vec::new(),
            task: None,
            every: 1,
            rate: 10,
            mask: Mask {
                fields: Vec::new(),
                secrets: true,
            },
        }
    }
}

impl Wish {
    pub(super) fn wants(&self, step: &Step) -> bool {
        self.stages.is_empty() || self.stages.iter().any(|stage| is_at(step, stage))
    }
}

fn is_at(step: &Step, stage: &str) -> bool {
    match (&step.point, stage.strip_prefix("transform:")) {
        (Point::Transform { alias, .. }, Some(name)) => **alias == *name,
        (_, Some(_)) => false,
        (point, None) => point.name() == stage,
    }
}
