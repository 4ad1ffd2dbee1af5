//! What brokers of a cluster ask each other: JSON in Kafka's framing, under a key that is not
//! advertised. See [`peer`](crate::peer).

use bytes::{BufMut, Bytes, BytesMut};

use super::response::{self, LENGTH_BYTES};
use super::{Preamble, RequestError, Response};
use crate::node::RequestContext;
use crate::peer::{CLUSTER_API, CLUSTER_API_VERSION, ClusterRequest, ClusterResponse, Envelope};

/// The only version there is; it changes with the messages.
const VERSION: i16 = CLUSTER_API_VERSION;

/// Answers one request.
///
/// # Errors
/// When it is not one.
pub(super) async fn dispatch(
    ctx: &RequestContext,
    header: &Preamble,
    frame: &Bytes,
) -> Result<Response, RequestError> {
    if header.api_version != VERSION {
        return Err(RequestError::UnsupportedVersion {
            key: CLUSTER_API,
            version: header.api_version,
            lowest: VERSION,
            highest: VERSION,
        });
    }
    let body = body(frame).ok_or(RequestError::Truncated { bytes: frame.len() })?;
    let asked: Envelope<ClusterRequest> =
        serde_json::from_slice(body).map_err(|source| RequestError::NotOfTheCluster { source })?;
    let controller = &ctx.broker.controller;
    let answer = match controller.check_kin(asked.cluster_id.as_deref(), &asked.request) {
        Err(stranger) => ClusterResponse::Refused(stranger),
        Ok(()) => {
            if let ClusterRequest::Heartbeat(heartbeat) = &asked.request {
                ctx.presence.heard(heartbeat.broker, heartbeat.broker_epoch);
            }
            controller.answer(asked.request).await
        }
    };
    let mut first = BytesMut::new();
    response::start(&mut first, header, false);
    let mut writer = first.writer();
    serde_json::to_writer(&mut writer, &answer)
        .map_err(|source| RequestError::NotOfTheCluster { source })?;
    let first = writer.into_inner();
    let length = first.len() - LENGTH_BYTES;
    Response::finish(Vec::new(), first, length)
}

/// What follows the header, whose last field is a nullable client id.
fn body(frame: &[u8]) -> Option<&[u8]> {
    let (length, rest) = frame.get(Preamble::BYTES..)?.split_first_chunk::<2>()?;
    match i16::from_be_bytes(*length) {
        -1 => Some(rest),
        length => rest.get(usize::try_from(length).ok()?..),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_begins_after_the_client_id_if_there_is_one() {
        let mut frame = vec![0; Preamble::BYTES];
        frame.extend_from_slice(b"\0\x02me{}");
        assert_eq!(body(&frame), Some(&b"{}"[..]));
        let mut frame = vec![0; Preamble::BYTES];
        frame.extend_from_slice(b"\xff\xff{}");
        assert_eq!(body(&frame), Some(&b"{}"[..]));
        for cut in 0..frame.len() - 2 {
            assert_eq!(body(&frame[..cut]), None);
        }
        frame[Preamble::BYTES] = 0x7f;
        assert_eq!(body(&frame), None);
    }
}
