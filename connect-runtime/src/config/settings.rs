//! The flat map of keys, and where each came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use connect_core::ConfigMap;

use super::problem::{Problem, Problems};
use super::{json, properties, toml};
use crate::secrets;

/// The largest configuration file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A place in a text, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// Where a key or a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file as the user named it, or `environment variable X`.
    pub source: Arc<str>,
    /// The place in the file; `None` where there is none, as in the environment.
    pub position: Option<Position>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(Position { line, column }) => write!(f, "{}:{line}:{column}", self.source),
            None => f.write_str(&self.source),
        }
    }
}

/// One configured value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value as text.
    pub text: String,
    /// Where the key is written.
    pub key_origin: Origin,
    /// Where the value is written.
    pub value_origin: Origin,
}

/// The syntax of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TOML; tables and dotted keys both become dotted keys.
    Toml,
    /// Java properties.
    Properties,
    /// A flat JSON object, or `{"name", "config", "initial_state"}`.
    Json,
}

impl Format {
    /// Tells the format by the file's extension, and by its content where the extension says
    /// nothing: what starts with `{` is JSON, everything else Java properties.
    #[must_use]
    pub fn detect(path: &Path, content: &[u8]) -> Self {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("toml") => Self::Toml,
            Some("json") => Self::Json,
            // Kafka reads a connector's `.properties` file that holds a JSON object as JSON.
            _ => match content.iter().find(|byte| !byte.is_ascii_whitespace()) {
                Some(b'{') => Self::Json,
                _ => Self::Properties,
            },
        }
    }
}

/// One source of configuration as a flat map from dotted key to [`Entry`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    entries: BTreeMap<String, Entry>,
    source: Option<Arc<str>>,
    /// `initial_state` of a JSON file in the shape of a create request.
    initial_state: Option<Entry>,
    /// What was written for the values that providers gave.
    written: BTreeMap<String, String>,
}

impl Settings {
    /// Settings without any key, named `source` in messages.
    #[must_use]
    pub fn empty(source: &str) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::default()
        }
    }

    /// Reads a configuration file of any of the three formats.
    ///
    /// # Errors
    /// All problems of the file: that it cannot be read, every syntax error, every key given
    /// twice.
    pub async fn read(path: &Path) -> Result<(Self, Vec<Problem>), Problems> {
        let source: Arc<str> = path.display().to_string().into();
        let owned = path.to_owned();
        let bytes = platform::blocking::run(move || {
            let length = platform::fs::metadata(&owned)?.len();
            if length > FILE_BYTES_MAX {
                return Err(std::io::Error::other(format!(
                    "it has {length} bytes, and a configuration file may have {FILE_BYTES_MAX}"
                )));
            }
            platform::fs::read(&owned)
        })
        .await
        .map_err(|error| Problems::from(Problem::unreadable(&source, &error)))?;
        Self::parse(Format::detect(path, &bytes), &source, &bytes)
    }

    /// Parses the bytes of a file; `source` names it in messages. The list beside the settings
    /// holds warnings.
    ///
    /// # Errors
    /// All problems at once.
    pub fn parse(
        format: Format,
        source: &str,
        bytes: &[u8],
    ) -> Result<(Self, Vec<Problem>), Problems> {
        let mut reader = Reader {
            settings: Self::empty(source),
            source: source.into(),
            problems: Vec::new(),
        };
        match format {
            Format::Toml => toml::read(&mut reader, bytes),
            Format::Properties => properties::read(&mut reader, bytes),
            Format::Json => json::read(&mut reader, bytes),
        }
        let Reader {
            settings, problems, ..
        } = reader;
        if problems.iter().any(Problem::is_error) {
            return Err(Problems(problems));
        }
        Ok((settings, problems))
    }

    /// Settings from a plain map, for callers that have no file; `source` names it in messages.
    #[must_use]
    pub fn from_map(source: &str, map: &ConfigMap) -> Self {
        let mut settings = Self::empty(source);
        let origin = Origin {
            source: source.into(),
            position: None,
        };
        for (key, text) in map {
            let entry = Entry {
                text: text.clone(),
                key_origin: origin.clone(),
                value_origin: origin.clone(),
            };
            settings.insert(key.clone(), entry);
        }
        settings
    }

    /// The same with an `initial_state`.
    #[must_use]
    pub(crate) fn with_initial_state(mut self, text: &str) -> Self {
        let origin = self.origin();
        self.initial_state = Some(Entry {
            text: text.to_owned(),
            key_origin: origin.clone(),
            value_origin: origin,
        });
        self
    }

    /// Puts what a provider gave in the place of what was written.
    pub(super) fn provide(&mut self, key: &str, text: String) {
        if let Some(entry) = self.entries.get_mut(key)
            && entry.text != text
        {
            let written = std::mem::replace(&mut entry.text, text);
            self.written.insert(key.to_owned(), written);
        }
    }

    /// Whether a provider gave the value of a key, or a part of it.
    pub(super) fn is_provided(&self, key: &str) -> bool {
        self.written.contains_key(key)
    }

    /// The entry of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The value of a key as text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(|entry| entry.text.as_str())
    }

    /// Sets a key, and returns what it replaces.
    pub fn insert(&mut self, key: String, entry: Entry) -> Option<Entry> {
        self.entries.insert(key, entry)
    }

    /// All keys with their entries, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries
            .iter()
            .map(|(key, entry)| (key.as_str(), entry))
    }

    /// The keys and values without their origins: what plugins get.
    #[must_use]
    pub fn to_map(&self) -> ConfigMap {
        self.entries
            .iter()
            .map(|(key, entry)| (key.clone(), entry.text.clone()))
            .collect()
    }

    /// The keys that start with `prefix`, with it cut off.
    #[must_use]
    pub fn with_prefix(&self, prefix: &str) -> ConfigMap {
        self.entries
            .iter()
            .filter_map(|(key, entry)| {
                let rest = key.strip_prefix(prefix)?;
                (!rest.is_empty()).then(|| (rest.to_owned(), entry.text.clone()))
            })
            .collect()
    }

    /// What the settings were read from.
    #[must_use]
    pub fn source(&self) -> &str {
        self.source.as_deref().unwrap_or("configuration")
    }

    /// The `initial_state` that a JSON file in the shape of a create request may carry.
    #[must_use]
    pub fn initial_state(&self) -> Option<&Entry> {
        self.initial_state.as_ref()
    }

    /// A problem of a key's value, placed where the value is written, or at the file as a whole
    /// if the key is absent.
    #[must_use]
    pub fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        let (origin, text) = match self.entries.get(key) {
            Some(entry) => (entry.value_origin.clone(), entry.text.trim()),
            None => (self.origin(), ""),
        };
        let message = match self.written.get(key) {
            Some(written) => not_shown(written),
            None if secrets::is_secret_key(key) && !text.is_empty() => {
                let quoted = format!("\"{}\"", text.escape_debug());
                message.into().replace(&quoted, "[hidden]")
            }
            None => message.into(),
        };
        Problem::error(Some(origin), Some(key), message)
    }

    /// A warning about a key itself, placed where the key is written.
    #[must_use]
    pub fn key_warning(&self, key: &str, message: impl Into<String>) -> Problem {
        let origin = match self.entries.get(key) {
            Some(entry) => entry.key_origin.clone(),
            None => self.origin(),
        };
        Problem::warning(Some(origin), Some(key), message)
    }

    fn origin(&self) -> Origin {
        Origin {
            source: self.source().into(),
            position: None,
        }
    }
}

