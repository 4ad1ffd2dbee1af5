//! Following: a log that becomes the same as its leader's, byte for byte.
//!
//! What is written is exactly what the leader sent, with its offsets and epochs. Where this log has something else, it
//! is cut back to where both still agree, which the epochs tell (KIP-101, KIP-595), never the high watermark.
//!
//! A follower of a compacted topic makes things durable in the same order as the leader does: first all other
//! partitions of this node, then the batches. Else a power cut of all nodes could leave offsets without the records
//! they cover.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use kafka_records::{Batch, BatchHeader, RecordError, batches};

use super::{AppendError, Partition};
use crate::error_code;
use crate::log::{Appender, LogError, Placed};

impl Partition {
    /// Appends what a leader sent: whole batches that go on where this log ends, with their own offsets and epochs.
    /// The leader's high watermark and log start are taken over as far as this log reaches. Without records, only
    /// those are.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER` if this node does not follow in `leader_epoch`, `CORRUPT_MESSAGE` for batches that are
    /// damaged or do not go on here, the disk's. Batches before the bad one are appended.
    pub(crate) async fn append_as_follower(
        &self,
        leader_epoch: i32,
        records: Bytes,
        high_watermark: i64,
        log_start: i64,
    ) -> Result<(), AppendError> {
        if records.is_empty() && log_start <= self.log().start() {
            return self.take_over(leader_epoch, high_watermark);
        }
        let partition = self.shared();
        platform::blocking::run(move || {
            partition.copy(leader_epoch, records)?;
            partition.follow_start(leader_epoch, log_start)?;
            partition.take_over(leader_epoch, high_watermark)
        })
        .await
        .inspect_err(|error| self.note_failure(error.code()))
    }

    /// Writes the leader's batches. Blocks.
    fn copy(&self, leader_epoch: i32, records: Bytes) -> Result<(), AppendError> {
        if records.is_empty() {
            return Ok(());
        }
        let config = self.config();
        let durable = self.is_durable(&config);
        if durable {
            self.barrier().flush()?;
        }
        let now_ms = platform::clock::unix_millis();
        let mut appender = self.log().appender();
        self.check_follows(leader_epoch)?;
        appender.finish_cut()?;
        let before = self.log().end();
        let copied = copy_batches(&mut appender, records, leader_epoch, before, now_ms);
        let end = self.log().end();
        if end > before {
            let flush_now =
                durable || end.saturating_sub(self.log().flushed()) >= config.flush_messages;
            if flush_now && let Err(error) = self.log().flush() {
                // Whether they are on disk is not known; the leader must not count them.
                if let Err(error) = appender.truncate_from(before) {
                    tracing::error!(%error, topic = %self.topic(), partition = self.index(), "cannot cut off records that were not made durable");
                }
                return Err(error.into());
            }
            if !flush_now {
                self.note_unflushed(now_ms);
            }
            self.finished.send_replace(end);
        }
        copied
    }

    fn check_follows(&self, leader_epoch: i32) -> Result<(), AppendError> {
        if self.is_deleted() {
            return Err(self.deleted_error().into());
        }
        if self.roles.lock().follows_in(leader_epoch) {
            return Ok(());
        }
        Err(AppendError::new(
            error_code::NOT_LEADER_OR_FOLLOWER,
            format!(
                "{}-{} does not follow in leader epoch {leader_epoch} any more",
                self.topic(),
                self.index()
            ),
        ))
    }

    /// Raises the log's start to the leader's. Blocks.
    fn follow_start(&self, leader_epoch: i32, log_start: i64) -> Result<(), AppendError> {
        if log_start <= self.log().start() {
            return Ok(());
        }
        {
            let _appender = self.log().appender();
            self.check_follows(leader_epoch)?;
            let start = self.log().raise_start(log_start.min(self.log().end()));
            self.raise_high_watermark(start);
        }
        let now_ms = platform::clock::unix_millis();
        self.log().remove_below_start(now_ms)?;
        Ok(())
    }

