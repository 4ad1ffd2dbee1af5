//! Topics whose number of copies was left to the cluster: they get more of them as brokers join,
//! up to what was wanted, and never fewer.
//!
//! These are Kafka's own topics, the topics in which Connect and others like it keep their state
//! (compacted, created without a replication factor), and topics that were created with
//! `default.replication.factor` while there were too few brokers.

use super::plan::Plan;
use crate::config::layers::Settings;

/// Copies of what must not be lost, if nothing else is configured.
const STATE_COPIES: i16 = 3;
/// Partitions that grow at a time, so that copying them does not get in the way of everything else.
const GROWING_MAX: usize = 100;

impl Plan<'_> {
    /// How many copies a topic should have that is created without saying so.
    pub(super) fn copies_wanted(&self, name: &str, config: &Settings) -> i16 {
        let number = |key: &str, default| {
            self.setting(None, key)
                .and_then(|value| value.parse::<i16>().ok())
                .unwrap_or(default)
        };
        let general = number("default.replication.factor", 1).max(1);
        let state = match name {
            "__transaction_state" => {
                number("transaction.state.log.replication.factor", STATE_COPIES)
            }
            _ => number("offsets.topic.replication.factor", STATE_COPIES),
        };
        let holds_state = super::image::is_internal(name)
            || config
                .get("cleanup.policy")
                .is_some_and(|policy| policy.trim() == "compact");
        if holds_state {
            general.max(state)
        } else {
            general
        }
    }

    /// Adds replicas to partitions that have fewer than they should and could.
    pub(super) fn grow(&mut self) {
        let usable = self.usable();
        let mut load = self.load();
        let mut first = std::collections::BTreeMap::<i32, usize>::new();
        let mut growing = 0;
        for topic in self.topics() {
            let Some(wanted) = topic
                .copies_wanted
                .and_then(|wanted| usize::try_from(wanted).ok())
            else {
                continue;
            };
            for (index, state) in &topic.partitions {
                if let Some(preferred) = state.replicas.first() {
                    *first.entry(*preferred).or_default() += 1;
                }
                if state.is_reassigned() {
                    growing += 1;
                    continue;
                }
                // Without a leader there is nobody to copy from.
                if state.leader < 0 || growing >= GROWING_MAX {
                    continue;
                }
                let mut target = state.replicas.clone();
                while target.len() < wanted {
                    let next = usable
                        .iter()
                        .copied()
                        .filter(|id| !target.contains(id))
                        .min_by_key(|id| (load.get(id).copied().unwrap_or(0), *id));
                    let Some(next) = next else { break };
                    *load.entry(next).or_default() += 1;
                    target.push(next);
                }
                if target.len() == state.replicas.len() {
                    continue;
                }
                // The leaders are spread as well; it is the first replica that is preferred.
                let preferred = target
                    .iter()
                    .enumerate()
                    .min_by_key(|(at, id)| (first.get(id).copied().unwrap_or(0), *at))
                    .map_or(0, |(at, _)| at);
                if let Some(old) = state.replicas.first()
                    && let Some(count) = first.get_mut(old)
                {
                    *count = count.saturating_sub(1);
                }
                target.swap(0, preferred);
                if let Some(new) = target.first() {
                    *first.entry(*new).or_default() += 1;
                }
                tracing::info!(topic = %topic.name, partition = index, replicas = ?target, "a partition gets more copies, as there are more brokers");
                if let Err(error) = self.move_to(&topic.name, *index, &target, true) {
                    tracing::warn!(topic = %topic.name, partition = index, %error, "a partition gets no more copies yet");
                }
                growing += 1;
            }
        }
    }
}
