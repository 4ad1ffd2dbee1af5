//! Plugins: connectors compiled into the binary, found by class name.
//!
//! [`register_connector!`](crate::register_connector) makes a unit struct the factory of a connector.
//! The factory is found through `typetag` by the value of `connector.class`; the user's other values
//! never pass through it, so their errors keep key and position. A crate that only registers connectors
//! must be linked by name: `use connect_file as _;`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;
use serde::de::value::{Error as DeError, MapDeserializer};

use crate::config::{ConfigDef, ConfigMap, Problem};
use crate::error::ConnectError;
use crate::sink::SinkConnector;
use crate::source::SourceConnector;

/// Which way a connector goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConnectorKind {
    /// Into topics.
    Source,
    /// Out of topics.
    Sink,
}

impl ConnectorKind {
    /// As Kafka's REST API spells it.
    pub fn name(self) -> &'static str {
        match self {
            ConnectorKind::Source => "source",
            ConnectorKind::Sink => "sink",
        }
    }
}

impl std::fmt::Display for ConnectorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A fresh connector of either kind.
pub enum AnyConnector {
    /// Into topics.
    Source(Box<dyn SourceConnector>),
    /// Out of topics.
    Sink(Box<dyn SinkConnector>),
}

/// Makes connectors of one class; written by [`register_connector!`](crate::register_connector).
#[typetag::deserialize(tag = "connector.class")]
pub trait ConnectorFactory: Send + Sync {
    /// The full class name.
    fn class(&self) -> &'static str;

    /// Which way it goes.
    fn kind(&self) -> ConnectorKind;

    /// Its version.
    fn version(&self) -> &'static str;

    /// All keys of its own; the worker adds those that every connector has.
    fn config(&self) -> ConfigDef;

    /// All problems of a configuration, without starting anything; rules across fields included.
    fn validate(&self, config: &ConfigMap) -> Vec<Problem> {
        self.config().validate(config)
    }

    /// A fresh connector, not started.
    fn create(&self) -> AnyConnector;
}

/// What is known about a registered connector without making one.
#[derive(Debug)]
pub struct PluginInfo {
    /// The full class name.
    pub class: &'static str,
    /// Which way it goes.
    pub kind: ConnectorKind,
    /// Its version.
    pub version: &'static str,
    /// Further names, beside the simple name and the simple name without `Connector`.
    pub aliases: &'static [&'static str],
}

inventory::collect!(PluginInfo);

impl PluginInfo {
    /// The part of the class name behind the last dot.
    pub fn simple_name(&self) -> &'static str {
        simple_name(self.class)
    }

    /// Every name that finds it.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let simple = self.simple_name();
        let short = simple
            .strip_suffix("Connector")
            .filter(|short| !short.is_empty());
        [self.class, simple]
            .into_iter()
            .chain(short)
            .chain(self.aliases.iter().copied())
    }
}

fn simple_name(class: &str) -> &str {
    class.rsplit(['.', '$']).next().unwrap_or(class)
}

/// All registered connectors, sorted by class.
pub fn list() -> Vec<&'static PluginInfo> {
    let mut all: Vec<&'static PluginInfo> = inventory::iter::<PluginInfo>.into_iter().collect();
    all.sort_by_key(|info| info.class);
    all
}

/// Every name with the classes it stands for.
fn names() -> &'static BTreeMap<&'static str, Vec<&'static PluginInfo>> {
    static NAMES: OnceLock<BTreeMap<&'static str, Vec<&'static PluginInfo>>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let mut names: BTreeMap<&'static str, Vec<&'static PluginInfo>> = BTreeMap::new();
        for info in list() {
            for name in info.names() {
                let found = names.entry(name).or_default();
                if !found.iter().any(|other| std::ptr::eq(*other, info)) {
                    found.push(info);
                }
            }
        }
        names
    })
}

