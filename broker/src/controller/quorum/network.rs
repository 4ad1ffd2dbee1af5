//! What members of the quorum send each other, and the sending side of it.
//!
//! Every message names the disk it is meant for. A node that lost its disk is another member even
//! if it has the same id: it neither votes for nor follows anybody under the old identity.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use openraft::error::{
    InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

use super::addresses::Addresses;
use super::raft_types::{LogId, Member, SnapshotMeta, Types, Vote, broker_id};
use crate::peer::PeerError;

/// How long a message may take before its connection is given up. Longer than openraft waits: a
/// disk that is slow for a moment costs no connection, and no entry is sent twice.
const MESSAGE_TIME: Duration = Duration::from_secs(5);
/// How long to leave a member alone that was not reached.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(100);

/// Carries messages of the quorum to other nodes.
pub(crate) trait QuorumNetwork: Send + Sync + 'static {
    /// Sends `message` to the node at `address`, and gives what its
    /// [`Quorum::answer`](super::Quorum::answer) said.
    fn send(
        &self,
        address: String,
        message: Value,
        within: Duration,
    ) -> BoxFuture<'static, Result<Value, PeerError>>;
}

/// One message and whose it is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Envelope {
    pub(super) to: u64,
    /// The disk that is meant.
    pub(super) directory: String,
    pub(super) from: u64,
    /// Where the sender is reached.
    pub(super) sender: Member,
    pub(super) message: Message,
}

/// See [`Envelope`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<u64>),
    Snapshot(SnapshotChunk),
    /// Would you vote for me?
    Canvass(Canvass),
}

/// A question that changes nothing, asked before an election (a pre-vote): a member that was cut
/// off does not disturb a leader that the others hear.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Canvass {
    pub(super) last_log_id: Option<LogId>,
    /// The leader is known to be dead, not only silent.
    pub(super) leader_died: bool,
}

/// A piece of a snapshot; its bytes in base64.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SnapshotChunk {
    vote: Vote,
    meta: SnapshotMeta,
    offset: u64,
    data: String,
    done: bool,
}

impl SnapshotChunk {
    fn new(request: InstallSnapshotRequest<Types>) -> Self {
        Self {
            vote: request.vote,
            meta: request.meta,
            offset: request.offset,
            data: STANDARD.encode(request.data),
            done: request.done,
        }
    }

    /// The request it stands for.
    ///
    /// # Errors
    /// When it is not base64.
    pub(super) fn into_request(self) -> Result<InstallSnapshotRequest<Types>, base64::DecodeError> {
        Ok(InstallSnapshotRequest {
            vote: self.vote,
            meta: self.meta,
            offset: self.offset,
            data: STANDARD.decode(self.data)?,
            done: self.done,
        })
    }
}

/// What a member answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Append(AppendEntriesResponse<u64>),
    Vote(VoteResponse<u64>),
    Snapshot(Result<InstallSnapshotResponse<u64>, InstallSnapshotError>),
    Canvass {
        granted: bool,
    },
    /// It could not answer.
    Failed(String),
}

/// Sends to any member.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) me: u64,
    pub(super) network: Arc<dyn QuorumNetwork>,
    pub(super) addresses: Arc<Addresses>,
}

impl Sender {
    /// Sends `message` to member `to`.
    ///
    /// # Errors
    /// When there is no answer, or not the kind that is expected.
    pub(super) fn send(
        &self,
        to: u64,
        member: &Member,
        message: Message,
        within: Duration,
    ) -> BoxFuture<'static, Result<Answer, PeerError>> {
        let envelope = Envelope {
            to,
            directory: member.directory.clone(),
            from: self.me,
            sender: self.addresses.me(),
            message,
        };
        let address = self.addresses.of(to, member);
        let sent = serde_json::to_value(envelope)
            .map(|message| self.network.send(address, message, within));
        async move {
            let answer = match sent {
                Ok(sent) => sent.await?,
                Err(error) => return Err(PeerError::Lost(error.to_string())),
            };
            match serde_json::from_value(answer) {
                Ok(Answer::Failed(reason)) => Err(PeerError::Lost(reason)),
                Ok(answer) => Ok(answer),
                Err(error) => Err(PeerError::Lost(format!(
                    "the answer is unreadable: {error}"
                ))),
            }
        }
        .boxed()
    }
}

impl RaftNetworkFactory<Types> for Sender {
    type Network = Link;

