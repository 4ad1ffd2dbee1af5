//! Why an append or a read was refused.

use kafka_records::RecordError;

use crate::log::LogError;

/// Why nothing was appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AppendError {
    code: i16,
    message: String,
    records: Vec<(i32, String)>,
}

/// Records named one by one in an error; more are only counted.
const RECORDS_MAX: usize = 100;

impl AppendError {
    pub(crate) const CORRUPT_MESSAGE: i16 = 2;
    pub(crate) const MESSAGE_TOO_LARGE: i16 = 10;
    pub(crate) const INVALID_TIMESTAMP: i16 = 32;
    pub(crate) const UNSUPPORTED_FOR_MESSAGE_FORMAT: i16 = 43;
    pub(crate) const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
    pub(crate) const UNKNOWN_PRODUCER_ID: i16 = 59;
    pub(crate) const INVALID_PRODUCER_EPOCH: i16 = 47;
    pub(crate) const INVALID_TXN_STATE: i16 = 48;
    pub(crate) const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
    pub(crate) const INVALID_RECORD: i16 = 87;

    pub(crate) fn new(code: i16, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            records: Vec::new(),
        }
    }

    /// An error of single records: which, and what is wrong with each.
    pub(crate) fn of_records(code: i16, message: String, mut records: Vec<(i32, String)>) -> Self {
        records.truncate(RECORDS_MAX);
        Self {
            code,
            message,
            records,
        }
    }

    /// Kafka's error code.
    pub fn code(&self) -> i16 {
        self.code
    }

    /// What is wrong with the batch.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Positions of bad records in the batch, with what is wrong with each; empty if the whole batch is refused.
    pub fn records(&self) -> &[(i32, String)] {
        &self.records
    }
}

impl From<LogError> for AppendError {
    fn from(error: LogError) -> Self {
        Self::from(&error)
    }
}

impl From<&LogError> for AppendError {
    fn from(error: &LogError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<RecordError> for AppendError {
    fn from(error: RecordError) -> Self {
        let code = match error {
            RecordError::BadMagic { .. } => Self::UNSUPPORTED_FOR_MESSAGE_FORMAT,
            RecordError::UnknownCompression { .. } => Self::UNSUPPORTED_COMPRESSION_TYPE,
            RecordError::DecompressedTooLarge { .. } | RecordError::TooLarge { .. } => {
                Self::MESSAGE_TOO_LARGE
            }
            RecordError::BadRecord { .. } | RecordError::Inconsistent { .. } => {
                Self::INVALID_RECORD
            }
            _ => Self::CORRUPT_MESSAGE,
        };
        Self::new(code, error.to_string())
    }
}

/// Why nothing could be read; [`LogError::code`] is Kafka's error code.
pub type ReadError = LogError;
