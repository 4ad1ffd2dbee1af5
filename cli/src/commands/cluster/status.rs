//! What `connect cluster status` prints: a table of the nodes, then what is not as it should be.

use std::collections::{BTreeMap, BTreeSet};

use kafka_client::{
    Admin, BrokerInfo, ClientError, ClusterDescription, QuorumDescription, TopicDescription,
};

use super::{all_topics, describe, refused};
use crate::{CliError, table};

const UNKNOWN: &str = "-";

/// All that the cluster was asked for.
struct World {
    cluster: ClusterDescription,
    /// `None` if the cluster is too old to say.
    quorum: Option<QuorumDescription>,
    topics: Vec<TopicDescription>,
    moving: usize,
    /// Bytes of copies, by live node; absent if it could not say.
    disk: BTreeMap<i32, i64>,
    /// Live nodes whose disk takes no writes.
    refusing: BTreeSet<i32>,
    /// Versions of live nodes, as far as they say.
    versions: BTreeMap<i32, String>,
}

pub(super) async fn text(admin: &Admin) -> Result<String, CliError> {
    let cluster = describe(admin).await?;
    let (mut disk, mut refusing) = (BTreeMap::new(), BTreeSet::new());
    let mut versions = BTreeMap::new();
    for broker in &cluster.brokers {
        // One that cannot say so must not hide the others.
        if let Ok(folders) = admin.describe_log_dirs(&[broker.id]).await {
            let copies = folders.iter().flat_map(|folder| &folder.replicas);
            disk.insert(broker.id, copies.map(|copy| copy.size_bytes).sum());
            if folders.iter().any(|folder| folder.error.is_some()) {
                refusing.insert(broker.id);
            }
        }
        if let Ok(Some(version)) = admin.software_version(broker.id).await {
            versions.insert(broker.id, version);
        }
    }
    let world = World {
        quorum: optional(admin.describe_quorum().await)?,
        moving: optional(admin.list_partition_reassignments(None).await)?
            .map_or(0, |moving| moving.len()),
        topics: all_topics(admin).await?,
        cluster,
        disk,
        refusing,
        versions,
    };
    Ok(shown(&world))
}

/// What an old cluster cannot say is no error.
fn optional<T>(answer: Result<T, ClientError>) -> Result<Option<T>, CliError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(ClientError::UnsupportedVersion { .. }) => Ok(None),
        Err(error) => Err(refused(&error)),
    }
}

