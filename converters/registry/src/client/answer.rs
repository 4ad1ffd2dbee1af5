//! What a registry's answers mean.

use std::fmt;

use connect_core::ConnectError;
use serde_json::{Map, Value as Json};

use super::http::{Answer, said};

/// What was asked, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked<'a> {
    Schema(i32),
    Register(&'a str),
    Lookup(&'a str),
    Latest(&'a str),
    Version(&'a str, i64),
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asked::Schema(id) => write!(f, "schema {id}"),
            Asked::Register(subject) => write!(f, "a schema for subject \"{subject}\""),
            Asked::Lookup(subject) => write!(f, "the id of a schema in subject \"{subject}\""),
            Asked::Latest(subject) => write!(f, "the latest schema of subject \"{subject}\""),
            Asked::Version(subject, version) => {
                write!(f, "version {version} of subject \"{subject}\"")
            }
        }
    }
}

impl Asked<'_> {
    /// The registry does not have it.
    pub(super) fn missing(&self) -> ConnectError {
        let advice = match self {
            Asked::Schema(_) => {
                "these bytes are no data of this registry, or the schema was deleted; look whether \
                 schema.registry.url names the registry that the producer used"
            }
            Asked::Register(_) => "registries make a subject with its first schema",
            Asked::Lookup(_) => {
                "register it, or set auto.register.schemas=true, or use.latest.version=true for the \
                 schema that is registered there"
            }
            Asked::Latest(_) => "register one, or set use.latest.version=false",
            Asked::Version(..) => "another schema refers to it",
        };
        ConnectError::record(format!(
            "{self} is unknown to the schema registry; {advice}"
        ))
    }
}

/// The JSON of an answer that says yes.
///
/// # Errors
/// What it says instead; see the client.
pub(super) fn understand(
    asked: &Asked<'_>,
    answer: &Answer,
) -> Result<Map<String, Json>, ConnectError> {
    let body = match serde_json::from_slice(&answer.body) {
        Ok(Json::Object(body)) => Some(body),
        _ => None,
    };
    let status = answer.status;
    let is_registry = body
        .as_ref()
        .is_some_and(|body| body.contains_key("error_code"));
    let said = said(&answer.body);
    match (status, body) {
        (200..=299, Some(body)) => Ok(body),
        (401 | 403, _) => Err(ConnectError::configuration(format!(
            "{asked}: the schema registry refuses the credentials (HTTP {status}{said}); set \
             basic.auth.credentials.source=USER_INFO with basic.auth.user.info, or \
             bearer.auth.credentials.source=STATIC_TOKEN with bearer.auth.token"
        ))),
        (404, _) if is_registry => Err(asked.missing()),
        (409, _) => Err(ConnectError::record(format!(
            "{asked} is not compatible with the versions that are there{said}; change the schema, the \
             subject's compatibility, or the name of the subject"
        ))),
        (422, _) => Err(ConnectError::record(format!(
            "{asked} is refused by the schema registry (HTTP 422{said})"
        ))),
        _ if is_registry => Err(ConnectError::record(format!(
            "{asked} is refused by the schema registry (HTTP {status}{said})"
        ))),
        // Whatever it is, its word about records does not count.
        _ => Err(ConnectError::configuration(format!(
            "{asked}: what answers is no schema registry (HTTP {status}{said}); correct \
             schema.registry.url, with the path in front of \"/subjects\" if there is one"
        ))),
    }
}

/// The id in an answer.
pub(super) fn id(asked: &Asked<'_>, body: &Map<String, Json>) -> Result<i32, ConnectError> {
    let id = body.get("id").and_then(Json::as_i64);
    id.and_then(|id| i32::try_from(id).ok())
        .ok_or_else(|| strange(asked, "id"))
}

fn strange(asked: &Asked<'_>, member: &str) -> ConnectError {
    ConnectError::configuration(format!(
        "{asked}: the answer has no \"{member}\", so what answers is no schema registry; correct \
         schema.registry.url"
    ))
}

/// A schema in an answer.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) language: String,
    pub(super) text: String,
    pub(super) references: Vec<Reference>,
}

/// Where what a schema refers to is.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) subject: String,
    pub(super) version: i64,
}

impl Registered {
    pub(super) fn read(asked: &Asked<'_>, body: &Map<String, Json>) -> Result<Self, ConnectError> {
        let text = |body: &Map<String, Json>, member: &str| {
            body.get(member).and_then(Json::as_str).map(str::to_owned)
        };
        let references = body.get("references").and_then(Json::as_array);
        let reference = |json: &Json| {
            let json = json.as_object()?;
            Some(Reference {
                name: text(json, "name")?,
                subject: text(json, "subject")?,
                version: json.get("version")?.as_i64()?,
            })
        };
        let references: Option<Vec<Reference>> = references
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .map(reference)
            .collect();
        Ok(Registered {
            language: text(body, "schemaType").unwrap_or_else(|| "AVRO".to_owned()),
            text: text(body, "schema").ok_or_else(|| strange(asked, "schema"))?,
            references: references.ok_or_else(|| strange(asked, "references"))?,
        })
    }
}
