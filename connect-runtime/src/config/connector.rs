//! The keys that the framework reads from every connector's configuration.

use std::time::Duration;

use connect_core::{ConfigMap, ConnectorFactory, ConnectorKind};

use super::keys::{Key, Kind, TableReader};
use super::problem::{Problem, Problems};
use super::settings::Settings;
use super::topic_creation;
pub(crate) use super::topic_creation::pattern_of as topic_pattern;
pub use super::topic_creation::{TopicCreation, TopicGroup};
use super::worker::{ConverterConfig, WorkerConfig};
use crate::clients::{AdminSettings, ClientKeyProblem, sink_consumer, source_producer};
use crate::restart::RestartPolicy;
use crate::secrets;
pub use crate::tolerance::RatePolicy;

const MILLIS_MAX: i64 = i64::MAX / 2;
const DEAD_LETTER_TOPIC: &str = "errors.deadletterqueue.topic.name";
const RATE: &str = "errors.rate.max.percent";
const RATE_WINDOW: &str = "errors.rate.window.ms";
const RATE_RECORDS: &str = "errors.rate.records.min";
const COMPILED_IN: &str = "plugins are compiled into the program";
const NO_EXACTLY_ONCE: &str = "sources are at least once";

/// The keys of every connector.
pub const KEYS: &[Key] = &[
    Key::required(
        "name",
        Kind::Text,
        "The connector's name; source offsets and the consumer group of a sink go by it.",
    ),
    Key::required(
        "connector.class",
        Kind::Class,
        "The connector's class: its full name, its simple name, or that without \"Connector\".",
    ),
    Key::new(
        "tasks.max",
        Kind::Integer(1, i32::MAX as i64),
        Some("1"),
        "The most tasks the work may be divided into.",
    ),
    Key::new(
        "tasks.max.enforce",
        Kind::Boolean,
        Some("true"),
        "Whether a connector that asks for more tasks fails.",
    ),
    Key::new(
        "key.converter",
        Kind::Class,
        None,
        "The converter of keys instead of the worker's; the worker's key.converter.… keys are not inherited.",
    ),
    Key::new(
        "value.converter",
        Kind::Class,
        None,
        "The converter of values instead of the worker's.",
    ),
    Key::new(
        "header.converter",
        Kind::Class,
        None,
        "The converter of headers instead of the worker's.",
    ),
    Key::new(
        "errors.retry.timeout",
        Kind::Integer(-1, MILLIS_MAX),
        Some("0"),
        "How long a retriable error of a converter or transform is retried, in milliseconds; -1 is for ever.",
    ),
    Key::new(
        "errors.retry.delay.max.ms",
        Kind::Integer(1, MILLIS_MAX),
        Some("60000"),
        "The longest pause between such retries, and between retries of put.",
    ),
    Key::new(
        "task.restart.enable",
        Kind::Boolean,
        None,
        "Whether its tasks and itself are started again by themselves when they failed, instead of what the worker says.",
    ),
    Key::new(
        "task.restart.backoff.ms",
        Kind::Integer(1, MILLIS_MAX),
        None,
        "The pause before the first of these restarts, instead of what the worker says.",
    ),
    Key::new(
        "task.restart.backoff.max.ms",
        Kind::Integer(1, MILLIS_MAX),
        None,
        "The longest such pause, instead of what the worker says.",
    ),
    Key::new(
        "task.restart.failures.max",
        Kind::Integer(0, 10_000),
        None,
        "With how many failures within task.restart.failures.window.ms that ends, instead of what the worker says. 0 is for never.",
    ),
    Key::new(
        "task.restart.failures.window.ms",
        Kind::Integer(1, MILLIS_MAX),
        None,
        "The time over which task.restart.failures.max counts, instead of what the worker says.",
    ),
    Key::new(
        "errors.tolerance",
        Kind::Choice(&["none", "all"]),
        Some("none"),
        "Whether a bad record fails the task or is skipped.",
    ),
    Key::new(
        DEAD_LETTER_TOPIC,
        Kind::AnyText,
        Some(""),
        "The topic for records that are skipped, as they were read; it is created if it is missing. Empty for none.",
    ),
    Key::new(
        "errors.deadletterqueue.topic.replication.factor",
        Kind::Integer(-1, 32_767),
        Some("-1"),
        "Copies of that topic when it is created; -1 is the broker's default.",
    ),
    Key::new(
        "errors.deadletterqueue.context.headers.enable",
        Kind::Boolean,
        Some("false"),
        "Whether headers __connect.errors.… say why a record is there and where it was read.",
    ),
    Key::new(
        RATE,
        Kind::Integer(0, 100),
        Some("100"),
        "With errors.tolerance=all: the task fails, and stays so, when more than this share of its records is skipped. 100 is for never.",
    ),
    Key::new(
        RATE_WINDOW,
        Kind::Integer(1, MILLIS_MAX),
        Some("60000"),
        "The time over which errors.rate.max.percent counts, in milliseconds.",
    ),
    Key::new(
        RATE_RECORDS,
        Kind::Integer(1, MILLIS_MAX),
        Some("100"),
        "How many records errors.rate.max.percent needs within that time to say anything.",
    ),
    Key::new(
        "errors.log.enable",
        Kind::Boolean,
        Some("false"),
        "Whether records that fail are logged: the stage, the class and the error.",
    ),
    Key::new(
        "errors.log.include.messages",
        Kind::Boolean,
        Some("false"),
        "Whether the record is logged, too: where a sink's record was read, and a source's as it is.",
    ),
    Key::new(
        "transforms",
        Kind::List,
        None,
        "Names for the transforms that records pass, in this order; transforms.<name>.type is the class of each.",
    ),
    Key::new(
        "predicates",
        Kind::List,
        None,
        "Names for the predicates that transforms.<name>.predicate may refer to; predicates.<name>.type is the class of each.",
    ),
    Key::without_effect("connector.plugin.version", COMPILED_IN),
    Key::without_effect("key.converter.plugin.version", COMPILED_IN),
    Key::without_effect("value.converter.plugin.version", COMPILED_IN),
    Key::without_effect("header.converter.plugin.version", COMPILED_IN),
    Key::new(
        "config.action.reload",
        Kind::Choice(&["restart", "none"]),
        Some("restart"),
        "Whether tasks are restarted when a value from a configuration provider that they were given has changed, or have it with their next start.",
    ),
    Key::without_effect("config.providers", "providers are the worker's"),
];

