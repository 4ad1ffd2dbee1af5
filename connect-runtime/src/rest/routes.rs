//! Which methods and paths there are, in one table: the router is made from it, and the description in
//! `openapi.json` is held against it.

use std::convert::Infallible;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::handler::Handler;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};

use super::failure::Failure;
use super::{
    BODY_BYTES_MAX, Rest, connectors, health, history, lifecycle, loggers, metrics, offsets,
    openapi, plugins, status, tap, tasks, topics, validation, worker,
};

/// What `admin.listeners` are for.
const ADMIN: &str = "/admin/";

/// Which of the routes somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    All,
    AllButAdmin,
    Admin,
}

impl Part {
    fn has(self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::AllButAdmin => !path.starts_with(ADMIN),
            Self::Admin => path.starts_with(ADMIN),
        }
    }
}

/// One method of one path.
pub(super) struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "axum does not tell it again"))]
    pub(super) method: Method,
    pub(super) path: &'static str,
    handlers: MethodRouter<Rest>,
}

/// A route whose answers are JSON.
fn json<H, T>(method: Method, path: &'static str, handler: H) -> Route
where
    H: Handler<T, Rest>,
    T: 'static,
{
    let route = plain(method, path, handler);
    let handlers = route.handlers;
    Route {
        handlers: handlers.route_layer(middleware::from_fn(only_who_takes_json)),
        ..route
    }
}

/// A route that looks by itself after what its answers are.
fn plain<H, T>(method: Method, path: &'static str, handler: H) -> Route
where
    H: Handler<T, Rest>,
    T: 'static,
{
    // Only methods without a filter of their own fail here, and the table has none.
    let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
    Route {
        method,
        path,
        handlers: on(filter, handler),
    }
}

/// All routes. HEAD comes with GET, OPTIONS with every path.
pub(super) fn table() -> Vec<Route> {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const PUT: Method = Method::PUT;
    const PATCH: Method = Method::PATCH;
    const DELETE: Method = Method::DELETE;
    vec![
        json(GET, "/", worker::show),
        json(GET, "/health", worker::health),
        plain(GET, "/metrics", metrics::show),
        plain(GET, "/openapi.json", openapi::show),
        json(GET, "/connectors", connectors::list),
        json(POST, "/connectors", connectors::create),
        json(GET, "/connectors/{connector}", connectors::show),
        json(DELETE, "/connectors/{connector}", connectors::delete),
        json(GET, "/connectors/{connector}/config", connectors::config),
        json(
            PUT,
            "/connectors/{connector}/config",
            connectors::put_config,
        ),
        json(
            PATCH,
            "/connectors/{connector}/config",
            connectors::patch_config,
        ),
        json(GET, "/connectors/{connector}/status", status::show),
        json(GET, "/connectors/{connector}/health", health::show),
        json(GET, "/connectors/{connector}/history", history::show),
        json(PUT, "/connectors/{connector}/pause", lifecycle::pause),
        json(PUT, "/connectors/{connector}/resume", lifecycle::resume),
        json(PUT, "/connectors/{connector}/stop", lifecycle::stop),
        json(POST, "/connectors/{connector}/restart", lifecycle::restart),
        json(GET, "/connectors/{connector}/offsets", offsets::show),
        json(PATCH, "/connectors/{connector}/offsets", offsets::alter),
        json(DELETE, "/connectors/{connector}/offsets", offsets::reset),
        json(
            GET,
            "/connectors/{connector}/offsets/history",
            offsets::history,
        ),
        plain(GET, "/connectors/{connector}/tap", tap::show),
        json(GET, "/connectors/{connector}/topics", topics::show),
        json(PUT, "/connectors/{connector}/topics/reset", topics::reset),
        json(GET, "/connectors/{connector}/tasks", tasks::list),
        json(
            GET,
            "/connectors/{connector}/tasks/{task}/status",
            tasks::status,
        ),
        json(
            POST,
            "/connectors/{connector}/tasks/{task}/restart",
            tasks::restart,
        ),
        json(GET, "/connector-plugins", plugins::list),
        json(GET, "/connector-plugins/{plugin}/config", plugins::config),
        json(
            PUT,
            "/connector-plugins/{plugin}/config/validate",
            validation::show,
        ),
        json(GET, "/admin/loggers", loggers::list),
        json(GET, "/admin/loggers/{logger}", loggers::show),
        json(PUT, "/admin/loggers/{logger}", loggers::set),
    ]
}

/// The router of some of the routes.
pub(super) fn router(part: Part, rest: Rest) -> Router {
    let mut router = Router::new();
    for route in table().into_iter().filter(|route| part.has(route.path)) {
        router = router.route(route.path, route.handlers);
    }
    router
        .with_state(rest)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// Whoever takes no JSON is told so before anything is done, as Kafka's server does.
async fn only_who_takes_json(request: Request, next: Next) -> Result<Response, Infallible> {
    if takes_json(request.headers()) {
        return Ok(next.run(request).await);
    }
    let failure = Failure::plain(StatusCode::NOT_ACCEPTABLE);
    Ok(failure.into_response())
}

fn takes_json(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter().peekable();
    if accepted.peek().is_none() {
        return true;
    }
    let kinds = accepted.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let mut said = false;
    for kind in kinds {
        let text = String::from_utf8_lossy(kind);
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused = parts.any(|part| {
            let quality = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            quality.is_some_and(|quality| quality.trim().parse() == Ok(0.0))
        });
        said |= !name.is_empty();
        if !refused && matches!(name.as_str(), "*/*" | "application/*" | "application/json") {
            return true;
        }
    }
    !said
}

/// OPTIONS is answered for every path with what is allowed there, and so is a method that is not. Must be
/// outside of the router, which says by itself what has a handler.
pub(super) async fn say_what_is_allowed(request: Request, next: Next) -> Response {
    let asked = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        return response;
    }
    let allowed = response.headers().get(header::ALLOW);
    let allowed = allowed.and_then(|allowed| allowed.to_str().ok());
    let allowed = format!("{},OPTIONS", allowed.unwrap_or_default());
    if asked {
        response = StatusCode::OK.into_response();
    }
    if let Ok(allowed) = HeaderValue::try_from(allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_taken_by_whoever_does_not_say_otherwise() {
        let takes = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::ACCEPT, HeaderValue::from_static(value));
            }
            takes_json(&headers)
        };
        for values in [
            &[][..],
            &[""],
            &["*/*"],
            &["application/json"],
            &["application/json; charset=utf-8"],
            &["text/html, application/*;q=0.1"],
            &["text/html", "Application/JSON"],
        ] {
            assert!(takes(values), "{values:?}");
        }
        for values in [
            &["text/html"][..],
            &["application/xml, text/plain"],
            &["application/json;q=0"],
            &["application/jsonx"],
        ] {
            assert!(!takes(values), "{values:?}");
        }
    }
}
