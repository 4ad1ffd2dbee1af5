//! A connector's file, as the worker reads it: `.toml`, `.properties` or `.json`.

use std::path::{Path, PathBuf};

use connect_runtime::config::{Problems, Settings};
use serde_json::{Map, Value};

use crate::{CliError, output};

/// What a file says about a connector.
#[derive(Debug)]
pub struct ConnectorFile {
    /// The file as the user named it.
    pub path: PathBuf,
    /// The connector's name.
    pub name: String,
    /// Its keys, and where each is written.
    pub settings: Settings,
}

impl ConnectorFile {
    /// Reads a file. Warnings go to standard error.
    ///
    /// # Errors
    /// All that is wrong with the file, or that no name is in it.
    pub async fn read(path: &Path) -> Result<Self, CliError> {
        let settings = read_settings(path).await?;
        match settings.text("name").map(str::trim).unwrap_or_default() {
            "" => {
                let problem =
                    settings.problem("name", "expected the connector's name, got nothing");
                Err(CliError::failed(problem.to_string()))
            }
            name => Ok(Self {
                path: path.to_owned(),
                name: name.to_owned(),
                settings,
            }),
        }
    }

    /// Reads several files; the mistakes of all of them come together.
    ///
    /// # Errors
    /// At least one cannot be read.
    pub async fn read_all(paths: &[PathBuf]) -> Result<Vec<Self>, CliError> {
        let (mut files, mut mistakes) = (Vec::new(), Vec::new());
        for path in paths {
            match Self::read(path).await {
                Ok(file) => files.push(file),
                Err(error) => mistakes.push(error.to_string()),
            }
        }
        match mistakes.is_empty() {
            true => Ok(files),
            false => Err(CliError::failed(mistakes.join("\n"))),
        }
    }

    /// The configuration as a worker takes it.
    pub fn config(&self) -> Value {
        let keys = self.settings.iter();
        let texts = keys.map(|(key, entry)| (key.to_owned(), Value::from(entry.text.as_str())));
        let mut config: Map<String, Value> = texts.collect();
        config.insert("name".to_owned(), Value::from(self.name.as_str()));
        Value::Object(config)
    }
}

/// Reads any configuration file. Warnings go to standard error.
///
/// # Errors
/// All that is wrong with the file, each with its place.
pub async fn read_settings(path: &Path) -> Result<Settings, CliError> {
    let read = Settings::read(path).await;
    let (settings, warnings) = read.map_err(wrong)?;
    for warning in &warnings {
        output::note(&warning.to_string());
    }
    Ok(settings)
}

/// Mistakes as an error that ends the command.
pub fn wrong(problems: Problems) -> CliError {
    CliError::failed(problems.sorted().to_string())
}
