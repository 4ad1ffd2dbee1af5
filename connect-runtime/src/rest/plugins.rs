//! `/connector-plugins`: what is compiled in, its keys, and whether a configuration is right.

use axum::Json;
use axum::extract::{Path, Query, State};
use connect_core::config::ConfigDef;
use connect_core::{ConnectorFactory, ConnectorKind, Problem, converter, plugin, transform};
use serde_json::{Value, json};

use super::Rest;
use super::body::{self, Object};
use super::failure::Failure;
use super::version;
use crate::config::connector::{KEYS, SINK_KEYS, SOURCE_KEYS};
use crate::config::{self, Problems, Settings, topic_creation};
use crate::connector;

/// `GET /connector-plugins?connectorsOnly=true`
pub(super) async fn list(Query(query): Query<Vec<(String, String)>>) -> Json<Vec<Value>> {
    let all = query
        .iter()
        .any(|(key, value)| key == "connectorsOnly" && value.eq_ignore_ascii_case("false"));
    let shape = |class: &str, kind: &str, version: &str| json!({"class": class, "type": kind, "version": version});
    let connectors = plugin::list().into_iter();
    let mut plugins: Vec<Value> = connectors
        .map(|found| shape(found.class, found.kind.name(), found.version))
        .collect();
    if all {
        let converters = converter::list().into_iter();
        plugins.extend(converters.map(|found| shape(found.class, "converter", found.version)));
        let headers = converter::list_header().into_iter();
        plugins.extend(headers.map(|found| shape(found.class, "header_converter", found.version)));
        let transforms = transform::list().into_iter();
        plugins.extend(transforms.map(|found| shape(found.class, "transformation", found.version)));
        let predicates = transform::list_predicates().into_iter();
        plugins.extend(predicates.map(|found| shape(found.class, "predicate", found.version)));
    }
    Json(plugins)
}

/// `GET /connector-plugins/{plugin}/config?version`
pub(super) async fn config(
    Path(name): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Vec<Value>>, Failure> {
    let (definition, version) = described(&name)?;
    let asked = query.iter().filter(|(key, _)| key == "version");
    for (_, wanted) in asked {
        match version::is_wanted(wanted, version) {
            Some(true) => {}
            Some(false) => {
                return Err(Failure::bad_request(format!(
                    "Plugin {name} not found that matches the version range {wanted}, available \
                     versions: [{version}]"
                )));
            }
            None => {
                return Err(Failure::bad_request(format!(
                    "\"{wanted}\" is not a version; write one, latest, or a range such as [1.0,2.0)"
                )));
            }
        }
    }
    Ok(Json(definition.key_infos()))
}

/// The keys of any plugin, and its version.
fn described(name: &str) -> Result<(ConfigDef, &'static str), Failure> {
    let error = match plugin::find(name) {
        Ok(factory) => return Ok((definition(&*factory), factory.version())),
        Err(error) => error,
    };
    if let Ok(found) = converter::info(name) {
        return Ok(((found.make)().config(), found.version));
    }
    if let Ok(found) = converter::header_info(name) {
        return Ok(((found.make)().config(), found.version));
    }
    if let Ok(found) = transform::find(name) {
        return Ok(((found.definition)(), found.version));
    }
    if let Ok(found) = transform::find_predicate(name) {
        return Ok(((found.definition)(), found.version));
    }
    Err(Failure::not_found(format!(
        "Unknown plugin {name}. {}",
        error.report()
    )))
}

/// `PUT /connector-plugins/{plugin}/config/validate`: 200 also for a configuration that is wrong.
pub(super) async fn validate(
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
    let settings = Settings::from_map("request", &map);
    let (worker, doing) = (
        rest.worker.clone(),
        format!("reading a configuration of {name}"),
    );
    let read = rest.finish(doing, async move { Ok(worker.read(settings).await) });
    let problems = match read.await? {
        Err(Problems(problems)) => problems
            .iter()
            .filter(|problem| problem.is_error())
            .map(|problem| Problem::new(problem.key().unwrap_or_default(), problem.message()))
            .collect(),
        Ok((config, _)) => {
            let ask = async move {
                let problems = connector::validate(&config).await;
                problems.map_err(|failure| Failure::internal(failure.message))
            };
            let doing = format!("validating a configuration of {}", factory.class());
            rest.finish(doing, ask).await?
        }
    };
    let mut definition = definition(&*factory);
    if factory.kind() == ConnectorKind::Source && rest.worker.config().topic_creation {
        definition.extend(topic_creation::definition(&map));
    }
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
    Ok(Json(json!({
        "name": factory.class(),
        "error_count": problems.len(),
        "groups": groups,
        "configs": configs,
    })))
}

/// A connector's own keys, and those of every connector of its kind.
fn definition(factory: &dyn ConnectorFactory) -> ConfigDef {
    let mut definition = factory.config();
    definition.extend(config::definition(match factory.kind() {
        ConnectorKind::Source => &[KEYS, SOURCE_KEYS],
        ConnectorKind::Sink => &[KEYS, SINK_KEYS],
    }));
    definition
}
