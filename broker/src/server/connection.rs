//! One client's connection.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use platform::net::{OwnedWriteHalf, TcpStream};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::frames::{FrameError, Frames};
use super::limits::{RequestMemory, Taken};
use crate::api::{self, RequestError, Response};
use crate::node::{RequestContext, stopped};

/// Requests that are read ahead of the one being answered. The client's own limit is 5 by default.
const PIPELINED_MAX: usize = 8;
/// How long a response may take to be written, whatever its size, ...
const WRITE_TIME: Duration = Duration::from_secs(60);
/// ... and the rate at which more is allowed for large ones.
const WRITE_BYTES_PER_SECOND_MIN: u64 = 64 * 1024;
/// How long the requests of a peer that sends no more may take.
const LAST_ANSWERS_TIME: Duration = Duration::from_secs(30);
/// Pieces of a response that are written with one system call.
const PIECES_PER_WRITE: usize = 32;

/// A connection and what it needs to live.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) ctx: RequestContext,
    pub(super) memory: Arc<RequestMemory>,
    /// True once the broker stops: what was read is still answered, nothing more is read.
    pub(super) stopping: watch::Receiver<bool>,
}

impl Connection {
    /// Answers requests until the peer leaves, breaks the rules or the broker stops.
    pub(super) async fn run(self) {
        let peer = self.ctx.peer;
        if let Err(error) = self.stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "connection is gone");
            return;
        }
        let config = &self.ctx.broker.config;
        let (read, write) = self.stream.into_split();
        let frames = Frames::new(
            read,
            config.socket_request_bytes_max,
            config.connection_idle_max,
        );
        let (sender, receiver) = mpsc::channel(PIPELINED_MAX);
        let mut stopping = self.stopping;
        let reading = async move {
            tokio::select! {
                () = read_requests(frames, sender, self.memory, peer) => {}
                () = stopped(&mut stopping) => {}
            }
        };
        let answering = answer_requests(&self.ctx, receiver, write);
        tokio::pin!(reading, answering);
        tokio::select! {
            // The peer has sent its last; what it sent is still answered. But it may be gone, and
            // then nobody waits for a fetch that waits for records.
            () = &mut reading => {
                if timeout(LAST_ANSWERS_TIME, answering).await.is_err() {
                    tracing::debug!(%peer, "the peer left without waiting for its last answers");
                }
            }
            // Nothing can be answered any more, so nothing more is read.
            () = &mut answering => {}
        }
    }
}

/// A request on its way from the reading to the answering side.
struct Request {
    frame: Bytes,
    taken: Taken,
    /// Shared by all requests of the connection that are not answered yet.
    in_flight: Arc<()>,
}

async fn read_requests(
    mut frames: Frames,
    requests: mpsc::Sender<Request>,
    memory: Arc<RequestMemory>,
    peer: std::net::SocketAddr,
) {
    let in_flight = Arc::new(());
    loop {
        // Room first: while there is none, the peer's bytes stay in the network.
        memory.room().await;
        match frames.next().await {
            Ok(Some(frame)) => {
                let request = Request {
                    taken: memory.take(frame.len()),
                    frame,
                    in_flight: in_flight.clone(),
                };
                if requests.send(request).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            // Not idle: it waits for us.
            Err(FrameError::Idle(_)) if Arc::strong_count(&in_flight) > 1 => {}
            Err(error @ FrameError::Idle(_)) => {
                tracing::debug!(%peer, %error, "closing a connection");
                return;
            }
            Err(FrameError::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                tracing::debug!(%peer, "the peer reset the connection");
                return;
            }
            Err(error) => {
                tracing::warn!(%peer, %error, "closing a connection");
                return;
            }
        }
    }
}

async fn answer_requests(
    ctx: &RequestContext,
    mut requests: mpsc::Receiver<Request>,
    mut stream: OwnedWriteHalf,
) {
    while let Some(request) = requests.recv().await {
        let Request {
            frame,
            taken,
            in_flight,
        } = request;
        let response = match api::dispatch(ctx, frame).await {
            Ok(response) => response,
            Err(error @ RequestError::NotReady) => {
                tracing::debug!(peer = %ctx.peer, %error, "closing a connection");
                break;
            }
            Err(error) => {
                tracing::warn!(peer = %ctx.peer, %error, "closing a connection");
                break;
            }
        };
        drop(taken);
        let Some(response) = response else { continue };
        if let Err(error) = write(&mut stream, response).await {
            tracing::debug!(peer = %ctx.peer, %error, "cannot write a response");
            return;
        }
        drop(in_flight);
    }
    if let Err(error) = stream.shutdown().await {
        tracing::trace!(peer = %ctx.peer, %error, "the connection was closed already");
    }
}

/// Writes all pieces, within a time that grows with their size.
async fn write(stream: &mut OwnedWriteHalf, response: Response) -> io::Result<()> {
    let extra = u64::try_from(response.len()).unwrap_or(u64::MAX) / WRITE_BYTES_PER_SECOND_MIN;
    let deadline = Instant::now() + WRITE_TIME + Duration::from_secs(extra);
    // Counted until this ends.
    let _held = response.held;
    let mut pieces: std::collections::VecDeque<Bytes> = response.pieces.into();
    while !pieces.is_empty() {
        let slices: Vec<IoSlice<'_>> = pieces
            .iter()
            .take(PIECES_PER_WRITE)
            .map(|piece| IoSlice::new(piece))
            .collect();
        let mut written = timeout_at(deadline, stream.write_vectored(&slices))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the peer does not read"))??;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(first) = pieces.front_mut() {
            if first.len() > written {
                first.advance(written);
                break;
            }
            written -= first.len();
            pieces.pop_front();
        }
    }
    Ok(())
}
