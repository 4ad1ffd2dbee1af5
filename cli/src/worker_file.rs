//! A worker's file, read for what it says about the connectors it is to run.

use std::path::Path;

use connect_core::ConfigMap;
use connect_runtime::config::worker::WorkerConfig;
use connect_runtime::config::{Settings, apply_environment};

use crate::connector_file::{read_settings, wrong};
use crate::{CliError, output};

/// The worker that is to run a connector.
#[derive(Debug)]
pub struct WorkerFile {
    /// What it is; of a worker that is not known, its converters mean nothing.
    pub config: WorkerConfig,
    /// What its file and the environment say; `None` if no file was given.
    pub settings: Option<Settings>,
}

impl WorkerFile {
    /// Reads it, if there is one. Warnings go to standard error.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub async fn read(path: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = path else {
            // A worker must have converters; which, is not said then.
            let converter = "org.apache.kafka.connect.storage.StringConverter".to_owned();
            let keys = ["key.converter", "value.converter"];
            let keys = keys.map(|key| (key.to_owned(), converter.clone()));
            let unknown = Settings::from_map("the worker", &ConfigMap::from(keys));
            let (config, _) = WorkerConfig::read(&unknown).map_err(wrong)?;
            return Ok(Self {
                config,
                settings: None,
            });
        };
        let mut settings = read_settings(path).await?;
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        apply_environment(&mut settings, variables);
        let (config, notes) = WorkerConfig::read(&settings).map_err(wrong)?;
        notes
            .iter()
            .for_each(|note| output::note(&note.to_string()));
        Ok(Self {
            config,
            settings: Some(settings),
        })
    }
}
