//! What the controller decides: asked again while there is none, or it moves.

use std::future::Future;

use super::Admin;
use crate::{ClientError, ErrorCode};

impl Admin {
    /// What comes of `attempt`, which asks the controller. It is asked again, wherever it is by
    /// then, while `may_repeat` says so of its error, until the API timeout.
    pub(super) async fn ask_again_while<T, F>(
        &self,
        may_repeat: impl Fn(&ClientError) -> bool,
        attempt: impl Fn() -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut retry = self.client.retry();
        loop {
            match attempt().await {
                Err(error) if may_repeat(&error) => {
                    self.client.refresh(&[], false).await.ok();
                    retry.again(error).await?;
                }
                outcome => return outcome,
            }
        }
    }
}

/// Whether the request reached no working controller, so that it may be repeated.
pub(super) fn is_controller_trouble(error: &ClientError) -> bool {
    match error.code() {
        Some(code) => matches!(
            code,
            ErrorCode::NOT_CONTROLLER
                | ErrorCode::REQUEST_TIMED_OUT
                | ErrorCode::THROTTLING_QUOTA_EXCEEDED
                | ErrorCode::NETWORK_EXCEPTION
                | ErrorCode::BROKER_NOT_AVAILABLE
        ),
        None => error.is_retriable(),
    }
}
