//! From any node to the active controller: what changes the metadata is carried out there, and the
//! node that was asked answers when its own metadata has the change.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout, timeout_at};

use super::operation::{Operation, Outcome};
use super::quorum::QuorumStatus;
use super::{Controller, ControllerError};
use crate::error_code;
use crate::peer::{ClusterRequest, ClusterResponse, PeerError, Peers, Probe, Refusal};

/// How long an operation may look for the active controller.
const OPERATION_TIME: Duration = Duration::from_secs(15);
/// How long to wait for this node's metadata to have what it asked for.
const FOLLOW_TIME: Duration = Duration::from_secs(5);
/// How long to wait for this node's partitions to be what the metadata says.
const APPLY_TIME: Duration = Duration::from_secs(30);
/// Between two attempts, unless a new controller is elected before.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Why another node gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Nobody listens there: its process is dead, and the request was not carried out.
    Refused,
    /// Not in time, or the connection ended. It may have been carried out.
    Lost,
}

/// The way to other nodes of the cluster.
pub(crate) trait Others: Send + Sync + 'static {
    /// Asks the node at `address`.
    fn call<'a>(
        &'a self,
        address: &'a str,
        request: ClusterRequest,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<ClusterResponse, NoAnswer>>;

    /// Whether a process listens at `address`; [`NoAnswer::Refused`] when surely not.
    fn probe<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<(), NoAnswer>>;
}

impl Others for Peers {
    fn call<'a>(
        &'a self,
        address: &'a str,
        request: ClusterRequest,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<ClusterResponse, NoAnswer>> {
        Box::pin(async move {
            Self::call(self, address, request, deadline)
                .await
                .map_err(|error| match error {
                    PeerError::Refused(_) => NoAnswer::Refused,
                    PeerError::Timeout(_) | PeerError::Lost(_) => NoAnswer::Lost,
                })
        })
    }

    fn probe<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<(), NoAnswer>> {
        Box::pin(async move {
            match Self::probe(self, address).await {
                Probe::Alive => Ok(()),
                Probe::Dead => Err(NoAnswer::Refused),
                Probe::Unknown | Probe::Nowhere => Err(NoAnswer::Lost),
            }
        })
    }
}

/// Why an attempt came to nothing.
enum Failure {
    /// Nothing was changed; another node, or the same one later, may do it.
    NotDone(ControllerError),
    /// It is not known whether it was done.
    Unknown(ControllerError),
    /// The answer is no.
    No(ControllerError),
}

impl Controller {
    /// Has an operation carried out, and waits until this node's metadata and partitions have what
    /// came of it.
    ///
    /// # Errors
    /// When no active controller could be reached in time; the operation may have been carried
    /// out all the same.
    pub(super) async fn perform(&self, operation: Operation) -> Result<Outcome, ControllerError> {
        let (outcome, version) = self.carried_out(operation).await?;
        self.follow(version).await;
        Ok(outcome)
    }

    /// As [`perform`](Self::perform), without waiting for anything here.
    pub(super) async fn perform_unseen(
        &self,
        operation: Operation,
    ) -> Result<Outcome, ControllerError> {
        Ok(self.carried_out(operation).await?.0)
    }

    /// What came of an operation, and the version of the metadata that has it.
    async fn carried_out(&self, operation: Operation) -> Result<(Outcome, u64), ControllerError> {
        let repeatable = operation.is_repeatable();
        let request = ClusterRequest::Operation(operation);
        match self.ask(request, OPERATION_TIME, repeatable).await? {
            ClusterResponse::Outcome { outcome, version } => Ok((outcome, version)),
            _ => Err(ControllerError::odd_answer()),
        }
    }

    /// How the quorum is, as the active controller sees it.
    ///
    /// # Errors
    /// When there is none to be reached.
    pub(crate) async fn quorum_status(&self) -> Result<QuorumStatus, ControllerError> {
        match self
            .ask(ClusterRequest::QuorumStatus, OPERATION_TIME, true)
            .await?
        {
            ClusterResponse::QuorumStatus(status) => Ok(status),
            _ => Err(ControllerError::odd_answer()),
        }
    }

    /// Refuses what a member of another cluster asks: two clusters may have each other's addresses,
    /// where one was founded anew in the place of the other.
    ///
    /// # Errors
    /// Which cluster this is.
    pub(crate) fn check_kin(
        &self,
        cluster_id: Option<&str>,
        request: &ClusterRequest,
    ) -> Result<(), Refusal> {
        // These say what they belong to themselves, and are told what to do about it.
        if let ClusterRequest::Join(_) | ClusterRequest::Register(_) = request {
            return Ok(());
        }
        let image = self.image();
        match (cluster_id, image.cluster_id()) {
            (Some(theirs), Some(ours)) if theirs != &**ours => Err(Refusal {
                code: error_code::INCONSISTENT_CLUSTER_ID,
                message: format!("this is cluster \"{ours}\", not cluster \"{theirs}\""),
                leader: None,
            }),
            _ => Ok(()),
        }
    }

