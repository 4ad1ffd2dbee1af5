//! Which source offsets are safe to commit: those of the contiguous acknowledged prefix of each
//! source partition.
//!
//! Invariant: an offset becomes committable only when everything that was polled before it from
//! the same source partition is acknowledged. Records that no offset of their own poll covers may
//! belong to any source partition, so the offsets of the next poll that has some wait for them.

use std::collections::{HashMap, VecDeque};

use connect_core::{SourceOffset, SourcePartition, SourcePosition};

/// What is on its way to the broker, per source partition in the order it was polled.
#[derive(Default)]
pub(super) struct Submitted {
    lanes: HashMap<SourcePartition, Lane>,
    committable: HashMap<SourcePartition, SourceOffset>,
    /// Sends on their way with records that no offset covers, and the entries that wait for them.
    loose: HashMap<u64, Vec<(SourcePartition, u64)>>,
    /// Those of `loose` that the next offsets have to wait for.
    uncovered: Vec<u64>,
    next_loose: u64,
}

#[derive(Default)]
struct Lane {
    /// The number of the first entry; entries are numbered without gaps.
    first: u64,
    entries: VecDeque<Entry>,
}

struct Entry {
    offset: SourceOffset,
    /// Sends that are not acknowledged yet.
    sends_left: usize,
}

/// The part of one poll that one send carries; given back when the send is acknowledged.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Ticket {
    entries: Vec<(SourcePartition, u64)>,
    loose: Option<u64>,
}

/// What one send of a poll carries.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Carried {
    /// Indexes of the positions whose records are in it.
    pub(super) positions: Vec<usize>,
    /// Whether records behind the last position are in it, too.
    pub(super) loose: bool,
}

impl Submitted {
    /// Registers one poll: where each source partition stands after it, and what every send
    /// carries. Returns one ticket per send.
    pub(super) fn submit(
        &mut self,
        positions: Vec<SourcePosition>,
        sends: &[Carried],
    ) -> Vec<Ticket> {
        let before = match positions.is_empty() {
            true => Vec::new(),
            false => std::mem::take(&mut self.uncovered),
        };
        let entries: Vec<(SourcePartition, u64)> = positions
            .into_iter()
            .enumerate()
            .map(|(index, position)| {
                let carries = |send: &&Carried| send.positions.contains(&index);
                let waits_for = sends.iter().filter(carries).count() + before.len();
                let number = self.push(&position.partition, position.offset, waits_for);
                (position.partition, number)
            })
            .collect();
        for send in before {
            self.loose.insert(send, entries.clone());
        }
        let mut tickets = Vec::with_capacity(sends.len());
        for send in sends {
            let positions = send.positions.iter();
            tickets.push(Ticket {
                entries: positions
                    .filter_map(|index| entries.get(*index).cloned())
                    .collect(),
                loose: send.loose.then(|| self.add_loose()),
            });
        }
        for (partition, _) in &entries {
            self.advance(partition);
        }
        tickets
    }

    fn add_loose(&mut self) -> u64 {
        let number = self.next_loose;
        self.next_loose += 1;
        self.loose.insert(number, Vec::new());
        self.uncovered.push(number);
        number
    }

    /// Notes an offset; the number of its entry.
    fn push(&mut self, partition: &SourcePartition, offset: SourceOffset, sends: usize) -> u64 {
        let lane = self.lanes.entry(partition.clone()).or_default();
        match lane.entries.back_mut() {
            // It depends on nothing more than the one before, so it goes along with that: a source whose
            // records are all dropped goes on at any speed while an earlier send is held up.
            Some(last) if sends == 0 => last.offset = offset,
            _ => lane.entries.push_back(Entry {
                offset,
                sends_left: sends,
            }),
        }
        lane.first + lane.entries.len() as u64 - 1
    }

    /// A send was acknowledged.
    pub(super) fn acknowledge(&mut self, ticket: Ticket) {
        let mut entries = ticket.entries;
        if let Some(number) = ticket.loose {
            self.uncovered.retain(|uncovered| *uncovered != number);
            entries.extend(self.loose.remove(&number).unwrap_or_default());
        }
        for (partition, number) in entries {
            if let Some(lane) = self.lanes.get_mut(&partition) {
                let index = usize::try_from(number - lane.first).unwrap_or(usize::MAX);
                if let Some(entry) = lane.entries.get_mut(index) {
                    debug_assert!(entry.sends_left > 0, "a send is acknowledged once");
                    entry.sends_left = entry.sends_left.saturating_sub(1);
                }
            }
            self.advance(&partition);
        }
    }

    fn advance(&mut self, partition: &SourcePartition) {
        let Some(lane) = self.lanes.get_mut(partition) else {
            return;
        };
        let mut last = None;
        while lane
            .entries
            .front()
            .is_some_and(|entry| entry.sends_left == 0)
        {
            last = lane.entries.pop_front().map(|entry| entry.offset);
            lane.first += 1;
        }
        if lane.entries.is_empty() {
            self.lanes.remove(partition);
        }
        if let Some(offset) = last {
            self.committable.insert(partition.clone(), offset);
        }
    }

    /// Takes what can be committed now.
    pub(super) fn take_committable(&mut self) -> Vec<SourcePosition> {
        self.committable
            .drain()
            .map(|(partition, offset)| SourcePosition { partition, offset })
            .collect()
    }

