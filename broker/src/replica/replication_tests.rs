//! Replicas of one partition under everything that may happen to them, with a controller made of a few lines.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_records::{BatchBuilder, Compression, ProducerIdentity, RecordRef, batches};
use proptest::prelude::*;
use tokio::time::Instant;

use super::role_tests::opened;
use super::*;
use crate::log::LogConfig;

const LAG: Duration = Duration::from_secs(10);
const MAX: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq)]
struct Metadata {
    leader: Option<i32>,
    leader_epoch: i32,
    partition_epoch: i32,
    isr: Vec<i32>,
}

struct Node {
    folder: tempfile::TempDir,
    /// Unless it is dead.
    running: Option<(Arc<Replicas>, Arc<Partition>)>,
    broker_epoch: i64,
    /// What it heard of the metadata.
    known: Metadata,
}

/// A record that was acknowledged: its offset and what it says.
type Acknowledged = BTreeMap<i64, u32>;

struct Cluster {
    nodes: Vec<Node>,
    metadata: Metadata,
    min_in_sync: i32,
    next_value: u32,
    next_broker_epoch: i64,
    /// Appended and not known to be committed: node, leader epoch, offset, value.
    waiting: Vec<(usize, i32, i64, u32)>,
    acknowledged: Acknowledged,
    high_watermarks: BTreeMap<(usize, i32), i64>,
}

#[derive(Clone, Debug)]
enum Step {
    Append { node: usize, records: u8 },
    Fetch { node: usize, bytes: usize },
    Hear { node: usize },
    Propose { node: usize, lost: bool },
    Move { to: usize },
    Crash { node: usize },
    Restart { node: usize },
    Wait { millis: u64 },
}

