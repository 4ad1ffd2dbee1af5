//! What the configuration says about the cluster the broker is part of.

use std::time::Duration;

use super::definition::elements;
use super::{Listener, Problems, Values};

/// The cluster: how it is found, and what its controller goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterSettings {
    /// Brokers to find the cluster by, as `host:port`. The same list on all of them; the first one
    /// founds the cluster.
    pub(crate) seeds: Vec<String>,
    /// Name of the listener brokers reach each other through.
    pub(crate) listener: Option<String>,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) session_timeout: Duration,
    /// The shortest time a voter waits before it wants an election; the longest is twice that.
    pub(crate) election_timeout: Duration,
    pub(crate) voters_max: usize,
    pub(crate) controlled_shutdown: bool,
    /// Replicas of a topic that is created without saying how many.
    pub(crate) replication_factor: i16,
    /// Replicas of `__consumer_offsets`, as far as there are brokers.
    pub(crate) offsets_replication_factor: i16,
    /// Whether leadership is moved back to preferred replicas, ...
    pub(crate) leader_rebalance: bool,
    /// ... how often that is looked at, ...
    pub(crate) imbalance_check_interval: Duration,
    /// ... and the percentage of a broker's partitions above which it is done.
    pub(crate) imbalance_percentage: u32,
}

/// How followers copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplicationSettings {
    /// Fetchers per leader.
    pub(crate) fetchers: usize,
    /// Bytes of one partition asked for at once, ...
    pub(crate) partition_bytes_max: i32,
    /// ... and of all.
    pub(crate) response_bytes_max: i32,
    pub(crate) bytes_min: i32,
    pub(crate) wait_max: Duration,
    /// How long a partition that could not be copied rests.
    pub(crate) backoff: Duration,
    /// How long a leader's answer may take.
    pub(crate) timeout: Duration,
    /// How long a replica may lag and count as in sync.
    pub(crate) lag_time_max: Duration,
}

impl ClusterSettings {
    pub(super) fn read(
        values: &Values<'_>,
        listeners: &[Listener],
        problems: &mut Problems,
    ) -> Self {
        let listener = values
            .text(LISTENER)
            .filter(|name| !name.is_empty())
            .map(|name| name.to_ascii_uppercase());
        if let Some(name) = &listener
            && !listeners.is_empty()
            && listeners.iter().all(|listener| listener.name != *name)
        {
            problems.add(
                LISTENER,
                format!("\"{name}\" is not one of listeners; name one of them"),
            );
        }
        let cluster = Self {
            seeds: seeds(values, problems),
            listener,
            heartbeat_interval: values.millis("broker.heartbeat.interval.ms"),
            session_timeout: values.millis("broker.session.timeout.ms"),
            election_timeout: values.millis("controller.quorum.election.timeout.ms"),
            voters_max: values.size("controller.quorum.voters.max").max(1),
            controlled_shutdown: values.flag("controlled.shutdown.enable"),
            replication_factor: factor(values, "default.replication.factor"),
            offsets_replication_factor: factor(values, "offsets.topic.replication.factor"),
            leader_rebalance: values.flag("auto.leader.rebalance.enable"),
            imbalance_check_interval: Duration::from_secs(
                values
                    .long("leader.imbalance.check.interval.seconds")
                    .unsigned_abs(),
            ),
            imbalance_percentage: values
                .int("leader.imbalance.per.broker.percentage")
                .unsigned_abs(),
        };
        if cluster.session_timeout <= cluster.heartbeat_interval {
            problems.add(
                "broker.session.timeout.ms",
                "must be larger than broker.heartbeat.interval.ms".to_owned(),
            );
        }
        cluster
    }
}

impl ReplicationSettings {
    pub(super) fn read(values: &Values<'_>) -> Self {
        Self {
            fetchers: values.size("num.replica.fetchers").max(1),
            partition_bytes_max: values.int("replica.fetch.max.bytes"),
            response_bytes_max: values.int("replica.fetch.response.max.bytes"),
            bytes_min: values.int("replica.fetch.min.bytes"),
            wait_max: values.millis("replica.fetch.wait.max.ms"),
            backoff: values.millis("replica.fetch.backoff.ms"),
            timeout: values.millis("replica.socket.timeout.ms"),
            lag_time_max: values.millis("replica.lag.time.max.ms"),
        }
    }
}

const SEEDS: &str = "controller.quorum.bootstrap.servers";
const LISTENER: &str = "inter.broker.listener.name";

/// The seeds. A port of a listener that is only for controllers does not exist here; Kafka's own
/// files name it, and such an entry is one that nobody answers.
fn seeds(values: &Values<'_>, problems: &mut Problems) -> Vec<String> {
    let listed = values.text(SEEDS).unwrap_or_default();
    let mut seeds = Vec::new();
    for entry in elements(&listed) {
        match Listener::parse(entry) {
            Ok(seed) if seed.port == 0 || seed.is_wildcard() => problems.add(
                SEEDS,
                format!("\"{entry}\" is no address to connect to; write it as host:9092"),
            ),
            Ok(seed) if seed.host.contains(':') => {
                seeds.push(format!("[{}]:{}", seed.host, seed.port));
            }
            Ok(seed) => seeds.push(format!("{}:{}", seed.host, seed.port)),
            Err(problem) => problems.add(SEEDS, problem),
        }
    }
    seeds
}

fn factor(values: &Values<'_>, key: &str) -> i16 {
    i16::try_from(values.int(key)).unwrap_or(i16::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::{BrokerConfig, ConfigProblem};
    use std::collections::BTreeMap;

    fn config(pairs: &[(&str, &str)]) -> Result<BrokerConfig, Vec<ConfigProblem>> {
        let properties: BTreeMap<String, String> = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        BrokerConfig::from_properties(&properties)
    }

    #[test]
    fn seeds_are_addresses_to_connect_to() {
        let seeds = |list| {
            config(&[("controller.quorum.bootstrap.servers", list)])
                .map(|config| config.cluster.seeds)
        };
        assert_eq!(seeds("").unwrap(), Vec::<String>::new());
        assert_eq!(
            seeds("a:9092, [::1]:9093").unwrap(),
            ["a:9092", "[::1]:9093"]
        );
        assert!(seeds("a").unwrap_err()[0].message.contains("has no port"));
        assert!(
            seeds(":9092").unwrap_err()[0]
                .message
                .contains("no address to connect to")
        );
    }

    #[test]
    fn a_session_outlasts_a_heartbeat() {
        let problems = config(&[("broker.session.timeout.ms", "500")]).unwrap_err();
        assert_eq!(problems[0].key, "broker.session.timeout.ms");
    }

    #[test]
    fn brokers_meet_at_a_listener_that_exists() {
        let problems = config(&[("inter.broker.listener.name", "INTERNAL")]).unwrap_err();
        assert!(problems[0].message.contains("is not one of listeners"));
    }
}
