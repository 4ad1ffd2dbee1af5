//! Nodes of a cluster in one process: real partitions on disk, a controller and a network in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use kafka_records::{BatchBuilder, Compression, RecordRef};
use kafka_wire::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_wire::{FetchRequest, FetchResponse};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::leader_link::{EpochEnd, EpochQuestion, LeaderLink};
use super::*;
use crate::Broker;
use crate::controller::record::{BrokerRegistration, ConfigResource, Endpoint, MetadataRecord};
use crate::error_code;
use crate::log::{LogConfig, LogOptions};
use crate::replica::{FollowerFetch, Isolation, Origin, Partition, Role};

const TOPIC: TopicId = [1; 16];
const MAX: usize = 16 << 20;

/// The controller, and the network.
struct Cluster {
    images: watch::Sender<Arc<MetadataImage>>,
    nodes: Mutex<BTreeMap<i32, Arc<Replicas>>>,
    unreachable: Mutex<BTreeSet<i32>>,
    /// Answers to changes of in-sync replicas get lost.
    loses_answers: std::sync::atomic::AtomicBool,
}

struct Node {
    id: i32,
    cluster: Arc<Cluster>,
    replicas: Arc<Replicas>,
    replication: Option<Replication>,
    epoch: watch::Sender<Option<i64>>,
    folder: Arc<TempDir>,
}

impl Cluster {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            images: watch::Sender::new(Arc::default()),
            nodes: Mutex::default(),
            unreachable: Mutex::default(),
            loses_answers: false.into(),
        })
    }

    fn apply(&self, records: &[MetadataRecord]) {
        self.images.send_modify(|image| {
            let mut next = MetadataImage::clone(image);
            records.iter().for_each(|record| next.apply(record));
            next.set_version(next.version() + 1);
            *image = Arc::new(next);
        });
    }

    fn image(&self) -> Arc<MetadataImage> {
        self.images.borrow().clone()
    }

    /// Nodes 1 and 2, and the topic on `replicas`, which know it.
    async fn of_two(replicas: &[i32]) -> (Arc<Self>, Node, Node) {
        let cluster = Self::new();
        let nodes = (cluster.node(1).await, cluster.node(2).await);
        cluster.create_topic(replicas);
        nodes.0.settle().await;
        nodes.1.settle().await;
        (cluster, nodes.0, nodes.1)
    }

    /// A node with an empty folder, registered.
    async fn node(self: &Arc<Self>, id: i32) -> Node {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        self.start(id, folder).await
    }

    async fn start(self: &Arc<Self>, id: i32, folder: Arc<TempDir>) -> Node {
        let node = self.start_unregistered(id, folder).await;
        node.register();
        node
    }

    async fn start_unregistered(self: &Arc<Self>, id: i32, folder: Arc<TempDir>) -> Node {
        let replicas = Replicas::open(vec![folder.path().to_owned()], LogOptions::default())
            .await
            .unwrap();
        self.nodes.lock().insert(id, replicas.clone());
        self.unreachable.lock().remove(&id);
        let config = Broker::builder()
            .node_id(id)
            .property("replica.lag.time.max.ms", "600")
            .property("replica.fetch.wait.max.ms", "200")
            .config()
            .unwrap();
        let epoch = watch::Sender::new(None);
        let replication = Replication::start(Surroundings {
            config: Arc::new(config),
            replicas: replicas.clone(),
            images: self.images.subscribe(),
            broker_epoch: epoch.subscribe(),
            controller: self.clone(),
            leaders: Arc::new(Network(self.clone())),
        });
        Node {
            id,
            cluster: self.clone(),
            replicas,
            replication: Some(replication),
            epoch,
            folder,
        }
    }

    /// Topic "orders" with one partition on `replicas`, led by the first.
    fn create_topic(&self, replicas: &[i32]) {
        self.apply(&[
            MetadataRecord::Topic {
                name: "orders".to_owned(),
                id: TOPIC,
            },
            partition_record(0, PartitionState::new(replicas.to_vec())),
        ]);
    }

    fn state(&self) -> PartitionState {
        self.image().topic_by_id(&TOPIC).unwrap().partitions[&0].clone()
    }

    /// Changes the partition's state.
    fn change(&self, change: impl FnOnce(&mut PartitionState)) {
        let mut state = self.state();
        let leader = state.leader;
        change(&mut state);
        state.partition_epoch += 1;
        if state.leader != leader {
            state.leader_epoch += 1;
        }
        self.apply(&[partition_record(0, state)]);
    }

    async fn until_in_sync(&self, isr: &[i32]) {
        until("the in-sync replicas", || {
            self.state().isr.iter().collect::<BTreeSet<_>>() == isr.iter().collect()
        })
        .await;
    }
}

