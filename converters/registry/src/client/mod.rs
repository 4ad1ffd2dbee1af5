//! The client of a registry: what a schema's id stands for, and which id a schema has.
//!
//! All converters of a process that are set up alike share a client, so that a hundred tasks ask for a
//! schema once. What is asked at the same time is asked once ([`flight`]); what was answered is kept,
//! because the schema of an id never changes, with a limit on entries and bytes.
//!
//! What an error means: nobody answered, retriable, because the record is not to blame; the registry says
//! no to this schema or does not know this id, a bad record; it refuses us, or is no registry, wrong
//! configuration.

mod address;
mod answer;
mod flight;
mod http;
mod setup;
#[cfg(test)]
pub(crate) mod stand_in;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::Arc;
use std::time::{Duration, Instant};

use connect_core::ConnectError;
use connect_core::converter::Cache;
use parking_lot::Mutex;
use serde_json::{Map, Value as Json, json};

use answer::{Asked, Registered};
use flight::{Flights, Interrupt};
use http::{Http, Request};

pub(crate) use setup::RegistryConfig;

/// How long it is remembered that a registry has no schema of an id, so that a topic of something else
/// does not flood it.
const MISSING_FOR: Duration = Duration::from_secs(10);
/// Schemas of one client.
const SCHEMAS_MAX: usize = 1000;
/// Schemas that one schema may refer to, directly or not.
const REFERENCES_MAX: usize = 1000;

/// The language of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Avro,
    Json,
}

impl Language {
    /// As registries spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Language::Avro => "AVRO",
            Language::Json => "JSON",
        }
    }
}

/// A schema as a registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) id: i32,
    /// As registries spell it.
    pub(crate) language: String,
    pub(crate) text: String,
    /// What it refers to, in an order in which each comes behind what it refers to itself.
    pub(crate) references: Vec<Referred>,
}

/// A schema that another one refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Referred {
    /// As the other one calls it.
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Stored {
    /// Refuses a schema of another language.
    pub(crate) fn expect(&self, language: Language) -> Result<(), ConnectError> {
        if self.language == language.name() {
            return Ok(());
        }
        let advice = match self.language.as_str() {
            "AVRO" => "; set the converter to avro",
            "JSON" => "; set the converter to jsonschema",
            _ => "",
        };
        Err(ConnectError::record(format!(
            "schema {} is {}, the converter expects {}{advice}",
            self.id,
            self.language,
            language.name()
        )))
    }
}

/// What converters share.
#[derive(Debug)]
pub(crate) struct Client {
    http: Arc<Http>,
    flights: Arc<Flights>,
    schemas: Mutex<Cache<i32, Arc<Stored>>>,
    missing: Mutex<Cache<i32, Instant>>,
}

impl Client {
    fn new(http: Http) -> Self {
        Client {
            http: Arc::new(http),
            flights: Arc::default(),
            schemas: Mutex::new(Cache::new(SCHEMAS_MAX)),
            missing: Mutex::new(Cache::new(SCHEMAS_MAX)),
        }
    }
}

/// How one converter asks.
#[derive(Debug)]
pub(crate) struct Registry {
    client: Arc<Client>,
    interrupt: Interrupt,
    normalize: bool,
}

impl Registry {
    /// The schema of an id.
    ///
    /// # Errors
    /// See the module.
    pub(crate) fn schema(&self, id: i32) -> Result<Arc<Stored>, ConnectError> {
        if let Some(stored) = self.client.schemas.lock().get(&id) {
            return Ok(Arc::clone(stored));
        }
        let asked = Asked::Schema(id);
        let since = self.client.missing.lock().get(&id).copied();
        if since.is_some_and(|since| since.elapsed() < MISSING_FOR) {
            return Err(asked.missing());
        }
        let found = self.ask(&asked, format!("/schemas/ids/{id}"), None);
        let body = match found {
            Err(error) if error.class() == connect_core::ErrorClass::Record => {
                let mut missing = self.client.missing.lock();
                missing.remove(&id);
                missing.put(id, 1, Instant::now());
                return Err(error);
            }
            found => found?,
        };
        let registered = Registered::read(&asked, &body)?;
        let stored = Arc::new(self.complete(id, registered)?);
        let size = stored.text.len();
        let mut schemas = self.client.schemas.lock();
        schemas.put(id, size, Arc::clone(&stored));
        Ok(stored)
    }

