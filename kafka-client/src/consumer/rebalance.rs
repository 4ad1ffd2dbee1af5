//! What `poll` does for the group: decides about leaving partitions and joining, and takes over what
//! the group gives.

use std::sync::Arc;

use super::heartbeat::Heartbeat;
use super::join::{Joined, Joining};
use super::poll::Outcome;
use super::{Consumer, RebalanceEvent, Subscription};
use crate::group_offsets::Committer;
use crate::{ClientError, ErrorCode, TopicPartition};

impl Consumer {
    fn is_cooperative(&self) -> bool {
        self.config
            .assignors
            .iter()
            .all(|assignor| assignor.is_cooperative())
    }

    /// Decides about leaving partitions and joining; returns what the caller has to know first.
    pub(super) fn drive_membership(&mut self) -> Vec<RebalanceEvent> {
        if !self.subscription.is_group() || !self.revoked.is_empty() {
            return Vec::new();
        }
        if let Some(error) = self.membership.lost() {
            tracing::warn!("this consumer is out of its group: {error}");
            self.membership.forget();
            if matches!(error.code(), Some(ErrorCode::FENCED_INSTANCE_ID)) {
                // Joining again would only throw out the other one in turn.
                self.fenced = Some(error);
            }
            let lost: Vec<TopicPartition> =
                std::mem::take(&mut self.partitions).into_keys().collect();
            self.ready.clear();
            if !lost.is_empty() {
                return vec![RebalanceEvent::Lost(lost)];
            }
        }
        if self.fenced.is_some() {
            self.wake.notify_one();
            return Vec::new();
        }
        self.check_spread();
        if let Subscription::Pattern { checked: None, .. } = &self.subscription {
            // Nothing to join for before it is known what matches.
            return Vec::new();
        }
        let Some(why) = self.membership.wants_to_join() else {
            return Vec::new();
        };
        let topics = self.subscription.topics();
        let leaving: Vec<TopicPartition> = if self.is_cooperative() {
            self.partitions
                .keys()
                .filter(|partition| !topics.contains(&partition.topic))
                .cloned()
                .collect()
        } else {
            self.partitions.keys().cloned().collect()
        };
        if !leaving.is_empty() {
            self.revoked.clone_from(&leaving);
            return vec![RebalanceEvent::Revoked(leaving)];
        }
        tracing::debug!(group = ?self.config.group_id, "joining because {why}");
        let joining = Joining {
            client: self.client.clone(),
            pool: Arc::clone(&self.join_pool),
            contact: Arc::clone(&self.contact),
            config: Arc::clone(&self.config),
            group: self.config.group_id.clone().unwrap_or_default(),
            member_id: self.membership.member_id.clone(),
            generation: self.membership.generation,
            topics: topics.to_vec(),
            owned: self.partitions.keys().cloned().collect(),
            lost: false,
        };
        self.membership.joining();
        self.work
            .spawn(async move { Outcome::Joined(joining.run().await) });
        Vec::new()
    }

    /// The leader joins again when topics it spread have got more partitions.
    fn check_spread(&mut self) {
        let Some(spread) = &self.membership.spread else {
            return;
        };
        let changed = spread.iter().any(|(topic, count)| {
            self.client
                .metadata()
                .topic(topic)
                .is_some_and(|topic| i32::try_from(topic.partitions.len()) != Ok(*count))
        });
        if changed {
            self.membership.spread = None;
            self.membership
                .rejoin("a topic's number of partitions changed");
        }
    }

    pub(super) fn take_joined(
        &mut self,
        result: Result<Joined, ClientError>,
    ) -> Result<(), ClientError> {
        if !self.membership.is_joining() {
            return Ok(());
        }
        let joined = match result {
            Ok(joined) => joined,
            Err(error) => {
                self.membership.failed();
                if matches!(error.code(), Some(ErrorCode::FENCED_INSTANCE_ID)) {
                    self.membership.forget();
                }
                return Err(error);
            }
        };
        let group = self.config.group_id.clone().unwrap_or_default();
        tracing::info!(
            group,
            generation = joined.generation,
            member = joined.member_id,
            "joined with {} partitions",
            joined.assigned.len()
        );
        let committer = Committer {
            generation: joined.generation,
            member_id: joined.member_id,
            instance_id: self.config.group_instance_id.clone(),
        };
        let heartbeat = Heartbeat::start(
            self.client.clone(),
            Arc::clone(&self.group_pool),
            Arc::clone(&self.contact),
            Arc::clone(&self.config),
            committer,
            Arc::clone(&self.last_poll),
            Arc::clone(&self.wake),
        );
        self.membership.joined(heartbeat);
        self.membership.spread = joined.spread;
        self.pending_assignment = Some(joined.assigned);
        self.pending_lost = joined.lost;
        Ok(())
    }

    /// Takes over a new assignment and says what changed.
    pub(super) fn take_assignment(&mut self) -> Vec<RebalanceEvent> {
        let Some(assigned) = self.pending_assignment.take() else {
            return Vec::new();
        };
        let mut events = Vec::new();
        if std::mem::take(&mut self.pending_lost) && !self.partitions.is_empty() {
            let lost = std::mem::take(&mut self.partitions);
            self.ready.clear();
            events.push(RebalanceEvent::Lost(lost.into_keys().collect()));
        }
        let leaving: Vec<TopicPartition> = self
            .partitions
            .keys()
            .filter(|owned| !assigned.contains(owned))
            .cloned()
            .collect();
        if !leaving.is_empty() {
            // Others wait for these: join again once the caller has let go of them.
            self.revoked.clone_from(&leaving);
            self.membership.rejoin("it gave up partitions");
            events.push(RebalanceEvent::Revoked(leaving));
        }
        let added: Vec<TopicPartition> = assigned
            .into_iter()
            .filter(|partition| !self.partitions.contains_key(partition))
            .collect();
        if !added.is_empty() {
            self.add_partitions(added.clone());
            events.push(RebalanceEvent::Assigned(added));
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, ClientConfig, ConsumerConfig};

    /// Another member may have read on from there, and has committed what it read.
    #[tokio::test]
    async fn partitions_kept_while_the_membership_was_lost_start_over() {
        let client = Client::new(ClientConfig::new(["127.0.0.1:1"])).unwrap();
        let mut consumer = Consumer::new(client, ConsumerConfig::group("g")).unwrap();
        let partition = TopicPartition::new("t", 0);
        consumer.add_partitions([partition.clone()]);
        consumer.seek(&partition, 100).unwrap();
        consumer.membership.joining();
        let joined = Joined {
            member_id: "m".to_owned(),
            generation: 3,
            assigned: vec![partition.clone()],
            lost: true,
            spread: None,
        };
        consumer.take_joined(Ok(joined)).unwrap();
        let all = vec![partition.clone()];
        assert_eq!(
            consumer.take_assignment(),
            [
                RebalanceEvent::Lost(all.clone()),
                RebalanceEvent::Assigned(all)
            ]
        );
        assert_eq!(consumer.position(&partition), None);
    }
}
