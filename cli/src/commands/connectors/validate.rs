//! `connect connectors validate`: what the worker thinks of a file.

use std::path::PathBuf;

use connect_core::config::{ConfigDef, ConfigKey, ConfigType};
use connect_runtime::config::connector::PREFIXES;
use serde_json::Value;

use super::status;
use crate::connector_file::read_settings;
use crate::invocation::Invocation;
use crate::listing::Form;
use crate::rest::{self, RestArguments};
use crate::{CliError, output, yaml};

/// Arguments of `connect connectors validate`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the worker is.
    #[command(flatten)]
    rest: RestArguments,
    /// A table of what is wrong, with its place; or all that the worker answers.
    #[arg(
        long = "output",
        short = 'o',
        value_name = "table|json|yaml",
        default_value = "table",
        hide_possible_values = true
    )]
    form: Form,
    /// A connector's file: .toml, .properties or .json.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) async fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    let rest = arguments.rest.rest(invocation)?;
    let settings = read_settings(&arguments.file).await?;
    let class = settings.text("connector.class").map(str::trim);
    let Some(class) = class.filter(|class| !class.is_empty()) else {
        let message =
            "expected a connector's class, got nothing; see which there are with 'connect plugins'";
        let problem = settings.problem("connector.class", message);
        return Err(CliError::failed(problem.to_string()));
    };
    let path = rest::path(&["connector-plugins", class, "config", "validate"]);
    let config: Value = settings.to_map().into_iter().collect();
    let answer = rest.put(&path, Some(&config)).await?.success()?;
    let count = answer.get("error_count").and_then(Value::as_u64);
    let verdict = match count {
        Some(0) => Ok(()),
        _ => Err(CliError::Exit(1)),
    };
    match arguments.form {
        Form::Json => output::line(&format!("{answer:#}"))?,
        Form::Yaml => output::print(&yaml::text(&answer))?,
        Form::Table | Form::Wide => {
            let known = answer.get("configs").and_then(Value::as_array);
            let known = known.map(Vec::as_slice).unwrap_or_default();
            for problem in definition(known).unknown_keys(&settings.to_map()) {
                let warning = settings.key_warning(&problem.key, problem.message);
                output::note(&warning.to_string());
            }
            let mistakes = known
                .iter()
                .filter_map(|key| key.get("value"))
                .flat_map(|value| {
                    let errors = value.get("errors").and_then(Value::as_array);
                    let errors = errors.into_iter().flatten().filter_map(Value::as_str);
                    let key = status::field(value, "name");
                    errors.map(|message| settings.problem(key, message).to_string())
                });
            let mistakes: Vec<String> = mistakes.collect();
            match mistakes.is_empty() && verdict.is_ok() {
                true => output::line(&format!("{} is valid", arguments.file.display()))?,
                false => output::line(&mistakes.join("\n"))?,
            }
        }
    }
    verdict
}

/// The keys that the worker knows for this class.
fn definition(known: &[Value]) -> ConfigDef {
    let names = known.iter().filter_map(|key| {
        // One without a definition is a key that the worker does not know either.
        let name = key.get("definition")?.get("name")?.as_str()?;
        Some(ConfigKey::new(name.to_owned(), ConfigType::String, ""))
    });
    let mut definition = ConfigDef::new(names.collect());
    let prefixes = PREFIXES.iter().map(|prefix| (*prefix).into());
    definition.prefixes.extend(prefixes);
    definition
}