    /// Answers another node. What it does not have the right to decide, it refuses, naming who
    /// does.
    pub(crate) async fn answer(&self, request: ClusterRequest) -> ClusterResponse {
        match request {
            ClusterRequest::Quorum(message) => {
                ClusterResponse::Quorum(self.quorum.answer(message).await)
            }
            // At once, and not like one whose quorum has no leader now: whoever asks may be the one
            // that founds the cluster.
            ClusterRequest::Join(_) if self.quorum.is_new() => ClusterResponse::Refused(Refusal {
                code: error_code::BROKER_NOT_AVAILABLE,
                message: format!("broker {} is in no cluster itself", self.me()),
                leader: None,
            }),
            request => match self.serve(request).await {
                Ok(response) => response,
                Err(error) => ClusterResponse::Refused(self.refusal(error)),
            },
        }
    }

    fn refusal(&self, error: ControllerError) -> Refusal {
        Refusal {
            code: error.code,
            message: error.message,
            leader: self.quorum.leader_address(),
        }
    }

    /// Asks until there is an answer or `time` is over.
    async fn ask(
        &self,
        request: ClusterRequest,
        time: Duration,
        repeatable: bool,
    ) -> Result<ClusterResponse, ControllerError> {
        let deadline = Instant::now() + time;
        let mut leadership = self.quorum.leadership();
        loop {
            leadership.mark_unchanged();
            let error = match self.attempt(&request, deadline).await {
                Ok(response) => return Ok(response),
                Err(Failure::No(error)) => return Err(error),
                Err(Failure::Unknown(error)) if !repeatable => return Err(error),
                Err(Failure::Unknown(error) | Failure::NotDone(error)) => error,
            };
            let pause = Instant::now() + RETRY_PAUSE;
            if pause >= deadline {
                return Err(error);
            }
            // Whether it is over or there is a new leader, the next attempt finds out.
            drop(timeout_at(pause, leadership.changed()).await);
        }
    }

    async fn attempt(
        &self,
        request: &ClusterRequest,
        deadline: Instant,
    ) -> Result<ClusterResponse, Failure> {
        if self.is_active() {
            return self
                .serve(request.clone())
                .await
                .map_err(|error| match error.code {
                    error_code::NOT_CONTROLLER => Failure::NotDone(error),
                    error_code::REQUEST_TIMED_OUT => Failure::Unknown(error),
                    _ => Failure::No(error),
                });
        }
        let missing = || {
            ControllerError::new(
                error_code::REQUEST_TIMED_OUT,
                "the cluster has no active controller at the moment; too few voters of the metadata quorum are reachable",
            )
        };
        let Some((leader, address)) = self.quorum.leader_address() else {
            return Err(Failure::NotDone(missing()));
        };
        let silent = |how: &str| {
            ControllerError::new(
                error_code::REQUEST_TIMED_OUT,
                format!("the active controller, broker {leader} at {address}, {how}"),
            )
        };
        match self.others.call(&address, request.clone(), deadline).await {
            Ok(ClusterResponse::Refused(refusal)) => {
                let error = ControllerError::new(refusal.code, refusal.message);
                Err(match refusal.code {
                    error_code::NOT_CONTROLLER => Failure::NotDone(missing()),
                    error_code::INCONSISTENT_CLUSTER_ID => Failure::NotDone(error),
                    error_code::REQUEST_TIMED_OUT => Failure::Unknown(error),
                    _ => Failure::No(error),
                })
            }
            Ok(response) => Ok(response),
            Err(NoAnswer::Refused) => Err(Failure::NotDone(silent("is not running"))),
            Err(NoAnswer::Lost) => Err(Failure::Unknown(silent("did not answer"))),
        }
    }

    /// Waits, for a limited time, until this node's metadata has reached `version` and its
    /// partitions are what that says.
    pub(super) async fn follow(&self, version: u64) {
        let mut image = self.watch();
        let reached = image.wait_for(|image| image.version() >= version);
        if timeout(FOLLOW_TIME, reached).await.is_err() {
            tracing::warn!(version, "this node's metadata is behind what it asked for");
        }
        if let Some(mut applied) = self.applied.get().cloned() {
            let reached = applied.wait_for(|applied| *applied >= version);
            if timeout(APPLY_TIME, reached).await.is_err() {
                tracing::warn!(version, "this node's partitions are behind its metadata");
            }
        }
    }
}
