//! Which members of the cluster vote in the metadata quorum.
//!
//! An odd number, at most `controller.quorum.voters.max`: a fourth voter would make nothing safer
//! and everything slower. A voter that is merely down keeps its vote, because a quorum that shrinks
//! by itself could shrink to the wrong side of a partition.

use std::collections::BTreeSet;

/// What the voters should be, if that is not what they are: more as members join, fewer when one
/// leaves. `members` are all of the quorum, `live` those that are registered and not fenced,
/// `leaving` those that are being taken out.
pub(super) fn voters_wanted(
    me: i32,
    voters: &BTreeSet<i32>,
    members: &BTreeSet<i32>,
    live: &BTreeSet<i32>,
    leaving: &BTreeSet<i32>,
    max: usize,
) -> Option<BTreeSet<i32>> {
    let usable: BTreeSet<i32> = live
        .intersection(members)
        .copied()
        .chain([me])
        .filter(|id| !leaving.contains(id))
        .collect();
    let staying: BTreeSet<i32> = voters.difference(leaving).copied().collect();
    // A dead voter still counts: its vote is not given to somebody else without being asked.
    let candidates: BTreeSet<i32> = staying.union(&usable).copied().collect();
    let target = odd(candidates.len().min(max.max(1)));
    // An even number is what a replaced disk leaves behind, until its broker is there again.
    let awaited = members.difference(voters).any(|id| !leaving.contains(id));
    let even = voters.len().is_multiple_of(2) && !awaited;
    let smaller = staying.len() < voters.len() || even;
    let larger = target > voters.len();
    if !smaller && !larger {
        return None;
    }
    let mut wanted = BTreeSet::new();
    // This node leads; then who votes and is alive, who is alive, who votes.
    let order = [me]
        .into_iter()
        .filter(|id| !leaving.contains(id))
        .chain(staying.intersection(&usable).copied())
        .chain(usable.iter().copied())
        .chain(staying.iter().copied());
    for id in order {
        if wanted.len() < target {
            wanted.insert(id);
        }
    }
    (wanted != *voters && !wanted.is_empty()).then_some(wanted)
}

fn odd(count: usize) -> usize {
    if count.is_multiple_of(2) {
        count.saturating_sub(1)
    } else {
        count
    }
}