fn shown(world: &World) -> String {
    let header = [
        "ID", "ADDRESS", "RACK", "VERSION", "STATE", "ROLE", "LEADS", "COPIES", "LAG", "DISK",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(nodes(world).into_iter().map(|id| row(world, id)));
    let widths: Vec<usize> = (0..header.len() - 1)
        .map(|column| {
            let cells = rows
                .iter()
                .filter_map(|row| Some(row.get(column)?.as_str()));
            table::width(0, cells) + 1
        })
        .collect();
    let mut text = format!("Cluster {}\n\n", world.cluster.cluster_id);
    for row in &rows {
        text.push_str(&table::row(&widths, row));
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&partitions(world));
    text
}

/// Everybody who is a member, or was one and still should hold a copy.
fn nodes(world: &World) -> BTreeSet<i32> {
    let brokers = world.cluster.brokers.iter().chain(&world.cluster.fenced);
    let members = world
        .quorum
        .iter()
        .flat_map(|quorum| quorum.voters.iter().chain(&quorum.observers));
    let holders = world
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .flat_map(|partition| &partition.replicas);
    brokers
        .map(|broker| broker.id)
        .chain(members.map(|member| member.id))
        .chain(holders.copied())
        .collect()
}

fn row(world: &World, id: i32) -> Vec<String> {
    let find = |brokers: &[BrokerInfo]| brokers.iter().find(|broker| broker.id == id).cloned();
    let live = find(&world.cluster.brokers);
    let fenced = find(&world.cluster.fenced);
    let state = match (&live, &fenced) {
        (Some(_), _) if world.refusing.contains(&id) => "disk refuses",
        (Some(_), _) => "live",
        (None, Some(_)) => "fenced",
        (None, None) => "away",
    };
    let info = live.or(fenced);
    let known = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    let partitions = world.topics.iter().flat_map(|topic| &topic.partitions);
    let leads = partitions
        .clone()
        .filter(|partition| partition.leader == id);
    let copies = partitions.filter(|partition| partition.replicas.contains(&id));
    let (role, lag) = quorum(world, id);
    vec![
        id.to_string(),
        known(info.as_ref().map(BrokerInfo::addr)),
        known(info.and_then(|info| info.rack)),
        known(world.versions.get(&id).cloned()),
        state.to_owned(),
        role.to_owned(),
        leads.count().to_string(),
        copies.count().to_string(),
        known(lag.map(|lag| lag.to_string())),
        known(world.disk.get(&id).map(|bytes| size(*bytes))),
    ]
}

/// What a node is in the metadata quorum, and by how many entries its log is behind.
fn quorum(world: &World, id: i32) -> (&'static str, Option<i64>) {
    let Some(quorum) = &world.quorum else {
        return (UNKNOWN, None);
    };
    let end = quorum
        .voters
        .iter()
        .find(|voter| voter.id == quorum.leader)
        .map(|leader| leader.log_end_offset);
    for (role, members) in [("voter", &quorum.voters), ("observer", &quorum.observers)] {
        if let Some(member) = members.iter().find(|member| member.id == id) {
            let role = if id == quorum.leader { "leader" } else { role };
            let lag = end.map(|end| (end - member.log_end_offset).max(0));
            // One that never reported has no end of its log.
            return (role, lag.filter(|_| member.log_end_offset >= 0));
        }
    }
    (UNKNOWN, None)
}

fn partitions(world: &World) -> String {
    let all = || world.topics.iter().flat_map(|topic| &topic.partitions);
    let live: BTreeSet<i32> = world
        .cluster
        .brokers
        .iter()
        .map(|broker| broker.id)
        .collect();
    let leaderless = all()
        .filter(|partition| !live.contains(&partition.leader))
        .count();
    let behind = all()
        .filter(|partition| partition.isr.len() < partition.replicas.len())
        .count();
    let unbalanced = all()
        .filter(|partition| {
            let preferred = partition.replicas.first();
            live.contains(&partition.leader)
                && preferred.is_some_and(|id| *id != partition.leader && live.contains(id))
        })
        .count();
    let mut text = format!(
        "{} topic{} with {} partition{}",
        world.topics.len(),
        if world.topics.len() == 1 { "" } else { "s" },
        all().count(),
        if all().count() == 1 { "" } else { "s" },
    );
    let troubles = [
        (
            leaderless,
            "without a leader",
            "topics --describe --unavailable-partitions",
        ),
        (
            behind,
            "with a copy that is behind",
            "topics --describe --under-replicated-partitions",
        ),
        (
            unbalanced,
            "led by another than the preferred leader",
            "leader-election --election-type preferred --all-topic-partitions",
        ),
        (world.moving, "being moved", "reassign-partitions --list"),
    ];
    if troubles.iter().all(|(count, ..)| *count == 0) {
        text.push_str(": all led by their preferred leaders, all copies in sync\n");
        return text;
    }
    text.push('\n');
    for (count, what, command) in troubles {
        if count > 0 {
            text.push_str(&format!("  {count} {what} (connect {command})\n"));
        }
    }
    text
}

/// Bytes as people read them.
fn size(bytes: i64) -> String {
    let mut amount = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter().peekable();
    while let Some(unit) = units.next() {
        if amount < 1024.0 || units.peek().is_none() {
            let digits = usize::from(unit != "B" && amount < 100.0);
            return format!("{amount:.digits$} {unit}");
        }
        amount /= 1024.0;
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use kafka_client::{PartitionInfo, QuorumReplica};

    use super::*;

    fn broker(id: i32) -> BrokerInfo {
        BrokerInfo {
            id,
            host: "10.0.0.1".to_owned(),
            port: 9092,
            rack: None,
        }
    }

    fn member(id: i32, log_end_offset: i64) -> QuorumReplica {
        QuorumReplica {
            id,
            directory: [0; 16],
            log_end_offset,
            last_fetch_ms: None,
            last_caught_up_ms: None,
        }
    }

    fn world(isr: Vec<i32>) -> World {
        World {
            cluster: ClusterDescription {
                cluster_id: "abc".to_owned(),
                controller: 1,
                brokers: vec![broker(1)],
                fenced: vec![broker(2)],
            },
            quorum: Some(QuorumDescription {
                leader: 1,
                leader_epoch: 4,
                high_watermark: 10,
                voters: vec![member(1, 10)],
                observers: vec![member(2, 7)],
                nodes: Vec::new(),
            }),
            topics: vec![TopicDescription {
                name: "t".to_owned(),
                id: [0; 16],
                internal: false,
                partitions: vec![PartitionInfo {
                    index: 0,
                    leader: 1,
                    leader_epoch: 0,
                    replicas: vec![1, 2],
                    isr,
                    offline: Vec::new(),
                    elr: Vec::new(),
                    last_known_elr: Vec::new(),
                }],
            }],
            moving: 0,
            disk: [(1, 1_500_000)].into(),
            refusing: BTreeSet::new(),
            versions: [(1, "0.1.0".to_owned())].into(),
        }
    }

    #[test]
    fn nodes_and_troubles_are_shown() {
        assert_eq!(
            shown(&world(vec![1])),
            "Cluster abc\n\n\
             ID  ADDRESS        RACK  VERSION  STATE   ROLE      LEADS  COPIES  LAG  DISK\n\
             1   10.0.0.1:9092  -     0.1.0    live    leader    1      1       0    1.4 MiB\n\
             2   10.0.0.1:9092  -     -        fenced  observer  0      1       3    -\n\n\
             1 topic with 1 partition\n  \
             1 with a copy that is behind (connect topics --describe --under-replicated-partitions)\n"
        );
    }

    #[test]
    fn a_disk_that_refuses_is_named() {
        let mut world = world(vec![1, 2]);
        world.refusing.insert(1);
        assert!(shown(&world).contains("disk refuses  leader"));
    }

    #[test]
    fn a_healthy_cluster_says_so() {
        let text = shown(&world(vec![1, 2]));
        assert!(
            text.ends_with("all led by their preferred leaders, all copies in sync\n"),
            "{text}"
        );
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1024), "1.0 KiB");
        assert_eq!(size(200 << 30), "200 GiB");
    }
}
