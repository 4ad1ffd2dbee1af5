//! Changes of a configuration that start from the one there was.

use std::sync::Arc;

use super::{Worker, check};
use crate::config::connector::ConnectorConfig;
use crate::connector_store::Change;
use crate::error::WorkerError;

impl Worker {
    /// As [`Worker::update`], if the connector's configuration still is the one that was `seen`. Whether
    /// it was; nothing is changed otherwise.
    ///
    /// # Errors
    /// As of [`Worker::update`].
    pub async fn update_if(
        &self,
        config: ConnectorConfig,
        seen: &Arc<ConnectorConfig>,
    ) -> Result<bool, WorkerError> {
        check(&config).await?;
        let _turn = self.turn.lock().await;
        if !Arc::ptr_eq(&self.configuration(&config.name).await?, seen) {
            return Ok(false);
        }
        let file = self.file_of(&config.name).await?;
        let change = Change::Configure(&config.map);
        self.keep(&config.name, file.as_deref(), change).await?;
        self.exchange(config, file).await?;
        Ok(true)
    }
}
