//! How the leader of a group spreads partitions over its members.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::TopicPartition;

/// An assignment strategy, under Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignor {
    /// `range`: each topic's partitions in consecutive stretches.
    Range,
    /// `roundrobin`: all partitions in turn.
    RoundRobin,
    /// `cooperative-sticky`: balanced, and a rebalance moves as little as possible; members go on
    /// with what they keep (KIP-429).
    CooperativeSticky,
}

impl Assignor {
    /// Kafka's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Range, Self::RoundRobin, Self::CooperativeSticky]
            .into_iter()
            .find(|assignor| assignor.name() == name)
    }

    pub(super) const fn is_cooperative(self) -> bool {
        matches!(self, Self::CooperativeSticky)
    }

    /// Spreads all partitions of the subscribed topics. Every member is in the result.
    pub(super) fn assign(self, members: &[Member], topics: &BTreeMap<Arc<str>, i32>) -> Assignment {
        let mut members: Vec<&Member> = members.iter().collect();
        // Static members come first and keep their order over restarts, as in Java.
        members.sort_by_key(|member| {
            (
                member.instance_id.is_none(),
                member.instance_id.clone(),
                member.id.clone(),
            )
        });
        let mut assignment: Assignment = members
            .iter()
            .map(|member| (member.id.clone(), Vec::new()))
            .collect();
        match self {
            Self::Range => range(&members, topics, &mut assignment),
            Self::RoundRobin => round_robin(&members, topics, &mut assignment),
            Self::CooperativeSticky => cooperative_sticky(&members, topics, &mut assignment),
        }
        for partitions in assignment.values_mut() {
            partitions.sort();
        }
        assignment
    }
}

/// Partitions by member id.
pub(super) type Assignment = BTreeMap<String, Vec<TopicPartition>>;

/// A member, as its subscription describes it.
#[derive(Debug, Clone, Default)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) instance_id: Option<String>,
    pub(super) topics: Vec<String>,
    pub(super) owned: Vec<TopicPartition>,
    /// The generation in which it got them; -1 if unknown.
    pub(super) generation: i32,
}

impl Member {
    fn wants(&self, topic: &str) -> bool {
        self.topics.iter().any(|wanted| wanted == topic)
    }
}

fn give(assignment: &mut Assignment, member: &str, partition: TopicPartition) {
    assignment
        .entry(member.to_owned())
        .or_default()
        .push(partition);
}

fn range(members: &[&Member], topics: &BTreeMap<Arc<str>, i32>, assignment: &mut Assignment) {
    for (topic, count) in topics {
        let takers: Vec<&&Member> = members
            .iter()
            .filter(|member| member.wants(topic))
            .collect();
        let Ok(taker_count) = i32::try_from(takers.len()) else {
            continue;
        };
        if taker_count == 0 {
            continue;
        }
        let (each, extra) = (count / taker_count, count % taker_count);
        let mut next = 0;
        for (index, member) in (0..).zip(takers) {
            let end = next + each + i32::from(index < extra);
            for partition in next..end {
                give(
                    assignment,
                    &member.id,
                    TopicPartition {
                        topic: Arc::clone(topic),
                        partition,
                    },
                );
            }
            next = end;
        }
    }
}

fn round_robin(members: &[&Member], topics: &BTreeMap<Arc<str>, i32>, assignment: &mut Assignment) {
    let mut turn = members.iter().cycle();
    for (topic, count) in topics {
        if !members.iter().any(|member| member.wants(topic)) {
            continue;
        }
        for partition in 0..*count {
            if let Some(member) = turn.find(|member| member.wants(topic)) {
                give(
                    assignment,
                    &member.id,
                    TopicPartition {
                        topic: Arc::clone(topic),
                        partition,
                    },
                );
            }
        }
    }
}

