//! Web pages of other origins (CORS), as `access.control.allow.origin` and `.methods` let them.
//!
//! Kafka Connect answers with headers and leaves the rest to browsers, which ask before some requests
//! and not before others. Here no page may change anything unless its origin and the method are
//! allowed, whatever a browser asks first. The question itself (a preflight) needs no user, because
//! browsers send none with it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::failure::Failure;
use crate::config::CrossOrigin;

/// What a page may send beside what browsers allow all of them.
const HEADERS: HeaderValue =
    HeaderValue::from_static("Accept, Authorization, Content-Type, X-Requested-With");
/// For how long a browser may remember an answer, in seconds; Jetty's.
const MAX_AGE: HeaderValue = HeaderValue::from_static("60");

pub(super) async fn guard(
    State(policy): State<Option<Arc<CrossOrigin>>>,
    request: Request,
    next: Next,
) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let Some(origin) = origin else {
        let mut response = next.run(request).await;
        if policy.is_some() {
            vary(response.headers_mut());
        }
        return response;
    };
    let text = String::from_utf8_lossy(origin.as_bytes());
    let allowed = policy.as_deref().filter(|policy| policy.allows(&text));
    let mut response = match allowed {
        Some(policy) if is_preflight(&request) => preflight(policy),
        _ if !may_pass(allowed, request.method()) => {
            let message = match allowed {
                Some(_) => "access.control.allow.methods does not let web pages do this",
                None => "Requests of web pages (with an Origin header) may only read",
            };
            Failure::new(StatusCode::FORBIDDEN, message).into_response()
        }
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    if policy.is_some() {
        vary(headers);
    }
    if let Some(policy) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        // A browser adds the passwords that it remembers for pages that were named, not for all.
        if policy.names_origins() {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }
    response
}

fn may_pass(allowed: Option<&CrossOrigin>, method: &Method) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let methods = allowed.map(CrossOrigin::methods).unwrap_or_default();
    reads || methods.iter().any(|allowed| allowed == method.as_str())
}

fn is_preflight(request: &Request) -> bool {
    let asks = header::ACCESS_CONTROL_REQUEST_METHOD;
    request.method() == Method::OPTIONS && request.headers().contains_key(asks)
}

fn preflight(policy: &CrossOrigin) -> Response {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    if let Ok(methods) = policy.methods().join(",").parse() {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    response
}

fn vary(headers: &mut HeaderMap) {
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}
