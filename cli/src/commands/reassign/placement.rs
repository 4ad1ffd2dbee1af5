//! Which brokers the partitions of a topic go to when all of them are placed anew: evenly over
//! brokers, and over racks where they are known (Kafka's striping, KIP-36).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Where the first partition's leader goes, and how far its second copy is from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) broker: usize,
    pub(super) shift: usize,
}

/// Brokers for `partitions` partitions with `factor` copies each. `brokers` have their racks, all of
/// them or none.
///
/// # Errors
/// When there are fewer brokers than copies.
pub(super) fn stripe(
    brokers: &BTreeMap<i32, Option<String>>,
    partitions: usize,
    factor: usize,
    start: Start,
) -> Result<Vec<Vec<i32>>, String> {
    if factor > brokers.len() {
        return Err(format!(
            "Replication factor: {factor} larger than available brokers: {}.",
            brokers.len()
        ));
    }
    let ring = alternate_racks(brokers);
    let racks: BTreeSet<&str> = ring.iter().map(|(_, rack)| *rack).collect();
    Ok((0..partitions)
        .map(|partition| {
            let first = (start.broker + partition) % ring.len();
            let shift = start.shift + partition / ring.len();
            replicas(&ring, racks.len(), first, shift, factor)
        })
        .collect())
}

/// The copies of one partition: from the leader on, round the ring, each in a new rack while there is
/// one.
fn replicas(
    ring: &[(i32, &str)],
    racks: usize,
    first: usize,
    shift: usize,
    factor: usize,
) -> Vec<i32> {
    let shift = if racks > 1 { shift * racks } else { shift };
    let leader = ring.get(first);
    let others = (0..ring.len().saturating_sub(1))
        .filter_map(|step| ring.get((first + 1 + (shift + step) % (ring.len() - 1)) % ring.len()));
    let candidates: Vec<(i32, &str)> = leader.into_iter().chain(others).copied().collect();
    let mut chosen: Vec<i32> = Vec::new();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    // Every broker is a candidate once, so that two rounds are enough: one for racks that have no
    // copy yet, one for the rest.
    for any_rack in [racks <= 1, true] {
        for (id, rack) in &candidates {
            if chosen.len() < factor && !chosen.contains(id) && (any_rack || !used.contains(rack)) {
                chosen.push(*id);
                used.insert(rack);
            }
        }
    }
    chosen
}

/// The brokers one rack after the other: neighbours are in different racks as far as possible.
fn alternate_racks(brokers: &BTreeMap<i32, Option<String>>) -> Vec<(i32, &str)> {
    let mut by_rack: BTreeMap<&str, VecDeque<i32>> = BTreeMap::new();
    for (id, rack) in brokers {
        by_rack
            .entry(rack.as_deref().unwrap_or_default())
            .or_default()
            .push_back(*id);
    }
    let mut ring = Vec::with_capacity(brokers.len());
    while ring.len() < brokers.len() {
        for (rack, ids) in &mut by_rack {
            ring.extend(ids.pop_front().map(|id| (id, *rack)));
        }
    }
    ring
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Start = Start {
        broker: 0,
        shift: 0,
    };

    fn brokers(racks: &[Option<&str>]) -> BTreeMap<i32, Option<String>> {
        (1..)
            .zip(racks.iter().map(|rack| rack.map(str::to_owned)))
            .collect()
    }

    #[test]
    fn leaders_and_copies_go_round_all_brokers() {
        let placed = stripe(&brokers(&[None; 5]), 10, 3, START).unwrap();
        // The example in the documentation of Kafka's AdminUtils, with brokers counted from 1.
        let expected = [
            [1, 2, 3],
            [2, 3, 4],
            [3, 4, 5],
            [4, 5, 1],
            [5, 1, 2],
            [1, 3, 4],
            [2, 4, 5],
            [3, 5, 1],
            [4, 1, 2],
            [5, 2, 3],
        ];
        assert_eq!(placed, expected.map(Vec::from));
    }

    #[test]
    fn copies_are_in_different_racks_while_there_are_some() {
        let racks = [
            Some("a"),
            Some("a"),
            Some("b"),
            Some("b"),
            Some("c"),
            Some("c"),
        ];
        let all = brokers(&racks);
        for broker in 0..6 {
            for shift in 0..6 {
                for (factor, expected) in [(2, 2), (3, 3), (4, 3)] {
                    let placed = stripe(&all, 24, factor, Start { broker, shift }).unwrap();
                    for replicas in &placed {
                        assert_eq!(replicas.len(), factor);
                        let used: BTreeSet<_> = replicas.iter().map(|id| &all[id]).collect();
                        assert_eq!(used.len(), expected, "{replicas:?}");
                        assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), factor);
                    }
                    for id in all.keys() {
                        let led = placed.iter().filter(|replicas| replicas[0] == *id).count();
                        assert_eq!(led, 4);
                    }
                }
            }
        }
    }

    #[test]
    fn more_copies_than_brokers_are_refused() {
        let refused = stripe(&brokers(&[None; 2]), 1, 3, START).unwrap_err();
        assert_eq!(
            refused,
            "Replication factor: 3 larger than available brokers: 2."
        );
        assert_eq!(stripe(&brokers(&[None]), 2, 1, START).unwrap(), [[1], [1]]);
    }
}
