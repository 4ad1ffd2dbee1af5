//! `connect standalone`, the same as `connect-standalone`: the worker, with a broker of its own where
//! its file names none.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use async_trait::async_trait;
use broker::{Broker, BrokerConfig};
use connect_runtime::standalone::{self, EmbeddedBroker, EmbeddedBrokerOptions};

use crate::invocation::Invocation;

/// Arguments of `connect standalone`, which the worker reads itself.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    /// The worker's file, then those of its connectors.
    #[arg(
        value_name = "FILE",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub arguments: Vec<String>,
}

/// Runs the worker until it is told to stop, and gives Kafka's exit code.
pub fn run(arguments: Arguments, invocation: &Invocation) -> ExitCode {
    let broker = Box::new(InProcess { broker: None });
    standalone::run(
        &invocation.display,
        arguments.arguments.into_iter(),
        Some(broker),
    )
}

/// The broker in this process.
struct InProcess {
    broker: Option<Broker>,
}

#[async_trait]
impl EmbeddedBroker for InProcess {
    async fn start(&mut self, options: EmbeddedBrokerOptions) -> Result<Vec<String>, String> {
        let mut config = config(&options)?;
        for warning in std::mem::take(&mut config.warnings) {
            tracing::warn!("key \"broker.{}\": {}", warning.key, warning.message);
        }
        let broker = Broker::start(config)
            .await
            .map_err(|error| as_in_the_workers_file(&error.to_string()))?;
        let address = reachable(broker.addr());
        self.broker = Some(broker);
        Ok(vec![address.to_string()])
    }

    async fn stop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.shutdown().await;
        }
    }
}

/// The broker's settings: those of the worker's file, over what suits a broker for one worker.
fn config(options: &EmbeddedBrokerOptions) -> Result<BrokerConfig, String> {
    let mut settings: BTreeMap<String, String> = options.properties.clone();
    if !settings.contains_key("log.dirs") && !settings.contains_key("log.dir") {
        settings.insert(
            "log.dirs".to_owned(),
            options.data_dir.join("broker").display().to_string(),
        );
    }
    // Nobody else will join the groups of this worker, so there is nothing to wait for.
    settings
        .entry("group.initial.rebalance.delay.ms".to_owned())
        .or_insert_with(|| "0".to_owned());
    // It coordinates a few groups, and each partition of their offsets takes time at the first start.
    settings
        .entry("offsets.topic.num.partitions".to_owned())
        .or_insert_with(|| "4".to_owned());
    BrokerConfig::from_properties(&settings).map_err(|problems| {
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| format!("key \"broker.{}\": {}", problem.key, problem.message))
            .collect();
        lines.join("\n")
    })
}

/// The broker's advice with the names that its keys have in a worker's file.
fn as_in_the_workers_file(message: &str) -> String {
    message
        .replace("set listeners ", "set broker.listeners ")
        .replace("set log.dirs ", "set data.dir ")
}

/// An address this process can connect to, even if the broker listens on all of them.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        IpAddr::V4(_) | IpAddr::V6(_) => {
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> EmbeddedBrokerOptions {
        let properties = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        EmbeddedBrokerOptions {
            data_dir: "data".into(),
            properties,
        }
    }

    #[test]
    fn data_goes_below_the_workers_folder_unless_configured() {
        let folder = |pairs: &[(&str, &str)]| {
            config(&options(pairs)).unwrap().log_dirs[0]
                .display()
                .to_string()
        };
        assert_eq!(folder(&[]), "data/broker");
        assert_eq!(folder(&[("log.dirs", "elsewhere")]), "elsewhere");
    }

    #[test]
    fn wrong_settings_are_named_as_in_the_workers_file() {
        let problems = config(&options(&[("num.partitions", "many")])).unwrap_err();
        assert!(
            problems.starts_with("key \"broker.num.partitions\": "),
            "{problems}"
        );
    }

    #[test]
    fn advice_names_the_keys_of_the_workers_file() {
        assert_eq!(
            as_in_the_workers_file("in use; stop that one, or set log.dirs to another folder"),
            "in use; stop that one, or set data.dir to another folder"
        );
    }

    #[test]
    fn a_broker_on_all_addresses_is_reached_on_this_machine() {
        assert_eq!(
            reachable(([0, 0, 0, 0], 5).into()),
            ([127, 0, 0, 1], 5).into()
        );
        assert_eq!(
            reachable(([10, 0, 0, 1], 5).into()),
            ([10, 0, 0, 1], 5).into()
        );
    }
}
