//! Applies saved changes of the connectors' files while the worker runs.
//!
//! A file is taken as a whole or not at all: what is wrong in it is said in one line and changes
//! nothing. Only connectors whose configuration is another than before are restarted. A file that is
//! gone changes nothing either, because editors take files away for a moment when they save.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use connect_core::ConfigMap;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::banner;
use super::files::{ConnectorFile, accept, understand};
use super::watch::FileWatch;
use crate::config::connector::ConnectorConfig;
use crate::config::{Problem, Problems, Settings};
use crate::error::WorkerError;
use crate::worker::{Stopped, Worker};

/// A file is read once nothing happened to it for this long: a save is several events.
const QUIET: Duration = Duration::from_millis(100);
/// And after this long at the latest.
const RESTLESS_MAX: Duration = Duration::from_secs(1);
/// Files are looked at this often without any event.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A file that so many looks in a row did not find is not being saved by an editor.
const ABSENCES_TOLD: u32 = 2;
/// Keys that are named in the line about a change; more are counted.
const KEYS_MAX: usize = 5;

/// Applies changes until it is dropped.
pub(super) struct Reload(JoinHandle<()>);

impl Reload {
    /// Begins with changes since the files were read.
    pub(super) fn start(worker: Arc<Worker>, files: Vec<ConnectorFile>, strict: bool) -> Self {
        let watched = |file| Watched { file, absences: 0 };
        let reloader = Reloader {
            worker,
            files: files.into_iter().map(watched).collect(),
            strict,
        };
        Self(tokio::spawn(reloader.run()))
    }
}

impl Drop for Reload {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Watched {
    file: ConnectorFile,
    /// How many looks in a row did not find it.
    absences: u32,
}

/// What came of a changed file, for the user.
enum Outcome {
    /// Nothing that matters changed.
    Same,
    /// This was done.
    Done(String),
    /// Nothing was done, because of this.
    Refused(String),
}

struct Reloader {
    worker: Arc<Worker>,
    files: Vec<Watched>,
    strict: bool,
}

impl Reloader {
    async fn run(mut self) {
        let mut watch = FileWatch::new()
            .inspect_err(|error| tracing::info!("files are only looked at now and then: {error}"))
            .ok();
        let mut arm = true;
        loop {
            if arm {
                // Before the look, so that no change falls between both.
                watch = self.armed(watch).await;
            }
            let found = self.look_at_all().await;
            let told = match &watch {
                Some(watch) => told(watch).await,
                None => {
                    sleep(LOOK_EVERY).await;
                    false
                }
            };
            arm = found || told;
        }
    }

    /// Watches the files as they are now, on a thread that may be held up by a slow disk.
    async fn armed(&self, watch: Option<FileWatch>) -> Option<FileWatch> {
        let mut watch = watch?;
        let paths = self.files.iter().map(|watched| watched.file.path.clone());
        let paths: Vec<PathBuf> = paths.collect();
        let armed = platform::blocking::run(move || {
            watch.arm(paths.iter().map(AsRef::as_ref));
            watch
        });
        Some(armed.await)
    }

    /// Whether any file is another than before, or missing.
    async fn look_at_all(&mut self) -> bool {
        let mut found = false;
        for at in 0..self.files.len() {
            found |= self.look(at).await;
        }
        found
    }

    async fn look(&mut self, at: usize) -> bool {
        let names: Vec<String> = self.names_but(at);
        let Some(watched) = self.files.get_mut(at) else {
            return false;
        };
        let Watched { file, absences } = watched;
        let content = Settings::read(&file.path).await;
        if content.is_err() && is_missing(&file.path).await {
            *absences += 1;
            if *absences == ABSENCES_TOLD {
                banner::mention(&format!(
                    "{} is gone; connector \"{}\" goes on until the next start",
                    file.path.display(),
                    file.config.name
                ));
            }
            return true;
        }
        *absences = 0;
        if content == file.content {
            return false;
        }
        file.content = content;
        match apply(&self.worker, file, &names, self.strict).await {
            Outcome::Same => tracing::info!("{} changed nothing", file.path.display()),
            Outcome::Done(line) => banner::mention(&line),
            Outcome::Refused(line) => banner::complain(&line),
        }
        true
    }

