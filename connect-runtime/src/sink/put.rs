//! One put: what was fetched goes to the task, and records that fail to the dead letter queue.
//!
//! Invariants: the loop hears that a put was taken only when its dead letters are acknowledged; a call
//! of the task is never dropped half-way, everything else ends when nobody waits for the put any more.

use std::ops::Range;
use std::sync::Weak;
use std::time::Duration;

use connect_core::context::TaskControl;
use connect_core::{ConnectError, ErrorClass, PutOutcome, SinkRecord, SinkTask};
use kafka_client::{ClientError, FetchedBatch, ProducerRecord};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::convert::{Batch, Inlet, Place, Source, halves};
use super::requests::SinkRequests;
use super::room::PutReply;
use super::{BROKER_PATIENCE, PUT_RETRY};
use crate::backoff::Backoff;
use crate::metrics::TaskMeter;
use crate::room::{Activity, Patience};
use crate::task::TaskFailure;
use crate::tolerance::{BadRecord, DeadLetterQueue};

/// What one put needs.
pub(super) struct Put<'a> {
    pub(super) task: &'a mut dyn SinkTask,
    pub(super) inlet: &'a Inlet,
    pub(super) activity: &'a Activity,
    pub(super) meter: &'a TaskMeter,
    pub(super) requests: &'a SinkRequests,
    pub(super) dead_letters: Option<&'a Weak<DeadLetterQueue>>,
}

/// Why a put did not go through.
enum Stop {
    /// Nobody waits for it any more.
    Left,
    /// The task has taken nothing, and may take it later.
    NotTaken(ConnectError),
    Failed(TaskFailure),
}

impl From<TaskFailure> for Stop {
    fn from(failure: TaskFailure) -> Self {
        Self::Failed(failure)
    }
}

