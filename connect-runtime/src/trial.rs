//! A connector's converters, transforms and treatment of bad records, tried on records that somebody gives:
//! without the connector, a worker or a broker.
//!
//! It is the code that tasks run, not a copy of it. What may work later is not tried again here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use connect_core::{ConnectError, ConnectorKind, SourceRecord};
use kafka_client::Record;
use serde_json::Value;

use crate::config::connector::{ConnectorConfig, ErrorPolicy};
use crate::converters::Converters;
use crate::sink::Inlet;
use crate::source::Batcher;
use crate::tolerance::{BadRecord, Consumed, Tolerance};
use crate::trace::{Fate, Mask, Shaper, Trace};
use crate::transforms::Transforms;

/// What a connector's tasks would do with records.
pub struct Trial {
    way: Way,
    tolerance: Arc<Tolerance>,
    mask: Mask,
}

enum Way {
    Source(Box<Batcher>),
    Sink(Inlet),
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It would be written to a topic.
    Sent,
    /// It would be given to the sink.
    Put,
    /// A transform has dropped it.
    Dropped,
    /// It failed, and the task would go on without it.
    Skipped,
    /// It failed, and the task with it.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sent => "sent",
            Self::Put => "put",
            Self::Dropped => "dropped",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        })
    }
}

/// The way of one record.
#[derive(Debug, Clone)]
pub struct Tried {
    /// How it ended.
    pub outcome: Outcome,
    /// Every step, as a tap shows it.
    pub steps: Vec<Value>,
}

impl Trial {
    /// That of a connector. Fields of these names are not shown.
    ///
    /// # Errors
    /// A converter or transform cannot be set up.
    pub fn of(config: &ConnectorConfig, masked: Vec<String>) -> Result<Self, ConnectError> {
        let policy = ErrorPolicy {
            retry_timeout: Some(Duration::ZERO),
            ..config.errors.clone()
        };
        let converters = Arc::new(Converters::of(config)?);
        let transforms = Transforms::of(&config.resolved)?;
        let tolerance = |policy| Tolerance::alone(&config.name, policy);
        let shared = Arc::new(tolerance(policy.clone()));
        let tap = Default::default();
        Ok(Self {
            way: match config.kind {
                ConnectorKind::Source => {
                    let batcher = Batcher::new(transforms, converters, tolerance(policy), tap);
                    Way::Source(Box::new(batcher))
                }
                ConnectorKind::Sink => Way::Sink(Inlet {
                    converters,
                    transforms,
                    tolerance: Arc::clone(&shared),
                    tap,
                }),
            },
            tolerance: shared,
            mask: Mask {
                fields: masked,
                secrets: false,
            },
        })
    }

    /// A record as a source gives it.
    ///
    /// # Errors
    /// The connector is a sink.
    pub async fn polled(&self, record: SourceRecord) -> Result<Tried, ConnectError> {
        let Way::Source(batcher) = &self.way else {
            return Err(ConnectError::fatal("a sink polls nothing"));
        };
        let mut trace = Trace::default();
        let outcome = batcher.traced(record, &mut trace).await;
        Ok(self.tried(&trace, outcome, Outcome::Sent))
    }

    /// A record as it is in a topic.
    ///
    /// # Errors
    /// The connector is a source.
    pub async fn consumed(
        &self,
        topic: &str,
        partition: i32,
        record: &Record,
    ) -> Result<Tried, ConnectError> {
        let Way::Sink(inlet) = &self.way else {
            return Err(ConnectError::fatal("a source consumes nothing"));
        };
        let consumed = Consumed {
            topic,
            partition,
            record,
        };
        let mut trace = Trace::default();
        let outcome = inlet.traced(&topic.into(), consumed, &mut trace).await;
        Ok(self.tried(&trace, outcome, Outcome::Put))
    }

    fn tried<T>(
        &self,
        trace: &Trace,
        outcome: Result<Option<T>, BadRecord>,
        kept: Outcome,
    ) -> Tried {
        let shaper = Shaper::whole(&self.mask);
        Tried {
            outcome: match outcome {
                Ok(Some(_)) => kept,
                Ok(None) => Outcome::Dropped,
                Err(bad) => match self.tolerance.fate(&bad.error) {
                    Fate::FailsTask => Outcome::Failed,
                    Fate::Skipped | Fate::Letter(_) => Outcome::Skipped,
                },
            },
            steps: trace.steps.iter().map(|step| step.shown(&shaper)).collect(),
        }
    }
}
