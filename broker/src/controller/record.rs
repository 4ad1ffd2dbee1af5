//! Changes of the cluster's metadata: what the journal stores and what [`MetadataImage`] is the
//! sum of. A change is decided once (by the controller) and applied everywhere in the same order,
//! so a record holds results, never intentions: ids and assignments are in it, not chosen by it.
//!
//! [`MetadataImage`]: super::image::MetadataImage

use serde::{Deserialize, Serialize};

/// Kafka's 16-byte topic id.
pub(crate) type TopicId = [u8; 16];

/// What a configuration belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConfigResource {
    /// A topic, by name.
    Topic(String),
    /// A broker, by its id as text; empty for all brokers.
    Broker(String),
}

/// One partition: who keeps it and who leads it (KIP-455, KIP-966).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionState {
    /// The broker that leads it; -1 when none does.
    pub(crate) leader: i32,
    /// Grows with every change of the leader, and when one begins anew.
    pub(crate) leader_epoch: i32,
    /// Grows with every change of this state.
    pub(crate) partition_epoch: i32,
    /// The brokers that keep a copy, the preferred leader first.
    pub(crate) replicas: Vec<i32>,
    /// Those of them that have every committed record.
    pub(crate) isr: Vec<i32>,
    /// Eligible leader replicas: no longer in sync, but with every record that was committed,
    /// because nothing is committed while there are fewer than `min.insync.replicas` in sync.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) elr: Vec<i32>,
    /// Who led it last when neither an in-sync nor an eligible replica is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_known_leader: Option<i32>,
    /// Replicas a reassignment adds; they are in `replicas`, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) adding: Vec<i32>,
    /// Replicas that go when the added ones are in sync; they are in `replicas` until then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) removing: Vec<i32>,
}

/// Where a broker is reached through one of its listeners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// The listener's name.
    pub(crate) listener: String,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl PartitionState {
    /// A new partition, led by the first of `replicas`, with all of them in sync.
    pub(crate) fn new(replicas: Vec<i32>) -> Self {
        Self {
            leader: replicas.first().copied().unwrap_or(-1),
            leader_epoch: 0,
            partition_epoch: 0,
            isr: replicas.clone(),
            replicas,
            elr: Vec::new(),
            last_known_leader: None,
            adding: Vec::new(),
            removing: Vec::new(),
        }
    }

    /// Whether its replicas are being moved.
    pub(crate) fn is_reassigned(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// Its replicas as they were before they began to be moved.
    pub(crate) fn original_replicas(&self) -> Vec<i32> {
        let added = |id: &&i32| !self.adding.contains(id);
        self.replicas.iter().filter(added).copied().collect()
    }
}

impl Endpoint {
    /// `host:port`, an IPv6 address in brackets.
    pub(crate) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// A broker the cluster knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BrokerRegistration {
    pub(crate) id: i32,
    /// Grows with every registration of any broker: what an earlier process of this broker asked
    /// for is told apart by it (KIP-903).
    pub(crate) epoch: i64,
    /// Drawn by the process when it started.
    pub(crate) incarnation: [u8; 16],
    /// Id of its first data folder: another one is another disk, with none of the records.
    pub(crate) directory: String,
    /// Its listeners; brokers reach each other through the first.
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) rack: Option<String>,
    /// Version of this software.
    pub(crate) version: String,
    /// Not to be counted on: it leads nothing and clients are not sent to it.
    pub(crate) fenced: bool,
    /// It asked to stop; its leaders are being moved away.
    pub(crate) shutting_down: bool,
    /// Its disk takes no writes: it leads only what nobody else could.
    #[serde(default)]
    pub(crate) disk_refuses: bool,
    /// It is taken out of the cluster: its replicas are being moved away, and it gets no new ones.
    #[serde(default)]
    pub(crate) leaving: bool,
}

impl BrokerRegistration {
    /// A live broker with nothing particular to it.
    #[cfg(test)]
    pub(crate) fn live(id: i32, epoch: i64) -> Self {
        Self {
            id,
            epoch,
            incarnation: [0; 16],
            directory: String::new(),
            endpoints: Vec::new(),
            rack: None,
            version: String::new(),
            fenced: false,
            shutting_down: false,
            disk_refuses: false,
            leaving: false,
        }
    }

    /// Whether it may become a leader or an in-sync replica.
    pub(crate) fn may_lead(&self) -> bool {
        !self.fenced && !self.shutting_down && !self.disk_refuses
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum MetadataRecord {
    /// A topic exists.
    Topic { name: String, id: TopicId },
    /// A partition exists, or its state changed.
    Partition {
        topic: TopicId,
        index: i32,
        state: PartitionState,
    },
    /// How many replicas each partition of a topic is to have as soon as there are as many brokers;
    /// none when it keeps what it has.
    Copies { topic: TopicId, wanted: Option<i16> },
    /// A topic is gone; its records may still be on disk.
    RemoveTopic { id: TopicId },
    /// A setting changed; no value means that it is no longer set.
    Config {
        resource: ConfigResource,
        key: String,
        value: Option<String>,
    },
    /// Producer ids below `next` have been handed out.
    ProducerIds { next: i64 },
    /// The cluster's id; the first record there is.
    Cluster { id: String },
    /// A broker registered, or its state changed.
    Broker(BrokerRegistration),
    /// Broker epochs up to `last` have been given.
    BrokerEpochs { last: i64 },
    /// A broker left for good.
    RemoveBroker { id: i32 },
}
