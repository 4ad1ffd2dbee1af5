//! Changing the configuration of topics and, for what topics fall back to, of brokers.

use super::ControllerError;
use super::plan::{MIN_INSYNC, Plan, UNCLEAN};
use super::record::{ConfigResource, MetadataRecord};
use crate::config::broker_keys::{broker_key, is_changeable};
use crate::config::definition::{Definition, Kind, elements};
use crate::config::layers::{Layers, Settings};
use crate::config::nearest;
use crate::config::topic::{TOPIC_KEYS, topic_key};
use crate::error_code;

/// What to do with one key.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum ConfigOperation {
    /// Set it.
    Set(String),
    /// Go back to what it falls back to.
    Delete,
    /// Add elements to a list.
    Append(String),
    /// Take elements out of a list.
    Subtract(String),
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct ConfigChange {
    pub(crate) key: String,
    pub(crate) operation: ConfigOperation,
}

/// Checks what is set on a topic.
pub(super) fn check_topic_settings(settings: &Settings) -> Result<(), ControllerError> {
    for (key, value) in settings {
        let definition = known_topic_key(key)?;
        check_value(definition, value)?;
    }
    let number = |key: &str| {
        settings
            .get(key)
            .and_then(|value| value.parse::<i64>().ok())
    };
    if let (Some(min), Some(max)) = (
        number("min.compaction.lag.ms"),
        number("max.compaction.lag.ms"),
    ) && min > max
    {
        return Err(ControllerError::new(
            error_code::INVALID_CONFIG,
            format!(
                "min.compaction.lag.ms {min} must not be larger than max.compaction.lag.ms {max}"
            ),
        ));
    }
    Ok(())
}

fn check_value(definition: &Definition, value: &str) -> Result<(), ControllerError> {
    definition.kind.check(value).map_err(|expected| {
        ControllerError::new(
            error_code::INVALID_CONFIG,
            format!("value \"{value}\" of \"{}\" {expected}", definition.name),
        )
    })
}

fn known_topic_key(key: &str) -> Result<&'static Definition, ControllerError> {
    topic_key(key).ok_or_else(|| {
        let hint = match nearest(key, TOPIC_KEYS.iter().map(|definition| definition.name)) {
            Some(nearest) => format!("; did you mean \"{nearest}\"?"),
            None => String::new(),
        };
        ControllerError::new(
            error_code::INVALID_CONFIG,
            format!("\"{key}\" is not a topic configuration of this broker{hint}"),
        )
    })
}

/// A key of `broker` (empty for all) that can be changed while it runs: one that topics fall back
/// to.
fn changeable_broker_key(key: &str, broker: &str) -> Result<&'static Definition, ControllerError> {
    // Who may become leader depends on what all leaders waited for.
    if key == MIN_INSYNC && !broker.is_empty() {
        return Err(ControllerError::new(
            error_code::INVALID_CONFIG,
            format!("\"{key}\" is the same on all brokers; set it on a topic or for all brokers"),
        ));
    }
    match broker_key(key) {
        Some(definition) if is_changeable(key) => Ok(definition),
        Some(_) => Err(ControllerError::new(
            error_code::INVALID_CONFIG,
            format!(
                "\"{key}\" cannot be changed while the broker runs; set it in its file and restart"
            ),
        )),
        None => Err(ControllerError::new(
            error_code::INVALID_CONFIG,
            format!("\"{key}\" is not a broker configuration"),
        )),
    }
}

impl Plan<'_> {
    /// Changes what is set on a topic or a broker. With `replace`, everything that is not in
    /// `changes` is unset as well.
    ///
    /// # Errors
    /// When the resource or a key does not exist or a value is not possible; nothing is changed
    /// then.
    pub(super) fn alter_config(
        &mut self,
        resource: &ConfigResource,
        changes: &[ConfigChange],
        replace: bool,
    ) -> Result<(), ControllerError> {
        let before = self.settings_of(resource)?;
        let mut after = if replace {
            Settings::new()
        } else {
            before.clone()
        };
        for (position, change) in changes.iter().enumerate() {
            let repeated = changes
                .iter()
                .take(position)
                .any(|other| other.key == change.key);
            if repeated {
                return Err(ControllerError::new(
                    error_code::INVALID_REQUEST,
                    format!("\"{}\" is changed twice in one request", change.key),
                ));
            }
            let definition = match resource {
                ConfigResource::Topic(_) => known_topic_key(&change.key)?,
                ConfigResource::Broker(name) => changeable_broker_key(&change.key, name)?,
            };
            let effective = || self.effective(resource, definition);
            apply(&mut after, definition, &change.operation, effective)?;
        }
        match resource {
            ConfigResource::Topic(_) => check_topic_settings(&after)?,
            ConfigResource::Broker(name) => {
                for (key, value) in &after {
                    check_value(changeable_broker_key(key, name)?, value)?;
                }
            }
        }
        let records = difference(resource, &before, &after);
        let concerns = |name: &str| {
            records
                .iter()
                .any(|record| matches!(record, MetadataRecord::Config { key, .. } if key == name))
        };
        let (fewer_needed, unclean) = (concerns(MIN_INSYNC), concerns(UNCLEAN));
        for record in records {
            self.push(record);
        }
        let only = match resource {
            ConfigResource::Topic(name) => Some(name.as_str()),
            ConfigResource::Broker(_) => None,
        };
        if fewer_needed {
            self.recount_eligible(only);
        }
        if unclean {
            self.elect_missing();
        }
        Ok(())
    }

    fn settings_of(&self, resource: &ConfigResource) -> Result<Settings, ControllerError> {
        match resource {
            ConfigResource::Topic(name) => Ok(self.topic(name)?.config.clone()),
            ConfigResource::Broker(name) => {
                let known = name.is_empty()
                    || self
                        .image()
                        .brokers()
                        .any(|broker| broker.id.to_string() == *name);
                if !known {
                    let ids: Vec<String> = self
                        .image()
                        .brokers()
                        .map(|broker| broker.id.to_string())
                        .collect();
                    return Err(ControllerError::new(
                        error_code::INVALID_REQUEST,
                        format!(
                            "there is no broker \"{name}\"; the brokers are {}",
                            ids.join(", ")
                        ),
                    ));
                }
                Ok(self
                    .image()
                    .broker_config(name)
                    .cloned()
                    .unwrap_or_default())
            }
        }
    }

    /// The value that counts for a key before the change.
    fn effective(&self, resource: &ConfigResource, key: &'static Definition) -> Option<String> {
        let (topic, broker) = match resource {
            ConfigResource::Topic(name) => (self.image().topic(name), None),
            ConfigResource::Broker(name) => (None, self.image().broker_config(name)),
        };
        let layers = Layers {
            topic: topic.map(|topic| &topic.config),
            broker,
            all_brokers: self.image().broker_config(""),
            file: &self.config().settings,
        };
        match resource {
            ConfigResource::Topic(_) => layers.topic_value(key).map(|(_, value)| value),
            ConfigResource::Broker(_) => layers.broker_value(key).map(|setting| setting.value),
        }
    }
}

