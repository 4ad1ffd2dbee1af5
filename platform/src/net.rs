//! TCP: tokio's, or turmoil's inside a simulation.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A listening TCP socket.
pub struct TcpListener(Listener);

enum Listener {
    Real(tokio::net::TcpListener),
    #[cfg(feature = "simulation")]
    Simulated(turmoil::net::TcpListener),
}

impl TcpListener {
    /// Listens on `address`; port 0 picks a free one.
    ///
    /// # Errors
    /// The operating system's: address in use, not available, not permitted.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        #[cfg(feature = "simulation")]
        if crate::simulated() {
            // A simulated host has one address; listening on "any" is how turmoil names it.
            let any = SocketAddr::from(([0, 0, 0, 0], address.port()));
            return Ok(Self(Listener::Simulated(
                turmoil::net::TcpListener::bind(any).await?,
            )));
        }
        let socket = if address.is_ipv4() {
            tokio::net::TcpSocket::new_v4()?
        } else {
            tokio::net::TcpSocket::new_v6()?
        };
        // A restart must not wait for connections of the previous run to leave TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self(Listener::Real(socket.listen(BACKLOG)?)))
    }

    /// Waits for a connection. Cancel-safe.
    ///
    /// # Errors
    /// The operating system's; out of file handles is the one to expect, and passes.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.0 {
            Listener::Real(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((TcpStream(Stream::Real(stream)), peer))
            }
            #[cfg(feature = "simulation")]
            Listener::Simulated(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((TcpStream(Stream::Simulated(stream)), peer))
            }
        }
    }

    /// The address it listens on, with the port that was picked.
    ///
    /// # Errors
    /// The operating system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Listener::Real(listener) => listener.local_addr(),
            #[cfg(feature = "simulation")]
            Listener::Simulated(listener) => listener.local_addr(),
        }
    }
}

/// Calls one of tokio's poll methods on whichever stream is inside.
macro_rules! delegate {
    ($self:ident, $kind:ident, $method:ident $(, $argument:expr)*) => {
        match &mut $self.get_mut().0 {
            $kind::Real(stream) => Pin::new(stream).$method($($argument),*),
            #[cfg(feature = "simulation")]
            $kind::Simulated(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

macro_rules! reads {
    ($type:ident, $kind:ident) => {
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                delegate!(self, $kind, poll_read, context, buffer)
            }
        }
    };
}

macro_rules! writes {
    ($type:ident, $kind:ident) => {
        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                delegate!(self, $kind, poll_write, context, bytes)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                delegate!(self, $kind, poll_write_vectored, context, slices)
            }

            fn is_write_vectored(&self) -> bool {
                match &self.0 {
                    $kind::Real(stream) => stream.is_write_vectored(),
                    #[cfg(feature = "simulation")]
                    $kind::Simulated(stream) => stream.is_write_vectored(),
                }
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                delegate!(self, $kind, poll_flush, context)
            }

            fn poll_shutdown(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                delegate!(self, $kind, poll_shutdown, context)
            }
        }
    };
}

