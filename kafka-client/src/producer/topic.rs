//! The partitions of one topic, as a producer sees them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::ProducerRecord;
use super::lane::{Lane, Queue};
use super::partitioner::{Sticky, partition_for_key};
use crate::cluster::Cluster;
use crate::{ClientError, TopicPartition};

#[derive(Debug)]
pub(super) struct Topic {
    name: Arc<str>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The cluster's generation this is taken from.
    generation: Option<u64>,
    lanes: Vec<Arc<Lane>>,
    /// How many of them exist at present.
    count: usize,
    /// Those with a leader.
    available: Vec<usize>,
    sticky: Sticky,
}

impl Topic {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            state: Mutex::new(State::default()),
        }
    }

    /// Takes in what is new in the cluster's metadata.
    pub(super) fn update(&self, cluster: &Cluster, next_slot: &AtomicUsize) {
        let mut state = self.state.lock();
        let generation = cluster.generation();
        if state.generation == Some(generation) {
            return;
        }
        let Some(topic) = cluster.topic(&self.name) else {
            return;
        };
        state.generation = Some(generation);
        state.count = topic.partitions.len();
        while state.lanes.len() < state.count {
            let partition = i32::try_from(state.lanes.len()).unwrap_or(i32::MAX);
            state.lanes.push(Arc::new(Lane {
                slot: next_slot.fetch_add(1, Ordering::AcqRel),
                partition: TopicPartition {
                    topic: Arc::clone(&self.name),
                    partition,
                },
                queue: Mutex::new(Queue::default()),
            }));
        }
        state.available = topic
            .partitions
            .iter()
            .filter(|partition| partition.leader >= 0)
            .filter_map(|partition| usize::try_from(partition.index).ok())
            .filter(|index| *index < topic.partitions.len())
            .collect();
    }

    /// Starts choosing partitions for the records of one `send`.
    pub(super) fn choice(&self) -> Choice<'_> {
        Choice {
            name: &self.name,
            state: self.state.lock(),
        }
    }
}

/// Chooses partitions; holds the topic, so that one `send` follows the other.
pub(super) struct Choice<'a> {
    name: &'a str,
    state: MutexGuard<'a, State>,
}

impl Choice<'_> {
    pub(super) fn choose(
        &mut self,
        record: &ProducerRecord,
        size: usize,
        batch_bytes: usize,
    ) -> Result<usize, ClientError> {
        let State {
            lanes,
            count,
            available,
            sticky,
            ..
        } = &mut *self.state;
        let index = match (record.partition, &record.key) {
            (Some(partition), _) => usize::try_from(partition)
                .ok()
                .filter(|index| index < count)
                .ok_or_else(|| ClientError::UnknownPartition {
                    topic: self.name.to_owned(),
                    partition,
                    count: *count,
                })?,
            (None, Some(key)) => {
                let count = i32::try_from(*count).unwrap_or(i32::MAX);
                usize::try_from(partition_for_key(key, count)).unwrap_or(0)
            }
            (None, None) => sticky.choose(size, batch_bytes, available, *count),
        };
        if index < lanes.len() {
            return Ok(index);
        }
        Err(ClientError::UnknownPartition {
            topic: self.name.to_owned(),
            partition: i32::try_from(index).unwrap_or(-1),
            count: *count,
        })
    }

    /// A chosen partition.
    pub(super) fn lane(&self, index: usize) -> Option<Arc<Lane>> {
        self.state.lanes.get(index).cloned()
    }
}
