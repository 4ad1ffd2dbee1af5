//! The connectors' files of the command line.

use std::path::PathBuf;

use super::{Arguments, banner};
use crate::config::connector::ConnectorConfig;
use crate::config::worker::WorkerConfig;
use crate::config::{Problem, Problems, Settings, Severity};
use crate::worker::Worker;

/// What reading a file gives: its keys with notes about them, or why there are none.
pub(super) type Content = Result<(Settings, Vec<Problem>), Problems>;

/// A file, and the connector in it.
#[derive(Debug, Clone)]
pub(super) struct ConnectorFile {
    pub(super) path: PathBuf,
    /// As it was read last.
    pub(super) content: Content,
    /// What it asked for when it was last accepted.
    pub(super) config: ConnectorConfig,
}

/// Reads all files; the mistakes of all of them come together.
pub(super) async fn read_all(
    arguments: &Arguments,
    worker: &WorkerConfig,
) -> Result<Vec<ConnectorFile>, Problems> {
    let (mut files, mut problems) = (Vec::<ConnectorFile>::new(), Vec::new());
    for path in &arguments.connectors {
        let content = Settings::read(path).await;
        let names = files.iter().map(|file| file.config.name.as_str());
        match understand(&content, names, worker) {
            Ok((config, notes)) => {
                problems.extend(notes);
                let path = path.clone();
                files.push(ConnectorFile {
                    path,
                    content,
                    config,
                });
            }
            Err(Problems(more)) => problems.extend(more),
        }
    }
    accept(arguments.strict, problems)?;
    Ok(files)
}

/// What a file asks for, with notes about it; `taken` are the names of other files' connectors.
pub(super) fn understand<'a>(
    content: &Content,
    mut taken: impl Iterator<Item = &'a str>,
    worker: &WorkerConfig,
) -> Result<(ConnectorConfig, Vec<Problem>), Problems> {
    let (settings, notes) = content.as_ref().map_err(Clone::clone)?;
    let mut notes = notes.clone();
    let config = match ConnectorConfig::read(settings, worker) {
        Ok((config, more)) => {
            notes.extend(more);
            config
        }
        Err(Problems(more)) => {
            notes.extend(more);
            return Err(Problems(notes).sorted());
        }
    };
    if taken.any(|name| name == config.name) {
        let message = format!(
            "expected a name of its own, got \"{}\", which another file has",
            config.name
        );
        notes.push(settings.problem("name", message));
        return Err(Problems(notes).sorted());
    }
    Ok((config, notes))
}

/// Logs what is only worth knowing; refuses what is wrong, or merely suspect where the user asked
/// to be strict.
pub(super) fn accept(strict: bool, problems: Vec<Problem>) -> Result<(), Problems> {
    let problems: Vec<Problem> = match strict {
        true => problems.into_iter().map(Problem::strictly).collect(),
        false => problems,
    };
    if problems.iter().any(Problem::is_error) {
        return Err(Problems(problems));
    }
    for problem in problems {
        match problem.severity() {
            Severity::Note => tracing::info!("{problem}"),
            Severity::Warning | Severity::Error => tracing::warn!("{problem}"),
        }
    }
    Ok(())
}

/// Creates the connectors of all files; if some are refused, says so about each.
pub(super) async fn create(worker: &Worker, files: &[ConnectorFile]) -> Result<(), String> {
    let mut refused = Vec::new();
    for ConnectorFile { path, config, .. } in files {
        let name = &config.name;
        if worker.is_stored(name) {
            banner::mention(&format!(
                "connector \"{name}\" is as {} says, not as it was stored by REST",
                path.display()
            ));
        }
        if let Err(error) = worker.create_from(config.clone(), path).await {
            refused.push(format!(
                "connector \"{name}\" could not be created: {error}"
            ));
        }
    }
    match refused.is_empty() {
        true => Ok(()),
        false => Err(refused.join("\n")),
    }
}
