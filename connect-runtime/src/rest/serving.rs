//! Connections to a listener: accepted, secured, served.
//!
//! Each has a task of its own, from its first byte on, so that nobody waits for a slow one: not for a
//! TLS handshake, not for the head of a request, not for whoever does not read its answer. All of that
//! has a deadline, and the number of connections a limit; more wait to be accepted.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use platform::net::{TcpListener, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::tls::Tls;

/// Connections of one listener at a time; others wait.
const CONNECTIONS_MAX: usize = 256;
/// The pause after a connection could not be accepted, such as for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be without a whole head of a request: at its beginning, and between two
/// requests. Jetty's idle time, too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take no byte of an answer.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Whose request it is, by its address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Serves a listener, until it is dropped; its connections end then, too.
pub(super) async fn serve(listener: TcpListener, tls: Option<Arc<Tls>>, app: Router) {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    // The semaphore is never closed, so there is always a place at some time.
    while let Ok(place) = Arc::clone(&free).acquire_owned().await {
        let (stream, peer) = loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => break accepted,
                    Err(error) => {
                        tracing::warn!("the REST interface cannot accept a connection: {error}");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        };
        let acceptor = tls.as_ref().map(|tls| tls.acceptor());
        connections.spawn(connection(stream, peer, acceptor, app.clone(), place));
    }
}

/// One connection from its beginning to its end; it has its place until then.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    app: Router,
    _place: OwnedSemaphorePermit,
) {
    let Some(acceptor) = acceptor else {
        return requests(stream, peer, app).await;
    };
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => requests(stream, peer, app).await,
        Ok(Err(error)) => tracing::debug!("no TLS connection with {peer}: {error}"),
        Err(_) => tracing::debug!("no TLS connection with {peer}: its handshake takes too long"),
    }
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    app: Router,
) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(
            TokioIo::new(Impatient::new(stream)),
            TowerToHyperService::new(app.layer(Extension(Peer(peer)))),
        )
        .await;
    if let Err(error) = served {
        tracing::debug!("the connection with {peer} ended: {error}");
    }
}

/// A stream whose reader may not stand still for ever.
struct Impatient<S> {
    stream: S,
    /// There while something waits to be written.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            stalled: None,
        }
    }

    /// What is ready ends the wait; what is not is waited for until its time is over.
    fn bounded<T>(
        &mut self,
        context: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stalled = None;
            return progress;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(STALL_TIMEOUT)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(context, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.bounded(context, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_flush(context);
        self.bounded(context, progress)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_shutdown(context);
        self.bounded(context, progress)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::path::Path;

    use super::*;
    use crate::config::{ClientAuth, Pem, TlsConfig, TlsVersion};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    /// After how long the server ends a connection on which this was said.
    async fn patience_with(said: &[u8], tls: Option<Arc<Tls>>) -> Duration {
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let listener = TcpListener::bind(any).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, tls, Router::new()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(said).await.unwrap();
        let begun = Instant::now();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        server.abort();
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_request_is_not_waited_for_for_ever() {
        for said in ["", "GET / HTTP/1.1\r\nHost: local"] {
            let waited = patience_with(said.as_bytes(), None).await;
            assert!(waited >= HEAD_TIMEOUT, "{said}: {waited:?}");
            assert!(waited < HEAD_TIMEOUT * 2, "{said}: {waited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn neither_is_half_a_handshake() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testing/certificates");
        let config = TlsConfig {
            prefix: "",
            keys: Pem::File(folder.join("server.pem")),
            client_auth: ClientAuth::None,
            trust: None,
            versions: vec![TlsVersion::Tls13],
            cipher_suites: Vec::new(),
        };
        let tls = Arc::new(Tls::load(config).await.unwrap());
        for said in [&[][..], &[22, 3, 1, 2]] {
            let waited = patience_with(said, Some(Arc::clone(&tls))).await;
            assert!(waited >= HANDSHAKE_TIMEOUT, "{waited:?}");
            assert!(waited < HANDSHAKE_TIMEOUT * 2, "{waited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_loses_its_connection() {
        let (near, _far) = tokio::io::duplex(4);
        let mut near = Impatient::new(near);
        let begun = Instant::now();
        let error = near.write_all(b"longer than four bytes").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), STALL_TIMEOUT);
    }
}
