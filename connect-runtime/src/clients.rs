//! Kafka's client keys (`producer.…`, `consumer.…` of the worker, `….override.…` of a connector)
//! onto our clients' settings.
//!
//! Obeyed for all of them: `client.id`, `connections.max.idle.ms`, `metadata.max.age.ms`,
//! `reconnect.backoff.ms`, `reconnect.backoff.max.ms`, `request.timeout.ms`, `retry.backoff.ms`,
//! `retry.backoff.max.ms`, `socket.connection.setup.timeout.ms`.
//! For producers: `acks`, `batch.size`, `buffer.memory`, `compression.type`,
//! `delivery.timeout.ms`, `enable.idempotence`, `linger.ms`, `max.block.ms`,
//! `max.in.flight.requests.per.connection`, `max.request.size`.
//! For consumers: `auto.offset.reset`, `check.crcs`, `fetch.max.bytes`,
//! `fetch.max.wait.ms`, `fetch.min.bytes`, `group.id`, `group.instance.id`,
//! `heartbeat.interval.ms`, `isolation.level`, `max.partition.fetch.bytes`,
//! `max.poll.interval.ms`, `partition.assignment.strategy`, `session.timeout.ms`.
//! For admin clients, which create topics: `default.api.timeout.ms`. Other keys are reported and have
//! no effect, except `bootstrap.servers`, which is refused: offsets are kept beside their records.
//!
//! Precedence is Kafka's: what Connect needs, then the worker's keys, then the connector's.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use connect_core::ConfigMap;
use kafka_client::{
    Acks, Assignor, AutoOffsetReset, ClientConfig, ClientError, ConsumerConfig, IsolationLevel,
    ProducerConfig,
};

use crate::config::worker::ConnectionConfig;
use crate::task::Setup;

/// Bytes of records that a sink's consumer may hold, unless configured.
const FETCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes that a source's producer may hold, unless configured: all that a broker is sent ahead, and as
/// much being filled; what is more only leaves the processor's cache.
const SOURCE_BUFFER_BYTES: usize = 12 * 1024 * 1024;
/// A batch of a source waits this long for more records, unless configured. Records come in whole
/// polls already, so waiting would only delay them.
const SOURCE_LINGER: Duration = Duration::ZERO;

const PRODUCER_KEYS: &[&str] = &[
    "acks",
    "batch.size",
    "buffer.memory",
    "compression.type",
    "delivery.timeout.ms",
    "enable.idempotence",
    "linger.ms",
    "max.block.ms",
    "max.in.flight.requests.per.connection",
    "max.request.size",
];

const CONSUMER_KEYS: &[&str] = &[
    "auto.offset.reset",
    "check.crcs",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.min.bytes",
    "group.id",
    "group.instance.id",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "session.timeout.ms",
];

const ADMIN_KEYS: &[&str] = &["default.api.timeout.ms"];

/// Those of every kind of client.
const CLIENT_KEYS: &[&str] = &[
    "client.id",
    "connections.max.idle.ms",
    "metadata.max.age.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "socket.connection.setup.timeout.ms",
];

/// What is wrong with one client key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientKeyProblem {
    /// The key without its prefix.
    pub(crate) key: String,
    /// What is wrong.
    pub(crate) message: String,
    /// Whether the configuration is refused for it; unknown keys only have no effect.
    pub(crate) is_error: bool,
}

/// A producer's settings with those of its connections.
#[derive(Debug, Clone)]
pub(crate) struct ProducerSettings {
    pub(crate) client: ClientConfig,
    pub(crate) producer: ProducerConfig,
}

/// A consumer's settings with those of its connections.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerSettings {
    pub(crate) client: ClientConfig,
    pub(crate) consumer: ConsumerConfig,
}

/// The settings of a worker's connections.
pub(crate) fn client_config(
    bootstrap_servers: &[String],
    connection: &ConnectionConfig,
    client_id: &str,
) -> ClientConfig {
    let mut config = ClientConfig::new(bootstrap_servers.iter().cloned()).with_client_id(client_id);
    config.request_timeout = connection.request_timeout;
    config.metadata_max_age = connection.metadata_max_age;
    config.reconnect_backoff = connection.reconnect_backoff;
    config.reconnect_backoff_max = connection.reconnect_backoff_max;
    config.retry_backoff = connection.retry_backoff;
    config.retry_backoff_max = connection.retry_backoff_max;
    config.connections_max_idle = connection.connections_max_idle;
    config
}

