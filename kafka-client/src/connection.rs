//! One connection to one broker: requests go out in order and pipelined, answers come back in the
//! same order.
//!
//! One task owns the socket. It ends when the socket fails, the peer breaks the protocol, the
//! connection is idle for too long, a request times out (every later answer would wait behind it),
//! or all handles are dropped; whatever is unanswered then fails with
//! [`ClientError::Disconnected`].

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_wire::{
    KafkaRequest, OutboundFrameLimits, RequestResponsePair, encode_request,
    response_header_version_for,
};
use kafka_wire_core::{ApiVersion, DecodeLimits, Decoder, KafkaDecode, KafkaEncode, StrBytes};
use parking_lot::Mutex;
use platform::net::{OwnedReadHalf, OwnedWriteHalf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use crate::handshake::{connect, negotiate};
use crate::versions::Versions;
use crate::{ClientConfig, ClientError, Moment};

/// Requests waiting for the socket; more wait in their callers.
const QUEUE: usize = 64;
/// What is reserved for an answer before any of it has arrived.
const FIRST_RESERVE: usize = 4 * 1024 * 1024;
/// The read buffer when nothing larger is expected.
const READ_BUFFER: usize = 64 * 1024;
/// What a connection that waits for an answer has ready: many of them wait nearly all the time.
const WAITING_BUFFER: usize = 4 * 1024;

/// A handle; clones share the connection.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Outgoing>,
}

#[derive(Debug)]
struct Shared {
    addr: String,
    /// After the broker's process had accepted it.
    opened: Moment,
    client_id: StrBytes,
    versions: Versions,
    closed: AtomicBool,
    close: Notify,
    limits: DecodeLimits,
}

/// A frame to be written.
#[derive(Debug)]
struct Outgoing {
    /// The frame, in pieces; bytes 8..12 of the first are the correlation id, still to be filled.
    head: BytesMut,
    rest: Vec<Bytes>,
    answer: oneshot::Sender<Result<Bytes, ClientError>>,
    answered: bool,
}

#[derive(Debug)]
struct Waiting {
    correlation: i32,
    answer: oneshot::Sender<Result<Bytes, ClientError>>,
}

/// An answer that has not come yet. Dropping it gives it up; the connection goes on.
#[derive(Debug)]
pub struct Pending {
    answer: oneshot::Receiver<Result<Bytes, ClientError>>,
    connection: Arc<Shared>,
    api: &'static str,
}

