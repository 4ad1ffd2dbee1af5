//! Connectors that outlive the worker: each change of one is stored before it is made.
//!
//! Those of files are not stored: their files are what holds at the next start, whatever is done to
//! them meanwhile.

use std::path::Path;
use std::sync::Arc;

use super::Worker;
use crate::config::connector::ConnectorConfig;
use crate::config::{Problems, Settings};
use crate::connector_store::{Change, Stored};
use crate::error::WorkerError;

/// What became of the stored connectors at the start.
#[derive(Debug, Default)]
pub struct Restored {
    /// Those that were started, or are paused or stopped as they were before.
    pub started: Vec<Arc<ConnectorConfig>>,
    /// Those whose configuration is not accepted now, with what is wrong. They stay stored. Where the
    /// class is known they are among `started`, too, and fail until it is accepted.
    pub refused: Vec<(String, Problems)>,
}

impl Worker {
    /// Whether a connector of this name is stored, be it started or not.
    #[must_use]
    pub fn is_stored(&self, name: &str) -> bool {
        self.store.as_ref().is_some_and(|store| store.has(name))
    }

    /// Starts the stored connectors whose names are free. They were asked about their configurations
    /// when they were made, and are not asked again.
    ///
    /// # Errors
    /// The worker stops.
    pub async fn start_stored(&self) -> Result<Restored, WorkerError> {
        let mut restored = Restored::default();
        let Some(store) = &self.store else {
            return Ok(restored);
        };
        let _turn = self.turn.lock().await;
        let taken = self.names().await?;
        let source = format!("topic \"{}\"", store.topic());
        for (name, stored) in store.all() {
            if taken.contains(&name) {
                continue;
            }
            let (config, refused) = self.read_stored(&source, &name, stored).await;
            if let Some(config) = config {
                self.add(config.clone(), None).await?;
                restored.started.push(Arc::new(config));
            }
            restored
                .refused
                .extend(refused.map(|problems| (name, problems)));
        }
        Ok(restored)
    }

    async fn read_stored(
        &self,
        source: &str,
        name: &str,
        stored: Stored,
    ) -> (Option<ConnectorConfig>, Option<Problems>) {
        let Stored { mut config, target } = stored;
        config.insert("name".to_owned(), name.to_owned());
        let settings = Settings::from_map(source, &config);
        let (config, refused) = match self.read(settings).await {
            Ok((config, notes)) => {
                for note in notes {
                    tracing::info!("{note}");
                }
                (Some(config), None)
            }
            Err(problems) => {
                let unread = ConnectorConfig::unread(name, config, self.config());
                (unread, Some(problems))
            }
        };
        let config = config.map(|config| ConnectorConfig {
            initial_state: target,
            ..config
        });
        (config, refused)
    }

    /// Stores a change that is about to be made, for whose turn it is; says so where it will not
    /// outlive the worker.
    pub(super) async fn keep(
        &self,
        name: &str,
        file: Option<&Path>,
        change: Change<'_>,
    ) -> Result<(), WorkerError> {
        match (file, &self.store) {
            (None, Some(store)) => store.write(name, change).await,
            (None, None) => {
                if let Change::Create(..) = change {
                    tracing::warn!(
                        "connector \"{name}\" ends with this worker; name a topic of the worker's own \
                         with config.storage.topic to keep connectors that are made by REST"
                    );
                }
                Ok(())
            }
            (Some(file), _) => {
                let file = file.display();
                tracing::warn!(
                    "what is changed about connector \"{name}\" holds until the next start, which takes \
                     it from {file} again"
                );
                Ok(())
            }
        }
    }
}