    /// Takes over the leader's high watermark.
    fn take_over(&self, leader_epoch: i32, high_watermark: i64) -> Result<(), AppendError> {
        self.check_follows(leader_epoch)?;
        let roles = self.roles.lock();
        let end = *self.finished.borrow();
        if roles.follows_in(leader_epoch) {
            self.raise_high_watermark(high_watermark.min(end));
            if high_watermark >= 0 && end >= high_watermark {
                // Everything that was acknowledged is here again.
                self.log().trust_tail();
            }
        }
        Ok(())
    }

    /// Cuts off what this follower has and its leader does not: the leader's last epoch that is at most this log's,
    /// and where it ends. Answers where to fetch from now; may have to be repeated with the leader's next answer.
    ///
    /// # Errors
    /// [`LogError::Io`]; nothing is appended before the cut is complete.
    pub(crate) async fn truncate_to_leader(
        &self,
        leader_epoch: i32,
        diverging_epoch: i32,
        end_offset: i64,
    ) -> Result<i64, LogError> {
        let partition = self.shared();
        platform::blocking::run(move || {
            partition.truncate(leader_epoch, |partition, end| {
                let own = partition.log().epochs.lock().floor(diverging_epoch, end);
                match own {
                    Some((epoch, own_end)) if epoch == diverging_epoch => own_end.min(end_offset),
                    // The leader's epoch is not here; it may not have the one that is, either.
                    Some((_, own_end)) => own_end,
                    None => end_offset,
                }
                .min(end)
            })
        })
        .await
        .inspect_err(|error| self.note_failure(error.code()))
    }

    /// Throws away everything and begins anew at `offset`: the leader's log starts after this one's end, or this log
    /// is damaged.
    ///
    /// # Errors
    /// [`LogError::Io`]; nothing is appended before the rest is gone, and the call may be repeated.
    pub(crate) async fn restart_at(&self, leader_epoch: i32, offset: i64) -> Result<(), LogError> {
        let partition = self.shared();
        platform::blocking::run(move || {
            // An offset before the start leaves nothing, wherever the log ends.
            let _reading = partition.reading.write();
            let structure = partition.log().structure.lock();
            let mut appender = partition.log().appender();
            if !partition.may_cut(leader_epoch)? {
                return Ok(());
            }
            partition.begin_anew(&mut appender, offset)?;
            drop(appender);
            drop(structure);
            partition.checkpoint_cut()
        })
        .await
        .inspect_err(|error| self.note_failure(error.code()))
    }

    /// Throws away a log with damaged records, of which the leader has all; it is copied from where this one started.
    ///
    /// # Errors
    /// As [`restart_at`](Self::restart_at).
    pub(crate) async fn replace_damaged(&self, leader_epoch: i32) -> Result<(), LogError> {
        self.restart_at(leader_epoch, self.log().start()).await?;
        self.damaged.store(false, Ordering::Release);
        if let Some(replicas) = self.owner() {
            replicas.repaired(self);
        }
        Ok(())
    }

    fn may_cut(&self, leader_epoch: i32) -> Result<bool, LogError> {
        if self.is_deleted() {
            return Err(self.deleted_error());
        }
        Ok(self.roles.lock().follows_in(leader_epoch))
    }

    fn begin_anew(&self, appender: &mut Appender<'_>, offset: i64) -> Result<(), LogError> {
        tracing::warn!(
            topic = %self.topic(), partition = self.index(), offset,
            log_start = self.log().start(), log_end = self.log().end(), bytes = self.log().size_bytes(),
            "a follower throws away its log and copies the leader's"
        );
        let result = appender.begin_anew(offset, platform::clock::unix_millis());
        self.log_was_cut();
        result
    }

    /// What readers and the leader see after a cut, also one that failed half-way.
    fn log_was_cut(&self) {
        let _roles = self.roles.lock();
        let end = self.log().end();
        self.finished.send_replace(end);
        self.high_watermark.send_if_modified(|high_watermark| {
            let within = (*high_watermark).clamp(self.log().start(), end);
            std::mem::replace(high_watermark, within) != within
        });
        self.log().set_committed(*self.high_watermark.borrow());
    }

