//! A worker as its REST interface shows it: Kafka Connect's, so that this works with its workers, too.
//!
//! Every request has a connection of its own: a command makes a few, and somebody waits for it. What is
//! answered is bounded in size and time. An answer that says no is a value: the caller may know better
//! than the server what to do about it.
//!
//! A worker may ask for a user and speak TLS: [`RestArguments`] has all of it, which may also be in the
//! environment or in a file. A password is never an argument, because everybody on the machine can read
//! those.

mod arguments;
mod failure;
mod lines;
mod secret;
mod tls;
mod url;

use std::fmt;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HeaderValue;
use hyper::http::request;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::CliError;
pub use arguments::RestArguments;
pub use secret::{hidden_line, is_terminal};
use url::Url;

/// Where the worker is unless an option says so.
const VARIABLE: &str = "CONNECT_URL";
const DEFAULT_URL: &str = "http://127.0.0.1:8083";
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take. The worker gives up after 90 seconds, and its word is better than none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(100);
/// The largest answer, in bytes: room for thousands of connectors.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A worker's REST interface.
#[derive(Clone)]
pub struct Rest {
    url: Url,
    /// What proves who we are, if anything has to.
    authorization: Option<HeaderValue>,
    /// What secures connections, if the URL asks for that.
    tls: Option<TlsConnector>,
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// A connection, whatever secures it.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What was answered, whether yes or no.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON of the body; null if there is none.
    pub body: Value,
}

impl Rest {
    /// Asks for what is at a path.
    ///
    /// # Errors
    /// Nobody answers, or something that is no Kafka Connect.
    pub async fn get(&self, path: &str) -> Result<Answer, CliError> {
        self.send(Method::GET, path, None).await
    }

    /// Puts something at a path.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn put(&self, path: &str, body: Option<&Value>) -> Result<Answer, CliError> {
        self.send(Method::PUT, path, body).await
    }

    /// Changes a part of what is at a path.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Answer, CliError> {
        self.send(Method::PATCH, path, Some(body)).await
    }

    /// Has something made.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn post(&self, path: &str, body: Option<&Value>) -> Result<Answer, CliError> {
        self.send(Method::POST, path, body).await
    }

    /// Removes what is at a path.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn delete(&self, path: &str) -> Result<Answer, CliError> {
        self.send(Method::DELETE, path, None).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, CliError> {
        let stream = self.connect().await?;
        let bytes = body.map(|body| Bytes::from(body.to_string()));
        let request = self
            .request(method, path)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(bytes.unwrap_or_default()))
            .map_err(|error| self.broken(&error))?;
        match timeout(ANSWER_TIMEOUT, self.exchange(stream, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(CliError::failed(format!(
                "error: {} gave no answer within {} seconds; what was asked for may still be done, look \
                 with 'connect connectors list'",
                self.url,
                ANSWER_TIMEOUT.as_secs()
            ))),
        }
    }

    /// A request as every one begins: to whom it goes, and from whom it is.
    fn request(&self, method: Method, path: &str) -> request::Builder {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url.path))
            .header(header::HOST, &self.url.authority)
            .header(header::CONNECTION, "close");
        match &self.authorization {
            None => request,
            Some(authorization) => request.header(header::AUTHORIZATION, authorization.clone()),
        }
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, CliError> {
        let within = format!("no connection within {} seconds", CONNECT_TIMEOUT.as_secs());
        let opening = TcpStream::connect((self.url.host.as_str(), self.url.port));
        let stream = match timeout(CONNECT_TIMEOUT, opening).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.unreachable(&error.to_string())),
            Err(_) => return Err(self.unreachable(&within)),
        };
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = tls::server_name(&self.url.host).map_err(|why| self.unreachable(&why))?;
        match timeout(CONNECT_TIMEOUT, tls.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(CliError::failed(format!(
                "error: no secure connection with {}: {}",
                self.url,
                tls::explained(&error)
            ))),
            Err(_) => Err(self.unreachable(&within)),
        }
    }

    /// Sends a request and reads the answer. The connection ends with it.
    async fn exchange(
        &self,
        stream: Box<dyn Stream>,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, CliError> {
        let failed = |error: hyper::Error| self.broken(&error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        let answer = async move {
            let response = sender.send_request(request).await.map_err(failed)?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            let body = body.collect().await.map_err(|error| self.broken(&error))?;
            self.understand(status, &body.to_bytes())
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

    fn understand(&self, status: u16, body: &[u8]) -> Result<Answer, CliError> {
        let read = match body {
            [] => Ok(Value::Null),
            body => serde_json::from_slice(body),
        };
        match read {
            Ok(body) => Ok(Answer { status, body }),
            // Kafka Connect's own way to ask for a password says why in plain text.
            Err(_) if status == 401 => {
                let message = String::from_utf8_lossy(body.get(..200).unwrap_or(body));
                let body = json!({"message": message.escape_debug().to_string()});
                Ok(Answer { status, body })
            }
            Err(_) => Err(CliError::failed(format!(
                "error: what answers at {} (with HTTP {status}) is no Kafka Connect worker; name the \
                 worker's REST interface with --url or {VARIABLE}",
                self.url
            ))),
        }
    }

    fn unreachable(&self, reason: &str) -> CliError {
        CliError::failed(format!(
            "error: no worker answers at {}: {reason}; start one with 'connect standalone WORKER CONNECTOR…', \
             or name another with --url or {VARIABLE}",
            self.url
        ))
    }

    fn broken(&self, error: &dyn fmt::Display) -> CliError {
        let hint = match self.tls.is_some() {
            true => "",
            false => ", or write https:// if that is what it speaks",
        };
        CliError::failed(format!(
            "error: the worker at {} gave no whole answer: {error}; what was asked for may be done all \
             the same, look with 'connect connectors list'{hint}",
            self.url
        ))
    }
}

/// A path of these parts, such as `/connectors/a%20b/status`.
pub fn path<T: AsRef<str>>(parts: &[T]) -> String {
    let encoded = parts.iter().map(|part| url::encoded(part.as_ref()));
    encoded.fold(String::new(), |path, part| path + "/" + &part)
}
