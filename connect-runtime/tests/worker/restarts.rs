//! What failed and is started again, or not, and what is told about it.

use std::time::Duration;

use connect_runtime::State;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::connectors::{SINK, SOURCE};
use crate::rest::{Rest, source};

/// Restarts that take no time. A run of the longest pause counts as a good one, so that is far longer
/// than the worst machine needs to fail.
const QUICK: &[(&str, &str)] = &[
    ("task.restart.backoff.ms", "1"),
    ("task.restart.backoff.max.ms", "60000"),
];

/// Waits until the history of a connector has what is wanted, and returns its events.
async fn until_history(rest: &Rest, name: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let shown = rest.get(&format!("/connectors/{name}/history")).await;
        let events = shown["events"].as_array().unwrap();
        if wanted(events) {
            return events.clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{shown}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The states that the events of a task, or of the connector's own code, show one after the other.
fn states(events: &[Value], task: Option<u64>) -> Vec<&str> {
    let of = events.iter().filter(|event| event["task"].as_u64() == task);
    of.filter_map(|event| event["state"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_crashes_again_and_again_is_left_alone_until_somebody_asks() {
    let mut keys = QUICK.to_vec();
    keys.push(("task.restart.failures.max", "4"));
    let rest = Rest::start_with(&keys).await;
    rest.create("crashes", &source("crashes", "fatal")).await;
    let status = rest.until("crashes", "RUNNING", &["FAILED"]).await;
    let task = &status["tasks"][0];
    assert_eq!(
        (&task["failures"], &task["restarts"]),
        (&json!(4), &json!(3))
    );
    assert!(
        task["trace"].as_str().unwrap().contains("it broke"),
        "{task}"
    );
    let why = task["not_restarted"].as_str().unwrap();
    assert!(why.contains("failed 4 times"), "{why}");

    sleep(Duration::from_millis(200)).await;
    let task = || rest.worker.status()["crashes"].tasks[0].clone();
    assert_eq!(task().restarts, 3, "nobody tries any more");
    let line = "POST /connectors/crashes/tasks/0/restart";
    assert_eq!(rest.call(line).await.status, 204);
    rest.world
        .until("it was tried anew as often", || {
            task().restarts == 7 && task().state == State::Failed
        })
        .await;
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_restarts_off_a_task_stays_failed_as_in_kafka() {
    let rest = Rest::start_with(&[("task.restart.enable", "false")]).await;
    rest.create("off", &source("off", "panic")).await;
    let mut own = source("on", "panic");
    own["task.restart.enable"] = json!("true");
    rest.create("on", &own).await;
    let status = rest.until("off", "RUNNING", &["FAILED"]).await;
    let why = status["tasks"][0]["not_restarted"].as_str().unwrap();
    assert!(why.contains("task.restart.enable is false"), "{why}");
    rest.world
        .until("the connector that wants them has restarts", || {
            let status = rest.worker.status();
            status["on"]
                .tasks
                .first()
                .is_some_and(|task| task.restarts > 0)
        })
        .await;
    assert_eq!(rest.worker.status()["off"].tasks[0].failures, 1);
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_waited_for_however_long_it_takes() {
    let mut keys = QUICK.to_vec();
    keys.push(("task.restart.failures.max", "2"));
    let rest = Rest::start_with(&keys).await;
    rest.create("away", &source("away", "outage")).await;
    rest.world
        .until("it is tried more often than a crash would be", || {
            let status = rest.worker.status();
            status["away"]
                .tasks
                .first()
                .is_some_and(|task| task.restarts > 5)
        })
        .await;
    assert!(
        rest.worker.status()["away"].tasks[0]
            .not_restarted
            .is_none()
    );
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_that_cannot_begin_is_tried_again_and_then_left_alone() {
    let mut keys = QUICK.to_vec();
    keys.push(("task.restart.failures.max", "3"));
    let rest = Rest::start_with(&keys).await;
    rest.create("begins", &source("begins", "no-connector"))
        .await;
    let status = rest.until("begins", "FAILED", &[]).await;
    let own = &status["connector"];
    assert_eq!((&own["failures"], &own["restarts"]), (&json!(3), &json!(2)));
    let config = source("begins", "").to_string();
    let answer = rest.send("PUT /connectors/begins/config", &config).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    rest.until("begins", "RUNNING", &["RUNNING"]).await;
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_tells_what_happened_and_ends_with_the_connector() {
    let mut keys = QUICK.to_vec();
    keys.push(("task.restart.failures.max", "2"));
    let rest = Rest::start_with(&keys).await;
    rest.create("past", &source("past", "fatal")).await;
    rest.until("past", "RUNNING", &["FAILED"]).await;
    let failed_twice = |events: &[Value]| {
        let failures = events.iter().filter(|event| event["event"] == "failure");
        failures.count() == 2
    };
    let events = until_history(&rest, "past", failed_twice).await;
    let expected = ["RUNNING", "RESTARTING", "RUNNING", "FAILED"];
    assert_eq!(states(&events, Some(0)), expected, "{events:?}");
    assert_eq!(states(&events, None), ["RUNNING"]);
    let failure = |count: u64| {
        let mut found = events.iter();
        found.find(|event| event["failures"] == count).unwrap()
    };
    assert!(failure(1)["next_try_ms"].as_i64() >= failure(1)["timestamp_ms"].as_i64());
    assert!(failure(2)["error"].as_str().unwrap().contains("it broke"));
    assert!(
        failure(2)["not_restarted"]
            .as_str()
            .unwrap()
            .contains("2 times")
    );
    let by_worker = |event: &Value| event["event"] == "restart" && event["by"] == "worker";
    assert!(events.iter().any(by_worker), "{events:?}");

    rest.stop("past").await;
    let config = source("past", "").to_string();
    let answer = rest.send("PUT /connectors/past/config", &config).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(rest.call("PUT /connectors/past/resume").await.status, 202);
    rest.until("past", "RUNNING", &["RUNNING"]).await;
    let line = "POST /connectors/past/restart?includeTasks=true";
    assert_eq!(rest.call(line).await.status, 202);
    let by_request = |event: &Value| event["event"] == "restart" && event["by"] == "request";
    until_history(&rest, "past", |events| {
        events.iter().filter(|event| by_request(event)).count() == 2 && failed_twice(events)
    })
    .await;
    assert_eq!(rest.call("DELETE /connectors/past").await.status, 204);
    let gone = rest.call("GET /connectors/past/history").await;
    gone.is_error(404, "Connector past not found");
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_in_an_error_is_not_in_the_history() {
    let rest = Rest::start().await;
    let token = "past-token-7f3a";
    rest.create(
        "leaks-source",
        &json!({"connector.class": SOURCE, "topic": "leaks", "count": 1}),
    )
    .await;
    let config =
        json!({"connector.class": SINK, "topics": "leaks", "mode": "leak", "token": token});
    rest.create("leaks", &config).await;
    let is_failure = |event: &Value| event["event"] == "failure";
    let failed = |events: &[Value]| events.iter().any(is_failure);
    let events = until_history(&rest, "leaks", failed).await;
    let failure = events.iter().find(|event| is_failure(event)).unwrap();
    let error = failure["error"].as_str().unwrap();
    assert!(
        error.contains("[hidden]") && !error.contains(token),
        "{error}"
    );
    rest.end().await;
}
