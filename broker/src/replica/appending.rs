//! Appending to a partition that this node leads: batches are checked, get their offsets and are written in the order
//! in which they came, by one thread at a time.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use kafka_records::assign_offsets;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::validation::{self, Accepted};
use super::{AppendError, Appended, Origin, Partition};
use crate::error_code;
use crate::log::{Appender, LogConfig, Placed, Sequence};

/// Topics whose records are durable before they are acknowledged, whatever their configuration.
const DURABLE_TOPICS: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

/// How long a coordinator's append waits to be committed (`offsets.commit.timeout.ms` in Kafka).
const COORDINATOR_COMMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Request {
    records: Bytes,
    origin: Origin,
    answer: oneshot::Sender<Result<Appended, AppendError>>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Request>,
    /// A thread takes from the queue until it is empty.
    served: bool,
}

impl Partition {
    /// Appends one batch: validates it, gives it offsets and writes it.
    ///
    /// Appends take effect in the order of their first poll. Cancelling the future does not undo an append that has
    /// begun. Batches that wait while another is written are written together, with one flush where one is due.
    ///
    /// # Errors
    /// With Kafka's code; nothing was appended then, and the log is as before. The exceptions are
    /// `NOT_LEADER_OR_FOLLOWER` where the node was deposed meanwhile, and all errors of [`Partition::committed`] for a
    /// coordinator: what became of the records is not known then.
    pub async fn append(&self, records: Bytes, origin: Origin) -> Result<Appended, AppendError> {
        let noted = |error: &AppendError| self.note_failure(error.code());
        match origin {
            Origin::Client => self.enqueue(records, origin).await.inspect_err(noted),
            Origin::Coordinator => {
                if let Some((in_sync, needed)) = self.in_sync_shortage() {
                    let error = self.too_few(in_sync, needed);
                    return Err(AppendError::new(error_code::NOT_ENOUGH_REPLICAS, error));
                }
                let deadline = Instant::now() + COORDINATOR_COMMIT;
                let appended = self.enqueue(records, origin).await.inspect_err(noted)?;
                self.committed(appended.leader_epoch, appended.last_offset + 1, deadline)
                    .await
                    .map_err(|code| {
                        AppendError::new(code, "records of a coordinator were not committed")
                    })?;
                Ok(appended)
            }
        }
    }

    /// Says that there are too few in-sync replicas.
    pub(crate) fn too_few(&self, in_sync: usize, needed: usize) -> String {
        format!(
            "topic \"{}\" has {in_sync} in-sync replicas but min.insync.replicas is {needed}; start another broker or lower it",
            self.topic()
        )
    }

    async fn enqueue(&self, records: Bytes, origin: Origin) -> Result<Appended, AppendError> {
        let (answer, mut answered) = oneshot::channel();
        let serve = {
            let mut queue = self.queue.lock();
            queue.waiting.push_back(Request {
                records,
                origin,
                answer,
            });
            !std::mem::replace(&mut queue.served, true)
        };
        if serve {
            let partition = self.shared();
            tokio::select! {
                biased;
                () = platform::blocking::run(move || partition.serve()) => {}
                result = &mut answered => return result.unwrap_or_else(|_| Err(self.gave_up())),
            }
        }
        answered.await.unwrap_or_else(|_| Err(self.gave_up()))
    }

    fn gave_up(&self) -> AppendError {
        AppendError::new(
            -1,
            format!(
                "an append to {}-{} was given up by an internal error; see the log",
                self.topic(),
                self.index()
            ),
        )
    }

