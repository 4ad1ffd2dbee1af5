//! What producers, readers, group members and replicas of one run saw, in the order they saw it.

use std::collections::BTreeMap;
use std::time::Duration;

/// A partition of the topics under test, by number.
pub type Partition = i32;

/// One record, told apart from all others by its producer, partition and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    /// Who sent it.
    pub producer: u32,
    /// Where to.
    pub partition: Partition,
    /// Counts up per producer and partition.
    pub number: u64,
}

impl Value {
    /// As it is written into a record.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}/{}/{}", self.producer, self.partition, self.number)
    }

    /// Back from a record; `None` for what nobody here can have sent.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(text).ok()?.split('/');
        let value = Self {
            producer: parts.next()?.parse().ok()?,
            partition: parts.next()?.parse().ok()?,
            number: parts.next()?.parse().ok()?,
        };
        (parts.next().is_none() && value.text().as_bytes() == text).then_some(value)
    }
}

/// Something that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A producer handed a record to its client.
    Sent(Value),
    /// It was told that the record is safe, and where, if it was told that as well.
    Acknowledged {
        /// The record.
        value: Value,
        /// Its offset.
        offset: Option<i64>,
    },
    /// It was told that the record was not delivered, which may be wrong.
    Failed(Value),
    /// A reader without a group got a record.
    Read {
        /// Who.
        reader: u32,
        /// Where.
        partition: Partition,
        /// Where.
        offset: i64,
        /// The record, or bytes that nobody sent.
        record: Result<Value, String>,
    },
    /// A member of a group was given a partition.
    Assigned {
        /// The member.
        member: u32,
        /// The partition.
        partition: Partition,
    },
    /// A member of a group got a record.
    Delivered {
        /// The member.
        member: u32,
        /// Where.
        partition: Partition,
        /// Where.
        offset: i64,
        /// The record.
        record: Result<Value, String>,
    },
    /// A member asked to commit this as the next offset to read.
    CommitAsked {
        /// The partition.
        partition: Partition,
        /// The next offset.
        next: i64,
    },
    /// And was told that this is done.
    Committed {
        /// The partition.
        partition: Partition,
        /// The next offset.
        next: i64,
    },
    /// How a replica was at one moment.
    Replica(ReplicaState),
    /// What the nemesis did; for people who read a history.
    Fault(String),
}

/// How a replica was at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaState {
    /// The broker.
    pub broker: i32,
    /// Counts the broker's starts.
    pub life: u32,
    /// The partition.
    pub partition: Partition,
    /// Whether it takes appends.
    pub leads: bool,
    /// The epoch it leads or follows in.
    pub leader_epoch: i32,
    /// What is before it is committed, as far as this replica knows.
    pub high_watermark: i64,
    /// The next offset.
    pub log_end: i64,
}

/// The whole run.
#[derive(Debug, Default)]
pub struct History {
    events: Vec<(Duration, Event)>,
    /// The last state of each replica: what has not changed is not noted again.
    replicas: BTreeMap<(i32, Partition), ReplicaState>,
}

impl History {
    /// Notes that something was seen at this moment.
    pub fn note(&mut self, at: Duration, event: Event) {
        if let Event::Replica(state) = &event {
            let known = self
                .replicas
                .insert((state.broker, state.partition), *state);
            if known == Some(*state) {
                return;
            }
        }
        self.events.push((at, event));
    }

    /// Everything, in order.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().map(|(_, event)| event)
    }

    /// For people: the faults, and what concerns one partition, with its times.
    #[must_use]
    pub fn tell(&self, about: impl Fn(&Event) -> bool) -> String {
        let mut text = String::new();
        for (at, event) in &self.events {
            if matches!(event, Event::Fault(_)) || about(event) {
                text.push_str(&format!("{:>9.3} {event:?}\n", at.as_secs_f64()));
            }
        }
        text
    }

    /// A number that two equal histories share, and different ones hardly ever.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        for (at, event) in &self.events {
            (at, format!("{event:?}")).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// A record that was found: its offset, and its value or why it is none.
pub type Found = (i64, Result<Value, String>);

/// What is in the partitions at the end, and on each replica.
#[derive(Debug, Default)]
pub struct Ending {
    /// By partition, all records that a reader from the start gets, in order.
    pub records: BTreeMap<Partition, Vec<Found>>,
    /// By partition and broker: the bytes up to the high watermark, cut into batches, as (offset,
    /// checksum of all the batch's bytes).
    pub replicas: BTreeMap<Partition, BTreeMap<i32, Vec<(i64, u32)>>>,
}
