//! What is known of the cluster: brokers, topics, leaders.
//!
//! Invariant: for one topic id, a partition's leader epoch only grows; an older answer never
//! replaces a newer one, whichever broker it came from.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kafka_wire::MetadataResponse;
use kafka_wire_core::Uuid;
use parking_lot::RwLock;
use tokio::time::Instant;

use crate::{ErrorCode, TopicPartition};

/// Topics not asked for this many times the metadata's maximal age are forgotten.
const FORGET_AFTER_AGES: u32 = 3;

/// A broker's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerInfo {
    /// Its id.
    pub id: i32,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Rack, if it has one.
    pub rack: Option<String>,
}

impl BrokerInfo {
    /// `host:port`, an IPv6 address in brackets.
    #[must_use]
    pub fn addr(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// A topic as last seen.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) id: Uuid,
    pub(crate) internal: bool,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) fetched: Instant,
    /// Somebody saw that it is outdated.
    pub(crate) stale: bool,
}

/// A partition as last seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partition {
    pub(crate) index: i32,
    /// -1 if there is none.
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) isr: Vec<i32>,
    pub(crate) offline: Vec<i32>,
}

impl Topic {
    pub(crate) fn partition(&self, index: i32) -> Option<&Partition> {
        let guess = usize::try_from(index)
            .ok()
            .and_then(|index| self.partitions.get(index));
        guess
            .filter(|partition| partition.index == index)
            .or_else(|| {
                self.partitions
                    .iter()
                    .find(|partition| partition.index == index)
            })
    }
}

/// The cache. Reading never waits; who fetches is the client's business.
#[derive(Debug)]
pub(crate) struct Cluster {
    state: RwLock<State>,
    /// Grows with every change, so that users notice one with a single load.
    generation: AtomicU64,
}

#[derive(Debug)]
struct State {
    cluster_id: Option<String>,
    controller: i32,
    brokers: HashMap<i32, BrokerInfo>,
    topics: HashMap<Arc<str>, Arc<Topic>>,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self {
            state: RwLock::new(State {
                cluster_id: None,
                controller: -1,
                brokers: HashMap::new(),
                topics: HashMap::new(),
            }),
            generation: AtomicU64::new(0),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn brokers(&self) -> Vec<BrokerInfo> {
        let mut brokers: Vec<_> = self.state.read().brokers.values().cloned().collect();
        brokers.sort_by_key(|broker| broker.id);
        brokers
    }

    pub(crate) fn broker_addr(&self, id: i32) -> Option<String> {
        self.state.read().brokers.get(&id).map(BrokerInfo::addr)
    }

    pub(crate) fn broker_count(&self) -> usize {
        self.state.read().brokers.len()
    }

    pub(crate) fn identity(&self) -> (Option<String>, i32) {
        let state = self.state.read();
        (state.cluster_id.clone(), state.controller)
    }

    pub(crate) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.state.read().topics.get(name).cloned()
    }

    /// The leader's id and epoch, if there is a leader.
    pub(crate) fn leader(&self, partition: &TopicPartition) -> Option<(i32, i32)> {
        let topic = self.topic(&partition.topic)?;
        let found = topic.partition(partition.partition)?;
        (found.leader >= 0).then_some((found.leader, found.leader_epoch))
    }

    /// Whether the topic is known and not older than `max_age`.
    pub(crate) fn is_fresh(&self, name: &str, max_age: Duration) -> bool {
        self.topic(name)
            .is_some_and(|topic| !topic.stale && topic.fetched.elapsed() < max_age)
    }

    pub(crate) fn mark_stale(&self, name: &str) {
        let mut state = self.state.write();
        if let Some(topic) = state.topics.get_mut(name)
            && !topic.stale
        {
            Arc::make_mut(topic).stale = true;
        }
    }

    /// A broker is away: whatever it leads may have another leader.
    pub(crate) fn distrust(&self, broker: i32) {
        let mut state = self.state.write();
        for topic in state.topics.values_mut() {
            let leads = |partition: &Partition| partition.leader == broker;
            if !topic.stale && topic.partitions.iter().any(leads) {
                Arc::make_mut(topic).stale = true;
            }
        }
    }

