//! What a broker acknowledged and no committed offset stands for yet.
//!
//! An acknowledged record is in its leader's log, but a leader without replicas may lose the tail of
//! its log to a power cut. A broker makes everything it acknowledged durable before it takes a batch
//! of the offsets topic, so an offset and the records below it survive together, if one process of
//! the broker took both. [`OffsetStore::store`](super::OffsetStore::store) makes sure of that with
//! what is kept here. Where records and offsets have different leaders, the leaders of the records
//! are asked before each time offsets are stored.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kafka_client::{
    Client, ClientError, Delivered, ErrorCode, Moment, OffsetSpec, Proof, TopicPartition,
};

/// The ends of what was acknowledged, and since when.
#[derive(Debug, Default)]
pub(crate) struct Unproven {
    /// The offset behind the last record; `None` where the broker did not tell it.
    ends: HashMap<TopicPartition, Option<i64>>,
    /// When the first of it was sent.
    since: Option<Moment>,
    /// The brokers that acknowledged it since its leaders were last asked.
    brokers: BTreeSet<i32>,
}

impl Unproven {
    /// Adds what was delivered to a topic.
    pub(crate) fn add(&mut self, topic: &Arc<str>, delivered: &Delivered) {
        for (partition, last) in &delivered.last_offsets {
            let partition = TopicPartition::new(Arc::clone(topic), *partition);
            self.reach(partition, (*last >= 0).then_some(*last + 1));
        }
        self.since = earlier(self.since, delivered.sent);
        self.brokers.extend(&delivered.brokers);
    }

    /// Adds what was taken from here and turned out to stay unproven.
    pub(crate) fn give_back(&mut self, other: Self) {
        for (partition, end) in other.ends {
            self.reach(partition, end);
        }
        self.since = earlier(self.since, other.since);
        self.brokers.extend(other.brokers);
    }

    fn reach(&mut self, partition: TopicPartition, end: Option<i64>) {
        self.ends
            .entry(partition)
            .and_modify(|known| *known = known.zip(end).map(|(a, b)| a.max(b)))
            .or_insert(end);
    }

    /// Whether there is one process at most that acknowledged it.
    pub(crate) fn by_one(&self) -> bool {
        self.brokers.len() <= 1
    }

    /// Which process has all of it, if [one](Self::by_one) has.
    pub(crate) fn proof(&self) -> Option<Proof> {
        Some(Proof {
            since: self.since?,
            broker: self.brokers.first().copied(),
        })
    }

    /// Asks the leaders whether all of it is still in their logs; if so it counts as acknowledged
    /// from now on.
    ///
    /// # Errors
    /// [`ClientError::AcknowledgedLost`] if it is not; that nobody could be asked.
    pub(crate) async fn verify(&mut self, client: &Client) -> Result<(), ClientError> {
        let asked = Moment::now();
        let wanted: Vec<_> = self
            .ends
            .keys()
            .map(|partition| (partition.clone(), OffsetSpec::Latest))
            .collect();
        for (partition, listed) in client.admin().list_offsets(&wanted).await? {
            let expected = self.ends.get(&partition).copied().flatten();
            let expected = expected.unwrap_or(i64::MAX);
            let end = match listed {
                Ok(listed) => listed.offset,
                // The topic is gone, and its records with it.
                Err(error) if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => 0,
                Err(error) => return Err(error),
            };
            if end < expected {
                return Err(ClientError::AcknowledgedLost {
                    partition,
                    expected,
                });
            }
        }
        self.since = Some(asked);
        self.brokers.clear();
        Ok(())
    }
}

fn earlier(a: Option<Moment>, b: Option<Moment>) -> Option<Moment> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(partition: i32, last: i64) -> Delivered {
        Delivered {
            records: 1,
            last_offsets: vec![(partition, last)],
            sent: Some(Moment::now()),
            brokers: vec![0],
        }
    }

    #[test]
    fn the_furthest_end_and_the_first_moment_count() {
        let topic: Arc<str> = "lines".into();
        let (first, second) = (delivered(0, 9), delivered(0, 4));
        let mut unproven = Unproven::default();
        unproven.add(&topic, &second);
        let mut taken = std::mem::take(&mut unproven);
        assert_eq!(unproven.proof(), None);
        taken.add(&topic, &first);
        unproven.give_back(taken);
        assert_eq!(unproven.proof().map(|proof| proof.since), first.sent);
        let end = unproven.ends.get(&TopicPartition::new("lines", 0));
        assert_eq!(end, Some(&Some(10)));
    }

    #[test]
    fn what_two_brokers_acknowledged_is_proven_by_neither() {
        let topic: Arc<str> = "lines".into();
        let mut unproven = Unproven::default();
        unproven.add(&topic, &delivered(0, 9));
        assert!(unproven.by_one());
        assert_eq!(unproven.proof().unwrap().broker, Some(0));
        let elsewhere = Delivered {
            brokers: vec![1],
            ..delivered(1, 4)
        };
        unproven.add(&topic, &elsewhere);
        assert!(!unproven.by_one());
    }

    #[test]
    fn an_end_that_was_not_told_stays_unknown() {
        let mut unproven = Unproven::default();
        unproven.add(&"lines".into(), &delivered(0, -1));
        unproven.add(&"lines".into(), &delivered(0, 7));
        let end = unproven.ends.get(&TopicPartition::new("lines", 0));
        assert_eq!(end, Some(&None));
    }
}
