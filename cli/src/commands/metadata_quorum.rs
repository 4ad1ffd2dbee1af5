//! `connect metadata-quorum`, the same as `kafka-metadata-quorum`.

use clap::ValueEnum;
use kafka_client::{Admin, ClientError, QuorumDescription, QuorumReplica};

use crate::connection::{self, ConnectionArguments};
use crate::invocation::Invocation;
use crate::{CliError, identifier, output};

/// Arguments of `connect metadata-quorum`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to do.
    #[arg(value_name = "ACTION")]
    pub action: Action,
    /// Options for the connection to the cluster.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// With describe: leader, end of the log, voters and observers.
    #[arg(long)]
    pub status: bool,
    /// With describe: how far each node is.
    #[arg(long, aliases = ["re"])]
    pub replication: bool,
    /// With --replication: times as how long ago they are.
    #[arg(long)]
    pub human_readable: bool,
    /// With remove-controller: the node.
    #[arg(long, short = 'i', value_name = "ID")]
    pub controller_id: Option<i32>,
    /// With remove-controller: the id of its data folder, as describe shows it.
    #[arg(long, short = 'd', value_name = "ID")]
    pub controller_directory_id: Option<String>,
    /// With remove-controller: only say what would be done.
    #[arg(long)]
    pub dry_run: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Action {
    /// Show the quorum.
    Describe,
    /// Take the vote of a node.
    RemoveController,
}

/// Does what the arguments ask for.
///
/// # Errors
/// Arguments that don't fit together, and a quorum without a leader.
pub fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    let voter = check(arguments).map_err(|message| invocation.usage(message))?;
    if let (Some((id, directory)), true) = (voter, arguments.dry_run) {
        return output::line(&removed("DRY RUN of removing", id, directory));
    }
    let properties = arguments.connection.properties(invocation)?;
    connection::block_on(async {
        let client = connection::connect(&properties, "metadata-quorum").await?;
        let admin = client.admin();
        let result = match voter {
            Some((id, directory)) => remove(&admin, id, directory).await,
            None => describe(&admin, arguments).await,
        };
        client.close().await;
        result
    })
}

/// The voter to remove, if it is that.
fn check(arguments: &Arguments) -> Result<Option<(i32, [u8; 16])>, String> {
    if arguments.action == Action::Describe {
        return match (arguments.status, arguments.replication) {
            (true, true) => Err("Only one of --status or --replication should be specified with describe sub-command".into()),
            (false, false) => Err("One of --status or --replication must be specified with describe sub-command".into()),
            (true, false) if arguments.human_readable => {
                Err("The option --human-readable is only supported along with --replication".into())
            }
            _ => Ok(None),
        };
    }
    let id = arguments
        .controller_id
        .ok_or("--controller-id must be specified with remove-controller")?;
    if id < 0 {
        return Err(format!("Invalid negative --controller-id: {id}"));
    }
    let text = arguments
        .controller_directory_id
        .as_deref()
        .ok_or("--controller-directory-id must be specified with remove-controller")?;
    let directory = identifier::parse(text).ok_or_else(|| {
        format!(
            "Failed to parse --controller-directory-id: {}",
            identifier::refusal(text, "id of a data folder")
        )
    })?;
    Ok(Some((id, directory)))
}

fn removed(verb: &str, id: i32, directory: [u8; 16]) -> String {
    format!(
        "{verb} KRaft controller {id} with directory id {}",
        identifier::format(directory)
    )
}

async fn remove(admin: &Admin, id: i32, directory: [u8; 16]) -> Result<(), CliError> {
    admin
        .remove_raft_voter(id, directory)
        .await
        .map_err(|error| refused(&error))?;
    output::line(&removed("Removed", id, directory))
}

async fn describe(admin: &Admin, arguments: &Arguments) -> Result<(), CliError> {
    let quorum = admin
        .describe_quorum()
        .await
        .map_err(|error| refused(&error))?;
    if arguments.replication {
        let now = arguments.human_readable.then(platform::clock::unix_millis);
        return output::print(&replication(&quorum, now));
    }
    let cluster = admin
        .describe_cluster()
        .await
        .map_err(|error| refused(&error))?;
    output::print(&status(&cluster.cluster_id, &quorum))
}

fn status(cluster_id: &str, quorum: &QuorumDescription) -> String {
    let leader = quorum.voters.iter().find(|voter| voter.id == quorum.leader);
    let last = quorum
        .voters
        .iter()
        .min_by_key(|voter| voter.log_end_offset);
    let (lag, lag_ms) = match (leader, last) {
        (Some(leader), Some(last)) => {
            let lag = leader.log_end_offset - last.log_end_offset;
            let lag_ms = match (leader.last_caught_up_ms, last.last_caught_up_ms) {
                _ if leader.id == last.id => 0,
                (Some(leader), Some(last)) => leader - last,
                _ => -1,
            };
            (lag, lag_ms)
        }
        _ => (-1, -1),
    };
    let all = |replicas: &[QuorumReplica]| {
        let nodes: Vec<String> = replicas
            .iter()
            .map(|replica| node(quorum, replica))
            .collect();
        format!("[{}]", nodes.join(", "))
    };
    format!(
        "ClusterId:              {cluster_id}\n\
         LeaderId:               {}\n\
         LeaderEpoch:            {}\n\
         HighWatermark:          {}\n\
         MaxFollowerLag:         {lag}\n\
         MaxFollowerLagTimeMs:   {lag_ms}\n\
         CurrentVoters:          {}\n\
         CurrentObservers:       {}\n",
        quorum.leader,
        quorum.leader_epoch,
        quorum.high_watermark,
        all(&quorum.voters),
        all(&quorum.observers),
    )
}