/// The factory of a class, given its full name or an alias.
///
/// # Errors
/// Configuration: the name is unknown (the message names the nearest one, or all there are) or stands
/// for several classes.
pub fn find(class_or_alias: &str) -> Result<Box<dyn ConnectorFactory>, ConnectError> {
    let name = class_or_alias.trim();
    let class = match names().get(name).map(Vec::as_slice) {
        Some([info]) => info.class,
        Some([first, .., last]) if first.class == last.class => {
            return Err(ConnectError::configuration(format!(
                "connector class \"{}\" is registered twice; link only one of the crates that have it",
                first.class
            )));
        }
        Some(several) if !several.is_empty() => {
            let classes: Vec<&str> = several.iter().map(|info| info.class).collect();
            return Err(ConnectError::configuration(format!(
                "connector class \"{name}\" stands for several classes; write one of {}",
                classes.join(", ")
            )));
        }
        _ => return Err(unknown(name)),
    };
    let tag = MapDeserializer::<_, DeError>::new(std::iter::once(("connector.class", class)));
    <Box<dyn ConnectorFactory>>::deserialize(tag).map_err(|error| {
        ConnectError::configuration(format!("connector class \"{class}\" cannot be made"))
            .with_source(error)
    })
}

fn unknown(name: &str) -> ConnectError {
    // Packages look alike, so only what is behind them is compared.
    let advice = match crate::config::nearest_by(name, names().keys().copied(), bare_name) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => {
            let classes: Vec<&str> = list().iter().map(|info| info.class).collect();
            match classes.is_empty() {
                true => "no connector is linked into this program".to_owned(),
                false => format!("there are {}", classes.join(", ")),
            }
        }
    };
    ConnectError::configuration(format!("connector class \"{name}\" is unknown; {advice}"))
}

/// The simple name without `Connector`.
fn bare_name(class: &str) -> &str {
    let simple = simple_name(class);
    simple.strip_suffix("Connector").unwrap_or(simple)
}

