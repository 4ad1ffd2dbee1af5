//! What a connector would do, in a few lines.

use connect_core::{ConnectorKind, plugin};
use connect_runtime::config::connector::{InitialState, Topics};

use super::{Explained, keys};
use crate::listing::plain;

/// A line: what it is about, and what is so.
pub(super) type Line = (&'static str, String);

/// The lines.
pub(super) fn of(explained: &Explained) -> Vec<Line> {
    let lines = [
        ("connector", connector(explained)),
        ("starts", starts(explained)),
        ("topics", topics(explained)),
        ("converters", converters(explained)),
        ("transforms", transforms(explained)),
        ("bad records", bad_records(explained)),
        ("delivery", delivery(explained)),
    ];
    lines.map(|(name, text)| (name, plain(&text))).into()
}

fn connector(explained: &Explained) -> String {
    let config = &explained.config;
    let version = plugin::find(&config.class).map(|found| found.version());
    format!(
        "{} \"{}\", {} {}, {}",
        config.kind,
        config.name,
        config.class,
        version.unwrap_or("of an unknown version"),
        match config.tasks_max {
            1 => "one task".to_owned(),
            most => format!("at most {most} tasks"),
        }
    )
}

fn starts(explained: &Explained) -> String {
    match explained.config.initial_state {
        InitialState::Running => "running",
        InitialState::Paused => "paused, until it is resumed",
        InitialState::Stopped => "stopped, until it is resumed",
    }
    .to_owned()
}

fn topics(explained: &Explained) -> String {
    let config = &explained.config;
    if config.kind == ConnectorKind::Source {
        let settings = &explained.settings;
        let named = ["topic", "topics", "topic.prefix"]
            .into_iter()
            .find_map(|key| Some((key, settings.text(key)?)));
        return match named {
            Some(("topic.prefix", prefix)) => format!("writes to those that begin with {prefix}"),
            Some((_, topic)) => format!("writes to {topic}, unless a transform sends it elsewhere"),
            None => "writes to those that the connector chooses".to_owned(),
        };
    }
    let read = match &config.topics {
        Topics::Names(names) => names.join(", "),
        Topics::Pattern(pattern) => format!("those whose names match {pattern}, also later ones"),
    };
    let default = format!("connect-{}", config.name);
    let group = config.consumer.get("group.id");
    let group = group.or_else(|| explained.worker.config.consumer.get("group.id"));
    format!("reads {read}, as group {}", group.unwrap_or(&default))
}

fn converters(explained: &Explained) -> String {
    let config = &explained.config;
    let text = |role: &str, class: &str| {
        let own = explained
            .settings
            .get(&format!("{role}.converter"))
            .is_some();
        match own || explained.worker.settings.is_some() {
            true => format!("{role} {}", class.rsplit('.').next().unwrap_or(class)),
            false => format!("{role} the worker's"),
        }
    };
    [
        text("key", &config.key_converter.class),
        text("value", &config.value_converter.class),
        text("header", &config.header_converter.class),
    ]
    .join(", ")
}

fn transforms(explained: &Explained) -> String {
    let settings = &explained.settings;
    let step = |alias: String| {
        let key = |name: &str| settings.text(&format!("transforms.{alias}.{name}"));
        let class = key("type").unwrap_or_default();
        let class = class.rsplit('.').next().unwrap_or(class);
        let negated = key("negate").is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
        match (key("predicate"), negated) {
            (None, _) => format!("{alias} ({class})"),
            (Some(predicate), false) => format!("{alias} ({class} if {predicate})"),
            (Some(predicate), true) => format!("{alias} ({class} if not {predicate})"),
        }
    };
    let steps: Vec<String> = keys::names(settings, "transforms")
        .into_iter()
        .map(step)
        .collect();
    match steps.is_empty() {
        true => "none".to_owned(),
        false => steps.join(", then "),
    }
}

fn bad_records(explained: &Explained) -> String {
    let errors = &explained.config.errors;
    let stop = errors.rate.as_ref().filter(|_| errors.tolerate_all);
    let stop = stop.map(|rate| {
        format!(
            "; more than {} % of at least {} within {:?} stop the task",
            rate.percent_max, rate.records_min, rate.window
        )
    });
    let treated = match (errors.tolerate_all, &errors.dead_letters) {
        (false, _) => "fail the task, which is restarted with ever longer pauses".to_owned(),
        (true, None) => {
            "are skipped and gone; set errors.deadletterqueue.topic.name to keep them".to_owned()
        }
        (true, Some(queue)) => format!(
            "are skipped and kept in topic {}, {} headers that say why",
            queue.topic,
            match queue.context_headers {
                true => "with",
                false => "without",
            }
        ),
    };
    treated + &stop.unwrap_or_default()
}

/// Sources and sinks alike: what the worker promises, whatever a connector adds to it.
fn delivery(explained: &Explained) -> String {
    let again = match &explained.worker.settings {
        Some(_) => format!(
            "after a crash, what came since the last commit comes again (every {} ms)",
            explained.worker.config.offset_flush_interval.as_millis()
        ),
        None => "after a crash, what came since the last commit comes again \
                 (offset.flush.interval.ms of the worker)"
            .to_owned(),
    };
    match explained.config.errors.tolerate_all {
        true => format!("at least once, but for records that are skipped; {again}"),
        false => format!("at least once; {again}"),
    }
}
