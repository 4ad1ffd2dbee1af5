//! The end of a sink task: what was put is flushed and committed, then the group is left.

use std::time::Duration;

use connect_core::{OffsetMap, TopicPartition};
use kafka_client::RebalanceEvent;
use tokio::time::{Instant, sleep, timeout};

use super::SinkLoop;
use super::partitions::{from_client, listed, not_flushed, to_client};
use super::room::Command;
use crate::backoff::Backoff;
use crate::task::{Target, TaskFailure};

/// Between attempts at the last commit.
const COMMIT_RETRY: Duration = Duration::from_millis(50);
const COMMIT_RETRY_MAX: Duration = Duration::from_millis(500);

impl SinkLoop {
    /// Flushes, commits and closes everything, as far as the task still answers.
    pub(super) async fn finish(&mut self) -> Result<(), TaskFailure> {
        let patience = self.setup.drain_patience();
        let finish = async {
            self.drain_in_flight().await?;
            self.give_back().await
        };
        match timeout(patience, finish).await {
            Ok(finished) => finished,
            Err(_) => {
                self.in_flight.clear();
                tracing::warn!(
                    "the last flush and commit took longer than half of \
                     task.shutdown.graceful.timeout.ms ({patience:?}); what was not committed comes again after the next start"
                );
                Ok(())
            }
        }
    }

    /// Flushes, commits and closes all partitions.
    async fn give_back(&mut self) -> Result<(), TaskFailure> {
        let owned: Vec<TopicPartition> = self.owned.iter().cloned().collect();
        if owned.is_empty() {
            return Ok(());
        }
        let is_revoked = |event: &RebalanceEvent| matches!(event, RebalanceEvent::Revoked(_));
        let may_poll = !self.letting_go && !self.events.iter().any(is_revoked);
        self.letting_go = true;
        tracing::info!("giving back {}", listed(&owned));
        let offsets = self.very_last_flush(&owned).await?;
        self.commit_last(offsets, may_poll).await;
        self.close(owned).await
    }

    /// What the task says is safe when it is told to stop: no other flush makes up for this one, so it is
    /// tried again and again, while that may help, until the caller loses patience. A task that failed
    /// begins anew and is not held up.
    async fn very_last_flush(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<OffsetMap, TaskFailure> {
        let mut backoff = Backoff::new(COMMIT_RETRY, COMMIT_RETRY_MAX);
        while self.may_flush(partitions) && *self.setup.target.borrow() == Target::Stop {
            match self.flush_of(partitions).await? {
                Ok(flushed) => return Ok(flushed),
                Err(error) if error.is_retriable() => {
                    let wanted = self.requests.take_retry_after();
                    let pause = wanted.unwrap_or(backoff.failed());
                    tracing::info!(
                        "the last flush failed, next try in {pause:.1?}: {}",
                        error.report()
                    );
                    sleep(pause).await;
                }
                Err(error) => {
                    not_flushed(&error);
                    return Ok(OffsetMap::new());
                }
            }
        }
        self.last_flush(partitions).await
    }

    /// Commits offsets for which there is no later commit: again and again, while that may help, until
    /// the caller loses patience. `may_poll` is whether partitions stay when the consumer is polled.
    async fn commit_last(&mut self, mut offsets: OffsetMap, mut may_poll: bool) {
        let mut backoff = Backoff::new(COMMIT_RETRY, COMMIT_RETRY_MAX);
        while let Err(why) = self.try_commit(&offsets).await {
            let rebalances = may_poll && why.may_be_a_rebalance();
            if !rebalances && !why.may_pass() {
                tracing::warn!(
                    "the last offsets could not be committed, so their records come again: {why}"
                );
                return;
            }
            tracing::info!("the last offsets are not committed yet: {why}");
            let pause = backoff.failed();
            match rebalances {
                true => may_poll = self.rejoin(pause, &mut offsets).await,
                false => sleep(pause).await,
            }
        }
    }

    /// Lets a rebalance go on for a while and drops offsets of partitions that are lost; what is read
    /// meanwhile comes again. Whether partitions stay at the next poll.
    async fn rejoin(&mut self, pause: Duration, offsets: &mut OffsetMap) -> bool {
        let owned: Vec<_> = self.owned.iter().map(to_client).collect();
        self.consumer.pause(&owned);
        let until = Instant::now() + pause;
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            let events = match self.consumer.poll(rest).await {
                Ok(polled) => polled.events,
                Err(error) => {
                    tracing::info!("the group is not joined again: {error}");
                    return false;
                }
            };
            for event in events {
                match event {
                    RebalanceEvent::Assigned(_) => {}
                    RebalanceEvent::Revoked(_) => return false,
                    RebalanceEvent::Lost(lost) => {
                        let lost: Vec<_> = lost.iter().map(from_client).collect();
                        tracing::warn!("lost {} before the last commit", listed(&lost));
                        offsets.retain(|partition, _| !lost.contains(partition));
                    }
                }
            }
            if rest.is_zero() {
                return true;
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
