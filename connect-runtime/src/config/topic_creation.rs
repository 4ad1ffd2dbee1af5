//! `topic.creation.…` of a source (KIP-158): how topics are made that it writes to first.
//!
//! A connector without any such key leaves its topics to the broker. With one of them, `default` must
//! say how many partitions and replicas a topic gets; the groups of `topic.creation.groups` come before
//! it, in their order, each for the topics that one of its patterns matches as a whole and none of its
//! `exclude` does. As in Kafka, partitions and replicas are inherited from `default`, topic settings are
//! not, and `include` and `exclude` of `default` mean nothing. Messages are Kafka's.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use connect_core::ConfigMap;
use connect_core::config::{ConfigDef, ConfigKey, ConfigType};
use regex::Regex;

use super::keys::list;
use super::problem::{Problem, nearest};
use super::settings::Settings;

/// The key that names the groups.
pub(crate) const GROUPS: &str = "topic.creation.groups";
/// What all these keys start with.
pub(crate) const PREFIX: &str = "topic.creation.";

const DEFAULT: &str = "default";
const INCLUDE: &str = "include";
const EXCLUDE: &str = "exclude";
const PARTITIONS: &str = "partitions";
const REPLICATION_FACTOR: &str = "replication.factor";
const OWN_KEYS: [&str; 4] = [INCLUDE, EXCLUDE, PARTITIONS, REPLICATION_FACTOR];

/// The rules of one connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicCreation {
    /// The groups in the order they are asked; the last one is `default`, which takes what is left.
    pub groups: Vec<TopicGroup>,
}

/// How some of the topics are created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicGroup {
    /// Its name.
    pub name: String,
    /// Patterns for names of topics.
    pub include: Vec<String>,
    /// Patterns for those among them that are not meant.
    pub exclude: Vec<String>,
    /// Partitions; -1 is the broker's default.
    pub partitions: i32,
    /// Copies; -1 is the broker's default.
    pub replication_factor: i16,
    /// Settings of the topics.
    pub settings: BTreeMap<String, String>,
}

impl TopicGroup {
    /// What the broker would do by itself.
    pub(crate) const fn broker_default() -> Self {
        Self {
            name: String::new(),
            include: Vec::new(),
            exclude: Vec::new(),
            partitions: -1,
            replication_factor: -1,
            settings: BTreeMap::new(),
        }
    }

    /// Whether it is the group for whatever no other group takes.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.name == DEFAULT
    }
}

/// Reads the rules, if there are any, and adds what is wrong with them.
pub(super) fn read(settings: &Settings, problems: &mut Vec<Problem>) -> Option<TopicCreation> {
    if settings.with_prefix(PREFIX).is_empty() {
        return None;
    }
    let aliases = aliases(settings, problems);
    let default = group(settings, DEFAULT, None, problems);
    let mut groups: Vec<TopicGroup> = aliases
        .iter()
        .map(|alias| group(settings, alias, Some(&default), problems))
        .collect();
    groups.push(default);
    check_strangers(settings, &groups, problems);
    Some(TopicCreation { groups })
}

/// Says of every rule that the worker obeys none.
pub(super) fn without_effect(settings: &Settings, problems: &mut Vec<Problem>) {
    let keys = settings.iter().filter(|(key, _)| key.starts_with(PREFIX));
    problems.extend(keys.map(|(key, _)| {
        let message = "has no effect; topics are created by the broker, because the worker's \
                       topic.creation.enable is false";
        settings.key_warning(key, message)
    }));
}

fn aliases(settings: &Settings, problems: &mut Vec<Problem>) -> Vec<String> {
    let text = settings.text(GROUPS).unwrap_or_default();
    let mut names = list(text);
    let distinct: BTreeSet<&String> = names.iter().collect();
    if distinct.len() < names.len() {
        let message = invalid(
            GROUPS,
            &format!("[{}]", names.join(", ")),
            "Duplicate alias provided.",
        );
        problems.push(settings.problem(GROUPS, message));
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
    }
    if names.iter().any(|name| name == DEFAULT) {
        let message = "names \"default\", which always exists and need not be listed";
        problems.push(settings.key_warning(GROUPS, message));
        names.retain(|name| name != DEFAULT);
    }
    names
}

