//! The keys of a standalone worker.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use connect_core::ConfigMap;

use super::keys::{Key, Kind, TableReader};
use super::override_policy::{self, OverridePolicy};
use super::problem::{Problem, Problems};
use super::providers::Providers;
use super::rest::{self, RestConfig};
use super::settings::Settings;
use crate::clients::{AdminSettings, sink_consumer, source_producer};
use crate::metrics::Sampling;
use crate::restart::RestartPolicy;
use crate::secrets;

const MILLIS_MAX: i64 = i64::MAX / 2;
const LISTENERS: &str = "listeners says where the REST interface is";
const DISTRIBUTED: &str = "it is for distributed workers only";
const COMPILED_IN: &str = "plugins are compiled into the program";
const METRICS: &str = "all metrics are at GET /metrics of the REST interface";

/// The keys of a worker, apart from those under [`PREFIXES`] and those of its REST interface.
pub const KEYS: &[Key] = &[
    Key::new(
        "bootstrap.servers",
        Kind::List,
        None,
        "Kafka brokers as host:port, separated by commas; without it the worker starts the embedded broker.",
    ),
    Key::required(
        "key.converter",
        Kind::Class,
        "Converts keys between Connect's and Kafka's form; key.converter.… are its own keys.",
    ),
    Key::required(
        "value.converter",
        Kind::Class,
        "Converts values between Connect's and Kafka's form; value.converter.… are its own keys.",
    ),
    Key::new(
        "header.converter",
        Kind::Class,
        Some("org.apache.kafka.connect.storage.SimpleHeaderConverter"),
        "Converts header values; header.converter.… are its own keys.",
    ),
    Key::new(
        "offset.flush.interval.ms",
        Kind::Integer(1, MILLIS_MAX),
        Some("60000"),
        "How often source and sink offsets are committed; a crash repeats at most what came since.",
    ),
    Key::new(
        "offset.flush.timeout.ms",
        Kind::Integer(1, MILLIS_MAX),
        Some("5000"),
        "How long one commit of offsets may take before it is tried again later.",
    ),
    Key::new(
        "task.shutdown.graceful.timeout.ms",
        Kind::Integer(0, MILLIS_MAX),
        Some("5000"),
        "How long all tasks together may take to stop before they are abandoned.",
    ),
    Key::new(
        "offset.storage.topic",
        Kind::Text,
        Some("connect-offsets"),
        "The compacted topic that keeps source offsets.",
    ),
    Key::new(
        "offset.storage.partitions",
        Kind::Integer(1, 10_000),
        Some("1"),
        "Partitions of that topic when the worker creates it.",
    ),
    Key::new(
        "offset.storage.replication.factor",
        Kind::Integer(-1, 32_767),
        Some("-1"),
        "Copies of that topic when the worker creates it; -1 is the broker's default.",
    ),
    Key::new(
        "config.storage.topic",
        Kind::Text,
        None,
        "The compacted topic, of this worker alone, that keeps connectors made by REST; connect-configs with the embedded broker, otherwise none unless it is set.",
    ),
    Key::new(
        "config.storage.replication.factor",
        Kind::Integer(-1, 32_767),
        Some("-1"),
        "Copies of that topic when the worker creates it; -1 is the broker's default.",
    ),
    Key::new(
        "connector.files.watch",
        Kind::Boolean,
        Some("true"),
        "Whether a saved change of a connector's file on the command line is applied at once.",
    ),
    Key::new(
        "config.reload.interval.ms",
        Kind::Integer(0, MILLIS_MAX),
        Some("10000"),
        "How often it is looked whether values from configuration providers have changed, so that tasks that were given them are restarted; 0 for never. Connectors may say config.action.reload=none.",
    ),
    Key::new(
        override_policy::POLICY,
        Kind::Text,
        Some("All"),
        "Which producer.override.…, consumer.override.… and admin.override.… keys connectors may set: All, None, Principal (who they are towards the brokers) or Allowlist.",
    ),
    Key::new(
        override_policy::ALLOWLIST,
        Kind::List,
        Some(""),
        "What Allowlist allows: client settings without a prefix, such as linger.ms, separated by commas.",
    ),
    Key::new(
        "topic.creation.enable",
        Kind::Boolean,
        Some("true"),
        "Whether topic.creation.… keys of source connectors are obeyed.",
    ),
    Key::new(
        "tap.enable",
        Kind::Boolean,
        None,
        "Whether records may be looked at through REST; by default only where other machines cannot reach it without authentication.",
    ),
    Key::new(
        "topic.tracking.enable",
        Kind::Boolean,
        Some("true"),
        "Whether the worker remembers which topics each connector has used, until it stops.",
    ),
    Key::new(
        "topic.tracking.allow.reset",
        Kind::Boolean,
        Some("true"),
        "Whether requests may have it forget them.",
    ),
    Key::new(
        "config.providers",
        Kind::List,
        None,
        "Names for the configuration providers that ${name:path:key} in values may refer to; config.providers.<name>.class is the class of each.",
    ),
    Key::new(
        "task.restart.backoff.ms",
        Kind::Integer(1, MILLIS_MAX),
        Some("1000"),
        "The pause before a failed task is started again; doubles with every failure in a row. Connectors may say otherwise.",
    ),
    Key::new(
        "task.restart.backoff.max.ms",
        Kind::Integer(1, MILLIS_MAX),
        Some("60000"),
        "The longest such pause; a task that ran that long without failing starts over. Connectors may say otherwise.",
    ),
    Key::new(
        "task.restart.enable",
        Kind::Boolean,
        Some("true"),
        "Whether tasks and connectors that failed are started again by themselves; with false they stay FAILED, as in Kafka Connect. Connectors may say otherwise.",
    ),
    Key::new(
        "task.restart.failures.max",
        Kind::Integer(0, 10_000),
        Some("30"),
        "With how many failures within task.restart.failures.window.ms that ends and it stays FAILED; outages do not count. 0 is for never. Connectors may say otherwise.",
    ),
    Key::new(
        "task.restart.failures.window.ms",
        Kind::Integer(1, MILLIS_MAX),
        Some("3600000"),
        "The time over which task.restart.failures.max counts. Connectors may say otherwise.",
    ),
    Key::new(
        "metrics.sample.window.ms",
        Kind::Integer(1, MILLIS_MAX),
        Some("30000"),
        "Rates, averages and maxima of metrics are over windows of this length.",
    ),
    Key::new(
        "metrics.num.samples",
        Kind::Integer(1, 1000),
        Some("2"),
        "Over how many such windows.",
    ),
    Key::new(
        "task.stuck.after.ms",
        Kind::Integer(1, MILLIS_MAX),
        Some("30000"),
        "After how long a call into a connector that does not return is shown in the task's state.",
    ),
    Key::new(
        "data.dir",
        Kind::Text,
        Some("data"),
        "The folder of the embedded broker's data; broker.… are the broker's own keys.",
    ),
    Key::new(
        "client.id",
        Kind::AnyText,
        Some(""),
        "The name of this worker towards the brokers.",
    ),
    Key::new(
        "request.timeout.ms",
        Kind::Integer(1, MILLIS_MAX),
        Some("40000"),
        "How long a request to a broker may take.",
    ),
    Key::new(
        "metadata.max.age.ms",
        Kind::Integer(1, MILLIS_MAX),
        Some("300000"),
        "How old the view of the cluster may become.",
    ),
    Key::new(
        "reconnect.backoff.ms",
        Kind::Integer(1, MILLIS_MAX),
        Some("50"),
        "The first pause before a broker is connected to again.",
    ),
    Key::new(
        "reconnect.backoff.max.ms",
        Kind::Integer(1, MILLIS_MAX),
        Some("1000"),
        "The longest such pause.",
    ),
    Key::new(
        "retry.backoff.ms",
        Kind::Integer(1, MILLIS_MAX),
        Some("100"),
        "The first pause before a request is repeated.",
    ),
    Key::new(
        "retry.backoff.max.ms",
        Kind::Integer(1, MILLIS_MAX),
        Some("1000"),
        "The longest such pause.",
    ),
    Key::new(
        "connections.max.idle.ms",
        Kind::Integer(1, MILLIS_MAX),
        Some("540000"),
        "After how long an unused connection is closed.",
    ),
    Key::new(
        "security.protocol",
        Kind::Choice(&["PLAINTEXT"]),
        Some("PLAINTEXT"),
        "How brokers are spoken to.",
    ),
    Key::without_effect(
        "offset.storage.file.filename",
        "offsets are kept in the topic of offset.storage.topic, which survives crashes of worker and broker",
    ),
    Key::without_effect("plugin.path", COMPILED_IN),
    Key::without_effect("plugin.discovery", COMPILED_IN),
    Key::without_effect("key.converter.plugin.version", COMPILED_IN),
    Key::without_effect("value.converter.plugin.version", COMPILED_IN),
    Key::without_effect("header.converter.plugin.version", COMPILED_IN),
    Key::without_effect("client.dns.lookup", "all addresses of a host are tried"),
    Key::without_effect("send.buffer.bytes", "the operating system chooses"),
    Key::without_effect("receive.buffer.bytes", "the operating system chooses"),
    Key::without_effect(
        "socket.connection.setup.timeout.ms",
        "request.timeout.ms bounds it",
    ),
    Key::without_effect(
        "socket.connection.setup.timeout.max.ms",
        "request.timeout.ms bounds it",
    ),
    Key::without_effect("metadata.recovery.strategy", "it is always \"rebootstrap\""),
    Key::without_effect("rest.port", LISTENERS),
    Key::without_effect("rest.host.name", LISTENERS),
    Key::without_effect("metrics.recording.level", METRICS),
    Key::without_effect("metric.reporters", METRICS),
    Key::without_effect(
        "internal.key.converter",
        "it is always the JSON converter without schemas",
    ),
    Key::without_effect(
        "internal.value.converter",
        "it is always the JSON converter without schemas",
    ),
    Key::without_effect("group.id", DISTRIBUTED),
    Key::without_effect("status.storage.topic", DISTRIBUTED),
    Key::without_effect("status.storage.partitions", DISTRIBUTED),
    Key::without_effect("status.storage.replication.factor", DISTRIBUTED),
    Key::without_effect("session.timeout.ms", DISTRIBUTED),
    Key::without_effect("heartbeat.interval.ms", DISTRIBUTED),
    Key::without_effect("rebalance.timeout.ms", DISTRIBUTED),
    Key::without_effect("worker.sync.timeout.ms", DISTRIBUTED),
    Key::without_effect("worker.unsync.backoff.ms", DISTRIBUTED),
    Key::without_effect("connect.protocol", DISTRIBUTED),
    Key::without_effect("scheduled.rebalance.max.delay.ms", DISTRIBUTED),
    Key::without_effect("exactly.once.source.support", DISTRIBUTED),
    Key::without_effect("internal.topics.automatic.creation.enable", DISTRIBUTED),
];