/// What creates the topics of a connector's task: the worker's keys, then the connector's.
pub(crate) fn task_admin(setup: &Setup, role: &str) -> ClientConfig {
    let worker = &setup.shared.config;
    let client_id = format!("{role}-{}", setup.id);
    let servers = &setup.shared.bootstrap_servers;
    let mut settings = AdminSettings::new(client_config(servers, &worker.connection, &client_id));
    // Their problems were reported when the configurations were read.
    settings.apply(&worker.admin);
    settings.apply(&setup.connector.admin);
    settings.client
}

/// The producer of a source task: never gives up on a record by itself.
pub(crate) fn source_producer(client: ClientConfig) -> ProducerSettings {
    let mut producer = ProducerConfig::default();
    producer.acks = Acks::All;
    producer.idempotence = true;
    producer.linger = SOURCE_LINGER;
    producer.delivery_timeout = Duration::MAX;
    producer.max_block = Duration::MAX;
    producer.buffer_bytes = SOURCE_BUFFER_BYTES;
    // A source can read again what the broker has lost.
    producer.fail_on_lost = true;
    ProducerSettings { client, producer }
}

/// The consumer of a sink task: reads from the start, commits only when told.
pub(crate) fn sink_consumer(client: ClientConfig, group_id: &str) -> ConsumerSettings {
    let mut consumer = ConsumerConfig::group(group_id);
    consumer.auto_offset_reset = AutoOffsetReset::Earliest;
    consumer.fetch_max_bytes = FETCH_BYTES_MAX;
    consumer.allow_auto_create_topics = true;
    ConsumerSettings { client, consumer }
}

impl ProducerSettings {
    /// Applies keys over the present settings.
    pub(crate) fn apply(&mut self, keys: &ConfigMap) -> Vec<ClientKeyProblem> {
        let mut problems = Vec::new();
        for (key, text) in keys {
            let applied = self.apply_key(key, text.trim());
            note(&mut problems, key, PRODUCER_KEYS, applied);
        }
        problems
    }

    /// What contradicts itself once all keys are applied.
    pub(crate) fn contradiction(&self) -> Option<ClientKeyProblem> {
        contradiction(self.producer.validate())
    }

    fn apply_key(&mut self, key: &str, text: &str) -> Option<Result<(), String>> {
        let producer = &mut self.producer;
        Some(match key {
            "acks" => set(&mut producer.acks, acks(text)),
            "batch.size" => set(&mut producer.batch_bytes, bytes(text)),
            "buffer.memory" => set(&mut producer.buffer_bytes, bytes(text)),
            "compression.type" => set(
                &mut producer.compression,
                parsed(text, "none, gzip, snappy, lz4 or zstd"),
            ),
            "delivery.timeout.ms" => set(&mut producer.delivery_timeout, millis(text)),
            "enable.idempotence" => set(&mut producer.idempotence, boolean(text)),
            "linger.ms" => set(&mut producer.linger, millis(text)),
            "max.block.ms" => set(&mut producer.max_block, millis(text)),
            "max.in.flight.requests.per.connection" => {
                set(&mut producer.max_in_flight, bytes(text))
            }
            "max.request.size" => set(&mut producer.max_request_bytes, bytes(text)),
            _ => return client_key(&mut self.client, key, text),
        })
    }
}

impl ConsumerSettings {
    /// Applies keys over the present settings.
    pub(crate) fn apply(&mut self, keys: &ConfigMap) -> Vec<ClientKeyProblem> {
        let mut problems = Vec::new();
        for (key, text) in keys {
            let applied = self.apply_key(key, text.trim());
            note(&mut problems, key, CONSUMER_KEYS, applied);
        }
        problems
    }

    /// What contradicts itself once all keys are applied.
    pub(crate) fn contradiction(&self) -> Option<ClientKeyProblem> {
        contradiction(self.consumer.validate())
    }