impl Connection {
    /// Connects and negotiates versions.
    pub async fn open(addr: &str, config: &ClientConfig) -> Result<Self, ClientError> {
        let opening = Self::open_unbounded(addr, config);
        match tokio::time::timeout(config.connection_timeout, opening).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::Timeout {
                what: format!("connecting to broker {addr}"),
                after: config.connection_timeout,
            }),
        }
    }

    async fn open_unbounded(addr: &str, config: &ClientConfig) -> Result<Self, ClientError> {
        let mut limits = DecodeLimits::default();
        limits.max_frame_bytes = config.response_bytes_max;
        limits.max_bytes_bytes = config.response_bytes_max;
        let failed = |error| ClientError::disconnected(addr, error);
        let stream = connect(addr).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (mut reader, mut writer) = stream.into_split();
        let client_id = StrBytes::from(config.client_id.as_str());
        let versions = negotiate(addr, &client_id, limits, &mut reader, &mut writer).await?;
        let shared = Arc::new(Shared {
            addr: addr.to_owned(),
            opened: Moment::now(),
            client_id,
            versions,
            closed: AtomicBool::new(false),
            close: Notify::new(),
            limits,
        });
        let (requests, queue) = mpsc::channel(QUEUE);
        let idle = config.connections_max_idle;
        let task = run(Arc::clone(&shared), queue, reader, writer, idle);
        // Its owner is this handle: when the last one is dropped, the queue closes and it ends.
        tokio::spawn(task);
        Ok(Self { shared, requests })
    }

    /// When it was established.
    pub(crate) fn opened(&self) -> Moment {
        self.shared.opened
    }

    /// Whether it ended.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire) || self.requests.is_closed()
    }

    /// Waits until it ends. Cancel-safe.
    pub async fn ended(&self) {
        self.requests.closed().await;
    }

    /// Fails whatever is unanswered and ends the connection.
    pub fn close(&self) {
        self.shared.shut();
    }

    /// The version to use for `R`, at most `ceiling`.
    pub fn version<R: KafkaRequest>(
        &self,
        ceiling: Option<i16>,
    ) -> Result<ApiVersion, ClientError> {
        self.shared
            .versions
            .pick::<R>(ceiling)
            .ok_or_else(|| ClientError::UnsupportedVersion {
                addr: self.shared.addr.clone(),
                api: R::NAME.trim_end_matches("Request"),
            })
    }

    /// The version of the broker's software, if it says so.
    pub fn software(&self) -> Option<&str> {
        self.shared.versions.software()
    }

    /// Sends a request and waits for its answer.
    pub async fn call<R>(
        &self,
        request: &R,
        version: ApiVersion,
        timeout: Duration,
    ) -> Result<R::Response, ClientError>
    where
        R: RequestResponsePair + KafkaEncode,
    {
        self.submit(request, version)
            .await?
            .decode::<R>(version, timeout)
            .await
    }

    /// Sends a request, in the order of the calls; the answer is waited for elsewhere.
    pub async fn submit<R>(&self, request: &R, version: ApiVersion) -> Result<Pending, ClientError>
    where
        R: KafkaRequest + KafkaEncode,
    {
        let mut head = BytesMut::new();
        let client_id = Some(self.shared.client_id.clone());
        encode_request(
            &mut head,
            0,
            client_id,
            request,
            version,
            OutboundFrameLimits::new(i32::MAX as usize),
        )
        .map_err(|error| ClientError::Protocol {
            context: format!(
                "cannot encode {} v{version} for broker {}",
                R::NAME,
                self.shared.addr
            ),
            reason: error.to_string(),
        })?;
        self.submit_frame(head, Vec::new(), true, R::NAME).await
    }

    /// Sends a frame that is encoded already, except for its correlation id.
    pub async fn submit_frame(
        &self,
        head: BytesMut,
        rest: Vec<Bytes>,
        answered: bool,
        api: &'static str,
    ) -> Result<Pending, ClientError> {
        let (outgoing, pending) = self.outgoing(head, rest, answered, api);
        if self.requests.send(outgoing).await.is_err() {
            return Err(self.shared.gone());
        }
        Ok(pending)
    }

    /// As [`submit_frame`](Self::submit_frame) without waiting for the socket; for users that limit
    /// their unanswered requests themselves.
    pub(crate) fn submit_frame_now(
        &self,
        head: BytesMut,
        rest: Vec<Bytes>,
        answered: bool,
        api: &'static str,
    ) -> Result<Pending, ClientError> {
        let (outgoing, pending) = self.outgoing(head, rest, answered, api);
        self.requests
            .try_send(outgoing)
            .map_err(|_| self.shared.gone())?;
        Ok(pending)
    }

    /// A frame to be written, and the wait for its answer.
    fn outgoing(
        &self,
        head: BytesMut,
        rest: Vec<Bytes>,
        answered: bool,
        api: &'static str,
    ) -> (Outgoing, Pending) {
        let (answer, receiver) = oneshot::channel();
        let outgoing = Outgoing {
            head,
            rest,
            answer,
            answered,
        };
        let pending = Pending {
            answer: receiver,
            connection: Arc::clone(&self.shared),
            api,
        };
        (outgoing, pending)
    }

    /// The name brokers see.
    pub fn client_id(&self) -> &StrBytes {
        &self.shared.client_id
    }
}

impl Pending {
    /// The answer's bytes, header included. On a timeout the connection is closed.
    pub async fn bytes(self, timeout: Duration) -> Result<Bytes, ClientError> {
        match tokio::time::timeout(timeout, self.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(self.connection.gone()),
            Err(_) => {
                self.connection.shut();
                Err(ClientError::Timeout {
                    what: format!("{} to broker {}", self.api, self.connection.addr),
                    after: timeout,
                })
            }
        }
    }

    /// The decoded answer.
    pub async fn decode<R>(
        self,
        version: ApiVersion,
        timeout: Duration,
    ) -> Result<R::Response, ClientError>
    where
        R: RequestResponsePair,
    {
        let connection = Arc::clone(&self.connection);
        let bytes = self.bytes(timeout).await?;
        decode_response::<R>(bytes, version, connection.limits).map_err(|reason| {
            connection.shut();
            ClientError::Protocol {
                context: format!(
                    "broker {} answered {} v{version} with something unreadable",
                    connection.addr,
                    R::NAME
                ),
                reason,
            }
        })
    }
}

