//! Everything that can go wrong in this client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::{ErrorCode, TopicPartition};

/// What went wrong, where, and what to do about it. Cheap to clone: one failed batch tells every
/// record in it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A broker answered with an error code.
    #[error("{context}: {code}")]
    Broker {
        /// The code.
        code: ErrorCode,
        /// What was asked of whom, with the broker's own message where it gave one.
        context: String,
    },
    /// No answer in time.
    #[error(
        "{what} took longer than {after:?}; check that the broker is alive or raise the timeout"
    )]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// The connection was refused, lost or closed before the answer came.
    #[error("the connection to broker {addr} failed: {source}")]
    Disconnected {
        /// `host:port`.
        addr: String,
        /// Why.
        source: Arc<io::Error>,
    },
    /// None of the bootstrap servers could be reached.
    #[error(
        "no broker answered at \"{servers}\": {reason}; start the broker or correct bootstrap.servers"
    )]
    Bootstrap {
        /// The addresses that were tried, as configured.
        servers: String,
        /// The last failure.
        reason: String,
    },
    /// The peer sent something that is not Kafka's protocol, or that this client cannot represent.
    #[error("{context}: {reason}")]
    Protocol {
        /// Who and what.
        context: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The broker and this client have no common version of an API.
    #[error(
        "broker {addr} does not offer {api} in a version this client speaks; upgrade the broker"
    )]
    UnsupportedVersion {
        /// `host:port`.
        addr: String,
        /// The API's name.
        api: &'static str,
    },
    /// A record that fits in no request.
    #[error(
        "a record of {bytes} bytes for topic \"{topic}\" is larger than max.request.size {limit}; raise it or make the record smaller"
    )]
    RecordTooLarge {
        /// Its topic.
        topic: String,
        /// Its size, encoded.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A record names a partition that its topic doesn't have.
    #[error("topic \"{topic}\" has {count} partitions, so there is no partition {partition}")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: i32,
        /// How many there are.
        count: usize,
    },
    /// A batch did not get through before the delivery timeout.
    #[error(
        "records for {partition} were not acknowledged within {after:?}: {last}; raise delivery.timeout.ms or check the partition's leader"
    )]
    Undelivered {
        /// Where they should have gone.
        partition: TopicPartition,
        /// The delivery timeout.
        after: Duration,
        /// The last error seen.
        last: String,
    },
    /// There is no committed offset, or it is gone from the log, and `auto.offset.reset` is `none`.
    #[error(
        "{partition} has no usable offset ({reason}) and auto.offset.reset is none; set it to earliest or latest, or seek"
    )]
    NoOffset {
        /// The partition.
        partition: TopicPartition,
        /// Why.
        reason: String,
    },
    /// Bytes read from a partition are damaged.
    #[error(
        "{partition} is damaged at offset {offset}: {reason}; seek past it or restore the partition"
    )]
    Corrupt {
        /// The partition.
        partition: TopicPartition,
        /// The first offset of the damaged batch.
        offset: i64,
        /// What is wrong.
        reason: String,
    },
    /// A write that needs the process which acknowledged what came before.
    #[error("broker {addr} may not be the process that acknowledged what came before")]
    Reconnected {
        /// The broker, as `host:port`.
        addr: String,
    },
    /// Records that the broker had acknowledged are gone from its log.
    #[error(
        "records of {partition} before offset {expected} were acknowledged and are lost; a power cut does that to a leader without replicas, so send them again or add replicas"
    )]
    AcknowledgedLost {
        /// Where.
        partition: TopicPartition,
        /// Where its log should reach at least.
        expected: i64,
    },
    /// A record could not be encoded.
    #[error("a record for topic \"{topic}\" cannot be encoded: {reason}")]
    Encode {
        /// The topic.
        topic: String,
        /// Why.
        reason: String,
    },
    /// A configuration value that cannot work.
    #[error("{key}: {reason}")]
    Configuration {
        /// Kafka's name of the setting.
        key: &'static str,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// The producer, consumer or client was closed.
    #[error("the {what} is closed")]
    Closed {
        /// Which one.
        what: &'static str,
    },
    /// A call that makes no sense in the present state.
    #[error("{reason}")]
    Usage {
        /// What, and what to do instead.
        reason: String,
    },
}

impl ClientError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Broker { code, .. } => code.is_retriable(),
            Self::Timeout { .. } | Self::Disconnected { .. } | Self::Bootstrap { .. } => true,
            Self::Undelivered { .. } => true,
            _ => false,
        }
    }

    /// The broker's error code, if a broker answered with one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            _ => None,
        }
    }

    pub(crate) fn disconnected(addr: &str, source: io::Error) -> Self {
        Self::Disconnected {
            addr: addr.to_owned(),
            source: Arc::new(source),
        }
    }

    pub(crate) fn broker(code: ErrorCode, context: impl Into<String>) -> Self {
        Self::Broker {
            code,
            context: context.into(),
        }
    }

    /// `Ok` for code 0; else an error whose text is `context`, then the broker's own message.
    pub(crate) fn check(
        code: i16,
        message: Option<&str>,
        context: impl FnOnce() -> String,
    ) -> Result<(), Self> {
        if code == 0 {
            return Ok(());
        }
        let mut context = context();
        if let Some(message) = message.filter(|message| !message.is_empty()) {
            context.push_str(": ");
            context.push_str(message);
        }
        Err(Self::Broker {
            code: ErrorCode(code),
            context,
        })
    }
}
