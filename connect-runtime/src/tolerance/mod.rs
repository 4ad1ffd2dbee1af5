//! What happens to records that fail (KIP-298): tried again, then the end of the task, or skipped,
//! logged and sent to the dead letter queue.
//!
//! Nothing here is done for a record that does not fail.

mod attempts;
mod dead_letters;
mod letter;
mod rate;

use std::fmt;
use std::sync::Arc;

use connect_core::{ConnectError, ErrorClass, SourceRecord, TaskId};
use kafka_client::{ProducerRecord, Record};

use crate::config::connector::ErrorPolicy;
use crate::metrics::{ErrorMeter, TaskMeter};
use crate::task::{Setup, TaskFailure};
use crate::trace::Fate;

pub(crate) use dead_letters::{DeadLetterQueue, ensure_topic};
use rate::RateBreaker;
pub use rate::RatePolicy;

/// What was done with a record when it failed; the names are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Transformation,
    KeyConverter,
    ValueConverter,
    HeaderConverter,
    Poll,
    Put,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Transformation => "TRANSFORMATION",
            Self::KeyConverter => "KEY_CONVERTER",
            Self::ValueConverter => "VALUE_CONVERTER",
            Self::HeaderConverter => "HEADER_CONVERTER",
            Self::Poll => "TASK_POLL",
            Self::Put => "TASK_PUT",
        }
    }
}

/// Why a record goes no further, and who said so.
#[derive(Debug)]
pub(crate) struct BadRecord {
    pub(crate) stage: Stage,
    /// The class of the plugin.
    pub(crate) class: &'static str,
    pub(crate) error: ConnectError,
}

impl BadRecord {
    /// A sink refused it; as in Kafka the class is that of all sink tasks.
    pub(crate) fn put(error: ConnectError) -> Self {
        Self {
            stage: Stage::Put,
            class: "org.apache.kafka.connect.sink.SinkTask",
            error,
        }
    }

    /// A source could not read it.
    pub(crate) fn poll(error: ConnectError) -> Self {
        Self {
            stage: Stage::Poll,
            class: "org.apache.kafka.connect.source.SourceTask",
            error,
        }
    }
}

impl BadRecord {
    /// Puts `context` and a colon before the message of the error.
    pub(crate) fn context(self, context: impl fmt::Display) -> Self {
        Self {
            error: self.error.context(context),
            ..self
        }
    }
}

/// A record as it was consumed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Consumed<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) record: &'a Record,
}

impl fmt::Display for Consumed<'_> {
    /// As Kafka's log has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "consumed record is {{topic='{}', partition={}, offset={}, timestamp={}}}",
            self.topic, self.partition, self.record.offset, self.record.timestamp
        )
    }
}

/// How one task treats records that fail.
pub(crate) struct Tolerance {
    id: TaskId,
    policy: ErrorPolicy,
    meter: Arc<TaskMeter>,
    /// Stops the task when too many records fail, if that is wanted.
    rate: Option<RateBreaker>,
}

impl Tolerance {
    /// That of a task.
    pub(crate) fn of(setup: &Setup) -> Self {
        Self {
            id: setup.id.clone(),
            rate: setup.connector.errors.rate.clone().map(RateBreaker::new),
            policy: setup.connector.errors.clone(),
            meter: Arc::clone(&setup.meter),
        }
    }

