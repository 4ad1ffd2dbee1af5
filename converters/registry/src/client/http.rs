//! One question to a registry: which of its addresses answers, with which credentials, within which time.
//!
//! A connection lasts for one request: answers are kept by those who ask, so that there are a few
//! requests a schema, not a record.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use connect_core::config::Password;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::Address;
use super::tls::Tls;

/// The largest answer: a schema with all that is said about it.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What registries speak, and plain JSON for those that stand in for one.
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
const ACCEPT: &str = "application/vnd.schemaregistry.v1+json, application/json; q=0.9";

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    /// Behind the registry's own path, with its query.
    pub(crate) path: String,
    /// JSON to post; without it, something is got.
    pub(crate) body: Option<String>,
}

/// What was answered, whether yes or no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// No address gave an answer that means anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreachable(pub(crate) String);

/// Where a registry is and how to talk to it.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) addresses: Vec<Address>,
    /// For the header `Authorization`, where an address has none of its own.
    pub(crate) authorization: Option<Password>,
    pub(crate) connect_timeout: Duration,
    pub(crate) answer_timeout: Duration,
    pub(crate) tls: Option<Tls>,
    /// The address that answered last.
    pub(crate) current: AtomicUsize,
}

impl Http {
    /// Asks on this thread, which must not be one of a runtime.
    pub(crate) fn ask_and_wait(&self, request: &Request) -> Result<Answer, Unreachable> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Unreachable(format!("no runtime could be started: {error}")))?;
        let answer = runtime.block_on(self.ask(request));
        // A name that is still being looked up does not hold anybody up.
        runtime.shutdown_background();
        answer
    }

    /// Asks the address that answered last, then the others.
    async fn ask(&self, request: &Request) -> Result<Answer, Unreachable> {
        let first = self.current.load(Ordering::Relaxed);
        let count = self.addresses.len();
        let mut problems = String::new();
        for at in (0..count).map(|step| (first + step) % count) {
            let Some(address) = self.addresses.get(at) else {
                continue;
            };
            let problem = match self.exchange(address, request).await {
                Ok(answer) if !is_outage(answer.status) => {
                    self.current.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(answer) => format!("HTTP {}{}", answer.status, said(&answer.body)),
                Err(problem) => problem,
            };
            let separator = if problems.is_empty() { "" } else { "; " };
            // Writing to a string does not fail.
            let _ok = write!(problems, "{separator}{address}: {problem}").is_ok();
        }
        Err(Unreachable(problems))
    }

    async fn exchange(&self, address: &Address, request: &Request) -> Result<Answer, String> {
        let opening = TcpStream::connect((address.host.as_str(), address.port));
        let stream = match timeout(self.connect_timeout, opening).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("no connection within {:?}", self.connect_timeout)),
        };
        let answer = async {
            match &self.tls {
                Some(tls) if address.secure => {
                    let stream = tls.connect(&address.host, stream).await?;
                    self.speak(stream, address, request).await
                }
                _ => self.speak(stream, address, request).await,
            }
        };
        match timeout(self.answer_timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {:?}", self.answer_timeout)),
        }
    }

    async fn speak<S>(
        &self,
        stream: S,
        address: &Address,
        request: &Request,
    ) -> Result<Answer, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let request = self.request(address, request)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| described(&error))?;
        let answer = async move {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| described(&error))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            let body = body.collect().await.map_err(|error| error.to_string())?;
            Ok(Answer {
                status,
                body: body.to_bytes(),
            })
        };
        tokio::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            // All that was read is there already, also when the connection ends first.
            ended = connection => match ended {
                Ok(()) => answer.await,
                Err(error) => Err(described(&error)),
            },
        }
    }

    fn request(
        &self,
        address: &Address,
        request: &Request,
    ) -> Result<hyper::Request<Full<Bytes>>, String> {
        let method = match request.body {
            Some(_) => Method::POST,
            None => Method::GET,
        };
        let body = request.body.clone().unwrap_or_default();
        let mut builder = hyper::Request::builder()
            .method(method)
            .uri(format!("{}{}", address.path, request.path))
            .header(header::HOST, address.authority())
            .header(header::ACCEPT, ACCEPT)
            .header(header::CONTENT_TYPE, CONTENT_TYPE)
            .header(header::CONNECTION, "close");
        let own = address.authorization.as_ref();
        if let Some(authorization) = own.or(self.authorization.as_ref()) {
            let mut value = header::HeaderValue::from_str(authorization.reveal())
                .map_err(|_| "the credentials have characters that no header may have")?;
            value.set_sensitive(true);
            builder = builder.header(header::AUTHORIZATION, value);
        }
        builder
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())
    }
}

/// Whether an answer says no more than that this address cannot answer now.
fn is_outage(status: u16) -> bool {
    status >= 500 || status == 429 || status == 408
}

/// What an answer says in words, for a person.
pub(crate) fn said(body: &[u8]) -> String {
    let message = serde_json::from_slice::<serde_json::Value>(body).ok();
    let message = message.as_ref().and_then(|json| {
        // Some registries have one and some the other.
        let text = json.get("message").or_else(|| json.get("detail"));
        text.and_then(serde_json::Value::as_str)
    });
    match message {
        Some(message) => format!(": {}", message.chars().take(1000).collect::<String>()),
        None => String::new(),
    }
}

fn described(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let _ok = write!(text, ": {error}").is_ok();
        cause = error.source();
    }
    text
}
