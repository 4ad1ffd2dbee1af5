//! `/connector-plugins`: what is compiled in, and its keys.

use axum::Json;
use axum::extract::{Path, Query};
use connect_core::config::ConfigDef;
use connect_core::{ConnectorFactory, ConnectorKind, converter, plugin, transform};
use serde_json::{Value, json};

use super::failure::Failure;
use super::version;
use crate::config;
use crate::config::connector::{KEYS, SINK_KEYS, SOURCE_KEYS};

/// `GET /connector-plugins?connectorsOnly=true`
pub(super) async fn list(Query(query): Query<Vec<(String, String)>>) -> Json<Vec<Value>> {
    // As Kafka reads it, whatever is not true is false, but for nothing.
    let all = query.iter().any(|(key, value)| {
        key == "connectorsOnly" && !value.is_empty() && !value.eq_ignore_ascii_case("true")
    });
    let shape = |class: &str, kind: &str, version: &str| json!({"class": class, "type": kind, "version": version});
    let mut connectors = plugin::list();
    connectors.sort_by_key(|found| found.kind == ConnectorKind::Source);
    let mut plugins: Vec<Value> = connectors
        .into_iter()
        .map(|found| shape(found.class, found.kind.name(), found.version))
        .collect();
    if all {
        let transforms = transform::list().into_iter();
        plugins.extend(transforms.map(|found| shape(found.class, "transformation", found.version)));
        let predicates = transform::list_predicates().into_iter();
        plugins.extend(predicates.map(|found| shape(found.class, "predicate", found.version)));
        let converters = converter::list().into_iter();
        plugins.extend(converters.map(|found| shape(found.class, "converter", found.version)));
        let headers = converter::list_header().into_iter();
        plugins.extend(headers.map(|found| shape(found.class, "header_converter", found.version)));
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

/// A connector's own keys, and those of every connector of its kind.
fn definition(factory: &dyn ConnectorFactory) -> ConfigDef {
    let mut definition = factory.config();
    definition.extend(of_every(factory.kind()));
    definition
}

/// The keys of every connector of a kind.
pub(super) fn of_every(kind: ConnectorKind) -> ConfigDef {
    config::definition(match kind {
        ConnectorKind::Source => &[KEYS, SOURCE_KEYS],
        ConnectorKind::Sink => &[KEYS, SINK_KEYS],
    })
}
