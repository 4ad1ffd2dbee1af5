//! What the active controller does when it is asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::operation::{Operation, Outcome, RemovalProgress};
use super::quorum::Member;
use super::record::MetadataRecord;
use super::topics::NewTopic;
use super::{Controller, ControllerError, MetadataImage, membership};
use crate::error_code;
use crate::peer::{
    ClusterRequest, ClusterResponse, Heartbeat, HeartbeatAnswer, JoinRequest, Joined, Registration,
};

/// Producer ids a node gets at a time.
const PRODUCER_ID_BLOCK: i64 = 1000;
/// How often to look whether a former process of a broker is heard of.
const ALIVE_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

impl Controller {
    /// Carries a request out on this node, which has to be the active controller.
    ///
    /// # Errors
    /// `NOT_CONTROLLER` when it is not; why the answer is no.
    pub(super) async fn serve(
        &self,
        request: ClusterRequest,
    ) -> Result<ClusterResponse, ControllerError> {
        self.check_active()?;
        match request {
            ClusterRequest::Quorum(message) => {
                Ok(ClusterResponse::Quorum(self.quorum.answer(message).await))
            }
            ClusterRequest::Join(request) => self.admit(request).await.map(ClusterResponse::Joined),
            ClusterRequest::Register(registration) => {
                let broker_epoch = self.take_registration(registration).await?;
                Ok(ClusterResponse::Registered { broker_epoch })
            }
            ClusterRequest::Heartbeat(heartbeat) => self
                .take_heartbeat(heartbeat)
                .await
                .map(ClusterResponse::Heartbeat),
            ClusterRequest::Operation(operation) => {
                let (outcome, version) = self.carry_out(operation).await?;
                Ok(ClusterResponse::Outcome { outcome, version })
            }
            ClusterRequest::QuorumStatus => Ok(ClusterResponse::QuorumStatus(self.quorum.status())),
        }
    }

    fn check_active(&self) -> Result<(), ControllerError> {
        if self.is_active() {
            return Ok(());
        }
        Err(ControllerError::new(
            error_code::NOT_CONTROLLER,
            "this node is not the active controller",
        ))
    }