/// What is said about a value that a provider gave and that is wrong: any more might show it.
pub(crate) fn not_shown(written: &str) -> String {
    format!(
        "expected another value than what \"{}\" stands for; it and what is wrong with it are not \
         shown, because it may be a secret",
        written.escape_debug()
    )
}

/// Collects the entries and problems of one file while it is parsed.
pub(super) struct Reader {
    settings: Settings,
    source: Arc<str>,
    problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn origin(&self, position: Option<Position>) -> Origin {
        Origin {
            source: self.source.clone(),
            position,
        }
    }

    /// Adds a key; a key that is there already is an error in formats where the author may not
    /// see that two spellings are the same key.
    pub(super) fn add(&mut self, key: &str, text: String, at: Place) {
        let Some(other) = self.settings.get(key) else {
            return self.replace(key, text, at);
        };
        // Tables are not walked in the order of the file.
        let here = Some(at.key);
        let (first, second) = match other.key_origin.position {
            there if there > here => (here, there),
            there => (there, here),
        };
        let first = self.origin(first);
        let message = format!("expected once, got twice; the first is at {first}");
        self.error(second, Some(key), message);
    }

    /// Adds a key; the last one counts, and the user is told.
    pub(super) fn add_last_wins(&mut self, key: &str, text: String, at: Place) {
        if let Some(first) = self.settings.get(key) {
            let message = format!(
                "is given twice, the last one counts; the first is at {}",
                first.key_origin
            );
            let origin = self.origin(Some(at.key));
            self.problems
                .push(Problem::warning(Some(origin), Some(key), message));
        }
        self.replace(key, text, at);
    }

    fn replace(&mut self, key: &str, text: String, at: Place) {
        let entry = Entry {
            text,
            key_origin: self.origin(Some(at.key)),
            value_origin: self.origin(Some(at.value)),
        };
        self.settings.insert(key.to_owned(), entry);
    }

    pub(super) fn set_initial_state(&mut self, text: String, at: Place) {
        self.settings.initial_state = Some(Entry {
            text,
            key_origin: self.origin(Some(at.key)),
            value_origin: self.origin(Some(at.value)),
        });
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.settings.get(key).is_some()
    }

    pub(super) fn error(
        &mut self,
        position: Option<Position>,
        key: Option<&str>,
        message: impl Into<String>,
    ) {
        let origin = self.origin(position);
        self.problems
            .push(Problem::error(Some(origin), key, message));
    }
}

/// Where a key and its value are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) key: Position,
    pub(super) value: Position,
}

/// Turns byte offsets of a text into lines and columns.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0)
            .chain(breaks.map(|(at, _)| at + 1))
            .collect();
        Self { text, starts }
    }

    pub(super) fn position(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or("");
        Position {
            line,
            column: before.chars().count() + 1,
        }
    }
}
