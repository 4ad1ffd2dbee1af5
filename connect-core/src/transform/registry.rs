//! Which transforms and predicates there are, by name.

use super::{Predicate, Transform};
use crate::config::{ConfigDef, ConfigMap, Problem};
use crate::error::ConnectError;

/// Makes a plugin from its configuration, or says everything that is wrong with that.
pub type Make<T> = fn(&ConfigMap) -> Result<Box<T>, Vec<Problem>>;

/// A transform that can be found by name; a crate adds its own with `inventory::submit!`.
#[derive(Debug)]
pub struct TransformInfo {
    /// The full class name.
    pub class: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The keys it reads, without the prefix `transforms.<alias>.`.
    pub definition: fn() -> ConfigDef,
    /// A fresh one, or all problems of its configuration; the keys have the prefix removed.
    pub make: Make<dyn Transform>,
}

/// As [`TransformInfo`], for predicates.
#[derive(Debug)]
pub struct PredicateInfo {
    /// The full class name.
    pub class: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The keys it reads, without the prefix `predicates.<alias>.`.
    pub definition: fn() -> ConfigDef,
    /// A fresh one, or all problems of its configuration.
    pub make: Make<dyn Predicate>,
}

inventory::collect!(TransformInfo);
inventory::collect!(PredicateInfo);

impl TransformInfo {
    /// The class name behind its last dot, e.g. `Cast$Value`.
    pub fn simple_name(&self) -> &'static str {
        simple_name(self.class)
    }
}

impl PredicateInfo {
    /// The class name behind its last dot.
    pub fn simple_name(&self) -> &'static str {
        simple_name(self.class)
    }
}

fn simple_name(class: &'static str) -> &'static str {
    class.rsplit('.').next().unwrap_or(class)
}

/// All transforms, sorted by class.
pub fn list() -> Vec<&'static TransformInfo> {
    let mut all: Vec<_> = inventory::iter::<TransformInfo>.into_iter().collect();
    all.sort_by_key(|info| info.class);
    all
}

/// All predicates, sorted by class.
pub fn list_predicates() -> Vec<&'static PredicateInfo> {
    let mut all: Vec<_> = inventory::iter::<PredicateInfo>.into_iter().collect();
    all.sort_by_key(|info| info.class);
    all
}

/// The transform of a class, or of the last part of its name in any case; without `$Key` or `$Value`
/// that of the value.
///
/// # Errors
/// Configuration: there is none of this name.
pub fn find(name: &str) -> Result<&'static TransformInfo, ConnectError> {
    let all = list();
    let found = all.iter().find(|info| answers(info.class, name));
    found.copied().ok_or_else(|| {
        unknown(
            "transform",
            name,
            all.iter().map(|info| info.simple_name()).collect(),
        )
    })
}

/// The predicate of a class, or of the last part of its name in any case.
///
/// # Errors
/// Configuration: there is none of this name.
pub fn find_predicate(name: &str) -> Result<&'static PredicateInfo, ConnectError> {
    let all = list_predicates();
    let found = all.iter().find(|info| answers(info.class, name));
    found.copied().ok_or_else(|| {
        unknown(
            "predicate",
            name,
            all.iter().map(|info| info.simple_name()).collect(),
        )
    })
}

fn answers(class: &'static str, name: &str) -> bool {
    let name = name.trim();
    let simple = simple_name(class);
    let of_value = |whole: &str| {
        whole
            .strip_suffix("$Value")
            .is_some_and(|bare| bare.eq_ignore_ascii_case(name))
    };
    class == name || simple.eq_ignore_ascii_case(name) || of_value(simple) || of_value(class)
}

fn unknown(what: &str, name: &str, known: Vec<&'static str>) -> ConnectError {
    let wrong = name.trim().rsplit('.').next().unwrap_or(name);
    let advice = match crate::config::nearest(wrong, known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("there are {}", known.join(", ")),
    };
    ConnectError::configuration(format!("{what} \"{name}\" is unknown; {advice}"))
}

/// Registers a transform of Kafka's that works on key or value.
macro_rules! register_parts {
    ($name:literal, $transform:ident, $config:ident) => {
        $crate::transform::registry::register_parts!(@ concat!("org.apache.kafka.connect.transforms.", $name, "$Key"), Key, $transform, $config);
        $crate::transform::registry::register_parts!(@ concat!("org.apache.kafka.connect.transforms.", $name, "$Value"), Value, $transform, $config);
    };
    (@ $class:expr, $part:ident, $transform:ident, $config:ident) => {
        inventory::submit! {
            $crate::transform::TransformInfo {
                class: $class,
                version: env!("CARGO_PKG_VERSION"),
                definition: <$config as $crate::config::Config>::definition,
                make: |config| {
                    let config = <$config as $crate::config::Config>::parse(config)?;
                    Ok(Box::new($transform::new($crate::transform::Part::$part, config)?))
                },
            }
        }
    };
}

/// Registers a transform of Kafka's that works on the record as a whole.
macro_rules! register_whole {
    ($name:literal, $transform:ident, $config:ident) => {
        inventory::submit! {
            $crate::transform::TransformInfo {
                class: concat!("org.apache.kafka.connect.transforms.", $name),
                version: env!("CARGO_PKG_VERSION"),
                definition: <$config as $crate::config::Config>::definition,
                make: |config| {
                    let config = <$config as $crate::config::Config>::parse(config)?;
                    Ok(Box::new($transform::new(config)?))
                },
            }
        }
    };
}

pub(super) use {register_parts, register_whole};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_answer_to_kafka_s_names_and_short_ones() {
        for (name, class) in [
            ("org.apache.kafka.connect.transforms.Cast$Key", "Cast$Key"),
            ("org.apache.kafka.connect.transforms.Cast", "Cast$Value"),
            ("Cast$Value", "Cast$Value"),
            (" cast ", "Cast$Value"),
            ("RegexRouter", "RegexRouter"),
        ] {
            assert_eq!(find(name).unwrap().simple_name(), class);
        }
        assert_eq!(
            find_predicate("recordistombstone").unwrap().class,
            "org.apache.kafka.connect.transforms.predicates.RecordIsTombstone"
        );
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_or_all() {
        let near = find("org.apache.kafka.connect.transforms.RegexRoter").unwrap_err();
        assert!(
            near.message().ends_with("did you mean \"RegexRouter\"?"),
            "{near}"
        );
        let far = find("Xyz").unwrap_err();
        assert!(
            far.message().contains("there are Cast$Key, Cast$Value"),
            "{far}"
        );
    }
}
