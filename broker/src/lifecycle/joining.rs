//! The beginning of a broker whose data folder is empty: it founds a cluster or joins one.
//!
//! Only the first of the seeds founds, and only when none of the others knows a cluster: a broker
//! whose disk was replaced must not found a second one. Where all others are there and new, that is
//! certain at once; otherwise they get a moment to turn up. One that may be there and says nothing may
//! be in a cluster that cannot agree on anything at the moment, or behind a network that swallows what
//! it says, so it is waited for. All others ask until they are taken in.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::{Addresses, MISTAKE_TIME};
use crate::controller::quorum::Quorum;
use crate::error::BrokerError;
use crate::error_code;
use crate::peer::{ClusterRequest, ClusterResponse, JoinRequest, PeerError, Peers, Probe, Refusal};

/// How long the others do not run before the first seed founds a cluster.
const FOUNDING_TIME: Duration = Duration::from_secs(2);
/// The same where their names have no address, which may be for want of a network that is not up
/// yet.
const NAMELESS_FOUNDING_TIME: Duration = Duration::from_secs(10);
/// Between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(200);
/// How long one answer may take; being taken in is agreed on by the others' quorum.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// How long the cluster's first word may take after this broker was taken in.
const FIRST_WORD_TIME: Duration = Duration::from_secs(10);
/// How often a broker that waits says so.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Joining<'a> {
    pub(crate) quorum: &'a Quorum,
    pub(crate) peers: &'a Peers,
    pub(crate) addresses: &'a Addresses,
    pub(crate) request: JoinRequest,
}

/// How it came to be in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// It is a cluster of its own.
    Founded,
    /// It was taken into this one.
    Joined(String),
}

/// What the seeds said in one round.
enum Round {
    Joined(String),
    /// Each says that it is in no cluster itself.
    AllNew,
    /// Some do not run, and no other is in a cluster. How long that has to be so before one is
    /// founded.
    Nobody(String, Duration),
    /// One does not answer and may be there; it may be in a cluster.
    Silent(String),
    /// There is a cluster, which does not take it in now.
    NotNow(Refusal),
    /// It never will.
    Never(Refusal),
}

