//! Lines of JSON on standard output, for programs that check what was written and read.

use connect_core::ConnectError;
use serde_json::Value as Json;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// What is to be printed, and where.
pub(crate) struct Lines {
    out: Box<dyn AsyncWrite + Send + Unpin>,
    /// Whole lines, of which the first `printed` bytes are out.
    pending: Vec<u8>,
    printed: usize,
}

impl Lines {
    /// Prints to standard output, from a thread that may block.
    pub(crate) fn stdout() -> Self {
        Self::to(tokio::io::stdout())
    }

    pub(crate) fn to(out: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        Self {
            out: Box::new(out),
            pending: Vec::new(),
            printed: 0,
        }
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, line: &Json) {
        self.pending.extend_from_slice(line.to_string().as_bytes());
        self.pending.push(b'\n');
    }

    /// Prints what was added. Cancel-safe: the rest stays for the next call, and nothing comes twice.
    ///
    /// # Errors
    /// Nobody reads any more; retriable, as all errors of the outside world.
    pub(crate) async fn print(&mut self) -> Result<(), ConnectError> {
        while let Some(rest) = self.pending.get(self.printed..)
            && !rest.is_empty()
        {
            let written = self.out.write(rest).await.map_err(refused)?;
            if written == 0 {
                return Err(refused(std::io::ErrorKind::WriteZero.into()));
            }
            self.printed += written;
        }
        self.pending.clear();
        self.printed = 0;
        self.out.flush().await.map_err(refused)
    }
}

fn refused(error: std::io::Error) -> ConnectError {
    ConnectError::retriable("standard output cannot be written to; see who reads it")
        .with_source(error)
}

/// Lines that tests read.
#[cfg(test)]
pub(crate) mod testing {
    use std::io;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll};

    use super::*;

    /// Collects what is printed.
    #[derive(Clone, Default)]
    pub(crate) struct Printed(Arc<Mutex<Vec<u8>>>);

    impl Printed {
        pub(crate) fn lines(&self) -> Lines {
            Lines::to(self.clone())
        }

        /// What was printed since the last call, without times, which differ.
        pub(crate) fn take(&self) -> Vec<Json> {
            let bytes = std::mem::take(&mut *self.0.lock().unwrap());
            let text = String::from_utf8(bytes).unwrap();
            let lines = text.lines().map(|line| {
                let mut json: Json = serde_json::from_str(line).unwrap();
                let time = json.as_object_mut().unwrap().remove("time_ms");
                assert!(time.is_none_or(|time| time.as_i64() > Some(0)));
                json
            });
            lines.collect()
        }
    }

    impl AsyncWrite for Printed {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
}
