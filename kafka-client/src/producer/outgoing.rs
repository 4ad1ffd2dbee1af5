//! A closed batch on its way to the broker.

use bytes::Bytes;
use kafka_records::{
    BatchBuilder, Compression, ProducerIdentity, RecordError, RecordRef, batches, stamp_producer,
};
use tokio::time::Instant;

use super::delivery::{self, Part};
use super::lane::{Filling, ORDER_SPAN};
use crate::{ClientError, Moment};

/// Decompressing one of our own batches stops here.
const OWN_BATCH_MAX: usize = 1 << 30;

/// A batch, its producer identity once it has been sent, and who waits for it.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Its place among the partition's batches.
    pub(super) order: u64,
    /// How many order numbers it may hand out to pieces of itself.
    span: u64,
    pub(super) payload: Payload,
    pub(super) parts: Vec<Part>,
    pub(super) records: i32,
    pub(super) reserved: usize,
    pub(super) created: Instant,
    /// Assigned at the first attempt and kept.
    pub(super) identity: Option<ProducerIdentity>,
    pub(super) last_error: Option<ClientError>,
    /// When it was last sent, or created.
    pub(super) sent: Moment,
    /// The same by the clock.
    pub(super) sent_at: Instant,
}

#[derive(Debug)]
pub(super) enum Payload {
    /// Not closed yet: the checksum is computed together with the identity.
    Raw(BatchBuilder),
    /// Being compressed on another thread.
    Compressing,
    /// As it goes over the wire; the identity may have to be stamped.
    Encoded(Bytes),
}

impl Outgoing {
    pub(super) fn new(filling: Filling) -> Self {
        Self {
            order: filling.order,
            span: ORDER_SPAN,
            records: filling.builder.record_count(),
            payload: Payload::Raw(filling.builder),
            parts: filling.parts,
            reserved: filling.reserved,
            created: filling.created,
            identity: None,
            last_error: None,
            sent: Moment::now(),
            sent_at: Instant::now(),
        }
    }

    pub(super) const fn is_ready(&self) -> bool {
        !matches!(self.payload, Payload::Compressing)
    }

    pub(super) fn size_bound(&self) -> usize {
        match &self.payload {
            Payload::Raw(builder) => builder.encoded_bytes(),
            Payload::Compressing => 0,
            Payload::Encoded(bytes) => bytes.len(),
        }
    }

    /// The bytes to send, with this identity.
    pub(super) fn encode(&mut self, identity: ProducerIdentity) -> Result<Bytes, RecordError> {
        let stamped = self.identity.is_some_and(|known| {
            (known.producer_id, known.producer_epoch, known.base_sequence)
                == (
                    identity.producer_id,
                    identity.producer_epoch,
                    identity.base_sequence,
                )
        });
        let bytes = match std::mem::replace(&mut self.payload, Payload::Compressing) {
            Payload::Raw(mut builder) => builder.finish_with(identity, false)?,
            Payload::Encoded(bytes) if stamped => bytes,
            Payload::Encoded(bytes) => {
                let mut bytes = Vec::from(bytes);
                stamp_producer(&mut bytes, identity, false);
                Bytes::from(bytes)
            }
            Payload::Compressing => Bytes::new(),
        };
        self.payload = Payload::Encoded(bytes.clone());
        self.identity = Some(identity);
        Ok(bytes)
    }

    pub(super) fn fail(&self, error: &ClientError) {
        for part in &self.parts {
            part.fail(error);
        }
    }

    /// Two halves, for a broker that finds the whole too large; or the batch back if it cannot be
    /// halved.
    pub(super) fn halve(self, compression: Compression) -> Result<(Self, Self), Box<Self>> {
        let (Payload::Encoded(bytes), true) = (&self.payload, self.records > 1 && self.span > 1)
        else {
            return Err(Box::new(self));
        };
        let left_records = self.records / 2;
        let mut halves = [
            BatchBuilder::new(compression, bytes.len() / 2 + 256),
            BatchBuilder::new(compression, bytes.len() / 2 + 256),
        ];
        let [left, right] = &mut halves;
        let copied = each_record(bytes, |index, record| {
            if index < left_records {
                left.push(record)
            } else {
                right.push(record)
            }
        });
        let [left, right] = halves;
        if copied.is_err() || left.record_count() != left_records {
            return Err(Box::new(self));
        }
        let (left_parts, right_parts) =
            delivery::split(self.parts, usize::try_from(left_records).unwrap_or(0));
        let half_reserved = self.reserved / 2;
        let half_span = self.span / 2;
        let identity = |skip: i32| {
            self.identity.map(|identity| ProducerIdentity {
                base_sequence: if identity.base_sequence < 0 {
                    identity.base_sequence
                } else {
                    sequence_after(identity.base_sequence, skip)
                },
                ..identity
            })
        };
        let piece = |order, span, builder: BatchBuilder, parts, reserved| Self {
            order,
            span,
            records: builder.record_count(),
            payload: Payload::Raw(builder),
            parts,
            reserved,
            created: self.created,
            identity: None,
            last_error: None,
            sent: self.sent,
            sent_at: self.sent_at,
        };
        let mut first = piece(self.order, half_span, left, left_parts, half_reserved);
        let mut second = piece(
            self.order + half_span,
            self.span - half_span,
            right,
            right_parts,
            self.reserved - half_reserved,
        );
        first.identity = identity(0);
        second.identity = identity(left_records);
        Ok((first, second))
    }

