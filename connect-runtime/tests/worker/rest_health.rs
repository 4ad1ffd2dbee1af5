//! Whether a connector is well, as probes ask.

use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::connectors::SINK;
use crate::rest::{Rest, source};

async fn until_health(rest: &Rest, name: &str, status: u16, health: &str) -> Value {
    let begun = Instant::now();
    loop {
        let answer = rest.call(&format!("GET /connectors/{name}/health")).await;
        let body = answer.json();
        if answer.status == status && body["status"] == health {
            return body;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", answer.text);
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_health_of_a_connector_says_what_is_wrong_and_since_when() {
    let rest = Rest::start_with(&[("task.restart.enable", "false")]).await;
    let unknown = rest.call("GET /connectors/nobody/health").await;
    unknown.is_error(404, "No status found for connector nobody");

    rest.create("well", &source("well", "")).await;
    let body = until_health(&rest, "well", 200, "healthy").await;
    assert_eq!(
        body,
        json!({"name": "well", "status": "healthy", "reasons": []})
    );

    let stuck = json!({"connector.class": SINK, "topics": "well", "mode": "hang"});
    rest.create("stuck", &stuck).await;
    let body = until_health(&rest, "stuck", 200, "waiting").await;
    let reason = &body["reasons"][0];
    assert_eq!(reason["task"], 0);
    let why = reason["reason"].as_str().unwrap();
    assert!(why.contains("put has not returned"), "{body}");
    assert!(reason["since_ms"].is_i64(), "{body}");
    let status = rest.get("/connectors/stuck/status").await;
    assert_eq!(status["tasks"][0]["waiting_since_ms"], reason["since_ms"]);

    rest.create("broken", &source("broken", "fatal")).await;
    let body = until_health(&rest, "broken", 503, "unhealthy").await;
    let reason = &body["reasons"][0];
    assert_eq!(
        (&reason["task"], &reason["state"]),
        (&json!(0), &json!("FAILED"))
    );
    assert!(
        reason["reason"].as_str().unwrap().contains("it broke"),
        "{body}"
    );
    let why = reason["not_restarted"].as_str().unwrap();
    assert!(why.contains("task.restart.enable is false"), "{body}");

    rest.stop("broken").await;
    until_health(&rest, "broken", 200, "healthy").await;
    rest.end().await;
}
