//! `/connectors` and `/connectors/{connector}`: which there are, and their configurations.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use connect_core::ConfigMap;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::Rest;
use super::body::{self, Object};
use super::failure::Failure;
use super::status;
use crate::config::Settings;
use crate::config::connector::ConnectorConfig;
use crate::state::{State as RunState, WorkerStatus};

/// How long an answer about a new configuration waits for the tasks.
const DIVISION_PATIENCE: Duration = Duration::from_secs(2);

/// How often a patch begins anew because somebody else was faster.
const PATCHES_MAX: usize = 50;

/// `GET /connectors?expand=info&expand=status`
pub(super) async fn list(
    State(rest): State<Rest>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, Failure> {
    let asks = |what: &str| {
        query
            .iter()
            .any(|(key, value)| key == "expand" && value == what)
    };
    let (with_status, with_info) = (asks("status"), asks("info"));
    let names = rest.worker.names().await?;
    // Kafka ignores what it does not know, but not that something was asked for.
    if query.iter().all(|(key, _)| key != "expand") {
        return Ok(Json(json!(names)));
    }
    let mut all = Map::new();
    for name in names {
        let mut expanded = Map::new();
        // A connector that is deleted meanwhile is left out.
        let (Some(state), Ok(shown)) = (status::of(&rest, &name), info(&rest, &name).await) else {
            continue;
        };
        if with_status {
            let shape = status::shape(&rest, &name, &state);
            expanded.insert("status".to_owned(), shape);
        }
        if with_info {
            expanded.insert("info".to_owned(), shown);
        }
        all.insert(name, Value::Object(expanded));
    }
    Ok(Json(Value::Object(all)))
}

/// `POST /connectors`
pub(super) async fn create(
    State(rest): State<Rest>,
    Object(mut request): Object,
) -> Result<Response, Failure> {
    body::refuse_unknown(&request, &["name", "config", "initial_state"])?;
    let initial_state = body::text_field(&request, "initial_state")?;
    let name = body::text_field(&request, "name")?;
    let name = name
        .as_deref()
        .map(str::trim)
        .unwrap_or_default()
        .to_owned();
    let config = match request.remove("config") {
        Some(Value::Object(config)) => body::config(config)?,
        _ => {
            return Err(Failure::bad_request(
                "The field \"config\" must be an object with the connector's configuration",
            ));
        }
    };
    if name.is_empty() {
        return Err(Failure::bad_request(
            "The field \"name\" must be the connector's name",
        ));
    }
    let config = read(&rest, &name, config, initial_state.as_deref()).await?;
    let (worker, doing) = (rest.worker.clone(), format!("creating connector {name}"));
    rest.finish(doing, async move { Ok(worker.create(config).await?) })
        .await?;
    created(&rest, &name).await
}

/// `GET /connectors/{connector}`
pub(super) async fn show(
    State(rest): State<Rest>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Failure> {
    info(&rest, &name).await.map(Json)
}

/// `GET /connectors/{connector}/config`: as it was given, secrets included, as in Kafka.
pub(super) async fn config(
    State(rest): State<Rest>,
    Path(name): Path<String>,
) -> Result<Json<ConfigMap>, Failure> {
    let config = rest.worker.configuration(&name).await?;
    Ok(Json(config.map.clone()))
}

/// `PUT /connectors/{connector}/config`: creates or replaces.
pub(super) async fn put_config(
    State(rest): State<Rest>,
    Path(name): Path<String>,
    Object(fields): Object,
) -> Result<Response, Failure> {
    let config = read(&rest, &name, body::config(fields)?, None).await?;
    match rest.worker.names().await?.contains(&name) {
        true => update(&rest, &name, config).await,
        false => {
            let (worker, doing) = (rest.worker.clone(), format!("creating connector {name}"));
            rest.finish(doing, async move { Ok(worker.create(config).await?) })
                .await?;
            created(&rest, &name).await
        }
    }
}

/// `PATCH /connectors/{connector}/config`: null removes a key (KIP-477).
pub(super) async fn patch_config(
    State(rest): State<Rest>,
    Path(name): Path<String>,
    Object(changes): Object,
) -> Result<Response, Failure> {
    for _ in 0..PATCHES_MAX {
        let seen = rest.worker.configuration(&name).await?;
        let mut config = seen.map.clone();
        body::patch(&mut config, changes.clone())?;
        let config = read(&rest, &name, config, None).await?;
        let (worker, doing) = (rest.worker.clone(), format!("changing connector {name}"));
        let update = async move { Ok(worker.update_if(config, &seen).await?) };
        if rest.finish(doing, update).await? {
            return updated(&rest, &name).await;
        }
    }
    Err(Failure::new(
        StatusCode::CONFLICT,
        format!("Connector {name} is being changed by others all the time; try again"),
    ))
}

/// `DELETE /connectors/{connector}`: its offsets stay.
pub(super) async fn delete(
    State(rest): State<Rest>,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    let (worker, doing) = (rest.worker.clone(), format!("deleting connector {name}"));
    rest.finish(doing, async move { Ok(worker.remove(&name).await?) })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn update(rest: &Rest, name: &str, config: ConnectorConfig) -> Result<Response, Failure> {
    let (worker, doing) = (rest.worker.clone(), format!("changing connector {name}"));
    rest.finish(doing, async move { Ok(worker.update(config).await?) })
        .await?;
    updated(rest, name).await
}

async fn updated(rest: &Rest, name: &str) -> Result<Response, Failure> {
    divided(rest, name).await;
    Ok(Json(info(rest, name).await?).into_response())
}

/// Waits until a connector has divided its work, so that its tasks are in the answer as Kafka's are;
/// not for long, if its code takes its time.
async fn divided(rest: &Rest, name: &str) {
    let is_divided = |all: &WorkerStatus| {
        let status = all.get(name);
        status.is_none_or(|status| status.connector.state != RunState::Unassigned)
    };
    let mut statuses = rest.worker.watch();
    let divided = timeout(DIVISION_PATIENCE, statuses.wait_for(is_divided)).await;
    if divided.is_err() {
        tracing::info!(connector = name, "its tasks are not known yet");
    }
}

async fn created(rest: &Rest, name: &str) -> Result<Response, Failure> {
    let location = format!("/connectors/{}", encoded(name));
    divided(rest, name).await;
    let info = Json(info(rest, name).await?);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], info).into_response())
}

