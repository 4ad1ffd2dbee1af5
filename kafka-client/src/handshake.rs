//! From an address to a socket whose other end is known to be a Kafka broker, and of which version.

use std::io;

use bytes::{Bytes, BytesMut};
use kafka_wire::{
    ApiVersionsRequest, ApiVersionsResponse, KafkaRequest, OutboundFrameLimits, encode_request,
};
use kafka_wire_core::{ApiVersion, DecodeLimits, StrBytes};
use platform::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::connection::decode_response;
use crate::versions::Versions;
use crate::{ClientError, ErrorCode};

/// Connects to the first address of `host:port` that takes a connection.
pub(crate) async fn connect(addr: &str) -> io::Result<TcpStream> {
    let (host, port) = split_addr(addr)?;
    let mut last = io::Error::new(
        io::ErrorKind::NotFound,
        format!("host \"{host}\" has no address; check the name"),
    );
    for address in platform::net::resolve(host, port).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Splits `host:port`, with the host of an IPv6 address in brackets.
pub(crate) fn split_addr(addr: &str) -> io::Result<(&str, u16)> {
    let invalid = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("\"{addr}\" is not host:port, such as localhost:9092"),
        )
    };
    // Kafka also accepts a protocol in front.
    let plain = addr.strip_prefix("PLAINTEXT://").unwrap_or(addr);
    let (host, port) = plain.rsplit_once(':').ok_or_else(invalid)?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if host.is_empty() {
        return Err(invalid());
    }
    Ok((host, port.parse().map_err(|_| invalid())?))
}

/// Asks for the versions of each API, with the newest request that the broker understands.
pub(crate) async fn negotiate(
    addr: &str,
    client_id: &StrBytes,
    limits: DecodeLimits,
    reader: &mut OwnedReadHalf,
    writer: &mut OwnedWriteHalf,
) -> Result<Versions, ClientError> {
    let failed = |error| ClientError::disconnected(addr, error);
    let unreadable = |reason: String| ClientError::Protocol {
        context: format!("broker {addr} answered ApiVersions with something unreadable"),
        reason: format!("{reason}; is it a Kafka broker?"),
    };
    let mut version = ApiVersionsRequest::API_DESCRIPTOR
        .latest_stable_version()
        .unwrap_or(ApiVersion::new(0));
    loop {
        let mut request = ApiVersionsRequest::default();
        if version.value() >= 3 {
            request.client_software_name = StrBytes::from("kafka-client-rust");
            request.client_software_version = StrBytes::from(env!("CARGO_PKG_VERSION"));
        }
        let mut frame = BytesMut::new();
        encode_request(
            &mut frame,
            0,
            Some(client_id.clone()),
            &request,
            version,
            OutboundFrameLimits::new(1 << 20),
        )
        .map_err(|error| unreadable(error.to_string()))?;
        writer.write_all(&frame).await.map_err(failed)?;
        let length = reader.read_u32().await.map_err(failed)?;
        // A broker's list of APIs takes a few hundred bytes. An HTTP server's answer starts with
        // "HTTP", which is a length of over a gigabyte.
        if !(4..=1 << 20).contains(&length) {
            return Err(unreadable(format!("an answer of {length} bytes")));
        }
        let mut answer = vec![0; length as usize];
        reader.read_exact(&mut answer).await.map_err(failed)?;
        let answer = Bytes::from(answer);
        let code = answer.get(4..6).map_or(0, |code| {
            i16::from_be_bytes([
                code.first().copied().unwrap_or(0),
                code.get(1).copied().unwrap_or(0),
            ])
        });
        let code = ErrorCode(code);
        if code == ErrorCode::UNSUPPORTED_VERSION && version.value() > 0 {
            // The body is of version 0 and says what the broker would understand (KIP-511).
            let offered = decode_response::<ApiVersionsRequest>(answer, ApiVersion::new(0), limits)
                .map(|response: ApiVersionsResponse| Versions::from_response(&response))
                .ok()
                .and_then(|versions| versions.offered(ApiVersionsRequest::API_KEY.value()))
                .map_or(0, |(_, max)| max.min(version.value() - 1).max(0));
            version = ApiVersion::new(offered);
            continue;
        }
        let response =
            decode_response::<ApiVersionsRequest>(answer, version, limits).map_err(unreadable)?;
        ClientError::check(response.error_code, None, || {
            format!("broker {addr} refused to tell its API versions")
        })?;
        return Ok(Versions::from_response(&response));
    }
}
