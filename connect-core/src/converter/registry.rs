//! Which converters there are, by name.

use bytes::Bytes;

use super::{
    BooleanConverter, ByteArrayConverter, Converter, DoubleConverter, FloatConverter,
    HeaderConverter, IntegerConverter, JsonConverter, LongConverter, SchemaAndValue,
    ShortConverter, SimpleHeaderConverter, StringConverter,
};
use crate::config::{ConfigDef, ConfigMap, Problem};
use crate::error::ConnectError;
use crate::schema::SchemaRef;
use crate::value::Value;

/// A converter that can be found by name; a crate adds its own with `inventory::submit!`.
#[derive(Debug)]
pub struct ConverterInfo {
    /// The full class name.
    pub class: &'static str,
    /// A short name, beside the simple class name with and without `Converter`.
    pub alias: &'static str,
    /// Its version.
    pub version: &'static str,
    /// A fresh one, not configured.
    pub make: fn() -> Box<dyn Converter>,
}

/// As [`ConverterInfo`], for headers.
#[derive(Debug)]
pub struct HeaderConverterInfo {
    /// The full class name.
    pub class: &'static str,
    /// A short name.
    pub alias: &'static str,
    /// Its version.
    pub version: &'static str,
    /// A fresh one, not configured.
    pub make: fn() -> Box<dyn HeaderConverter>,
}

inventory::collect!(ConverterInfo);
inventory::collect!(HeaderConverterInfo);

macro_rules! register {
    ($($class:literal $alias:literal $converter:ident),+ $(,)?) => {
        $(
            inventory::submit! {
                ConverterInfo {
                    class: $class,
                    alias: $alias,
                    version: env!("CARGO_PKG_VERSION"),
                    make: || Box::new($converter::default()),
                }
            }
            inventory::submit! {
                HeaderConverterInfo {
                    class: $class,
                    alias: $alias,
                    version: env!("CARGO_PKG_VERSION"),
                    make: || Box::new(AsHeaderConverter($converter::default())),
                }
            }
        )+
    };
}

register! {
    "org.apache.kafka.connect.storage.StringConverter" "string" StringConverter,
    "org.apache.kafka.connect.json.JsonConverter" "json" JsonConverter,
    "org.apache.kafka.connect.converters.ByteArrayConverter" "bytes" ByteArrayConverter,
    "org.apache.kafka.connect.converters.BooleanConverter" "boolean" BooleanConverter,
    "org.apache.kafka.connect.converters.ShortConverter" "short" ShortConverter,
    "org.apache.kafka.connect.converters.IntegerConverter" "integer" IntegerConverter,
    "org.apache.kafka.connect.converters.LongConverter" "long" LongConverter,
    "org.apache.kafka.connect.converters.FloatConverter" "float" FloatConverter,
    "org.apache.kafka.connect.converters.DoubleConverter" "double" DoubleConverter,
}

inventory::submit! {
    HeaderConverterInfo {
        class: "org.apache.kafka.connect.storage.SimpleHeaderConverter",
        alias: "simple",
        version: env!("CARGO_PKG_VERSION"),
        make: || Box::new(SimpleHeaderConverter),
    }
}

/// All converters, sorted by class.
pub fn list() -> Vec<&'static ConverterInfo> {
    let mut all: Vec<&'static ConverterInfo> =
        inventory::iter::<ConverterInfo>.into_iter().collect();
    all.sort_by_key(|info| info.class);
    all
}

/// All header converters, sorted by class.
pub fn list_header() -> Vec<&'static HeaderConverterInfo> {
    let mut all: Vec<&'static HeaderConverterInfo> =
        inventory::iter::<HeaderConverterInfo>.into_iter().collect();
    all.sort_by_key(|info| info.class);
    all
}

/// A fresh converter, given its class or a short name (in any case); configure it before use.
///
/// # Errors
/// Configuration: there is none of this name.
pub fn find(name: &str) -> Result<Box<dyn Converter>, ConnectError> {
    info(name).map(|info| (info.make)())
}