fn partition_record(index: i32, state: PartitionState) -> MetadataRecord {
    MetadataRecord::Partition {
        topic: TOPIC,
        index,
        state,
    }
}

impl Node {
    fn register(&self) {
        let epoch = self.cluster.image().next_broker_epoch();
        self.cluster
            .apply(&[MetadataRecord::Broker(BrokerRegistration {
                endpoints: vec![Endpoint {
                    listener: "PLAINTEXT".to_owned(),
                    host: format!("node{}", self.id),
                    port: 9092,
                }],
                ..BrokerRegistration::live(self.id, epoch)
            })]);
        self.epoch.send_replace(Some(epoch));
    }

    /// Waits until its partitions agree with the metadata.
    async fn settle(&self) {
        let version = self.cluster.image().version();
        let mut applied = self.replication.as_ref().unwrap().applied();
        let settled = applied.wait_for(|applied| *applied >= version);
        timeout(Duration::from_secs(10), settled)
            .await
            .expect("it does not follow the metadata")
            .unwrap();
    }

    fn partition(&self) -> Arc<Partition> {
        self.replicas.get("orders", 0).unwrap()
    }

    fn end(&self) -> i64 {
        self.partition().offsets().log_end
    }

    async fn append(&self, values: &[&str]) -> i64 {
        let mut builder = BatchBuilder::new(Compression::None, 0);
        for value in values {
            builder.push(RecordRef {
                timestamp: platform::clock::unix_millis(),
                key: None,
                value: Some(value.as_bytes()),
                headers: &[],
            });
        }
        let batch = builder.finish().unwrap();
        let appended = self.partition().append(batch, Origin::Client).await;
        appended.unwrap().last_offset + 1
    }

    async fn commit(&self, values: &[&str]) {
        let end = self.append(values).await;
        let deadline = Instant::now() + Duration::from_secs(10);
        let partition = self.partition();
        let epoch = partition.leader_epoch();
        partition.committed(epoch, end, deadline).await.unwrap();
    }

    /// All bytes of its log.
    async fn log(&self) -> Bytes {
        let partition = self.partition();
        let start = partition.offsets().log_start;
        let read = partition.read(start, MAX, Isolation::LogEnd).await;
        read.unwrap().records
    }

    /// Nobody reaches it any more, and it is gone.
    async fn stop(mut self) -> Arc<TempDir> {
        self.cluster.unreachable.lock().insert(self.id);
        self.cluster.nodes.lock().remove(&self.id);
        self.replication.take().unwrap().stop().await;
        self.replicas.shutdown().await.unwrap();
        self.folder.clone()
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(10), wait)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

impl IsrSink for Cluster {
    fn alter_isr(
        &self,
        _: i64,
        changes: Vec<IsrChange>,
    ) -> BoxFuture<'_, Result<Vec<Result<PartitionState, ControllerError>>, ControllerError>> {
        let answers = changes
            .into_iter()
            .map(|proposed| {
                let state = self.state();
                if proposed.partition_epoch != state.partition_epoch {
                    let code = error_code::INVALID_UPDATE_VERSION;
                    return Err(ControllerError::new(code, "an old state"));
                }
                let image = self.image();
                for (id, epoch) in &proposed.isr {
                    assert_eq!(image.broker(*id).unwrap().epoch, *epoch);
                }
                self.change(|state| {
                    state.isr = proposed.isr.iter().map(|(id, _)| *id).collect();
                });
                Ok(self.state())
            })
            .collect();
        let lost = self
            .loses_answers
            .load(std::sync::atomic::Ordering::Acquire);
        Box::pin(async move {
            if lost {
                let code = error_code::REQUEST_TIMED_OUT;
                return Err(ControllerError::new(code, "no answer"));
            }
            Ok(answers)
        })
    }
}

