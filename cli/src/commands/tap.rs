//! `connect tap`: live records of a running connector, at any stage.

use serde_json::Value;

use super::try_records;
use crate::interruption::Interruption;
use crate::invocation::Invocation;
use crate::listing::plain;
use crate::rest::{self, RestArguments};
use crate::{CliError, connection, output};

/// What the help says besides.
pub const NOTES: &str = "\
Stages of a source are polled, transform:NAME for each transform, and sent: the bytes for the topic. Those
of a sink are consumed: the bytes of the topic, converted, transform:NAME, and put: what the connector gets.
'transformed' is all transforms.

What is named like a secret is not shown, nor what is known as one, nor fields in --mask: in structs, maps
and JSON texts; key or value as a whole where no field can be found. A tap never slows a connector: what is
not read in time is lost, and its number said.

Examples:
  connect tap local-file-sink
  connect tap orders --stage put --every 100 --rate 1 --mask card.number,email -n 10

Exit codes: 0 done, 1 refused or nobody there, 2 not understood.";

/// Arguments of `connect tap`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where the worker is.
    #[command(flatten)]
    rest: RestArguments,
    /// Where records are shown [default: at every stage].
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    stage: Vec<String>,
    /// Those of one task.
    #[arg(long)]
    task: Option<u32>,
    /// Every so many records.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// At most so many records in a second.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// Fields that are not shown, wherever they are.
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    mask: Vec<String>,
    /// End after so many records.
    #[arg(long, short = 'n', value_name = "N")]
    max_messages: Option<u64>,
    /// How to show it; json is a line each.
    #[arg(
        long = "output",
        short = 'o',
        value_name = "FORM",
        default_value = "text"
    )]
    form: Form,
    /// The connector.
    name: String,
}

/// How records are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people.
    Text,
    /// As the worker sends them.
    Json,
}

/// Shows records until it is interrupted, there were enough, or the connector is gone.
///
/// # Errors
/// Nobody answers, or the worker refuses.
pub fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    connection::block_on(async {
        let rest = arguments.rest.rest(invocation)?;
        let mut interruption = Interruption::listen()?;
        tokio::select! {
            followed = follow(arguments, &rest) => followed,
            exit = interruption.next() => Err(exit),
        }
    })
}

async fn follow(arguments: &Arguments, rest: &rest::Rest) -> Result<(), CliError> {
    let mut left = arguments.max_messages;
    if left == Some(0) {
        return Ok(());
    }
    let mut ended = None;
    let each = |line: &Value| {
        show(arguments, line)?;
        if line["tap"] == "ended" {
            ended = line["reason"].as_str().map(str::to_owned);
        }
        if let Some(left) = left.as_mut().filter(|_| line["tap"].is_null()) {
            *left -= 1;
        }
        Ok(left != Some(0))
    };
    if let Some(answer) = rest.follow(&path(arguments), each).await? {
        answer.success()?;
    }
    match (ended, left) {
        (Some(reason), _) => Err(CliError::failed(format!("the tap has ended: {reason}"))),
        (None, Some(0)) => Ok(()),
        (None, _) => Err(CliError::failed("the worker is gone")),
    }
}

fn path(arguments: &Arguments) -> String {
    let (every, rate) = (arguments.every.to_string(), arguments.rate.to_string());
    let mut query = vec![("every", every), ("rate", rate)];
    if let Some(task) = arguments.task {
        query.push(("task", task.to_string()));
    }
    for (name, list) in [("stage", &arguments.stage), ("mask", &arguments.mask)] {
        if !list.is_empty() {
            query.push((name, list.join(",")));
        }
    }
    let path = rest::path(&["connectors", &arguments.name, "tap"]);
    let query = query.iter().map(|(name, text)| {
        // Encoded as a part of a path is, with the slash before it cut.
        let text = rest::path(&[text]);
        format!("{name}={}", text.trim_start_matches('/'))
    });
    format!("{path}?{}", query.collect::<Vec<_>>().join("&"))
}

fn show(arguments: &Arguments, line: &Value) -> Result<(), CliError> {
    if arguments.form == Form::Json {
        return output::line(&line.to_string());
    }
    match line["tap"].as_str() {
        None => {
            let steps = try_records::steps(&line["steps"]);
            output::print(&format!("task {}\n{steps}", line["task"]))
        }
        Some("open") => {
            let stages = line["stages"].as_array().into_iter().flatten();
            let stages: Vec<&str> = stages.filter_map(Value::as_str).collect();
            output::note(&format!("tapped; stages: {}", plain(&stages.join(", "))));
            Ok(())
        }
        Some("lost") => {
            output::note(&format!(
                "{} samples were lost, because they were not read in time",
                line["samples"]
            ));
            Ok(())
        }
        Some(_) => Ok(()),
    }
}
