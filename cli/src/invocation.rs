//! Which command was asked for: by the first argument (`connect topics`) or by the program's own
//! name (`kafka-topics.sh`), with Kafka's habits of writing options.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::{ArgMatches, Command};

use crate::CliError;
use crate::commands;

/// Names of Kafka's tools that this program answers to, each also with `.sh`, and the command that
/// each of them is.
pub const KAFKA_NAMES: [(&str, &[&str]); 12] = [
    ("kafka-topics", &["topics"]),
    ("kafka-console-producer", &["produce"]),
    ("kafka-console-consumer", &["consume"]),
    ("kafka-consumer-groups", &["groups"]),
    ("kafka-configs", &["configs"]),
    ("kafka-cluster", &["cluster"]),
    ("kafka-leader-election", &["leader-election"]),
    ("kafka-reassign-partitions", &["reassign-partitions"]),
    ("kafka-metadata-quorum", &["metadata-quorum"]),
    ("kafka-server-start", &["broker", "start"]),
    ("kafka-server-stop", &["broker", "stop"]),
    ("connect-standalone", &["standalone"]),
];

/// Commands that Kafka has no name for. Their exit code for wrong arguments is 2, as that of most
/// programs, so that a script can tell it from a refusal.
const OWN_COMMANDS: [&str; 8] = [
    "connectors",
    "dlq",
    "explain",
    "hash-password",
    "loggers",
    "offsets",
    "tap",
    "try",
];

const NO_ZOOKEEPER: &str = "--zookeeper is gone, as since Kafka 4.0: there is no ZooKeeper, the brokers keep the \
    cluster's metadata themselves; use --bootstrap-server HOST:PORT with the address of a broker, usually port 9092";

/// A parsed command line.
#[derive(Debug)]
pub struct Invocation {
    /// The command and, for `broker`, its sub-command.
    pub path: Vec<String>,
    /// The command's own arguments.
    pub matches: ArgMatches,
    /// What to call the command in messages: `connect topics` or `kafka-topics.sh`.
    pub display: String,
    /// Whether it was called by one of Kafka's names, so that Kafka's rules apply where ours are
    /// softer (`--bootstrap-server` is mandatory).
    pub kafka_name: bool,
    /// The exit code for arguments that make no sense.
    usage_code: u8,
}

impl Invocation {
    /// Parses the whole command line, program name included.
    ///
    /// # Errors
    /// What clap finds wrong, or the help that was asked for.
    pub fn parse(arguments: Vec<OsString>) -> Result<Self, CliError> {
        let mut arguments = arguments.into_iter();
        let program = arguments.next().unwrap_or_default();
        let rest: Vec<OsString> = arguments.collect();
        let root = commands::command_line();
        let called = kafka_command(&program);
        let asks_for_zookeeper = |argument: &OsString| {
            argument
                .to_str()
                .is_some_and(|text| text == "--zookeeper" || text.starts_with("--zookeeper="))
        };
        if rest.iter().any(asks_for_zookeeper) {
            let command = called.map_or_else(|| "connect".to_owned(), |(display, _)| display);
            return Err(CliError::Usage {
                message: NO_ZOOKEEPER.to_owned(),
                command,
                code: 1,
            });
        }
        match called {
            Some((display, path)) => Self::parse_as(&root, &display, path, rest),
            None => Self::parse_plain(root, rest),
        }
    }

    fn parse_as(
        root: &Command,
        display: &str,
        path: &[&str],
        rest: Vec<OsString>,
    ) -> Result<Self, CliError> {
        let mut command = root;
        for name in path {
            let Some(inner) = command.find_subcommand(name) else {
                return Err(CliError::failed(format!(
                    "{name:?} is not a command of this program"
                )));
            };
            command = inner;
        }
        let (leaf, depth) = leaf(command, &rest);
        let (names, options) = rest.split_at_checked(depth).unwrap_or((&rest, &[]));
        let options = long_options(leaf, options.to_vec());
        let command = command.clone().bin_name(display).display_name(display);
        let with_name = std::iter::once(OsString::from(display))
            .chain(names.iter().cloned())
            .chain(options);
        let mut matches = command
            .infer_long_args(true)
            .try_get_matches_from(with_name)?;
        let mut path: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
        let mut display = display.to_owned();
        while let Some((name, inner)) = matches.remove_subcommand() {
            display = format!("{display} {name}");
            path.push(name);
            matches = inner;
        }
        Ok(Self {
            path,
            matches,
            display,
            kafka_name: true,
            usage_code: 1,
        })
    }

