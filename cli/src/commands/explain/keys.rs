//! Every key: what it is, and where that was said.

use connect_core::config::ConfigDef;
use connect_core::{ConnectorKind, converter, plugin, transform};
use connect_runtime::config::connector::{KEYS, SINK_KEYS, SOURCE_KEYS};
use connect_runtime::config::{Effect, Settings, is_secret_key};

use super::Explained;
use crate::listing::plain;

const HIDDEN: &str = "[hidden]";

/// One key.
pub(super) struct Row {
    pub(super) key: String,
    /// `None` where nothing is set and nothing holds instead.
    pub(super) value: Option<String>,
    pub(super) from: String,
}

/// A key that somebody reads.
struct Known {
    name: String,
    default: Option<String>,
    secret: bool,
}

/// What is written, in the order of the file; then what holds where nothing is written.
pub(super) fn of(explained: &Explained) -> Vec<Row> {
    let known = known(explained);
    let mut written: Vec<_> = explained.settings.iter().collect();
    written.sort_by_key(|(_, entry)| entry.key_origin.position);
    let mut rows: Vec<Row> = written
        .into_iter()
        .map(|(key, entry)| {
            let origin = entry.value_origin.to_string();
            match is_reference(&entry.text) {
                // What was written is no secret, only what it stands for.
                true => Row {
                    key: key.to_owned(),
                    value: Some(plain(&entry.text)),
                    from: format!("{origin}, {}", provided(explained, key)),
                },
                false => Row {
                    key: key.to_owned(),
                    value: Some(shown(&known, key, &entry.text)),
                    from: origin,
                },
            }
        })
        .collect();
    let absent = known
        .iter()
        .filter(|known| explained.settings.get(&known.name).is_none());
    let unwritten: Vec<Row> = absent
        .map(|key| inherited(explained, key).unwrap_or_else(|| by_default(key)))
        .collect();
    rows.extend(unwritten);
    rows
}

fn is_reference(text: &str) -> bool {
    text.contains("${")
}

fn shown(known: &[Known], key: &str, text: &str) -> String {
    let declared = known.iter().any(|known| known.secret && known.name == key);
    match (declared || is_secret_key(key)) && !text.is_empty() {
        true => HIDDEN.to_owned(),
        false => plain(text),
    }
}

/// What became of a reference.
fn provided(explained: &Explained, key: &str) -> &'static str {
    let config = &explained.config;
    match (
        &explained.worker.settings,
        config.map.get(key) != config.resolved.get(key),
    ) {
        (_, true) => "replaced by what its provider has, which is not shown",
        (Some(_), false) => "taken as it stands, no provider has it",
        (None, false) => "a reference; --worker FILE tells whether its provider has it",
    }
}

fn by_default(key: &Known) -> Row {
    let (value, from) = match &key.default {
        Some(text) if text.is_empty() => (Some("\"\"".to_owned()), "default"),
        Some(text) => (Some(plain(text)), "default"),
        None => (None, "not set"),
    };
    Row {
        key: key.name.clone(),
        value,
        from: from.to_owned(),
    }
}

/// Converters that the connector does not name are the worker's, and so are their keys.
fn inherited(explained: &Explained, key: &Known) -> Option<Row> {
    let role = ["key.converter", "value.converter", "header.converter"]
        .into_iter()
        .find(|role| {
            let rest = key.name.strip_prefix(role);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })?;
    if explained.settings.get(role).is_some() {
        return None;
    }
    let row = |value: Option<String>, from: String| Row {
        key: key.name.clone(),
        value,
        from,
    };
    let Some(settings) = &explained.worker.settings else {
        let from = "the worker's; --worker FILE shows it".to_owned();
        return Some(row(None, from));
    };
    let config = &explained.config;
    let class = match role {
        "key.converter" => &config.key_converter.class,
        "value.converter" => &config.value_converter.class,
        _ => &config.header_converter.class,
    };
    match (settings.get(&key.name), key.name == role) {
        (Some(entry), _) => {
            let text = match is_reference(&entry.text) {
                true => plain(&entry.text),
                false => shown(&[], &key.name, &entry.text),
            };
            Some(row(Some(text), entry.value_origin.to_string()))
        }
        (None, true) => Some(row(Some(class.clone()), "the worker's default".to_owned())),
        (None, false) => None,
    }
}

/// The keys of everybody who reads this configuration.
fn known(explained: &Explained) -> Vec<Known> {
    let config = &explained.config;
    let kind = match config.kind {
        ConnectorKind::Source => SOURCE_KEYS,
        ConnectorKind::Sink => SINK_KEYS,
    };
    let mut known: Vec<Known> = Vec::new();
    if let Ok(factory) = plugin::find(&config.class) {
        add(&mut known, "", factory.config());
    }
    let obeyed = KEYS
        .iter()
        .chain(kind)
        .filter(|key| key.effect == Effect::Full);
    known.extend(obeyed.map(|key| Known {
        name: key.name.to_owned(),
        default: key.default.map(str::to_owned),
        secret: false,
    }));
    // Which converters an unknown worker has, is unknown.
    let knows =
        |role: &str| explained.worker.settings.is_some() || explained.settings.get(role).is_some();
    for (role, class) in [
        ("key.converter", &config.key_converter.class),
        ("value.converter", &config.value_converter.class),
    ] {
        if let Some(found) = converter::info(class).ok().filter(|_| knows(role)) {
            add(&mut known, &format!("{role}."), (found.make)().config());
        }
    }
    if let Ok(found) = converter::header_info(&config.header_converter.class)
        && knows("header.converter")
    {
        add(&mut known, "header.converter.", (found.make)().config());
    }
    for (list, definition) in [
        (
            "transforms",
            transform_definition as fn(&str) -> Option<ConfigDef>,
        ),
        ("predicates", predicate_definition),
    ] {
        for alias in names(&explained.settings, list) {
            let prefix = format!("{list}.{alias}.");
            let class = explained.settings.text(&format!("{prefix}type"));
            if let Some(found) = class.and_then(definition) {
                add(&mut known, &prefix, found);
            }
        }
    }
    known
}

fn transform_definition(class: &str) -> Option<ConfigDef> {
    transform::find(class)
        .ok()
        .map(|found| (found.definition)())
}

fn predicate_definition(class: &str) -> Option<ConfigDef> {
    let found = transform::find_predicate(class).ok();
    found.map(|found| (found.definition)())
}

fn add(known: &mut Vec<Known>, prefix: &str, definition: ConfigDef) {
    let keys = definition.keys.into_iter().map(|key| Known {
        name: format!("{prefix}{}", key.name),
        default: key.default,
        secret: key.secret,
    });
    let new: Vec<Known> = keys
        .filter(|key| !known.iter().any(|other| other.name == key.name))
        .collect();
    known.extend(new);
}

/// The names in a list such as `transforms`.
pub(super) fn names(settings: &Settings, list: &str) -> Vec<String> {
    let text = settings.text(list).unwrap_or_default();
    let names = text.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}