/// As [`find`], what is known of it.
///
/// # Errors
/// Configuration: there is none of this name.
pub fn info(name: &str) -> Result<&'static ConverterInfo, ConnectError> {
    list()
        .into_iter()
        .find(|info| answers(info.class, info.alias, name))
        .ok_or_else(|| {
            unknown(
                "converter",
                name,
                list().iter().map(|info| (info.class, info.alias)),
            )
        })
}

/// A fresh header converter, given its class or a short name (in any case); configure it before use.
///
/// # Errors
/// Configuration: there is none of this name.
pub fn find_header(name: &str) -> Result<Box<dyn HeaderConverter>, ConnectError> {
    header_info(name).map(|info| (info.make)())
}

/// As [`find_header`], what is known of it.
///
/// # Errors
/// Configuration: there is none of this name.
pub fn header_info(name: &str) -> Result<&'static HeaderConverterInfo, ConnectError> {
    list_header()
        .into_iter()
        .find(|info| answers(info.class, info.alias, name))
        .ok_or_else(|| {
            unknown(
                "header converter",
                name,
                list_header().iter().map(|info| (info.class, info.alias)),
            )
        })
}

fn answers(class: &str, alias: &str, name: &str) -> bool {
    let name = name.trim();
    let simple = class.rsplit('.').next().unwrap_or(class);
    let short = simple.strip_suffix("Converter").unwrap_or(simple);
    class == name
        || [simple, short, alias]
            .iter()
            .any(|other| other.eq_ignore_ascii_case(name))
}

fn unknown<'a>(
    what: &str,
    name: &str,
    known: impl Iterator<Item = (&'a str, &'a str)>,
) -> ConnectError {
    let known: Vec<(&str, &str)> = known.collect();
    let near = crate::config::nearest(
        name,
        known.iter().flat_map(|(class, alias)| [*class, *alias]),
    );
    let advice = match near {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => {
            let aliases: Vec<&str> = known.iter().map(|(_, alias)| *alias).collect();
            format!("there are {}", aliases.join(", "))
        }
    };
    ConnectError::configuration(format!("{what} \"{name}\" is unknown; {advice}"))
}

/// A converter of keys and values used for headers.
#[derive(Debug, Clone, Default)]
pub struct AsHeaderConverter<C>(pub C);

impl<C: Converter> HeaderConverter for AsHeaderConverter<C> {
    fn config(&self) -> ConfigDef {
        self.0.config()
    }

    fn configure(&mut self, config: &ConfigMap) -> Result<(), Vec<Problem>> {
        self.0.configure(config, false)
    }

    fn from_connect_header(
        &self,
        topic: &str,
        _key: &str,
        schema: Option<&SchemaRef>,
        value: Value,
    ) -> Result<Option<Bytes>, ConnectError> {
        self.0.from_connect(topic, schema, value)
    }

    fn to_connect_header(
        &self,
        topic: &str,
        _key: &str,
        bytes: Option<Bytes>,
    ) -> Result<SchemaAndValue, ConnectError> {
        self.0.to_connect(topic, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converters_answer_to_kafka_s_names_and_short_ones() {
        for name in [
            "org.apache.kafka.connect.json.JsonConverter",
            "JsonConverter",
            "Json",
            "json",
            " json ",
        ] {
            find(name).map(|_| ()).unwrap();
        }
        find("bytes").map(|_| ()).unwrap();
        find("ByteArray").map(|_| ()).unwrap();
        find_header("org.apache.kafka.connect.storage.SimpleHeaderConverter")
            .map(|_| ())
            .unwrap();
        find_header("string").map(|_| ()).unwrap();
        let error = find("jsn").err().unwrap();
        assert_eq!(
            error.message(),
            "converter \"jsn\" is unknown; did you mean \"json\"?"
        );
        assert!(find("simple").is_err(), "simple is for headers only");
    }
}