    /// The names of the connectors of all files but one.
    fn names_but(&self, at: usize) -> Vec<String> {
        let others = self.files.iter().enumerate();
        let others = others.filter(|(place, _)| *place != at);
        others
            .map(|(_, watched)| watched.file.config.name.clone())
            .collect()
    }
}

/// Waits until something happened to a file and is over, or until it is time to look anyway; whether
/// something happened.
async fn told(watch: &FileWatch) -> bool {
    if timeout(LOOK_EVERY, watch.changed()).await.is_err() {
        return false;
    }
    let since = Instant::now();
    while since.elapsed() < RESTLESS_MAX && timeout(QUIET, watch.changed()).await.is_ok() {}
    true
}

async fn is_missing(path: &Path) -> bool {
    let path = path.to_owned();
    let found = platform::blocking::run(move || platform::fs::metadata(&path)).await;
    found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Does what a changed file asks for.
async fn apply(
    worker: &Arc<Worker>,
    file: &mut ConnectorFile,
    names: &[String],
    strict: bool,
) -> Outcome {
    let (content, names, reader) = (file.content.clone(), names.to_vec(), Arc::clone(worker));
    // What its references stand for may be on a slow disk.
    let understood = platform::blocking::run(move || {
        let names = names.iter().map(String::as_str);
        understand(&content, names, reader.config())
    });
    let understood = understood.await;
    let accepted = understood.and_then(|(config, notes)| {
        accept(strict, notes)?;
        Ok(config)
    });
    let config = match accepted {
        Ok(config) => config,
        Err(problems) => return Outcome::Refused(unchanged(file, &first_of(&problems))),
    };
    match change(worker, file, config.clone()).await {
        Ok(outcome) => {
            file.config = config;
            outcome
        }
        Err(WorkerError::Stopping) => Outcome::Same,
        Err(WorkerError::Config(problems)) => {
            let why = format!("{}: {}", file.path.display(), first_of(&problems));
            Outcome::Refused(unchanged(file, &why))
        }
        Err(error) => {
            let why = format!("{}: {error}", file.path.display());
            Outcome::Refused(unchanged(file, &why))
        }
    }
}

async fn change(
    worker: &Worker,
    file: &ConnectorFile,
    config: ConnectorConfig,
) -> Result<Outcome, WorkerError> {
    let path = file.path.as_path();
    let (before, name) = (file.config.name.clone(), config.name.clone());
    if before != name {
        let stopped = worker.replace_from(&before, config, path).await?;
        let line = format!(
            "connector \"{name}\" runs instead of \"{before}\", as {} says now",
            path.display()
        );
        return Ok(Outcome::Done(with_abandoned(line, &stopped)));
    }
    match worker.configuration(&name).await {
        Ok(running) if running.map == config.map => Ok(Outcome::Same),
        Ok(running) => {
            let keys = changed_keys(&running.map, &config.map);
            let stopped = worker.update_from(config, path).await?;
            let line = format!(
                "connector \"{name}\" goes on with what {} says now; changed: {keys}",
                path.display()
            );
            Ok(Outcome::Done(with_abandoned(line, &stopped)))
        }
        Err(WorkerError::UnknownConnector { .. }) => {
            worker.create_from(config, path).await?;
            let path = path.display();
            let line = format!("connector \"{name}\" is there again, as {path} has changed");
            Ok(Outcome::Done(line))
        }
        Err(error) => Err(error),
    }
}

fn unchanged(file: &ConnectorFile, why: &str) -> String {
    format!(
        "{why}; connector \"{}\" goes on as before",
        file.config.name
    )
}

/// The first mistake, and how many more there are.
fn first_of(Problems(problems): &Problems) -> String {
    let mut errors = problems.iter().filter(|problem| problem.is_error());
    let first = errors.next().map(Problem::to_string).unwrap_or_default();
    // A connector's own words may have several lines.
    let first = first.replace('\n', " ");
    match errors.count() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    }
}

/// The keys whose values differ; never the values, which may be secret.
fn changed_keys(before: &ConfigMap, after: &ConfigMap) -> String {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed: Vec<&str> = keys
        .into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(String::as_str)
        .collect();
    let shown = changed.iter().take(KEYS_MAX).copied().collect::<Vec<_>>();
    match changed.len().saturating_sub(KEYS_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn with_abandoned(line: String, stopped: &Stopped) -> String {
    match stopped.abandoned.is_empty() {
        true => line,
        false => format!("{line}; it did not end in time, what it had not committed comes again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_keys_are_named_without_their_values() {
        let map = |pairs: &[(&str, &str)]| -> ConfigMap {
            let owned = |(key, text): &(&str, &str)| ((*key).to_owned(), (*text).to_owned());
            pairs.iter().map(owned).collect()
        };
        let before = map(&[("a", "1"), ("b", "secret"), ("c", "3")]);
        let after = map(&[("a", "1"), ("b", "other"), ("d", "4")]);
        assert_eq!(changed_keys(&before, &after), "b, c, d");
        let many: Vec<String> = (0..8).map(|number| format!("k{number}")).collect();
        let many: Vec<_> = many.iter().map(|key| (key.as_str(), "")).collect();
        let shown = changed_keys(&map(&[]), &map(&many));
        assert_eq!(shown, "k0, k1, k2, k3, k4 and 3 more");
    }

    #[test]
    fn of_several_mistakes_the_first_is_shown_in_one_line() {
        let problem = |text| Problem::error(None, None, text);
        let one = Problems(vec![problem("a\nb")]);
        assert_eq!(first_of(&one), "a b");
        let three = Problems(vec![
            Problem::warning(None, None, "w"),
            problem("a"),
            problem("b"),
            problem("c"),
        ]);
        assert_eq!(first_of(&three), "a (and 2 more)");
    }
}
