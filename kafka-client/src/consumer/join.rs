//! Joining a group: JoinGroup, the leader's assignment, SyncGroup. One attempt at a time, run as a
//! task, so that `poll` keeps its timeout.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_wire::join_group_request::JoinGroupRequestProtocol;
use kafka_wire::leave_group_request::MemberIdentity;
use kafka_wire::sync_group_request::SyncGroupRequestAssignment;
use kafka_wire::{JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest};
use kafka_wire_core::StrBytes;

use super::contact::{Contact, Peer};
use super::{Assignor, ConsumerConfig, protocol};
use crate::group_offsets::Committer;
use crate::pool::Pool;
use crate::{Client, ClientError, ErrorCode, TopicPartition};

const PROTOCOL_TYPE: &str = "consumer";
/// What the network may add to the time a rebalance takes.
const NETWORK_SLACK: Duration = Duration::from_secs(5);

/// What a consumer brings into a group.
#[derive(Debug, Clone)]
pub(super) struct Joining {
    pub(super) client: Client,
    pub(super) pool: Arc<Pool>,
    pub(super) contact: Arc<Contact>,
    pub(super) config: Arc<ConsumerConfig>,
    pub(super) group: String,
    pub(super) member_id: String,
    /// The last one it was in; -1 if none.
    pub(super) generation: i32,
    pub(super) topics: Vec<Arc<str>>,
    /// What it keeps while joining, in the cooperative protocol.
    pub(super) owned: Vec<TopicPartition>,
    /// Its former membership ended meanwhile, so that what it kept may be somebody else's.
    pub(super) lost: bool,
}

/// What it gets.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) member_id: String,
    pub(super) generation: i32,
    pub(super) assigned: Vec<TopicPartition>,
    /// It is a new member, and what it kept was lost.
    pub(super) lost: bool,
    /// For the leader, the numbers of partitions it spread; if they change it has to do so again.
    pub(super) spread: Option<BTreeMap<Arc<str>, i32>>,
}

enum Step<T> {
    Done(T),
    /// Again from the start, at once.
    Again,
    /// Again from the start, after a wait.
    Later(ClientError),
}