/// Keys that start so belong to somebody else: a converter, a client, the embedded broker, the
/// settings of an internal topic.
pub const PREFIXES: &[&str] = &[
    "key.converter.",
    "value.converter.",
    "header.converter.",
    "producer.",
    "consumer.",
    "admin.",
    "broker.",
    "offset.storage.",
    "config.providers.",
    "config.storage.",
    "status.storage.",
    "listeners.https.",
    "rest.users.",
    "inter.worker.",
];

/// A converter as configured: its class and the keys that are its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConverterConfig {
    /// The class name or alias.
    pub class: String,
    /// Its keys, with the prefix cut.
    pub config: ConfigMap,
}

/// How this worker speaks to brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// The name of this worker; empty where none is configured.
    pub client_id: String,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How old the view of the cluster may become.
    pub metadata_max_age: Duration,
    /// The first pause before connecting again.
    pub reconnect_backoff: Duration,
    /// The longest such pause.
    pub reconnect_backoff_max: Duration,
    /// The first pause before a request is repeated.
    pub retry_backoff: Duration,
    /// The longest such pause.
    pub retry_backoff_max: Duration,
    /// After how long an unused connection is closed.
    pub connections_max_idle: Duration,
}

/// What an internal topic keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// How far sources are.
    Offsets,
    /// Connectors made by REST.
    Connectors,
}

