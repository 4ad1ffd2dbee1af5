//! What happens to bad records.

use std::time::Duration;

use connect_core::{ConnectError, ErrorClass};

use crate::config::connector::ErrorPolicy;
use crate::task::TaskFailure;

/// The first pause before a converter is tried again; Kafka's value.
pub(crate) const CONVERTER_RETRY: Duration = Duration::from_millis(300);

impl ErrorPolicy {
    /// Decides about a bad record: skipped and perhaps logged, or the end of the task. An error
    /// that is not about a record is always the end.
    pub(crate) fn bad_record(&self, error: &ConnectError) -> Result<(), TaskFailure> {
        let about_record = matches!(error.class(), ErrorClass::Record | ErrorClass::Retriable);
        if !self.tolerate_all || !about_record {
            return Err(error.into());
        }
        if self.log {
            match self.log_messages {
                true => tracing::error!("skipped a record: {}", error.report()),
                false => tracing::error!("skipped a record: {}", error.message()),
            }
        }
        Ok(())
    }
}
