//! What `GET /metrics` says.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::connectors::{Journal, SINK};
use crate::rest::{Rest, source};

/// The samples of a page, by name and labels.
struct Page {
    text: String,
    samples: BTreeMap<String, f64>,
}

impl Page {
    async fn of(rest: &Rest, path: &str) -> Self {
        let answer = rest.call(&format!("GET {path}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let kind = "content-type: text/plain; version=0.0.4; charset=utf-8";
        assert!(answer.head.contains(kind), "{}", answer.head);
        let samples = answer.text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        Self {
            samples: samples.collect(),
            text: answer.text,
        }
    }

    fn get(&self, name: &str) -> f64 {
        let sample = self.samples.get(name);
        *sample.unwrap_or_else(|| panic!("no {name} in\n{}", self.text))
    }

    /// A sample of the first task of a connector, while that may not be there yet.
    fn find(&self, name: &str, connector: &str) -> Option<f64> {
        let name = format!("{name}{{connector=\"{connector}\",task=\"0\"}}");
        self.samples.get(&name).copied()
    }

    /// A sample of the first task of a connector.
    fn task(&self, name: &str, connector: &str) -> f64 {
        self.get(&format!("{name}{{connector=\"{connector}\",task=\"0\"}}"))
    }
}

/// Waits until the page is as wanted.
async fn until(rest: &Rest, what: &str, wanted: impl Fn(&Page) -> bool) -> Page {
    let begun = Instant::now();
    loop {
        let page = Page::of(rest, "/metrics").await;
        if wanted(&page) {
            return page;
        }
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(60), "{what}\n{}", page.text);
        sleep(Duration::from_millis(50)).await;
    }
}

const POLLED: &str = "kafka_connect_source_task_metrics_source_record_poll_total";
const SENT: &str = "kafka_connect_sink_task_metrics_sink_record_send_total";
const COMMITTED: &str = "kafka_connect_task_offset_commit_success_total";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_on_their_way_from_source_to_sink_are_counted() {
    let rest = Rest::start().await;
    let empty = Page::of(&rest, "/metrics").await;
    assert_eq!(empty.get("kafka_connect_worker_connector_count"), 0.0);
    rest.create("meter-source", &source("meter", "")).await;
    let sink = json!({"connector.class": SINK, "topics": "meter"});
    rest.create("meter-sink", &sink).await;
    let journal = Journal::of("meter-sink");
    let all = || journal.values().len() >= 100;
    rest.world.until("all records are in the sink", all).await;
    let page = until(&rest, "both have committed", |page| {
        let active = "kafka_connect_sink_task_sink_record_active_count";
        page.task(COMMITTED, "meter-source") > 0.0
            && page.task(COMMITTED, "meter-sink") > 0.0
            && page.task(active, "meter-sink") == 0.0
    })
    .await;
    for (name, value) in [
        (POLLED, 100.0),
        ("kafka_connect_source_task_source_record_poll_total", 100.0),
        ("kafka_connect_source_task_source_record_write_total", 100.0),
        ("kafka_connect_source_task_source_record_active_count", 0.0),
        ("kafka_connect_connector_task_batch_size_max", 100.0),
        ("kafka_connect_task_buffered_bytes", 0.0),
        ("kafka_connect_task_state", 1.0),
        ("kafka_connect_task_blocked_seconds", 0.0),
        ("kafka_connect_task_restarts_total", 0.0),
        (
            "kafka_connect_connector_task_offset_commit_success_percentage",
            1.0,
        ),
    ] {
        assert_eq!(page.task(name, "meter-source"), value, "{name}");
    }
    for (name, value) in [
        ("kafka_connect_sink_task_sink_record_read_total", 100.0),
        (SENT, 100.0),
        ("kafka_connect_sink_task_partition_count", 1.0),
        ("kafka_connect_task_error_total_record_errors", 0.0),
        ("kafka_connect_task_state", 1.0),
    ] {
        assert_eq!(page.task(name, "meter-sink"), value, "{name}");
    }
    for name in [
        "kafka_connect_sink_task_sink_record_send_rate",
        "kafka_connect_sink_task_put_batch_max_time_ms",
        "kafka_connect_connector_task_offset_commit_avg_time_ms",
        "kafka_connect_connector_task_running_ratio",
    ] {
        assert!(page.task(name, "meter-sink") > 0.0, "{name}");
    }
    let since = page.task("kafka_connect_task_seconds_since_last_record", "meter-sink");
    assert!((0.0..60.0).contains(&since), "{since}");
    for (name, value) in [
        ("kafka_connect_worker_connector_count", 2.0),
        ("kafka_connect_connect_worker_metrics_task_count", 2.0),
        ("kafka_connect_worker_task_startup_success_total", 2.0),
        ("kafka_connect_worker_connector_startup_success_total", 2.0),
        (
            "kafka_connect_worker_connector_running_task_count{connector=\"meter-sink\"}",
            1.0,
        ),
        (
            "kafka_connect_connector_status{connector=\"meter-sink\",status=\"running\"}",
            1.0,
        ),
        (
            "kafka_connect_connector_state{connector=\"meter-source\"}",
            1.0,
        ),
    ] {
        assert_eq!(page.get(name), value, "{name}");
    }

    let short = Page::of(&rest, "/metrics?names=short").await;
    assert!(!short.text.contains("_task_metrics_"), "{}", short.text);
    let jmx = Page::of(&rest, "/metrics?names=jmx").await;
    assert!(
        !jmx.text.contains("kafka_connect_source_task_source_"),
        "{}",
        jmx.text
    );
    let answer = rest.call("GET /metrics?names=long").await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("expected"), "{}", answer.text);