impl Keeps {
    /// What the worker's keys about the topic start with.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Offsets => "offset.storage",
            Self::Connectors => "config.storage",
        }
    }
}

impl fmt::Display for Keeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offsets => "source offsets",
            Self::Connectors => "connectors",
        })
    }
}

/// A topic in which the worker keeps something of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalTopicConfig {
    /// What it keeps.
    pub keeps: Keeps,
    /// Its name.
    pub name: String,
    /// Partitions when it is created.
    pub partitions: i32,
    /// Copies when it is created; -1 is the broker's default.
    pub replication_factor: i16,
    /// Topic settings when it is created; `cleanup.policy` is not among them.
    pub settings: BTreeMap<String, String>,
}

/// A worker's configuration, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Brokers to start from; `None` asks for the embedded broker.
    pub bootstrap_servers: Option<Vec<String>>,
    /// The converter of keys.
    pub key_converter: ConverterConfig,
    /// The converter of values.
    pub value_converter: ConverterConfig,
    /// The converter of headers.
    pub header_converter: ConverterConfig,
    /// How often offsets are committed.
    pub offset_flush_interval: Duration,
    /// How long one commit may take.
    pub offset_flush_timeout: Duration,
    /// How long all tasks together may take to stop.
    pub shutdown_timeout: Duration,
    /// The topic of the source offsets.
    pub offset_topic: InternalTopicConfig,
    /// The topic of the connectors made by REST; `None` where they end with the worker.
    pub config_topic: Option<InternalTopicConfig>,
    /// Whether changes of connectors' files are applied at once.
    pub watch_files: bool,
    /// Which client settings connectors may override.
    pub client_overrides: OverridePolicy,
    /// Whether `topic.creation.…` keys are obeyed.
    pub topic_creation: bool,
    /// Whether records may be looked at through REST, if that is said.
    pub taps: Option<bool>,
    /// Whether it is remembered which topics connectors have used.
    pub topic_tracking: bool,
    /// Whether requests may have that forgotten.
    pub topic_tracking_reset: bool,
    /// When what failed is started again, unless a connector says otherwise.
    pub restart: RestartPolicy,
    /// Over which time rates, averages and maxima of metrics are.
    pub sampling: Sampling,
    /// After how long a call that does not return is shown.
    pub stuck_after: Duration,
    /// The folder of the embedded broker.
    pub data_dir: PathBuf,
    /// The embedded broker's own keys, with the prefix cut.
    pub broker: ConfigMap,
    /// Where the REST interface listens.
    pub rest: RestConfig,
    /// How brokers are spoken to.
    pub connection: ConnectionConfig,
    /// `producer.…` keys for all source tasks, with the prefix cut.
    pub producer: ConfigMap,
    /// `consumer.…` keys for all sink tasks, with the prefix cut.
    pub consumer: ConfigMap,
    /// `admin.…` keys for what creates connectors' topics, with the prefix cut.
    pub admin: ConfigMap,
    /// What references in configurations stand for.
    pub providers: Providers,
    /// How often it is looked whether they stand for something else; zero for never.
    pub reload_interval: Duration,
}

