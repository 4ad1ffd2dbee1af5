//! A broker, and workers on it, in a folder of their own.

use std::time::Duration;

use broker::Broker;
use connect_core::ConfigMap;
use connect_runtime::Worker;
use connect_runtime::config::Settings;
use connect_runtime::config::connector::ConnectorConfig;
use connect_runtime::config::worker::WorkerConfig;
use kafka_client::{
    AlterConfigOp, Client, ClientConfig, ConfigAlteration, ConfigResource, NewTopic,
};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::connectors::{SINK, SOURCE};
use crate::relay::Relay;

/// Generous, because test machines are slow and busy.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    /// `None` once it was stopped.
    broker: Option<Broker>,
    address: String,
    worker: WorkerConfig,
    folder: TempDir,
}

fn map(pairs: &[(&str, &str)]) -> ConfigMap {
    pairs
        .iter()
        .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
        .collect()
}

impl World {
    pub(crate) async fn start() -> Self {
        let (broker, folder) = start_broker(&[]).await;
        let address = broker.addr().to_string();
        Self::with(broker, folder, address)
    }

    /// A world whose broker is reached through a relay.
    pub(crate) async fn start_behind(relay: &mut Relay) -> Self {
        let address = relay.address().to_string();
        let listener = format!("PLAINTEXT://{address}");
        let (broker, folder) = start_broker(&[("advertised.listeners", &listener)]).await;
        relay.run(broker.addr());
        Self::with(broker, folder, address)
    }

