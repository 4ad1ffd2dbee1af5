//! What happens to a request before its resource is looked for.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::uri::{Authority, PathAndQuery};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::failure::Failure;

/// `/connectors/` is `/connectors`.
pub(super) async fn without_trailing_slash(mut request: Request) -> Request {
    if let Some(uri) = trimmed(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

fn trimmed(uri: &Uri) -> Option<Uri> {
    let path = uri
        .path()
        .strip_suffix('/')
        .filter(|path| !path.is_empty())?;
    let path = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

/// A page may let its own name point to this machine, and would be of the same origin then. It cannot
/// do so with an address.
pub(super) async fn refuse_foreign_names(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    let host = host.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    match host {
        Some(host) if !is_own_name(&host) => Failure::new(
            StatusCode::FORBIDDEN,
            format!(
                "Host \"{host}\" is not a name of this machine alone; use 127.0.0.1 or localhost"
            ),
        )
        .into_response(),
        _ => next.run(request).await,
    }
}

fn is_own_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host().trim_matches(['[', ']']);
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_slash_does_not_count() {
        for (path, expected) in [
            ("/connectors/", Some("/connectors")),
            ("/connectors/?expand=info", Some("/connectors?expand=info")),
            ("/connectors/a", None),
            ("/", None),
        ] {
            let uri = trimmed(&path.parse().unwrap()).map(|uri| uri.to_string());
            assert_eq!(uri.as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn names_that_others_may_give_are_foreign() {
        for own in [
            "127.0.0.1:8083",
            "localhost",
            "LOCALHOST:1",
            "[::1]:8083",
            "a.localhost",
        ] {
            assert!(is_own_name(own), "{own}");
        }
        for foreign in ["example.org", "localhost.example.org:8083", "", "a b"] {
            assert!(!is_own_name(foreign), "{foreign}");
        }
    }
}
