//! Settings files of the broker and of the tools' clients: `.toml` or `.properties`, flattened to
//! Kafka's dotted keys, each of which knows its place for messages.

use std::collections::BTreeMap;
use std::path::Path;

use connect_runtime::config::{Entry, Format, Origin, Problem, Settings};

use crate::{CliError, output};

/// The settings of one file, with what the command line changed.
#[derive(Debug)]
pub struct Properties {
    settings: Settings,
    values: BTreeMap<String, String>,
}

/// Reads a settings file. Warnings go to standard error.
///
/// # Errors
/// All mistakes of the file, each with file, line and column.
pub fn load(path: &Path) -> Result<Properties, CliError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => CliError::failed(format!(
            "\"{name}\" does not exist; relative paths start in the folder where the command is run"
        )),
        _ => CliError::failed(format!("cannot read \"{name}\": {error}")),
    })?;
    let (settings, warnings) = Settings::parse(Format::detect(path, &bytes), &name, &bytes)
        .map_err(|problems| CliError::failed(problems.sorted().to_string()))?;
    for warning in &warnings {
        output::note(&warning.to_string());
    }
    Ok(Properties::from(settings))
}

impl Properties {
    /// No settings at all.
    pub fn empty() -> Self {
        Self::from(Settings::empty("command line"))
    }

    /// Sets a key; `source` names where it comes from in messages.
    pub fn set(&mut self, key: &str, value: &str, source: &str) {
        let origin = Origin {
            source: source.into(),
            position: None,
        };
        let entry = Entry {
            text: value.to_owned(),
            key_origin: origin.clone(),
            value_origin: origin,
        };
        self.settings.insert(key.to_owned(), entry);
        self.values.insert(key.to_owned(), value.to_owned());
    }

    /// Sets `key=value` pairs as options such as `--producer-property` take them.
    ///
    /// # Errors
    /// When one has no `=`.
    pub fn set_pairs(&mut self, option: &str, pairs: &[String]) -> Result<(), CliError> {
        for pair in pairs {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(CliError::failed(format!(
                    "{option} takes KEY=VALUE, but got \"{pair}\""
                )));
            };
            self.set(key.trim(), value, option);
        }
        Ok(())
    }

    /// Keys and values.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// A value read as `T`.
    ///
    /// # Errors
    /// When it is none, with its place and what was `expected`.
    pub fn parsed<T: std::str::FromStr>(
        &self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, CliError> {
        let Some(text) = self.get(key) else {
            return Ok(None);
        };
        match text.trim().parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(self.refused(key, format!("expected {expected}, got \"{text}\""))),
        }
    }

    /// A problem of a key's value, with its place.
    pub fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        self.settings.problem(key, message)
    }

    /// A warning about a key, with its place.
    pub fn key_warning(&self, key: &str, message: impl Into<String>) -> Problem {
        self.settings.key_warning(key, message)
    }

    /// A problem of a key's value as an error that ends the command.
    pub fn refused(&self, key: &str, message: impl Into<String>) -> CliError {
        CliError::failed(self.problem(key, message).to_string())
    }
}

impl From<Settings> for Properties {
    fn from(settings: Settings) -> Self {
        let values = settings.to_map();
        Self { settings, values }
    }
}