impl Put<'_> {
    /// Does it; `None` if nobody waits for it any more.
    pub(super) async fn run(
        mut self,
        fetched: Vec<FetchedBatch>,
        reply: &mut oneshot::Sender<PutReply>,
    ) -> Option<PutReply> {
        match self.all(fetched, reply).await {
            Ok(()) => Some(PutReply::Taken),
            Err(Stop::NotTaken(error)) => Some(PutReply::NotTaken(error)),
            Err(Stop::Failed(failure)) => Some(PutReply::Failed(failure)),
            Err(Stop::Left) => None,
        }
    }

    async fn all(
        &mut self,
        fetched: Vec<FetchedBatch>,
        reply: &mut oneshot::Sender<PutReply>,
    ) -> Result<(), Stop> {
        let converted = unless_left(reply, self.inlet.convert(fetched)).await?;
        let (batch, sources) = converted?;
        let Batch {
            records,
            places,
            mut letters,
        } = batch;
        match self.call(records).await {
            Ok(outcome) => self.refused(outcome, &sources, &places, &mut letters)?,
            Err(error) => match error.class() {
                ErrorClass::Retriable => return Err(Stop::NotTaken(error)),
                ErrorClass::Record if self.inlet.tolerance.skips() && places.len() > 1 => {
                    self.search(&sources, &places, &mut letters, reply).await?;
                }
                ErrorClass::Record => self.bad(error, &sources, places.first(), &mut letters)?,
                ErrorClass::Configuration | ErrorClass::Fatal => {
                    return Err(Stop::Failed(error.into()));
                }
            },
        }
        let reported = self.requests.take_reported();
        letters.extend(reported.letters());
        let delivered = deliver(letters, self.dead_letters, self.requests, self.meter);
        unless_left(reply, delivered).await??;
        reported.safe();
        self.requests.progress();
        Ok(())
    }

    async fn call(&mut self, records: Vec<SinkRecord>) -> Result<PutOutcome, ConnectError> {
        let (count, begun) = (records.len(), Instant::now());
        let put = self.task.put(records);
        let outcome = self.activity.watch("put", Patience::ReturnsSoon, put).await;
        match &outcome {
            Ok(outcome) => {
                let taken = count.saturating_sub(outcome.failures().len());
                self.meter.put(taken, begun.elapsed());
            }
            Err(error) if error.is_retriable() => self.meter.errors.retried(),
            Err(_) => {}
        }
        outcome
    }

    /// Finds the bad records of a batch that was refused as a whole: puts its halves, and the halves of
    /// those that are refused, in order.
    async fn search(
        &mut self,
        sources: &[Source],
        places: &[Place],
        letters: &mut Vec<ProducerRecord>,
        reply: &mut oneshot::Sender<PutReply>,
    ) -> Result<(), Stop> {
        let retry_max = self.inlet.tolerance.policy().retry_delay_max;
        let mut retry = Backoff::new(PUT_RETRY, retry_max);
        let [first, second] = halves(&(0..places.len()));
        // The last one is the next.
        let mut open: Vec<Range<usize>> = vec![second, first];
        while let Some(range) = open.pop() {
            let part = places.get(range.clone()).unwrap_or_default();
            let again = self.inlet.convert_again(sources, part);
            let batch = unless_left(reply, again).await??;
            letters.extend(batch.letters);
            match self.call(batch.records).await {
                Ok(outcome) => {
                    retry.reset();
                    self.refused(outcome, sources, &batch.places, letters)?;
                }
                Err(error) => match error.class() {
                    // Earlier parts were taken, so it is tried again here rather than all of it.
                    ErrorClass::Retriable => {
                        open.push(range);
                        self.pause(&mut retry, &error, reply).await?;
                    }
                    ErrorClass::Record if range.len() > 1 => {
                        let [first, second] = halves(&range);
                        open.extend([second, first]);
                    }
                    ErrorClass::Record => self.bad(error, sources, part.first(), letters)?,
                    ErrorClass::Configuration | ErrorClass::Fatal => {
                        return Err(Stop::Failed(error.into()));
                    }
                },
            }
        }
        Ok(())
    }

    async fn pause(
        &mut self,
        retry: &mut Backoff,
        error: &ConnectError,
        reply: &mut oneshot::Sender<PutReply>,
    ) -> Result<(), Stop> {
        let counted = retry.failed();
        let pause = self.requests.take_retry_after().unwrap_or(counted);
        let reason = format!(
            "put failed, retry {} in {pause:.1?}: {}",
            retry.failures(),
            error.report()
        );
        tracing::warn!("{reason}");
        self.requests.waiting(reason);
        unless_left(reply, sleep(pause)).await
    }

    /// Decides about the records that the task has listed.
    fn refused(
        &self,
        outcome: PutOutcome,
        sources: &[Source],
        places: &[Place],
        letters: &mut Vec<ProducerRecord>,
    ) -> Result<(), Stop> {
        for failure in outcome.into_failures() {
            self.bad(failure.error, sources, places.get(failure.index), letters)?;
        }
        Ok(())
    }

    /// Decides about one record.
    fn bad(
        &self,
        error: ConnectError,
        sources: &[Source],
        place: Option<&Place>,
        letters: &mut Vec<ProducerRecord>,
    ) -> Result<(), Stop> {
        let tolerance = &self.inlet.tolerance;
        let place = place.and_then(|(source, offset)| Some((sources.get(*source)?, *offset)));
        let original = place.and_then(|(source, offset)| source.original(offset));
        match (original, place) {
            (Some(consumed), _) => {
                letters.extend(tolerance.consumed(BadRecord::put(error), consumed)?);
            }
            (None, Some((source, offset))) => {
                tolerance.unknown(&BadRecord::put(error.context(source.place(offset))))?;
            }
            (None, None) => tolerance.unknown(&BadRecord::put(error))?,
        }
        Ok(())
    }
}

/// Writes letters to the dead letter queue and waits until they are safe.
pub(super) async fn deliver(
    letters: Vec<ProducerRecord>,
    dead_letters: Option<&Weak<DeadLetterQueue>>,
    requests: &SinkRequests,
    meter: &TaskMeter,
) -> Result<(), TaskFailure> {
    let count = letters.len();
    let delivered = deliver_all(letters, dead_letters, requests).await;
    if delivered.is_err() {
        meter.errors.letters_lost(count);
    }
    delivered
}

async fn deliver_all(
    letters: Vec<ProducerRecord>,
    dead_letters: Option<&Weak<DeadLetterQueue>>,
    requests: &SinkRequests,
) -> Result<(), TaskFailure> {
    let Some(queue) = dead_letters.filter(|_| !letters.is_empty()) else {
        return Ok(());
    };
    let Some(queue) = queue.upgrade() else {
        return Err(ClientError::Closed { what: "producer" }.into());
    };
    let mut delivery = std::pin::pin!(queue.deliver(letters));
    if let Ok(delivered) = timeout(BROKER_PATIENCE, &mut delivery).await {
        return delivered;
    }
    let patience: Duration = BROKER_PATIENCE;
    requests.waiting(format!(
        "dead letters were not acknowledged for {} s; check the brokers and the topic \"{}\"",
        patience.as_secs(),
        queue.topic()
    ));
    let delivered = delivery.await;
    requests.progress();
    delivered
}

/// Waits for `work`, unless whoever wants the answer leaves. `work` must be cancel-safe.
async fn unless_left<T>(
    reply: &mut oneshot::Sender<PutReply>,
    work: impl Future<Output = T>,
) -> Result<T, Stop> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = reply.closed() => Err(Stop::Left),
    }
}
