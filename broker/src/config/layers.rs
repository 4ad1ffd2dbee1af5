//! Where a value comes from: a topic's own setting, the broker's settings that were changed at run
//! time, its file, or the default, in this order.

use std::collections::BTreeMap;

use super::definition::Definition;

/// Key to value, as set by someone.
pub(crate) type Settings = BTreeMap<String, String>;

/// Who set a value; the discriminant is the number in DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum Source {
    /// Set on the topic.
    Topic = 1,
    /// Set at run time for this broker.
    Broker = 2,
    /// Set at run time for all brokers.
    AllBrokers = 3,
    /// From the broker's configuration file.
    File = 4,
    /// Set by nobody.
    Default = 5,
}

/// One value and who set it under which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) source: Source,
    pub(crate) name: &'static str,
    pub(crate) value: String,
}

/// The settings that apply to a broker or a topic.
#[derive(Clone, Copy)]
pub(crate) struct Layers<'a> {
    pub(crate) topic: Option<&'a Settings>,
    pub(crate) broker: Option<&'a Settings>,
    pub(crate) all_brokers: Option<&'a Settings>,
    pub(crate) file: &'a Settings,
}

impl<'a> Layers<'a> {
    /// Every setting of a broker's key, the one that counts first.
    pub(crate) fn broker_chain(&self, key: &'static Definition) -> Vec<Setting> {
        let mut chain = Vec::new();
        for name in std::iter::once(&key.name).chain(key.falls_back_to) {
            self.push_set(&mut chain, name);
        }
        if let Some(default) = key.default {
            chain.push(Setting {
                source: Source::Default,
                name: key.name,
                value: default.to_owned(),
            });
        }
        chain
    }

    /// Every setting of a topic's key, the one that counts first, each in the broker's unit.
    pub(crate) fn topic_chain(&self, key: &'static Definition) -> Vec<Setting> {
        let mut chain = Vec::new();
        if let Some(value) = self.topic.and_then(|settings| settings.get(key.name)) {
            chain.push(Setting {
                source: Source::Topic,
                name: key.name,
                value: value.clone(),
            });
        }
        for name in key.falls_back_to {
            self.push_set(&mut chain, name);
        }
        if let Some(default) = key.default {
            chain.push(Setting {
                source: Source::Default,
                name: key.falls_back_to.first().copied().unwrap_or(key.name),
                value: default.to_owned(),
            });
        }
        chain
    }

    /// The value that counts for a topic's key, in the topic's unit, and who set it.
    pub(crate) fn topic_value(&self, key: &'static Definition) -> Option<(Source, String)> {
        let setting = self.topic_chain(key).into_iter().next()?;
        let value = in_topic_unit(&setting);
        Some((setting.source, value))
    }

    /// The value that counts for a broker's key, and who set it.
    pub(crate) fn broker_value(&self, key: &'static Definition) -> Option<Setting> {
        self.broker_chain(key).into_iter().next()
    }

    fn push_set(&self, chain: &mut Vec<Setting>, name: &'static str) {
        let layers = [
            (Source::Broker, self.broker),
            (Source::AllBrokers, self.all_brokers),
            (Source::File, Some(self.file)),
        ];
        for (source, settings) in layers {
            if let Some(value) = settings.and_then(|settings| settings.get(name)) {
                chain.push(Setting {
                    source,
                    name,
                    value: value.clone(),
                });
            }
        }
    }
}

/// Topics count in milliseconds; some of the broker's keys in minutes or hours.
fn in_topic_unit(setting: &Setting) -> String {
    let factor = if setting.source == Source::Default {
        1
    } else if setting.name.ends_with(".hours") {
        3_600_000
    } else if setting.name.ends_with(".minutes") {
        60_000
    } else {
        1
    };
    match setting.value.trim().parse::<i64>() {
        // Negative means "no limit" in every unit.
        Ok(number) if factor > 1 && number >= 0 => number.saturating_mul(factor).to_string(),
        _ => setting.value.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::topic::topic_key;
    use super::*;

    fn file(pairs: &[(&str, &str)]) -> Settings {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn value(layers: Layers<'_>, key: &str) -> (Source, String) {
        layers.topic_value(topic_key(key).unwrap()).unwrap()
    }

    #[test]
    fn the_most_specific_setting_counts_in_the_topics_unit() {
        let topic = file(&[("retention.ms", "5")]);
        let set = file(&[("log.retention.hours", "2"), ("log.retention.minutes", "1")]);
        let mut layers = Layers {
            topic: None,
            broker: None,
            all_brokers: None,
            file: &set,
        };
        assert_eq!(
            value(layers, "retention.ms"),
            (Source::File, "60000".to_owned())
        );
        assert_eq!(
            value(layers, "segment.ms"),
            (Source::Default, "604800000".to_owned())
        );
        let dynamic = file(&[("log.retention.ms", "7")]);
        layers.all_brokers = Some(&dynamic);
        assert_eq!(
            value(layers, "retention.ms"),
            (Source::AllBrokers, "7".to_owned())
        );
        layers.topic = Some(&topic);
        assert_eq!(
            value(layers, "retention.ms"),
            (Source::Topic, "5".to_owned())
        );
    }

    #[test]
    fn no_limit_stays_no_limit_in_every_unit() {
        let set = file(&[("log.retention.hours", "-1")]);
        let layers = Layers {
            topic: None,
            broker: None,
            all_brokers: None,
            file: &set,
        };
        assert_eq!(
            value(layers, "retention.ms"),
            (Source::File, "-1".to_owned())
        );
    }
}
