//! Brokers that form a cluster, in one process: what clients see of it while nodes come and go.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::{Broker, BrokerError};
use kafka_client::{
    AutoOffsetReset, Client, ClientConfig, Consumer, ConsumerConfig, NewTopic, OffsetSpec,
    PartitionInfo, Producer, ProducerConfig, ProducerRecord, TopicPartition,
};
use kafka_wire::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_wire::describe_quorum_request::{PartitionData, TopicData};
use kafka_wire::{
    AlterPartitionReassignmentsRequest, DescribeQuorumRequest, DescribeQuorumResponse,
    ElectLeadersRequest, UnregisterBrokerRequest,
};
use kafka_wire_core::StrBytes;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// Longer than anything here should take.
const LIMIT: Duration = Duration::from_secs(40);

/// Brokers on this machine whose ports and folders stay theirs through restarts.
struct TestCluster {
    ports: Vec<u16>,
    folders: Vec<TempDir>,
    brokers: Vec<Option<Broker>>,
}

impl TestCluster {
    /// Starts `size` brokers with empty folders, all at once.
    async fn start(size: usize) -> Self {
        let mut cluster = Self::planned(size);
        let all = (0..size).map(|id| Broker::start(cluster.config(id)));
        let started = timeout(LIMIT, futures_util::future::join_all(all))
            .await
            .expect("the brokers find each other");
        for (id, broker) in started.into_iter().enumerate() {
            cluster.brokers[id] = Some(broker.unwrap());
        }
        cluster
    }

    /// Three brokers that all have a vote, with the topic `orders` in sync on all of them.
    async fn with_orders(partitions: i32) -> Self {
        let cluster = Self::start(3).await;
        create(&cluster.client(), "orders", partitions, 3).await;
        cluster.until_in_sync("orders", 3).await;
        cluster.until_voters(3).await;
        cluster
    }