fn step(nodes: usize) -> impl Strategy<Value = Step> {
    let node = 0..nodes;
    prop_oneof![
        4 => (node.clone(), 1..4u8).prop_map(|(node, records)| Step::Append { node, records }),
        8 => (node.clone(), 1..600usize).prop_map(|(node, bytes)| Step::Fetch { node, bytes }),
        4 => node.clone().prop_map(|node| Step::Hear { node }),
        3 => (node.clone(), any::<bool>()).prop_map(|(node, lost)| Step::Propose { node, lost }),
        1 => node.clone().prop_map(|to| Step::Move { to }),
        1 => node.clone().prop_map(|node| Step::Crash { node }),
        2 => node.prop_map(|node| Step::Restart { node }),
        1 => (1..20_000u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

fn batch(values: std::ops::Range<u32>) -> bytes::Bytes {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    for value in values {
        builder.push(RecordRef {
            timestamp: 1,
            key: None,
            value: Some(value.to_string().as_bytes()),
            headers: &[],
        });
    }
    builder.finish_with(ProducerIdentity::NONE, false).unwrap()
}

/// What a log says at each offset, with the epoch of its batch.
async fn contents(partition: &Arc<Partition>, isolation: Isolation) -> BTreeMap<i64, (i32, u32)> {
    let mut found = BTreeMap::new();
    let mut at = partition.offsets().log_start;
    loop {
        let read = partition.read(at, MAX, isolation).await.unwrap();
        if read.records.is_empty() {
            return found;
        }
        for batch in batches(read.records) {
            let batch = batch.unwrap();
            at = batch.header.next_offset();
            for record in batch.records(MAX).unwrap() {
                let record = record.unwrap();
                let value = std::str::from_utf8(&record.value.unwrap())
                    .unwrap()
                    .parse()
                    .unwrap();
                found.insert(record.offset, (batch.header.partition_leader_epoch, value));
            }
        }
    }
}

impl Cluster {
    async fn start(count: usize, min_in_sync: i32) -> Self {
        let ids: Vec<i32> = (0..count as i32).collect();
        let metadata = Metadata {
            leader: Some(0),
            leader_epoch: 0,
            partition_epoch: 0,
            isr: ids,
        };
        let mut cluster = Self {
            nodes: Vec::new(),
            metadata: metadata.clone(),
            min_in_sync,
            next_value: 0,
            next_broker_epoch: 1,
            waiting: Vec::new(),
            acknowledged: BTreeMap::new(),
            high_watermarks: BTreeMap::new(),
        };
        for _ in 0..count {
            cluster.nodes.push(Node {
                folder: tempfile::tempdir().unwrap(),
                running: None,
                broker_epoch: 0,
                known: metadata.clone(),
            });
        }
        for node in 0..count {
            cluster.open(node).await;
        }
        cluster
    }

    async fn open(&mut self, node: usize) {
        let config = LogConfig {
            segment_bytes: 400,
            min_insync_replicas: self.min_in_sync,
            ..LogConfig::default()
        };
        let (replicas, partition) = opened(self.nodes[node].folder.path(), config).await;
        let started = &mut self.nodes[node];
        started.running = Some((replicas, partition));
        started.broker_epoch = self.next_broker_epoch;
        self.next_broker_epoch += 1;
        self.hear(node).await;
    }

    fn partition(&self, node: usize) -> Option<Arc<Partition>> {
        let (_, partition) = self.nodes[node].running.as_ref()?;
        Some(Arc::clone(partition))
    }

    async fn hear(&mut self, node: usize) {
        self.nodes[node].known = self.metadata.clone();
        let Some(partition) = self.partition(node) else {
            return;
        };
        let Metadata {
            leader,
            leader_epoch,
            partition_epoch,
            isr,
        } = self.metadata.clone();
        if leader == Some(node as i32) {
            let leading = Leading {
                me: node as i32,
                leader_epoch,
                partition_epoch,
                replicas: (0..self.nodes.len() as i32).collect(),
                isr,
            };
            partition.become_leader(leading).await.unwrap();
        } else {
            partition.become_follower(leader, leader_epoch).await;
        }
    }

    /// What the controller does when a broker is gone: nobody leaves the set that is the last one, and only one of the
    /// set leads.
    fn elect(&mut self) {
        let live: Vec<i32> = (0..self.nodes.len() as i32)
            .filter(|id| self.nodes[*id as usize].running.is_some())
            .collect();
        let metadata = &mut self.metadata;
        // Without eligible replicas kept beside, the set may not become smaller than what commits.
        let least = self.min_in_sync as usize;
        let isr: Vec<i32> = metadata
            .isr
            .iter()
            .copied()
            .filter(|id| live.contains(id))
            .collect();
        if isr.len() >= least.min(metadata.isr.len()) && !isr.is_empty() {
            metadata.isr = isr;
        }
        let leader = metadata.leader.filter(|leader| live.contains(leader));
        let next = leader.or_else(|| metadata.isr.iter().copied().find(|id| live.contains(id)));
        if next != metadata.leader {
            metadata.leader = next;
            metadata.leader_epoch += 1;
        }
        metadata.partition_epoch += 1;
    }

    async fn fetch(&mut self, node: usize, bytes: usize) -> bool {
        let Some(follower) = self.partition(node) else {
            return false;
        };
        let known = self.nodes[node].known.clone();
        let Some(leader) = known.leader.filter(|leader| *leader != node as i32) else {
            return false;
        };
        let Some(leader) = self.partition(leader as usize) else {
            return false;
        };
        let epoch = known.leader_epoch;
        let offsets = follower.offsets();
        let fetch = FollowerFetch {
            broker: node as i32,
            broker_epoch: self.nodes[node].broker_epoch,
            offset: offsets.log_end,
            log_start: offsets.log_start,
            last_epoch: follower.last_epoch(),
            leader_epoch: epoch,
        };
        match leader.follower_fetched(fetch, Instant::now()) {
            Ok(None) => {}
            Ok(Some((diverging, end))) => {
                let to = follower
                    .truncate_to_leader(epoch, diverging, end)
                    .await
                    .unwrap();
                assert!(to <= offsets.log_end);
                return true;
            }
            Err(_) => return false,
        }
        let read = leader
            .read(offsets.log_end, bytes, Isolation::LogEnd)
            .await
            .unwrap();
        let news =
            !read.records.is_empty() || follower.offsets().high_watermark < read.high_watermark;
        follower
            .append_as_follower(
                epoch,
                read.records,
                read.high_watermark,
                read.log_start_offset,
            )
            .await
            .unwrap();
        news
    }

    /// The leader's proposal, and what becomes of it. Where the answer is lost, it is only known as "timed out".
    fn propose(&mut self, node: usize, lost: bool) {
        let Some(partition) = self.partition(node) else {
            return;
        };
        let epochs: Vec<Option<i64>> = self
            .nodes
            .iter()
            .map(|node| node.running.as_ref().map(|_| node.broker_epoch))
            .collect();
        let is_live = |id: i32, epoch: i64| epochs[id as usize] == Some(epoch);
        let Some(proposal) = partition.propose_isr(Instant::now(), LAG, &is_live) else {
            return;
        };
        let metadata = &mut self.metadata;
        let stale = proposal.leader_epoch != metadata.leader_epoch
            || proposal.partition_epoch != metadata.partition_epoch;
        let ineligible = proposal.isr.iter().any(|(id, epoch)| {
            let known = *id == node as i32 || *epoch == -1 && metadata.isr.contains(id);
            !known && !is_live(*id, *epoch)
        });
        let refused = if stale {
            Some(crate::error_code::INVALID_UPDATE_VERSION)
        } else if ineligible
            || proposal.isr.len() < (self.min_in_sync as usize).min(metadata.isr.len())
        {
            Some(crate::error_code::INELIGIBLE_REPLICA)
        } else {
            metadata.isr = proposal.isr.iter().map(|(id, _)| *id).collect();
            metadata.partition_epoch += 1;
            None
        };
        let told = if lost {
            Some(crate::error_code::REQUEST_TIMED_OUT)
        } else {
            refused
        };
        partition.isr_answered(&proposal, told);
    }

    async fn append(&mut self, node: usize, records: u8) {
        let Some(partition) = self.partition(node) else {
            return;
        };
        let first = self.next_value;
        let values = first..first + u32::from(records);
        self.next_value = values.end;
        if let Ok(appended) = partition
            .append(batch(values.clone()), Origin::Client)
            .await
        {
            for (offset, value) in (appended.base_offset..).zip(values) {
                self.waiting
                    .push((node, appended.leader_epoch, offset, value));
            }
        }
    }

    async fn apply(&mut self, step: &Step) {
        match *step {
            Step::Append { node, records } => self.append(node, records).await,
            Step::Fetch { node, bytes } => drop(self.fetch(node, bytes).await),
            Step::Hear { node } => self.hear(node).await,
            Step::Propose { node, lost } => self.propose(node, lost),
            Step::Move { to } => {
                let id = to as i32;
                let eligible = self.nodes[to].running.is_some() && self.metadata.isr.contains(&id);
                if eligible && self.metadata.leader != Some(id) {
                    self.metadata.leader = Some(id);
                    self.metadata.leader_epoch += 1;
                    self.metadata.partition_epoch += 1;
                }
            }
            Step::Crash { node } => {
                self.nodes[node].running = None;
                self.waiting.retain(|(at, ..)| *at != node);
                self.elect();
            }
            Step::Restart { node } => {
                if self.nodes[node].running.is_none() {
                    self.open(node).await;
                    self.elect();
                    self.hear(node).await;
                }
            }
            Step::Wait { millis } => {
                tokio::time::advance(Duration::from_millis(millis)).await;
                for (replicas, _) in self.nodes.iter().filter_map(|node| node.running.as_ref()) {
                    replicas.checkpoint().unwrap();
                }
            }
        }
        self.check().await;
    }

    /// What must hold after each step.
    async fn check(&mut self) {
        for (node, epoch, offset, value) in std::mem::take(&mut self.waiting) {
            let partition = self.partition(node).unwrap();
            match partition.committed(epoch, offset + 1, Instant::now()).await {
                Ok(()) => assert_eq!(self.acknowledged.insert(offset, value), None),
                Err(crate::error_code::NOT_LEADER_OR_FOLLOWER) => {}
                Err(_) => self.waiting.push((node, epoch, offset, value)),
            }
        }
        let mut committed = BTreeMap::new();
        for node in 0..self.nodes.len() {
            let Some(partition) = self.partition(node) else {
                self.high_watermarks.retain(|(at, _), _| *at != node);
                continue;
            };
            let offsets = partition.offsets();
            assert!(offsets.high_watermark <= offsets.log_end);
            let before = self
                .high_watermarks
                .insert((node, partition.leader_epoch()), offsets.high_watermark);
            assert!(before.is_none_or(|before| before <= offsets.high_watermark));
            for (offset, found) in contents(&partition, Isolation::Uncommitted).await {
                let other = committed.insert(offset, found);
                assert!(other.is_none_or(|other| other == found), "{offset} differs");
            }
        }
        for (offset, value) in &self.acknowledged {
            if let Some((_, found)) = committed.get(offset) {
                assert_eq!(found, value, "at {offset}");
            }
        }
    }

    /// Everybody is there again, and nothing more happens.
    async fn heal(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].running.is_none() {
                self.open(node).await;
            }
        }
        self.elect();
        for node in 0..self.nodes.len() {
            self.hear(node).await;
        }
        let mut quiet = 0;
        for _ in 0..1000 {
            let mut news = false;
            for node in 0..self.nodes.len() {
                news |= self.fetch(node, MAX).await;
                self.propose(node, false);
                let leader = self.metadata.leader.unwrap();
                self.hear(leader as usize).await;
            }
            self.check().await;
            quiet = if news { 0 } else { quiet + 1 };
            if quiet > 3 && self.metadata.isr.len() == self.nodes.len() {
                break;
            }
            tokio::time::advance(Duration::from_millis(300)).await;
        }
        let mut logs = Vec::new();
        for node in 0..self.nodes.len() {
            let partition = self.partition(node).unwrap();
            let offsets = partition.offsets();
            assert_eq!(
                offsets.high_watermark, offsets.log_end,
                "everything is committed"
            );
            logs.push(contents(&partition, Isolation::LogEnd).await);
        }
        assert!(logs.windows(2).all(|pair| pair[0] == pair[1]), "{logs:?}");
        for (offset, value) in &self.acknowledged {
            let found = logs[0].get(offset).map(|(_, value)| value);
            assert_eq!(found, Some(value), "acknowledged at {offset}");
        }
    }
}

fn run(count: usize, min_in_sync: i32, steps: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut cluster = Cluster::start(count, min_in_sync).await;
        for step in steps {
            cluster.apply(step).await;
        }
        cluster.heal().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replicas_become_the_same_and_lose_nothing_that_was_acknowledged(
        count in 2..4usize,
        min_in_sync in 1..3i32,
        steps in proptest::collection::vec(step(3), 1..160),
    ) {
        let steps: Vec<Step> = steps
            .into_iter()
            .filter(|step| match step {
                Step::Append { node, .. }
                | Step::Fetch { node, .. }
                | Step::Hear { node }
                | Step::Propose { node, .. }
                | Step::Crash { node }
                | Step::Restart { node }
                | Step::Move { to: node } => *node < count,
                Step::Wait { .. } => true,
            })
            .collect();
        run(count, min_in_sync, &steps);
    }
}
