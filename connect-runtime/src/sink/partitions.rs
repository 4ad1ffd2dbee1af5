//! Partitions that come and go.

use std::sync::Arc;

use connect_core::{ConnectError, OffsetMap, TopicPartition};
use kafka_client::RebalanceEvent;

use super::SinkLoop;
use super::room::Command;
use crate::state::Witness;
use crate::task::TaskFailure;

impl SinkLoop {
    pub(super) async fn rebalanced(&mut self, event: RebalanceEvent) -> Result<(), TaskFailure> {
        match event {
            RebalanceEvent::Assigned(partitions) => self.assigned(partitions).await,
            RebalanceEvent::Revoked(partitions) => self.revoked(partitions).await,
            RebalanceEvent::Lost(partitions) => self.lost(partitions).await,
        }
    }

    /// How many records of its slowest partition the task has not taken, as far as the last fetches
    /// tell.
    pub(super) fn lag_max(&self) -> Option<i64> {
        let lags = self.owned.iter().filter_map(|own| {
            let partition = to_client(own);
            let end = self.consumer.high_watermark(&partition)?;
            let taken = self.put.get(own).map(|(next, _)| *next);
            let at = taken.or_else(|| self.consumer.position(&partition))?;
            Some(end.saturating_sub(at).max(0))
        });
        lags.max()
    }

    async fn assigned(
        &mut self,
        partitions: Vec<kafka_client::TopicPartition>,
    ) -> Result<(), TaskFailure> {
        let partitions: Vec<TopicPartition> = partitions.iter().map(from_client).collect();
        tracing::info!("assigned {}", listed(&partitions));
        self.owned.extend(partitions.iter().cloned());
        self.setup.meter.set_partitions(self.owned.len());
        self.requests
            .assign(|owned| owned.extend(partitions.iter().cloned()));
        self.ask(|reply| Command::Open(partitions, reply)).await??;
        self.obey_requests().await
    }

    /// Partitions go away in order: everything put is flushed, committed and closed.
    async fn revoked(
        &mut self,
        partitions: Vec<kafka_client::TopicPartition>,
    ) -> Result<(), TaskFailure> {
        let partitions: Vec<TopicPartition> = partitions.iter().map(from_client).collect();
        tracing::info!("revoked {}", listed(&partitions));
        self.letting_go = true;
        self.drain_in_flight().await?;
        let offsets = self.last_flush(&partitions).await?;
        self.commit_offsets(&offsets).await;
        self.close(partitions).await?;
        self.letting_go = false;
        Ok(())
    }

    /// Of partitions that go away, what the task says is safe.
    pub(super) async fn last_flush(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<OffsetMap, TaskFailure> {
        if !self.may_flush(partitions) {
            return Ok(OffsetMap::new());
        }
        let flushed = self.flush_of(partitions).await?;
        Ok(flushed.unwrap_or_else(|error| {
            not_flushed(&error);
            OffsetMap::new()
        }))
    }

    /// Whether something of these partitions was put, and can be flushed.
    pub(super) fn may_flush(&self, partitions: &[TopicPartition]) -> bool {
        !self.flush_refused && partitions.iter().any(|own| self.put.contains_key(own))
    }

    pub(super) async fn flush_of(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<Result<OffsetMap, ConnectError>, TaskFailure> {
        self.flush(self.offsets_of(|partition| partitions.contains(partition)))
            .await
    }

    /// Partitions are gone already: nothing may be committed for them.
    async fn lost(
        &mut self,
        partitions: Vec<kafka_client::TopicPartition>,
    ) -> Result<(), TaskFailure> {
        let partitions: Vec<TopicPartition> = partitions.iter().map(from_client).collect();
        tracing::warn!(
            "lost {}; another task may have them already",
            listed(&partitions)
        );
        for partition in &partitions {
            self.owned.remove(partition);
        }
        self.drain_in_flight().await?;
        self.close(partitions).await
    }

    pub(super) async fn close(
        &mut self,
        partitions: Vec<TopicPartition>,
    ) -> Result<(), TaskFailure> {
        for partition in &partitions {
            self.owned.remove(partition);
            self.put.remove(partition);
            self.committed.remove(partition);
            self.paused_by_task.remove(partition);
            self.paused.remove(partition);
        }
        self.requests
            .assign(|owned| owned.retain(|own| !partitions.contains(own)));
        self.setup.meter.set_partitions(self.owned.len());
        let complete = self.redelivery.forget(&partitions);
        self.ask(|reply| Command::Close(partitions, reply))
            .await??;
        if self.owned.is_empty() {
            // Nothing is left to be tried again.
            self.recovered();
        }
        if !self.has_uncommitted() {
            // Whoever has the partitions now commits for them.
            self.setup.reporter.waiting(Witness::Commit, None);
        }
        self.put_again(complete).await
    }
}

pub(super) fn not_flushed(error: &ConnectError) {
    tracing::warn!(
        "flush failed, so the offsets of what was put are not committed: {}",
        error.report()
    );
}

pub(super) fn to_client(partition: &TopicPartition) -> kafka_client::TopicPartition {
    kafka_client::TopicPartition::new(Arc::clone(&partition.topic), partition.partition)
}

pub(super) fn from_client(partition: &kafka_client::TopicPartition) -> TopicPartition {
    TopicPartition::new(Arc::clone(&partition.topic), partition.partition)
}

pub(super) fn listed(partitions: &[TopicPartition]) -> String {
    let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
    names.join(", ")
}
