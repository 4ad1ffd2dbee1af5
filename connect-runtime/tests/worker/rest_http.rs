//! What every resource has in common: slashes, methods, kinds of content, sizes.

use serde_json::json;

use crate::rest::{Rest, request, source};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_answer_with_and_without_a_slash_behind_them() {
    let rest = Rest::start().await;
    rest.create("slash", &source("slash", "")).await;
    for path in [
        "/health",
        "/connectors",
        "/connectors/slash/config",
        "/connectors/slash/tasks",
        "/connector-plugins",
        "/connector-plugins/NumbersSource/config",
        "/admin/loggers",
        "/openapi.json",
    ] {
        let plain = rest.get(path).await;
        assert_eq!(rest.get(&format!("{path}/")).await, plain, "{path}");
    }
    rest.call("GET //connectors")
        .await
        .is_error(404, "HTTP 404 Not Found");
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_is_get_without_the_body() {
    let rest = Rest::start().await;
    for path in ["/", "/connectors/", "/metrics", "/openapi.json"] {
        let head = rest.call(&format!("HEAD {path}")).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
        let get = rest.call(&format!("GET {path}")).await;
        assert_eq!(
            head.header("content-type"),
            get.header("content-type"),
            "{path}"
        );
    }
    let missing = rest.call("HEAD /connectors/none").await;
    assert_eq!((missing.status, missing.text.as_str()), (404, ""));
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_that_are_not_there_are_refused_with_those_that_are() {
    let rest = Rest::start().await;
    for (line, allowed) in [
        ("/", "GET HEAD OPTIONS"),
        ("/connectors/", "GET HEAD OPTIONS POST"),
        ("/connectors/a/config", "GET HEAD OPTIONS PATCH PUT"),
        ("/connectors/a/restart", "OPTIONS POST"),
        ("/admin/loggers/root", "GET HEAD OPTIONS PUT"),
        ("/metrics", "GET HEAD OPTIONS"),
    ] {
        let options = rest.call(&format!("OPTIONS {line}")).await;
        assert_eq!(options.status, 200, "{line}");
        for answer in [&options, &rest.call(&format!("TRACE {line}")).await] {
            let shown = answer.header("allow").unwrap().to_uppercase();
            let mut methods: Vec<&str> = shown.split(',').collect();
            methods.sort_unstable();
            assert_eq!(methods.join(" "), allowed, "{line}");
        }
        rest.call(&format!("TRACE {line}"))
            .await
            .is_error(405, "HTTP 405 Method Not Allowed");
    }
    rest.call("OPTIONS /nothing")
        .await
        .is_error(404, "HTTP 404 Not Found");
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_no_json_is_told_so_before_anything_is_done() {
    let rest = Rest::start().await;
    rest.create("taken", &source("taken", "")).await;
    for line in [
        "GET /connectors",
        "DELETE /connectors/taken",
        "PUT /connectors/taken/stop",
        "GET /health",
    ] {
        let answer = rest.ask(0, line, &["Accept: text/html"]).await;
        answer.is_error(406, "HTTP 406 Not Acceptable");
    }
    rest.until("taken", "RUNNING", &["RUNNING"]).await;
    for accepted in [
        "Accept: text/html, */*;q=0.1",
        "Accept: application/json",
        "Accept:",
    ] {
        let answer = rest.ask(0, "GET /connectors", &[accepted]).await;
        assert_eq!(answer.json(), json!(["taken"]), "{accepted}");
    }
    // Prometheus names what it likes best, which this is not.
    let openmetrics = "Accept: application/openmetrics-text; version=1.0.0";
    assert_eq!(
        rest.ask(0, "GET /metrics", &[openmetrics]).await.status,
        200
    );
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_json_is_refused_wherever_there_is_one() {
    let rest = Rest::start().await;
    rest.create("body", &source("body", "")).await;
    rest.stop("body").await;
    for line in [
        "POST /connectors",
        "PUT /connectors/body/config",
        "PATCH /connectors/body/config",
        "PATCH /connectors/body/offsets",
        "PUT /connector-plugins/NumbersSource/config/validate",
        "PUT /admin/loggers/root",
    ] {
        for body in ["{\"a\": ", "[1]", "\u{7}", "", "nul", "{\"a\": 1} {"] {
            let answer = rest.send(line, body).await;
            assert_eq!(answer.status, 400, "{line} {body}: {}", answer.text);
            assert_eq!(answer.json()["error_code"], 400, "{line} {body}");
            assert!(answer.json()["message"].is_string(), "{line} {body}");
        }
        for kind in [
            "Content-Type: text/plain",
            "Content-Type: application/x-www-form-urlencoded",
        ] {
            let answer = rest.raw(&request(line, &[kind], "{}")).await;
            assert_eq!(answer.status, 415, "{line} {kind}: {}", answer.text);
            assert_eq!(answer.json()["error_code"], 415, "{line} {kind}");
        }
        // In chunks, so that its length is not known before it is there.
        let piece = "a".repeat(64 * 1024);
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        let large = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n{}",
            chunk.repeat(17)
        );
        let answer = rest.raw(&large).await;
        assert_eq!(answer.status, 413, "{line}: {}", answer.text);
        assert_eq!(answer.json()["error_code"], 413, "{line}");
    }
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_paths_are_answered_in_the_form_of_all_errors() {
    let rest = Rest::start().await;
    for (line, status) in [
        ("GET /connectors/%FF%FE", 400),
        ("GET /connectors/a%2Fb/status", 404),
        ("GET /connectors/none/tasks/x/status", 404),
        (
            "GET /connectors/none/tasks/99999999999999999999999/status",
            404,
        ),
        ("GET /..%2f..%2fetc/passwd", 404),
        ("GET /connectors?expand", 200),
    ] {
        let answer = rest.call(line).await;
        assert_eq!(answer.status, status, "{line}: {}", answer.text);
        if status != 200 {
            assert_eq!(answer.json()["error_code"], status, "{line}");
        }
    }
    rest.end().await;
}
