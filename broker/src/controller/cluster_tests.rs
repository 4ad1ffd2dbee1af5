//! Several controllers in one process, over real quorums and a network in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::quorum::{Member, Quorum, QuorumNetwork, QuorumTiming};
use super::record::Endpoint;
use super::{Background, Controller, NewTopic, NoAnswer, Others};
use crate::config::BrokerConfig;
use crate::error_code;
use crate::peer::{
    ClusterRequest, ClusterResponse, Heartbeat, HeartbeatAnswer, JoinRequest, PeerError,
    Registration,
};

/// Everybody who listens.
#[derive(Clone, Default)]
struct Net(Arc<Mutex<BTreeMap<String, Arc<Controller>>>>);

impl Net {
    fn at(&self, address: &str) -> Result<Arc<Controller>, NoAnswer> {
        self.0.lock().get(address).cloned().ok_or(NoAnswer::Refused)
    }
}

impl QuorumNetwork for Net {
    fn send(
        &self,
        address: String,
        message: Value,
        _within: Duration,
    ) -> BoxFuture<'static, Result<Value, PeerError>> {
        let found = self.at(&address);
        async move {
            let Ok(node) = found else {
                return Err(PeerError::Refused(address));
            };
            match node.answer(ClusterRequest::Quorum(message)).await {
                ClusterResponse::Quorum(answer) => Ok(answer),
                _ => Err(PeerError::Lost(address)),
            }
        }
        .boxed()
    }
}

impl Others for Net {
    fn call<'a>(
        &'a self,
        address: &'a str,
        request: ClusterRequest,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<ClusterResponse, NoAnswer>> {
        async move {
            let node = self.at(address)?;
            tokio::time::timeout_at(deadline, node.answer(request))
                .await
                .map_err(|_| NoAnswer::Lost)
        }
        .boxed()
    }

    fn probe<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<(), NoAnswer>> {
        async move { self.at(address).map(drop) }.boxed()
    }
}

struct Running {
    controller: Arc<Controller>,
    _background: Background,
    beating: JoinHandle<()>,
}

#[derive(Default)]
struct Cluster {
    net: Net,
    nodes: BTreeMap<i32, Running>,
    folders: Vec<tempfile::TempDir>,
}

fn address(id: i32) -> String {
    format!("node-{id}:9092")
}

fn endpoints(id: i32) -> Vec<Endpoint> {
    vec![Endpoint {
        listener: "PLAINTEXT".to_owned(),
        host: format!("node-{id}"),
        port: 9092,
    }]
}

fn registration(id: i32) -> Registration {
    Registration {
        cluster_id: "cluster".to_owned(),
        broker: id,
        incarnation: platform::random::uuid(),
        directory: format!("disk-{id}"),
        endpoints: endpoints(id),
        rack: None,
        version: "1".to_owned(),
        lost_records: false,
    }
}