fn cooperative_sticky(
    members: &[&Member],
    topics: &BTreeMap<Arc<str>, i32>,
    assignment: &mut Assignment,
) {
    let all: Vec<TopicPartition> = topics
        .iter()
        .filter(|(topic, _)| members.iter().any(|member| member.wants(topic)))
        .flat_map(|(topic, count)| {
            (0..*count).map(|partition| TopicPartition {
                topic: Arc::clone(topic),
                partition,
            })
        })
        .collect();
    let exists: BTreeSet<&TopicPartition> = all.iter().collect();
    // Who says that it owns what: the youngest generation is right, equals cancel each other out.
    let mut claims: HashMap<&TopicPartition, (i32, Option<usize>)> = HashMap::new();
    let mut claimed_by: HashMap<&TopicPartition, BTreeSet<&str>> = HashMap::new();
    for (index, member) in members.iter().enumerate() {
        for partition in &member.owned {
            claimed_by.entry(partition).or_default().insert(&member.id);
            if !exists.contains(partition) || !member.wants(&partition.topic) {
                continue;
            }
            let claim = claims.entry(partition).or_insert((i32::MIN, None));
            if member.generation > claim.0 {
                *claim = (member.generation, Some(index));
            } else if member.generation == claim.0 {
                claim.1 = None;
            }
        }
    }
    let mut loads = Loads::new(members);
    let mut free: Vec<&TopicPartition> = Vec::new();
    for partition in &all {
        match claims.get(partition).and_then(|(_, owner)| *owner) {
            Some(owner) => loads.add(owner, partition),
            None => free.push(partition),
        }
    }
    // Those that few can take go first.
    free.sort_by_key(|partition| {
        members
            .iter()
            .filter(|member| member.wants(&partition.topic))
            .count()
    });
    for partition in free {
        if let Some(taker) = loads.least_loaded(&partition.topic) {
            loads.add(taker, partition);
        }
    }
    loads.balance();
    for (member, partitions) in members.iter().zip(loads.held) {
        for partition in partitions {
            // What another member still holds is given away only once it was revoked there: the
            // members that lose something join again.
            let held_elsewhere = claimed_by
                .get(partition)
                .is_some_and(|owners| owners.iter().any(|owner| *owner != member.id))
                && !claimed_by
                    .get(partition)
                    .is_some_and(|owners| owners.contains(member.id.as_str()));
            if !held_elsewhere {
                give(assignment, &member.id, partition.clone());
            }
        }
    }
}

/// Who holds how much while a sticky assignment is worked out.
struct Loads<'a> {
    members: &'a [&'a Member],
    held: Vec<Vec<&'a TopicPartition>>,
}

