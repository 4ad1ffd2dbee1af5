//! File source and file sink: Kafka's `FileStreamSource` and `FileStreamSink`, with their names, keys,
//! defaults and offsets.
//!
//! Link the crate by name (`use connect_file as _;`) and both are found by `connector.class`.
//!
//! # The source
//! Lines become records: no key, the line as text, the time of reading. `\n`, `\r\n` and `\r` end a
//! line; a last line without an end is held back until it has one. The offset is Kafka's,
//! `{"filename": …}` → `{"position": …}`, with `inode` and `checksum` beside the position, which
//! Kafka's connector ignores and which tell whether the file is still the same. Offsets without them,
//! as Kafka stores them, are understood.
//!
//! | when | then |
//! |---|---|
//! | the file does not exist | it is waited for |
//! | it is renamed and a new one made | the old one is read to its end, late lines included, then the new one; also if that happened while nobody read, more than once even |
//! | it is replaced, truncated or rewritten | the new content is read from its start |
//! | a line is longer than `max.line.bytes` | an error of that record, which is then skipped or not as `errors.tolerance` says |
//! | a line is not UTF-8 | the `encoding` key says; by default it becomes bytes, which the string converter writes as they are |
//! | `file` is a named pipe, or absent (standard input) | lines are delivered as they come, without offsets; what was read and not yet produced is lost in a crash |
//!
//! A file that is copied and then truncated (`copytruncate`) loses what was written between the last
//! look and the truncation, as with every reader; rotate by renaming.
//!
//! # The sink
//! Values become lines, rendered as Kafka does; bytes are written as they are. Lines are written at once
//! and flushed to the disk before offsets are committed. A line that a crash tore off is cut when the
//! sink starts again, before its record comes again; see the marker `.<name>.connect-sink` beside the
//! file, which is there while a sink writes. If the disk is full or the folder missing, the task keeps
//! what it has, takes no more, says why and goes on by itself.
//!
//! # Intended differences from Kafka
//! Positions count bytes, not characters; a batch limit strands no lines; truncation is noticed; errors
//! of the sink are errors of the task; `flush` reaches the disk; the last line of standard input is
//! delivered even without an end.

mod append;
mod chunk;
mod error;
mod follow;
mod identity;
mod lines;
mod position;
mod rotation;
mod sink;
mod source;
mod stdin;
mod tail;
mod watch;
mod write_behind;

pub use error::FileError;
pub use position::{FilePartition, FilePosition};
pub use sink::{FileSinkConfig, FileStreamSinkConnector};
pub use source::{Encoding, FileSourceConfig, FileStreamSourceConnector};
