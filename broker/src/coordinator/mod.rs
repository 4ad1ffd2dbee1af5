//! The group coordinator: classic consumer groups (also those of Connect workers and of anything
//! else that brings its own protocol type) and committed offsets.
//!
//! - `group` with `join`, `sync` and `rebalance` is the state machine of one group, free of I/O;
//!   `member`, `state`, `committed` and `answer` are its nouns.
//! - `record` is the format of `__consumer_offsets`, `replay` rebuilds groups from it.
//! - `shard` owns the groups of one offsets partition this node leads: locks, log writes,
//!   deadlines, expiry. `shards` opens and closes them as leadership comes and goes.
//! - `service` is what the APIs call; `storage` and `node_storage` are what it needs of the broker.
//!
//! Not here: the consumer group protocol of KIP-848, share and streams groups, transactions.
//! Versions of the APIs that only mean something with those are not advertised.

mod answer;
mod committed;
mod error;
mod group;
mod join;
mod member;
mod moment;
mod node_storage;
mod placement;
mod rebalance;
mod record;
mod replay;
mod service;
mod settings;
mod shard;
mod shards;
mod state;
mod storage;
mod sync;

#[cfg(test)]
mod failover_tests;
#[cfg(test)]
mod group_properties;
#[cfg(test)]
mod group_tests;
#[cfg(test)]
mod memory_storage;
#[cfg(test)]
mod node_storage_tests;
#[cfg(test)]
mod service_tests;

pub(crate) use answer::{Description, Identity, Join, Joined, Sync, Synced, owned};
pub(crate) use committed::TopicPartition;
pub(crate) use error::{GroupError, code_of};
pub(crate) use member::Protocol;
pub(crate) use record::OffsetValue;
pub(crate) use service::GroupCoordinator;
pub(crate) use settings::{GroupSettings, STRING_BYTES_MAX};