    /// The id of a schema under a subject, where it is registered if it is not yet.
    ///
    /// # Errors
    /// See the module.
    pub(crate) fn register(
        &self,
        subject: &str,
        language: Language,
        text: &str,
    ) -> Result<i32, ConnectError> {
        let path = format!("/subjects/{}/versions{}", escaped(subject), self.query());
        let asked = Asked::Register(subject);
        let body = self.ask(&asked, path, Some(proposed(language, text)))?;
        answer::id(&asked, &body)
    }

    /// The id that a schema has under a subject already.
    ///
    /// # Errors
    /// See the module.
    pub(crate) fn lookup(
        &self,
        subject: &str,
        language: Language,
        text: &str,
    ) -> Result<i32, ConnectError> {
        let path = format!("/subjects/{}{}", escaped(subject), self.query());
        let asked = Asked::Lookup(subject);
        let body = self.ask(&asked, path, Some(proposed(language, text)))?;
        answer::id(&asked, &body)
    }

    /// The latest version of a subject.
    ///
    /// # Errors
    /// See the module.
    pub(crate) fn latest(&self, subject: &str) -> Result<Stored, ConnectError> {
        let asked = Asked::Latest(subject);
        let path = format!("/subjects/{}/versions/latest", escaped(subject));
        let body = self.ask(&asked, path, None)?;
        let id = answer::id(&asked, &body)?;
        self.complete(id, Registered::read(&asked, &body)?)
    }

    /// Whoever waits now, or asks later, gets an error at once.
    pub(crate) fn interrupt(&self) {
        self.interrupt.interrupt();
    }

    fn query(&self) -> &'static str {
        if self.normalize {
            "?normalize=true"
        } else {
            ""
        }
    }

    /// Fetches what a schema refers to.
    fn complete(&self, id: i32, registered: Registered) -> Result<Stored, ConnectError> {
        let mut references = Vec::new();
        let mut seen = Vec::new();
        self.follow(&registered, &mut seen, &mut references)?;
        Ok(Stored {
            id,
            language: registered.language,
            text: registered.text,
            references,
        })
    }

    fn follow(
        &self,
        registered: &Registered,
        seen: &mut Vec<(String, String)>,
        found: &mut Vec<Referred>,
    ) -> Result<(), ConnectError> {
        for reference in &registered.references {
            let place = (reference.subject.clone(), reference.name.clone());
            if seen.contains(&place) {
                continue;
            }
            if seen.len() >= REFERENCES_MAX {
                return Err(ConnectError::record(format!(
                    "the schema refers to more than {REFERENCES_MAX} others"
                )));
            }
            seen.push(place);
            let (subject, version) = (&reference.subject, reference.version);
            let asked = Asked::Version(subject, version);
            let path = format!("/subjects/{}/versions/{version}", escaped(subject));
            let body = self.ask(&asked, path, None)?;
            let referred = Registered::read(&asked, &body)?;
            self.follow(&referred, seen, found)?;
            found.push(Referred {
                name: reference.name.clone(),
                text: referred.text,
            });
        }
        Ok(())
    }

    fn ask(
        &self,
        asked: &Asked<'_>,
        path: String,
        body: Option<String>,
    ) -> Result<Map<String, Json>, ConnectError> {
        let request = Request { path, body };
        let client = &self.client;
        match client.flights.ask(&client.http, request, &self.interrupt) {
            Some(Ok(answered)) => answer::understand(asked, &answered),
            Some(Err(unreachable)) => Err(ConnectError::retriable(format!(
                "{asked}: the schema registry does not answer ({})",
                unreachable.0
            ))),
            None => Err(ConnectError::retriable(format!(
                "{asked}: the task ends and does not wait for the schema registry"
            ))),
        }
    }
}

/// The body that names a schema.
fn proposed(language: Language, text: &str) -> String {
    match language {
        // Registries that know nothing else do not know this key.
        Language::Avro => json!({ "schema": text }).to_string(),
        _ => json!({ "schema": text, "schemaType": language.name() }).to_string(),
    }
}

/// A subject as part of a path.
fn escaped(subject: &str) -> String {
    let mut out = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
