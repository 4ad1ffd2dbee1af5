//! `connect cluster remove ID`.
//!
//! The order is what keeps records safe: first the node's copies go to others, then it is forgotten.
//! The vote is asked for before anything moves: a cluster that cannot take it refuses right away, and
//! one that moves copies by itself begins with it. Every step may be asked for again, so that a
//! removal that was interrupted goes on when the command is run again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_client::{
    Admin, ClientError, ClusterDescription, ElectionType, ErrorCode, PartitionInfo,
    TopicDescription, TopicPartition,
};

use super::{all_topics, describe, refused};
use crate::connection::ConnectionArguments;
use crate::{CliError, output};

/// How long to wait before asking again how far it is.
const PAUSE: Duration = Duration::from_millis(500);
/// How often the copies that topics got meanwhile are moved away, too.
const ROUNDS_MAX: usize = 10;
/// How many partitions are named before the rest is only counted.
const NAMED_MAX: usize = 10;

/// Arguments of `connect cluster remove`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The node.
    #[arg(value_name = "ID")]
    pub id: i32,
    /// Options for the connection to the cluster.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Also a node that is not running and will not come back.
    #[arg(long)]
    pub force: bool,
}

/// What to do with one partition.
type Target = (TopicPartition, Vec<i32>);

pub(super) async fn remove(arguments: &Arguments, admin: &Admin) -> Result<(), CliError> {
    let id = arguments.id;
    let cluster = describe(admin).await?;
    let topics = all_topics(admin).await?;
    let directory = member(admin, id).await?;
    let known =
        is_registered(&cluster, id) || directory.is_some() || !copies_on(&topics, id).is_empty();
    if !known {
        return Err(CliError::failed(format!(
            "error: the cluster has no node {id}; connect cluster status shows its nodes"
        )));
    }
    check(id, arguments.force, &cluster, &topics).map_err(CliError::failed)?;
    if let Some((directory, votes)) = directory
        && take_vote(admin, id, directory, votes).await?
    {
        return gone(id);
    }
    move_away(admin, id).await?;
    until_done(admin, id, async || admin.unregister_broker(id).await)
        .await
        .or_else(|error| match error.code() {
            Some(ErrorCode::BROKER_ID_NOT_REGISTERED) => Ok(()),
            _ => Err(refused(&error)),
        })?;
    gone(id)
}

fn gone(id: i32) -> Result<(), CliError> {
    output::line(&format!(
        "Node {id} does not belong to the cluster any more; stop it if it still runs, and delete its data folder."
    ))
}

/// The node's data folder in the metadata quorum, and whether it votes there.
async fn member(admin: &Admin, id: i32) -> Result<Option<([u8; 16], bool)>, CliError> {
    let quorum = match admin.describe_quorum().await {
        Ok(quorum) => quorum,
        Err(ClientError::UnsupportedVersion { .. }) => return Ok(None),
        Err(error) => return Err(refused(&error)),
    };
    let all = [(&quorum.voters, true), (&quorum.observers, false)];
    Ok(all.into_iter().find_map(|(members, votes)| {
        let member = members.iter().find(|member| member.id == id)?;
        Some((member.directory, votes))
    }))
}

/// Whether the node can go at all.
fn check(
    id: i32,
    force: bool,
    cluster: &ClusterDescription,
    topics: &[TopicDescription],
) -> Result<(), String> {
    let live = cluster.brokers.iter().any(|broker| broker.id == id);
    if !cluster.brokers.iter().any(|broker| broker.id != id) {
        return Err(format!(
            "error: no other node of the cluster runs, so that nobody could take over from node {id}; start another one"
        ));
    }
    if live {
        return Ok(());
    }
    if !force {
        return Err(format!(
            "error: node {id} does not run; start it, so that it can hand its partitions over, or say --force if it will not come back"
        ));
    }
    let only: Vec<String> = copies_on(topics, id)
        .into_iter()
        .filter(|(_, partition)| {
            let mut complete = partition.isr.iter().chain(&partition.elr);
            !complete.any(|other| *other != id)
        })
        .map(|(place, _)| place.to_string())
        .collect();
    if only.is_empty() {
        return Ok(());
    }
    Err(format!(
        "error: node {id} has the only complete copy of {}; start it, or give these partitions up first: delete their topics, or let an incomplete copy lead with connect leader-election --election-type unclean",
        named(&only)
    ))
}