    /// Waits until every broker knows of so many voters: until then, the cluster may need one of them
    /// in particular.
    async fn until_voters(&self, count: usize) {
        let begun = Instant::now();
        let knows = |broker: &Broker| {
            let view = broker.inspector().cluster();
            view.is_some_and(|view| view.voters.len() == count)
        };
        while !self.brokers.iter().flatten().all(knows) {
            assert!(begun.elapsed() < LIMIT, "there are not {count} voters");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// As many folders and ports, and no broker yet.
    fn planned(size: usize) -> Self {
        let sockets: Vec<std::net::TcpListener> = (0..size)
            .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        Self {
            ports: sockets
                .iter()
                .map(|socket| socket.local_addr().unwrap().port())
                .collect(),
            folders: (0..size).map(|_| tempfile::tempdir().unwrap()).collect(),
            brokers: (0..size).map(|_| None).collect(),
        }
    }

    fn addresses(&self) -> Vec<String> {
        let address = |port: &u16| format!("127.0.0.1:{port}");
        self.ports.iter().map(address).collect()
    }

    fn config(&self, id: usize) -> broker::BrokerConfig {
        Broker::builder()
            .node_id(i32::try_from(id).unwrap())
            .listen(&self.addresses()[id])
            .data_dir(self.folders[id].path())
            .property(
                "controller.quorum.bootstrap.servers",
                &self.addresses().join(","),
            )
            .property("offsets.topic.num.partitions", "3")
            .property("group.initial.rebalance.delay.ms", "0")
            .config()
            .unwrap()
    }

    /// A connection to broker `id`.
    async fn wire(&self, id: usize) -> wire::Client {
        wire::Client::connect(self.brokers[id].as_ref().unwrap().addr()).await
    }

    /// Starts broker `id` on what its folder holds.
    async fn begin(&mut self, id: usize) {
        let starting = timeout(LIMIT, start_again(self.config(id)));
        let broker = starting.await.expect("it is let in");
        self.brokers[id] = Some(broker);
    }

    /// As if its process was killed.
    fn kill(&mut self, id: usize) {
        drop(self.brokers[id].take().unwrap());
    }

    async fn stop(&mut self, id: usize) {
        self.brokers[id].take().unwrap().shutdown().await;
    }

    async fn stop_all(mut self) {
        let running: Vec<Broker> = self.brokers.iter_mut().filter_map(Option::take).collect();
        futures_util::future::join_all(running.into_iter().map(Broker::shutdown)).await;
    }

    fn client(&self) -> Client {
        Client::new(ClientConfig::new(self.addresses())).unwrap()
    }

    /// Waits until every partition of `topic` is as `wanted`.
    async fn until(&self, topic: &str, what: &str, wanted: impl Fn(&PartitionInfo) -> bool) {
        let admin = self.client().admin();
        let begun = Instant::now();
        let mut seen = None;
        while begun.elapsed() < LIMIT {
            let described = admin.describe_topics(&[topic.to_owned()]).await;
            if let Ok(mut topics) = described
                && let Some((_, Ok(topic))) = topics.pop()
            {
                if topic.partitions.iter().all(&wanted) {
                    return;
                }
                seen = Some(topic);
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("{topic} is not {what}: {seen:?}");
    }

    /// Who leads the first partition of `topic`.
    async fn leader(&self, topic: &str) -> usize {
        let admin = self.client().admin();
        let described = admin.describe_topics(&[topic.to_owned()]).await.unwrap();
        let (_, topic) = described.into_iter().next().unwrap();
        usize::try_from(topic.unwrap().partitions[0].leader).unwrap()
    }

    async fn until_in_sync(&self, topic: &str, replicas: usize) {
        let what = format!("in sync on {replicas} brokers");
        self.until(topic, &what, |partition| partition.isr.len() == replicas)
            .await;
    }
}

/// Starts a broker on the port of one that was dropped, whose tasks may still be ending.
async fn start_again(config: broker::BrokerConfig) -> Broker {
    loop {
        match Broker::start(config.clone()).await {
            Err(BrokerError::AddressInUse { .. }) => sleep(Duration::from_millis(5)).await,
            // Its locks, too.
            Err(BrokerError::Folder(_)) => sleep(Duration::from_millis(5)).await,
            started => return started.unwrap(),
        }
    }
}

async fn create(client: &Client, name: &str, partitions: i32, factor: i16) {
    let topic = NewTopic::new(name, partitions, factor);
    let created = client.admin().create_topics(&[topic], false).await.unwrap();
    for (name, outcome) in created {
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// Sends numbered records until told otherwise, and knows which were acknowledged.
struct Writer {
    stop: Arc<std::sync::atomic::AtomicBool>,
    task: tokio::task::JoinHandle<BTreeSet<u32>>,
}

impl Writer {
    fn start(client: Client, topic: &str) -> Self {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = stop.clone();
        let topic: Arc<str> = topic.into();
        let task = tokio::spawn(async move {
            let producer = Producer::new(client, ProducerConfig::default()).unwrap();
            let mut acknowledged = BTreeSet::new();
            let mut number = 0;
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                let numbers: Vec<u32> = (number..number + 10).collect();
                number += 10;
                let records = numbers
                    .iter()
                    .map(|number| ProducerRecord::value(number.to_string()))
                    .collect();
                let delivery = producer.send(&topic, records).await.unwrap();
                timeout(LIMIT, delivery)
                    .await
                    .expect("somebody takes the records")
                    .unwrap();
                acknowledged.extend(numbers);
                sleep(Duration::from_millis(2)).await;
            }
            producer.close(LIMIT).await;
            acknowledged
        });
        Self { stop, task }
    }

    async fn finish(self) -> BTreeSet<u32> {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        timeout(LIMIT, self.task).await.unwrap().unwrap()
    }
}

/// All values in `topic`, sorted.
async fn read_all(client: Client, topic: &str, partitions: i32) -> Vec<u32> {
    let mut config = ConsumerConfig::default();
    config.auto_offset_reset = AutoOffsetReset::Earliest;
    let mut consumer = Consumer::new(client, config).unwrap();
    let wanted: Vec<TopicPartition> = (0..partitions)
        .map(|partition| TopicPartition::new(topic, partition))
        .collect();
    consumer.assign(wanted.clone()).unwrap();
    let mut values = Vec::new();
    let mut quiet = 0;
    let begun = Instant::now();
    while quiet < 2 {
        assert!(begun.elapsed() < LIMIT, "reading never ends");
        let polled = consumer.poll(Duration::from_millis(700)).await.unwrap();
        let at_end = wanted.iter().all(|partition| {
            consumer.high_watermark(partition).is_some()
                && consumer.high_watermark(partition) == consumer.position(partition)
        });
        quiet = if polled.batches.is_empty() && at_end {
            quiet + 1
        } else {
            0
        };
        for record in polled.batches.iter().flat_map(|batch| &batch.records) {
            let value = record.value.clone().unwrap();
            values.push(std::str::from_utf8(&value).unwrap().parse().unwrap());
        }
    }
    values.sort_unstable();
    values
}

fn check(read: &[u32], acknowledged: &BTreeSet<u32>) {
    let unique: BTreeSet<u32> = read.iter().copied().collect();
    assert_eq!(unique.len(), read.len(), "some records are there twice");
    let lost: Vec<&u32> = acknowledged.difference(&unique).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_brokers_are_one_cluster() {
    let cluster = TestCluster::start(3).await;
    let ids: BTreeSet<&str> = cluster
        .brokers
        .iter()
        .flatten()
        .map(Broker::cluster_id)
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    for address in cluster.addresses() {
        let client = Client::new(ClientConfig::new([address])).unwrap();
        let begun = Instant::now();
        while client.cluster().await.unwrap().brokers.len() < 3 {
            assert!(begun.elapsed() < LIMIT, "the others are not seen");
            sleep(Duration::from_millis(20)).await;
        }
    }
    let client = cluster.client();
    create(&client, "orders", 6, 3).await;
    cluster.until_in_sync("orders", 3).await;
    let writer = Writer::start(cluster.client(), "orders");
    sleep(Duration::from_millis(300)).await;
    let acknowledged = writer.finish().await;
    assert!(acknowledged.len() >= 10);
    check(&read_all(client, "orders", 6).await, &acknowledged);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_each_node_is_killed_in_turn() {
    let mut cluster = TestCluster::with_orders(3).await;
    let writer = Writer::start(cluster.client(), "orders");
    for id in 0..3 {
        sleep(Duration::from_millis(300)).await;
        cluster.kill(id);
        let killed = i32::try_from(id).unwrap();
        let begun = Instant::now();
        cluster
            .until("orders", "led by others", |partition| {
                partition.leader >= 0 && partition.leader != killed
            })
            .await;
        println!("broker {id}: others lead after {:?}", begun.elapsed());
        sleep(Duration::from_millis(300)).await;
        let begun = Instant::now();
        cluster.begin(id).await;
        println!("broker {id}: back after {:?}", begun.elapsed());
        cluster.until_in_sync("orders", 3).await;
        println!("broker {id}: in sync after {:?}", begun.elapsed());
    }
    let acknowledged = writer.finish().await;
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    check(
        &read_all(cluster.client(), "orders", 3).await,
        &acknowledged,
    );
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_moves_leaders_before_each_stop() {
    let mut cluster = TestCluster::with_orders(3).await;
    let writer = Writer::start(cluster.client(), "orders");
    for id in 0..3 {
        let begun = Instant::now();
        cluster.stop(id).await;
        println!("broker {id}: stopped in {:?}", begun.elapsed());
        cluster.begin(id).await;
        cluster.until_in_sync("orders", 3).await;
    }
    let acknowledged = writer.finish().await;
    check(
        &read_all(cluster.client(), "orders", 3).await,
        &acknowledged,
    );
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_cluster_comes_back_with_everything() {
    let mut cluster = TestCluster::with_orders(3).await;
    let writer = Writer::start(cluster.client(), "orders");
    sleep(Duration::from_millis(300)).await;
    let acknowledged = writer.finish().await;
    let id = cluster.brokers[0].as_ref().unwrap().cluster_id().to_owned();
    for broker in 0..3 {
        cluster.kill(broker);
    }
    let all = (0..3).map(|id| start_again(cluster.config(id)));
    let begun = Instant::now();
    let started = timeout(LIMIT, futures_util::future::join_all(all))
        .await
        .expect("a majority is there");
    println!("all three: back after {:?}", begun.elapsed());
    for (id, broker) in started.into_iter().enumerate() {
        cluster.brokers[id] = Some(broker);
    }
    assert_eq!(cluster.brokers[2].as_ref().unwrap().cluster_id(), id);
    check(
        &read_all(cluster.client(), "orders", 3).await,
        &acknowledged,
    );
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_a_killed_cluster_go_on_without_the_third() {
    for gone in 0..3 {
        let mut cluster = TestCluster::with_orders(3).await;
        let writer = Writer::start(cluster.client(), "orders");
        sleep(Duration::from_millis(300)).await;
        let acknowledged = writer.finish().await;
        for broker in 0..3 {
            cluster.kill(broker);
        }
        let rest: Vec<usize> = (0..3).filter(|id| *id != gone).collect();
        let starting = rest.iter().map(|id| start_again(cluster.config(*id)));
        let started = timeout(LIMIT, futures_util::future::join_all(starting))
            .await
            .expect("a majority is there");
        for (id, broker) in rest.into_iter().zip(started) {
            cluster.brokers[id] = Some(broker);
        }
        cluster
            .until("orders", "led", |partition| partition.leader >= 0)
            .await;
        check(
            &read_all(cluster.client(), "orders", 3).await,
            &acknowledged,
        );
        cluster.stop_all().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_cluster_is_founded_while_a_seed_is_there_and_says_nothing() {
    let cluster = TestCluster::planned(2);
    let silent = std::net::TcpListener::bind(&cluster.addresses()[1]).unwrap();
    let starting = Broker::start(cluster.config(0));
    tokio::pin!(starting);
    let early = timeout(Duration::from_secs(4), &mut starting).await;
    assert!(early.is_err(), "{early:?}");
    drop(silent);
    let founded = timeout(LIMIT, starting).await.expect("nobody is there");
    founded.unwrap().shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_disk_is_filled_again_even_that_of_the_founder() {
    let mut cluster = TestCluster::with_orders(3).await;
    let writer = Writer::start(cluster.client(), "orders");
    sleep(Duration::from_millis(300)).await;
    let id = cluster.brokers[1].as_ref().unwrap().cluster_id().to_owned();
    cluster.kill(0);
    cluster.folders[0] = tempfile::tempdir().unwrap();
    cluster.begin(0).await;
    assert_eq!(cluster.brokers[0].as_ref().unwrap().cluster_id(), id);
    cluster.until_in_sync("orders", 3).await;
    let acknowledged = writer.finish().await;
    // What the new disk has is enough by itself: the others go.
    cluster.stop(1).await;
    cluster
        .until("orders", "led", |partition| partition.leader >= 0)
        .await;
    check(
        &read_all(cluster.client(), "orders", 3).await,
        &acknowledged,
    );
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_in_the_place_of_a_broker_is_neither_followed_nor_named() {
    let mut cluster = TestCluster::with_orders(1).await;
    let addresses = cluster.addresses();
    let others = Client::new(ClientConfig::new(addresses[1..].to_vec())).unwrap();
    cluster.kill(0);
    cluster.kill(1);
    // Broker 2 has no majority now, and asks everybody for the controller.
    let folder = tempfile::tempdir().unwrap();
    let alone = Broker::builder()
        .node_id(0)
        .listen(&addresses[0])
        .data_dir(folder.path())
        .config()
        .unwrap();
    let stranger = start_again(alone).await;
    sleep(Duration::from_secs(1)).await;
    cluster.begin(1).await;
    let id = cluster.brokers[2].as_ref().unwrap().cluster_id();
    assert_eq!(cluster.brokers[1].as_ref().unwrap().cluster_id(), id);
    assert_ne!(stranger.cluster_id(), id);
    let begun = Instant::now();
    loop {
        let described = others.admin().describe_topics(&["orders".to_owned()]).await;
        let (_, topic) = described.unwrap().pop().unwrap();
        if let Ok(topic) = topic
            && topic.partitions[0].isr.len() == 2
        {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "the cluster does not go on");
        sleep(Duration::from_millis(20)).await;
    }
    stranger.shutdown().await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_records_do_not_come_back_with_another_leader() {
    let mut cluster = TestCluster::with_orders(1).await;
    let writer = Writer::start(cluster.client(), "orders");
    sleep(Duration::from_millis(200)).await;
    assert!(writer.finish().await.len() > 5);
    let partition = TopicPartition::new("orders", 0);
    let admin = cluster.client().admin();
    let deleted = admin.delete_records(&[(partition.clone(), 5)]).await;
    assert_eq!(*deleted.unwrap()[0].1.as_ref().unwrap(), 5);
    let leader = cluster.leader("orders").await;
    cluster.kill(leader);
    let led = i32::try_from(leader).unwrap();
    cluster
        .until("orders", "led by another", |partition| {
            partition.leader >= 0 && partition.leader != led
        })
        .await;
    let listed = cluster
        .client()
        .admin()
        .list_offsets(&[(partition, OffsetSpec::Earliest)])
        .await;
    assert_eq!(listed.unwrap()[0].1.as_ref().unwrap().offset, 5);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_records_of_a_leader_are_copied_from_another_replica() {
    let cluster = TestCluster::with_orders(1).await;
    let writer = Writer::start(cluster.client(), "orders");
    sleep(Duration::from_millis(300)).await;
    let acknowledged = writer.finish().await;
    let leader = cluster.leader("orders").await;
    let segment = |id: usize| {
        let folder = cluster.folders[id].path().join("orders-0");
        folder.join("00000000000000000000.log")
    };
    let whole = std::fs::read(segment(leader)).unwrap();
    let mut damaged = whole.clone();
    damaged[200] ^= 0x10;
    std::fs::write(segment(leader), &damaged).unwrap();
    // Who reads them notices nothing.
    check(
        &read_all(cluster.client(), "orders", 1).await,
        &acknowledged,
    );
    cluster
        .until("orders", "led by another, and whole again", |partition| {
            partition.leader != i32::try_from(leader).unwrap() && partition.isr.len() == 3
        })
        .await;
    assert_eq!(std::fs::read(segment(leader)).unwrap(), whole);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_is_in_use_and_a_folder_of_another_cluster_are_refused() {
    let cluster = TestCluster::start(1).await;
    let seeds = cluster.addresses().join(",");
    let folder = tempfile::tempdir().unwrap();
    let with_id = |id: i32, folder: &TempDir| {
        Broker::builder()
            .node_id(id)
            .listen("127.0.0.1:0")
            .data_dir(folder.path())
            .property("controller.quorum.bootstrap.servers", &seeds)
            .start()
    };
    let error = timeout(LIMIT, with_id(0, &folder))
        .await
        .expect("it does not try for ever")
        .unwrap_err();
    assert!(matches!(error, BrokerError::Cluster(_)), "{error:?}");
    assert!(
        error.to_string().contains("broker id 0 is in use"),
        "{error}"
    );

    let other = tempfile::tempdir().unwrap();
    let alone = Broker::builder()
        .node_id(7)
        .listen("127.0.0.1:0")
        .data_dir(other.path())
        .start();
    alone.await.unwrap().shutdown().await;
    std::fs::remove_dir_all(other.path().join("__cluster_metadata")).unwrap();
    let error = timeout(LIMIT, with_id(7, &other))
        .await
        .expect("it does not try for ever")
        .unwrap_err();
    assert!(error.to_string().contains("belongs to cluster"), "{error}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_go_on_when_their_coordinator_is_killed() {
    let mut cluster = TestCluster::start(3).await;
    let client = cluster.client();
    create(&client, "orders", 3, 3).await;
    cluster.until_in_sync("orders", 3).await;
    let mut config = ConsumerConfig::default();
    config.group_id = Some("readers".to_owned());
    config.auto_offset_reset = AutoOffsetReset::Earliest;
    let mut consumer = Consumer::new(client, config).unwrap();
    consumer.subscribe(vec!["orders".to_owned()]).unwrap();
    let writer = Writer::start(cluster.client(), "orders");
    let mut read = BTreeSet::new();
    let mut killed = false;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) {
        let polled = consumer.poll(Duration::from_millis(200)).await.unwrap();
        for record in polled.batches.iter().flat_map(|batch| &batch.records) {
            let value = record.value.clone().unwrap();
            read.insert(std::str::from_utf8(&value).unwrap().parse::<u32>().unwrap());
        }
        if !killed && begun.elapsed() > Duration::from_secs(3) && !read.is_empty() {
            killed = true;
            let partitions = cluster.client().admin();
            let described = partitions
                .describe_topics(&["__consumer_offsets".to_owned()])
                .await
                .unwrap();
            let topic = described.into_iter().next().unwrap().1.unwrap();
            assert!(
                topic.partitions.iter().all(|p| p.replicas.len() == 3),
                "{topic:?}"
            );
            cluster.kill(usize::try_from(topic.partitions[0].leader).unwrap());
        }
    }
    let acknowledged = writer.finish().await;
    let begun = Instant::now();
    while !acknowledged.is_subset(&read) {
        assert!(begun.elapsed() < LIMIT, "the group does not go on");
        let polled = consumer.poll(Duration::from_millis(200)).await.unwrap();
        for record in polled.batches.iter().flat_map(|batch| &batch.records) {
            let value = record.value.clone().unwrap();
            read.insert(std::str::from_utf8(&value).unwrap().parse::<u32>().unwrap());
        }
    }
    consumer.close_and_leave().await;
    cluster.stop_all().await;
}

async fn quorum(client: &mut wire::Client) -> DescribeQuorumResponse {
    let mut topic = TopicData::default();
    topic.topic_name = StrBytes::from("__cluster_metadata");
    topic.partitions = vec![PartitionData::default()];
    let mut request = DescribeQuorumRequest::default();
    request.topics = vec![topic];
    client.call(&request, 2).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_joins_later_takes_a_partition_and_leaves_for_good() {
    let mut cluster = TestCluster::planned(4);
    // The founder waits a moment for the fourth, which is not there yet.
    let three = (0..3).map(|id| Broker::start(cluster.config(id)));
    for (id, broker) in futures_util::future::join_all(three)
        .await
        .into_iter()
        .enumerate()
    {
        cluster.brokers[id] = Some(broker.unwrap());
    }
    create(&cluster.client(), "orders", 1, 3).await;
    let writer = Writer::start(cluster.client(), "orders");
    cluster.begin(3).await;

    let mut client = cluster.wire(1).await;
    let mut partition = ReassignablePartition::default();
    partition.replicas = Some(vec![3, 0, 1]);
    let mut topic = ReassignableTopic::default();
    topic.name = StrBytes::from("orders");
    topic.partitions = vec![partition];
    let mut request = AlterPartitionReassignmentsRequest::default();
    request.topics = vec![topic];
    let response = client.call(&request, 0).await;
    assert_eq!(response.error_code, 0, "{response:?}");
    let result = &response.responses[0].partitions[0];
    assert_eq!(result.error_code, 0, "{result:?}");
    cluster
        .until("orders", "moved", |partition| {
            partition.replicas == [3, 0, 1] && partition.isr.len() == 3
        })
        .await;

    let mut request = ElectLeadersRequest::default();
    request.topic_partitions = None;
    let response = client.call(&request, 2).await;
    assert_eq!(response.error_code, 0, "{response:?}");
    cluster
        .until("orders", "led by its preferred leader", |partition| {
            partition.leader == 3
        })
        .await;

    let begun = Instant::now();
    loop {
        let described = quorum(&mut client).await;
        let members = &described.topics[0].partitions[0];
        assert_eq!(members.error_code, 0, "{members:?}");
        assert!(members.leader_id >= 0);
        if members.current_voters.len() == 3 && members.observers.len() == 1 {
            assert_eq!(described.nodes.len(), 3);
            break;
        }
        assert!(begun.elapsed() < LIMIT, "{members:?}");
        sleep(Duration::from_millis(50)).await;
    }

    let mut request = UnregisterBrokerRequest::default();
    request.broker_id = 3;
    let begun = Instant::now();
    let mut asked = false;
    loop {
        let response = client.call(&request, 0).await;
        // Between two questions it may have gone.
        if response.error_code == 0 || (asked && response.error_code == 102) {
            break;
        }
        asked = true;
        assert!(begun.elapsed() < LIMIT, "{response:?}");
        assert_eq!(response.error_code, 7, "{response:?}");
        sleep(Duration::from_millis(50)).await;
    }
    cluster
        .until("orders", "elsewhere", |partition| {
            !partition.replicas.contains(&3) && partition.isr.len() == 3
        })
        .await;
    let described = quorum(&mut client).await;
    let members = &described.topics[0].partitions[0];
    assert_eq!(members.observers.len(), 0, "{members:?}");
    let acknowledged = writer.finish().await;
    check(
        &read_all(cluster.client(), "orders", 1).await,
        &acknowledged,
    );

    cluster.stop(3).await;
    let error = timeout(LIMIT, Broker::start(cluster.config(3)))
        .await
        .expect("it is told at once")
        .unwrap_err();
    assert!(error.to_string().contains("was taken out of"), "{error}");
    cluster.folders[3] = tempfile::tempdir().unwrap();
    cluster.begin(3).await;
    cluster.stop_all().await;
}