/// A group, or the default one if nothing is `inherited`. What is wrong in it reads as inherited.
fn group(
    settings: &Settings,
    name: &str,
    inherited: Option<&TopicGroup>,
    problems: &mut Vec<Problem>,
) -> TopicGroup {
    let key = |own: &str| format!("{PREFIX}{name}.{own}");
    let partitions = number(
        settings,
        &key(PARTITIONS),
        "INT",
        inherited.map(|group| group.partitions),
        "Number of partitions must be positive, or -1 to use the broker's default",
        problems,
    );
    let replication_factor = number(
        settings,
        &key(REPLICATION_FACTOR),
        "SHORT",
        inherited.map(|group| group.replication_factor),
        "Replication factor must be positive and not larger than the number of brokers in the Kafka \
         cluster, or -1 to use the broker's default",
        problems,
    );
    let include = patterns(settings, &key(INCLUDE), problems);
    let exclude = patterns(settings, &key(EXCLUDE), problems);
    match inherited {
        None => {
            for key in [key(INCLUDE), key(EXCLUDE)] {
                if settings.text(&key).is_some() {
                    let message = "has no effect; \"default\" is for all topics that no group of \
                                   topic.creation.groups takes";
                    problems.push(settings.key_warning(&key, message));
                }
            }
        }
        Some(_) if include.is_empty() => {
            let message = format!(
                "names \"{name}\", which takes no topic; set {}",
                key(INCLUDE)
            );
            problems.push(settings.key_warning(GROUPS, message));
        }
        Some(_) => {}
    }
    let mut others = settings.with_prefix(&key(""));
    others.retain(|key, _| !OWN_KEYS.contains(&key.as_str()));
    TopicGroup {
        name: name.to_owned(),
        include,
        exclude,
        partitions,
        replication_factor,
        settings: others.into_iter().collect(),
    }
}

fn number<N: FromStr + Copy + Into<i64> + From<i8>>(
    settings: &Settings,
    key: &str,
    kind: &str,
    inherited: Option<N>,
    rule: &str,
    problems: &mut Vec<Problem>,
) -> N {
    let fallback = inherited.unwrap_or(N::from(-1));
    let Some(text) = settings.text(key).map(str::trim) else {
        if inherited.is_none() {
            let message =
                format!("Missing required configuration \"{key}\" which has no default value.");
            problems.push(settings.problem(key, message));
        }
        return fallback;
    };
    let message = match text.parse::<N>() {
        Ok(number) if number.into() == -1 || number.into() >= 1 => return number,
        Ok(_) => invalid(key, text, rule),
        Err(_) => invalid(key, text, &format!("Not a number of type {kind}")),
    };
    problems.push(settings.problem(key, message));
    fallback
}

fn patterns(settings: &Settings, key: &str, problems: &mut Vec<Problem>) -> Vec<String> {
    let text = settings.text(key).unwrap_or_default();
    let patterns = list(text);
    let wrong = patterns
        .iter()
        .find_map(|pattern| pattern_of(pattern).err());
    if let Some(error) = wrong {
        // The last line says what is wrong, those before draw where.
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default();
        let reason = reason.trim_start_matches("error: ");
        let value = format!("[{}]", patterns.join(", "));
        let rule = format!("Syntax error in regular expression: {reason}");
        problems.push(settings.problem(key, invalid(key, &value, &rule)));
    }
    patterns
}

/// A pattern that takes whole names only, as in Kafka.
pub(crate) fn pattern_of(pattern: &str) -> Result<Regex, regex::Error> {
    // Alone first: what closes a group too many would be right between the others.
    Regex::new(pattern)?;
    Regex::new(&format!("^(?:{pattern})$"))
}

fn invalid(key: &str, value: &str, rule: &str) -> String {
    format!("Invalid value {value} for configuration {key}: {rule}")
}

/// Warns about rules of a group that is not listed.
fn check_strangers(settings: &Settings, groups: &[TopicGroup], problems: &mut Vec<Problem>) {
    let is_known = |key: &str| {
        groups.iter().any(|group| {
            key.strip_prefix(&group.name)
                .is_some_and(|own| own.starts_with('.'))
        })
    };
    for (key, _) in settings.iter() {
        let Some(rest) = key.strip_prefix(PREFIX) else {
            continue;
        };
        if key == GROUPS || is_known(rest) {
            continue;
        }
        let alias = rest.split('.').next().unwrap_or_default();
        let names = groups.iter().map(|group| group.name.as_str());
        let message = match nearest(alias, names) {
            Some(near) => format!(
                "has no effect, because topic.creation.groups does not name \"{alias}\"; did you mean \
                 \"{near}\"?"
            ),
            None => {
                format!("has no effect; add \"{alias}\" to topic.creation.groups if it is a group")
            }
        };
        problems.push(settings.key_warning(key, message));
    }
}

