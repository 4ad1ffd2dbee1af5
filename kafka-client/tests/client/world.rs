//! A broker on an ephemeral port with a folder of its own, and what every test does with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use broker::Broker;
use kafka_client::{
    AutoOffsetReset, Client, ClientConfig, Consumer, ConsumerConfig, Delivered, NewTopic, Producer,
    ProducerConfig, ProducerRecord, TopicPartition,
};

/// One broker. Dropping it is like killing it.
pub(crate) struct World {
    pub(crate) broker: Option<Broker>,
    pub(crate) addr: SocketAddr,
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = start_broker(folder.path(), "127.0.0.1:0").await;
        let addr = broker.addr();
        Self {
            broker: Some(broker),
            addr,
            folder,
        }
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.shutdown().await;
        }
    }

    pub(crate) async fn start_again(&mut self) {
        assert!(self.broker.is_none());
        self.broker = Some(start_broker(self.folder.path(), &self.addr.to_string()).await);
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(ClientConfig::new([self.addr.to_string()])).unwrap()
    }

    pub(crate) async fn topic(&self, name: &str, partitions: i32) -> Arc<str> {
        let created = self
            .client()
            .admin()
            .create_topics(&[NewTopic::new(name, partitions, 1)], false)
            .await;
        for (_, outcome) in created.unwrap() {
            outcome.unwrap();
        }
        Arc::from(name)
    }

    pub(crate) fn producer(&self) -> Producer {
        Producer::new(self.client(), ProducerConfig::default()).unwrap()
    }

    /// Reads all partitions of a topic from the start, without a group.
    pub(crate) fn reader(&self, topic: &str, partitions: i32) -> Consumer {
        let mut config = ConsumerConfig::default();
        config.auto_offset_reset = AutoOffsetReset::Earliest;
        config.fetch_max_wait = Duration::from_millis(50);
        let mut consumer = Consumer::new(self.client(), config).unwrap();
        let all = (0..partitions)
            .map(|partition| TopicPartition::new(topic, partition))
            .collect();
        consumer.assign(all).unwrap();
        consumer
    }
}

async fn start_broker(folder: &std::path::Path, listen: &str) -> Broker {
    let mut last = None;
    for _ in 0..50 {
        let started = Broker::builder()
            .node_id(0)
            .listen(listen)
            .data_dir(folder)
            .property("group.initial.rebalance.delay.ms", "0")
            .start()
            .await;
        match started {
            Ok(broker) => return broker,
            // A killed broker may need a moment to let go of port and folder.
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the broker does not start: {}", last.unwrap());
}

pub(crate) fn numbered(range: std::ops::Range<usize>) -> Vec<ProducerRecord> {
    range
        .map(|number| ProducerRecord::value(number.to_string()))
        .collect()
}

/// Sends records and waits until they are acknowledged.
pub(crate) async fn deliver(
    producer: &Producer,
    topic: &Arc<str>,
    records: Vec<ProducerRecord>,
) -> Delivered {
    let delivery = producer.send(topic, records).await.unwrap();
    delivery.await.unwrap()
}

/// Reads until `count` values have come, by partition.
pub(crate) async fn read(consumer: &mut Consumer, count: usize) -> BTreeMap<i32, Vec<String>> {
    let mut values: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    let mut seen = 0;
    let reading = async {
        while seen < count {
            let polled = consumer.poll(Duration::from_millis(500)).await.unwrap();
            for batch in polled.batches {
                let partition = values.entry(batch.partition).or_default();
                for record in batch.records {
                    partition.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
                    seen += 1;
                }
            }
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(30), reading).await;
    assert!(
        outcome.is_ok(),
        "only {} of {count} came",
        values.values().map(Vec::len).sum::<usize>()
    );
    values
}
