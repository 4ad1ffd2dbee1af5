//! Tells the controller which replicas of the partitions this node leads are in sync.
//!
//! Who falls behind is found by looking at all of them from time to time, who has caught up is told
//! by the partition. One batch is under way at a time; a proposal whose outcome is not known is
//! sent again until it is, because its replicas count as in sync that long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::{IsrSink, Key, rest_after};
use crate::controller::MetadataImage;
use crate::controller::operation::IsrChange;
use crate::error_code;
use crate::node::stopped;
use crate::replica::{IsrProposal, Partition, Replicas, Role};

/// Changes in one batch.
const BATCH_MAX: usize = 1000;
/// The first rest when the controller gave no answer; doubles up to a second.
const FIRST_REST: Duration = Duration::from_millis(50);
const REST_MAX: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct IsrTask {
    pub(super) me: i32,
    pub(super) lag_time_max: Duration,
    pub(super) replicas: Arc<Replicas>,
    pub(super) images: watch::Receiver<Arc<MetadataImage>>,
    pub(super) broker_epoch: watch::Receiver<Option<i64>>,
    pub(super) controller: Arc<dyn IsrSink>,
}

type Proposed = (Arc<Partition>, IsrProposal);

impl IsrTask {
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = stopped(&mut stop) => {}
            () = self.propose() => {}
        }
    }

    async fn propose(&self) {
        let pause = (self.lag_time_max / 2).max(Duration::from_millis(1));
        let mut next_look = Instant::now() + pause;
        // Partitions whose last proposal has to be sent again.
        let mut again: Vec<Arc<Partition>> = Vec::new();
        let mut failures: u32 = 0;
        loop {
            let looked_at = if again.is_empty() {
                tokio::select! {
                    joining = self.replicas.joining() => joining,
                    () = sleep_until(next_look) => {
                        next_look = Instant::now() + pause;
                        self.replicas.list()
                    }
                }
            } else {
                sleep(rest_after(failures, FIRST_REST, REST_MAX)).await;
                std::mem::take(&mut again)
            };
            let Some(broker_epoch) = *self.broker_epoch.borrow() else {
                // What it leads is not settled yet.
                again = looked_at;
                sleep(FIRST_REST).await;
                continue;
            };
            let mut left = self.proposals(looked_at).into_iter().peekable();
            failures = if left.peek().is_some() { failures } else { 0 };
            while left.peek().is_some() {
                let batch: Vec<Proposed> = left.by_ref().take(BATCH_MAX).collect();
                let unknown = self.send(broker_epoch, batch).await;
                failures = if unknown.is_empty() {
                    0
                } else {
                    failures.saturating_add(1)
                };
                again.extend(unknown);
            }
        }
    }

    fn proposals(&self, partitions: Vec<Arc<Partition>>) -> Vec<Proposed> {
        let image = self.images.borrow().clone();
        let now = Instant::now();
        let is_live = |id: i32, epoch: i64| {
            image
                .broker(id)
                .is_some_and(|known| known.epoch == epoch && known.may_lead())
        };
        partitions
            .into_iter()
            .filter(|partition| partition.role() == Role::Leader)
            .filter_map(|partition| {
                let proposal = partition.propose_isr(now, self.lag_time_max, &is_live)?;
                Some((partition, proposal))
            })
            .collect()
    }

    /// Sends one batch; gives the partitions for which the outcome is not known.
    async fn send(&self, broker_epoch: i64, batch: Vec<Proposed>) -> Vec<Arc<Partition>> {
        let image = self.images.borrow().clone();
        let changes: Vec<IsrChange> = batch
            .iter()
            .map(|(partition, proposal)| IsrChange {
                topic: partition.topic_id(),
                index: partition.index(),
                leader_epoch: proposal.leader_epoch,
                partition_epoch: proposal.partition_epoch,
                isr: self.with_epochs(&image, broker_epoch, &proposal.isr),
            })
            .collect();
        let answers = match self.controller.alter_isr(broker_epoch, changes).await {
            Ok(answers) if answers.len() == batch.len() => answers,
            Ok(answers) => {
                tracing::error!(
                    sent = batch.len(),
                    answered = answers.len(),
                    "the controller did not answer every change of in-sync replicas"
                );
                return unknown(batch, error_code::UNKNOWN_SERVER_ERROR);
            }
            Err(error) => {
                tracing::debug!(%error, changes = batch.len(), "cannot tell the controller which replicas are in sync");
                return unknown(batch, error.code);
            }
        };
        for ((partition, proposal), answer) in batch.iter().zip(answers) {
            let (topic, index) = (partition.topic(), partition.index());
            match answer {
                Ok(state) => {
                    tracing::info!(%topic, partition = index, isr = ?state.isr, "in-sync replicas changed");
                    partition.isr_answered(proposal, None);
                }
                Err(error) => {
                    tracing::debug!(%topic, partition = index, %error, "in-sync replicas are not changed");
                    partition.isr_answered(proposal, Some(error.code));
                }
            }
        }
        Vec::new()
    }

    /// Fills in the epochs a partition does not know: this broker's own, and that of a member
    /// which has not fetched from this leader yet.
    fn with_epochs(
        &self,
        image: &MetadataImage,
        broker_epoch: i64,
        isr: &[(i32, i64)],
    ) -> Vec<(i32, i64)> {
        isr.iter()
            .map(|(id, epoch)| {
                let epoch = match *epoch {
                    _ if *id == self.me => broker_epoch,
                    -1 => image.broker(*id).map_or(-1, |known| known.epoch),
                    epoch => epoch,
                };
                (*id, epoch)
            })
            .collect()
    }
}

/// Tells the partitions that nothing is known about their proposals.
fn unknown(batch: Vec<Proposed>, code: i16) -> Vec<Arc<Partition>> {
    let mut partitions: BTreeMap<Key, Arc<Partition>> = BTreeMap::new();
    for (partition, proposal) in batch {
        partition.isr_answered(&proposal, Some(code));
        partitions.insert((partition.topic_id(), partition.index()), partition);
    }
    partitions.into_values().collect()
}
