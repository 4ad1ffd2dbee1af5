//! Cuts a connection's bytes into request frames: a length, then that many bytes.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use platform::net::OwnedReadHalf;
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::api;

/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;
/// What a connection at rest keeps to read into.
const BUFFER_BYTES: usize = 4096;
/// How far memory runs ahead of the bytes that have really arrived, so that a frame that is only
/// announced costs next to nothing.
const RESERVE_AHEAD_BYTES: usize = 1024 * 1024;
/// How long a frame that has begun may take, whatever its size, ...
const FRAME_TIME: Duration = Duration::from_secs(30);
/// ... and the rate at which more is allowed for large ones.
const FRAME_BYTES_PER_SECOND_MIN: u64 = 64 * 1024;

/// Why no further frame comes.
#[derive(Debug, Error)]
pub(super) enum FrameError {
    #[error("no request for {0:?} (connections.max.idle.ms)")]
    Idle(Duration),
    #[error(
        "a request of {bytes} bytes was not sent within {time:?}; the peer or the network is too slow"
    )]
    TooSlow { bytes: usize, time: Duration },
    #[error("a length of {0} bytes is not possible{hint}", hint = hint(*.0))]
    Impossible(i32),
    #[error("a request of {bytes} bytes is larger than {limit} ({key})")]
    TooLarge {
        bytes: usize,
        limit: usize,
        key: &'static str,
    },
    #[error("API key {0} is not one this broker answers, so this is no Kafka client of ours")]
    NotKafka(i16),
    #[error("the peer left in the middle of a request of {0} bytes")]
    CutOff(usize),
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
}

/// What a wrong length looks like to someone who knows other protocols.
fn hint(length: i32) -> &'static str {
    match &length.to_be_bytes() {
        b"GET " | b"POST" | b"HEAD" | b"PUT " => "; it looks like HTTP, but this is the Kafka port",
        [0x16, 0x03, ..] => "; it looks like TLS, set security.protocol=PLAINTEXT in the client",
        _ => "",
    }
}

/// Reads frames.
pub(super) struct Frames {
    stream: OwnedReadHalf,
    buffer: BytesMut,
    bytes_max: usize,
    idle_max: Duration,
}

impl Frames {
    pub(super) fn new(stream: OwnedReadHalf, bytes_max: usize, idle_max: Duration) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            bytes_max,
            idle_max,
        }
    }

    /// The next frame without its length; `None` when the peer has left after a whole one. Not
    /// cancel-safe in the middle of a frame.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        // Waiting for a request to begin, which may take long.
        if self.buffer.is_empty() {
            let idle = self.idle_max;
            let arrived = if idle.is_zero() {
                self.fill(BUFFER_BYTES).await?
            } else {
                timeout(idle, self.fill(BUFFER_BYTES))
                    .await
                    .map_err(|_| FrameError::Idle(idle))??
            };
            if arrived == 0 {
                return Ok(None);
            }
        }
        let begun = Instant::now();
        self.fill_to(LENGTH_BYTES, 0, begun).await?;
        let length = self.length()?;
        let whole = LENGTH_BYTES + length;
        let preamble = whole.min(LENGTH_BYTES + api::Preamble::BYTES);
        self.fill_to(preamble, length, begun).await?;
        self.check_api(length)?;
        self.fill_to(whole, length, begun).await?;
        let mut frame = self.buffer.split_to(whole);
        Ok(Some(frame.split_off(LENGTH_BYTES).freeze()))
    }

    /// The length of the frame that starts the buffer, checked.
    fn length(&self) -> Result<usize, FrameError> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else {
            return Err(FrameError::CutOff(0));
        };
        let announced = i32::from_be_bytes(*length);
        let length = usize::try_from(announced).map_err(|_| FrameError::Impossible(announced))?;
        if length < api::Preamble::BYTES || !hint(announced).is_empty() {
            return Err(FrameError::Impossible(announced));
        }
        if length > self.bytes_max {
            return Err(FrameError::TooLarge {
                bytes: length,
                limit: self.bytes_max,
                key: "socket.request.max.bytes",
            });
        }
        Ok(length)
    }

    /// Whether the frame is a request at all, before all of it is taken in.
    fn check_api(&self, length: usize) -> Result<(), FrameError> {
        let Some(preamble) = self
            .buffer
            .get(LENGTH_BYTES..)
            .and_then(api::Preamble::parse)
        else {
            return Err(FrameError::CutOff(length));
        };
        if !api::is_known(preamble.api_key) {
            return Err(FrameError::NotKafka(preamble.api_key));
        }
        if !api::may_be_large(preamble.api_key) && length > api::CONTROL_REQUEST_BYTES_MAX {
            return Err(FrameError::TooLarge {
                bytes: length,
                limit: api::CONTROL_REQUEST_BYTES_MAX,
                key: "the limit of requests without records",
            });
        }
        Ok(())
    }

    /// Reads until the buffer holds `wanted` bytes.
    async fn fill_to(
        &mut self,
        wanted: usize,
        frame: usize,
        begun: Instant,
    ) -> Result<(), FrameError> {
        let extra = u64::try_from(frame).unwrap_or(u64::MAX) / FRAME_BYTES_PER_SECOND_MIN;
        let time = FRAME_TIME + Duration::from_secs(extra);
        while self.buffer.len() < wanted {
            let missing = wanted - self.buffer.len();
            // Doubling: never more than twice what has arrived, plus the constant.
            let ahead = missing.min(self.buffer.len().max(RESERVE_AHEAD_BYTES));
            let arrived = timeout_at(begun + time, self.fill(ahead))
                .await
                .map_err(|_| FrameError::TooSlow { bytes: frame, time })??;
            if arrived == 0 {
                return Err(FrameError::CutOff(frame));
            }
        }
        Ok(())
    }

    /// Reads once, into at least `room` bytes.
    async fn fill(&mut self, room: usize) -> io::Result<usize> {
        self.buffer.reserve(room);
        self.stream.read_buf(&mut self.buffer).await
    }
}
