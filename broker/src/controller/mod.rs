//! What the cluster agrees on: topics, their partitions and configuration, brokers, producer ids.
//!
//! The metadata is a replicated log of records (`quorum`) and, on every node, the
//! [`MetadataImage`] they add up to. The leader of the quorum is the active controller, which alone
//! decides: a decision is a `plan`, a pure function from the image to records, made and agreed on
//! one at a time. What may be decided is in `topics`, `topic_config`, `elections`, `isr`,
//! `placement`, `reassignment`, `registration`, `internal_topics` and `membership`.
//!
//! Any node can be asked: `forward` takes what changes something to the active controller, where
//! `serve` carries it out. What the active controller does by itself is in `active`; `liveness` is
//! the only thing it knows that is not in the metadata. What the metadata means for the partitions
//! of a node is not done here.

mod active;
mod elections;
pub(crate) mod folder;
mod forward;
pub(crate) mod image;
mod internal_topics;
mod isr;
mod liveness;
mod membership;
pub(crate) mod operation;
mod operations;
mod placement;
mod plan;
pub(crate) mod quorum;
mod reassignment;
pub(crate) mod record;
mod registration;
mod serve;
mod topic_config;
pub(crate) mod topic_name;
mod topics;

#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

pub(crate) use self::active::Background;
#[cfg(test)]
pub(crate) use self::forward::NoAnswer;
pub(crate) use self::forward::Others;
pub(crate) use self::image::{MetadataImage, TopicImage};
use self::liveness::Sessions;
use self::plan::Plan;
use self::quorum::{Leadership, Quorum, QuorumError};
use self::record::MetadataRecord;
pub(crate) use self::topic_config::{ConfigChange, ConfigOperation};
pub(crate) use self::topics::{NewTopic, internal_settings};
use crate::config::BrokerConfig;
use crate::config::layers::Layers;
use crate::error_code;
use crate::log::LogConfig;

