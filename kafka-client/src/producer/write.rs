//! One write to one partition, on a connection that is known to be old enough.

use std::sync::Arc;

use kafka_records::{BatchBuilder, Compression};
use kafka_wire::ProduceRequest;

use super::frame::{self, TopicBatches};
use super::{Acks, ProducerRecord};
use crate::{Client, ClientError, ErrorCode, Moment, TopicPartition};

/// What a write relies on: something that was acknowledged before, which has to be in the log of
/// the very process that takes the write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// It was acknowledged, or seen in its log, after this moment.
    pub since: Moment,
    /// The broker that acknowledged it; `None` where its leaders were asked since and have it, so
    /// that only a broker that lost its memory in between is in question.
    pub broker: Option<i32>,
}

impl Client {
    /// Appends records to a partition in one batch, acknowledged by all in-sync replicas. Tries
    /// once; on an error the batch may or may not be in the log.
    ///
    /// With `proof` the batch is sent only to the broker named there, on a connection that was
    /// established before that moment and has held since. A broker process that is gone takes its
    /// connections with it, so what was acknowledged came from the very process that appends this
    /// batch, and with it from the same disk: a restart in between, which may have lost the tail of
    /// a log to a power cut, is an error here instead of going unnoticed, and so is another leader.
    ///
    /// # Errors
    /// [`ClientError::Reconnected`] if it is another process or may be; nothing was sent then. The
    /// broker's and the connection's errors; those that are
    /// [retriable](ClientError::is_retriable) may go away.
    pub async fn write(
        &self,
        partition: &TopicPartition,
        records: &[ProducerRecord],
        proof: Option<Proof>,
    ) -> Result<i64, ClientError> {
        let leader = self.leader(partition).await?;
        let connected = async {
            let addr = self.broker_addr(leader).await?;
            let connection = self.pool().get(&addr).await?;
            Ok((addr, connection))
        };
        let (addr, connection) = connected
            .await
            .inspect_err(|error| self.note_broker_error(leader, error))?;
        let proven = |proof: Proof| {
            let same = proof.broker.is_none_or(|broker| broker == leader);
            same && connection.opened() < proof.since
        };
        if proof.is_some_and(|proof| !proven(proof)) {
            return Err(ClientError::Reconnected { addr });
        }
        let mut builder = BatchBuilder::new(
            Compression::None,
            records.iter().map(ProducerRecord::size_bound).sum(),
        );
        let now = platform::clock::unix_millis();
        for record in records {
            builder.push(record.as_ref(now));
        }
        let batch = builder.finish().map_err(|error| ClientError::Encode {
            topic: partition.topic.to_string(),
            reason: error.to_string(),
        })?;
        let timeout = self.config().request_timeout;
        let version = connection.version::<ProduceRequest>(Some(frame::NEWEST_VERSION))?;
        let (head, rest) = frame::encode(
            version.value(),
            connection.client_id(),
            Acks::All.wire(),
            i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
            &[TopicBatches {
                topic: Arc::clone(&partition.topic),
                batches: vec![(partition.partition, batch)],
            }],
        );
        let response = connection
            .submit_frame(head, rest, true, "Produce")
            .await?
            .decode::<ProduceRequest>(version, timeout)
            .await
            .inspect_err(|_| self.metadata().mark_stale(&partition.topic))?;
        let answer = response
            .responses
            .first()
            .and_then(|topic| topic.partition_responses.first());
        let Some(answer) = answer else {
            return Err(ClientError::broker(
                ErrorCode::UNKNOWN_SERVER_ERROR,
                format!("broker {leader} did not answer for {partition}"),
            ));
        };
        if ErrorCode(answer.error_code).is_stale_metadata() {
            self.metadata().mark_stale(&partition.topic);
        }
        ClientError::check(answer.error_code, answer.error_message.as_deref(), || {
            format!("broker {leader} refused records for {partition}")
        })?;
        Ok(answer.base_offset)
    }
}