    /// Forgets all brokers, so that the next request starts at the bootstrap servers (KIP-899).
    pub(crate) fn forget_brokers(&self) {
        self.state.write().brokers.clear();
    }

    /// A broker told who leads now (KIP-951).
    pub(crate) fn learn_leader(
        &self,
        partition: &TopicPartition,
        leader: i32,
        leader_epoch: i32,
        endpoint: Option<BrokerInfo>,
    ) {
        let mut state = self.state.write();
        if let Some(endpoint) = endpoint {
            state.brokers.insert(endpoint.id, endpoint);
        }
        if leader < 0 || !state.brokers.contains_key(&leader) {
            return;
        }
        if let Some(topic) = state.topics.get_mut(&partition.topic) {
            let index = partition.partition;
            let newer = topic
                .partition(index)
                .is_some_and(|known| known.leader_epoch < leader_epoch);
            if newer
                && let Some(known) = Arc::make_mut(topic)
                    .partitions
                    .iter_mut()
                    .find(|known| known.index == index)
            {
                known.leader = leader;
                known.leader_epoch = leader_epoch;
            }
        }
        drop(state);
        self.changed();
    }

    /// Takes in an answer. Returns the topics that came with an error.
    pub(crate) fn update(
        &self,
        response: &MetadataResponse,
        max_age: Duration,
    ) -> Vec<(Arc<str>, ErrorCode)> {
        let now = Instant::now();
        let mut errors = Vec::new();
        let mut state = self.state.write();
        if let Some(id) = &response.cluster_id {
            state.cluster_id = Some(id.as_str().to_owned());
        }
        state.controller = response.controller_id;
        if !response.brokers.is_empty() {
            state.brokers = response
                .brokers
                .iter()
                .map(|broker| {
                    let info = BrokerInfo {
                        id: broker.node_id,
                        host: broker.host.as_str().to_owned(),
                        port: u16::try_from(broker.port).unwrap_or(0),
                        rack: broker.rack.as_ref().map(|rack| rack.as_str().to_owned()),
                    };
                    (broker.node_id, info)
                })
                .collect();
        }
        for answer in &response.topics {
            let Some(name) = answer.name.as_ref().map(|name| name.as_str()) else {
                continue;
            };
            let name: Arc<str> = state
                .topics
                .get_key_value(name)
                .map_or_else(|| Arc::from(name), |(name, _)| Arc::clone(name));
            let code = ErrorCode(answer.error_code);
            if !code.is_ok() {
                if code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION {
                    state.topics.remove(&name);
                }
                errors.push((name, code));
                continue;
            }
            let known = state
                .topics
                .get(&name)
                .filter(|known| known.id == answer.topic_id || known.id.is_zero());
            let mut partitions: Vec<Partition> = answer
                .partitions
                .iter()
                .map(|answer| {
                    let fresh = Partition {
                        index: answer.partition_index,
                        leader: answer.leader_id,
                        leader_epoch: answer.leader_epoch,
                        replicas: answer.replica_nodes.clone(),
                        isr: answer.isr_nodes.clone(),
                        offline: answer.offline_replicas.clone(),
                    };
                    match known.and_then(|known| known.partition(fresh.index)) {
                        Some(known)
                            if fresh.leader_epoch >= 0
                                && fresh.leader_epoch < known.leader_epoch =>
                        {
                            known.clone()
                        }
                        _ => fresh,
                    }
                })
                .collect();
            partitions.sort_by_key(|partition| partition.index);
            let topic = Topic {
                name: Arc::clone(&name),
                id: answer.topic_id,
                internal: answer.is_internal,
                partitions,
                fetched: now,
                stale: false,
            };
            state.topics.insert(name, Arc::new(topic));
        }
        let forget_after = max_age.saturating_mul(FORGET_AFTER_AGES);
        state
            .topics
            .retain(|_, topic| now.duration_since(topic.fetched) <= forget_after);
        drop(state);
        self.changed();
        errors
    }
}