/// The keys of sinks alone.
pub const SINK_KEYS: &[Key] = &[
    Key::new(
        "topics",
        Kind::List,
        None,
        "The topics to read, separated by commas.",
    ),
    Key::new(
        "topics.regex",
        Kind::AnyText,
        None,
        "A regular expression for the topics to read.",
    ),
];

/// The keys of sources alone.
pub const SOURCE_KEYS: &[Key] = &[
    Key::new(
        topic_creation::GROUPS,
        Kind::List,
        Some(""),
        "Names for groups of topics that topic.creation.<name>.… says how to create; default is the last of them.",
    ),
    Key::without_effect("exactly.once.support", NO_EXACTLY_ONCE),
    Key::without_effect("transaction.boundary", NO_EXACTLY_ONCE),
    Key::without_effect("transaction.boundary.interval.ms", NO_EXACTLY_ONCE),
    Key::without_effect(
        "offsets.storage.topic",
        "all offsets are in the worker's topic",
    ),
];

/// Keys that start so belong to somebody else.
pub const PREFIXES: &[&str] = &[
    "key.converter.",
    "value.converter.",
    "header.converter.",
    "transforms.",
    "predicates.",
    "producer.override.",
    "consumer.override.",
    "admin.override.",
    "topic.creation.",
    "config.providers.",
];

/// What happens to bad records and retriable errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorPolicy {
    /// Skip bad records instead of failing the task.
    pub tolerate_all: bool,
    /// How long retriable errors of converters and transforms are retried; `None` is for ever.
    pub retry_timeout: Option<Duration>,
    /// The longest pause between retries.
    pub retry_delay_max: Duration,
    /// Log what fails.
    pub log: bool,
    /// Log the record, too.
    pub log_messages: bool,
    /// Where records go that are skipped.
    pub dead_letters: Option<DeadLetterConfig>,
    /// How many records may be skipped; `None` for any number.
    pub rate: Option<RatePolicy>,
}

/// Kafka's defaults: a bad record fails the task.
impl Default for ErrorPolicy {
    fn default() -> Self {
        Self {
            tolerate_all: false,
            retry_timeout: Some(Duration::ZERO),
            retry_delay_max: Duration::from_secs(60),
            log: false,
            log_messages: false,
            dead_letters: None,
            rate: None,
        }
    }
}

