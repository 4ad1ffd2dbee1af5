//! Levels of loggers that are shown and changed by REST.

use connect_runtime::logging::{self, LogFormat};
use serde_json::json;

use crate::rest::Rest;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loggers_are_shown_and_set() {
    // For all tests of this process, so nothing is logged but what this one asks for.
    logging::init(LogFormat::Text, "off,example::quiet=error");
    let rest = Rest::start().await;
    let quiet = rest.get("/admin/loggers").await["example::quiet"].clone();
    assert_eq!(quiet, json!({"level": "ERROR", "last_modified": null}));
    let root = json!({"level": "OFF", "last_modified": null});
    assert_eq!(rest.get("/admin/loggers/root").await, root);
    let unknown = "/admin/loggers/example::none";
    rest.call(&format!("GET {unknown}"))
        .await
        .is_error(404, "Logger example::none not found.");

    assert!(!tracing::enabled!(target: "example::inner", tracing::Level::DEBUG));
    let path = "PUT /admin/loggers/example";
    let answer = rest.send(path, r#"{"level": "debug"}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let changed: Vec<String> = serde_json::from_value(answer.json()).unwrap();
    for name in ["example", "example::quiet"] {
        assert!(changed.contains(&name.to_owned()), "{changed:?}");
        let shown = rest.get(&format!("/admin/loggers/{name}")).await;
        assert_eq!(shown["level"], "DEBUG");
        assert!(shown["last_modified"].is_u64(), "{shown}");
    }
    assert!(tracing::enabled!(target: "example::inner", tracing::Level::DEBUG));
    let again = rest
        .send(&format!("{path}?scope=worker"), r#"{"level": "DEBUG"}"#)
        .await;
    assert_eq!(again.json(), json!([]), "nothing is changed by it");
    let answer = rest
        .send(&format!("{path}?scope=cluster"), r#"{"level": "OFF"}"#)
        .await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    assert_eq!(rest.get("/admin/loggers/example").await["level"], "OFF");

    let missing = "Desired 'level' parameter was not specified in request.";
    rest.send(path, "{}").await.is_error(400, missing);
    let wrong = rest.send(path, r#"{"level": "LOUD"}"#).await;
    wrong.is_error(404, "invalid log level 'LOUD'.");
    rest.end().await;
}