struct Network(Arc<Cluster>);

impl Leaders for Network {
    fn connect<'a>(
        &'a self,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn LeaderLink>, String>> {
        Box::pin(async move {
            let id: i32 = address
                .trim_start_matches("node")
                .trim_end_matches(":9092")
                .parse()
                .unwrap();
            let replicas = self.0.nodes.lock().get(&id).cloned();
            let replicas = replicas.ok_or_else(|| "refused".to_owned())?;
            let link: Box<dyn LeaderLink> = Box::new(Link {
                cluster: self.0.clone(),
                id,
                replicas,
            });
            Ok(link)
        })
    }
}

struct Link {
    cluster: Arc<Cluster>,
    id: i32,
    replicas: Arc<Replicas>,
}

impl Link {
    fn check(&self) -> Result<(), String> {
        if self.cluster.unreachable.lock().contains(&self.id) {
            return Err("the connection was lost".to_owned());
        }
        Ok(())
    }

    async fn answer(&self, request: &FetchRequest) -> (FetchResponse, bool) {
        let mut response = FetchResponse::default();
        let mut news = false;
        for topic in &request.topics {
            let mut answer = FetchableTopicResponse::default();
            answer.topic_id = topic.topic_id;
            for wanted in &topic.partitions {
                let mut data = PartitionData::default();
                data.partition_index = wanted.partition;
                data.diverging_epoch.epoch = -1;
                data.diverging_epoch.end_offset = -1;
                let id = *topic.topic_id.as_bytes();
                let found = self.replicas.get_by_id(id, wanted.partition);
                let noted =
                    found
                        .as_ref()
                        .ok_or(error_code::UNKNOWN_TOPIC_ID)
                        .and_then(|partition| {
                            let fetch = FollowerFetch {
                                broker: request.replica_state.replica_id,
                                broker_epoch: request.replica_state.replica_epoch,
                                offset: wanted.fetch_offset,
                                log_start: wanted.log_start_offset,
                                last_epoch: wanted.last_fetched_epoch,
                                leader_epoch: wanted.current_leader_epoch,
                            };
                            partition.follower_fetched(fetch, Instant::now())
                        });
                if let Some(partition) = &found {
                    let offsets = partition.offsets();
                    data.high_watermark = offsets.high_watermark;
                    data.log_start_offset = offsets.log_start;
                }
                match (noted, found) {
                    (Ok(Some((epoch, end))), _) => {
                        data.diverging_epoch.epoch = epoch;
                        data.diverging_epoch.end_offset = end;
                        news = true;
                    }
                    (Ok(None), Some(partition)) => {
                        let limit = usize::try_from(wanted.partition_max_bytes).unwrap();
                        let read = partition
                            .read(wanted.fetch_offset, limit, Isolation::LogEnd)
                            .await
                            .unwrap();
                        news |= !read.records.is_empty();
                        data.records = Some(read.records);
                    }
                    (Err(code), _) => {
                        data.error_code = code;
                        news = true;
                    }
                    (Ok(None), None) => {}
                }
                answer.partitions.push(data);
            }
            response.responses.push(answer);
        }
        (response, news)
    }
}