/// The dead letter queue of a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterConfig {
    /// The topic.
    pub topic: String,
    /// Copies when it is created; -1 is the broker's default.
    pub replication_factor: i16,
    /// Headers say why a record is there.
    pub context_headers: bool,
}

/// Which topics a sink reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topics {
    /// These.
    Names(Vec<String>),
    /// Those whose names match, also later ones.
    Pattern(String),
}

/// How a connector starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InitialState {
    /// It moves records.
    #[default]
    Running,
    /// It has its tasks, which stand still.
    Paused,
    /// It has no tasks.
    Stopped,
}

/// A connector's configuration, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorConfig {
    /// The name.
    pub name: String,
    /// The full class name.
    pub class: String,
    /// Source or sink.
    pub kind: ConnectorKind,
    /// The most tasks.
    pub tasks_max: usize,
    /// Whether more tasks than that are refused.
    pub tasks_max_enforce: bool,
    /// The converter of keys.
    pub key_converter: ConverterConfig,
    /// The converter of values.
    pub value_converter: ConverterConfig,
    /// The converter of headers.
    pub header_converter: ConverterConfig,
    /// What happens to bad records.
    pub errors: ErrorPolicy,
    /// When what failed is started again.
    pub restart: RestartPolicy,
    /// What a sink reads; empty for sources.
    pub topics: Topics,
    /// How a source's topics are created; `None` leaves that to the broker.
    pub topic_creation: Option<TopicCreation>,
    /// `producer.override.…` keys, with the prefix cut.
    pub producer: ConfigMap,
    /// `consumer.override.…` keys, with the prefix cut.
    pub consumer: ConfigMap,
    /// `admin.override.…` keys, with the prefix cut.
    pub admin: ConfigMap,
    /// Whether a change of what references stand for restarts what was given it.
    pub reload: bool,
    /// How it starts, as `initial_state` of a JSON file or of a request may ask.
    pub initial_state: InitialState,
    /// Everything, as it is written: references to configuration providers stand for themselves.
    pub map: ConfigMap,
    /// Everything, as the connector gets it, with what references stand for.
    pub resolved: ConfigMap,
}

