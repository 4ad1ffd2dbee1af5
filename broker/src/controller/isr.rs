//! In-sync replicas, as the leaders of partitions propose them (AlterPartition in Kafka).

use super::ControllerError;
use super::elections::Choice;
use super::operation::IsrChange;
use super::plan::Plan;
use super::record::PartitionState;
use crate::error_code;

impl Plan<'_> {
    /// Takes over what the leader `broker` found out about its followers, or that it cannot lead itself because its
    /// records are damaged. Gives one result per change: the state that holds from now on.
    ///
    /// # Errors
    /// When the broker is not registered under `broker_epoch`.
    pub(super) fn alter_isr(
        &mut self,
        broker: i32,
        broker_epoch: i64,
        changes: &[IsrChange],
    ) -> Result<Vec<Result<PartitionState, ControllerError>>, ControllerError> {
        self.check_epoch(broker, broker_epoch)?;
        // Whoever asks is there.
        self.count_on(broker);
        Ok(changes
            .iter()
            .map(|change| self.alter_one(broker, change))
            .collect())
    }

    /// Checks that a request comes from the present process of `broker`.
    pub(super) fn check_epoch(&self, broker: i32, epoch: i64) -> Result<(), ControllerError> {
        let Some(registered) = self.image().broker(broker) else {
            return Err(ControllerError::new(
                error_code::BROKER_ID_NOT_REGISTERED,
                format!("broker {broker} is not registered"),
            ));
        };
        if registered.epoch != epoch {
            return Err(ControllerError::new(
                error_code::STALE_BROKER_EPOCH,
                format!(
                    "broker {broker} is registered with epoch {}, not {epoch}",
                    registered.epoch
                ),
            ));
        }
        Ok(())
    }

    fn alter_one(
        &mut self,
        broker: i32,
        change: &IsrChange,
    ) -> Result<PartitionState, ControllerError> {
        let refuse = |code, message: String| Err(ControllerError::new(code, message));
        let Some(topic) = self.image().topic_by_id(&change.topic).cloned() else {
            return refuse(
                error_code::UNKNOWN_TOPIC_ID,
                "no topic has this id".to_owned(),
            );
        };
        let Some(state) = topic.partitions.get(&change.index) else {
            return Err(ControllerError::unknown_partition(
                &topic.name,
                change.index,
            ));
        };
        let what = format!("partition {} of topic \"{}\"", change.index, topic.name);
        if change.leader_epoch != state.leader_epoch || state.leader != broker {
            return refuse(
                error_code::FENCED_LEADER_EPOCH,
                format!(
                    "{what} is led by broker {} in epoch {}, not by {broker} in {}",
                    state.leader, state.leader_epoch, change.leader_epoch
                ),
            );
        }
        if change.partition_epoch != state.partition_epoch {
            return refuse(
                error_code::INVALID_UPDATE_VERSION,
                format!(
                    "{what} is in its state {}, not {}",
                    state.partition_epoch, change.partition_epoch
                ),
            );
        }
        let isr: Vec<i32> = change.isr.iter().map(|(id, _)| *id).collect();
        let repeated = (1..isr.len()).any(|end| {
            let (before, rest) = isr.split_at(end);
            rest.first().is_some_and(|id| before.contains(id))
        });
        if repeated || isr.is_empty() || isr.iter().any(|id| !state.replicas.contains(id)) {
            return refuse(
                error_code::INVALID_REQUEST,
                format!(
                    "in-sync replicas {isr:?} of {what} must be some of its replicas {:?}",
                    state.replicas
                ),
            );
        }
        // A leader whose records are damaged leaves itself out.
        let resigns = !isr.contains(&broker);
        if resigns
            && !isr
                .iter()
                .any(|id| state.isr.contains(id) && self.may_lead(*id))
        {
            return refuse(
                error_code::INELIGIBLE_REPLICA,
                format!("nobody in sync can lead {what} instead of broker {broker}"),
            );
        }
        for (id, epoch) in &change.isr {
            let present = state.isr.contains(id);
            // The leader may not know its own epoch; it was checked already.
            let epoch_fits = *id == broker
                || self
                    .image()
                    .broker(*id)
                    .is_some_and(|registered| registered.epoch == *epoch);
            // Who is a member already stays one until it is fenced, whatever the leader knows.
            let eligible =
                epoch_fits && (self.may_lead(*id) || (present && self.image().is_live(*id)));
            if !eligible {
                return refuse(
                    error_code::INELIGIBLE_REPLICA,
                    format!(
                        "broker {id} with epoch {epoch} cannot be in sync in {what}: it is fenced, stops or was started anew"
                    ),
                );
            }
        }
        let next = PartitionState {
            isr: state
                .replicas
                .iter()
                .copied()
                .filter(|id| isr.contains(id))
                .collect(),
            ..state.clone()
        };
        let lost = resigns.then_some(broker);
        self.settle(&topic, change.index, next, Choice::Stay, lost);
        let now = self
            .image()
            .topic_by_id(&change.topic)
            .and_then(|topic| topic.partitions.get(&change.index))
            .cloned()
            .unwrap_or_else(|| state.clone());
        if now.leader != broker {
            return refuse(
                error_code::NEW_LEADER_ELECTED,
                format!("{what} is led by broker {} now", now.leader),
            );
        }
        Ok(now)
    }
}
