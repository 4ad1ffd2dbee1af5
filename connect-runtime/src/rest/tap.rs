//! `/connectors/{connector}/tap`: live records at any stage, a line of JSON each. Kafka Connect has no such
//! thing.
//!
//! The answer goes on until its client leaves, the connector is deleted or the worker stops. Lines with
//! `tap` are about the tap itself: the first says what will be seen, one says how many samples were lost
//! because they were not read in time, and one comes every few seconds without a sample, so that a client
//! that is gone is noticed.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};

use super::Rest;
use super::failure::Failure;
use crate::config::connector::ConnectorConfig;
use crate::config::list;
use crate::tap::{Line, READERS_MAX, Reading, Wish};
use crate::trace::Point;
use connect_core::ConnectorKind;

/// The most samples of a second: each is made on the thread of the task.
const RATE_MAX: u32 = 1000;
/// The most fields that are masked, and their bytes.
const MASK_BYTES_MAX: usize = 4096;

/// `GET /connectors/{connector}/tap?stage&task&every&rate&mask`
pub(super) async fn show(
    State(rest): State<Rest>,
    Path(name): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Failure> {
    let config = rest.worker.configuration(&name).await?;
    if !rest.worker.config().allows_taps() {
        return Err(Failure::new(
            StatusCode::FORBIDDEN,
            "records are not shown to everybody who can reach this worker; tap.enable=true of the worker \
             allows it",
        ));
    }
    let wish = wish(&query, &config).map_err(Failure::bad_request)?;
    let opened = json!({
        "tap": "open", "connector": name, "stages": stages(&config), "every": wish.every,
        "rate": wish.rate,
    });
    let reading = rest.worker.tap(&name, wish).map_err(|_| {
        Failure::new(
            StatusCode::TOO_MANY_REQUESTS,
            format!("{READERS_MAX} taps of this worker are read already; end one"),
        )
    })?;
    Ok(answer(opened, reading))
}

fn answer(opened: Value, reading: Reading) -> Response {
    let lines = stream::unfold(
        (Some(opened), Some(reading)),
        |(opened, reading)| async move {
            let mut reading = reading?;
            if let Some(opened) = opened {
                return Some((line(&opened.to_string()), (None, Some(reading))));
            }
            let text = match reading.next().await {
                Some(Line::Sample(text)) => text,
                Some(Line::Lost(count)) => json!({"tap": "lost", "samples": count}).to_string(),
                Some(Line::Quiet(count)) => json!({"tap": "quiet", "records": count}).to_string(),
                None => {
                    let reason = "the connector was deleted, or the worker stops";
                    let ended = json!({"tap": "ended", "reason": reason});
                    return Some((line(&ended.to_string()), (None, None)));
                }
            };
            Some((line(&text), (None, Some(reading))))
        },
    );
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(lines)).into_response()
}

fn line(text: &str) -> Result<Bytes, Infallible> {
    Ok(Bytes::from(format!("{text}\n")))
}

/// The stages of a connector, in the order in which records pass them.
fn stages(config: &ConnectorConfig) -> Vec<String> {
    let transforms = config.resolved.get("transforms").map(String::as_str);
    let transforms = list(transforms.unwrap_or_default()).into_iter();
    let transforms = transforms.map(|alias| format!("transform:{alias}"));
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let (mut before, after): (Vec<String>, Vec<String>) = match config.kind {
        ConnectorKind::Source => (names(&["polled"]), names(&["sent"])),
        ConnectorKind::Sink => (names(&["consumed", "converted"]), names(&["put"])),
    };
    before.extend(transforms);
    before.extend(after);
    before
}

fn wish(query: &[(String, String)], config: &ConnectorConfig) -> Result<Wish, String> {
    let mut wish = Wish::default();
    for (key, text) in query {
        match key.as_str() {
            "stage" => wish.stages.extend(list(text)),
            "task" => wish.task = Some(number(key, text, 0, u32::MAX)?),
            "every" => wish.every = number(key, text, 1, u32::MAX)?.into(),
            "rate" => wish.rate = number(key, text, 1, RATE_MAX)?,
            "mask" => wish.mask.fields.extend(list(text)),
            // As in Kafka, what is unknown does not matter.
            _ => {}
        }
    }
    let known = stages(config);
    let is_known = |stage: &String| {
        known.contains(stage) || (stage == "transformed" && Point::NAMES.contains(&stage.as_str()))
    };
    if let Some(unknown) = wish.stages.iter().find(|stage| !is_known(stage)) {
        return Err(format!(
            "stage \"{unknown}\" is none of connector \"{}\"; there are {} and transformed for all transforms",
            config.name,
            known.join(", ")
        ));
    }
    if wish.mask.fields.iter().map(String::len).sum::<usize>() > MASK_BYTES_MAX {
        return Err(format!("mask has more than {MASK_BYTES_MAX} bytes"));
    }
    Ok(wish)
}

fn number(key: &str, text: &str, from: u32, to: u32) -> Result<u32, String> {
    let number = text.parse().ok();
    let number = number.filter(|number| (from..=to).contains(number));
    number.ok_or_else(|| {
        format!("{key} is \"{text}\", and has to be a whole number from {from} to {to}")
    })
}