impl ConnectorConfig {
    /// Reads and checks the framework's keys, and the connector's own by its definition. The list
    /// beside the configuration holds warnings and notes.
    ///
    /// # Errors
    /// All problems at once, warnings included, if at least one is an error.
    pub fn read(
        settings: &Settings,
        worker: &WorkerConfig,
    ) -> Result<(Self, Vec<Problem>), Problems> {
        secrets::learn_from(settings);
        let map = settings.to_map();
        let (resolved, wrong_references) = worker.providers.resolve(settings);
        let settings = &resolved;
        let factory = factory(settings);
        let tables: &'static [&'static [Key]] = match factory.as_ref().map(|found| found.kind()) {
            Ok(ConnectorKind::Source) => &[KEYS, SOURCE_KEYS],
            Ok(ConnectorKind::Sink) => &[KEYS, SINK_KEYS],
            Err(_) => &[KEYS],
        };
        let mut reader = TableReader::check(settings, tables);
        reader.problems.extend(wrong_references);
        check_name(&mut reader, settings);
        let factory = match factory {
            Ok(factory) => factory,
            Err(problem) => {
                // Which keys are known depends on the class, so they are not judged.
                reader.problems.extend(problem);
                let problems = reader.problems.into_iter().map(Problem::discreet);
                return Err(Problems(problems.collect()).sorted());
            }
        };
        check_plugin(&mut reader, settings, &*factory);
        check_converters(&mut reader, settings);
        check_transforms(&mut reader, settings);
        let config = Self {
            name: reader.owned("name"),
            class: factory.class().to_owned(),
            kind: factory.kind(),
            tasks_max: usize::try_from(reader.integer("tasks.max")).unwrap_or(1),
            tasks_max_enforce: reader.boolean("tasks.max.enforce"),
            key_converter: converter(settings, "key", &worker.key_converter),
            value_converter: converter(settings, "value", &worker.value_converter),
            header_converter: converter(settings, "header", &worker.header_converter),
            topics: topics(&mut reader, settings, factory.kind()),
            errors: errors(&reader),
            restart: restart(&reader, &worker.restart),
            topic_creation: topic_creation(&mut reader, settings, worker, factory.kind()),
            producer: settings.with_prefix("producer.override."),
            consumer: settings.with_prefix("consumer.override."),
            admin: settings.with_prefix("admin.override."),
            reload: !reader
                .owned("config.action.reload")
                .trim()
                .eq_ignore_ascii_case("none"),
            initial_state: initial_state(&mut reader, settings),
            map,
            resolved: settings.to_map(),
        };
        check_dead_letters(&mut reader, settings, &config);
        check_rate(&mut reader, settings, &config);
        check_clients(&mut reader, settings, worker, &config);
        let problems: Vec<Problem> = reader.problems.into_iter().map(Problem::discreet).collect();
        if problems.iter().any(Problem::is_error) {
            return Err(Problems(problems).sorted());
        }
        Ok((config, problems))
    }

    /// What is stored and cannot be read now, to be shown, and read again with each attempt to start it;
    /// none if nobody knows its class.
    pub(crate) fn unread(name: &str, map: ConfigMap, worker: &WorkerConfig) -> Option<Self> {
        let class = map.get("connector.class")?.trim();
        let factory = connect_core::plugin::find(class).ok()?;
        Some(Self {
            name: name.to_owned(),
            class: factory.class().to_owned(),
            kind: factory.kind(),
            tasks_max: 1,
            tasks_max_enforce: true,
            key_converter: worker.key_converter.clone(),
            value_converter: worker.value_converter.clone(),
            header_converter: worker.header_converter.clone(),
            errors: ErrorPolicy::default(),
            restart: worker.restart.clone(),
            topics: Topics::Names(Vec::new()),
            topic_creation: None,
            producer: ConfigMap::new(),
            consumer: ConfigMap::new(),
            admin: ConfigMap::new(),
            initial_state: InitialState::Running,
            reload: true,
            map,
            resolved: ConfigMap::new(),
        })
    }

    /// Whether references may stand for some of it.
    pub(crate) fn has_references(&self) -> bool {
        self.map.values().any(|text| text.contains("${"))
    }

    /// What the framework itself obeys of it, as opposed to what the connector's code is given.
    pub(crate) fn of_framework(&self) -> ConfigMap {
        let tables = [KEYS, SOURCE_KEYS, SINK_KEYS];
        let is_known = |name: &str| tables.iter().copied().flatten().any(|key| key.name == name);
        let is_prefixed = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let own = self.resolved.iter();
        let own = own.filter(|(key, _)| is_known(key) || is_prefixed(key));
        own.map(|(key, text)| (key.clone(), text.clone())).collect()
    }

    /// The same with what references stand for now.
    pub(crate) fn fresh(&self, worker: &WorkerConfig) -> Result<Self, Problems> {
        let source = format!("connector \"{}\"", self.name);
        let (fresh, _) = Self::read(&Settings::from_map(&source, &self.map), worker)?;
        Ok(Self {
            initial_state: self.initial_state,
            ..fresh
        })
    }

    /// A task's configuration with references again in place of what they stand for.
    pub(crate) fn written(&self, task: ConfigMap) -> ConfigMap {
        let one = |(key, text): (String, String)| {
            let written = self.map.get(&key);
            let is_own = self.resolved.get(&key) == Some(&text);
            match written.filter(|_| is_own) {
                Some(written) => (key, written.clone()),
                None => (key, text),
            }
        };
        task.into_iter().map(one).collect()
    }

    /// A task's configuration as it may be shown: what the user has written, and nothing secret that the
    /// connector has put elsewhere.
    pub(crate) fn shown(&self, task: &ConfigMap) -> ConfigMap {
        let one = |(key, text): (&String, &String)| match self.map.get(key) == Some(text) {
            true => (key.clone(), text.clone()),
            false => (key.clone(), secrets::hide(text)),
        };
        task.iter().map(one).collect()
    }

    /// What a connector says is wrong, without secrets.
    pub(crate) fn discreet(&self, problem: connect_core::Problem) -> connect_core::Problem {
        let connect_core::Problem {
            key,
            message,
            value,
        } = problem;
        let written = self.map.get(&key);
        match written.filter(|written| self.resolved.get(&key) != Some(*written)) {
            Some(written) => connect_core::Problem::new(key, super::not_shown(written)),
            None => connect_core::Problem {
                key,
                message: secrets::hide(message),
                value: value.map(secrets::hide),
            },
        }
    }
}