impl WorkerConfig {
    /// Whether records may be looked at through REST: not by anybody from anywhere, unless that is wanted.
    #[must_use]
    pub fn allows_taps(&self) -> bool {
        self.taps.unwrap_or(!self.rest.remote)
    }

    /// Reads the worker's keys. The list beside the configuration holds warnings and notes.
    ///
    /// # Errors
    /// All problems at once, warnings included, if at least one is an error.
    pub fn read(settings: &Settings) -> Result<(Self, Vec<Problem>), Problems> {
        secrets::learn_from(settings);
        let (providers, wrong_providers) = Providers::read(settings);
        let (resolved, wrong_references) = providers.resolve(settings);
        let settings = &resolved;
        let mut reader = TableReader::check(settings, &[KEYS, rest::KEYS]);
        reader.problems.extend(wrong_providers);
        reader.problems.extend(wrong_references);
        reader.check_unknown(PREFIXES, &[]);
        check_bootstrap(&mut reader, settings);
        check_converters(&mut reader, settings);
        check_clients(&mut reader, settings);
        let rest = RestConfig::read(&mut reader, settings);
        let config = Self {
            rest,
            bootstrap_servers: reader.text("bootstrap.servers").map(super::keys::list),
            key_converter: converter(&reader, settings, "key"),
            value_converter: converter(&reader, settings, "value"),
            header_converter: converter(&reader, settings, "header"),
            offset_flush_interval: reader.millis("offset.flush.interval.ms"),
            offset_flush_timeout: reader.millis("offset.flush.timeout.ms"),
            shutdown_timeout: reader.millis("task.shutdown.graceful.timeout.ms"),
            offset_topic: offset_topic(&reader, settings),
            config_topic: config_topic(&mut reader, settings),
            watch_files: reader.boolean("connector.files.watch"),
            client_overrides: OverridePolicy::read(&mut reader, settings),
            topic_creation: reader.boolean("topic.creation.enable"),
            taps: reader
                .text("tap.enable")
                .map(|_| reader.boolean("tap.enable")),
            topic_tracking: reader.boolean("topic.tracking.enable"),
            topic_tracking_reset: reader.boolean("topic.tracking.allow.reset"),
            restart: RestartPolicy {
                enabled: reader.boolean("task.restart.enable"),
                backoff: reader.millis("task.restart.backoff.ms"),
                backoff_max: reader.millis("task.restart.backoff.max.ms"),
                failures_max: reader.count("task.restart.failures.max"),
                window: reader.millis("task.restart.failures.window.ms"),
            },
            sampling: Sampling {
                window: reader.millis("metrics.sample.window.ms"),
                windows: reader.count("metrics.num.samples"),
            },
            stuck_after: reader.millis("task.stuck.after.ms"),
            data_dir: reader.owned("data.dir").into(),
            broker: settings.with_prefix("broker."),
            connection: connection(&reader),
            producer: settings.with_prefix("producer."),
            consumer: settings.with_prefix("consumer."),
            admin: admin_keys(settings),
            providers,
            reload_interval: reader.millis("config.reload.interval.ms"),
        };
        let problems: Vec<Problem> = reader.problems.into_iter().map(Problem::discreet).collect();
        if problems.iter().any(Problem::is_error) {
            return Err(Problems(problems).sorted());
        }
        Ok((config, problems))
    }
}