    assert_eq!(rest.call("DELETE /connectors/meter-sink").await.status, 204);
    let left = Page::of(&rest, "/metrics").await;
    assert!(!left.text.contains("meter-sink"), "{}", left.text);
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_go_on_over_restarts() {
    let rest = Rest::start().await;
    rest.create("lag-source", &source("lag", "")).await;
    let sink = json!({"connector.class": SINK, "topics": "lag"});
    rest.create("lag-sink", &sink).await;
    let done = |page: &Page| page.find(SENT, "lag-sink") == Some(100.0);
    until(&rest, "all records are in the sink", done).await;
    for name in ["lag-source", "lag-sink"] {
        let line = format!("POST /connectors/{name}/restart?includeTasks=true");
        assert_eq!(rest.call(&line).await.status, 202);
    }
    let restarts = "kafka_connect_task_restarts_total";
    let page = until(&rest, "both have begun anew", |page| {
        ["lag-source", "lag-sink"].iter().all(|name| {
            page.task(restarts, name) == 1.0 && page.task("kafka_connect_task_state", name) == 1.0
        })
    })
    .await;
    assert_eq!(page.task(POLLED, "lag-source"), 100.0);
    assert_eq!(page.task(SENT, "lag-sink"), 100.0);
    let lag = "kafka_connect_sink_task_sink_record_lag_max";
    until(&rest, "nothing is left to be read", |page| {
        page.task(lag, "lag-sink") == 0.0
    })
    .await;
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_records_and_their_letters_are_counted() {
    let rest = Rest::start().await;
    rest.create("errs-source", &source("errs", "")).await;
    let sink = json!({
        "connector.class": SINK, "topics": "errs", "mode": "bad-7,50", "errors.tolerance": "all",
        "errors.log.enable": "true", "errors.deadletterqueue.topic.name": "errs-dead",
    });
    rest.create("errs-sink", &sink).await;
    let page = until(&rest, "all others are in the sink", |page| {
        page.find(SENT, "errs-sink") == Some(98.0)
    })
    .await;
    for (name, value) in [
        ("total_record_failures", 2.0),
        ("total_record_errors", 0.0),
        ("total_records_skipped", 2.0),
        ("total_errors_logged", 2.0),
        ("deadletterqueue_produce_requests", 2.0),
        ("deadletterqueue_produce_failures", 0.0),
    ] {
        let name = format!("kafka_connect_task_error_metrics_{name}");
        assert_eq!(page.task(&name, "errs-sink"), value, "{name}");
    }
    let last = page.task("kafka_connect_task_error_last_error_timestamp", "errs-sink");
    assert!(last > 1.6e12, "{last}");
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_and_blocked_tasks_are_there_with_what_is_wrong() {
    let rest = Rest::start().await;
    rest.create("gone", &source("gone", "configuration")).await;
    rest.create("ill", &source("ill", "fatal")).await;
    rest.create("stands-source", &source("stands", "")).await;
    let sink = json!({"connector.class": SINK, "topics": "stands", "mode": "hang"});
    rest.create("stands", &sink).await;
    let page = until(&rest, "all of them are in trouble", |page| {
        page.find("kafka_connect_task_state", "gone") == Some(4.0)
            && page.find("kafka_connect_task_restarts_total", "ill") >= Some(1.0)
            && page.find("kafka_connect_task_blocked_seconds", "stands") > Some(0.5)
    })
    .await;
    assert_eq!(page.task("kafka_connect_task_not_restarted", "gone"), 1.0);
    assert_eq!(page.task("kafka_connect_task_failures_total", "gone"), 1.0);
    assert!(page.task("kafka_connect_task_failures_total", "ill") >= 1.0);
    let status = "kafka_connect_connector_status{connector=\"gone\",task=\"0\",status=\"failed\"}";
    assert_eq!(page.get(status), 1.0);
    let failed = "kafka_connect_worker_connector_failed_task_count{connector=\"gone\"}";
    assert_eq!(page.get(failed), 1.0);
    assert!(page.get("kafka_connect_worker_task_startup_failure_total") >= 1.0);
    rest.end().await;
}
