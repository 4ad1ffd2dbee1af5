//! The command line of the standalone program.

use std::path::PathBuf;

use crate::logging::LogFormat;

/// What the command line asks to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// The worker's configuration file.
    pub worker: PathBuf,
    /// The connectors' configuration files.
    pub connectors: Vec<PathBuf>,
    /// Whether unknown keys are errors.
    pub strict: bool,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Whether more than warnings is logged.
    pub verbose: bool,
}

impl Arguments {
    /// What is logged unless `RUST_LOG` says otherwise.
    #[must_use]
    pub fn log_filter(&self) -> &'static str {
        match (self.verbose, self.log_format) {
            // Whoever collects JSON wants the history, whoever looks at a terminal wants quiet.
            (true, _) | (_, LogFormat::Json) => "info",
            (false, LogFormat::Text) => "warn",
        }
    }
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To run.
    Run(Arguments),
    /// To explain itself.
    Help,
    /// To say which version it is.
    Version,
}

/// Parses the arguments behind the program's name.
///
/// # Errors
/// The first thing that is wrong, for the user.
pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let (mut files, mut strict, mut verbose) = (Vec::new(), false, false);
    let mut log_format = LogFormat::Text;
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-h" | "--help" => return Ok(Request::Help),
            "-V" | "--version" => return Ok(Request::Version),
            "--strict" => strict = true,
            "-v" | "--verbose" => verbose = true,
            "--log-format" => {
                let value = arguments
                    .next()
                    .ok_or("--log-format needs text or json behind it")?;
                log_format = format(&value)?;
            }
            "-daemon" => {
                return Err(
                    "-daemon is not understood here; run the program as a service, or with nohup … &"
                        .to_owned(),
                );
            }
            flag if flag.starts_with("--log-format=") => {
                log_format = format(flag.trim_start_matches("--log-format="))?;
            }
            flag if flag.starts_with('-') => return Err(format!("flag \"{flag}\" is not known")),
            file => files.push(PathBuf::from(file)),
        }
    }
    let mut files = files.into_iter();
    let worker = files
        .next()
        .ok_or("the worker's configuration file is missing")?;
    Ok(Request::Run(Arguments {
        worker,
        connectors: files.collect(),
        strict,
        log_format,
        verbose,
    }))
}

fn format(text: &str) -> Result<LogFormat, String> {
    text.parse()
        .map_err(|message| format!("--log-format: {message}"))
}

/// The short form of [`help`], shown with a mistake.
pub(super) fn usage(program: &str) -> String {
    format!(
        "usage: {program} [--strict] [--log-format text|json] WORKER [CONNECTOR…]; --help says more"
    )
}

pub(super) fn help(program: &str) -> String {
    format!(
        "\
Runs connectors in one process; without bootstrap.servers with a broker of its own, if it has one.

usage: {program} [flags] WORKER [CONNECTOR…]

  WORKER               the worker's configuration: .toml, .properties or .json
  CONNECTOR            one file per connector, in any of these formats; saved changes are
                       applied at once, unless connector.files.watch is false

  --strict             unknown configuration keys are errors
  --log-format FORMAT  text (default) or json
  -v, --verbose        log more than warnings (RUST_LOG says exactly what)
  -V, --version        the version
  -h, --help           this

CONNECT_… environment variables replace the worker's keys: CONNECT_BOOTSTRAP_SERVERS is
bootstrap.servers. NO_COLOR keeps colours out of the log. Ctrl-C drains and stops, a second one stops at once.

examples:
  {program} worker.toml file-source.toml file-sink.toml
  {program} connect-standalone.properties connect-file-source.properties
  CONNECT_BOOTSTRAP_SERVERS=kafka:9092 {program} --strict worker.toml source.json"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn files_and_flags_come_in_any_order() {
        let expected = Arguments {
            worker: "w.toml".into(),
            connectors: vec!["a.toml".into(), "b.json".into()],
            strict: true,
            log_format: LogFormat::Json,
            verbose: false,
        };
        let both = [
            "w.toml --strict a.toml --log-format json b.json",
            "--log-format=json w.toml a.toml b.json --strict",
        ];
        for line in both {
            assert_eq!(parsed(line), Ok(Request::Run(expected.clone())), "{line}");
        }
        assert!(matches!(parsed("w.toml"), Ok(Request::Run(run)) if run.connectors.is_empty()));
    }

    #[test]
    fn mistakes_say_what_is_wrong() {
        assert_eq!(
            parsed(""),
            Err("the worker's configuration file is missing".to_owned())
        );
        assert_eq!(
            parsed("--fast w.toml"),
            Err("flag \"--fast\" is not known".to_owned())
        );
        assert_eq!(
            parsed("--log-format xml w.toml"),
            Err("--log-format: expected text or json, got \"xml\"".to_owned())
        );
        assert_eq!(parsed("w.toml --help"), Ok(Request::Help));
    }
}
