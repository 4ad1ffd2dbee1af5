//! The broker's configuration: Kafka's `server.properties` keys, checked as a whole, with every
//! mistake reported at once.

pub(crate) mod broker_keys;
mod cluster;
pub(crate) mod definition;
pub(crate) mod layers;
mod listener;
pub(crate) mod topic;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use self::broker_keys::{BROKER_KEYS, broker_key};
pub(crate) use self::cluster::{ClusterSettings, ReplicationSettings};
use self::definition::elements;
use self::layers::{Layers, Settings};
pub use self::listener::Listener;
use self::topic::{TOPIC_KEYS, is_about_cluster};
use crate::coordinator::GroupSettings;
use crate::log::{LogConfig, LogOptions};

/// Something to tell the person who wrote the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key it is about.
    pub key: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// An address clients are told to connect to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AdvertisedAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A checked broker configuration.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// The broker's number in its cluster.
    pub node_id: i32,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// Where it listens for the other brokers alone. Nothing is different there, but Kafka's files
    /// name such addresses for finding the cluster.
    pub(crate) controller_listeners: Vec<Listener>,
    /// What it tells clients to connect to; empty means the address the client reached.
    pub advertised: Vec<Listener>,
    /// The data folders; never empty.
    pub log_dirs: Vec<PathBuf>,
    /// Keys that are not known or have no effect; worth a warning.
    pub warnings: Vec<ConfigProblem>,
    pub(crate) rack: Option<String>,
    pub(crate) socket_request_bytes_max: usize,
    pub(crate) queued_request_bytes_max: usize,
    pub(crate) connections_max: usize,
    pub(crate) connections_per_ip_max: usize,
    pub(crate) connection_idle_max: Duration,
    pub(crate) fetch_bytes_max: usize,
    pub(crate) fetch_sessions_max: usize,
    pub(crate) auto_create_topics: bool,
    pub(crate) delete_topics: bool,
    pub(crate) partitions_default: i32,
    pub(crate) offsets_topic_partitions: i32,
    pub(crate) offsets_topic_segment_bytes: i32,
    pub(crate) groups: GroupSettings,
    pub(crate) cluster: ClusterSettings,
    pub(crate) replication: ReplicationSettings,
    /// The settings as given, for describing them and for topics to fall back to.
    pub(crate) settings: Settings,
}

