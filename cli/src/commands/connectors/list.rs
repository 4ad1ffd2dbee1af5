//! `connect connectors list`

use serde_json::{Map, Value};

use super::status;
use crate::CliError;
use crate::invocation::Invocation;
use crate::listing::FormArguments;
use crate::rest::RestArguments;

/// Arguments of `connect connectors list`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the worker is.
    #[command(flatten)]
    rest: RestArguments,
    /// How to show it.
    #[command(flatten)]
    form: FormArguments,
}

pub(super) async fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    let rest = arguments.rest.rest(invocation)?;
    let answer = rest.get("/connectors?expand=status&expand=info").await?;
    let all = answer.success()?;
    let form = arguments.form;
    form.print(&all, || {
        let none = Map::new();
        text(all.as_object().unwrap_or(&none), form)
    })
}

fn text(all: &Map<String, Value>, form: FormArguments) -> String {
    let null = Value::Null;
    let part = |connector: &'_ Value, name: &str| connector.get(name).cloned().unwrap_or_default();
    let mut connectors: Vec<(&String, Value, Value)> = all
        .iter()
        .map(|(name, connector)| (name, part(connector, "status"), part(connector, "info")))
        .collect();
    connectors.sort_by_key(|(name, status, _)| (status::urgency(status), name.as_str()));
    let rows = connectors.iter().map(|(name, status, info)| {
        let own = status.get("connector").unwrap_or(&null);
        let config = info.get("config").unwrap_or(&null);
        [
            (*name).clone(),
            status::field(status, "type").to_owned(),
            status::worst(status).to_owned(),
            status::running(status),
            status::field(own, "worker_id").to_owned(),
            status::field(config, "connector.class").to_owned(),
            status::why(status).unwrap_or_default(),
        ]
    });
    let names = ["NAME", "TYPE", "STATE", "TASKS", "WORKER", "CLASS", "WHY"];
    match form.is_wide() {
        true => form.table(names, rows.collect()),
        false => {
            let [name, kind, state, tasks, worker, _, _] = names;
            let narrow = rows
                .map(|[name, kind, state, tasks, worker, _, _]| [name, kind, state, tasks, worker]);
            form.table([name, kind, state, tasks, worker], narrow.collect())
        }
    }
}
