//! `connect connectors apply`: whatever is there, afterwards it is as the files say.

use std::collections::BTreeMap;
use std::path::PathBuf;

use connect_runtime::config::is_secret_key;
use serde_json::Value;

use super::create;
use crate::connector_file::ConnectorFile;
use crate::invocation::Invocation;
use crate::listing::plain;
use crate::rest::{self, Rest, RestArguments};
use crate::{CliError, output};

/// Arguments of `connect connectors apply`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the worker is.
    #[command(flatten)]
    rest: RestArguments,
    /// Only show what would change.
    #[arg(long)]
    dry_run: bool,
    /// A connector's file: .toml, .properties or .json.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

pub(super) async fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    let rest = arguments.rest.rest(invocation)?;
    let files = ConnectorFile::read_all(&arguments.files).await?;
    let mut refused = false;
    for file in &files {
        match apply(&rest, file, arguments.dry_run).await? {
            Ok(done) => output::line(&done)?,
            Err(refusal) => {
                refused = true;
                output::note(&format!("{}: {refusal}", file.path.display()));
            }
        }
    }
    match refused {
        true => Err(CliError::Exit(1)),
        false => Ok(()),
    }
}

/// What was done, or why the worker refuses.
async fn apply(
    rest: &Rest,
    file: &ConnectorFile,
    dry_run: bool,
) -> Result<Result<String, String>, CliError> {
    let path = rest::path(&["connectors", &file.name, "config"]);
    let found = rest.get(&path).await?;
    let wanted = file.config();
    if found.status == 404 {
        if dry_run {
            return Ok(Ok(format!("connector \"{}\" would be created", file.name)));
        }
        let answer = create::create(rest, file).await?;
        return Ok(match answer.is_success() {
            true => Ok(create::created(file, &answer.body)),
            false => Err(answer.refusal()),
        });
    }
    if !found.is_success() {
        return Ok(Err(found.refusal()));
    }
    if file.settings.initial_state().is_some() {
        output::note(&format!(
            "note: connector \"{}\" exists, so its initial_state changes nothing",
            file.name
        ));
    }
    let changes = changes(&found.body, &wanted);
    if changes.is_empty() {
        return Ok(Ok(format!(
            "connector \"{}\" is as the file says",
            file.name
        )));
    }
    let done = match dry_run {
        true => "would change",
        false => {
            let answer = rest.put(&path, Some(&wanted)).await?;
            if !answer.is_success() {
                return Ok(Err(answer.refusal()));
            }
            "changed"
        }
    };
    let changes = changes.join("\n  ");
    Ok(Ok(format!(
        "connector \"{}\" {done}:\n  {changes}",
        file.name
    )))
}

/// One line for each key that is not the same in both.
fn changes(old: &Value, new: &Value) -> Vec<String> {
    let keys = |config: &Value| -> BTreeMap<String, String> {
        let fields = config.as_object().into_iter().flatten();
        let text = |value: &Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        fields
            .map(|(key, value)| (key.clone(), text(value)))
            .collect()
    };
    let (old, new) = (keys(old), keys(new));
    let shown = |key: &str, text: &str| match is_secret_key(key) {
        true => "[hidden]".to_owned(),
        false => format!("\"{}\"", plain(text)),
    };
    let all: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    all.into_iter()
        .filter_map(|key| match (old.get(key), new.get(key)) {
            (Some(old), Some(new)) if old == new => None,
            (Some(old), Some(new)) => Some(format!(
                "~ {key}: {} -> {}",
                shown(key, old),
                shown(key, new)
            )),
            (None, Some(new)) => Some(format!("+ {key}: {}", shown(key, new))),
            (Some(old), None) => Some(format!("- {key}: {}", shown(key, old))),
            (None, None) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_key_that_differs_is_named_and_no_secret_shown() {
        let old = json!({"a": "1", "b": "1", "c": "1", "db.password": "old"});
        let new = json!({"b": "1", "c": "2", "d": "x\ny", "db.password": "new"});
        assert_eq!(
            changes(&old, &new),
            [
                "- a: \"1\"",
                "~ c: \"1\" -> \"2\"",
                "+ d: \"x\\ny\"",
                "~ db.password: [hidden] -> [hidden]"
            ]
        );
        assert!(changes(&old, &old).is_empty());
    }
}
