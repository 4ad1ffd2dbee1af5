//! Who the producer is to the brokers.

use kafka_wire::InitProducerIdRequest;

use crate::{Client, ClientError};

/// The identity that partitions start to number their batches with.
pub(super) enum Identity {
    NotUsed,
    Absent,
    Asked,
    Known {
        producer_id: i64,
        producer_epoch: i16,
    },
    /// The broker will not give one.
    Refused(ClientError),
}

/// Asks for an identity; retries until the API timeout.
pub(super) async fn init_producer_id(client: &Client) -> Result<(i64, i16), ClientError> {
    let mut retry = client.retry();
    loop {
        let result = client
            .ask_any(|version| {
                let mut request = InitProducerIdRequest::default();
                request.transactional_id = None;
                request.transaction_timeout_ms = i32::MAX;
                if version.value() >= 3 {
                    request.producer_id = -1;
                    request.producer_epoch = -1;
                }
                request
            })
            .await
            .and_then(|(response, _)| {
                ClientError::check(response.error_code, None, || {
                    "the broker gave no producer id".to_owned()
                })?;
                Ok((response.producer_id, response.producer_epoch))
            });
        match result {
            Ok(identity) => return Ok(identity),
            Err(error) => retry.again(error).await?,
        }
    }
}