fn check_bootstrap(reader: &mut TableReader<'_>, settings: &Settings) {
    let Some(text) = settings.text("bootstrap.servers") else {
        return;
    };
    let servers = super::keys::list(text);
    let good = |server: &String| {
        server.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    };
    let message = if servers.is_empty() {
        "expected host:port, got an empty text; leave the key out to use the embedded broker"
            .to_owned()
    } else if let Some(bad) = servers.iter().find(|server| !good(server)) {
        format!("expected host:port, got \"{bad}\"; an example is \"localhost:9092\"")
    } else {
        return;
    };
    reader
        .problems
        .push(settings.problem("bootstrap.servers", message));
}

fn check_converters(reader: &mut TableReader<'_>, settings: &Settings) {
    for role in ["key", "value", "header"] {
        let key = format!("{role}.converter");
        let Some(class) = reader.text(&key).filter(|class| !class.is_empty()) else {
            continue;
        };
        let config = settings.with_prefix(&format!("{key}."));
        for problem in crate::converters::check(role, class, &config) {
            let key = match problem.key.as_str() {
                "" => key.clone(),
                own => format!("{key}.{own}"),
            };
            reader
                .problems
                .push(settings.problem(&key, problem.message));
        }
    }
}

fn check_clients(reader: &mut TableReader<'_>, settings: &Settings) {
    let client = kafka_client::ClientConfig::new(["localhost:9092"]);
    let producer = settings.with_prefix("producer.");
    let consumer = settings.with_prefix("consumer.");
    let found = [
        (
            "producer.",
            source_producer(client.clone()).apply(&producer),
        ),
        (
            "consumer.",
            sink_consumer(client.clone(), "").apply(&consumer),
        ),
        (
            "admin.",
            AdminSettings::new(client).apply(&admin_keys(settings)),
        ),
    ];
    for (prefix, problems) in found {
        for problem in problems {
            let key = format!("{prefix}{}", problem.key);
            reader.problems.push(match problem.is_error {
                true => settings.problem(&key, problem.message),
                false => settings.key_warning(&key, problem.message),
            });
        }
    }
}