    fn apply_key(&mut self, key: &str, text: &str) -> Option<Result<(), String>> {
        let consumer = &mut self.consumer;
        Some(match key {
            "auto.offset.reset" => set(&mut consumer.auto_offset_reset, reset(text)),
            "check.crcs" => set(&mut consumer.check_crcs, boolean(text)),
            "fetch.max.bytes" => set(&mut consumer.fetch_max_bytes, bytes(text)),
            "fetch.max.wait.ms" => set(&mut consumer.fetch_max_wait, millis(text)),
            "fetch.min.bytes" => set(&mut consumer.fetch_min_bytes, bytes(text)),
            "group.id" => set(&mut consumer.group_id, Ok(Some(text.to_owned()))),
            "group.instance.id" => set(&mut consumer.group_instance_id, Ok(Some(text.to_owned()))),
            "heartbeat.interval.ms" => set(&mut consumer.heartbeat_interval, millis(text)),
            "isolation.level" => set(&mut consumer.isolation, isolation(text)),
            "max.partition.fetch.bytes" => {
                set(&mut consumer.max_partition_fetch_bytes, bytes(text))
            }
            "max.poll.interval.ms" => set(&mut consumer.max_poll_interval, millis(text)),
            "partition.assignment.strategy" => set(&mut consumer.assignors, assignors(text)),
            "session.timeout.ms" => set(&mut consumer.session_timeout, millis(text)),
            _ => return client_key(&mut self.client, key, text),
        })
    }
}

/// The settings of a client that creates topics.
#[derive(Debug, Clone)]
pub(crate) struct AdminSettings {
    pub(crate) client: ClientConfig,
}

impl AdminSettings {
    pub(crate) fn new(client: ClientConfig) -> Self {
        Self { client }
    }

    /// Applies keys over the present settings.
    pub(crate) fn apply(&mut self, keys: &ConfigMap) -> Vec<ClientKeyProblem> {
        let mut problems = Vec::new();
        for (key, text) in keys {
            let applied = self.apply_key(key, text.trim());
            note(&mut problems, key, ADMIN_KEYS, applied);
        }
        problems
    }

    fn apply_key(&mut self, key: &str, text: &str) -> Option<Result<(), String>> {
        match key {
            "default.api.timeout.ms" => Some(set(&mut self.client.api_timeout, millis(text))),
            _ => client_key(&mut self.client, key, text),
        }
    }
}

/// Applies a key that every kind of client has.
fn client_key(client: &mut ClientConfig, key: &str, text: &str) -> Option<Result<(), String>> {
    Some(match key {
        "client.id" => set(&mut client.client_id, Ok(text.to_owned())),
        "connections.max.idle.ms" => set(&mut client.connections_max_idle, millis(text)),
        "metadata.max.age.ms" => set(&mut client.metadata_max_age, millis(text)),
        "reconnect.backoff.max.ms" => set(&mut client.reconnect_backoff_max, millis(text)),
        "reconnect.backoff.ms" => set(&mut client.reconnect_backoff, millis(text)),
        "request.timeout.ms" => set(&mut client.request_timeout, millis(text)),
        "retry.backoff.max.ms" => set(&mut client.retry_backoff_max, millis(text)),
        "retry.backoff.ms" => set(&mut client.retry_backoff, millis(text)),
        "socket.connection.setup.timeout.ms" => set(&mut client.connection_timeout, millis(text)),
        // Records that go to another cluster than the one that is asked for would be worse than none.
        "bootstrap.servers" => Err(format!(
            "expected no other brokers than the worker's, got \"{text}\"; start a worker with these \
             bootstrap.servers for the connector"
        )),
        _ => return None,
    })
}

fn contradiction(validated: Result<(), ClientError>) -> Option<ClientKeyProblem> {
    let (key, message) = match validated.err()? {
        ClientError::Configuration { key, reason } => (key.to_owned(), reason),
        other => (String::new(), other.to_string()),
    };
    Some(ClientKeyProblem {
        key,
        message,
        is_error: true,
    })
}

fn note(
    problems: &mut Vec<ClientKeyProblem>,
    key: &str,
    known: &[&str],
    applied: Option<Result<(), String>>,
) {
    let (message, is_error) = match applied {
        Some(Ok(())) => return,
        Some(Err(message)) => (message, true),
        None => (
            crate::config::unknown_key(key, known.iter().chain(CLIENT_KEYS).copied()),
            false,
        ),
    };
    problems.push(ClientKeyProblem {
        key: key.to_owned(),
        message,
        is_error,
    });
}

fn set<T>(target: &mut T, value: Result<T, String>) -> Result<(), String> {
    *target = value?;
    Ok(())
}

fn parsed<T: FromStr>(text: &str, expected: impl Display) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("expected {expected}, got \"{text}\""))
}

fn bytes(text: &str) -> Result<usize, String> {
    parsed(text, "a whole number of at least 0")
}

fn millis(text: &str) -> Result<Duration, String> {
    let millis: u64 = parsed(text, "a whole number of milliseconds")?;
    // Kafka's largest values mean "for ever".
    let forever = millis >= u64::from(i32::MAX.unsigned_abs());
    Ok(if forever {
        Duration::MAX
    } else {
        Duration::from_millis(millis)
    })
}