    fn with(broker: Broker, folder: TempDir, address: String) -> Self {
        let worker = worker_config(&address, &[]);
        Self {
            broker: Some(broker),
            address,
            worker,
            folder,
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn worker_config(&self, more: &[(&str, &str)]) -> WorkerConfig {
        worker_config(&self.address, more)
    }

    pub(crate) async fn worker(&self) -> Worker {
        let servers = self.worker.bootstrap_servers.clone().unwrap();
        Worker::start(self.worker.clone(), servers).await.unwrap()
    }

    pub(crate) fn source(
        &self,
        name: &str,
        topic: &str,
        count: usize,
        mode: &str,
    ) -> ConnectorConfig {
        let count = count.to_string();
        let keys = [("topic", topic), ("count", &count), ("mode", mode)];
        self.connector(name, SOURCE, &keys)
    }

    /// A source that behaves, with more keys.
    pub(crate) fn source_with(
        &self,
        name: &str,
        topic: &str,
        count: usize,
        more: &[(&str, &str)],
    ) -> ConnectorConfig {
        let count = count.to_string();
        let mut keys = vec![("topic", topic), ("count", &count)];
        keys.extend(more);
        self.connector(name, SOURCE, &keys)
    }

    pub(crate) fn sink(&self, name: &str, topic: &str, mode: &str) -> ConnectorConfig {
        self.sink_with(name, topic, mode, &[])
    }

    pub(crate) fn sink_with(
        &self,
        name: &str,
        topic: &str,
        mode: &str,
        more: &[(&str, &str)],
    ) -> ConnectorConfig {
        let mut keys = vec![("topics", topic), ("mode", mode)];
        keys.extend(more);
        self.connector(name, SINK, &keys)
    }

    /// A sink of all topics whose names match.
    pub(crate) fn sink_matching(&self, name: &str, pattern: &str) -> ConnectorConfig {
        self.connector(name, SINK, &[("topics.regex", pattern)])
    }

    /// Any connector.
    pub(crate) fn of(&self, config: &serde_json::Value) -> ConnectorConfig {
        let fields = config.as_object().unwrap().iter();
        let map = fields.map(|(key, text)| (key.clone(), text.as_str().unwrap().to_owned()));
        let settings = Settings::from_map("test", &map.collect());
        ConnectorConfig::read(&settings, &self.worker).unwrap().0
    }

    /// A worker with more keys.
    pub(crate) async fn worker_with(&self, more: &[(&str, &str)]) -> Worker {
        let config = self.worker_config(more);
        let servers = config.bootstrap_servers.clone().unwrap();
        Worker::start(config, servers).await.unwrap()
    }

    fn connector(&self, name: &str, class: &str, keys: &[(&str, &str)]) -> ConnectorConfig {
        let mut all = vec![("name", name), ("connector.class", class)];
        all.extend(keys);
        let settings = Settings::from_map("test", &map(&all));
        ConnectorConfig::read(&settings, &self.worker).unwrap().0
    }

    pub(crate) async fn create_topic(&self, name: &str, configs: &[(&str, &str)]) {
        self.create_topic_of(name, 1, configs).await;
    }

    pub(crate) async fn create_topic_of(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) {
        let client = Client::new(ClientConfig::new([self.address.clone()])).unwrap();
        let mut topic = NewTopic::new(name, partitions, 1);
        for (key, value) in configs {
            topic = topic.with_config(*key, *value);
        }
        client.admin().create_topics(&[topic], false).await.unwrap();
        client.close().await;
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(ClientConfig::new([self.address.clone()])).unwrap()
    }

    /// Lets a topic have records as large as topics usually may.
    pub(crate) async fn let_in(&self, topic: &str) {
        let client = self.client();
        let alteration = ConfigAlteration {
            name: "max.message.bytes".to_owned(),
            op: AlterConfigOp::Set,
            value: Some("1000000".to_owned()),
        };
        client
            .admin()
            .incremental_alter_configs(&ConfigResource::topic(topic), &[alteration], false)
            .await
            .unwrap();
        client.close().await;
    }

    /// What the group of a sink connector has committed for one of its partitions, if for any.
    pub(crate) async fn committed(&self, connector: &str) -> Option<i64> {
        let client = self.client();
        let group = format!("connect-{connector}");
        let offsets = client.admin().list_group_offsets(&group).await.unwrap();
        client.close().await;
        offsets.values().next().map(|committed| committed.offset)
    }

    /// Waits until a sink connector has committed this.
    pub(crate) async fn until_committed(&self, connector: &str, offset: i64) {
        let start = Instant::now();
        while self.committed(connector).await != Some(offset) {
            let name = connector;
            assert!(start.elapsed() < PATIENCE, "{name} commits {offset}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for something to become true.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops the broker for a while.
    pub(crate) async fn stop_broker(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.shutdown().await;
        }
    }

    /// Starts the broker again, where it was.
    pub(crate) async fn start_broker(&mut self) {
        let broker = Broker::builder()
            .listen(&self.address)
            .data_dir(self.folder.path());
        self.broker = Some(broker.start().await.unwrap());
    }

    /// The same world, its broker gone.
    pub(crate) async fn without_broker(mut self) -> Self {
        self.stop_broker().await;
        self
    }

    pub(crate) async fn end(self) {
        self.without_broker().await;
    }
}

async fn start_broker(more: &[(&str, &str)]) -> (Broker, TempDir) {
    let folder = TempDir::new().unwrap();
    let mut builder = Broker::builder()
        .listen("127.0.0.1:0")
        .data_dir(folder.path())
        .property("group.initial.rebalance.delay.ms", "0");
    for (key, text) in more {
        builder = builder.property(key, text);
    }
    (builder.start().await.unwrap(), folder)
}

fn worker_config(server: &str, more: &[(&str, &str)]) -> WorkerConfig {
    let mut keys = map(&[
        ("bootstrap.servers", server),
        ("key.converter", "string"),
        ("value.converter", "string"),
        ("offset.flush.interval.ms", "100"),
        ("task.restart.backoff.ms", "100"),
        ("task.restart.backoff.max.ms", "10000"),
        ("task.stuck.after.ms", "300"),
    ]);
    keys.extend(map(more));
    WorkerConfig::read(&Settings::from_map("test", &keys))
        .unwrap()
        .0
}
