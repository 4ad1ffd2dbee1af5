//! Placeholder until the controller has these; see `forward`.
use super::quorum::{Leadership, QuorumStatus};
use super::operation::{Election, Reassignment, RemovalProgress};
use super::{Controller, ControllerError};

impl Controller {
    pub(crate) fn leadership(&self) -> Leadership {
        *self.quorum.leadership().borrow()
    }
    pub(crate) async fn elect_leaders(
        &self,
        _election: Election,
        _partitions: Option<Vec<(String, i32)>>,
    ) -> Result<Vec<(String, i32, Result<(), ControllerError>)>, ControllerError> {
        Ok(Vec::new())
    }
    pub(crate) async fn reassign(
        &self,
        _changes: Vec<Reassignment>,
        _allow_factor_change: bool,
    ) -> Result<Vec<Result<(), ControllerError>>, ControllerError> {
        Ok(Vec::new())
    }
    pub(crate) async fn remove_broker(
        &self,
        _id: i32,
        _force: bool,
    ) -> Result<RemovalProgress, ControllerError> {
        Ok(RemovalProgress { replicas: 0, gone: true })
    }
    pub(crate) async fn quorum_status(&self) -> Result<QuorumStatus, ControllerError> {
        Ok(self.quorum.status())
    }
}
