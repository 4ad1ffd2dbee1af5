//! One partition as its leader sees it, and all partitions of a node.
//!
//! A [`Partition`] decides what may be appended (validation, idempotence), in which order, what is durable before it
//! is acknowledged, and what readers may see. [`Replicas`] finds partitions, creates and deletes them, and keeps
//! their checkpoints; [`Maintenance`] runs what happens by itself: flushing, retention, compaction.
//!
//! Invariants: acknowledged records are never lost by anything short of the machine losing power, and those of
//! compacted topics not even then; an offset is never durable before the records it covers; the high watermark never
//! goes back.

mod barrier;
mod error;
mod maintenance;
mod partition;
mod replicas;
mod roles;
mod validation;

#[cfg(test)]
mod tests;

pub use error::{AppendError, ReadError};
pub use maintenance::Maintenance;
pub use partition::{Appended, Isolation, Offsets, Origin, Partition, Read};
pub use replicas::Replicas;
pub(crate) use roles::{FollowerFetch, IsrProposal, Leading, Role};
