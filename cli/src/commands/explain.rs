//! `connect explain`: what a connector's file means, without a worker or a broker.
//!
//! Nothing is started and nothing is asked but the files, and what configuration providers of the
//! worker's file have. What a provider gave is never shown, nor what is named like a secret.

mod keys;
mod summary;

use std::path::PathBuf;

use connect_core::ConfigMap;
use connect_runtime::config::connector::ConnectorConfig;
use connect_runtime::config::worker::WorkerConfig;
use connect_runtime::config::{Problem, Problems, Settings, apply_environment};
use serde_json::{Value, json};

use crate::connector_file::{read_settings, wrong};
use crate::listing::{FormArguments, columns};
use crate::{CliError, connection, output};

/// Arguments of `connect explain`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The file of the worker that is to run it: its converters, its configuration providers.
    #[arg(long, short = 'w', value_name = "FILE")]
    pub worker: Option<PathBuf>,
    /// How to show it.
    #[command(flatten)]
    pub form: FormArguments,
    /// A connector's file: .toml, .properties or .json.
    pub file: PathBuf,
}

/// The worker that is to run the connector.
struct Worker {
    config: WorkerConfig,
    /// What its file and the environment say; `None` if no file was given.
    settings: Option<Settings>,
}

/// A connector as it would be run.
struct Explained {
    settings: Settings,
    config: ConnectorConfig,
    worker: Worker,
}

/// Explains a file.
///
/// # Errors
/// All that is wrong with the file, or the worker's.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    connection::block_on(async {
        let worker = worker(arguments).await?;
        let settings = read_settings(&arguments.file).await?;
        let (config, notes) = ConnectorConfig::read(&settings, &worker.config).map_err(wrong)?;
        let explained = Explained {
            settings,
            config,
            worker,
        };
        show(&explained, &notes, arguments.form)
    })
}

async fn worker(arguments: &Arguments) -> Result<Worker, CliError> {
    let Some(path) = &arguments.worker else {
        // A worker must have converters; which, is not said then.
        let converter = "org.apache.kafka.connect.storage.StringConverter".to_owned();
        let keys = ["key.converter", "value.converter"];
        let keys = keys.map(|key| (key.to_owned(), converter.clone()));
        let unknown = Settings::from_map("the worker", &ConfigMap::from(keys));
        let (config, _) = WorkerConfig::read(&unknown).map_err(wrong)?;
        return Ok(Worker {
            config,
            settings: None,
        });
    };
    let mut settings = read_settings(path).await?;
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    apply_environment(&mut settings, variables);
    match WorkerConfig::read(&settings) {
        Ok((config, notes)) => {
            notes
                .iter()
                .for_each(|note| output::note(&note.to_string()));
            Ok(Worker {
                config,
                settings: Some(settings),
            })
        }
        Err(problems) => Err(wrong(problems)),
    }
}

fn show(explained: &Explained, notes: &[Problem], form: FormArguments) -> Result<(), CliError> {
    let summary = summary::of(explained);
    let keys = keys::of(explained);
    let notes = Problems(notes.to_vec()).sorted().0;
    let value = json!({
        "summary": summary
            .iter()
            .map(|(name, text)| ((*name).to_owned(), Value::from(text.as_str())))
            .collect::<serde_json::Map<String, Value>>(),
        "keys": keys
            .iter()
            .map(|row| json!({"key": row.key, "value": row.value, "from": row.from}))
            .collect::<Vec<Value>>(),
        "notes": notes.iter().map(ToString::to_string).collect::<Vec<String>>(),
    });
    form.print(&value, || {
        let lines: Vec<[String; 2]> = summary
            .iter()
            .map(|(name, text)| [(*name).to_owned(), text.clone()])
            .collect();
        let rows = keys.into_iter();
        let rows = rows.map(|row| {
            [
                row.key,
                row.value.unwrap_or_else(|| "-".to_owned()),
                row.from,
            ]
        });
        let table = form.table(["KEY", "VALUE", "FROM"], rows.collect());
        format!("{}\n{table}", columns(&lines))
    })?;
    notes
        .iter()
        .for_each(|note| output::note(&note.to_string()));
    Ok(())
}
