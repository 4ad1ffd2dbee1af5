//! Connectors that are taken from files at every start.

use std::path::Path;

use super::{Stopped, Worker, check};
use crate::config::connector::ConnectorConfig;
use crate::error::WorkerError;

impl Worker {
    /// As [`Worker::create`], for a connector that a file is the truth of: it is not stored, and one
    /// that is stored under its name waits until a start without the file.
    ///
    /// # Errors
    /// There is one of that name, the connector refuses its configuration, or the worker stops.
    pub async fn create_from(
        &self,
        config: ConnectorConfig,
        file: &Path,
    ) -> Result<(), WorkerError> {
        check(&config).await?;
        let _turn = self.turn.lock().await;
        self.check_free(&config.name).await?;
        self.add(config, Some(file.into())).await
    }

    /// As [`Worker::update`], because the file says something else now. A connector of another origin
    /// is the file's from now on.
    ///
    /// # Errors
    /// There is no such connector, it refuses its configuration, or the worker stops.
    pub async fn update_from(
        &self,
        config: ConnectorConfig,
        file: &Path,
    ) -> Result<Stopped, WorkerError> {
        check(&config).await?;
        let _turn = self.turn.lock().await;
        self.exchange(config, Some(file.into())).await
    }

    /// Puts a connector in the place of the one that the file named before, which ends first.
    ///
    /// # Errors
    /// There is one of the new name, the connector refuses its configuration, or the worker stops.
    /// The one of before runs on, unless the worker stops.
    pub async fn replace_from(
        &self,
        before: &str,
        config: ConnectorConfig,
        file: &Path,
    ) -> Result<Stopped, WorkerError> {
        check(&config).await?;
        let _turn = self.turn.lock().await;
        self.check_free(&config.name).await?;
        let stopped = match self.take_out(before).await {
            // It was deleted meanwhile.
            Err(WorkerError::UnknownConnector { .. }) => Stopped::default(),
            stopped => stopped?,
        };
        self.add(config, Some(file.into())).await?;
        Ok(stopped)
    }
}
