//! The changes that are made to a finished batch: by a broker when it appends it, by a producer when it learns
//! its identity late.

use crate::header::{
    ATTRIBUTES_AT, CRC_AT, EPOCH_AT, LOG_APPEND_TIME, MAX_TIMESTAMP_AT, PRODUCER_AT, TRANSACTIONAL,
};
use crate::{HEADER_BYTES, ProducerIdentity};

fn write(batch: &mut [u8], at: usize, value: &[u8]) {
    if let Some(target) = batch.get_mut(at..at + value.len()) {
        target.copy_from_slice(value);
    }
}

fn set_attribute(batch: &mut [u8], bits: i16, on: bool) {
    if let Some(field) = batch
        .get_mut(ATTRIBUTES_AT..)
        .and_then(<[u8]>::first_chunk_mut::<2>)
    {
        let attributes = i16::from_be_bytes(*field);
        let attributes = if on {
            attributes | bits
        } else {
            attributes & !bits
        };
        *field = attributes.to_be_bytes();
    }
}

/// The checksum of a batch's bytes; `bytes` start with the header.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes.get(ATTRIBUTES_AT..).unwrap_or_default())
}

pub(crate) fn write_checksum(batch: &mut [u8]) {
    let crc = checksum(batch);
    write(batch, CRC_AT, &crc.to_be_bytes());
}

/// Sets a batch's place in a log. These fields are outside the checksum, so that nothing else changes.
///
/// `batch` needs only its first 16 bytes; a shorter slice stays as it is.
pub fn assign_offsets(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    if batch.len() < EPOCH_AT + 4 {
        return;
    }
    write(batch, 0, &base_offset.to_be_bytes());
    write(batch, EPOCH_AT, &leader_epoch.to_be_bytes());
}

/// Gives all records of a batch the time it was appended, in milliseconds, and computes the checksum again.
///
/// `batch` is exactly one batch; a slice without a whole header stays as it is.
pub fn set_log_append_time(batch: &mut [u8], timestamp: i64) {
    if batch.len() < HEADER_BYTES {
        return;
    }
    set_attribute(batch, LOG_APPEND_TIME, true);
    write(batch, MAX_TIMESTAMP_AT, &timestamp.to_be_bytes());
    write_checksum(batch);
}

/// Corrects a batch's largest timestamp, in milliseconds, and computes the checksum again.
///
/// `batch` is exactly one batch; a slice without a whole header stays as it is.
pub fn set_max_timestamp(batch: &mut [u8], timestamp: i64) {
    if batch.len() < HEADER_BYTES {
        return;
    }
    write(batch, MAX_TIMESTAMP_AT, &timestamp.to_be_bytes());
    write_checksum(batch);
}

/// Sets the producer's identity and computes the checksum again.
///
/// `batch` is exactly one batch; a slice without a whole header stays as it is.
pub fn stamp_producer(batch: &mut [u8], identity: ProducerIdentity, transactional: bool) {
    if batch.len() < HEADER_BYTES {
        return;
    }
    set_attribute(batch, TRANSACTIONAL, transactional);
    write(batch, PRODUCER_AT, &identity.producer_id.to_be_bytes());
    write(
        batch,
        PRODUCER_AT + 8,
        &identity.producer_epoch.to_be_bytes(),
    );
    write(
        batch,
        PRODUCER_AT + 10,
        &identity.base_sequence.to_be_bytes(),
    );
    write_checksum(batch);
}