    /// That of a task which does not run.
    pub(crate) fn alone(connector: &str, policy: ErrorPolicy) -> Self {
        Self {
            id: TaskId {
                connector: connector.into(),
                task: 0,
            },
            rate: policy.rate.clone().map(RateBreaker::new),
            policy,
            meter: Arc::new(TaskMeter::new(crate::metrics::Sampling::default())),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_tests(policy: ErrorPolicy) -> Self {
        Self::alone("files", policy)
    }

    /// What becomes of a record with this error.
    pub(crate) fn fate(&self, error: &ConnectError) -> Fate {
        match &self.policy.dead_letters {
            _ if !self.takes(error) => Fate::FailsTask,
            Some(queue) => Fate::Letter(queue.topic.as_str().into()),
            None => Fate::Skipped,
        }
    }

    fn errors(&self) -> &ErrorMeter {
        &self.meter.errors
    }

    pub(crate) fn policy(&self) -> &ErrorPolicy {
        &self.policy
    }

    /// Whether records that fail are skipped, for which they may be needed as they were.
    pub(crate) fn skips(&self) -> bool {
        self.policy.tolerate_all
    }

    /// Whether records that fail go to a queue.
    pub(crate) fn has_queue(&self) -> bool {
        self.skips() && self.policy.dead_letters.is_some()
    }

    /// Decides about a record of a sink: skipped, with a letter for the queue if there is one, or the
    /// end of the task.
    pub(crate) fn consumed(
        &self,
        bad: BadRecord,
        consumed: Consumed<'_>,
    ) -> Result<Option<ProducerRecord>, TaskFailure> {
        self.judge(&bad, Some(&consumed)).map_err(|failure| {
            let Consumed {
                topic,
                partition,
                record,
            } = consumed;
            match bad.stage {
                // The task does not say where the record is from, all others do.
                Stage::Put => {
                    failure.context(format_args!("{topic}-{partition} offset {}", record.offset))
                }
                _ => failure,
            }
        })?;
        let queue = self.policy.dead_letters.as_ref();
        Ok(queue.map(|queue| {
            self.errors().letter();
            letter::of_consumed(&self.id, queue, &bad, consumed)
        }))
    }

    /// Decides about a record of a source, which may be unknown.
    pub(crate) fn produced(
        &self,
        bad: BadRecord,
        record: Option<&SourceRecord>,
    ) -> Result<Option<ProducerRecord>, TaskFailure> {
        let shown = record.filter(|_| self.policy.log && self.policy.log_messages);
        let shown = shown.map(|record| format!("source record is {record:?}"));
        let shown = shown.as_ref().map(|shown| shown as &dyn fmt::Display);
        self.judge(&bad, shown)?;
        let queue = self.policy.dead_letters.as_ref().zip(record);
        Ok(queue.map(|(queue, record)| {
            self.errors().letter();
            letter::of_produced(&self.id, queue, &bad, record)
        }))
    }

    /// A batch of so many records comes.
    pub(crate) fn comes(&self, records: usize) {
        if let Some(rate) = &self.rate {
            rate.comes(records);
        }
    }

    /// Whether so few records fail that the task may go on; asked between two batches.
    ///
    /// # Errors
    /// Too many have failed.
    pub(crate) fn check_rate(&self) -> Result<(), TaskFailure> {
        self.rate.as_ref().map_or(Ok(()), RateBreaker::check)
    }

    /// Decides about a record of which only the error is known.
    pub(crate) fn unknown(&self, bad: &BadRecord) -> Result<(), TaskFailure> {
        self.judge(bad, None)
    }

    /// Whether a task's report of a record is taken.
    pub(crate) fn takes(&self, error: &ConnectError) -> bool {
        self.skips() && is_about_a_record(error)
    }

    fn judge(&self, bad: &BadRecord, record: Option<&dyn fmt::Display>) -> Result<(), TaskFailure> {
        // What is retriable was tried for as long as it may be. That the world outside is away says nothing
        // about the record, which must not be lost for it: the task ends and begins anew until it is back.
        let is_bad = bad.error.class() == ErrorClass::Record;
        if self.policy.log && is_bad {
            self.log(bad, record);
            self.errors().logged();
        }
        let skips = self.skips() && is_bad;
        self.errors().failed(1, skips);
        match skips {
            true => {
                if let Some(rate) = &self.rate {
                    rate.skipped(1, &bad.error.report());
                }
                Ok(())
            }
            false => Err((&bad.error).into()),
        }
    }

    /// Kafka's words, which people look for.
    fn log(&self, bad: &BadRecord, record: Option<&dyn fmt::Display>) {
        let (stage, class) = (bad.stage.name(), bad.class);
        let place = record.filter(|_| self.policy.log_messages);
        let place = place.map(|record| format!(", where {record}"));
        tracing::error!(
            "Error encountered in task {}. Executing stage '{stage}' with class '{class}'{}: {}",
            self.id,
            place.unwrap_or_default(),
            bad.error.report()
        );
    }
}

/// A task that reports a record says itself that it is done with it.
fn is_about_a_record(error: &ConnectError) -> bool {
    matches!(error.class(), ErrorClass::Record | ErrorClass::Retriable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_no_reason_to_skip_a_record() {
        let tolerance = Tolerance::for_tests(ErrorPolicy {
            tolerate_all: true,
            ..ErrorPolicy::default()
        });
        let failed = |error| BadRecord {
            stage: Stage::ValueConverter,
            class: "org.example.Converter",
            error,
        };
        let bad = failed(ConnectError::record("not the schema's"));
        assert_eq!(tolerance.unknown(&bad), Ok(()));
        let away = failed(ConnectError::retriable("the registry does not answer"));
        let failure = tolerance.unknown(&away).unwrap_err();
        assert_eq!(failure.cause, crate::task::Cause::Outage);
    }
}
