//! How forms show the framework's keys: in Kafka's order and groups, under Kafka's headings. Web
//! interfaces lay out their pages by it. What a key is for is said in our own words, with the key.

use connect_core::config::{ConfigDef, ConfigKey, ConfigType, Importance, Width};

use Importance::{High, Low, Medium};

/// How one key is shown.
struct Shown {
    name: &'static str,
    group: &'static str,
    order: i32,
    importance: Importance,
    width: Width,
    display_name: &'static str,
}

const fn shown(
    name: &'static str,
    group: &'static str,
    order: i32,
    importance: Importance,
    width: Width,
    display_name: &'static str,
) -> Shown {
    Shown {
        name,
        group,
        order,
        importance,
        width,
        display_name,
    }
}

const COMMON: &str = "Common";
const ERRORS: &str = "Error Handling";
const EXACTLY_ONCE: &str = "Exactly Once Support";

/// Kafka's keys in Kafka's order. Numbers are Kafka's, which has some of them twice.
#[rustfmt::skip]
const SHOWN: &[Shown] = &[
    shown("name", COMMON, 1, High, Width::Medium, "Connector name"),
    shown("connector.class", COMMON, 2, High, Width::Long, "Connector class"),
    shown("connector.plugin.version", COMMON, 3, Medium, Width::Medium, "Connector version"),
    shown("tasks.max", COMMON, 4, High, Width::Short, "Tasks max"),
    shown("tasks.max.enforce", COMMON, 5, Low, Width::Short, "Enforce tasks max"),
    shown("key.converter", COMMON, 6, Low, Width::Short, "Key converter class"),
    shown("key.converter.plugin.version", COMMON, 7, Low, Width::Short, "Key converter version"),
    shown("value.converter", COMMON, 8, Low, Width::Short, "Value converter class"),
    shown("value.converter.plugin.version", COMMON, 9, Low, Width::Short, "Value converter version"),
    shown("header.converter", COMMON, 10, Low, Width::Short, "Header converter class"),
    shown("header.converter.plugin.version", COMMON, 11, Low, Width::Short, "Header converter version"),
    shown("transforms", "Transforms", 12, Low, Width::Long, "Transforms"),
    shown("predicates", "Predicates", 13, Low, Width::Long, "Predicates"),
    shown("config.action.reload", COMMON, 14, Low, Width::Medium, "Reload Action"),
    shown("errors.retry.timeout", ERRORS, 1, Medium, Width::Medium, "Retry Timeout for Errors"),
    shown("errors.retry.delay.max.ms", ERRORS, 2, Medium, Width::Medium, "Maximum Delay Between Retries for Errors"),
    shown("errors.tolerance", ERRORS, 3, Medium, Width::Short, "Error Tolerance"),
    shown("errors.log.enable", ERRORS, 4, Medium, Width::Short, "Log Errors"),
    shown("errors.log.include.messages", ERRORS, 5, Medium, Width::Short, "Log Error Details"),
    shown("topics", COMMON, 4, High, Width::Long, "Topics"),
    shown("topics.regex", COMMON, 4, High, Width::Long, "Topics regex"),
    shown("errors.deadletterqueue.topic.name", ERRORS, 6, Medium, Width::Medium, "Dead Letter Queue Topic Name"),
    shown("errors.deadletterqueue.topic.replication.factor", ERRORS, 7, Medium, Width::Medium, "Dead Letter Queue Topic Replication Factor"),
    shown("errors.deadletterqueue.context.headers.enable", ERRORS, 8, Medium, Width::Medium, "Enable Error Context Headers"),
    shown("topic.creation.groups", "Topic Creation", 1, Low, Width::Long, "Topic Creation Groups"),
    shown("exactly.once.support", EXACTLY_ONCE, 2, Medium, Width::Short, "Exactly once support"),
    shown("transaction.boundary", EXACTLY_ONCE, 3, Medium, Width::Short, "Transaction Boundary"),
    shown("transaction.boundary.interval.ms", EXACTLY_ONCE, 4, Low, Width::Short, "Transaction boundary interval"),
    shown("offsets.storage.topic", "offsets.topic", 1, Low, Width::Long, "Offsets topic"),
];

/// Whether Kafka has the key, so that forms ask for it.
pub(super) fn is_shown(name: &str) -> bool {
    SHOWN.iter().any(|shown| shown.name == name)
}

fn place(key: &ConfigKey) -> usize {
    let known = SHOWN.iter().position(|shown| shown.name == key.name);
    known.unwrap_or(SHOWN.len())
}

/// Has the framework's keys shown as Kafka shows them; those that Kafka does not have come last.
pub(super) fn arrange(definition: &mut ConfigDef) {
    definition.keys.sort_by_key(place);
    for key in &mut definition.keys {
        let Some(shown) = SHOWN.get(place(key)) else {
            continue;
        };
        key.group = Some(shown.group.into());
        key.order_in_group = Some(shown.order);
        key.importance = shown.importance;
        key.width = shown.width;
        key.display_name = Some(shown.display_name.into());
        match shown.name {
            // A class by any of its names is text to Kafka, and that of a connector is no more.
            "connector.class" => key.kind = ConfigType::String,
            // Nothing, which Kafka has as empty text.
            "transforms" | "predicates" | "topics" | "topics.regex" => {
                key.default = Some(String::new());
            }
            // What these would be by default where they have an effect.
            "config.action.reload" => key.default = Some("restart".to_owned()),
            "exactly.once.support" => key.default = Some("requested".to_owned()),
            "transaction.boundary" => key.default = Some("poll".to_owned()),
            "transaction.boundary.interval.ms" => key.kind = ConfigType::Long,
            _ => {}
        }
    }
}
