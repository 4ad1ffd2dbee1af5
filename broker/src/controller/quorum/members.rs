//! Who belongs to the quorum. All changes are made by the leader, one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use tokio::time::{Instant, timeout_at};

use super::raft_types::{Member, broker_id, raft_id};
use super::{Core, Quorum, QuorumError};

/// How long a change of the members may take to be agreed on.
const CHANGE_TIME: Duration = Duration::from_secs(10);
/// The pause before trying again while another change is under way.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

impl Core {
    /// All members by broker id, as this node knows them.
    pub(super) fn members(&self) -> BTreeMap<i32, Member> {
        self.metrics()
            .map(|metrics| {
                metrics
                    .membership_config
                    .nodes()
                    .map(|(id, member)| (broker_id(*id), member.clone()))
                    .collect()
            })
            .unwrap_or_default()
    }
}

impl Quorum {
    /// The members that vote.
    pub(crate) fn voters(&self) -> BTreeSet<i32> {
        self.core
            .metrics()
            .map(|metrics| {
                metrics
                    .membership_config
                    .voter_ids()
                    .map(broker_id)
                    .collect()
            })
            .unwrap_or_default()
    }

    /// The members that vote, as [`voters`](Self::voters), but none while that changes.
    pub(crate) fn settled_voters(&self) -> BTreeSet<i32> {
        let metrics = self.core.metrics();
        let settled = metrics.is_some_and(|metrics| {
            let membership = metrics.membership_config.membership();
            membership.get_joint_config().len() == 1
        });
        if settled {
            self.voters()
        } else {
            BTreeSet::new()
        }
    }

    /// All members by broker id.
    pub(crate) fn members(&self) -> BTreeMap<i32, Member> {
        self.core.members()
    }

    /// Takes broker `id` in as a member without a vote, which gets the metadata from now on. One
    /// that comes back with another disk begins anew, without the vote it had; one that comes
    /// back elsewhere is only noted.
    ///
    /// # Errors
    /// As [`propose`](Self::propose).
    pub(crate) async fn add_learner(&self, id: i32, member: Member) -> Result<(), QuorumError> {
        let known = self.members().get(&id).cloned();
        let nodes = BTreeMap::from([(raft_id(id), member.clone())]);
        match known {
            Some(known) if known == member => Ok(()),
            Some(known) if known.directory == member.directory => {
                self.change(ChangeMembers::SetNodes(nodes)).await
            }
            Some(_) => {
                self.remove(id).await?;
                self.change(ChangeMembers::AddNodes(nodes)).await
            }
            None => self.change(ChangeMembers::AddNodes(nodes)).await,
        }
    }

    /// Makes exactly these members vote; the others stay members. They should be alive and have
    /// caught up (see [`status`](Self::status)): a majority of them is needed from then on.
    ///
    /// # Errors
    /// As [`propose`](Self::propose); [`QuorumError::Refused`] when one of them is no member.
    pub(crate) async fn set_voters(&self, voters: BTreeSet<i32>) -> Result<(), QuorumError> {
        if voters == self.voters() {
            return Ok(());
        }
        let voters = voters.into_iter().map(raft_id).collect();
        self.change(ChangeMembers::ReplaceAllVoters(voters)).await
    }

    /// Takes broker `id` out, vote and all. Does nothing if it is no member.
    ///
    /// # Errors
    /// As [`propose`](Self::propose); [`QuorumError::Refused`] for the only voter.
    pub(crate) async fn remove(&self, id: i32) -> Result<(), QuorumError> {
        if !self.members().contains_key(&id) {
            return Ok(());
        }
        if self.voters().contains(&id) {
            self.change(ChangeMembers::RemoveVoters(BTreeSet::from([raft_id(id)])))
                .await?;
        }
        self.change(ChangeMembers::RemoveNodes(BTreeSet::from([raft_id(id)])))
            .await
    }

    /// Makes one change, in two steps where it changes who votes. It goes on when the caller is
    /// cancelled.
    async fn change(&self, change: ChangeMembers<u64, Member>) -> Result<(), QuorumError> {
        let deadline = Instant::now() + CHANGE_TIME;
        loop {
            let raft = self.core.raft()?;
            let change = change.clone();
            let changing =
                tokio::spawn(async move { raft.change_membership(change, true).await.map(drop) });
            let Ok(Ok(changed)) = timeout_at(deadline, changing).await else {
                return Err(QuorumError::Timeout);
            };
            return match changed {
                Ok(()) => Ok(()),
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                    Err(QuorumError::NotLeader {
                        leader: to.leader_id.map(broker_id),
                    })
                }
                Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                    ChangeMembershipError::InProgress(_),
                ))) if Instant::now() < deadline => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                    continue;
                }
                Err(RaftError::APIError(error)) => Err(QuorumError::Refused(error.to_string())),
                Err(RaftError::Fatal(_)) => Err(self.core.down()),
            };
        }
    }
}