impl Shared {
    fn gone(&self) -> ClientError {
        ClientError::disconnected(
            &self.addr,
            io::Error::new(io::ErrorKind::NotConnected, "the connection was closed"),
        )
    }

    fn shut(&self) {
        self.closed.store(true, Ordering::Release);
        self.close.notify_one();
    }
}

pub(crate) fn decode_response<R: RequestResponsePair>(
    bytes: Bytes,
    version: ApiVersion,
    limits: DecodeLimits,
) -> Result<R::Response, String> {
    let header = response_header_version_for::<R>(version).map_err(|error| error.to_string())?;
    let decode = || {
        let mut decoder = Decoder::new(bytes, limits)?;
        decoder.read_i32()?;
        if header >= 1 {
            decoder.read_tagged_fields()?;
        }
        let response = R::Response::decode(&mut decoder, version)?;
        decoder.finish()?;
        Ok(response)
    };
    decode().map_err(|error: kafka_wire_core::DecodeError| error.to_string())
}

async fn run(
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Outgoing>,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    idle: Duration,
) {
    let waiting = Mutex::new(VecDeque::new());
    let activity = Mutex::new(Instant::now());
    let mut queue = queue;
    let end = tokio::select! {
        end = write_requests(&mut queue, writer, &waiting, &activity) => end,
        end = read_responses(reader, &waiting, &activity, shared.limits.max_frame_bytes) => end,
        end = watch_idle(&waiting, &activity, idle) => end,
        () = shared.close.notified() => {
            io::Error::new(io::ErrorKind::ConnectionAborted, "it was closed on this side")
        }
    };
    shared.closed.store(true, Ordering::Release);
    tracing::debug!(broker = %shared.addr, "connection ended: {end}");
    let error = ClientError::disconnected(&shared.addr, end);
    queue.close();
    for Waiting { answer, .. } in waiting.into_inner() {
        // A caller that gave up needs no answer.
        answer.send(Err(error.clone())).ok();
    }
    while let Ok(outgoing) = queue.try_recv() {
        outgoing.answer.send(Err(error.clone())).ok();
    }
}

async fn watch_idle(
    waiting: &Mutex<VecDeque<Waiting>>,
    activity: &Mutex<Instant>,
    idle: Duration,
) -> io::Error {
    loop {
        let since = *activity.lock();
        let Some(end) = since.checked_add(idle) else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(end).await;
        if waiting.lock().is_empty() && *activity.lock() == since {
            return io::Error::new(io::ErrorKind::TimedOut, "it was not used for a while");
        }
        if *activity.lock() == since {
            *activity.lock() = Instant::now();
        }
    }
}

async fn write_requests(
    queue: &mut mpsc::Receiver<Outgoing>,
    mut writer: OwnedWriteHalf,
    waiting: &Mutex<VecDeque<Waiting>>,
    activity: &Mutex<Instant>,
) -> io::Error {
    let mut correlation = 0_i32;
    let mut small = BytesMut::new();
    loop {
        let Some(mut outgoing) = queue.recv().await else {
            if waiting
                .lock()
                .iter()
                .all(|waiting| waiting.answer.is_closed())
            {
                return io::Error::new(io::ErrorKind::NotConnected, "nobody uses it any more");
            }
            // All handles are gone, but somebody waits for an answer.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        loop {
            correlation = correlation.wrapping_add(1) & i32::MAX;
            if let Some(field) = outgoing.head.get_mut(8..12) {
                field.copy_from_slice(&correlation.to_be_bytes());
            }
            let unanswered = if outgoing.answered {
                waiting.lock().push_back(Waiting {
                    correlation,
                    answer: outgoing.answer,
                });
                None
            } else {
                Some(outgoing.answer)
            };
            small.extend_from_slice(&outgoing.head);
            for piece in outgoing.rest {
                if piece.len() < 4096 {
                    small.extend_from_slice(&piece);
                    continue;
                }
                if let Err(error) = writer.write_all_buf(&mut small).await {
                    return error;
                }
                let mut piece = piece;
                if let Err(error) = writer.write_all_buf(&mut piece).await {
                    return error;
                }
            }
            if (unanswered.is_some() || small.len() >= READ_BUFFER)
                && let Err(error) = writer.write_all_buf(&mut small).await
            {
                return error;
            }
            if let Some(answer) = unanswered {
                answer.send(Ok(Bytes::new())).ok();
            }
            match queue.try_recv() {
                Ok(next) => outgoing = next,
                Err(_) => break,
            }
        }
        if let Err(error) = writer.write_all_buf(&mut small).await {
            return error;
        }
        *activity.lock() = Instant::now();
    }
}

