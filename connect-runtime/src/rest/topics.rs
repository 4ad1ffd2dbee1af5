//! `/connectors/{connector}/topics`: which topics a connector has used is not recorded, and said so as
//! Kafka does with `topic.tracking.enable=false`.

use axum::http::StatusCode;

use super::failure::Failure;

fn disabled() -> Failure {
    Failure::new(StatusCode::FORBIDDEN, "Topic tracking is disabled.")
}

/// `GET /connectors/{connector}/topics`
pub(super) async fn show() -> Failure {
    disabled()
}

/// `PUT /connectors/{connector}/topics/reset`
pub(super) async fn reset() -> Failure {
    disabled()
}
