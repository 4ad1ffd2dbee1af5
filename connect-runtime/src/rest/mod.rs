//! The REST interface to a standalone worker, in the shapes of Kafka Connect 4.3, for the tools that
//! are there already.
//!
//! Everything is answered by the worker's own code from what it knows. What may have to wait for code
//! of connectors (creating, changing, stopping) goes on to its end even when the client is gone, and
//! is waited for at most [`DEADLINE`]. Errors are `{"error_code", "message"}`, always.
//!
//! Nobody is asked who they are. So it listens on this machine alone unless the configuration says
//! otherwise, and takes no orders from web pages: not from those of another origin, nor, while it is
//! for this machine alone, under a name that somebody else's name server may have given it.
//!
//! What is done to a connector here is stored before it is answered, and outlives the worker. What is
//! done to one that a file on the command line has holds until that file is read again, at the next
//! start or when it is saved; nothing is ever written to it.

mod body;
mod connectors;
mod failure;
mod guard;
mod health;
mod history;
mod lifecycle;
mod listener;
mod loggers;
mod metrics;
mod offsets;
mod plugins;
mod status;
mod tasks;
mod topics;
mod version;
mod worker;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post, put};
use platform::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::{HttpListener, RestConfig};
use crate::worker::Worker;
use failure::Failure;
use listener::LimitedListener;

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
}

/// The listeners of a REST interface; whoever connects waits until it is served.
pub struct RestListeners {
    listeners: Vec<(TcpListener, SocketAddr)>,
    remote: bool,
}

impl RestListeners {
    /// Listens on all configured addresses.
    ///
    /// # Errors
    /// One of them cannot be had; none is, then.
    pub async fn bind(config: &RestConfig) -> Result<Self, RestError> {
        let mut listeners = Vec::with_capacity(config.listeners.len());
        for listener in &config.listeners {
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
            listeners.push((bound, address));
        }
        Ok(Self {
            listeners,
            remote: config.remote,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|(_, address)| *address).collect()
    }

    /// Answers from now on, until the returned server is dropped. Must be called within a Tokio
    /// runtime.
    #[must_use]
    pub fn serve(self, worker: Arc<Worker>) -> RestServer {
        let worker_id = self
            .listeners
            .first()
            .map(|(_, address)| address.to_string());
        let rest = Rest {
            worker,
            worker_id: worker_id.unwrap_or_default().into(),
        };
        let app = app(rest, self.remote);
        let mut serving = JoinSet::new();
        for (listener, address) in self.listeners {
            let (app, listener) = (app.clone(), LimitedListener::new(listener));
            serving.spawn(async move {
                if let Err(error) = axum::serve(listener, app).await {
                    tracing::error!("the REST interface on {address} has ended: {error}");
                }
            });
        }
        RestServer { _serving: serving }
    }
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

fn app(rest: Rest, remote: bool) -> Router {
    let connector = Router::new()
        .route("/", get(connectors::show).delete(connectors::delete))
        .route(
            "/config",
            get(connectors::config)
                .put(connectors::put_config)
                .patch(connectors::patch_config),
        )
        .route("/status", get(status::show))
        .route("/health", get(health::show))
        .route("/history", get(history::show))
        .route("/pause", put(lifecycle::pause))
        .route("/resume", put(lifecycle::resume))
        .route("/stop", put(lifecycle::stop))
        .route("/restart", post(lifecycle::restart))
        .route(
            "/offsets",
            get(offsets::show)
                .patch(offsets::alter)
                .delete(offsets::reset),
        )
        .route("/topics", get(topics::show))
        .route("/topics/reset", put(topics::reset))
        .route("/tasks", get(tasks::list))
        .route("/tasks/{task}/status", get(tasks::status))
        .route("/tasks/{task}/restart", post(tasks::restart));
    let app = Router::new()
        .route("/", get(worker::show))
        .route("/health", get(worker::health))
        .route("/metrics", get(metrics::show))
        .route(
            "/connectors",
            get(connectors::list).post(connectors::create),
        )
        .nest("/connectors/{connector}", connector)
        .route("/admin/loggers", get(loggers::list))
        .route(
            "/admin/loggers/{logger}",
            get(loggers::show).put(loggers::set),
        )
        .route("/connector-plugins", get(plugins::list))
        .route("/connector-plugins/{plugin}/config", get(plugins::config))
        .route(
            "/connector-plugins/{plugin}/config/validate",
            put(plugins::validate),
        )
        .with_state(rest)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    // What these change must be seen by the router within.
    let app = Router::new()
        .fallback_service(app)
        .layer(middleware::map_request(guard::without_trailing_slash))
        .layer(middleware::map_response(failure::in_kafkas_form));
    match remote {
        true => app.layer(middleware::from_fn(guard::refuse_web_pages)),
        false => app
            .layer(middleware::from_fn(guard::refuse_web_pages))
            .layer(middleware::from_fn(guard::refuse_foreign_names)),
    }
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