impl BrokerConfig {
    /// Checks Kafka's `server.properties` keys.
    ///
    /// # Errors
    /// Every mistake, not only the first. Unknown keys are no mistake: they are in
    /// [`warnings`](Self::warnings), with the nearest known key.
    pub fn from_properties(
        properties: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<ConfigProblem>> {
        let mut problems = Problems::default();
        let mut warnings = Problems::default();
        let mut settings = Settings::new();
        for (key, value) in properties {
            match broker_key(key) {
                None => warnings.add(key, unknown(key)),
                Some(definition) => {
                    if let Err(expected) = definition.kind.check(value) {
                        problems.add(key, format!("\"{value}\" {expected}"));
                    } else if !definition.in_effect {
                        warnings.add(
                            key,
                            "is accepted but has no effect on this broker".to_owned(),
                        );
                    }
                    settings.insert(key.clone(), value.trim().to_owned());
                }
            }
        }
        let values = Values {
            settings: &settings,
        };

        let node_id = values.int("node.id");
        if let (Some(node), Some(broker)) = (settings.get("node.id"), settings.get("broker.id"))
            && node != broker
        {
            problems.add(
                "broker.id",
                format!("is \"{broker}\" but node.id is \"{node}\"; set only node.id"),
            );
        }
        if node_id < 0 {
            problems.add("node.id", format!("\"{node_id}\" must be at least 0"));
        }
        let (listeners, controller_listeners) = values.listeners(&mut problems);
        let advertised = values.advertised(&mut problems);
        let log_dirs: Vec<PathBuf> = elements(
            &values
                .text("log.dirs")
                .unwrap_or_else(|| values.text("log.dir").unwrap_or_default()),
        )
        .map(PathBuf::from)
        .collect();
        if log_dirs.is_empty() {
            problems.add("log.dirs", "names no folder".to_owned());
        }
        if values.int("group.min.session.timeout.ms") > values.int("group.max.session.timeout.ms") {
            problems.add(
                "group.min.session.timeout.ms",
                "must not be larger than group.max.session.timeout.ms".to_owned(),
            );
        }
        let cluster = ClusterSettings::read(&values, &listeners, &mut problems);
        if !problems.0.is_empty() {
            return Err(problems.0);
        }

        let minute = 60;
        let codec = match values.int("offsets.topic.compression.codec") {
            1 => kafka_records::Compression::Gzip,
            2 => kafka_records::Compression::Snappy,
            3 => kafka_records::Compression::Lz4,
            4 => kafka_records::Compression::Zstd,
            _ => kafka_records::Compression::None,
        };
        Ok(Self {
            node_id,
            listeners,
            controller_listeners,
            advertised,
            log_dirs,
            rack: values.text("broker.rack").filter(|rack| !rack.is_empty()),
            socket_request_bytes_max: values.size("socket.request.max.bytes"),
            queued_request_bytes_max: match values.long("queued.max.request.bytes") {
                limit if limit < 0 => usize::MAX,
                limit => usize::try_from(limit).unwrap_or(usize::MAX),
            },
            connections_max: values.size("max.connections"),
            connections_per_ip_max: values.size("max.connections.per.ip"),
            connection_idle_max: values.millis("connections.max.idle.ms"),
            fetch_bytes_max: values.size("fetch.max.bytes"),
            fetch_sessions_max: values.size("max.incremental.fetch.session.cache.slots"),
            auto_create_topics: values.flag("auto.create.topics.enable"),
            delete_topics: values.flag("delete.topic.enable"),
            partitions_default: values.int("num.partitions"),
            offsets_topic_partitions: values.int("offsets.topic.num.partitions"),
            offsets_topic_segment_bytes: values.int("offsets.topic.segment.bytes"),
            groups: GroupSettings {
                initial_rebalance_delay: values.millis("group.initial.rebalance.delay.ms"),
                min_session_timeout: values.millis("group.min.session.timeout.ms"),
                max_session_timeout: values.millis("group.max.session.timeout.ms"),
                max_size: values.size("group.max.size"),
                offset_metadata_bytes_max: values.size("offset.metadata.max.bytes"),
                offsets_retention: Duration::from_secs(
                    minute * u64::from(values.int("offsets.retention.minutes").unsigned_abs()),
                ),
                offsets_retention_check_interval: values
                    .millis("offsets.retention.check.interval.ms"),
                compression: codec,
            },
            cluster,
            replication: ReplicationSettings::read(&values),
            warnings: warnings.0,
            settings,
        })
    }

    /// The listener behind the address a client reached.
    pub(crate) fn listener_at(&self, local: SocketAddr) -> Option<&Listener> {
        self.listeners
            .iter()
            .find(|listener| listener.port == local.port())
            .or_else(|| self.listeners.iter().find(|listener| listener.port == 0))
            .or_else(|| self.listeners.first())
    }

    /// The address a client that reached `local` is told to connect to.
    pub(crate) fn advertised_to(&self, local: SocketAddr) -> AdvertisedAddress {
        let listener = self.listener_at(local);
        let advertised = self
            .advertised
            .iter()
            .find(|advertised| listener.is_some_and(|listener| listener.name == advertised.name))
            .or_else(|| self.advertised.first());
        match advertised {
            Some(advertised) => AdvertisedAddress {
                host: advertised.host.clone(),
                // Port 0 stands for the one that was picked.
                port: if advertised.port == 0 {
                    local.port()
                } else {
                    advertised.port
                },
            },
            None => AdvertisedAddress {
                host: local.ip().to_canonical().to_string(),
                port: local.port(),
            },
        }
    }

    /// This broker's settings without any that were changed at run time.
    pub(crate) fn layers(&self) -> Layers<'_> {
        Layers {
            topic: None,
            broker: None,
            all_brokers: None,
            file: &self.settings,
        }
    }

    /// What all logs have in common.
    pub(crate) fn log_options(&self) -> LogOptions {
        let values = Values {
            settings: &self.settings,
        };
        let default = LogOptions::default();
        let millis = |key: &str| u64::try_from(values.long(key)).unwrap_or(0);
        LogOptions {
            defaults: log_config(&self.layers()),
            retention_check_ms: millis("log.retention.check.interval.ms"),
            cleaner_backoff_ms: millis("log.cleaner.backoff.ms"),
            cleaner_enable: values.flag("log.cleaner.enable"),
            cleaner_dedupe_bytes: values.size("log.cleaner.dedupe.buffer.size"),
            flush_checkpoint_ms: millis("log.flush.offset.checkpoint.interval.ms"),
            // Kafka's default is never, which would make log.flush.interval.ms do nothing.
            flush_scheduler_ms: millis("log.flush.scheduler.interval.ms")
                .min(default.flush_scheduler_ms),
            high_watermark_checkpoint_ms: millis("replica.high.watermark.checkpoint.interval.ms"),
            producer_id_expiration_ms: values.long("producer.id.expiration.ms"),
            ..default
        }
    }
}

