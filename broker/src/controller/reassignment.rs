//! Moving replicas to other brokers (KIP-455). A reassignment is part of a partition's state: the
//! added replicas copy what they lack, and when all of them are in sync, the removed ones go.

use super::ControllerError;
use super::elections::Choice;
use super::operation::Reassignment;
use super::placement::too_few;
use super::plan::Plan;
use super::record::{MetadataRecord, PartitionState};
use crate::error_code;

impl Plan<'_> {
    /// Begins, replaces or cancels reassignments; gives one result per change.
    pub(super) fn reassign(
        &mut self,
        changes: &[Reassignment],
        allow_factor_change: bool,
    ) -> Vec<Result<(), ControllerError>> {
        changes
            .iter()
            .map(|change| match &change.replicas {
                None => self.cancel(&change.topic, change.index),
                Some(target) => {
                    self.check_assignment(target)?;
                    let factor_changes =
                        self.move_to(&change.topic, change.index, target, allow_factor_change)?;
                    if factor_changes {
                        self.keep_factor(&change.topic);
                    }
                    Ok(())
                }
            })
            .collect()
    }

    /// Makes `target` the replicas of a partition. Says whether their number changes.
    pub(super) fn move_to(
        &mut self,
        name: &str,
        index: i32,
        target: &[i32],
        allow_factor_change: bool,
    ) -> Result<bool, ControllerError> {
        let topic = self.topic(name)?;
        let state = topic.partition(index)?;
        let original = state.original_replicas();
        if !allow_factor_change && original.len() != target.len() {
            return Err(ControllerError::new(
                error_code::INVALID_REPLICATION_FACTOR,
                format!(
                    "partition {index} of topic \"{name}\" has {} replicas, and changing their number is not allowed by this request",
                    original.len()
                ),
            ));
        }
        let live = self.usable();
        let added = target.iter().filter(|id| !original.contains(id));
        let dead: Vec<i32> = added.copied().filter(|id| !live.contains(id)).collect();
        if !dead.is_empty() {
            return Err(ControllerError::new(
                error_code::INVALID_REPLICA_ASSIGNMENT,
                format!(
                    "partition {index} of topic \"{name}\" cannot move to brokers {dead:?}, which are not live"
                ),
            ));
        }
        let removing: Vec<i32> = original
            .iter()
            .copied()
            .filter(|id| !target.contains(id))
            .collect();
        let next = PartitionState {
            replicas: target.iter().chain(&removing).copied().collect(),
            adding: target
                .iter()
                .copied()
                .filter(|id| !original.contains(id))
                .collect(),
            removing,
            ..state.clone()
        };
        self.check_copies(name, index, &next)?;
        self.settle(&topic, index, next, Choice::Stay, None);
        Ok(original.len() != target.len())
    }

    fn cancel(&mut self, name: &str, index: i32) -> Result<(), ControllerError> {
        let topic = self.topic(name)?;
        let state = topic.partition(index)?;
        if !state.is_reassigned() {
            return Err(ControllerError::new(
                error_code::NO_REASSIGNMENT_IN_PROGRESS,
                format!("partition {index} of topic \"{name}\" is not being reassigned"),
            ));
        }
        let next = PartitionState {
            replicas: state.original_replicas(),
            adding: Vec::new(),
            removing: Vec::new(),
            ..state.clone()
        };
        self.check_copies(name, index, &next)?;
        self.settle(&topic, index, next, Choice::Stay, None);
        Ok(())
    }

    /// Refuses a change that would drop every replica that has everything.
    fn check_copies(
        &self,
        name: &str,
        index: i32,
        next: &PartitionState,
    ) -> Result<(), ControllerError> {
        let had_none = next.isr.is_empty() && next.elr.is_empty();
        // A fenced broker beside a live one is in sync for the time being.
        let live = |id: &&i32| self.image().is_live(**id);
        let some_live = next.isr.iter().any(|id| live(&id));
        let mut complete = next.isr.iter().chain(&next.elr);
        let keeps = complete.any(|id| next.replicas.contains(id) && (!some_live || live(&id)));
        if had_none || keeps {
            return Ok(());
        }
        Err(ControllerError::new(
            error_code::INVALID_REPLICA_ASSIGNMENT,
            format!(
                "partition {index} of topic \"{name}\" would lose its records: only brokers {:?} have all of them",
                next.isr
            ),
        ))
    }

    /// From now on the number of replicas of a topic is what a person decided.
    fn keep_factor(&mut self, name: &str) {
        let Some(topic) = self.image().topic(name) else {
            return;
        };
        if topic.copies_wanted.is_some() {
            let topic = topic.id;
            self.push(MetadataRecord::Copies {
                topic,
                wanted: None,
            });
        }
    }

    /// Begins to move the replicas of broker `id` to others, or to do without them where there are
    /// no others. Gives how many are still on it.
    ///
    /// # Errors
    /// When a partition has its only copy there and there is no live broker to take it.
    pub(super) fn move_away(&mut self, id: i32) -> Result<u32, ControllerError> {
        let mut left = 0;
        let usable = self.usable();
        if usable.iter().all(|other| *other == id) {
            return Err(too_few(1, 0));
        }
        let mut load = self.load();
        for topic in self.topics() {
            for (index, state) in &topic.partitions {
                if !state.replicas.contains(&id) {
                    continue;
                }
                left += 1;
                // Under way already, and not towards the broker that leaves.
                if state.removing.contains(&id) {
                    continue;
                }
                let mut target = state.original_replicas();
                let place = target.iter().position(|replica| *replica == id);
                let substitute = usable
                    .iter()
                    .copied()
                    .filter(|other| *other != id && !target.contains(other))
                    .min_by_key(|other| load.get(other).copied().unwrap_or(0));
                match (place, substitute) {
                    (Some(at), Some(other)) => {
                        if let Some(slot) = target.get_mut(at) {
                            *slot = other;
                        }
                        *load.entry(other).or_default() += 1;
                    }
                    (Some(at), None) => {
                        target.remove(at);
                    }
                    (None, _) => {}
                }
                if target.is_empty() {
                    continue;
                }
                if let Err(error) = self.move_to(&topic.name, *index, &target, true) {
                    tracing::warn!(topic = %topic.name, partition = index, broker = id, %error, "cannot move a replica yet");
                }
            }
        }
        // Some may have been done at once.
        let kept = self
            .image()
            .topics()
            .flat_map(|topic| topic.partitions.values())
            .filter(|state| state.replicas.contains(&id))
            .count();
        Ok(u32::try_from(kept).unwrap_or(left))
    }

    /// Replicas on each broker.
    pub(super) fn load(&self) -> std::collections::BTreeMap<i32, usize> {
        let mut load = std::collections::BTreeMap::new();
        let states = self
            .image()
            .topics()
            .flat_map(|topic| topic.partitions.values());
        for id in states.flat_map(|state| &state.replicas) {
            *load.entry(*id).or_default() += 1;
        }
        load
    }
}
