//! Brokers come, stay and go.

use std::collections::BTreeSet;

use super::ControllerError;
use super::elections::{Choice, Loss};
use super::operation::RemovalProgress;
use super::plan::Plan;
use super::record::{BrokerRegistration, MetadataRecord};
use crate::error_code;
use crate::peer::Registration;

/// Partitions an error names at most.
const NAMED_MAX: usize = 5;

impl Plan<'_> {
    /// Takes a starting process into the cluster; gives the epoch it has from now on. Whether a
    /// former process of this broker is still alive was found out before. With `at_once` it need
    /// not catch up with the metadata first. The `silent` are live brokers that are not heard of.
    ///
    /// # Errors
    /// When it belongs to another cluster.
    pub(super) fn register(
        &mut self,
        registration: &Registration,
        at_once: bool,
        silent: &BTreeSet<i32>,
    ) -> Result<i64, ControllerError> {
        match self.image().cluster_id() {
            None => self.push(MetadataRecord::Cluster {
                id: registration.cluster_id.clone(),
            }),
            Some(cluster_id) if **cluster_id != *registration.cluster_id => {
                return Err(ControllerError::new(
                    error_code::INCONSISTENT_CLUSTER_ID,
                    format!(
                        "broker {} has data of cluster \"{}\", and this is cluster \"{cluster_id}\"; correct its controller.quorum.bootstrap.servers, or give it an empty data folder if it is to be part of this one",
                        registration.broker, registration.cluster_id
                    ),
                ));
            }
            Some(_) => {}
        }
        let id = registration.broker;
        let former = self.image().broker(id).cloned();
        if let Some(former) = &former
            && former.incarnation == registration.incarnation
        {
            // It asks again because the answer was lost.
            return Ok(former.epoch);
        }
        let loss = match &former {
            Some(former) if former.directory != registration.directory => Loss::Everything,
            _ if registration.lost_records => Loss::Tail,
            _ => Loss::Nothing,
        };
        if loss == Loss::Everything {
            tracing::warn!(
                broker = id,
                "a broker came back with another disk; it copies its partitions from the others"
            );
        }
        let epoch = self.image().next_broker_epoch();
        self.put_broker(BrokerRegistration {
            id,
            epoch,
            incarnation: registration.incarnation,
            directory: registration.directory.clone(),
            endpoints: registration.endpoints.clone(),
            rack: registration.rack.clone(),
            version: registration.version.clone(),
            fenced: !at_once,
            shutting_down: false,
            disk_refuses: false,
            leaving: former.is_some_and(|former| former.leaving),
        });
        self.leave(id, loss, silent);
        if at_once {
            // Its high watermark may be lower than the one it had, which is no matter where it is
            // the only replica: everything is committed there.
            self.renew_shared(id);
            self.elect_missing();
        }
        Ok(epoch)
    }

    /// A new epoch wherever broker `id` leads and is not the only replica.
    fn renew_shared(&mut self, id: i32) {
        for topic in self.topics() {
            for (index, state) in &topic.partitions {
                if state.leader == id && state.replicas.len() > 1 {
                    self.settle(&topic, *index, state.clone(), Choice::Renew, None);
                }
            }
        }
    }

    /// Takes a broker out of the cluster for good, as far as that is possible by now. Its vote and
    /// its membership of the quorum are for the caller to take, when nothing is left on it.
    ///
    /// # Errors
    /// When it is not there, has another disk than the one that is meant, or nobody could take its
    /// replicas.
    pub(super) fn remove_broker(
        &mut self,
        id: i32,
        directory: &str,
        at_once_if_dead: bool,
    ) -> Result<RemovalProgress, ControllerError> {
        let Some(broker) = self.image().broker(id) else {
            return Err(ControllerError::no_member(id));
        };
        if directory != broker.directory {
            return Err(ControllerError::another_disk(id));
        }
        let at_once = at_once_if_dead && broker.fenced;
        let others: BTreeSet<i32> = self
            .usable()
            .into_iter()
            .filter(|other| *other != id)
            .collect();
        if others.is_empty() {
            return Err(ControllerError::new(
                error_code::INVALID_REQUEST,
                format!("broker {id} cannot be removed: there is no other live broker"),
            ));
        }
        if at_once {
            self.check_others_are_complete(id)?;
        }
        self.change_broker(id, |broker| broker.leaving = true);
        let replicas = self.move_away(id)?;
        if at_once {
            self.drop_replicas(id);
        }
        Ok(RemovalProgress {
            replicas: if at_once { 0 } else { replicas },
            gone: false,
        })
    }

    /// Whether every partition of a dead broker goes on with all that was acknowledged when it is gone.
    fn check_others_are_complete(&self, id: i32) -> Result<(), ControllerError> {
        let mut only = Vec::new();
        for topic in self.topics() {
            for (index, state) in &topic.partitions {
                if !state.replicas.contains(&id) {
                    continue;
                }
                let complete: Vec<i32> = [&state.isr, &state.elr]
                    .into_iter()
                    .flatten()
                    .copied()
                    .chain(state.last_known_leader)
                    .collect();
                let has_all = complete.contains(&id);
                if state.replicas.len() == 1
                    || (has_all && complete.iter().all(|other| *other == id))
                {
                    only.push(format!("{}-{index}", topic.name));
                }
            }
        }
        if only.is_empty() {
            return Ok(());
        }
        let more = only.len().saturating_sub(NAMED_MAX);
        only.truncate(NAMED_MAX);
        let mut named = only.join(", ");
        if more > 0 {
            named.push_str(&format!(" and {more} more"));
        }
        Err(ControllerError::new(
            error_code::INVALID_REQUEST,
            format!(
                "broker {id} does not run, and nobody else has all records of {named}; start it, or give these partitions up first: delete their topics, or let another replica lead with an unclean election"
            ),
        ))
    }

    /// Takes a dead broker off all its partitions, which others have all records of.
    fn drop_replicas(&mut self, id: i32) {
        for topic in self.topics() {
            for (index, state) in &topic.partitions {
                if !state.replicas.contains(&id) {
                    continue;
                }
                let mut next = state.clone();
                for list in [
                    &mut next.replicas,
                    &mut next.isr,
                    &mut next.elr,
                    &mut next.adding,
                    &mut next.removing,
                ] {
                    list.retain(|other| *other != id);
                }
                self.settle(&topic, *index, next, Choice::Stay, None);
            }
        }
    }

    /// Forgets a broker.
    pub(super) fn forget(&mut self, id: i32) {
        self.push(MetadataRecord::RemoveBroker { id });
    }
}