/// Why a change is refused.
#[derive(Clone, Debug, Error, serde::Serialize, serde::Deserialize)]
#[error("{message}")]
pub(crate) struct ControllerError {
    /// Kafka's error code.
    pub(crate) code: i16,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

impl ControllerError {
    pub(crate) fn new(code: i16, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    fn unknown_topic(name: &str) -> Self {
        Self::new(
            error_code::UNKNOWN_TOPIC_OR_PARTITION,
            format!("topic \"{name}\" does not exist"),
        )
    }

    fn unknown_partition(name: &str, index: i32) -> Self {
        Self::new(
            error_code::UNKNOWN_TOPIC_OR_PARTITION,
            format!("topic \"{name}\" has no partition {index}"),
        )
    }

    fn no_member(id: i32) -> Self {
        Self::new(
            error_code::BROKER_ID_NOT_REGISTERED,
            format!("broker {id} is not part of the cluster"),
        )
    }

    fn another_disk(id: i32) -> Self {
        Self::new(
            error_code::INVALID_REQUEST,
            format!(
                "broker {id} has another disk by now than the one that was meant; ask again if it is to go, too"
            ),
        )
    }

    fn storage(error: &impl std::fmt::Display) -> Self {
        Self::new(error_code::KAFKA_STORAGE_ERROR, error.to_string())
    }

    fn odd_answer() -> Self {
        Self::new(
            error_code::UNKNOWN_SERVER_ERROR,
            "the active controller answered another question; are all brokers of the same version?",
        )
    }
}

impl From<QuorumError> for ControllerError {
    fn from(error: QuorumError) -> Self {
        let code = match error {
            QuorumError::NotLeader { .. } => error_code::NOT_CONTROLLER,
            QuorumError::Storage(_) => error_code::KAFKA_STORAGE_ERROR,
            QuorumError::Timeout => error_code::REQUEST_TIMED_OUT,
            QuorumError::Refused(_) => error_code::INVALID_REQUEST,
        };
        Self::new(code, error.to_string())
    }
}

/// The folder of the metadata, beside those of the partitions.
pub(crate) const METADATA_FOLDER: &str = "__cluster_metadata";

/// Ended connections that wait to be looked into; beyond that, sessions run out by themselves.
const LOST_CONNECTIONS_MAX: usize = 1024;

/// This node's part in deciding about the cluster's metadata, and what the APIs ask about it.
pub(crate) struct Controller {
    config: Arc<BrokerConfig>,
    cluster_id: OnceLock<String>,
    quorum: Arc<Quorum>,
    others: Arc<dyn Others>,
    /// Held from deciding until that is agreed on. Inside: the term in which this node's metadata
    /// is known to be complete, and decisions can be made on it.
    turn: Arc<tokio::sync::Mutex<Option<u64>>>,
    /// Held while the members of the quorum change.
    membership: tokio::sync::Mutex<()>,
    sessions: Mutex<Sessions>,
    lost: mpsc::Sender<(i32, i64)>,
    lost_receiver: tokio::sync::Mutex<mpsc::Receiver<(i32, i64)>>,
    /// Producer ids that were taken for this node and that nobody has yet.
    producer_ids: tokio::sync::Mutex<Range<i64>>,
    /// Up to which version this node's partitions are what the metadata says.
    applied: OnceLock<watch::Receiver<u64>>,
}

impl Controller {
    /// The controller of a node that is a member of `quorum`, and reaches the others by `others`.
    pub(crate) fn new(
        config: Arc<BrokerConfig>,
        quorum: Arc<Quorum>,
        others: Arc<dyn Others>,
    ) -> Self {
        let (lost, lost_receiver) = mpsc::channel(LOST_CONNECTIONS_MAX);
        Self {
            config,
            cluster_id: OnceLock::new(),
            quorum,
            others,
            turn: Arc::default(),
            membership: tokio::sync::Mutex::default(),
            sessions: Mutex::default(),
            lost,
            lost_receiver: tokio::sync::Mutex::new(lost_receiver),
            producer_ids: tokio::sync::Mutex::new(0..0),
            applied: OnceLock::new(),
        }
    }

    /// From now on, changes that were asked for here are answered when `applied` has reached
    /// their version: when this node's partitions are what the metadata says.
    pub(crate) fn wait_for_partitions(&self, applied: watch::Receiver<u64>) {
        if self.applied.set(applied).is_err() {
            tracing::error!("the partitions' version is given to the controller twice");
        }
    }

    /// The metadata as of now.
    pub(crate) fn image(&self) -> Arc<MetadataImage> {
        self.quorum.image()
    }

    /// Follows the metadata.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.quorum.watch()
    }

    /// The cluster's id; empty until this node knows it.
    pub(crate) fn cluster_id(&self) -> &str {
        if let Some(id) = self.cluster_id.get() {
            return id;
        }
        match self.image().cluster_id() {
            Some(id) => self.cluster_id.get_or_init(|| id.to_string()),
            None => "",
        }
    }

    /// Who leads the quorum, as far as this node knows.
    pub(crate) fn leadership(&self) -> Leadership {
        *self.quorum.leadership().borrow()
    }

    /// Whether this node is the active controller.
    pub(crate) fn is_active(&self) -> bool {
        self.leadership().leader == Some(self.me())
    }