    /// Writes what waits in the queue until it is empty. Blocks.
    fn serve(&self) {
        /// Lets another thread serve the queue if this one panics.
        struct Leave<'a>(&'a Partition);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    let mut queue = self.0.queue.lock();
                    queue.served = false;
                    queue.waiting.clear();
                }
            }
        }
        let _leave = Leave(self);
        loop {
            let requests = {
                let mut queue = self.queue.lock();
                if queue.waiting.is_empty() {
                    queue.served = false;
                    return;
                }
                std::mem::take(&mut queue.waiting)
            };
            self.write(requests);
        }
    }

    fn write(&self, requests: VecDeque<Request>) {
        if self.is_deleted() {
            let error = AppendError::from(&self.deleted_error());
            return answer_all(requests, &error);
        }
        let config = self.log().config();
        let durable = self.is_durable(&config)
            || requests
                .iter()
                .any(|request| request.origin == Origin::Coordinator);
        if durable && let Err(error) = self.barrier().flush() {
            return answer_all(requests, &AppendError::from(&error));
        }
        let now_ms = platform::clock::unix_millis();
        let mut appender = self.log().appender();
        // A change of the role waits for the appender, so this holds until it is given back, or what is written is as
        // good as written before the change.
        let epoch = match self.leads(-1) {
            Ok(epoch) => epoch,
            Err(code) => return answer_all(requests, &self.not_leader(code)),
        };
        // Until then the log remembers batches that are not in it.
        if let Err(error) = appender.finish_cut() {
            return answer_all(requests, &AppendError::from(&error));
        }
        let before = self.log().end();
        let mut done = Vec::with_capacity(requests.len());
        for request in requests {
            match self.append_one(
                &mut appender,
                request.records,
                request.origin,
                &config,
                epoch,
                now_ms,
            ) {
                Ok(appended) => done.push((request.answer, appended)),
                Err(error) => answer(request.answer, Err(error)),
            }
        }
        let end = self.log().end();
        let mut leads = true;
        if end > before {
            let flush_now =
                durable || end.saturating_sub(self.log().flushed()) >= config.flush_messages;
            if flush_now && let Err(error) = self.log().flush() {
                // Whether they are on disk is not known, so they must not be in the log. No follower has seen them.
                let cut = appender.truncate_from(before);
                // The cut took the mark of this epoch if it began there.
                let cut = cut.and_then(|()| self.log().epochs.lock().begin(epoch, before));
                if let Err(error) = cut {
                    tracing::error!(%error, topic = %self.topic(), partition = self.index(), "cannot cut off records that were not made durable");
                }
                let error = AppendError::from(&error);
                for (waiting, _) in done {
                    answer(waiting, Err(error.clone()));
                }
                return;
            }
            if !flush_now {
                self.note_unflushed(now_ms);
            }
            leads = self.finish_write(epoch, end);
        }
        drop(appender);
        for (waiting, appended) in done {
            answer(
                waiting,
                if leads {
                    Ok(appended)
                } else {
                    Err(self.not_leader(error_code::NOT_LEADER_OR_FOLLOWER))
                },
            );
        }
    }

    /// Whether records are durable before they are acknowledged.
    pub(super) fn is_durable(&self, config: &LogConfig) -> bool {
        config.cleanup_policy.compact || DURABLE_TOPICS.contains(&&**self.topic())
    }

    fn not_leader(&self, code: i16) -> AppendError {
        AppendError::new(
            code,
            format!(
                "this broker does not lead {}-{}",
                self.topic(),
                self.index()
            ),
        )
    }

    fn append_one(
        &self,
        appender: &mut Appender<'_>,
        records: Bytes,
        origin: Origin,
        config: &LogConfig,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let batch = validation::single_batch(&records)?;
        let log_start_offset = self.log().start();
        let accepted = match origin {
            Origin::Coordinator => Accepted {
                batch,
                log_append_time: -1,
            },
            Origin::Client => {
                validation::check_header(&batch)?;
                if let Some(again) = self.check_sequence(appender, &batch.header)? {
                    return Ok(Appended {
                        log_start_offset,
                        leader_epoch,
                        ..again
                    });
                }
                validation::accept(
                    batch,
                    config,
                    now_ms,
                    self.log().options.decompressed_bytes_max,
                )?
            }
        };
        let bytes = &accepted.batch.bytes;
        let Some((prefix, rest)) = bytes.split_first_chunk::<16>() else {
            return Err(AppendError::new(
                AppendError::CORRUPT_MESSAGE,
                "the batch has no header",
            ));
        };
        let mut prefix = *prefix;
        let mut header = accepted.batch.header;
        header.base_offset = self.log().end();
        header.partition_leader_epoch = leader_epoch;
        assign_offsets(
            &mut prefix,
            header.base_offset,
            header.partition_leader_epoch,
        );
        appender.append(&Placed { header, prefix, rest }, now_ms).map_err(|error| {
            tracing::error!(%error, topic = %self.topic(), partition = self.index(), "append failed");
            AppendError::from(&error)
        })?;
        Ok(Appended {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            log_append_time: accepted.log_append_time,
            log_start_offset,
            leader_epoch,
            duplicate: false,
        })
    }

    /// The earlier answer if the batch is a retry; an error if it is out of order.
    fn check_sequence(
        &self,
        appender: &Appender<'_>,
        batch: &kafka_records::BatchHeader,
    ) -> Result<Option<Appended>, AppendError> {
        let id = batch.producer_id;
        match appender.producers().check(batch) {
            Sequence::Next => Ok(None),
            Sequence::Unknown if self.log().tail_in_doubt() => Err(AppendError::new(
                AppendError::UNKNOWN_PRODUCER_ID,
                format!(
                    "producer {id} goes on with sequence number {} after an unclean stop, and nothing before it is in the log",
                    batch.base_sequence
                ),
            )),
            Sequence::Unknown => Ok(None),
            Sequence::Duplicate(known) => Ok(Some(Appended {
                base_offset: known.base_offset(),
                last_offset: known.last_offset,
                log_append_time: -1,
                log_start_offset: -1,
                leader_epoch: -1,
                duplicate: true,
            })),
            Sequence::OldEpoch { current } => Err(AppendError::new(
                AppendError::INVALID_PRODUCER_EPOCH,
                format!(
                    "producer {id} has epoch {} but the partition knows epoch {current}; another producer took over",
                    batch.producer_epoch
                ),
            )),
            Sequence::Gap { expected } => Err(AppendError::new(
                AppendError::OUT_OF_ORDER_SEQUENCE_NUMBER,
                format!(
                    "producer {id} sent sequence number {} but {expected} comes next",
                    batch.base_sequence
                ),
            )),
        }
    }
}

fn answer(
    waiting: oneshot::Sender<Result<Appended, AppendError>>,
    result: Result<Appended, AppendError>,
) {
    // Who no longer waits was cancelled; the append stands.
    if waiting.send(result).is_err() {
        tracing::trace!("nobody waits for an append");
    }
}

fn answer_all(requests: VecDeque<Request>, error: &AppendError) {
    for request in requests {
        answer(request.answer, Err(error.clone()));
    }
}
