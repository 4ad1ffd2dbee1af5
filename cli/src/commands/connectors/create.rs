//! `connect connectors create`

use std::path::PathBuf;

use serde_json::{Value, json};

use super::status;
use crate::connector_file::ConnectorFile;
use crate::invocation::Invocation;
use crate::rest::{Answer, Rest, RestArguments};
use crate::{CliError, output};

/// Arguments of `connect connectors create`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the worker is.
    #[command(flatten)]
    rest: RestArguments,
    /// A connector's file: .toml, .properties or .json.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

pub(super) async fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    let rest = arguments.rest.rest(invocation)?;
    let files = ConnectorFile::read_all(&arguments.files).await?;
    let mut refused = false;
    for file in &files {
        let answer = create(&rest, file).await?;
        match answer.is_success() {
            true => output::line(&created(file, &answer.body))?,
            false => {
                refused = true;
                output::note(&format!("{}: {}", file.path.display(), answer.refusal()));
            }
        }
    }
    match refused {
        true => Err(CliError::Exit(1)),
        false => Ok(()),
    }
}

/// Asks for a connector that is not there yet.
pub(super) async fn create(rest: &Rest, file: &ConnectorFile) -> Result<Answer, CliError> {
    let mut request = json!({"name": file.name, "config": file.config()});
    let state = file.settings.initial_state();
    if let (Some(state), Some(fields)) = (state, request.as_object_mut()) {
        let state = Value::from(state.text.as_str());
        fields.insert("initial_state".to_owned(), state);
    }
    rest.post("/connectors", Some(&request)).await
}

/// What is said about a connector that is there now.
pub(super) fn created(file: &ConnectorFile, info: &Value) -> String {
    let kind = match status::field(info, "type") {
        "-" => "connector",
        kind => kind,
    };
    format!("{kind} \"{}\" created", file.name)
}
