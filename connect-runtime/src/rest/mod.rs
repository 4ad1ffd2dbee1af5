//! The REST interface to a standalone worker, in the shapes of Kafka Connect 4.3, for the tools that
//! are there already.
//!
//! Everything is answered by the worker's own code from what it knows. What may have to wait for code
//! of connectors (creating, changing, stopping) goes on to its end even when the client is gone, and
//! is waited for at most [`DEADLINE`]. Errors are `{"error_code", "message"}`, always.
//!
//! Who may come in is said by users with passwords ([`gate`]) or by TLS ([`tls`]). Without either it
//! listens on this machine alone unless the configuration says otherwise, and takes no orders from web
//! pages: not from those of another origin that nobody allowed ([`cross_origin`]), nor under a name
//! that somebody else's name server may have given it ([`guard`]).
//!
//! What is done to a connector here is stored before it is answered, and outlives the worker. What is
//! done to one that a file on the command line has holds until that file is read again, at the next
//! start or when it is saved; nothing is ever written to it.

mod body;
mod connectors;
mod cross_origin;
mod failure;
mod gate;
mod guard;
mod health;
mod history;
mod lifecycle;
mod loggers;
mod metrics;
mod offsets;
mod openapi;
mod plugins;
mod response_headers;
mod routes;
mod serving;
mod status;
mod tap;
mod tasks;
mod tls;
mod topics;
mod validation;
mod version;
mod worker;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use platform::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::{
    AdminListeners, Advertised, CrossOrigin, HeaderRule, HttpListener, RestConfig, Scheme,
    TlsConfig,
};
use crate::worker::Worker;
use failure::Failure;
use gate::Gate;
use routes::Part;
use tls::Tls;

/// How long a request is worked on before its client is told that it takes too long.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// The largest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Why the REST interface cannot be there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestError {
    /// Another program has the port.
    #[error(
        "port {} is in use, so the REST interface cannot listen on {listener}; stop the program that \
         has it (another worker?), or set listeners to another port",
        listener.port
    )]
    PortInUse {
        /// Where it should have listened.
        listener: HttpListener,
    },
    /// It cannot listen there for another reason.
    #[error(
        "the REST interface cannot listen on {listener}: {source}; set listeners to an address of this machine"
    )]
    Listen {
        /// Where it should have listened.
        listener: HttpListener,
        /// Why.
        source: io::Error,
    },
    /// What should secure it cannot be used.
    #[error("the REST interface cannot listen with TLS: {reason}")]
    Tls {
        /// What is wrong with it.
        reason: String,
    },
}

/// The listeners of a REST interface; whoever connects waits until it is served.
pub struct RestListeners {
    listeners: Vec<Bound>,
    config: RestConfig,
}

/// A listener with its address.
struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    /// What was configured.
    configured: HttpListener,
    /// What secures it, if it is `https://`.
    tls: Option<Arc<Tls>>,
    part: Part,
}

impl Bound {
    /// What to call it by.
    fn url(&self) -> String {
        format!("{}://{}", self.configured.scheme, self.address)
    }
}

