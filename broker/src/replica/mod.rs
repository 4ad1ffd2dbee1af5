//! One partition as its leader or a follower sees it, and all partitions of a node.
//!
//! A [`Partition`] decides what may be appended (validation, idempotence), in which order, what is durable before it
//! is acknowledged, and what readers may see. It leads or follows as it is told; it does not fetch and does not talk to
//! the controller, but says what either should be asked for. [`Replicas`] finds partitions, creates and deletes them, and keeps
//! their checkpoints; [`Maintenance`] runs what happens by itself: flushing, retention, compaction.
//!
//! A node that leads nothing takes no appends. A partition that was just opened follows nobody.
//!
//! Invariants: acknowledged records are never lost by anything short of the machine losing power, and those of
//! compacted topics not even then; an offset is never durable before the records it covers; the high watermark never
//! goes back in a leader epoch; logs of replicas are the same up to it; what a leader showed to a follower is never cut
//! off while it leads; nothing is appended in an epoch that is over.

mod appending;
mod barrier;
mod candidates;
mod disk;
mod error;
mod following;
mod leadership;
mod maintenance;
mod partition;
mod replicas;
mod roles;
mod validation;

#[cfg(test)]
mod replication_tests;
#[cfg(test)]
mod role_tests;
#[cfg(test)]
mod tests;

pub use error::{AppendError, ReadError};
pub use maintenance::Maintenance;
pub use partition::{Appended, Isolation, Offsets, Origin, Partition, Read};
pub use replicas::Replicas;
pub(crate) use roles::{FollowerFetch, IsrProposal, Leading, Role};