    /// The settings that apply to `topic`, as of `image`.
    pub(crate) fn layers<'a>(
        &'a self,
        image: &'a MetadataImage,
        topic: Option<&'a TopicImage>,
    ) -> Layers<'a> {
        Layers {
            topic: topic.map(|topic| &topic.config),
            broker: image.broker_config(&self.config.node_id.to_string()),
            all_brokers: image.broker_config(""),
            ..self.config.layers()
        }
    }

    /// What `topic`'s logs are configured with.
    pub(crate) fn log_config(&self, image: &MetadataImage, topic: &TopicImage) -> LogConfig {
        crate::config::log_config(&self.layers(image, Some(topic)))
    }

    /// A connection that carried the heartbeats of `broker` ended: its process may be gone.
    pub(crate) fn connection_lost(&self, broker: i32, epoch: i64) {
        if self.lost.try_send((broker, epoch)).is_err() {
            tracing::debug!(broker, "too many connections ended at once");
        }
    }

    fn me(&self) -> i32 {
        self.config.node_id
    }

    /// A number in the configuration file, or its default.
    fn number(&self, key: &str, default: u64) -> u64 {
        let set = self.config.settings.get(key);
        set.and_then(|value| value.trim().parse().ok())
            .unwrap_or(default)
    }

    /// How long a broker may be silent: a little less than configured, so that when its session is over
    /// others lead what it led, and clients know it.
    fn session_timeout(&self) -> Duration {
        let session = self.number("broker.session.timeout.ms", 3000).max(1);
        let heartbeat = self.number("broker.heartbeat.interval.ms", 500);
        let telling = (session.saturating_sub(heartbeat) / 8).min(200);
        Duration::from_millis(session - telling)
    }

    /// Makes a decision and has it agreed on; gives what `decide` gave, and metadata that has it.
    /// Once agreement is asked for, it goes on even if the caller is cancelled.
    ///
    /// # Errors
    /// `NOT_CONTROLLER` when this node may not decide; `REQUEST_TIMED_OUT` when it is not known
    /// whether it was agreed on.
    async fn decide<T>(
        &self,
        decide: impl FnOnce(&mut Plan<'_>) -> T,
    ) -> Result<(T, Arc<MetadataImage>), ControllerError> {
        let mut turn = self.turn.clone().lock_owned().await;
        let leadership = self.leadership();
        if leadership.leader != Some(self.me()) {
            return Err(QuorumError::NotLeader {
                leader: leadership.leader,
            }
            .into());
        }
        if *turn != Some(leadership.term) {
            // Whatever earlier leaders had agreed on is in the metadata when this is.
            self.quorum.propose(Vec::new()).await?;
            *turn = Some(leadership.term);
        }
        let image = self.image();
        let (decided, records) = {
            let mut plan = Plan::new(&image, &self.config);
            let decided = decide(&mut plan);
            (decided, plan.into_records())
        };
        if records.is_empty() {
            return Ok((decided, image));
        }
        let quorum = self.quorum.clone();
        // It ends when the quorum has answered, which it does in limited time.
        let agreeing = tokio::spawn(async move {
            let agreed = quorum.propose(records).await;
            if agreed.is_err() {
                // It may still come; the next decision waits until that is known.
                *turn = None;
            }
            drop(turn);
            agreed
        });
        match agreeing.await {
            Ok(agreed) => Ok((decided, agreed?)),
            Err(error) => Err(ControllerError::storage(&error)),
        }
    }

    /// Position of the last record in this node's metadata log, agreed on or not.
    pub(crate) fn metadata_end(&self) -> u64 {
        self.quorum.log_end()
    }

    /// The brokers that vote in the metadata quorum; none while that changes.
    pub(crate) fn voters(&self) -> Vec<i32> {
        self.quorum.settled_voters().into_iter().collect()
    }

    /// As [`decide`](Self::decide), without having it agreed on.
    fn validate<T>(&self, decide: impl FnOnce(&mut Plan<'_>) -> T) -> T {
        decide(&mut Plan::new(&self.image(), &self.config))
    }

    /// Has records agreed on that were decided elsewhere on this node, which has to be the active
    /// controller: topics found in the data folder of a cluster that was founded just now.
    ///
    /// # Errors
    /// As for every decision.
    pub(crate) async fn take_in(
        &self,
        records: Vec<MetadataRecord>,
    ) -> Result<(), ControllerError> {
        self.decide(|plan| {
            for record in records {
                plan.push(record);
            }
        })
        .await
        .map(|_| ())
    }
}