/// Connects in a simulation. Where nothing gets through, turmoil refuses at once; a network says
/// nothing then, and the system asks again, a second later at first and six times at most.
#[cfg(feature = "simulation")]
async fn simulated_connect(address: SocketAddr) -> io::Result<turmoil::net::TcpStream> {
    for attempt in 0..=6 {
        let asked = tokio::time::Instant::now();
        let connected = turmoil::net::TcpStream::connect(address).await;
        let refused = connected
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if !refused || !asked.elapsed().is_zero() {
            return connected;
        }
        tokio::time::sleep(std::time::Duration::from_secs(1 << attempt)).await;
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// A TCP connection.
#[derive(Debug)]
pub struct TcpStream(Stream);

#[derive(Debug)]
enum Stream {
    Real(tokio::net::TcpStream),
    #[cfg(feature = "simulation")]
    Simulated(turmoil::net::TcpStream),
}

reads!(TcpStream, Stream);
writes!(TcpStream, Stream);

impl TcpStream {
    /// Connects to `address`. Has no time limit of its own.
    ///
    /// # Errors
    /// The operating system's: refused, unreachable.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        #[cfg(feature = "simulation")]
        if crate::simulated() {
            return Ok(Self(Stream::Simulated(simulated_connect(address).await?)));
        }
        Ok(Self(Stream::Real(
            tokio::net::TcpStream::connect(address).await?,
        )))
    }

    /// The other side's address.
    ///
    /// # Errors
    /// The operating system's, when the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Stream::Real(stream) => stream.peer_addr(),
            #[cfg(feature = "simulation")]
            Stream::Simulated(stream) => stream.peer_addr(),
        }
    }

    /// Our side's address: the one the peer reached.
    ///
    /// # Errors
    /// The operating system's, when the connection is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Stream::Real(stream) => stream.local_addr(),
            #[cfg(feature = "simulation")]
            Stream::Simulated(stream) => stream.local_addr(),
        }
    }

    /// Sends small writes at once (`true`) instead of gathering them (Nagle's algorithm).
    ///
    /// # Errors
    /// The operating system's, when the connection is gone.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match &self.0 {
            Stream::Real(stream) => stream.set_nodelay(nodelay),
            #[cfg(feature = "simulation")]
            Stream::Simulated(stream) => stream.set_nodelay(nodelay),
        }
    }

    /// Splits into a half to read and a half to write, for two tasks. Dropping the write half
    /// closes the connection for writing.
    #[must_use]
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        match self.0 {
            Stream::Real(stream) => {
                let (read, write) = stream.into_split();
                (
                    OwnedReadHalf(ReadHalf::Real(read)),
                    OwnedWriteHalf(WriteHalf::Real(write)),
                )
            }
            #[cfg(feature = "simulation")]
            Stream::Simulated(stream) => {
                let (read, write) = stream.into_split();
                (
                    OwnedReadHalf(ReadHalf::Simulated(read)),
                    OwnedWriteHalf(WriteHalf::Simulated(write)),
                )
            }
        }
    }
}

/// The reading half of a [`TcpStream`].
#[derive(Debug)]
pub struct OwnedReadHalf(ReadHalf);

#[derive(Debug)]
enum ReadHalf {
    Real(tokio::net::tcp::OwnedReadHalf),
    #[cfg(feature = "simulation")]
    Simulated(turmoil::net::tcp::OwnedReadHalf),
}

reads!(OwnedReadHalf, ReadHalf);

/// The writing half of a [`TcpStream`].
#[derive(Debug)]
pub struct OwnedWriteHalf(WriteHalf);

#[derive(Debug)]
enum WriteHalf {
    Real(tokio::net::tcp::OwnedWriteHalf),
    #[cfg(feature = "simulation")]
    Simulated(turmoil::net::tcp::OwnedWriteHalf),
}

writes!(OwnedWriteHalf, WriteHalf);

/// Host and port of `host:port`, where an IPv6 host is in brackets; none if it is not that.
#[must_use]
pub fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']), port.parse().ok()?))
}

/// The addresses of `host`, IPv4 before IPv6, so that `localhost` reaches a server on 127.0.0.1
/// at the first try.
///
/// # Errors
/// When the name is unknown or has no address.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    #[cfg(feature = "simulation")]
    if crate::simulated() {
        return Ok(vec![SocketAddr::new(turmoil::lookup(host), port)]);
    }
    let mut found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.dedup();
    if found.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("host name \"{host}\" has no address"),
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_name_resolves_to_ipv4_first() {
        let found = resolve("localhost", 9092).await.unwrap();
        assert!(found.first().unwrap().is_ipv4());
        let bracketed = resolve("[::1]", 1).await.unwrap();
        assert!(bracketed.first().unwrap().is_ipv6());
    }

    #[tokio::test]
    async fn halves_carry_bytes_both_ways() {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut read, mut write) = client.unwrap().into_split();
        let (mut server, _) = server.unwrap();
        write.write_all(b"ping").await.unwrap();
        let mut got = [0; 4];
        server.read_exact(&mut got).await.unwrap();
        server.write_all(&got).await.unwrap();
        read.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"ping");
    }
}
