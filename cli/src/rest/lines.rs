//! An answer that goes on: lines of JSON, as they come.

use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::time::timeout;

use super::{ANSWER_TIMEOUT, Answer, Rest};
use crate::CliError;

/// The longest line, in bytes.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

impl Rest {
    /// Follows what is at a path, line by line, for as long as `each` wants more of it. An answer that says
    /// no comes back. Cancel-safe.
    ///
    /// # Errors
    /// Nobody answers, or something that is no worker; what `each` says.
    pub async fn follow(
        &self,
        path: &str,
        mut each: impl FnMut(&Value) -> Result<bool, CliError>,
    ) -> Result<Option<Answer>, CliError> {
        let stream = self.connect().await?;
        let request = self
            .request(Method::GET, path)
            .body(http_body_util::Empty::<Bytes>::new())
            .map_err(|error| self.broken(&error))?;
        let failed = |error: hyper::Error| self.broken(&error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        let answer = async {
            let response = timeout(ANSWER_TIMEOUT, sender.send_request(request)).await;
            let response = response
                .map_err(|error| self.broken(&error))?
                .map_err(failed)?;
            let status = response.status();
            let mut body = response.into_body();
            let mut pending = Vec::new();
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(failed)?.into_data() else {
                    continue;
                };
                pending.extend_from_slice(&data);
                if pending.len() > LINE_BYTES_MAX {
                    return Err(self.broken(&"a line is too long"));
                }
                while status.is_success()
                    && let Some(end) = memchr::memchr(b'\n', &pending)
                {
                    let line: Vec<u8> = pending.drain(..=end).collect();
                    let line = self.understand(status.as_u16(), &line)?.body;
                    if !each(&line)? {
                        return Ok(None);
                    }
                }
            }
            match status.is_success() {
                true => Ok(None),
                false => self.understand(status.as_u16(), &pending).map(Some),
            }
        };
        tokio::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            // All that was read is there already, also when the connection ends first.
            ended = connection => match ended {
                Ok(()) => answer.await,
                Err(error) => Err(failed(error)),
            },
        }
    }
}