impl RestListeners {
    /// Listens on all configured addresses.
    ///
    /// # Errors
    /// One of them cannot be had, or what should secure it; none is, then.
    pub async fn bind(config: &RestConfig) -> Result<Self, RestError> {
        let mut listeners = Vec::new();
        let main = match config.admin {
            AdminListeners::WithOthers => Part::All,
            AdminListeners::Apart(_) => Part::AllButAdmin,
        };
        for (configured, tls, part) in [
            (config.listeners.as_slice(), &config.tls, main),
            (config.admin.own(), &config.admin_tls, Part::Admin),
        ] {
            let tls = load(tls.as_ref()).await?;
            for configured in configured {
                let (listener, address) = listen(configured).await?;
                let is_secure = configured.scheme == Scheme::Https;
                listeners.push(Bound {
                    listener,
                    address,
                    configured: configured.clone(),
                    tls: tls.clone().filter(|_| is_secure),
                    part,
                });
            }
        }
        Ok(Self {
            listeners,
            config: config.clone(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|bound| bound.address).collect()
    }

    /// Where it listens, as clients write it; without what is for `/admin/…` alone.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        let listeners = self.listeners.iter();
        let main = listeners.filter(|bound| bound.part != Part::Admin);
        main.map(Bound::url).collect()
    }

    /// Answers from now on, until the returned server is dropped. Must be called within a Tokio
    /// runtime.
    #[must_use]
    pub fn serve(self, worker: Arc<Worker>) -> RestServer {
        let rest = Rest {
            worker,
            worker_id: self.worker_id().into(),
        };
        let config = self.config;
        let doors = Doors {
            gate: Gate::new(&config.users, config.open_health),
            cross_origin: config.cross_origin.map(Arc::new),
            response_headers: config.response_headers.into(),
            remote: config.remote,
        };
        let mut serving = JoinSet::new();
        let mut followed: Vec<Arc<Tls>> = Vec::new();
        for bound in self.listeners {
            if let Some(tls) = &bound.tls
                && !followed.iter().any(|other| Arc::ptr_eq(other, tls))
            {
                followed.push(Arc::clone(tls));
                serving.spawn(Arc::clone(tls).follow());
            }
            let app = app(rest.clone(), &doors, &bound);
            serving.spawn(serving::serve(bound.listener, bound.tls, app));
        }
        RestServer { _serving: serving }
    }

    /// The address by which tools name this worker: what is advertised, or the first listener of the
    /// kind that is, or of any.
    fn worker_id(&self) -> String {
        let Advertised { host, port, scheme } = &self.config.advertised;
        let main = |bound: &&Bound| bound.part != Part::Admin;
        let mut listeners = self.listeners.iter().filter(main);
        let wanted = scheme.unwrap_or(Scheme::Http);
        let of_kind = listeners
            .clone()
            .find(|bound| bound.configured.scheme == wanted);
        let named = of_kind.or_else(|| listeners.next());
        let found = named.map(|bound| {
            let host = match bound.address.ip().is_unspecified() {
                true => platform::host::name(),
                false => bound.address.ip().to_string(),
            };
            (host, bound.address.port())
        });
        let (own_host, own_port) = found.unwrap_or_default();
        let host = host.as_ref().unwrap_or(&own_host);
        let port = port.unwrap_or(own_port);
        match (host.as_str(), host.contains(':')) {
            ("", _) => String::new(),
            (host, true) => format!("[{host}]:{port}"),
            (host, false) => format!("{host}:{port}"),
        }
    }
}

async fn load(config: Option<&TlsConfig>) -> Result<Option<Arc<Tls>>, RestError> {
    let Some(config) = config else {
        return Ok(None);
    };
    match Tls::load(config.clone()).await {
        Ok(tls) => Ok(Some(Arc::new(tls))),
        Err(reason) => Err(RestError::Tls { reason }),
    }
}

async fn listen(listener: &HttpListener) -> Result<(TcpListener, SocketAddr), RestError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => RestError::PortInUse {
            listener: listener.clone(),
        },
        _ => RestError::Listen {
            listener: listener.clone(),
            source,
        },
    };
    let addresses = platform::net::resolve(&listener.host, listener.port).await;
    let address = addresses.map_err(failed)?.into_iter().next();
    let address = address.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let bound = TcpListener::bind(address).await.map_err(failed)?;
    let address = bound.local_addr().map_err(failed)?;
    Ok((bound, address))
}

/// A REST interface that answers; dropping it ends that.
pub struct RestServer {
    _serving: JoinSet<()>,
}

/// What every resource works with.
#[derive(Clone)]
struct Rest {
    worker: Arc<Worker>,
    /// The address by which Kafka's tools name a worker.
    worker_id: Arc<str>,
}

impl Rest {
    /// Does something that may wait for code of connectors. It goes on when the client leaves, and when
    /// it takes too long; only nobody waits for it, then.
    async fn finish<T: Send + 'static>(
        &self,
        doing: String,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        finish_within(DEADLINE, doing, work).await
    }
}

async fn finish_within<T: Send + 'static>(
    deadline: Duration,
    doing: String,
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    match timeout(deadline, tokio::spawn(work)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Err(Failure::internal(format!("{doing} failed: {error}"))),
        Err(_) => Err(Failure::internal(format!(
            "Request timed out. The worker is currently {doing}, which goes on."
        ))),
    }
}

/// What a request passes before its resource is looked for.
struct Doors {
    gate: Option<Arc<Gate>>,
    cross_origin: Option<Arc<CrossOrigin>>,
    response_headers: Arc<[HeaderRule]>,
    remote: bool,
}

fn app(rest: Rest, doors: &Doors, bound: &Bound) -> Router {
    // What these change must be seen by the router within.
    let mut app = Router::new()
        .fallback_service(routes::router(bound.part, rest))
        .layer(middleware::from_fn(routes::say_what_is_allowed))
        .layer(middleware::map_request(guard::without_trailing_slash))
        .layer(middleware::map_response(failure::in_kafkas_form));
    if let Some(gate) = &doors.gate {
        app = app.layer(middleware::from_fn_with_state(
            Arc::clone(gate),
            gate::guard,
        ));
    }
    app = app.layer(middleware::from_fn_with_state(
        doors.cross_origin.clone(),
        cross_origin::guard,
    ));
    // A password, and a certificate that has to fit the name, keep such pages out as well.
    let is_open = doors.gate.is_none() && bound.tls.is_none() && !doors.remote;
    if is_open && bound.address.ip().is_loopback() {
        app = app.layer(middleware::from_fn(guard::refuse_foreign_names));
    }
    if !doors.response_headers.is_empty() {
        app = app.layer(middleware::map_response_with_state(
            Arc::clone(&doors.response_headers),
            response_headers::put,
        ));
    }
    app
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_too_long_is_told_for_what() {
        let never = std::future::pending::<Result<(), Failure>>();
        let failure = finish_within(DEADLINE, "stopping connector X".to_owned(), never)
            .await
            .unwrap_err();
        assert_eq!(failure.status.as_u16(), 500);
        assert_eq!(
            failure.message,
            "Request timed out. The worker is currently stopping connector X, which goes on."
        );
    }
}
