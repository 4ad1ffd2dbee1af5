//! An encoded response on its way to the socket, and why a request gets none.

use bytes::{Bytes, BytesMut};
use kafka_wire::{KafkaResponse, response_header_version};
use kafka_wire_core::{DecodeError, EncodeError, KafkaEncode};
use thiserror::Error;

use super::Preamble;
use super::fetch_memory::Held;

/// A whole response frame, length first, in pieces that are written one after the other. Record
/// data is its own piece, shared with the log's read buffer instead of copied.
#[derive(Debug, Default)]
pub(crate) struct Response {
    /// The pieces, in order.
    pub(crate) pieces: Vec<Bytes>,
    /// Counts the record data in it until it is written.
    pub(crate) held: Option<Held>,
}

impl Response {
    /// Encodes a response that is one piece.
    ///
    /// # Errors
    /// When the response holds a value that its version cannot carry: a mistake of the handler.
    pub(crate) fn encode<R>(header: &Preamble, body: &R) -> Result<Self, RequestError>
    where
        R: KafkaResponse + KafkaEncode,
    {
        let bad = |source| RequestError::Unencodable {
            api: R::NAME,
            version: header.api_version,
            source,
        };
        let version = header.version();
        let mut frame = BytesMut::new();
        start(&mut frame, header, R::is_flexible(version));
        body.encode_into(&mut frame, version).map_err(bad)?;
        let length = frame.len() - LENGTH_BYTES;
        Self::finish(vec![], frame, length)
    }

    /// Completes a frame of `length` bytes whose first piece still lacks its length.
    ///
    /// # Errors
    /// When the frame is longer than the protocol's 2 GiB.
    pub(super) fn finish(
        rest: Vec<Bytes>,
        mut first: BytesMut,
        length: usize,
    ) -> Result<Self, RequestError> {
        let length_field =
            i32::try_from(length).map_err(|_| RequestError::ResponseTooLarge { bytes: length })?;
        if let Some(prefix) = first.first_chunk_mut::<LENGTH_BYTES>() {
            *prefix = length_field.to_be_bytes();
        }
        let mut pieces = Vec::with_capacity(rest.len() + 1);
        pieces.push(first.freeze());
        pieces.extend(rest);
        debug_assert_eq!(
            pieces.iter().map(Bytes::len).sum::<usize>(),
            length + LENGTH_BYTES,
            "the length on the wire is that of the pieces"
        );
        Ok(Self { pieces, held: None })
    }

    /// Bytes of the whole frame.
    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }
}

/// Bytes of the length in front of every frame.
pub(super) const LENGTH_BYTES: usize = 4;

/// Starts a frame: room for the length, then the response header.
pub(super) fn start(frame: &mut BytesMut, header: &Preamble, flexible: bool) {
    frame.extend_from_slice(&[0; LENGTH_BYTES]);
    frame.extend_from_slice(&header.correlation_id.to_be_bytes());
    let key = kafka_wire_core::ApiKey::new(header.api_key);
    if response_header_version(key, header.version(), flexible) >= 1 {
        // No tagged fields.
        frame.extend_from_slice(&[0]);
    }
}

/// Why a request gets no answer; its connection is closed, because the client could not tell to
/// which request a later answer belongs.
#[derive(Debug, Error)]
pub(crate) enum RequestError {
    /// The frame ends within the request header.
    #[error("a request of {bytes} bytes is too short to be one")]
    Truncated {
        /// Bytes in the frame.
        bytes: usize,
    },
    /// The cluster does not count on this broker yet; the client asks another, or again.
    #[error("this broker waits for its cluster")]
    NotReady,
    /// An API that is not routed.
    #[error("API key {key} is not one this broker answers; the client should ask for ApiVersions")]
    UnknownApi {
        /// The key in the request.
        key: i16,
    },
    /// A version that is not supported.
    #[error(
        "version {version} of API key {key} is not supported, {lowest} to {highest} are; the client should ask for ApiVersions"
    )]
    UnsupportedVersion {
        /// The API's key.
        key: i16,
        /// The version in the request.
        version: i16,
        /// Lowest supported version.
        lowest: i16,
        /// Highest supported version.
        highest: i16,
    },
    /// Bytes that are not the request they claim to be.
    #[error("a {api} of version {version} is malformed: {source}")]
    Malformed {
        /// The request's name.
        api: &'static str,
        /// Its version.
        version: i16,
        /// What is wrong, and where.
        source: DecodeError,
    },
    /// Bytes between brokers that are not what brokers say to each other.
    #[error("a request of the cluster cannot be read, or its answer written: {source}")]
    NotOfTheCluster {
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// A response its version cannot carry.
    #[error("a {api} of version {version} cannot be encoded: {source}")]
    Unencodable {
        /// The response's name.
        api: &'static str,
        /// Its version.
        version: i16,
        /// Which field.
        source: EncodeError,
    },
    /// A response longer than a frame can be.
    #[error("a response of {bytes} bytes is longer than the protocol allows")]
    ResponseTooLarge {
        /// Bytes of the response.
        bytes: usize,
    },
    /// A Produce with `acks=0` failed; closing is the only way to say so.
    #[error("records sent with acks=0 were not written: {reason}")]
    UnacknowledgedProduceFailed {
        /// Which partition, and why.
        reason: String,
    },
}