/// The worker's policy, but for what the connector says itself.
fn restart(reader: &TableReader<'_>, worker: &RestartPolicy) -> RestartPolicy {
    let is_set = |key| reader.text(key).is_some();
    let mut policy = worker.clone();
    if is_set("task.restart.enable") {
        policy.enabled = reader.boolean("task.restart.enable");
    }
    if is_set("task.restart.backoff.ms") {
        policy.backoff = reader.millis("task.restart.backoff.ms");
    }
    if is_set("task.restart.backoff.max.ms") {
        policy.backoff_max = reader.millis("task.restart.backoff.max.ms");
    }
    if is_set("task.restart.failures.max") {
        policy.failures_max = reader.count("task.restart.failures.max");
    }
    if is_set("task.restart.failures.window.ms") {
        policy.window = reader.millis("task.restart.failures.window.ms");
    }
    policy
}

/// The connector's factory, or the problem with its class; none if the class is missing, which is
/// reported with the other missing keys.
fn factory(settings: &Settings) -> Result<Box<dyn ConnectorFactory>, Option<Problem>> {
    let class = settings.text("connector.class").map(str::trim);
    let Some(class) = class.filter(|class| !class.is_empty()) else {
        return Err(None);
    };
    connect_core::plugin::find(class)
        .map_err(|error| Some(settings.problem("connector.class", error.report())))
}

fn check_name(reader: &mut TableReader<'_>, settings: &Settings) {
    let name = settings.text("name").unwrap_or_default();
    if let Some(control) = name.chars().find(|symbol| symbol.is_control()) {
        let message = format!(
            "expected a name without control characters, got one with {}",
            control.escape_unicode()
        );
        reader.problems.push(settings.problem("name", message));
    }
}

fn check_plugin(reader: &mut TableReader<'_>, settings: &Settings, factory: &dyn ConnectorFactory) {
    let definition = factory.config();
    for key in definition.keys.iter().filter(|key| key.secret) {
        secrets::learn(settings.text(&key.name).unwrap_or_default());
    }
    let map = settings.to_map();
    for problem in factory.validate(&map) {
        let message = with_value(&problem);
        reader
            .problems
            .push(settings.problem(&problem.key, message));
    }
    let mut prefixes = PREFIXES.to_vec();
    prefixes.extend(definition.prefixes.iter().map(AsRef::as_ref));
    let own: Vec<String> = definition
        .keys
        .iter()
        .map(|key| key.name.to_string())
        .collect();
    reader.check_unknown(&prefixes, &own);
}

fn with_value(problem: &connect_core::Problem) -> String {
    match &problem.value {
        Some(value) => format!("{}, got \"{}\"", problem.message, value.escape_debug()),
        None => problem.message.clone(),
    }
}

fn check_transforms(reader: &mut TableReader<'_>, settings: &Settings) {
    let findings = crate::transforms::check(&settings.to_map());
    for problem in &findings.errors {
        let message = with_value(problem);
        reader
            .problems
            .push(settings.problem(&problem.key, message));
    }
    for problem in &findings.warnings {
        let message = with_value(problem);
        reader
            .problems
            .push(settings.key_warning(&problem.key, message));
    }
}

fn check_converters(reader: &mut TableReader<'_>, settings: &Settings) {
    for role in ["key", "value", "header"] {
        let key = format!("{role}.converter");
        let Some(class) = settings.text(&key) else {
            continue;
        };
        let config = settings.with_prefix(&format!("{key}."));
        for problem in crate::converters::check(role, class, &config) {
            let (key, message) = match problem.key.as_str() {
                "" => (key.clone(), problem.message),
                own => (format!("{key}.{own}"), problem.message),
            };
            reader.problems.push(settings.problem(&key, message));
        }
    }
}

