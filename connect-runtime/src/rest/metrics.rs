//! `/metrics`: what the worker measures, for Prometheus.

use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Rest;
use super::failure::Failure;
use crate::metrics::{CONTENT_TYPE, Names};

/// `GET /metrics?names`: Kafka's metrics have both of their usual names, unless `names` is `short` or
/// `jmx`.
pub(super) async fn show(
    State(rest): State<Rest>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Failure> {
    let asked = query.iter().find(|(key, _)| key == "names");
    let names = match asked.map(|(_, names)| names.as_str()) {
        None => Names::Both,
        Some("short") => Names::Short,
        Some("jmx") => Names::Jmx,
        Some(other) => {
            return Err(Failure::bad_request(format!(
                "names is \"{other}\"; expected \"short\" (kafka_connect_source_task_…), \"jmx\" \
                 (kafka_connect_source_task_metrics_…) or nothing, for both"
            )));
        }
    };
    let page = rest.worker.metrics(names);
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], page).into_response())
}