impl LeaderLink for Link {
    fn fetch<'a>(
        &'a self,
        request: &'a FetchRequest,
        _: Duration,
    ) -> BoxFuture<'a, Result<FetchResponse, String>> {
        Box::pin(async move {
            let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap());
            let deadline = Instant::now() + wait;
            loop {
                self.check()?;
                let (response, news) = self.answer(request).await;
                if news || Instant::now() >= deadline {
                    return Ok(response);
                }
                sleep(Duration::from_millis(3)).await;
            }
        })
    }

    fn epoch_end<'a>(
        &'a self,
        question: EpochQuestion<'a>,
        _: Duration,
    ) -> BoxFuture<'a, Result<Result<EpochEnd, i16>, String>> {
        Box::pin(async move {
            self.check()?;
            let partition = self.replicas.get(question.topic, question.index).unwrap();
            let (epoch, end_offset) = partition.epoch_end_offset(question.epoch);
            Ok(Ok(EpochEnd { epoch, end_offset }))
        })
    }
}

fn folders(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn followers_copy_what_their_leader_has_byte_for_byte() {
    let cluster = Cluster::new();
    let nodes = [
        cluster.node(1).await,
        cluster.node(2).await,
        cluster.node(3).await,
    ];
    cluster.create_topic(&[1, 2, 3]);
    for node in &nodes {
        node.settle().await;
    }
    let [leader, first, second] = &nodes;
    assert_eq!(leader.partition().role(), Role::Leader);
    assert_eq!(first.partition().role(), Role::Follower { leader: Some(1) });
    for round in 0..20 {
        leader.commit(&[&format!("line {round}")]).await;
    }
    assert_eq!((first.end(), second.end()), (20, 20));
    assert_eq!(leader.log().await, first.log().await);
    assert_eq!(leader.log().await, second.log().await);
    until("the high watermark", || {
        first.partition().offsets().high_watermark == 20
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_is_away_leaves_the_in_sync_ones_and_comes_back() {
    let (cluster, leader, follower) = Cluster::of_two(&[1, 2]).await;
    leader.commit(&["a"]).await;
    let folder = follower.stop().await;
    let end = leader.append(&["b"]).await;
    cluster.until_in_sync(&[1]).await;
    until("the high watermark", || {
        leader.partition().offsets().high_watermark == end
    })
    .await;
    leader.commit(&["c"]).await;
    let follower = cluster.start(2, folder).await;
    cluster.until_in_sync(&[1, 2]).await;
    assert_eq!(leader.log().await, follower.log().await);
    leader.commit(&["d"]).await;
    assert_eq!(follower.end(), 4);
}

#[tokio::test]
async fn a_follower_with_damaged_records_copies_them_anew() {
    let (cluster, leader, follower) = Cluster::of_two(&[1, 2]).await;
    leader.commit(&["a"]).await;
    leader.commit(&["b"]).await;
    let segment = follower.partition().folder().join(format!("{:020}.log", 0));
    let mut damaged = std::fs::read(&segment).unwrap();
    damaged[16] ^= 0x10;
    std::fs::write(&segment, damaged).unwrap();
    follower.partition().note_damage();
    // It copies no more, and what it has counts no more.
    let renewed = async {
        while follower.partition().is_damaged() {
            leader.append(&["c"]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), renewed).await.unwrap();
    cluster.until_in_sync(&[1, 2]).await;
    assert_eq!(leader.log().await, follower.log().await);
    leader.commit(&["d"]).await;
}

#[tokio::test]
async fn in_sync_replicas_change_although_answers_of_the_controller_are_lost() {
    let cluster = Cluster::new();
    let leader = cluster.node(1).await;
    let follower = cluster.node(2).await;
    cluster.create_topic(&[1, 2]);
    cluster.change(|state| state.isr = vec![1]);
    let lose = |lost| {
        cluster
            .loses_answers
            .store(lost, std::sync::atomic::Ordering::Release);
    };
    lose(true);
    cluster.until_in_sync(&[1, 2]).await;
    let folder = follower.stop().await;
    leader.append(&["a"]).await;
    cluster.until_in_sync(&[1]).await;
    lose(false);
    let _follower = cluster.start(2, folder).await;
    cluster.until_in_sync(&[1, 2]).await;
    leader.commit(&["b"]).await;
}

#[tokio::test]
async fn a_former_leader_cuts_off_what_only_it_has() {
    let (cluster, former, next) = Cluster::of_two(&[1, 2]).await;
    former.commit(&["a"]).await;
    // The follower cannot reach it any more, which the controller does not know yet.
    cluster.unreachable.lock().insert(1);
    cluster.nodes.lock().remove(&1);
    former.append(&["only here"]).await;
    assert_eq!(next.end(), 1);
    cluster.change(|state| state.leader = 2);
    next.settle().await;
    former.settle().await;
    next.commit(&["b", "c"]).await;
    assert_eq!(former.end(), 3);
    assert_eq!(former.log().await, next.log().await);
}

#[tokio::test]
async fn a_new_replica_begins_where_its_leaders_log_starts_even_within_a_batch() {
    let (cluster, leader, added) = Cluster::of_two(&[1]).await;
    leader.commit(&["a", "b", "c"]).await;
    leader.commit(&["d", "e", "f"]).await;
    leader
        .replicas
        .delete_records(&leader.partition(), 4)
        .await
        .unwrap();
    cluster.change(|state| state.replicas = vec![1, 2]);
    cluster.until_in_sync(&[1, 2]).await;
    leader.commit(&["g"]).await;
    let offsets = added.partition().offsets();
    assert_eq!((offsets.log_start, offsets.log_end), (4, 7));
    // It is taken away again.
    cluster.change(|state| {
        state.replicas = vec![1];
        state.isr = vec![1];
    });
    added.settle().await;
    assert!(added.replicas.get("orders", 0).is_none());
    assert_eq!(folders(added.folder.path()), [""; 0]);
}

#[tokio::test]
async fn topics_that_are_gone_are_deleted_also_by_who_was_away() {
    let (cluster, here, away) = Cluster::of_two(&[1, 2]).await;
    let folder = away.stop().await;
    assert_eq!(folders(folder.path()), ["orders-0"]);
    cluster.apply(&[MetadataRecord::RemoveTopic { id: TOPIC }]);
    here.settle().await;
    assert_eq!(folders(here.folder.path()), [""; 0]);
    let away = cluster.start(2, folder).await;
    away.settle().await;
    assert_eq!(folders(away.folder.path()), [""; 0]);
}

#[tokio::test]
async fn records_of_topics_nobody_knows_are_set_aside() {
    let cluster = Cluster::new();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    {
        let replicas = Replicas::open(vec![folder.path().to_owned()], LogOptions::default());
        let replicas = replicas.await.unwrap();
        let config = LogConfig::default();
        replicas.create("orders", [9; 16], 0, config).await.unwrap();
        replicas.shutdown().await.unwrap();
    }
    let node = cluster.start_unregistered(1, folder).await;
    // Another topic of that name exists.
    cluster.create_topic(&[1]);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(folders(node.folder.path()), ["orders-0"]);
    node.register();
    node.settle().await;
    let names = folders(node.folder.path());
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().any(|name| name.ends_with("-stray")));
    assert_eq!(node.partition().topic_id(), TOPIC);
    node.commit(&["a"]).await;
}

#[tokio::test]
async fn nothing_is_led_before_the_process_is_registered_nor_after_another_is() {
    let cluster = Cluster::new();
    let node = cluster.node(1).await;
    cluster.create_topic(&[1]);
    node.settle().await;
    let folder = node.stop().await;
    let node = cluster.start_unregistered(1, folder).await;
    sleep(Duration::from_millis(50)).await;
    assert_eq!(node.partition().role(), Role::Follower { leader: None });
    node.register();
    node.settle().await;
    assert_eq!(node.partition().role(), Role::Leader);
    let known = node.cluster.image().broker(1).unwrap().clone();
    cluster.apply(&[MetadataRecord::Broker(BrokerRegistration {
        epoch: known.epoch + 1,
        ..known
    })]);
    until("its leadership to end", || {
        node.partition().role() == Role::Follower { leader: None }
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_cannot_be_opened_is_out_of_service_until_it_can() {
    let (cluster, leader, follower) = Cluster::of_two(&[1, 2]).await;
    leader.commit(&["a", "b"]).await;
    leader.commit(&["c"]).await;
    let folder = follower.stop().await;
    let file = folder.path().join("orders-0/leader-epoch-checkpoint");
    std::fs::remove_file(&file).ok();
    std::fs::create_dir(&file).unwrap();
    let follower = cluster.start(2, folder).await;
    follower.settle().await;
    let replication = follower.replication.as_ref().unwrap();
    let service = replication.out_of_service().clone();
    assert!(service.reason(&(TOPIC, 0)).is_some());
    assert_eq!(service.all().len(), 1);
    leader.append(&["d"]).await;
    cluster.until_in_sync(&[1]).await;
    // The operator repairs it.
    std::fs::remove_dir(&file).unwrap();
    cluster.until_in_sync(&[1, 2]).await;
    until("it to be in service", || service.all().is_empty()).await;
    assert_eq!(leader.log().await, follower.log().await);
}

#[tokio::test]
async fn a_follower_that_could_not_be_written_is_in_service_when_it_leads() {
    let (cluster, _leader, follower) = Cluster::of_two(&[1, 2]).await;
    let replication = follower.replication.as_ref().unwrap();
    let service = replication.out_of_service().clone();
    service.note((TOPIC, 0), "its disk was full");
    cluster.change(|state| state.leader = 2);
    until("it to be in service", || service.all().is_empty()).await;
}

#[tokio::test]
async fn a_throttled_replica_catches_up_at_its_rate() {
    let (cluster, leader, _added) = Cluster::of_two(&[1]).await;
    let large = "x".repeat(60_000);
    for _ in 0..4 {
        leader.commit(&[&large]).await;
    }
    let set = |resource, key: &str, value: &str| MetadataRecord::Config {
        resource,
        key: key.to_owned(),
        value: Some(value.to_owned()),
    };
    let topic = ConfigResource::Topic("orders".to_owned());
    cluster.apply(&[
        set(
            ConfigResource::Broker("2".to_owned()),
            "follower.replication.throttled.rate",
            "100000",
        ),
        set(topic, "follower.replication.throttled.replicas", "0:2"),
        set(
            ConfigResource::Broker(String::new()),
            "replica.fetch.max.bytes",
            "60000",
        ),
    ]);
    let begun = Instant::now();
    cluster.change(|state| state.replicas = vec![1, 2]);
    cluster.until_in_sync(&[1, 2]).await;
    // The first second's worth comes at once.
    assert!(begun.elapsed() > Duration::from_millis(1000));
    // Those in sync are not held back.
    let begun = Instant::now();
    leader.commit(&[&large]).await;
    leader.commit(&[&large]).await;
    leader.commit(&[&large]).await;
    assert!(begun.elapsed() < Duration::from_millis(900));
}

#[tokio::test]
async fn many_partitions_change_leaders_fast() {
    const PARTITIONS: i32 = 100;
    let cluster = Cluster::new();
    let first = cluster.node(1).await;
    let second = cluster.node(2).await;
    let mut records = vec![MetadataRecord::Topic {
        name: "orders".to_owned(),
        id: TOPIC,
    }];
    let state = PartitionState::new(vec![1, 2]);
    records.extend((0..PARTITIONS).map(|index| partition_record(index, state.clone())));
    cluster.apply(&records);
    first.settle().await;
    second.settle().await;
    let changed: Vec<_> = (0..PARTITIONS)
        .map(|index| {
            let state = PartitionState {
                leader: 2,
                leader_epoch: 1,
                partition_epoch: 1,
                ..state.clone()
            };
            partition_record(index, state)
        })
        .collect();
    let begun = Instant::now();
    cluster.apply(&changed);
    second.settle().await;
    first.settle().await;
    second.commit(&["a"]).await;
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "it took {:?}",
        begun.elapsed()
    );
    assert_eq!(first.end(), 1);
}