/// Judges the overrides of each client that the connector uses, as Kafka does.
fn check_clients(
    reader: &mut TableReader<'_>,
    settings: &Settings,
    worker: &WorkerConfig,
    config: &ConnectorConfig,
) {
    let client = kafka_client::ClientConfig::new(["localhost:9092"]);
    let is_source = config.kind == ConnectorKind::Source;
    let has_dead_letters = config.errors.dead_letters.is_some();
    let creates_topics = config.topic_creation.is_some() || has_dead_letters;
    let mut producer = source_producer(client.clone());
    // The worker's own problems were reported when it was started.
    producer.apply(&worker.producer);
    let mut producer_problems = producer.apply(&config.producer);
    producer_problems.extend(producer.contradiction());
    let mut consumer = sink_consumer(client.clone(), &config.name);
    consumer.apply(&worker.consumer);
    let mut consumer_problems = consumer.apply(&config.consumer);
    consumer_problems.extend(consumer.contradiction());
    let clients = [
        (
            "producer",
            is_source || has_dead_letters,
            &config.producer,
            producer_problems,
        ),
        ("consumer", !is_source, &config.consumer, consumer_problems),
        (
            "admin",
            creates_topics,
            &config.admin,
            AdminSettings::new(client).apply(&config.admin),
        ),
    ];
    for (role, is_used, keys, problems) in clients {
        let whole = |key: &str| format!("{role}.override.{key}");
        if !is_used {
            let unused = keys.keys().map(|key| {
                let message = format!("has no effect; this connector uses no {role} client");
                settings.key_warning(&whole(key), message)
            });
            reader.problems.extend(unused);
            continue;
        }
        for key in keys.keys() {
            if let Some(refusal) = worker.client_overrides.refusal(key) {
                reader.problems.push(settings.problem(&whole(key), refusal));
            }
        }
        for ClientKeyProblem {
            key,
            message,
            is_error,
        } in problems
        {
            let key = whole(&key);
            reader.problems.push(match is_error {
                true => settings.problem(&key, message),
                false => settings.key_warning(&key, message),
            });
        }
    }
}

fn converter(settings: &Settings, role: &str, inherited: &ConverterConfig) -> ConverterConfig {
    let key = format!("{role}.converter");
    match settings.text(&key) {
        Some(class) => ConverterConfig {
            class: class.trim().to_owned(),
            config: settings.with_prefix(&format!("{key}.")),
        },
        None => inherited.clone(),
    }
}

fn topic_creation(
    reader: &mut TableReader<'_>,
    settings: &Settings,
    worker: &WorkerConfig,
    kind: ConnectorKind,
) -> Option<TopicCreation> {
    if kind == ConnectorKind::Sink {
        return None;
    }
    let rules = topic_creation::read(settings, &mut reader.problems);
    if worker.topic_creation {
        return rules;
    }
    topic_creation::without_effect(settings, &mut reader.problems);
    None
}

fn errors(reader: &TableReader<'_>) -> ErrorPolicy {
    ErrorPolicy {
        tolerate_all: reader
            .text("errors.tolerance")
            .is_some_and(|tolerance| tolerance.eq_ignore_ascii_case("all")),
        retry_timeout: u64::try_from(reader.integer("errors.retry.timeout"))
            .ok()
            .map(Duration::from_millis),
        retry_delay_max: reader.millis("errors.retry.delay.max.ms"),
        log: reader.boolean("errors.log.enable"),
        log_messages: reader.boolean("errors.log.include.messages"),
        dead_letters: dead_letters(reader),
        rate: rate(reader),
    }
}

fn rate(reader: &TableReader<'_>) -> Option<RatePolicy> {
    let percent_max = u8::try_from(reader.integer(RATE)).ok();
    Some(RatePolicy {
        percent_max: percent_max.filter(|percent| *percent < 100)?,
        window: reader.millis(RATE_WINDOW),
        records_min: u64::try_from(reader.integer(RATE_RECORDS)).ok()?,
    })
}

fn check_rate(reader: &mut TableReader<'_>, settings: &Settings, config: &ConnectorConfig) {
    if config.errors.rate.is_some() && !config.errors.tolerate_all {
        let message = "has no effect while errors.tolerance is \"none\", because the first bad record fails \
                       the task; set it to \"all\"";
        reader.problems.push(settings.key_warning(RATE, message));
    }
}

fn dead_letters(reader: &TableReader<'_>) -> Option<DeadLetterConfig> {
    let topic = reader.owned(DEAD_LETTER_TOPIC);
    let factor = reader.integer("errors.deadletterqueue.topic.replication.factor");
    (!topic.is_empty()).then(|| DeadLetterConfig {
        topic,
        replication_factor: i16::try_from(factor).unwrap_or(-1),
        context_headers: reader.boolean("errors.deadletterqueue.context.headers.enable"),
    })
}