impl Joining {
    /// Joins, trying again as long as that can help.
    pub(super) async fn run(mut self) -> Result<Joined, ClientError> {
        let mut backoff = self.client.backoff();
        loop {
            match self.attempt().await {
                Ok(Step::Done(joined)) => {
                    self.contact.restored(Peer::Coordinator);
                    return Ok(joined);
                }
                Ok(Step::Again) => {}
                Ok(Step::Later(error)) => {
                    self.contact.failed(Peer::Coordinator, &error);
                    self.client.note_coordinator_error(&self.group, &error);
                    tracing::debug!(group = %self.group, "joining again: {error}");
                    backoff.sleep().await;
                }
                Err(error) if error.is_retriable() => {
                    self.contact.failed(Peer::Coordinator, &error);
                    self.client.note_coordinator_error(&self.group, &error);
                    tracing::debug!(group = %self.group, "joining again: {error}");
                    backoff.sleep().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn attempt(&mut self) -> Result<Step<Joined>, ClientError> {
        let response = match self.join().await? {
            Step::Done(response) => response,
            Step::Again => return Ok(Step::Again),
            Step::Later(error) => return Ok(Step::Later(error)),
        };
        response.member_id.as_str().clone_into(&mut self.member_id);
        self.generation = response.generation_id;
        let name = response
            .protocol_name
            .as_deref()
            .unwrap_or_default()
            .to_owned();
        let mut spread = None;
        let mut assignments = Vec::new();
        if response.leader == response.member_id && !response.skip_assignment {
            let (counts, given) = self.assign(&name, &response).await?;
            spread = Some(counts);
            for (member_id, partitions) in given {
                let mut assignment = SyncGroupRequestAssignment::default();
                assignment.member_id = StrBytes::from(member_id.as_str());
                assignment.assignment = protocol::encode_assignment(&partitions)?;
                assignments.push(assignment);
            }
        }
        Ok(match self.sync(name, assignments).await? {
            Step::Done(assigned) => Step::Done(Joined {
                member_id: self.member_id.clone(),
                generation: self.generation,
                assigned,
                lost: self.lost,
                spread,
            }),
            Step::Again => Step::Again,
            Step::Later(error) => Step::Later(error),
        })
    }

    async fn join(&mut self) -> Result<Step<JoinGroupResponse>, ClientError> {
        let addr = self.client.coordinator(&self.group).await?;
        let connection = self.pool.get(&addr).await?;
        let version = connection.version::<JoinGroupRequest>(None)?;
        let mut request = JoinGroupRequest::default();
        request.group_id = StrBytes::from(self.group.as_str());
        request.session_timeout_ms = milliseconds(self.config.session_timeout);
        request.rebalance_timeout_ms = if version.value() >= 1 {
            milliseconds(self.config.max_poll_interval)
        } else {
            -1
        };
        request.member_id = StrBytes::from(self.member_id.as_str());
        if version.value() >= 5 {
            request.group_instance_id =
                self.config.group_instance_id.as_deref().map(StrBytes::from);
        }
        request.protocol_type = StrBytes::from(PROTOCOL_TYPE);
        for assignor in &self.config.assignors {
            let mut offered = JoinGroupRequestProtocol::default();
            offered.name = StrBytes::from(assignor.name());
            offered.metadata =
                protocol::encode_subscription(&self.topics, &self.owned, self.generation, None)?;
            request.protocols.push(offered);
        }
        let timeout = self
            .config
            .max_poll_interval
            .max(self.client.config().request_timeout)
            .saturating_add(NETWORK_SLACK);
        let response = connection.call(&request, version, timeout).await?;
        let code = ErrorCode(response.error_code);
        match code {
            ErrorCode::NONE => Ok(Step::Done(response)),
            // The coordinator gives the id first and wants to see it again (KIP-394).
            ErrorCode::MEMBER_ID_REQUIRED => {
                response.member_id.as_str().clone_into(&mut self.member_id);
                Ok(Step::Again)
            }
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION => {
                self.forget_membership();
                Ok(Step::Again)
            }
            ErrorCode::REBALANCE_IN_PROGRESS => Ok(Step::Later(self.error(code))),
            _ => Err(self.error(code)),
        }
    }

    async fn sync(
        &mut self,
        name: String,
        assignments: Vec<SyncGroupRequestAssignment>,
    ) -> Result<Step<Vec<TopicPartition>>, ClientError> {
        let addr = self.client.coordinator(&self.group).await?;
        let connection = self.pool.get(&addr).await?;
        let version = connection.version::<SyncGroupRequest>(None)?;
        let mut request = SyncGroupRequest::default();
        request.group_id = StrBytes::from(self.group.as_str());
        request.generation_id = self.generation;
        request.member_id = StrBytes::from(self.member_id.as_str());
        if version.value() >= 3 {
            request.group_instance_id =
                self.config.group_instance_id.as_deref().map(StrBytes::from);
        }
        if version.value() >= 5 {
            request.protocol_type = Some(StrBytes::from(PROTOCOL_TYPE));
            request.protocol_name = Some(StrBytes::from(name));
        }
        request.assignments = assignments;
        let timeout = self
            .config
            .max_poll_interval
            .max(self.client.config().request_timeout)
            .saturating_add(NETWORK_SLACK);
        let response = connection.call(&request, version, timeout).await?;
        let code = ErrorCode(response.error_code);
        match code {
            ErrorCode::NONE => Ok(Step::Done(protocol::decode_assignment(
                response.assignment,
            )?)),
            ErrorCode::REBALANCE_IN_PROGRESS => Ok(Step::Again),
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION => {
                self.forget_membership();
                Ok(Step::Later(self.error(code)))
            }
            _ => Err(self.error(code)),
        }
    }

    fn forget_membership(&mut self) {
        self.lost = true;
        self.owned.clear();
        self.member_id.clear();
        self.generation = -1;
    }

    fn error(&self, code: ErrorCode) -> ClientError {
        let way_out = match code {
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL => {
                "; its other members support none of this member's assignment strategies, or it is not a group of consumers"
            }
            ErrorCode::FENCED_INSTANCE_ID => {
                "; another process uses the same group.instance.id, give each its own"
            }
            ErrorCode::INVALID_SESSION_TIMEOUT => {
                "; session.timeout.ms must be between the broker's group.min.session.timeout.ms and group.max.session.timeout.ms"
            }
            ErrorCode::GROUP_MAX_SIZE_REACHED => "; raise the broker's group.max.size",
            _ => "",
        };
        ClientError::broker(
            code,
            format!("cannot join group \"{}\"{way_out}", self.group),
        )
    }

    /// The leader's part: learns how many partitions there are, and spreads them.
    async fn assign(
        &self,
        name: &str,
        response: &JoinGroupResponse,
    ) -> Result<(BTreeMap<Arc<str>, i32>, super::assignor::Assignment), ClientError> {
        let assignor = Assignor::from_name(name).ok_or_else(|| ClientError::Protocol {
            context: format!("group \"{}\" chose an assignment strategy", self.group),
            reason: format!("\"{name}\", which this client doesn't know"),
        })?;
        let mut members = Vec::with_capacity(response.members.len());
        for member in &response.members {
            members.push(protocol::decode_subscription(
                member.member_id.as_str(),
                member.group_instance_id.as_deref(),
                member.metadata.clone(),
            )?);
        }
        let mut topics: Vec<Arc<str>> = members
            .iter()
            .flat_map(|member| member.topics.iter().map(|topic| Arc::from(topic.as_str())))
            .collect();
        topics.sort();
        topics.dedup();
        if !topics.is_empty() {
            self.client
                .refresh(&topics, self.config.allow_auto_create_topics)
                .await?;
        }
        let counts: BTreeMap<Arc<str>, i32> = topics
            .into_iter()
            .map(|topic| {
                let known = self.client.metadata().topic(&topic);
                let count = known.map_or(0, |known| known.partitions.len());
                (topic, i32::try_from(count).unwrap_or(i32::MAX))
            })
            .collect();
        let assignment = assignor.assign(&members, &counts);
        Ok((counts, assignment))
    }
}

/// Leaves a group, also as a static member.
pub(super) async fn leave(
    client: &Client,
    pool: &Pool,
    group: &str,
    leaver: &Committer,
    reason: &str,
) -> Result<(), ClientError> {
    let addr = client.coordinator(group).await?;
    let connection = pool.get(&addr).await?;
    let version = connection.version::<LeaveGroupRequest>(None)?;
    let mut request = LeaveGroupRequest::default();
    request.group_id = StrBytes::from(group);
    if version.value() >= 3 {
        let mut member = MemberIdentity::default();
        member.member_id = StrBytes::from(leaver.member_id.as_str());
        member.group_instance_id = leaver.instance_id.as_deref().map(StrBytes::from);
        if version.value() >= 5 {
            member.reason = Some(StrBytes::from(reason));
        }
        request.members = vec![member];
    } else {
        request.member_id = StrBytes::from(leaver.member_id.as_str());
    }
    let response = connection
        .call(&request, version, client.config().request_timeout)
        .await?;
    let refused = response.members.iter().map(|member| member.error_code);
    let code = std::iter::once(response.error_code).chain(refused);
    ClientError::check(
        code.into_iter().find(|code| *code != 0).unwrap_or(0),
        None,
        || format!("cannot leave group \"{group}\""),
    )
}

pub(super) fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