impl Joining<'_> {
    /// Returns when this broker is a member of a quorum.
    ///
    /// # Errors
    /// When the cluster refuses it for good, or the quorum's disk fails.
    pub(crate) async fn begin(self) -> Result<Begun, BrokerError> {
        if self.addresses.others.is_empty() {
            return self.found().await;
        }
        let begun = Instant::now();
        // Data of a cluster must not become another one's.
        let mut may_found = self.addresses.founder && self.request.cluster_id.is_none();
        let mut in_use_since = None;
        let mut nobody_since = None;
        let mut said = begun;
        loop {
            let asked = Instant::now();
            let limit = if may_found {
                asked + FOUNDING_TIME
            } else {
                asked + ANSWER_TIME
            };
            let round = self.ask_all(limit).await;
            if !matches!(round, Round::Nobody(..)) {
                nobody_since = None;
            }
            let why = match round {
                Round::Joined(cluster_id) => {
                    if self.hears_the_cluster().await {
                        return Ok(Begun::Joined(cluster_id));
                    }
                    may_found = false;
                    "it was taken in but hears nothing; the other brokers may not reach its address"
                        .to_owned()
                }
                Round::Never(refusal) => return Err(BrokerError::Cluster(refusal.message)),
                Round::NotNow(refusal) => {
                    may_found = false;
                    if refusal.code == error_code::DUPLICATE_BROKER_REGISTRATION {
                        let since = *in_use_since.get_or_insert_with(Instant::now);
                        if since.elapsed() >= MISTAKE_TIME {
                            return Err(BrokerError::Cluster(refusal.message));
                        }
                    }
                    refusal.message
                }
                Round::AllNew if may_found => return self.found().await,
                Round::AllNew => "the first of the seeds has not founded it yet".to_owned(),
                Round::Silent(why) if may_found => format!(
                    "{why}; with an empty folder this broker founds no cluster while that broker may be in one: start it, or take it out of controller.quorum.bootstrap.servers"
                ),
                Round::Silent(why) => why,
                Round::Nobody(why, patience) => {
                    let since = *nobody_since.get_or_insert(asked);
                    if may_found && since.elapsed() + PAUSE >= patience {
                        return self.found().await;
                    }
                    why
                }
            };
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                tracing::warn!(
                    seeds = self.addresses.others.join(","),
                    "waiting for the cluster: {why}"
                );
            }
            sleep(PAUSE).await;
        }
    }

    async fn found(&self) -> Result<Begun, BrokerError> {
        self.quorum
            .found()
            .await
            .map_err(|error| BrokerError::Storage(error.to_string()))?;
        Ok(Begun::Founded)
    }

    /// Asks every seed once.
    async fn ask_all(&self, limit: Instant) -> Round {
        let asked = self
            .addresses
            .others
            .iter()
            .map(|seed| self.ask(seed, limit));
        let mut round = Round::AllNew;
        for answer in join_all(asked).await {
            round = match (round, answer) {
                (joined @ Round::Joined(_), _) | (_, joined @ Round::Joined(_)) => joined,
                (never @ Round::Never(_), _) | (_, never @ Round::Never(_)) => never,
                (not_now @ Round::NotNow(_), _) | (_, not_now @ Round::NotNow(_)) => not_now,
                (silent @ Round::Silent(_), _) | (_, silent @ Round::Silent(_)) => silent,
                (Round::Nobody(why, one), Round::Nobody(_, other)) => {
                    Round::Nobody(why, one.max(other))
                }
                (nobody @ Round::Nobody(..), _) | (_, nobody @ Round::Nobody(..)) => nobody,
                (Round::AllNew, Round::AllNew) => Round::AllNew,
            };
        }
        round
    }

    /// Asks one seed, and whom it names.
    async fn ask(&self, seed: &str, limit: Instant) -> Round {
        let mut address = seed.to_owned();
        for hop in 0..REFERRALS_MAX {
            let request = ClusterRequest::Join(self.request.clone());
            let refusal = match self.peers.call(&address, request, limit).await {
                Ok(ClusterResponse::Joined(joined)) => return Round::Joined(joined.cluster_id),
                Ok(ClusterResponse::Refused(refusal)) => refusal,
                Ok(_) => return Round::Silent(format!("{address} answered another question")),
                Err(error) if hop == 0 => return self.unanswered(&address, &error).await,
                // Who named it is in a cluster.
                Err(error) => return Round::NotNow(not_now(error.to_string())),
            };
            match refusal.code {
                error_code::BROKER_NOT_AVAILABLE if hop == 0 => return Round::AllNew,
                error_code::INCONSISTENT_CLUSTER_ID | error_code::INVALID_REQUEST => {
                    return Round::Never(refusal);
                }
                error_code::NOT_CONTROLLER => match &refusal.leader {
                    // The others do not know yet that this broker's former process is gone.
                    Some((leader, _)) if *leader == self.request.broker => {
                        return Round::NotNow(refusal);
                    }
                    Some((_, leader)) if *leader != address => address.clone_from(leader),
                    _ => return Round::NotNow(refusal),
                },
                _ => return Round::NotNow(refusal),
            }
        }
        Round::NotNow(not_now("the brokers do not agree on who leads".to_owned()))
    }

    /// What it means that a seed gave no answer.
    async fn unanswered(&self, seed: &str, error: &PeerError) -> Round {
        let found = match error {
            PeerError::Refused(_) => Probe::Dead,
            PeerError::Timeout(_) => Probe::Unknown,
            PeerError::Lost(_) => self.peers.probe(seed).await,
        };
        match found {
            Probe::Dead => Round::Nobody(error.to_string(), FOUNDING_TIME),
            Probe::Nowhere => Round::Nobody(error.to_string(), NAMELESS_FOUNDING_TIME),
            Probe::Alive | Probe::Unknown => Round::Silent(error.to_string()),
        }
    }

    /// Waits until the quorum's leader has spoken to this broker.
    async fn hears_the_cluster(&self) -> bool {
        let heard = async {
            while self.quorum.is_new() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(FIRST_WORD_TIME, heard).await.is_ok()
    }
}

/// How often one question is passed on.
const REFERRALS_MAX: usize = 3;

fn not_now(message: String) -> Refusal {
    Refusal {
        code: error_code::NOT_CONTROLLER,
        message,
        leader: None,
    }
}
