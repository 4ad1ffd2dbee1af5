//! `/connector-plugins/{plugin}/config/validate`: whether a configuration is right, key by key, and which
//! keys there are with it: those of its transforms, predicates and converters are among them.

use axum::Json;
use axum::extract::{Path, State};
use connect_core::config::{ConfigDef, ConfigKey, ConfigType, Importance, Width};
use connect_core::{
    ConfigMap, ConnectorFactory, ConnectorKind, Problem, converter, plugin, transform,
};
use serde_json::{Value, json};

use super::Rest;
use super::body::{self, Object};
use super::failure::Failure;
use super::plugins;
use crate::config::worker::WorkerConfig;
use crate::config::{Problems, Settings, is_secret_key, list, topic_creation};
use crate::connector;

/// `PUT /connector-plugins/{plugin}/config/validate`: 200 also for a configuration that is wrong.
pub(super) async fn show(
    State(rest): State<Rest>,
    Path(name): Path<String>,
    Object(fields): Object,
) -> Result<Json<Value>, Failure> {
    let map = body::config(fields)?;
    let Some(class) = map.get("connector.class") else {
        return Err(Failure::bad_request(
            "Connector config must contain the key connector.class",
        ));
    };
    let factory = plugin::find(class).map_err(|error| Failure::bad_request(error.report()))?;
    if plugin::find(&name).map(|asked| asked.class()).ok() != Some(factory.class()) {
        return Err(Failure::bad_request(format!(
            "Included connector type {class} does not match request type {name}"
        )));
    }
    let problems = problems(&rest, &map, &*factory).await?;
    let definition = definition(&*factory, &map, rest.worker.config());
    let mut configs = definition.config_infos(&map, &problems);
    // As in Kafka, a mistake in a key that nobody defines has no definition.
    let others = problems
        .iter()
        .filter(|problem| definition.key(&problem.key).is_none());
    configs.extend(others.map(|problem| {
        json!({
            "definition": null,
            "value": {
                "name": problem.key, "value": null, "recommended_values": [],
                "errors": [problem.message], "visible": true,
            },
        })
    }));
    Ok(Json(json!({
        "name": class,
        "error_count": problems.len(),
        "groups": groups(&definition),
        "configs": configs,
    })))
}

async fn problems(
    rest: &Rest,
    map: &ConfigMap,
    factory: &dyn ConnectorFactory,
) -> Result<Vec<Problem>, Failure> {
    let settings = Settings::from_map("request", map);
    let (worker, doing) = (
        rest.worker.clone(),
        format!("reading a configuration of {}", factory.class()),
    );
    let read = rest.finish(doing, async move { Ok(worker.read(settings).await) });
    match read.await? {
        Err(Problems(problems)) => Ok(problems
            .iter()
            .filter(|problem| problem.is_error())
            .map(|problem| Problem::new(problem.key().unwrap_or_default(), problem.message()))
            .collect()),
        Ok((config, _)) => {
            let ask = async move {
                let problems = connector::validate(&config).await;
                problems.map_err(|failure| Failure::internal(failure.message))
            };
            let doing = format!("validating a configuration of {}", factory.class());
            rest.finish(doing, ask).await
        }
    }
}

