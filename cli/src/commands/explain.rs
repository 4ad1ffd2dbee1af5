//! `connect explain`: what a connector's file means, without a worker or a broker.
//!
//! Nothing is started and nothing is asked but the files, and what configuration providers of the
//! worker's file have. What a provider gave is never shown, nor what is named like a secret.

mod keys;
mod summary;

use std::path::PathBuf;

use connect_runtime::config::connector::ConnectorConfig;
use connect_runtime::config::{Problem, Problems, Settings};
use serde_json::{Value, json};

use crate::connector_file::{read_settings, wrong};
use crate::listing::{FormArguments, columns};
use crate::worker_file::WorkerFile;
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

/// A connector as it would be run.
struct Explained {
    settings: Settings,
    config: ConnectorConfig,
    worker: WorkerFile,
}

/// Explains a file.
///
/// # Errors
/// All that is wrong with the file, or the worker's.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    connection::block_on(async {
        let worker = WorkerFile::read(arguments.worker.as_deref()).await?;
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
