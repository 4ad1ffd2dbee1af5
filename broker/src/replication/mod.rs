//! Makes this node's partitions what the cluster's metadata says they are.
//!
//! The [reconciler](reconcile) follows the metadata: it opens, creates and deletes partitions and
//! tells each who leads it. The [fetchers](fetchers) copy from leaders with Kafka's own Fetch, and
//! the [ISR task](isr) proposes in-sync replicas for the partitions this node leads. What a
//! partition does with all of that is the room `replica`'s business, and what the metadata says is
//! the controller's.
//!
//! Invariants: no role is taken before the controller has registered this process, because until
//! then the metadata may count on what a former process had; what is told about a partition comes
//! from one image, and images are followed in order; a partition whose disk fails is out of
//! service alone, and is tried again.

pub(crate) mod adoption;
mod fetcher;
mod fetchers;
mod isr;
pub(crate) mod leader_link;
mod mailbox;
mod out_of_service;
mod reconcile;
mod session;
mod throttle;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::fetchers::{Fetchers, Fetching};
use self::isr::IsrTask;
use self::leader_link::Leaders;
pub(crate) use self::out_of_service::OutOfService;
use self::reconcile::Reconciler;
pub(crate) use self::throttle::{Throttle, ThrottledReplicas};
use crate::config::BrokerConfig;
use crate::controller::operation::IsrChange;
use crate::controller::record::{PartitionState, TopicId};
use crate::controller::{Controller, ControllerError, MetadataImage};
use crate::replica::Replicas;

/// A partition, by its topic's id and its number.
type Key = (TopicId, i32);

/// The rest after `failures` in a row: `first`, and twice as long each time, up to `max`.
fn rest_after(failures: u32, first: Duration, max: Duration) -> Duration {
    let rest = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    rest.min(max)
}

/// Who decides about in-sync replicas: the active controller, wherever it is.
pub(crate) trait IsrSink: Send + Sync + 'static {
    /// Asks for new in-sync replicas of partitions this broker leads, under the epoch of its
    /// registration. One answer per change: the state that holds now, or why the change was not
    /// made. An error of the whole says that the outcome is not known, unless it is
    /// `STALE_BROKER_EPOCH`.
    fn alter_isr(
        &self,
        broker_epoch: i64,
        changes: Vec<IsrChange>,
    ) -> BoxFuture<'_, Result<Vec<Result<PartitionState, ControllerError>>, ControllerError>>;
}

impl IsrSink for Controller {
    fn alter_isr(
        &self,
        broker_epoch: i64,
        changes: Vec<IsrChange>,
    ) -> BoxFuture<'_, Result<Vec<Result<PartitionState, ControllerError>>, ControllerError>> {
        Box::pin(Self::alter_isr(self, broker_epoch, changes))
    }
}

/// What replication needs of the rest of the node.
pub(crate) struct Surroundings {
    pub(crate) config: Arc<BrokerConfig>,
    pub(crate) replicas: Arc<Replicas>,
    /// The cluster's metadata on this node.
    pub(crate) images: watch::Receiver<Arc<MetadataImage>>,
    /// Epoch under which the controller registered this process; none before that.
    pub(crate) broker_epoch: watch::Receiver<Option<i64>>,
    pub(crate) controller: Arc<dyn IsrSink>,
    /// How leaders are reached; [`leader_link::Tcp`] outside of tests.
    pub(crate) leaders: Arc<dyn Leaders>,
}

/// The running tasks. [`Replication::stop`] lets them end what they are doing; dropping it aborts
/// them.
pub(crate) struct Replication {
    stop: watch::Sender<bool>,
    applied: watch::Receiver<u64>,
    out_of_service: Arc<OutOfService>,
    leader_throttle: Arc<Throttle>,
    tasks: Vec<JoinHandle<()>>,
}

impl Replication {
    /// Starts following the metadata.
    pub(crate) fn start(surroundings: Surroundings) -> Self {
        let Surroundings {
            config,
            replicas,
            images,
            broker_epoch,
            controller,
            leaders,
        } = surroundings;
        let stop = watch::Sender::new(false);
        let (applied, applied_versions) = watch::channel(0);
        let out_of_service = Arc::new(OutOfService::default());
        let leader_throttle = Arc::new(Throttle::default());
        let fetchers = Fetchers::new(Fetching {
            me: config.node_id,
            settings: config.replication.clone(),
            images: images.clone(),
            broker_epoch: broker_epoch.clone(),
            leaders,
            throttle: Arc::default(),
            out_of_service: out_of_service.clone(),
        });
        let isr = IsrTask {
            me: config.node_id,
            lag_time_max: config.replication.lag_time_max,
            replicas: replicas.clone(),
            images: images.clone(),
            broker_epoch: broker_epoch.clone(),
            controller,
        };
        let reconciler = Reconciler::new(
            config,
            replicas,
            fetchers,
            out_of_service.clone(),
            leader_throttle.clone(),
        );
        let tasks = vec![
            tokio::spawn(reconciler.run(images, broker_epoch, applied, stop.subscribe())),
            tokio::spawn(isr.run(stop.subscribe())),
        ];
        Self {
            stop,
            applied: applied_versions,
            out_of_service,
            leader_throttle,
            tasks,
        }
    }

    /// Version of the metadata that this node's partitions agree with.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.clone()
    }

    /// Partitions of this node that cannot be used for now.
    pub(crate) fn out_of_service(&self) -> &Arc<OutOfService> {
        &self.out_of_service
    }

    /// What followers that are catching up may be sent, for the partitions
    /// `leader.replication.throttled.replicas` names.
    pub(crate) fn leader_throttle(&self) -> &Arc<Throttle> {
        &self.leader_throttle
    }

    /// Ends all tasks, and waits for what they are writing.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        for task in self.tasks.drain(..) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a replication task failed");
            }
        }
    }
}

impl Drop for Replication {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
