//! What a client's batch must be to get into a log, and the changes the topic's configuration asks for.

use bytes::Bytes;
use kafka_records::{Batch, Compression, seal, set_log_append_time, set_max_timestamp};

use super::AppendError;
use crate::log::{LogConfig, TimestampType};

/// A batch that may be appended.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) batch: Batch,
    /// When it was appended, -1 where records keep their own time.
    pub(crate) log_append_time: i64,
}

/// Takes the single batch of a produce request for one partition and checks its bytes.
pub(crate) fn single_batch(records: &Bytes) -> Result<Batch, AppendError> {
    let batch = Batch::parse(records)?;
    if batch.bytes.len() != records.len() {
        let message =
            "a produce request has more than one batch for a partition; send one at a time";
        return Err(AppendError::new(AppendError::INVALID_RECORD, message));
    }
    batch.verify()?;
    Ok(batch)
}

/// Checks what only a broker may write, and what is not there.
pub(crate) fn check_header(batch: &Batch) -> Result<(), AppendError> {
    let header = &batch.header;
    let invalid = |message: &str| Err(AppendError::new(AppendError::INVALID_RECORD, message));
    if header.is_control() {
        return invalid("clients may not write control batches");
    }
    if header.record_count == 0 {
        return invalid("the batch has no records");
    }
    if header.delete_horizon().is_some() {
        return invalid("clients may not set a delete horizon");
    }
    if header.record_count - 1 != header.last_offset_delta {
        return invalid("the last offset delta is not that of the record count");
    }
    if header.producer_id >= 0 && (header.producer_epoch < 0 || header.base_sequence < 0) {
        return invalid("an idempotent batch needs a producer epoch and a sequence number");
    }
    if header.is_transactional() {
        let message = "transactions are not supported by this broker; unset transactional.id";
        return Err(AppendError::new(AppendError::INVALID_TXN_STATE, message));
    }
    if header.is_log_append_time() {
        let message = "clients may not set the log append time";
        return Err(AppendError::new(AppendError::INVALID_TIMESTAMP, message));
    }
    Ok(())
}

/// Checks the records against the topic's configuration and applies it: codec, time stamps, size.
pub(crate) fn accept(
    batch: Batch,
    config: &LogConfig,
    now_ms: i64,
    decompressed_max: usize,
) -> Result<Accepted, AppendError> {
    // Compressing again may make it smaller, so only what stays as it is can be refused early.
    let codec = batch.header.compression()?;
    let target = config.compression.unwrap_or(codec);
    if target == codec {
        check_size(&batch, config)?;
    }
    let max_timestamp = check_records(&batch, config, now_ms, decompressed_max)?;
    let mut batch = batch;
    if target != codec {
        batch = compress_again(&batch, target, decompressed_max)?;
        check_size(&batch, config)?;
    }
    match config.message_timestamp_type {
        TimestampType::LogAppendTime => {
            let mut bytes = batch.bytes.to_vec();
            set_log_append_time(&mut bytes, now_ms);
            Ok(Accepted {
                batch: Batch::parse(&Bytes::from(bytes))?,
                log_append_time: now_ms,
            })
        }
        TimestampType::CreateTime => {
            if max_timestamp != batch.header.max_timestamp {
                let mut bytes = batch.bytes.to_vec();
                set_max_timestamp(&mut bytes, max_timestamp);
                batch = Batch::parse(&Bytes::from(bytes))?;
            }
            Ok(Accepted {
                batch,
                log_append_time: -1,
            })
        }
    }
}

fn check_size(batch: &Batch, config: &LogConfig) -> Result<(), AppendError> {
    let bytes = batch.bytes.len();
    if bytes <= config.max_message_bytes {
        return Ok(());
    }
    let max = config.max_message_bytes;
    let message = format!(
        "record batch has {bytes} bytes but the topic's max.message.bytes is {max}; raise it or send smaller batches"
    );
    Err(AppendError::new(AppendError::MESSAGE_TOO_LARGE, message))
}

/// Answers the largest timestamp.
fn check_records(
    batch: &Batch,
    config: &LogConfig,
    now_ms: i64,
    decompressed_max: usize,
) -> Result<i64, AppendError> {
    let needs_keys = config.cleanup_policy.compact;
    let bounded = config.message_timestamp_type == TimestampType::CreateTime;
    let oldest = now_ms.saturating_sub(config.message_timestamp_before_max_ms);
    let newest = now_ms.saturating_add(config.message_timestamp_after_max_ms);
    let mut max_timestamp = i64::MIN;
    let mut in_order = true;
    let mut keyless = Vec::new();
    let mut mistimed = Vec::new();
    batch.inspect(decompressed_max, |record| {
        in_order &= record.offset_delta == record.index;
        max_timestamp = max_timestamp.max(record.timestamp);
        if needs_keys && !record.has_key {
            keyless.push((
                record.index,
                "a record of a compacted topic needs a key".to_owned(),
            ));
        }
        let outside = record.timestamp < oldest || record.timestamp > newest;
        if bounded && outside && record.timestamp != -1 {
            let reason = format!(
                "timestamp {} is outside {oldest} to {newest}",
                record.timestamp
            );
            mistimed.push((record.index, reason));
        }
    })?;
    if !in_order {
        let message = "the records' offset deltas do not count up from 0";
        return Err(AppendError::new(AppendError::INVALID_RECORD, message));
    }
    if !keyless.is_empty() {
        let message = format!(
            "{} records of the batch have no key but the topic is compacted; set keys",
            keyless.len()
        );
        return Err(AppendError::of_records(
            AppendError::INVALID_RECORD,
            message,
            keyless,
        ));
    }
    if !mistimed.is_empty() {
        let message = format!(
            "{} records of the batch have timestamps outside what message.timestamp.before.max.ms and message.timestamp.after.max.ms allow; set the producer's clock or raise them",
            mistimed.len()
        );
        return Err(AppendError::of_records(
            AppendError::INVALID_TIMESTAMP,
            message,
            mistimed,
        ));
    }
    Ok(max_timestamp)
}

fn compress_again(
    batch: &Batch,
    target: Compression,
    decompressed_max: usize,
) -> Result<Batch, AppendError> {
    let records = batch.payload(decompressed_max)?;
    Ok(Batch::parse(&seal(batch.header, target, &records)?)?)
}