    /// Cuts the log to where `wanted` says, given its end. Blocks.
    fn truncate(
        &self,
        leader_epoch: i32,
        wanted: impl FnOnce(&Self, i64) -> i64,
    ) -> Result<i64, LogError> {
        let flushed = {
            let _reading = self.reading.write();
            let _structure = self.log().structure.lock();
            let mut appender = self.log().appender();
            if !self.may_cut(leader_epoch)? {
                return Ok(self.log().end());
            }
            appender.finish_cut()?;
            let (end, flushed) = (self.log().end(), self.log().flushed());
            let to = self.batch_boundary(wanted(self, end), end);
            if to < self.log().start() {
                self.begin_anew(&mut appender, to)?;
            } else {
                self.report_cut(to, end);
                let cut = appender.truncate_exactly(to);
                self.log_was_cut();
                cut?;
            }
            flushed
        };
        if self.log().end() < flushed {
            // Else records that are appended there would be taken for durable after a crash.
            self.checkpoint_cut()?;
        }
        Ok(self.log().end())
    }

    /// `offset`, or the start of the batch it lies in: batches go as a whole. A leader whose log starts within a batch
    /// may name such an offset.
    fn batch_boundary(&self, offset: i64, end: i64) -> i64 {
        if offset >= end || offset < self.log().start() {
            return offset;
        }
        match self.log().read(offset, 1, end) {
            Ok(records) => {
                BatchHeader::parse(&records).map_or(offset, |header| header.base_offset.min(offset))
            }
            // What is damaged goes all the same.
            Err(_) => offset,
        }
    }

    fn report_cut(&self, to: i64, end: i64) {
        let high_watermark = *self.high_watermark.borrow();
        if to < high_watermark {
            tracing::warn!(
                topic = %self.topic(), partition = self.index(), to, end, high_watermark,
                "a follower cuts off committed records, which its leader does not have"
            );
        } else if to < end {
            tracing::info!(
                topic = %self.topic(), partition = self.index(), to, end,
                "a follower cuts off records that its leader does not have"
            );
        }
    }

    /// Epoch of the last record, or of a later leadership of this node; -1 if there is none.
    pub(crate) fn last_epoch(&self) -> i32 {
        self.log().epochs.lock().latest().unwrap_or(-1)
    }
}

fn corrupt(reason: String) -> AppendError {
    AppendError::new(AppendError::CORRUPT_MESSAGE, reason)
}

/// Appends batch by batch, as long as they are good and go on where the log ends.
fn copy_batches(
    appender: &mut Appender<'_>,
    records: Bytes,
    leader_epoch: i32,
    before: i64,
    now_ms: i64,
) -> Result<(), AppendError> {
    let mut end = before;
    for batch in batches(records) {
        let batch = match batch {
            Ok(batch) => batch,
            // An answer may end within a batch; it comes again.
            Err(RecordError::Truncated { .. }) if end > before => return Ok(()),
            Err(error) => return Err(corrupt(error.to_string())),
        };
        batch.verify().map_err(|error| corrupt(error.to_string()))?;
        if batch.header.next_offset() <= end {
            // The answer to a fetch may begin earlier.
            continue;
        }
        check_goes_on(appender, &batch, end, leader_epoch)?;
        let Some((prefix, rest)) = batch.bytes.split_first_chunk::<16>() else {
            return Err(corrupt("the batch has no header".to_owned()));
        };
        let placed = Placed {
            header: batch.header,
            prefix: *prefix,
            rest,
        };
        appender.append(&placed, now_ms)?;
        end = batch.header.next_offset();
    }
    Ok(())
}

fn check_goes_on(
    appender: &Appender<'_>,
    batch: &Batch,
    end: i64,
    leader_epoch: i32,
) -> Result<(), AppendError> {
    let header = &batch.header;
    let epoch = header.partition_leader_epoch;
    let known = appender.latest_epoch();
    if header.base_offset < end || header.last_offset_delta < 0 {
        return Err(corrupt(format!(
            "the leader sent offsets {} to {} for a log that ends at {end}",
            header.base_offset,
            header.last_offset()
        )));
    }
    if epoch > leader_epoch || epoch < known {
        return Err(corrupt(format!(
            "the leader of epoch {leader_epoch} sent a batch of epoch {epoch} at offset {}, after one of epoch {known}",
            header.base_offset
        )));
    }
    Ok(())
}