/// `admin.listeners` and what is below it are the REST interface's.
fn admin_keys(settings: &Settings) -> ConfigMap {
    let mut keys = settings.with_prefix("admin.");
    keys.retain(|key, _| key != "listeners" && !key.starts_with("listeners."));
    keys
}

fn converter(reader: &TableReader<'_>, settings: &Settings, role: &str) -> ConverterConfig {
    ConverterConfig {
        class: reader.owned(&format!("{role}.converter")),
        config: settings.with_prefix(&format!("{role}.converter.")),
    }
}

fn offset_topic(reader: &TableReader<'_>, settings: &Settings) -> InternalTopicConfig {
    let partitions = i32::try_from(reader.integer("offset.storage.partitions")).unwrap_or(1);
    let name = reader.owned("offset.storage.topic");
    internal_topic(reader, settings, Keeps::Offsets, name, partitions)
}

/// Workers that read one topic run the same connectors, so a cluster that others may use has no
/// default: `connect-configs` there is most likely that of distributed workers.
fn config_topic(reader: &mut TableReader<'_>, settings: &Settings) -> Option<InternalTopicConfig> {
    let configured = reader.text("config.storage.topic");
    let embedded = settings.text("bootstrap.servers").is_none();
    let name = configured.or_else(|| embedded.then_some("connect-configs"))?;
    if reader.text("offset.storage.topic") == Some(name) {
        let message =
            format!("expected a topic of its own, got \"{name}\", which keeps the source offsets");
        let problem = settings.problem("config.storage.topic", message);
        reader.problems.push(problem);
    }
    let name = name.to_owned();
    Some(internal_topic(reader, settings, Keeps::Connectors, name, 1))
}

fn internal_topic(
    reader: &TableReader<'_>,
    settings: &Settings,
    keeps: Keeps,
    name: String,
    partitions: i32,
) -> InternalTopicConfig {
    let prefix = keeps.prefix();
    let mut topic_settings = settings.with_prefix(&format!("{prefix}."));
    for own in [
        "topic",
        "partitions",
        "replication.factor",
        "file.filename",
        "cleanup.policy",
    ] {
        topic_settings.remove(own);
    }
    let replication_factor = reader.integer(&format!("{prefix}.replication.factor"));
    InternalTopicConfig {
        keeps,
        name,
        partitions,
        replication_factor: i16::try_from(replication_factor).unwrap_or(-1),
        settings: topic_settings,
    }
}

fn connection(reader: &TableReader<'_>) -> ConnectionConfig {
    ConnectionConfig {
        client_id: reader.owned("client.id"),
        request_timeout: reader.millis("request.timeout.ms"),
        metadata_max_age: reader.millis("metadata.max.age.ms"),
        reconnect_backoff: reader.millis("reconnect.backoff.ms"),
        reconnect_backoff_max: reader.millis("reconnect.backoff.max.ms"),
        retry_backoff: reader.millis("retry.backoff.ms"),
        retry_backoff_max: reader.millis("retry.backoff.max.ms"),
        connections_max_idle: reader.millis("connections.max.idle.ms"),
    }
}