    /// Gives back what could not be committed; newer offsets are not overwritten.
    pub(super) fn give_back(&mut self, positions: Vec<SourcePosition>) {
        for SourcePosition { partition, offset } in positions {
            self.committable.entry(partition).or_insert(offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn partition(name: &str) -> SourcePartition {
        SourcePartition::of(&json!({ "filename": name })).unwrap()
    }

    fn at(name: &str, position: u64) -> SourcePosition {
        let offset = SourceOffset::of(&json!({ "position": position })).unwrap();
        SourcePosition {
            partition: partition(name),
            offset,
        }
    }

    fn carrying(positions: &[usize]) -> Carried {
        Carried {
            positions: positions.to_vec(),
            loose: false,
        }
    }

    fn one(submitted: &mut Submitted, position: SourcePosition) -> Ticket {
        let mut tickets = submitted.submit(vec![position], &[carrying(&[0])]);
        tickets.pop().unwrap()
    }

    #[test]
    fn records_without_an_offset_hold_back_the_offsets_of_the_next_poll() {
        let mut submitted = Submitted::default();
        let loose = |positions: &[usize]| Carried {
            positions: positions.to_vec(),
            loose: true,
        };
        let mut without = submitted.submit(Vec::new(), &[loose(&[])]);
        let first = one(&mut submitted, at("a", 1));
        submitted.acknowledge(first);
        assert!(submitted.take_committable().is_empty());
        submitted.acknowledge(without.pop().unwrap());
        assert_eq!(submitted.take_committable(), [at("a", 1)]);
        let mut both = submitted.submit(vec![at("a", 2)], &[loose(&[0])]);
        submitted.acknowledge(both.pop().unwrap());
        assert_eq!(submitted.take_committable(), [at("a", 2)]);
        let last = one(&mut submitted, at("a", 3));
        submitted.acknowledge(last);
        assert_eq!(submitted.take_committable(), [at("a", 3)]);
        assert!(submitted.loose.is_empty() && submitted.uncovered.is_empty());
    }

    #[test]
    fn nothing_is_committable_before_it_is_acknowledged() {
        let mut submitted = Submitted::default();
        let ticket = one(&mut submitted, at("a", 1));
        assert!(submitted.take_committable().is_empty());
        submitted.acknowledge(ticket);
        assert_eq!(submitted.take_committable(), [at("a", 1)]);
        assert!(submitted.take_committable().is_empty());
    }

    #[test]
    fn a_later_acknowledgement_waits_for_the_earlier_one() {
        let mut submitted = Submitted::default();
        let first = one(&mut submitted, at("a", 1));
        let second = one(&mut submitted, at("a", 2));
        let third = one(&mut submitted, at("a", 3));
        submitted.acknowledge(second);
        assert!(submitted.take_committable().is_empty());
        submitted.acknowledge(first);
        assert_eq!(submitted.take_committable(), [at("a", 2)]);
        submitted.acknowledge(third);
        assert_eq!(submitted.take_committable(), [at("a", 3)]);
    }

    #[test]
    fn a_stuck_head_blocks_only_its_own_source_partition() {
        let mut submitted = Submitted::default();
        let positions = vec![at("a", 1), at("b", 9)];
        let mut tickets = submitted.submit(positions, &[carrying(&[0]), carrying(&[1])]);
        let (b, _stuck) = (tickets.pop().unwrap(), tickets.pop().unwrap());
        submitted.acknowledge(b);
        assert_eq!(submitted.take_committable(), [at("b", 9)]);
    }

    #[test]
    fn a_position_whose_records_go_to_two_topics_waits_for_both() {
        let mut submitted = Submitted::default();
        let mut tickets = submitted.submit(vec![at("a", 1)], &[carrying(&[0]), carrying(&[0])]);
        submitted.acknowledge(tickets.pop().unwrap());
        assert!(submitted.take_committable().is_empty());
        submitted.acknowledge(tickets.pop().unwrap());
        assert_eq!(submitted.take_committable(), [at("a", 1)]);
    }

    #[test]
    fn a_poll_whose_records_were_all_dropped_still_moves_the_offset() {
        let mut submitted = Submitted::default();
        assert!(submitted.submit(vec![at("a", 7)], &[]).is_empty());
        assert_eq!(submitted.take_committable(), [at("a", 7)]);
    }

    #[test]
    fn polls_that_send_nothing_pile_up_nothing_behind_one_that_is_held_up() {
        let mut submitted = Submitted::default();
        let held_up = one(&mut submitted, at("a", 1));
        for position in 2..10_000 {
            assert!(submitted.submit(vec![at("a", position)], &[]).is_empty());
        }
        assert_eq!(submitted.lanes[&partition("a")].entries.len(), 1);
        let next = one(&mut submitted, at("a", 10_000));
        assert!(submitted.take_committable().is_empty());
        submitted.acknowledge(held_up);
        assert_eq!(submitted.take_committable(), [at("a", 9_999)]);
        submitted.acknowledge(next);
        assert_eq!(submitted.take_committable(), [at("a", 10_000)]);
    }

    #[test]
    fn offsets_given_back_do_not_overwrite_newer_ones() {
        let mut submitted = Submitted::default();
        let first = one(&mut submitted, at("a", 1));
        submitted.acknowledge(first);
        let failed = submitted.take_committable();
        let second = one(&mut submitted, at("a", 2));
        submitted.acknowledge(second);
        submitted.give_back(failed);
        assert_eq!(submitted.take_committable(), [at("a", 2)]);
    }
}