/// Kafka's `ConnectorInfo`.
async fn info(rest: &Rest, name: &str) -> Result<Value, Failure> {
    let config = rest.worker.configuration(name).await?;
    let tasks = rest.worker.task_configurations(name).await?.len();
    let task = |number| json!({"connector": name, "task": number});
    Ok(json!({
        "name": name,
        "config": config.map,
        "tasks": (0..tasks).map(task).collect::<Vec<Value>>(),
        "type": config.kind.name(),
    }))
}

/// Reads the configuration of a request, which may leave out the name.
async fn read(
    rest: &Rest,
    name: &str,
    mut config: ConfigMap,
    initial_state: Option<&str>,
) -> Result<ConnectorConfig, Failure> {
    if name != name.trim() {
        return Err(Failure::bad_request(format!(
            "The connector's name \"{name}\" must not begin or end with white space"
        )));
    }
    let configured = config
        .entry("name".to_owned())
        .or_insert_with(|| name.to_owned());
    if configured != name {
        return Err(Failure::bad_request(format!(
            "Connector name configuration ({configured}) doesn't match connector name in the URL ({name})"
        )));
    }
    let mut settings = Settings::from_map("request", &config);
    if let Some(state) = initial_state {
        settings = settings.with_initial_state(state);
    }
    let (worker, doing) = (
        rest.worker.clone(),
        format!("reading the configuration of {name}"),
    );
    let reading = async move {
        let read = worker.read(settings).await;
        read.map_err(|problems| Failure::invalid(&problems))
    };
    let (config, notes) = rest.finish(doing, reading).await?;
    for note in notes {
        tracing::warn!(connector = name, "{note}");
    }
    Ok(config)
}

/// A name as a part of a path.
fn encoded(name: &str) -> String {
    let part = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(part).collect()
}