    async fn carry_out(&self, operation: Operation) -> Result<(Outcome, u64), ControllerError> {
        let (outcome, image) = match operation {
            Operation::CreateTopics {
                topics,
                ids,
                validate_only: true,
            } => {
                let results = self.validate(|plan| plan.create_topics(&topics, &ids));
                (Outcome::CreateTopics(results), self.image())
            }
            Operation::CreateTopics { topics, ids, .. } => {
                let (results, image) = self
                    .decide(|plan| plan.create_topics(&topics, &ids))
                    .await?;
                (Outcome::CreateTopics(results), image)
            }
            Operation::DeleteTopic { name, id } => {
                let (result, image) = self.decide(|plan| plan.delete_topic(&name, id)).await?;
                (Outcome::Done(result), image)
            }
            Operation::CreatePartitions {
                name,
                count,
                assignments,
                validate_only,
            } => {
                let decide = |plan: &mut super::Plan<'_>| {
                    plan.create_partitions(&name, count, assignments.as_deref())
                };
                let (result, image) = if validate_only {
                    (self.validate(decide), self.image())
                } else {
                    self.decide(decide).await?
                };
                (Outcome::Done(result), image)
            }
            Operation::AlterConfig {
                resource,
                changes,
                replace,
                validate_only,
            } => {
                let decide =
                    |plan: &mut super::Plan<'_>| plan.alter_config(&resource, &changes, replace);
                let (result, image) = if validate_only {
                    (self.validate(decide), self.image())
                } else {
                    self.decide(decide).await?
                };
                (Outcome::Done(result), image)
            }
            Operation::EnsureInternalTopic { name } => {
                let (result, image) = self
                    .decide(|plan| {
                        if plan.image().topic(&name).is_some() {
                            return Ok(());
                        }
                        let new = NewTopic::internal(&name, plan.config());
                        match plan.create_topics(&[new], &[]).pop() {
                            Some(Err(error)) => Err(error),
                            _ => Ok(()),
                        }
                    })
                    .await?;
                (Outcome::Done(result), image)
            }
            Operation::ProducerIds => {
                let (range, image) = self
                    .decide(|plan| {
                        let first = plan.image().next_producer_id();
                        let next = first + PRODUCER_ID_BLOCK;
                        plan.push(MetadataRecord::ProducerIds { next });
                        (first, next)
                    })
                    .await?;
                (Outcome::ProducerIds(Ok(range)), image)
            }
            Operation::AlterIsr {
                broker,
                broker_epoch,
                changes,
            } => {
                let (results, image) = self
                    .decide(|plan| plan.alter_isr(broker, broker_epoch, &changes))
                    .await?;
                (Outcome::AlterIsr(results?), image)
            }
            Operation::ElectLeaders {
                election,
                partitions,
            } => {
                let (results, image) = self
                    .decide(|plan| plan.elect(election, partitions.as_deref()))
                    .await?;
                (Outcome::ElectLeaders(Ok(results)), image)
            }
            Operation::Reassign {
                allow_factor_change,
                changes,
            } => {
                let (results, image) = self
                    .decide(|plan| plan.reassign(&changes, allow_factor_change))
                    .await?;
                (Outcome::Reassign(results), image)
            }
            Operation::RemoveBroker {
                id,
                directory,
                at_once_if_dead,
            } => {
                let progress = self.remove_step(id, &directory, at_once_if_dead).await?;
                (Outcome::RemoveBroker(progress), self.image())
            }
        };
        Ok((outcome, image.version()))
    }

    /// Registers a process. One that takes the id of another that is alive is refused.
    async fn take_registration(&self, registration: Registration) -> Result<i64, ControllerError> {
        let id = registration.broker;
        let (cluster_id, _) = self
            .decide(|plan| plan.image().cluster_id().cloned())
            .await?;
        if cluster_id.is_none() && id != self.me() {
            // Whoever asks now belongs to another cluster, which must not become this one's name.
            return Err(being_founded());
        }
        let fits = cluster_id.is_none_or(|cluster_id| *cluster_id == *registration.cluster_id);
        if fits && !self.quorum.members().contains_key(&id) {
            return Err(ControllerError::new(
                error_code::BROKER_ID_NOT_REGISTERED,
                format!(
                    "broker {id} was taken out of the cluster; with an empty data folder it may join again"
                ),
            ));
        }
        if fits {
            self.check_id_is_free(id, registration.incarnation, &registration.endpoints)
                .await?;
        }
        let (epoch, image) = self
            .decide(|plan| {
                let silent = self.silent(plan.image());
                // The first process of a cluster has nobody to wait for.
                let alone = plan.image().brokers().all(|broker| broker.id == id);
                plan.register(&registration, alone && id == self.me(), &silent)
            })
            .await?;
        let epoch = epoch.inspect_err(
            |error| tracing::warn!(broker = id, %error, "refused the registration of a broker"),
        )?;
        self.sessions
            .lock()
            .registered(id, epoch, image.version(), Instant::now());
        tracing::info!(
            broker = id,
            epoch,
            version = registration.version,
            "a broker registered"
        );
        Ok(epoch)
    }

    /// Waits until it is clear whether the process that had this id is alive: it is when it is
    /// heard of once more, and is not when its connection ends or its session is over.
    async fn check_id_is_free(
        &self,
        id: i32,
        incarnation: [u8; 16],
        endpoints: &[super::record::Endpoint],
    ) -> Result<(), ControllerError> {
        let asked = Instant::now();
        loop {
            let image = self.image();
            let Some(former) = image
                .broker(id)
                .filter(|former| former.incarnation != incarnation && !former.fenced)
            else {
                return Ok(());
            };
            let (heard, until) = {
                let sessions = self.sessions.lock();
                (
                    sessions.heard_since(id, asked),
                    sessions.alive_until(id, self.session_timeout()),
                )
            };
            if heard {
                let addresses = |endpoints: &[super::record::Endpoint]| {
                    let all: Vec<String> = endpoints.iter().map(|e| e.address()).collect();
                    all.join(", ")
                };
                let error = ControllerError::new(
                    error_code::DUPLICATE_BROKER_REGISTRATION,
                    format!(
                        "broker id {id} is in use by a live broker at {}; give each broker a broker.id of its own",
                        addresses(&former.endpoints)
                    ),
                );
                tracing::warn!(broker = id, from = addresses(endpoints), %error, "refused a broker");
                return Err(error);
            }
            if until.is_none_or(|until| until <= Instant::now()) {
                return Ok(());
            }
            tokio::time::sleep(ALIVE_PAUSE).await;
            self.check_active()?;
        }
    }

    async fn take_heartbeat(
        &self,
        heartbeat: Heartbeat,
    ) -> Result<HeartbeatAnswer, ControllerError> {
        let id = heartbeat.broker;
        let mut image = self.image();
        let known = |image: &MetadataImage| {
            image
                .broker(id)
                .filter(|broker| broker.epoch == heartbeat.broker_epoch)
                .cloned()
        };
        if known(&image).is_none() {
            // Said only when this node's metadata is complete.
            let (checked, newest) = self
                .decide(|plan| plan.check_epoch(id, heartbeat.broker_epoch))
                .await?;
            checked?;
            image = newest;
        }
        let lately = self.lately();
        let (was_silent, caught_up) = {
            let mut sessions = self.sessions.lock();
            let was_silent = !sessions.heard_since(id, lately);
            let caught_up = sessions.heard(&heartbeat, image.version(), Instant::now());
            (was_silent, caught_up)
        };
        let Some(broker) = known(&image) else {
            return Err(ControllerError::new(
                error_code::STALE_BROKER_EPOCH,
                format!("broker {id} was registered again"),
            ));
        };
        let epoch = heartbeat.broker_epoch;
        if was_silent && !broker.fenced && image.has_fenced_beside(|in_sync| in_sync == id) {
            image = self
                .decide_about(id, epoch, |plan| plan.count_on(id))
                .await?;
        }
        if heartbeat.shutting_down {
            if !broker.fenced && !broker.shutting_down {
                if self.somebody_is_silent(id, &image) {
                    // It may be gone with its disk. Until it is heard of or fenced, nothing is
                    // left to it alone.
                    return Ok(HeartbeatAnswer {
                        fenced: false,
                        may_stop: false,
                    });
                }
                image = self
                    .decide_about(id, epoch, |plan| plan.shut_down(id))
                    .await?;
                tracing::info!(
                    broker = id,
                    "a broker stops; others take over what it leads"
                );
            }
            self.sessions.lock().stops(id, image.version());
        } else if broker.fenced && caught_up {
            image = self
                .decide_about(id, epoch, |plan| plan.unfence(id))
                .await?;
            tracing::info!(broker = id, "a broker is live");
        }
        let refuses = heartbeat.disk_refuses;
        let news = image
            .broker(id)
            .is_some_and(|broker| !broker.fenced && broker.disk_refuses != refuses);
        if news && (!refuses || self.may_hand_over(id, &image)) {
            image = self
                .decide_about(id, epoch, |plan| plan.disk_refuses(id, refuses))
                .await?;
            if refuses {
                tracing::warn!(
                    broker = id,
                    "the disk of a broker refuses what is written; others take over what it leads"
                );
            } else {
                tracing::info!(broker = id, "the disk of a broker can be written to again");
            }
        }
        let fenced = !image.is_live(id);
        Ok(HeartbeatAnswer {
            fenced,
            may_stop: heartbeat.shutting_down
                && (fenced || self.sessions.lock().may_stop(id, &image)),
        })
    }

    /// Decides about a broker, unless it was registered again meanwhile; gives the metadata that has it.
    async fn decide_about(
        &self,
        id: i32,
        epoch: i64,
        decide: impl FnOnce(&mut super::Plan<'_>),
    ) -> Result<Arc<super::MetadataImage>, ControllerError> {
        let (_, newest) = self
            .decide(|plan| {
                if plan.check_epoch(id, epoch).is_ok() {
                    decide(plan);
                }
            })
            .await?;
        Ok(newest)
    }

    /// Whether others can take over what `id` leads. With nobody there, to decide it would only be one more write for
    /// its disk to refuse.
    fn may_hand_over(&self, id: i32, image: &MetadataImage) -> bool {
        image.usable_brokers().any(|other| other.id != id) && !self.somebody_is_silent(id, image)
    }

    fn somebody_is_silent(&self, id: i32, image: &MetadataImage) -> bool {
        self.silent(image).iter().any(|other| *other != id)
    }

    /// Live brokers that have missed their last heartbeats, or sent none to this controller yet.
    /// This node's own process counts when it has, too: its former one may still count as live.
    pub(super) fn silent(&self, image: &MetadataImage) -> BTreeSet<i32> {
        let lately = self.lately();
        let sessions = self.sessions.lock();
        image
            .brokers()
            .filter(|broker| !broker.fenced && !sessions.heard_since(broker.id, lately))
            .map(|broker| broker.id)
            .collect()
    }

    /// Who has been heard of since then is there.
    fn lately(&self) -> Instant {
        let now = Instant::now();
        now.checked_sub(self.session_timeout() / 2).unwrap_or(now)
    }

    /// Makes a node a member of the quorum, without a vote at first.
    async fn admit(&self, request: JoinRequest) -> Result<Joined, ControllerError> {
        let id = request.broker;
        let _changing = self.membership.lock().await;
        // Also sees to it that this node's metadata is complete.
        let (cluster_id, image) = self
            .decide(|plan| plan.image().cluster_id().cloned())
            .await?;
        let Some(cluster_id) = cluster_id else {
            return Err(being_founded());
        };
        if let Some(meant) = &request.cluster_id
            && **meant != *cluster_id
        {
            return Err(ControllerError::new(
                error_code::INCONSISTENT_CLUSTER_ID,
                format!(
                    "broker {id} belongs to cluster \"{meant}\", and this is cluster \"{cluster_id}\"; correct cluster.id or the seeds"
                ),
            ));
        }
        let Some(endpoint) = request.endpoints.first() else {
            return Err(ControllerError::new(
                error_code::INVALID_REQUEST,
                format!("broker {id} does not say where it is reached"),
            ));
        };
        let other_disk = image
            .broker(id)
            .is_some_and(|former| former.directory != request.directory);
        if id == self.me() || other_disk {
            // No process has this incarnation: any other that is alive is in the way.
            self.check_id_is_free(id, [0; 16], &request.endpoints)
                .await?;
        }
        let member = Member {
            address: endpoint.address(),
            directory: request.directory,
        };
        self.quorum.add_learner(id, member).await?;
        tracing::info!(
            broker = id,
            address = endpoint.address(),
            version = request.version,
            "a broker joins the cluster"
        );
        Ok(Joined {
            cluster_id: cluster_id.to_string(),
        })
    }

    /// Takes a broker out, as far as that is possible by now.
    pub(super) async fn remove_step(
        &self,
        id: i32,
        directory: &str,
        at_once_if_dead: bool,
    ) -> Result<Result<RemovalProgress, ControllerError>, ControllerError> {
        // Whether it is a member, unless another has its id by now.
        let check = || match self.quorum.members().get(&id) {
            Some(member) if member.directory != directory => Err(ControllerError::another_disk(id)),
            member => Ok(member.is_some()),
        };
        let member = match check() {
            Ok(member) => member,
            Err(error) => return Ok(Err(error)),
        };
        let (progress, _) = self
            .decide(|plan| {
                if plan.image().broker(id).is_none() && member {
                    // It joined and never registered.
                    return Ok(RemovalProgress {
                        replicas: 0,
                        gone: false,
                    });
                }
                plan.remove_broker(id, directory, at_once_if_dead)
            })
            .await?;
        let progress = match progress {
            Ok(progress) if progress.replicas == 0 => progress,
            unfinished => return Ok(unfinished),
        };
        let _changing = self.membership.lock().await;
        if let Err(error) = check() {
            return Ok(Err(error));
        }
        let voters = self.quorum.voters();
        if voters.contains(&id) {
            let others: BTreeSet<i32> = voters.iter().copied().filter(|v| *v != id).collect();
            let wanted = self.voters_wanted(&BTreeSet::from([id])).unwrap_or(others);
            if wanted.is_empty() {
                return Ok(Err(ControllerError::new(
                    error_code::INVALID_REQUEST,
                    format!(
                        "broker {id} is the only member of the metadata quorum that could vote"
                    ),
                )));
            }
            self.quorum.set_voters(wanted).await?;
        }
        if id == self.me() {
            // Without a vote it gives its leadership up; the next active controller goes on.
            return Ok(Ok(progress));
        }
        self.quorum.remove(id).await?;
        self.decide(|plan| plan.forget(id)).await?;
        self.sessions.lock().forget(id);
        tracing::info!(broker = id, "a broker was taken out of the cluster");
        Ok(Ok(RemovalProgress {
            gone: true,
            ..progress
        }))
    }

    /// Who should vote, if that is not who does; see [`membership`].
    pub(super) fn voters_wanted(&self, leaving: &BTreeSet<i32>) -> Option<BTreeSet<i32>> {
        let image = self.image();
        let live = image.brokers().filter(|broker| !broker.fenced);
        let max = usize::try_from(self.number("controller.quorum.voters.max", 3)).unwrap_or(3);
        membership::voters_wanted(
            self.me(),
            &self.quorum.voters(),
            &self.quorum.members().into_keys().collect(),
            &live.map(|broker| broker.id).collect(),
            leaving,
            max,
        )
    }
}

fn being_founded() -> ControllerError {
    ControllerError::new(error_code::NOT_CONTROLLER, "the cluster is being founded")
}