/// A member as Kafka's tool shows it, which looks like JSON.
fn node(quorum: &QuorumDescription, replica: &QuorumReplica) -> String {
    let directory = if replica.directory == [0; 16] {
        "null".to_owned()
    } else {
        format!("\"{}\"", identifier::format(replica.directory))
    };
    let listeners: Vec<String> = quorum
        .nodes
        .iter()
        .filter(|node| node.id == replica.id)
        .flat_map(|node| &node.listeners)
        .map(|listener| {
            let host = if listener.host.contains(':') {
                format!("[{}]", listener.host)
            } else {
                listener.host.clone()
            };
            format!("\"{}://{host}:{}\"", listener.name, listener.port)
        })
        .collect();
    let endpoints = if listeners.is_empty() {
        String::new()
    } else {
        format!(", \"endpoints\": [{}]", listeners.join(", "))
    };
    format!(
        "{{\"id\": {}, \"directoryId\": {directory}{endpoints}}}",
        replica.id
    )
}

/// Every cell, the last too, is padded and ends with a tab, as in Kafka's tool. With `now`, times are
/// how long ago they are.
fn replication(quorum: &QuorumDescription, now: Option<i64>) -> String {
    let end = quorum
        .voters
        .iter()
        .find(|voter| voter.id == quorum.leader)
        .map_or(-1, |leader| leader.log_end_offset);
    let time = |millis: Option<i64>| match (millis, now) {
        (None, _) => "-1".to_owned(),
        (Some(millis), None) => millis.to_string(),
        (Some(millis), Some(now)) => format!("{} ms ago", (now - millis).max(0)),
    };
    let row = |replica: &QuorumReplica, status: &str| {
        vec![
            replica.id.to_string(),
            identifier::format(replica.directory),
            replica.log_end_offset.to_string(),
            (end - replica.log_end_offset).to_string(),
            time(replica.last_fetch_ms),
            time(replica.last_caught_up_ms),
            status.to_owned(),
        ]
    };
    let (leader, followers): (Vec<_>, Vec<_>) = quorum
        .voters
        .iter()
        .partition(|voter| voter.id == quorum.leader);
    let header = [
        "NodeId",
        "DirectoryId",
        "LogEndOffset",
        "Lag",
        "LastFetchTimestamp",
        "LastCaughtUpTimestamp",
        "Status",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(leader.into_iter().map(|replica| row(replica, "Leader")));
    rows.extend(
        followers
            .into_iter()
            .map(|replica| row(replica, "Follower")),
    );
    rows.extend(
        quorum
            .observers
            .iter()
            .map(|replica| row(replica, "Observer")),
    );
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            crate::table::width(
                0,
                rows.iter()
                    .filter_map(|row| Some(row.get(column)?.as_str())),
            )
        })
        .collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell:<width$}\t"))
                .collect();
            format!("{}\n", cells.concat())
        })
        .collect()
}

fn refused(error: &ClientError) -> CliError {
    CliError::failed(format!("Error: {error}"))
}

#[cfg(test)]
mod tests {
    use kafka_client::{QuorumListener, QuorumNode};

    use super::*;

    fn replica(id: i32, log_end_offset: i64, caught_up_ms: i64) -> QuorumReplica {
        QuorumReplica {
            id,
            directory: [0; 16],
            log_end_offset,
            last_fetch_ms: Some(caught_up_ms),
            last_caught_up_ms: Some(caught_up_ms),
        }
    }

    fn quorum() -> QuorumDescription {
        QuorumDescription {
            leader: 3,
            leader_epoch: 1,
            high_watermark: 622,
            voters: vec![replica(2, 587, 478), replica(3, 622, 15_000)],
            observers: vec![],
            nodes: vec![QuorumNode {
                id: 2,
                listeners: vec![QuorumListener {
                    name: "CONTROLLER".to_owned(),
                    host: "127.0.0.1".to_owned(),
                    port: 29195,
                }],
            }],
        }
    }

    #[test]
    fn the_status_has_kafkas_layout() {
        assert_eq!(
            status("abc", &quorum()),
            "ClusterId:              abc\n\
             LeaderId:               3\n\
             LeaderEpoch:            1\n\
             HighWatermark:          622\n\
             MaxFollowerLag:         35\n\
             MaxFollowerLagTimeMs:   14522\n\
             CurrentVoters:          [{\"id\": 2, \"directoryId\": null, \"endpoints\": [\"CONTROLLER://127.0.0.1:29195\"]}, {\"id\": 3, \"directoryId\": null}]\n\
             CurrentObservers:       []\n"
        );
    }

    #[test]
    fn the_replication_has_kafkas_columns_leader_first() {
        assert_eq!(
            replication(&quorum(), Some(15_001)),
            "NodeId\tDirectoryId           \tLogEndOffset\tLag\tLastFetchTimestamp\tLastCaughtUpTimestamp\tStatus  \t\n\
             3     \tAAAAAAAAAAAAAAAAAAAAAA\t622         \t0  \t1 ms ago          \t1 ms ago             \tLeader  \t\n\
             2     \tAAAAAAAAAAAAAAAAAAAAAA\t587         \t35 \t14523 ms ago      \t14523 ms ago         \tFollower\t\n"
        );
    }
}