fn named(all: &[String]) -> String {
    let mut text = all
        .iter()
        .take(NAMED_MAX)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if all.len() > NAMED_MAX {
        text.push_str(&format!(" and {} more", all.len() - NAMED_MAX));
    }
    text
}

fn copies_on(topics: &[TopicDescription], id: i32) -> Vec<(TopicPartition, &PartitionInfo)> {
    topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|partition| {
                (
                    TopicPartition::new(topic.name.as_str(), partition.index),
                    partition,
                )
            })
        })
        .filter(|(_, partition)| partition.replicas.contains(&id))
        .collect()
}

/// Takes the node's vote; true if the cluster has taken the node out as a whole with it.
async fn take_vote(
    admin: &Admin,
    id: i32,
    directory: [u8; 16],
    votes: bool,
) -> Result<bool, CliError> {
    let outcome = until_done(admin, id, async || {
        admin.remove_raft_voter(id, directory).await
    })
    .await;
    match outcome {
        Ok(()) => {
            if votes {
                output::line(&format!("Took the vote of node {id}."))?;
            }
            is_gone(admin, id).await
        }
        // Since it was last asked for.
        Err(error) if error.code() == Some(ErrorCode::BROKER_ID_NOT_REGISTERED) => {
            is_gone(admin, id).await
        }
        // It has none.
        Err(error) if !votes || error.code() == Some(ErrorCode::VOTER_NOT_FOUND) => Ok(false),
        Err(ClientError::UnsupportedVersion { .. }) => Err(fixed_voters(id)),
        Err(error)
            if matches!(
                error.code(),
                Some(ErrorCode::UNSUPPORTED_VERSION | ErrorCode::INVALID_REQUEST)
            ) =>
        {
            Err(fixed_voters(id))
        }
        Err(error) => Err(refused(&error)),
    }
}

/// Whether nothing is left of the node.
async fn is_gone(admin: &Admin, id: i32) -> Result<bool, CliError> {
    Ok(member(admin, id).await?.is_none()
        && copies_on(&all_topics(admin).await?, id).is_empty()
        && !is_registered(&describe(admin).await?, id))
}

fn fixed_voters(id: i32) -> CliError {
    CliError::failed(format!(
        "error: node {id} votes on the cluster's metadata, and the voters of this cluster are fixed by the configuration of its nodes; nothing was changed"
    ))
}

fn is_registered(cluster: &ClusterDescription, id: i32) -> bool {
    let mut brokers = cluster.brokers.iter().chain(&cluster.fenced);
    brokers.any(|broker| broker.id == id)
}

