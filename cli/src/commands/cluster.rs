//! `connect cluster`: who belongs to the cluster, how they are, and taking one out.

mod remove;
mod status;

use clap::{Args, Command};
use kafka_client::{Admin, ClientError, ClusterDescription, TopicDescription};

pub use self::remove::Arguments as RemoveArguments;
use crate::connection::{self, ConnectionArguments};
use crate::invocation::Invocation;
use crate::{CliError, output};

/// Arguments of `connect cluster status` and `connect cluster id`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Options for the connection to the cluster.
    #[command(flatten)]
    pub connection: ConnectionArguments,
}

/// Arguments of `connect cluster unregister`.
#[derive(Debug, Args)]
pub struct UnregisterArguments {
    /// Options for the connection to the cluster.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// The broker.
    #[arg(long, short = 'i')]
    pub id: i32,
}

/// The command line of `connect cluster`.
pub fn command() -> Command {
    Command::new("cluster")
        .about("Show the cluster's nodes, and take one out for good")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Arguments::augment_args(Command::new("status"))
                .about("Show the nodes, what they lead and hold, and whether all is well"),
        )
        .subcommand(
            Arguments::augment_args(Command::new("id"))
                .alias("cluster-id")
                .about("Show the cluster's id"),
        )
        .subcommand(
            RemoveArguments::augment_args(Command::new("remove")).about(
                "Take a node out for good: its copies go to others, then its vote, then itself",
            ),
        )
        .subcommand(
            UnregisterArguments::augment_args(Command::new("unregister"))
                .about("Make the cluster forget a node that leads and holds nothing; see remove"),
        )
}

/// Shows the nodes and how they are.
///
/// # Errors
/// No broker answers.
pub fn status(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    with_admin(&arguments.connection, invocation, async |admin| {
        output::print(&status::text(&admin).await?)
    })
}

/// Shows the cluster's id.
///
/// # Errors
/// No broker answers.
pub fn id(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    with_admin(&arguments.connection, invocation, async |admin| {
        let cluster = describe(&admin).await?;
        output::line(&format!("Cluster ID: {}", cluster.cluster_id))
    })
}

/// Takes a node out for good.
///
/// # Errors
/// A node that is not there or cannot go, and whatever the cluster refuses.
pub fn remove(arguments: &RemoveArguments, invocation: &Invocation) -> Result<(), CliError> {
    with_admin(&arguments.connection, invocation, async |admin| {
        remove::remove(arguments, &admin).await
    })
}

/// Makes the cluster forget a broker.
///
/// # Errors
/// Whatever the cluster refuses.
pub fn unregister(
    arguments: &UnregisterArguments,
    invocation: &Invocation,
) -> Result<(), CliError> {
    with_admin(&arguments.connection, invocation, async |admin| {
        admin
            .unregister_broker(arguments.id)
            .await
            .map_err(|error| refused(&error))?;
        output::line(&format!("Broker {} is no longer registered.", arguments.id))
    })
}

fn with_admin(
    connection: &ConnectionArguments,
    invocation: &Invocation,
    work: impl AsyncFnOnce(Admin) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let properties = connection.properties(invocation)?;
    connection::block_on(async {
        let client = connection::connect(&properties, "cluster").await?;
        let result = work(client.admin()).await;
        client.close().await;
        result
    })
}

async fn describe(admin: &Admin) -> Result<ClusterDescription, CliError> {
    let cluster = admin.describe_cluster().await;
    cluster.map_err(|error| refused(&error))
}

/// All topics with their partitions. One that is deleted meanwhile is left out.
async fn all_topics(admin: &Admin) -> Result<Vec<TopicDescription>, CliError> {
    let failed = |error: ClientError| refused(&error);
    let names: Vec<String> = admin
        .list_topics()
        .await
        .map_err(failed)?
        .into_iter()
        .map(|topic| topic.name)
        .collect();
    let described = admin.describe_topics(&names).await.map_err(failed)?;
    Ok(described
        .into_iter()
        .filter_map(|(_, topic)| topic.ok())
        .collect())
}

fn refused(error: &ClientError) -> CliError {
    CliError::failed(format!("error: {error}"))
}
