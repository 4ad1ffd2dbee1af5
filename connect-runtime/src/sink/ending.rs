//! The end of a sink task: what was put is flushed and committed, then the group is left.

use tokio::time::timeout;

use super::SinkLoop;
use super::partitions::to_client;
use super::room::Command;
use crate::task::TaskFailure;

impl SinkLoop {
    /// Flushes, commits and closes everything, as far as the task still answers.
    pub(super) async fn finish(&mut self) -> Result<(), TaskFailure> {
        let patience = self.setup.drain_patience();
        let finish = async {
            self.drain_in_flight().await?;
            if !self.owned.is_empty() {
                let owned = self.owned.iter().map(to_client).collect();
                self.revoked(owned).await?;
            }
            Ok(())
        };
        match timeout(patience, finish).await {
            Ok(finished) => finished,
            Err(_) => {
                self.in_flight.clear();
                tracing::warn!(
                    "the last flush took longer than half of task.shutdown.graceful.timeout.ms \
                     ({patience:?}); what was not committed comes again after the next start"
                );
                Ok(())
            }
        }
    }

    /// Ends the room, or abandons it if it does not end in time, and leaves the group.
    pub(super) async fn end(mut self) {
        let patience = self.setup.end_patience();
        let ended = async {
            drop(self.commands.send(Command::Stop).await);
            self.room.result().await
        };
        if timeout(patience, ended).await.is_err() {
            tracing::error!(
                "the task did not stop in time ({patience:?}, a part of \
                 task.shutdown.graceful.timeout.ms) and is abandoned"
            );
        }
        if timeout(patience, self.consumer.close_and_leave())
            .await
            .is_err()
        {
            tracing::debug!("the group was not left in time");
        }
    }
}
