//! Who may come in, from where, and to what: users, web pages, listeners of `/admin/…`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use connect_runtime::password::PasswordHash;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::rest::{Rest, request, source};

/// An `Authorization` header.
fn basic(name: &str, password: &str) -> String {
    let credentials = STANDARD.encode(format!("{name}:{password}"));
    format!("Authorization: Basic {credentials}")
}

/// A folder with passwords, and the keys of a provider for it.
fn secrets(folder: &TempDir, text: &str) -> Vec<(&'static str, String)> {
    let path = folder.path().join("users.properties");
    std::fs::write(&path, text).unwrap();
    let reference = |name: &str| format!("${{file:{}:{name}}}", path.display());
    vec![
        ("config.providers", "file".to_owned()),
        (
            "config.providers.file.class",
            "FileConfigProvider".to_owned(),
        ),
        ("rest.users.grafana.password", reference("grafana")),
        ("rest.users.grafana.role", "read-only".to_owned()),
        ("rest.users.deploy.password", reference("deploy")),
        ("rest.users.deploy.role", "full".to_owned()),
    ]
}

async fn start(keys: &[(&'static str, String)], more: &[(&str, &str)]) -> Rest {
    let mut all: Vec<(&str, &str)> = keys.iter().map(|(key, text)| (*key, &**text)).collect();
    all.extend(more);
    Rest::start_with(&all).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_users_come_in_and_some_of_them_only_look() {
    let folder = TempDir::new().unwrap();
    let keys = secrets(&folder, "grafana=canary-look\ndeploy=canary:do\n");
    let rest = start(&keys, &[]).await;
    let (look, change) = (
        basic("grafana", "canary-look"),
        basic("deploy", "canary:do"),
    );
    for headers in [
        &[][..],
        &[basic("grafana", "canary:do").as_str()],
        &[basic("nobody", "canary-look").as_str()],
        &[basic("", "").as_str()],
        &["Authorization: Bearer canary-look"],
    ] {
        for line in [
            "GET /connectors",
            "GET /health",
            "GET /nothing",
            "PUT /connectors/a/stop",
        ] {
            let answer = rest.ask(0, line, headers).await;
            answer.is_error(401, "User cannot access the resource.");
            let challenge = answer.header("www-authenticate").unwrap();
            assert_eq!(challenge, "basic realm=\"connect\", charset=\"utf-8\"");
        }
    }
    let created = json!({"name": "door", "config": source("door", "")}).to_string();
    let json = "Content-Type: application/json";
    let refused = request("POST /connectors", &[json, &look], &created);
    rest.raw(&refused).await.is_error(
        403,
        "User grafana may only read; this needs a user whose role is full",
    );
    let accepted = request("POST /connectors", &[json, &change], &created);
    assert_eq!(rest.raw(&accepted).await.status, 201);
    for (line, looking, changing) in [
        ("GET /connectors/door", 200, 200),
        ("HEAD /metrics", 200, 200),
        ("OPTIONS /connectors", 200, 200),
        ("PUT /connectors/door/pause", 403, 202),
        ("POST /connectors/door/restart", 403, 204),
        ("PUT /admin/loggers/root", 403, 415),
        (
            "PUT /connector-plugins/NumbersSource/config/validate",
            403,
            415,
        ),
        ("DELETE /connectors/door", 403, 204),
    ] {
        assert_eq!(rest.ask(0, line, &[&look]).await.status, looking, "{line}");
        let answer = rest.ask(0, line, &[&change]).await;
        assert_eq!(answer.status, changing, "{line}: {}", answer.text);
    }
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_hash_is_slow_to_check_only_until_the_right_password_came() {
    let hash = PasswordHash::of("canary-hashed").unwrap().to_string();
    let rest = Rest::start_with(&[
        ("rest.users.ops.password", &hash),
        ("rest.users.ops.role", "full"),
        ("rest.allow.unauthenticated.health", "true"),
    ])
    .await;
    let right = basic("ops", "canary-hashed");
    let wrong = basic("ops", "canary-other");
    assert_eq!(rest.ask(0, "GET /", &[&wrong]).await.status, 401);
    assert_eq!(rest.ask(0, "GET /", &[&right]).await.status, 200);
    assert_eq!(rest.ask(0, "GET /", &[&wrong]).await.status, 401);
    // Many wrong ones wait for each other, and neither for nor before those who were here.
    let wrong = [wrong.as_str()];
    let flood: Vec<_> = (0..20).map(|_| rest.ask(0, "GET /", &wrong)).collect();
    let flood = async {
        let begun = Instant::now();
        for answer in futures_util::future::join_all(flood).await {
            assert_eq!(answer.status, 401);
        }
        begun.elapsed()
    };
    let regular = async {
        let begun = Instant::now();
        for _ in 0..5 {
            assert_eq!(rest.ask(0, "GET /", &[&right]).await.status, 200);
        }
        begun.elapsed()
    };
    let (flood, regular): (Duration, Duration) = tokio::join!(flood, regular);
    assert!(regular < flood, "{regular:?} against {flood:?}");
    assert_eq!(rest.ask(0, "GET /health/", &[]).await.status, 200);
    assert_eq!(rest.ask(0, "GET /connectors", &[]).await.status, 401);
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_pages_do_what_their_origin_is_allowed() {
    let rest = Rest::start_with(&[
        (
            "access.control.allow.origin",
            "https://console\\.example\\.org,https://.*\\.lab",
        ),
        ("access.control.allow.methods", "GET,PUT"),
    ])
    .await;
    rest.create("page", &source("page", "")).await;
    let ours = "Origin: https://Console.example.org";
    let theirs = "Origin: https://console.example.org.evil";
    let read = rest.ask(0, "GET /connectors", &[ours]).await;
    assert_eq!(read.status, 200);
    assert_eq!(
        read.header("access-control-allow-origin"),
        Some("https://console.example.org")
    );
    assert_eq!(
        read.header("access-control-allow-credentials"),
        Some("true")
    );
    assert_eq!(read.header("vary"), Some("origin"));
    let read = rest.ask(0, "GET /connectors", &[theirs]).await;
    assert_eq!(
        (read.status, read.header("access-control-allow-origin")),
        (200, None)
    );
    let plain = rest.ask(0, "GET /connectors", &[]).await;
    assert_eq!(plain.header("vary"), Some("origin"));

    let asks = "Access-Control-Request-Method: PUT";
    let preflight = rest
        .ask(
            0,
            "OPTIONS /connectors/page/pause",
            &["Origin: http://a.lab", asks],
        )
        .await;
    assert_eq!(preflight.status, 200);
    assert_eq!(
        preflight.header("access-control-allow-origin"),
        None,
        "http"
    );
    let preflight = rest
        .ask(0, "OPTIONS /connectors/page/pause", &[ours, asks])
        .await;
    assert_eq!(preflight.status, 200);
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        Some("get,put")
    );
    assert_eq!(preflight.header("access-control-max-age"), Some("60"));
    let headers = preflight.header("access-control-allow-headers").unwrap();
    assert!(headers.contains("content-type") && headers.contains("authorization"));

    let put = rest.ask(0, "PUT /connectors/page/pause", &[ours]).await;
    assert_eq!(put.status, 202, "{}", put.text);
    let put = rest.ask(0, "PUT /connectors/page/resume", &[theirs]).await;
    put.is_error(
        403,
        "Requests of web pages (with an Origin header) may only read",
    );
    let deleted = rest.ask(0, "DELETE /connectors/page", &[ours]).await;
    deleted.is_error(
        403,
        "access.control.allow.methods does not let web pages do this",
    );
    rest.until("page", "PAUSED", &["PAUSED"]).await;
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_may_ask_before_it_says_who_uses_it() {
    let folder = TempDir::new().unwrap();
    let keys = secrets(&folder, "grafana=canary-look\ndeploy=canary-do\n");
    let rest = start(&keys, &[("access.control.allow.origin", "*")]).await;
    let origin = "Origin: https://anywhere.example.org";
    let asks = "Access-Control-Request-Method: POST";
    let preflight = rest.ask(0, "OPTIONS /connectors", &[origin, asks]).await;
    assert_eq!(preflight.status, 200);
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        Some("get,post,head")
    );
    let read = rest.ask(0, "GET /connectors", &[origin]).await;
    assert_eq!(read.status, 401);
    assert_eq!(
        read.header("access-control-allow-origin"),
        Some("https://anywhere.example.org"),
        "or the page could not read why"
    );
    assert_eq!(
        read.header("access-control-allow-credentials"),
        None,
        "passwords that the browser knows are not for all pages"
    );
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_have_the_headers_that_are_configured() {
    let rest = Rest::start_with(&[(
        "response.http.headers.config",
        "set X-Frame-Options: DENY, \"add Cache-Control: no-cache, no-store\", setDate Expires: 0, \
         set Content-Type: application/json;charset=utf-8",
    )])
    .await;
    for line in ["GET /connectors", "GET /nothing", "DELETE /"] {
        let answer = rest.call(line).await;
        assert_eq!(answer.header("x-frame-options"), Some("deny"), "{line}");
        assert_eq!(answer.header("cache-control"), Some("no-cache, no-store"));
        assert!(answer.header("expires").unwrap().ends_with(" gmt"));
        let kinds = answer.head.matches("content-type: ").count();
        assert_eq!(kinds, 1, "{}", answer.head);
    }
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_resources_are_where_they_are_configured() {
    let rest = Rest::start_with(&[
        ("listeners", "http://127.0.0.1:0,http://localhost:0"),
        ("admin.listeners", "http://127.0.0.1:0"),
        ("rest.advertised.host.name", "worker-7.example.org"),
    ])
    .await;
    assert_eq!(rest.addresses.len(), 3);
    for main in [0, 1] {
        assert_eq!(rest.ask(main, "GET /connectors", &[]).await.status, 200);
        let admin = rest.ask(main, "GET /admin/loggers", &[]).await;
        admin.is_error(404, "HTTP 404 Not Found");
    }
    assert_eq!(rest.ask(2, "GET /admin/loggers", &[]).await.status, 200);
    let main = rest.ask(2, "GET /connectors", &[]).await;
    main.is_error(404, "HTTP 404 Not Found");
    rest.create("named", &source("named", "")).await;
    let status = rest.get("/connectors/named/status").await;
    assert_eq!(
        status["connector"]["worker_id"],
        format!("worker-7.example.org:{}", rest.address.port())
    );
    rest.end().await;

    let rest = Rest::start_with(&[("admin.listeners", "")]).await;
    let admin = rest.call("GET /admin/loggers").await;
    admin.is_error(404, "HTTP 404 Not Found");
    assert_eq!(rest.call("GET /connectors").await.status, 200);
    rest.end().await;
}
