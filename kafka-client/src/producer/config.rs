//! How a producer batches, retries and bounds its memory.

use std::time::Duration;

use kafka_records::Compression;

use crate::ClientError;

/// Whose acknowledgement counts (`acks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// Nobody's: a record counts as delivered once it is written to the socket.
    None,
    /// The leader's alone.
    Leader,
    /// That of all in-sync replicas.
    #[default]
    All,
}

impl Acks {
    pub(crate) const fn wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// Settings of a [`Producer`](crate::Producer).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProducerConfig {
    /// Whose acknowledgement counts (`acks`); all in-sync replicas by default.
    pub acks: Acks,
    /// Retries never duplicate or reorder a partition's records (`enable.idempotence`); on by
    /// default. Needs [`Acks::All`] and at most 5 requests in flight.
    pub idempotence: bool,
    /// How long a batch that is not full waits for more records (`linger.ms`); 5 ms.
    pub linger: Duration,
    /// The most bytes in one batch, header included, before compression (`batch.size`); 1 MiB,
    /// which is what a broker accepts by default. A single larger record travels alone.
    pub batch_bytes: usize,
    /// Unanswered requests per broker (`max.in.flight.requests.per.connection`); 5.
    pub max_in_flight: usize,
    /// Compression of whole batches (`compression.type`).
    pub compression: Compression,
    /// Bytes of records accepted but not yet acknowledged (`buffer.memory`); 32 MiB. When it is
    /// used up, [`send`](crate::Producer::send) waits.
    pub buffer_bytes: usize,
    /// A record not acknowledged this long after it was accepted has failed
    /// (`delivery.timeout.ms`); 2 minutes. [`Duration::MAX`] never gives up.
    pub delivery_timeout: Duration,
    /// The largest request, and so the largest record (`max.request.size`); 1 MiB in Kafka's
    /// producer, here a request may carry batches of several partitions, so 8 MiB.
    pub max_request_bytes: usize,
    /// How long `send` may wait for a topic's metadata before it fails (`max.block.ms`); 1 minute.
    /// Waiting for room in the buffer has no limit.
    pub max_block: Duration,
    /// Whether to fail with [`AcknowledgedLost`](crate::ClientError::AcknowledgedLost) when it shows
    /// that the broker lost records it had acknowledged, for callers that can send them again. Off,
    /// what follows goes behind the gap, as with Java's producer. Needs idempotence.
    pub fail_on_lost: bool,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotence: true,
            linger: Duration::from_millis(5),
            batch_bytes: 1024 * 1024,
            max_in_flight: 5,
            compression: Compression::None,
            buffer_bytes: 32 * 1024 * 1024,
            delivery_timeout: Duration::from_secs(120),
            max_request_bytes: 8 * 1024 * 1024,
            max_block: Duration::from_secs(60),
            fail_on_lost: false,
        }
    }
}

impl ProducerConfig {
    /// Refuses combinations that cannot keep what they promise.
    ///
    /// # Errors
    /// [`ClientError::Configuration`]: the first setting that contradicts another one.
    pub fn validate(&self) -> Result<(), ClientError> {
        let fail = |key, reason: &str| {
            Err(ClientError::Configuration {
                key,
                reason: reason.to_owned(),
            })
        };
        if self.max_in_flight == 0 {
            return fail(
                "max.in.flight.requests.per.connection",
                "0 would send nothing; use 1 to 5",
            );
        }
        if self.idempotence && self.acks != Acks::All {
            return fail(
                "acks",
                "an idempotent producer needs acks=all; or set enable.idempotence=false",
            );
        }
        if self.idempotence && self.max_in_flight > 5 {
            return fail(
                "max.in.flight.requests.per.connection",
                "brokers remember 5 batches of an idempotent producer; use at most 5",
            );
        }
        if self.batch_bytes < 128 {
            return fail("batch.size", "a batch needs at least 128 bytes");
        }
        if self.max_request_bytes < self.batch_bytes {
            return fail("max.request.size", "must not be smaller than batch.size");
        }
        if self.buffer_bytes < self.batch_bytes {
            return fail("buffer.memory", "must not be smaller than batch.size");
        }
        Ok(())
    }
}
