//! What can go wrong with a file, in words for the person who runs the connector.

use std::io;
use std::path::{Path, PathBuf};

use connect_core::{ConnectError, ErrorClass};

/// An error of the file source or the file sink.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The path is a folder.
    #[error("\"{}\" is a directory; set \"file\" to the path of a file", path.display())]
    Directory {
        /// The configured path.
        path: PathBuf,
    },
    /// The operating system refused an operation.
    #[error("cannot {action} \"{}\": {source}{}", path.display(), way_out(source))]
    Io {
        /// What was tried, as a verb: `open`, `read`.
        action: &'static str,
        /// The file it was tried on.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A line is longer than `max.line.bytes`.
    #[error(
        "the line at byte {position} of \"{}\" is longer than {limit} bytes; raise \"max.line.bytes\" or let \
         \"errors.tolerance\" skip it",
        path.display()
    )]
    LineTooLong {
        /// The file.
        path: PathBuf,
        /// Where the line starts, in bytes from the start of the file.
        position: u64,
        /// The limit in force.
        limit: usize,
    },
    /// Data that was written but not yet flushed can no longer be vouched for.
    #[error("{what} \"{}\"; lines since the last committed offset are delivered again", path.display())]
    Unflushed {
        /// What happened.
        what: String,
        /// The file.
        path: PathBuf,
    },
}

impl FileError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

impl From<FileError> for ConnectError {
    fn from(error: FileError) -> Self {
        let class = match &error {
            FileError::Directory { .. } | FileError::Io { .. } => ErrorClass::Retriable,
            FileError::LineTooLong { .. } => ErrorClass::Record,
            FileError::Unflushed { .. } => ErrorClass::Fatal,
        };
        ConnectError::new(class, error.to_string()).with_source(error)
    }
}

/// What the reader of the message can do about it.
fn way_out(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => "; create the missing directory",
        io::ErrorKind::PermissionDenied => {
            "; check the permissions of the file and of its directory"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space, writing goes on by itself"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "; remount the file system writable or choose another path"
        }
        _ => "",
    }
}
