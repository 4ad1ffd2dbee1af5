//! What tests may look at inside a running broker, beyond what clients can ask for. Nothing else
//! may rely on it.

use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::broker::Broker;
use crate::node::Node;
use crate::replica::{Isolation, Role};

/// Looks into a broker without keeping it alive.
#[derive(Clone)]
pub struct Inspector(Weak<Node>);

/// A replica on this broker, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaView {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Whether it takes appends.
    pub leads: bool,
    /// The epoch it leads or follows in.
    pub leader_epoch: i32,
    /// The first offset.
    pub log_start: i64,
    /// What is before it is committed, as far as this replica knows.
    pub high_watermark: i64,
    /// The next offset.
    pub log_end: i64,
    /// Who it proposed to be in sync, as a leader that was not answered yet.
    pub proposed: Vec<i32>,
}

/// A partition, as the metadata on this broker has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// -1 for none.
    pub leader: i32,
    /// Grows with the leader.
    pub leader_epoch: i32,
    /// Grows with everything.
    pub partition_epoch: i32,
    /// All of them.
    pub replicas: Vec<i32>,
    /// Those in sync.
    pub isr: Vec<i32>,
}

/// A registered broker, as the metadata on this broker has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerView {
    /// Its id.
    pub id: i32,
    /// Grows with each registration.
    pub epoch: i64,
    /// Not to be counted on.
    pub fenced: bool,
}

/// The cluster, as the metadata on this broker has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Grows with every change.
    pub version: u64,
    /// The active controller, -1 for none.
    pub controller: i32,
    /// Those that vote in the metadata quorum; none while that changes.
    pub voters: Vec<i32>,
    /// Those registered.
    pub brokers: Vec<BrokerView>,
    /// Those of all topics.
    pub partitions: Vec<PartitionView>,
}

/// Everything a replica holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its batches, as they are on disk.
    pub batches: Bytes,
    /// What is before it is committed.
    pub high_watermark: i64,
}

impl Broker {
    /// For tests.
    #[doc(hidden)]
    #[must_use]
    pub fn inspector(&self) -> Inspector {
        Inspector(Arc::downgrade(self.node()))
    }
}

impl Inspector {
    /// The replicas on this broker; none once it is gone.
    #[must_use]
    pub fn replicas(&self) -> Vec<ReplicaView> {
        let Some(node) = self.0.upgrade() else {
            return Vec::new();
        };
        let view = |partition: &Arc<crate::replica::Partition>| {
            let offsets = partition.offsets();
            ReplicaView {
                topic: partition.topic().clone(),
                partition: partition.index(),
                leads: partition.role() == Role::Leader,
                leader_epoch: partition.leader_epoch(),
                log_start: offsets.log_start,
                high_watermark: offsets.high_watermark,
                log_end: offsets.log_end,
                proposed: partition.proposed_isr(),
            }
        };
        node.replicas.list().iter().map(view).collect()
    }

    /// The metadata on this broker; none once it is gone.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterView> {
        let node = self.0.upgrade()?;
        let image = node.controller.image();
        let brokers = image.brokers().map(|broker| BrokerView {
            id: broker.id,
            epoch: broker.epoch,
            fenced: broker.fenced,
        });
        let partitions = image.topics().flat_map(|topic| {
            topic.partitions.iter().map(|(index, state)| PartitionView {
                topic: topic.name.clone(),
                partition: *index,
                leader: state.leader,
                leader_epoch: state.leader_epoch,
                partition_epoch: state.partition_epoch,
                replicas: state.replicas.clone(),
                isr: state.isr.clone(),
            })
        });
        Some(ClusterView {
            version: image.version(),
            controller: node.controller.leadership().leader.unwrap_or(-1),
            voters: node.controller.voters(),
            brokers: brokers.collect(),
            partitions: partitions.collect(),
        })
    }

    /// All batches of a replica, read from its files; `None` if it is not here.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub async fn stored(&self, topic: &str, partition: i32) -> Result<Option<Stored>, String> {
        let Some(node) = self.0.upgrade() else {
            return Ok(None);
        };
        let Some(partition) = node.replicas.get(topic, partition) else {
            return Ok(None);
        };
        let offsets = partition.offsets();
        let everything = usize::try_from(partition.size_bytes()).unwrap_or(usize::MAX);
        let mut batches = bytes::BytesMut::new();
        let mut from = offsets.log_start;
        // One read stays within a segment.
        while from < offsets.log_end {
            let read = partition
                .read(from, everything, Isolation::LogEnd)
                .await
                .map_err(|error| error.to_string())?;
            let before = from;
            for batch in kafka_records::batches(read.records.clone()) {
                let batch = batch.map_err(|error| error.to_string())?;
                from = from.max(batch.header.next_offset());
            }
            if from == before {
                break;
            }
            batches.extend_from_slice(&read.records);
        }
        Ok(Some(Stored {
            batches: batches.freeze(),
            high_watermark: offsets.high_watermark,
        }))
    }
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Inspector").finish()
    }
}