/// The keys that a configuration with such rules has beyond those of every source.
pub(crate) fn definition(config: &ConfigMap) -> ConfigDef {
    if !config.keys().any(|key| key.starts_with(PREFIX)) {
        return ConfigDef::default();
    }
    let listed = list(config.get(GROUPS).map(String::as_str).unwrap_or_default());
    let mut names = vec![DEFAULT.to_owned()];
    for name in listed {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    ConfigDef::new(
        names
            .iter()
            .flat_map(|name| group_keys(name, config))
            .collect(),
    )
}

fn group_keys(name: &str, config: &ConfigMap) -> Vec<ConfigKey> {
    let is_default = name == DEFAULT;
    let one = |own: &str, kind: ConfigType, doc: &'static str| {
        let mut key = ConfigKey::new(format!("{PREFIX}{name}.{own}"), kind, doc);
        key.group = Some("Topic Creation".into());
        if matches!(own, PARTITIONS | REPLICATION_FACTOR) {
            key.required = is_default;
            let inherited = format!("{PREFIX}{DEFAULT}.{own}");
            key.default = config.get(&inherited).filter(|_| !is_default).cloned();
        } else {
            let all = is_default && own == INCLUDE;
            key.default = Some(if all { ".*" } else { "" }.to_owned());
        }
        key
    };
    vec![
        one(
            INCLUDE,
            ConfigType::List,
            "Regular expressions for the whole names of the topics that are created by the rules of this group.",
        ),
        one(
            EXCLUDE,
            ConfigType::List,
            "Regular expressions for topics that are not, although included.",
        ),
        one(
            REPLICATION_FACTOR,
            ConfigType::Short,
            "Copies of a topic that is created; -1 is the broker's default.",
        ),
        one(
            PARTITIONS,
            ConfigType::Int,
            "Partitions of a topic that is created; -1 is the broker's default.",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(pairs: &[(&str, &str)]) -> (Option<TopicCreation>, Vec<Problem>) {
        let map = pairs
            .iter()
            .map(|(key, text)| (format!("{PREFIX}{key}"), (*text).to_owned()))
            .collect();
        let mut problems = Vec::new();
        let read = read(&Settings::from_map("test", &map), &mut problems);
        (read, problems)
    }

    #[test]
    fn a_connector_without_rules_leaves_its_topics_to_the_broker() {
        assert_eq!(rules(&[]), (None, Vec::new()));
    }

    #[test]
    fn groups_inherit_partitions_and_replicas_but_no_settings() {
        let (read, problems) = rules(&[
            ("groups", "logs, tables"),
            ("default.partitions", "3"),
            ("default.replication.factor", "-1"),
            ("default.retention.ms", "1000"),
            ("logs.include", "log-.*, audit"),
            ("logs.exclude", "log-debug"),
            ("logs.partitions", "-1"),
            ("tables.include", "table"),
            ("tables.replication.factor", "2"),
            ("tables.cleanup.policy", "compact"),
        ]);
        assert!(problems.is_empty(), "{problems:?}");
        let groups = read.unwrap().groups;
        let shape: Vec<_> = groups
            .iter()
            .map(|group| {
                (
                    group.name.as_str(),
                    group.partitions,
                    group.replication_factor,
                )
            })
            .collect();
        assert_eq!(
            shape,
            [("logs", -1, -1), ("tables", 3, 2), ("default", 3, -1)]
        );
        assert_eq!(groups[0].include, ["log-.*", "audit"]);
        assert!(groups[0].settings.is_empty());
        assert_eq!(groups[1].settings["cleanup.policy"], "compact");
        assert_eq!(groups[2].settings["retention.ms"], "1000");
    }

    #[test]
    fn every_mistake_is_told_in_kafka_s_words() {
        let (_, problems) = rules(&[
            ("groups", "a,a"),
            ("default.partitions", "0"),
            ("a.include", "(("),
            ("a.replication.factor", "70000"),
        ]);
        let messages: Vec<&str> = problems.iter().map(Problem::message).collect();
        assert_eq!(
            messages[..4],
            [
                "Invalid value [a, a] for configuration topic.creation.groups: Duplicate alias provided.",
                "Invalid value 0 for configuration topic.creation.default.partitions: Number of \
                 partitions must be positive, or -1 to use the broker's default",
                "Missing required configuration \"topic.creation.default.replication.factor\" which has \
                 no default value.",
                "Invalid value 70000 for configuration topic.creation.a.replication.factor: Not a number \
                 of type SHORT",
            ]
        );
        assert!(
            messages[4].starts_with(
                "Invalid value [((] for configuration topic.creation.a.include: Syntax error in regular \
                 expression: "
            ),
            "{}",
            messages[4]
        );
        assert!(problems.iter().all(Problem::is_error));
        assert_eq!(problems.len(), 5);
    }

    #[test]
    fn rules_that_mean_nothing_are_pointed_out() {
        let (_, problems) = rules(&[
            ("groups", "default,idle"),
            ("default.partitions", "1"),
            ("default.replication.factor", "1"),
            ("default.include", "x"),
            ("idel.partitions", "3"),
        ]);
        let text: Vec<String> = problems.iter().map(Problem::to_string).collect();
        let text = text.join("\n");
        for part in [
            "always exists",
            "takes no topic",
            "is for all topics",
            "did you mean \"idle\"?",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!problems.iter().any(Problem::is_error), "{text}");
    }

    #[test]
    fn the_groups_of_a_configuration_define_their_keys() {
        let config: ConfigMap = [(GROUPS, "a"), ("topic.creation.default.partitions", "5")]
            .map(|(key, text)| (key.to_owned(), text.to_owned()))
            .into();
        let definition = definition(&config);
        assert_eq!(definition.keys.len(), 8);
        let key = |name: &str| definition.key(name).unwrap();
        assert!(key("topic.creation.default.replication.factor").required);
        assert_eq!(
            key("topic.creation.a.partitions").default.as_deref(),
            Some("5")
        );
        assert!(super::definition(&ConfigMap::new()).keys.is_empty());
    }
}