/// Registers a connector under its class name; the crate's front page has a whole one.
///
/// ```text
/// register_connector! {
///     /// Ticks.
///     pub struct TickSource;      // the factory, a unit struct that the macro writes
///     class = "org.example.TickSourceConnector",
///     config = TickConfig,        // what derives `Config`
///     source = Tick::default(),   // or `sink = …`: a fresh connector
/// }
/// ```
///
/// `version = "…"` (default: the crate's version) may follow `class`, and `aliases = ["…"]` may come
/// last. The simple class name and the simple name without `Connector` are aliases anyway.
#[macro_export]
macro_rules! register_connector {
    (
        $(#[$meta:meta])* $vis:vis struct $factory:ident;
        class = $class:literal,
        $(version = $version:expr,)?
        config = $config:ty,
        source = $make:expr
        $(, aliases = [$($alias:literal),* $(,)?])? $(,)?
    ) => {
        $crate::register_connector! {
            @impl [$(#[$meta])*] $vis $factory, $class, [$($version)?], $config, Source, $make, [$($($alias),*)?]
        }
    };
    (
        $(#[$meta:meta])* $vis:vis struct $factory:ident;
        class = $class:literal,
        $(version = $version:expr,)?
        config = $config:ty,
        sink = $make:expr
        $(, aliases = [$($alias:literal),* $(,)?])? $(,)?
    ) => {
        $crate::register_connector! {
            @impl [$(#[$meta])*] $vis $factory, $class, [$($version)?], $config, Sink, $make, [$($($alias),*)?]
        }
    };
    (@version) => { env!("CARGO_PKG_VERSION") };
    (@version $version:expr) => { $version };
    (
        @impl [$(#[$meta:meta])*] $vis:vis $factory:ident, $class:literal, [$($version:expr)?], $config:ty,
        $kind:ident, $make:expr, [$($alias:literal),*]
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default)]
        $vis struct $factory;

        const _: () = {
            use $crate::__private::{inventory, serde, typetag};

            // All that is read is the tag, which typetag has consumed already.
            impl<'de> serde::Deserialize<'de> for $factory {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    <serde::de::IgnoredAny as serde::Deserialize>::deserialize(deserializer).map(|_| $factory)
                }
            }

            #[typetag::deserialize(name = $class)]
            impl $crate::ConnectorFactory for $factory {
                fn class(&self) -> &'static str {
                    $class
                }

                fn kind(&self) -> $crate::ConnectorKind {
                    $crate::ConnectorKind::$kind
                }

                fn version(&self) -> &'static str {
                    $crate::register_connector!(@version $($version)?)
                }

                fn config(&self) -> $crate::config::ConfigDef {
                    <$config as $crate::config::Config>::definition()
                }

                fn validate(
                    &self,
                    config: &$crate::config::ConfigMap,
                ) -> ::std::vec::Vec<$crate::config::Problem> {
                    <$config as $crate::config::Config>::parse(config).err().unwrap_or_default()
                }

                fn create(&self) -> $crate::AnyConnector {
                    $crate::AnyConnector::$kind(::std::boxed::Box::new($make))
                }
            }

            inventory::submit! {
                $crate::PluginInfo {
                    class: $class,
                    kind: $crate::ConnectorKind::$kind,
                    version: $crate::register_connector!(@version $($version)?),
                    aliases: &[$($alias),*],
                }
            }
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::context::ConnectorContext;
    use crate::sink::SinkTask;
    use crate::source::SourceTask;

    #[derive(Config)]
    #[allow(dead_code)] // Read by the derive only.
    struct NoConfig {
        /// Needed.
        topic: String,
    }

    struct Nothing;

    #[async_trait::async_trait]
    impl SourceConnector for Nothing {
        async fn start(&mut self, _: ConnectorContext, _: &ConfigMap) -> Result<(), ConnectError> {
            Ok(())
        }

        fn task_configs(&self, _: usize) -> Result<Vec<ConfigMap>, ConnectError> {
            Ok(Vec::new())
        }

        fn task(&self) -> Box<dyn SourceTask> {
            unreachable!()
        }
    }

    #[async_trait::async_trait]
    impl SinkConnector for Nothing {
        async fn start(&mut self, _: ConnectorContext, _: &ConfigMap) -> Result<(), ConnectError> {
            Ok(())
        }

        fn task_configs(&self, _: usize) -> Result<Vec<ConfigMap>, ConnectError> {
            Ok(Vec::new())
        }

        fn task(&self) -> Box<dyn SinkTask> {
            unreachable!()
        }
    }

    register_connector! {
        /// One of two with the same simple name.
        struct FirstTwin;
        class = "org.example.a.TwinSourceConnector",
        config = NoConfig,
        source = Nothing
    }

    register_connector! {
        struct SecondTwin;
        class = "org.example.b.TwinSourceConnector",
        version = "1.2.3",
        config = NoConfig,
        sink = Nothing,
        aliases = ["second-twin"],
    }

    #[test]
    fn a_connector_answers_to_its_class_and_aliases() {
        let found = find("org.example.b.TwinSourceConnector").unwrap();
        assert_eq!(
            (found.kind(), found.version()),
            (ConnectorKind::Sink, "1.2.3")
        );
        assert!(matches!(found.create(), AnyConnector::Sink(_)));
        assert_eq!(
            find(" second-twin ").unwrap().class(),
            "org.example.b.TwinSourceConnector"
        );
        let first = find("org.example.a.TwinSourceConnector").unwrap();
        assert_eq!(first.version(), env!("CARGO_PKG_VERSION"));
        assert_eq!(first.validate(&ConfigMap::new()).len(), 1);
        assert_eq!(first.config().keys.len(), 1);
    }

    #[test]
    fn an_ambiguous_alias_names_the_classes() {
        let error = find("TwinSource").err().unwrap();
        assert_eq!(
            error.message(),
            "connector class \"TwinSource\" stands for several classes; write one of \
             org.example.a.TwinSourceConnector, org.example.b.TwinSourceConnector"
        );
    }

    #[test]
    fn an_unknown_class_is_answered_with_the_nearest() {
        let error = find("org.example.b.TwinSorceConnector").err().unwrap();
        assert!(
            error.message().contains("did you mean \"") && error.message().contains("TwinSource"),
            "{error}"
        );
        let other = find("org.example.b.JdbcSourceConnector").err().unwrap();
        assert!(
            other.message().contains("there are org.example.a"),
            "{other}"
        );
        assert!(
            find("")
                .err()
                .unwrap()
                .message()
                .contains("there are org.example.a")
        );
    }

    #[test]
    fn every_registered_connector_can_be_made() {
        for info in list() {
            assert_eq!(find(info.class).unwrap().kind(), info.kind);
        }
    }
}