/// Applies one operation to what is set. Lists are changed starting from the value in effect.
fn apply(
    settings: &mut Settings,
    definition: &Definition,
    operation: &ConfigOperation,
    effective: impl FnOnce() -> Option<String>,
) -> Result<(), ControllerError> {
    let key = definition.name;
    let change_list = |change: &dyn Fn(&mut Vec<String>)| {
        if !matches!(definition.kind, Kind::List { .. }) {
            return Err(ControllerError::new(
                error_code::INVALID_CONFIG,
                format!("\"{key}\" is not a list; set it instead"),
            ));
        }
        let current = settings
            .get(key)
            .cloned()
            .or_else(effective)
            .unwrap_or_default();
        let mut list: Vec<String> = elements(&current).map(str::to_owned).collect();
        change(&mut list);
        Ok(list.join(","))
    };
    let value = match operation {
        ConfigOperation::Delete => {
            settings.remove(key);
            return Ok(());
        }
        ConfigOperation::Set(value) => value.clone(),
        ConfigOperation::Append(value) => change_list(&|list| {
            for element in elements(value) {
                if !list.iter().any(|there| there == element) {
                    list.push(element.to_owned());
                }
            }
        })?,
        ConfigOperation::Subtract(value) => {
            change_list(&|list| list.retain(|there| elements(value).all(|gone| gone != there)))?
        }
    };
    settings.insert(key.to_owned(), value);
    Ok(())
}

fn difference(
    resource: &ConfigResource,
    before: &Settings,
    after: &Settings,
) -> Vec<MetadataRecord> {
    let record = |key: &String, value: Option<&String>| MetadataRecord::Config {
        resource: resource.clone(),
        key: key.clone(),
        value: value.cloned(),
    };
    let unset = before
        .keys()
        .filter(|key| !after.contains_key(*key))
        .map(|key| record(key, None));
    let set = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(*value))
        .map(|(key, value)| record(key, Some(value)));
    unset.chain(set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(start: &str, operation: ConfigOperation) -> Result<String, ControllerError> {
        let mut settings = Settings::from([("cleanup.policy".to_owned(), start.to_owned())]);
        apply(
            &mut settings,
            topic_key("cleanup.policy").unwrap(),
            &operation,
            || None,
        )?;
        Ok(settings.get("cleanup.policy").cloned().unwrap_or_default())
    }

    #[test]
    fn lists_are_appended_to_and_subtracted_from() {
        let append = |value: &str| ConfigOperation::Append(value.to_owned());
        let subtract = |value: &str| ConfigOperation::Subtract(value.to_owned());
        assert_eq!(
            applied("delete", append("compact")).unwrap(),
            "delete,compact"
        );
        assert_eq!(applied("delete", append("delete")).unwrap(), "delete");
        assert_eq!(
            applied("delete,compact", subtract("delete")).unwrap(),
            "compact"
        );
    }

    #[test]
    fn only_lists_can_be_appended_to() {
        let mut settings = Settings::new();
        let operation = ConfigOperation::Append("1".to_owned());
        let error = apply(
            &mut settings,
            topic_key("retention.ms").unwrap(),
            &operation,
            || None,
        )
        .unwrap_err();
        assert_eq!(error.code, error_code::INVALID_CONFIG);
    }

    #[test]
    fn a_wrong_key_or_value_is_refused_with_a_hint() {
        let set = |key: &str, value: &str| {
            check_topic_settings(&Settings::from([(key.to_owned(), value.to_owned())]))
        };
        assert!(set("cleanup.policy", "compact").is_ok());
        let error = set("cleanup.polcy", "compact").unwrap_err();
        assert!(
            error.message.contains("did you mean \"cleanup.policy\"?"),
            "{error}"
        );
        let error = set("retention.ms", "-5").unwrap_err();
        assert_eq!(error.code, error_code::INVALID_CONFIG);
        assert!(set("remote.storage.enable", "true").is_err());
    }
}