impl<'a> Loads<'a> {
    fn new(members: &'a [&'a Member]) -> Self {
        Self {
            members,
            held: members.iter().map(|_| Vec::new()).collect(),
        }
    }

    fn add(&mut self, member: usize, partition: &'a TopicPartition) {
        if let Some(held) = self.held.get_mut(member) {
            held.push(partition);
        }
    }

    fn load(&self, member: usize) -> usize {
        self.held.get(member).map_or(0, Vec::len)
    }

    fn least_loaded(&self, topic: &str) -> Option<usize> {
        self.members
            .iter()
            .enumerate()
            .filter(|(_, member)| member.wants(topic))
            .map(|(index, _)| index)
            .min_by_key(|index| self.load(*index))
    }

    /// Moves single partitions from members with more to members with less, until no move helps.
    /// Each move lowers the sum of the squared loads, so this ends.
    fn balance(&mut self) {
        loop {
            let mut moved = false;
            for giver in 0..self.members.len() {
                let mut place = self.load(giver);
                while place > 0 {
                    place -= 1;
                    let Some(partition) = self
                        .held
                        .get(giver)
                        .and_then(|held| held.get(place))
                        .copied()
                    else {
                        continue;
                    };
                    let Some(taker) = self.least_loaded(&partition.topic) else {
                        continue;
                    };
                    if self.load(giver) > self.load(taker) + 1 {
                        if let Some(held) = self.held.get_mut(giver) {
                            held.remove(place);
                        }
                        self.add(taker, partition);
                        moved = true;
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member(id: &str, topics: &[&str]) -> Member {
        Member {
            id: id.to_owned(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            generation: -1,
            ..Member::default()
        }
    }

    fn topics(counts: &[(&str, i32)]) -> BTreeMap<Arc<str>, i32> {
        counts
            .iter()
            .map(|(name, count)| (Arc::from(*name), *count))
            .collect()
    }

    fn shape(assignment: &Assignment) -> Vec<(String, Vec<String>)> {
        assignment
            .iter()
            .map(|(id, held)| (id.clone(), held.iter().map(ToString::to_string).collect()))
            .collect()
    }

    #[test]
    fn range_gives_stretches_and_the_rest_to_the_first() {
        let members = [member("b", &["t", "u"]), member("a", &["t"])];
        let assignment = Assignor::Range.assign(&members, &topics(&[("t", 3), ("u", 2)]));
        assert_eq!(
            shape(&assignment),
            [
                ("a".to_owned(), vec!["t-0".to_owned(), "t-1".to_owned()]),
                (
                    "b".to_owned(),
                    vec!["t-2".to_owned(), "u-0".to_owned(), "u-1".to_owned()]
                ),
            ]
        );
    }

    #[test]
    fn round_robin_takes_turns_over_topics() {
        let members = [member("a", &["t", "u"]), member("b", &["t", "u"])];
        let assignment = Assignor::RoundRobin.assign(&members, &topics(&[("t", 3), ("u", 3)]));
        assert_eq!(
            shape(&assignment),
            [
                (
                    "a".to_owned(),
                    vec!["t-0".to_owned(), "t-2".to_owned(), "u-1".to_owned()]
                ),
                (
                    "b".to_owned(),
                    vec!["t-1".to_owned(), "u-0".to_owned(), "u-2".to_owned()]
                ),
            ]
        );
    }

    /// Lets all members take over what they got, as the protocol would.
    fn settle(members: &mut [Member], assignment: &Assignment, generation: i32) {
        for member in members {
            let given = assignment[&member.id].clone();
            // What is not given any more is revoked before the next join.
            member.owned = given;
            member.generation = generation;
        }
    }

    #[test]
    fn cooperative_sticky_revokes_before_it_gives() {
        let counts = topics(&[("t", 4)]);
        let mut members = vec![member("a", &["t"])];
        let first = Assignor::CooperativeSticky.assign(&members, &counts);
        settle(&mut members, &first, 1);
        members.push(member("b", &["t"]));
        let second = Assignor::CooperativeSticky.assign(&members, &counts);
        assert_eq!(second["a"].len(), 2, "two are to be revoked");
        assert_eq!(second["b"].len(), 0, "and not given yet");
        settle(&mut members, &second, 2);
        let third = Assignor::CooperativeSticky.assign(&members, &counts);
        assert_eq!(third["a"], second["a"], "what stays doesn't move");
        assert_eq!(third["b"].len(), 2);
    }

    #[test]
    fn the_younger_generation_wins_a_contested_partition() {
        let partition = TopicPartition::new("t", 0);
        let mut old = member("a", &["t"]);
        old.owned = vec![partition.clone()];
        old.generation = 3;
        let mut new = member("b", &["t"]);
        new.owned = vec![partition.clone()];
        new.generation = 4;
        let assignment = Assignor::CooperativeSticky.assign(&[old, new], &topics(&[("t", 1)]));
        assert_eq!(assignment["b"], [partition]);
        assert!(assignment["a"].is_empty());
    }

    fn world() -> impl Strategy<Value = (Vec<Member>, BTreeMap<Arc<str>, i32>)> {
        let names = ["t", "u", "v"];
        let counts = proptest::collection::vec(0..9_i32, 3);
        let wants = proptest::collection::vec(proptest::collection::vec(any::<bool>(), 3), 1..6);
        (counts, wants).prop_map(move |(counts, wants)| {
            let topics = names
                .iter()
                .zip(counts)
                .map(|(name, count)| (Arc::from(*name), count))
                .collect();
            let members = wants
                .iter()
                .enumerate()
                .map(|(index, wants)| {
                    let topics: Vec<&str> = names
                        .iter()
                        .zip(wants)
                        .filter(|(_, wants)| **wants)
                        .map(|(name, _)| *name)
                        .collect();
                    member(&format!("m{index}"), &topics)
                })
                .collect();
            (members, topics)
        })
    }

    fn check_complete(
        members: &[Member],
        counts: &BTreeMap<Arc<str>, i32>,
        assignment: &Assignment,
    ) {
        let mut given: Vec<&TopicPartition> = assignment.values().flatten().collect();
        given.sort();
        let expected: Vec<TopicPartition> = counts
            .iter()
            .filter(|(topic, _)| members.iter().any(|member| member.wants(topic)))
            .flat_map(|(topic, count)| {
                (0..*count).map(|partition| TopicPartition {
                    topic: Arc::clone(topic),
                    partition,
                })
            })
            .collect();
        assert_eq!(
            given,
            expected.iter().collect::<Vec<_>>(),
            "each partition exactly once"
        );
        for member in members {
            for partition in &assignment[&member.id] {
                assert!(member.wants(&partition.topic), "only what was subscribed");
            }
        }
    }

    proptest! {
        #[test]
        fn every_partition_goes_to_exactly_one_subscriber((members, counts) in world()) {
            for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky] {
                check_complete(&members, &counts, &assignor.assign(&members, &counts));
            }
        }

        #[test]
        fn sticky_settles_balanced_and_gives_nothing_to_two(
            (mut members, counts) in world(),
            leavers in proptest::collection::vec(any::<bool>(), 6),
        ) {
            let assignor = Assignor::CooperativeSticky;
            let first = assignor.assign(&members, &counts);
            settle(&mut members, &first, 1);
            let mut leavers = leavers.into_iter();
            members.retain(|_| leavers.next().unwrap_or(false));
            members.push(member("new", &["t", "u", "v"]));
            let mut last = Assignment::new();
            let mut rounds = 0;
            loop {
                let next = assignor.assign(&members, &counts);
                let mut given: Vec<&TopicPartition> = next.values().flatten().collect();
                given.sort();
                prop_assert!(given.windows(2).all(|pair| pair[0] != pair[1]));
                rounds += 1;
                settle(&mut members, &next, 1 + rounds);
                if next == last {
                    break;
                }
                prop_assert!(rounds < 10, "does not settle");
                last = next;
            }
            check_complete(&members, &counts, &last);
            let same = members.iter().all(|member| member.topics == members[0].topics);
            if same {
                prop_assert!(rounds <= 3, "members with one subscription settle in two rounds");
                let loads: Vec<usize> = last.values().map(Vec::len).collect();
                let spread = loads.iter().max().unwrap() - loads.iter().min().unwrap();
                prop_assert!(spread <= 1, "{loads:?}");
            }
        }
    }
}
