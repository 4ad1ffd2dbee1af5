//! A worker as its REST interface shows it: Kafka Connect's, so that this works with its workers, too.
//!
//! Every request has a connection of its own: a command makes a few, and somebody waits for it. What is
//! answered is bounded in size and time. An answer that says no is a value: the caller may know better
//! than the server what to do about it.

mod failure;
mod lines;
mod url;

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::CliError;
use crate::invocation::Invocation;
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

/// Where the worker is.
#[derive(Debug, Clone, clap::Args)]
pub struct RestArguments {
    /// The worker's REST interface [default: $CONNECT_URL, else http://127.0.0.1:8083].
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

impl RestArguments {
    /// The REST interface that the option, the environment or the default names.
    ///
    /// # Errors
    /// It is no URL of this kind.
    pub fn rest(&self, invocation: &Invocation) -> Result<Rest, CliError> {
        let (text, source) = match (&self.url, std::env::var(VARIABLE)) {
            (Some(text), _) => (text.clone(), "--url"),
            (None, Ok(text)) if !text.trim().is_empty() => (text, VARIABLE),
            (None, _) => (DEFAULT_URL.to_owned(), "the default"),
        };
        let url = Url::parse(&text).map_err(|problem| {
            invocation.usage(format!(
                "\"{text}\" ({source}) {problem}; an example is \"{DEFAULT_URL}\""
            ))
        })?;
        Ok(Rest { url })
    }
}

/// A worker's REST interface.
#[derive(Debug, Clone)]
pub struct Rest {
    url: Url,
}

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
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url.path))
            .header(header::HOST, &self.url.authority)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
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

    async fn connect(&self) -> Result<TcpStream, CliError> {
        let opening = TcpStream::connect((self.url.host.as_str(), self.url.port));
        match timeout(CONNECT_TIMEOUT, opening).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(self.unreachable(&error.to_string())),
            Err(_) => {
                let within = format!("no connection within {} seconds", CONNECT_TIMEOUT.as_secs());
                Err(self.unreachable(&within))
            }
        }
    }

    /// Sends a request and reads the answer. The connection ends with it.
    async fn exchange(
        &self,
        stream: TcpStream,
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

    fn broken(&self, error: &dyn std::fmt::Display) -> CliError {
        CliError::failed(format!(
            "error: the worker at {} gave no whole answer: {error}; what was asked for may be done all \
             the same, look with 'connect connectors list'",
            self.url
        ))
    }
}

/// A path of these parts, such as `/connectors/a%20b/status`.
pub fn path<T: AsRef<str>>(parts: &[T]) -> String {
    let encoded = parts.iter().map(|part| url::encoded(part.as_ref()));
    encoded.fold(String::new(), |path, part| path + "/" + &part)
}