fn boolean(text: &str) -> Result<bool, String> {
    parsed(&text.to_ascii_lowercase(), "true or false")
}

fn acks(text: &str) -> Result<Acks, String> {
    match text {
        "all" | "-1" => Ok(Acks::All),
        "1" | "0" => Err(format!(
            "expected \"all\", got \"{text}\"; offsets would be committed for records that can still be lost"
        )),
        _ => Err(format!("expected \"all\", got \"{text}\"")),
    }
}

fn reset(text: &str) -> Result<AutoOffsetReset, String> {
    match text.to_ascii_lowercase().as_str() {
        "earliest" => Ok(AutoOffsetReset::Earliest),
        "latest" => Ok(AutoOffsetReset::Latest),
        "none" => Ok(AutoOffsetReset::None),
        _ => Err(format!("expected earliest, latest or none, got \"{text}\"")),
    }
}

fn isolation(text: &str) -> Result<IsolationLevel, String> {
    match text.to_ascii_lowercase().as_str() {
        "read_uncommitted" => Ok(IsolationLevel::ReadUncommitted),
        "read_committed" => Ok(IsolationLevel::ReadCommitted),
        _ => Err(format!(
            "expected read_uncommitted or read_committed, got \"{text}\""
        )),
    }
}

fn assignors(text: &str) -> Result<Vec<Assignor>, String> {
    let names = crate::config::list(text);
    let one = |name: &String| match name.rsplit('.').next().unwrap_or_default() {
        "range" | "RangeAssignor" => Ok(Assignor::Range),
        "roundrobin" | "RoundRobinAssignor" => Ok(Assignor::RoundRobin),
        "cooperative-sticky" | "CooperativeStickyAssignor" => Ok(Assignor::CooperativeSticky),
        _ => Err(format!(
            "expected range, roundrobin or cooperative-sticky, got \"{name}\""
        )),
    };
    names.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> ConfigMap {
        pairs
            .iter()
            .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn every_listed_key_is_obeyed() {
        let mut producer = source_producer(ClientConfig::new(["a:1"]));
        for key in PRODUCER_KEYS.iter().chain(CLIENT_KEYS) {
            assert!(producer.apply_key(key, "1").is_some(), "{key}");
        }
        let mut consumer = sink_consumer(ClientConfig::new(["a:1"]), "g");
        for key in CONSUMER_KEYS.iter().chain(CLIENT_KEYS) {
            assert!(consumer.apply_key(key, "1").is_some(), "{key}");
        }
        let mut admin = AdminSettings::new(ClientConfig::new(["a:1"]));
        for key in ADMIN_KEYS.iter().chain(CLIENT_KEYS) {
            assert!(admin.apply_key(key, "1").is_some(), "{key}");
        }
    }

    #[test]
    fn unknown_client_keys_are_reported_with_the_nearest_one() {
        let mut producer = source_producer(ClientConfig::new(["a:1"]));
        let problems = producer.apply(&map(&[("linger.mss", "5"), ("batch.size", "many")]));
        assert_eq!(problems.len(), 2);
        assert!(problems[0].is_error && problems[0].message.contains("got \"many\""));
        assert!(
            !problems[1].is_error && problems[1].message.contains("did you mean \"linger.ms\"?")
        );
    }

    #[test]
    fn no_client_can_be_sent_to_another_cluster_than_the_worker_s() {
        let servers = map(&[("bootstrap.servers", "elsewhere:9092")]);
        let client = ClientConfig::new(["a:1"]);
        for problems in [
            source_producer(client.clone()).apply(&servers),
            sink_consumer(client.clone(), "g").apply(&servers),
            AdminSettings::new(client).apply(&servers),
        ] {
            assert!(problems[0].is_error && problems[0].message.contains("start a worker with"));
        }
    }

    #[test]
    fn a_source_cannot_be_made_to_commit_offsets_of_unsafe_records() {
        let mut producer = source_producer(ClientConfig::new(["a:1"]));
        assert!(producer.apply(&map(&[("acks", "1")]))[0].is_error);
        assert!(
            producer
                .apply(&map(&[
                    ("acks", "all"),
                    ("delivery.timeout.ms", "2147483647")
                ]))
                .is_empty()
        );
        assert_eq!(producer.producer.delivery_timeout, Duration::MAX);
    }
}