/// Asks the active controller, as a node does.
async fn ask_leader(
    controller: &Controller,
    net: &Net,
    request: ClusterRequest,
) -> ClusterResponse {
    loop {
        if let Some((_, address)) = controller.quorum.leader_address() {
            let deadline = Instant::now() + Duration::from_secs(6);
            match net.call(&address, request.clone(), deadline).await {
                Ok(ClusterResponse::Refused(refusal))
                    if refusal.code == error_code::NOT_CONTROLLER => {}
                Ok(response) => return response,
                Err(NoAnswer::Refused) => controller.quorum.elect_now(),
                Err(NoAnswer::Lost) => {}
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn beat(controller: Arc<Controller>, net: Net, broker: i32, broker_epoch: i64) {
    loop {
        let heartbeat = Heartbeat {
            broker,
            broker_epoch,
            version: controller.image().version(),
            shutting_down: false,
            disk_refuses: false,
        };
        drop(ask_leader(&controller, &net, ClusterRequest::Heartbeat(heartbeat)).await);
        sleep(Duration::from_millis(100)).await;
    }
}

impl Cluster {
    /// Live nodes 1 to `count`.
    async fn of(count: i32) -> Self {
        let mut cluster = Self::default();
        for id in 1..=count {
            cluster.add(id).await;
        }
        let all: BTreeSet<i32> = (1..=count).collect();
        cluster
            .until("all are live", |c| {
                all.iter().all(|id| c.image().is_live(*id))
            })
            .await;
        cluster
    }

    async fn add(&mut self, id: i32) {
        let folder = tempfile::tempdir().unwrap();
        let properties = BTreeMap::from([
            ("node.id".to_owned(), id.to_string()),
            ("log.dirs".to_owned(), folder.path().display().to_string()),
            ("broker.session.timeout.ms".to_owned(), "1500".to_owned()),
            ("offsets.topic.num.partitions".to_owned(), "4".to_owned()),
        ]);
        let config = Arc::new(BrokerConfig::from_properties(&properties).unwrap());
        let member = Member {
            address: address(id),
            directory: format!("disk-{id}"),
        };
        let network = Arc::new(self.net.clone());
        let quorum = Quorum::open(
            folder.path(),
            id,
            member,
            network.clone(),
            QuorumTiming::default(),
        )
        .await
        .unwrap();
        self.folders.push(folder);
        let quorum = Arc::new(quorum);
        let controller = Arc::new(Controller::new(config, quorum.clone(), network));
        self.net.0.lock().insert(address(id), controller.clone());
        let background = controller.start();
        if self.nodes.is_empty() {
            quorum.found().await.unwrap();
        } else {
            let join = JoinRequest {
                cluster_id: None,
                broker: id,
                directory: format!("disk-{id}"),
                endpoints: endpoints(id),
                version: "1".to_owned(),
            };
            // Any node helps, and names the active one.
            let (_, last) = self.nodes.last_key_value().unwrap();
            let request = ClusterRequest::Join(join);
            match ask_leader(&last.controller, &self.net, request).await {
                ClusterResponse::Joined(joined) => assert_eq!(joined.cluster_id, "cluster"),
                other => panic!("{other:?}"),
            }
        }
        let request = ClusterRequest::Register(registration(id));
        let broker_epoch = match ask_leader(&controller, &self.net, request).await {
            ClusterResponse::Registered { broker_epoch } => broker_epoch,
            other => panic!("{other:?}"),
        };
        let beating = tokio::spawn(beat(controller.clone(), self.net.clone(), id, broker_epoch));
        self.nodes.insert(
            id,
            Running {
                controller,
                _background: background,
                beating,
            },
        );
    }

    fn node(&self, id: i32) -> &Arc<Controller> {
        &self.nodes[&id].controller
    }

    /// Ends a process: its connections end, and a moment later nobody listens there any more.
    async fn kill(&mut self, id: i32) {
        let node = self.nodes.remove(&id).unwrap();
        node.beating.abort();
        let epoch = node.controller.image().broker(id).unwrap().epoch;
        node.controller.quorum.shutdown().await;
        for other in self.nodes.values() {
            other.controller.connection_lost(id, epoch);
        }
        sleep(Duration::from_millis(30)).await;
        self.net.0.lock().remove(&address(id));
    }

    /// Waits until all nodes say so.
    async fn until(&self, what: &str, holds: impl Fn(&Controller) -> bool) {
        let all = async {
            while !self.nodes.values().all(|node| holds(&node.controller)) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(
            timeout(Duration::from_secs(20), all).await.is_ok(),
            "{what}"
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

fn topic(name: &str, partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic {
        partitions,
        replication_factor,
        ..NewTopic::named(name)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_grows_and_goes_on_without_any_of_its_nodes() {
    let mut cluster = Cluster::of(3).await;
    let three = BTreeSet::from([1, 2, 3]);
    cluster
        .until("three vote", |node| node.quorum.voters() == three)
        .await;

    // Any node takes a change, and has it when it answers.
    let created = cluster
        .node(3)
        .create_topics(&[topic("orders", 6, 3)], false)
        .await;
    let created = created.into_iter().next().unwrap().unwrap();
    assert!(cluster.node(3).image().topic("orders").is_some());
    assert!(
        created
            .partitions
            .values()
            .all(|state| state.replicas.len() == 3)
    );
    let mut ids = BTreeSet::new();
    for id in 1..=3 {
        assert!(ids.insert(cluster.node(id).next_producer_id().await.unwrap()));
    }

    let dead = cluster.node(2).leadership().leader.unwrap();
    let begun = Instant::now();
    cluster.kill(dead).await;
    cluster
        .until("others lead", |node| {
            let image = node.image();
            let topic = image.topic("orders").unwrap();
            topic
                .partitions
                .values()
                .all(|state| state.leader >= 0 && state.leader != dead)
        })
        .await;
    println!("{:?} until others led", begun.elapsed());
    let alive = *cluster.nodes.keys().next().unwrap();
    let created = cluster
        .node(alive)
        .create_topics(&[topic("later", 1, 2)], false)
        .await;
    created.into_iter().next().unwrap().unwrap();
    let refused = cluster
        .node(alive)
        .create_topics(&[topic("wide", 1, 3)], false)
        .await;
    assert_eq!(
        refused[0].as_ref().unwrap_err().code,
        error_code::INVALID_REPLICATION_FACTOR
    );

    // It never comes back: its replicas are done without, and it is forgotten.
    let last = *cluster.nodes.keys().last().unwrap();
    cluster.node(last).remove_broker(dead, false).await.unwrap();
    cluster
        .until("it is gone", |node| {
            node.image().broker(dead).is_none() && !node.quorum.members().contains_key(&dead)
        })
        .await;
    assert_eq!(cluster.node(last).quorum.voters().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_broker_is_fenced_at_once_and_a_silent_one_after_its_session() {
    let mut cluster = Cluster::of(3).await;
    let begun = Instant::now();
    cluster.kill(3).await;
    cluster
        .until("3 is fenced", |node| !node.image().is_live(3))
        .await;
    assert!(
        begun.elapsed() < Duration::from_millis(1000),
        "{:?}",
        begun.elapsed()
    );

    let begun = Instant::now();
    cluster.nodes[&2].beating.abort();
    cluster
        .until("2 is fenced", |node| !node.image().is_live(2))
        .await;
    assert!(
        begun.elapsed() > Duration::from_millis(1000),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_id_of_a_live_broker_is_refused_and_that_of_a_dead_one_taken() {
    let mut cluster = Cluster::of(2).await;
    let leader = cluster.node(1).clone();
    let register = || ClusterRequest::Register(registration(2));
    match leader.answer(register()).await {
        ClusterResponse::Refused(refusal) => {
            assert_eq!(refusal.code, error_code::DUPLICATE_BROKER_REGISTRATION);
        }
        other => panic!("{other:?}"),
    }
    let join = JoinRequest {
        cluster_id: None,
        broker: 2,
        directory: "another disk".to_owned(),
        endpoints: endpoints(2),
        version: "1".to_owned(),
    };
    match leader.answer(ClusterRequest::Join(join)).await {
        ClusterResponse::Refused(refusal) => {
            assert_eq!(refusal.code, error_code::DUPLICATE_BROKER_REGISTRATION);
        }
        other => panic!("{other:?}"),
    }
    cluster.kill(2).await;
    let answer = leader.answer(register()).await;
    assert!(
        matches!(answer, ClusterResponse::Registered { .. }),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_may_stop_when_others_know_that_they_lead() {
    let cluster = Cluster::of(3).await;
    let created = cluster
        .node(1)
        .create_topics(&[topic("orders", 6, 2)], false)
        .await;
    created.into_iter().next().unwrap().unwrap();
    let stopping = cluster.node(3).clone();
    cluster.nodes[&3].beating.abort();
    let stopped = async {
        loop {
            let image = stopping.image();
            let heartbeat = Heartbeat {
                broker: 3,
                broker_epoch: image.broker(3).unwrap().epoch,
                version: image.version(),
                shutting_down: true,
                disk_refuses: false,
            };
            let request = ClusterRequest::Heartbeat(heartbeat);
            match ask_leader(&stopping, &cluster.net, request).await {
                ClusterResponse::Heartbeat(HeartbeatAnswer { may_stop: true, .. }) => return,
                ClusterResponse::Heartbeat(_) => sleep(Duration::from_millis(20)).await,
                other => panic!("{other:?}"),
            }
        }
    };
    timeout(Duration::from_secs(5), stopped).await.unwrap();
    let image = cluster.node(1).image();
    let states = image.topic("orders").unwrap().partitions.values();
    assert!(states.clone().all(|state| state.leader != 3), "{states:?}");
    assert!(
        states.clone().all(|state| !state.isr.contains(&3)),
        "{states:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_of_kafkas_own_begins_to_grow_when_brokers_join() {
    let mut cluster = Cluster::of(1).await;
    cluster
        .node(1)
        .ensure_internal_topic("__consumer_offsets")
        .await
        .unwrap();
    cluster.add(2).await;
    cluster
        .until("it grows", |node| {
            let image = node.image();
            image
                .topic("__consumer_offsets")
                .is_some_and(|topic| topic.partitions.values().all(|state| state.adding == [2]))
        })
        .await;
}
