//! Which brokers get the replicas of new partitions.

use std::collections::BTreeMap;

use super::ControllerError;
use super::plan::Plan;
use super::record::BrokerRegistration;
use crate::error_code;

impl Plan<'_> {
    /// Replicas for `count` new partitions, spread over racks and brokers: leaders go round all
    /// brokers from a random one on, and each turn of followers is shifted against the last.
    ///
    /// # Errors
    /// When there are fewer live brokers than `factor`.
    pub(super) fn place(
        &self,
        count: i32,
        factor: i16,
        random: u64,
    ) -> Result<Vec<Vec<i32>>, ControllerError> {
        let brokers = alternating_racks(self.image().usable_brokers());
        let wanted = usize::try_from(factor).unwrap_or(0);
        if wanted == 0 || wanted > brokers.len() {
            return Err(too_few(factor, brokers.len()));
        }
        let start = usize::try_from(random).unwrap_or(0) % brokers.len();
        Ok((0..usize::try_from(count).unwrap_or(0))
            .map(|index| replicas_of(&brokers, wanted, start, index))
            .collect())
    }

    /// Checks replicas that somebody chose.
    pub(super) fn check_assignment(&self, replicas: &[i32]) -> Result<(), ControllerError> {
        let refuse = |problem: String| {
            Err(ControllerError::new(
                error_code::INVALID_REPLICA_ASSIGNMENT,
                format!("assignment {replicas:?} is not possible: {problem}"),
            ))
        };
        if replicas.is_empty() {
            return refuse("it names no broker".to_owned());
        }
        for (position, id) in replicas.iter().enumerate() {
            if replicas.iter().take(position).any(|other| other == id) {
                return refuse(format!("it names broker {id} twice"));
            }
            if self.image().broker(*id).is_none_or(|broker| broker.leaving) {
                let known: Vec<String> = self
                    .image()
                    .brokers()
                    .filter(|broker| !broker.leaving)
                    .map(|broker| broker.id.to_string())
                    .collect();
                return refuse(format!(
                    "there is no broker {id}; the brokers are {}",
                    known.join(", ")
                ));
            }
        }
        Ok(())
    }
}

/// The error for a replication factor that cannot be had.
pub(super) fn too_few(factor: i16, live: usize) -> ControllerError {
    let message = if factor < 1 {
        format!("replication factor {factor} is not possible; use at least 1")
    } else {
        format!(
            "replication factor {factor} is larger than the number of live brokers, {live}; lower it or start more brokers"
        )
    };
    ControllerError::new(error_code::INVALID_REPLICATION_FACTOR, message)
}

/// A broker with its rack; one without is a rack of its own.
type Placed<'a> = (i32, Result<&'a str, i32>);

/// The brokers in an order in which racks take turns, so that neighbours are in different ones.
fn alternating_racks<'a>(brokers: impl Iterator<Item = &'a BrokerRegistration>) -> Vec<Placed<'a>> {
    let mut racks: BTreeMap<Result<&str, i32>, Vec<i32>> = BTreeMap::new();
    for broker in brokers {
        let rack = broker.rack.as_deref().ok_or(broker.id);
        racks.entry(rack).or_default().push(broker.id);
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    (0..longest)
        .flat_map(|turn| {
            racks
                .iter()
                .filter_map(move |(rack, ids)| Some((*ids.get(turn)?, *rack)))
        })
        .collect()
}

fn replicas_of(brokers: &[Placed<'_>], factor: usize, start: usize, index: usize) -> Vec<i32> {
    let count = brokers.len();
    let first = (start + index) % count;
    // Each time the leaders have gone round, followers begin one further.
    let shift = index / count;
    let others =
        (0..count.saturating_sub(1)).map(|turn| (first + 1 + (shift + turn) % (count - 1)) % count);
    let mut order: Vec<Placed<'_>> = others.filter_map(|at| brokers.get(at).copied()).collect();
    let mut chosen: Vec<Placed<'_>> = brokers.get(first).copied().into_iter().collect();
    while chosen.len() < factor {
        let used = |rack: &Result<&str, i32>| chosen.iter().filter(|(_, r)| r == rack).count();
        // The first of those whose rack has the fewest replicas so far.
        let Some(at) = (0..order.len()).min_by_key(|at| order.get(*at).map(|(_, r)| used(r)))
        else {
            break;
        };
        chosen.push(order.remove(at));
    }
    chosen.into_iter().map(|(id, _)| id).collect()
}