/// An answer in which topic "t" has one partition, and this leader.
#[cfg(test)]
pub(crate) fn led_by(leader: i32, epoch: i32) -> MetadataResponse {
    let mut partition = kafka_wire::metadata_response::MetadataResponsePartition::default();
    partition.leader_id = leader;
    partition.leader_epoch = epoch;
    let mut topic = kafka_wire::metadata_response::MetadataResponseTopic::default();
    topic.name = Some("t".into());
    topic.partitions = vec![partition];
    let mut response = MetadataResponse::default();
    response.topics = vec![topic];
    response
}

#[cfg(test)]
mod tests {
    use kafka_wire::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };
    use kafka_wire_core::StrBytes;

    use super::*;

    fn answer(id: u8, leader: i32, epoch: i32) -> MetadataResponse {
        let mut broker = MetadataResponseBroker::default();
        broker.node_id = leader;
        broker.host = StrBytes::from("host");
        broker.port = 9092;
        let mut partition = MetadataResponsePartition::default();
        partition.leader_id = leader;
        partition.leader_epoch = epoch;
        let mut topic = MetadataResponseTopic::default();
        topic.name = Some(StrBytes::from("orders"));
        topic.topic_id = Uuid::from_bytes([id; 16]);
        topic.partitions = vec![partition];
        let mut response = MetadataResponse::default();
        response.brokers = vec![broker];
        response.topics = vec![topic];
        response
    }

    const AGE: Duration = Duration::from_secs(300);

    #[test]
    fn leader_epochs_only_grow() {
        let cluster = Cluster::new();
        let partition = TopicPartition::new("orders", 0);
        cluster.update(&answer(1, 1, 5), AGE);
        assert_eq!(cluster.leader(&partition), Some((1, 5)));
        cluster.update(&answer(1, 2, 4), AGE);
        assert_eq!(cluster.leader(&partition), Some((1, 5)));
        cluster.update(&answer(1, 2, 6), AGE);
        assert_eq!(cluster.leader(&partition), Some((2, 6)));
    }

    #[test]
    fn a_recreated_topic_starts_over() {
        let cluster = Cluster::new();
        cluster.update(&answer(1, 1, 5), AGE);
        cluster.update(&answer(2, 2, 0), AGE);
        assert_eq!(
            cluster.leader(&TopicPartition::new("orders", 0)),
            Some((2, 0))
        );
    }

    #[test]
    fn a_hint_moves_the_leader_forward_only() {
        let cluster = Cluster::new();
        let partition = TopicPartition::new("orders", 0);
        cluster.update(&answer(1, 1, 5), AGE);
        let endpoint = |id| {
            Some(BrokerInfo {
                id,
                host: "other".to_owned(),
                port: 9093,
                rack: None,
            })
        };
        cluster.learn_leader(&partition, 3, 4, endpoint(3));
        assert_eq!(cluster.leader(&partition), Some((1, 5)));
        cluster.learn_leader(&partition, 3, 7, endpoint(3));
        assert_eq!(cluster.leader(&partition), Some((3, 7)));
        assert_eq!(cluster.broker_addr(3).as_deref(), Some("other:9093"));
    }

    #[test]
    fn what_a_broker_leads_is_asked_for_again_when_it_is_away() {
        let cluster = Cluster::new();
        cluster.update(&answer(1, 1, 5), AGE);
        cluster.distrust(2);
        assert!(cluster.is_fresh("orders", AGE));
        cluster.distrust(1);
        assert!(!cluster.is_fresh("orders", AGE));
    }

    #[test]
    fn a_topic_marked_stale_is_not_fresh() {
        let cluster = Cluster::new();
        cluster.update(&answer(1, 1, 5), AGE);
        assert!(cluster.is_fresh("orders", AGE));
        cluster.mark_stale("orders");
        assert!(!cluster.is_fresh("orders", AGE));
    }
}
