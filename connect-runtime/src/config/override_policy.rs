//! `connector.client.config.override.policy` (KIP-458): which client settings a connector may change.

use std::collections::BTreeSet;

use super::keys::{TableReader, list};
use super::settings::Settings;

/// The worker's key.
pub(super) const POLICY: &str = "connector.client.config.override.policy";
/// The worker's key for the settings that `Allowlist` allows.
pub(super) const ALLOWLIST: &str = "connector.client.config.override.allowlist";

/// Kafka's policies are plugins, and their classes are called so.
const CLASS_SUFFIX: &str = "ConnectorClientConfigOverridePolicy";
/// What says who a client is.
const PRINCIPAL_KEYS: [&str; 3] = ["sasl.jaas.config", "sasl.mechanism", "security.protocol"];

/// Which client settings a connector may change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OverridePolicy {
    /// Every one.
    #[default]
    All,
    /// No one.
    None,
    /// Who it is towards the brokers.
    Principal,
    /// These.
    Allowlist(BTreeSet<String>),
}

impl OverridePolicy {
    /// Reads the policy; a wrong one is among the problems and reads as the default.
    pub(super) fn read(reader: &mut TableReader<'_>, settings: &Settings) -> Self {
        let name = reader.owned(POLICY);
        let allowed = || reader.list(ALLOWLIST).into_iter().collect();
        let policy = match simple_name(&name).to_ascii_lowercase().as_str() {
            "all" => Self::All,
            "none" => Self::None,
            "principal" => Self::Principal,
            "allowlist" => Self::Allowlist(allowed()),
            _ => {
                let message =
                    format!("expected one of All, None, Principal, Allowlist, got \"{name}\"");
                let problem = settings.problem(POLICY, message);
                reader.problems.push(problem);
                return Self::default();
            }
        };
        let listed = !list(settings.text(ALLOWLIST).unwrap_or_default()).is_empty();
        if listed && !matches!(policy, Self::Allowlist(_)) {
            let message = format!("has no effect unless {POLICY} is Allowlist");
            let problem = settings.key_warning(ALLOWLIST, message);
            reader.problems.push(problem);
        }
        policy
    }

    /// Kafka's name of it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::All => "All",
            Self::None => "None",
            Self::Principal => "Principal",
            Self::Allowlist(_) => "Allowlist",
        }
    }

    /// Why a setting, named without a prefix, may not be changed, in Kafka's words.
    pub(super) fn refusal(&self, key: &str) -> Option<String> {
        let allowed = match self {
            Self::All => true,
            Self::None => false,
            Self::Principal => PRINCIPAL_KEYS.contains(&key),
            Self::Allowlist(keys) => keys.contains(key),
        };
        (!allowed).then(|| {
            format!(
                "The '{}' policy does not allow '{key}' to be overridden in the connector configuration.",
                self.name()
            )
        })
    }
}

/// The name of a policy, of which its class name, whole or simple, is another form.
fn simple_name(name: &str) -> &str {
    let simple = name.rsplit('.').next().unwrap_or(name).trim();
    simple
        .strip_suffix(CLASS_SUFFIX)
        .filter(|short| !short.is_empty())
        .unwrap_or(simple)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::worker::WorkerConfig;

    fn policy(more: &[(&str, &str)]) -> Result<OverridePolicy, String> {
        let mut pairs = vec![("key.converter", "string"), ("value.converter", "string")];
        pairs.extend(more);
        let map = pairs
            .into_iter()
            .map(|(key, text)| (key.to_owned(), text.to_owned()))
            .collect();
        let read = WorkerConfig::read(&Settings::from_map("test", &map));
        read.map(|(config, _)| config.client_overrides)
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn policies_go_by_their_names_and_by_those_of_kafka_s_classes() {
        assert_eq!(policy(&[]), Ok(OverridePolicy::All));
        let class =
            "org.apache.kafka.connect.connector.policy.NoneConnectorClientConfigOverridePolicy";
        assert_eq!(policy(&[(POLICY, class)]), Ok(OverridePolicy::None));
        assert_eq!(
            policy(&[(POLICY, "principal")]),
            Ok(OverridePolicy::Principal)
        );
        let wrong = policy(&[(POLICY, "Some")]).unwrap_err();
        assert!(
            wrong.contains("All, None, Principal, Allowlist, got \"Some\""),
            "{wrong}"
        );
    }

    #[test]
    fn what_a_policy_does_not_allow_is_refused_in_kafka_s_words() {
        let keys = [(POLICY, "Allowlist"), (ALLOWLIST, "linger.ms, acks")];
        let allowlist = policy(&keys).unwrap();
        assert_eq!(allowlist.refusal("acks"), None);
        assert_eq!(
            allowlist.refusal("batch.size").unwrap(),
            "The 'Allowlist' policy does not allow 'batch.size' to be overridden in the connector \
             configuration."
        );
        assert!(
            OverridePolicy::Principal
                .refusal("sasl.mechanism")
                .is_none()
        );
        assert!(OverridePolicy::Principal.refusal("client.id").is_some());
    }
}