fn groups(definition: &ConfigDef) -> Vec<&str> {
    let mut groups: Vec<&str> = Vec::new();
    for group in definition
        .keys
        .iter()
        .filter_map(|key| key.group.as_deref())
    {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

/// All keys that there are with this configuration, in Kafka's order.
fn definition(factory: &dyn ConnectorFactory, map: &ConfigMap, worker: &WorkerConfig) -> ConfigDef {
    let mut definition = plugins::of_every(factory.kind());
    offer_converters(&mut definition, map, worker);
    offer(
        &mut definition,
        "connector.plugin.version",
        Some(factory.version()),
        &[factory.version()],
    );
    definition.extend(ConfigDef::new(transform_keys(map)));
    definition.extend(ConfigDef::new(predicate_keys(map)));
    if factory.kind() == ConnectorKind::Source && worker.topic_creation {
        definition.extend(topic_creation::definition(map));
    }
    definition.extend(factory.config());
    definition.extend(ConfigDef::new(converter_keys(map)));
    definition.extend(ConfigDef::new(client_keys(map)));
    definition
}

/// The worker's converters are the defaults here, and every other one may be chosen. Each has one
/// version.
fn offer_converters(definition: &mut ConfigDef, map: &ConfigMap, worker: &WorkerConfig) {
    let converters: Vec<&str> = converter::list().iter().map(|found| found.class).collect();
    let headers = converter::list_header();
    let headers: Vec<&str> = headers.iter().map(|found| found.class).collect();
    for (role, of_worker) in [
        ("key", &worker.key_converter),
        ("value", &worker.value_converter),
        ("header", &worker.header_converter),
    ] {
        let found = |name: &str| match role {
            "header" => converter::header_info(name).map(|it| (it.class, it.version)),
            _ => converter::info(name).map(|it| (it.class, it.version)),
        };
        let classes = match role {
            "header" => &headers,
            _ => &converters,
        };
        let name = format!("{role}.converter");
        let default = found(&of_worker.class).ok();
        offer(definition, &name, default.map(|(class, _)| class), classes);
        let used = map.get(&name).map_or(default, |class| found(class).ok());
        let version = used.map(|(_, version)| version);
        let versions = version.as_slice();
        offer(
            definition,
            &format!("{name}.plugin.version"),
            version,
            versions,
        );
    }
}

/// What is used for a key where nothing is given, and what may be.
fn offer(definition: &mut ConfigDef, name: &str, default: Option<&str>, choices: &[&'static str]) {
    if let Some(key) = definition.keys.iter_mut().find(|key| key.name == name) {
        key.default = default.map(str::to_owned);
        key.choices = choices.iter().map(|choice| (*choice).into()).collect();
    }
}

fn transform_keys(map: &ConfigMap) -> Vec<ConfigKey> {
    let classes = transform::list();
    let classes: Vec<&str> = classes.iter().map(|found| found.class).collect();
    let mut keys = Vec::new();
    for alias in aliases(map, "transforms") {
        let (prefix, group) = (
            format!("transforms.{alias}."),
            format!("Transforms: {alias}"),
        );
        let class = map.get(&format!("{prefix}type"));
        let found = class.and_then(|class| transform::find(class).ok());
        let version = found.map(|found| found.version);
        keys.extend(class_keys(
            &prefix,
            &group,
            "Transformation",
            &alias,
            &classes,
            version,
        ));
        if let Some(found) = found {
            keys.extend(under(&prefix, Some(&group), (found.definition)()));
        }
        let predicate = "The name of the predicate that says to which records it is applied.";
        let negate = "Whether it is applied to all other records.";
        let own = vec![
            ConfigKey::new("predicate", ConfigType::String, predicate),
            ConfigKey {
                default: Some("false".to_owned()),
                ..ConfigKey::new("negate", ConfigType::Boolean, negate)
            },
        ];
        keys.extend(under(&prefix, Some(&group), ConfigDef::new(own)));
    }
    keys
}

fn predicate_keys(map: &ConfigMap) -> Vec<ConfigKey> {
    let classes = transform::list_predicates();
    let classes: Vec<&str> = classes.iter().map(|found| found.class).collect();
    let mut keys = Vec::new();
    for alias in aliases(map, "predicates") {
        let (prefix, group) = (
            format!("predicates.{alias}."),
            format!("Predicates: {alias}"),
        );
        let class = map.get(&format!("{prefix}type"));
        let found = class.and_then(|class| transform::find_predicate(class).ok());
        let version = found.map(|found| found.version);
        keys.extend(class_keys(
            &prefix,
            &group,
            "Predicate",
            &alias,
            &classes,
            version,
        ));
        if let Some(found) = found {
            keys.extend(under(&prefix, Some(&group), (found.definition)()));
        }
    }
    keys
}

/// The names in a list, each once.
fn aliases(map: &ConfigMap, key: &str) -> Vec<String> {
    let mut aliases = list(map.get(key).map(String::as_str).unwrap_or_default());
    let mut seen = std::collections::BTreeSet::new();
    aliases.retain(|alias| seen.insert(alias.clone()));
    aliases
}

/// The class of a transform or predicate, and its version, which has no effect.
fn class_keys(
    prefix: &str,
    group: &str,
    what: &str,
    alias: &str,
    classes: &[&'static str],
    version: Option<&'static str>,
) -> Vec<ConfigKey> {
    let key = |name: &str, kind, doc: String| ConfigKey {
        importance: Importance::High,
        group: Some(group.to_owned().into()),
        width: Width::Long,
        ..ConfigKey::new(format!("{prefix}{name}"), kind, doc)
    };
    let class = ConfigKey {
        required: true,
        display_name: Some(format!("{what} type for {alias}").into()),
        choices: classes.iter().map(|class| (*class).into()).collect(),
        ..key(
            "type",
            ConfigType::Class,
            format!("The class of \"{alias}\"."),
        )
    };
    let why = "Has no effect here: plugins are compiled into the program.";
    let version = ConfigKey {
        display_name: Some(format!("{what} version for {alias}").into()),
        default: version.map(str::to_owned),
        choices: version.map(Into::into).into_iter().collect(),
        ..key("plugin.version", ConfigType::String, why.to_owned())
    };
    vec![class, version]
}

/// The own keys of the converters that the connector names.
fn converter_keys(map: &ConfigMap) -> Vec<ConfigKey> {
    let mut keys = Vec::new();
    for role in ["key", "value", "header"] {
        let Some(class) = map.get(&format!("{role}.converter")) else {
            continue;
        };
        let definition = match role {
            "header" => converter::find_header(class).map(|found| found.config()),
            _ => converter::find(class).map(|found| found.config()),
        };
        if let Ok(definition) = definition {
            keys.extend(under(&format!("{role}.converter."), None, definition));
        }
    }
    keys
}

/// What the connector says about its clients.
fn client_keys(map: &ConfigMap) -> Vec<ConfigKey> {
    let clients = ["producer", "consumer", "admin"];
    let is_override = |name: &str| {
        let mut clients = clients.iter();
        clients.any(|client| name.starts_with(&format!("{client}.override.")))
    };
    let names = map.keys().filter(|name| is_override(name));
    names
        .map(|name| {
            let doc = "A setting of the connector's own clients, instead of the worker's.";
            let mut key = ConfigKey::new(name.clone(), ConfigType::String, doc);
            key.secret = is_secret_key(name);
            key
        })
        .collect()
}

/// Keys as they are written below a prefix.
fn under(prefix: &str, group: Option<&str>, definition: ConfigDef) -> Vec<ConfigKey> {
    let one = |mut key: ConfigKey| {
        key.display_name = Some(key.display_name.unwrap_or(key.name.clone()));
        key.name = format!("{prefix}{}", key.name).into();
        if let Some(group) = group {
            key.group = Some(group.to_owned().into());
            key.order_in_group = None;
        }
        key
    };
    definition.keys.into_iter().map(one).collect()
}