    /// Fails the records that a broker named as invalid and keeps the others, `None` if there are
    /// none; or gives the batch back if it cannot be taken apart.
    pub(super) fn without(
        self,
        compression: Compression,
        bad: &[(i32, ClientError)],
    ) -> Result<Option<Self>, Box<Self>> {
        let Payload::Encoded(bytes) = &self.payload else {
            return Err(Box::new(self));
        };
        let mut builder = BatchBuilder::new(compression, bytes.len() + 64);
        let is_bad = |index: i32| bad.iter().find(|(known, _)| *known == index);
        let copied = each_record(bytes, |index, record| {
            if is_bad(index).is_none() {
                builder.push(record);
            }
        });
        if copied.is_err() || builder.record_count() == self.records {
            return Err(Box::new(self));
        }
        let mut parts: Vec<Part> = Vec::new();
        let mut index = 0;
        for part in &self.parts {
            for first in part.first..part.first + part.count {
                match is_bad(index) {
                    Some((_, error)) => part.tracker.failed(first, 1, error),
                    None => match parts.last_mut() {
                        Some(last)
                            if last.first + last.count == first
                                && std::sync::Arc::ptr_eq(&last.tracker, &part.tracker) =>
                        {
                            last.count += 1;
                        }
                        _ => parts.push(Part {
                            first,
                            count: 1,
                            ..part.clone()
                        }),
                    },
                }
                index += 1;
            }
        }
        if builder.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            records: builder.record_count(),
            payload: Payload::Raw(builder),
            parts,
            ..self
        }))
    }
}

fn each_record(bytes: &Bytes, mut take: impl FnMut(i32, RecordRef<'_>)) -> Result<(), RecordError> {
    let mut index = 0;
    for batch in batches(bytes.clone()) {
        for record in batch?.records(OWN_BATCH_MAX)? {
            let record = record?;
            take(
                index,
                RecordRef {
                    timestamp: record.timestamp,
                    key: record.key.as_deref(),
                    value: record.value.as_deref(),
                    headers: &record.headers,
                },
            );
            index += 1;
        }
    }
    Ok(())
}

/// The sequence number `records` behind `sequence`; after `i32::MAX` comes 0.
pub(super) fn sequence_after(sequence: i32, records: i32) -> i32 {
    let next = i64::from(sequence) + i64::from(records);
    i32::try_from(next % (i64::from(i32::MAX) + 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::delivery::Tracker;
    use super::*;

    fn batch(records: i32) -> (Outgoing, super::super::Delivery) {
        let mut builder = BatchBuilder::new(Compression::None, 1024);
        for index in 0..records {
            let value = index.to_string();
            builder.push(RecordRef {
                timestamp: 1000 + i64::from(index),
                key: None,
                value: Some(value.as_bytes()),
                headers: &[],
            });
        }
        let count = usize::try_from(records).unwrap();
        let (tracker, delivery) = Tracker::new(count);
        let filling = Filling {
            order: ORDER_SPAN,
            builder,
            parts: vec![Part {
                tracker: Arc::clone(&tracker),
                first: 0,
                count,
            }],
            reserved: 1001,
            created: Instant::now(),
        };
        (Outgoing::new(filling), delivery)
    }

    fn identity(base_sequence: i32) -> ProducerIdentity {
        ProducerIdentity {
            producer_id: 9,
            producer_epoch: 1,
            base_sequence,
        }
    }

    fn values(outgoing: &mut Outgoing) -> Vec<String> {
        let identity = outgoing.identity.unwrap_or(ProducerIdentity::NONE);
        let bytes = outgoing.encode(identity).unwrap();
        let mut values = Vec::new();
        each_record(&bytes, |_, record| {
            values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        })
        .unwrap();
        values
    }

    #[tokio::test]
    async fn halves_keep_order_sequence_and_reservation() {
        let (mut outgoing, _delivery) = batch(5);
        outgoing.encode(identity(10)).unwrap();
        let (mut left, mut right) = outgoing.halve(Compression::None).unwrap();
        assert_eq!(values(&mut left), ["0", "1"]);
        assert_eq!(values(&mut right), ["2", "3", "4"]);
        assert_eq!(left.identity.unwrap().base_sequence, 10);
        assert_eq!(right.identity.unwrap().base_sequence, 12);
        assert_eq!(left.reserved + right.reserved, 1001);
        assert!(left.order < right.order && right.order < 2 * ORDER_SPAN);
    }

    #[tokio::test]
    async fn invalid_records_fail_alone() {
        let (mut outgoing, delivery) = batch(4);
        outgoing.encode(identity(0)).unwrap();
        let error = ClientError::Closed { what: "test" };
        let mut rest = outgoing
            .without(Compression::None, &[(1, error.clone())])
            .unwrap()
            .unwrap();
        assert_eq!(values(&mut rest), ["0", "2", "3"]);
        delivery::acknowledge(&rest.parts, 0, 0, (crate::Moment::now(), 1));
        let failures = delivery.await.unwrap_err().failures;
        assert_eq!(
            failures.iter().map(|(index, _)| *index).collect::<Vec<_>>(),
            [1]
        );
    }

    #[tokio::test]
    async fn a_new_identity_is_stamped_and_the_batch_stays_valid() {
        let (mut outgoing, _delivery) = batch(3);
        outgoing.encode(identity(7)).unwrap();
        let bytes = outgoing
            .encode(ProducerIdentity {
                producer_epoch: 2,
                ..identity(0)
            })
            .unwrap();
        let batch = batches(bytes).next().unwrap().unwrap();
        batch.verify().unwrap();
        assert_eq!(batch.header.producer_epoch, 2);
        assert_eq!(batch.header.base_sequence, 0);
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence_after(5, 3), 8);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
    }
}
