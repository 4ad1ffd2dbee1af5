//! Who leads a partition, who is in sync, and who else has everything that was committed.
//!
//! What holds of every state that is decided here: the leader is in sync; who is in sync, or an
//! eligible leader replica (ELR, KIP-966), is a replica, and nobody is both; a broker that is
//! fenced leads nothing; the last one that has everything committed is never dropped because it is
//! away, so that it is waited for. Only a broker that says it lost records, or came back with
//! another disk, is dropped all the same.

use std::collections::BTreeSet;

use super::ControllerError;
use super::image::TopicImage;
use super::operation::Election;
use super::plan::Plan;
use super::record::PartitionState;
use crate::error_code;

/// What a broker that comes (or goes) may have lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Nothing that it acknowledged.
    Nothing,
    /// The end of its logs.
    Tail,
    /// All of it: it has another disk.
    Everything,
}

/// How a leader is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The present one as long as that is possible.
    Stay,
    /// The present one begins anew, in a new epoch.
    Renew,
    /// The first replica if it is in sync.
    Preferred,
    /// Any live replica if there is no better.
    Unclean,
}

impl Plan<'_> {
    /// Decides the state that `next` of a partition comes to: completes its reassignment, elects a
    /// leader where it needs one, keeps the books of eligible replicas, and counts the epochs up.
    /// `lost` has lost records it once had. Says whether anything changes.
    pub(super) fn settle(
        &mut self,
        topic: &TopicImage,
        index: i32,
        mut next: PartitionState,
        choice: Choice,
        lost: Option<i32>,
    ) -> bool {
        let Some(before) = topic.partitions.get(&index) else {
            return false;
        };
        complete_reassignment(&mut next, |id| self.image().is_live(id));
        next.isr.retain(|id| next.replicas.contains(id));
        next.elr.retain(|id| next.replicas.contains(id));

        let unclean = choice == Choice::Unclean || self.unclean(topic);
        let had_everything = next.elr.clone();
        let elected = self.choose(&next, choice, unclean);
        next.leader = elected.leader;
        if elected.anew {
            next.last_known_leader = None;
            if !next.isr.contains(&elected.leader) {
                next.isr = vec![elected.leader];
            }
        }
        if elected.unclean {
            tracing::warn!(
                topic = %topic.name, partition = index, leader = next.leader,
                in_sync = ?before.isr, eligible = ?before.elr,
                "elected a leader that may lack committed records, because unclean.leader.election.enable or an operator says so"
            );
            next.elr.clear();
        } else {
            // Nothing is committed while fewer than that are in sync, so who was in sync or
            // eligible before still has everything that is.
            let needed = self.min_insync(topic).min(next.replicas.len());
            next.elr = if next.isr.len() >= needed {
                Vec::new()
            } else {
                next.replicas
                    .iter()
                    .copied()
                    .filter(|id| before.isr.contains(id) || had_everything.contains(id))
                    .filter(|id| !next.isr.contains(id) && lost != Some(*id))
                    .collect()
            };
        }
        let replica_gone = before.replicas.iter().any(|id| !next.replicas.contains(id));
        if elected.anew || next.leader != before.leader || replica_gone {
            next.leader_epoch = before.leader_epoch + 1;
        }
        if next == *before {
            return false;
        }
        next.partition_epoch = before.partition_epoch + 1;
        self.put_partition(topic.id, index, next);
        true
    }

    fn choose(&self, state: &PartitionState, choice: Choice, unclean: bool) -> Elected {
        let leads = |id: i32| self.image().is_live(id) && state.isr.contains(&id);
        let stays = Elected {
            leader: state.leader,
            anew: choice == Choice::Renew,
            unclean: false,
        };
        let preferred = state.replicas.first().copied();
        let wants_preferred = choice == Choice::Preferred
            && preferred != Some(state.leader)
            && preferred.is_some_and(|id| self.may_lead(id) && state.isr.contains(&id));
        if !wants_preferred && leads(state.leader) && self.may_lead(state.leader) {
            return stays;
        }
        let among = |ids: &[i32]| {
            state
                .replicas
                .iter()
                .copied()
                .find(|id| ids.contains(id) && self.may_lead(*id))
        };
        let clean = |leader| Elected {
            leader,
            anew: true,
            unclean: false,
        };
        if let Some(leader) = among(&state.isr) {
            return clean(leader);
        }
        if let Some(leader) = among(&state.elr) {
            return clean(leader);
        }
        // It wants to stop or cannot write, but nobody can take over: better served than not.
        if leads(state.leader) {
            return stays;
        }
        if state.isr.is_empty()
            && state.elr.is_empty()
            && let Some(leader) = state.last_known_leader.filter(|id| self.may_lead(*id))
        {
            return clean(leader);
        }
        if unclean && let Some(leader) = among(&state.replicas) {
            return Elected {
                leader,
                anew: true,
                unclean: true,
            };
        }
        Elected {
            leader: -1,
            anew: false,
            unclean: false,
        }
    }

    /// A broker is not to be counted on any more: others lead what it led, and it is in sync only
    /// where nobody else surely is. The `silent` may be gone, too.
    pub(super) fn fence(&mut self, id: i32, silent: &BTreeSet<i32>) {
        let known = self.change_broker(id, |broker| {
            broker.fenced = true;
            broker.shutting_down = false;
        });
        if known {
            self.leave(id, Loss::Nothing, silent);
        }
    }

    /// A broker wants to stop.
    pub(super) fn shut_down(&mut self, id: i32) {
        if self.change_broker(id, |broker| broker.shutting_down |= !broker.fenced) {
            self.leave(id, Loss::Nothing, &BTreeSet::new());
        }
    }

    /// A broker can be counted on: it leads what nobody else could.
    pub(super) fn unfence(&mut self, id: i32) {
        let known = self.change_broker(id, |broker| {
            broker.fenced = false;
            broker.shutting_down = false;
        });
        if known {
            self.count_on(id);
            self.elect_missing();
        }
    }

    /// A live broker was heard of: where it is in sync, fenced ones need not be any more.
    pub(super) fn count_on(&mut self, id: i32) {
        self.drop_fenced(|in_sync| in_sync == id);
    }

    /// As [`count_on`](Self::count_on), with every live broker but the `silent`.
    pub(super) fn count_on_all_but(&mut self, silent: &BTreeSet<i32>) {
        self.drop_fenced(|in_sync| !silent.contains(&in_sync));
    }

    /// Drops fenced brokers from the in-sync replicas that have a live one which is `there`.
    fn drop_fenced(&mut self, there: impl Fn(i32) -> bool) {
        if !self.image().has_fenced_beside(&there) {
            return;
        }
        for topic in self.topics() {
            for (index, state) in &topic.partitions {
                if self.image().is_fenced_beside(state, &there) {
                    let mut next = state.clone();
                    next.isr.retain(|id| self.image().is_live(*id));
                    self.settle(&topic, *index, next, Choice::Stay, None);
                }
            }
        }
    }

    /// The disk of a broker takes no writes, or takes them again.
    pub(super) fn disk_refuses(&mut self, id: i32, refuses: bool) {
        let standing = self.image().broker(id);
        if standing.is_none_or(|broker| broker.disk_refuses == refuses) {
            return;
        }
        self.change_broker(id, |broker| broker.disk_refuses = refuses);
        if refuses {
            self.leave(id, Loss::Nothing, &BTreeSet::new());
        } else {
            self.elect_missing();
        }
    }

    /// What follows for the partitions from the present standing of broker `id`, which is away or
    /// begins anew. If it lost nothing it stays in sync where the others that are may be gone with
    /// their disks: the `silent`, and those that are fenced.
    pub(super) fn leave(&mut self, id: i32, loss: Loss, silent: &BTreeSet<i32>) {
        for topic in self.topics() {
            for (index, state) in &topic.partitions {
                if !state.replicas.contains(&id) {
                    continue;
                }
                let mut next = state.clone();
                let others_in_sync = state.isr.iter().any(|other| *other != id);
                let others = others_in_sync || state.elr.iter().any(|other| *other != id);
                match loss {
                    Loss::Nothing => {
                        let there = |other: &i32| {
                            *other != id && self.image().is_live(*other) && !silent.contains(other)
                        };
                        if state.isr.iter().any(there) {
                            next.isr.retain(|other| *other != id);
                        }
                    }
                    Loss::Tail => {
                        let had_all = state.isr.contains(&id) || state.elr.contains(&id);
                        next.isr.retain(|other| *other != id);
                        next.elr.retain(|other| *other != id);
                        if !others && had_all {
                            next.last_known_leader = Some(id);
                        }
                    }
                    Loss::Everything => {
                        next.isr.retain(|other| *other != id);
                        next.elr.retain(|other| *other != id);
                        if next.last_known_leader == Some(id) {
                            next.last_known_leader = None;
                        }
                        if !others && state.isr.contains(&id) {
                            tracing::error!(
                                topic = %topic.name, partition = index, broker = id,
                                "the only copy of a partition is gone with its disk; elect another replica with \"leader-election --election-type unclean\", or delete the topic"
                            );
                        }
                    }
                }
                let lost = (loss != Loss::Nothing).then_some(id);
                self.settle(&topic, *index, next, Choice::Stay, lost);
            }
        }
    }

    /// Elects a leader wherever there is none and there could be, and completes reassignments.
    pub(super) fn elect_missing(&mut self) {
        for topic in self.topics() {
            for (index, state) in &topic.partitions {
                let reassigned = !state.adding.is_empty() || !state.removing.is_empty();
                if reassigned || !self.may_lead(state.leader) {
                    self.settle(&topic, *index, state.clone(), Choice::Stay, None);
                }
            }
        }
    }

    /// Elects leaders on request (KIP-460); gives one result per partition that was named, or per
    /// partition that needed it.
    pub(super) fn elect(
        &mut self,
        election: Election,
        partitions: Option<&[(String, i32)]>,
    ) -> Vec<(String, i32, Result<(), ControllerError>)> {
        let named: Vec<(String, i32)> = match partitions {
            Some(partitions) => partitions.to_vec(),
            None => self
                .image()
                .topics()
                .flat_map(|topic| {
                    topic
                        .partitions
                        .keys()
                        .map(|index| (topic.name.to_string(), *index))
                })
                .collect(),
        };
        named
            .into_iter()
            .map(|(name, index)| {
                let result = self.elect_one(election, &name, index);
                (name, index, result)
            })
            .filter(|(_, _, result)| {
                let needless = result
                    .as_ref()
                    .is_err_and(|error| error.code == error_code::ELECTION_NOT_NEEDED);
                partitions.is_some() || !needless
            })
            .collect()
    }

    fn elect_one(
        &mut self,
        election: Election,
        name: &str,
        index: i32,
    ) -> Result<(), ControllerError> {
        let topic = self.topic(name)?;
        let state = topic.partition(index)?;
        let preferred = state.replicas.first().copied().unwrap_or(-1);
        let (choice, needless) = match election {
            Election::Preferred => (Choice::Preferred, state.leader == preferred),
            Election::Unclean => (Choice::Unclean, state.leader >= 0),
        };
        if needless {
            return Err(ControllerError::new(
                error_code::ELECTION_NOT_NEEDED,
                format!(
                    "partition {index} of topic \"{name}\" is led by broker {}; no election is needed",
                    state.leader
                ),
            ));
        }
        self.settle(&topic, index, state.clone(), choice, None);
        let leader = self
            .image()
            .topic(name)
            .and_then(|topic| topic.partitions.get(&index))
            .map_or(-1, |state| state.leader);
        match election {
            Election::Preferred if leader != preferred => Err(ControllerError::new(
                error_code::PREFERRED_LEADER_NOT_AVAILABLE,
                format!(
                    "broker {preferred}, the preferred leader of partition {index} of topic \"{name}\", is not live and in sync"
                ),
            )),
            Election::Unclean if leader < 0 => Err(ControllerError::new(
                error_code::ELIGIBLE_LEADERS_NOT_AVAILABLE,
                format!("no replica of partition {index} of topic \"{name}\" is live"),
            )),
            _ => Ok(()),
        }
    }

    /// Gives brokers back the partitions they are the preferred leader of, where more than
    /// `percentage` of them are led by others.
    pub(super) fn rebalance(&mut self, percentage: usize) {
        let mut preferred = std::collections::BTreeMap::<i32, (usize, Vec<(String, i32)>)>::new();
        for topic in self.image().topics() {
            for (index, state) in &topic.partitions {
                let Some(first) = state.replicas.first() else {
                    continue;
                };
                let (all, elsewhere) = preferred.entry(*first).or_default();
                *all += 1;
                if state.leader != *first && state.isr.contains(first) && self.may_lead(*first) {
                    elsewhere.push((topic.name.to_string(), *index));
                }
            }
        }
        for (broker, (all, elsewhere)) in preferred {
            if elsewhere.len() * 100 > all * percentage {
                tracing::info!(
                    broker,
                    partitions = elsewhere.len(),
                    "leadership goes back to its preferred broker"
                );
                for (_, _, result) in self.elect(Election::Preferred, Some(&elsewhere)) {
                    if let Err(error) = result {
                        tracing::debug!(%error, "a partition keeps its leader");
                    }
                }
            }
        }
    }

    /// `min.insync.replicas` may have become smaller: who was eligible may not be any more, as
    /// more can be committed from now on.
    pub(super) fn recount_eligible(&mut self, only: Option<&str>) {
        for topic in self.topics() {
            if only.is_some_and(|name| name != &*topic.name) {
                continue;
            }
            for (index, state) in &topic.partitions {
                if !state.elr.is_empty() {
                    self.settle(&topic, *index, state.clone(), Choice::Stay, None);
                }
            }
        }
    }
}

struct Elected {
    leader: i32,
    /// It begins to lead now, in a new epoch.
    anew: bool,
    unclean: bool,
}

/// When all added replicas are in sync, the removed ones go.
fn complete_reassignment(state: &mut PartitionState, live: impl Fn(i32) -> bool) {
    if state.adding.is_empty() && state.removing.is_empty() {
        return;
    }
    // A fenced broker beside a live one is in sync for the time being.
    let some_live = state.isr.iter().any(|id| live(*id));
    let stays = |id: &i32| !state.removing.contains(id) && (!some_live || live(*id));
    let added = state.adding.iter().all(|id| state.isr.contains(id));
    if !added || !state.isr.iter().any(stays) {
        return;
    }
    let removing = std::mem::take(&mut state.removing);
    state.adding.clear();
    for list in [&mut state.replicas, &mut state.isr, &mut state.elr] {
        list.retain(|id| !removing.contains(id));
    }
}
