//! `connect connectors delete`, `pause`, `resume`, `stop` and `restart`

use crate::invocation::Invocation;
use crate::rest::{self, RestArguments};
use crate::{CliError, output};

/// Arguments of the commands that are about connectors as a whole.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the worker is.
    #[command(flatten)]
    rest: RestArguments,
    /// The connectors.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// Arguments of `connect connectors restart`.
#[derive(Debug, clap::Args)]
pub(super) struct RestartArguments {
    /// Where the worker is.
    #[command(flatten)]
    rest: RestArguments,
    /// Restart this task, and nothing else.
    #[arg(long, value_name = "N", conflicts_with_all = ["only_failed", "include_tasks"])]
    task: Option<u32>,
    /// Leave alone what has not failed.
    #[arg(long)]
    only_failed: bool,
    /// Restart the tasks, too; without it only the connector's own code.
    #[arg(long)]
    include_tasks: bool,
    /// The connector.
    name: String,
}

pub(super) async fn run(
    action: &str,
    arguments: &Arguments,
    invocation: &Invocation,
) -> Result<(), CliError> {
    let rest = arguments.rest.rest(invocation)?;
    let mut refused = false;
    for name in &arguments.names {
        let path = rest::path(&["connectors", name]);
        let (answer, done) = match action {
            "delete" => (rest.delete(&path).await?, "deleted; its offsets are kept"),
            "pause" => (rest.put(&(path + "/pause"), None).await?, "pauses"),
            "resume" => (rest.put(&(path + "/resume"), None).await?, "goes on"),
            "stop" => (rest.put(&(path + "/stop"), None).await?, "stopped"),
            other => return Err(invocation.usage(format!("there is no command {other:?}"))),
        };
        match answer.is_success() {
            true => output::line(&format!("connector \"{name}\" {done}"))?,
            false => {
                refused = true;
                output::note(&answer.refusal());
            }
        }
    }
    match refused {
        true => Err(CliError::Exit(1)),
        false => Ok(()),
    }
}

pub(super) async fn restart(
    arguments: &RestartArguments,
    invocation: &Invocation,
) -> Result<(), CliError> {
    let rest = arguments.rest.rest(invocation)?;
    let name = arguments.name.as_str();
    let path = rest::path(&["connectors", name]);
    if let Some(task) = arguments.task {
        let path = format!("{path}/tasks/{task}/restart");
        rest.post(&path, None).await?.success()?;
        return output::line(&format!("task {task} of connector \"{name}\" restarts"));
    }
    let (tasks, failed) = (arguments.include_tasks, arguments.only_failed);
    // Workers before Kafka 3.0 know no flags.
    let flags = match tasks || failed {
        true => format!("?includeTasks={tasks}&onlyFailed={failed}"),
        false => String::new(),
    };
    let path = format!("{path}/restart{flags}");
    rest.post(&path, None).await?.success()?;
    let what = match (tasks, failed) {
        (true, true) => "what has failed of it restarts, tasks included",
        (true, false) => "restarts with all its tasks",
        (false, true) => "restarts if it has failed; its tasks do not (--include-tasks)",
        (false, false) => "restarts; its tasks do not (--include-tasks)",
    };
    output::line(&format!("connector \"{name}\": {what}"))
}