/// What a topic's logs are configured with, given its settings.
pub(crate) fn log_config(layers: &Layers<'_>) -> LogConfig {
    let effective: Settings = TOPIC_KEYS
        .iter()
        .filter(|key| !is_about_cluster(key.name))
        .filter_map(|key| Some((key.name.to_owned(), layers.topic_value(key)?.1)))
        .collect();
    LogConfig::parse(&effective, &LogConfig::default()).unwrap_or_else(|problems| {
        // Every value was checked when it was set; a combination of two layers may still not do.
        for problem in problems {
            tracing::error!(%problem, "a topic falls back to the defaults");
        }
        LogConfig::default()
    })
}

#[derive(Default)]
struct Problems(Vec<ConfigProblem>);

impl Problems {
    fn add(&mut self, key: &str, message: String) {
        self.0.push(ConfigProblem {
            key: key.to_owned(),
            message,
        });
    }
}

/// Reads checked values. A value that failed its check reads as the default; the problem has been
/// recorded by then.
struct Values<'a> {
    settings: &'a Settings,
}

impl Values<'_> {
    fn text(&self, key: &str) -> Option<String> {
        let definition = broker_key(key);
        debug_assert!(definition.is_some(), "{key} is a key of the table");
        let layers = Layers {
            topic: None,
            broker: None,
            all_brokers: None,
            file: self.settings,
        };
        layers
            .broker_value(definition?)
            .map(|setting| setting.value)
    }

    fn long(&self, key: &str) -> i64 {
        let default = || broker_key(key)?.default?.parse().ok();
        self.text(key)
            .and_then(|value| value.parse().ok())
            .or_else(default)
            .unwrap_or(0)
    }

    fn int(&self, key: &str) -> i32 {
        i32::try_from(self.long(key)).unwrap_or(i32::MAX)
    }

    fn size(&self, key: &str) -> usize {
        usize::try_from(self.long(key)).unwrap_or(0)
    }

    fn millis(&self, key: &str) -> Duration {
        Duration::from_millis(u64::try_from(self.long(key)).unwrap_or(0))
    }

    fn flag(&self, key: &str) -> bool {
        self.text(key).is_some_and(|value| value == "true")
    }

    /// The listeners for clients, and those that are only for controllers.
    fn listeners(&self, problems: &mut Problems) -> (Vec<Listener>, Vec<Listener>) {
        const KEY: &str = "listeners";
        let controller = self.text("controller.listener.names").unwrap_or_default();
        let (controller_listeners, listeners): (Vec<Listener>, Vec<Listener>) = self
            .parse_listeners(KEY, problems)
            .into_iter()
            .partition(|listener| {
                elements(&controller).any(|name| name.eq_ignore_ascii_case(&listener.name))
            });
        let protocols = self
            .text("listener.security.protocol.map")
            .unwrap_or_default();
        for listener in &listeners {
            let protocol = elements(&protocols)
                .filter_map(|entry| entry.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case(&listener.name))
                .map_or(listener.name.clone(), |(_, protocol)| {
                    protocol.to_ascii_uppercase()
                });
            if matches!(protocol.as_str(), "SSL" | "SASL_SSL" | "SASL_PLAINTEXT") {
                problems.add(
                    KEY,
                    format!("\"{listener}\" asks for {protocol}, which this broker does not speak; use PLAINTEXT"),
                );
            }
        }
        if listeners.is_empty() && problems.0.iter().all(|problem| problem.key != KEY) {
            problems.add(
                KEY,
                "names no address for clients; write it as PLAINTEXT://127.0.0.1:9092".to_owned(),
            );
        }
        (listeners, controller_listeners)
    }

    fn advertised(&self, problems: &mut Problems) -> Vec<Listener> {
        const KEY: &str = "advertised.listeners";
        let listeners = self.parse_listeners(KEY, problems);
        for listener in listeners.iter().filter(|listener| listener.is_wildcard()) {
            problems.add(
                KEY,
                format!("\"{listener}\" is no address a client can connect to; write this machine's name, or leave the key out to advertise the address each client reached"),
            );
        }
        listeners
    }

    fn parse_listeners(&self, key: &str, problems: &mut Problems) -> Vec<Listener> {
        let value = self.text(key).unwrap_or_default();
        let mut listeners: Vec<Listener> = Vec::new();
        for entry in elements(&value) {
            match Listener::parse(entry) {
                Err(message) => problems.add(key, message),
                Ok(listener) => {
                    let same = |other: &&Listener| {
                        other.name == listener.name
                            || (other.port == listener.port
                                && other.port != 0
                                && other.host == listener.host)
                    };
                    if let Some(other) = listeners.iter().find(same) {
                        problems.add(
                            key,
                            format!("\"{listener}\" has the name or the address of \"{other}\"; each needs its own"),
                        );
                    }
                    listeners.push(listener);
                }
            }
        }
        listeners
    }
}

