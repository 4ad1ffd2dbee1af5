//! Kafka record batches, message format 2: the unit that producers encode once, brokers store as it is
//! and consumers slice records out of.
//!
//! What it is: building ([`BatchBuilder`]), reading ([`batches`], [`Batch`], [`RecordIter`]), checking
//! ([`Batch::verify`], [`Batch::inspect`]), compressing ([`Compression`]) and the few rewrites a broker does to
//! a stored batch ([`assign_offsets`], [`set_log_append_time`], [`stamp_producer`]).
//! What it is not: a log, a protocol message, or a reader of the formats before Kafka 0.11.
//!
//! Invariants: no input can make it panic; nothing is allocated from a length that was not checked against the
//! bytes at hand; decompression stops at the limit the caller names; reading an uncompressed batch copies no
//! payload byte.
//!
//! ```
//! use kafka_records::{BatchBuilder, Compression, RecordRef, batches};
//!
//! let mut builder = BatchBuilder::new(Compression::None, 4096);
//! builder.push(RecordRef { timestamp: 1_700_000_000_000, key: None, value: Some(b"hello"), headers: &[] });
//! let bytes = builder.finish()?;
//! for batch in batches(bytes) {
//!     let batch = batch?;
//!     batch.verify()?;
//!     for record in batch.records(1 << 20)? {
//!         assert_eq!(record?.value.as_deref(), Some(&b"hello"[..]));
//!     }
//! }
//! # Ok::<(), kafka_records::RecordError>(())
//! ```

mod batch;
mod builder;
mod compression;
mod error;
mod header;
mod record;
mod rewrite;
mod varint;

pub use batch::{Batch, Batches, batches};
pub use builder::{BatchBuilder, encode_record, seal};
pub use compression::Compression;
pub use error::RecordError;
pub use header::{BatchHeader, HEADER_BYTES, MAGIC, ProducerIdentity};
pub use record::{Header, Record, RecordIter, RecordRef, RecordShape};
pub use rewrite::{assign_offsets, set_log_append_time, set_max_timestamp, stamp_producer};