    async fn new_client(&mut self, target: u64, member: &Member) -> Link {
        Link {
            sender: self.clone(),
            target,
            member: member.clone(),
            appending: None,
            silent: false,
        }
    }
}

/// Sends to one member.
pub(super) struct Link {
    sender: Sender,
    target: u64,
    member: Member,
    /// Entries that openraft has stopped waiting for, but that are still on their way.
    appending: Option<(Sent, Appending)>,
    /// The last message got no answer.
    silent: bool,
}

type Appending = Shared<BoxFuture<'static, Result<Arc<Answer>, PeerError>>>;

/// Which entries an append carries.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sent {
    vote: Vote,
    prev: Option<LogId>,
    last: LogId,
}

impl Link {
    /// Says when the member stops or begins to answer, once.
    fn note(&mut self, failure: Option<&PeerError>) {
        if failure.is_some() == self.silent {
            return;
        }
        self.silent = failure.is_some();
        let broker = broker_id(self.target);
        match failure {
            Some(error) => {
                tracing::warn!(broker, %error, "a member of the metadata quorum does not answer");
            }
            None => tracing::info!(broker, "a member of the metadata quorum answers again"),
        }
    }

    fn send(&self, message: Message) -> BoxFuture<'static, Result<Answer, PeerError>> {
        let sending = self
            .sender
            .send(self.target, &self.member, message, MESSAGE_TIME);
        // In a task of its own, which goes on when openraft stops waiting.
        let task = tokio::spawn(sending);
        async move {
            match task.await {
                Ok(answer) => answer,
                Err(error) => Err(PeerError::Lost(error.to_string())),
            }
        }
        .boxed()
    }
}

fn rpc_error<E: std::error::Error>(error: &PeerError) -> RPCError<u64, Member, E> {
    match error {
        PeerError::Refused(_) | PeerError::Lost(_) => Unreachable::new(error).into(),
        PeerError::Timeout(_) => NetworkError::new(error).into(),
    }
}

fn unexpected<E: std::error::Error>() -> RPCError<u64, Member, E> {
    rpc_error(&PeerError::Lost(
        "the answer is to another question".to_owned(),
    ))
}

impl RaftNetwork<Types> for Link {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, Member, RaftError<u64>>> {
        let sent = request.entries.last().map(|last| Sent {
            vote: request.vote,
            prev: request.prev_log_id,
            last: last.log_id,
        });
        let appending = match (self.appending.take(), sent) {
            (Some((before, appending)), Some(now)) if before == now => appending,
            _ => {
                let sending = self.send(Message::Append(request));
                async move { sending.await.map(Arc::new) }.boxed().shared()
            }
        };
        self.appending = sent.map(|sent| (sent, appending.clone()));
        let answer = appending.await;
        self.appending = None;
        self.note(answer.as_ref().err());
        match answer.as_deref() {
            Ok(Answer::Append(AppendEntriesResponse::Success)) => {
                Ok(AppendEntriesResponse::Success)
            }
            Ok(Answer::Append(AppendEntriesResponse::Conflict)) => {
                Ok(AppendEntriesResponse::Conflict)
            }
            Ok(Answer::Append(AppendEntriesResponse::PartialSuccess(upto))) => {
                Ok(AppendEntriesResponse::PartialSuccess(*upto))
            }
            Ok(Answer::Append(AppendEntriesResponse::HigherVote(vote))) => {
                Ok(AppendEntriesResponse::HigherVote(*vote))
            }
            Ok(_) => Err(unexpected()),
            Err(error) => Err(rpc_error(error)),
        }
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Types>,
        _: RPCOption,
    ) -> Result<
        InstallSnapshotResponse<u64>,
        RPCError<u64, Member, RaftError<u64, InstallSnapshotError>>,
    > {
        let chunk = Message::Snapshot(SnapshotChunk::new(request));
        match self.send(chunk).await {
            Ok(Answer::Snapshot(Ok(answer))) => Ok(answer),
            Ok(Answer::Snapshot(Err(error))) => {
                Err(RemoteError::new(self.target, RaftError::APIError(error)).into())
            }
            Ok(_) => Err(unexpected()),
            Err(error) => Err(rpc_error(&error)),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        _: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, Member, RaftError<u64>>> {
        match self.send(Message::Vote(request)).await {
            Ok(Answer::Vote(answer)) => Ok(answer),
            Ok(_) => Err(unexpected()),
            Err(error) => Err(rpc_error(&error)),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(UNREACHABLE_PAUSE))
    }
}
