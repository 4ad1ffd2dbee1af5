//! The background task that keeps a membership alive while the application works.

use std::sync::Arc;
use std::time::Duration;

use kafka_wire::HeartbeatRequest;
use kafka_wire_core::StrBytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::contact::{Contact, Peer};
use super::{ConsumerConfig, join};
use crate::group_offsets::Committer;
use crate::pool::Pool;
use crate::{Client, ClientError, ErrorCode};

/// The least time a coordinator gets to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A membership; dropping it stops the heartbeats.
#[derive(Debug)]
pub(super) struct Heartbeat {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    pool: Arc<Pool>,
    contact: Arc<Contact>,
    config: Arc<ConsumerConfig>,
    group: String,
    committer: Committer,
    verdict: Mutex<Option<Verdict>>,
    last_poll: Arc<Mutex<Instant>>,
    /// Wakes `poll`.
    wake: Arc<Notify>,
}

/// What the coordinator thinks of this member.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// The group rebalances: join again.
    Rebalance,
    /// It is no longer a member.
    Lost(ClientError),
}

impl Heartbeat {
    pub(super) fn start(
        client: Client,
        pool: Arc<Pool>,
        contact: Arc<Contact>,
        config: Arc<ConsumerConfig>,
        committer: Committer,
        last_poll: Arc<Mutex<Instant>>,
        wake: Arc<Notify>,
    ) -> Self {
        let verdict = Mutex::new(None);
        let group = config.group_id.clone().unwrap_or_default();
        let shared = Arc::new(Shared {
            client,
            pool,
            contact,
            config,
            group,
            committer,
            verdict,
            last_poll,
            wake,
        });
        let task = tokio::spawn(Arc::clone(&shared).run());
        Self { shared, task }
    }

    pub(super) fn stop(&self) {
        self.task.abort();
    }

    pub(super) fn committer(&self) -> &Committer {
        &self.shared.committer
    }

    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.shared.verdict.lock().clone()
    }

    /// The coordinator refused something else with this error.
    pub(super) fn note(&self, error: &ClientError) {
        self.shared.judge(error);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn run(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.config.heartbeat_interval).await;
            let idle = self.last_poll.lock().elapsed();
            if idle > self.config.max_poll_interval {
                self.leave_because_stuck().await;
                return;
            }
            let mut backoff = self.client.backoff();
            while let Err(error) = self.beat().await {
                self.client.note_coordinator_error(&self.group, &error);
                if self.judge(&error) {
                    if matches!(self.verdict(), Some(Verdict::Lost(_))) {
                        return;
                    }
                    break;
                }
                self.contact.failed(Peer::Coordinator, &error);
                tracing::debug!(group = %self.group, "heartbeat: {error}");
                backoff.sleep().await;
            }
            self.contact.restored(Peer::Coordinator);
        }
    }

    fn verdict(&self) -> Option<Verdict> {
        self.verdict.lock().clone()
    }

    /// Keeps what an error says about the membership; `false` if it says nothing.
    fn judge(&self, error: &ClientError) -> bool {
        let verdict = match error.code() {
            Some(ErrorCode::REBALANCE_IN_PROGRESS) => Verdict::Rebalance,
            Some(
                ErrorCode::ILLEGAL_GENERATION
                | ErrorCode::UNKNOWN_MEMBER_ID
                | ErrorCode::FENCED_INSTANCE_ID,
            ) => Verdict::Lost(error.clone()),
            _ => return false,
        };
        let mut known = self.verdict.lock();
        if !matches!(*known, Some(Verdict::Lost(_))) {
            *known = Some(verdict);
        }
        drop(known);
        self.wake.notify_one();
        true
    }

    async fn leave_because_stuck(&self) {
        tracing::warn!(
            group = %self.group,
            "poll was not called for {:?}, so this consumer leaves the group; poll more often or raise max.poll.interval.ms",
            self.config.max_poll_interval
        );
        let error = ClientError::Usage {
            reason: format!(
                "poll was not called for {:?}; poll more often or raise max.poll.interval.ms",
                self.config.max_poll_interval
            ),
        };
        *self.verdict.lock() = Some(Verdict::Lost(error));
        if self.committer.instance_id.is_none() {
            let leaver = &self.committer;
            let reason = "consumer poll timeout has expired";
            if let Err(error) =
                join::leave(&self.client, &self.pool, &self.group, leaver, reason).await
            {
                tracing::debug!("{error}");
            }
        }
        self.wake.notify_one();
    }

    async fn beat(&self) -> Result<(), ClientError> {
        let addr = self.client.coordinator(&self.group).await?;
        let connection = self.pool.get(&addr).await?;
        let version = connection.version::<HeartbeatRequest>(None)?;
        let mut request = HeartbeatRequest::default();
        request.group_id = StrBytes::from(self.group.as_str());
        request.generation_id = self.committer.generation;
        request.member_id = StrBytes::from(self.committer.member_id.as_str());
        if version.value() >= 3 {
            request.group_instance_id = self.committer.instance_id.as_deref().map(StrBytes::from);
        }
        // Answered from memory. A coordinator that hangs must be noticed while there is time to
        // find the next one, for commits, too: they use the same connection and fail with it.
        let timeout = self
            .config
            .heartbeat_interval
            .max(PATIENCE)
            .min(self.client.config().request_timeout);
        let response = connection.call(&request, version, timeout).await?;
        ClientError::check(response.error_code, None, || {
            format!("heartbeat of group \"{}\"", self.group)
        })
    }
}
