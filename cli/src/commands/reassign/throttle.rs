//! Limits for the bandwidth that moves take, kept as settings of brokers (how much) and topics (for
//! which copies).

use std::collections::{BTreeMap, BTreeSet};

use kafka_client::{
    Admin, AlterConfigOp, ClientError, ConfigAlteration, ConfigResource, PartitionReassignment,
    TopicPartition,
};

use super::assignment::Assignment;
use crate::{CliError, output};

const RATES: [&str; 2] = [
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
];
const LEADERS: &str = "leader.replication.throttled.replicas";
const FOLLOWERS: &str = "follower.replication.throttled.replicas";

/// From where to where each partition is copied.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moves(BTreeMap<TopicPartition, Move>);

#[derive(Debug, PartialEq, Eq)]
struct Move {
    sources: BTreeSet<i32>,
    destinations: BTreeSet<i32>,
}

impl Moves {
    /// What is under way, and what `proposed` begins from the `current` copies.
    pub(super) fn new(
        under_way: &BTreeMap<TopicPartition, PartitionReassignment>,
        current: &Assignment,
        proposed: &Assignment,
    ) -> Self {
        let mut moves: BTreeMap<TopicPartition, Move> = under_way
            .iter()
            .map(|(partition, moving)| {
                let destinations: BTreeSet<i32> = moving.adding.iter().copied().collect();
                let all: BTreeSet<i32> = moving.replicas.iter().copied().collect();
                let sources = all.difference(&destinations).copied().collect();
                let going = Move {
                    sources,
                    destinations,
                };
                (partition.clone(), going)
            })
            .collect();
        for (partition, replicas) in proposed {
            let sources: BTreeSet<i32> = match moves.get(partition) {
                Some(going) => going.sources.clone(),
                None => current
                    .get(partition)
                    .into_iter()
                    .flatten()
                    .copied()
                    .collect(),
            };
            let destinations = replicas
                .iter()
                .copied()
                .filter(|id| !sources.contains(id))
                .collect();
            let going = Move {
                sources,
                destinations,
            };
            moves.insert(partition.clone(), going);
        }
        Self(moves)
    }

    fn brokers(&self) -> BTreeSet<i32> {
        let moves = self.0.values();
        moves
            .flat_map(|going| going.sources.iter().chain(&going.destinations))
            .copied()
            .collect()
    }

    /// `partition:broker` of all sources, or of all destinations, by topic.
    fn throttled(&self, which: impl Fn(&Move) -> &BTreeSet<i32>) -> BTreeMap<String, String> {
        let mut topics: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (partition, going) in &self.0 {
            let pairs = which(going)
                .iter()
                .map(|id| format!("{}:{id}", partition.partition));
            topics
                .entry(partition.topic.to_string())
                .or_default()
                .extend(pairs);
        }
        topics
            .into_iter()
            .map(|(topic, pairs)| (topic, pairs.join(",")))
            .collect()
    }
}

/// Lets the moves take at most `bytes_per_second` on each broker.
pub(super) async fn limit(
    admin: &Admin,
    moves: &Moves,
    bytes_per_second: u64,
) -> Result<(), ClientError> {
    let lists = [
        (LEADERS, moves.throttled(|going| &going.sources)),
        (FOLLOWERS, moves.throttled(|going| &going.destinations)),
    ];
    let mut topics: BTreeMap<&str, Vec<ConfigAlteration>> = BTreeMap::new();
    for (key, list) in &lists {
        for (topic, copies) in list {
            topics.entry(topic).or_default().push(set(key, copies));
        }
    }
    for (topic, alterations) in topics {
        admin
            .incremental_alter_configs(&ConfigResource::topic(topic), &alterations, false)
            .await?;
    }
    let rate = bytes_per_second.to_string();
    let alterations = RATES.map(|key| set(key, &rate));
    for id in moves.brokers() {
        admin
            .incremental_alter_configs(&ConfigResource::broker(id), &alterations, false)
            .await?;
    }
    Ok(())
}

/// Takes the limits away from all brokers and from these topics, and says so.
pub(super) async fn clear(admin: &Admin, topics: &BTreeSet<String>) -> Result<(), CliError> {
    let failed = |error: ClientError| super::refused(&error);
    let cluster = admin.describe_cluster().await.map_err(failed)?;
    let mut ids: Vec<i32> = cluster.brokers.iter().map(|broker| broker.id).collect();
    ids.sort_unstable();
    output::line(&format!(
        "Clearing broker-level throttles on broker{} {}",
        super::plural(ids.len()),
        super::join(&ids)
    ))?;
    for id in ids {
        forget(admin, &ConfigResource::broker(id), &RATES)
            .await
            .map_err(failed)?;
    }
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    output::line(&format!(
        "Clearing topic-level throttles on topic{} {}",
        super::plural(names.len()),
        names.join(",")
    ))?;
    for name in names {
        forget(admin, &ConfigResource::topic(name), &[LEADERS, FOLLOWERS])
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// Deletes those of `keys` that somebody has set, so that nothing is changed where nothing is to do.
async fn forget(
    admin: &Admin,
    resource: &ConfigResource,
    keys: &[&str],
) -> Result<(), ClientError> {
    let mut present = Vec::new();
    for (_, entries) in admin
        .describe_configs(std::slice::from_ref(resource))
        .await?
    {
        // A topic that was deleted meanwhile has no settings any more.
        let Ok(entries) = entries else { continue };
        present.extend(
            entries
                .into_iter()
                .filter(|entry| keys.contains(&entry.name.as_str()))
                .filter(|entry| {
                    use kafka_client::ConfigSource::{DynamicBroker, Topic};
                    matches!(entry.source, DynamicBroker | Topic)
                })
                .map(|entry| ConfigAlteration {
                    name: entry.name,
                    op: AlterConfigOp::Delete,
                    value: None,
                }),
        );
    }
    if present.is_empty() {
        return Ok(());
    }
    admin
        .incremental_alter_configs(resource, &present, false)
        .await
}

fn set(key: &str, value: &str) -> ConfigAlteration {
    ConfigAlteration {
        name: key.to_owned(),
        op: AlterConfigOp::Set,
        value: Some(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_and_destinations_are_throttled_where_they_are() {
        let at = |index| TopicPartition::new("t", index);
        let current = [(at(0), vec![2, 3]), (at(3), vec![2, 3])].into();
        let proposed = [(at(0), vec![1, 2]), (at(3), vec![2, 1, 3])].into();
        let moves = Moves::new(&BTreeMap::new(), &current, &proposed);
        let of = |topics: BTreeMap<String, String>| topics.get("t").cloned().unwrap_or_default();
        // What Kafka's own tool sets for the same move.
        assert_eq!(
            of(moves.throttled(|going| &going.sources)),
            "0:2,0:3,3:2,3:3"
        );
        assert_eq!(of(moves.throttled(|going| &going.destinations)), "0:1,3:1");
        assert_eq!(moves.brokers(), [1, 2, 3].into());

        // Asked for again while it is under way, nothing changes.
        let moving = PartitionReassignment {
            replicas: vec![1, 2, 3],
            adding: vec![1],
            removing: vec![3],
        };
        let again = Moves::new(
            &[(at(0), moving)].into(),
            &[(at(0), vec![1, 2, 3]), (at(3), vec![2, 3])].into(),
            &proposed,
        );
        assert_eq!(again, moves);
    }
}