/// Asks until the answer is another than that it is under way, and says how far it is.
async fn until_done(
    admin: &Admin,
    id: i32,
    ask: impl AsyncFn() -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    let mut progress = Progress::default();
    loop {
        match ask().await {
            Err(error) if error.code() == Some(ErrorCode::REQUEST_TIMED_OUT) => {
                if let Ok(topics) = all_topics(admin).await {
                    progress.show(copies_on(&topics, id).len());
                }
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// Moves the node's copies to others, and waits until that is done.
async fn move_away(admin: &Admin, id: i32) -> Result<(), CliError> {
    for _ in 0..ROUNDS_MAX {
        let topics = all_topics(admin).await?;
        if copies_on(&topics, id).is_empty() {
            return Ok(());
        }
        let moved = start_moves(admin, id, &topics).await?;
        wait(admin, id, &moved).await?;
        // Leaders that were elected along the way are as they came; the preferred ones are even.
        if let Err(error) = admin
            .elect_leaders(ElectionType::Preferred, Some(&moved))
            .await
        {
            tracing::debug!("{error}");
        }
    }
    Err(CliError::failed(format!(
        "error: node {id} gets copies of partitions as fast as they are moved away; see what creates topics or moves partitions and run this again"
    )))
}

async fn start_moves(
    admin: &Admin,
    id: i32,
    topics: &[TopicDescription],
) -> Result<Vec<TopicPartition>, CliError> {
    let failed = |error: ClientError| refused(&error);
    let cluster = describe(admin).await?;
    let leaving: BTreeMap<TopicPartition, Vec<i32>> = admin
        .list_partition_reassignments(None)
        .await
        .map_err(failed)?
        .into_iter()
        .map(|(partition, moving)| (partition, moving.removing))
        .collect();
    let targets = plan(id, &cluster, topics, &leaving);
    let copies: BTreeMap<_, _> = copies_on(topics, id).into_iter().collect();
    let fewer = targets
        .iter()
        .filter(|(place, replicas)| {
            let before = copies
                .get(place)
                .map_or(0, |partition| partition.replicas.len());
            let gone = leaving.get(place).map_or(0, Vec::len);
            replicas.len() + gone < before
        })
        .count();
    if fewer > 0 {
        output::note(&format!(
            "WARNING: {fewer} partitions have a copy less from now on, because there are too few other nodes."
        ));
    }
    let targets: Vec<_> = targets
        .into_iter()
        .map(|(place, replicas)| (place, Some(replicas)))
        .collect();
    let outcome = admin
        .alter_partition_reassignments(&targets, true)
        .await
        .map_err(failed)?;
    let errors: Vec<String> = outcome
        .into_iter()
        .filter_map(|(_, result)| result.err())
        // A topic that was deleted meanwhile has nothing to move.
        .filter(|error| error.code() != Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))
        .map(|error| error.to_string())
        .collect();
    if let Some(first) = errors.first() {
        return Err(CliError::failed(format!(
            "error: {} of {} partitions cannot be moved: {first}",
            errors.len(),
            targets.len()
        )));
    }
    Ok(targets.into_iter().map(|(place, _)| place).collect())
}

/// Where each copy of the node goes: to the broker that has the fewest, in a rack without another
/// copy if there is one. Where the node is the preferred leader, the broker that is so least often
/// becomes it.
fn plan(
    id: i32,
    cluster: &ClusterDescription,
    topics: &[TopicDescription],
    leaving: &BTreeMap<TopicPartition, Vec<i32>>,
) -> Vec<Target> {
    let others: BTreeMap<i32, Option<&str>> = cluster
        .brokers
        .iter()
        .filter(|broker| broker.id != id)
        .map(|broker| (broker.id, broker.rack.as_deref()))
        .collect();
    let mut copies: BTreeMap<i32, usize> = BTreeMap::new();
    let mut leads: BTreeMap<i32, usize> = BTreeMap::new();
    for partition in topics.iter().flat_map(|topic| &topic.partitions) {
        for replica in &partition.replicas {
            *copies.entry(*replica).or_default() += 1;
        }
        if let Some(first) = partition.replicas.first() {
            *leads.entry(*first).or_default() += 1;
        }
    }
    let mut targets = Vec::new();
    for (place, partition) in copies_on(topics, id) {
        let removing = leaving.get(&place).map_or(&[][..], Vec::as_slice);
        let led = partition.replicas.first() == Some(&id);
        let mut replicas: Vec<i32> = partition
            .replicas
            .iter()
            .copied()
            .filter(|replica| *replica != id && !removing.contains(replica))
            .collect();
        let racks: BTreeSet<&str> = replicas
            .iter()
            .filter_map(|replica| *others.get(replica)?)
            .collect();
        let newcomer = others
            .iter()
            .filter(|(other, _)| !replicas.contains(other))
            .min_by_key(|(other, rack)| {
                let shares_rack = rack.is_some_and(|rack| racks.contains(rack));
                (
                    shares_rack,
                    copies.get(*other).copied().unwrap_or(0),
                    **other,
                )
            })
            .map(|(other, _)| *other);
        // A copy that is on its way out already needs no replacement.
        if let Some(newcomer) = newcomer.filter(|_| !removing.contains(&id)) {
            replicas.push(newcomer);
            *copies.entry(newcomer).or_default() += 1;
        }
        if led {
            let least = (0..replicas.len()).min_by_key(|at| {
                let replica = replicas.get(*at);
                replica
                    .and_then(|replica| leads.get(replica))
                    .copied()
                    .unwrap_or(0)
            });
            if let Some(least) = least {
                replicas.swap(0, least);
            }
            if let Some(first) = replicas.first() {
                *leads.entry(*first).or_default() += 1;
            }
        }
        if !replicas.is_empty() {
            targets.push((place, replicas));
        }
    }
    targets
}

async fn wait(admin: &Admin, id: i32, moved: &[TopicPartition]) -> Result<(), CliError> {
    let mut progress = Progress::default();
    loop {
        let left = admin
            .list_partition_reassignments(Some(moved))
            .await
            .map_err(|error| {
                CliError::failed(format!(
                    "error: {error}; the copies of node {id} go on moving, run this again to finish"
                ))
            })?;
        progress.show(left.len());
        if left.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Says how far it is, when that has changed.
#[derive(Default)]
struct Progress {
    shown: Option<usize>,
}

impl Progress {
    fn show(&mut self, left: usize) {
        if self.shown != Some(left) {
            self.shown = Some(left);
            let s = if left == 1 { "" } else { "s" };
            output::note(&format!("{left} partition{s} left to move"));
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_client::BrokerInfo;

    use super::*;

    fn cluster(racks: &[(i32, Option<&str>)]) -> ClusterDescription {
        let brokers = racks.iter().map(|(id, rack)| BrokerInfo {
            id: *id,
            host: "h".to_owned(),
            port: 1,
            rack: rack.map(str::to_owned),
        });
        ClusterDescription {
            cluster_id: String::new(),
            controller: 1,
            brokers: brokers.collect(),
            fenced: Vec::new(),
        }
    }

    fn topic(replicas: &[&[i32]]) -> Vec<TopicDescription> {
        let partitions = (0..).zip(replicas).map(|(index, replicas)| PartitionInfo {
            index,
            leader: replicas[0],
            leader_epoch: 0,
            replicas: replicas.to_vec(),
            isr: replicas.to_vec(),
            offline: Vec::new(),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
        });
        vec![TopicDescription {
            name: "t".to_owned(),
            id: [0; 16],
            internal: false,
            partitions: partitions.collect(),
        }]
    }

    fn planned(cluster: &ClusterDescription, replicas: &[&[i32]]) -> Vec<(i32, Vec<i32>)> {
        plan(3, cluster, &topic(replicas), &BTreeMap::new())
            .into_iter()
            .map(|(place, replicas)| (place.partition, replicas))
            .collect()
    }

    #[test]
    fn copies_go_to_those_who_have_few() {
        let cluster = cluster(&[(1, None), (2, None), (3, None), (4, None)]);
        let found = planned(&cluster, &[&[1, 3], &[2, 3], &[1, 2], &[3, 1]]);
        assert_eq!(found, [(0, vec![1, 4]), (1, vec![2, 4]), (3, vec![2, 1])]);
    }

    #[test]
    fn another_rack_is_better_than_fewer_copies() {
        let cluster = cluster(&[
            (1, Some("a")),
            (2, Some("b")),
            (3, Some("b")),
            (4, Some("a")),
        ]);
        assert_eq!(planned(&cluster, &[&[1, 3], &[2]]), [(0, vec![1, 2])]);
    }

    #[test]
    fn too_few_nodes_mean_fewer_copies() {
        let cluster = cluster(&[(1, None), (2, None), (3, None)]);
        assert_eq!(planned(&cluster, &[&[3, 1, 2]]), [(0, vec![1, 2])]);
    }

    #[test]
    fn a_move_that_takes_it_away_already_is_kept() {
        let cluster = cluster(&[(1, None), (2, None), (3, None), (4, None)]);
        let leaving = [(TopicPartition::new("t", 0), vec![3])].into();
        let found = plan(3, &cluster, &topic(&[&[1, 2, 3]]), &leaving);
        assert_eq!(found, [(TopicPartition::new("t", 0), vec![1, 2])]);
    }

    #[test]
    fn a_node_with_the_only_copy_may_not_be_given_up() {
        let without = cluster(&[(1, None), (2, None)]);
        let refused = check(3, false, &without, &topic(&[&[1, 3]])).unwrap_err();
        assert!(refused.contains("--force"), "{refused}");
        let refused = check(3, true, &without, &topic(&[&[1, 3], &[3]])).unwrap_err();
        assert!(
            refused.contains("the only complete copy of t-1;"),
            "{refused}"
        );
        assert_eq!(check(3, true, &without, &topic(&[&[1, 3]])), Ok(()));
        let alone = check(1, false, &cluster(&[(1, None)]), &[]).unwrap_err();
        assert!(alone.contains("no other node"), "{alone}");
    }
}