async fn read_responses(
    mut reader: OwnedReadHalf,
    waiting: &Mutex<VecDeque<Waiting>>,
    activity: &Mutex<Instant>,
    limit: usize,
) -> io::Error {
    let mut buffer = BytesMut::with_capacity(WAITING_BUFFER);
    loop {
        let frame = match read_frame(&mut reader, &mut buffer, limit).await {
            Ok(frame) => frame,
            Err(error) => return error,
        };
        *activity.lock() = Instant::now();
        let Some(correlation) = frame.first_chunk::<4>().map(|id| i32::from_be_bytes(*id)) else {
            return invalid("an answer without correlation id".to_owned());
        };
        let Some(first) = waiting.lock().pop_front() else {
            return invalid(format!("answer {correlation} came without a request"));
        };
        if first.correlation != correlation {
            let expected = first.correlation;
            first
                .answer
                .send(Err(ClientError::Protocol {
                    context: "a broker answered out of order".to_owned(),
                    reason: format!("expected answer {expected}, got {correlation}"),
                }))
                .ok();
            return invalid(format!("expected answer {expected}, got {correlation}"));
        }
        // A caller that gave up needs no answer.
        first.answer.send(Ok(frame)).ok();
    }
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

async fn read_frame(
    reader: &mut OwnedReadHalf,
    buffer: &mut BytesMut,
    limit: usize,
) -> io::Result<Bytes> {
    let closed = || io::Error::new(io::ErrorKind::UnexpectedEof, "the broker closed it");
    while buffer.len() < 4 {
        buffer.reserve(WAITING_BUFFER);
        if reader.read_buf(buffer).await? == 0 {
            return Err(closed());
        }
    }
    let prefix = buffer
        .first_chunk::<4>()
        .map_or(0, |length| u32::from_be_bytes(*length));
    let length = usize::try_from(prefix).unwrap_or(usize::MAX);
    if length > limit {
        return Err(invalid(format!(
            "an answer of {length} bytes is over the limit of {limit}"
        )));
    }
    let total = length.saturating_add(4);
    while buffer.len() < total {
        let missing = total - buffer.len();
        if buffer.capacity() - buffer.len() < missing.min(READ_BUFFER) {
            // What arrived so far bounds what is reserved next.
            buffer.reserve(missing.min(FIRST_RESERVE.max(buffer.len())));
        }
        if reader.read_buf(buffer).await? == 0 {
            return Err(closed());
        }
    }
    let mut frame = buffer.split_to(total);
    frame.advance(4);
    Ok(frame.freeze())
}

#[cfg(test)]
mod tests {
    use kafka_wire::ApiVersionsRequest;
    use tokio::net::TcpListener;

    use super::*;

    /// ApiVersions 0 to 4 and nothing else, in an answer of version 4.
    const API_VERSIONS: &[u8] = b"\0\0\0\x13\0\0\0\0\0\0\x02\0\x03\0\0\0\x04\0\0\0\0\0\0";

    #[tokio::test]
    async fn a_request_that_was_given_up_keeps_no_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let silent = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let length = socket.read_u32().await.unwrap();
            socket
                .read_exact(&mut vec![0; length as usize])
                .await
                .unwrap();
            socket.write_all(API_VERSIONS).await.unwrap();
            socket.read_to_end(&mut Vec::new()).await.unwrap();
        });
        let config = ClientConfig::new([addr.as_str()]);
        let connection = Connection::open(&addr, &config).await.unwrap();
        let request = ApiVersionsRequest::default();
        let version = ApiVersion::new(0);
        drop(connection.submit(&request, version).await.unwrap());
        drop(connection);
        let closed = tokio::time::timeout(Duration::from_secs(5), silent).await;
        closed.expect("it is still open").unwrap();
    }
}