/// What to say about a key that does not exist.
fn unknown(key: &str) -> String {
    let names = BROKER_KEYS.iter().map(|definition| definition.name);
    match nearest(key, names) {
        Some(nearest) => format!("is not a key of the broker; did you mean \"{nearest}\"?"),
        None => "is not a key of the broker and is ignored".to_owned(),
    }
}

/// The name that is closest to `key`, if one is close enough to be what was meant.
pub(crate) fn nearest<'a>(key: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (key.len() / 5).clamp(1, 3);
    names
        .map(|name| (edits(key.as_bytes(), name.as_bytes()), name))
        .filter(|(edits, _)| *edits <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein distance.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = Vec::with_capacity(row.len());
        next.push(left);
        for (above, to) in row.iter().skip(1).zip(b) {
            let cost = (diagonal + usize::from(from != to))
                .min(above + 1)
                .min(left + 1);
            diagonal = *above;
            left = cost;
            next.push(cost);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn nothing_set_gives_a_local_broker() {
        let config = BrokerConfig::from_properties(&properties(&[])).unwrap();
        assert_eq!(config.node_id, 0);
        assert_eq!(
            config.listeners[0].to_string(),
            "PLAINTEXT://127.0.0.1:9092"
        );
        assert!(config.advertised.is_empty());
        assert!(config.warnings.is_empty());
        assert_eq!(config.groups, GroupSettings::default());
        assert_eq!(config.socket_request_bytes_max, 104_857_600);
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let problems = BrokerConfig::from_properties(&properties(&[
            ("listeners", "localhost"),
            ("num.partitions", "many"),
            ("log.retention.ms", "-2"),
            ("log.cleanup.policy", "delete,shred"),
            ("advertised.listeners", "PLAINTEXT://0.0.0.0:9092"),
            ("node.id", "-3"),
        ]))
        .unwrap_err();
        let keys: Vec<&str> = problems
            .iter()
            .map(|problem| problem.key.as_str())
            .collect();
        for key in [
            "listeners",
            "num.partitions",
            "log.retention.ms",
            "log.cleanup.policy",
            "advertised.listeners",
            "node.id",
        ] {
            assert!(keys.contains(&key), "{key} in {problems:?}");
        }
    }

    #[test]
    fn a_typo_names_the_key_that_was_meant() {
        let config =
            BrokerConfig::from_properties(&properties(&[("num.partition", "3"), ("ssl.x", "1")]))
                .unwrap();
        assert_eq!(
            config.warnings[0].to_string(),
            "num.partition: is not a key of the broker; did you mean \"num.partitions\"?"
        );
        assert!(config.warnings[1].message.contains("ignored"));
        assert_eq!(config.partitions_default, 1);
    }

    #[test]
    fn a_kraft_server_properties_file_is_understood() {
        let config = BrokerConfig::from_properties(&properties(&[
            ("process.roles", "broker,controller"),
            ("node.id", "1"),
            ("controller.quorum.bootstrap.servers", "localhost:9093"),
            ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
            ("inter.broker.listener.name", "PLAINTEXT"),
            ("advertised.listeners", "PLAINTEXT://localhost:9092"),
            ("controller.listener.names", "CONTROLLER"),
            (
                "listener.security.protocol.map",
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            ),
            ("num.network.threads", "3"),
            ("log.dirs", "/tmp/kraft-combined-logs"),
            ("offsets.topic.replication.factor", "1"),
            ("log.retention.hours", "168"),
        ]))
        .unwrap();
        assert_eq!(config.listeners.len(), 1);
        assert_eq!(config.controller_listeners.len(), 1);
        let reached = "10.0.0.7:9092".parse().unwrap();
        assert_eq!(config.advertised_to(reached).host, "localhost");
    }

    #[test]
    fn the_address_the_client_reached_is_advertised() {
        let config = BrokerConfig::from_properties(&properties(&[])).unwrap();
        let reached = config.advertised_to("[::ffff:10.0.0.7]:4000".parse().unwrap());
        assert_eq!((reached.host.as_str(), reached.port), ("10.0.0.7", 4000));
    }

    #[test]
    fn distances_are_counted() {
        assert_eq!(edits(b"kitten", b"sitting"), 3);
        assert_eq!(edits(b"", b"abc"), 3);
        assert_eq!(
            nearest("cleanup.polcy", ["cleanup.policy"].into_iter()),
            Some("cleanup.policy")
        );
        assert_eq!(nearest("x", ["cleanup.policy"].into_iter()), None);
    }
}
