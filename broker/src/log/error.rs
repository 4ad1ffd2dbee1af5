//! What can go wrong with a log on disk.

use std::io;
use std::path::{Path, PathBuf};

use kafka_records::RecordError;

/// An error of one partition's log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused.
    #[error("cannot {action} \"{}\": {source}; nothing that was acknowledged is lost, free the disk or repair it and it goes on", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Stored bytes are not what was written.
    #[error("\"{}\" is corrupt at byte {position}: {reason}; restore the file from a copy, or move it away and restart to go on without it", path.display())]
    Corrupt {
        /// The segment.
        path: PathBuf,
        /// Where the broken batch starts.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// A text file of ours cannot be read.
    #[error("\"{}\" is malformed in line {line}: {reason}; restore it or remove it", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// An offset that is not in the log.
    #[error("offset {offset} is outside the log, which goes from {log_start} to {log_end}")]
    OffsetOutOfRange {
        /// What was asked for.
        offset: i64,
        /// First offset there is.
        log_start: i64,
        /// The offset after the last one.
        log_end: i64,
    },
    /// Another topic's partition lies in the folder.
    #[error("\"{}\" belongs to a topic with another id; remove the folder if that topic is gone", path.display())]
    TopicId {
        /// The partition's folder.
        path: PathBuf,
    },
    /// The topic's configuration does not allow it.
    #[error("{0}")]
    Policy(String),
    /// The leader's records are damaged, and another replica that is in sync takes over.
    #[error("records of {topic}-{partition} are damaged here; an in-sync replica takes over")]
    HandedOver {
        /// Its topic.
        topic: String,
        /// Its number.
        partition: i32,
    },
    /// The partition was deleted meanwhile.
    #[error("partition {topic}-{partition} was deleted")]
    Deleted {
        /// Its topic.
        topic: String,
        /// Its number.
        partition: i32,
    },
    /// A batch that was to be written again cannot be encoded.
    #[error("a record batch cannot be rewritten: {0}")]
    Record(#[from] RecordError),
}

impl LogError {
    /// Names the action and the file of a system error.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// Kafka's error code for it.
    pub fn code(&self) -> i16 {
        match self {
            Self::Io { .. } | Self::Malformed { .. } | Self::Record(_) => 56,
            Self::Corrupt { .. } => 2,
            Self::OffsetOutOfRange { .. } => 1,
            Self::TopicId { .. } => 103,
            Self::Policy(_) => 44,
            Self::Deleted { .. } => 3,
            Self::HandedOver { .. } => 6,
        }
    }
}