    fn parse_plain(root: Command, rest: Vec<OsString>) -> Result<Self, CliError> {
        let usage_code = usage_code(&rest);
        let (leaf, depth) = leaf(&root, &rest);
        let (names, options) = rest.split_at_checked(depth).unwrap_or((&rest, &[]));
        let options = long_options(leaf, options.to_vec());
        let with_name = std::iter::once(OsString::from("connect"))
            .chain(names.iter().cloned())
            .chain(options);
        let mut matches = root
            .infer_long_args(true)
            .try_get_matches_from(with_name)
            .map_err(|error| CliError::arguments(error, usage_code))?;
        let mut path = Vec::new();
        while let Some((name, inner)) = matches.remove_subcommand() {
            path.push(name);
            matches = inner;
        }
        let display = std::iter::once("connect")
            .chain(path.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ");
        Ok(Self {
            path,
            matches,
            display,
            kafka_name: false,
            usage_code,
        })
    }

    /// A usage error of this command.
    pub fn usage(&self, message: impl Into<String>) -> CliError {
        CliError::Usage {
            message: message.into(),
            command: self.display.clone(),
            code: self.usage_code,
        }
    }
}

fn usage_code(arguments: &[OsString]) -> u8 {
    let command = arguments.first().and_then(|name| name.to_str());
    match command.is_some_and(|name| OWN_COMMANDS.contains(&name)) {
        true => 2,
        false => 1,
    }
}

/// The command behind one of Kafka's names, and the name as it was called.
fn kafka_command(program: &OsStr) -> Option<(String, &'static [&'static str])> {
    let called = Path::new(program).file_name()?.to_str()?;
    let bare = called.strip_suffix(".sh").unwrap_or(called);
    let (_, path) = KAFKA_NAMES.iter().find(|(name, _)| *name == bare)?;
    Some((called.to_owned(), path))
}

/// The sub-command that the first arguments name, and how many they are.
fn leaf<'a>(root: &'a Command, arguments: &[OsString]) -> (&'a Command, usize) {
    let mut found = (root, 0);
    for argument in arguments {
        let name = argument.to_str();
        let Some(inner) = name.and_then(|name| found.0.find_subcommand(name)) else {
            break;
        };
        found = (inner, found.1 + 1);
    }
    found
}

/// Kafka's tools take their long options with one dash too: `-daemon`, `-topic`. What is a known long
/// option of `command` gets its second dash; everything else stays, such as `-h` or a value `-5`.
fn long_options(command: &Command, arguments: Vec<OsString>) -> Vec<OsString> {
    let mut only_positionals = false;
    arguments
        .into_iter()
        .map(|argument| {
            only_positionals |= argument == "--";
            let Some(text) = argument.to_str().filter(|_| !only_positionals) else {
                return argument;
            };
            let Some(name) = text
                .strip_prefix('-')
                .filter(|name| name.len() > 1 && !name.starts_with('-'))
            else {
                return argument;
            };
            let bare = name.split_once('=').map_or(name, |(bare, _)| bare);
            let known = command.get_arguments().any(|known| {
                known.get_long() == Some(bare)
                    || known
                        .get_all_aliases()
                        .is_some_and(|all| all.contains(&bare))
            });
            if known {
                OsString::from(format!("-{text}"))
            } else {
                argument
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Invocation, CliError> {
        Invocation::parse(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn a_kafka_name_is_a_command() {
        for program in ["kafka-topics", "/opt/bin/kafka-topics.sh"] {
            let invocation = parse(&[program, "--list", "--bootstrap-server", "a:1"]).unwrap();
            assert_eq!(invocation.path, ["topics"]);
            assert!(invocation.kafka_name);
        }
    }

    #[test]
    fn a_kafka_name_has_its_own_sub_commands() {
        let words = ["kafka-cluster.sh", "cluster-id", "-bootstrap-server", "a:1"];
        let invocation = parse(&words).unwrap();
        assert_eq!(invocation.path, ["cluster", "id"]);
        assert_eq!(invocation.display, "kafka-cluster.sh id");
        assert!(invocation.kafka_name);
        let before = [
            "kafka-metadata-quorum",
            "--bootstrap-server",
            "a:1",
            "describe",
            "--status",
        ];
        assert_eq!(parse(&before).unwrap().path, ["metadata-quorum"]);
    }

    #[test]
    fn any_other_name_is_the_plain_program() {
        let invocation = parse(&["edge", "topics", "--list"]).unwrap();
        assert_eq!(invocation.path, ["topics"]);
        assert_eq!(invocation.display, "connect topics");
        assert!(!invocation.kafka_name);
    }

    #[test]
    fn long_options_take_one_dash_too() {
        let invocation = parse(&["kafka-server-start.sh", "-daemon", "server.properties"]).unwrap();
        assert_eq!(invocation.path, ["broker", "start"]);
        assert!(invocation.matches.get_flag("daemon"));
        let invocation = parse(&["connect", "broker", "start", "-daemon", "server.toml"]).unwrap();
        assert!(invocation.matches.get_flag("daemon"));
    }

    #[test]
    fn an_id_may_begin_with_a_dash() {
        let id = "-d1zqv7_TWSWv35th68I4g";
        let invocation = parse(&["connect", "topics", "--describe", "--topic-id", id]).unwrap();
        let found = invocation.matches.get_one::<String>("topic_id");
        assert_eq!(found.map(String::as_str), Some(id));
    }

    #[test]
    fn every_kafka_name_has_its_command() {
        let root = commands::command_line();
        for (name, path) in KAFKA_NAMES {
            let found = path
                .iter()
                .try_fold(&root, |command, part| command.find_subcommand(part));
            assert!(found.is_some(), "{name}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        commands::command_line().debug_assert();
    }
}