fn check_dead_letters(reader: &mut TableReader<'_>, settings: &Settings, config: &ConnectorConfig) {
    let Some(DeadLetterConfig { topic, .. }) = &config.errors.dead_letters else {
        return;
    };
    if !is_topic_name(topic) {
        let message = format!("expected {TOPIC_NAME}, got \"{}\"", topic.escape_debug());
        reader
            .problems
            .push(settings.problem(DEAD_LETTER_TOPIC, message));
    }
    let is_read = match &config.topics {
        Topics::Names(names) => names.contains(topic),
        // As Kafka matches topics: the whole name.
        Topics::Pattern(pattern) => regex::Regex::new(&format!("^(?:{pattern})$"))
            .is_ok_and(|pattern| pattern.is_match(topic)),
    };
    if is_read {
        let message = format!(
            "expected another topic than those the connector reads, got \"{topic}\"; bad records would \
             come back for ever"
        );
        reader
            .problems
            .push(settings.problem(DEAD_LETTER_TOPIC, message));
    }
    if !config.errors.tolerate_all {
        let message = "has no effect while errors.tolerance is \"none\", because a bad record fails the \
                       task; set it to \"all\"";
        reader
            .problems
            .push(settings.key_warning(DEAD_LETTER_TOPIC, message));
    }
}

fn topics(reader: &mut TableReader<'_>, settings: &Settings, kind: ConnectorKind) -> Topics {
    let names = reader.list("topics");
    if kind == ConnectorKind::Source {
        return Topics::Names(Vec::new());
    }
    let pattern = settings
        .text("topics.regex")
        .map(str::trim)
        .filter(|text| !text.is_empty());
    let misnamed = names.iter().filter(|name| !is_topic_name(name));
    let misnamed = misnamed.map(|name| {
        let message = format!("expected {TOPIC_NAME}, got \"{}\"", name.escape_debug());
        settings.problem("topics", message)
    });
    reader.problems.extend(misnamed);
    let twice = names.iter().enumerate();
    let twice = twice.filter(|(index, name)| names.iter().take(*index).any(|other| other == *name));
    let twice = twice.map(|(_, name)| {
        let message = format!(
            "expected every topic once, got \"{}\" twice",
            name.escape_debug()
        );
        settings.problem("topics", message)
    });
    reader.problems.extend(twice);
    if let Some(Err(error)) = pattern.map(regex::Regex::new) {
        // The last line says what is wrong, those before draw where.
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default();
        let reason = reason.trim_start_matches("error: ");
        let message = format!("expected a regular expression: {reason}");
        reader
            .problems
            .push(settings.problem("topics.regex", message));
    }
    match (names.is_empty(), pattern) {
        (false, None) => Topics::Names(names),
        (true, Some(pattern)) => Topics::Pattern(pattern.to_owned()),
        (false, Some(pattern)) => {
            let message = "expected either topics or topics.regex, got both; remove one";
            reader
                .problems
                .push(settings.problem("topics.regex", message));
            Topics::Pattern(pattern.to_owned())
        }
        (true, None) => {
            let message = "expected the topics to read, got nothing; set topics or topics.regex";
            reader.problems.push(settings.problem("topics", message));
            Topics::Names(names)
        }
    }
}

const TOPIC_NAME: &str = "topics whose names are up to 249 letters, digits, '.', '_' and '-'";

/// What brokers accept.
fn is_topic_name(name: &str) -> bool {
    let legal = |symbol: char| symbol.is_ascii_alphanumeric() || "._-".contains(symbol);
    name.len() <= 249 && !matches!(name, "." | "..") && name.chars().all(legal)
}

fn initial_state(reader: &mut TableReader<'_>, settings: &Settings) -> InitialState {
    let Some(entry) = settings.initial_state() else {
        return InitialState::Running;
    };
    match entry.text.to_ascii_uppercase().as_str() {
        "RUNNING" => InitialState::Running,
        "PAUSED" => InitialState::Paused,
        "STOPPED" => InitialState::Stopped,
        other => {
            let message = format!("expected RUNNING, PAUSED or STOPPED, got \"{other}\"");
            let origin = Some(entry.value_origin.clone());
            reader
                .problems
                .push(Problem::error(origin, Some("initial_state"), message));
            InitialState::Running
        }
    }
}
